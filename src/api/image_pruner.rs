//! The kind ImagePruner, `imagepruners.imageregistry.operator.openshift.io/v1`: a CronJob that removes unused images.
//!
//! The doc comments of types and fields become descriptions in the CRD.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Condition, schema};

/// Desired state of the pruning job.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "imageregistry.operator.openshift.io",
    version = "v1",
    kind = "ImagePruner",
    doc = "Configuration and state of the image pruning job. Only the object named `cluster` counts.",
    status = "ImagePrunerStatus",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ImagePrunerSpec {
    /// When it runs, in cron's format; empty is every midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Stops further runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Images kept per tag; absent is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub keep_tag_revisions: Option<i64>,
    /// Deprecated: age in nanoseconds under which an image is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_younger_than: Option<i64>,
    /// Age under which an image is kept, as text; absent is 60m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::duration")]
    pub keep_younger_than_duration: Option<String>,
    /// Resources of the job's container (core/v1 ResourceRequirements).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::resources")]
    pub resources: Option<Value>,
    /// Affinity of the job's pod (core/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::affinity")]
    pub affinity: Option<Value>,
    /// Nodes on which the job may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations of the job's pod (core/v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Option<Vec<Value>>,
    /// Successful jobs kept; absent is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successful_jobs_history_limit: Option<i32>,
    /// Failed jobs kept; absent is 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_jobs_history_limit: Option<i32>,
    /// Goes on at references that cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_invalid_image_references: Option<bool>,
    /// Log level of the job: `Normal`, `Debug`, `Trace`, `TraceAll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::log_level")]
    pub log_level: Option<String>,
}

/// Observed state of the pruning job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImagePrunerStatus {
    /// Generation that the last pass looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions; a plain list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<Condition>>,
}
