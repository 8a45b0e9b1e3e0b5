//! Why a Config cannot be applied, for a condition.

/// Why the Config cannot be applied. All of them wait for an edit; the name is the reason of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Negative replicas; routes that share a name or take the reserved one.
    VerificationFailed,
    /// No storage backend, and none for the platform.
    StorageNotConfigured,
    /// Several storage backends.
    StorageConflict,
    /// Negative request limits.
    InvalidRequestsLimits,
    /// A TLS version or suite nobody knows, or `observedConfig` of another shape.
    InvalidTlsConfig,
    /// `unsupportedConfigOverrides` of another shape.
    InvalidOverrides,
    /// Text that is no duration.
    InvalidDuration,
    /// A Config that does not decode, or a value that no row of the API's documentation allows.
    InvalidConfig,
    /// A Route of a wanted name belongs to somebody else. The rest of the pass goes on.
    RouteConflict,
    /// Access mode of the claim, replicas and rollout strategy do not go together. The rest of the pass goes on.
    PvcIncompatible,
}

impl Reason {
    /// As written into conditions.
    pub const fn text(self) -> &'static str {
        match self {
            Self::VerificationFailed => "VerificationFailed",
            Self::StorageNotConfigured => "StorageNotConfigured",
            Self::StorageConflict => "StorageConflict",
            Self::InvalidRequestsLimits => "InvalidRequestsLimits",
            Self::InvalidTlsConfig => "InvalidTLSConfig",
            Self::InvalidOverrides => "InvalidOverrides",
            Self::InvalidDuration => "InvalidDuration",
            Self::InvalidConfig => "InvalidConfig",
            Self::RouteConflict => "RouteConflict",
            Self::PvcIncompatible => "PVCIncompatible",
        }
    }
}

/// Why the Config cannot be applied, for a condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Class of the fault.
    pub reason: Reason,
    /// Names the field, the value and the remedy.
    pub message: String,
}

impl Rejection {
    /// A rejection.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
