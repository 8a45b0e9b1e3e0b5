//! PURE: percent-encoding of URLs (RFC 3986).

use std::fmt::Write as _;

/// The text with every byte encoded that is not unreserved (section 2.3): one segment of a path, or a value of a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// These pairs as a query, or as the body of a form.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={}", encoded(value)))
        .collect();
    pairs.join("&")
}

/// The bytes of an encoded text. What is not encoded correctly stays as it is.
pub fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// [`decoded`], as text.
pub fn decoded_text(text: &str) -> String {
    String::from_utf8_lossy(&decoded(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-gcs 44
    #[test]
    fn a_name_is_one_segment_of_the_path_and_back() {
        for (name, expected) in [
            ("docker/registry/v2", "docker%2Fregistry%2Fv2"),
            ("a b#c?d&e", "a%20b%23c%3Fd%26e"),
            ("_~.-A9", "_~.-A9"),
            ("ü%", "%C3%BC%25"),
        ] {
            assert_eq!(encoded(name), expected);
            assert_eq!(decoded_text(expected), name);
        }
        assert_eq!(decoded_text("100%"), "100%");
        assert_eq!(form(&[("a", "1 2"), ("b", "//x")]), "a=1%202&b=%2F%2Fx");
    }
}
