//! What the registry's pods get: environment, volumes, files. PURE.
//!
//! Names, order and values are those of the Go operator: anything else would replace the pods at take-over.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ca;
use super::credentials::{Credentials, text_of};
use super::effective::Effective;
use crate::api::duration;
use crate::api::registry_storage::{CloudFront, S3Storage};
use crate::api::{Kind, Sensitive};
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::config::yaml;
use crate::names;
use crate::storage::fault::Fault;

/// Name as in the API's documentation and in metrics.
const BACKEND: &str = "S3";
/// Variable of the bucket.
pub(super) const BUCKET: &str = "REGISTRY_STORAGE_S3_BUCKET";
/// Variable of a custom endpoint.
pub(super) const ENDPOINT: &str = "REGISTRY_STORAGE_S3_REGIONENDPOINT";

/// Where the pods find the Secret with the credentials.
const CREDENTIALS_MOUNT: &str = "/var/run/secrets/cloud";
/// Name of the file in it.
const CREDENTIALS_FILE: &str = "credentials";
/// Where the pods find CloudFront's signing key.
const CLOUD_FRONT_MOUNT: &str = "/etc/docker/cloudfront";
const CLOUD_FRONT_VOLUME: &str = "registry-cloudfront";
const CLOUD_FRONT_FILE: &str = "private.pem";
/// How long a signed URL of CloudFront lasts where the block does not say.
const CLOUD_FRONT_DURATION: &str = "1200s";

const MIB: i64 = 1024 * 1024;

/// What the registry needs for this configuration, everything included: credentials and CA are read from the snapshot.
///
/// A fault where something that the pods would mount or trust is missing: credentials, a CA, CloudFront's key.
pub fn facts(effective: &Effective, snapshot: &Snapshot) -> Result<StorageFacts, Fault> {
    let credentials = Credentials::of(snapshot)?;
    let trust = ca::trust(&effective.block, snapshot)?;
    let cloud_front = effective.block.cloud_front.as_ref();
    let mut volumes = vec![json!({
        "name": names::PRIVATE_SECRET,
        "secret": {"secretName": names::PRIVATE_SECRET, "optional": false},
    })];
    let mut mounts = vec![mount(names::PRIVATE_SECRET, CREDENTIALS_MOUNT)];
    if let Some(cloud_front) = cloud_front {
        let (secret, key) = signing_key(cloud_front, snapshot)?;
        volumes.push(json!({
            "name": CLOUD_FRONT_VOLUME,
            "secret": {
                "secretName": secret,
                "items": [{"key": key, "path": CLOUD_FRONT_FILE}],
                "optional": false,
            },
        }));
        mounts.push(mount(CLOUD_FRONT_VOLUME, CLOUD_FRONT_MOUNT));
    }
    Ok(StorageFacts {
        backend: BACKEND,
        env: variables(effective),
        volumes,
        mounts,
        files: BTreeMap::from([(CREDENTIALS_FILE.to_owned(), Sensitive::new(credentials.text.expose()))]),
        ca_bundle: trust.publish,
        ..StorageFacts::default()
    })
}

fn mount(volume: &str, path: &str) -> Value {
    json!({"name": volume, "mountPath": path, "readOnly": true})
}

/// Environment of the registry, in order.
fn variables(effective: &Effective) -> Vec<EnvVar> {
    let block = &effective.block;
    let given = |member: &Option<String>| member.clone().filter(|text| !text.is_empty()).map(EnvValue::Text);
    let text = |value: &str| Some(EnvValue::Text(value.to_owned()));
    let chunk = block.chunk_size_mib.filter(|mib| (5..=5120).contains(mib));
    let path_style = block.virtual_hosted_style != Some(true);
    let credentials = format!("{CREDENTIALS_MOUNT}/{CREDENTIALS_FILE}");
    let variables = [
        (ENDPOINT, given(&effective.rendered_endpoint)),
        ("REGISTRY_STORAGE_S3_KEYID", given(&block.key_id)),
        (
            "REGISTRY_STORAGE_S3_CHUNKSIZE",
            chunk.map(|mib| EnvValue::Number(i64::from(mib) * MIB)),
        ),
        ("REGISTRY_STORAGE", text("s3")),
        (BUCKET, text(block.bucket.as_deref().unwrap_or_default())),
        ("REGISTRY_STORAGE_S3_REGION", text(&effective.region)),
        (
            "REGISTRY_STORAGE_S3_ENCRYPT",
            Some(EnvValue::Flag(block.encrypt == Some(true))),
        ),
        ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", Some(EnvValue::Flag(path_style))),
        ("REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH", text(&credentials)),
        (
            "REGISTRY_STORAGE_S3_USEDUALSTACK",
            effective.dual_stack().then_some(EnvValue::Flag(true)),
        ),
        (
            "REGISTRY_MIDDLEWARE_STORAGE",
            block.cloud_front.as_ref().map(|c| EnvValue::Raw(middleware(c))),
        ),
    ];
    let variables = variables
        .into_iter()
        .filter_map(|(name, value)| Some(EnvVar { name, value: value? }));
    variables.collect()
}

/// Refuses what could not be told to the registry.
pub(super) fn check(block: &S3Storage) -> Result<(), Rejection> {
    let Some(cloud_front) = &block.cloud_front else {
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
            return invalid(field, "holds a line break or another control character: take it out");
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
                "spec.storage.s3.cloudFront.duration is {text:?}, which is no duration: write it as 20m or 1h30m"
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

/// Secret and key of CloudFront's signing key, which must be there: a pod would wait for it without a word.
fn signing_key<'a>(cloud_front: &'a CloudFront, snapshot: &Snapshot) -> Result<(&'a str, &'a str), Fault> {
    let (name, key) = (selector(cloud_front, "name"), selector(cloud_front, "key"));
    let secret = snapshot.objects.operand(Kind::Secret, name);
    let missing = |what: &str| {
        Fault::config(format!(
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

/// The registry's list of storage middlewares, YAML.
fn middleware(cloud_front: &CloudFront) -> String {
    let duration = cloud_front.duration.as_deref().and_then(duration::parse).unwrap_or(0);
    let duration = if duration == 0 {
        CLOUD_FRONT_DURATION.to_owned()
    } else {
        duration::go_text(duration)
    };
    let options = [
        ("baseurl", yaml::text(&cloud_front.base_url)),
        ("privatekey", format!("{CLOUD_FRONT_MOUNT}/{CLOUD_FRONT_FILE}")),
        ("keypairid", yaml::text(&cloud_front.keypair_id)),
        ("duration", duration),
        ("ipfilteredby", "none".to_owned()),
    ];
    let options = options.map(|(key, value)| format!("\n    {key}: {value}"));
    format!("- name: cloudfront\n  options:{}", options.concat())
}

#[cfg(test)]
mod tests;
