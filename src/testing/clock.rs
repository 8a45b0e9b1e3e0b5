//! A wall clock for tests with tokio's paused time.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::runtime::clock::Clock;

/// A clock that starts at the epoch and follows tokio's paused time, until a test sets it.
pub(crate) struct PausedClock {
    started: Instant,
    ahead: AtomicI64,
}

impl PausedClock {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            ahead: AtomicI64::new(0),
        }
    }

    /// Sets the clock ahead of tokio's time by so many seconds, as after a suspension of the machine.
    pub(crate) fn ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for PausedClock {
    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.started.elapsed()).unwrap();
        Timestamp::UNIX_EPOCH + passed + SignedDuration::from_secs(self.ahead.load(Ordering::SeqCst))
    }
}
