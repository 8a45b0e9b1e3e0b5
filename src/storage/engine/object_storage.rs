//! The driver of every object storage: implemented once, over an [`ObjectBackend`].

use std::time::Duration;

use super::cache::ObservationCache;
use super::intent::StoredStages;
use super::settings;
use super::work::{Work, capitalised, exists};
use crate::api::{Config, Storage};
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::backend::Backend;
use crate::storage::model::call::{CallClass, CallError};
use crate::storage::model::error::{ErrorClass, StepError, StorageError};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::preflight::{Preflighted, Probe, Probed};
use crate::storage::model::progress::{Deleted, Ensured, Existence, Mark, Progress, StageRecord};
use crate::storage::model::proof::{Level, OwnershipProof};
use crate::storage::model::state::State;
use crate::storage::model::target::{Request, Target};
use crate::storage::preflight::exercise;
use crate::storage::traits::{Cluster, Driver, ObjectBackend, ObjectStore, Removable};

/// Longest time for the call that provides the registry's credentials, with its retries. The pass goes on without them.
const ANSWER: Duration = Duration::from_secs(20);

/// The [`Driver`] of every object store.
pub struct ObjectStorage<'a, B, C> {
    /// The cloud.
    pub backend: &'a B,
    /// The cluster.
    pub cluster: &'a C,
    /// Observations of this process.
    pub cache: &'a ObservationCache,
}

impl<B: ObjectBackend, C: Cluster> ObjectStorage<'_, B, C> {
    /// Whether objects are recorded that the spec does not want any more.
    fn has_leftovers(&self, request: &Request<'_>) -> bool {
        let retired = self.backend.retired(request);
        let records = StoredStages::all(request.config);
        let replaced = |record: &StageRecord| {
            records
                .iter()
                .any(|one| one.stage == record.stage && one.id != record.id)
        };
        records
            .iter()
            .any(|record| replaced(record) || retired.iter().any(|stage| stage.name == record.stage))
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Work<'s, B, C>, StepError> {
        let store = self.backend.open(request).map_err(|error| {
            let message = error.message.clone();
            let unknown = ConditionUpdate::new(STORAGE_EXISTS, Status::Unknown, B::TERMS.no_login, message);
            StepError {
                error,
                conditions: vec![unknown],
            }
        })?;
        Ok(Work {
            backend: self.backend,
            cluster: self.cluster,
            cache: self.cache,
            request,
            store,
        })
    }

    /// Calls for the registry's credentials, and caches the result.
    async fn call_access(
        &self,
        request: &Request<'_>,
        known: RegistryStorage,
        fingerprint: Fingerprint,
    ) -> Result<RegistryStorage, StepError> {
        let now = request.snapshot.now;
        let work = self.open(request)?;
        let name = &work.store.container().name;
        let silent = |_| Err(CallError::no_answer(B::TERMS.rights_to_observe, name, ANSWER));
        let called = Box::pin(work.store.runtime_access(known.clone()));
        let error = match tokio::time::timeout(ANSWER, called).await.unwrap_or_else(silent) {
            Ok((access, lifetime)) => {
                self.cache.store_runtime_access(fingerprint, &access, now, lifetime);
                return Ok(access);
            }
            Err(error) => error,
        };
        let mut failed = work.failed(&error, "");
        if error.class == CallClass::NotFound {
            // `ensure` creates it again or says why not.
            failed.error.class = ErrorClass::Transient;
            self.cache.lose_access(fingerprint, failed.clone(), now);
            return Err(failed);
        }
        let kept = B::kept_access(request, &known);
        self.cache.store_failed_access(fingerprint, failed, kept, now)
    }
}

impl<B: ObjectBackend, C: Cluster> Driver for ObjectStorage<'_, B, C> {
    const BACKEND: Backend = B::BACKEND;
    const CONDITIONS: &'static [&'static str] = B::CONDITIONS;
    const EXISTS: &'static str = B::TERMS.exists;
    const GONE: &'static [&'static str] = B::TERMS.gone;
    const REMOTE: bool = true;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        B::locate(storage, snapshot)
    }

    const NOT_FOUND: Option<&'static str> = B::NOT_FOUND;

    fn usual_location(stored: &Storage) -> Option<String> {
        B::usual_location(stored)
    }

    fn is_located(snapshot: &Snapshot) -> bool {
        B::is_located(snapshot)
    }

    fn is_found(stored: &Storage) -> bool {
        B::is_found(stored)
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        B::same(stored, wanted, snapshot)
    }

    fn resolve(&self, _config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        self.backend.resolve(storage, snapshot)
    }

    fn ca_bundle(storage: &Storage, snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        B::ca_bundle(storage, snapshot)
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        self.backend.fingerprint(request)
    }

    fn unfinished(&self, request: &Request<'_>) -> bool {
        self.cache.is_access_gone()
            || (request.effective_state() == Some(State::Managed)
                && (settings::are_unfinished(&self.backend.settings(request), request, self.cache)
                    || self.has_leftovers(request)))
    }

    fn maintained(&self, request: &Request<'_>) -> bool {
        request.effective_state() == Some(State::Managed) && self.backend.maintained(request)
    }

    fn has_tenants(&self, request: &Request<'_>) -> bool {
        self.backend.has_tenants(request)
    }

    async fn exists(&self, request: &Request<'_>) -> Result<Existence, StepError> {
        Box::pin(self.open(request)?.existence()).await
    }

    async fn ensure(&self, request: &Request<'_>) -> Result<Progress<Ensured>, StepError> {
        let work = self.open(request)?;
        let mut ended = Box::pin(work.ensure()).await?;
        if let Progress::Done(ensured) = &mut ended {
            ensured.events.extend(self.backend.notices(request));
            ensured.events.extend(work.store.notices());
        }
        Ok(ended)
    }

    async fn runtime_access(&self, request: &Request<'_>) -> Result<RegistryStorage, StepError> {
        // If an input (a Secret, a key, a CA) is missing, fail, so that it is not rendered into the pods.
        let known = self.backend.access(request)?;
        let fingerprint = self.backend.fingerprint(request);
        if let Some(cached) = self.cache.runtime_access(&fingerprint, request.snapshot.now) {
            return cached;
        }
        Box::pin(self.call_access(request, known, fingerprint)).await
    }

    async fn preflight(&self, request: &Request<'_>, probe: &Probe<'_>) -> Probed {
        let undecided = |error: StorageError| Preflighted::Undecided(error.message).into();
        let work = match self.open(request) {
            Ok(work) => work,
            Err(failed) => return undecided(failed.error),
        };
        if !probe.read_only
            && let Some(refused) = work.refuses_probe().await
        {
            return refused.into();
        }
        match work.store.data_plane(probe).await {
            Ok(plane) => Box::pin(exercise::run(&plane, probe)).await,
            Err(error) => undecided(error),
        }
    }

    async fn clear_probe(&self, request: &Request<'_>, key: &str) -> Result<(), StepError> {
        // A missing Secret may be created again, so the error is transient.
        let work = self
            .open(request)
            .map_err(|failed| StorageError::transient(failed.error.message))?;
        Box::pin(work.clear_probe(key)).await
    }
}

impl<B: ObjectBackend, C: Cluster> Removable for ObjectStorage<'_, B, C> {
    async fn prove(&self, request: &Request<'_>) -> Result<(Level, Mark), StepError> {
        let work = self.open(request)?;
        match Box::pin(work.prove()).await? {
            (Level::Container, Mark::Gone) => Box::pin(work.prove_stages()).await,
            proved => Ok(proved),
        }
    }

    async fn remove(&self, request: &Request<'_>, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        let work = self.open(request)?;
        Box::pin(async {
            match proof.level() {
                Level::Container => match work.tear_down().await? {
                    Some(deleted) => Ok(deleted),
                    None => work.empty(proof).await,
                },
                Level::Stage(..) => work.remove_stage(proof).await,
            }
        })
        .await
    }

    fn removed(&self, location: &str, deleted: bool) -> Vec<ConditionUpdate> {
        let name = location.rsplit('/').next().unwrap_or(location);
        let noun = capitalised(B::TERMS.container);
        let message = if deleted {
            format!("{noun} {name} was deleted with its images.")
        } else {
            format!("{noun} {name} does not exist, as far as the operator's credentials show.")
        };
        let left = self.left_over(location);
        let message = if left.is_empty() {
            message
        } else {
            format!("{message} Left, to be deleted by hand: {}.", left.join("; "))
        };
        vec![exists(
            Status::False,
            self.backend.deleted_reason(location, deleted),
            message,
        )]
    }

    fn left_over(&self, location: &str) -> Vec<String> {
        self.backend.left_over(location)
    }

    fn clear_identifiers(&self, storage: &mut Storage, location: &str) {
        self.backend.clear_identifiers(storage, location);
    }
}
