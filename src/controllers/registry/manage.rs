//! `Managed`: complete, resolve, storage, plan, apply, report.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::report::Outcome;
use super::{Ended, Generations, Interrupted, Registry};
use crate::api::{Config, Kind, ObjectRef};
use crate::apply;
use crate::config::resolve::{self, ManagementState, Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::{self, Inputs, Plan, Source, certificates, settle};
use crate::status::judge::Failing;
use crate::storage::fault::{Class, Fault};
use crate::storage::{self, Hold};

impl Registry {
    pub(super) async fn manage(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
        self.gone_since = None;
        let valid = resolve::resolve(&config, &snapshot).is_ok();
        let (mut config, mut snapshot, mut confirmed) = self.complete(config, snapshot, valid).await?;
        let mut outcome = Outcome {
            state: Some(ManagementState::Managed),
            ..Outcome::default()
        };
        let resolved = match resolve::resolve(&config, &snapshot) {
            Ok(resolved) => resolved,
            Err(rejection) => {
                outcome.failing = Some(permanent(rejection));
                return self.report(&snapshot, outcome).await;
            }
        };
        let (cleared, clear_again);
        (config, snapshot, cleared, clear_again) = self.clear_probes(config, snapshot).await?;
        let (config, snapshot, wrote, mut stored) = self.store_storage(config, snapshot, &resolved).await?;
        confirmed |= cleared | wrote;
        let snapshot = Snapshot {
            objects: self.context.world.snapshot().objects,
            ..snapshot
        };
        let facts = self.publish_first(&mut stored, &config, &snapshot);
        outcome.take_storage(&mut stored);
        outcome.backend = facts.as_ref().map(|f| f.backend);
        if is_new(&config) {
            outcome
                .notices
                .extend(config.spec.storage.as_ref().and_then(resolve::storage_notice));
        }
        let tried_again = stored
            .again
            .map(|again| again.mul_f64(1.0 + self.context.jitter() / 4.0));
        let waited = stored.wait.as_ref().map(|(after, _)| *after);
        let again = waited.into_iter().chain(tried_again).chain(clear_again);
        // Facts beside a fault: the storage in use is not the one at fault, all else goes on.
        let storage = match (&facts, stored.hold) {
            (Some(facts), _) => Source::Facts(facts),
            (None, Hold::All) => return self.report(&snapshot, outcome).await,
            (None, Hold::Deployment) => Source::Nowhere,
            (None, Hold::Storage) => Source::Live,
        };
        let inputs = Inputs {
            resolved: &resolved,
            storage,
            snapshot: &snapshot,
        };
        let (plan, waiting) = Self::plan(&inputs);
        if let Some(facts) = &facts {
            self.publish(facts, &plan, &inputs);
        }
        outcome.waiting_for = waiting.as_ref().map(|(missing, _)| missing.clone());
        outcome.problems(&plan, facts.as_ref().and_then(|f| f.unfit.as_deref()));
        let generations = config
            .status
            .as_ref()
            .and_then(|s| s.generations.clone())
            .unwrap_or_default();
        let recorded = Generations {
            own: &self.generations,
            stored: &generations,
        };
        if apply::would_write(&plan, &snapshot, &recorded) && !confirmed {
            self.confirm(&config).await?;
        }
        let report = apply::apply(&plan, &snapshot, &recorded, &self.context.writer).await;
        let written: HashMap<ObjectRef, i64> = report.generations.iter().cloned().collect();
        if written.keys().any(|object| object.kind == Kind::Deployment) {
            self.deployed = Some(Instant::now());
        }
        self.generations.extend(written);
        self.context.tell(report.notices);
        outcome.not_applied(&report.failures);
        let mut ended = self.report(&snapshot, outcome).await?;
        ended.failed |= !report.failures.is_empty();
        for at_most in again.chain(waiting.map(|(_, ends)| ends)) {
            ended.again = ended.again.min(at_most);
        }
        Ok(ended)
    }

    /// The plan; and, where the first Deployment waits for its inputs, what is missing and for how long at most.
    fn plan(inputs: &Inputs<'_>) -> (Plan, Option<(String, Duration)>) {
        let Inputs {
            resolved,
            storage,
            snapshot,
        } = *inputs;
        let mut plan = plan::registry(inputs);
        let exists = snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_some();
        let Some(facts) = storage.facts().filter(|_| !exists) else {
            return (plan, None); // an existing Deployment never waits, and none is planned without storage
        };
        let certificates =
            certificates::certificates(snapshot, facts.ca_bundle.as_deref(), resolved.disable_redirect, false);
        let missing = settle::unsettled(inputs, &plan, &certificates);
        if missing.is_empty() {
            return (plan, None);
        }
        let ends = settle::wait_ends(snapshot);
        let left = ends.map(|ends| ends.duration_since(snapshot.now));
        if left.is_some_and(|left| !left.is_positive()) {
            return (plan, None);
        }
        plan.present
            .retain(|desired| desired.reference.kind != Kind::Deployment);
        let left = left
            .and_then(|l| Duration::try_from(l).ok())
            .unwrap_or(Duration::from_secs(30));
        (plan, Some((missing.join(", "), left)))
    }
}

impl Outcome {
    /// Takes over what the storage step found.
    fn take_storage(&mut self, stored: &mut storage::Outcome) {
        self.storage = stored.status_storage.take();
        self.storage_managed = Some(stored.storage_managed);
        self.verdicts.append(&mut stored.verdicts);
        self.own_conditions = Some(stored.own_conditions);
        self.notices.append(&mut stored.notices);
        self.reconfigured = stored.reconfigured;
        self.preflight = stored.preflight.take();
        self.failing = match stored.fault.take() {
            Some(Fault {
                class: Class::Rejected(reason),
                message,
            }) => Some(Failing::Permanent { reason, message }),
            Some(fault) => Some(Failing::Transient {
                message: format!("storage: {}", fault.message),
            }),
            None => stored.wait.as_ref().map(|(_, message)| Failing::Transient {
                message: message.clone(),
            }),
        };
    }

    /// What could not be applied, beside what was wrong before.
    fn not_applied(&mut self, failures: &[String]) {
        if failures.is_empty() {
            return;
        }
        let failures = failures.join("; ");
        match &mut self.failing {
            Some(Failing::Transient { message } | Failing::Permanent { message, .. }) => {
                *message = format!("{message}; {failures}");
            }
            None => self.failing = Some(Failing::Transient { message: failures }),
        }
    }

    /// Faults that wait for an edit while the rest of the pass goes on.
    fn problems(&mut self, plan: &Plan, unfit: Option<&str>) {
        let conflicts = plan::conflicts(plan)
            .into_iter()
            .map(|message| Rejection::new(Reason::RouteConflict, message));
        let unfit = unfit.map(|message| Rejection::new(Reason::PvcIncompatible, message));
        self.problems.extend(conflicts.chain(unfit));
    }
}

/// Whether no pass has looked at this generation of the Config yet: what is told once an edit is told now.
fn is_new(config: &Config) -> bool {
    config.status.as_ref().and_then(|status| status.observed_generation) != config.metadata.generation
}

pub(super) fn permanent(rejection: Rejection) -> Failing {
    Failing::Permanent {
        reason: rejection.reason,
        message: rejection.message,
    }
}
