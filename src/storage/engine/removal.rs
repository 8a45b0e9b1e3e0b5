//! Removal of the storage that `status.storage` names, for every backend. In doubt the data is kept.

use serde_json::Value;

use super::cache::ObservationCache;
use super::context::Engine;
use super::{intent, location, stopped};
use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::error::{StepError, StorageError};
use crate::storage::model::outcome::{Outcome, STORAGE_EXISTS, Waiting};
use crate::storage::model::progress::{Deleted, Mark};
use crate::storage::model::proof::OwnershipProof;
use crate::storage::model::spec;
use crate::storage::model::state::{self, State};
use crate::storage::model::target::{CreationRecord, Request, Target};
use crate::storage::traits::{Cluster, Removable};

/// Whether data may be deleted.
enum Gate {
    /// Yes: managementState is Managed in the spec, and an earlier pass stored Managed in the status.
    Open,
    /// No: the storage is not Managed.
    Closed,
    /// No: the spec says Managed, but no earlier pass ran with that value.
    Raised,
}

fn gate(config: &Config, deleting_config: bool) -> Gate {
    if deleting_config && ManagementState::of(config) == ManagementState::Unmanaged {
        return Gate::Closed;
    }
    match (state::requested(config), state::stored(config)) {
        (Some(State::Managed), Some(State::Managed)) => Gate::Open,
        (Some(State::Managed), _) => Gate::Raised,
        _ => Gate::Closed,
    }
}

fn stored_storage(config: &Config) -> Storage {
    config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default()
}

/// Outcome at the end of a removal: the status names no storage any more.
pub fn forget(config: &Config) -> Outcome {
    let status_storage = (!spec::same(&stored_storage(config), &Storage::default())).then(Storage::default);
    let unchanged = Outcome::unchanged(config);
    Outcome {
        status_storage,
        // `Managed` in the spec counts as unchanged while it equals `status.storageManaged`. A `Managed` that the user
        // sets later must count as a change.
        storage_managed: unchanged.storage_managed && state::requested(config) == Some(State::Managed),
        done: true,
        ..unchanged
    }
}

/// One step of a removal.
struct Removal<'a, D, C> {
    driver: &'a D,
    engine: &'a Engine<'a, C>,
    config: &'a Config,
    snapshot: &'a Snapshot,
    /// `status.storage`.
    stored: &'a Storage,
    /// Location ID; empty if it cannot be derived from the spec any more.
    location: String,
    /// The Config is being deleted.
    deleting_config: bool,
}

/// Runs one step.
pub async fn remove<D: Removable>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    engine: &Engine<'_, impl Cluster>,
    deleting_config: bool,
) -> Outcome {
    let stored = stored_storage(config);
    if !D::is_found(&stored) {
        let message = "status.storage of Config cluster does not name the storage completely, so nothing was deleted: \
             delete the storage by hand if nobody needs it";
        let condition = |reason| ConditionUpdate::new(STORAGE_EXISTS, Status::False, reason, message);
        return Outcome {
            conditions: D::NOT_FOUND.map(condition).into_iter().collect(),
            own_conditions: D::CONDITIONS,
            ..forget(config)
        };
    }
    let removal = Removal {
        driver,
        engine,
        config,
        snapshot,
        location: location::of_applied::<D>(config, &stored, snapshot).unwrap_or_default(),
        stored: &stored,
        deleting_config,
    };
    removal.run().await
}

impl<D: Removable, C: Cluster> Removal<'_, D, C> {
    async fn run(&self) -> Outcome {
        let own = |outcome: Outcome| Outcome {
            own_conditions: D::CONDITIONS,
            ..outcome
        };
        match gate(self.config, self.deleting_config) {
            Gate::Open => {}
            Gate::Closed => {
                let mut outcome = self.release();
                outcome.conditions.extend(self.unreported_end().await);
                return own(outcome);
            }
            Gate::Raised => {
                // The operator may have written this `Managed` for storage to which the registry did not switch: the records of that
                // storage stay, and tell it when the storage is used again.
                let records = intent::without_own_records(self.config, &self.location);
                return own(self.keep(&raised(&self.described()), records));
            }
        }
        let target = match self.target() {
            Ok(target) => target,
            Err(error) => return own(self.failed(error.into())),
        };
        if let Err(error) = self.check_location(&target) {
            return own(self.failed(error.into()));
        }
        let record = intent::creation(self.config, Some(&self.location));
        let request = self.request(&target, record);
        let proved = self.driver.prove(&request).await;
        if self.location.is_empty() {
            // Why the storage cannot be reached says more than that its location is not known.
            return own(self.failed(proved.err().unwrap_or_else(|| self.not_located().into())));
        }
        let ended = match proved {
            Ok((_, Mark::Gone)) => return self.gone(),
            Ok((_, Mark::Missing(what))) if record.is_created() => Err(self.unmarked(&what)),
            Ok((_, Mark::Missing(why) | Mark::NotOurs(why))) => {
                let deleted = self.engine.cache.take_deleted(&self.location);
                let deleted = deleted.map(|objects| format!("; {}", stopped::message(objects)));
                let message = format!(
                    "{} was kept with its images: {why}{}",
                    self.described(),
                    deleted.unwrap_or_default()
                );
                return own(self.keep(&message, intent::without_records(self.config, &self.location)));
            }
            Ok((level, Mark::Ours(pin))) => self.delete(&request, &OwnershipProof::read(level, pin)).await,
            Err(failed) => Err(failed),
        };
        own(match ended {
            Ok(deleted) => self.deleted(deleted),
            Err(failed) => self.failed(failed),
        })
    }

    fn described(&self) -> String {
        spec::describe(self.stored, D::BACKEND)
    }

    fn failed(&self, failed: StepError) -> Outcome {
        let StepError { error, conditions } = failed;
        Outcome {
            conditions,
            error: Some(error),
            ..Outcome::unchanged(self.config)
        }
    }

    /// One bounded step of deletion, if this process still leads and the Config is the newest version. Deletions in the
    /// cluster itself check both in the write.
    async fn delete(&self, request: &Request<'_>, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        if D::REMOTE {
            self.engine.cluster.confirm().await?;
        }
        self.driver.remove(request, proof).await
    }

    /// Outcome of one step of deletion.
    fn deleted(&self, deleted: Deleted) -> Outcome {
        let Deleted { objects, next } = deleted;
        let all = if D::REMOTE {
            self.engine.cache.count_deleted(&self.location, objects)
        } else {
            0
        };
        let mut wait = match next {
            Ok(wait) => wait,
            Err(failed) => return self.failed(failed),
        };
        if D::REMOTE {
            wait.message = format!("{}; {all} objects are deleted so far", wait.message);
            if !wait.conditions.iter().any(|c| c.type_ == STORAGE_EXISTS) {
                let message = format!("{}: {}", self.described(), wait.message);
                let exists = ConditionUpdate::new(STORAGE_EXISTS, Status::True, D::EXISTS, message);
                wait.conditions.push(exists);
            }
        }
        Outcome {
            conditions: wait.conditions,
            wait: Some(Waiting {
                after: wait.after,
                message: wait.message,
                deadline: wait.deadline,
            }),
            ..Outcome::unchanged(self.config)
        }
    }

    /// Conditions for a removal whose end is recorded in the spec but not in the status, because the process stopped or
    /// the write of the status failed: the spec has no managementState and does not name this storage any more. Only
    /// reads.
    async fn unreported_end(&self) -> Vec<ConditionUpdate> {
        let config = self.config;
        let named = config
            .spec
            .storage
            .as_ref()
            .and_then(|spec| D::locate(spec, self.snapshot));
        let recorded = state::requested(config).is_none() && named.as_deref() != Some(&self.location);
        let begun =
            state::stored(config) == Some(State::Managed) && ManagementState::of(config) != ManagementState::Unmanaged;
        let target = (recorded && begun).then(|| self.target().ok()).flatten();
        let Some(target) = target.filter(|target| self.check_location(target).is_ok()) else {
            return Vec::new();
        };
        let request = self.request(&target, CreationRecord::None);
        match self.driver.prove(&request).await {
            Ok((_, Mark::Gone)) => self.driver.removed(&self.location, false),
            Ok(_) => {
                let message = format!("{} exists and is kept.", self.described());
                vec![ConditionUpdate::new(STORAGE_EXISTS, Status::True, D::EXISTS, message)]
            }
            Err(failed) => failed.conditions,
        }
    }

    fn request<'r>(&'r self, target: &'r Target, record: CreationRecord) -> Request<'r> {
        Request {
            config: self.config,
            snapshot: self.snapshot,
            storage: self.stored,
            target,
            state: Some(State::Managed),
            defaulted: false,
            applied: true,
            in_use: true,
            state_changed: false,
            may_create: record.exists(),
            record,
            consent: false,
            probe_recorded: false,
        }
    }

    /// Target of `status.storage`.
    fn target(&self) -> Result<Target, StorageError> {
        let mut target = self.driver.resolve(self.config, self.stored, self.snapshot)?;
        target.ca_bundle = D::ca_bundle(self.stored, self.snapshot)?;
        Ok(target)
    }

    /// Whether the current credentials still mean this storage.
    fn check_location(&self, target: &Target) -> Result<(), StorageError> {
        let checked = location::check::<D>(self.stored, &self.location, target.location.as_deref(), self.snapshot);
        checked.map_err(|error| StorageError {
            message: format!(
                "{} was not deleted: {}, or set spec.storage.managementState to Unmanaged to keep the data and finish the \
                 removal",
                self.described(),
                error.message
            ),
            ..error
        })
    }

    /// Error for storage whose location cannot be derived any more.
    fn not_located(&self) -> StorageError {
        StorageError::action_required(format!(
            "the location of {} cannot be determined, so that nothing was deleted: restore what it depends on, or set \
             spec.storage.managementState to Unmanaged to keep the data and finish the removal",
            self.described()
        ))
    }

    /// Outcome after the complete deletion.
    fn gone(&self) -> Outcome {
        self.engine.cache.forget();
        let deleted = self.engine.cache.take_deleted(&self.location).is_some();
        let record = if self.deleting_config { None } else { self.record() };
        let storage_managed = self.deleting_config && Outcome::unchanged(self.config).storage_managed;
        Outcome {
            record,
            storage_managed,
            conditions: self.driver.removed(&self.location, deleted),
            events: self.left_over().into_iter().collect(),
            // The other conditions report settings of the deleted storage.
            own_conditions: &[STORAGE_EXISTS],
            ..forget(self.config)
        }
    }

    /// Event for what a complete deletion left.
    fn left_over(&self) -> Option<EventRequest> {
        let left = self.driver.left_over(&self.location);
        (!left.is_empty()).then(|| {
            kept_event(format!(
                "{} was removed. Left, to be deleted by hand: {}",
                self.described(),
                left.join("; ")
            ))
        })
    }

    /// Patch of the Config after the complete deletion. It removes the identifiers of the deleted storage (not of other
    /// storage that the spec names meanwhile), the records, managementState and consent. So storage that the spec names
    /// later is not `Managed` by accident.
    fn record(&self) -> Option<Value> {
        let mut wanted = self.config.spec.storage.clone()?;
        if D::locate(&wanted, self.snapshot).as_deref() == Some(&self.location) {
            self.driver.clear_identifiers(&mut wanted, &self.location);
        }
        wanted.management_state = None;
        let mut dropped = intent::without_records(self.config, &self.location);
        dropped.extend(intent::without_consent(self.config, Some(&self.location)));
        spec::patch(self.config.spec.storage.as_ref(), &wanted, &dropped)
    }

    /// Ends a removal of storage that is not Managed. Reports the objects that were deleted before the user stopped it.
    fn release(&self) -> Outcome {
        let mut records = intent::without_records(self.config, &self.location);
        records.extend(intent::without_namesakes(self.config, &self.location));
        let outcome = self.without(records);
        let Some(objects) = self.engine.cache.take_deleted(&self.location) else {
            return outcome;
        };
        let condition = ConditionUpdate::new(STORAGE_EXISTS, Status::True, D::EXISTS, stopped::message(objects));
        Outcome {
            conditions: vec![condition],
            events: vec![stopped::event(&self.location, objects)],
            ..outcome
        }
    }

    /// Outcome for kept storage: the status and the records forget it. If the spec names it again, it belongs to the
    /// user. `records`: annotations for a patch of the Config that removes the records.
    fn without(&self, mut records: Vec<(&'static str, Value)>) -> Outcome {
        let stored = self.config.spec.storage.clone().unwrap_or_default();
        records.extend(intent::used_consent(self.config, Some(&self.location)));
        Outcome {
            record: spec::patch(Some(&stored), &stored, &records),
            ..forget(self.config)
        }
    }

    /// Error for storage that the operator created and whose ownership mark is missing. Somebody removed the mark, or
    /// the read is not consistent yet. The removal continues when the mark is back.
    fn unmarked(&self, what: &str) -> StepError {
        let message = format!(
            "{} was not deleted: the operator created it, and {what}. If the credentials changed, they may show storage of \
             the same name that belongs to somebody else. Restore the credentials or the mark, or set \
             spec.storage.managementState to Unmanaged to keep the data and finish the removal",
            self.described()
        );
        let exists = ConditionUpdate::new(STORAGE_EXISTS, Status::True, D::EXISTS, message.clone());
        StepError {
            conditions: vec![exists],
            error: StorageError::action_required(message),
        }
    }

    /// Ends a removal without a deletion, and reports that.
    fn keep(&self, message: &str, records: Vec<(&'static str, Value)>) -> Outcome {
        // The annotation for consent needs the location ID, which no field shows.
        let message = if D::REMOTE && !self.location.is_empty() {
            format!("{message}; its location ID is {}", self.location)
        } else {
            message.to_owned()
        };
        let exists = ConditionUpdate::new(STORAGE_EXISTS, Status::True, D::EXISTS, message.clone());
        Outcome {
            conditions: vec![exists],
            events: vec![kept_event(message)],
            ..self.without(records)
        }
    }
}

/// Conditions and events when the operator stops managing the registry (`managementState: Unmanaged`) after an
/// unfinished removal deleted a part of the storage.
pub fn left_alone(config: &Config, cache: &ObservationCache) -> (Vec<ConditionUpdate>, Vec<EventRequest>) {
    let Some((location, objects)) = cache.take_deleted_elsewhere(None) else {
        return (Vec::new(), Vec::new());
    };
    let stored = config.status.as_ref().and_then(|s| s.conditions.as_deref());
    let exists = stored.unwrap_or_default().iter().find(|c| c.type_ == STORAGE_EXISTS);
    let reason = exists.and_then(|c| c.reason.clone()).unwrap_or_default();
    // Keep the last observed status.
    let status = [Status::False, Status::Unknown]
        .into_iter()
        .find(|status| exists.is_some_and(|c| c.status == status.text()))
        .unwrap_or(Status::True);
    let condition = ConditionUpdate::new(STORAGE_EXISTS, status, reason, stopped::message(objects));
    (vec![condition], vec![stopped::event(&location, objects)])
}

fn raised(kept: &str) -> String {
    format!(
        "{kept} was kept with its images: spec.storage.managementState was raised to Managed together with the removal, \
         and only storage that was Managed before is deleted"
    )
}

fn kept_event(message: String) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "StorageKept",
        message,
    }
}

/// Removal of storage whose backend this build does not implement. It ends if no data must be deleted, and fails
/// otherwise.
pub fn without_driver(backend: &str, config: &Config, deleting_config: bool) -> Outcome {
    match gate(config, deleting_config) {
        Gate::Open => {}
        Gate::Closed => return forget(config),
        Gate::Raised => {
            return Outcome {
                events: vec![kept_event(raised(backend))],
                ..forget(config)
            };
        }
    }
    let message = format!(
        "storage backend {backend} is not implemented by this build of the operator, so that its data was not deleted: \
         set spec.storage.managementState to Unmanaged to keep the data and finish the removal"
    );
    Outcome {
        error: Some(StorageError::action_required(message)),
        ..Outcome::unchanged(config)
    }
}
