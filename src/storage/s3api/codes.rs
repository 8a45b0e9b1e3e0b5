//! PURE: error codes of S3 and STS, each with its meaning, in one table. Sources: Amazon S3 API Reference, "Error
//! responses"; AWS STS API Reference, "Common errors"; the error tables of Ceph RGW, MinIO, NooBaa, NetApp StorageGRID and
//! Cloudflare R2.
//!
//! A code that is not in the table means what its HTTP status means.

use std::time::Duration;

use crate::storage::model::call::{CallClass, Cause};

/// Code of a response that is not one of S3 or STS.
pub const GARBLED: &str = "InvalidResponse";

/// First wait before a retry.
const FIRST: Duration = Duration::from_millis(30);
/// First wait after a throttled request.
const FIRST_THROTTLED: Duration = Duration::from_millis(500);

/// What an error code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Too many requests.
    Throttled,
    /// A failure that a retry may resolve.
    Passing,
    /// Another endpoint or region is responsible.
    Elsewhere,
    /// The region of the request is not the one that the service expects.
    Region,
    /// A permission is missing.
    NoRight,
    /// Keys, token or signature are not accepted.
    Unaccepted,
    /// Keys or token are unknown or expired. New credentials of the same identity may be accepted.
    Stale,
    /// STS does not know the identity provider, or not yet.
    UnknownProvider,
    /// The clocks of client and service differ. The SDK corrects its clock from the response.
    Clock,
    /// A quota is used up, or the service's disks are full.
    Full,
    /// The account or user is disabled or not entitled. No right and no key is missing.
    Account,
    /// The KMS key cannot be used.
    Key,
    /// The container does not exist.
    ContainerGone,
    /// The requested object or setting does not exist.
    Missing,
    /// The name of the container is taken.
    NameTaken,
    /// The container is not empty.
    NotEmpty,
    /// Object Lock or a retention rule protects the object.
    Locked,
    /// The service does not implement the call.
    Unsupported,
}

use Meaning::{
    Account, Clock, ContainerGone, Elsewhere, Full, Key, Locked, Missing, NameTaken, NoRight, NotEmpty, Passing,
    Region, Stale, Throttled, Unaccepted, UnknownProvider, Unsupported,
};

/// The table, sorted by code.
const CODES: &[(&str, Meaning)] = &[
    ("AccessDenied", NoRight),
    ("AccessForbidden", NoRight),
    ("AccountProblem", Account),
    ("AllAccessDisabled", Account),
    ("AuthorizationHeaderMalformed", Region),
    ("BandwidthLimitExceeded", Throttled),
    ("BucketAlreadyExists", NameTaken),
    ("BucketConflict", NameTaken),
    ("BucketNotEmpty", NotEmpty),
    ("BucketRegionError", Elsewhere),
    ("ClientDisconnect", Passing),
    ("EndpointNotFound", Elsewhere),
    ("ExpiredRequest", Clock),
    ("ExpiredToken", Stale),
    ("ExpiredTokenException", Stale),
    ("Forbidden", NoRight), // Status 403 without a body, such as the response to HEAD.
    ("IDPCommunicationError", Passing),
    ("IllegalLocationConstraintException", Region),
    ("InsufficientCapacity", Full),
    ("InsufficientStorage", Full), // Status 507 without a body.
    ("InternalError", Passing),
    ("InvalidAccessKeyId", Stale),
    ("InvalidClientTokenId", Unaccepted),
    ("InvalidIdentityToken", UnknownProvider),
    ("InvalidLocationConstraint", Region),
    ("InvalidPayer", Account),
    ("InvalidRegion", Region),
    ("InvalidSecurity", Unaccepted),
    ("InvalidToken", Stale),
    ("InvalidTokenId", Stale),
    ("KMS.DisabledException", Key),
    ("KMS.InvalidStateException", Key),
    ("KMS.KMSInvalidStateException", Key),
    ("KMS.NotFoundException", Key),
    ("LimitExceededException", Throttled),
    ("MethodNotAllowed", Unsupported),
    ("NoSuchBucket", ContainerGone),
    ("NoSuchKey", Missing),
    ("NoSuchUpload", Missing),
    ("NoSuchVersion", Missing),
    ("NotEntitled", Account),
    ("NotFound", Missing), // Status 404 without a body, such as the response to HEAD.
    ("NotImplemented", Unsupported),
    ("NotSignedUp", Account),
    ("ObjectLocked", Locked),
    ("ObjectLockedByBucketPolicy", Locked),
    ("ObjectUnderRetention", Locked),
    ("OperationAborted", Passing),
    ("PermanentRedirect", Elsewhere),
    ("PriorRequestNotComplete", Throttled),
    ("ProvisionedThroughputExceededException", Throttled),
    ("QuotaExceeded", Full),
    ("Redirect", Elsewhere),
    ("RequestExpired", Clock),
    ("RequestLimitExceeded", Throttled),
    ("RequestNotReadyYet", Clock),
    ("RequestThrottled", Throttled),
    ("RequestThrottledException", Throttled),
    ("RequestTimeTooSkewed", Clock),
    ("RequestTimeout", Passing),
    ("RequestTimeoutException", Passing),
    ("ServiceUnavailable", Passing),
    ("SignatureDoesNotMatch", Unaccepted),
    ("SlowDown", Throttled),
    ("SlowDownRead", Throttled),
    ("SlowDownWrite", Throttled),
    ("TemporaryRedirect", Elsewhere),
    ("ThrottledException", Throttled),
    ("Throttling", Throttled),
    ("ThrottlingException", Throttled),
    ("TokenRefreshRequired", Unaccepted),
    ("TooManyBuckets", Full),
    ("TooManyRequests", Throttled),
    ("TooManyRequestsException", Throttled),
    ("Unauthorized", Unaccepted),
    ("UserSuspended", Account),
    ("XMinioAdminBucketQuotaExceeded", Full),
    ("XMinioReadQuorum", Passing),
    ("XMinioServerNotInitialized", Passing),
    ("XMinioStorageFull", Full),
    ("XMinioWriteQuorum", Passing),
];

fn meaning(code: &str) -> Option<Meaning> {
    let place = CODES.binary_search_by_key(&code, |(code, _)| code);
    place.ok().map(|place| CODES[place].1)
}

/// Classifies a failure by its cause and the service's error code. `of_identity`: the error is one of STS, so that "not
/// implemented" says nothing about S3.
pub fn classify(cause: Cause, code: &str, of_identity: bool) -> CallClass {
    let meaning = meaning(code);
    match (meaning, cause) {
        (Some(Unsupported), _) | (_, Cause::Answer(405 | 501)) if !of_identity => CallClass::Unsupported,
        (_, Cause::Unreachable | Cause::NotLeading) | (Some(Throttled | Passing | Elsewhere), _) => {
            CallClass::Undecided
        }
        (Some(Clock | Full | Account | Key | Locked | Region), _) => CallClass::Rejected,
        (_, Cause::Answer(301 | 307 | 429 | 500..)) => CallClass::Undecided,
        // A refused HEAD carries the error code of another call (see `Bucket::head`). The status of the HEAD decides.
        (Some(ContainerGone), Cause::Answer(404)) => CallClass::ContainerGone,
        (Some(NameTaken), _) => CallClass::NameTaken,
        (Some(NotEmpty), _) => CallClass::NotEmpty,
        (Some(NoRight), Cause::Answer(_)) => CallClass::Forbidden,
        (Some(Stale | Unaccepted | UnknownProvider), _) | (_, Cause::Answer(401 | 403) | Cause::Identity) => {
            CallClass::Denied
        }
        (_, Cause::Answer(404)) => CallClass::NotFound,
        _ => CallClass::Rejected,
    }
}

/// The first wait before a retry, without jitter; `None` if a retry is useless.
pub fn first_wait(cause: Cause, code: &str) -> Option<Duration> {
    match (meaning(code), cause) {
        (Some(Throttled), _) | (_, Cause::Answer(429)) => Some(FIRST_THROTTLED),
        // After the retries the last two count as refusals.
        (Some(Passing | Clock | UnknownProvider), _) => Some(FIRST),
        (Some(Full | Account | Key | Locked | Region), _) => None,
        (_, Cause::Unreachable) if code != GARBLED => Some(FIRST),
        (_, Cause::Answer(status)) if status >= 500 && status != 501 => Some(FIRST),
        _ => None,
    }
}

/// Whether new credentials of the same identity may be accepted.
pub fn is_stale(code: &str) -> bool {
    meaning(code) == Some(Stale)
}

/// Whether Object Lock or a retention rule protects the object.
pub fn is_locked(code: &str) -> bool {
    meaning(code) == Some(Locked)
}

/// Whether a retry may succeed, because the service throttles or fails.
pub fn is_passing(code: &str) -> bool {
    matches!(meaning(code), Some(Throttled | Passing))
}

/// Whether the code names a cause other than rights, keys and the content of the request: clocks, quotas, disabled
/// accounts, KMS keys, regions.
pub fn has_own_cause(code: &str) -> bool {
    matches!(meaning(code), Some(Clock | Full | Account | Key | Region))
}

/// The cause in words, with the remedy, for codes whose text in the response is often missing or misleading.
pub fn explanation(code: &str) -> Option<&'static str> {
    Some(match meaning(code)? {
        Clock => {
            "the clocks of the service and of the operator's node differ: check the time synchronisation (NTP) of both"
        }
        Full => "the quota or the disk space of the service is used up: raise the quota, or free space",
        Account => {
            "the service has disabled the account or user of the credentials, or it lacks a subscription: enable it there"
        }
        Key => "the KMS key cannot be used: check the key's ID in spec.storage, and that the key is enabled",
        Region => "the service expects another region: check the region in spec.storage",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
