//! Durations in API fields: the format of Go's `time.Duration`, and the wider format that the CRD's `format: duration`
//! accepts.

const NANOSECOND: f64 = 1.0;
const UNITS: &[(&str, f64)] = &[
    ("ns", NANOSECOND),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("second", 1e9),
    ("seconds", 1e9),
    ("m", 60e9),
    ("minute", 60e9),
    ("minutes", 60e9),
    ("h", 3600e9),
    ("hour", 3600e9),
    ("hours", 3600e9),
    ("d", 86_400e9),
    ("day", 86_400e9),
    ("days", 86_400e9),
    ("w", 604_800e9),
    ("week", 604_800e9),
    ("weeks", 604_800e9),
];

/// Parses a duration into nanoseconds. Accepts the grammar of Go's `time.ParseDuration` (`300ms`, `1h30m`, `-1.5h`,
/// `0`) and, because the CRD accepts them, days, weeks, spelled-out units and spaces between number and unit (`1 day`,
/// `2w`).
///
/// `None` for any other string, and for a duration that does not fit into 64 bits.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0_f64;
    while !rest.is_empty() {
        let number_ends = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_ends);
        let tail = tail.trim_start();
        let unit_ends = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        total += number.parse::<f64>().ok()? * scale;
        rest = tail.trim_start();
    }
    #[allow(clippy::cast_precision_loss)]
    if total > i64::MAX as f64 {
        return None;
    }
    #[allow(clippy::cast_possible_truncation)]
    let nanoseconds = total.round() as i64;
    Some(if negative { -nanoseconds } else { nanoseconds })
}

/// Formats nanoseconds as Go's `Duration.String`: `0s`, `1.5ms`, `1m30s`, `6h0m0s`.
pub fn go_text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let value = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let text = format!(
            "{}.{:0width$}",
            value / unit,
            value % unit,
            width = unit.ilog10() as usize
        );
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match value {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{value}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(value, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(value, 1_000_000)),
        _ => {
            let minutes = value / 60_000_000_000;
            let seconds = fraction(value % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_go_durations_and_the_wider_format_of_the_crd() {
        let second = 1_000_000_000;
        for (text, expected) in [
            ("0", 0),
            ("90s", 90 * second),
            ("1h30m", 5400 * second),
            ("1.5h", 5400 * second),
            ("300ms", 300_000_000),
            ("-5s", -5 * second),
            ("1 day", 86_400 * second), // api 15
            ("2w", 1_209_600 * second),
            ("10 minutes", 600 * second),
            ("1h 5m", 3900 * second),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
        for text in ["", "soon 5m", "5", "m", "1.2.3s", "5 fortnights", "99999999999999w"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn formats_durations_as_go_does() {
        let second = 1_000_000_000;
        for (value, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (1_500_000, "1.5ms"),
            (1_500_000_000, "1.5s"),
            (90 * second, "1m30s"),
            (3600 * second, "1h0m0s"),
            (6 * 3600 * second, "6h0m0s"),
            (-90 * second, "-1m30s"),
        ] {
            assert_eq!(go_text(value), expected);
        }
    }
}
