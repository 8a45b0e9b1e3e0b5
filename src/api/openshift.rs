//! The platform's kinds, as far as they are read: only these members, everything optional.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `infrastructures.config.openshift.io/cluster`, status.
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

/// The platform below the cluster. The member of the same name as `type` may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformStatus {
    /// `AWS`, `Azure`, `None`...; unknown ones must decode.
    #[serde(rename = "type")]
    pub type_: Option<String>,
}

/// `proxies.config.openshift.io/cluster`, status.
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

/// `apiservers.config.openshift.io/cluster`, spec.
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
