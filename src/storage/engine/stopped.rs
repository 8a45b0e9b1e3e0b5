//! PURE: texts about a removal that the user stopped after it deleted a part of the storage.

use crate::config::event_request::EventRequest;

/// Text of a condition.
pub(super) fn message(objects: u64) -> String {
    format!("Its removal was stopped after {objects} objects were deleted, the rest was kept.")
}

/// The event.
pub(super) fn event(location: &str, objects: u64) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "RemovalStopped",
        message: format!("storage {location}: {}", message(objects)),
    }
}
