//! PURE: what an administrator can do about a refusal that the preflight gets from OSS.
//!
//! Sources: Alibaba Cloud, "Compatibility with Amazon S3" (the calls of the S3 API of OSS) and "Access OSS by using a custom
//! domain name" (`PublicEndpointForbidden`).

use super::effective::Effective;
use crate::storage::model::call::{CallClass, CallError};
use crate::storage::s3api::codes;

/// Error code (status 400) for calls for objects that an account may not send to the public endpoint.
const PUBLIC_ENDPOINT: &str = "PublicEndpointForbidden";
/// Prefix of the regions in China.
const CHINA: &str = "cn-";
/// A region in China to which the rules of the mainland do not apply.
const HONG_KONG: &str = "cn-hongkong";

/// Remedy for a refusal, as the end of a sentence; empty if there is none.
pub(super) fn remedy(effective: &Effective, error: &CallError) -> String {
    let mainland = effective.region.starts_with(CHINA) && effective.region != HONG_KONG;
    let refused = error.is_forbidden() || (error.class == CallClass::Rejected && !codes::has_own_cause(&error.code));
    if error.code == PUBLIC_ENDPOINT && effective.public {
        return of_endpoint();
    }
    let absent = error.is_missing() && !error.is_container_gone();
    if error.action == "s3:ListBucketMultipartUploads" && (refused || error.is_unsupported() || absent) {
        return of_uploads(error);
    }
    if effective.public && mainland && refused {
        return of_endpoint();
    }
    String::new()
}

/// The call that the registry needs, and that OSS does not document.
fn of_uploads(error: &CallError) -> String {
    let right = if error.is_forbidden() {
        "grant oss:ListMultipartUploads to the RAM user. If OSS still refuses the call, "
    } else {
        ""
    };
    format!(
        " (OSS documents no such call in its S3 API, and each push of the registry needs it: {right}ask Alibaba Cloud for the \
         call, or use another storage)"
    )
}

/// The public endpoint of a region in the Chinese mainland.
fn of_endpoint() -> String {
    " (spec.storage.oss.endpointAccessibility is Public. In the Chinese mainland, Alibaba Cloud refuses calls for objects at \
     the default public endpoint to accounts that activated OSS since 2025-03-20: set endpointAccessibility to Internal, or \
     ask Alibaba Cloud)"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::model::call::Cause;
    use crate::storage::s3api::error::failed;

    fn told(region: &str, public: bool, action: &'static str, status: u16, code: &str) -> String {
        let effective = Effective {
            bucket: None,
            region: region.to_owned(),
            public,
            encrypt: false,
        };
        let error = failed(action, "images/key", Cause::Answer(status), code, String::new());
        remedy(&effective, &error)
    }

    #[test]
    fn a_refused_listing_of_uploads_is_told_with_what_the_registry_needs() {
        let uploads = |status, code| told("cn-hangzhou", false, "s3:ListBucketMultipartUploads", status, code);
        for (status, code) in [
            (501, "NotImplemented"),
            (405, "MethodNotAllowed"),
            (400, "InvalidArgument"),
            (404, "NotFound"),
            (403, "AccessDenied"),
        ] {
            let told = uploads(status, code);
            for part in ["documents no such call", "ask Alibaba Cloud", "another storage"] {
                assert!(told.contains(part), "{code}: {told}");
            }
            let right = told.contains("oss:ListMultipartUploads");
            assert_eq!(right, code == "AccessDenied", "{code}: {told}");
        }
        for (status, code) in [
            (503, "SlowDown"),
            (404, "NoSuchBucket"),
            (403, "SignatureDoesNotMatch"),
            (403, "RequestTimeTooSkewed"),
        ] {
            assert_eq!(uploads(status, code), "", "{code}");
        }
    }

    #[test]
    fn a_refusal_at_the_public_endpoint_in_the_mainland_is_told_with_the_internal_one() {
        for (region, public, action, status, code, expected) in [
            ("cn-hangzhou", true, "s3:PutObject", 400, PUBLIC_ENDPOINT, true),
            ("cn-hangzhou", true, "s3:PutObject", 403, PUBLIC_ENDPOINT, true),
            ("cn-hangzhou", true, "s3:PutObject", 403, "AccessDenied", true),
            (
                "cn-hangzhou",
                true,
                "s3:ListBucketMultipartUploads",
                400,
                PUBLIC_ENDPOINT,
                true,
            ),
            ("cn-hangzhou", false, "s3:PutObject", 403, "AccessDenied", false),
            ("cn-hongkong", true, "s3:PutObject", 403, "AccessDenied", false),
            ("eu-central-1", true, "s3:PutObject", 403, "AccessDenied", false),
            ("cn-hangzhou", true, "s3:PutObject", 403, "InvalidAccessKeyId", false),
            ("cn-hangzhou", true, "s3:PutObject", 403, "QuotaExceeded", false),
            ("cn-hangzhou", true, "s3:PutObject", 503, "SlowDown", false),
        ] {
            let told = told(region, public, action, status, code);
            assert_eq!(told.contains("Internal"), expected, "{region} {public} {code}: {told}");
            assert_eq!(
                told.contains("2025-03-20"),
                expected,
                "{region} {public} {code}: {told}"
            );
        }
    }
}
