//! The kind Config, `configs.imageregistry.operator.openshift.io/v1`: configuration and status of the image registry.
//!
//! Integer widths, casing and optionality follow the published CRD. `crds/` is generated from these types; their doc
//! comments become descriptions in the CRD.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Sensitive, schema};

pub use super::registry_storage::*;

/// Desired state of the registry and of its operator.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "imageregistry.operator.openshift.io",
    version = "v1",
    kind = "Config",
    doc = "Configuration and state of the image registry. Only the object named `cluster` counts.",
    status = "ConfigStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSpec {
    /// `Managed`, `Unmanaged`, `Removed`, or `Force` (as `Managed`); absent is `Managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(Managed|Unmanaged|Force|Removed)$"))]
    pub management_state: Option<String>,
    /// Log level of the registry: `Normal`, `Debug`, `Trace`, `TraceAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::log_level")]
    pub log_level: Option<String>,
    /// Log level of this operator, applied while it runs: `Normal`, `Debug`, `Trace`, `TraceAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::log_level")]
    pub operator_log_level: Option<String>,
    /// Overrides without support: `deployment.annotations` and `deployment.runtimeClassName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub unsupported_config_overrides: Option<Value>,
    /// Written by the operator: the cluster's TLS profile as `servingInfo.minTLSVersion` and `servingInfo.cipherSuites`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
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
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub requests: Option<Requests>,
    /// Publishes the registry under the route `default-route`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_route: Option<bool>,
    /// Further routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub routes: Option<Vec<RouteEntry>>,
    /// Number of registry pods.
    pub replicas: i32,
    /// Deprecated log level of the registry: 1 is `warn`; 0, 2, 3 are `info`; all else is `debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<i64>,
    /// Resources of the registry container, taken whole (core/v1 ResourceRequirements).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources", extend("x-kubernetes-map-type" = "atomic"))]
    pub resources: Option<Value>,
    /// Nodes on which registry pods may run; anything but null switches the default spreading off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations of the registry pods (core/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations", extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Option<Vec<Value>>,
    /// `RollingUpdate` (also when absent) or `Recreate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(RollingUpdate|Recreate)$"))]
    pub rollout_strategy: Option<String>,
    /// Affinity of the registry pods (core/v1); anything but null replaces the default anti-affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Value>,
    /// Spreading of the registry pods (core/v1); anything but null replaces the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::topology_spread_constraints")]
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
    #[schemars(schema_with = "schema::integer")]
    pub max_running: Option<i64>,
    /// Requests waiting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub max_in_queue: Option<i64>,
    /// How long one may wait, as text (`1m30s`; the CRD lets looser text through).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
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

/// Observed state. The API server refuses one without `storage` and `storageManaged`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("required" = ["storage", "storageManaged"]))]
pub struct ConfigStatus {
    /// Generation of the Config that the last pass looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; map by `type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Option<Vec<Condition>>,
    /// Never written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready pods of the registry's Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Never written; may only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{ "rule": "self >= oldSelf", "message": "must only increase" }]))]
    pub latest_available_revision: Option<i32>,
    /// Generations of workloads as last written by the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["group", "resource", "namespace", "name"]))]
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
#[schemars(extend("required" = ["lastTransitionTime", "status", "type"]))]
pub struct Condition {
    /// Which aspect.
    #[serde(default, rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// When `status` last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::date_time")]
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
#[schemars(extend("required" = ["group", "name", "namespace", "resource"]))]
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
