//! PURE: which errors to retry, and the first wait.

use std::time::Duration;

use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig};

use crate::storage::model::call::{CallError, Cause};

const FIRST: Duration = Duration::from_millis(30);
/// First wait after a throttled request.
const FIRST_THROTTLED: Duration = Duration::from_millis(500);

/// Retry configuration of the SDK: one attempt, because `Bucket::call` retries. The SDK must not close connections:
/// they belong to the operator's HTTP client, and each attempt to close one would be logged.
pub fn once() -> RetryConfig {
    RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// Error codes of throttling. Source: Amazon S3 API Reference, "Error responses", and the responses of other S3
/// services.
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

/// Error codes of transient failures, with any HTTP status.
const PASSING: &[&str] = &[
    "InternalError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "IDPCommunicationError",
];

/// Refusals that a retry may resolve: the SDK corrects its clock from the response, and the identity provider may not
/// be known to STS yet. After the retries they count as refusals.
const RETRIED_REFUSALS: &[&str] = &["RequestTimeTooSkewed", "InvalidIdentityToken"];

/// Error codes of expired or unknown credentials.
const STALE: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
];

/// The first wait before a retry, without jitter; `None` if a retry is useless.
pub fn first_wait(error: &CallError) -> Option<Duration> {
    match error.cause {
        _ if THROTTLING.contains(&error.code.as_str()) => Some(FIRST_THROTTLED),
        Cause::Answer(429) => Some(FIRST_THROTTLED),
        Cause::Unreachable if error.code != "InvalidResponse" => Some(FIRST),
        _ if [PASSING, RETRIED_REFUSALS].concat().contains(&error.code.as_str()) => Some(FIRST),
        Cause::Answer(status) if status >= 500 && status != 501 => Some(FIRST),
        _ => None,
    }
}

/// Whether the error code means throttling or a transient failure.
pub fn is_passing(code: &str) -> bool {
    THROTTLING.contains(&code) || PASSING.contains(&code)
}

/// Whether new credentials of the same identity may be accepted.
pub fn stale(error: &CallError) -> bool {
    STALE.contains(&error.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::net::retry::delay;

    fn failed(cause: Cause, code: &str) -> CallError {
        super::super::error::failed("s3:PutBucketTagging", "images", cause, code, String::new())
    }

    fn waits(cause: Cause, code: &str) -> Vec<u128> {
        let error = failed(cause, code);
        let waits = (0..).map_while(|n| delay(first_wait(&error), n, 0.0));
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
    fn retries_after_throttling_wait_longer() {
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
}
