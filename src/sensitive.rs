//! The one type for strings that must not appear in logs, events or conditions. Every room may use it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret string. It serialises as itself, because the API server has to get it. `Debug` prints a placeholder, and there is
/// no `Display`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Sensitive(String);

impl Sensitive {
    /// Wraps a secret string.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret in plain text, for the code that writes or sends the secret.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether the string is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<empty>" } else { "<redacted>" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // lifecycle 128
    #[test]
    fn debug_output_never_contains_the_secret() {
        let shown = format!("{:?} {:#?}", Sensitive::new("hunter2"), vec![Sensitive::new("hunter2")]);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
