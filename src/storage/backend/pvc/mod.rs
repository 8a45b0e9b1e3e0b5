//! A PersistentVolumeClaim: one of the user, or the operator's own claim `image-registry-storage`.
//!
//! The ownership mark is an annotation that the operator sets in the create call, and never on an existing claim. The
//! operator never changes a claim. It writes `spec.storage.pvc.claim` only after the claim exists, because it treats a
//! name in the spec as the user's choice.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::api::kind::is_subdomain;
use crate::api::registry_config::PvcStorage;
use crate::api::{Config, Kind, Storage};
use crate::config::defaults;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::program::{FilesystemVolume, RegistryStorage};
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::backend::Backend;
use crate::storage::model::error::{ErrorClass, StepError, StorageError};
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::{Deleted, Ensured, Existence, Mark, Progress, Wait};
use crate::storage::model::proof::{Level, OwnershipProof};
use crate::storage::model::state::State;
use crate::storage::model::target::{Request, Target};
use crate::storage::traits::{Cluster, Creation, Driver, Removable};

mod claim;

pub use claim::{BootstrapClaim, bootstrap_claim, bootstrap_claim_reads_volumes};

/// Wait before the next check of a claim. Claims are watched, so this only covers a missed event.
const RECHECK: Duration = Duration::from_secs(30);
/// Wait until the watch shows a claim that exists.
const WATCH_LAG: Duration = Duration::from_secs(1);
/// Seconds until the deletion of a claim counts as failed.
const GONE_WITHIN: i64 = 5 * 60;

/// The backend.
pub struct Pvc<'a, C> {
    /// Access to the cluster.
    pub cluster: &'a C,
}

fn claim_name(storage: &Storage) -> Option<&str> {
    storage.pvc.as_ref()?.claim.as_deref().filter(|name| !name.is_empty())
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Value> {
    snapshot.objects.operand(Kind::PersistentVolumeClaim, name)
}

fn exists(status: Status, reason: impl Into<String>, message: impl Into<String>) -> ConditionUpdate {
    ConditionUpdate::new(STORAGE_EXISTS, status, reason, message)
}

fn failure(error: StorageError, reason: &str) -> StepError {
    let condition = exists(Status::False, reason, error.message.clone());
    StepError {
        error,
        conditions: vec![condition],
    }
}

/// The existence of the claim is unknown, because the API server did not answer.
fn undecided(name: &str, cause: &str) -> StepError {
    let reason = format!("Unknown error occurred checking for volume claim {name}");
    let error = StorageError::transient(format!("claim {name} could not be read or created: {cause}"));
    let condition = exists(Status::Unknown, reason, error.message.clone());
    StepError {
        error,
        conditions: vec![condition],
    }
}

/// An error while the cache of claims is incomplete.
fn check_listed(snapshot: &Snapshot, name: &str) -> Result<(), StepError> {
    let is_listed = snapshot.objects.served(Kind::PersistentVolumeClaim);
    is_listed
        .then_some(())
        .ok_or_else(|| undecided(name, "claims cannot be listed yet"))
}

fn missing(name: &str) -> String {
    format!(
        "claim {name} not found in {}: create it, or name another in spec.storage.pvc.claim",
        names::NAMESPACE
    )
}

fn being_deleted(name: &str) -> String {
    format!("claim {name} is being deleted: no new pod starts with it, the operator continues when it is deleted")
}

fn leaving(name: &str) -> Wait {
    let message = being_deleted(name);
    let condition = exists(Status::False, "PVC does not exist", message.clone());
    Wait::new(RECHECK, message).with(vec![condition])
}

/// A claim that the spec will name.
struct Use<'a> {
    name: &'a str,
    blank_state: State,
}

impl Use<'_> {
    fn ensured(self, request: &Request<'_>, condition: ConditionUpdate) -> Progress<Ensured> {
        let pvc = Some(PvcStorage {
            claim: Some(self.name.to_owned()),
        });
        let storage = Storage {
            pvc,
            ..request.storage.clone()
        };
        Progress::Done(Ensured {
            storage,
            applied: None,
            blank_state: self.blank_state,
            conditions: vec![condition],
            creation: None,
            events: Vec::new(),
            probe_left: false,
            final_settings: None,
            again: None,
        })
    }

    /// Uses the existing claim if it is compatible with the Config. For a claim in use, `facts.unfit` reports an
    /// incompatibility.
    fn use_existing(self, request: &Request<'_>, found: &Value) -> Result<Progress<Ensured>, StepError> {
        if claim::deleted_at(found).is_some() {
            return Ok(Progress::Wait(leaving(self.name)));
        }
        if !request.applied {
            refuse_misfit(request, self.name, found)?;
        }
        let condition = exists(
            Status::True,
            "PVC Exists",
            claim::describe(request.snapshot, self.name, found),
        );
        Ok(self.ensured(request, condition))
    }
}

fn refuse_misfit(request: &Request<'_>, name: &str, found: &Value) -> Result<(), StepError> {
    match claim::misfit(request.config, name, found) {
        None => Ok(()),
        Some(message) => {
            let error = StorageError {
                class: ErrorClass::Invalid(Reason::PvcIncompatible),
                message,
            };
            Err(failure(error, "PVC Issues Found"))
        }
    }
}

impl<C: Cluster> Pvc<'_, C> {
    async fn create(
        &self,
        request: &Request<'_>,
        wanted: Use<'_>,
        body: &Value,
    ) -> Result<Progress<Ensured>, StepError> {
        match self.cluster.create_claim(body).await {
            Ok(Creation::Created) => {}
            Ok(Creation::AlreadyExists) => {
                let message = format!("claim {} exists already, it is checked next", wanted.name);
                return Ok(Progress::Wait(Wait::new(WATCH_LAG, message)));
            }
            Err(error) if error.class == ErrorClass::Transient => return Err(undecided(wanted.name, &error.message)),
            Err(error) => {
                let message = format!("Claim {} could not be created: {}", wanted.name, error.message);
                return Err(failure(StorageError { message, ..error }, "Creation Failed"));
            }
        }
        if !request.applied {
            refuse_misfit(request, wanted.name, body)?;
        }
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
        let mode = text("/spec/accessModes/0").unwrap_or_default();
        let class = match text("/spec/storageClassName") {
            Some(class) => format!("StorageClass {class}"),
            None => "the cluster's default StorageClass".to_owned(),
        };
        let message = format!("Claim {} was created (100Gi, {mode}, {class}).", wanted.name);
        Ok(wanted.ensured(request, exists(Status::True, "PVC Created", message)))
    }

    /// A claim that the spec (or the platform's default) names.
    async fn named(&self, request: &Request<'_>, name: &str) -> Result<Progress<Ensured>, StepError> {
        let wanted = Use {
            name,
            blank_state: State::Unmanaged,
        };
        if let Some(found) = find(request.snapshot, name) {
            return wanted.use_existing(request, found);
        }
        let unmanaged = request.state == Some(State::Unmanaged);
        if request.defaulted && !unmanaged {
            let infrastructure = request.snapshot.infrastructure().unwrap_or_default();
            let platform = defaults::platform(&infrastructure);
            // Only a new Config waits: on a running cluster the platform's storage operator has started long ago.
            let created = request.config.metadata.creation_timestamp.as_ref();
            let since = created.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
            return match claim::bootstrap_claim(request.snapshot, platform.as_deref(), since) {
                BootstrapClaim::Create(body) => self.create(request, wanted, &body).await,
                BootstrapClaim::Wait { message, left } => {
                    let condition = exists(Status::False, "PVC does not exist", message.clone());
                    Ok(Progress::Wait(Wait::new(left, message).with(vec![condition])))
                }
            };
        }
        if name == names::DEFAULT_CLAIM && request.state == Some(State::Managed) {
            // A user deleted the operator's own claim.
            return self.create(request, wanted, &claim::default_claim()).await;
        }
        Err(failure(
            StorageError::action_required(missing(name)),
            "PVC Issues Found",
        ))
    }

    /// The operator's own claim.
    async fn own(&self, request: &Request<'_>) -> Result<Progress<Ensured>, StepError> {
        let wanted = Use {
            name: names::DEFAULT_CLAIM,
            blank_state: State::Managed,
        };
        match find(request.snapshot, names::DEFAULT_CLAIM) {
            None => self.create(request, wanted, &claim::default_claim()).await,
            Some(found) if claim::is_owned(found) || claim::deleted_at(found).is_some() => {
                wanted.use_existing(request, found)
            }
            Some(_) => {
                let message = format!(
                    "Claim {0} exists but was not made by this operator: set spec.storage.pvc.claim to {0} to use it",
                    names::DEFAULT_CLAIM
                );
                Err(failure(StorageError::action_required(message), "PVC Already Exists"))
            }
        }
    }
}

impl<C: Cluster> Driver for Pvc<'_, C> {
    const BACKEND: Backend = Backend::Pvc;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const EXISTS: &'static str = "PVC Exists";
    const GONE: &'static [&'static str] = &["PVC does not exist", "PVC Issues Found", "Creation Failed"];
    const REMOTE: bool = false;

    fn locate(storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        claim_name(storage).map(str::to_owned)
    }

    fn resolve(&self, config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let named = claim_name(storage);
        if let Some(name) = named.filter(|name| !is_subdomain(name)) {
            let message = format!(
                "spec.storage.pvc.claim is {name:?}, which cannot be the name of a claim: use lower-case letters, digits, \
                 - and ."
            );
            return Err(Rejection::new(Reason::InvalidConfig, message));
        }
        let name = named.unwrap_or(names::DEFAULT_CLAIM);
        let found = find(snapshot, name);
        let is_listed = snapshot.objects.served(Kind::PersistentVolumeClaim);
        let not_usable = match found {
            Some(found) => claim::deleted_at(found).map(|_| being_deleted(name)),
            None => is_listed.then(|| missing(name)),
        };
        Ok(Target {
            location: Some(name.to_owned()),
            named: named.is_some(),
            access: Some(RegistryStorage::Filesystem(FilesystemVolume::Claim(name.to_owned()))),
            ca_bundle: None,
            unfit: found.and_then(|found| claim::misfit(config, name, found)),
            not_usable,
        })
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        Fingerprint::of_target(request.target)
    }

    async fn runtime_access(&self, request: &Request<'_>) -> Result<RegistryStorage, StepError> {
        let name = claim_name(request.storage).unwrap_or(names::DEFAULT_CLAIM);
        Ok(RegistryStorage::Filesystem(FilesystemVolume::Claim(name.to_owned())))
    }

    async fn exists(&self, request: &Request<'_>) -> Result<Existence, StepError> {
        let name = claim_name(request.storage).unwrap_or(names::DEFAULT_CLAIM);
        check_listed(request.snapshot, name)?;
        Ok(match find(request.snapshot, name) {
            None => Existence::Absent {
                reason: "PVC does not exist",
                message: missing(name),
            },
            Some(found) if claim::deleted_at(found).is_some() => Existence::Leaving(leaving(name)),
            Some(found) => {
                let message = claim::describe(request.snapshot, name, found);
                Existence::Present(vec![exists(Status::True, Self::EXISTS, message)], Vec::new())
            }
        })
    }

    async fn ensure(&self, request: &Request<'_>) -> Result<Progress<Ensured>, StepError> {
        let name = claim_name(request.storage);
        check_listed(request.snapshot, name.unwrap_or(names::DEFAULT_CLAIM))?;
        match name {
            Some(name) => self.named(request, name).await,
            None => self.own(request).await,
        }
    }
}

impl<C: Cluster> Removable for Pvc<'_, C> {
    async fn prove(&self, request: &Request<'_>) -> Result<(Level, Mark), StepError> {
        let name = claim_name(request.storage).unwrap_or_default();
        check_listed(request.snapshot, name)?;
        let mark = match find(request.snapshot, name) {
            None => Mark::Gone,
            Some(found) if !claim::is_owned(found) => {
                Mark::Missing(format!("it has no annotation {}", names::OWNED_ANNOTATION))
            }
            Some(found) => {
                // The version too: the watch may be behind somebody who removes the annotation to keep the data.
                let seen = claim::uid(found).zip(claim::version(found));
                let pin = seen.map(|(uid, version)| format!("{uid}/{version}"));
                let unknown = || StorageError::transient(format!("claim {name} has no uid or no resourceVersion"));
                Mark::Ours(pin.ok_or_else(unknown)?)
            }
        };
        Ok((Level::Container, mark))
    }

    async fn remove(&self, request: &Request<'_>, proof: &OwnershipProof) -> Result<Deleted, StepError> {
        let name = claim_name(request.storage).unwrap_or_default();
        let since = find(request.snapshot, name)
            .and_then(claim::deleted_at)
            .and_then(|t| t.parse::<Timestamp>().ok());
        match since {
            None => {
                let (uid, version) = proof.pin().split_once('/').unwrap_or_default();
                self.cluster.delete_claim(name, uid, version).await?;
            }
            Some(since) if request.snapshot.now.as_second() - since.as_second() > GONE_WITHIN => {
                let message = format!(
                    "claim {name} was deleted at {since} and is still there: a pod may use it, or another finalizer holds it"
                );
                return Err(StorageError::action_required(message).into());
            }
            Some(_) => {}
        }
        let message = format!("claim {name} was deleted, waiting until it is gone");
        Ok(Deleted {
            objects: 0,
            next: Ok(Wait::new(RECHECK, message)),
        })
    }

    fn removed(&self, location: &str, _deleted: bool) -> Vec<ConditionUpdate> {
        vec![exists(
            Status::False,
            "PVC Deleted",
            format!("Claim {location} was deleted with its images."),
        )]
    }

    fn clear_identifiers(&self, storage: &mut Storage, _location: &str) {
        if let Some(pvc) = &mut storage.pvc {
            pvc.claim = None;
        }
    }
}
