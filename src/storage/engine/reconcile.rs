//! One step towards the storage that the Config names, for every backend.

use std::time::Duration;

use serde_json::Value;

use super::context::Engine;
use super::existence::{cache_completed, check_cached, completed_target, is_said_to_be_gone};
use super::intent::{self, StoredSettings, StoredStages};
use super::location::{self, Left};
use super::missing::{gone, not_created, nothing_to_use, unseen};
use super::select::Selected;
use super::settings;
use super::stopped;
use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::facts::StorageFacts;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::status::judge::Deadline;
use crate::storage::model::error::StepError;
use crate::storage::model::outcome::{Freeze, Outcome, STORAGE_EXISTS, UNKNOWN_ERROR, Waiting};
use crate::storage::model::progress::{Ensured, Persist, Progress, Wait};
use crate::storage::model::spec;
use crate::storage::model::state::{self, State};
use crate::storage::model::target::{CreationRecord, Request, Target};
use crate::storage::preflight::{self, decide, record};
use crate::storage::traits::{Cluster, Driver};

/// Patch that writes the platform's default into the spec. A default with a name must be written only after that
/// storage exists, because the operator treats a name in the spec as the user's choice.
pub fn record_default(config: &Config, selected: &Selected) -> Option<Value> {
    selected
        .defaulted
        .then(|| spec::patch(config.spec.storage.as_ref(), &selected.storage, &[]))
        .flatten()
}

/// What follows from the Config alone, without a call to the driver.
struct Known {
    /// `status.storage`.
    stored: Storage,
    /// Storage that the status names and the spec does not name any more.
    left: Option<Left>,
    /// Effective managementState.
    state: Option<State>,
    /// The status names this storage.
    in_use: bool,
    /// The status names this storage with the same settings.
    applied: bool,
    /// If the operator wrote the `Managed` of the spec for other storage, to which the registry did not switch: annotations for a
    /// patch of the Config that removes the records of that storage.
    aborted: Vec<(&'static str, Value)>,
}

impl Known {
    fn of<D: Driver>(
        config: &Config,
        snapshot: &Snapshot,
        selected: &Selected,
        target: &Target,
        stored: Storage,
    ) -> Self {
        let left = Left::of::<D>(config, &stored, snapshot, target);
        let moved = left.is_some() || stored.backends().len() != 1;
        let applied = !moved && D::same(&stored, &selected.storage, snapshot);
        let state = state::effective(config, moved);
        let raised = state == Some(State::Managed) && state::before(config) == State::Unmanaged;
        let before = left.as_ref().and_then(|left| left.location.as_deref());
        let aborted = if raised {
            intent::without_created_elsewhere(config, target.location.as_deref(), before)
        } else {
            Vec::new()
        };
        Self {
            left,
            state: match state {
                // Who owns storage to which the registry switches is to be found out. Storage in use stays as it was.
                Some(_) if !aborted.is_empty() => (!moved).then_some(State::Unmanaged),
                state => state,
            },
            in_use: !moved,
            applied,
            aborted,
            stored,
        }
    }
}

/// Runs one step.
pub async fn ensure<D: Driver>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    selected: &Selected,
    engine: &Engine<'_, impl Cluster>,
) -> Outcome {
    let unchanged = || Outcome {
        own_conditions: D::CONDITIONS,
        ..Outcome::unchanged(config)
    };
    let rejected = |rejection: Rejection, record| Outcome {
        record,
        error: Some(rejection.into()),
        ..unchanged()
    };
    let mut target = match driver.resolve(config, &selected.storage, snapshot) {
        Ok(target) => target,
        Err(rejection) => {
            // Write a default that the user must complete, but not a name, which would look like the user's choice.
            let unnamed = spec::describe(&selected.storage, D::BACKEND) == D::BACKEND.name();
            return rejected(rejection, unnamed.then(|| record_default(config, selected)).flatten());
        }
    };
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    location::keep_unless_located::<D>(config, &stored, snapshot, &mut target);
    // Do not create storage that the registry cannot use.
    if let Some(Err(rejection)) = target.access.as_ref().map(|access| engine.pods.program.render(access)) {
        return rejected(rejection, None);
    }
    let stopped = engine.cache.take_deleted_elsewhere(target.location.as_deref());
    let stopped = stopped.map(|(location, objects)| stopped::event(&location, objects));
    let known = Known::of::<D>(config, snapshot, selected, &target, stored);
    let default = if target.named {
        None
    } else {
        record_default(config, selected)
    };
    let mut outcome = match prepare::<D>(&known, &selected.storage, snapshot, &mut target) {
        Ok(()) => {
            let request = request::<D>(config, snapshot, selected, &target, &known);
            let step = Step {
                driver,
                engine,
                request: &request,
                known: &known,
                default,
            };
            step.run().await
        }
        Err(outcome) => Outcome {
            record: default,
            storage_managed: unchanged().storage_managed,
            own_conditions: D::CONDITIONS,
            ..*outcome
        },
    };
    outcome.events.extend(stopped);
    outcome
}

/// Checks that need no call: Unmanaged storage has a name, and the CA is complete. The error is the outcome of the
/// step.
fn prepare<D: Driver>(
    known: &Known,
    storage: &Storage,
    snapshot: &Snapshot,
    target: &mut Target,
) -> Result<(), Box<Outcome>> {
    if known.state == Some(State::Unmanaged) && !target.named {
        return Err(Box::new(Outcome {
            error: Some(nothing_to_use(D::BACKEND.name())),
            ..Outcome::default()
        }));
    }
    match D::ca_bundle(storage, snapshot) {
        Ok(bundle) => {
            target.ca_bundle = bundle;
            Ok(())
        }
        Err(error) => {
            let condition = ConditionUpdate::new(STORAGE_EXISTS, Status::Unknown, UNKNOWN_ERROR, error.message.clone());
            Err(Box::new(Outcome {
                freeze: freeze::<D>(known.applied),
                conditions: vec![condition],
                ca_error: Some(error.message.clone()),
                error: Some(error),
                ..Outcome::default()
            }))
        }
    }
}

fn request<'a, D: Driver>(
    config: &'a Config,
    snapshot: &'a Snapshot,
    selected: &'a Selected,
    target: &'a Target,
    known: &Known,
) -> Request<'a> {
    let location = target.location.as_deref();
    let record = intent::creation(config, location);
    // Do not create storage in use again before the status reports its loss.
    let protected = known.in_use && D::REMOTE && !is_said_to_be_gone(config, D::GONE);
    let stored = state::stored(config);
    Request {
        config,
        snapshot,
        storage: &selected.storage,
        target,
        state: known.state,
        defaulted: selected.defaulted,
        applied: known.applied,
        in_use: known.in_use,
        state_changed: known.state.is_some() && stored.is_some() && stored != known.state,
        may_create: record.exists() && known.state != Some(State::Unmanaged) && !protected,
        record,
        consent: intent::is_consented(config, location),
        probe_recorded: record::is_recorded(config, location.unwrap_or_default(), &preflight::key(snapshot)),
    }
}

/// Result of a step, after the engine rejected what it does not allow.
enum Ended {
    Done(Box<Ensured>),
    Wait(Wait),
    Persist(Box<Persist>),
    Failed(StepError),
}

struct Step<'a, D, C> {
    driver: &'a D,
    engine: &'a Engine<'a, C>,
    request: &'a Request<'a>,
    known: &'a Known,
    /// Patch with the platform's default.
    default: Option<Value>,
}

impl<D: Driver, C: Cluster> Step<'_, D, C> {
    async fn run(self) -> Outcome {
        let (step, again) = check_cached(self.driver, self.engine, self.request).await;
        let mut ended = self.allowed(step);
        if let Ended::Wait(wait) = &ended
            && self.known.in_use
            && self.vanishes(&wait.conditions)
            && self.has_other_credentials().await
        {
            ended = Ended::Failed(unseen(&spec::describe(self.request.storage, D::BACKEND)));
        }
        let mut outcome = match ended {
            Ended::Done(ensured) => self.done(*ensured).await,
            Ended::Wait(wait) => {
                let events = self.lost(&wait.conditions).into_iter().collect();
                Outcome {
                    record: self.default.clone(),
                    conditions: wait.conditions,
                    events,
                    wait: Some(Waiting {
                        after: wait.after,
                        message: wait.message,
                        deadline: wait.deadline,
                    }),
                    ..self.unfinished().await
                }
            }
            Ended::Persist(persist) => {
                let record = self.record(&persist);
                Outcome {
                    record,
                    conditions: persist.conditions,
                    events: persist.events,
                    wait: Some(at_once(persist.message)),
                    ..self.unfinished().await
                }
            }
            Ended::Failed(StepError { error, conditions }) => Outcome {
                record: self.default.clone(),
                conditions,
                error: Some(error),
                ..self.unfinished().await
            },
        };
        outcome.again = outcome.again.into_iter().chain(again).min();
        if self.known.in_use && self.vanishes(&outcome.conditions) {
            // Whatever exists under this name later is not what the operator created, or what an administrator consented to.
            let config = self.request.config;
            let location = self.request.target.location.as_deref();
            let mut dropped = intent::without_created(config, location);
            dropped.extend(intent::spent_consent(config, location));
            outcome.record = spec::both(spec::annotations(&dropped), outcome.record);
            outcome.after_status = true;
        }
        outcome
    }

    /// Rejects the creation of Unmanaged storage. Delays the creation of storage in use until the status reports its
    /// loss.
    fn allowed(&self, step: Result<Progress<Ensured>, StepError>) -> Ended {
        let described = || spec::describe(self.request.storage, D::BACKEND);
        match step {
            Err(failed) => Ended::Failed(failed),
            Ok(Progress::Persist(persist))
                if persist.intent.is_some() && self.known.state == Some(State::Unmanaged) =>
            {
                Ended::Failed(StepError {
                    error: not_created(&described()),
                    conditions: persist.conditions,
                })
            }
            Ok(Progress::Persist(persist))
                if persist.intent.is_some()
                    && self.known.in_use
                    && !is_said_to_be_gone(self.request.config, D::GONE) =>
            {
                Ended::Wait(gone::<D>(*persist, &described()))
            }
            Ok(Progress::Persist(persist)) => Ended::Persist(persist),
            Ok(Progress::Wait(wait)) => Ended::Wait(wait),
            Ok(Progress::Done(ensured)) => Ended::Done(Box::new(ensured)),
        }
    }

    /// The patch of the Config for a `Persist`.
    fn record(&self, persist: &Persist) -> Option<Value> {
        let config = self.request.config;
        let wanted = persist.storage.clone().unwrap_or_else(|| self.request.storage.clone());
        let mut annotations = match (&persist.intent, &self.request.target.location) {
            (Some(location), _) => intent::intended(location),
            (None, Some(location)) => persist
                .created
                .map(|marked| intent::created(location, marked))
                .unwrap_or_default()
                .into_iter()
                .chain(self.request.consent.then(|| intent::adopted(location)))
                .collect(),
            _ => Vec::new(),
        };
        if let Some((key, stages)) = &persist.stages {
            annotations.extend(StoredStages::patch(config, key, stages.clone()));
        }
        let probe = persist
            .probe
            .then(|| record::recorded::<D>(self.request, &wanted))
            .flatten();
        let named = spec::patch(config.spec.storage.as_ref(), &wanted, &annotations);
        spec::both(named, probe)
    }

    /// The outcome of an incomplete step. If the registry already runs with this storage, the pass applies everything
    /// except changes of the storage.
    async fn unfinished(&self) -> Outcome {
        let facts = if self.request.applied && !D::REMOTE {
            self.wanted_facts().await
        } else {
            None
        };
        Outcome {
            own_conditions: D::CONDITIONS,
            freeze: freeze::<D>(self.request.applied),
            facts,
            ..Outcome::unchanged(self.request.config)
        }
    }

    /// [`Self::facts`] of the storage that the Config names, if they can be had.
    async fn wanted_facts(&self) -> Option<StorageFacts> {
        let access = self.driver.runtime_access(self.request).await.ok()?;
        self.facts(&access, self.request.target).ok()
    }

    /// Environment, volumes and files with which the registry program reaches the storage.
    fn facts(&self, access: &RegistryStorage, target: &Target) -> Result<StorageFacts, Rejection> {
        Ok(StorageFacts {
            backend: D::BACKEND.name(),
            ca_bundle: target.ca_bundle.clone(),
            unfit: target.unfit.clone(),
            not_usable: target.not_usable.clone(),
            ..self.engine.pods.program.render(access)?
        })
    }

    /// Whether these conditions are the first to say that the storage does not exist.
    fn vanishes(&self, conditions: &[ConditionUpdate]) -> bool {
        let exists = conditions.iter().find(|c| c.type_ == STORAGE_EXISTS);
        let gone = exists.is_some_and(|c| c.status == Status::False && D::GONE.contains(&c.reason.as_str()));
        gone && !is_said_to_be_gone(self.request.config, D::GONE)
    }

    /// Whether the credentials are others than those with which the registry runs, and may belong to another tenant, which does not
    /// have the storage. Where nothing runs, nothing tells.
    async fn has_other_credentials(&self) -> bool {
        if !self.driver.has_tenants(self.request) || self.request.effective_state() != Some(State::Managed) {
            return false;
        }
        let facts = self.wanted_facts().await;
        facts.is_some_and(|facts| (self.engine.pods.other_credentials)(&facts))
    }

    /// Event, once, that Managed storage in use does not exist any more.
    fn lost(&self, conditions: &[ConditionUpdate]) -> Option<EventRequest> {
        let gone = conditions
            .iter()
            .any(|c| c.type_ == STORAGE_EXISTS && c.status == Status::False);
        let config = self.request.config;
        let managed = self.request.effective_state() == Some(State::Managed);
        (gone && managed && self.known.in_use && !is_said_to_be_gone(config, D::GONE)).then(|| {
            let what = spec::describe(self.request.storage, D::BACKEND);
            EventRequest {
                warning: true,
                reason: "StorageLost",
                message: format!(
                    "{what} is gone or is being deleted, and its images are lost; it was in use and Managed"
                ),
            }
        })
    }

    /// managementState of the storage after this step.
    fn final_state(&self, blank_state: State) -> State {
        match (self.known.state, blank_state) {
            (Some(state), _) => state,
            (None, State::Managed) => State::Managed,
            // Storage in use that the operator does not own now keeps its previous state.
            (None, State::Unmanaged) => self.request.effective_state().unwrap_or(State::Unmanaged),
        }
    }

    /// Annotations of the Config after a complete `ensure`.
    fn annotations(&self, ensured: &Ensured, state: State) -> Vec<(&'static str, Value)> {
        let config = self.request.config;
        let location = self.request.target.location.as_deref();
        // Remove the intent of storage that the operator does not own: a later pass would take it for a creation
        // record.
        let is_owned = ensured.blank_state == State::Managed;
        let intended = self.request.record == CreationRecord::Intended;
        let refused = state == State::Unmanaged || (!is_owned && (intended || !self.known.in_use));
        let mut records = if refused {
            intent::without_creation(config, location)
        } else {
            Vec::new()
        };
        if state == State::Unmanaged {
            records.extend(intent::without_namesakes(config, location.unwrap_or_default()));
        }
        records.extend(self.known.aborted.iter().cloned());
        records.extend(intent::without_intent_elsewhere(config, location));
        let switching = self.known.left.is_some();
        records.extend(settings::record(self.request, D::CONDITIONS, ensured, state, switching));
        records.extend(intent::used_consent(config, location));
        records
    }

    async fn done(&self, ensured: Ensured) -> Outcome {
        let config = self.request.config;
        let state = self.final_state(ensured.blank_state);
        let wanted = Storage {
            management_state: Some(state.text().to_owned()),
            ..ensured.storage.clone()
        };
        let annotations = self.annotations(&ensured, state);
        let record = spec::patch(config.spec.storage.as_ref(), &wanted, &annotations);
        let applied = spec::only(ensured.applied.as_ref().unwrap_or(&wanted), D::BACKEND, state.text());
        let ignored = !self.known.aborted.is_empty() && state == State::Unmanaged;
        let ignored = ignored.then(|| location::aborted(&spec::describe(self.request.storage, D::BACKEND)));
        let mut outcome = Outcome {
            conditions: ensured.conditions_of(self.request.snapshot.now),
            events: ensured.events.iter().cloned().chain(ignored).collect(),
            // The other conditions report settings, and the operator applies none to Unmanaged storage.
            own_conditions: match state {
                State::Managed => D::CONDITIONS,
                State::Unmanaged => &[STORAGE_EXISTS],
            },
            freeze: freeze::<D>(self.request.applied),
            ..Outcome::unchanged(config)
        };
        if D::REMOTE && record.is_some() {
            // Store name and state first. The next step works with the stored Config.
            let completed = Ensured {
                storage: wanted,
                applied: Some(applied.clone()),
                events: Vec::new(),
                final_settings: None,
                ..ensured
            };
            cache_completed(self.driver, self.engine, self.request, completed);
            outcome.record = spec::both(record, decide::unrecorded(self.engine, self.request));
            let message = format!("{} is recorded in the spec", spec::describe(&applied, D::BACKEND));
            outcome.wait = Some(at_once(message));
            return outcome;
        }
        outcome.record = record;
        self.use_storage(outcome, applied, &wanted, state).await
    }

    /// Runs the preflight if needed, and then lets the registry use the storage.
    async fn use_storage(&self, mut outcome: Outcome, applied: Storage, wanted: &Storage, state: State) -> Outcome {
        // Render the completed spec, so that later passes do not change the pods again.
        let target = match completed_target(self.driver, self.request, &applied) {
            Ok(target) => target,
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
        };
        let request = &Request {
            storage: &applied,
            target: &target,
            ..*self.request
        };
        let access = match self.driver.runtime_access(request).await {
            Ok(access) => access,
            Err(StepError { error, conditions }) => {
                // Keep `record`. The status names the storage only when the registry can be rendered.
                outcome.conditions.extend(conditions);
                outcome.error = Some(error);
                return outcome;
            }
        };
        let facts = match self.facts(&access, &target) {
            Ok(facts) => facts,
            Err(rejection) => {
                outcome.error = Some(rejection.into());
                return outcome;
            }
        };
        if D::REMOTE {
            let decision = decide::decide(self.driver, self.engine, request, &access, &facts).await;
            outcome.record = decision.record;
            outcome.events.extend(decision.events);
            outcome.preflight = decision.preflight;
            outcome.again = decision.again;
            outcome.wait = decision.wait;
            if !decision.passed {
                // Registry and status keep the current storage.
                outcome.freeze = Freeze::Storage;
                return outcome;
            }
        }
        outcome.facts = Some(facts);
        let location = self.request.target.location.as_deref();
        if let Some(left) = &self.known.left {
            let to = spec::describe(wanted, D::BACKEND);
            outcome.events.push(left.moved(&to, location, state));
            outcome.reconfigured = true;
            // What surrounds the storage before is kept as it is.
            let mut others = intent::without_created_elsewhere(self.request.config, location, None);
            others.extend(location.and_then(|id| StoredSettings::switched(self.request.config, id)));
            outcome.record = spec::both(outcome.record, spec::annotations(&others));
        }
        // The controller stores the record before the status.
        let located = location::record::<D>(self.request.config, &applied, location);
        outcome.record = spec::both(outcome.record, located);
        outcome.storage_managed = state == State::Managed;
        outcome.status_storage = (!spec::same(&self.known.stored, &applied)).then_some(applied);
        outcome
    }
}

/// A wait until the record is stored.
fn at_once(message: String) -> Waiting {
    Waiting {
        after: Duration::ZERO,
        message,
        deadline: Deadline::Common,
    }
}

fn freeze<D: Driver>(applied: bool) -> Freeze {
    match (D::REMOTE, applied) {
        (false, _) => Freeze::All,
        (true, true) => Freeze::Storage,
        (true, false) => Freeze::Deployment,
    }
}
