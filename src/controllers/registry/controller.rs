//! The controller's state between passes, and the results of passes.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::last_login::LastLogin;
use crate::api::ObjectRef;
use crate::apply::{Recorded, WriteError};
use crate::config::error_class::ErrorClass;
use crate::config::last_logged::LastLogged;
use crate::controllers::backoff::RESYNC;
use crate::controllers::bootstrap::LastAttempt;
use crate::controllers::context::Context;
use crate::controllers::optional_api::{Asked, OptionalApi};
use crate::controllers::status_debounce::StatusDebounce;
use crate::names;

/// Why a pass ended early.
pub(super) enum Interrupted {
    /// The pass starts over with the newest version of the Config.
    Stale(Stale),
    /// The API server refused a write of the Config.
    Unstored(Unstored),
    /// A read or a write failed.
    Failed(WriteError),
}

/// What a pass found instead of the Config that it read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stale {
    #[error("Config {} is another version than the pass read", names::CLUSTER)]
    Changed,
    #[error("Config {} does not decode after a write", names::CLUSTER)]
    Undecodable,
    #[error("Config {} does not exist any more", names::CLUSTER)]
    Gone,
    /// The API server does not find the Config whose status the pass writes: the Config is gone, or has no status of its own.
    #[error(
        "the API server does not find the status of Config {}. If the Config exists, its CustomResourceDefinition lacks \
         subresource status: apply the CustomResourceDefinition of this release",
        names::CLUSTER
    )]
    NoStatus,
    /// Another call found another version, or no object.
    #[error("{0}")]
    Other(WriteError),
}

impl From<Stale> for Interrupted {
    fn from(stale: Stale) -> Self {
        Self::Stale(stale)
    }
}

/// A refused write of the Config.
pub(super) struct Unstored {
    pub(super) error: WriteError,
    /// The write contained the cluster's TLS settings (`spec.observedConfig`).
    pub(super) observed: bool,
}

impl Unstored {
    /// A field that the API server refuses waits for an edit of the Config. An admission policy or a webhook names no
    /// field, and may accept the same Config later.
    pub(super) fn class(&self) -> ErrorClass {
        match &self.error {
            WriteError::Refused(refusal) if refusal.fields.is_empty() => ErrorClass::ActionRequired,
            error => error.class(),
        }
    }

    /// What an administrator can do.
    pub(super) fn remedy(&self) -> &'static str {
        match self.class() {
            ErrorClass::Invalid(_) => "Correct the field",
            _ => "Find the missing permission, admission policy or webhook that prevents the write",
        }
    }
}

impl From<WriteError> for Interrupted {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict(_) | WriteError::NotFound => Self::Stale(Stale::Other(error)),
            other => Self::Failed(other),
        }
    }
}

/// Result of a pass.
pub(super) struct Ended {
    /// Whether to retry the pass with backoff.
    pub(super) failed: bool,
    /// Longest time until the next pass.
    pub(super) again: Duration,
}

impl Ended {
    pub(super) const SUCCESS: Self = Self {
        failed: false,
        again: RESYNC,
    };
    pub(super) const FAILED: Self = Self {
        failed: true,
        again: RESYNC,
    };
}

/// The start of a time that this process measures, on a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(Instant);

impl Since {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    /// The start on a wall clock that says `now`. It moves with a wall clock that is set, so that the time since is always right.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        now.checked_sub(self.0.elapsed()).unwrap_or(now)
    }
}

/// State of the controller between passes. Correctness does not depend on it: a new process continues from the state of
/// the cluster.
pub(super) struct Registry {
    pub(super) context: Context,
    /// `metadata.generation` of workloads after the operator's writes, until the status records them.
    pub(super) generations: HashMap<ObjectRef, i64>,
    /// The failure that no condition reports.
    pub(super) logged: LastLogged,
    /// First attempt to create the Config that does not exist.
    pub(super) bootstrap_since: Option<Since>,
    /// The last attempt to create the Config, while there is none.
    pub(super) bootstrapped: LastAttempt,
    /// Whether this pass began after the backoff of the last failure.
    pub(super) retry_due: bool,
    /// Start of the current series of failed passes.
    pub(super) failing_since: Option<Since>,
    /// Why the API server refused the last write of the Config; `None` after a successful write.
    pub(super) unstored: Option<String>,
    /// The login of the stock registry.
    pub(super) login: LastLogin,
    /// Since when a removal finds no Deployment.
    pub(super) gone_since: Option<Since>,
    /// Since when a removal lacks the credentials of the storage.
    pub(super) left_since: Option<Since>,
    /// Debounces writes of the status.
    pub(super) debounce: StatusDebounce,
    /// Time of the last write of the Deployment.
    pub(super) deployed: Option<Instant>,
    /// The group of security context constraints.
    pub(super) security: OptionalApi,
    /// What the current pass knows about that group, if it had to ask.
    pub(super) security_asked: Asked,
}

impl Registry {
    /// The state of a process that has run no pass.
    pub(super) fn new(context: Context) -> Self {
        Self {
            context,
            generations: HashMap::new(),
            logged: LastLogged::default(),
            bootstrap_since: None,
            bootstrapped: LastAttempt::default(),
            retry_due: true,
            failing_since: None,
            unstored: None,
            login: LastLogin::default(),
            gone_since: None,
            left_since: None,
            debounce: StatusDebounce::start(),
            deployed: None,
            security: OptionalApi::every(RESYNC),
            security_asked: Asked::default(),
        }
    }
}

/// Recorded generations of workloads: of this process first, then of the status.
pub(super) struct Generations<'a> {
    pub(super) own: &'a HashMap<ObjectRef, i64>,
    pub(super) stored: &'a [crate::api::Generation],
}

impl Recorded for Generations<'_> {
    fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let own = self.own.get(object).copied();
        own.or_else(|| {
            let entry = self.stored.iter().find(|g| {
                g.group == object.kind.group()
                    && g.resource == object.kind.plural()
                    && g.namespace == object.namespace
                    && g.name == object.name
            });
            entry?.last_generation
        })
    }
}
