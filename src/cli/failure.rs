//! Why the process ends with exit status 1.

use crate::runtime::shutdown::Cause;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the process did not start or did not continue.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Start(BoxError),
    #[error("the controllers failed: {0}")]
    Controllers(BoxError),
    #[error("the controllers ended unexpectedly")]
    ControllersEnded,
    #[error("{0}")]
    Shutdown(String),
}

impl Failure {
    pub(super) fn start(error: impl Into<BoxError>) -> Self {
        Self::Start(error.into())
    }

    /// The result of a process that shut down for this cause.
    pub(super) fn of_shutdown(cause: &Cause) -> Result<(), Self> {
        if cause.is_orderly() {
            Ok(())
        } else {
            Err(Self::Shutdown(cause.to_string()))
        }
    }
}
