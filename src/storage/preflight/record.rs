//! Record of probe objects in an annotation of the Config, written before the object itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::engine::cache::ObservationCache;
use crate::storage::engine::location;
use crate::storage::model::backend::Backend;
use crate::storage::model::error::{ErrorClass, StorageError};
use crate::storage::model::spec;
use crate::storage::model::state::State;
use crate::storage::model::target::{CreationRecord, Request};
use crate::storage::traits::{Cluster, Driver};

/// How long the operator tries to delete a probe object from storage that does not respond.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Longest time for the deletion of one probe object.
const LIMIT: Duration = Duration::from_secs(20);

/// A probe object that may exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftoverProbe {
    /// Location ID.
    pub location: String,
    /// Spec of the backend, without other members; it contains no secret.
    pub storage: Storage,
    /// Key of the object.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// The stored record, without entries that do not decode.
pub fn stored(config: &Config) -> Vec<LeftoverProbe> {
    entries(config).unwrap_or_default().into_iter().flatten().collect()
}

/// Each stored entry; `None` for an entry that this operator did not write. An error if the annotation is no list.
fn entries(config: &Config) -> Result<Vec<Option<LeftoverProbe>>, serde_json::Error> {
    let annotations = config.metadata.annotations.as_ref();
    let text = annotations.and_then(|a| a.get(names::STORAGE_PROBE_ANNOTATION));
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let entries: Vec<Value> = serde_json::from_str(text)?;
    let probe = |entry| {
        let left: LeftoverProbe = serde_json::from_value(entry).ok()?;
        // Whoever edits the annotation must not name an object of the registry: what is recorded is deleted.
        is_probe(&left.key).then_some(left)
    };
    Ok(entries.into_iter().map(probe).collect())
}

/// Whether a key is that of a probe object, below any root directory.
fn is_probe(key: &str) -> bool {
    key.rsplit_once('/')
        .is_some_and(|(directory, name)| !name.is_empty() && directory.ends_with(super::DIRECTORY))
}

/// Merge patch that sets the record; an empty list removes the annotation.
pub fn patch(left: &[LeftoverProbe]) -> Value {
    let text = if left.is_empty() {
        Value::Null
    } else {
        serde_json::to_string(left).map_or(Value::Null, Value::from)
    };
    json!({"metadata": {"annotations": {names::STORAGE_PROBE_ANNOTATION: text}}})
}

/// Merge patch that adds a probe object to the record; `None` if the record contains it.
pub fn with(
    config: &Config,
    location: &str,
    storage: &Storage,
    backend: Backend,
    key: &str,
    at: Timestamp,
) -> Option<Value> {
    if is_recorded(config, location, key) {
        return None;
    }
    let mut left = stored(config);
    // The record needs no managementState.
    let only = Storage {
        management_state: None,
        ..spec::only(storage, backend, "")
    };
    left.push(LeftoverProbe {
        location: location.to_owned(),
        storage: only,
        key: key.to_owned(),
        at,
    });
    Some(patch(&left))
}

/// Whether the record contains a probe object with this key at this location.
pub fn is_recorded(config: &Config, location: &str, key: &str) -> bool {
    let left = stored(config);
    left.iter().any(|left| left.location == location && left.key == key)
}

/// Merge patch that records the probe object of this step; `None` if the record contains it.
pub fn recorded<D: Driver>(request: &Request<'_>, storage: &Storage) -> Option<Value> {
    let location = request.target.location.as_deref().unwrap_or_default();
    let key = super::key(request.snapshot);
    with(
        request.config,
        location,
        storage,
        D::BACKEND,
        &key,
        request.snapshot.now,
    )
}

/// Merge patch that removes the probe objects of a location from the record; `None` if there are none.
pub fn without(config: &Config, location: &str) -> Option<Value> {
    let left = stored(config);
    let kept: Vec<LeftoverProbe> = left.iter().filter(|left| left.location != location).cloned().collect();
    (kept.len() != left.len()).then(|| patch(&kept))
}

/// Result of the deletion of leftover probes.
#[derive(Debug, Default)]
pub struct Clearing {
    /// Merge patch of the Config.
    pub record: Option<Value>,
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// Wait before the next attempt.
    pub again: Option<Duration>,
}

/// Deletes probe objects that earlier processes may have left, with the recorded spec. Without a record, as on a
/// settled cluster, it makes no call.
pub async fn clear(
    config: &Config,
    snapshot: &Snapshot,
    cache: &ObservationCache,
    clear: impl AsyncFn(&LeftoverProbe) -> Result<(), StorageError>,
) -> Clearing {
    let entries = entries(config).unwrap_or_else(|_| vec![None]);
    let unreadable = entries.contains(&None);
    let all: Vec<LeftoverProbe> = entries.into_iter().flatten().collect();
    if all.is_empty() && !unreadable {
        return Clearing::default();
    }
    if let Some(wait) = cache.leftovers_wait(snapshot.now) {
        return Clearing {
            again: Some(wait),
            ..Clearing::default()
        };
    }
    let mut kept = Vec::new();
    let mut events: Vec<EventRequest> = unreadable.then(unreadable_event).into_iter().collect();
    for left in &all {
        let cleared = tokio::time::timeout(LIMIT, clear(left)).await;
        let silent = |_| Err(StorageError::transient("no response"));
        let Err(error) = cleared.unwrap_or_else(silent) else {
            continue;
        };
        let overdue = snapshot.now.duration_since(left.at) > GIVEN_UP_AFTER;
        if error.class == ErrorClass::Transient && !overdue {
            kept.push(left.clone());
        } else {
            events.push(given_up(left, &error));
        }
    }
    let again = cache.store_leftovers(kept.is_empty(), snapshot.now);
    Clearing {
        record: (unreadable || kept.len() != all.len()).then(|| patch(&kept)),
        events,
        again,
    }
}

/// Deletes one probe object with the driver of its backend.
pub async fn clear_one<D: Driver>(
    driver: &D,
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    left: &LeftoverProbe,
) -> Result<(), StorageError> {
    // A missing input (a Secret, a ConfigMap) may be created again, so the error is transient.
    let later = |error: StorageError| StorageError::transient(error.message);
    let mut target = driver
        .resolve(config, &left.storage, snapshot)
        .map_err(|rejection| later(rejection.into()))?;
    location::check::<D>(&left.storage, &left.location, target.location.as_deref(), snapshot).map_err(later)?;
    target.ca_bundle = D::ca_bundle(&left.storage, snapshot).map_err(later)?;
    cluster.confirm().await?;
    let request = Request {
        config,
        snapshot,
        storage: &left.storage,
        target: &target,
        // Whoever owns the storage: the key names an object of this operator, and the account may be another.
        state: Some(State::Unmanaged),
        defaulted: false,
        applied: false,
        in_use: false,
        state_changed: false,
        may_create: false,
        record: CreationRecord::None,
        consent: false,
        probe_recorded: true,
    };
    driver
        .clear_probe(&request, &left.key)
        .await
        .map_err(|failed| failed.error)
}

fn unreadable_event() -> EventRequest {
    EventRequest {
        warning: true,
        reason: "ProbeLeftBehind",
        message: format!(
            "annotation {} of Config {} names objects of a preflight and cannot be read, so that they were not deleted: look \
             for keys below {} in storage that the registry used",
            names::STORAGE_PROBE_ANNOTATION,
            names::CLUSTER,
            super::DIRECTORY
        ),
    }
}

fn given_up(left: &LeftoverProbe, error: &StorageError) -> EventRequest {
    let LeftoverProbe { location, key, .. } = left;
    EventRequest {
        warning: true,
        reason: "ProbeLeftBehind",
        message: format!(
            "object {key} may have been left in {location} by a preflight of that storage, and could not be deleted: \
             {error}; delete it by hand"
        ),
    }
}
