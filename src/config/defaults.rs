//! What a platform gets when nobody said otherwise.

use serde_json::{Value, json};

use crate::api::openshift::InfrastructureStatus;
use crate::api::registry_config::{
    AzureStorage, EmptyDirStorage, GcsStorage, IbmCosStorage, PvcStorage, S3Storage, Storage,
};
use crate::names;

/// Storage that a platform gets.
#[derive(Clone, Debug, PartialEq)]
pub enum PlatformStorage {
    /// This backend, with empty settings (the default claim's name apart).
    Backend(Box<Storage>),
    /// Swift where the cloud offers it, else a claim: only a probe of the cloud can tell.
    SwiftOrClaim,
    /// None: the registry starts out removed.
    Nothing,
}

/// Platform of the cluster: `platformStatus.type`, else the deprecated `platform`; `None` where both are missing.
pub fn platform(infrastructure: &InfrastructureStatus) -> Option<String> {
    match &infrastructure.platform_status {
        Some(status) => Some(status.type_.clone().unwrap_or_default()),
        None => infrastructure.platform.clone().filter(|p| !p.is_empty()),
    }
}

/// Storage of a platform; unknown platforms get the pod's own disk, as they always did.
pub fn storage(platform: Option<&str>) -> PlatformStorage {
    let backend = |storage: Storage| PlatformStorage::Backend(Box::new(storage));
    match platform {
        None
        | Some(
            "BareMetal" | "VSphere" | "None" | "Nutanix" | "KubeVirt" | "EquinixMetal" | "AlibabaCloud" | "External",
        ) => PlatformStorage::Nothing,
        Some("AWS") => backend(Storage {
            s3: Some(S3Storage::default()),
            ..Storage::default()
        }),
        Some("Azure") => backend(Storage {
            azure: Some(AzureStorage::default()),
            ..Storage::default()
        }),
        Some("GCP") => backend(Storage {
            gcs: Some(GcsStorage::default()),
            ..Storage::default()
        }),
        Some("IBMCloud" | "PowerVS") => backend(Storage {
            ibmcos: Some(IbmCosStorage::default()),
            ..Storage::default()
        }),
        Some("OpenStack") => PlatformStorage::SwiftOrClaim,
        Some("oVirt") => backend(claim_storage()),
        Some(_) => backend(Storage {
            empty_dir: Some(EmptyDirStorage {}),
            ..Storage::default()
        }),
    }
}

/// `pvc` with the default claim, as bootstrap sets it.
pub fn claim_storage() -> Storage {
    Storage {
        pvc: Some(PvcStorage {
            claim: Some(names::DEFAULT_CLAIM.to_owned()),
        }),
        ..Storage::default()
    }
}

/// The Config that a cluster starts with. `storage` is what the platform gets, probed where it has to be.
pub fn bootstrap_config(
    infrastructure: &InfrastructureStatus,
    storage: Option<&Storage>,
    observed_config: &Value,
) -> Value {
    let is_cloud = storage.is_some_and(|s| s.empty_dir.is_none() && s.pvc.is_none());
    let single = infrastructure.infrastructure_topology.as_deref() == Some("SingleReplica");
    let replicas = if is_cloud && !single { 2 } else { 1 };
    let is_claim = storage.is_some_and(|s| s.pvc.is_some());
    json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1",
        "kind": "Config",
        "metadata": {"name": names::CLUSTER, "finalizers": [names::FINALIZER]},
        "spec": {
            "managementState": if storage.is_some() { "Managed" } else { "Removed" },
            "logLevel": "Normal",
            "operatorLogLevel": "Normal",
            "replicas": replicas,
            "rolloutStrategy": if is_claim { "Recreate" } else { "RollingUpdate" },
            "storage": storage.cloned().unwrap_or_default(),
            "observedConfig": observed_config,
        },
    })
}

/// The claim that bootstrap makes for a platform, before the Config.
pub fn bootstrap_claim(platform: Option<&str>, class: Option<&str>) -> Value {
    let class = class.map_or_else(
        || {
            if platform == Some("oVirt") {
                "ovirt-csi-sc"
            } else {
                "standard-csi"
            }
            .to_owned()
        },
        str::to_owned,
    );
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names::DEFAULT_CLAIM,
            "namespace": names::NAMESPACE,
            "annotations": {names::OWNED_ANNOTATION: "true"},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "100Gi"}},
            "storageClassName": class,
        },
    })
}

#[cfg(test)]
mod tests;
