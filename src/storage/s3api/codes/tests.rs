use super::*;

use CallClass::{
    ContainerGone as Gone, Denied, Forbidden, NameTaken as Taken, NotEmpty as Filled, NotFound, Rejected, Undecided,
    Unsupported as Lacking,
};

/// HTTP status, code, class, milliseconds to the first retry (0: none), whether there is an explanation.
type Row = (u16, &'static str, CallClass, u128, bool);

fn check(store: &str, rows: &[Row]) {
    for (status, code, class, wait, explained) in rows {
        let cause = Cause::Answer(*status);
        assert_eq!(classify(cause, code, false), *class, "{store}: {status} {code}");
        let first = first_wait(cause, code).map_or(0, |wait| wait.as_millis());
        assert_eq!(first, *wait, "{store}: {status} {code}");
        assert_eq!(explanation(code).is_some(), *explained, "{store}: {status} {code}");
        assert_eq!(has_own_cause(code), *explained, "{store}: {status} {code}");
    }
}

#[test]
fn the_table_is_sorted_and_each_code_stands_in_it_once() {
    for pair in CODES.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
    }
}

#[test]
fn amazon_s3_and_sts() {
    check(
        "AWS",
        &[
            (403, "AccessDenied", Forbidden, 0, false),
            (403, "AccountProblem", Rejected, 0, true),
            (403, "AllAccessDisabled", Rejected, 0, true),
            (400, "AuthorizationHeaderMalformed", Rejected, 0, true),
            (409, "BucketAlreadyExists", Taken, 0, false),
            (409, "BucketAlreadyOwnedByYou", Rejected, 0, false),
            (409, "BucketNotEmpty", Filled, 0, false),
            (301, "BucketRegionError", Undecided, 0, false),
            (400, "ExpiredToken", Denied, 0, false),
            (400, "IllegalLocationConstraintException", Rejected, 0, true),
            (500, "InternalError", Undecided, 30, false),
            (200, "InternalError", Undecided, 30, false),
            (403, "InvalidAccessKeyId", Denied, 0, false),
            (400, "InvalidArgument", Rejected, 0, false),
            (403, "InvalidObjectState", Denied, 0, false),
            (400, "InvalidToken", Denied, 0, false),
            (400, "KMS.DisabledException", Rejected, 0, true),
            (400, "KMS.NotFoundException", Rejected, 0, true),
            (405, "MethodNotAllowed", Lacking, 0, false),
            (404, "NoSuchBucket", Gone, 0, false),
            (404, "NoSuchKey", NotFound, 0, false),
            (404, "NoSuchTagSet", NotFound, 0, false),
            (501, "NotImplemented", Lacking, 0, false),
            (400, "NotImplemented", Lacking, 0, false),
            (403, "NotSignedUp", Rejected, 0, true),
            (409, "OperationAborted", Undecided, 30, false),
            (301, "PermanentRedirect", Undecided, 0, false),
            (400, "RequestTimeout", Undecided, 30, false),
            // issue 10, row 15
            (403, "RequestTimeTooSkewed", Rejected, 30, true),
            (503, "ServiceUnavailable", Undecided, 30, false),
            (403, "SignatureDoesNotMatch", Denied, 0, false),
            (503, "SlowDown", Undecided, 500, false),
            (307, "TemporaryRedirect", Undecided, 0, false),
            (400, "TooManyBuckets", Rejected, 0, true),
            (400, "InvalidIdentityToken", Denied, 30, false),
            (400, "IDPCommunicationError", Undecided, 30, false),
        ],
    );
}

#[test]
fn ceph_rgw() {
    check(
        "Ceph RGW",
        &[
            (403, "AccessDenied", Forbidden, 0, false),
            (409, "BucketAlreadyExists", Taken, 0, false),
            (409, "BucketNotEmpty", Filled, 0, false),
            (403, "InvalidAccessKeyId", Denied, 0, false),
            (400, "InvalidLocationConstraint", Rejected, 0, true),
            (405, "MethodNotAllowed", Lacking, 0, false),
            (404, "NoSuchBucket", Gone, 0, false),
            // issue 10, row 15
            (403, "QuotaExceeded", Rejected, 0, true),
            (403, "RequestTimeTooSkewed", Rejected, 30, true),
            (408, "RequestTimeout", Undecided, 30, false),
            (503, "ServiceUnavailable", Undecided, 30, false),
            (403, "SignatureDoesNotMatch", Denied, 0, false),
            (503, "SlowDown", Undecided, 500, false),
            (400, "TooManyBuckets", Rejected, 0, true),
            (500, "UnknownError", Undecided, 30, false),
            (403, "UserSuspended", Rejected, 0, true),
        ],
    );
}

#[test]
fn minio() {
    check(
        "MinIO",
        &[
            (403, "AccessDenied", Forbidden, 0, false),
            (403, "AllAccessDisabled", Rejected, 0, true),
            (409, "BucketAlreadyOwnedByYou", Rejected, 0, false),
            (400, "InvalidArgument", Rejected, 0, false),
            (400, "InvalidRegion", Rejected, 0, true),
            (403, "InvalidTokenId", Denied, 0, false),
            (501, "NotImplemented", Lacking, 0, false),
            (403, "RequestNotReadyYet", Rejected, 30, true),
            (403, "RequestTimeTooSkewed", Rejected, 30, true),
            (503, "SlowDownRead", Undecided, 500, false),
            (503, "SlowDownWrite", Undecided, 500, false),
            (400, "XMinioAdminBucketQuotaExceeded", Rejected, 0, true),
            (503, "XMinioReadQuorum", Undecided, 30, false),
            (503, "XMinioServerNotInitialized", Undecided, 30, false),
            (507, "XMinioStorageFull", Rejected, 0, true),
            (503, "XMinioWriteQuorum", Undecided, 30, false),
        ],
    );
}

#[test]
fn noobaa_and_dell_ecs_and_netapp_storagegrid() {
    for store in ["NooBaa", "Dell ECS", "NetApp StorageGRID"] {
        check(
            store,
            &[
                (403, "AccessDenied", Forbidden, 0, false),
                (409, "BucketAlreadyExists", Taken, 0, false),
                (409, "BucketNotEmpty", Filled, 0, false),
                (500, "InternalError", Undecided, 30, false),
                (403, "InvalidAccessKeyId", Denied, 0, false),
                (400, "InvalidArgument", Rejected, 0, false),
                (400, "InvalidBucketName", Rejected, 0, false),
                (405, "MethodNotAllowed", Lacking, 0, false),
                (404, "NoSuchBucket", Gone, 0, false),
                (404, "NoSuchUpload", NotFound, 0, false),
                (501, "NotImplemented", Lacking, 0, false),
                (403, "RequestTimeTooSkewed", Rejected, 30, true),
                (403, "SignatureDoesNotMatch", Denied, 0, false),
                (503, "ServiceUnavailable", Undecided, 30, false),
            ],
        );
    }
    check("NooBaa", &[(403, "QuotaExceeded", Rejected, 0, true)]);
    check(
        "Dell ECS",
        &[
            (409, "ObjectUnderRetention", Rejected, 0, false),
            (403, "QuotaExceeded", Rejected, 0, true),
        ],
    );
    check("NetApp StorageGRID", &[(409, "InvalidBucketState", Rejected, 0, false)]);
}

#[test]
fn cloudflare_r2() {
    check(
        "Cloudflare R2",
        &[
            (401, "Unauthorized", Denied, 0, false),
            (403, "AccessDenied", Forbidden, 0, false),
            (400, "ExpiredRequest", Rejected, 30, true),
            (403, "SignatureDoesNotMatch", Denied, 0, false),
            (403, "NotEntitled", Rejected, 0, true),
            (400, "InvalidBucketName", Rejected, 0, false),
            (404, "NoSuchBucket", Gone, 0, false),
            (409, "BucketNotEmpty", Filled, 0, false),
            (400, "TooManyBuckets", Rejected, 0, true),
            (409, "BucketConflict", Taken, 0, false),
            (404, "NoSuchKey", NotFound, 0, false),
            (403, "ObjectLockedByBucketPolicy", Rejected, 0, false),
            (500, "InternalError", Undecided, 30, false),
            (503, "ServiceUnavailable", Undecided, 30, false),
            (400, "ClientDisconnect", Undecided, 30, false),
            (429, "TooManyRequests", Undecided, 500, false),
            (501, "NotImplemented", Lacking, 0, false),
        ],
    );
}

#[test]
fn a_code_that_nobody_knows_means_what_its_status_means() {
    check(
        "unknown",
        &[
            (400, "Surprise", Rejected, 0, false),
            (401, "Surprise", Denied, 0, false),
            (403, "Surprise", Denied, 0, false),
            (404, "Surprise", NotFound, 0, false),
            (405, "Surprise", Lacking, 0, false),
            (409, "Surprise", Rejected, 0, false),
            (429, "Surprise", Undecided, 500, false),
            (500, "Surprise", Undecided, 30, false),
            (501, "Surprise", Lacking, 0, false),
            (503, "Surprise", Undecided, 30, false),
            (403, "Forbidden", Forbidden, 0, false),
            (404, "NotFound", NotFound, 0, false),
            (507, "InsufficientStorage", Rejected, 0, true),
        ],
    );
}

#[test]
fn without_a_response_of_s3_nothing_is_decided() {
    for code in ["RequestError", GARBLED, "AccessDenied", "QuotaExceeded", "NoSuchBucket"] {
        assert_eq!(classify(Cause::Unreachable, code, false), Undecided, "{code}");
    }
    assert_eq!(first_wait(Cause::Unreachable, "RequestError"), Some(FIRST));
    assert_eq!(first_wait(Cause::Unreachable, GARBLED), None);
    assert_eq!(first_wait(Cause::NotLeading, "NotLeading"), None);
    // STS that lacks a call says nothing about S3.
    assert_eq!(classify(Cause::Answer(501), "NotImplemented", true), Undecided);
    assert_eq!(classify(Cause::Answer(405), "MethodNotAllowed", true), Rejected);
    assert_eq!(classify(Cause::Identity, "AccessDenied", true), Denied);
}

#[test]
fn only_credentials_that_are_unknown_or_expired_are_renewed() {
    for code in [
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidToken",
        "InvalidTokenId",
    ] {
        assert!(is_stale(code), "{code}");
    }
    for code in [
        "AccessDenied",
        "SignatureDoesNotMatch",
        "UserSuspended",
        "RequestTimeTooSkewed",
        "Surprise",
        "",
    ] {
        assert!(!is_stale(code), "{code}");
    }
}
