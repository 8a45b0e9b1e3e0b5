//! PURE: CloudFront in front of the bucket, with signed URLs for pulls.

use serde_json::Value;

use crate::api::duration;
use crate::api::registry_storage::{CloudFront, S3Storage};
use crate::api::{Kind, ObjectRef};
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::program::{CloudFrontKey, S3CloudFront};
use crate::storage::inputs::secret::text_of;
use crate::storage::model::error::StorageError;

/// Default lifetime of a signed URL.
const DURATION: &str = "1200s";

/// What the registry needs for CloudFront.
///
/// # Errors
/// The Secret with the signing key, or its key, is missing.
pub fn access(cloud_front: &CloudFront, snapshot: &Snapshot) -> Result<S3CloudFront, StorageError> {
    let (secret, key) = signing_key(cloud_front, snapshot)?;
    let duration = cloud_front.duration.as_deref().and_then(duration::parse).unwrap_or(0);
    Ok(S3CloudFront {
        base_url: cloud_front.base_url.clone(),
        keypair_id: cloud_front.keypair_id.clone(),
        duration: if duration == 0 {
            DURATION.to_owned()
        } else {
            duration::go_text(duration)
        },
        key: CloudFrontKey {
            secret: secret.to_owned(),
            key: key.to_owned(),
        },
    })
}

/// The Secret with the signing key; `None` if the spec names none.
pub fn secret(cloud_front: &CloudFront) -> Option<ObjectRef> {
    let name = selector(cloud_front, "name");
    (!name.is_empty()).then(|| ObjectRef::new(Kind::Secret, names::NAMESPACE, name))
}

/// Checks the values that are rendered for the registry.
///
/// # Errors
/// A required value is empty, a value contains control characters, or the duration does not parse.
pub fn check(spec: &S3Storage) -> Result<(), Rejection> {
    let Some(cloud_front) = &spec.cloud_front else {
        return Ok(());
    };
    let invalid = |field: &str, cause: &str| {
        let message = format!("spec.storage.s3.cloudFront.{field} {cause}");
        Err(Rejection::new(Reason::InvalidConfig, message))
    };
    for (field, value) in [
        ("baseURL", &cloud_front.base_url),
        ("keypairID", &cloud_front.keypair_id),
    ] {
        if value.is_empty() {
            return invalid(field, "is empty: set it, or remove cloudFront");
        }
        if value.contains(char::is_control) {
            return invalid(field, "contains a line break or another control character: remove it");
        }
    }
    for member in ["name", "key"] {
        if selector(cloud_front, member).is_empty() {
            let cause = "is empty: name the Secret and the key that hold CloudFront's signing key";
            return invalid(&format!("privateKey.{member}"), cause);
        }
    }
    match cloud_front.duration.as_deref().filter(|text| !text.is_empty()) {
        Some(text) if duration::parse(text).is_none_or(|nanoseconds| nanoseconds < 0) => {
            let message = format!(
                "spec.storage.s3.cloudFront.duration is {text:?}, which is not a duration: write it as 20m or 1h30m"
            );
            Err(Rejection::new(Reason::InvalidDuration, message))
        }
        _ => Ok(()),
    }
}

/// A member of the reference to CloudFront's signing key.
fn selector<'a>(cloud_front: &'a CloudFront, member: &str) -> &'a str {
    cloud_front
        .private_key
        .get(member)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Secret and key of CloudFront's signing key. Both must exist, because a pod that mounts a missing key never starts.
fn signing_key<'a>(cloud_front: &'a CloudFront, snapshot: &Snapshot) -> Result<(&'a str, &'a str), StorageError> {
    let (name, key) = (selector(cloud_front, "name"), selector(cloud_front, "key"));
    let secret = snapshot.objects.operand(Kind::Secret, name);
    let missing = |what: &str| {
        StorageError::action_required(format!(
            "spec.storage.s3.cloudFront.privateKey names Secret {}/{name}, key {key}, but {what}: create it with \
             CloudFront's signing key, or name another",
            names::NAMESPACE
        ))
    };
    match secret {
        None => Err(missing("the Secret is not found")),
        Some(secret) if text_of(secret, key).is_none() => Err(missing("the key is not found")),
        Some(_) => Ok((name, key)),
    }
}
