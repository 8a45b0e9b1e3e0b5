//! Text that must never be shown.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A secret text. It serialises as itself (it has to reach the API server); `Debug` never prints it, and there is no
/// `Display`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Sensitive(String);

impl Sensitive {
    /// Wraps a secret text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
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
    fn debug_never_prints_the_text() {
        let shown = format!("{:?} {:#?}", Sensitive::new("hunter2"), vec![Sensitive::new("hunter2")]);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
