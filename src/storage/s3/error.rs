//! Why a call to S3 or STS failed, and what that means.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::retry;
use crate::api::Sensitive;
use crate::storage::fault::Fault;

/// Sent before anything is done.
const BUSY: Cause = Cause::Answer(503);

/// Longest text of somebody else that goes into a message.
const LONGEST: usize = 400;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The store answered, with this HTTP status.
    Answer(u16),
    /// No answer: name, connection, TLS, timeout; or an answer that is none of S3.
    Unreachable,
    /// The identity could not be had: STS refused, or the token file cannot be read. Where STS was not reached or failed
    /// itself it is [`Cause::Unreachable`] or [`Cause::Answer`], as with S3, with an action of STS.
    Identity,
    /// This process does not lead any more; nothing was sent.
    NotLeading,
    /// The request cannot be made: the bucket's name, the region or the endpoint is not one. Nothing was sent.
    Unsendable,
}

/// A call that failed, after the retries that it deserves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} on {resource}: {code}: {message}")]
pub struct CallError {
    /// IAM action that the call needs: `s3:PutBucketTagging`.
    pub action: &'static str,
    /// Bucket, or bucket and key; at STS the role.
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
    /// The bucket (or key) is not there. What STS does not find says nothing of buckets.
    pub fn is_missing(&self) -> bool {
        matches!(self.cause, Cause::Answer(404)) && !self.of_identity()
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
        let said =
            matches!(self.cause, Cause::Answer(401 | 403) | Cause::Identity) || CODES.contains(&self.code.as_str());
        said && !self.is_undecided()
    }

    /// The store does not know this call: asking again is no use until something changes. STS says nothing of that.
    pub fn is_unsupported(&self) -> bool {
        let said = matches!(self.cause, Cause::Answer(405 | 501))
            || matches!(self.code.as_str(), "NotImplemented" | "MethodNotAllowed");
        said && !self.of_identity()
    }

    /// Whether the store gave no verdict: timeouts, 5xx, throttling (some stores send these with a 4xx), a wrong region.
    pub fn is_undecided(&self) -> bool {
        let silent = matches!(
            self.cause,
            Cause::Unreachable | Cause::NotLeading | Cause::Answer(301 | 307 | 429 | 500..)
        );
        (silent || retry::is_passing(&self.code)) && !self.is_unsupported()
    }

    /// Whether the request may have been carried out: no answer came, or one that says that something broke on the way.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.cause, Cause::Unreachable | Cause::Answer(500..)) && self.is_undecided() && self.cause != BUSY
    }

    /// As a fault that is tried again.
    pub fn fault(&self) -> Fault {
        if self.is_undecided() {
            Fault::transient(self.to_string())
        } else {
            Fault::config(self.to_string())
        }
    }

    /// Whether it is about who asks, not about what was asked for.
    pub(super) fn of_identity(&self) -> bool {
        self.action.starts_with("sts:")
    }

    pub(super) fn not_leading(action: &'static str, resource: &str) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            cause: Cause::NotLeading,
            code: "NotLeading".to_owned(),
            message: "this process does not lead any more; nothing was sent".to_owned(),
            region: None,
        }
    }

    /// The service answered, but not as S3 or STS do.
    pub(super) fn garbled(action: &'static str, resource: &str, message: String) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            cause: Cause::Unreachable,
            code: "InvalidResponse".to_owned(),
            message,
            region: None,
        }
    }

    pub(super) fn unsendable(action: &'static str, resource: &str, why: &dyn Error) -> Self {
        Self {
            action,
            resource: resource.to_owned(),
            cause: Cause::Unsendable,
            code: "RequestError".to_owned(),
            message: format!("the request cannot be made: {}", innermost(why)),
            region: None,
        }
    }

    /// What the SDK says.
    pub(super) fn of<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        if let Some(identity) = find::<Self>(error) {
            return identity.clone();
        }
        let Some(response) = error.raw_response() else {
            return Self::unanswered(action, resource, error);
        };
        let status = response.status().as_u16();
        let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
        let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
        let said = meta.and_then(|meta| meta.code()).filter(|code| !code.is_empty());
        if said.is_none() && response.status().is_success() {
            let message = format!("the answer ({status}) is none of S3: is the endpoint or a proxy another service?");
            return Self::garbled(action, resource, message);
        }
        let code = match said {
            _ if status == 301 && bodiless(response) => "BucketRegionError".to_owned(),
            Some(code) => code.to_owned(),
            None => words(status),
        };
        let text = meta.and_then(|meta| meta.message()).unwrap_or_default();
        Self {
            action,
            resource: resource.to_owned(),
            // An error in the body of a 200: S3 had answered before it knew.
            cause: Cause::Answer(if response.status().is_success() { 500 } else { status }),
            message: sentence(status, text, region.as_deref()),
            code: plain(&code),
            region: region.map(|region| plain(&region)),
        }
    }

    fn unanswered<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + 'static,
    {
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return Self::unsendable(action, resource, error);
        }
        let (cause, message) = match find::<Unanswered>(error) {
            Some(unanswered) => (Cause::Unreachable, unanswered.0.clone()),
            // The client cannot be made (the bundle, the proxy), or the SDK refuses to send what it was given.
            None => (Cause::Unsendable, innermost(error)),
        };
        Self {
            action,
            resource: resource.to_owned(),
            cause,
            code: "RequestError".to_owned(),
            message,
            region: None,
        }
    }

    /// Without secrets that somebody else's text may repeat.
    pub(super) fn without(self, secrets: &[Sensitive]) -> Self {
        Self {
            message: redacted(self.message, secrets),
            code: redacted(self.code, secrets),
            resource: redacted(self.resource, secrets),
            ..self
        }
    }
}

/// A text without these secrets.
fn redacted(mut text: String, secrets: &[Sensitive]) -> String {
    // Shorter ones would tear words apart, and are none.
    for secret in secrets.iter().map(Sensitive::expose).filter(|s| s.len() > 3) {
        if text.contains(secret) {
            text = text.replace(secret, "<redacted>");
        }
    }
    text
}

/// What a store says, fit to be shown.
pub(super) fn said(text: &str, secrets: &[Sensitive]) -> String {
    redacted(plain(text), secrets)
}

/// No answer, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unanswered(pub String);

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(link) = next {
        if let Some(found) = link.downcast_ref() {
            return Some(found);
        }
        next = link.source();
    }
    None
}

fn innermost(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(link) = next {
        last = link.to_string();
        next = link.source();
    }
    plain(&last)
}

fn bodiless(response: &HttpResponse) -> bool {
    response.body().bytes().is_none_or(<[u8]>::is_empty)
}

/// `Not Found` -> `NotFound`.
fn words(status: u16) -> String {
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason());
    reason.map_or_else(|| format!("Status{status}"), |words| words.replace([' ', '-'], ""))
}

fn sentence(status: u16, text: &str, region: Option<&str>) -> String {
    let text = plain(text);
    let sentence = if text.is_empty() {
        format!("HTTP status {status}")
    } else {
        text
    };
    match region {
        Some(region) => format!("{sentence} (the bucket is in region {})", plain(region)),
        None => sentence,
    }
}

/// Somebody else's text on one line, without what a terminal would obey, and not endless.
fn plain(text: &str) -> String {
    let words = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty());
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
