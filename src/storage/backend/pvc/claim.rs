//! PURE: reads claims, and builds the operator's own claims.

use serde_json::{Value, json};

use crate::api::{Config, Kind};
use crate::config::defaults;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::model::error::StorageError;

/// Annotations of the default StorageClass. Old clusters use the second one.
const DEFAULT_CLASS_ANNOTATIONS: &[&str] = &[
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

/// Whether the claim carries the operator's ownership mark. The value of the annotation does not matter.
pub fn is_owned(claim: &Value) -> bool {
    claim
        .pointer("/metadata/annotations")
        .is_some_and(|a| a.get(names::OWNED_ANNOTATION).is_some())
}

/// Deletion timestamp of the claim.
pub fn deleted_at(claim: &Value) -> Option<&str> {
    text(claim, "/metadata/deletionTimestamp")
}

/// `metadata.uid` of the claim.
pub fn uid(claim: &Value) -> Option<&str> {
    text(claim, "/metadata/uid")
}

fn modes(claim: &Value) -> Vec<&str> {
    let modes = claim.pointer("/spec/accessModes").and_then(Value::as_array);
    modes.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Why replicas or rollout strategy of the Config are incompatible with the claim, and the remedy; `None` if they are
/// compatible.
pub fn misfit(config: &Config, name: &str, claim: &Value) -> Option<String> {
    if text(claim, "/spec/volumeMode") == Some("Block") {
        return Some(format!(
            "claim {name} has volumeMode Block: use a claim with volumeMode Filesystem"
        ));
    }
    let modes = modes(claim);
    if modes.contains(&"ReadWriteMany") {
        return None;
    }
    let Some(once) = ["ReadWriteOnce", "ReadWriteOncePod"]
        .into_iter()
        .find(|mode| modes.contains(mode))
    else {
        return Some(format!(
            "claim {name} has access modes [{}], neither ReadWriteMany nor ReadWriteOnce: use a claim that has one of them",
            modes.join(", ")
        ));
    };
    let replicas = config.spec.replicas;
    let remedy = "set spec.replicas to 1 and spec.rolloutStrategy to Recreate, or use a ReadWriteMany claim";
    if replicas > 1 {
        return Some(format!(
            "claim {name} is {once} and spec.replicas is {replicas}: {remedy}"
        ));
    }
    match config.spec.rollout_strategy.as_deref() {
        Some("Recreate") => None,
        None | Some("") => Some(format!(
            "claim {name} is {once} and spec.rolloutStrategy is not set: {remedy}"
        )),
        Some(strategy) => Some(format!(
            "claim {name} is {once} and spec.rolloutStrategy is {strategy}: {remedy}"
        )),
    }
}

/// Description of the claim for a condition: phase, access modes, capacity, and why the claim is pending.
pub fn describe(snapshot: &Snapshot, name: &str, claim: &Value) -> String {
    let phase = text(claim, "/status/phase").unwrap_or("Pending");
    let modes = modes(claim).join("+");
    let size = match (
        text(claim, "/status/capacity/storage"),
        text(claim, "/spec/resources/requests/storage"),
    ) {
        (Some(size), _) => format!(", {size}"),
        (None, Some(size)) => format!(", {size} requested"),
        (None, None) => String::new(),
    };
    let line = format!("Claim {name} is {phase}, {modes}{size}");
    match phase {
        "Pending" => format!("{line}: {}.", pending(snapshot, claim)),
        "Lost" => format!("{line}: its volume is gone, restore it or name another claim in spec.storage.pvc.claim."),
        _ => format!("{line}."),
    }
}

fn pending(snapshot: &Snapshot, claim: &Value) -> String {
    if let Some(volume) = text(claim, "/spec/volumeName") {
        return format!("it waits for volume {volume}");
    }
    // An empty storageClassName requests a statically provisioned volume.
    let Some(class) = claim.pointer("/spec/storageClassName").and_then(Value::as_str) else {
        let has_default = !snapshot.objects.served(Kind::StorageClass) || default_class(snapshot).is_some();
        let no_default = "it names no class and the cluster has no default StorageClass, mark one as default";
        return if has_default {
            "it waits for the default StorageClass to be set on it"
        } else {
            no_default
        }
        .to_owned();
    };
    if class.is_empty() {
        return "it waits for an administrator's volume, because its storageClassName is empty".to_owned();
    }
    match snapshot.objects.cluster(Kind::StorageClass, class) {
        None => format!("StorageClass {class} does not exist, create it or a volume of this class"),
        Some(found) if text(found, "/volumeBindingMode") == Some("WaitForFirstConsumer") => {
            format!("StorageClass {class} binds it when a registry pod is scheduled (WaitForFirstConsumer)")
        }
        Some(_) => format!("it waits for the provisioner of StorageClass {class}, the claim's events say more"),
    }
}

fn default_class(snapshot: &Snapshot) -> Option<&str> {
    let is_default = |class: &Value| {
        let annotations = class.pointer("/metadata/annotations");
        annotations.is_some_and(|a| {
            DEFAULT_CLASS_ANNOTATIONS
                .iter()
                .any(|key| a.get(*key) == Some(&json!("true")))
        })
    };
    snapshot
        .objects
        .of(Kind::StorageClass)
        .find(|(_, class)| is_default(class))
        .map(|(r, _)| r.name.as_str())
}

/// The claim that the operator creates and owns if `spec.storage.pvc.claim` is empty. It gets the cluster's default
/// StorageClass.
pub fn default_claim() -> Value {
    defaults::claim("ReadWriteMany", None)
}

/// StorageClass of the claim that bootstrap creates: the platform's own class, or `None` (the cluster's default class)
/// if it does not exist.
///
/// # Errors
/// Neither class exists, so that the claim would stay pending forever.
fn bootstrap_claim_class(snapshot: &Snapshot, platform: Option<&str>) -> Result<Option<String>, StorageError> {
    let own = defaults::bootstrap_class(platform);
    let known = snapshot.objects.served(Kind::StorageClass);
    if !known || snapshot.objects.cluster(Kind::StorageClass, own).is_some() {
        return Ok(Some(own.to_owned()));
    }
    if default_class(snapshot).is_some() {
        return Ok(None);
    }
    Err(StorageError::action_required(format!(
        "claim {} was not created: StorageClass {own} does not exist and no StorageClass is the default: create {own}, \
         mark a class as default, or create the claim",
        names::DEFAULT_CLAIM
    )))
}

/// The claim that bootstrap creates before the Config, or that the operator creates when it selects the platform's
/// default later. Callers must not overwrite an existing claim with it.
///
/// # Errors
/// Those of [`bootstrap_claim_class`].
pub fn bootstrap_claim(snapshot: &Snapshot, platform: Option<&str>) -> Result<Value, StorageError> {
    let class = bootstrap_claim_class(snapshot, platform)?;
    Ok(defaults::claim("ReadWriteOnce", class.as_deref()))
}
