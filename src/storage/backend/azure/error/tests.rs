use http::HeaderMap;
use serde_json::{Value, json};

use super::*;

fn response(status: u16, code: Option<&str>, body: &str) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(code) = code {
        headers.insert("x-ms-error-code", code.parse().unwrap());
    }
    Response {
        status,
        headers,
        body: body.as_bytes().to_vec(),
    }
}

fn of_blobs(status: u16, code: Option<&str>) -> Failure {
    of_response(Service::Blobs, "right", "images", &response(status, code, ""))
}

fn of_manager(status: u16, body: &Value) -> Failure {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    of_response(
        Service::ResourceManager,
        "right",
        "account",
        &response(status, None, &body),
    )
}

// storage-azure 22, section 7.2: only the exact code decides
#[test]
fn a_container_is_missing_only_by_the_services_code() {
    let gone = of_blobs(404, Some("ContainerNotFound"));
    assert!(gone.error.is_container_gone());
    assert_eq!(gone.error.code, "ContainerNotFound");
    let account = of_blobs(404, Some("AccountNotFound"));
    assert!(account.error.is_container_gone());
    assert_eq!(account.error.code, "AccountNotFound");
    assert!(!of_blobs(404, None).error.is_missing());
    let blob = of_blobs(404, Some("BlobNotFound"));
    assert!(blob.error.is_missing() && !blob.error.is_container_gone());
    let xml = "<?xml version=\"1.0\"?><Error><Code>ContainerNotFound</Code><Message>gone &amp; away</Message></Error>";
    let told = of_response(Service::Blobs, "right", "images", &response(404, None, xml));
    assert!(told.error.is_container_gone() && told.error.message.contains("gone & away"));
    let page = of_response(
        Service::Blobs,
        "right",
        "images",
        &response(404, None, "<html>no such page</html>"),
    );
    assert!(!page.error.is_missing());
}

#[test]
fn each_code_has_one_class() {
    for (status, code, class) in [
        (403, "AuthenticationFailed", CallClass::Denied),
        (403, "KeyBasedAuthenticationNotPermitted", CallClass::Denied),
        (403, "AuthorizationFailure", CallClass::Forbidden),
        (403, "AuthorizationPermissionMismatch", CallClass::Forbidden),
        (401, "InvalidAuthenticationInfo", CallClass::Denied),
        (409, "ContainerBeingDeleted", CallClass::Undecided),
        (409, "ContainerAlreadyExists", CallClass::Rejected),
        (409, "BlobImmutableDueToPolicy", CallClass::Rejected),
        (412, "LeaseIdMissing", CallClass::Rejected),
        (503, "ServerBusy", CallClass::Undecided),
        (500, "InternalError", CallClass::Undecided),
        (429, "TooManyRequests", CallClass::Undecided),
    ] {
        assert_eq!(of_blobs(status, Some(code)).error.class, class, "{status} {code}");
    }
    let error = |code: &str| json!({"error": {"code": code, "message": "why"}});
    for (status, body, class) in [
        (404, error("ResourceNotFound"), CallClass::NotFound),
        (404, error("ResourceGroupNotFound"), CallClass::NotFound),
        (404, error("SubscriptionNotFound"), CallClass::Rejected),
        (404, Value::Null, CallClass::Undecided),
        (403, error("AuthorizationFailed"), CallClass::Forbidden),
        (403, error("RequestDisallowedByPolicy"), CallClass::Rejected),
        (401, error("ExpiredAuthenticationToken"), CallClass::Denied),
        (409, error("AnotherOperationInProgress"), CallClass::Undecided),
        (409, error("StorageAccountIsNotProvisioned"), CallClass::Undecided),
        (409, error("Conflict"), CallClass::Rejected),
        (429, error("TooManyRequests"), CallClass::Undecided),
    ] {
        assert_eq!(of_manager(status, &body).error.class, class, "{status} {body}");
    }
}

// storage-azure section 10.1: Private DNS writes errors without an envelope; whoever else does is not Azure
#[test]
fn an_error_without_an_envelope_counts_if_it_is_azures() {
    let body = r#"{"code":"NotFound","message":"The resource record 'a' does not exist in resource group 'b'."}"#;
    let of = |headers: HeaderMap, service: Service| {
        let response = Response {
            headers,
            ..response(404, None, body)
        };
        of_response(service, "right", "record", &response)
    };
    let azures = || HeaderMap::from_iter([("x-ms-request-id".parse().unwrap(), "1".parse().unwrap())]);
    let told = of(azures(), Service::ResourceManager);
    assert_eq!(
        (told.error.class, told.code.as_str()),
        (CallClass::NotFound, "NotFound")
    );
    assert_eq!(
        of(HeaderMap::new(), Service::ResourceManager).error.class,
        CallClass::Undecided
    );
    assert_eq!(of(azures(), Service::Identity).code, "");
}

// storage-azure section 13
#[test]
fn the_reason_is_azure_error_and_the_services_code_is_in_the_message() {
    let failure = of_blobs(403, Some("AuthorizationFailure"));
    assert_eq!(failure.error.code, "AzureError");
    assert_eq!(failure.code, "AuthorizationFailure");
    assert!(failure.error.to_string().contains("AuthorizationFailure"));
    let registry = of_response(
        Service::RegistryBlobs,
        "right",
        "images",
        &response(403, Some("AuthorizationPermissionMismatch"), ""),
    );
    assert_eq!(registry.error.code, "AuthorizationPermissionMismatch");
    let manager = of_manager(
        403,
        &json!({"error": {"code": "AuthorizationFailed", "message": "no right"}}),
    );
    assert_eq!(manager.error.message, "AuthorizationFailed: no right");
}

#[test]
fn a_refusal_of_entra_id_says_nothing_of_the_storage() {
    let body = json!({"error": "invalid_client", "error_description": "AADSTS7000215: wrong secret"}).to_string();
    let failure = of_response(Service::Identity, "token", "client", &response(401, None, &body));
    assert!(failure.error.of_identity && failure.error.is_denied());
    assert_eq!(failure.error.cause, Cause::Identity);
    assert!(failure.error.message.contains("AADSTS7000215"));
    let busy = of_response(Service::Identity, "token", "client", &response(503, None, ""));
    assert!(busy.error.is_undecided() && busy.error.of_identity);
}

#[test]
fn only_what_may_pass_is_tried_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        assert!(is_retried(&of_blobs(status, None).error), "{status}");
    }
    for status in [400, 403, 404, 409, 412, 501] {
        assert!(!is_retried(&of_blobs(status, Some("Code")).error), "{status}");
    }
    let nothing = of_nothing(Service::Blobs, "r", "c", NoResponse::Unreachable("reset".to_owned()));
    assert!(is_retried(&nothing) && is_lost(&nothing));
    assert!(!is_retried(&garbled(Service::Blobs, "r", "c", "a page")));
    assert!(!is_retried(&of_nothing(
        Service::Blobs,
        "r",
        "c",
        NoResponse::Unsendable("x".to_owned())
    )));
}
