//! PURE: reads claims, and builds the operator's own claims.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::{Config, Kind};
use crate::config::defaults;
use crate::config::elapsed;
use crate::config::snapshot::Snapshot;
use crate::names;

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

/// The resourceVersion of a claim.
pub fn version(claim: &Value) -> Option<&str> {
    text(claim, "/metadata/resourceVersion")
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
        None => format!(
            "StorageClass {class} does not exist: create it, or a volume of this class that has the claim's size and access \
             mode"
        ),
        Some(found) if text(found, "/volumeBindingMode") == Some("WaitForFirstConsumer") => {
            format!(
                "it is bound when a registry pod is scheduled (StorageClass {class} has WaitForFirstConsumer){}",
                shared(claim)
            )
        }
        Some(_) => format!(
            "it waits for the provisioner of StorageClass {class}, the claim's events say more{}",
            shared(claim)
        ),
    }
}

/// What a claim that several nodes shall mount needs of its class. Classes of disks refuse it, and only the claim's events say so.
fn shared(claim: &Value) -> &'static str {
    if modes(claim).contains(&"ReadWriteMany") {
        "; the claim asks for ReadWriteMany, which the class must offer: else name a ReadWriteOnce claim of your own in \
         spec.storage.pvc.claim, with spec.replicas 1 and spec.rolloutStrategy Recreate"
    } else {
        ""
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

/// How long the claim of a new cluster waits for its StorageClass, which the platform's storage operator creates.
const CLASS_WITHIN: Duration = Duration::from_mins(2);

/// The claim that bootstrap creates before the Config, or that the operator creates when it selects the platform's default
/// later.
#[derive(Clone, Debug, PartialEq)]
pub enum BootstrapClaim {
    /// Create this claim. Callers must not overwrite an existing claim with it.
    Create(Value),
    /// Neither the platform's StorageClass nor a default class exists yet.
    Wait {
        /// What is missing, and what an administrator can do.
        message: String,
        /// Time until the claim is created with the platform's class, although the class is missing.
        left: Duration,
    },
}

/// The claim of a new cluster.
///
/// Its class is the platform's, if a StorageClass or a PersistentVolume of that name exists: a class of volumes that an
/// administrator made needs no StorageClass. Otherwise the claim gets the cluster's default class. Without a default class, it
/// waits, at most two minutes after `since`, and is then created with the platform's class like the Go operator does.
pub fn bootstrap_claim(snapshot: &Snapshot, platform: Option<&str>, since: Timestamp) -> BootstrapClaim {
    let own = defaults::bootstrap_class(platform);
    let named = || BootstrapClaim::Create(defaults::claim("ReadWriteOnce", Some(own)));
    if has_class(snapshot, own) || has_volume(snapshot, own) {
        return named();
    }
    if default_class(snapshot).is_some() {
        return BootstrapClaim::Create(defaults::claim("ReadWriteOnce", None));
    }
    match elapsed::left(since, snapshot.now, CLASS_WITHIN) {
        None => named(),
        Some(left) => BootstrapClaim::Wait {
            message: format!(
                "claim {} waits up to {} minutes for its StorageClass: {own} does not exist, and no StorageClass is the \
                 default. The platform's storage operator creates {own}; otherwise create {own}, mark a class as default, or \
                 create the claim",
                names::DEFAULT_CLAIM,
                CLASS_WITHIN.as_secs() / 60
            ),
            left,
        },
    }
}

/// Whether [`bootstrap_claim`] depends on the PersistentVolumes of the cluster: there is neither the claim nor its
/// StorageClass.
pub fn bootstrap_claim_reads_volumes(snapshot: &Snapshot, platform: Option<&str>) -> bool {
    let claim = snapshot
        .objects
        .operand(Kind::PersistentVolumeClaim, names::DEFAULT_CLAIM);
    defaults::may_use_claim(platform) && claim.is_none() && !has_class(snapshot, defaults::bootstrap_class(platform))
}

/// Whether the StorageClass exists; also true if the API server serves no StorageClasses, so that nobody knows.
fn has_class(snapshot: &Snapshot, class: &str) -> bool {
    !snapshot.objects.served(Kind::StorageClass) || snapshot.objects.cluster(Kind::StorageClass, class).is_some()
}

fn has_volume(snapshot: &Snapshot, class: &str) -> bool {
    let mut volumes = snapshot.objects.of(Kind::PersistentVolume);
    volumes.any(|(_, volume)| text(volume, "/spec/storageClassName") == Some(class))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::snapshot::Objects;

    // deploy 56: the claims of the table that drives the admission policy
    #[test]
    fn claims_of_one_node_fit_what_the_admission_policy_does_not_warn_of() {
        let cases: Vec<Value> = serde_saphyr::from_str(include_str!("../../../../tests/data/admission.yaml")).unwrap();
        let mut misfits = 0;
        for case in cases {
            let Some(name) = case.pointer("/spec/storage/pvc/claim").and_then(Value::as_str) else {
                continue;
            };
            let mode = if name == "single" {
                "ReadWriteOnce"
            } else {
                "ReadWriteMany"
            };
            let mut config = json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
                "metadata": {"name": "cluster"}, "spec": {"replicas": 1}});
            for (field, value) in case["spec"].as_object().unwrap() {
                config["spec"][field] = value.clone();
            }
            let config: Config = serde_json::from_value(config).unwrap();
            let found = misfit(&config, name, &json!({"spec": {"accessModes": [mode]}}));
            assert_eq!(
                found.is_some(),
                case["reason"] == "PVCIncompatible",
                "{}: {found:?}",
                case["case"]
            );
            misfits += usize::from(found.is_some());
        }
        assert_eq!(misfits, 3);
    }

    // A class of disks refuses ReadWriteMany, and the claim stays pending.
    #[test]
    fn a_pending_claim_of_many_nodes_says_what_its_class_must_offer() {
        for (binding, mode, told) in [
            ("WaitForFirstConsumer", "ReadWriteMany", true),
            ("Immediate", "ReadWriteMany", true),
            ("WaitForFirstConsumer", "ReadWriteOnce", false),
            ("Immediate", "ReadWriteOncePod", false),
        ] {
            let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "disks"},
                "volumeBindingMode": binding});
            let snapshot = Snapshot {
                objects: Objects::from_values([class]).unwrap(),
                ..Snapshot::empty()
            };
            let claim = json!({"spec": {"accessModes": [mode], "storageClassName": "disks"}});
            let message = describe(&snapshot, "images", &claim);
            let found = message.contains("asks for ReadWriteMany, which the class must offer");
            assert_eq!(found, told, "{message}");
        }
    }
}
