//! `Managed`: complete, resolve, storage, plan, apply, report.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::cluster::OnBehalf;
use super::report::Outcome;
use super::{Ended, Generations, Interrupted, Registry};
use crate::api::{Config, Kind, ObjectRef};
use crate::apply;
use crate::config::facts::StorageFacts;
use crate::config::resolve::{self, ManagementState, Reason, Rejection, Resolved};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, Inputs, Plan, certificates, settle};
use crate::status::judge::Failing;
use crate::storage::fault::{Class, Fault};
use crate::storage::http::Proxies;
use crate::storage::preflight::{self, Pods};
use crate::storage::{self, Cluster as _};

impl Registry {
    pub(super) async fn manage(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
        let valid = resolve::resolve(&config, &snapshot).is_ok();
        let (config, snapshot, mut confirmed) = self.complete(config, snapshot, valid).await?;
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
        let (config, snapshot, wrote, mut stored) = self.store_storage(config, snapshot, &resolved).await?;
        confirmed |= wrote;
        outcome.take_storage(&mut stored);
        if is_new(&config) {
            outcome
                .notices
                .extend(config.spec.storage.as_ref().and_then(resolve::storage_notice));
        }
        let again = stored.wait.as_ref().map(|(after, _)| *after);
        // Facts beside a fault: the storage in use is not the one at fault, all else goes on.
        let Some(facts) = stored.facts.take() else {
            return self.report(&snapshot, outcome).await;
        };
        if self.context.board.set_storage_ca(facts.ca_bundle.clone()) {
            self.context.world.trigger(Controller::Certificates);
        }
        let snapshot = Snapshot {
            objects: self.context.world.snapshot().objects,
            ..snapshot
        };
        let (plan, waiting) = Self::plan(&resolved, &facts, &snapshot);
        outcome.waiting_for = waiting.as_ref().map(|(missing, _)| missing.clone());
        outcome.problems(&plan, facts.unfit.as_deref());
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
        if !report.failures.is_empty() && outcome.failing.is_none() {
            outcome.failing = Some(Failing::Transient {
                message: report.failures.join("; "),
            });
        }
        let mut ended = self.report(&snapshot, outcome).await?;
        for at_most in again.into_iter().chain(waiting.map(|(_, ends)| ends)) {
            ended.again = ended.again.min(at_most);
        }
        Ok(ended)
    }

    /// Steps of the storage until it rests; what each wants recorded is stored before the next.
    async fn store_storage(
        &mut self,
        mut config: Box<Config>,
        mut snapshot: Snapshot,
        resolved: &Resolved,
    ) -> Result<(Box<Config>, Snapshot, bool, storage::Outcome), Interrupted> {
        let pods = Pods {
            differs: &|_| false,
            via: Proxies {
                http: preflight::proxy(resolved.proxy.http.as_ref()),
                https: preflight::proxy(resolved.proxy.https.as_ref()),
                no_proxy: resolved.proxy.no_proxy.clone(),
            },
            read_only: resolved.read_only,
        };
        let mut wrote = false;
        let mut notices = Vec::new();
        loop {
            let cluster = OnBehalf::new(&self.context.writer, &config);
            let mut stored = storage::ensure(&config, &snapshot, &cluster, &self.context.cloud, &pods).await;
            if cluster.is_stale() {
                return Err(Interrupted::Stale);
            }
            let record = stored.record.take().unwrap_or_default();
            let recorded;
            (config, snapshot, recorded) = self.store(config, snapshot, record).await?;
            wrote |= recorded;
            notices.append(&mut stored.notices);
            let at_once = stored.wait.as_ref().is_some_and(|(after, _)| after.is_zero());
            if recorded && at_once && stored.fault.is_none() {
                snapshot.objects = self.context.world.snapshot().objects;
                continue;
            }
            stored.notices = notices;
            return Ok((config, snapshot, wrote, stored));
        }
    }

    /// The plan; and, where the first Deployment waits for its inputs, what is missing and for how long at most.
    fn plan(resolved: &Resolved, facts: &StorageFacts, snapshot: &Snapshot) -> (Plan, Option<(String, Duration)>) {
        let inputs = Inputs {
            resolved,
            facts,
            snapshot,
        };
        let mut plan = plan::registry(&inputs);
        if snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_some() {
            return (plan, None); // an existing Deployment never waits
        }
        let certificates =
            certificates::certificates(snapshot, facts.ca_bundle.as_deref(), resolved.disable_redirect, false);
        let missing = settle::unsettled(&inputs, &plan, &certificates);
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
        self.backend = stored.facts.as_ref().map(|f| f.backend);
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
