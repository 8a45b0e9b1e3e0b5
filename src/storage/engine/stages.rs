//! Stages: objects around the container, such as a storage account or a private endpoint.
//!
//! The Config records a stage, with the identity of its object and the time, before the object is created. So a new
//! process finds an operation in progress, and a removal deletes only objects that this operator created and that carry
//! its ownership mark.

use std::time::Duration;

use jiff::Timestamp;

use super::work::{Work, exists};
use crate::config::elapsed;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::status::judge::Deadline;
use crate::storage::model::error::{StepError, StorageError};
use crate::storage::model::progress::{Deleted, Ensured, Mark, Persist, Progress, StageRecord, Wait};
use crate::storage::model::proof::{CreationPermit, Level, OwnershipProof};
use crate::storage::model::stage::{Stage, StageObject, StageState};
use crate::storage::model::state::State;
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// Whether the operator created, or is creating, the object with this identity.
fn is_recorded(records: &[StageRecord], stage: &Stage, id: &str) -> bool {
    records
        .iter()
        .any(|record| record.stage == stage.name && record.id == id)
}

impl<B: ObjectBackend, C: Cluster> Work<'_, B, C> {
    /// Runs the stages in order; `None` if all are ready. `before`: the container cannot exist without their objects.
    pub(super) async fn run_stages(
        &self,
        stages: &[Stage],
        before: bool,
    ) -> Result<Option<Progress<Ensured>>, StepError> {
        for stage in stages {
            let state = self.store.stage(stage).await;
            let state = state.map_err(|error| self.stage_failed(&error))?;
            let progress = match state {
                StageState::Ready { storage, id } => self.ready(stage, storage, &id)?,
                StageState::Pending(wait) => Some(Progress::Wait(self.pending(stage, wait, before)?)),
                StageState::Missing { storage, id } => Some(self.begin(stage, storage, id, before).await?),
            };
            if progress.is_some() {
                return Ok(progress);
            }
        }
        Ok(None)
    }

    /// Records the identifiers of a ready stage in the spec. If the operator created the object, the storage becomes
    /// Managed.
    fn ready(
        &self,
        stage: &Stage,
        mut storage: crate::api::Storage,
        id: &str,
    ) -> Result<Option<Progress<Ensured>>, StepError> {
        let created = B::holds_container(stage) && is_recorded(&self.stage_records()?, stage, id);
        if created && self.request.effective_state().is_none() {
            storage.management_state = Some(State::Managed.text().to_owned());
        }
        Ok((storage != *self.request.storage).then(|| {
            let message = format!("{} is ready and recorded in the spec", stage.name);
            Progress::Persist(Box::new(Persist {
                storage: Some(storage),
                conditions: self.reached_condition(&message),
                message,
                ..Persist::default()
            }))
        }))
    }

    async fn begin(
        &self,
        stage: &Stage,
        storage: crate::api::Storage,
        id: String,
        before: bool,
    ) -> Result<Progress<Ensured>, StepError> {
        let message = format!("{} {id} does not exist", stage.name);
        let condition = if !before {
            self.condition_after(&message)
        } else if B::holds_container(stage) {
            let reason = B::TERMS.gone.first().copied().unwrap_or_default();
            exists(Status::False, reason, message.clone())
        } else {
            exists(Status::Unknown, B::TERMS.unknown, message.clone())
        };
        if self.request.effective_state() == Some(State::Unmanaged) {
            let message = format!(
                "{message}, and spec.storage.managementState is Unmanaged, so that it is not created: create it, name \
                 another, or remove managementState"
            );
            return Err(StepError {
                error: StorageError::action_required(message),
                conditions: vec![condition],
            });
        }
        let lost = before && B::holds_container(stage) && self.request.in_use;
        if lost && !self.is_said_to_be_gone() {
            // Report the loss in the status before the object is created again.
            return Ok(Progress::Wait(Wait::new(Duration::ZERO, message).with(vec![condition])));
        }
        let mut records = self.stage_records()?;
        if !is_recorded(&records, stage, &id) || storage != *self.request.storage {
            records.retain(|record| record.stage != stage.name);
            let message = format!("{} {id} is about to be created", stage.name);
            records.push(StageRecord {
                stage: stage.name.to_owned(),
                id,
                since: self.request.snapshot.now.to_string(),
            });
            return Ok(Progress::Persist(Box::new(Persist {
                storage: Some(storage),
                stages: Some((self.store.container().name.clone(), records)),
                message,
                conditions: vec![condition],
                ..Persist::default()
            })));
        }
        self.confirm().await?;
        let begun = self.store.advance(stage, &CreationPermit::granted()).await;
        let begun = begun.map_err(|error| self.stage_failed(&error))?;
        let being_created = || Wait::new(Duration::from_secs(1), format!("{} {id} is being created", stage.name));
        Ok(match begun {
            StageState::Pending(wait) => Progress::Wait(self.pending(stage, wait, before)?),
            StageState::Ready { storage, id } => {
                let recorded = self.ready(stage, storage, &id)?;
                recorded.unwrap_or_else(|| Progress::Wait(being_created()))
            }
            StageState::Missing { .. } => Progress::Wait(being_created()),
        })
    }

    /// `StorageExists` while a stage after the container is not ready. A reported loss stays in the status until the storage is
    /// complete, so that all settings are applied again.
    fn condition_after(&self, message: &str) -> ConditionUpdate {
        if self.request.in_use && self.is_said_to_be_gone() {
            return exists(Status::False, B::TERMS.not_visible, message);
        }
        self.existing_condition()
    }

    /// The wait for the operation of a stage. The deadline counts from the record of the stage.
    fn pending(&self, stage: &Stage, wait: Wait, before: bool) -> Result<Wait, StepError> {
        let records = self.stage_records()?;
        let record = records.iter().find(|record| record.stage == stage.name);
        let since = record.and_then(|record| record.since.parse::<Timestamp>().ok());
        let now = self.request.snapshot.now;
        let overdue = since.is_some_and(|since| elapsed::elapsed(since, now, stage.deadline) > stage.deadline);
        let message = if overdue {
            format!(
                "{} (it takes longer than {} minutes: see the service's activity log)",
                wait.message,
                stage.deadline.as_secs() / 60
            )
        } else {
            wait.message.clone()
        };
        let mut conditions = wait.conditions;
        if conditions.is_empty() && !before {
            conditions.push(self.condition_after(&message));
        } else if conditions.is_empty() {
            // Keep a reported loss in the status until the storage is complete, so that all settings are applied again.
            let exists_still = self.request.in_use && !self.is_said_to_be_gone();
            let status = if exists_still { Status::Unknown } else { Status::False };
            conditions.push(exists(status, B::TERMS.not_visible, message.clone()));
        }
        Ok(Wait {
            message,
            deadline: if overdue { Deadline::Passed } else { Deadline::Ahead },
            conditions,
            ..wait
        })
    }

    /// Deletes the objects that the spec does not want any more; `None` if there are none. Only objects that the operator
    /// created, and that carry its mark, are deleted.
    pub(super) async fn retire_stages(&self) -> Result<Option<Progress<Ensured>>, StepError> {
        let records = self.stage_records()?;
        let stages = self.backend.retired(self.request);
        let is_retired = |record: &StageRecord| stages.iter().any(|stage| stage.name == record.stage);
        if !records.iter().any(is_retired) {
            return Ok(None);
        }
        if let Some((stage, pin)) = self.next_of(&stages).await? {
            self.confirm().await?;
            let proof = OwnershipProof::read(Level::Stage(stage.name), pin);
            let removed = self.store.remove_stage(&stage, &proof).await;
            let wait = removed.map_err(|error| self.failed(&error, ""))?;
            let condition = self.condition_after(&wait.message);
            return Ok(Some(Progress::Wait(wait.with(vec![condition]))));
        }
        let kept = records.into_iter().filter(|record| !is_retired(record)).collect();
        Ok(Some(Progress::Persist(Box::new(Persist {
            stages: Some((self.store.container().name.clone(), kept)),
            message: format!("what {} does not need any more is deleted", self.named()),
            ..Persist::default()
        }))))
    }

    /// First part of a removal: deletes the objects that were created after the container.
    pub(super) async fn tear_down(&self) -> Result<Option<Deleted>, StepError> {
        let stages = self.backend.teardown(self.request);
        match self.next_of(&stages).await? {
            Some((stage, pin)) => {
                let proof = OwnershipProof::read(Level::Stage(stage.name), pin);
                self.remove_stage(stage.name, &proof).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Last part of a removal: the next object that was created before the container, in reverse order.
    pub(super) async fn prove_stages(&self) -> Result<(Level, Mark), StepError> {
        let mut stages = self.backend.prerequisites(self.request);
        stages.reverse();
        Ok(match self.next_of(&stages).await? {
            Some((stage, pin)) => (Level::Stage(stage.name), Mark::Ours(pin)),
            None => (Level::Container, Mark::Gone),
        })
    }

    /// The first of these stages whose object the operator created and which carries the ownership mark. Other objects
    /// are kept.
    async fn next_of(&self, stages: &[Stage]) -> Result<Option<(Stage, String)>, StepError> {
        let records = self.stage_records()?;
        for stage in stages {
            if !records.iter().any(|record| record.stage == stage.name) {
                continue;
            }
            let found = self.store.prove_stage(stage).await;
            let found = found.map_err(|error| self.kept(&error, "its ownership mark cannot be read"))?;
            if let Some(StageObject {
                id,
                mark: Mark::Ours(pin),
            }) = found
                && is_recorded(&records, stage, &id)
            {
                return Ok(Some((*stage, pin)));
            }
        }
        Ok(None)
    }

    /// Deletes the object of a stage.
    pub(super) async fn remove_stage(&self, name: &str, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        let stages = self.backend.prerequisites(self.request);
        let all = stages.into_iter().chain(self.backend.teardown(self.request));
        let Some(stage) = all.into_iter().find(|stage| stage.name == name) else {
            return Ok(StorageError::action_required(format!("{name} is not known any more")).into());
        };
        self.confirm().await?;
        match self.store.remove_stage(&stage, proof).await {
            Ok(wait) => Ok(Deleted {
                objects: 0,
                next: Ok(wait),
            }),
            Err(error) => Err(self.kept(&error, &format!("{name} cannot be deleted"))),
        }
    }
}
