//! Validation errors of the Config, as the conditions report them.

/// Reason of the condition that reports an invalid Config. The operator retries after an edit of the Config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Negative replicas, two routes with the same name, or a route with the reserved name.
    VerificationFailed,
    /// No storage backend is set and the platform has no default, or the registry program has no driver for the backend.
    StorageNotConfigured,
    /// Several storage backends.
    StorageConflict,
    /// Negative request limits.
    InvalidRequestsLimits,
    /// An unknown TLS version or cipher suite, or an `observedConfig` with a field of the wrong type.
    InvalidTlsConfig,
    /// `unsupportedConfigOverrides` with a field of the wrong type.
    InvalidOverrides,
    /// A field that is not a duration.
    InvalidDuration,
    /// A Config that does not decode, or a value that the API does not document.
    InvalidConfig,
    /// Another owner has a Route of the requested name. The rest of the pass continues.
    RouteConflict,
    /// A registry that asks for no login would be reachable from outside of the cluster. The rest of the pass continues.
    ExposureRefused,
    /// The claim's access mode does not allow the replicas or the rollout strategy. The rest of the pass continues.
    PvcIncompatible,
}

impl Reason {
    /// `reason` of the condition.
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
            Self::ExposureRefused => "ExposureRefused",
            Self::PvcIncompatible => "PVCIncompatible",
        }
    }
}

/// Why the Config is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// `reason` of the condition.
    pub reason: Reason,
    /// `message` of the condition: the field, its value and what to change.
    pub message: String,
}

impl Rejection {
    /// Creates a rejection.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}
