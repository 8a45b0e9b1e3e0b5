//! How long a loop waits after a pass that failed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(5);
/// At least this often every loop looks at everything again, also when no watch told of a change.
pub const RESYNC: Duration = Duration::from_mins(10);

/// Exponential, with jitter and a cap; a success starts over.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait after one more failure. `jitter` is between 0 and 1.
    pub fn fail(&mut self, jitter: f64) -> Duration {
        let wait = self.next.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_cap_and_start_over_after_a_success() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.fail(0.0), FIRST);
        assert_eq!(backoff.fail(0.0), FIRST * 2);
        for _ in 0..20 {
            backoff.fail(0.0);
        }
        assert_eq!(backoff.fail(0.0), LONGEST);
        assert_eq!(backoff.fail(1.0), LONGEST.mul_f64(1.5));
        backoff.reset();
        assert_eq!(backoff.fail(0.0), FIRST);
    }
}
