//! Removal of what `status.storage` names, for every backend alike. When in doubt the data stays.

use serde_json::Value;

use super::answers::Answers;
use super::driver::{Deleted, Driver, Failure, Mark, Removable, Step, Target, Wait};
use super::ensure::{Intent, consents};
use super::fault::Fault;
use super::state::{self, State};
use super::{Cluster, Core, Outcome, STORAGE_EXISTS, block};
use crate::api::{Config, Storage};
use crate::config::notice::Notice;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{Status, Verdict};

/// Proof that the storage carries the operator's mark, read in this very step. Only core makes one.
#[derive(Debug)]
pub struct OwnershipProof {
    pin: String,
}

impl OwnershipProof {
    /// What pins the object that the mark was read from ([`Mark::Ours`]).
    pub fn pin(&self) -> &str {
        &self.pin
    }
}

/// Whether data may be deleted.
enum Gate {
    /// Both states are Managed, the stored one by an earlier pass, for the storage that the status names.
    Open,
    /// It is not ours to delete.
    Closed,
    /// `Managed` is asked for, but no pass ever ran under it.
    Raised,
}

fn gate(config: &Config, deleting_config: bool) -> Gate {
    if deleting_config && ManagementState::of(config) == ManagementState::Unmanaged {
        return Gate::Closed;
    }
    match (state::asked(config), state::stored(config)) {
        (Some(State::Managed), Some(State::Managed)) => Gate::Open,
        (Some(State::Managed), _) => Gate::Raised,
        _ => Gate::Closed,
    }
}

/// The end of a removal: no storage is applied any more.
pub fn forget(config: &Config) -> Outcome {
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    let status_storage = (!block::same(&stored, &Storage::default())).then(Storage::default);
    let unchanged = Outcome::unchanged(config);
    Outcome {
        status_storage,
        // A `Managed` of the spec that equals the mirror counts as left over: one that is asked for later must not.
        storage_managed: unchanged.storage_managed && state::asked(config) == Some(State::Managed),
        done: true,
        ..unchanged
    }
}

/// One step.
pub async fn remove<D: Removable>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    core: &Core<'_, impl Cluster>,
    deleting_config: bool,
) -> Outcome {
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    let own = |outcome: Outcome| Outcome {
        own_conditions: D::CONDITIONS,
        ..outcome
    };
    let kept = block::describe(&stored, D::NAME);
    if kept == D::NAME {
        return own(forget(config)); // no storage is named
    }
    // Where it is may not be told any more, though it is named: then nothing can be deleted, and nothing is forgotten.
    let location = D::locate(&stored, snapshot).unwrap_or_default();
    match gate(config, deleting_config) {
        Gate::Open => {}
        Gate::Closed => {
            let mut left = let_go(core, config, &location, D::EXISTS);
            left.verdicts
                .extend(untold_end(driver, config, snapshot, &stored, &location).await);
            return own(left);
        }
        Gate::Raised => return own(keep::<D>(config, &location, &raised(&kept))),
    }
    let target = match located(driver, config, &stored, snapshot, &location) {
        Ok(target) => target,
        Err(fault) => {
            return own(Outcome {
                fault: Some(fault),
                ..Outcome::unchanged(config)
            });
        }
    };
    let intent = Intent::stored(config, Some(&location));
    let step = step(config, snapshot, &stored, &target, intent.as_ref());
    let ended = match driver.prove(&step).await {
        Ok(Mark::Gone) => return gone(driver, core, &step, deleting_config, &location),
        Ok(Mark::Missing(what)) if step.intent.is_some() => Err(unmarked::<D>(&kept, &what)),
        Ok(Mark::Missing(why) | Mark::NotOurs(why)) => {
            let deleted = core.answers.take_deleted(&location);
            let deleted = deleted.map(|objects| format!("; {}", stopped(objects)));
            let message = format!("{kept} was kept with its images: {why}{}", deleted.unwrap_or_default());
            return own(keep::<D>(config, &location, &message));
        }
        Ok(Mark::Ours(pin)) => delete(driver, core.cluster, &step, &OwnershipProof { pin }).await,
        Err(failure) => Err(failure),
    };
    own(match ended {
        Ok(deleted) => went::<D>(core, config, &kept, &location, deleted),
        Err(failure) => stuck(config, failure),
    })
}

/// A step deleted something.
fn went<D: Removable>(
    core: &Core<'_, impl Cluster>,
    config: &Config,
    kept: &str,
    location: &str,
    deleted: Deleted,
) -> Outcome {
    let Deleted { objects, next } = deleted;
    let all = if D::REMOTE {
        core.answers.count_deleted(location, objects)
    } else {
        0
    };
    let Wait {
        after,
        mut message,
        mut verdicts,
    } = match next {
        Ok(wait) => wait,
        Err(failure) => return stuck(config, failure),
    };
    if D::REMOTE {
        message = format!("{message}; {all} objects are deleted so far");
        let told = verdicts.iter().any(|v| v.type_ == STORAGE_EXISTS);
        let verdict = || Verdict::new(STORAGE_EXISTS, Status::True, D::EXISTS, format!("{kept}: {message}"));
        verdicts.extend((!told).then(verdict));
    }
    Outcome {
        verdicts,
        wait: Some((after, message)),
        ..Outcome::unchanged(config)
    }
}

fn stuck(config: &Config, failure: Failure) -> Outcome {
    let Failure { fault, verdicts } = failure;
    Outcome {
        verdicts,
        fault: Some(fault),
        ..Outcome::unchanged(config)
    }
}

/// A removal whose end was recorded and not told, because the process died or the status could not be written in between:
/// the spec names neither a state nor this storage any more. Looks what became of it, and changes nothing.
async fn untold_end<D: Removable>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    stored: &Storage,
    location: &str,
) -> Vec<Verdict> {
    let named = config.spec.storage.as_ref().and_then(|spec| D::locate(spec, snapshot));
    let recorded = state::asked(config).is_none() && named.as_deref() != Some(location);
    let begun =
        state::stored(config) == Some(State::Managed) && ManagementState::of(config) != ManagementState::Unmanaged;
    let Some(target) = (recorded && begun)
        .then(|| located(driver, config, stored, snapshot, location).ok())
        .flatten()
    else {
        return Vec::new();
    };
    let step = step(config, snapshot, stored, &target, None);
    match driver.prove(&step).await {
        Ok(Mark::Gone) => driver.removed(location),
        Ok(_) => {
            let message = format!("{} is there, and is left alone.", block::describe(stored, D::NAME));
            vec![Verdict::new(STORAGE_EXISTS, Status::True, D::EXISTS, message)]
        }
        Err(failure) => failure.verdicts,
    }
}

fn step<'a>(
    config: &'a Config,
    snapshot: &'a Snapshot,
    storage: &'a Storage,
    target: &'a Target,
    intent: Option<&'a Intent>,
) -> Step<'a> {
    Step {
        config,
        snapshot,
        storage,
        target,
        state: Some(State::Managed),
        defaulted: false,
        applied: true,
        intent,
        consent: false,
    }
}

/// What the block of the status means, and where that is.
fn located<D: Removable>(
    driver: &D,
    config: &Config,
    stored: &Storage,
    snapshot: &Snapshot,
    location: &str,
) -> Result<Target, Fault> {
    let mut target = driver.resolve(config, stored, snapshot)?;
    if location.is_empty() {
        let message = format!(
            "it cannot be told where {} is, so that nothing was deleted: restore what it depends on, or set \
             spec.storage.managementState to Unmanaged to keep the data and finish the removal",
            block::describe(stored, D::NAME)
        );
        return Err(Fault::config(message));
    }
    if let Some(bundle) = driver.ca_bundle(stored, snapshot)? {
        target.facts.ca_bundle = Some(bundle);
    }
    Ok(target)
}

/// The end of a removal that deleted everything.
fn gone<D: Removable>(
    driver: &D,
    core: &Core<'_, impl Cluster>,
    step: &Step<'_>,
    deleting_config: bool,
    location: &str,
) -> Outcome {
    core.answers.forget();
    core.answers.take_deleted(location);
    let record = if deleting_config {
        None
    } else {
        record::<D>(step.config, step.snapshot, location)
    };
    let storage_managed = deleting_config && Outcome::unchanged(step.config).storage_managed;
    Outcome {
        record,
        storage_managed,
        verdicts: driver.removed(location),
        // The others are about settings of what is gone.
        own_conditions: &[STORAGE_EXISTS],
        ..forget(step.config)
    }
}

/// Ends a removal of storage that is not ours to delete; where some of it went before it was taken back, says so.
fn let_go(core: &Core<'_, impl Cluster>, config: &Config, location: &str, reason: &str) -> Outcome {
    let left = leave(config, location);
    let Some(objects) = core.answers.take_deleted(location) else {
        return left;
    };
    let verdict = Verdict::new(STORAGE_EXISTS, Status::True, reason, stopped(objects));
    Outcome {
        verdicts: vec![verdict],
        notices: vec![stopped_notice(location, objects)],
        ..left
    }
}

/// Storage that stays is forgotten, with the record that the operator was about to create it, or did: named again, it is
/// the user's.
fn leave(config: &Config, location: &str) -> Outcome {
    let spec = config.spec.storage.clone().unwrap_or_default();
    let dropped = Intent::dropped(config, Some(location));
    Outcome {
        record: block::patch(Some(&spec), &spec, &dropped),
        ..forget(config)
    }
}

/// What is said of storage of which a part went before its removal was taken back.
pub fn stopped(objects: u64) -> String {
    format!("Its removal was stopped after {objects} objects were deleted, the rest was kept.")
}

/// The same, for an event.
pub fn stopped_notice(location: &str, objects: u64) -> Notice {
    Notice {
        warning: true,
        reason: "RemovalStopped",
        note: format!("storage {location}: {}", stopped(objects)),
    }
}

/// Storage of ours that lost its mark: somebody took it away, or the read lags. Either can be mended.
fn unmarked<D: Removable>(kept: &str, what: &str) -> Failure {
    let message = format!(
        "{kept} was not deleted: the operator created it, and {what}: restore the mark, \
         or set spec.storage.managementState to Unmanaged to keep the data and finish the removal"
    );
    Failure {
        verdicts: vec![Verdict::new(STORAGE_EXISTS, Status::True, D::EXISTS, message.clone())],
        fault: Fault::config(message),
    }
}

/// What is told where nothing about storage is done any more, and a removal had gone some of the way.
pub fn left_alone(config: &Config, answers: &Answers) -> (Vec<Verdict>, Vec<Notice>) {
    let Some((location, objects)) = answers.take_deleted_elsewhere(None) else {
        return (Vec::new(), Vec::new());
    };
    let stored = config.status.as_ref().and_then(|s| s.conditions.as_deref());
    let exists = stored.unwrap_or_default().iter().find(|c| c.type_ == STORAGE_EXISTS);
    let reason = exists.and_then(|c| c.reason.clone()).unwrap_or_default();
    // What was last seen of it stays.
    let status = [Status::False, Status::Unknown]
        .into_iter()
        .find(|status| exists.is_some_and(|c| c.status == status.text()))
        .unwrap_or(Status::True);
    let verdict = Verdict::new(STORAGE_EXISTS, status, reason, stopped(objects));
    (vec![verdict], vec![stopped_notice(&location, objects)])
}

/// One bounded step, if this process still leads and the Config is the newest. What is in the cluster itself is deleted by
/// a write that looks at that anyway.
async fn delete<D: Removable>(
    driver: &D,
    cluster: &impl Cluster,
    step: &Step<'_>,
    proof: &OwnershipProof,
) -> Result<Deleted, Failure> {
    if D::REMOTE {
        cluster.confirm().await?;
    }
    driver.remove(step, proof).await
}

/// What the Config forgets after a removal: identifiers of what is gone (not those of other storage that it names
/// meanwhile), the creation record, and state and consent, so that nothing named later inherits a `Managed` or a mark.
fn record<D: Removable>(config: &Config, snapshot: &Snapshot, location: &str) -> Option<Value> {
    let mut spec = config.spec.storage.clone()?;
    if D::locate(&spec, snapshot).as_deref() == Some(location) {
        D::forget(&mut spec);
    }
    spec.management_state = None;
    let mut dropped = Intent::dropped(config, Some(location));
    if consents(config, Some(location)) {
        dropped.push((names::ADOPT_STORAGE_ANNOTATION, Value::Null));
    }
    block::patch(config.spec.storage.as_ref(), &spec, &dropped)
}

fn raised(kept: &str) -> String {
    format!(
        "{kept} was kept with its images: spec.storage.managementState was raised to Managed together with the removal, \
         and only storage that was Managed before is deleted"
    )
}

/// Ends a removal without deleting, and says so.
fn keep<D: Driver>(config: &Config, location: &str, message: &str) -> Outcome {
    // Consent to own it has to name the location ID, which stands nowhere else.
    let message = if D::REMOTE && !location.is_empty() {
        format!("{message}; its location ID is {location}")
    } else {
        message.to_owned()
    };
    let verdict = Verdict::new(STORAGE_EXISTS, Status::True, D::EXISTS, message.clone());
    let notice = Notice {
        warning: true,
        reason: "StorageKept",
        note: message,
    };
    Outcome {
        verdicts: vec![verdict],
        notices: vec![notice],
        ..leave(config, location)
    }
}

/// Removal of storage whose backend this build does not know: it ends where nothing is to be deleted.
pub fn without_driver(backend: &str, config: &Config, deleting_config: bool) -> Outcome {
    match gate(config, deleting_config) {
        Gate::Open => {}
        Gate::Closed => return forget(config),
        Gate::Raised => {
            let notice = Notice {
                warning: true,
                reason: "StorageKept",
                note: raised(backend),
            };
            return Outcome {
                notices: vec![notice],
                ..forget(config)
            };
        }
    }
    let message = format!(
        "storage backend {backend} is not implemented by this build of the operator, so that its data was not deleted: \
         set spec.storage.managementState to Unmanaged to keep the data and finish the removal"
    );
    Outcome {
        fault: Some(Fault::config(message)),
        ..Outcome::unchanged(config)
    }
}
