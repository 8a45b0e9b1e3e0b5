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
use crate::storage::model::call::CallError;
use crate::storage::model::error::{StepError, StorageError};
use crate::storage::model::progress::{Deleted, Ensured, Mark, Persist, Progress, StageRecord, Wait};
use crate::storage::model::proof::{CreationPermit, Level, OwnershipProof};
use crate::storage::model::stage::{Stage, StageState};
use crate::storage::model::state::State;
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// What became of the objects that the spec does not want.
pub(super) enum Retired {
    /// One of them is being deleted.
    Progress(Box<Progress<Ensured>>),
    /// Nothing can be deleted now. Why objects stay, if any do.
    Done(Option<String>),
}

/// A record that is older is that of an earlier creation.
const FRESH: Duration = Duration::from_hours(1);

/// Whether the record of this object is so young that it is the one of the operation that begins now.
fn is_beginning(records: &[StageRecord], stage: &Stage, id: &str, now: Timestamp) -> bool {
    let mut of_object = records
        .iter()
        .filter(|record| record.stage == stage.name && record.id == id);
    of_object.any(|record| {
        let since = record.since.parse::<Timestamp>();
        since.is_ok_and(|since| elapsed::elapsed(since, now, FRESH) < FRESH)
    })
}

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
                StageState::Missing { storage, id, reason } => {
                    Some(self.begin(stage, storage, id, reason, before).await?)
                }
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
        self.cache.end_stage(self.store.stage_key(), stage.name);
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
        reason: Option<&'static str>,
        before: bool,
    ) -> Result<Progress<Ensured>, StepError> {
        let message = format!("{} {id} does not exist", stage.name);
        let condition = if before {
            Self::condition_before(stage, reason, &message)
        } else {
            self.condition_after(&message)
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
        let now = self.request.snapshot.now;
        let changed = storage != *self.request.storage;
        if !is_beginning(&records, stage, &id, now) || changed {
            if !is_recorded(&records, stage, &id) || changed {
                self.cache.forget_stage(self.store.stage_key(), stage.name);
            }
            // The object that an earlier spec wanted is deleted later, by its record.
            let has_identity = self.store.stage_id(stage).is_some();
            records.retain(|record| record.stage != stage.name || has_identity && record.id != id);
            let message = format!("{} {id} is about to be created", stage.name);
            records.push(StageRecord {
                stage: stage.name.to_owned(),
                id,
                since: now.to_string(),
            });
            return Ok(Progress::Persist(Box::new(Persist {
                storage: Some(storage),
                stages: Some((self.store.stage_key().to_owned(), records)),
                message,
                conditions: vec![condition],
                ..Persist::default()
            })));
        }
        let begun = self.start(stage, now).await?;
        let message = format!("{} {id} is being created", stage.name);
        self.begun(stage, begun, message, before)
    }

    /// Starts the operation of a stage. The time of the stage begins with the first operation that the service does not refuse.
    async fn start(&self, stage: &Stage, now: Timestamp) -> Result<StageState, StepError> {
        self.confirm().await?;
        let begins = self.cache.begin_stage(self.store.stage_key(), stage.name, now);
        let begun = self.store.advance(stage, &CreationPermit::granted()).await;
        if begins && begun.as_ref().is_err_and(|error| !error.is_undecided()) {
            self.cache.forget_stage(self.store.stage_key(), stage.name);
        }
        begun.map_err(|error| self.stage_failed(&error))
    }

    /// What follows when the operation of a stage has begun.
    fn begun(
        &self,
        stage: &Stage,
        begun: StageState,
        message: String,
        before: bool,
    ) -> Result<Progress<Ensured>, StepError> {
        let being_created = || Progress::Wait(Wait::new(Duration::from_secs(1), message));
        Ok(match begun {
            StageState::Pending(wait) => Progress::Wait(self.pending(stage, wait, before)?),
            StageState::Ready { storage, id } => {
                let recorded = self.ready(stage, storage, &id)?;
                recorded.unwrap_or_else(being_created)
            }
            StageState::Missing { .. } => being_created(),
        })
    }

    /// `StorageExists` while a stage before the container is missing.
    fn condition_before(stage: &Stage, reason: Option<&'static str>, message: &str) -> ConditionUpdate {
        if !B::holds_container(stage) {
            return exists(Status::Unknown, B::TERMS.unknown, message);
        }
        let first = || B::TERMS.gone.first().copied().unwrap_or_default();
        exists(Status::False, reason.unwrap_or_else(first), message)
    }

    /// `StorageExists` while a stage after the container is not ready. A reported loss stays in the status until the storage is
    /// complete, so that all settings are applied again.
    fn condition_after(&self, message: &str) -> ConditionUpdate {
        if self.request.in_use && self.is_said_to_be_gone() {
            return exists(Status::False, B::TERMS.not_visible, message);
        }
        self.existing_condition()
    }

    /// The wait for the operation of a stage. The deadline counts from the record of the stage; for an object that the operator did
    /// not create, from the first look.
    fn pending(&self, stage: &Stage, wait: Wait, before: bool) -> Result<Wait, StepError> {
        let records = self.stage_records()?;
        let record = records.iter().find(|record| record.stage == stage.name);
        let recorded = record.and_then(|record| record.since.parse::<Timestamp>().ok());
        let now = self.request.snapshot.now;
        let since = self
            .cache
            .stage_began(self.store.stage_key(), stage.name, recorded, now);
        let overdue = elapsed::elapsed(since, now, stage.deadline) > stage.deadline;
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

    /// Objects that the spec does not want any more, in the order in which they are deleted: stages that it does not ask for, and
    /// then those of another identity than the one that it asks for now.
    fn unwanted(&self) -> Result<Vec<Unwanted>, StepError> {
        let known = self.known_stages()?;
        let retired = self.backend.retired(self.request);
        let wanted = self.backend.finalizing(self.request);
        let is_wanted = |stage: &Stage| wanted.iter().any(|one| one.name == stage.name);
        let of_stage = |stage: Stage, replaced: bool| {
            let records = known.iter().filter(move |record| record.stage == stage.name);
            records.map(move |record| Unwanted {
                stage,
                id: record.id.clone(),
                replaced,
            })
        };
        let mut unwanted: Vec<_> = retired.into_iter().flat_map(|stage| of_stage(stage, false)).collect();
        for stage in self.backend.teardown(self.request, true).into_iter().filter(is_wanted) {
            let Some(current) = self.store.stage_id(&stage) else {
                continue;
            };
            unwanted.extend(of_stage(stage, true).filter(|one| one.id != current));
        }
        Ok(unwanted)
    }

    /// Deletes the objects that the spec does not want any more. Only objects that the operator created, and that carry its mark,
    /// are deleted. The record of an object is kept until the object is gone.
    pub(super) async fn retire_stages(&self) -> Result<Retired, StepError> {
        let mut settled = Vec::new();
        let mut stays = None;
        for Unwanted { stage, id, replaced } in self.unwanted()? {
            let found = match self.store.prove_stage(&stage, &id).await {
                Ok(found) => found,
                Err(error) if error.is_forbidden() => {
                    stays = Some(self.left(&stage, &id, &error));
                    break;
                }
                Err(error) => return Err(self.failed(&error, "")),
            };
            let Some(pin) = found.and_then(|found| found.ours(&id)) else {
                settled.push((stage.name, id));
                continue;
            };
            if !replaced {
                let why = self.store.must_stay(&stage).await;
                if let Some(why) = why.map_err(|error| self.failed(&error, ""))? {
                    // Records are kept until that has changed.
                    return Ok(Retired::Done(Some(format!("{why}."))));
                }
            }
            self.confirm().await?;
            let proof = OwnershipProof::read(Level::Stage(stage.name, id.clone()), pin);
            match self.store.remove_stage(&stage, &id, &proof).await {
                Ok(wait) => {
                    let condition = self.condition_after(&wait.message);
                    return Ok(Retired::Progress(Box::new(Progress::Wait(wait.with(vec![condition])))));
                }
                // Stop here: a later deletion, such as that of the DNS record of a linked zone, would make the account
                // unreachable.
                Err(error) if error.is_forbidden() => {
                    stays = Some(self.left(&stage, &id, &error));
                    break;
                }
                Err(error) => return Err(self.failed(&error, "")),
            }
        }
        let records = self.stage_records()?;
        let is_settled = |record: &StageRecord| {
            settled
                .iter()
                .any(|(stage, id)| *stage == record.stage && *id == record.id)
        };
        if !records.iter().any(is_settled) {
            return Ok(Retired::Done(stays));
        }
        let kept = records.into_iter().filter(|record| !is_settled(record)).collect();
        Ok(Retired::Progress(Box::new(Progress::Persist(Box::new(Persist {
            stages: Some((self.store.stage_key().to_owned(), kept)),
            message: format!("the objects that {} does not need any more are gone", self.named()),
            ..Persist::default()
        })))))
    }

    fn left(&self, stage: &Stage, id: &str, error: &CallError) -> String {
        format!(
            "{} {id} is not needed any more and stays, with all that depends on it: {}: grant {} to the operator.",
            stage.name,
            self.store.explain(error),
            error.action
        )
    }

    /// First part of a removal: deletes the objects that were created after the container, if the container goes with the object
    /// that holds it. Otherwise the container goes first, because it may be out of reach without them.
    pub(super) async fn tear_down(&self) -> Result<Option<Deleted>, StepError> {
        if self.holder().await?.is_none() {
            return Ok(None);
        }
        match self.next_of(&self.backend.teardown(self.request, false)).await? {
            Some((level, pin)) => self.remove_stage(&OwnershipProof::read(level, pin)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The object that holds the container, if it is deleted: the last one that was created before the container.
    async fn holder(&self) -> Result<Option<(Level, String)>, StepError> {
        let mut stages = self.backend.prerequisites(self.request);
        stages.reverse();
        self.next_of(&stages).await
    }

    /// The next object of a removal with which the container goes; `None` if what holds the container stays.
    pub(super) async fn prove_holder(&self) -> Result<Option<(Level, Mark)>, StepError> {
        let Some(holder) = self.holder().await? else {
            return Ok(None);
        };
        let around = self.next_of(&self.backend.teardown(self.request, false)).await?;
        let (level, pin) = around.unwrap_or(holder);
        Ok(Some((level, Mark::Ours(pin))))
    }

    /// Last part of a removal, when the container is gone: the next object that was created after or before it.
    pub(super) async fn prove_stages(&self) -> Result<(Level, Mark), StepError> {
        if let Some(proved) = self.prove_holder().await? {
            return Ok(proved);
        }
        let gone = (Level::Container, Mark::Gone);
        for stage in self.backend.teardown(self.request, true) {
            let Some((level, pin)) = self.next_of(&[stage]).await? else {
                continue;
            };
            let why = self.store.must_stay(&stage).await;
            let why = why.map_err(|error| self.kept(&error, "whether an object around it is needed cannot be read"))?;
            return Ok(if why.is_some() { gone } else { (level, Mark::Ours(pin)) });
        }
        Ok(gone)
    }

    /// The first of these stages whose object the operator created and which carries the ownership mark. Other objects
    /// are kept.
    async fn next_of(&self, stages: &[Stage]) -> Result<Option<(Level, String)>, StepError> {
        let known = self.known_stages()?;
        for stage in stages {
            for record in known.iter().filter(|record| record.stage == stage.name) {
                if self.store.is_given_up(stage, &record.id) {
                    continue;
                }
                let found = self.store.prove_stage(stage, &record.id).await;
                let found = found.map_err(|error| self.kept(&error, "its ownership mark cannot be read"))?;
                if let Some(pin) = found.and_then(|found| found.ours(&record.id)) {
                    return Ok(Some((Level::Stage(stage.name, record.id.clone()), pin)));
                }
            }
        }
        Ok(None)
    }

    /// Deletes the object of a stage.
    pub(super) async fn remove_stage(&self, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        let Level::Stage(name, id) = proof.level() else {
            return Ok(StorageError::action_required(
                "the removal does not know the next object; report this as a bug",
            )
            .into());
        };
        let holders = self.backend.prerequisites(self.request);
        let is_holder = holders.iter().any(|stage| stage.name == *name);
        let all = holders.into_iter().chain(self.backend.teardown(self.request, true));
        let Some(stage) = all.into_iter().find(|stage| stage.name == *name) else {
            return Ok(StorageError::action_required(format!(
                "the removal does not know the object {name}; report this as a bug"
            ))
            .into());
        };
        self.confirm().await?;
        match self.store.remove_stage(&stage, id, proof).await {
            Ok(wait) => Ok(Deleted {
                objects: 0,
                next: Ok(wait),
            }),
            Err(error) => {
                let mut failed = self.kept(&error, &format!("{name} cannot be deleted"));
                // The container is gone already, or goes with this object.
                let conditions = failed.conditions.iter_mut().filter(|_| is_holder && !error.of_identity);
                conditions.for_each(|condition| condition.status = Status::False);
                Err(failed)
            }
        }
    }
}

/// An object that the spec does not want any more.
struct Unwanted {
    stage: Stage,
    id: String,
    /// The spec wants another object in its place.
    replaced: bool,
}
