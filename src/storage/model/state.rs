//! PURE: the effective `spec.storage.managementState`.

use crate::api::Config;

/// Value of `managementState` of the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The operator enforces settings, and a removal deletes the data.
    Managed,
    /// The operator changes and deletes nothing.
    Unmanaged,
}

impl State {
    /// Value of the field.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Managed => "Managed",
            Self::Unmanaged => "Unmanaged",
        }
    }

    /// Parses the field: `Managed` is Managed, any other text is Unmanaged, a blank field is `None`.
    fn read(text: Option<&str>) -> Option<Self> {
        text.map(|t| if t == "Managed" { Self::Managed } else { Self::Unmanaged })
    }
}

/// State in the spec; `None` if the field is blank.
pub fn requested(config: &Config) -> Option<State> {
    State::read(config.spec.storage.as_ref().and_then(|s| s.state()))
}

/// State that an earlier pass stored in `status.storage`.
pub fn stored(config: &Config) -> Option<State> {
    State::read(config.status.as_ref().and_then(|s| s.storage.state()))
}

/// State from the deprecated field `status.storageManaged`. It applies to existing, unchanged storage if the spec has
/// no state, as after an upgrade.
pub fn mirrored(config: &Config) -> State {
    if config.status.as_ref().is_some_and(|s| s.storage_managed) {
        State::Managed
    } else {
        State::Unmanaged
    }
}

/// State with which the registry runs: of the status, or of the deprecated field where the status has none.
pub fn before(config: &Config) -> State {
    stored(config).unwrap_or_else(|| mirrored(config))
}

/// Effective state of this pass; `None` if the observation of the storage decides.
///
/// `moved`: the status names other storage than the spec, or none. A `Managed` that the user did not change was written
/// for the old storage and is ignored, so that the operator never owns storage that a user provides. An unchanged
/// `Unmanaged` stays effective.
pub fn effective(config: &Config, moved: bool) -> Option<State> {
    let requested = requested(config)?;
    let unchanged = before(config) == requested;
    (!(moved && unchanged && requested == State::Managed)).then_some(requested)
}
