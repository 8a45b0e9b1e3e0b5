//! Requests for Kubernetes events. Pure code returns them; the controller emits them.

/// A Kubernetes event to emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    /// Event type: `Warning` if true, else `Normal`.
    pub warning: bool,
    /// Reason of the event.
    pub reason: &'static str,
    /// Message of the event.
    pub message: String,
}

impl EventRequest {
    /// A `Warning`.
    pub fn warning(reason: &'static str, message: String) -> Self {
        Self {
            warning: true,
            reason,
            message,
        }
    }
}
