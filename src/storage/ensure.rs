//! Towards the storage that the Config names, for every backend alike.

use std::time::Duration;

use serde_json::Value;

use super::driver::{Driver, Ensured, Failure, Next, Record, Step, Target, Wait};
use super::fault::{Class, Fault};
use super::look::{Known, keep, said_to_be_gone, take};
use super::remove::stopped_notice;
use super::select::Selected;
use super::state::{self, State};
use super::trial::{Tried, try_out, unrecorded};
use super::{Cluster, Core, Hold, Outcome, STORAGE_EXISTS, block, probes};
use crate::api::{Config, Storage};
use crate::config::notice::Notice;
use crate::config::resolve::Reason;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{Status, Verdict};

/// Reason of the event that tells of a switch.
pub const RECONFIGURED: &str = "StorageReconfigured";

/// Proof that the Config, as stored, names a location as one that the operator creates or created. Only core makes one.
#[derive(Debug)]
pub struct Intent(());

impl Intent {
    /// The proof, if the annotation names this location.
    pub(super) fn stored(config: &Config, location: Option<&str>) -> Option<Self> {
        let annotations = config.metadata.annotations.as_ref()?;
        let noted = annotations
            .get(names::STORAGE_INTENT_ANNOTATION)
            .filter(|noted| !noted.is_empty())?;
        (Some(noted.as_str()) == location).then_some(Self(()))
    }

    /// Takes it away, where the annotation names this location: as a list of annotations for [`block::patch`].
    pub(super) fn dropped(config: &Config, location: Option<&str>) -> Vec<(&'static str, Value)> {
        let stored = Self::stored(config, location);
        stored
            .map(|_| (names::STORAGE_INTENT_ANNOTATION, Value::Null))
            .into_iter()
            .collect()
    }
}

/// Patch that writes the platform's default into the spec, where that loses nothing: a block that names storage is
/// written only when this storage is there, because a name in the spec reads as the user's.
pub fn record_default(config: &Config, selected: &Selected) -> Option<Value> {
    selected
        .defaulted
        .then(|| block::patch(config.spec.storage.as_ref(), &selected.storage, &[]))
        .flatten()
}

/// What a pass knows before it asks the driver.
struct Pass<'a> {
    config: &'a Config,
    selected: &'a Selected,
    stored: Storage,
    /// Storage that the status names and the spec does not.
    left: Option<String>,
    state: Option<State>,
    /// The status names this storage.
    in_use: bool,
    /// And means the same by its block.
    applied: bool,
}

/// One step.
pub async fn ensure<D: Driver>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    selected: &Selected,
    core: &Core<'_, impl Cluster>,
) -> Outcome {
    let unchanged = || Outcome {
        own_conditions: D::CONDITIONS,
        ..Outcome::unchanged(config)
    };
    let mut target = match driver.resolve(config, &selected.storage, snapshot) {
        Ok(target) => target,
        Err(rejection) => {
            // A default that needs an edit is shown, for the edit; but a name in the spec reads as the user's.
            let unnamed = block::describe(&selected.storage, D::NAME) == D::NAME;
            return Outcome {
                record: unnamed.then(|| record_default(config, selected)).flatten(),
                fault: Some(rejection.into()),
                ..unchanged()
            };
        }
    };
    let stopped = core.answers.take_deleted_elsewhere(target.location.as_deref());
    let stopped = stopped.map(|(location, objects)| stopped_notice(&location, objects));
    let unchanged = || Outcome {
        notices: stopped.clone().into_iter().collect(),
        ..unchanged()
    };
    let pass = look::<D>(config, snapshot, selected, &target);
    let record = if target.named {
        None
    } else {
        record_default(config, selected)
    };
    if pass.state == Some(State::Unmanaged) && !target.named {
        return Outcome {
            record,
            fault: Some(nothing_to_use(D::NAME)),
            ..unchanged()
        };
    }
    match driver.ca_bundle(&selected.storage, snapshot) {
        Ok(None) => {}
        Ok(bundle) => target.facts.ca_bundle = bundle,
        Err(fault) => {
            return Outcome {
                record,
                hold: hold::<D>(pass.applied),
                verdicts: vec![unknown(&fault.message)],
                ca_fault: Some(fault.message.clone()),
                fault: Some(fault),
                ..unchanged()
            };
        }
    }
    let intent = Intent::stored(config, target.location.as_deref());
    // Storage in use is not created anew before the status tells that it is gone.
    let may_create =
        pass.state != Some(State::Unmanaged) && !(pass.in_use && D::REMOTE && !said_to_be_gone(config, D::GONE));
    let intent = intent.filter(|_| may_create);
    let step = Step {
        config,
        snapshot,
        storage: &selected.storage,
        target: &target,
        state: pass.state,
        defaulted: selected.defaulted,
        applied: pass.applied,
        intent: intent.as_ref(),
        consent: consents(config, target.location.as_deref()),
    };
    let (taken, again) = take(driver, core, &step, known(&pass)).await;
    let taken = taken.map(|next| refuse_creation::<D>(next, &pass, &step));
    let mut outcome = match taken {
        Ok(Taken::Done(ensured)) => done(driver, core, &step, &pass, *ensured).await,
        Ok(Taken::Wait(wait)) => {
            let notices = lost::<D>(&pass, &wait.verdicts).into_iter().collect();
            Outcome {
                record,
                verdicts: wait.verdicts,
                notices,
                wait: Some((wait.after, wait.message)),
                ..unfinished(driver, &step).await
            }
        }
        Ok(Taken::Record(note)) => {
            let wanted = note.storage.unwrap_or_else(|| selected.storage.clone());
            let noted = note
                .intent
                .map(|intent| (names::STORAGE_INTENT_ANNOTATION, Value::String(intent)));
            let probe = note.probe.then(|| probes::recorded::<D>(&step, &wanted)).flatten();
            let named = block::patch(config.spec.storage.as_ref(), &wanted, noted.as_slice());
            Outcome {
                record: block::both(named, probe),
                verdicts: note.verdicts,
                notices: note.notices,
                wait: Some((Duration::ZERO, note.message)),
                ..unfinished(driver, &step).await
            }
        }
        Ok(Taken::Refused(Failure { fault, verdicts })) | Err(Failure { fault, verdicts }) => Outcome {
            record,
            verdicts,
            fault: Some(fault),
            ..unfinished(driver, &step).await
        },
    };
    outcome.again = outcome.again.into_iter().chain(again).min();
    outcome.notices.extend(stopped);
    outcome
}

/// How a step ended, less what core does not allow.
enum Taken {
    Done(Box<Ensured>),
    Wait(Wait),
    Record(Box<Record>),
    Refused(Failure),
}

fn refuse_creation<D: Driver>(next: Next<Ensured>, pass: &Pass<'_>, step: &Step<'_>) -> Taken {
    let what = || block::describe(step.storage, D::NAME);
    match next {
        Next::Record(note) if note.intent.is_some() && pass.state == Some(State::Unmanaged) => {
            Taken::Refused(Failure {
                fault: not_created(&what()),
                verdicts: note.verdicts,
            })
        }
        Next::Record(note) if note.intent.is_some() && pass.in_use && !said_to_be_gone(pass.config, D::GONE) => {
            Taken::Wait(gone::<D>(*note, &what()))
        }
        Next::Record(note) => Taken::Record(note),
        Next::Wait(wait) => Taken::Wait(wait),
        Next::Done(ensured) => Taken::Done(Box::new(ensured)),
    }
}

/// Storage in use that would have to be made anew: the status tells of it first.
fn gone<D: Driver>(note: Record, storage: &str) -> Wait {
    let mut verdicts = note.verdicts;
    if !verdicts.iter().any(|v| v.type_ == STORAGE_EXISTS) {
        let reason = D::GONE.first().copied().unwrap_or_default();
        let message = format!("{storage} does not exist");
        verdicts.push(Verdict::new(STORAGE_EXISTS, Status::False, reason, message));
    }
    Wait {
        after: Duration::ZERO,
        message: format!("{storage} is gone and is made anew"),
        verdicts,
    }
}

/// What goes out of a pass that did not get to the end. Where the registry runs on this very storage already, nothing about
/// it changes while all else is applied.
async fn unfinished<D: Driver>(driver: &D, step: &Step<'_>) -> Outcome {
    let facts = if step.applied && !D::REMOTE {
        driver.facts(step, step.target.facts.clone()).await.ok()
    } else {
        None
    };
    Outcome {
        own_conditions: D::CONDITIONS,
        hold: hold::<D>(step.applied),
        facts,
        ..Outcome::unchanged(step.config)
    }
}

fn hold<D: Driver>(applied: bool) -> Hold {
    match (D::REMOTE, applied) {
        (false, _) => Hold::All,
        (true, true) => Hold::Storage,
        (true, false) => Hold::Deployment,
    }
}

fn unknown(message: &str) -> Verdict {
    Verdict::new(STORAGE_EXISTS, Status::Unknown, "Unknown Error Occurred", message)
}

fn look<'a, D: Driver>(config: &'a Config, snapshot: &Snapshot, selected: &'a Selected, target: &Target) -> Pass<'a> {
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    let backends = stored.backends();
    let left = match backends.as_slice() {
        [one] if *one == D::NAME && D::locate(&stored, snapshot) == target.location => None,
        [one] => Some(block::describe(&stored, one)),
        _ => None,
    };
    let moved = left.is_some() || backends.len() != 1;
    let applied = !moved && D::same(&stored, &selected.storage, snapshot);
    Pass {
        config,
        selected,
        left,
        state: state::effective(config, moved),
        in_use: !moved,
        applied,
        stored,
    }
}

fn known(pass: &Pass<'_>) -> Known {
    let turned = pass.state.is_some() && state::stored(pass.config).is_some_and(|stored| Some(stored) != pass.state);
    Known {
        in_use: pass.in_use,
        turned, // hardening then has to be looked at again
    }
}

/// Tells, once, that managed storage is not there any more.
fn lost<D: Driver>(pass: &Pass<'_>, verdicts: &[Verdict]) -> Option<Notice> {
    let gone = verdicts
        .iter()
        .any(|v| v.type_ == STORAGE_EXISTS && v.status == Status::False);
    let managed = pass.state.unwrap_or_else(|| state::mirrored(pass.config)) == State::Managed;
    (gone && managed && pass.in_use && !said_to_be_gone(pass.config, D::GONE)).then(|| {
        let what = block::describe(&pass.selected.storage, D::NAME);
        let note = format!("{what} is gone or going, and with it the images that are on it; it was in use and Managed");
        Notice {
            warning: true,
            reason: "StorageLost",
            note,
        }
    })
}

async fn done<D: Driver>(
    driver: &D,
    core: &Core<'_, impl Cluster>,
    step: &Step<'_>,
    pass: &Pass<'_>,
    ensured: Ensured,
) -> Outcome {
    let Ensured {
        storage,
        applied,
        blank_state,
        verdicts,
        notices,
        probe_left,
    } = ensured;
    // A blank state of storage that is in use already, and that the driver did not just create, is what it was.
    let was = if pass.in_use {
        state::mirrored(pass.config)
    } else {
        State::Unmanaged
    };
    let state = pass.state.unwrap_or(if blank_state == State::Managed {
        blank_state
    } else {
        was
    });
    let wanted = Storage {
        management_state: Some(state.text().to_owned()),
        ..storage
    };
    // An intent is the creation record of storage that became ours; beside other storage it would pass for one later.
    let refused = state == State::Unmanaged || (!pass.in_use && blank_state == State::Unmanaged);
    let dropped = if refused {
        Intent::dropped(pass.config, step.target.location.as_deref())
    } else {
        Vec::new()
    };
    let record = block::patch(pass.config.spec.storage.as_ref(), &wanted, &dropped);
    let applied = block::only(applied.as_ref().unwrap_or(&wanted), D::NAME, state.text());
    let mut outcome = Outcome {
        verdicts,
        notices,
        // The others are about settings, and none are applied to Unmanaged storage.
        own_conditions: match state {
            State::Managed => D::CONDITIONS,
            State::Unmanaged => &[STORAGE_EXISTS],
        },
        hold: hold::<D>(step.applied),
        ..Outcome::unchanged(pass.config)
    };
    if D::REMOTE && record.is_some() {
        // Name and state are stored before anything else is done with them; the next step goes by what was stored.
        let ensured = Ensured {
            storage: wanted,
            applied: Some(applied.clone()),
            blank_state,
            verdicts: outcome.verdicts.clone(),
            notices: Vec::new(),
            probe_left,
        };
        keep(driver, core, step, ensured);
        outcome.record = block::both(record, unrecorded(core, step));
        outcome.wait = Some((
            Duration::ZERO,
            format!("{} is recorded in the spec", block::describe(&applied, D::NAME)),
        ));
        return outcome;
    }
    outcome.record = record;
    // What the first pods get is what later ones get: the facts are those of the completed block.
    let target = match completed(driver, step, &applied) {
        Ok(target) => target,
        Err(fault) => {
            outcome.fault = Some(fault);
            return outcome;
        }
    };
    let step = &Step {
        storage: &applied,
        target: &target,
        ..*step
    };
    let facts = match driver.facts(step, target.facts.clone()).await {
        Ok(facts) => facts,
        Err(Failure { fault, verdicts }) => {
            // What was done is kept; the status follows when the registry can be told of it.
            outcome.verdicts.extend(verdicts);
            outcome.fault = Some(fault);
            return outcome;
        }
    };
    if D::REMOTE {
        let Tried {
            passed,
            record,
            mut notices,
            preflight,
            again,
            wait,
        } = try_out(driver, core, step, &facts).await;
        outcome.record = record;
        outcome.notices.append(&mut notices);
        outcome.preflight = preflight;
        outcome.again = again;
        outcome.wait = wait;
        if !passed {
            // The registry keeps the storage that it has, and so does the status.
            outcome.hold = Hold::Storage;
            return outcome;
        }
    }
    outcome.facts = Some(facts);
    if let Some(left) = &pass.left {
        let notice = moved(left, &block::describe(&wanted, D::NAME), state);
        outcome.notices.push(notice);
        outcome.reconfigured = true;
    }
    outcome.storage_managed = state == State::Managed;
    outcome.status_storage = (!block::same(&pass.stored, &applied)).then_some(applied);
    outcome
}

/// What the block means that the driver completed. It is usable, whatever stood in the snapshot.
pub fn completed<D: Driver>(driver: &D, step: &Step<'_>, storage: &Storage) -> Result<Target, Fault> {
    let mut target = driver.resolve(step.config, storage, step.snapshot)?;
    target.facts.ca_bundle.clone_from(&step.target.facts.ca_bundle);
    target.facts.not_usable = None;
    Ok(target)
}

fn moved(from: &str, to: &str, state: State) -> Notice {
    let note = format!(
        "storage changed from {from} to {to}, which is {}; {from} is left as it is, with what is on it",
        state.text()
    );
    Notice {
        warning: false,
        reason: RECONFIGURED,
        note,
    }
}

/// Whether an administrator asked for this location to be owned.
pub fn consents(config: &Config, location: Option<&str>) -> bool {
    let asked = config
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(names::ADOPT_STORAGE_ANNOTATION));
    location.is_some_and(|location| asked.is_some_and(|asked| !asked.is_empty() && asked == location))
}

fn not_created(storage: &str) -> Fault {
    Fault::config(format!(
        "{storage} does not exist, and spec.storage.managementState is Unmanaged, so that it is not created: create it, \
         name other storage, or remove managementState"
    ))
}

fn nothing_to_use(backend: &str) -> Fault {
    let message = format!(
        "spec.storage.managementState is Unmanaged, and the {backend} block names no storage, so that there is nothing \
         to use: name existing storage, or remove managementState to let the operator create it"
    );
    Fault {
        class: Class::Rejected(Reason::InvalidConfig),
        message,
    }
}
