//! PodDisruptionBudget of the registry: keeps one pod available while nodes are drained.

use serde_json::json;

use super::{Desired, Drift};
use crate::api::Kind;
use crate::names;

/// The PodDisruptionBudget. A single pod may be evicted: otherwise its node could never be drained.
pub(super) fn budget(replicas: i32) -> Desired {
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
        "spec": {
            "minAvailable": i32::from(replicas > 1),
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}},
        },
    });
    Desired::new(Kind::PodDisruptionBudget, Drift::Whole(&["spec"]), body)
}
