//! Caches what the platform answered about its object storage, while the Config does not name a backend.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::cache::{Period, next_retry};
use crate::config::error_class::ErrorClass;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;

/// The last answer, or why there was none.
#[derive(Debug)]
struct Answer {
    /// Digest of what the platform was asked with.
    inputs: Fingerprint,
    usable: Result<bool, StorageError>,
    /// From the call until the next one.
    valid: Period,
    wait: Duration,
}

/// The cache. Any change in the cluster starts a pass, and many refused logins may lock the account: with the same inputs, the
/// platform is asked again only after a wait that doubles from a second to five minutes.
#[derive(Debug, Default)]
pub struct PlatformCache {
    last: Mutex<Option<Answer>>,
}

impl PlatformCache {
    /// Whether the platform's object storage can be used, from the cache or from `ask`.
    pub async fn usable(
        &self,
        inputs: Fingerprint,
        now: Timestamp,
        ask: impl Future<Output = Result<bool, StorageError>>,
    ) -> Result<bool, StorageError> {
        let before = self.take().filter(|answer| answer.inputs == inputs);
        let answer = match before {
            Some(answer) if answer.valid.contains(now) => answer,
            before => {
                let usable = ask.await;
                // Also an answer: a Config that an admission policy denies is sent again and again.
                let class = usable.as_ref().err().map_or(ErrorClass::Transient, |error| error.class);
                let same = before.filter(|before| before.usable.is_ok() == usable.is_ok());
                let wait = next_retry(class, same.map(|before| before.wait));
                let valid = Period::of(now, wait);
                Answer {
                    inputs,
                    usable,
                    valid,
                    wait,
                }
            }
        };
        let usable = answer.usable.clone();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        usable
    }

    fn take(&self) -> Option<Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
