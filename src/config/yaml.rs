//! Encodes values of `REGISTRY_*` environment variables. The registry parses them as YAML 1.1, so a string is quoted if YAML
//! would parse it as another type.
//!
//! The quoting style equals the Go operator's encoder: another style would restart every registry pod when this operator
//! takes over. Long lines are not folded.

use std::fmt::Write as _;

/// Encodes a string as a YAML 1.1 scalar, without a final newline.
pub fn text(value: &str) -> String {
    if value.contains('\n') && block_allowed(value) {
        literal(value)
    } else if is_other_type(value) || value.contains(unprintable) {
        double_quoted(value)
    } else if plain_allowed(value) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    }
}

/// Plain scalars that YAML 1.1 does not parse as strings (null, booleans, floats, merge and value keys), in every spelling.
const WORDS: &[&str] = &[
    "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "true", "True", "TRUE",
    "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", "<<", "=", ".nan", ".NaN", ".NAN", ".inf",
    ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
];

/// Whether YAML 1.1 parses the plain scalar as another type than string.
fn is_other_type(value: &str) -> bool {
    WORDS.contains(&value) || is_number(value) || is_sexagesimal(value) || is_timestamp(value)
}

fn is_number(value: &str) -> bool {
    if !value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let plain = value.replace('_', "");
    let magnitude = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let digits_of = |radix: u32, prefix: &str| {
        let digits = magnitude.strip_prefix(prefix).filter(|digits| !digits.starts_with('+'));
        let number = digits.and_then(|digits| u64::from_str_radix(digits, radix).ok());
        // The registry's parser takes a number of more than 64 bits for a text.
        number.is_some_and(|number| magnitude.len() == plain.len() || number <= i64::MAX.unsigned_abs())
    };
    let in_base = [(2, "0b"), (2, "0B"), (8, "0o"), (8, "0O"), (16, "0x"), (16, "0X")];
    in_base.iter().any(|(radix, prefix)| digits_of(*radix, prefix)) || is_decimal(magnitude)
}

/// `12`, `12.`, `12.5`, `.5`, all with an optional exponent.
fn is_decimal(value: &str) -> bool {
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (mantissa, exponent) = match value.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (value, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (!whole.is_empty() || !fraction.is_empty())
        && digits(whole)
        && digits(fraction)
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
        // The registry's parser takes a number that is too large for a text.
        && value.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `12:30:45`: a base 60 number in YAML 1.1.
fn is_sexagesimal(value: &str) -> bool {
    let unsigned = value.strip_prefix(['+', '-']).unwrap_or(value);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let minutes = |text: &str| match text.as_bytes() {
        [ones] => ones.is_ascii_digit(),
        [tens, ones] => matches!(tens, b'0'..=b'5') && ones.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && middle.iter().all(|part| minutes(part))
        && minutes(last)
        && fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
}

/// A date, optionally followed by a time. Only the first character of the time is checked: needless quotes do no harm.
fn is_timestamp(value: &str) -> bool {
    let (date, time) = value.split_at(value.find(['T', 't', ' ', '\t']).unwrap_or(value.len()));
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |text: &str, widths: std::ops::RangeInclusive<usize>| {
        widths.contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
    };
    let is_date = matches!(parts.as_slice(), [year, month, day]
        if digits(year, 4..=4) && digits(month, 1..=2) && digits(day, 1..=2));
    is_date
        && (time.is_empty()
            || time
                .trim_start_matches(['T', 't', ' ', '\t'])
                .starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a string can be a plain scalar in a block mapping.
fn plain_allowed(value: &str) -> bool {
    let second_is_blank = value.chars().nth(1).is_none_or(char::is_whitespace);
    let indicator = match value.chars().next() {
        Some('-' | '?' | ':') => second_is_blank,
        first => first.is_none_or(|c| "#,[]{}&*!|>'\"%@`".contains(c)),
    };
    let document_mark = value.starts_with("---") || value.starts_with("...");
    let spaced = value.starts_with(' ') || value.ends_with(' ');
    !indicator && !document_mark && !spaced && !value.contains(": ") && !value.contains(" #") && !value.ends_with(':')
}

/// Characters that need a double-quoted scalar.
fn unprintable(c: char) -> bool {
    !matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a multi-line string can be a literal block (`|-`). `|-` strips final newlines, so a string that ends with one
/// cannot.
fn block_allowed(value: &str) -> bool {
    let hidden_space = value.starts_with([' ', '\n']) || value.ends_with([' ', '\n']) || value.contains(" \n");
    !hidden_space && !value.contains(|c| c != '\n' && unprintable(c))
}

fn literal(value: &str) -> String {
    let lines = value.split('\n').map(|line| {
        if line.is_empty() {
            String::new()
        } else {
            format!("  {line}")
        }
    });
    format!("|-\n{}", lines.collect::<Vec<_>>().join("\n"))
}

fn double_quoted(value: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in value.chars() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\0' => "\\0",
            '\u{7}' => "\\a",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            '\u{85}' => "\\N",
            '\u{2028}' => "\\L",
            '\u{2029}' => "\\P",
            c if !unprintable(c) => {
                quoted.push(c);
                continue;
            }
            c => {
                let code = u32::from(c);
                // Writing to a String cannot fail.
                let _ = match code {
                    0..=0xff => write!(quoted, "\\x{code:02X}"),
                    0x100..=0xffff => write!(quoted, "\\u{code:04X}"),
                    _ => write!(quoted, "\\U{code:08X}"),
                };
                continue;
            }
        };
        quoted.push_str(escape);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
