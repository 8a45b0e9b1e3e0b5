//! The wall clock as a parameter, for tests.

use jiff::Timestamp;

/// A source of the time of day. Durations are measured with `tokio::time::Instant`, which clock changes do not affect; leadership also
/// with this clock, because `Instant` stands still while the machine is suspended.
pub trait Clock: Send + Sync {
    /// The current time in UTC.
    fn now(&self) -> Timestamp;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
