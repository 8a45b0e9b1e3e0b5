//! Judges a pass and writes what it found: conditions always, also after an error; one write, only when something differs.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Ended, Interrupted, RESYNC, Registry};
use crate::api::registry_config::Storage;
use crate::api::{Config, Kind, ObjectRef};
use crate::config::notice::Notice;
use crate::config::resolve::{ManagementState, Rejection};
use crate::config::snapshot::{Snapshot, Undecodable};
use crate::names;
use crate::observe::Controller;
use crate::status::conditions::{Status, Verdict};
use crate::status::config_status::{self, NextStatus};
use crate::status::judge::{Failing, Findings, Removal, judge};
use crate::storage::STORAGE_CONDITIONS;

/// A status in which only texts differ is written at most this often.
const TEXT_ONLY: Duration = Duration::from_secs(1);

/// What a pass found, for its status.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) state: Option<ManagementState>,
    pub(super) failing: Option<Failing>,
    pub(super) problems: Vec<Rejection>,
    pub(super) waiting_for: Option<String>,
    pub(super) removal: Removal,
    /// New `status.storage`; `None` leaves it.
    pub(super) storage: Option<Storage>,
    pub(super) verdicts: Vec<Verdict>,
    /// Storage conditions that the active backend owns; those of others go. `None` leaves all.
    pub(super) own_conditions: Option<&'static [&'static str]>,
    pub(super) notices: Vec<Notice>,
    pub(super) reconfigured: bool,
    pub(super) backend: Option<&'static str>,
}

impl Registry {
    pub(super) async fn report(
        &mut self,
        config: &Config,
        snapshot: &Snapshot,
        outcome: Outcome,
    ) -> Result<Ended, Interrupted> {
        let failed = matches!(outcome.failing, Some(Failing::Transient { .. }))
            || matches!(outcome.removal, Removal::Failed(_));
        self.fail(outcome.failing.as_ref(), snapshot.now);
        // What this pass wrote counts, not what it began with.
        let objects = self.context.world.snapshot().objects;
        let stored = config.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        let judgement = judge(&Findings {
            state: outcome.state.unwrap_or(ManagementState::Managed),
            deployment: objects.operand(Kind::Deployment, names::REGISTRY),
            routes: wanted_routes(config).filter_map(|name| objects.operand(Kind::Route, name)).collect(),
            failing: outcome.failing,
            problems: outcome.problems,
            waiting_for: outcome.waiting_for,
            removal: outcome.removal,
            stored: &stored,
            failing_since: self.failing_since,
            now: snapshot.now,
        });
        let mut verdicts = judgement.verdicts;
        verdicts.extend(outcome.verdicts);
        verdicts.push(Verdict::new("ConfigObservationDegraded", Status::False, "", ""));
        verdicts.extend(self.context.board.verdicts());
        self.context.tell(outcome.notices);
        if outcome.reconfigured {
            self.context.metrics.storage_reconfigured();
        }
        if let Some(backend) = outcome.backend {
            self.context.metrics.storage_type(Some(backend));
        }
        let next = NextStatus {
            verdicts,
            drop: outcome.own_conditions.map(unowned).unwrap_or_default(),
            ready_replicas: judgement.ready_replicas,
            generations: self.generations.iter().map(|(o, g)| (o.clone(), *g)).collect(),
            storage: outcome.storage,
            now: snapshot.now,
        };
        let again = judgement.recheck_after.unwrap_or(RESYNC);
        let again = self.write_status(config, &next).await?.map_or(again, |later| later.min(again));
        Ok(Ended { failed, again })
    }

    /// Writes the status, if it differs. Where only texts do and the last write was a moment ago, tells when to come back.
    async fn write_status(&mut self, config: &Config, next: &NextStatus) -> Result<Option<Duration>, Interrupted> {
        let Some(patch) = config_status::patch(config, next) else { return Ok(None) };
        let since = self.status_written.map(|written| written.elapsed());
        if let Some(left) = since.and_then(|since| TEXT_ONLY.checked_sub(since))
            && config_status::only_texts_differ(config, &patch)
        {
            return Ok(Some(left));
        }
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let version = config.metadata.resource_version.as_deref();
        self.context.writer.merge_status(&reference, patch, version).await?;
        self.status_written = Some(Instant::now());
        self.context.world.trigger(Controller::ClusterOperator);
        Ok(None)
    }

    /// A Config that does not decode: its conditions are all that is read and written.
    pub(super) async fn write_undecodable(
        &mut self,
        snapshot: &Snapshot,
        undecodable: &Undecodable,
    ) -> Result<Ended, Interrupted> {
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let Some(object) = snapshot.objects.find(&reference) else { return Err(Interrupted::Stale) };
        if let Some(patch) = config_status::undecodable_patch(object, &undecodable.to_string(), snapshot.now) {
            let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
            self.context.writer.merge_status(&reference, patch, version).await?;
        }
        Ok(Ended { failed: false, again: RESYNC })
    }
}

fn unowned(own: &'static [&'static str]) -> Vec<&'static str> {
    STORAGE_CONDITIONS.iter().copied().filter(|condition| !own.contains(condition)).collect()
}

fn wanted_routes(config: &Config) -> impl Iterator<Item = &str> {
    let default = config.spec.default_route.unwrap_or(false).then_some(names::DEFAULT_ROUTE);
    default.into_iter().chain(config.spec.routes.iter().flatten().map(|r| r.name.as_str()))
}

