//! Scheduling of the registry's pods: node selector, topology spread constraints and affinity.

use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::content::has_label;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;

const OS_LABEL: &str = "kubernetes.io/os";
const HOST_LABEL: &str = "kubernetes.io/hostname";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const WORKER_LABEL: &str = "node-role.kubernetes.io/worker";

/// `nodeSelector` of the pods: the Config's selector, and Linux unless the Config selects an operating system.
pub(super) fn node_selector(resolved: &Resolved) -> Value {
    let mut selector = json!({OS_LABEL: "linux"});
    for (key, value) in resolved.node_selector.iter().flatten() {
        selector[key] = json!(value);
    }
    selector
}

/// `topologySpreadConstraints` of the pods. The Config replaces the default; a node selector in the Config disables it.
pub(super) fn spread(resolved: &Resolved, snapshot: &Snapshot) -> Vec<Value> {
    if let Some(given) = &resolved.spread {
        return given.clone();
    }
    if resolved.node_selector.is_some() {
        return Vec::new();
    }
    let mut keys = vec![HOST_LABEL];
    if spreads_over_workers(snapshot) {
        keys.push(WORKER_LABEL);
    }
    if nodes(snapshot).any(|node| has_label(node, ZONE_LABEL)) {
        keys.push(ZONE_LABEL);
    }
    keys.into_iter().map(constraint).collect()
}

/// Whether to add a constraint on the worker label. The scheduler ignores nodes without the key of a constraint, so the
/// constraint keeps the registry on workers. In a cluster without the label no node would qualify: the constraint is
/// omitted, but only if another node can run a pod now, so that a cluster whose workers have not joined yet does not get
/// two rollouts.
fn spreads_over_workers(snapshot: &Snapshot) -> bool {
    nodes(snapshot).any(|node| has_label(node, WORKER_LABEL)) || !nodes(snapshot).any(is_schedulable)
}

fn nodes(snapshot: &Snapshot) -> impl Iterator<Item = &Value> {
    snapshot.objects.of(Kind::Node).map(|(_, node)| node)
}

/// Whether a node is ready, not cordoned and without taints.
fn is_schedulable(node: &Value) -> bool {
    let list = |pointer: &str| {
        node.pointer(pointer)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let ready = list("/status/conditions")
        .iter()
        .any(|c| c.get("type") == Some(&json!("Ready")) && c.get("status") == Some(&json!("True")));
    let cordoned = node
        .pointer("/spec/unschedulable")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    ready && !cordoned && list("/spec/taints").is_empty()
}

fn constraint(key: &str) -> Value {
    json!({
        "topologyKey": key,
        "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}},
        "matchLabelKeys": ["pod-template-hash"],
        "nodeAffinityPolicy": "Honor",
        "nodeTaintsPolicy": "Honor",
    })
}

/// `affinity` of the pods. The Config replaces the default, which places two replicas on different nodes; other numbers of
/// replicas have no default affinity.
pub(super) fn affinity(resolved: &Resolved, replicas: i32) -> Option<Value> {
    let anti_affinity = || {
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": HOST_LABEL,
            "namespaces": [names::NAMESPACE],
            "labelSelector": {"matchLabels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}},
        }]}})
    };
    resolved
        .affinity
        .clone()
        .or_else(|| (replicas == 2).then(anti_affinity))
}
