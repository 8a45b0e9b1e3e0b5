//! What outlives a step: cached tokens and keys, operations under way, the environment. Correctness does not depend on it.

use std::sync::{Arc, Mutex, PoisonError};

use super::arm::Operations;
use super::certificate::Certificates;
use super::environment::Environment;
use super::identity::Identities;
use super::keys::{Counter, KeyCache};
use super::reasons;
use crate::storage::model::call::CallError;

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
    /// Stages, with the ID of the object, that these credentials may not delete.
    refused: Mutex<Vec<(&'static str, String)>>,
    /// The account that is kept although the operator created it, and why.
    kept: Mutex<Option<String>>,
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

    /// Records that an object of a stage is left, because its deletion was refused.
    pub fn refuse(&self, stage: &'static str, id: &str, error: &CallError) {
        tracing::warn!(stage, id, %error, "an object of the storage account's private endpoint is left");
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused.iter().any(|(name, of)| *name == stage && of == id) {
            refused.push((stage, id.to_owned()));
        }
    }

    /// Tells, once, why an account that the operator created is not deleted.
    pub fn keep(&self, account: &str, why: &str) {
        let text = format!("{account}: {why}");
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref() != Some(&text) {
            tracing::warn!(
                account,
                why,
                "the storage account of the registry is kept: delete it by hand if nobody needs it"
            );
            *kept = Some(text);
        }
    }

    /// Whether the deletion of an object was refused.
    pub fn is_refused(&self, stage: &str, id: &str) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.iter().any(|(name, of)| *name == stage && of == id)
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

    /// Forgets how a removal ended: the location exists again.
    pub fn begin(&self, location: &str) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.take_if(|(of, _)| of == location);
    }
}
