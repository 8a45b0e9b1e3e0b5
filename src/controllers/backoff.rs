//! How long a controller waits after a failed pass.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(5);
/// Longest time between two passes of a controller, also without any watch event.
pub(super) const RESYNC: Duration = Duration::from_mins(10);
/// How often the API server is asked again for an API that it does not serve, and that no watch reports.
pub(super) const API_RETRY: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter and a cap. A success resets it.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    due: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, due: None }
    }
}

impl Backoff {
    /// The wait after one more failure. `jitter` is between 0 and 1. A pass that a watch event started before the last wait
    /// was over does not increase the backoff: many objects change while a registry is being created.
    pub(super) fn fail(&mut self, jitter: f64) -> Duration {
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

    /// Whether the last wait is over.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_none_or(|due| due <= Instant::now())
    }

    /// Resets the backoff after a success.
    pub(super) fn reset(&mut self) {
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
    async fn waits_double_up_to_a_cap_and_a_success_resets_them() {
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
    async fn a_failure_during_the_wait_does_not_increase_the_backoff() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.fail(0.0), FIRST);
        tokio::time::advance(FIRST / 2).await;
        for _ in 0..5 {
            assert!(!backoff.is_due());
            assert_eq!(backoff.fail(1.0), FIRST / 2);
        }
        tokio::time::advance(FIRST / 2).await;
        assert!(backoff.is_due());
        assert_eq!(backoff.fail(0.0), FIRST * 2);
    }
}
