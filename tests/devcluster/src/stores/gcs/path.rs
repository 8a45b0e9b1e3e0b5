//! Parts of paths.

use super::super::form;

/// A part of a path as text; a plus stays one.
pub(super) fn decode(part: &str) -> String {
    form::unescape(&part.replace('+', "%2B"))
}

/// Text as a part of a path or of a query.
pub(super) fn encode(text: &str) -> String {
    form::escape(text)
}
