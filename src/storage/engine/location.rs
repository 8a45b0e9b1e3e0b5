//! PURE: location of the storage that `status.storage` names, if the status does not tell it alone.
//!
//! The location of a bucket may depend on the credentials (the universe of Google Cloud). With other credentials the same
//! status would name another bucket, so an annotation of the Config records the location.

use serde_json::Value;

use super::intent;
use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::model::error::StorageError;
use crate::storage::model::outcome::RECONFIGURED;
use crate::storage::model::spec;
use crate::storage::model::state::State;
use crate::storage::model::target::{Target, container_name};
use crate::storage::traits::Driver;

/// Location ID of the storage that the status names.
pub(super) fn of_applied<D: Driver>(config: &Config, stored: &Storage, snapshot: &Snapshot) -> Option<String> {
    let Some(usual) = D::usual_location(stored) else {
        return D::locate(stored, snapshot);
    };
    let recorded = intent::location(config).filter(|recorded| container_name(recorded) == container_name(&usual));
    Some(recorded.map_or(usual, str::to_owned))
}

/// Storage that the registry used before a switch.
pub(super) struct Left {
    /// Backend and name.
    described: String,
    /// Location ID, if the backend is the same.
    pub location: Option<String>,
}

impl Left {
    /// The storage that the status names, if the target is another. `None`, too, if the status names no or several backends.
    pub(super) fn of<D: Driver>(
        config: &Config,
        stored: &Storage,
        snapshot: &Snapshot,
        target: &Target,
    ) -> Option<Self> {
        let backends = stored.backends();
        let [one] = backends.as_slice() else {
            return None;
        };
        let is_same = *one == D::BACKEND.name();
        let applied = is_same.then(|| of_applied::<D>(config, stored, snapshot));
        (applied.as_ref() != Some(&target.location)).then(|| Self {
            described: spec::describe_named(stored, one),
            location: applied.flatten(),
        })
    }

    /// Event for the switch to the storage that is described as `to`.
    pub(super) fn moved(&self, to: &str, location: Option<&str>, state: State) -> EventRequest {
        let (from, to) = match (&self.location, location) {
            // The names alone would not tell a difference.
            (Some(before), Some(now)) if self.described == to => {
                (format!("{to} at {before}"), format!("{to} at {now}"))
            }
            _ => (self.described.clone(), to.to_owned()),
        };
        EventRequest {
            warning: false,
            reason: RECONFIGURED,
            message: format!(
                "storage changed from {from} to {to}, which is {}; {from} is kept as it is, with its content",
                state.text()
            ),
        }
    }
}

/// Event that a switch was aborted: a `Managed` of the operator does not count for the storage that is named again.
pub(super) fn aborted(storage: &str) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "StorageNotOwned",
        message: format!(
            "{storage} stays Unmanaged: the operator wrote spec.storage.managementState Managed for other storage, to which the registry \
             did not switch. To let the operator manage it, set Managed again"
        ),
    }
}

/// Without the inputs on which the location depends, storage in use is where it was.
pub(super) fn keep_unless_located<D: Driver>(
    config: &Config,
    stored: &Storage,
    snapshot: &Snapshot,
    target: &mut Target,
) {
    if D::is_located(snapshot) || D::usual_location(stored).is_none() {
        return;
    }
    let applied = of_applied::<D>(config, stored, snapshot);
    if applied.as_deref().map(container_name) == target.location.as_deref().map(container_name) {
        target.location = applied;
    }
}

/// Patch of the Config that records where the storage is that the status names next; `None`: nothing changes.
pub(super) fn record<D: Driver>(config: &Config, storage: &Storage, location: Option<&str>) -> Option<Value> {
    let usual = D::usual_location(storage)?;
    let wanted = location.filter(|location| *location != usual);
    if intent::location(config) == wanted {
        return None;
    }
    let value = wanted.map_or(Value::Null, Value::from);
    spec::annotations(&[(names::STORAGE_LOCATION_ANNOTATION, value)])
}

/// The error if the storage at `location` is somewhere else according to the current credentials (`found`): a call would reach
/// other storage of the same name.
///
/// # Errors
/// Without access: the credentials are those of another place.
pub(in crate::storage) fn check<D: Driver>(
    storage: &Storage,
    location: &str,
    found: Option<&str>,
    snapshot: &Snapshot,
) -> Result<(), StorageError> {
    // Without the inputs no call is possible, and their absence has an error of its own.
    if D::usual_location(storage).is_none() || !D::is_located(snapshot) || found == Some(location) {
        return Ok(());
    }
    Err(StorageError::no_access(format!(
        "the storage is at {location}, and with the current credentials the same name means {}, so that nothing was asked or \
         deleted there: restore the credentials with which the registry used the storage",
        found.unwrap_or("no storage")
    )))
}
