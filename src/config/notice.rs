//! Things to tell that are not a state: they become events.

/// Something to tell in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Warning, or normal.
    pub warning: bool,
    /// Reason of the event.
    pub reason: &'static str,
    /// Text of the event.
    pub note: String,
}
