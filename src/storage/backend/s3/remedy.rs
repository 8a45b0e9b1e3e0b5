//! PURE: what a user can do about a refusal that the registry's headers for encryption cause.

use crate::storage::model::call::{CallClass, CallError, Cause};
use crate::storage::s3api::client::ObjectEncryption;
use crate::storage::s3api::codes;

/// Remedy for an upload that the service refuses, as the end of a sentence; `None` if the headers are not the cause.
///
/// A service without server-side encryption refuses the headers with 501, or with 400 and a code that says nothing about
/// encryption.
pub(super) fn of_encryption(encryption: &ObjectEncryption, error: &CallError) -> Option<String> {
    let refused = match error.class {
        CallClass::Unsupported => true,
        CallClass::Rejected => error.cause == Cause::Answer(400) && !codes::has_own_cause(&error.code),
        _ => false,
    };
    if !refused || error.of_identity || error.action != "s3:PutObject" {
        return None;
    }
    Some(match encryption {
        ObjectEncryption::Default => return None,
        ObjectEncryption::Aes256 => {
            " (spec.storage.s3.encrypt is true, so that the registry asks for server-side encryption of each object: set \
             it to false if the service has none)"
                .to_owned()
        }
        ObjectEncryption::Kms(key) => format!(
            " (spec.storage.s3.encrypt is true, so that the registry asks for server-side encryption of each object with \
             key {key} of spec.storage.s3.keyID: set encrypt to false and remove keyID if the service has no encryption \
             with keys)"
        ),
        ObjectEncryption::KeyOnly(key) => format!(
            " (the registry sends key {key} of spec.storage.s3.keyID without an encryption algorithm: set \
             spec.storage.s3.encrypt, or remove keyID)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::s3api::error::failed;

    fn remedy(encryption: &ObjectEncryption, action: &'static str, status: u16, code: &str) -> Option<String> {
        let error = failed(action, "images/key", Cause::Answer(status), code, String::new());
        of_encryption(encryption, &error)
    }

    // issue 10, row 14
    #[test]
    fn a_store_without_encryption_is_told_by_the_field_that_asks_for_it() {
        let kms = ObjectEncryption::Kms("key-1".to_owned());
        let key_only = ObjectEncryption::KeyOnly("key-1".to_owned());
        for (status, code) in [
            (400, "InvalidArgument"),
            (400, "InvalidRequest"),
            (400, "InvalidEncryptionAlgorithmError"),
            (400, "BadRequest"),
            (400, "NotImplemented"),
            (501, "NotImplemented"),
            (501, "Surprise"),
            (405, "MethodNotAllowed"),
        ] {
            let told = |encryption| remedy(encryption, "s3:PutObject", status, code).unwrap();
            assert!(
                told(&ObjectEncryption::Aes256).contains("spec.storage.s3.encrypt"),
                "{code}"
            );
            let with_key = told(&kms);
            for part in ["spec.storage.s3.encrypt", "spec.storage.s3.keyID", "key-1"] {
                assert!(
                    with_key.contains(part) && told(&key_only).contains(part),
                    "{code}: {with_key}"
                );
            }
            assert_eq!(remedy(&ObjectEncryption::Default, "s3:PutObject", status, code), None);
        }
    }

    // issue 10, row 14
    #[test]
    fn other_refusals_say_nothing_about_encryption() {
        for (action, status, code) in [
            ("s3:PutObject", 403, "AccessDenied"),
            ("s3:PutObject", 403, "QuotaExceeded"),
            ("s3:PutObject", 400, "XMinioAdminBucketQuotaExceeded"),
            ("s3:PutObject", 400, "KMS.DisabledException"),
            ("s3:PutObject", 400, "AuthorizationHeaderMalformed"),
            ("s3:PutObject", 400, "ExpiredToken"),
            ("s3:PutObject", 400, "RequestTimeout"),
            ("s3:PutObject", 404, "NoSuchBucket"),
            ("s3:PutObject", 500, "InternalError"),
            ("s3:PutObject", 503, "SlowDown"),
            ("s3:GetObject", 400, "InvalidArgument"),
            ("s3:ListBucketMultipartUploads", 501, "NotImplemented"),
            ("sts:AssumeRole", 400, "InvalidArgument"),
        ] {
            assert_eq!(
                remedy(&ObjectEncryption::Aes256, action, status, code),
                None,
                "{action} {code}"
            );
        }
    }
}
