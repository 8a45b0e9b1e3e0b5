//! PURE: classifies the errors of Keystone and Swift. Source: OpenStack Object Storage API reference; Ceph RGW's Swift API.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::storage::model::call::{CallClass, CallError, Cause};

/// First wait before a retry.
const FIRST: Duration = Duration::from_millis(100);
/// First wait after a throttled request.
const FIRST_THROTTLED: Duration = Duration::from_secs(1);
/// Longest wait that a service may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(30);

/// The proxy server of Swift, and Ceph RGW, add it to each response, and nothing in between does. `X-Openstack-Request-Id`,
/// which both add as well, proves nothing: all other services of OpenStack have it, too.
const TRANSACTION_HEADER: &str = "x-trans-id";

/// Object of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Keystone.
    Identity,
    /// The account, or `/info`.
    Account,
    /// The container.
    Container,
    /// An object of the container.
    Object,
}

/// Whether Swift itself sent the response.
pub fn is_of_swift(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSACTION_HEADER)
}

/// What the status means. `of_swift`: Swift itself sent the response.
pub fn classify(of: Of, status: u16, of_swift: bool) -> CallClass {
    match (status, of) {
        // Something in between answers in place of Swift.
        (401 | 403 | 404 | 405 | 501, Of::Account) if !of_swift => CallClass::Undecided,
        (401 | 403, Of::Identity) | (401, _) => CallClass::Denied,
        // Not the URL of Keystone, which says nothing about the credentials.
        (404, Of::Identity) => CallClass::Rejected,
        (403, _) => CallClass::Forbidden,
        (404, Of::Container) if of_swift => CallClass::ContainerGone,
        // Something in between does not know the path, so that nothing is known of the object.
        (404, Of::Object) if !of_swift => CallClass::Rejected,
        (404, _) => CallClass::NotFound,
        (409, Of::Container) => CallClass::NotEmpty,
        (405 | 501, _) => CallClass::Unsupported,
        // 498: Swift's rate limits. Redirects: something in between answers.
        (301 | 302 | 303 | 307 | 308 | 408 | 409 | 425 | 429 | 498 | 500.., _) => CallClass::Undecided,
        _ => CallClass::Rejected,
    }
}

/// The error of a response with this status.
pub fn answered(action: &'static str, resource: &str, of: Of, status: u16, of_swift: bool, body: &[u8]) -> CallError {
    let class = classify(of, status, of_swift);
    let of_identity = of == Of::Identity;
    let refused = of_identity && class == CallClass::Denied;
    CallError {
        action,
        resource: resource.to_owned(),
        cause: if refused {
            Cause::Identity
        } else {
            Cause::Answer(status)
        },
        class,
        of_identity,
        code: words(status),
        message: message(status, body),
        region: None,
    }
}

/// The error of a call without a usable response.
pub fn unanswered(action: &'static str, resource: &str, of: Of, message: String) -> CallError {
    CallError {
        action,
        cause: Cause::Unreachable,
        class: CallClass::Undecided,
        of_identity: of == Of::Identity,
        code: "RequestError".to_owned(),
        message,
        ..CallError::invalid(resource, "")
    }
}

/// What a login is called in messages.
pub const LOGIN: &str = "login at Keystone";

/// A login that cannot be attempted, or leads to no endpoint: what to correct.
pub fn no_login(resource: &str, code: &str, message: String) -> CallError {
    CallError {
        action: LOGIN,
        of_identity: true,
        code: code.to_owned(),
        message,
        ..CallError::invalid(resource, "")
    }
}

/// The first wait before a retry, without jitter; `None` if a retry is useless.
pub fn first_wait(error: &CallError) -> Option<Duration> {
    match error.cause {
        Cause::Answer(429 | 498 | 503) => Some(FIRST_THROTTLED),
        Cause::Answer(408 | 409 | 425 | 500..) if error.class == CallClass::Undecided => Some(FIRST),
        Cause::Unreachable => Some(FIRST),
        _ => None,
    }
}

/// How long the service asks to wait, in the header `Retry-After`.
pub fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(http::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_ASKED))
}

/// Whether a request that changes something may have been carried out although it failed for the client.
pub fn is_lost(error: &CallError) -> bool {
    error.is_undecided() && matches!(error.cause, Cause::Unreachable | Cause::Answer(500..)) && error.cause != BUSY
}

/// A response that means that the request had no effect.
const BUSY: Cause = Cause::Answer(503);

/// `Not Found` -> `NotFound`.
pub fn words(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    reason.map_or_else(
        || format!("Status{status}"),
        |words| words.replace([' ', '-', '\''], ""),
    )
}

/// The text of the service, with the status and what it means where the text seldom says it.
fn message(status: u16, body: &[u8]) -> String {
    let text = text(body);
    let meaning = match status {
        413 => "; the quota of the account or of the container is used up: raise it",
        507 => "; the disks of the object store are full",
        _ => "",
    };
    if text.is_empty() {
        format!("HTTP status {status}{meaning}")
    } else {
        format!("{status}: {text}{meaning}")
    }
}

/// The message of Keystone's JSON, or the words of Swift's HTML.
fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if let Ok(json) = serde_json::from_str::<Value>(&text) {
        let message = json.pointer("/error/message").and_then(Value::as_str);
        return message.unwrap_or_default().to_owned();
    }
    let mut shown = String::new();
    let mut inside = false;
    for c in text.chars() {
        match c {
            '<' => {
                inside = true;
                shown.push(' ');
            }
            '>' => inside = false,
            c if !inside => shown.push(c),
            _ => {}
        }
    }
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(of: Of, status: u16, of_swift: bool) -> CallError {
        answered("GET container", "images", of, status, of_swift, b"")
    }

    // storage-swift 5, 29, 43, 45
    #[test]
    fn each_status_has_one_meaning() {
        use CallClass::{ContainerGone, Denied, Forbidden, NotEmpty, NotFound, Rejected, Undecided, Unsupported};
        for (of, status, expected) in [
            (Of::Identity, 401, Denied),
            (Of::Identity, 403, Denied),
            (Of::Identity, 404, Rejected),
            (Of::Identity, 400, Rejected),
            (Of::Identity, 429, Undecided),
            (Of::Identity, 503, Undecided),
            (Of::Container, 400, Rejected),
            (Of::Container, 401, Denied),
            (Of::Container, 403, Forbidden),
            (Of::Container, 404, ContainerGone),
            (Of::Container, 405, Unsupported),
            (Of::Container, 409, NotEmpty),
            (Of::Container, 412, Rejected),
            (Of::Container, 413, Rejected),
            (Of::Container, 429, Undecided),
            (Of::Container, 498, Undecided),
            (Of::Container, 500, Undecided),
            (Of::Container, 501, Unsupported),
            (Of::Container, 503, Undecided),
            (Of::Container, 507, Undecided),
            (Of::Container, 302, Undecided),
            (Of::Object, 404, NotFound),
            (Of::Object, 409, Undecided),
            (Of::Account, 404, NotFound),
            (Of::Account, 401, Denied),
        ] {
            let error = failed(of, status, true);
            assert_eq!(error.class, expected, "{of:?} {status}");
            assert_eq!(error.of_identity, of == Of::Identity);
        }
    }

    #[test]
    fn a_container_is_gone_only_if_swift_itself_says_so() {
        assert_eq!(failed(Of::Container, 404, false).class, CallClass::NotFound);
        assert!(!failed(Of::Object, 404, false).is_missing());
        for status in [401, 403, 404, 405, 501] {
            assert!(failed(Of::Account, status, false).is_undecided(), "{status}");
        }
        let mut headers = HeaderMap::new();
        assert!(!is_of_swift(&headers));
        headers.insert("X-Openstack-Request-Id", http::HeaderValue::from_static("req-1"));
        assert!(!is_of_swift(&headers), "Keystone and all others have this one");
        headers.insert("X-Trans-Id", http::HeaderValue::from_static("tx1"));
        assert!(is_of_swift(&headers));
    }

    #[test]
    fn a_refused_login_is_no_answer_of_the_storage() {
        let error = failed(Of::Identity, 401, false);
        assert!(!error.is_missing() && error.is_denied() && !error.is_forbidden());
        assert_eq!(error.cause, Cause::Identity);
        assert_eq!(first_wait(&error), None);
    }

    #[test]
    fn throttling_and_failures_are_retried_and_refusals_are_not() {
        for (status, expected) in [
            (429, Some(FIRST_THROTTLED)),
            (503, Some(FIRST_THROTTLED)),
            (500, Some(FIRST)),
            (507, Some(FIRST)),
            (501, None),
            (401, None),
            (403, None),
            (404, None),
            (409, None),
        ] {
            assert_eq!(first_wait(&failed(Of::Container, status, true)), expected, "{status}");
        }
        let silent = unanswered("GET container", "images", Of::Container, String::new());
        assert!(first_wait(&silent).is_some() && is_lost(&silent));
        assert!(!is_lost(&failed(Of::Object, 503, true)) && is_lost(&failed(Of::Object, 500, true)));
        let mut headers = HeaderMap::new();
        for (value, expected) in [("5", Some(5)), ("900", Some(30)), ("soon", None)] {
            headers.insert("retry-after", value.parse().unwrap());
            assert_eq!(asked_wait(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn the_message_has_the_words_of_the_service() {
        let of = |status, body: &str| answered("a", "r", Of::Container, status, true, body.as_bytes());
        for (status, body, expected) in [
            (
                403,
                "<html><h1>Forbidden</h1><p>Access was denied.</p></html>",
                "403: Forbidden Access was denied.",
            ),
            (
                401,
                r#"{"error": {"code": 401, "message": "No such user."}}"#,
                "401: No such user.",
            ),
            (404, "", "HTTP status 404"),
        ] {
            assert_eq!(of(status, body).message, expected);
        }
        assert!(of(507, "").message.contains("full") && of(413, "").message.contains("quota"));
        assert_eq!(of(404, "").code, "NotFound");
    }
}
