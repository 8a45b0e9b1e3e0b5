//! `spec.storage.managementState`: what it means in this pass. PURE.

use crate::api::Config;

/// Whether settings are enforced and removal deletes the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Both.
    Managed,
    /// Neither.
    Unmanaged,
}

impl State {
    /// As stored.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Managed => "Managed",
            Self::Unmanaged => "Unmanaged",
        }
    }

    /// As read; only the literal `Managed` is Managed, anything else that is not blank is not.
    fn read(text: Option<&str>) -> Option<Self> {
        text.map(|t| if t == "Managed" { Self::Managed } else { Self::Unmanaged })
    }
}

/// State that the spec asks for; `None` where it is blank.
pub fn asked(config: &Config) -> Option<State> {
    State::read(config.spec.storage.as_ref().and_then(|s| s.state()))
}

/// State that an earlier pass stored for the storage that `status.storage` names.
pub fn stored(config: &Config) -> Option<State> {
    State::read(config.status.as_ref().and_then(|s| s.storage.state()))
}

/// State that an unchanged, existing storage has when the spec says none: the deprecated mirror tells (upgrades).
pub fn mirrored(config: &Config) -> State {
    if config.status.as_ref().is_some_and(|s| s.storage_managed) {
        State::Managed
    } else {
        State::Unmanaged
    }
}

/// State that counts in this pass; `None` where the driver's findings decide.
///
/// `moved`: the status names other storage than the spec, or none. A `Managed` that was only kept then says nothing about
/// storage that it was not written for, so that storage brought by a user is never taken for the operator's own.
/// A kept `Unmanaged` stays: re-derivation only lowers.
pub fn effective(config: &Config, moved: bool) -> Option<State> {
    let asked = asked(config)?;
    let kept = stored(config).unwrap_or_else(|| mirrored(config)) == asked;
    (!(moved && kept && asked == State::Managed)).then_some(asked)
}
