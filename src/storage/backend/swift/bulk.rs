//! Deletion of many objects with one request. Source: OpenStack Object Storage API, "Bulk delete".

use http::Method;
use serde::Deserialize;

use super::client::{Call, Client, decoded, encoded};
use super::error;
use super::reasons;
use crate::storage::model::call::{CallClass, Called};
use crate::storage::model::container::{Refusal, RefusalCause};

/// Result of a bulk deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkDeletion {
    /// Number of objects that do not exist any more.
    pub gone: u64,
    /// Objects that were not deleted.
    pub refused: Vec<Refusal>,
}

/// The body of the response.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "Number Deleted")]
    deleted: u64,
    #[serde(rename = "Number Not Found", default)]
    not_found: u64,
    #[serde(rename = "Response Status", default)]
    status: String,
    #[serde(rename = "Response Body", default)]
    message: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

/// The number at the beginning of `404 Not Found`.
fn number(status: &str) -> Option<u16> {
    status.split_whitespace().next()?.parse().ok()
}

/// Why an object was not deleted.
fn refusal((name, status): (String, String)) -> Refusal {
    let name = decoded(&name);
    let path = name.trim_start_matches('/');
    let key = path.split_once('/').map_or(path, |(_, key)| key);
    let cause = match number(&status) {
        Some(401 | 403) => RefusalCause::Forbidden("DELETE object"),
        Some(408 | 409 | 425 | 429 | 498 | 500 | 502..) => RefusalCause::Busy,
        _ => RefusalCause::Other,
    };
    Refusal {
        key: key.to_owned(),
        cause,
        code: reasons::UNKNOWN.to_owned(),
        message: status,
    }
}

impl Client {
    /// Deletes these objects, given as container and name. `None`: the service has no bulk deletion. `method`: the operator
    /// sends POST, the registry DELETE.
    pub async fn delete_together(&self, method: Method, objects: &[(&str, &str)]) -> Called<Option<BulkDeletion>> {
        let lines = objects.iter().map(|(container, name)| {
            // As one segment each, so that the service reads the names as they are.
            format!("{}/{}\n", encoded(container), encoded(name))
        });
        let lines: String = lines.collect();
        let call = Call {
            resource: objects.first().map_or("", |(container, _)| container).to_owned(),
            ..Call::of_account("bulk delete", method)
        };
        let call = call
            .query("bulk-delete=true")
            .header("accept", "application/json")
            .body("text/plain", lines)
            .code(reasons::UNKNOWN);
        for last in [false, true] {
            let answer = match self.call(&call).await {
                Ok(answer) => answer,
                Err(error) if is_missing_call(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            // A service without the call takes the request for another one, and answers without this body.
            let Some(body) = serde_json::from_slice::<Body>(&answer.body).ok() else {
                return Ok(None);
            };
            let status = number(&body.status);
            if status == Some(401) && !last {
                self.log_in_again().await?;
                continue;
            }
            let all_missing = status == Some(404) && body.deleted == 0;
            if status == Some(401) || (body.errors.is_empty() && !(status == Some(200) || all_missing)) {
                let of_swift = error::is_of_swift(&answer.headers);
                let status = status.filter(|status| *status >= 300).unwrap_or(500);
                let error = call.failed(status, of_swift, body.message.as_bytes());
                return Err(self.cleaned(error).await);
            }
            return Ok(Some(BulkDeletion {
                gone: body.deleted.saturating_add(body.not_found),
                refused: body.errors.into_iter().map(refusal).collect(),
            }));
        }
        Ok(None)
    }
}

/// Whether the service does not know the call.
fn is_missing_call(error: &crate::storage::model::call::CallError) -> bool {
    use crate::storage::model::call::Cause;
    !error.of_identity
        && (error.class == CallClass::Unsupported || matches!(error.cause, Cause::Answer(404 | 405 | 412 | 501)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // storage-swift 41
    #[test]
    fn an_object_that_stays_is_named_with_its_cause() {
        for (name, status, key, cause) in [
            ("obj0", "Internal Error", "obj0", RefusalCause::Other),
            (
                "images/files%2Fa%20b",
                "403 Forbidden",
                "files/a b",
                RefusalCause::Forbidden("DELETE object"),
            ),
            (
                "/images/files/a",
                "503 Service Unavailable",
                "files/a",
                RefusalCause::Busy,
            ),
            ("images/x", "409 Conflict", "x", RefusalCause::Busy),
            ("images/x", "501 Not Implemented", "x", RefusalCause::Other),
            ("images/x", "412 Precondition Failed", "x", RefusalCause::Other),
        ] {
            let refusal = refusal((name.to_owned(), status.to_owned()));
            assert_eq!((refusal.key.as_str(), refusal.cause), (key, cause), "{name}");
            assert_eq!(refusal.message, status);
        }
    }
}
