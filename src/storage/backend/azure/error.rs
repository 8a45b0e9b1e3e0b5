//! PURE: errors of Azure's services as [`CallError`], each with its class. Sources: Resource Manager, "Common errors"; Blob
//! Storage, "Status and error codes" and "Blob Storage error codes"; RFC 6749, section 5.2, for Entra ID.
//!
//! The code of an error is `AzureError`, as the Go operator has it as the reason of conditions. The service's code is part of
//! the message. Only what does not exist has a code of its own.

use std::time::Duration;

use serde::Deserialize;

use super::reasons;
use super::xml;
use crate::storage::model::call::{CallClass, CallError, Cause};
use crate::storage::net::transport::{NoResponse, Response};

/// Longest text of a response that is not an error of Azure.
const LONGEST: usize = 200;
/// Longest code of an error. The longest known ones have some 50 characters.
const LONGEST_CODE: usize = 80;
/// Code of an error for a response that is not one of Azure.
const GARBLED: &str = "InvalidResponse";

/// The service that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Resource Manager.
    ResourceManager,
    /// Blob Storage, about a container.
    Blobs,
    /// Blob Storage as the registry uses it: errors have the service's code.
    RegistryBlobs,
    /// Entra ID.
    Identity,
}

/// A failed call, and what the service says about it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The error. Boxed, so that results with it stay small.
    pub error: Box<CallError>,
    /// The service's code, such as `AuthorizationFailure`; empty without one.
    pub code: String,
    /// Wait that the service asks for.
    pub retry_after: Option<Duration>,
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
            code: String::new(),
            retry_after: None,
        }
    }
}

/// Code and message of the service; empty if the response is not one of Azure.
#[derive(Default)]
struct Told {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct Envelope {
    error: Body,
    #[serde(default)]
    error_description: String,
}

/// Errors that Private DNS writes itself have no envelope, such as 404 for a record set. Recorded responses are in the tests of Azure
/// CLI, module `privatedns`.
#[derive(Deserialize)]
struct Bare {
    code: String,
    message: String,
}

/// An error without an envelope. Each response of Azure has this header, that of a proxy has not.
fn bare(response: &Response) -> Option<Told> {
    let is_azure = response.header("x-ms-request-id").is_some();
    let Bare { code, message } = serde_json::from_slice(&response.body).ok().filter(|_| is_azure)?;
    Some(Told { code, message })
}

/// Errors of Resource Manager are objects, those of Entra ID texts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    ResourceManager {
        code: String,
        #[serde(default)]
        message: String,
    },
    Identity(String),
}

fn told(service: Service, response: &Response) -> Told {
    let told = told_by(service, response);
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_code = told.code.len() <= LONGEST_CODE && told.code.chars().all(legal);
    if is_code {
        return told;
    }
    // Whoever answers so is not Azure.
    let message: String = told.message.chars().take(LONGEST).collect();
    Told {
        code: String::new(),
        message,
    }
}

fn told_by(service: Service, response: &Response) -> Told {
    let text = String::from_utf8_lossy(&response.body);
    match service {
        Service::ResourceManager | Service::Identity => match serde_json::from_slice::<Envelope>(&response.body) {
            Ok(Envelope {
                error: Body::ResourceManager { code, message },
                ..
            }) => Told { code, message },
            Ok(Envelope {
                error: Body::Identity(code),
                error_description,
            }) => Told {
                code,
                message: error_description,
            },
            Err(_) => bare(response)
                .filter(|_| service == Service::ResourceManager)
                .unwrap_or_else(|| Told {
                    code: String::new(),
                    message: text.chars().take(LONGEST).collect(),
                }),
        },
        Service::Blobs | Service::RegistryBlobs => {
            let header = response.header("x-ms-error-code").map(str::to_owned);
            let code = header.or_else(|| xml::text(&text, "Code").filter(|_| text.contains("<Error>")));
            let message = match &code {
                Some(_) => xml::text(&text, "Message"),
                None => None,
            };
            Told {
                message: message.unwrap_or_else(|| text.chars().take(LONGEST).collect()),
                code: code.unwrap_or_default(),
            }
        }
    }
}

/// The error of a response that is no success.
pub fn of_response(service: Service, action: &'static str, resource: &str, response: &Response) -> Failure {
    let Told { code, message } = told(service, response);
    let status = response.status;
    let class = classify(service, status, &code);
    let of_identity = service == Service::Identity;
    let refused = of_identity && class != CallClass::Undecided;
    let shown = shown_code(service, class, &code);
    let message = match (code.as_str(), message.trim()) {
        ("", "") => format!("status {status} without a text"),
        ("", message) => format!("status {status}: {message}"),
        (code, message) if code == shown => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
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
        of_identity,
        code: shown,
        message,
        region: None,
    };
    Failure {
        error: Box::new(error),
        code,
        retry_after: retry_after(response),
    }
}

fn shown_code(service: Service, class: CallClass, code: &str) -> String {
    match (service, class) {
        (Service::RegistryBlobs, _) if !code.is_empty() => code.to_owned(),
        (_, CallClass::ContainerGone) if code == reasons::CONTAINER_NOT_FOUND => code.to_owned(),
        (_, CallClass::ContainerGone) => reasons::ACCOUNT_NOT_FOUND.to_owned(),
        _ => reasons::AZURE_ERROR.to_owned(),
    }
}

/// Wait that a response asks for, in `Retry-After` (seconds).
pub fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.header("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn classify(service: Service, status: u16, code: &str) -> CallClass {
    match (status, service) {
        (300..=399 | 408 | 429 | 500 | 502..=599, _) => CallClass::Undecided,
        (400..=499, Service::Identity) | (401, _) => CallClass::Denied,
        (405 | 501, _) => CallClass::Unsupported,
        (_, Service::ResourceManager) => of_resource_manager(status, code),
        (_, Service::Blobs | Service::RegistryBlobs) => of_blobs(status, code),
        _ => CallClass::Rejected,
    }
}

/// Class of the error with which an operation ended. Some are those of a passing state of another resource.
pub fn of_operation(code: &str) -> CallClass {
    of_resource_manager(409, code)
}

fn of_resource_manager(status: u16, code: &str) -> CallClass {
    match (status, code) {
        // A policy, not a missing permission.
        (403, "RequestDisallowedByPolicy") => CallClass::Rejected,
        (403, _) => CallClass::Forbidden,
        (
            404,
            "ResourceNotFound"
            | "ResourceGroupNotFound"
            | "ParentResourceNotFound"
            | "NotFound"
            | reasons::CONTAINER_NOT_FOUND,
        ) => CallClass::NotFound,
        // A proxy does not answer with a code of Azure.
        (404, "")
        | (
            409,
            "AnotherOperationInProgress"
            | "RetryableError"
            | "ReferencedResourceNotProvisioned"
            | "StorageAccountOperationInProgress"
            | "StorageAccountIsNotProvisioned"
            | "ConcurrentUpdateError"
            | "OperationPreempted",
        ) => CallClass::Undecided,
        (409, "StorageAccountAlreadyTaken") => CallClass::NameTaken,
        _ => CallClass::Rejected,
    }
}

fn of_blobs(status: u16, code: &str) -> CallClass {
    match (status, code) {
        (403, "AuthenticationFailed" | "KeyBasedAuthenticationNotPermitted") => CallClass::Denied,
        (403, _) => CallClass::Forbidden,
        (404, reasons::CONTAINER_NOT_FOUND | reasons::ACCOUNT_NOT_FOUND) => CallClass::ContainerGone,
        (404, "") | (409, "ContainerBeingDeleted" | "ContainerBeingCreated" | "AccountBeingCreated") => {
            CallClass::Undecided
        }
        (404, "BlobNotFound") => CallClass::NotFound,
        _ => CallClass::Rejected,
    }
}

/// Whether a policy protects the blob.
pub fn is_locked(code: &str) -> bool {
    matches!(
        code,
        "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold" | "ContainerImmutableDueToPolicy"
    )
}

/// The error of a request without a response.
pub fn of_nothing(service: Service, action: &'static str, resource: &str, error: NoResponse) -> CallError {
    let (cause, class, message) = match error {
        NoResponse::Unreachable(why) => (Cause::Unreachable, CallClass::Undecided, why),
        NoResponse::Unsendable(why) => (Cause::Unsendable, CallClass::Rejected, why),
    };
    CallError {
        action,
        cause,
        class,
        of_identity: service == Service::Identity,
        code: "RequestError".to_owned(),
        ..CallError::invalid(resource, &message)
    }
}

/// Error for a response that is not one of Azure.
pub fn garbled(service: Service, action: &'static str, resource: &str, why: &str) -> CallError {
    let message = format!("the response is not one of Azure ({why}): check whether a proxy answers in its place");
    CallError {
        code: GARBLED.to_owned(),
        ..of_nothing(service, action, resource, NoResponse::Unreachable(message))
    }
}

/// An error that the operator found in a correct response, or without a request.
pub fn rejected(action: &'static str, resource: &str, message: String) -> CallError {
    CallError {
        action,
        resource: resource.to_owned(),
        cause: Cause::Answer(200),
        class: CallClass::Rejected,
        of_identity: false,
        code: reasons::AZURE_ERROR.to_owned(),
        message,
        region: None,
    }
}

/// The error of a request that was not sent, because the service asked for none in this time.
pub fn throttled(action: &'static str, resource: &str, left: Duration) -> CallError {
    CallError {
        cause: Cause::Answer(429),
        class: CallClass::Undecided,
        ..rejected(
            action,
            resource,
            format!("Resource Manager asked to wait for {} more seconds", left.as_secs()),
        )
    }
}

/// The error for a container whose account does not exist.
pub fn account_gone(error: CallError) -> CallError {
    CallError {
        class: CallClass::ContainerGone,
        code: reasons::ACCOUNT_NOT_FOUND.to_owned(),
        ..error
    }
}

/// Whether another attempt is useful.
pub fn is_retried(error: &CallError) -> bool {
    match error.cause {
        Cause::Unreachable => error.code != GARBLED,
        Cause::Answer(status) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
        _ => false,
    }
}

/// Whether the request may have succeeded although it failed for the client.
pub fn is_lost(error: &CallError) -> bool {
    matches!(error.cause, Cause::Unreachable | Cause::Answer(500..=599)) && error.cause != Cause::Answer(503)
}

#[cfg(test)]
mod tests;
