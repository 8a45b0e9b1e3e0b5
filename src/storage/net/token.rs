//! Cache of a token that several callers share: fetched once, renewed before it expires, dropped when the service
//! refuses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::clock::Clock;
use crate::storage::model::call::{CallError, Called};

/// A token is renewed this long before it expires.
const EARLY: Duration = Duration::from_mins(5);
/// If the renewal fails, the old token is used until this long before it expires. The margin allows for clock skew.
const GRACE: Duration = Duration::from_secs(30);

/// A cached token.
#[derive(Debug)]
pub struct TokenCache<T> {
    token: Mutex<Option<(T, Option<SystemTime>)>>,
    dropped: AtomicU64,
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        Self {
            token: Mutex::default(),
            dropped: AtomicU64::default(),
        }
    }
}

impl<T: Clone> TokenCache<T> {
    /// The cached token, or a new one from `fetch`, which also returns when the token expires (`None`: never).
    /// Concurrent callers wait for one fetch. If the fetch fails without a decision of the service, a token that is
    /// still valid is returned.
    ///
    /// # Errors
    /// The error of `fetch`.
    pub async fn get(&self, clock: &Clock, fetch: impl AsyncFnOnce() -> Called<(T, Option<SystemTime>)>) -> Called<T> {
        let mut cached = self.token.lock().await;
        let valid =
            |expiry: &Option<SystemTime>, time: Duration| expiry.is_none_or(|expiry| (clock.now)() + time < expiry);
        if let Some((token, _)) = cached.as_ref().filter(|(_, expiry)| valid(expiry, EARLY)) {
            return Ok(token.clone());
        }
        match fetch().await {
            Ok((token, expiry)) => {
                *cached = Some((token.clone(), expiry));
                Ok(token)
            }
            Err(error) => {
                let old = cached.as_ref().filter(|(_, expiry)| valid(expiry, GRACE));
                old.filter(|_| CallError::is_undecided(&error))
                    .map(|(token, _)| token.clone())
                    .ok_or(error)
            }
        }
    }

    /// The cached token, valid or not.
    pub async fn cached(&self) -> Option<T> {
        self.token.lock().await.as_ref().map(|(token, _)| token.clone())
    }

    /// Drops the token, because the service refuses it.
    pub async fn invalidate(&self) {
        *self.token.lock().await = None;
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a token was dropped.
    pub fn invalidations(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
