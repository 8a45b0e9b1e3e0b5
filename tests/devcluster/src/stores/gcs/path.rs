//! Parts of paths and other text.

use super::super::form;

/// A part of a path as text; a plus stays one.
pub(super) fn decode(part: &str) -> String {
    form::unescape(&part.replace('+', "%2B"))
}

/// Text as a part of a path or of a query.
pub(super) fn encode(text: &str) -> String {
    form::escape(text)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in bytes {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
