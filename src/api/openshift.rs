//! The platform's kinds, as far as they are read: only these members, everything optional, unknown text kept.
//!
//! All are `config.openshift.io/v1` and cluster-scoped. Each type is one half of an object (`spec` or `status`), so that
//! the other half, which is none of our business, can never keep an object from being read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `infrastructures/cluster`, status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InfrastructureStatus {
    /// Prefix of generated names; may be empty.
    pub infrastructure_name: Option<String>,
    /// `HighlyAvailable` or `SingleReplica`: where workloads run.
    pub infrastructure_topology: Option<String>,
    /// `HighlyAvailable`, `SingleReplica`, `External`...: where the control plane runs.
    pub control_plane_topology: Option<String>,
    /// Deprecated; counts where `platformStatus` is absent.
    pub platform: Option<String>,
    /// The platform; absent on very old or very plain clusters.
    pub platform_status: Option<PlatformStatus>,
}

/// The platform below the cluster. The member that belongs to `type` may be missing; platforms of which nothing but the
/// type is read have none here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformStatus {
    /// `AWS`, `Azure`, `None`...; unknown ones must decode.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Amazon Web Services.
    pub aws: Option<AwsPlatform>,
    /// Microsoft Azure, Azure Stack Hub included.
    pub azure: Option<AzurePlatform>,
    /// Google Cloud.
    pub gcp: Option<GcpPlatform>,
    /// IBM Cloud.
    pub ibmcloud: Option<IbmCloudPlatform>,
    /// IBM Power Virtual Server.
    pub powervs: Option<PowerVsPlatform>,
    /// OpenStack.
    pub openstack: Option<OpenStackPlatform>,
}

/// A cloud on Amazon Web Services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsPlatform {
    /// Region of the cluster.
    pub region: Option<String>,
    /// Services under other addresses, by `s3`, `sts`...
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
    /// Tags for everything created; an administrator may change them at any time.
    pub resource_tags: Option<Vec<KeyValue>>,
}

/// A cloud on Microsoft Azure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AzurePlatform {
    /// Resource group of the cluster.
    pub resource_group_name: Option<String>,
    /// `AzurePublicCloud`, `AzureUSGovernmentCloud`, `AzureStackCloud`...; empty is the public cloud.
    pub cloud_name: Option<String>,
    /// Tags for everything created; fixed at installation.
    pub resource_tags: Option<Vec<KeyValue>>,
}

/// A cloud on Google Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpPlatform {
    /// Project of the cluster.
    #[serde(rename = "projectID")]
    pub project_id: Option<String>,
    /// Region of the cluster.
    pub region: Option<String>,
    /// Labels for everything created; fixed at installation.
    pub resource_labels: Option<Vec<KeyValue>>,
    /// Tags for everything created; fixed at installation.
    pub resource_tags: Option<Vec<GcpTag>>,
}

/// A cloud on IBM Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IbmCloudPlatform {
    /// Location of the cluster.
    pub location: Option<String>,
    /// Resource group of the cluster.
    pub resource_group_name: Option<String>,
    /// Services under other addresses, by `COS`, `IAM`, `ResourceController`, `ResourceManager`...
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
}

/// A cloud on IBM Power Virtual Server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PowerVsPlatform {
    /// Region of the cluster, in Power's own naming.
    pub region: Option<String>,
    /// Resource group of the cluster.
    pub resource_group: Option<String>,
    /// Services under other addresses, by the names that [`IbmCloudPlatform`] uses.
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
}

/// A cloud on OpenStack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenStackPlatform {
    /// Name of the cloud in the credentials' `clouds.yaml`.
    pub cloud_name: Option<String>,
}

/// Another address of a cloud's service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceEndpoint {
    /// The service, in the cloud's own naming.
    pub name: Option<String>,
    /// Absolute URL.
    pub url: Option<String>,
}

/// A tag or a label.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct KeyValue {
    /// Key.
    pub key: Option<String>,
    /// Value.
    pub value: Option<String>,
}

/// A Google Cloud tag.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GcpTag {
    /// Organisation (a number) or project that defines the tag.
    #[serde(rename = "parentID")]
    pub parent_id: Option<String>,
    /// Key.
    pub key: Option<String>,
    /// Value.
    pub value: Option<String>,
}

/// `proxies/cluster`, spec: the one member that has no counterpart in the status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxySpec {
    /// ConfigMap in `openshift-config` with the proxy's CA.
    #[serde(rename = "trustedCA")]
    pub trusted_ca: Option<MapName>,
}

/// `proxies/cluster`, status. An absent object is an empty one; addresses in `spec` are what was asked for and never count.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyStatus {
    /// `HTTP_PROXY`.
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// `images/cluster`, spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageSpec {
    /// ConfigMap in `openshift-config` with CAs by registry host.
    #[serde(rename = "additionalTrustedCA")]
    pub additional_trusted_ca: Option<MapName>,
    /// `Legacy`, `PreserveOriginal` or empty: how manifest lists are imported.
    pub image_stream_import_mode: Option<String>,
}

impl ImageSpec {
    /// Name of the ConfigMap with additional CAs; an empty name is none.
    pub fn additional_ca_map(&self) -> Option<&str> {
        self.additional_trusted_ca
            .as_ref()?
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}

/// Names a ConfigMap; live objects carry empty names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MapName {
    /// Name of the ConfigMap.
    pub name: Option<String>,
}

/// `images/cluster`, status: the members that the operator publishes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStatus {
    /// `host:port` of the registry inside the cluster.
    pub internal_registry_hostname: Option<String>,
    /// Hosts of the registry's routes, the default route's first.
    pub external_registry_hostnames: Option<Vec<String>>,
    /// The import mode in effect.
    pub image_stream_import_mode: Option<String>,
}

/// `apiservers/cluster`, spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServerSpec {
    /// TLS settings that every server of the cluster should follow.
    pub tls_security_profile: Option<TlsSecurityProfile>,
}

/// A named or custom set of TLS settings. Only `type` selects; siblings of the selected one are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsSecurityProfile {
    /// `Old`, `Intermediate`, `Modern` or `Custom`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Settings of type `Custom`; may be null.
    pub custom: Option<CustomTlsProfile>,
}

/// TLS settings spelled out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CustomTlsProfile {
    /// Suites by OpenSSL's names.
    pub ciphers: Option<Vec<String>>,
    /// `VersionTLS10` to `VersionTLS13`.
    #[serde(rename = "minTLSVersion")]
    pub min_tls_version: Option<String>,
}

/// `clusterversions/version`, status. `availableUpdates`, null on most clusters, is left out on purpose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClusterVersionStatus {
    /// The release that the cluster runs or goes to.
    pub desired: Option<Release>,
    /// Releases that the cluster has run, the latest first.
    pub history: Option<Vec<ReleaseRun>>,
}

/// A release of the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Release {
    /// Its version.
    pub version: Option<String>,
    /// `Multi`; absent or empty for a single architecture.
    pub architecture: Option<String>,
}

/// A release that the cluster has run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReleaseRun {
    /// Its version.
    pub version: Option<String>,
}

/// `featuregates/cluster`, status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FeatureGateStatus {
    /// Gates by release.
    pub feature_gates: Option<Vec<ReleaseGates>>,
}

/// Gates of one release. One in neither list is unknown to that release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReleaseGates {
    /// Version of the release.
    pub version: Option<String>,
    /// Gates that are on.
    pub enabled: Option<Vec<Gate>>,
    /// Gates that are off.
    pub disabled: Option<Vec<Gate>>,
}

/// A feature gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Gate {
    /// Its name.
    pub name: Option<String>,
}
