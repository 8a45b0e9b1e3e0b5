//! PURE: what the running registry works with, from its Deployment and its Secret. Nothing else keeps it.

use serde_json::Value;

use crate::api::{Kind, Sensitive};
use crate::config::content;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::program::platform;

/// Endpoint of the S3 driver, if the registry's Deployment uses this bucket; empty: it has none.
pub fn s3_endpoint<'a>(snapshot: &'a Snapshot, bucket: &str) -> Option<&'a str> {
    containers(snapshot)
        .find(|container| variable(container, platform::S3_BUCKET) == Some(bucket))
        .map(|container| variable(container, platform::S3_ENDPOINT).unwrap_or_default())
}

/// Realm of the Azure driver, if the registry's Deployment uses this account; empty: it has none, so that the driver's default holds.
pub fn azure_realm<'a>(snapshot: &'a Snapshot, account: &str) -> Option<&'a str> {
    containers(snapshot)
        .find(|container| variable(container, platform::AZURE_ACCOUNT_NAME) == Some(account))
        .map(|container| variable(container, platform::AZURE_REALM).unwrap_or_default())
}

/// URL of Keystone in the registry's Deployment.
pub fn keystone_url(snapshot: &Snapshot) -> Option<&str> {
    containers(snapshot).find_map(|container| variable(container, platform::SWIFT_AUTH_URL))
}

fn containers(snapshot: &Snapshot) -> impl Iterator<Item = &Value> {
    let deployment = snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
    let containers = deployment.and_then(|d| d.pointer("/spec/template/spec/containers"));
    containers.and_then(Value::as_array).into_iter().flatten()
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let mut variables = container.get("env").and_then(Value::as_array)?.iter();
    let variable = variables.find(|v| v.get("name").and_then(Value::as_str) == Some(name))?;
    // Values are YAML, so a name that consists of digits is quoted.
    Some(variable.get("value")?.as_str()?.trim_matches(['"', '\'']))
}

/// The file with credentials in the Secret of the registry's pods.
pub fn credentials_file(snapshot: &Snapshot) -> Option<Sensitive> {
    let secret = snapshot.objects.operand(Kind::Secret, names::PRIVATE_SECRET)?;
    let text = content::secret_text(secret, platform::CREDENTIALS_FILE)?;
    text.ok().map(Sensitive::new)
}
