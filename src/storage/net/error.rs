//! Makes the texts of services safe for conditions and logs: one line, of limited length, without secrets.

use std::error::Error;

use crate::api::Sensitive;
use crate::storage::model::call::CallError;

/// Longest text of a service in a message, in characters.
const LONGEST: usize = 400;
/// Shorter secrets are not redacted, because that would damage normal words.
const SHORTEST_SECRET: usize = 4;

/// The error with these secrets replaced by `<redacted>`.
pub fn redacted(error: CallError, secrets: &[Sensitive]) -> CallError {
    CallError {
        message: without(error.message, secrets),
        code: without(error.code, secrets),
        resource: without(error.resource, secrets),
        ..error
    }
}

/// A service's text on one line, of limited length, with these secrets replaced.
pub fn shown(text: &str, secrets: &[Sensitive]) -> String {
    without(plain(text), secrets)
}

fn without(mut text: String, secrets: &[Sensitive]) -> String {
    for secret in secrets
        .iter()
        .map(Sensitive::expose)
        .filter(|s| s.len() >= SHORTEST_SECRET)
    {
        if text.contains(secret) {
            text = text.replace(secret, "<redacted>");
        }
    }
    text
}

/// A service's text on one line, without control characters, at most 400 characters.
pub fn plain(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Text of the innermost cause of an error.
pub fn innermost(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(link) = next {
        last = link.to_string();
        next = link.source();
    }
    plain(&last)
}

/// The first error of this type in a chain of errors.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(link) = next {
        if let Some(found) = link.downcast_ref() {
            return Some(found);
        }
        next = link.source();
    }
    None
}
