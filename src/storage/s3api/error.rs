//! Converts errors of the AWS SDK to [`CallError`]. The table in [`codes`](super::codes) classifies them.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::codes::{GARBLED, classify, explanation};
use crate::storage::model::call::{CallError, Cause};
use crate::storage::net::error::{Unredacted, find, innermost};

/// A response that means that the request had no effect.
const BUSY: Cause = Cause::Answer(503);

/// The error of a failed call.
pub fn failed(
    action: &'static str,
    resource: &str,
    cause: Cause,
    code: impl Into<String>,
    message: String,
) -> CallError {
    let code = code.into();
    let of_identity = action.starts_with("sts:");
    CallError {
        action,
        resource: resource.to_owned(),
        cause,
        class: classify(cause, &code, of_identity),
        of_identity,
        code,
        message,
        region: None,
    }
}

/// Whether the request may have succeeded although it failed for the client: no response, or a 5xx response other than
/// 503.
pub fn is_lost(error: &CallError) -> bool {
    matches!(error.cause, Cause::Unreachable | Cause::Answer(500..)) && error.is_undecided() && error.cause != BUSY
}

/// Error for a response that is not one of S3 or STS.
pub fn garbled(action: &'static str, resource: &str, message: String) -> CallError {
    failed(action, resource, Cause::Unreachable, GARBLED, message)
}

/// Error for a request that cannot be built.
pub fn unsendable(action: &'static str, resource: &str, why: &dyn Error) -> CallError {
    let message = format!("the request cannot be built: {}", innermost(why));
    failed(action, resource, Cause::Unsendable, "RequestError", message)
}

/// Converts an error of the SDK. The service may repeat secrets in it.
pub fn of<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> Unredacted
where
    E: ProvideErrorMetadata + Error + 'static,
{
    Unredacted::new(converted(action, resource, error))
}

fn converted<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(identity) = find::<CallError>(error) {
        return identity.clone();
    }
    let Some(response) = error.raw_response() else {
        return unanswered(action, resource, error);
    };
    let status = response.status().as_u16();
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let meta = error.as_service_error().map(ProvideErrorMetadata::meta);
    let service_code = meta.and_then(|meta| meta.code()).filter(|code| !code.is_empty());
    if service_code.is_none() && response.status().is_success() {
        let message = format!(
            "the response ({status}) is not one of S3: check whether the endpoint is one of S3, and whether a proxy \
             answers in its place"
        );
        return garbled(action, resource, message);
    }
    let code = match service_code {
        _ if status == 301 && bodiless(response) => "BucketRegionError".to_owned(),
        Some(code) => code.to_owned(),
        None => words(status),
    };
    let text = meta.and_then(|meta| meta.message()).unwrap_or_default();
    // S3 may send status 200 before an operation fails, and then an error in the body.
    let cause = Cause::Answer(if response.status().is_success() { 500 } else { status });
    let message = sentence(status, text, explanation(&code), region.as_deref());
    CallError {
        region,
        ..failed(action, resource, cause, code, message)
    }
}

fn unanswered<E>(action: &'static str, resource: &str, error: &SdkError<E, HttpResponse>) -> CallError
where
    E: Error + 'static,
{
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return unsendable(action, resource, error);
    }
    let (cause, message) = match find::<Unanswered>(error) {
        Some(unanswered) => (Cause::Unreachable, unanswered.0.clone()),
        // The client cannot be built (CA bundle, proxy), or the SDK refuses to send the request.
        None => (Cause::Unsendable, innermost(error)),
    };
    failed(action, resource, cause, "RequestError", message)
}

/// No response; the text is the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

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

/// The explanation and the region come first, because a long text of the service is cut at the end.
fn sentence(status: u16, text: &str, explanation: Option<&str>, region: Option<&str>) -> String {
    let text = match text.trim() {
        "" => format!("HTTP status {status}"),
        text => text.to_owned(),
    };
    let region = region.map(|region| format!("the bucket is in region {region}"));
    let own: Vec<&str> = explanation.into_iter().chain(region.as_deref()).collect();
    if own.is_empty() {
        return text;
    }
    format!("{} ({text})", own.join("; "))
}
