//! Waits and errors for storage that does not exist.

use std::time::Duration;

use super::work::exists;
use crate::config::resolve::Reason;
use crate::status::conditions::Status;
use crate::storage::model::error::{ErrorClass, StepError, StorageError};
use crate::storage::model::outcome::{STORAGE_EXISTS, UNKNOWN_ERROR};
use crate::storage::model::progress::{Persist, Wait};
use crate::storage::traits::Driver;

/// The wait before storage in use is created again: the status reports the loss first.
pub(super) fn gone<D: Driver>(persist: Persist, storage: &str) -> Wait {
    let mut conditions = persist.conditions;
    if !conditions.iter().any(|c| c.type_ == STORAGE_EXISTS) {
        let reason = D::GONE.first().copied().unwrap_or_default();
        let message = format!("{storage} does not exist");
        conditions.push(exists(Status::False, reason, message));
    }
    Wait::new(
        Duration::ZERO,
        format!("{storage} does not exist any more and is created again"),
    )
    .with(conditions)
}

/// Storage in use does not exist for credentials with which the registry does not run yet. The storage counts neither as lost nor as
/// missing, so that nothing is created for another tenant.
pub(super) fn unseen(storage: &str) -> StepError {
    let message = format!(
        "{storage} does not exist for the changed credentials, and the registry uses it with the previous ones: restore \
         credentials of the project or tenant that has it. If it is deleted, name other storage in spec.storage"
    );
    StepError {
        conditions: vec![exists(Status::Unknown, UNKNOWN_ERROR, message.clone())],
        error: StorageError::no_access(message),
    }
}

/// The error for Unmanaged storage that does not exist: nobody permits its creation.
pub(super) fn not_created(storage: &str) -> StorageError {
    StorageError::action_required(format!(
        "{storage} does not exist, and spec.storage.managementState is Unmanaged, so that it is not created: create it, \
         name other storage, or remove managementState"
    ))
}

/// The error for Unmanaged storage without a name.
pub(super) fn nothing_to_use(backend: &str) -> StorageError {
    StorageError {
        class: ErrorClass::Invalid(Reason::InvalidConfig),
        message: format!(
            "spec.storage.managementState is Unmanaged, and the {backend} spec names no storage: name existing storage, or \
             remove managementState to let the operator create it"
        ),
    }
}
