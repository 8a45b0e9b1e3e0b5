//! `application/x-www-form-urlencoded`, as AWS's query protocol has it.

/// Encodes names and values.
pub(super) fn encode(form: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = form
        .iter()
        .map(|(name, value)| format!("{}={}", escape(name), escape(value)))
        .collect();
    pairs.join("&")
}

fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte.into()),
            _ => {
                // A String takes everything.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}
