//! Why a call to S3 or STS failed, and what that means.

use crate::storage::fault::Fault;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The store answered, with this HTTP status.
    Answer(u16),
    /// No answer: name, connection, TLS, timeout.
    Unreachable,
    /// The identity could not be had: STS refused or was not reached, or the token file cannot be read.
    Identity,
    /// This process does not lead any more; nothing was sent.
    NotLeading,
}

/// A call that failed, after the retries that it deserves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} on {resource}: {code}: {message}")]
pub struct CallError {
    /// IAM action that the call needs: `s3:PutBucketTagging`.
    pub action: &'static str,
    /// Bucket, or bucket and key.
    pub resource: String,
    /// What kind of failure.
    pub cause: Cause,
    /// The store's code (`NoSuchBucket`); at HEAD, which has no body, the status without blanks (`NotFound`, `Forbidden`,
    /// `BadRequest`), and `BucketRegionError` for 301. Without an answer: `RequestError`.
    pub code: String,
    /// For people; never holds a secret.
    pub message: String,
    /// `x-amz-bucket-region` of the answer.
    pub region: Option<String>,
}

impl CallError {
    /// The bucket (or key) is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.cause, Cause::Answer(404))
    }

    /// The store refused: rights, keys, tokens, signature. 400 counts where the code says so.
    pub fn is_denied(&self) -> bool {
        const CODES: &[&str] = &[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "ExpiredToken",
            "InvalidToken",
            "TokenRefreshRequired",
            "AuthorizationHeaderMalformed",
        ];
        matches!(self.cause, Cause::Answer(401 | 403) | Cause::Identity) || CODES.contains(&self.code.as_str())
    }

    /// The store does not know this call: asking again is no use until something changes.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.cause, Cause::Answer(405 | 501))
            || matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed")
    }

    /// Whether the store gave no verdict: timeouts, 5xx, throttling, a wrong region.
    pub fn is_undecided(&self) -> bool {
        !self.is_unsupported()
            && matches!(
                self.cause,
                Cause::Unreachable | Cause::NotLeading | Cause::Answer(301 | 307 | 429 | 500..)
            )
    }

    /// As a fault that is tried again.
    pub fn fault(&self) -> Fault {
        if self.is_undecided() {
            Fault::transient(self.to_string())
        } else {
            Fault::config(self.to_string())
        }
    }
}
