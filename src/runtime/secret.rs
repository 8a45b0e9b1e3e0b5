//! A value that never reaches a log, an event, a condition or a Debug print.

use std::fmt;

/// Holds a secret. `Debug` and `Display` print a placeholder; the content is had only by calling [`Secret::expose`], which
/// is easy to find in a review.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a secret.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The content; do not log it.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The content, taken out of its wrapper; do not log it.
    pub fn into_exposed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // lifecycle 128, the part that the type gives
    #[test]
    fn a_secret_prints_as_a_placeholder_however_deep_it_is() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only printed")]
        struct Outer {
            key: Secret<String>,
            list: Vec<Secret<Vec<u8>>>,
        }
        let outer = Outer {
            key: Secret::from("hunter2".to_owned()),
            list: vec![Secret::new(b"hunter2".to_vec())],
        };
        let printed = format!("{outer:?} {outer:#?} {}", outer.key);
        assert!(!printed.contains("hunter2") && !printed.contains("104"), "{printed}");
        assert_eq!(outer.key.expose(), "hunter2");
    }
}
