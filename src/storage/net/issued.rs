//! Secrets that a token service issued, for their redaction in messages.

use std::sync::{Mutex, PoisonError};

use crate::api::Sensitive;

/// The last `MOST` different secrets.
#[derive(Debug, Default)]
pub struct IssuedSecrets<const MOST: usize>(Mutex<Vec<Sensitive>>);

impl<const MOST: usize> IssuedSecrets<MOST> {
    /// Remembers a secret.
    pub fn remember(&self, secret: &Sensitive) {
        let mut issued = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        issued.retain(|known| known != secret);
        issued.insert(0, secret.clone());
        issued.truncate(MOST);
    }

    /// The remembered secrets.
    pub fn all(&self) -> Vec<Sensitive> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_used_again_drops_no_other() {
        let issued = IssuedSecrets::<2>::default();
        for secret in ["a", "b", "b", "b"] {
            issued.remember(&Sensitive::new(secret));
        }
        assert_eq!(issued.all(), ["b", "a"].map(Sensitive::new));
        issued.remember(&Sensitive::new("c"));
        assert_eq!(issued.all(), ["c", "b"].map(Sensitive::new));
    }
}
