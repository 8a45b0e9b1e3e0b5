//! Errors of the storage, by what they ask for.

use crate::config::resolve::{Reason, Rejection};

/// Class of a fault; it chooses the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Wrong input: waits for an edit; the reason goes into the conditions.
    Rejected(Reason),
    /// Something that an administrator may mend elsewhere (a Secret, a claim, a right): retried with backoff.
    Config,
    /// The cluster or the cloud did not answer, or not now: retried with backoff.
    Transient,
}

/// Why a step of the storage could not be done. The text names the object, the cause and the remedy, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What the fault asks for.
    pub class: Class,
    /// For a condition.
    pub message: String,
}

impl Fault {
    /// A fault that may go away when something outside the Config is mended.
    pub fn config(message: impl Into<String>) -> Self {
        Self {
            class: Class::Config,
            message: message.into(),
        }
    }

    /// A fault that may go away by itself.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            class: Class::Transient,
            message: message.into(),
        }
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self {
            class: Class::Rejected(rejection.reason),
            message: rejection.message,
        }
    }
}
