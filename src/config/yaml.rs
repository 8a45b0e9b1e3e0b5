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

/// What the registry reads from [`text`]: the value, in most cases without final newlines. A login that the operator tries uses this text, too.
pub fn received(value: &str) -> &str {
    if value.contains('\n') && block_allowed(value) {
        value.trim_end_matches('\n')
    } else {
        value
    }
}

/// Plain scalars that YAML 1.1 does not parse as strings (null, booleans, floats), in every spelling. The merge key `<<` and the value key
/// `=` are missing: the Go operator and the registry take them for strings.
const WORDS: &[&str] = &[
    "", "~", "null", "Null", "NULL", "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "true", "True", "TRUE",
    "false", "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", ".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF",
    "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
];

/// Whether YAML 1.1 parses the plain scalar as another type than string.
fn is_other_type(value: &str) -> bool {
    WORDS.contains(&value) || is_number(value) || is_sexagesimal(value) || is_timestamp(value)
}

fn is_number(value: &str) -> bool {
    if !value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        || (value.starts_with('.') && !separates_digits(value))
    {
        return false;
    }
    let plain = value.replace('_', "");
    let magnitude = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let (is_signed, bases) = (
        magnitude.len() < plain.len(),
        [(2, "0b"), (2, "0B"), (8, "0o"), (8, "0O"), (16, "0x"), (16, "0X")],
    );
    let mut in_base = bases
        .iter()
        .filter_map(|(radix, prefix)| Some((*radix, magnitude.strip_prefix(prefix)?)));
    in_base.any(|(radix, digits)| is_integer(digits, radix, is_signed)) || is_decimal(magnitude)
}

/// Whether the text after the prefix of a base is a number of at most 64 bits: the registry's parser takes a larger one for a text.
/// `is_signed`: a sign stands before the prefix.
fn is_integer(digits: &str, radix: u32, is_signed: bool) -> bool {
    // The parser of binary numbers permits a sign after the prefix, too.
    let digits = match digits.strip_prefix(['+', '-']) {
        Some(unsigned) if radix == 2 && !is_signed => unsigned,
        _ => digits,
    };
    let number = u64::from_str_radix(digits, radix)
        .ok()
        .filter(|_| !digits.starts_with('+'));
    number.is_some_and(|number| !is_signed || number <= i64::MIN.unsigned_abs())
}

/// Whether each underscore stands between two digits.
fn separates_digits(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let mut places = (0..bytes.len()).filter(|at| bytes[*at] == b'_');
    places.all(|at| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)))
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

/// A date; or date and time, with a time zone if `T` stands between them.
fn is_timestamp(value: &str) -> bool {
    let (date, time) = value.split_at(value.find(['T', 't', ' ']).unwrap_or(value.len()));
    is_date(date)
        && match time.as_bytes().first() {
            None => true,
            Some(b' ') => is_time(&time[1..]),
            Some(_) => without_zone(&time[1..]).is_some_and(is_time),
        }
}

/// A number of so many digits at most, below a limit.
fn number(text: &str, digits: usize, below: i8) -> Option<i8> {
    let fits = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| fits && *number < below)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let year = (year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit())).then(|| year.parse().ok());
    let parsed = (year.flatten(), number(month, 2, 13), number(day, 2, 32));
    matches!(parsed, (Some(year), Some(month), Some(day)) if jiff::civil::Date::new(year, month, day).is_ok())
}

/// `15:4:5`, with a fraction of a second or without.
fn is_time(text: &str) -> bool {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let parts: Vec<&str> = whole.split(':').collect();
    let [hour, minute, second] = parts[..] else {
        return false;
    };
    [(hour, 24), (minute, 60), (second, 60)]
        .iter()
        .all(|(text, below)| number(text, 2, *below).is_some())
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text before `Z` or a time zone such as `-05:00`.
fn without_zone(text: &str) -> Option<&str> {
    if let Some(before) = text.strip_suffix('Z') {
        return Some(before);
    }
    let at = text
        .len()
        .checked_sub("-05:00".len())
        .filter(|at| text.is_char_boundary(*at))?;
    let (before, zone) = text.split_at(at);
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let is_zone = hours.len() == 2 && number(hours, 2, 25).is_some() && number(minutes, 2, 60).is_some();
    is_zone.then_some(before)
}

/// Whether a string can be a plain scalar in a block mapping.
fn plain_allowed(value: &str) -> bool {
    let is_blank = |c| matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let second_is_blank = value.chars().nth(1).is_none_or(is_blank);
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

/// Whether a multi-line string can be a literal block: no blank at the end of a line.
fn block_allowed(value: &str) -> bool {
    let hidden_space = value.ends_with(' ') || value.contains(" \n");
    !hidden_space && !value.contains(|c| c != '\n' && unprintable(c))
}

/// A literal block. Its header says what happens to final newlines (`-`: there is none, `+`: there are several), and how far its lines are
/// indented if the first one begins with a blank or is empty. The final newlines themselves are left out, as the Go operator does it, so that
/// the registry gets a value without them: a password from a file works.
fn literal(value: &str) -> String {
    let indented = if value.starts_with([' ', '\n']) { "2" } else { "" };
    let trimmed = value.trim_end_matches('\n');
    let newlines = match value.len() - trimmed.len() {
        0 => "-",
        1 if !trimmed.is_empty() => "",
        _ => "+",
    };
    let lines = trimmed.split('\n').map(|line| match line {
        "" => "\n".to_owned(),
        line => format!("\n  {line}"),
    });
    let lines: String = lines.collect();
    format!("|{indented}{newlines}{}", lines.trim_end_matches('\n'))
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
