//! Judges a pass and writes what it found: conditions always, also after an error; one write, only when something differs.

use std::time::Duration;

use serde_json::Value;

use super::{Ended, Interrupted, RESYNC, Registry, Unstored};
use crate::api::registry_config::Storage;
use crate::api::{Kind, ObjectRef};
use crate::config::notice::Notice;
use crate::config::resolve::{ManagementState, Reason, Rejection};
use crate::config::snapshot::{Snapshot, Undecodable};
use crate::controllers::pace::without_words;
use crate::names;
use crate::observe::Controller;
use crate::status::conditions::{Status, Verdict};
use crate::status::config_status::{self, Next};
use crate::status::deployment::Deployment;
use crate::status::judge::{Failing, Findings, Preflight, Removal, judge};
use crate::storage::STORAGE_CONDITIONS;

/// How long the platform may take to look at a Deployment before it counts as a rollout.
const OBSERVED: Duration = Duration::from_millis(250);

const OBSERVATION: &str = "ConfigObservationDegraded";

/// What a pass found, for its status.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) state: Option<ManagementState>,
    pub(super) failing: Option<Failing>,
    pub(super) problems: Vec<Rejection>,
    pub(super) waiting_for: Option<String>,
    pub(super) preflight: Option<Preflight>,
    pub(super) removal: Removal,
    /// Why `spec.observedConfig` does not follow the cluster.
    pub(super) unobserved: Option<String>,
    /// New `status.storage`; `None` leaves it.
    pub(super) storage: Option<Storage>,
    /// New `status.storageManaged`; `None` leaves it.
    pub(super) storage_managed: Option<bool>,
    pub(super) verdicts: Vec<Verdict>,
    /// Storage conditions that the active backend owns; those of others go. `None` leaves all.
    pub(super) own_conditions: Option<&'static [&'static str]>,
    pub(super) notices: Vec<Notice>,
    pub(super) reconfigured: bool,
    pub(super) backend: Option<&'static str>,
}

impl Registry {
    /// `snapshot` holds the Config as the pass left it.
    pub(super) async fn report(&mut self, snapshot: &Snapshot, outcome: Outcome) -> Result<Ended, Interrupted> {
        let failed =
            matches!(outcome.failing, Some(Failing::Transient { .. })) || matches!(outcome.removal, Removal::Failed(_));
        self.fail(&outcome, snapshot.now);
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let Some(config) = snapshot.objects.find(&reference).cloned() else {
            return Err(Interrupted::Stale);
        };
        let stored = config.get("status").cloned().unwrap_or_default();
        let conditions = config_status::stored_conditions(&stored);
        // What this pass wrote counts, not what it began with.
        let objects = self.context.world.snapshot().objects;
        let judgement = judge(&Findings {
            state: outcome.state.unwrap_or(ManagementState::Managed),
            deployment: objects.operand(Kind::Deployment, names::REGISTRY),
            routes: wanted_routes(&config)
                .into_iter()
                .filter_map(|name| objects.operand(Kind::Route, &name))
                .collect(),
            failing: outcome.failing,
            problems: outcome.problems,
            waiting_for: outcome.waiting_for,
            preflight: outcome.preflight,
            removal: outcome.removal,
            stored: &conditions,
            failing_since: self.failing_since,
            now: snapshot.now,
        });
        let mut verdicts = judgement.verdicts;
        verdicts.extend(outcome.verdicts);
        verdicts.push(match outcome.unobserved {
            Some(message) => Verdict::new(OBSERVATION, Status::True, "Error", message),
            None => Verdict::new(OBSERVATION, Status::False, "", ""),
        });
        verdicts.extend(self.context.board.verdicts());
        self.context.tell(outcome.notices);
        let mut gone = outcome.own_conditions.map(unowned).unwrap_or_default();
        gone.extend(self.context.board.dropped());
        let own = self.generations.iter().map(|(object, g)| (object.clone(), *g));
        let generations: Vec<_> = own.chain(self.context.board.generations()).collect();
        let next = config_status::next_status(
            &stored,
            &Next {
                generation: config
                    .pointer("/metadata/generation")
                    .and_then(Value::as_i64)
                    .unwrap_or_default(),
                ready_replicas: judgement.ready_replicas,
                generations: &generations,
                storage: outcome.storage.as_ref(),
                storage_managed: outcome.storage_managed,
                verdicts: &verdicts,
                drop: &gone,
                now: snapshot.now,
            },
        );
        self.note_backend(&next, outcome.backend);
        let again = judgement.recheck_after.unwrap_or(RESYNC);
        let later = self.write_status(&config, &stored, &next).await?;
        if later.is_none() {
            self.context.hear(Controller::Registry);
            // A switch is found in each pass until the status tells of it.
            if outcome.reconfigured {
                self.context.metrics.storage_reconfigured();
            }
        }
        Ok(Ended {
            failed,
            again: later.map_or(again, |later| later.min(again)),
        })
    }

    /// A Config that does not decode: its conditions are all that is read and written.
    pub(super) async fn report_undecodable(
        &mut self,
        snapshot: &Snapshot,
        undecodable: &Undecodable,
    ) -> Result<Ended, Interrupted> {
        let message = format!("{undecodable}: mend the field with `oc edit`; nothing is changed until then");
        let failing = Some(Failing::Permanent {
            reason: Reason::InvalidConfig,
            message,
        });
        self.report(
            snapshot,
            Outcome {
                failing,
                ..Outcome::default()
            },
        )
        .await
    }

    /// A Config that takes no write: everything else of the pass waits for it.
    pub(super) async fn report_unstored(&mut self, unstored: &Unstored) -> Result<Ended, Interrupted> {
        let Unstored { error, observed } = unstored;
        let message = format!(
            "Config {} cannot be written, and nothing goes out before it can: {error}. See which right, admission policy \
             or webhook keeps the operator from it",
            names::CLUSTER
        );
        let snapshot = self.context.world.snapshot();
        let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER);
        let deleting = config.is_some_and(|c| c.pointer("/metadata/deletionTimestamp").is_some());
        let mut outcome = Outcome {
            state: ManagementState::stored(&snapshot),
            unobserved: observed.then(|| message.clone()),
            ..Outcome::default()
        };
        if *observed {
            outcome.notices.push(Notice {
                warning: true,
                reason: "ObservedConfigWriteError",
                note: message.clone(),
            });
        }
        self.unstored = Some(message.clone());
        if deleting {
            outcome.removal = Removal::Failed(message);
        } else {
            outcome.failing = Some(Failing::Transient { message });
        }
        self.report(&snapshot, outcome).await
    }

    /// Writes the status, if it differs. Where the write has to wait, tells when to come back.
    async fn write_status(
        &mut self,
        config: &Value,
        stored: &Value,
        next: &Value,
    ) -> Result<Option<Duration>, Interrupted> {
        if !config_status::differs(stored, next) {
            return Ok(None);
        }
        let heard = self.context.has_heard(Controller::Registry);
        let hold = self.pace.hold(stored, next, heard);
        if let Some(left) = hold.or_else(|| self.unobserved(stored, next)) {
            return Ok(Some(left));
        }
        let reference = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let patch = config_status::merge_patch(stored, next);
        self.context.writer.merge_status(&reference, config, &patch).await?;
        self.pace.wrote();
        self.context.world.trigger(Controller::ClusterOperator);
        Ok(None)
    }

    /// For how long to wait until the platform has looked at the Deployment that was just written: most writes (a new
    /// release's mark, the first one after another operator) roll nothing out, and then nothing progresses.
    fn unobserved(&self, stored: &Value, next: &Value) -> Option<Duration> {
        let left = OBSERVED
            .checked_sub(self.deployed?.elapsed())
            .filter(|left| !left.is_zero())?;
        let objects = self.context.world.snapshot().objects;
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

/// A status without words, and without what says that a rollout is under way.
fn without_progress(status: &Value) -> Value {
    let mut status = without_words(status);
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

/// Names of the Routes that a Config asks for. Read from JSON: conditions are judged also where the Config does not decode.
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
