//! Which failures are worth another attempt, and after how long. PURE.

use std::time::Duration;

use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig};

use super::error::{CallError, Cause};

/// Attempts after the first.
pub const RETRIES: u32 = 3;
const FIRST: Duration = Duration::from_millis(30);
/// A store that asks for fewer requests gets fewer.
const FIRST_THROTTLED: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(5);

/// The SDK makes one attempt, which leaves the others to us; and it leaves connections to our pool, of which it knows nothing:
/// it would log each time that it cannot close one.
pub fn once() -> RetryConfig {
    RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// Codes that ask for fewer requests. Source: Amazon S3 API Reference "Error responses", and what other stores send.
const THROTTLING: &[&str] = &[
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
];

/// Codes that say "again", whatever the status.
const PASSING: &[&str] = &[
    "InternalError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "IDPCommunicationError",
];

/// Verdicts that may turn: the SDK has learned the store's time from the answer, and the view that STS has of an identity
/// provider may lag behind. Said again and again, they stand.
const TURNING: &[&str] = &["RequestTimeTooSkewed", "InvalidIdentityToken"];

/// Codes that say that the credentials are not, or not any more, what the store accepts.
const STALE: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
];

/// The wait before the next attempt, after `retries` of them; `None` where another is no use. `chance` is from 0 to 1.
pub fn delay(error: &CallError, retries: u32, chance: f64) -> Option<Duration> {
    if retries >= RETRIES {
        return None;
    }
    let first = match error.cause {
        _ if THROTTLING.contains(&error.code.as_str()) => FIRST_THROTTLED,
        Cause::Answer(429) => FIRST_THROTTLED,
        Cause::Unreachable if error.code != "InvalidResponse" => FIRST,
        _ if [PASSING, TURNING].concat().contains(&error.code.as_str()) => FIRST,
        Cause::Answer(status) if status >= 500 && status != 501 => FIRST,
        _ => return None,
    };
    Some((first.mul_f64(1.0 + chance.clamp(0.0, 1.0)) * 2_u32.pow(retries)).min(LONGEST))
}

/// Whether the code says that the service could not decide now.
pub fn is_passing(code: &str) -> bool {
    THROTTLING.contains(&code) || PASSING.contains(&code)
}

/// Whether other credentials of the same identity may be accepted.
pub fn stale(error: &CallError) -> bool {
    STALE.contains(&error.code.as_str())
}

/// A number from 0 to just under 1.
pub fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all wait the shortest time: not nice, not wrong.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(cause: Cause, code: &str) -> CallError {
        CallError {
            action: "s3:PutBucketTagging",
            resource: "images".to_owned(),
            cause,
            code: code.to_owned(),
            message: String::new(),
            region: None,
        }
    }

    fn waits(cause: Cause, code: &str) -> Vec<u128> {
        let error = failed(cause, code);
        let waits = (0..).map_while(|n| delay(&error, n, 0.0));
        waits.map(|wait| wait.as_millis()).collect()
    }

    #[test]
    fn connections_and_failing_servers_get_three_more_attempts_ever_later() {
        for (cause, code) in [
            (Cause::Unreachable, "RequestError"),
            (Cause::Answer(500), "InternalError"),
            (Cause::Answer(503), "ServiceUnavailable"),
            (Cause::Answer(504), "GatewayTimeout"),
            (Cause::Answer(400), "RequestTimeout"),
            (Cause::Answer(403), "RequestTimeTooSkewed"),
        ] {
            assert_eq!(waits(cause, code), [30, 60, 120], "{code}");
        }
    }

    #[test]
    fn a_store_that_throttles_is_asked_more_slowly() {
        for (cause, code) in [
            (Cause::Answer(503), "SlowDown"),
            (Cause::Answer(429), "TooManyRequests"),
            (Cause::Answer(400), "Throttling"),
        ] {
            assert_eq!(waits(cause, code), [500, 1000, 2000], "{code}");
        }
    }

    #[test]
    fn refusals_are_final() {
        for (cause, code) in [
            (Cause::Answer(400), "MalformedXML"),
            (Cause::Answer(403), "AccessDenied"),
            (Cause::Answer(404), "NoSuchBucket"),
            (Cause::Answer(409), "BucketAlreadyExists"),
            (Cause::Answer(501), "NotImplemented"),
            (Cause::NotLeading, "NotLeading"),
            (Cause::Identity, "AccessDenied"),
            (Cause::Unreachable, "InvalidResponse"),
        ] {
            assert_eq!(waits(cause, code), [] as [u128; 0], "{code}");
        }
    }

    #[test]
    fn waits_are_spread_and_never_longer_than_five_minutes() {
        let error = failed(Cause::Unreachable, "RequestError");
        assert_eq!(delay(&error, 0, 1.0), Some(Duration::from_millis(60)));
        for _ in 0..100 {
            assert!((0.0..1.0).contains(&chance()));
        }
    }
}
