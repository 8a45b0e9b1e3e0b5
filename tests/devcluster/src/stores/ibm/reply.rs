//! Answers in the shapes of IBM's services.
//!
//! Source: API references "IAM Identity Services", "Resource Controller", "Resource Manager" of IBM Cloud.

use super::super::Reply;
use serde_json::{Value, json};

pub(super) fn json(status: u16, body: &Value) -> Reply {
    Reply::new(status, &body.to_string()).header("content-type", "application/json")
}

/// An error of IAM.
pub(super) fn iam(status: u16, code: &str, message: &str) -> Reply {
    let context = json!({ "requestId": "devcluster", "requestType": "incoming.Identity_Token" });
    json(
        status,
        &json!({ "errorCode": code, "errorMessage": message, "errorDetails": message, "context": context }),
    )
}

/// An error of Resource Controller.
pub(super) fn controller(status: u16, code: &str, message: &str) -> Reply {
    json(
        status,
        &json!({ "message": message, "error_code": code, "status_code": status, "transaction_id": "devcluster" }),
    )
}

/// An error of Resource Manager.
pub(super) fn manager(status: u16, code: &str, message: &str) -> Reply {
    let errors = json!([{ "code": code, "message": message }]);
    json(
        status,
        &json!({ "errors": errors, "trace": "devcluster", "status_code": status }),
    )
}

/// An error of Cloud Object Storage.
pub(super) fn cos(status: u16, code: &str, message: &str) -> Reply {
    Reply::error(status, code, message)
}
