//! Defaults of a new Config, by platform.

use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::api::openshift::InfrastructureStatus;
use crate::api::registry_config::{
    AzureStorage, EmptyDirStorage, GcsStorage, IbmCosStorage, PvcStorage, S3Storage, Storage,
};
use crate::names;

/// Default storage of a platform.
#[derive(Clone, Debug, PartialEq)]
pub enum PlatformStorage {
    /// This backend with empty settings; `pvc` names the default claim.
    Backend(Box<Storage>),
    /// Swift if the OpenStack cloud offers object storage, else `pvc`. Only a request to the cloud can decide.
    SwiftOrClaim,
    /// No storage: bootstrap sets `managementState: Removed`.
    Nothing,
}

/// Platform of the cluster: `platformStatus.type`, else the deprecated `platform`; `None` if both are missing.
pub fn platform(infrastructure: &InfrastructureStatus) -> Option<String> {
    match &infrastructure.platform_status {
        Some(status) => Some(status.type_.clone().unwrap_or_default()),
        None => infrastructure.platform.clone().filter(|p| !p.is_empty()),
    }
}

/// Default storage of a platform. An unknown platform gets `emptyDir`, as from the Go operator.
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

/// Whether the default storage of a platform can be a claim.
pub fn may_use_claim(platform: Option<&str>) -> bool {
    match storage(platform) {
        PlatformStorage::Backend(storage) => storage.pvc.is_some(),
        PlatformStorage::SwiftOrClaim => true,
        PlatformStorage::Nothing => false,
    }
}

/// `spec.storage` with `pvc` and the default claim.
pub fn claim_storage() -> Storage {
    Storage {
        pvc: Some(PvcStorage {
            claim: Some(names::DEFAULT_CLAIM.to_owned()),
        }),
        ..Storage::default()
    }
}

/// The Config that the operator creates if the cluster has none. `storage` is the platform's default; `None` creates a
/// Config with `managementState: Removed`.
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

/// The Config of [`bootstrap_config`] with fields of `spec` that the installation sets. Each replaces the whole field.
pub fn with_spec(mut config: Value, given: &Map<String, Value>) -> Value {
    if let Some(Value::Object(spec)) = config.get_mut("spec") {
        spec.extend(given.clone());
    }
    config
}

/// The storage among fields of `spec` that the installation sets; `None` if there is none.
pub fn given_storage(given: &Map<String, Value>) -> Result<Option<Storage>, String> {
    let Some(storage) = given.get("storage") else {
        return Ok(None);
    };
    let given = Storage::deserialize(storage).map_err(|error| error.to_string())?;
    if given.backends().is_empty() {
        return Err("it names no storage, such as emptyDir, pvc or s3".to_owned());
    }
    Ok(Some(given))
}

/// The platform's usual StorageClass for the claim that bootstrap creates before the Config.
pub fn bootstrap_class(platform: Option<&str>) -> &'static str {
    if platform == Some("oVirt") {
        "ovirt-csi-sc"
    } else {
        "standard-csi"
    }
}

/// A PersistentVolumeClaim that the operator creates and owns. `class` is the StorageClass; `None` selects the cluster's
/// default.
pub fn claim(access_mode: &str, class: Option<&str>) -> Value {
    let mut spec = json!({
        "accessModes": [access_mode],
        "resources": {"requests": {"storage": "100Gi"}},
    });
    if let Some(class) = class {
        spec["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": names::DEFAULT_CLAIM,
            "namespace": names::NAMESPACE,
            "annotations": {names::OWNED_ANNOTATION: "true"},
        },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests;
