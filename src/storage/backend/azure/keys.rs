//! Cache of the account's key, because Azure limits how often keys may be read.

use std::sync::Arc;
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
        *cached = Some(Cached {
            id,
            key: key.clone(),
            read: now,
        });
        Ok((key, now + LIFETIME))
    }

    /// Drops a key that the service refused. A newer one stays.
    pub async fn drop_key(&self, refused: &Sensitive) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|cached| cached.key == *refused) {
            *cached = None;
        }
    }
}
