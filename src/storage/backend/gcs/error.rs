//! PURE: errors of Google's APIs as [`CallError`], each with its class. Sources: Cloud Storage, "HTTP status and error codes
//! for JSON"; Google Cloud, "Errors" (AIP-193); RFC 6749, section 5.2, for token services.
//!
//! The code of an error is its HTTP status, as the Go operator has it in conditions. The service's reason is part of the
//! message.

use std::time::Duration;

use serde::Deserialize;

use crate::storage::model::call::{CallClass, CallError, Cause};
use crate::storage::net::transport::{NoResponse, Response};

/// First wait before a retry, as in Google's own libraries.
const FIRST: Duration = Duration::from_secs(1);
/// Longest text of a response that is not an error of Google.
const LONGEST: usize = 200;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The bucket itself, or its listing: 404 means that it does not exist.
    Bucket,
    /// The creation of the bucket: 409 means that its name is taken.
    Creation,
    /// The deletion of the bucket: 409 means that it is not empty.
    Deletion,
    /// An object or a tag.
    Other,
    /// A token.
    Identity,
}

/// An error as the service words it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    /// The service's reason, such as `notFound`; empty if the response is not an error of Google.
    reason: String,
    message: String,
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
}

/// Errors of APIs are objects, those of token services texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Api {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<Reason>,
        #[serde(default)]
        status: String,
    },
    Token(String),
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    error_description: String,
}

fn told(body: &[u8]) -> Told {
    match serde_json::from_slice(body) {
        Ok(Envelope {
            error: Body::Api {
                message,
                errors,
                status,
            },
        }) => Told {
            reason: errors.into_iter().next().map_or(status, |first| first.reason),
            message,
        },
        Ok(Envelope {
            error: Body::Token(reason),
        }) => Told {
            reason,
            message: serde_json::from_slice(body).map_or_else(|_| String::new(), |d: Description| d.error_description),
        },
        Err(_) => of_xml(&String::from_utf8_lossy(body)),
    }
}

/// Objects are read through the XML API, as the registry does.
fn of_xml(text: &str) -> Told {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    match element("Code") {
        Some(reason) if text.contains("<Error>") => Told {
            reason,
            message: element("Message").unwrap_or_default(),
        },
        _ => Told {
            reason: String::new(),
            message: text.chars().take(LONGEST).collect(),
        },
    }
}

/// A failed call, and the service's reason, which names the cause more closely than the class.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error. Boxed, so that results with it stay small.
    pub error: Box<CallError>,
    /// The service's reason, such as `retentionPolicyNotMet`; empty without one.
    pub reason: String,
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        *failure.error
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self {
            error: Box::new(error),
            reason: String::new(),
        }
    }
}

/// The error of a response that is no success.
pub fn of_response(action: &'static str, resource: &str, about: About, response: &Response) -> Failure {
    let Told { reason, message } = told(&response.body);
    let status = response.status;
    let class = classify(status, &reason, about);
    let refused = about == About::Identity && !matches!(class, CallClass::Undecided);
    let message = match (reason.as_str(), message.trim()) {
        ("", "") => "the response has no text".to_owned(),
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    let error = CallError {
        action,
        resource: resource.to_owned(),
        cause: if refused {
            Cause::Identity
        } else {
            Cause::Answer(status)
        },
        class,
        of_identity: about == About::Identity,
        code: status.to_string(),
        message,
        region: None,
    };
    Failure {
        error: Box::new(error),
        reason,
    }
}

fn classify(status: u16, reason: &str, about: About) -> CallClass {
    match (status, reason, about) {
        // ABORTED: another call came in between.
        (_, "rateLimitExceeded" | "userRateLimitExceeded" | "backendError", _) | (409, "ABORTED" | "aborted", _) => {
            CallClass::Undecided
        }
        (405 | 501, _, About::Bucket | About::Creation | About::Deletion | About::Other) => CallClass::Unsupported,
        (300..=399 | 408 | 429 | 500.., _, _) => CallClass::Undecided,
        (400..=499, _, About::Identity) | (401, _, _) => CallClass::Denied,
        // No right is missing.
        (403, reason, _) if is_locked(reason) || is_account(reason) => CallClass::Rejected,
        (403, _, _) => CallClass::Forbidden,
        // A proxy does not answer with an error of Google.
        (404, "notFound" | "NoSuchBucket", About::Bucket | About::Deletion) => CallClass::ContainerGone,
        (404, _, _) => CallClass::NotFound,
        (409, _, About::Creation) => CallClass::NameTaken,
        (409, _, About::Deletion) => CallClass::NotEmpty,
        _ => CallClass::Rejected,
    }
}

/// Whether a retention policy or a hold protects the object.
pub fn is_locked(reason: &str) -> bool {
    matches!(
        reason,
        "retentionPolicyNotMet" | "objectUnderActiveHold" | "RetentionPolicyNotMet" | "ObjectUnderActiveHold"
    )
}

/// Whether the billing account or the project is the cause.
fn is_account(reason: &str) -> bool {
    matches!(
        reason,
        "accountDisabled" | "UserProjectAccountProblem" | "AccountProblem"
    )
}

/// The error of a request without a response.
pub fn of_nothing(action: &'static str, resource: &str, about: About, error: NoResponse) -> CallError {
    let (cause, class, message) = match error {
        NoResponse::Unreachable(why) => (Cause::Unreachable, CallClass::Undecided, why),
        NoResponse::Unsendable(why) => (Cause::Unsendable, CallClass::Rejected, why),
    };
    CallError {
        action,
        cause,
        class,
        of_identity: about == About::Identity,
        code: "RequestError".to_owned(),
        ..CallError::invalid(resource, &message)
    }
}

/// Error for a response that is not one of Google's APIs.
pub fn garbled(action: &'static str, resource: &str, about: About, why: &str) -> CallError {
    let message =
        format!("the response is not one of Google Cloud ({why}): check whether a proxy answers in its place");
    CallError {
        code: "InvalidResponse".to_owned(),
        ..of_nothing(action, resource, about, NoResponse::Unreachable(message))
    }
}

/// The first wait before a retry; `None` if a retry is useless.
pub fn first_wait(error: &CallError) -> Option<Duration> {
    let retried = error.class == CallClass::Undecided && error.cause != Cause::NotLeading;
    let redirect = matches!(error.cause, Cause::Answer(300..=399));
    (retried && !redirect && error.code != "InvalidResponse").then_some(FIRST)
}

/// Whether the request may have succeeded although it failed for the client.
pub fn is_lost(error: &CallError) -> bool {
    matches!(error.cause, Cause::Unreachable | Cause::Answer(500..=599)) && error.cause != Cause::Answer(503)
}

#[cfg(test)]
mod tests;
