//! One container in one step, and the conditions of failed calls.

use super::cache::ObservationCache;
use super::existence::is_said_to_be_gone;
use super::intent::StoredStages;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::call::CallError;
use crate::storage::model::container::Owner;
use crate::storage::model::error::{StepError, StorageError};
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::preflight::{Denial, Preflighted};
use crate::storage::model::progress::StageRecord;
use crate::storage::model::state::State;
use crate::storage::model::target::{CreationRecord, Request};
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// One container in one step.
pub(super) struct Work<'a, B: ObjectBackend, C> {
    pub backend: &'a B,
    pub cluster: &'a C,
    pub cache: &'a ObservationCache,
    pub request: &'a Request<'a>,
    pub store: B::Store<'a>,
}

impl<B: ObjectBackend, C: Cluster> Work<'_, B, C> {
    /// Checks before a change that this process leads and that the Config is the newest version.
    pub(super) async fn confirm(&self) -> Result<(), StepError> {
        Ok(self.cluster.confirm().await?)
    }

    /// Why the preflight may not write to a Managed container that is in use already: with other credentials, the same
    /// name may mean a container of another cluster. Where the mark cannot be read, the preflight itself decides.
    pub(super) async fn refuses_probe(&self) -> Option<Preflighted> {
        if !self.request.applied || self.request.effective_state() != Some(State::Managed) {
            return None; // `ensure` has read the mark, or the storage is not the operator's.
        }
        match self.store.read_ownership().await {
            Ok(Owner::Other(cluster)) => Some(Preflighted::Denied(Denial {
                action: "writing".to_owned(),
                resource: self.named(),
                code: "OwnedByAnotherCluster".to_owned(),
                message: format!("it carries the mark of cluster {cluster}"),
                auth: false,
            })),
            Ok(Owner::Nobody(missing)) if self.request.record == CreationRecord::Created => {
                Some(Preflighted::Denied(Denial {
                    action: "writing".to_owned(),
                    resource: self.named(),
                    code: "MarkMissing".to_owned(),
                    message: format!(
                        "the operator created and marked it, and {missing}: these credentials may show a container of the \
                         same name that belongs to somebody else. Restore the credentials or the mark, or set \
                         spec.storage.managementState to Unmanaged to use the container without owning it"
                    ),
                    auth: false,
                }))
            }
            Err(error) if error.is_undecided() => Some(Preflighted::Undecided(self.explain(&error))),
            _ => None,
        }
    }

    /// Whether the status says that the container does not exist.
    pub(super) fn is_said_to_be_gone(&self) -> bool {
        is_said_to_be_gone(self.request.config, B::TERMS.gone)
    }

    /// Records of the stages that the operator created for this storage.
    pub(super) fn stage_records(&self) -> Result<Vec<StageRecord>, StepError> {
        Ok(StoredStages::of(self.request.config, self.store.stage_key())?)
    }

    /// The same, and objects of an earlier operator without records.
    pub(super) fn known_stages(&self) -> Result<Vec<StageRecord>, StepError> {
        let mut known = self.stage_records()?;
        let mut inherited = self.store.inherited_stages();
        let is_same = |a: &StageRecord, b: &StageRecord| (&a.stage, &a.id) == (&b.stage, &b.id);
        inherited.retain(|one| !known.iter().any(|record| is_same(record, one)));
        known.append(&mut inherited);
        Ok(known)
    }

    /// HEAD reports the container as missing, and another call shows that it exists. A 404 to HEAD has no body and may come
    /// from a proxy.
    pub(super) fn contradicted(&self) -> StepError {
        let message = format!(
            "the service reports {} as missing to one call and as existing to another; the operator checks again",
            self.named()
        );
        StepError {
            conditions: vec![exists(Status::Unknown, B::TERMS.unknown, message.clone())],
            error: StorageError::transient(message),
        }
    }

    /// `bucket NAME`, for messages.
    pub(super) fn named(&self) -> String {
        format!("{} {}", B::TERMS.container, self.store.container().name)
    }

    /// Text of the error, with the container and where the service says that the container is.
    pub(super) fn explain(&self, error: &CallError) -> String {
        format!("{}: {}", self.named(), self.store.explain(error))
    }

    /// Reason of `StorageExists=Unknown` for this error.
    pub(super) fn unknown_reason(error: &CallError) -> &'static str {
        if error.of_identity {
            B::TERMS.no_login
        } else {
            B::TERMS.unknown
        }
    }

    /// The error of a failed stage. While storage is being created, `StorageExists` says how far the creation is.
    pub(super) fn stage_failed(&self, error: &CallError) -> StepError {
        let failed = self.failed(error, "");
        match self.store.reached().filter(|_| !self.request.in_use) {
            Some(reason) => StepError {
                conditions: vec![exists(Status::False, reason, failed.error.message.clone())],
                ..failed
            },
            None => failed,
        }
    }

    /// `StorageExists` while a stage of new storage is recorded; see [`Self::stage_failed`].
    pub(super) fn reached_condition(&self, message: &str) -> Vec<ConditionUpdate> {
        let reached = self.store.reached().filter(|_| !self.request.in_use);
        let condition = reached.map(|reason| exists(Status::False, reason, message));
        condition.into_iter().collect()
    }

    /// The error of a failed call with `StorageExists`: `False` with the service's code if the response decides the
    /// existence ([`ObjectBackend::DENIED_MEANS_EXISTS`]), otherwise, and for errors of a token service, `Unknown`. A response 404
    /// that is not the service's own, such as a proxy's, decides nothing.
    pub(super) fn failed(&self, error: &CallError, remedy: &str) -> StepError {
        let answered = !error.is_undecided() && !error.of_identity && (error.is_missing() || error.is_denied());
        let message = format!("{}{}", self.explain(error), if answered { remedy } else { "" });
        let refused = answered && error.is_denied() && !B::DENIED_MEANS_EXISTS;
        let (status, reason) = if refused || error.is_container_gone() {
            (Status::False, error.code.clone())
        } else {
            (Status::Unknown, Self::unknown_reason(error).to_owned())
        };
        StepError {
            error: error.storage_error_with(message.clone()),
            conditions: vec![exists(status, reason, message)],
        }
    }
}

/// The condition `StorageExists`.
pub(super) fn exists(status: Status, reason: impl Into<String>, message: impl Into<String>) -> ConditionUpdate {
    ConditionUpdate::new(STORAGE_EXISTS, status, reason, message)
}

/// The word with a capital first letter, for the start of a sentence.
pub(super) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
