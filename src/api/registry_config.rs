//! `configs.imageregistry.operator.openshift.io/v1`: what administrators write and read.
//!
//! Integer widths, casing and optionality follow the published CRD; `crds/` is generated from here.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Sensitive;

/// Desired state of the registry and of its operator.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "imageregistry.operator.openshift.io",
    version = "v1",
    kind = "Config",
    status = "ConfigStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSpec {
    /// `Managed`, `Unmanaged`, `Removed`, or `Force` (as `Managed`); absent is `Managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_state: Option<String>,
    /// Log level of the registry: `Normal`, `Debug`, `Trace`, `TraceAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<String>,
    /// Log level of this operator, applied while it runs: `Normal`, `Debug`, `Trace`, `TraceAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_log_level: Option<String>,
    /// Overrides without support: `deployment.annotations` and `deployment.runtimeClassName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsupported_config_overrides: Option<Value>,
    /// Written by the operator: the cluster's TLS profile as `servingInfo.minTLSVersion` and `servingInfo.cipherSuites`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_config: Option<Value>,
    /// Secret that all replicas share to sign upload state; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_secret: Option<Sensitive>,
    /// Proxy of the registry; each member alone falls back to the cluster's proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySpec>,
    /// Where images are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Refuses pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Serves all data through the registry instead of redirecting clients to the storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable_redirect: Option<bool>,
    /// Limits on requests in parallel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// Publishes the registry under the route `default-route`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// Further routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<Vec<RouteEntry>>,
    /// Number of registry pods.
    pub replicas: i32,
    /// Deprecated log level of the registry: 1 is `warn`; 0, 2, 3 are `info`; all else is `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<i64>,
    /// Resources of the registry container, taken whole (core/v1 ResourceRequirements).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Value>,
    /// Nodes on which registry pods may run; anything but null switches the default spreading off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations of the registry pods (core/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerations: Option<Vec<Value>>,
    /// `RollingUpdate` (also when absent) or `Recreate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_strategy: Option<String>,
    /// Affinity of the registry pods (core/v1); anything but null replaces the default anti-affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Value>,
    /// Spreading of the registry pods (core/v1); anything but null replaces the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<Value>>,
}

/// Proxy settings of the registry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxySpec {
    /// `HTTP_PROXY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// `NO_PROXY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_proxy: Option<String>,
}

/// Limits on requests in parallel, by direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Pulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<RequestLimits>,
    /// Pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<RequestLimits>,
}

/// Limits on requests in parallel, of one direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestLimits {
    /// Requests served at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<i64>,
    /// Requests waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_queue: Option<i64>,
    /// How long one may wait, as text (`1m30s`; the CRD lets looser text through).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_in_queue: Option<String>,
}

/// One further route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteEntry {
    /// Name of the Route.
    pub name: String,
    /// Host; the router chooses when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Secret in the registry's namespace with `tls.crt`, `tls.key`, `tls.cacrt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// Where images are kept. The API lets any number of members be set; exactly one is valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// `Managed`: settings are enforced, and removal deletes the data. `Unmanaged`: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_state: Option<String>,
    /// The pod's own disk: images are lost with the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirStorage>,
    /// A PersistentVolumeClaim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<PvcStorage>,
    /// Amazon S3, or a store that speaks its protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
    /// Google Cloud Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcs: Option<GcsStorage>,
    /// OpenStack Swift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swift: Option<SwiftStorage>,
    /// Azure Blob Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureStorage>,
    /// IBM Cloud Object Storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ibmcos: Option<IbmCosStorage>,
    /// Alibaba Cloud OSS: part of the API, supported by no release of today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oss: Option<OssStorage>,
}

/// The pod's own disk; it has no settings, its presence selects it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EmptyDirStorage {}

/// A PersistentVolumeClaim in the registry's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PvcStorage {
    /// Name of the claim; empty lets the operator create and own `image-registry-storage`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
}

/// Amazon S3, or a store that speaks its protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Storage {
    /// Bucket; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Region; the cluster's when region and endpoint are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// URL of another store's endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_endpoint: Option<String>,
    /// Encrypts on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypt: Option<bool>,
    /// KMS key; needs `encrypt`.
    #[serde(default, rename = "keyID", skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Size of an upload's parts, in MiB, 5 to 5120.
    #[serde(default, rename = "chunkSizeMiB", skip_serializing_if = "Option::is_none")]
    pub chunk_size_mib: Option<i32>,
    /// Puts the bucket into the host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_hosted_style: Option<bool>,
    /// ConfigMap in `openshift-config` with the endpoint's CA under `ca-bundle.crt`.
    #[serde(default, rename = "trustedCA", skip_serializing_if = "Option::is_none")]
    pub trusted_ca: Option<TrustedCa>,
    /// Serves pulls through Amazon CloudFront.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_front: Option<CloudFront>,
}

/// Names a ConfigMap; an empty name is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrustedCa {
    /// Name of the ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Amazon CloudFront in front of the bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudFront {
    /// URL of the distribution.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// Where the signing key is (core/v1 SecretKeySelector).
    pub private_key: Value,
    /// Id of the key pair.
    pub keypair_id: String,
    /// How long a signed URL lasts, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// Google Cloud Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GcsStorage {
    /// Bucket; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Region; the cluster's when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Project; the cluster's when empty.
    #[serde(default, rename = "projectID", skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// KMS key.
    #[serde(default, rename = "keyID", skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
}

/// OpenStack Swift.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SwiftStorage {
    /// Keystone's URL.
    #[serde(default, rename = "authURL", skip_serializing_if = "Option::is_none")]
    pub auth_url: Option<String>,
    /// Keystone's API version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_version: Option<String>,
    /// Container; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Domain by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Domain by id.
    #[serde(default, rename = "domainID", skip_serializing_if = "Option::is_none")]
    pub domain_id: Option<String>,
    /// Project by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Project by id.
    #[serde(default, rename = "tenantID", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_name: Option<String>,
}

/// Azure Blob Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureStorage {
    /// Storage account; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<String>,
    /// Blob container; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Name of the Azure environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_name: Option<String>,
    /// Who may reach the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_access: Option<AzureNetworkAccess>,
}

/// Who may reach an Azure storage account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AzureNetworkAccess {
    /// `External` (default) or `Internal`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Private endpoint; discovered when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<AzureInternal>,
}

/// Private endpoint of an Azure storage account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureInternal {
    /// Resource group of the virtual network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_resource_group_name: Option<String>,
    /// Virtual network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vnet_name: Option<String>,
    /// Subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_name: Option<String>,
    /// Private endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_endpoint_name: Option<String>,
}

/// IBM Cloud Object Storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IbmCosStorage {
    /// Bucket; generated when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Location; the cluster's when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Resource group; the cluster's when empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_group_name: Option<String>,
    /// CRN of the HMAC credential; created when empty.
    #[serde(default, rename = "resourceKeyCRN", skip_serializing_if = "Option::is_none")]
    pub resource_key_crn: Option<String>,
    /// CRN of the service instance; created when empty.
    #[serde(default, rename = "serviceInstanceCRN", skip_serializing_if = "Option::is_none")]
    pub service_instance_crn: Option<String>,
}

/// Alibaba Cloud OSS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OssStorage {
    /// Bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `Internal` (default), `Public` or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_accessibility: Option<String>,
    /// Encryption on the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<OssEncryption>,
}

/// Encryption of an OSS bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OssEncryption {
    /// `AES256` (default) or `KMS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// KMS key, with method `KMS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms: Option<OssKms>,
}

/// KMS key of an OSS bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OssKms {
    /// Id of the key.
    #[serde(rename = "keyID")]
    pub key_id: String,
}

/// Observed state. The API server refuses one without `storage` and `storageManaged`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// Generation of the Config that the last pass looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; map by `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
    /// Never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready pods of the registry's Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Never written; may only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_available_revision: Option<i32>,
    /// Generations of workloads as last written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generations: Option<Vec<Generation>>,
    /// Deprecated mirror: whether `spec.storage.managementState` is `Managed`.
    #[serde(default)]
    pub storage_managed: bool,
    /// Storage as applied; empty after a removal.
    #[serde(default)]
    pub storage: Storage,
}

/// A condition as stored: reason and message may be absent, reasons may contain spaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect.
    #[serde(default, rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// When `status` last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// Why, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Generation of a workload as last written by the operator; a differing live one means that somebody edited it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// API group.
    #[serde(default)]
    pub group: String,
    /// Resource in the plural.
    #[serde(default)]
    pub resource: String,
    /// Namespace; empty for cluster-scoped ones.
    #[serde(default)]
    pub namespace: String,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// `metadata.generation` after the last write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_generation: Option<i64>,
    /// Unused; the Go operator writes an empty one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

impl Storage {
    /// Names of the backends that are set, in the order of the API's documentation; `oss` is not one.
    pub fn backends(&self) -> Vec<&'static str> {
        [
            (self.empty_dir.is_some(), "EmptyDir"),
            (self.s3.is_some(), "S3"),
            (self.swift.is_some(), "Swift"),
            (self.gcs.is_some(), "GCS"),
            (self.ibmcos.is_some(), "IBMCOS"),
            (self.pvc.is_some(), "PVC"),
            (self.azure.is_some(), "Azure"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect()
    }

    /// `managementState`, where empty is absent.
    pub fn state(&self) -> Option<&str> {
        self.management_state.as_deref().filter(|s| !s.is_empty())
    }
}
