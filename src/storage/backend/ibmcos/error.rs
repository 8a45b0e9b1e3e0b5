//! PURE: errors of IAM, Resource Controller and Resource Manager.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::resource::{Hold, Instance};
use crate::storage::model::call::{CallClass, CallError, Cause};
use crate::storage::net::transport::{NoResponse, Response};

/// First wait before a retry.
const FIRST: Duration = Duration::from_millis(200);
/// First wait after a throttled request.
const FIRST_THROTTLED: Duration = Duration::from_secs(1);
/// Longest text without a message that is shown, in characters.
const LONGEST: usize = 200;
/// Code of a resource that an API key of another account does not show.
pub const OTHER_ACCOUNT: &str = "OtherAccount";
/// Code of a service instance that cannot be used, and whose buckets may exist.
pub const HELD: &str = "InstanceUnavailable";
/// Code of a response that is not one of these services.
const GARBLED: &str = "InvalidResponse";

/// What a call asks for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What the caller needs for it, for messages.
    pub action: &'static str,
    /// What the call is about, for messages.
    pub resource: &'a str,
    /// The call asks for a token.
    pub of_token: bool,
}

/// The members of an error, in the forms of the three services.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Document {
    #[serde(rename = "errorCode")]
    iam_code: Option<String>,
    #[serde(rename = "errorMessage")]
    iam_message: Option<String>,
    error_code: Option<String>,
    message: Option<String>,
    errors: Vec<Item>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    code: Option<String>,
    message: Option<String>,
}

/// Code and message of a response.
fn told(body: &[u8]) -> (String, String) {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let Ok(document) = serde_json::from_value::<Document>(value) else {
        return (String::new(), String::new());
    };
    let first = document.errors.into_iter().next().unwrap_or_default();
    let code = document.iam_code.or(document.error_code).or(first.code);
    let message = document.iam_message.or(document.message).or(first.message);
    (code.unwrap_or_default(), message.unwrap_or_default())
}

/// The error of a response that is no success.
pub fn of_response(call: Call<'_>, response: &Response) -> CallError {
    let status = response.status;
    let (code, message) = told(&response.body);
    let class = match status {
        300..=399 | 408 | 429 | 500.. => CallClass::Undecided,
        _ if call.of_token => CallClass::Denied,
        401 => CallClass::Denied,
        403 => CallClass::Forbidden,
        404 | 410 => CallClass::NotFound,
        _ => CallClass::Rejected,
    };
    let text = match (code.as_str(), message.trim()) {
        ("", "") => String::from_utf8_lossy(&response.body).chars().take(LONGEST).collect(),
        ("", message) => message.to_owned(),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    let refused = call.of_token && class == CallClass::Denied;
    CallError {
        action: call.action,
        cause: if refused {
            Cause::Identity
        } else {
            Cause::Answer(status)
        },
        class,
        code: status.to_string(),
        message: if text.trim().is_empty() {
            "the response has no text".to_owned()
        } else {
            text
        },
        ..of_service(call.resource, "")
    }
}

/// The error of a request without a response.
pub fn of_nothing(call: Call<'_>, error: NoResponse) -> CallError {
    let (cause, class, message) = match error {
        NoResponse::Unreachable(why) => (Cause::Unreachable, CallClass::Undecided, why),
        NoResponse::Unsendable(why) => (Cause::Unsendable, CallClass::Rejected, why),
    };
    CallError {
        action: call.action,
        cause,
        class,
        code: "RequestError".to_owned(),
        ..of_service(call.resource, &message)
    }
}

/// Error for a response that is not one of these services, or lacks what the operator needs.
pub fn garbled(call: Call<'_>, why: &str) -> CallError {
    CallError {
        action: call.action,
        cause: Cause::Unreachable,
        class: CallClass::Undecided,
        code: GARBLED.to_owned(),
        ..of_service(call.resource, why)
    }
}

/// Error for a resource that the services do not show, because the API key is of another account than the resource.
pub fn other_account(resource: &str, owner: Option<&str>, account: &str) -> CallError {
    let owner = owner.map_or_else(
        || "an account that its CRN does not name".to_owned(),
        |owner| format!("account {owner}"),
    );
    let why = format!(
        "the service does not show the resource, because the resource belongs to {owner} and the API key to account \
         {account}. Restore an API key of the account that has the registry's storage"
    );
    CallError {
        class: CallClass::Denied,
        ..unusable("an API key of the right account", resource, OTHER_ACCOUNT, &why)
    }
}

/// Error for a service instance that cannot be used, and whose buckets may exist or come back. It decides nothing about the
/// bucket: a registry keeps its identifiers, and a removal does not end.
pub fn held(crn: &str, instance: &Instance, hold: Hold) -> CallError {
    let state = instance.state.as_deref().unwrap_or_default();
    let state: String = state.chars().filter(char::is_ascii_graphic).take(40).collect();
    let why = match hold {
        Hold::Disabled => format!(
            "the service instance is disabled (state {state}), and its buckets are kept: enable it again, for example by \
             settling what the account owes"
        ),
        Hold::Reclamation => format!(
            "the service instance was deleted (state {state}), and IBM Cloud keeps its buckets for about seven days: restore \
             it (ibmcloud resource reclamations shows the ID for ibmcloud resource reclamation-restore), or wait until the \
             reclamation is over"
        ),
        Hold::Beginning => format!(
            "the service instance is not active yet (state {state}), and does not show its buckets: wait until it is"
        ),
        Hold::Other => format!(
            "the service instance has state {state}, which does not say that its buckets are gone: make it active again, or \
             delete it and wait until it is removed (ibmcloud resource reclamations shows what is left of it)"
        ),
    };
    // A list by name does not show such an instance.
    let another = if matches!(hold, Hold::Reclamation | Hold::Other) {
        "; if spec.storage.ibmcos.serviceInstanceCRN and resourceKeyCRN are empty, another instance is created"
    } else {
        ""
    };
    let why = format!(
        "{why}. Nothing is created or forgotten meanwhile. A registry that is to run without these images needs other storage \
         in spec.storage, such as another serviceInstanceCRN and bucket{another}"
    );
    unusable("use of the service instance", crn, HELD, &why)
}

/// Error for a resource that cannot be used: why, with the remedy.
pub fn unusable(action: &'static str, resource: &str, code: &str, why: &str) -> CallError {
    CallError {
        action,
        code: code.to_owned(),
        ..of_service(resource, why)
    }
}

/// None of these services says anything about the bucket.
fn of_service(resource: &str, message: &str) -> CallError {
    CallError {
        of_identity: true,
        ..CallError::invalid(resource, message)
    }
}

/// The first wait before a retry; `None` if a retry is useless.
pub fn first_wait(error: &CallError) -> Option<Duration> {
    match error.cause {
        Cause::NotLeading | Cause::Answer(300..=399) => None,
        Cause::Answer(429) => Some(FIRST_THROTTLED),
        _ if error.code == GARBLED => None,
        _ => error.is_undecided().then_some(FIRST),
    }
}

/// The same for a request that must not be carried out twice: only where the service did not begin.
pub fn first_wait_once(error: &CallError) -> Option<Duration> {
    first_wait(error).filter(|_| error.cause == Cause::Answer(429))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(of_token: bool, status: u16, body: &str) -> CallError {
        let call = Call {
            action: "role Viewer",
            resource: "blue",
            of_token,
        };
        let body = body.as_bytes().to_vec();
        of_response(
            call,
            &Response {
                status,
                headers: http::HeaderMap::new(),
                body,
            },
        )
    }

    #[test]
    fn errors_of_each_service_are_told_in_its_words() {
        for (of_token, status, body, class, message) in [
            (
                true,
                400,
                r#"{"errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found."}"#,
                CallClass::Denied,
                "BXNIM0415E: Provided API key could not be found.",
            ),
            (true, 429, "", CallClass::Undecided, "the response has no text"),
            (
                true,
                503,
                "<html>busy</html>",
                CallClass::Undecided,
                "<html>busy</html>",
            ),
            (
                false,
                404,
                r#"{"message": "Not found", "status_code": 404, "error_code": "RC-ServiceBrokerErrorResponse"}"#,
                CallClass::NotFound,
                "RC-ServiceBrokerErrorResponse: Not found",
            ),
            (
                false,
                410,
                r#"{"message": null}"#,
                CallClass::NotFound,
                r#"{"message": null}"#,
            ),
            (
                false,
                403,
                r#"{"errors": [{"code": "not_authorized", "message": "You are not authorized"}]}"#,
                CallClass::Forbidden,
                "not_authorized: You are not authorized",
            ),
            (false, 401, "{}", CallClass::Denied, "{}"),
            (false, 422, "[]", CallClass::Rejected, "[]"),
            (false, 302, "", CallClass::Undecided, "the response has no text"),
        ] {
            let error = error(of_token, status, body);
            assert_eq!((error.class, error.message.as_str()), (class, message));
            assert!(error.of_identity && !error.is_missing());
        }
    }

    #[test]
    fn what_may_have_happened_is_not_asked_for_again() {
        let lost = of_nothing(
            Call {
                action: "role Editor",
                resource: "blue",
                of_token: false,
            },
            NoResponse::Unreachable("reset".to_owned()),
        );
        for (error, again, once) in [
            (error(false, 429, ""), true, true),
            (error(false, 503, ""), true, false),
            (error(false, 500, ""), true, false),
            (error(false, 301, ""), false, false),
            (error(false, 403, ""), false, false),
            (lost, true, false),
        ] {
            assert_eq!(
                (first_wait(&error).is_some(), first_wait_once(&error).is_some()),
                (again, once),
                "{error}"
            );
        }
    }
}
