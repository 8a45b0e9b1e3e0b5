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
