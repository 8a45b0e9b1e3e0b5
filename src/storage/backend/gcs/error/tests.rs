use http::HeaderMap;
use serde_json::json;

use super::*;

fn response(status: u16, body: &str) -> Response {
    Response {
        status,
        headers: HeaderMap::new(),
        body: body.as_bytes().to_vec(),
    }
}

fn failed(about: About, status: u16, body: &str) -> Failure {
    of_response("storage.buckets.get", "images", about, &response(status, body))
}

/// An error as the service words it.
fn api(status: u16, reason: &str) -> String {
    json!({"error": {"code": status, "message": "words", "errors": [{"reason": reason, "domain": "global"}]}})
        .to_string()
}

#[test]
fn each_error_has_its_class() {
    use About::{Bucket, Creation, Deletion, Identity, Other};
    for (about, status, reason, class) in [
        (Bucket, 404, "notFound", CallClass::ContainerGone),
        (Deletion, 404, "notFound", CallClass::ContainerGone),
        (Bucket, 404, "somethingElse", CallClass::NotFound),
        (Other, 404, "notFound", CallClass::NotFound),
        (Creation, 404, "notFound", CallClass::NotFound),
        (Bucket, 401, "authError", CallClass::Denied),
        (Bucket, 403, "forbidden", CallClass::Forbidden),
        (Bucket, 403, "rateLimitExceeded", CallClass::Undecided),
        (Bucket, 403, "accountDisabled", CallClass::Rejected),
        (Other, 403, "retentionPolicyNotMet", CallClass::Rejected),
        (Creation, 409, "conflict", CallClass::NameTaken),
        (Deletion, 409, "conflict", CallClass::NotEmpty),
        (Other, 409, "conflict", CallClass::Rejected),
        (Creation, 400, "invalid", CallClass::Rejected),
        (Creation, 412, "conditionNotMet", CallClass::Rejected),
        (Bucket, 424, "failedDependency", CallClass::Rejected),
        (Bucket, 408, "timeout", CallClass::Undecided),
        (Bucket, 429, "rateLimitExceeded", CallClass::Undecided),
        (Bucket, 500, "backendError", CallClass::Undecided),
        (Bucket, 503, "backendError", CallClass::Undecided),
        (Bucket, 501, "notImplemented", CallClass::Unsupported),
        (Identity, 400, "invalid_grant", CallClass::Denied),
        (Identity, 404, "notFound", CallClass::Denied),
        (Identity, 429, "x", CallClass::Undecided),
        (Identity, 501, "x", CallClass::Undecided),
    ] {
        let Failure { error, reason: told } = failed(about, status, &api(status, reason));
        assert_eq!(error.class, class, "{about:?} {status} {reason}");
        assert_eq!(
            (error.code.as_str(), told.as_str()),
            (status.to_string().as_str(), reason)
        );
        assert_eq!(error.of_identity, about == Identity);
    }
}

// storage-gcs 17
#[test]
fn a_response_that_is_no_error_of_google_is_told_with_its_status_and_text() {
    let error = failed(About::Bucket, 424, "<html>no dependency</html>").error;
    assert_eq!(
        error.to_string(),
        "storage.buckets.get on images: 424: <html>no dependency</html>"
    );
    assert_eq!(failed(About::Bucket, 404, "").error.class, CallClass::NotFound);
    assert!(failed(About::Bucket, 502, "").error.to_string().contains("502"));
}

#[test]
fn a_call_that_met_another_one_decides_nothing() {
    for about in [About::Bucket, About::Creation, About::Deletion, About::Other] {
        let body = json!({"error": {"code": 409, "message": "m", "status": "ABORTED"}}).to_string();
        let error = failed(about, 409, &body).error;
        assert!(error.is_undecided() && first_wait(&error).is_some(), "{about:?}");
        let body = json!({"error": {"code": 409, "message": "m", "status": "ALREADY_EXISTS"}}).to_string();
        assert!(!failed(about, 409, &body).error.is_undecided(), "{about:?}");
    }
}

#[test]
fn a_proxy_never_says_that_a_bucket_is_gone() {
    for body in [
        "",
        "not found",
        "{}",
        "{\"error\": \"notFound\"}x",
        "{\"message\": \"notFound\"}",
    ] {
        assert!(!failed(About::Bucket, 404, body).error.is_container_gone(), "{body}");
    }
}

#[test]
fn the_three_forms_of_errors_are_read() {
    let xml = "<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>";
    for (body, reason, message) in [
        (api(403, "forbidden"), "forbidden", "forbidden: words"),
        (
            json!({"error": {"code": 403, "message": "m", "status": "PERMISSION_DENIED"}}).to_string(),
            "PERMISSION_DENIED",
            "PERMISSION_DENIED: m",
        ),
        (
            json!({"error": "invalid_grant", "error_description": "bad clock"}).to_string(),
            "invalid_grant",
            "invalid_grant: bad clock",
        ),
        (
            json!({"error": "invalid_client"}).to_string(),
            "invalid_client",
            "invalid_client",
        ),
        (xml.to_owned(), "NoSuchKey", "NoSuchKey: gone"),
    ] {
        let failure = failed(About::Other, 403, &body);
        assert_eq!(
            (failure.reason.as_str(), failure.error.message.as_str()),
            (reason, message)
        );
    }
}

// storage-gcs section 9
#[test]
fn what_is_tried_again() {
    for (status, again) in [
        (408, true),
        (429, true),
        (500, true),
        (503, true),
        (302, false),
        (400, false),
        (401, false),
        (403, false),
        (404, false),
        (409, false),
        (412, false),
        (501, false),
    ] {
        let error = failed(About::Bucket, status, "").error;
        assert_eq!(first_wait(&error).is_some(), again, "{status}");
    }
    let none = |none| of_nothing("a", "r", About::Bucket, none);
    assert!(first_wait(&none(NoResponse::Unreachable("reset".to_owned()))).is_some());
    assert!(first_wait(&none(NoResponse::Unsendable("proxy".to_owned()))).is_none());
    assert!(first_wait(&garbled("a", "r", About::Bucket, "html")).is_none());
}
