//! Result of a storage step, for the controller.

use std::time::Duration;

use serde_json::Value;

use super::error::{ErrorClass, StorageError};
use super::spec;
use crate::api::{Config, Storage};
use crate::config::event_request::EventRequest;
use crate::config::facts::StorageFacts;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::status::judge::{Deadline, Preflight};

/// Type of the condition that reports whether the storage exists. Every backend has it.
pub const STORAGE_EXISTS: &str = "StorageExists";

/// Reason of a storage condition if the service returned no error code. The Go operator uses the same text.
pub const UNKNOWN_ERROR: &str = "Unknown Error Occurred";

/// Condition types of all backends. The controller removes those that the active backend does not own.
pub const STORAGE_CONDITIONS: &[&str] = &[
    STORAGE_EXISTS,
    "StorageTagged",
    "StorageLabeled",
    "StorageEncrypted",
    "StoragePublicAccessBlocked",
    "StorageIncompleteUploadCleanupEnabled",
];

/// Reason of the event for storage that moved to another location.
pub const RECONFIGURED: &str = "StorageReconfigured";

/// What a pass must not apply while the registry's storage may not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freeze {
    /// The pass applies nothing.
    #[default]
    All,
    /// The pass applies everything except the private Secret and the Deployment.
    Deployment,
    /// The pass applies everything, but keeps the storage parts of the running registry. Without a Deployment this
    /// equals
    /// [`Self::Deployment`].
    Storage,
}

/// An operation that the pass waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Longest time until the next check. Zero: as soon as the outcome's record is stored.
    pub after: Duration,
    /// What the pass waits for.
    pub message: String,
    /// When the operation counts as an error.
    pub deadline: Deadline,
}

/// Result of a storage step. The default changes nothing.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // independent facts about the step
pub struct Outcome {
    /// JSON merge patch of the Config (members of `spec.storage`, annotations), without resourceVersion. The controller
    /// stores it before anything else, even if `error` is set. `None` on a settled cluster.
    pub record: Option<Value>,
    /// New `status.storage`. The controller stores it after `record`, and not if that write failed. `None` keeps the
    /// stored value.
    pub status_storage: Option<Storage>,
    /// New `status.storageManaged`.
    pub storage_managed: bool,
    /// Condition updates.
    pub conditions: Vec<ConditionUpdate>,
    /// Condition types that may stay; the controller removes the others of [`STORAGE_CONDITIONS`].
    pub own_conditions: &'static [&'static str],
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// What to render into the registry's pods. `None`: the storage of the running registry must not change in this
    /// pass (see `freeze`). May be set together with `error` if the Config still names the storage in use.
    pub facts: Option<StorageFacts>,
    /// What the pass must not apply without `facts`.
    pub freeze: Freeze,
    /// Why the registry does not get changed storage yet.
    pub preflight: Option<Preflight>,
    /// Why the CA of the storage's endpoint is missing; set together with `error`.
    pub ca_error: Option<String>,
    /// Longest time until the next pass, if no operation is in progress.
    pub again: Option<Duration>,
    /// The storage moved to another location: counts in `storage_reconfigured_total`.
    pub reconfigured: bool,
    /// An operation in progress.
    pub wait: Option<Waiting>,
    /// The next step depends on the status of this one, so that it belongs to the next pass.
    pub after_status: bool,
    /// Why the step failed.
    pub error: Option<StorageError>,
    /// Removal only: the removal is complete.
    pub done: bool,
}

impl Outcome {
    /// Discards the new storage: registry and status keep the current storage.
    pub fn keep_current_storage(&mut self, config: &Config) {
        self.facts = None;
        self.freeze = Freeze::Storage;
        self.status_storage = None;
        self.storage_managed = Self::unchanged(config).storage_managed;
        self.reconfigured = false;
        self.events.retain(|event| event.reason != RECONFIGURED);
    }

    /// Lets `StorageExists` say what a removal leaves, if the credentials are missing or refused.
    #[must_use]
    pub(in crate::storage) fn with_storage_left(mut self, config: &Config) -> Self {
        let Some(error) = self.error.as_ref().filter(|error| error.class == ErrorClass::NoAccess) else {
            return self;
        };
        let storage = config.status.as_ref().map(|status| &status.storage);
        let named = storage.and_then(|s| Some(spec::describe_named(s, s.backends().first()?)));
        let message = format!(
            "{} is left with its images: {}",
            named.unwrap_or_default(),
            error.message
        );
        match self.conditions.iter_mut().find(|c| c.type_ == STORAGE_EXISTS) {
            Some(found) => found.message = message,
            None => self.conditions.push(ConditionUpdate::new(
                STORAGE_EXISTS,
                Status::Unknown,
                UNKNOWN_ERROR,
                message,
            )),
        }
        self
    }

    /// An outcome that leaves the stored Config unchanged.
    pub(in crate::storage) fn unchanged(config: &Config) -> Self {
        let storage_managed = config.status.as_ref().is_some_and(|s| s.storage_managed);
        Self {
            storage_managed,
            own_conditions: STORAGE_CONDITIONS,
            ..Self::default()
        }
    }

    /// Whether the next step may run at once, after `record` is stored.
    pub fn continues(&self) -> bool {
        !self.after_status && self.error.is_none() && self.wait.as_ref().is_some_and(|wait| wait.after.is_zero())
    }
}
