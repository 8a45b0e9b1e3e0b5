//! The wall clock as a parameter, for tests, and moments on both clocks of the machine.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A source of the time of day. Durations are measured with `tokio::time::Instant`, which clock changes do not affect; leadership and
/// what it allows also with this clock (see [`Moment`]).
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

/// A moment on both clocks of the machine. The monotonic clock stands still while the machine is suspended, and somebody may set the
/// wall clock: a duration is over when one of the two clocks says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) monotonic: Instant,
    wall: Timestamp,
}

impl Moment {
    pub(super) fn now(clock: &dyn Clock) -> Self {
        Self {
            monotonic: Instant::now(),
            wall: clock.now(),
        }
    }

    /// Whether less than this time has passed since. Times before the moment, on a wall clock that was set back, count as none.
    pub(super) fn is_within(&self, duration: Duration, clock: &dyn Clock) -> bool {
        let passed = clock.now().duration_since(self.wall);
        self.monotonic.elapsed() < duration && Duration::try_from(passed).unwrap_or_default() < duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::clock::PausedClock;

    #[tokio::test(start_paused = true)]
    async fn a_duration_is_over_when_one_of_the_clocks_says_so() {
        let clock = PausedClock::start();
        let moment = Moment::now(&clock);
        let limit = Duration::from_secs(10);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(moment.is_within(limit, &clock));
        clock.ahead(1);
        assert!(!moment.is_within(limit, &clock));
        clock.ahead(-86_400);
        assert!(moment.is_within(limit, &clock));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!moment.is_within(limit, &clock));
    }
}
