//! Orderly shutdown of the process: one part [begins](Shutdown::begin) it, all others wait for it.

use std::{fmt, io, path::PathBuf, process};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Why the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A signal was received; its name.
    Signal(&'static str),
    /// A watched file changed; the process restarts to use its new content.
    FileChanged(PathBuf),
    /// An error that a restart may fix.
    Failure(String),
}

impl Cause {
    /// Whether the exit status is 0.
    pub(crate) fn is_orderly(&self) -> bool {
        !matches!(self, Self::Failure(_))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(name) => write!(f, "received {name}"),
            Self::FileChanged(path) => write!(f, "watched file {} changed", path.display()),
            Self::Failure(what) => f.write_str(what),
        }
    }
}

/// A token that is set once. Clones share it.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<Option<Cause>>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Shutdown {
    /// A token that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the token and logs the cause. Later causes are ignored.
    pub(crate) fn begin(&self, cause: Cause) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                tracing::info!("shutting down: {cause}");
                *current = Some(cause);
            }
            first
        });
    }

    /// The cause, once the token is set.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.0.borrow().clone()
    }

    /// Whether the token is set: start no new work.
    pub(crate) fn is_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until the token is set. Cancel-safe.
    pub(crate) async fn begun(&self) -> Cause {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(cause) = receiver.borrow_and_update().clone() {
                return cause;
            }
            if receiver.changed().await.is_err() {
                // Unreachable: `self` holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Begins the shutdown on the first SIGINT or SIGTERM; the second ends the process at once with status 1.
///
/// Must be called within a tokio runtime. Fails if the system refuses the handlers.
pub(crate) fn on_signals(shutdown: Shutdown) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut again = false;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if again {
                tracing::warn!("received {name} again, exiting at once");
                process::exit(1);
            }
            again = true;
            shutdown.begin(Cause::Signal(name));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_clones_see_the_first_cause() {
        let shutdown = Shutdown::new();
        let seen = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        tokio::task::yield_now().await;
        assert!(!shutdown.is_begun());
        shutdown.begin(Cause::FileChanged("/etc/secrets/tls.crt".into()));
        shutdown.begin(Cause::Failure("later".to_owned()));
        assert_eq!(seen.await.unwrap(), Cause::FileChanged("/etc/secrets/tls.crt".into()));
        assert!(shutdown.cause().unwrap().is_orderly());
    }
}
