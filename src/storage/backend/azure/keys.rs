//! Cache of the account's key, because Azure limits how often keys may be read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Short, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::account::Accounts;
use super::arm::Arm;
use crate::api::Sensitive;
use crate::storage::model::call::Called;
use crate::storage::net::clock::Clock;

/// Lifetime of a key in the cache.
pub const LIFETIME: Duration = Duration::from_mins(20);

/// Called at each lookup, with whether the cache had a fresh key.
pub type Counter = Arc<dyn Fn(bool) + Send + Sync>;

struct Cached {
    /// Subscription, resource group and account.
    id: [String; 3],
    key: Sensitive,
    read: SystemTime,
}

/// The key of one account. The lock is held while the key is read, so that concurrent callers read it once.
pub struct KeyCache {
    cached: Mutex<Option<Cached>>,
    /// The key that was read last, and of which account, after it is dropped too.
    last: Short<Option<([String; 3], Sensitive)>>,
    /// How often an account had another key than before.
    changes: AtomicU64,
    counter: Counter,
}

impl Default for KeyCache {
    fn default() -> Self {
        Self::new(Arc::new(|_| ()))
    }
}

impl KeyCache {
    /// An empty cache.
    pub fn new(counter: Counter) -> Self {
        Self {
            cached: Mutex::default(),
            last: Short::default(),
            changes: AtomicU64::default(),
            counter,
        }
    }

    /// The key of an account, and until when it counts.
    ///
    /// # Errors
    /// The key cannot be read. Errors are not cached.
    pub async fn get(&self, arm: &Arm, account: &str, clock: &Clock) -> Called<(Sensitive, SystemTime)> {
        let id = [arm.subscription.clone(), arm.group.clone(), account.to_owned()];
        let mut cached = self.cached.lock().await;
        let now = (clock.now)();
        let fresh = cached.as_ref().filter(|cached| {
            let age = now.duration_since(cached.read).unwrap_or(LIFETIME);
            cached.id == id && age < LIFETIME
        });
        (self.counter)(fresh.is_some());
        if let Some(cached) = fresh {
            return Ok((cached.key.clone(), cached.read + LIFETIME));
        }
        *cached = None;
        let key = Accounts { arm, name: account }.key().await?;
        self.note(&id, &key);
        *cached = Some(Cached {
            id,
            key: key.clone(),
            read: now,
        });
        Ok((key, now + LIFETIME))
    }

    /// Counts a key that replaces another one.
    fn note(&self, id: &[String; 3], key: &Sensitive) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(of, known)| of == id && known != key) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        *last = Some((id.clone(), key.clone()));
    }

    /// How often this process saw that the account had another key. What depends on the key is not valid after it grows.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Drops the key of an account that does not exist any more.
    pub async fn forget(&self, account: &str) {
        let mut cached = self.cached.lock().await;
        cached.take_if(|cached| cached.id[2] == account);
    }

    /// Drops a key that the service refused. A newer one stays.
    pub async fn drop_key(&self, refused: &Sensitive) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|cached| cached.key == *refused) {
            *cached = None;
        }
    }
}
