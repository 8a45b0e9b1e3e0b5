//! Creation of a container, and how the operator becomes its owner.
//!
//! Order: record the intent, create the container, write the ownership mark, record name and managementState, apply the
//! settings. Each step can be repeated; after a crash the intent names the container that was created.

use std::time::Duration;

use super::existence::is_said_to_exist;
use super::ownership::{self, Claim, Decision};
use super::stages::Retired;
use super::work::{Work, capitalised, exists};
use crate::config::event_request::EventRequest;
use crate::names;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::container::{Contents, Owner};
use crate::storage::model::error::{ErrorClass, StepError, StorageError};
use crate::storage::model::preflight::ProbeKeys;
use crate::storage::model::progress::{Ensured, Existence, Persist, Progress, Wait};
use crate::storage::model::proof::CreationPermit;
use crate::storage::model::spec;
use crate::storage::model::state::State;
use crate::storage::model::target::CreationRecord;
use crate::storage::preflight;
use crate::storage::traits::{Cluster, ObjectBackend, ObjectStore};

/// Longest time for a HEAD with its retries. Without a response the existence is unknown, and the pass goes on.
const ANSWER: Duration = Duration::from_secs(20);
/// Wait until a new container becomes visible.
const VISIBLE: Duration = Duration::from_secs(5);

/// How a step found the container.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// HEAD found it.
    Seen,
    /// HEAD found no container, and a create call succeeded, for a new container or one of this account.
    Created,
    /// The same, but HEAD was denied.
    CreatedUnseen,
}

/// Result of a HEAD request.
enum Head {
    Exists,
    /// The container does not exist, according to the service.
    Missing(CallError),
    /// The service refused the request.
    Denied(CallError),
}

impl<B: ObjectBackend, C: Cluster> Work<'_, B, C> {
    /// HEAD with a time limit.
    pub(super) async fn look(&self) -> Called<()> {
        let name = &self.store.container().name;
        let silent = |_| Err(CallError::no_answer(B::TERMS.rights_to_observe, name, ANSWER));
        tokio::time::timeout(ANSWER, self.store.head())
            .await
            .unwrap_or_else(silent)
    }

    async fn head(&self) -> Result<Head, StepError> {
        match self.look().await {
            Ok(()) => Ok(Head::Exists),
            Err(error) if error.is_undecided() || error.of_identity => Err(self.failed(&error, "")),
            Err(error) if error.is_missing() => {
                if self.request.in_use && !self.is_said_to_be_gone() {
                    self.confirm_missing().await?;
                }
                Ok(Head::Missing(error))
            }
            Err(error) if error.is_denied() => Ok(Head::Denied(error)),
            Err(error) => Err(self.failed(&error, "")),
        }
    }

    /// Confirms that a container does not exist: the response 404 to a HEAD has no body and may come from a proxy. A response that
    /// is not the service's own decides nothing.
    async fn confirm_missing(&self) -> Result<(), StepError> {
        match self.ask_whether_gone().await {
            Ok(()) => Err(self.contradicted()),
            Err(error) if error.is_container_gone() => Ok(()),
            Err(error) => Err(self.failed(&error, "")),
        }
    }

    /// Whether the container exists. Denied access is an error, because it does not prove that the container is
    /// missing.
    pub(super) async fn existence(&self) -> Result<Existence, StepError> {
        Ok(match self.head().await? {
            Head::Exists => Existence::Present(vec![self.existing_condition()], Vec::new()),
            Head::Missing(error) => Existence::Absent {
                reason: missing_reason::<B>(&error),
                message: self.missing_message(),
            },
            Head::Denied(error) => return Err(self.denied(&error)),
        })
    }

    /// ` in REGION`, if the cloud has regions.
    fn in_region(&self) -> String {
        match self.store.place().as_str() {
            "" => String::new(),
            place => format!(" in {place}"),
        }
    }

    fn sentence(&self, predicate: &str) -> String {
        format!("{}{}{predicate}", capitalised(&self.named()), self.in_region())
    }

    /// `StorageExists=True`.
    pub(super) fn existing_condition(&self) -> ConditionUpdate {
        let message = self.sentence(&format!(" {}", self.store.predicate()));
        exists(Status::True, B::TERMS.exists, message)
    }

    fn created_condition(&self) -> ConditionUpdate {
        let message = format!("{} was created{}.", capitalised(&self.named()), self.in_region());
        exists(Status::True, B::TERMS.created, message)
    }

    fn missing_message(&self) -> String {
        format!("{} does not exist{}.", capitalised(&self.named()), self.in_region())
    }

    fn denied(&self, error: &CallError) -> StepError {
        let remedy = format!(
            ": check the credentials, grant {}, or name another {} in {}",
            B::TERMS.rights_to_observe,
            B::TERMS.container,
            B::TERMS.name_field
        );
        self.failed(error, &remedy)
    }

    /// One step towards a container that exists and is as the Config says.
    pub(super) async fn ensure(&self) -> Result<Progress<Ensured>, StepError> {
        if let Some(progress) = self.run_stages(&self.backend.prerequisites(self.request), true).await? {
            return Ok(progress);
        }
        match self.head().await? {
            Head::Exists => self.use_existing(Found::Seen).await,
            Head::Missing(error) => self.create(&error).await,
            Head::Denied(error) if self.may_create_unseen(&error) => self.create(&error).await,
            Head::Denied(error) => Err(self.denied(&error)),
        }
    }

    /// Whether the operator may try to create the container although HEAD is denied: only with the deterministic name,
    /// and never if the container is in use.
    fn may_create_unseen(&self, error: &CallError) -> bool {
        let may_be_missing = error.is_forbidden() && !B::DENIED_MEANS_EXISTS;
        may_be_missing && self.store.container().deterministic && !self.request.in_use
    }

    async fn create(&self, missing: &CallError) -> Result<Progress<Ensured>, StepError> {
        let condition = exists(Status::False, missing_reason::<B>(missing), self.missing_message());
        if self.request.applied && !self.is_said_to_be_gone() {
            // Report the loss in the status first. Otherwise a container without settings counts as complete after a
            // crash.
            let wait = Wait::new(Duration::ZERO, self.missing_message());
            return Ok(Progress::Wait(wait.with(vec![condition])));
        }
        if !self.request.may_create {
            // With a creation record, an existing container that the spec names would count as created by the operator;
            // under the generated name it is adopted only if it is empty.
            if self.request.target.named && missing.is_missing() {
                self.confirm_missing().await?;
            }
            return Ok(Progress::Persist(Box::new(Persist {
                intent: Some(self.store.container().location.clone()),
                message: format!("{} is about to be created", self.named()),
                conditions: vec![condition],
                ..Persist::default()
            })));
        }
        self.confirm().await?;
        let created = self.store.create(&CreationPermit::granted()).await;
        let refused = created.as_ref().is_err_and(is_refusal);
        self.cache.store_creation(&self.store.container().location, refused);
        match created {
            // A denied HEAD does not show whether the container existed before.
            Ok(()) if missing.is_missing() => self.use_existing(Found::Created).await,
            Ok(()) => self.use_existing(Found::CreatedUnseen).await,
            Err(error) => Err(self.not_created(&error)),
        }
    }

    fn not_created(&self, error: &CallError) -> StepError {
        if error.is_not_leading() || error.of_identity || (error.is_undecided() && B::TERMS.not_created.is_none()) {
            return self.failed(error, "");
        }
        let noun = capitalised(B::TERMS.container);
        let name = &self.store.container().name;
        // Keep the reason with which the status reported the loss of a container in use, so that the loss is reported once.
        let lost = self.request.in_use && self.is_said_to_be_gone();
        let reason = |otherwise: String| {
            let gone = B::TERMS.gone.first().filter(|_| lost);
            gone.map_or(otherwise, |reason| (*reason).to_owned())
        };
        let (reason, message) = if error.class == CallClass::NameTaken {
            let message = format!(
                "{noun} name {name} is taken by another account ({error}): name another {} in {}.",
                B::TERMS.container,
                B::TERMS.name_field
            );
            (reason(B::TERMS.name_taken.to_owned()), message)
        } else {
            (
                reason(
                    B::TERMS
                        .not_created
                        .map_or_else(|| error.reason(B::TERMS.unknown), str::to_owned),
                ),
                format!("{noun} {name} could not be created: {}", self.explain(error)),
            )
        };
        // If nothing was sent, nothing is known.
        let status = if error.cause == Cause::Unsendable {
            Status::Unknown
        } else {
            Status::False
        };
        StepError {
            error: error.storage_error_with(message.clone()),
            conditions: vec![exists(status, reason, message)],
        }
    }

    /// What the Config says about the container.
    pub(super) fn claim(&self) -> Claim {
        Claim {
            state: self.request.effective_state(),
            record: if self.request.may_create {
                self.request.record
            } else {
                CreationRecord::None
            },
            deterministic: self.store.container().deterministic,
            consent: self.request.consent,
        }
    }

    /// Continues with an existing container.
    async fn use_existing(&self, found: Found) -> Result<Progress<Ensured>, StepError> {
        let created = found != Found::Seen;
        let mut claim = self.claim();
        if created && claim.record.is_created() {
            // A create call that finds a container proves nothing about its content.
            claim.record = CreationRecord::Intended;
        }
        let container = self.store.container();
        if !created && !container.deterministic && self.cache.is_creation_refused(&container.location) {
            // Somebody else created the container after that.
            claim.record = CreationRecord::None;
        }
        let candidate = claim.record.exists() || claim.deterministic;
        if claim.state != Some(State::Managed) && !(claim.state.is_none() && candidate) {
            return self.use_as_is(None);
        }
        let (owner, contents) = match self.observe(claim, found).await {
            Ok(observed) => observed,
            Err(error) if created && error.is_container_gone() => return Ok(self.not_visible_yet()),
            // A creation is complete only with the mark. Other storage is used without any change.
            Err(error)
                if claim.state == Some(State::Managed)
                    && (self.request.in_use || !claim.record.exists())
                    && error.is_denied() =>
            {
                return self.use_unverified(&error);
            }
            Err(error) => return Err(self.not_owned(&error, "exists, and whether it may be owned cannot be read")),
        };
        match ownership::decide(claim, &owner, &contents) {
            Decision::Use(why) => self.use_as_is(why),
            Decision::Refuse(cluster) => Err(self.refused(&cluster)),
            Decision::Record => Ok(Progress::Persist(Box::new(Persist {
                intent: Some(self.store.container().location.clone()),
                message: format!("{} exists, is empty, and is about to be owned", self.named()),
                ..Persist::default()
            }))),
            // The consent becomes a creation record, which counts only with a mark of the container itself.
            Decision::Own if self.request.consent => match self.mark(false).await {
                // The operator owns the container without this mark, too.
                Err(failed) if failed.error.class == ErrorClass::NoAccess => self.finish(true, false, Vec::new()).await,
                marked => marked,
            },
            Decision::Own => self.own(false, true, Vec::new()).await,
            Decision::Mark { consented } => self.mark(consented).await,
            Decision::Settings => self.finish(false, false, Vec::new()).await,
        }
    }

    /// Reads the ownership mark, and the content if the decision depends on it.
    async fn observe(&self, claim: Claim, found: Found) -> Result<(Owner, Contents), CallError> {
        let owner = self.store.read_ownership().await?;
        let contents = if ownership::needs_contents(claim, &owner) {
            let probe = ProbeKeys::of(&preflight::key(self.request.snapshot));
            // If versions cannot be listed, a listing of objects proves emptiness only for a container that did not
            // exist when the intent was recorded.
            let plain = self.request.may_create && found != Found::CreatedUnseen;
            self.store.contents(&probe, plain).await?
        } else {
            Contents::Something
        };
        Ok((owner, contents))
    }

    fn not_visible_yet(&self) -> Progress<Ensured> {
        let message = format!("{} was created, waiting until the service shows it", self.named());
        let condition = exists(Status::False, B::TERMS.not_visible, message.clone());
        Progress::Wait(Wait::new(VISIBLE, message).with(vec![condition]))
    }

    /// Uses the container as Unmanaged storage: nothing is changed or deleted. `why`: why the operator is not the
    /// owner, if the user might expect that.
    fn use_as_is(&self, why: Option<String>) -> Result<Progress<Ensured>, StepError> {
        let mut condition = self.existing_condition();
        let reason = self.store.reason_of_brought().unwrap_or(B::TERMS.brought);
        reason.clone_into(&mut condition.reason);
        let mut events = Vec::new();
        if let Some(why) = why {
            let message = format!(
                "{} is used and not owned, so that it is never deleted: {why}",
                self.named()
            );
            condition.message = format!("{} It is Unmanaged and will not be deleted: {why}.", condition.message);
            events.push(EventRequest {
                warning: true,
                reason: "StorageNotOwned",
                message,
            });
        }
        // The spec stays as the user wrote it, except for a name that the operator chose.
        let mut storage = self.request.storage.clone();
        B::set_container(&mut storage, Some(&self.store.container().name));
        Ok(Progress::Done(Ensured {
            storage,
            applied: Some(self.store.shown(self.backend.completed(self.request)?)),
            blank_state: State::Unmanaged,
            conditions: vec![condition],
            creation: None,
            events,
            probe_left: false,
            final_settings: None,
            again: None,
        }))
    }

    fn refused(&self, cluster: &str) -> StepError {
        let message = format!(
            "{} carries the mark of cluster {cluster} and the operator does not change it: name another {} in {}, or \
             set spec.storage.managementState to Unmanaged",
            self.named(),
            B::TERMS.container,
            B::TERMS.name_field
        );
        StepError {
            conditions: vec![exists(Status::True, B::TERMS.exists, message.clone())],
            error: StorageError::action_required(message),
        }
    }

    /// Uses Managed storage that the operator did not create and whose ownership mark cannot be read. No setting is
    /// changed, because the storage may belong to another cluster.
    fn use_unverified(&self, error: &CallError) -> Result<Progress<Ensured>, StepError> {
        let message = format!(
            "Nothing was changed on {}, because its ownership mark cannot be read, and it may be another cluster's: \
             {error}",
            self.named()
        );
        let reason = error.reason(B::TERMS.unknown);
        let settings = self.backend.settings(self.request);
        let not_applied = |condition| ConditionUpdate::new(condition, Status::False, reason.clone(), message.clone());
        let conditions = [self.existing_condition()]
            .into_iter()
            .chain(
                settings
                    .iter()
                    .filter(|setting| setting.is_reported())
                    .map(|setting| not_applied(setting.condition)),
            )
            .collect();
        Ok(Progress::Done(Ensured {
            storage: self.backend.completed(self.request)?,
            applied: None,
            blank_state: State::Unmanaged,
            conditions,
            creation: None,
            events: Vec::new(),
            probe_left: false,
            final_settings: None,
            again: None,
        }))
    }

    /// Writes the ownership mark. From then on the operator owns the container, and a removal deletes it.
    async fn mark(&self, consented: bool) -> Result<Progress<Ensured>, StepError> {
        let mut events = Vec::new();
        if consented {
            events.push(EventRequest {
                warning: true,
                reason: "StorageAdopted",
                message: format!(
                    "the operator now owns {}, because the annotation {} permits it: a removal deletes it with all \
                     images",
                    self.named(),
                    names::ADOPT_STORAGE_ANNOTATION
                ),
            });
        }
        self.confirm().await?;
        match self.store.write_ownership(&CreationPermit::granted()).await {
            // If the service cannot store a mark, the creation record alone proves the ownership.
            Ok(false) if consented => Err(self.not_markable()),
            Ok(marked) => {
                // Settings that depend on the mark are due, even if a later step applies them.
                let marks = self
                    .backend
                    .settings(self.request)
                    .into_iter()
                    .filter(|setting| setting.marks);
                marks.for_each(|setting| self.cache.remove_followed(setting.condition));
                self.own(true, marked, events).await
            }
            Err(error) => Err(self.not_owned(
                &error,
                "could not be marked as owned by this cluster, it is not used before",
            )),
        }
    }

    /// Error for a container that an administrator wants the operator to own, and whose service cannot store a mark.
    fn not_markable(&self) -> StepError {
        let message = format!(
            "{} cannot be owned, because its service stores no ownership mark: remove annotation {}, and delete the {} by \
             hand when it is not needed any more",
            self.named(),
            names::ADOPT_STORAGE_ANNOTATION,
            B::TERMS.container
        );
        StepError {
            conditions: vec![exists(Status::True, B::TERMS.exists, message.clone())],
            error: StorageError::action_required(message),
        }
    }

    /// Error of a call without which the operator cannot become the owner. The container does not count as complete.
    fn not_owned(&self, error: &CallError, what: &str) -> StepError {
        if error.is_not_leading() {
            return error.storage_error().into();
        }
        let message = format!("{} {what}: {}", self.named(), self.explain(error));
        let reason = error.reason(B::TERMS.unknown);
        let mut conditions = vec![exists(Status::Unknown, reason.clone(), message.clone())];
        let marked = |condition| ConditionUpdate::new(condition, Status::False, reason.clone(), message.clone());
        conditions.extend(B::TERMS.marked.map(marked));
        StepError {
            error: error.storage_error_with(message),
            conditions,
        }
    }

    /// Continues with a container that the operator owns. The spec records name and managementState before the
    /// settings.
    /// `marked_now`: this step wrote the mark, or tried to. `marked`: the container carries the mark.
    async fn own(
        &self,
        marked_now: bool,
        marked: bool,
        events: Vec<EventRequest>,
    ) -> Result<Progress<Ensured>, StepError> {
        let mut storage = self.backend.completed(self.request)?;
        storage.management_state = Some(State::Managed.text().to_owned());
        let explicit = self.request.state == Some(State::Managed) && self.request.target.named;
        let recorded = explicit || spec::patch(self.request.config.spec.storage.as_ref(), &storage, &[]).is_none();
        // Consent is used once: the creation record replaces it.
        let unrecorded = self.request.record == CreationRecord::Intended || self.request.consent;
        // For applied storage, the end of this step records the managementState.
        if !unrecorded && (recorded || self.request.applied) {
            return self.finish(true, marked_now, events).await;
        }
        let probes = self.due_settings(marked_now).iter().any(|setting| setting.probes);
        Ok(Progress::Persist(Box::new(Persist {
            storage: Some(storage),
            created: unrecorded.then_some(marked),
            probe: probes,
            message: format!("{} is owned, its settings are applied next", self.named()),
            events,
            ..Persist::default()
        })))
    }

    /// Creates the stages after the container, and applies the settings.
    async fn finish(
        &self,
        ours: bool,
        marked_now: bool,
        mut events: Vec<EventRequest>,
    ) -> Result<Progress<Ensured>, StepError> {
        if let Some(progress) = self.run_stages(&self.backend.finalizing(self.request), false).await? {
            return Ok(progress);
        }
        let stays = match self.retire_stages().await? {
            Retired::Progress(progress) => return Ok(*progress),
            Retired::Done(stays) => stays,
        };
        let due = self.due_settings(marked_now);
        if self.is_about_to_probe(&due).await {
            return Ok(Progress::Persist(Box::new(Persist {
                probe: true,
                message: format!(
                    "a setting of {} is about to be verified with a probe object",
                    self.named()
                ),
                events,
                ..Persist::default()
            })));
        }
        let applied = self.apply_settings(&due, ours).await?;
        events.extend(applied.events);
        // A later pass may repeat this step, for example after a restart. The status then says already that the container
        // exists.
        let fresh = self.request.may_create && ours && !self.request.applied && !is_said_to_exist(self.request.config);
        let creation = fresh.then(|| (self.request.snapshot.now, self.created_condition()));
        let mut existing = self.existing_condition();
        if let Some(stays) = stays {
            existing.message = format!("{} {}", existing.message, capitalised(&stays));
        }
        let mut conditions = vec![existing];
        conditions.extend(applied.conditions);
        let mut storage = self.backend.completed(self.request)?;
        for complete in applied.completes {
            complete(&mut storage);
        }
        let shown = self.store.shown(storage.clone());
        Ok(Progress::Done(Ensured {
            applied: (shown != storage).then_some(shown),
            storage,
            blank_state: if ours { State::Managed } else { State::Unmanaged },
            conditions,
            creation,
            events,
            probe_left: self.store.probe_left(),
            final_settings: Some(applied.is_final),
            again: applied.again,
        }))
    }

    /// Deletes the probe object that an earlier process may have left.
    pub(super) async fn clear_probe(&self, key: &str) -> Result<(), StepError> {
        match self.store.clear_probe(&ProbeKeys::of(key)).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => {
                let name = &self.store.container().name;
                let message = format!(
                    "a probe object may be left at {name}/{}, delete it: {}",
                    self.store.object_name(key),
                    self.explain(&error)
                );
                // New keys need time, and wrong keys may be corrected. The attempts end after a day.
                Err(if error.is_denied() {
                    StorageError::transient(message).into()
                } else {
                    error.storage_error_with(message).into()
                })
            }
        }
    }
}

/// Whether the service refused a create call, so that the call created nothing.
fn is_refusal(error: &CallError) -> bool {
    let refused = matches!(
        error.class,
        CallClass::Forbidden | CallClass::Denied | CallClass::NameTaken | CallClass::Rejected
    );
    refused && matches!(error.cause, Cause::Answer(400..=499)) && !error.of_identity
}

/// Reason of `StorageExists=False` for a container that does not exist.
fn missing_reason<B: ObjectBackend>(error: &CallError) -> &'static str {
    let known = B::TERMS
        .gone
        .iter()
        .chain(&["Forbidden"])
        .find(|reason| **reason == error.code);
    match known {
        Some(reason) => reason,
        None if error.class == CallClass::Forbidden => "Forbidden",
        None => B::TERMS.gone.first().copied().unwrap_or_default(),
    }
}
