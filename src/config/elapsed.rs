//! PURE: how much of a waiting time is over. The start is a stored or earlier time of the clock, which may have been set back
//! since.

use std::time::Duration;

use jiff::Timestamp;

/// Time since `since`, for a wait of `limit`. If the clock was set back by at most `limit`, nothing has elapsed, so that a
/// small correction of the clock ends no wait early. If it was set back further, the wait counts as over. So no wait lasts
/// longer than twice its limit.
pub fn elapsed(since: Timestamp, now: Timestamp, limit: Duration) -> Duration {
    let signed = now.duration_since(since);
    match Duration::try_from(signed) {
        Ok(elapsed) => elapsed,
        Err(_) if signed.unsigned_abs() <= limit => Duration::ZERO,
        Err(_) => Duration::MAX,
    }
}

/// The rest of a wait of `limit` that began at `since`; `None` when the wait is over.
pub fn left(since: Timestamp, now: Timestamp, limit: Duration) -> Option<Duration> {
    let left = limit.checked_sub(elapsed(since, now, limit));
    left.filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_limit_and_a_clock_that_was_set_back_prolongs_it_at_most_once() {
        let since: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let limit = Duration::from_mins(2);
        for (seconds, expected) in [
            (0, Some(120)),
            (1, Some(119)),
            (119, Some(1)),
            (120, None),
            (121, None),
            (100_000, None),
            (-1, Some(120)),
            (-120, Some(120)),
            (-121, None),
            (-100_000, None),
        ] {
            let now = since + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(left(since, now, limit), expected.map(Duration::from_secs), "{seconds}");
        }
    }
}
