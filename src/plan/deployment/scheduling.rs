//! Scheduling of the registry's pods: node selector, topology spread constraints and affinity.

use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::content::has_label;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::parts::live_deployment;

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
    if spreads_over_workers(resolved, snapshot) {
        keys.push(WORKER_LABEL);
    }
    if nodes(snapshot).any(|node| has_label(node, ZONE_LABEL)) {
        keys.push(ZONE_LABEL);
    }
    keys.into_iter().map(constraint).collect()
}

/// Fields that constraints of the Go operator did not have before the builds of summer 2026.
const LATER_FIELDS: [&str; 3] = ["matchLabelKeys", "nodeAffinityPolicy", "nodeTaintsPolicy"];

/// The default constraints as earlier builds of the Go operator write them, if the live Deployment has them so.
pub(super) fn former_spread(resolved: &Resolved, snapshot: &Snapshot) -> Option<Vec<Value>> {
    if resolved.spread.is_some() {
        return None;
    }
    let mut former = spread(resolved, snapshot);
    for constraint in former.iter_mut().filter_map(Value::as_object_mut) {
        constraint.retain(|member, _| !LATER_FIELDS.contains(&member.as_str()));
    }
    let live = list(
        live_deployment(snapshot)?,
        "/spec/template/spec/topologySpreadConstraints",
    );
    (!former.is_empty() && former == live).then_some(former)
}

/// Whether to add a constraint on the worker label. The scheduler ignores nodes without the key of a constraint, so the
/// constraint keeps the registry on workers. In a cluster without the label no node would qualify: the constraint is
/// omitted, but only if another node can run a pod now, so that a cluster whose workers have not joined yet does not get
/// two rollouts. While no node can run a pod, the live Deployment keeps what it has: a cordon of the last node must not replace its
/// pods.
fn spreads_over_workers(resolved: &Resolved, snapshot: &Snapshot) -> bool {
    if nodes(snapshot).any(|node| has_label(node, WORKER_LABEL)) {
        return true;
    }
    if nodes(snapshot).any(|node| is_schedulable(node, &resolved.tolerations)) {
        return false;
    }
    live_deployment(snapshot).is_none_or(has_worker_constraint)
}

fn has_worker_constraint(deployment: &Value) -> bool {
    let constraints = list(deployment, "/spec/template/spec/topologySpreadConstraints");
    constraints
        .iter()
        .any(|constraint| text(constraint, "topologyKey") == WORKER_LABEL)
}

fn nodes(snapshot: &Snapshot) -> impl Iterator<Item = &Value> {
    snapshot.objects.of(Kind::Node).map(|(_, node)| node)
}

/// Whether a node is ready, not cordoned and without taints that keep the pods away: neither a soft one (`PreferNoSchedule`) does, nor one
/// that the pods tolerate.
fn is_schedulable(node: &Value, tolerations: &[Value]) -> bool {
    let ready = list(node, "/status/conditions")
        .iter()
        .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True");
    let cordoned = node
        .pointer("/spec/unschedulable")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let hard = |taint: &&Value| text(taint, "effect") != "PreferNoSchedule";
    let mut taints = list(node, "/spec/taints").iter().filter(hard);
    ready && !cordoned && taints.all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a toleration matches a taint, as the scheduler decides it.
fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let same = |member| text(toleration, member) == text(taint, member);
    let unset = |member| text(toleration, member).is_empty();
    let effect = unset("effect") || same("effect");
    effect
        && match text(toleration, "operator") {
            "Exists" => unset("key") || same("key"),
            "" | "Equal" => !unset("key") && same("key") && same("value"),
            _ => false,
        }
}

fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.map_or(&[], Vec::as_slice)
}

/// A text field; empty if the object does not have it.
fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
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
