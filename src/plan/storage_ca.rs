//! Which CA of the storage the ConfigMaps publish during a rollout to other storage.
//!
//! Pods read the CA when they start: it is published before they do, and the CA of the storage before stays until all pods
//! are new.

use super::{Plan, annotation, storage};
use crate::api::Kind;
use crate::config::facts::StorageFacts;
use crate::config::snapshot::Snapshot;
use crate::names;

/// What a pass publishes before it renders pods for a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeforeRollout {
    /// Pods that start now find the CA: nothing to publish first.
    Ready,
    /// No pod runs yet; the first pods wait for this CA in any case.
    First(Option<String>),
    /// The CAs of both storages have to be published before any new pod starts.
    PublishFirst(Option<String>),
}

/// Before pods are rendered for the storage of these facts.
pub fn before_rollout(facts: &StorageFacts, snapshot: &Snapshot) -> BeforeRollout {
    if snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_none() {
        BeforeRollout::First(facts.ca_bundle.clone())
    } else if storage::is_published(facts, snapshot) {
        BeforeRollout::Ready
    } else {
        BeforeRollout::PublishFirst(storage::storage_cas(facts, snapshot))
    }
}

/// What the CA maps hold once the plan is known: the CA of this storage alone when all pods are of this plan. `complete`: the
/// rollout of the running Deployment is complete. `None`: no pods.
#[allow(clippy::option_option)] // outside: whether to publish; inside: the bundle, where there is one
pub fn during_rollout(
    facts: &StorageFacts,
    plan: &Plan,
    snapshot: &Snapshot,
    complete: bool,
) -> Option<Option<String>> {
    let live = snapshot.objects.operand(Kind::Deployment, names::REGISTRY)?;
    let desired = plan.desired(Kind::Deployment, names::REGISTRY);
    let same = desired.is_some_and(|desired| {
        let hash = |body| annotation(body, names::SPEC_HASH_ANNOTATION);
        hash(&desired.body) == hash(live)
    });
    Some(if same && complete {
        facts.ca_bundle.clone()
    } else {
        storage::storage_cas(facts, snapshot)
    })
}
