//! A pass with `managementState: Managed`: resolve and complete the Config, reconcile the storage, plan, apply, report.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::controller::{Ended, Generations, Interrupted, Registry};
use super::pass::PassContext;
use super::report::Outcome;
use crate::api::{Config, Kind, ObjectRef};
use crate::apply;
use crate::config::error_class::ErrorClass;
use crate::config::resolve::{self, ManagementState, Reason, Rejection, Resolved};
use crate::names;
use crate::plan::{self, Inputs, Plan, Source, certificates, settle};
use crate::status::judge::{Failing, Operation};
use crate::storage::model::error::StorageError;
use crate::storage::{self, Freeze};

impl Registry {
    pub(super) async fn manage(&mut self, mut context: PassContext) -> Result<Ended, Interrupted> {
        self.gone_since = None;
        let mut outcome = Outcome {
            state: Some(ManagementState::Managed),
            ..Outcome::default()
        };
        let resolved = match self.resolve(&mut context).await? {
            Ok(resolved) => resolved,
            Err(rejection) => {
                outcome.failing = Some(rejection.into());
                return self.report(&context.snapshot, outcome).await;
            }
        };
        let clear_again = self.clear_probes(&mut context).await?;
        let mut stored = self.reconcile_storage(&mut context, &resolved).await?;
        let facts = self.publish_first(&mut stored, &context);
        let again = self.next_storage_step(&stored).into_iter().chain(clear_again);
        outcome.add_storage(&mut stored);
        outcome.backend = facts.as_ref().map(|f| f.backend);
        if is_new(&context.config) {
            let storage = context.config.spec.storage.as_ref();
            outcome.events.extend(storage.and_then(resolve::storage_notice));
        }
        // With facts and an error, the storage in use works. Continue with everything else.
        let storage = match (&facts, stored.freeze) {
            (Some(facts), _) => Source::Facts(facts),
            (None, Freeze::All) => return self.report(&context.snapshot, outcome).await,
            (None, Freeze::Deployment) => Source::Nowhere,
            (None, Freeze::Storage) => Source::Live,
        };
        let inputs = Inputs {
            resolved: &resolved,
            storage,
            snapshot: &context.snapshot,
        };
        let (plan, waiting) = Self::plan(&inputs);
        if let Some(facts) = &facts {
            self.publish(facts, &plan, &context);
        }
        outcome.waiting_for = waiting.as_ref().map(|(missing, _)| missing.clone());
        outcome.problems(&plan, facts.as_ref().and_then(|f| f.unfit.as_deref()));
        self.apply(&plan, &context, &mut outcome).await?;
        let not_applied = outcome.not_applied;
        let mut ended = self.report(&context.snapshot, outcome).await?;
        ended.failed |= not_applied;
        for at_most in again.chain(waiting.map(|(_, ends)| ends)) {
            ended.again = ended.again.min(at_most);
        }
        Ok(ended)
    }

    /// Validates the Config. Completes a valid Config and resolves it again.
    async fn resolve(&mut self, context: &mut PassContext) -> Result<Result<Resolved, Rejection>, Interrupted> {
        let resolved = resolve::resolve(&context.config, &context.snapshot);
        let wrote = self.complete(context, resolved.is_ok()).await?;
        Ok(match resolved {
            Ok(_) if wrote => resolve::resolve(&context.config, &context.snapshot),
            resolved => resolved,
        })
    }

    /// Longest time until the next storage step.
    fn next_storage_step(&self, stored: &storage::Outcome) -> Option<Duration> {
        let again = stored
            .again
            .map(|again| again.mul_f64(1.0 + self.context.jitter() / 4.0));
        let waited = stored.wait.as_ref().map(|wait| wait.after);
        waited.into_iter().chain(again).min()
    }

    /// Applies the plan. Before the first write it confirms that the Config is the newest version, unless the pass
    /// wrote it.
    async fn apply(&mut self, plan: &Plan, context: &PassContext, outcome: &mut Outcome) -> Result<(), Interrupted> {
        let status = context.config.status.as_ref();
        let generations = status.and_then(|s| s.generations.clone()).unwrap_or_default();
        let recorded = Generations {
            own: &self.generations,
            stored: &generations,
        };
        if apply::would_write(plan, &context.snapshot, &recorded) && !context.confirmed {
            self.confirm(&context.config).await?;
        }
        let report = apply::apply(plan, &context.snapshot, &recorded, &self.context.writer).await;
        let written: HashMap<ObjectRef, i64> = report.generations.iter().cloned().collect();
        if written.keys().any(|object| object.kind == Kind::Deployment) {
            self.deployed = Some(Instant::now());
        }
        self.generations.extend(written);
        self.context.publish_events(report.events);
        outcome.add_failures(&report.failures);
        Ok(())
    }

    /// The plan. If the first Deployment waits for its inputs, also what is missing and the longest time to wait.
    fn plan(inputs: &Inputs<'_>) -> (Plan, Option<(String, Duration)>) {
        let Inputs {
            resolved,
            storage,
            snapshot,
        } = *inputs;
        let mut plan = plan::registry(inputs);
        let exists = snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_some();
        let Some(facts) = storage.facts().filter(|_| !exists) else {
            return (plan, None); // An existing Deployment never waits, and without storage no Deployment is planned.
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
    /// Adds the findings of the storage step.
    fn add_storage(&mut self, stored: &mut storage::Outcome) {
        self.storage = stored.status_storage.take();
        self.storage_managed = Some(stored.storage_managed);
        self.conditions.append(&mut stored.conditions);
        self.own_conditions = Some(stored.own_conditions);
        self.events.append(&mut stored.events);
        self.reconfigured = stored.reconfigured;
        self.preflight = stored.preflight.take();
        self.failing = stored.error.take().map(|StorageError { class, message }| Failing {
            class,
            message: match class {
                ErrorClass::Invalid(_) => message,
                ErrorClass::ActionRequired | ErrorClass::Transient => format!("storage: {message}"),
            },
        });
        self.operation = stored.wait.take().map(|wait| Operation {
            message: wait.message,
            deadline: wait.deadline,
        });
    }

    /// Adds the failures of the writes to an earlier failure.
    fn add_failures(&mut self, failures: &[String]) {
        if failures.is_empty() {
            return;
        }
        self.not_applied = true;
        let failures = failures.join("; ");
        match &mut self.failing {
            Some(failing) => failing.message = format!("{}; {failures}", failing.message),
            None => self.failing = Some(Failing::transient(failures)),
        }
    }

    /// Adds errors that need an edit but do not stop the pass.
    fn problems(&mut self, plan: &Plan, unfit: Option<&str>) {
        let conflicts = plan::conflicts(plan)
            .into_iter()
            .map(|message| Rejection::new(Reason::RouteConflict, message));
        let unfit = unfit.map(|message| Rejection::new(Reason::PvcIncompatible, message));
        self.problems.extend(conflicts.chain(unfit));
    }
}

/// Whether this is the first pass for this generation of the Config. Some events are published once per edit.
fn is_new(config: &Config) -> bool {
    config.status.as_ref().and_then(|status| status.observed_generation) != config.metadata.generation
}
