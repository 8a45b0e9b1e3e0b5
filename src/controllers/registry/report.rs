//! Computes the conditions of a pass and writes the status, even after an error: one write, and only if the status
//! differs.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::RESYNC;
use super::controller::{Ended, Interrupted, Registry, Since, Stale, Unstored};
use crate::api::registry_config::Storage;
use crate::api::{Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::resolve::{ManagementState, Reason, Rejection};
use crate::config::snapshot::{Snapshot, Undecodable};
use crate::controllers::status_debounce::without_messages;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, removal::registry_pods};
use crate::status::conditions::{ConditionUpdate, Status};
use crate::status::config_status::{self, Next};
use crate::status::deployment::Deployment;
use crate::status::judge::{Deadline, Failing, Findings, Operation, Preflight, Removal, judge};
use crate::status::pods::why_not_running;
use crate::storage::STORAGE_CONDITIONS;

/// How long the status waits until the Deployment controller has observed the operator's last write.
const OBSERVED: Duration = Duration::from_millis(250);

const OBSERVATION: &str = "ConfigObservationDegraded";

/// The cluster's TLS profile cannot be read.
fn unreadable(error: &str) -> String {
    format!(
        "APIServer {} cannot be read, so the registry keeps the TLS settings of spec.observedConfig: {error}. If access is denied, restore \
         the ClusterRole of the operator and its binding",
        names::CLUSTER
    )
}

/// Findings of a pass for the status.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) state: Option<ManagementState>,
    pub(super) failing: Option<Failing>,
    pub(super) problems: Vec<Rejection>,
    pub(super) waiting_for: Option<String>,
    /// An operation of the storage that is in progress.
    pub(super) operation: Option<Operation>,
    pub(super) preflight: Option<Preflight>,
    pub(super) removal: Removal,
    /// Why `spec.observedConfig` could not be updated.
    pub(super) unobserved: Option<String>,
    /// New `status.storage`; `None` leaves it.
    pub(super) storage: Option<Storage>,
    /// New `status.storageManaged`; `None` leaves it.
    pub(super) storage_managed: Option<bool>,
    pub(super) conditions: Vec<ConditionUpdate>,
    /// At least one object could not be applied.
    pub(super) not_applied: bool,
    /// Storage conditions that the active backend owns; the others are removed. `None` leaves all.
    pub(super) own_conditions: Option<&'static [&'static str]>,
    pub(super) events: Vec<EventRequest>,
    pub(super) reconfigured: bool,
    pub(super) backend: Option<&'static str>,
}

impl Outcome {
    /// Adds why `spec.observedConfig` could not be updated.
    pub(super) fn add_unobserved(&mut self, message: String) {
        self.events.push(EventRequest {
            warning: true,
            reason: "ObservedConfigWriteError",
            message: message.clone(),
        });
        self.unobserved = Some(message);
    }
}

impl Registry {
    /// Computes the conditions of the pass and writes the status. `snapshot` contains the Config at the end of the
    /// pass.
    pub(super) async fn report(&mut self, snapshot: &Snapshot, mut outcome: Outcome) -> Result<Ended, Interrupted> {
        let retried = outcome
            .failing
            .as_ref()
            .is_some_and(|failing| failing.invalid().is_none());
        let failed = retried || matches!(outcome.removal, Removal::Failed(_) | Removal::StorageLeft { .. });
        self.fail(&outcome);
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let Some(config) = snapshot.objects.find(&reference).cloned() else {
            return Err(Stale::Gone.into());
        };
        let stored = config.get("status").cloned().unwrap_or_default();
        self.context.publish_events(std::mem::take(&mut outcome.events));
        let (backend, reconfigured) = (outcome.backend, outcome.reconfigured);
        let (next, again) = self.next_status(&config, &stored, outcome, snapshot.now);
        self.note_backend(&next, backend);
        let later = self.write_status(&config, &stored, &next).await?;
        if later.is_none() {
            self.context.note_first_report(Controller::Registry);
            // Count a change of the storage only after the status names the new storage; until then each pass finds it
            // again.
            if reconfigured {
                self.context.metrics.storage_reconfigured();
            }
        }
        Ok(Ended {
            failed,
            again: later.map_or(again, |later| later.min(again)),
        })
    }

    /// Updates the start of the series of failed passes, for conditions that depend on its duration.
    fn fail(&mut self, outcome: &Outcome) {
        let waits = outcome
            .operation
            .as_ref()
            .is_some_and(|operation| operation.deadline == Deadline::Common);
        let undecided = waits || matches!(outcome.preflight, Some(Preflight::Undecided(_)));
        let fails = match &outcome.failing {
            Some(failing) => failing.invalid().is_none(),
            None => undecided,
        };
        self.failing_since = fails.then(|| self.failing_since.unwrap_or_else(Since::now));
    }

    /// `status` of the Config after this pass, and the longest time until the next computation.
    fn next_status(&self, config: &Value, stored: &Value, outcome: Outcome, now: Timestamp) -> (Value, Duration) {
        let conditions = config_status::stored_conditions(stored);
        // Read the caches again, because this pass may have written objects.
        let objects = self.context.caches.snapshot().objects;
        let routes = wanted_routes(config);
        let judgement = judge(&Findings {
            state: outcome.state.unwrap_or(ManagementState::Managed),
            deployment: objects.operand(Kind::Deployment, names::REGISTRY),
            not_running: why_not_running(registry_pods(&objects)),
            routes: plan::exposing(&objects, &routes),
            failing: outcome.failing,
            problems: outcome.problems,
            operation: outcome.operation,
            waiting_for: outcome.waiting_for,
            preflight: outcome.preflight,
            removal: outcome.removal,
            stored: &conditions,
            failing_since: self.failing_since.map(|since| since.at(now)),
            now,
        });
        let mut condition_updates = judgement.condition_updates;
        condition_updates.extend(outcome.conditions);
        let unreadable = || objects.unreadable(Kind::ApiServer).map(unreadable);
        condition_updates.push(match outcome.unobserved.or_else(unreadable) {
            Some(message) => ConditionUpdate::new(OBSERVATION, Status::True, "Error", message),
            None => ConditionUpdate::new(OBSERVATION, Status::False, "", ""),
        });
        condition_updates.extend(self.context.shared.condition_updates());
        let mut gone = outcome.own_conditions.map(unowned).unwrap_or_default();
        gone.extend(self.context.shared.dropped());
        let own = self.generations.iter().map(|(object, g)| (object.clone(), *g));
        let generations: Vec<_> = own.chain(self.context.shared.generations()).collect();
        let generation = config.pointer("/metadata/generation").and_then(Value::as_i64);
        let next = Next {
            generation: generation.unwrap_or_default(),
            ready_replicas: judgement.ready_replicas,
            generations: &generations,
            storage: outcome.storage.as_ref(),
            storage_managed: outcome.storage_managed,
            condition_updates: &condition_updates,
            drop: &gone,
            now,
        };
        let again = judgement.recheck_after.unwrap_or(RESYNC);
        (config_status::next_status(stored, &next), again)
    }

    /// Reports a Config that does not decode. The pass writes only conditions.
    pub(super) async fn report_undecodable(
        &mut self,
        snapshot: &Snapshot,
        undecodable: &Undecodable,
    ) -> Result<Ended, Interrupted> {
        let message = format!("{undecodable}: correct the field; nothing is changed until then");
        let failing = Some(Rejection::new(Reason::InvalidConfig, message).into());
        self.report(
            snapshot,
            Outcome {
                failing,
                ..Outcome::default()
            },
        )
        .await
    }

    /// Reports a refused write of the Config. The pass changes nothing else.
    pub(super) async fn report_unstored(&mut self, unstored: &Unstored) -> Result<Ended, Interrupted> {
        let Unstored { error, observed } = unstored;
        let remedy = unstored.remedy();
        let message = format!(
            "Config {} cannot be written, and the operator changes nothing else until it can: {error}. {remedy}",
            names::CLUSTER
        );
        let snapshot = self.context.caches.snapshot();
        let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
        let deleting = config.is_some_and(content::is_deleting);
        let mut outcome = Outcome {
            state: ManagementState::stored(&snapshot),
            ..Outcome::default()
        };
        if *observed {
            outcome.add_unobserved(message.clone());
        }
        self.unstored = Some(message.clone());
        if deleting {
            outcome.removal = Removal::Failed(message);
        } else {
            outcome.failing = Some(Failing {
                class: unstored.class(),
                message,
            });
        }
        self.report(&snapshot, outcome).await
    }

    /// Writes the status if it differs. Returns how long a write must wait.
    async fn write_status(
        &mut self,
        config: &Value,
        stored: &Value,
        next: &Value,
    ) -> Result<Option<Duration>, Interrupted> {
        if !config_status::differs(stored, next) {
            return Ok(None);
        }
        let first_reports_done = self.context.first_reports_done(Controller::Registry);
        let delay = self.debounce.delay(stored, next, first_reports_done);
        if let Some(left) = delay.or_else(|| self.unobserved(stored, next)) {
            return Ok(Some(left));
        }
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let patch = config_status::merge_patch(stored, next);
        let written = self.context.writer.merge_status(&reference, config, &patch).await;
        written.map_err(|error| match error {
            WriteError::NotFound => Stale::NoStatus.into(),
            error => Interrupted::from(error),
        })?;
        self.debounce.note_write();
        self.context.caches.trigger(Controller::ClusterOperator);
        Ok(None)
    }

    /// How long to wait until the Deployment controller has observed the last write. Most writes (such as a new release
    /// annotation) cause no rollout, so that the status need not show Progressing.
    fn unobserved(&self, stored: &Value, next: &Value) -> Option<Duration> {
        let left = OBSERVED
            .checked_sub(self.deployed?.elapsed())
            .filter(|left| !left.is_zero())?;
        let objects = self.context.caches.snapshot().objects;
        let observed = Deployment(objects.operand(Kind::Deployment, names::REGISTRY)?).observed();
        let same = !config_status::differs(&without_progress(stored), &without_progress(next));
        (!observed && same).then_some(left)
    }

    fn note_backend(&self, status: &Value, backend: Option<&'static str>) {
        let stored = status
            .get("storage")
            .cloned()
            .and_then(|s| serde_json::from_value::<Storage>(s).ok());
        let applied = stored.and_then(|s| s.backends().first().copied());
        self.context.metrics.storage_type(applied.or(backend));
    }
}

/// A status without messages, observedGeneration and the condition Progressing.
fn without_progress(status: &Value) -> Value {
    let mut status = without_messages(status);
    if let Some(status) = status.as_object_mut() {
        status.remove("observedGeneration");
    }
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition.get("type").and_then(Value::as_str) != Some("Progressing"));
    }
    status
}

fn unowned(own: &'static [&'static str]) -> Vec<&'static str> {
    STORAGE_CONDITIONS
        .iter()
        .copied()
        .filter(|condition| !own.contains(condition))
        .collect()
}

/// Names of the Routes that a Config requests. Reads the undecoded Config, because conditions are needed even if it
/// does not decode.
fn wanted_routes(config: &Value) -> Vec<String> {
    let default = config.pointer("/spec/defaultRoute").and_then(Value::as_bool) == Some(true);
    let listed = config.pointer("/spec/routes").and_then(Value::as_array);
    let named = listed.into_iter().flatten().filter_map(|r| r.get("name")?.as_str());
    default
        .then_some(names::DEFAULT_ROUTE)
        .into_iter()
        .chain(named)
        .map(str::to_owned)
        .collect()
}
