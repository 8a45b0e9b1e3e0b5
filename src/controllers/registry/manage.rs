//! A pass with `managementState: Managed`: resolve and complete the Config, reconcile the storage, plan, apply, report.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::controller::{Ended, Generations, Interrupted, Registry};
use super::pass::PassContext;
use super::report::Outcome;
use crate::api::{Config, Kind, ObjectRef};
use crate::apply::{self, Failure, Recorded as _};
use crate::config::error_class::ErrorClass;
use crate::config::notice;
use crate::config::resolve::{self, ManagementState, Reason, Rejection, Resolved};
use crate::names;
use crate::plan::{self, Inputs, Plan, Source, certificates, exposure, settle};
use crate::status::judge::{Failing, Operation};
use crate::storage::model::error::StorageError;
use crate::storage::{self, Freeze};

impl Registry {
    pub(super) async fn manage(&mut self, mut context: PassContext) -> Result<Ended, Interrupted> {
        (self.gone_since, self.left_since) = (None, None);
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
        outcome.add_failing(self.security_asked.fault.clone());
        outcome.backend = facts.as_ref().map(|f| f.backend);
        if is_new(&context.config) {
            let program = context.snapshot.environment.program;
            outcome.events.extend(notice::notices(&context.config.spec, program));
        }
        // With facts and an error, the storage in use works. Continue with everything else.
        let storage = match (&facts, stored.freeze) {
            (Some(facts), _) => Source::Facts(facts),
            (None, Freeze::All) => return self.report(&context.snapshot, outcome).await,
            (None, Freeze::Deployment) => Source::Nowhere,
            (None, Freeze::Storage) => Source::Live,
        };
        self.ensure_login(&mut context, &resolved, &mut outcome).await?;
        let inputs = Inputs {
            resolved: &resolved,
            storage,
            snapshot: &context.snapshot,
            recorded: self.recorded(&context.config),
        };
        let (plan, waiting) = Self::plan(&inputs);
        if let Some(facts) = &facts {
            self.publish(facts, &plan, &context);
        }
        outcome.waiting_for = waiting.as_ref().map(|(missing, _)| missing.clone());
        outcome.problems(&plan, facts.as_ref().and_then(|f| f.unfit.as_deref()));
        outcome.problems.extend(exposure::refused(&resolved));
        self.apply(&plan, &context, &mut outcome).await?;
        let not_applied = outcome.not_applied;
        let mut ended = self.report(&context.snapshot, outcome).await?;
        ended.failed |= not_applied || self.security_asked.fault.is_some();
        let again = again.chain(self.security_asked.again);
        for at_most in again.chain(waiting.map(|(_, ends)| ends)) {
            ended.again = ended.again.min(at_most);
        }
        Ok(ended)
    }

    /// Validates and completes the Config, and validates again what it wrote: new `spec.observedConfig` may be what makes the Config
    /// valid. `spec.httpSecret` is added to a valid Config only, so that this may need two writes. No Deployment may lack the secret.
    async fn resolve(&mut self, context: &mut PassContext) -> Result<Result<Resolved, Rejection>, Interrupted> {
        let mut resolved = resolve::resolve(&context.config, &context.snapshot);
        for _ in 0..2 {
            if !self.complete(context, resolved.is_ok()).await? {
                break;
            }
            resolved = resolve::resolve(&context.config, &context.snapshot);
        }
        Ok(resolved)
    }

    /// Longest time until the next storage step.
    fn next_storage_step(&self, stored: &storage::Outcome) -> Option<Duration> {
        let again = stored
            .again
            .map(|again| again.mul_f64(1.0 + self.context.jitter() / 4.0));
        let waited = stored.wait.as_ref().map(|wait| wait.after);
        waited.into_iter().chain(again).min()
    }

    /// `metadata.generation` of the Deployment after the last write of an operator; `None` if it is not known.
    fn recorded(&self, config: &Config) -> Option<i64> {
        let status = config.status.as_ref();
        let recorded = Generations {
            own: &self.generations,
            stored: status.and_then(|s| s.generations.as_deref()).unwrap_or_default(),
        };
        recorded.generation(&ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY))
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
        if apply::would_write(plan, &context.snapshot, &recorded) && !context.confirmed.get() {
            self.confirm(&context.config).await?;
        }
        let mut report = apply::apply(plan, &context.snapshot, &recorded, &self.context.writer).await;
        let written: HashMap<ObjectRef, i64> = report.generations.iter().cloned().collect();
        if written.keys().any(|object| object.kind == Kind::Deployment) {
            self.deployed = Some(Instant::now());
        }
        self.generations.extend(written);
        self.context.publish_report(&mut report);
        outcome.add_failures(report.failures);
        Ok(())
    }

    /// The plan. If the first Deployment waits for its inputs, also what is missing and the longest time to wait.
    fn plan(inputs: &Inputs<'_>) -> (Plan, Option<(String, Duration)>) {
        let Inputs {
            resolved,
            storage,
            snapshot,
            recorded: _,
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
                ErrorClass::ActionRequired | ErrorClass::NoAccess | ErrorClass::Transient => {
                    format!("storage: {message}")
                }
            },
        });
        self.operation = stored.wait.take().map(|wait| Operation {
            message: wait.message,
            deadline: wait.deadline,
        });
    }

    /// Adds the failures of the writes to an earlier failure. What the API server refuses for its content is a mistake in
    /// the Config: the pass is retried only if something else failed too, or if no field of the Config explains it.
    pub(super) fn add_failures(&mut self, failures: Vec<Failure>) {
        let is_invalid = |failure: &Failure| matches!(failure.class, ErrorClass::Invalid(_));
        self.not_applied |= failures
            .iter()
            .any(|failure| !is_invalid(failure) || !failure.explained);
        let (refused, failed): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_invalid);
        self.add_failing(joined(failed));
        let Some(refused) = joined(refused) else { return };
        let rejection = Rejection::new(Reason::InvalidConfig, refused);
        match &self.failing {
            Some(_) => self.problems.push(rejection),
            None => self.failing = Some(rejection.into()),
        }
    }

    /// Adds an error that is retried to an earlier one.
    fn add_failing(&mut self, failed: Option<String>) {
        let Some(failed) = failed else { return };
        match &mut self.failing {
            Some(failing) => failing.message = format!("{}; {failed}", failing.message),
            None => self.failing = Some(Failing::transient(failed)),
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

/// The messages of failures as one; `None` if there are none.
fn joined(failures: Vec<Failure>) -> Option<String> {
    let messages: Vec<_> = failures.into_iter().map(|failure| failure.message).collect();
    (!messages.is_empty()).then(|| messages.join("; "))
}

/// Whether this is the first pass for this generation of the Config. Some events are published once per edit.
fn is_new(config: &Config) -> bool {
    config.status.as_ref().and_then(|status| status.observed_generation) != config.metadata.generation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: ErrorClass, explained: bool, message: &str) -> Failure {
        Failure {
            class,
            explained,
            message: message.to_owned(),
        }
    }

    // spec/README 12
    #[test]
    fn refused_content_waits_for_an_edit_and_everything_else_is_retried() {
        let invalid = ErrorClass::Invalid(Reason::InvalidConfig);
        let refused = || failure(invalid, true, "refused");
        let policy = || failure(invalid, false, "policy");
        let unanswered = || failure(ErrorClass::Transient, false, "503");
        let denied = || failure(ErrorClass::ActionRequired, false, "403");
        let before = || Some(Failing::transient("storage"));
        // The class of `failing`, the number of `problems`, and whether the pass is retried.
        for (earlier, failures, class, problems, retried) in [
            (None, vec![], None, 0, false),
            (None, vec![refused()], Some(invalid), 0, false),
            (None, vec![refused(), refused()], Some(invalid), 0, false),
            (None, vec![policy()], Some(invalid), 0, true),
            (None, vec![refused(), policy()], Some(invalid), 0, true),
            (None, vec![unanswered()], Some(ErrorClass::Transient), 0, true),
            (None, vec![denied()], Some(ErrorClass::Transient), 0, true),
            (
                None,
                vec![refused(), unanswered()],
                Some(ErrorClass::Transient),
                1,
                true,
            ),
            (
                None,
                vec![unanswered(), refused()],
                Some(ErrorClass::Transient),
                1,
                true,
            ),
            (before(), vec![refused()], Some(ErrorClass::Transient), 1, false),
            (before(), vec![unanswered()], Some(ErrorClass::Transient), 0, true),
            (before(), vec![], Some(ErrorClass::Transient), 0, false),
        ] {
            let described = format!("{earlier:?} {failures:?}");
            let mut outcome = Outcome {
                failing: earlier,
                ..Outcome::default()
            };
            outcome.add_failures(failures.clone());
            assert_eq!(
                outcome.failing.as_ref().map(|failing| failing.class),
                class,
                "{described}"
            );
            assert_eq!(outcome.problems.len(), problems, "{described}");
            assert_eq!(outcome.not_applied, retried, "{described}");
            let told: Vec<_> = outcome.failing.iter().map(|failing| failing.message.as_str()).collect();
            let told = told
                .into_iter()
                .chain(outcome.problems.iter().map(|problem| problem.message.as_str()));
            let told: Vec<_> = told.collect();
            assert!(
                failures
                    .iter()
                    .all(|failure| told.iter().any(|text| text.contains(&failure.message))),
                "{told:?}"
            );
        }
    }
}
