//! How long a loop waits after a pass that failed.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(5);
/// At least this often every loop looks at everything again, also when no watch told of a change.
pub const RESYNC: Duration = Duration::from_mins(10);

/// Exponential, with jitter and a cap; a success starts over.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    due: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, due: None }
    }
}

impl Backoff {
    /// The wait after one more failure. `jitter` is between 0 and 1. A pass that a change brought before the last wait was
    /// over does not make the waits longer: much changes while a registry comes up.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let now = Instant::now();
        if let Some(left) = self
            .due
            .and_then(|due| due.checked_duration_since(now))
            .filter(|left| !left.is_zero())
        {
            return left;
        }
        let wait = self.next.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        self.due = Some(now + wait);
        wait
    }

    /// After a success.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fail(backoff: &mut Backoff, jitter: f64) -> Duration {
        let wait = backoff.fail(jitter);
        tokio::time::sleep(wait).await;
        wait
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_a_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        assert_eq!(fail(&mut backoff, 0.0).await, FIRST);
        assert_eq!(fail(&mut backoff, 0.0).await, FIRST * 2);
        for _ in 0..20 {
            fail(&mut backoff, 0.0).await;
        }
        assert_eq!(fail(&mut backoff, 0.0).await, LONGEST);
        assert_eq!(fail(&mut backoff, 1.0).await, LONGEST.mul_f64(1.5));
        backoff.reset();
        assert_eq!(fail(&mut backoff, 0.0).await, FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_before_the_wait_is_over_changes_nothing() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.fail(0.0), FIRST);
        tokio::time::advance(FIRST / 2).await;
        for _ in 0..5 {
            assert_eq!(backoff.fail(1.0), FIRST / 2);
        }
        tokio::time::advance(FIRST / 2).await;
        assert_eq!(backoff.fail(0.0), FIRST * 2);
    }
}
