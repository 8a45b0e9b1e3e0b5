//! Cache of a token that several callers share: fetched once, renewed before it expires, dropped when the service
//! refuses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::clock::Clock;
use crate::storage::model::call::{CallError, Called};

/// A token is renewed this long before it expires, or when a fifth of its lifetime is left if that is later. See
/// [`TokenCache::at_four_fifths`] for an earlier renewal.
const EARLY: Duration = Duration::from_mins(5);
/// If the renewal fails, the old token is used until this long before it expires. The margin allows for clock skew.
const GRACE: Duration = Duration::from_secs(30);

/// A token and its times.
#[derive(Debug)]
struct Cached<T> {
    token: T,
    /// When to renew it; `None`: never.
    renewal: Option<SystemTime>,
    /// When it expires; `None`: never.
    expiry: Option<SystemTime>,
}

/// A cached token.
#[derive(Debug)]
pub struct TokenCache<T> {
    token: Mutex<Option<Cached<T>>>,
    /// Largest time between renewal and expiry.
    early: Duration,
    dropped: AtomicU64,
}

impl<T> Default for TokenCache<T> {
    fn default() -> Self {
        Self {
            token: Mutex::default(),
            early: EARLY,
            dropped: AtomicU64::default(),
        }
    }
}

impl<T> TokenCache<T> {
    /// An empty cache whose tokens are renewed after four fifths of their lifetime, however long they live.
    pub fn at_four_fifths() -> Self {
        Self {
            early: Duration::MAX,
            ..Self::default()
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
        let is_before = |time: Option<SystemTime>| time.is_none_or(|time| (clock.now)() < time);
        if let Some(cached) = cached.as_ref().filter(|cached| is_before(cached.renewal)) {
            return Ok(cached.token.clone());
        }
        match fetch().await {
            Ok((token, expiry)) => {
                *cached = Some(Cached {
                    token: token.clone(),
                    renewal: expiry.map(|expiry| renewal((clock.now)(), expiry, self.early)),
                    expiry,
                });
                Ok(token)
            }
            Err(error) => {
                let last = |cached: &Cached<T>| cached.expiry.and_then(|expiry| expiry.checked_sub(GRACE));
                let old = cached.as_ref().filter(|cached| is_before(last(cached)));
                old.filter(|_| CallError::is_undecided(&error))
                    .map(|cached| cached.token.clone())
                    .ok_or(error)
            }
        }
    }

    /// The cached token, valid or not.
    pub async fn cached(&self) -> Option<T> {
        self.token.lock().await.as_ref().map(|cached| cached.token.clone())
    }

    /// Drops the token if it is the one that the service refuses: another caller may have replaced it meanwhile.
    pub async fn invalidate_if(&self, is_refused: impl FnOnce(&T) -> bool) {
        let mut cached = self.token.lock().await;
        if cached.as_ref().is_some_and(|cached| is_refused(&cached.token)) {
            *cached = None;
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
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

/// When to renew a token that was issued `now`. A token that lives for some minutes only must serve more than one request.
fn renewal(now: SystemTime, expiry: SystemTime, early: Duration) -> SystemTime {
    let lifetime = expiry.duration_since(now).unwrap_or_default();
    expiry.checked_sub(early.min(lifetime / 5)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_ahead_and_a_short_one_serves_most_of_its_lifetime() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1);
        for (lifetime, renewed) in [(3600, 3300), (600, 480), (300, 240), (60, 48), (0, 0)] {
            let expiry = now + Duration::from_secs(lifetime);
            let renewal = renewal(now, expiry, EARLY);
            assert_eq!(renewal, now + Duration::from_secs(renewed), "{lifetime}");
        }
        assert_eq!(renewal(now, SystemTime::UNIX_EPOCH, EARLY), SystemTime::UNIX_EPOCH);
        // storage-ibmcos section 3
        let early = TokenCache::<()>::at_four_fifths().early;
        let expiry = now + Duration::from_hours(1);
        assert_eq!(renewal(now, expiry, early), now + Duration::from_mins(48));
    }

    #[tokio::test]
    async fn a_refused_token_is_dropped_and_the_one_that_replaced_it_is_not() {
        let cache = TokenCache::default();
        let clock = Clock::default();
        let get = async |token: &'static str| cache.get(&clock, async || Ok((token, None))).await.unwrap();
        assert_eq!(get("first").await, "first");
        cache.invalidate_if(|token| *token == "first").await;
        assert_eq!(get("second").await, "second");
        // Another call was refused with the first token, too, and learns that later.
        cache.invalidate_if(|token| *token == "first").await;
        assert_eq!((get("third").await, cache.invalidations()), ("second", 1));
    }
}
