//! Removal of the registry, in two stages: first the Routes (or Ingresses, or HTTPRoutes), the PodDisruptionBudget and the
//! Deployment; after the pods terminated, the objects that pods use.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{operand, own_certificates, owned, stock};
use crate::api::{Kind, ObjectRef};
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;

/// Longest wait of the second stage for pods, counted from the deletion request of the pod or, for a pod without one, from
/// the end of the Deployment.
const LIMIT: SignedDuration = SignedDuration::from_secs(90);

/// State of the removal, and the next deletions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Objects to delete now, in this order. All exist and have no deletionTimestamp.
    pub delete: Vec<ObjectRef>,
    /// Pods that still run, with their nodes, for a message such as `waiting for {waiting}`. The removal of the storage waits
    /// for these pods even after objects no longer do.
    pub waiting: Option<String>,
    /// Whether no object of the registry exists.
    pub objects_gone: bool,
    /// Whether no pod of the registry runs.
    pub pods_gone: bool,
}

impl Removal {
    /// Whether the removal of the storage may begin: no object of the registry exists that could start a pod, and no pod runs that
    /// could write to the storage. A pod on an unreachable node may run for as long as it exists, also without a Deployment.
    pub fn storage_may_go(&self) -> bool {
        self.delete.is_empty() && self.objects_gone && self.pods_gone
    }
}

/// Plans the next deletions. Routes of other owners stay. `deployment_gone` is the time since which no Deployment exists;
/// `None` while the Deployment exists. The wait for a pod without a deletionTimestamp counts from then: such a pod does not
/// belong to the Deployment, so it is possible that no controller ever deletes it.
pub fn removal(snapshot: &Snapshot, deployment_gone: Option<Timestamp>) -> Removal {
    let objects = &snapshot.objects;
    let pods: Vec<_> = registry_pods(objects).collect();
    let mut first_stage: Vec<ObjectRef> = owned::owned(objects).cloned().collect();
    let helpers: Vec<ObjectRef> = owned::helpers(objects).collect();
    first_stage.extend(helpers.iter().cloned());
    first_stage.extend([Kind::PodDisruptionBudget, Kind::Deployment].map(|kind| operand(kind, names::REGISTRY)));
    // The service CA's certificate has the Service as its owner, and goes with it.
    let issued = operand(Kind::Secret, names::SERVING_CERT_SECRET);
    let issued = Some(issued).filter(|issued| objects.find(issued).is_some_and(|s| own_certificates::is_issued(s)));
    let mut second_stage = vec![
        operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
        operand(Kind::Service, names::REGISTRY),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
        operand(Kind::ClusterRoleBinding, names::REGISTRY_CLUSTER_ROLE_BINDING),
        operand(Kind::ClusterRole, names::REGISTRY_CLUSTER_ROLE),
    ];
    let is_own = |reference: &ObjectRef| objects.find(reference).is_some_and(|object| stock::is_own(object));
    second_stage.extend(stock::generated().into_iter().filter(is_own));
    second_stage.extend(issued);
    if owned::is_remembered(objects) {
        second_stage.retain(|reference| reference.kind != Kind::Service);
    }
    let unread = owned::unread(objects);
    let exists = |reference: &&ObjectRef| objects.find(reference).is_some();
    let objects_gone = unread.is_empty()
        && !first_stage
            .iter()
            .chain(&second_stage)
            .any(|reference| exists(&reference));

    let deployment = operand(Kind::Deployment, names::REGISTRY);
    let deployment_deleted = objects
        .find(&deployment)
        .is_none_or(|live| deletion_time(live).is_some());
    let over = |since: Timestamp| snapshot.now.duration_since(since) >= LIMIT;
    let pods_done = deployment_deleted
        && pods
            .iter()
            .all(|(_, pod)| deletion_requested(pod).or(deployment_gone).is_some_and(over));
    let helper_in_use =
        |reference: &ObjectRef| helpers.contains(reference) && owned::is_in_use(objects, reference.kind);
    let due = first_stage.iter().filter(|reference| !helper_in_use(reference));
    let due = due.chain(second_stage.iter().filter(|_| pods_done));
    let to_delete = |reference: &&ObjectRef| {
        objects
            .find(reference)
            .is_some_and(|live| deletion_time(live).is_none())
    };
    Removal {
        delete: due.filter(to_delete).cloned().collect(),
        waiting: waiting(&pods).or_else(|| Some(format!("a right: {}", owned::remedy(*unread.first()?)))),
        objects_gone,
        pods_gone: pods.is_empty(),
    }
}

/// Pods of the registry that may still run.
pub fn registry_pods(objects: &Objects) -> impl Iterator<Item = (&ObjectRef, &Value)> {
    objects.of(Kind::Pod).filter(|(reference, pod)| {
        let label = pod
            .pointer("/metadata/labels")
            .and_then(|labels| labels.get(names::OPERAND_LABEL));
        // A terminated pod uses no objects any more, but may exist for a long time.
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
                None => format!("Pod {} on no node yet", reference.name),
            },
        )
        .collect();
    (!described.is_empty()).then(|| format!("{} to terminate", described.join(", ")))
}

fn deletion_time(object: &Value) -> Option<Timestamp> {
    object.pointer("/metadata/deletionTimestamp")?.as_str()?.parse().ok()
}

/// Time of the deletion request of a pod: `deletionTimestamp` is the end of the grace period.
fn deletion_requested(pod: &Value) -> Option<Timestamp> {
    let grace = pod
        .pointer("/metadata/deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    deletion_time(pod).and_then(|time| time.checked_sub(SignedDuration::from_secs(grace)).ok())
}

#[cfg(test)]
mod tests;
