//! Makes the texts of services safe for conditions and logs: one line, of limited length, without secrets.

use std::error::Error;

use crate::api::Sensitive;
use crate::storage::model::call::CallError;

/// Longest text of a service in a message, in characters.
const LONGEST: usize = 400;
/// Shorter secrets are not redacted, because that would damage normal words.
const SHORTEST_SECRET: usize = 4;

/// The error of a failed call with the texts of the service, which may repeat secrets. [`Self::cleaned`] is the only way
/// out for these texts.
#[derive(Clone)]
pub struct Unredacted {
    /// Boxed, so that results with it stay small.
    error: Box<CallError>,
    secrets: Vec<Sensitive>,
}

impl Unredacted {
    /// The error as the service reports it.
    pub fn new(error: CallError) -> Self {
        Self {
            error: Box::new(error),
            secrets: Vec::new(),
        }
    }

    /// The same with another secret of this call, which the caller does not know.
    #[must_use]
    pub fn hiding(mut self, secret: Sensitive) -> Self {
        self.secrets.push(secret);
        self
    }

    /// The error, for decisions by its class, cause and code. Its texts must not be shown.
    pub fn error(&self) -> &CallError {
        &self.error
    }

    /// The same with another cause or class.
    #[must_use]
    pub fn map(self, change: impl FnOnce(CallError) -> CallError) -> Self {
        Self {
            error: Box::new(change(*self.error)),
            ..self
        }
    }

    /// The error with these secrets replaced by `<redacted>`, and with texts of limited length. Without all secrets of
    /// the call, the cut could leave the beginning of one.
    pub fn cleaned(self, secrets: &[Sensitive]) -> CallError {
        let Self {
            error,
            secrets: mut all,
        } = self;
        all.extend_from_slice(secrets);
        CallError {
            message: shown(&error.message, &all),
            code: shown(&error.code, &all),
            resource: without(error.resource, &all),
            region: error.region.map(|region| shown(&region, &all)),
            ..*error
        }
    }
}

/// A service's text on one line, of limited length, with these secrets replaced.
pub fn shown(text: &str, secrets: &[Sensitive]) -> String {
    let redacted = without(text.to_owned(), secrets);
    let words = redacted
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let line = without(words.collect::<Vec<_>>().join(" "), secrets);
    // Last, because a part of a secret is not recognised.
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

fn without(mut text: String, secrets: &[Sensitive]) -> String {
    let mut secrets: Vec<&str> = secrets
        .iter()
        .map(Sensitive::expose)
        .filter(|secret| secret.len() >= SHORTEST_SECRET)
        .collect();
    // A secret may be the beginning of a longer one.
    secrets.sort_unstable_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        if text.contains(secret) {
            text = text.replace(secret, "<redacted>");
        }
    }
    text
}

/// Text of the innermost cause of an error.
pub fn innermost(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(link) = next {
        last = link.to_string();
        next = link.source();
    }
    last
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::model::call::{CallClass, Cause};

    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn secrets(texts: &[&str]) -> Vec<Sensitive> {
        texts.iter().copied().map(Sensitive::new).collect()
    }

    // storage-core 48
    #[test]
    fn the_cut_leaves_no_part_of_a_secret() {
        let all = secrets(&[KEY]);
        for before in 0..=LONGEST + 50 {
            let text = shown(
                &format!("{}{KEY} and so on{}", "x".repeat(before), " y".repeat(300)),
                &all,
            );
            assert!(!text.contains(&KEY[..4]), "{before}: {text}");
            assert!(text.chars().count() <= LONGEST + 3, "{before}: {text}");
        }
    }

    // storage-core 48
    #[test]
    fn each_form_of_a_secret_is_replaced() {
        for (text, known, expected) in [
            ("a KEYKEY b", &["KEYKEY"][..], "a <redacted> b"),
            ("KEYKEYKEYKEY", &["KEYKEY"], "<redacted><redacted>"),
            // One is the beginning of the other, in both orders.
            ("a KEYKEY1 b", &["KEYKEY", "KEYKEY1"], "a <redacted> b"),
            ("a KEYKEY1 b", &["KEYKEY1", "KEYKEY"], "a <redacted> b"),
            ("a two words b", &["two words"], "a <redacted> b"),
            ("a two\nwords b", &["two words"], "a <redacted> b"),
            ("a two  words b", &["two  words"], "a <redacted> b"),
            ("pässwörd!", &["pässwörd"], "<redacted>!"),
            ("the abc", &["abc"], "the abc"),
            ("nothing", &["KEYKEY"], "nothing"),
            ("a\tb\u{0}c", &[], "a b c"),
            ("", &["KEYKEY"], ""),
        ] {
            assert_eq!(shown(text, &secrets(known)), expected, "{text:?}");
        }
    }

    // storage-core 48
    #[test]
    fn no_member_of_an_error_keeps_a_secret() {
        let error = CallError {
            action: "s3:PutObject",
            resource: format!("images/{KEY}"),
            cause: Cause::Answer(403),
            class: CallClass::Denied,
            of_identity: false,
            code: format!("Bad{KEY}"),
            message: format!("token-of-this-call {KEY}"),
            region: Some(format!("eu-{KEY}")),
        };
        let cleaned = Unredacted::new(error)
            .hiding(Sensitive::new("token-of-this-call"))
            .cleaned(&secrets(&[KEY]));
        let shown = format!("{cleaned:?}");
        assert!(!shown.contains(KEY) && !shown.contains("token-of"), "{shown}");
        assert_eq!(cleaned.region.as_deref(), Some("eu-<redacted>"));
    }
}
