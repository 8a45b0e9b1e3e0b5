//! Answers in the shapes of Azure's services.
//!
//! Source: https://learn.microsoft.com/azure/azure-resource-manager/management/common-deployment-errors,
//! https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2,
//! https://learn.microsoft.com/entra/identity-platform/reference-error-codes

use super::super::Reply;
use super::state::{timestamp, uuid};
use serde_json::{Value, json};

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

/// A JSON answer.
pub(super) fn json(status: u16, body: &Value) -> Reply {
    Reply::new(status, &body.to_string()).header(JSON.0, JSON.1)
}

/// An answer without a body.
pub(super) fn empty(status: u16) -> Reply {
    Reply::new(status, "")
}

impl Reply {
    /// An error of Resource Manager; `code` is what programs decide by, such as `AuthorizationFailed`.
    pub fn resource_manager_error(status: u16, code: &str, message: &str) -> Self {
        json(status, &json!({ "error": { "code": code, "message": message } })).header("x-ms-failure-cause", "gateway")
    }

    /// An error of the blob service; `code` stands in a header and in the XML.
    pub fn blob_error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}\n\
             RequestId:{}\nTime:{}</Message></Error>",
            uuid(),
            timestamp()
        );
        Self::new(status, &body)
            .header("content-type", "application/xml")
            .header("x-ms-error-code", code)
    }

    /// An error of Entra ID: `error` such as `invalid_client`, and the number of `AADSTS`.
    pub fn entra_error(status: u16, error: &str, number: u32, message: &str) -> Self {
        let (trace, correlation) = (uuid(), uuid());
        let body = json!({
            "error": error,
            "error_description": format!("AADSTS{number}: {message} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {}", timestamp()),
            "error_codes": [number],
            "timestamp": timestamp(),
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
        });
        json(status, &body)
    }
}

/// Short for [`Reply::resource_manager_error`].
pub(super) fn arm(status: u16, code: &str, message: &str) -> Reply {
    Reply::resource_manager_error(status, code, message)
}

/// An error that Private DNS writes itself, without an envelope.
///
/// Source: recordings in Azure/azure-cli, `privatedns/tests/latest/recordings`.
pub(super) fn dns(status: u16, code: &str, message: &str) -> Reply {
    json(status, &json!({ "code": code, "message": message })).header("x-ms-request-id", &uuid())
}

/// 404 for a resource that a group does not hold.
pub(super) fn no_resource(kind: &str, name: &str, group: &str) -> Reply {
    let message = format!(
        "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to \
         https://aka.ms/ARMResourceNotFoundFix"
    );
    arm(404, "ResourceNotFound", &message)
}
