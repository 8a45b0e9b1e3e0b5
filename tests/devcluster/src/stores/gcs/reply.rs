//! Answers in the shapes of Google's services.
//!
//! Source: https://cloud.google.com/storage/docs/json_api/v1/status-codes (Cloud Storage),
//! https://cloud.google.com/apis/design/errors (Resource Manager, IAM), RFC 6749 section 5.2 (tokens).

use super::super::Reply;
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json; charset=UTF-8");

/// A complete JSON answer.
pub(super) fn good(body: &Value) -> Reply {
    json(&body.to_string())
}

/// The same from text.
pub(super) fn json(body: &str) -> Reply {
    Reply::new(200, body).header(JSON.0, JSON.1)
}

/// 204.
pub(super) fn nothing() -> Reply {
    Reply::new(204, "")
}

/// An error of Cloud Storage; `reason` is what programs decide by.
pub fn storage(status: u16, reason: &str, message: &str) -> Reply {
    let error = json!({
        "code": status,
        "message": message,
        "errors": [{ "message": message, "domain": "global", "reason": reason }],
    });
    Reply::new(status, &json!({ "error": error }).to_string()).header(JSON.0, JSON.1)
}

/// An error of Resource Manager and of IAM; `code` is the canonical one, such as `PERMISSION_DENIED`.
pub(super) fn canonical(status: u16, code: &str, message: &str) -> Reply {
    let error = json!({ "code": status, "message": message, "status": code });
    Reply::new(status, &json!({ "error": error }).to_string()).header(JSON.0, JSON.1)
}

/// An error of a token endpoint.
pub(super) fn token(status: u16, error: &str, description: &str) -> Reply {
    let body = json!({ "error": error, "error_description": description });
    Reply::new(status, &body.to_string()).header(JSON.0, JSON.1)
}

/// 404 for a bucket.
pub(super) fn no_bucket() -> Reply {
    storage(404, "notFound", "The specified bucket does not exist.")
}

/// 404 for an object.
pub(super) fn no_object(bucket: &str, name: &str) -> Reply {
    storage(404, "notFound", &format!("No such object: {bucket}/{name}"))
}

/// 412 for a condition in the request.
pub(super) fn condition() -> Reply {
    storage(
        412,
        "conditionNotMet",
        "At least one of the pre-conditions you specified did not hold.",
    )
}

/// What the service has and this stand-in does not play.
pub(super) fn not_played(what: &str) -> Reply {
    storage(501, "notImplemented", &format!("the stand-in does not play {what}"))
}
