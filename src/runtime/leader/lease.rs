//! Reads and writes the Lease. Every write has a resourceVersion precondition.

use std::time::Duration;

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::{Candidate, Timings};
use crate::names;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeaseError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer from the API in time")]
    Timeout,
}

/// Result of a write with a precondition.
#[derive(Debug)]
pub(super) enum Written {
    /// The write succeeded; the new Lease.
    Done(Box<Lease>),
    /// The Lease has changed: read it again.
    Conflict,
}

/// What a write does to the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Takes the Lease.
    Taken,
    /// Renews the Lease.
    Renewed,
    /// Clears the holder.
    Released,
}

/// Access to the Lease as one candidate.
pub(super) struct LeaseStore {
    api: Api<Lease>,
    candidate: Candidate,
}

impl LeaseStore {
    pub(super) fn new(candidate: Candidate) -> Self {
        Self {
            api: Api::namespaced(candidate.client.clone(), names::NAMESPACE),
            candidate,
        }
    }

    pub(super) fn api(&self) -> &Api<Lease> {
        &self.api
    }

    pub(super) fn candidate(&self) -> &Candidate {
        &self.candidate
    }

    pub(super) fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease) == self.candidate.identity
    }

    pub(super) async fn read(&self, until: Instant) -> Result<Option<Lease>, LeaseError> {
        Ok(tokio::time::timeout_at(until, self.api.get_opt(names::LEASE))
            .await
            .map_err(|_| LeaseError::Timeout)??)
    }

    /// Creates the Lease, held by this process.
    pub(super) async fn create(&self, until: Instant) -> Result<Written, LeaseError> {
        let now = MicroTime(self.candidate.clock.now());
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(names::LEASE.to_owned()),
                namespace: Some(names::NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.candidate.identity.clone()),
                lease_duration_seconds: Some(self.seconds()),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        let create = async { self.api.create(&PostParams::default(), &lease).await };
        let created = tokio::time::timeout_at(until, create).await;
        // A Lease that exists already. Nothing can be created in a namespace that does not exist (404): that is an error.
        written(created.map_err(|_| LeaseError::Timeout)?, |status| {
            status.is_conflict() || status.is_already_exists()
        })
    }

    /// Writes the Lease if it is unchanged since `read`. The fields have the meaning that client-go, which the Go operator uses,
    /// gives them.
    pub(super) async fn write(&self, read: &Lease, record: Record, until: Instant) -> Result<Written, LeaseError> {
        let now = MicroTime(self.candidate.clock.now());
        let identity = self.candidate.identity.as_str();
        let spec = match record {
            Record::Renewed => json!({
                "holderIdentity": identity, "leaseDurationSeconds": self.seconds(), "renewTime": now,
            }),
            Record::Taken => json!({
                "holderIdentity": identity, "leaseDurationSeconds": self.seconds(), "renewTime": now, "acquireTime": now,
                "leaseTransitions": transitions(read).saturating_add(1),
            }),
            Record::Released => json!({
                "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now,
            }),
        };
        let patch = json!({ "metadata": { "resourceVersion": read.metadata.resource_version }, "spec": spec });
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let write = self.api.patch(names::LEASE, &parameters, &patch);
        let wrote = tokio::time::timeout_at(until, write).await;
        // A Lease that was changed or deleted.
        written(wrote.map_err(|_| LeaseError::Timeout)?, |status| {
            status.is_conflict() || status.is_not_found()
        })
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.candidate.timings.lease.as_secs()).unwrap_or(i32::MAX)
    }
}

/// The result of a write. `outdated`: whether the Lease is not what the write assumed, so that the caller reads it again.
fn written(
    result: Result<Lease, kube::Error>,
    outdated: impl Fn(&kube::core::Status) -> bool,
) -> Result<Written, LeaseError> {
    match result {
        Ok(lease) => Ok(Written::Done(Box::new(lease))),
        Err(kube::Error::Api(status)) if outdated(&status) => Ok(Written::Conflict),
        Err(error) => Err(error.into()),
    }
}

/// The holder; empty if there is none.
pub(super) fn holder(lease: &Lease) -> &str {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}

fn transitions(lease: &Lease) -> i32 {
    lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_transitions)
        .unwrap_or_default()
}

/// Involved object of events about the Lease.
pub(super) fn reference(lease: &Lease) -> ObjectReference {
    ObjectReference {
        api_version: Some("coordination.k8s.io/v1".to_owned()),
        kind: Some("Lease".to_owned()),
        name: Some(names::LEASE.to_owned()),
        namespace: Some(names::NAMESPACE.to_owned()),
        uid: lease.metadata.uid.clone(),
        resource_version: lease.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

/// The last observed Lease, and when it last changed.
#[derive(Debug, Default)]
pub(super) struct Observation {
    spec: Option<LeaseSpec>,
    changed: Option<Instant>,
}

impl Observation {
    /// Records an observed Lease. Only a changed spec counts as a renewal, not changed metadata.
    pub(super) fn record(&mut self, lease: &Lease, now: Instant) {
        if self.changed.is_none() || self.spec != lease.spec {
            self.spec.clone_from(&lease.spec);
            self.changed = Some(now);
        }
    }

    /// When the Lease expires; `None` if it has no holder. The Lease counts for its recorded duration, but at least for `shortest`, the
    /// duration of this process, and at most for the longest duration that an operator records. Somebody may have edited the
    /// duration, and the holder does not notice that before its next renewal.
    pub(super) fn held_until(&self, shortest: Duration) -> Option<Instant> {
        let (spec, changed) = (self.spec.as_ref()?, self.changed?);
        if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
            return None;
        }
        let recorded = spec.lease_duration_seconds.unwrap_or_default();
        let recorded = Duration::from_secs(u64::try_from(recorded).unwrap_or_default());
        Some(changed + recorded.min(Timings::SINGLE_REPLICA.lease).max(shortest))
    }
}
