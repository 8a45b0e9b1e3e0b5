//! What outlives a step: cached tokens and keys, operations under way, the environment. Correctness does not depend on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::arm::Operations;
use super::certificate::Certificates;
use super::environment::Environment;
use super::identity::Identities;
use super::keys::{Counter, KeyCache};
use super::reasons;
use crate::config::elapsed::elapsed;
use crate::storage::model::call::{CallError, Cause};

/// How long a removal insists on a deletion that is refused: the longest time until a new role counts everywhere. Source: "Troubleshoot
/// Azure RBAC".
const PATIENCE: Duration = Duration::from_mins(10);
/// Time between two attempts to create an object whose creation fails: that of a resync.
const REPAIR: Duration = Duration::from_mins(10);
/// The same if the cause passes, such as another operation in progress.
const PASSING: Duration = Duration::from_mins(1);
/// A refusal after this time is the first one again. Longer than the wait between two attempts.
const MEMORY: Duration = Duration::from_mins(15);

/// A refused call about an object of a stage.
struct Refused {
    location: String,
    stage: &'static str,
    id: String,
    error: String,
    since: Timestamp,
    last: Timestamp,
    given_up: bool,
}

impl Refused {
    fn is(&self, location: &str, stage: &str, id: &str) -> bool {
        self.location == location && self.stage == stage && self.id == id
    }
}

/// The last attempt to create an object.
struct Attempt {
    at: Timestamp,
    /// How its operation failed, as far as this process saw it.
    error: Option<CallError>,
}

/// State of this process.
#[derive(Default)]
pub struct Clients {
    /// Cached identities with their tokens.
    pub identities: Identities,
    /// The identity of a managed control plane.
    pub certificates: Certificates,
    /// Cached key of the account.
    pub keys: Arc<KeyCache>,
    /// Operations under way.
    pub operations: Arc<Operations>,
    /// Environment of the process.
    pub environment: Environment,
    /// Refused calls about objects of stages.
    refused: Mutex<Vec<Refused>>,
    /// What else a removal of a location leaves, by location and stage.
    left: Mutex<BTreeMap<(String, &'static str), String>>,
    /// Links, by path, to which the service objected, with the time.
    conflicts: Mutex<BTreeMap<String, (Timestamp, CallError)>>,
    /// Last attempts to create objects, by path.
    attempts: Mutex<BTreeMap<String, Attempt>>,
    /// How the last removal ended: location and reason.
    ended: Mutex<Option<(String, &'static str)>>,
}

impl Clients {
    /// The same with this environment.
    #[must_use]
    pub fn with_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// The same with a counter of the lookups of keys.
    #[must_use]
    pub fn with_counter(self, counter: Counter) -> Self {
        Self {
            keys: Arc::new(KeyCache::new(counter)),
            ..self
        }
    }

    /// Records that a call about an object of a stage was refused. A new role takes minutes until it counts everywhere: only after
    /// [`PATIENCE`] a removal goes on without the object.
    pub fn refuse(&self, location: &str, stage: &'static str, id: &str, error: &CallError, now: Timestamp) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.iter_mut().find(|one| one.is(location, stage, id));
        let Some(known) = known else {
            refused.push(Refused {
                location: location.to_owned(),
                stage,
                id: id.to_owned(),
                error: error.to_string(),
                since: now,
                last: now,
                given_up: false,
            });
            return;
        };
        if elapsed(known.last, now, MEMORY) >= MEMORY {
            known.since = now;
        }
        known.last = now;
        known.error = error.to_string();
        if !known.given_up && elapsed(known.since, now, PATIENCE) >= PATIENCE {
            known.given_up = true;
            tracing::warn!(stage, id, %error, "a removal leaves an object of the storage account's private endpoint");
        }
    }

    /// Why a call about an object of a stage was refused.
    pub fn refusal(&self, location: &str, stage: &str, id: &str) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let known = refused.iter().find(|one| one.is(location, stage, id));
        known.map(|one| one.error.clone())
    }

    /// Whether a removal goes on without an object.
    pub fn is_given_up(&self, location: &str, stage: &str, id: &str) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().any(|one| one.is(location, stage, id) && one.given_up)
    }

    /// Forgets a refusal: the object is created again.
    pub fn forget_refusal(&self, location: &str, stage: &str, id: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|one| !one.is(location, stage, id));
    }

    /// Records what a removal of a location leaves of a stage by design; `None`: nothing any more.
    pub fn leave(&self, location: &str, stage: &'static str, what: Option<String>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (location.to_owned(), stage);
        match what {
            Some(what) => drop(left.insert(key, what)),
            None => drop(left.remove(&key)),
        }
    }

    /// What a removal of a location leaves.
    pub fn left(&self, location: &str) -> Vec<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let given_up = refused.iter().filter(|one| one.location == location && one.given_up);
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left.iter().filter(|((of, _), _)| of == location);
        given_up
            .map(|one| format!("{} {} ({})", one.stage, one.id, one.error))
            .chain(left.map(|(_, what)| what.clone()))
            .collect()
    }

    /// Records that the service objected to a link.
    pub fn conflict(&self, path: &str, error: &CallError, now: Timestamp) {
        let mut conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        conflicts.insert(path.to_owned(), (now, error.clone()));
    }

    /// The objection of the service to a link; `None` after [`REPAIR`]: the service is asked again.
    pub fn conflicts(&self, path: &str, now: Timestamp) -> Option<CallError> {
        let conflicts = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, error) = conflicts.get(path)?;
        (elapsed(*at, now, REPAIR) < REPAIR).then(|| error.clone())
    }

    /// Records that the service accepted the creation of an object.
    pub fn attempt(&self, path: &str, now: Timestamp) {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let error = attempts.remove(path).and_then(|last| last.error);
        attempts.insert(path.to_owned(), Attempt { at: now, error });
    }

    /// Records how the operation of the last attempt failed. Errors of the look at it, such as one of the login, say nothing about it.
    pub fn fail(&self, path: &str, error: &CallError) {
        let is_its_own = error.cause == Cause::Answer(409) && !error.of_identity;
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = attempts.get_mut(path).filter(|_| is_its_own) {
            last.error = Some(error.clone());
        }
    }

    /// Whether it is time for another attempt. A passing cause is tried again sooner.
    ///
    /// # Errors
    /// It is too early: how the last attempt failed, as far as that is known.
    pub fn check_pause(&self, path: &str, now: Timestamp) -> Result<(), Option<CallError>> {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(last) = attempts.get(path) else {
            return Ok(());
        };
        let passing = last.error.as_ref().is_some_and(CallError::is_undecided);
        let pause = if passing { PASSING } else { REPAIR };
        if elapsed(last.at, now, pause) < pause {
            return Err(last.error.clone());
        }
        Ok(())
    }

    /// Forgets the attempts for an object: it is complete, or does not exist any more.
    pub fn succeed(&self, path: &str) {
        self.attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(path);
    }

    /// Records how the removal of a location ends. What this process deleted says more than what it did not find.
    pub fn end(&self, location: &str, reason: &'static str) {
        let weight = |reason| match reason {
            reasons::ACCOUNT_DELETED => 3,
            reasons::ACCOUNT_NOT_FOUND => 2,
            reasons::CONTAINER_DELETED => 1,
            _ => 0,
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let known = ended.as_ref().filter(|(of, _)| of == location);
        if known.is_none_or(|(_, known)| weight(known) < weight(reason)) {
            *ended = Some((location.to_owned(), reason));
        }
    }

    /// How the removal of a location ended, as far as this process saw it.
    pub fn ended(&self, location: &str) -> Option<&'static str> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended
            .as_ref()
            .filter(|(of, _)| of == location)
            .map(|(_, reason)| *reason)
    }

    /// Forgets how a removal ended: the location exists again, or still.
    pub fn begin(&self, location: &str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.take_if(|(of, _)| of == location);
    }
}
