//! `spec.storage` and `status.storage` of the Config. Administrators write `spec.storage`; the operator copies the applied
//! storage to `status.storage`. The doc comments of types and fields become descriptions in the CRD.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;

/// Where images are kept. The API lets any number of members be set; exactly one is valid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// `Managed`: settings are enforced, and removal deletes the data. `Unmanaged`: neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(Managed|Unmanaged)$"))]
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
    /// Alibaba Cloud OSS.
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
    #[schemars(range(min = 5, max = 5120))]
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
    #[schemars(
        length(max = 253),
        regex(pattern = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
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
    #[schemars(schema_with = "schema::secret_key_selector")]
    pub private_key: Value,
    /// Id of the key pair.
    #[serde(rename = "keypairID")]
    pub keypair_id: String,
    /// How long a signed URL lasts, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
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
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[0-9a-z]+(-[0-9a-z]+)*$"))]
    pub container: Option<String>,
    /// Name of the Azure environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_name: Option<String>,
    /// Who may reach the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = { "type": "External" }))]
    pub network_access: Option<AzureNetworkAccess>,
}

/// Who may reach an Azure storage account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.type) && self.type == 'Internal' ?  true : !has(self.internal)",
    "message": "internal is forbidden when type is not Internal",
}]))]
pub struct AzureNetworkAccess {
    /// `External` (default) or `Internal`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Internal", "External"], "default" = "External"))]
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
    #[schemars(
        length(min = 1, max = 90),
        regex(pattern = r"^[0-9A-Za-z_.-](?:[0-9A-Za-z_.-]*[0-9A-Za-z_-])?$")
    )]
    pub network_resource_group_name: Option<String>,
    /// Virtual network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 64),
        regex(pattern = r"^[0-9A-Za-z][0-9A-Za-z_.-]*[0-9A-Za-z_]$")
    )]
    pub vnet_name: Option<String>,
    /// Subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 80),
        regex(pattern = r"^[0-9A-Za-z](?:[0-9A-Za-z_.-]*[0-9A-Za-z_])?$")
    )]
    pub subnet_name: Option<String>,
    /// Private endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 64),
        regex(pattern = r"^[0-9A-Za-z][0-9A-Za-z_.-]*[0-9A-Za-z_]$")
    )]
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
    #[schemars(regex(pattern = r"^crn:.+:.+:.+:cloud-object-storage:.+:.+:.+:resource-key:.+$"))]
    pub resource_key_crn: Option<String>,
    /// CRN of the service instance; created when empty.
    #[serde(default, rename = "serviceInstanceCRN", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^crn:.+:.+:.+:cloud-object-storage:.+:.+:.+::$"))]
    pub service_instance_crn: Option<String>,
}

/// Alibaba Cloud OSS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OssStorage {
    /// Bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[0-9a-z]+(-[0-9a-z]+)*$"))]
    pub bucket: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `Internal` (default), `Public` or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Internal", "Public", ""], "default" = "Internal"))]
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
    #[schemars(extend("enum" = ["KMS", "AES256"], "default" = "AES256"))]
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
    #[schemars(length(min = 1))]
    pub key_id: String,
}

impl Storage {
    /// Names of the backends that are set, in the order of the API's documentation.
    pub fn backends(&self) -> Vec<&'static str> {
        [
            (self.empty_dir.is_some(), "EmptyDir"),
            (self.s3.is_some(), "S3"),
            (self.swift.is_some(), "Swift"),
            (self.gcs.is_some(), "GCS"),
            (self.ibmcos.is_some(), "IBMCOS"),
            (self.pvc.is_some(), "PVC"),
            (self.azure.is_some(), "Azure"),
            (self.oss.is_some(), "OSS"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
        .collect()
    }

    /// `managementState`; `None` if absent or empty.
    pub fn state(&self) -> Option<&str> {
        self.management_state.as_deref().filter(|s| !s.is_empty())
    }
}
