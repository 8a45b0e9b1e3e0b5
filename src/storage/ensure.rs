//! Towards the storage that the Config names, for every backend alike.

use std::time::Duration;

use serde_json::Value;

use super::driver::{Driver, Ensured, Existence, Failure, Next, Record, Step, Target, Wait};
use super::fault::{Class, Fault};
use super::select::Selected;
use super::state::{self, State};
use super::{Outcome, STORAGE_EXISTS, block};
use crate::api::{Config, Storage};
use crate::config::facts::StorageFacts;
use crate::config::notice::Notice;
use crate::config::resolve::Reason;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{Status, Verdict};

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
}

/// Patch that writes the platform's default into the spec, where that loses nothing: a block that names storage is
/// written only when this storage is there, because a name in the spec reads as the user's.
pub fn record_default(config: &Config, selected: &Selected) -> Option<Value> {
    selected
        .defaulted
        .then(|| block::patch(config.spec.storage.as_ref(), &selected.storage, None))
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
    applied: bool,
}

/// One step.
pub async fn ensure<D: Driver>(driver: &D, config: &Config, snapshot: &Snapshot, selected: &Selected) -> Outcome {
    let unchanged = || Outcome {
        own_conditions: D::CONDITIONS,
        ..Outcome::unchanged(config)
    };
    let target = match driver.resolve(config, &selected.storage, snapshot) {
        Ok(target) => target,
        Err(rejection) => {
            return Outcome {
                fault: Some(rejection.into()),
                ..unchanged()
            };
        }
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
    let intent = Intent::stored(config, target.location.as_deref());
    let intent = intent.filter(|_| pass.state != Some(State::Unmanaged));
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
    match take(driver, &step, state_changed(&pass)).await {
        Ok(Next::Done(ensured)) => done(driver, &step, &pass, ensured).await,
        Ok(Next::Wait(Wait {
            after,
            message,
            verdicts,
        })) => {
            let facts = facts_of_applied(driver, &step).await;
            let notices = lost(&pass, &verdicts, D::NAME).into_iter().collect();
            Outcome {
                record,
                verdicts,
                facts,
                notices,
                wait: Some((after, message)),
                ..unchanged()
            }
        }
        Ok(Next::Record(note)) if note.intent.is_some() && pass.state == Some(State::Unmanaged) => {
            let fault = not_created(&block::describe(&selected.storage, D::NAME));
            let facts = facts_of_applied(driver, &step).await;
            Outcome {
                record,
                verdicts: note.verdicts,
                facts,
                fault: Some(fault),
                ..unchanged()
            }
        }
        Ok(Next::Record(note)) => {
            let facts = facts_of_applied(driver, &step).await;
            let Record {
                storage,
                intent,
                message,
                verdicts,
            } = *note;
            let wanted = storage.unwrap_or_else(|| selected.storage.clone());
            let record = block::patch(config.spec.storage.as_ref(), &wanted, intent.map(Value::String));
            Outcome {
                record,
                verdicts,
                facts,
                wait: Some((Duration::ZERO, message)),
                ..unchanged()
            }
        }
        Err(Failure { fault, verdicts }) => {
            let facts = facts_of_applied(driver, &step).await;
            Outcome {
                record,
                verdicts,
                facts,
                fault: Some(fault),
                ..unchanged()
            }
        }
    }
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
        applied,
        stored,
    }
}

/// Whether the user turned the state over: hardening then has to be looked at again.
fn state_changed(pass: &Pass<'_>) -> bool {
    pass.state.is_some() && state::stored(pass.config).is_some_and(|stored| Some(stored) != pass.state)
}

/// Looks whether the storage is there, and lets the driver see to it where it is not, or not as the Config says.
///
/// Applied storage counts as finished only while the status says `StorageExists=True`. When it vanished, this is taken
/// back before anything is created anew: what dies between creation and mark is then finished, not taken as it is.
async fn take<D: Driver>(driver: &D, step: &Step<'_>, turned: bool) -> Result<Next<Ensured>, Failure> {
    if step.applied && !turned {
        let finished = said_to_exist(step.config);
        match driver.exists(step).await? {
            Existence::Present(verdicts, notices) if finished && !driver.unfinished(step) => {
                let storage = step.storage.clone();
                return Ok(Next::Done(Ensured {
                    storage,
                    applied: step.config.status.as_ref().map(|status| status.storage.clone()),
                    blank_state: state::mirrored(step.config),
                    verdicts,
                    notices,
                }));
            }
            Existence::Absent { reason, message } if finished => {
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

fn said_to_exist(config: &Config) -> bool {
    let conditions = config
        .status
        .as_ref()
        .and_then(|s| s.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|c| c.type_ == STORAGE_EXISTS && c.status == Status::True.text())
}

/// Tells, once, that managed storage is not there any more.
fn lost(pass: &Pass<'_>, verdicts: &[Verdict], backend: &str) -> Option<Notice> {
    let gone = verdicts
        .iter()
        .any(|v| v.type_ == STORAGE_EXISTS && v.status == Status::False);
    let managed = pass.state.unwrap_or_else(|| state::mirrored(pass.config)) == State::Managed;
    (gone && managed && pass.applied && said_to_exist(pass.config)).then(|| {
        let what = block::describe(&pass.selected.storage, backend);
        let note = format!("{what} is gone or going, and with it the images that are on it; it was in use and Managed");
        Notice {
            warning: true,
            reason: "StorageLost",
            note,
        }
    })
}

async fn done<D: Driver>(driver: &D, step: &Step<'_>, pass: &Pass<'_>, ensured: Ensured) -> Outcome {
    let Ensured {
        storage,
        applied,
        blank_state,
        verdicts,
        mut notices,
    } = ensured;
    // A blank state of storage that is applied already, and that the driver did not just create, is what it was.
    let was = if step.applied {
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
    let record = block::patch(pass.config.spec.storage.as_ref(), &wanted, None);
    let applied = block::only(applied.as_ref().unwrap_or(&wanted), D::NAME, state.text());
    let facts = facts_of(driver, step, &applied).await;
    let mut outcome = Outcome {
        record,
        verdicts,
        // The others are about settings, and none are applied to Unmanaged storage.
        own_conditions: match state {
            State::Managed => D::CONDITIONS,
            State::Unmanaged => &[STORAGE_EXISTS],
        },
        ..Outcome::unchanged(pass.config)
    };
    match facts {
        Ok(facts) => outcome.facts = Some(facts),
        Err(Failure { fault, verdicts }) => {
            // What was done is kept; the status follows when the registry can be told of it.
            outcome.verdicts.extend(verdicts);
            outcome.fault = Some(fault);
            outcome.notices = notices;
            return outcome;
        }
    }
    if let Some(left) = &pass.left {
        notices.push(moved(left, &block::describe(&wanted, D::NAME), state));
        outcome.reconfigured = true;
    }
    outcome.notices = notices;
    outcome.storage_managed = state == State::Managed;
    outcome.status_storage = (!block::same(&pass.stored, &applied)).then_some(applied);
    outcome
}

/// Facts of storage that is there, with what the driver completed in its block: what the first pods get is what later ones
/// get.
async fn facts_of<D: Driver>(driver: &D, step: &Step<'_>, applied: &Storage) -> Result<StorageFacts, Failure> {
    let target = driver
        .resolve(step.config, applied, step.snapshot)
        .map_err(Fault::from)?;
    let step = Step {
        storage: applied,
        target: &target,
        ..*step
    };
    // Done means usable, whatever stood in the snapshot.
    let known = StorageFacts {
        not_usable: None,
        ..target.facts.clone()
    };
    driver.facts(&step, known).await
}

/// Facts for a pass that did not get to the end: only where the registry runs on this very storage already, so that
/// nothing about it changes while all else is applied.
async fn facts_of_applied<D: Driver>(driver: &D, step: &Step<'_>) -> Option<StorageFacts> {
    if step.applied {
        driver.facts(step, step.target.facts.clone()).await.ok()
    } else {
        None
    }
}

fn moved(from: &str, to: &str, state: State) -> Notice {
    let note = format!(
        "storage changed from {from} to {to}, which is {}; {from} is left as it is, with its images",
        state.text()
    );
    Notice {
        warning: false,
        reason: "StorageReconfigured",
        note,
    }
}

fn consents(config: &Config, location: Option<&str>) -> bool {
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
