//! Results of steps.

use std::time::Duration;

use jiff::Timestamp;

use super::error::{StepError, StorageError};
use super::state::State;
use crate::api::Storage;
use crate::config::event_request::EventRequest;
use crate::status::conditions::ConditionUpdate;
use crate::status::judge::Deadline;

/// An operation in progress. It is not an error: the conditions show Progressing, and Degraded only after the deadline.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Longest time until the next check.
    pub after: Duration,
    /// What the step waits for.
    pub message: String,
    /// When the operation counts as an error.
    pub deadline: Deadline,
    /// Condition updates.
    pub conditions: Vec<ConditionUpdate>,
}

impl Wait {
    /// An operation without a deadline of its own.
    pub fn new(after: Duration, message: impl Into<String>) -> Self {
        Self {
            after,
            message: message.into(),
            deadline: Deadline::Common,
            conditions: Vec::new(),
        }
    }

    /// The same with these conditions.
    #[must_use]
    pub fn with(self, conditions: Vec<ConditionUpdate>) -> Self {
        Self { conditions, ..self }
    }
}

/// What the controller must store in the Config before the next step.
#[derive(Clone, Debug, Default)]
pub struct Persist {
    /// New `spec.storage`, with the names that the operator chose; `None` leaves the spec.
    pub storage: Option<Storage>,
    /// Location ID of storage that the next step creates: the intent. Refused if `spec.storage.managementState` is
    /// Unmanaged.
    pub intent: Option<String>,
    /// The storage that the intent names was created: the intent becomes the creation record. Whether the container carries
    /// the ownership mark.
    pub created: Option<bool>,
    /// The next step writes a probe object, whose location must be recorded first.
    pub probe: bool,
    /// Key of the storage, and the records of its stages, which replace the stored ones; `None` leaves them.
    pub stages: Option<(String, Vec<StageRecord>)>,
    /// What the next step does.
    pub message: String,
    /// Condition updates.
    pub conditions: Vec<ConditionUpdate>,
    /// Events to publish.
    pub events: Vec<EventRequest>,
}

/// Result of a step.
#[derive(Clone, Debug)]
pub enum Progress<T> {
    /// Store this, then repeat the step.
    Persist(Box<Persist>),
    /// Repeat the step later.
    Wait(Wait),
    /// The step is complete.
    Done(T),
}

/// Whether the storage exists.
#[derive(Clone, Debug)]
pub enum Existence {
    /// The storage exists. Condition updates, and events to publish.
    Present(Vec<ConditionUpdate>, Vec<EventRequest>),
    /// The storage does not exist or is not visible to the operator. `ensure` must handle that.
    Absent {
        /// Reason of `StorageExists=False`.
        reason: &'static str,
        /// Message of that condition.
        message: String,
    },
    /// The storage is being deleted.
    Leaving(Wait),
}

/// Result of a complete `ensure`.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// New `spec.storage`, with all members filled in (names, regions).
    pub storage: Storage,
    /// New `status.storage` if it differs from the spec: the spec of Unmanaged storage stays as the user wrote it.
    pub applied: Option<Storage>,
    /// Value for an empty `spec.storage.managementState`.
    pub blank_state: State,
    /// Condition updates.
    pub conditions: Vec<ConditionUpdate>,
    /// For storage that was just created: the start of the pass, and the condition that says so instead of the one of the
    /// same type. The status has it only until the next pass.
    pub creation: Option<(Timestamp, ConditionUpdate)>,
    /// Events to publish.
    pub events: Vec<EventRequest>,
    /// A probe object may remain. The operator deletes it later.
    pub probe_left: bool,
    /// Settings (condition types) that the operator does not apply again until `spec.storage` changes; `None` leaves
    /// the record.
    pub final_settings: Option<Vec<&'static str>>,
    /// When a setting that the service is still applying must be applied again; `None`: at the next resync.
    pub again: Option<Duration>,
}

impl Ensured {
    /// Condition updates of the pass that began at this time.
    pub fn conditions_of(&self, pass: Timestamp) -> Vec<ConditionUpdate> {
        let creation = self.creation.as_ref().filter(|(created, _)| *created == pass);
        let mut conditions = self.conditions.clone();
        if let Some((_, creation)) = creation {
            conditions.retain(|condition| condition.type_ != creation.type_);
            conditions.push(creation.clone());
        }
        conditions
    }
}

/// Record of a stage in an annotation of the Config: an object around the container, such as a storage account.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StageRecord {
    /// Name of the stage: `account`.
    pub stage: String,
    /// Identity of the object: an account name, a CRN. A deletion needs this record and the ownership mark of the
    /// object.
    pub id: String,
    /// Start of the operation, RFC 3339. The deadline counts from this time.
    pub since: String,
}

/// Ownership mark of the storage, as a backend read it.
#[derive(Clone, Debug)]
pub enum Mark {
    /// The mark of this operator. The text identifies the object that was read (a uid, an ETag), or is empty.
    Ours(String),
    /// The mark is missing or incomplete: what is missing. If the operator created the storage, the removal deletes
    /// nothing and does not end.
    Missing(String),
    /// The storage belongs to another owner or cannot carry a mark: why the operator may not delete it.
    NotOurs(String),
    /// The storage does not exist any more.
    Gone,
}

/// Result of one step of deletion.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Number of objects (versions, delete markers) that this step deleted.
    pub objects: u64,
    /// What the next step waits for, or why objects were not deleted.
    pub next: Result<Wait, StepError>,
}

impl From<StorageError> for Deleted {
    fn from(error: StorageError) -> Self {
        Self {
            objects: 0,
            next: Err(error.into()),
        }
    }
}
