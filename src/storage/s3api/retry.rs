//! PURE: which errors to retry, and the first wait. The table is in [`codes`].

use std::time::Duration;

use aws_sdk_s3::config::retry::{ReconnectMode, RetryConfig};

use super::codes;
use crate::storage::model::call::{CallError, Cause};

/// Retry configuration of the SDK: one attempt, because `Bucket::call` retries. The SDK must not close connections:
/// they belong to the operator's HTTP client, and each attempt to close one would be logged.
pub fn once() -> RetryConfig {
    RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

/// The first wait before a retry, without jitter; `None` if a retry is useless.
pub fn first_wait(error: &CallError) -> Option<Duration> {
    codes::first_wait(error.cause, &error.code)
}

/// Whether new credentials of the same identity may be accepted.
pub fn stale(error: &CallError) -> bool {
    // 401 is how a service of another cloud refuses a token.
    codes::is_stale(&error.code) || error.cause == Cause::Answer(401)
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
