//! Errors of the storage. [`ErrorClass`] is the table of their classes and of what each class causes.
//!
//! An operation in progress is not an error: see [`Wait`](super::progress::Wait).

pub use crate::config::error_class::ErrorClass;
use crate::config::resolve::Rejection;
use crate::status::conditions::ConditionUpdate;

/// Why a step failed. The message names the object, the cause and the remedy, and never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    /// Who can resolve the error.
    pub class: ErrorClass,
    /// Text for a condition.
    pub message: String,
}

impl StorageError {
    /// An error that an administrator resolves outside the Config.
    pub fn action_required(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::ActionRequired,
            message: message.into(),
        }
    }

    /// Credentials that are missing or that the service refuses.
    pub fn no_access(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::NoAccess,
            message: message.into(),
        }
    }

    /// An error that a retry may resolve.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            class: ErrorClass::Transient,
            message: message.into(),
        }
    }
}

impl From<Rejection> for StorageError {
    fn from(rejection: Rejection) -> Self {
        Self {
            class: ErrorClass::Invalid(rejection.reason),
            message: rejection.message,
        }
    }
}

/// Why a step failed, and the conditions that it found before.
#[derive(Clone, Debug)]
pub struct StepError {
    /// The error.
    pub error: StorageError,
    /// Conditions that the step found.
    pub conditions: Vec<ConditionUpdate>,
}

impl From<StorageError> for StepError {
    fn from(error: StorageError) -> Self {
        Self {
            error,
            conditions: Vec::new(),
        }
    }
}

impl From<Rejection> for StepError {
    fn from(rejection: Rejection) -> Self {
        StorageError::from(rejection).into()
    }
}
