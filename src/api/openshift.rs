//! Kinds of `config.openshift.io/v1` that the operator reads: only the fields in use, all optional, enumerations as strings.
//!
//! All kinds are cluster-scoped. Each type is either the `spec` or the `status` of an object, so that an unexpected value in
//! the other part cannot fail decoding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `status` of `infrastructures/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InfrastructureStatus {
    /// Prefix of generated names; may be empty.
    pub infrastructure_name: Option<String>,
    /// Topology of the worker nodes: `HighlyAvailable` or `SingleReplica`.
    pub infrastructure_topology: Option<String>,
    /// Topology of the control plane: `HighlyAvailable`, `SingleReplica`, `External`...
    pub control_plane_topology: Option<String>,
    /// Deprecated; used only if `platformStatus` is absent.
    pub platform: Option<String>,
    /// The platform; absent on very old and on minimal clusters.
    pub platform_status: Option<PlatformStatus>,
}

/// The infrastructure platform of the cluster. The field that belongs to `type` may be missing. Platforms of which the
/// operator reads only the type have no field here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformStatus {
    /// `AWS`, `Azure`, `None`...; unknown platforms must decode.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Amazon Web Services.
    pub aws: Option<AwsPlatform>,
    /// Microsoft Azure and Azure Stack Hub.
    pub azure: Option<AzurePlatform>,
    /// Google Cloud.
    pub gcp: Option<GcpPlatform>,
    /// IBM Cloud.
    pub ibmcloud: Option<IbmCloudPlatform>,
    /// IBM Power Virtual Server.
    pub powervs: Option<PowerVsPlatform>,
    /// OpenStack.
    pub openstack: Option<OpenStackPlatform>,
    /// Alibaba Cloud.
    pub alibaba_cloud: Option<AlibabaCloudPlatform>,
}

/// Platform settings of Amazon Web Services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsPlatform {
    /// Region of the cluster.
    pub region: Option<String>,
    /// Custom endpoints of services, named `s3`, `sts`...
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
    /// Tags of every created resource; an administrator may change them at any time.
    pub resource_tags: Option<Vec<KeyValue>>,
}

/// Platform settings of Microsoft Azure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AzurePlatform {
    /// Resource group of the cluster.
    pub resource_group_name: Option<String>,
    /// Resource group of the virtual network, if it is another one.
    pub network_resource_group_name: Option<String>,
    /// `AzurePublicCloud`, `AzureUSGovernmentCloud`, `AzureStackCloud`...; empty is the public cloud.
    pub cloud_name: Option<String>,
    /// Tags of every created resource; fixed at installation.
    pub resource_tags: Option<Vec<KeyValue>>,
}

/// Platform settings of Google Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GcpPlatform {
    /// Project of the cluster.
    #[serde(rename = "projectID")]
    pub project_id: Option<String>,
    /// Region of the cluster.
    pub region: Option<String>,
    /// Labels of every created resource; fixed at installation.
    pub resource_labels: Option<Vec<KeyValue>>,
    /// Tags of every created resource; fixed at installation.
    pub resource_tags: Option<Vec<GcpTag>>,
    /// Domain of the APIs, for sovereign clouds; empty: `googleapis.com`.
    pub universe_domain: Option<String>,
}

/// Platform settings of IBM Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IbmCloudPlatform {
    /// Location of the cluster.
    pub location: Option<String>,
    /// Resource group of the cluster.
    pub resource_group_name: Option<String>,
    /// Custom endpoints of services, named `COS`, `IAM`, `ResourceController`, `ResourceManager`...
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
}

/// Platform settings of IBM Power Virtual Server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PowerVsPlatform {
    /// Region of the cluster, by its Power VS name.
    pub region: Option<String>,
    /// Resource group of the cluster.
    pub resource_group: Option<String>,
    /// Custom endpoints of services, named as in [`IbmCloudPlatform`].
    pub service_endpoints: Option<Vec<ServiceEndpoint>>,
}

/// Platform settings of OpenStack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OpenStackPlatform {
    /// Name of the cloud in `clouds.yaml` of the credentials.
    pub cloud_name: Option<String>,
}

/// Platform settings of Alibaba Cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AlibabaCloudPlatform {
    /// Region of the cluster.
    pub region: Option<String>,
}

/// Custom endpoint of a cloud service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ServiceEndpoint {
    /// Name of the service, as the cloud provider defines it.
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
    /// ID of the organisation (a number) or project that defines the tag.
    #[serde(rename = "parentID")]
    pub parent_id: Option<String>,
    /// Key.
    pub key: Option<String>,
    /// Value.
    pub value: Option<String>,
}

/// `spec` of `proxies/cluster`: the only field without a counterpart in `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxySpec {
    /// ConfigMap in `openshift-config` with the proxy's CA.
    #[serde(rename = "trustedCA")]
    pub trusted_ca: Option<MapName>,
}

/// `status` of `proxies/cluster`. An absent object counts as empty. The operator ignores the addresses in `spec`: only
/// `status` is in effect.
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

/// `spec` of `images/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageSpec {
    /// ConfigMap in `openshift-config` with one CA bundle for each registry host.
    #[serde(rename = "additionalTrustedCA")]
    pub additional_trusted_ca: Option<MapName>,
    /// Import mode of manifest lists: `Legacy`, `PreserveOriginal` or empty.
    pub image_stream_import_mode: Option<String>,
}

impl ImageSpec {
    /// Name of the ConfigMap with additional CAs; `None` if absent or empty.
    pub fn additional_ca_map(&self) -> Option<&str> {
        self.additional_trusted_ca
            .as_ref()?
            .name
            .as_deref()
            .filter(|name| !name.is_empty())
    }
}

/// Reference to a ConfigMap. The name may be absent or empty: live objects have empty names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MapName {
    /// Name of the ConfigMap.
    pub name: Option<String>,
}

/// `status` of `images/cluster`: the fields that the operator writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageStatus {
    /// `host:port` of the registry inside the cluster.
    pub internal_registry_hostname: Option<String>,
    /// Hosts of the registry's Routes, the host of the default Route first.
    pub external_registry_hostnames: Option<Vec<String>>,
    /// Import mode in effect: `Legacy` or `PreserveOriginal`.
    pub image_stream_import_mode: Option<String>,
}

/// `spec` of `apiservers/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServerSpec {
    /// TLS settings for every server of the cluster.
    pub tls_security_profile: Option<TlsSecurityProfile>,
}

/// A named or custom set of TLS settings. Only `type` selects the profile; settings of other profiles are ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TlsSecurityProfile {
    /// `Old`, `Intermediate`, `Modern` or `Custom`.
    #[serde(rename = "type")]
    pub type_: Option<String>,
    /// Settings of type `Custom`; may be null.
    pub custom: Option<CustomTlsProfile>,
}

/// TLS settings of a custom profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CustomTlsProfile {
    /// OpenSSL names of the cipher suites.
    pub ciphers: Option<Vec<String>>,
    /// `VersionTLS10` to `VersionTLS13`.
    #[serde(rename = "minTLSVersion")]
    pub min_tls_version: Option<String>,
}

/// `status` of `clusterversions/version`, without `availableUpdates`: that list is null on most clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClusterVersionStatus {
    /// The release that the cluster runs or updates to.
    pub desired: Option<Release>,
    /// Releases that the cluster has run, the latest release first.
    pub history: Option<Vec<ReleaseRun>>,
}

/// A release of the platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Release {
    /// Version, such as `4.22.0`.
    pub version: Option<String>,
    /// `Multi`; absent or empty for a release with a single architecture.
    pub architecture: Option<String>,
}

/// A release that the cluster has run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReleaseRun {
    /// Version, such as `4.22.0`.
    pub version: Option<String>,
}

/// `status` of `featuregates/cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FeatureGateStatus {
    /// Feature gates of each release.
    pub feature_gates: Option<Vec<ReleaseGates>>,
}

/// Feature gates of one release. A gate in neither list is unknown to the release.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReleaseGates {
    /// Version of the release.
    pub version: Option<String>,
    /// Enabled gates.
    pub enabled: Option<Vec<Gate>>,
    /// Disabled gates.
    pub disabled: Option<Vec<Gate>>,
}

/// A feature gate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Gate {
    /// Name of the gate.
    pub name: Option<String>,
}
