//! Retry policy of calls to clouds: waits between attempts, and a check of leadership before each attempt.

use std::time::Duration;

use super::clock::Clock;
use crate::storage::model::call::{CallError, Called};

/// Attempts after the first.
pub const RETRIES: u32 = 3;
/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_mins(5);

/// How a backend retries.
pub struct Policy<'a> {
    /// The first wait for this error, without jitter; `None` if a retry is useless. Each further wait is twice as long.
    pub first_wait: &'a (dyn Fn(&CallError) -> Option<Duration> + Send + Sync),
    /// Whether this process still leads; checked before each attempt. `None` for calls that only read.
    pub leading: Option<&'a (dyn Fn() -> bool + Send + Sync)>,
    /// Time and sleep.
    pub clock: &'a Clock,
}

impl Policy<'_> {
    /// The error to return if this process does not lead any more.
    pub fn check_leading(&self, action: &'static str, resource: &str) -> Called<()> {
        match self.leading {
            Some(leading) if !leading() => Err(CallError::not_leading(action, resource)),
            _ => Ok(()),
        }
    }

    /// Sleeps before the next attempt. `retries`: number of retries so far. Returns `false` if another retry is
    /// useless.
    pub async fn wait(&self, error: &CallError, retries: u32) -> bool {
        let Some(delay) = delay((self.first_wait)(error), retries, jitter()) else {
            return false;
        };
        tracing::debug!(
            action = error.action,
            cause = ?error.cause,
            attempt = retries + 2,
            "retrying a call to the storage service"
        );
        (self.clock.sleep)(delay).await;
        true
    }
}

/// The wait before the next attempt: doubles with each retry, plus jitter of up to its own length. `jitter` is from 0
/// to 1.
pub fn delay(first: Option<Duration>, retries: u32, jitter: f64) -> Option<Duration> {
    if retries >= RETRIES {
        return None;
    }
    Some((first?.mul_f64(1.0 + jitter.clamp(0.0, 1.0)) * 2_u32.pow(retries)).min(LONGEST))
}

/// A number from 0 to just under 1.
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the jitter is 0.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_are_spread_and_end_after_three_retries() {
        let first = Some(Duration::from_millis(30));
        let waits: Vec<_> = (0..).map_while(|n| delay(first, n, 0.0)).collect();
        assert_eq!(waits, [30, 60, 120].map(Duration::from_millis));
        assert_eq!(delay(first, 0, 1.0), Some(Duration::from_millis(60)));
        assert_eq!(delay(Some(LONGEST), 1, 1.0), Some(LONGEST));
        assert_eq!(delay(None, 0, 0.0), None);
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&jitter()));
        }
    }
}
