//! Whether the storage is there: asked only where the answer may be another than last time.

use std::time::Duration;

use super::answers::{Answer, Circumstances, Question};
use super::driver::{Driver, Ensured, Existence, Failure, Next, Step, Wait};
use super::ensure::completed;
use super::state;
use super::{Cluster, Core, STORAGE_EXISTS};
use crate::api::{Condition, Config, Kind};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{Status, Verdict};
use crate::status::deployment::Deployment;

type Ended = Result<Next<Ensured>, Failure>;

/// What the status says of the storage that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// It is in use, perhaps with other settings.
    pub in_use: bool,
    /// The managementState was turned over since.
    pub turned: bool,
}

/// Looks, or recalls what a look would tell. Also says when to look again at the latest, though nothing is waited for.
pub async fn take<D: Driver>(
    driver: &D,
    core: &Core<'_, impl Cluster>,
    step: &Step<'_>,
    known: Known,
) -> (Ended, Option<Duration>) {
    let Known { in_use, turned } = known;
    if !D::REMOTE {
        return (look(driver, step, in_use, turned).await, None);
    }
    let question = question(driver, step);
    let circumstances = circumstances(driver, step);
    if let Some((answer, again)) = core.answers.recall(&question, circumstances) {
        return (answer.into_step(), again);
    }
    let location = step.target.location.as_deref().unwrap_or_default();
    let consents = step.consent && !core.answers.consented(location);
    let complete = turned || consents || circumstances.unfinished;
    if core.answers.is_new() && step.applied && !complete && is_told(step.config) {
        let ensured = unchanged(step, Vec::new());
        let again = core
            .answers
            .note(question, Answer::Done(Box::new(ensured.clone())), circumstances);
        return (Ok(Next::Done(ensured)), again);
    }
    let mut ended = look(driver, step, in_use, complete).await;
    if let Ok(Next::Done(ensured)) = &mut ended {
        tell_of_stopped_removal(core, location, ensured);
        if std::mem::take(&mut ensured.probe_left) {
            core.answers.note_clearing(false, step.snapshot.now);
        }
        if step.consent {
            core.answers.note_consent(location);
        }
    }
    let answer = match &ended {
        Ok(Next::Done(ensured)) => Some(Answer::Done(Box::new(ensured.clone()))),
        Ok(Next::Wait(wait)) if !wait.after.is_zero() => Some(Answer::Wait(wait.clone())),
        Err(failure) if !core.cluster.is_stale() => Some(Answer::Failed(failure.clone())),
        _ => None,
    };
    let again = if let Some(answer) = answer {
        core.answers.note(question, answer, circumstances)
    } else {
        core.answers.forget();
        None
    };
    (ended, again)
}

/// Keeps the end of `ensure` for the question that is asked once the spec holds what it completed.
pub fn keep<D: Driver>(driver: &D, core: &Core<'_, impl Cluster>, step: &Step<'_>, ensured: Ensured) {
    let Ok(target) = completed(driver, step, &ensured.storage) else {
        return;
    };
    let storage = ensured.storage.clone();
    let completed = Step {
        storage: &storage,
        target: &target,
        ..*step
    };
    let question = question(driver, &completed);
    core.answers
        .note(question, Answer::Done(Box::new(ensured)), circumstances(driver, step));
}

fn question<D: Driver>(driver: &D, step: &Step<'_>) -> Question {
    Question {
        fingerprint: driver.fingerprint(step),
        generation: step.config.metadata.generation.unwrap_or_default(),
        consent: step.consent,
    }
}

fn circumstances<D: Driver>(driver: &D, step: &Step<'_>) -> Circumstances {
    Circumstances {
        now: step.snapshot.now,
        available: is_served(step.config, step.snapshot),
        unfinished: step.applied && driver.unfinished(step),
    }
}

/// Whether the registry serves, or is not wanted to.
fn is_served(config: &Config, snapshot: &Snapshot) -> bool {
    let live = snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
    config.spec.replicas == 0 || live.map(Deployment).is_some_and(|live| live.available() > 0)
}

/// Whether the status, as an earlier process left it, tells of this very generation that the storage exists.
fn is_told(config: &Config) -> bool {
    let observed = config.status.as_ref().and_then(|s| s.observed_generation);
    said_to_exist(config) && observed.is_some() && observed == config.metadata.generation
}

fn said_to_exist(config: &Config) -> bool {
    told(config, Status::True).is_some()
}

/// Whether the status says, for one of these reasons ([`Driver::GONE`]), that the storage is not there.
pub fn said_to_be_gone(config: &Config, reasons: &[&str]) -> bool {
    let reason = told(config, Status::False).and_then(|c| c.reason.as_deref());
    reason.is_some_and(|reason| reasons.contains(&reason))
}

/// `StorageExists`, where it is stored with this status.
fn told(config: &Config, status: Status) -> Option<&Condition> {
    let conditions = config.status.as_ref()?.conditions.as_deref()?;
    conditions
        .iter()
        .find(|c| c.type_ == STORAGE_EXISTS && c.status == status.text())
}

fn unchanged(step: &Step<'_>, verdicts: Vec<Verdict>) -> Ensured {
    Ensured {
        storage: step.storage.clone(),
        applied: step.config.status.as_ref().map(|status| status.storage.clone()),
        blank_state: state::mirrored(step.config),
        verdicts,
        notices: Vec::new(),
        probe_left: false,
    }
}

/// Looks whether the storage is there, and lets the driver see to it where it is not, or not as the Config says
/// (`complete`: there is something for it to do in any case).
///
/// Applied storage counts as finished only while the status says `StorageExists=True`. When storage in use vanished, the
/// status says so before anything is created anew: the images are lost, and what dies between creation and mark is then
/// finished, not taken as it is. Where `ensure` looks in any case, that is left to it: it creates nothing without an intent.
async fn look<D: Driver>(driver: &D, step: &Step<'_>, in_use: bool, complete: bool) -> Ended {
    if in_use && (!D::REMOTE || step.applied && !complete) {
        let finished = said_to_exist(step.config) && step.applied && !complete;
        match driver.exists(step).await? {
            Existence::Present(verdicts, notices) if finished => {
                return Ok(Next::Done(Ensured {
                    notices,
                    ..unchanged(step, verdicts)
                }));
            }
            Existence::Absent { reason, message } if !said_to_be_gone(step.config, D::GONE) => {
                let verdicts = vec![Verdict::new(STORAGE_EXISTS, Status::False, reason, message.clone())];
                return Ok(Next::Wait(Wait {
                    after: Duration::ZERO,
                    message,
                    verdicts,
                }));
            }
            Existence::Leaving(wait) => return Ok(Next::Wait(wait)),
            Existence::Present(..) | Existence::Absent { .. } => {}
        }
    }
    driver.ensure(step).await
}

/// A removal that the user took back has gone some of the way.
fn tell_of_stopped_removal(core: &Core<'_, impl Cluster>, location: &str, ensured: &mut Ensured) {
    let Some(objects) = core.answers.take_deleted(location) else {
        return;
    };
    let said = super::remove::stopped(objects);
    for verdict in ensured.verdicts.iter_mut().filter(|v| v.type_ == STORAGE_EXISTS) {
        verdict.message = match verdict.message.trim_end() {
            "" => said.clone(),
            message => format!("{message} {said}"),
        };
    }
    ensured.notices.push(super::remove::stopped_notice(location, objects));
}
