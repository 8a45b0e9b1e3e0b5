//! How often a call is tried, and how long the operator waits in between. Source: the defaults of Azure's own libraries.

use std::time::Duration;

use super::error::{Failure, is_retried};
use crate::storage::model::call::{CallError, Called};
use crate::storage::net::clock::Clock;
use crate::storage::net::retry::jitter;

/// Attempts in total.
const ATTEMPTS: u32 = 3;
/// Unit of the waits.
const UNIT: Duration = Duration::from_secs(10);
/// The longest wait. A service that asks for more gets the next attempt in a later pass.
pub const LONGEST: Duration = Duration::from_mins(1);

/// The attempts of one call.
pub struct Attempts<'a> {
    clock: &'a Clock,
    /// Whether this process still leads; `None` for calls that only read.
    leading: Option<&'a (dyn Fn() -> bool + Send + Sync)>,
    made: u32,
}

impl<'a> Attempts<'a> {
    /// No attempt yet.
    pub fn new(clock: &'a Clock, leading: Option<&'a (dyn Fn() -> bool + Send + Sync)>) -> Self {
        Self {
            clock,
            leading,
            made: 0,
        }
    }

    /// Begins an attempt.
    ///
    /// # Errors
    /// This process does not lead any more.
    pub fn begin(&mut self, action: &'static str, resource: &str) -> Called<()> {
        self.made += 1;
        match self.leading {
            Some(leading) if !leading() => Err(CallError::not_leading(action, resource)),
            _ => Ok(()),
        }
    }

    /// Waits before the next attempt. Returns `false` if another one is useless.
    pub async fn wait(&self, failure: &Failure) -> bool {
        if !is_retried(&failure.error) {
            return false;
        }
        let Some(delay) = delay(self.made, failure.retry_after, jitter()) else {
            return false;
        };
        tracing::debug!(
            action = failure.error.action,
            cause = ?failure.error.cause,
            attempt = self.made + 1,
            "retrying a call to Azure"
        );
        (self.clock.sleep)(delay).await;
        true
    }
}

/// The wait after so many attempts; `None`: there is no further one. `jitter` is from 0 to 1.
fn delay(made: u32, asked: Option<Duration>, jitter: f64) -> Option<Duration> {
    if made >= ATTEMPTS {
        return None;
    }
    if let Some(asked) = asked {
        (asked <= LONGEST).then_some(asked)
    } else {
        let units = 2_u32.pow(made) - 1;
        Some((UNIT * units).mul_f64(0.8 + 0.5 * jitter.clamp(0.0, 1.0)).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-azure 52
    #[test]
    fn a_call_is_tried_three_times_and_waits_as_told() {
        let five = Some(Duration::from_secs(5));
        let waits: Vec<_> = (1..).map_while(|made| delay(made, five, 0.5)).collect();
        assert_eq!(waits, [5, 5].map(Duration::from_secs));
        let own: Vec<_> = (1..).map_while(|made| delay(made, None, 0.4)).collect();
        assert_eq!(own, [10, 30].map(Duration::from_secs));
        assert_eq!(delay(1, None, 0.0), Some(Duration::from_secs(8)));
        assert_eq!(delay(2, None, 1.0), Some(Duration::from_secs(39)));
        assert_eq!(
            delay(1, Some(Duration::from_mins(10)), 0.0),
            None,
            "a later pass tries again"
        );
    }
}
