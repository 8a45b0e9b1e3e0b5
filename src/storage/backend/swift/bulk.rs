//! Deletion of many objects with one request. Source: OpenStack Object Storage API, "Bulk delete".

use http::Method;
use serde::Deserialize;

use super::client::{Call, Client};
use super::error;
use super::reasons;
use crate::storage::model::call::{CallClass, Called};
use crate::storage::model::container::{Refusal, RefusalCause};
use crate::storage::net::percent::{decoded_text, encoded};

/// Result of a bulk deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BulkDeletion {
    /// Number of objects that this request deleted, without those that were gone before.
    pub deleted: u64,
    /// Objects that were not deleted.
    pub refused: Vec<Refusal>,
}

/// The body of the response.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "Number Deleted")]
    deleted: u64,
    #[serde(rename = "Response Status", default)]
    status: String,
    #[serde(rename = "Response Body", default)]
    message: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

/// Longest line in bytes: Swift reads the body in pieces of its longest path, 256 + 1024 + 2 bytes, and may refuse the whole
/// request for the sake of a longer line.
const LONGEST_LINE: usize = 1282;

/// The line that names an object: container and name as one segment each, so that the service reads the names as they are.
fn line(container: &str, name: &str) -> String {
    format!("{}/{}\n", encoded(container), encoded(name))
}

/// Whether a bulk deletion can name this object. Without a name the line would name the container.
pub fn is_line(container: &str, name: &str) -> bool {
    !name.is_empty() && line(container, name).len() <= LONGEST_LINE
}

/// The number at the beginning of `404 Not Found`.
fn number(status: &str) -> Option<u16> {
    status.split_whitespace().next()?.parse().ok()
}

/// Why an object was not deleted.
fn refusal((name, status): (String, String)) -> Refusal {
    let name = decoded_text(&name);
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
    /// Deletes these objects, given as container and name. `None`: the service has no bulk deletion, or none of so many.
    /// `method`: the operator sends POST, the registry DELETE.
    pub async fn delete_together(&self, method: Method, objects: &[(&str, &str)]) -> Called<Option<BulkDeletion>> {
        let lines: String = objects.iter().map(|(container, name)| line(container, name)).collect();
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
            if status == Some(413) && body.deleted == 0 {
                // It permits fewer objects at once, and does not say how many: `/info` is closed.
                return Ok(None);
            }
            let all_missing = status == Some(404) && body.deleted == 0;
            if status == Some(401) || (body.errors.is_empty() && !(status == Some(200) || all_missing)) {
                let of_swift = error::is_of_swift(&answer.headers);
                let status = status.filter(|status| *status >= 300).unwrap_or(500);
                let error = call.failed(status, of_swift, body.message.as_bytes());
                return Err(self.cleaned(error).await);
            }
            return Ok(Some(BulkDeletion {
                // No service can make a removal count more than it asked for.
                deleted: body.deleted.min(objects.len() as u64),
                refused: self.shown(body.errors.into_iter().map(refusal).collect()).await,
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

    #[test]
    fn a_line_names_one_object_and_never_its_container() {
        assert_eq!(line("a b", "c/d\ne"), "a%20b/c%2Fd%0Ae\n");
        assert!(is_line("images", "x") && is_line("images", ".."));
        assert!(!is_line("images", ""), "it would be the line of the container");
        assert!(is_line("images", &"x".repeat(1024)));
        assert!(!is_line("images", &"\u{fc}".repeat(512)));
        assert!(!is_line(&"\u{fc}".repeat(128), &"x".repeat(1024)));
    }

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
