//! Checks whether the storage exists, if the result may differ from the cached one.

use std::time::Duration;

use super::cache::{Circumstances, Observation, Subject};
use super::context::Engine;
use crate::api::{Condition, Config, Kind, Storage};
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::status::deployment::Deployment;
use crate::storage::model::error::{StepError, StorageError};
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::{Ensured, Existence, Progress, Wait};
use crate::storage::model::state;
use crate::storage::model::target::{Request, Target};
use crate::storage::traits::{Cluster, Driver};

type Step = Result<Progress<Ensured>, StepError>;

/// Runs the step, or returns its cached result. Also returns the longest time until the next check, if no operation is
/// in progress.
pub(super) async fn check_cached<D: Driver>(
    driver: &D,
    engine: &Engine<'_, impl Cluster>,
    request: &Request<'_>,
) -> (Step, Option<Duration>) {
    if !D::REMOTE {
        return (check(driver, request, request.state_changed).await, None);
    }
    let subject = subject(driver, request);
    let circumstances = circumstances(driver, request);
    if let Some((observation, again)) = engine.cache.recall(&subject, circumstances) {
        return (observation.into_step(), again);
    }
    let location = request.target.location.as_deref().unwrap_or_default();
    let consents = request.consent && !engine.cache.is_consent_handled(location);
    let incomplete = request.state_changed || consents || circumstances.unfinished;
    if engine.cache.is_new() && request.applied && !incomplete && is_reported(request.config) {
        let ensured = unchanged(request, Vec::new(), Vec::new());
        let again = engine.cache.inherit(subject, ensured.clone(), circumstances);
        return (Ok(Progress::Done(ensured)), Some(again));
    }
    if !circumstances.available {
        // The pods may have lost their keys.
        engine.cache.recheck_access();
    }
    let mut step = check(driver, request, incomplete).await;
    if let Ok(Progress::Done(ensured)) = &mut step {
        report_stopped_removal(engine, location, ensured);
        if std::mem::take(&mut ensured.probe_left) {
            engine.cache.store_leftovers(false, request.snapshot.now);
        }
        engine.cache.store_consent(request.consent.then_some(location));
    }
    let observation = match &step {
        Ok(Progress::Done(ensured)) => Some(Observation::Done(Box::new(ensured.clone()))),
        Ok(Progress::Wait(wait)) if !wait.after.is_zero() => Some(Observation::Wait(wait.clone())),
        Err(failed) if !engine.cluster.is_stale() => Some(Observation::Failed(failed.clone())),
        _ => None,
    };
    let again = if let Some(observation) = observation {
        engine.cache.store(subject, observation, circumstances)
    } else {
        engine.cache.forget();
        None
    };
    (step, again)
}

/// The target of the spec that the driver completed. The storage is usable even if the snapshot does not show it yet.
pub(super) fn completed_target<D: Driver>(
    driver: &D,
    request: &Request<'_>,
    storage: &Storage,
) -> Result<Target, StorageError> {
    let target = driver.resolve(request.config, storage, request.snapshot)?;
    Ok(Target {
        ca_bundle: request.target.ca_bundle.clone(),
        not_usable: None,
        ..target
    })
}

/// Caches the result of `ensure` for the next request, whose spec contains what `ensure` filled in.
pub(super) fn cache_completed<D: Driver>(
    driver: &D,
    engine: &Engine<'_, impl Cluster>,
    request: &Request<'_>,
    ensured: Ensured,
) {
    let Ok(target) = completed_target(driver, request, &ensured.storage) else {
        return;
    };
    let storage = ensured.storage.clone();
    let completed = Request {
        storage: &storage,
        target: &target,
        ..*request
    };
    let subject = subject(driver, &completed);
    let observation = Observation::Done(Box::new(ensured));
    engine.cache.store(subject, observation, circumstances(driver, request));
}

fn subject<D: Driver>(driver: &D, request: &Request<'_>) -> Subject {
    Subject {
        fingerprint: driver.fingerprint(request),
        generation: request.config.metadata.generation.unwrap_or_default(),
        consent: request.consent,
    }
}

fn circumstances<D: Driver>(driver: &D, request: &Request<'_>) -> Circumstances {
    Circumstances {
        now: request.snapshot.now,
        available: is_served(request.config, request.snapshot),
        unfinished: request.applied && driver.unfinished(request),
    }
}

/// Whether the registry has an available pod, or should have none.
fn is_served(config: &Config, snapshot: &Snapshot) -> bool {
    let live = snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
    config.spec.replicas == 0 || live.map(Deployment).is_some_and(|live| live.available() > 0)
}

/// Whether an earlier process reported for this generation of the Config that the storage exists.
fn is_reported(config: &Config) -> bool {
    let observed = config.status.as_ref().and_then(|s| s.observed_generation);
    is_said_to_exist(config) && observed.is_some() && observed == config.metadata.generation
}

pub(super) fn is_said_to_exist(config: &Config) -> bool {
    stored_existence(config, Status::True).is_some()
}

/// Whether the status says, with one of these reasons ([`Driver::GONE`]), that the storage does not exist.
pub(super) fn is_said_to_be_gone(config: &Config, reasons: &[&str]) -> bool {
    let reason = stored_existence(config, Status::False).and_then(|c| c.reason.as_deref());
    reason.is_some_and(|reason| reasons.contains(&reason))
}

/// The stored `StorageExists`, if it has this status.
fn stored_existence(config: &Config, status: Status) -> Option<&Condition> {
    let conditions = config.status.as_ref()?.conditions.as_deref()?;
    conditions
        .iter()
        .find(|c| c.type_ == STORAGE_EXISTS && c.status == status.text())
}

fn unchanged(request: &Request<'_>, conditions: Vec<ConditionUpdate>, events: Vec<EventRequest>) -> Ensured {
    Ensured {
        storage: request.storage.clone(),
        applied: request.config.status.as_ref().map(|status| status.storage.clone()),
        blank_state: state::mirrored(request.config),
        conditions,
        creation: None,
        events,
        probe_left: false,
        final_settings: None,
        again: None,
    }
}

/// Checks whether the storage exists. Runs `ensure` if it does not exist or differs from the Config. `incomplete`:
/// `ensure` must run in any case. Storage with objects around it that somebody may have changed is looked at by `ensure`, once for
/// each generation of the Config.
///
/// Applied storage is complete only while the status says `StorageExists=True`. After a loss of storage in use, the
/// status reports the loss before the storage is created again, so that a crash between creation and ownership mark
/// leaves no container that counts as complete. If `ensure` runs in any case, it does this check itself: it creates
/// nothing without a creation record.
async fn check<D: Driver>(driver: &D, request: &Request<'_>, incomplete: bool) -> Step {
    if request.in_use && (!D::REMOTE || request.applied && !incomplete) {
        let finished =
            is_said_to_exist(request.config) && request.applied && !incomplete && !driver.maintained(request);
        match driver.exists(request).await? {
            Existence::Present(conditions, events) if finished => {
                return Ok(Progress::Done(unchanged(request, conditions, events)));
            }
            Existence::Absent { reason, message } if !is_said_to_be_gone(request.config, D::GONE) => {
                let condition = ConditionUpdate::new(STORAGE_EXISTS, Status::False, reason, message.clone());
                return Ok(Progress::Wait(Wait::new(Duration::ZERO, message).with(vec![condition])));
            }
            Existence::Leaving(wait) => return Ok(Progress::Wait(wait)),
            Existence::Present(..) | Existence::Absent { .. } => {}
        }
    }
    driver.ensure(request).await
}

/// Reports that a removal deleted a part of the storage before the user stopped it.
fn report_stopped_removal(engine: &Engine<'_, impl Cluster>, location: &str, ensured: &mut Ensured) {
    let Some(objects) = engine.cache.take_deleted(location) else {
        return;
    };
    let stopped = super::stopped::message(objects);
    for condition in ensured.conditions.iter_mut().filter(|c| c.type_ == STORAGE_EXISTS) {
        condition.message = match condition.message.trim_end() {
            "" => stopped.clone(),
            message => format!("{message} {stopped}"),
        };
    }
    ensured.events.push(super::stopped::event(location, objects));
}
