//! Stages: objects around the container that the operator creates before or after the container.

use std::time::Duration;

use super::progress::{Mark, Wait};
use crate::api::Storage;

/// An object around the container: a storage account, a service instance, a private endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Name of the stage, for its record in the Config and for messages.
    pub name: &'static str,
    /// Longest duration of the operation. After that the conditions show Degraded.
    pub deadline: Duration,
}

/// State of a stage.
#[derive(Clone, Debug)]
pub enum StageState {
    /// The object exists.
    Ready {
        /// The storage with the identifiers that the stage adds to the spec.
        storage: Storage,
        /// Identity of the object.
        id: String,
    },
    /// The object does not exist. The engine persists name and identity before it creates the object.
    Missing {
        /// New `spec.storage`, with the name of the object.
        storage: Storage,
        /// Identity of the object.
        id: String,
        /// Reason of `StorageExists=False` if the container is inside the object; `None`: the first of
        /// [`Terms::gone`](super::container::Terms::gone).
        reason: Option<&'static str>,
    },
    /// The operation is in progress.
    Pending(Wait),
}

/// The existing object of a stage, for a removal.
#[derive(Clone, Debug)]
pub struct StageObject {
    /// Identity of the object. A removal deletes the object only if the Config records this identity.
    pub id: String,
    /// Ownership mark of the object. Objects that a removal keeps by design are [`Mark::NotOurs`].
    pub mark: Mark,
}

impl StageObject {
    /// The pin of the ownership mark, if the object has this identity and carries the mark of this operator.
    pub fn ours(self, id: &str) -> Option<String> {
        match self.mark {
            Mark::Ours(pin) if self.id == id => Some(pin),
            _ => None,
        }
    }
}
