//! What must go when the registry is not wanted, in stages: clients first, then the pods, then what the pods live on.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{operand, route};
use crate::api::{Kind, ObjectRef};
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;

/// How long objects wait for pods that were asked to go, or that stay though the Deployment went.
const LIMIT: SignedDuration = SignedDuration::from_secs(90);

/// Next stage of the removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Objects to delete now, in this order: they exist, and nobody asked for it yet.
    pub delete: Vec<ObjectRef>,
    /// What the removal waits for, with pod and node. Storage goes on waiting for these pods also where objects do not.
    pub waiting: Option<String>,
    /// Whether no object of the registry is left.
    pub objects_gone: bool,
    /// Whether no pod of the registry is left.
    pub pods_gone: bool,
}

/// Plans the next stage. Routes that are not ours are never touched. `deployment_gone` is since when there is no Deployment:
/// what then stays without being asked to go is not its pod.
pub fn removal(snapshot: &Snapshot, deployment_gone: Option<Timestamp>) -> Removal {
    let objects = &snapshot.objects;
    let pods: Vec<_> = pods(objects).collect();
    let mut first: Vec<ObjectRef> = route::owned(objects).cloned().collect();
    first.extend([Kind::PodDisruptionBudget, Kind::Deployment].map(|kind| operand(kind, names::REGISTRY)));
    let last = [
        operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
        operand(Kind::Service, names::REGISTRY),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
        operand(Kind::ClusterRoleBinding, names::REGISTRY_CLUSTER_ROLE_BINDING),
        operand(Kind::ClusterRole, names::REGISTRY_CLUSTER_ROLE),
    ];
    let exists = |reference: &&ObjectRef| objects.find(reference).is_some();
    let objects_gone = !first.iter().chain(&last).any(|reference| exists(&reference));

    let deployment = operand(Kind::Deployment, names::REGISTRY);
    let asked = objects
        .find(&deployment)
        .is_none_or(|live| deletion_time(live).is_some());
    let over = |since: Timestamp| snapshot.now.duration_since(since) >= LIMIT;
    let pods_done = asked
        && pods
            .iter()
            .all(|(_, pod)| asked_to_go(pod).or(deployment_gone).is_some_and(over));
    let stage = first.iter().chain(last.iter().filter(|_| pods_done));
    let to_ask = |reference: &&ObjectRef| {
        objects
            .find(reference)
            .is_some_and(|live| deletion_time(live).is_none())
    };
    Removal {
        delete: stage.filter(to_ask).cloned().collect(),
        waiting: waiting(&pods),
        objects_gone,
        pods_gone: pods.is_empty(),
    }
}

/// Pods of the registry that may still run.
fn pods(objects: &Objects) -> impl Iterator<Item = (&ObjectRef, &Value)> {
    objects.of(Kind::Pod).filter(|(reference, pod)| {
        let label = pod
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(names::OPERAND_LABEL));
        // What ended uses nothing any more; its object may stay for long.
        let ended = matches!(
            pod.pointer("/status/phase").and_then(Value::as_str),
            Some("Succeeded" | "Failed")
        );
        reference.namespace == names::NAMESPACE
            && label.and_then(Value::as_str) == Some(names::OPERAND_LABEL_VALUE)
            && !ended
    })
}

fn waiting(pods: &[(&ObjectRef, &Value)]) -> Option<String> {
    let described: Vec<String> = pods
        .iter()
        .map(
            |(reference, pod)| match pod.pointer("/spec/nodeName").and_then(Value::as_str) {
                Some(node) => format!("Pod {} on node {node}", reference.name),
                None => format!("Pod {}, on no node yet,", reference.name),
            },
        )
        .collect();
    (!described.is_empty()).then(|| format!("{} to end", described.join(", ")))
}

fn deletion_time(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/deletionTimestamp")?.as_str()?.parse().ok()
}

/// Since when a pod is asked to go. The API server stores when it has to be gone at the latest.
fn asked_to_go(pod: &Value) -> Option<Timestamp> {
    let grace = pod
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    deletion_time(pod).and_then(|time| time.checked_sub(SignedDuration::from_secs(grace)).ok())
}

#[cfg(test)]
mod tests;
