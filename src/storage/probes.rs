//! Where probe objects may have been left: a record on the Config, made before the object is.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Answers;
use super::cloud::Cloud;
use super::driver::{Driver, Step};
use super::fault::{Class, Fault};
use super::{Cluster, block, preflight};
use crate::api::{Config, Storage};
use crate::config::notice::Notice;
use crate::config::snapshot::Snapshot;
use crate::names;

/// How long a probe object is looked for in a place that does not answer.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// A probe object that may be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Left {
    /// Location ID.
    pub location: String,
    /// The block, and only it, with which the location is found; it holds no secret.
    pub storage: Storage,
    /// Key of the object.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// The record as stored. One that cannot be read is none: it was not written by this program.
pub fn stored(config: &Config) -> Vec<Left> {
    let annotations = config.metadata.annotations.as_ref();
    let text = annotations.and_then(|a| a.get(names::STORAGE_PROBE_ANNOTATION));
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

/// Merge patch that makes the record hold these; none: takes it away.
pub fn patch(left: &[Left]) -> Value {
    let text = if left.is_empty() {
        Value::Null
    } else {
        serde_json::to_string(left).map_or(Value::Null, Value::from)
    };
    json!({"metadata": {"annotations": {names::STORAGE_PROBE_ANNOTATION: text}}})
}

/// Adds one to the record; `None` where it is there already.
pub fn with(
    config: &Config,
    location: &str,
    storage: &Storage,
    backend: &str,
    key: &str,
    at: Timestamp,
) -> Option<Value> {
    if is_recorded(config, location, key) {
        return None;
    }
    let mut left = stored(config);
    // The state is of no use here, and would only be one more word to explain.
    let only = Storage {
        management_state: None,
        ..block::only(storage, backend, "")
    };
    left.push(Left {
        location: location.to_owned(),
        storage: only,
        key: key.to_owned(),
        at,
    });
    Some(patch(&left))
}

/// Whether a probe object is recorded.
pub fn is_recorded(config: &Config, location: &str, key: &str) -> bool {
    let left = stored(config);
    left.iter().any(|left| left.location == location && left.key == key)
}

/// The record of an object that a step is about to write into this storage; `None` where it is there already.
pub fn recorded<D: Driver>(step: &Step<'_>, storage: &Storage) -> Option<Value> {
    let location = step.target.location.as_deref().unwrap_or_default();
    let key = preflight::key(step.snapshot);
    with(step.config, location, storage, D::NAME, &key, step.snapshot.now)
}

/// Takes those of a location out of the record; `None` where there is none.
pub fn without(config: &Config, location: &str) -> Option<Value> {
    let left = stored(config);
    let kept: Vec<Left> = left.iter().filter(|left| left.location != location).cloned().collect();
    (kept.len() != left.len()).then(|| patch(&kept))
}

/// What came of clearing away.
#[derive(Debug, Default)]
pub struct Cleared {
    /// Merge patch of the Config.
    pub record: Option<Value>,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// When to try again.
    pub again: Option<Duration>,
}

/// Deletes what earlier processes may have left, with the configuration of the place where it is. A settled cluster has
/// no record, and this asks nobody.
pub async fn clear(config: &Config, snapshot: &Snapshot, cluster: &impl Cluster, cloud: &Cloud) -> Cleared {
    clear_with(config, snapshot, &cloud.answers, async |left: &Left| {
        super::clear_probe(config, snapshot, cluster, cloud, left).await
    })
    .await
}

pub(super) async fn clear_with(
    config: &Config,
    snapshot: &Snapshot,
    answers: &Answers,
    clear: impl AsyncFn(&Left) -> Result<(), Fault>,
) -> Cleared {
    let left = stored(config);
    if left.is_empty() {
        return Cleared::default();
    }
    if let Some(rests) = answers.clearing_rests(snapshot.now) {
        return Cleared {
            again: Some(rests),
            ..Cleared::default()
        };
    }
    let mut kept = Vec::new();
    let mut notices = Vec::new();
    for left in &left {
        let Err(fault) = clear(left).await else { continue };
        let overdue = snapshot.now.duration_since(left.at) > GIVEN_UP_AFTER;
        if fault.class == Class::Transient && !overdue {
            kept.push(left.clone());
        } else {
            notices.push(given_up(left, &fault));
        }
    }
    let again = answers.note_clearing(kept.is_empty(), snapshot.now);
    Cleared {
        record: (kept.len() != left.len()).then(|| patch(&kept)),
        notices,
        again,
    }
}

/// One of them, with the driver of its backend.
pub(super) async fn clear_one<D: Driver>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    left: &Left,
) -> Result<(), Fault> {
    // What the block needs beside itself (a Secret, a map) may come back.
    let later = |fault: Fault| Fault::transient(fault.message);
    let mut target = driver
        .resolve(config, &left.storage, snapshot)
        .map_err(|rejection| later(rejection.into()))?;
    if let Some(bundle) = driver.ca_bundle(&left.storage, snapshot).map_err(later)? {
        target.facts.ca_bundle = Some(bundle);
    }
    cluster.confirm().await?;
    let step = Step {
        config,
        snapshot,
        storage: &left.storage,
        target: &target,
        state: None,
        defaulted: false,
        applied: false,
        intent: None,
        consent: false,
    };
    driver
        .clear_probe(&step, &left.key)
        .await
        .map_err(|failure| failure.fault)
}

fn given_up(left: &Left, fault: &Fault) -> Notice {
    let Left { location, key, .. } = left;
    let note = format!(
        "object {key} may have been left in {location} by an attempt to try that storage out, and could not be deleted: \
         {fault}; delete it by hand"
    );
    Notice {
        warning: true,
        reason: "ProbeLeftBehind",
        note,
    }
}
