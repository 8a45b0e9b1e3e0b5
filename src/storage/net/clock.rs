//! Time and sleep, replaceable in tests.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::BoxFuture;

/// The clock of the process.
#[derive(Clone)]
pub struct Clock {
    /// Current time, for the expiry of credentials.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Sleeps between attempts.
    pub sleep: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            now: Arc::new(SystemTime::now),
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time))),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
