//! A PersistentVolumeClaim: the user's, or the operator's own `image-registry-storage`.
//!
//! The mark of ownership is an annotation that the claim gets when the operator creates it, in the same call; it is never
//! added to a claim that exists. A claim is never changed. `spec.storage.pvc.claim` is written only when the claim is
//! there, because a name in the spec reads as the user's.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::driver::{
    Deleted, Driver, Ensured, Existence, Failure, Mark, Next, OwnershipProof, Removable, State, Step, Target, Wait,
};
use super::fault::{Class, Fault};
use super::{Cluster, Creation, STORAGE_EXISTS, claim};
use crate::api::kind::is_subdomain;
use crate::api::registry_config::PvcStorage;
use crate::api::{Config, Kind, Storage};
use crate::config::defaults;
use crate::config::resolve::{Reason, Rejection};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::status::conditions::{Status, Verdict};

/// Name of the backend.
pub const NAME: &str = "PVC";

/// Claims are watched: these waits only guard against a missed event.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The claim exists and our watch has not shown it yet.
const STORE_LAGS: Duration = Duration::from_secs(1);
/// How long a deleted claim may take to go before the conditions say that removal failed.
const GONE_WITHIN: i64 = 5 * 60;

/// The backend.
pub struct Pvc<'a, C> {
    /// What it may do in the cluster.
    pub cluster: &'a C,
}

fn claim_name(storage: &Storage) -> Option<&str> {
    storage.pvc.as_ref()?.claim.as_deref().filter(|name| !name.is_empty())
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Option<&'a Value> {
    snapshot.objects.operand(Kind::PersistentVolumeClaim, name)
}

fn exists(status: Status, reason: impl Into<String>, message: impl Into<String>) -> Verdict {
    Verdict::new(STORAGE_EXISTS, status, reason, message)
}

fn failure(fault: Fault, reason: &str) -> Failure {
    let verdict = exists(Status::False, reason, fault.message.clone());
    Failure {
        fault,
        verdicts: vec![verdict],
    }
}

/// The API server did not tell: nothing is concluded from it.
fn undecided(name: &str, cause: &str) -> Failure {
    let reason = format!("Unknown error occurred checking for volume claim {name}");
    let fault = Fault::transient(format!("claim {name} could not be looked at or created: {cause}"));
    let verdict = exists(Status::Unknown, reason, fault.message.clone());
    Failure {
        fault,
        verdicts: vec![verdict],
    }
}

fn known(snapshot: &Snapshot, name: &str) -> Result<(), Failure> {
    let known = snapshot.objects.served(Kind::PersistentVolumeClaim);
    known
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
    format!("claim {name} is being deleted: no new pod is started on it, the operator goes on when it is gone")
}

fn leaving(name: &str) -> Wait {
    let message = being_deleted(name);
    let verdict = exists(Status::False, "PVC does not exist", message.clone());
    Wait {
        after: LOOK_AGAIN,
        message,
        verdicts: vec![verdict],
    }
}

/// A claim for the spec to name.
struct Use<'a> {
    name: &'a str,
    blank_state: State,
}

impl Use<'_> {
    fn ensured(self, step: &Step<'_>, verdict: Verdict) -> Next<Ensured> {
        let pvc = Some(PvcStorage {
            claim: Some(self.name.to_owned()),
        });
        let storage = Storage {
            pvc,
            ..step.storage.clone()
        };
        Next::Done(Ensured {
            storage,
            applied: None,
            blank_state: self.blank_state,
            verdicts: vec![verdict],
            notices: Vec::new(),
            probe_left: false,
        })
    }

    /// Takes the claim that is there, if it fits. In use already, it is only reported (`facts.unfit`).
    fn take(self, step: &Step<'_>, found: &Value) -> Result<Next<Ensured>, Failure> {
        if claim::deleted_at(found).is_some() {
            return Ok(Next::Wait(leaving(self.name)));
        }
        if !step.applied {
            refuse_misfit(step, self.name, found)?;
        }
        let verdict = exists(
            Status::True,
            "PVC Exists",
            claim::describe(step.snapshot, self.name, found),
        );
        Ok(self.ensured(step, verdict))
    }
}

fn refuse_misfit(step: &Step<'_>, name: &str, found: &Value) -> Result<(), Failure> {
    match claim::misfit(step.config, name, found) {
        None => Ok(()),
        Some(message) => {
            let fault = Fault {
                class: Class::Rejected(Reason::PvcIncompatible),
                message,
            };
            Err(failure(fault, "PVC Issues Found"))
        }
    }
}

impl<C: Cluster> Pvc<'_, C> {
    async fn create(&self, step: &Step<'_>, wanted: Use<'_>, body: &Value) -> Result<Next<Ensured>, Failure> {
        match self.cluster.create_claim(body).await {
            Ok(Creation::Created) => {}
            Ok(Creation::AlreadyExists) => {
                let message = format!("claim {} has just appeared, it is looked at next", wanted.name);
                return Ok(Next::Wait(Wait {
                    after: STORE_LAGS,
                    message,
                    verdicts: Vec::new(),
                }));
            }
            Err(fault) if fault.class == Class::Transient => return Err(undecided(wanted.name, &fault.message)),
            Err(fault) => {
                let message = format!("Claim {} could not be created: {}", wanted.name, fault.message);
                return Err(failure(Fault { message, ..fault }, "Creation Failed"));
            }
        }
        if !step.applied {
            refuse_misfit(step, wanted.name, body)?;
        }
        let text = |pointer| body.pointer(pointer).and_then(Value::as_str);
        let mode = text("/spec/accessModes/0").unwrap_or_default();
        let class = match text("/spec/storageClassName") {
            Some(class) => format!("StorageClass {class}"),
            None => "the cluster's default StorageClass".to_owned(),
        };
        let message = format!("Claim {} was created (100Gi, {mode}, {class}).", wanted.name);
        Ok(wanted.ensured(step, exists(Status::True, "PVC Created", message)))
    }

    /// A claim that the spec (or the platform's default) names.
    async fn named(&self, step: &Step<'_>, name: &str) -> Result<Next<Ensured>, Failure> {
        let wanted = Use {
            name,
            blank_state: State::Unmanaged,
        };
        if let Some(found) = find(step.snapshot, name) {
            return wanted.take(step, found);
        }
        let unmanaged = step.state == Some(State::Unmanaged);
        if step.defaulted && !unmanaged {
            let infrastructure = step.snapshot.infrastructure().unwrap_or_default();
            let platform = defaults::platform(&infrastructure);
            let body = claim::bootstrap_claim(step.snapshot, platform.as_deref())
                .map_err(|fault| failure(fault, "Creation Failed"))?;
            return self.create(step, wanted, &body).await;
        }
        if name == names::DEFAULT_CLAIM && step.state == Some(State::Managed) {
            // The operator's own claim was deleted by hand.
            return self.create(step, wanted, &claim::default_claim()).await;
        }
        Err(failure(Fault::config(missing(name)), "PVC Issues Found"))
    }

    /// The operator's own claim.
    async fn own(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure> {
        let wanted = Use {
            name: names::DEFAULT_CLAIM,
            blank_state: State::Managed,
        };
        match find(step.snapshot, names::DEFAULT_CLAIM) {
            None => self.create(step, wanted, &claim::default_claim()).await,
            Some(found) if claim::is_ours(found) || claim::deleted_at(found).is_some() => wanted.take(step, found),
            Some(_) => {
                let message = format!(
                    "Claim {0} exists but was not made by this operator: set spec.storage.pvc.claim to {0} to use it",
                    names::DEFAULT_CLAIM
                );
                Err(failure(Fault::config(message), "PVC Already Exists"))
            }
        }
    }
}

impl<C: Cluster> Driver for Pvc<'_, C> {
    const NAME: &'static str = NAME;
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
        let volume = json!({"name": claim::VOLUME, "persistentVolumeClaim": {"claimName": name}});
        let mut facts = claim::filesystem(NAME, volume);
        match find(snapshot, name) {
            Some(found) => {
                facts.unfit = claim::misfit(config, name, found);
                facts.not_usable = claim::deleted_at(found).map(|_| being_deleted(name));
            }
            None if snapshot.objects.served(Kind::PersistentVolumeClaim) => facts.not_usable = Some(missing(name)),
            None => {}
        }
        Ok(Target {
            location: Some(name.to_owned()),
            named: named.is_some(),
            facts,
        })
    }

    async fn exists(&self, step: &Step<'_>) -> Result<Existence, Failure> {
        let name = claim_name(step.storage).unwrap_or(names::DEFAULT_CLAIM);
        known(step.snapshot, name)?;
        Ok(match find(step.snapshot, name) {
            None => Existence::Absent {
                reason: "PVC does not exist",
                message: missing(name),
            },
            Some(found) if claim::deleted_at(found).is_some() => Existence::Leaving(leaving(name)),
            Some(found) => {
                let message = claim::describe(step.snapshot, name, found);
                Existence::Present(vec![exists(Status::True, Self::EXISTS, message)], Vec::new())
            }
        })
    }

    async fn ensure(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure> {
        let name = claim_name(step.storage);
        known(step.snapshot, name.unwrap_or(names::DEFAULT_CLAIM))?;
        match name {
            Some(name) => self.named(step, name).await,
            None => self.own(step).await,
        }
    }
}

impl<C: Cluster> Removable for Pvc<'_, C> {
    async fn prove(&self, step: &Step<'_>) -> Result<Mark, Failure> {
        let name = claim_name(step.storage).unwrap_or_default();
        known(step.snapshot, name)?;
        let Some(found) = find(step.snapshot, name) else {
            return Ok(Mark::Gone);
        };
        if !claim::is_ours(found) {
            return Ok(Mark::Missing(format!(
                "it has no annotation {}",
                names::OWNED_ANNOTATION
            )));
        }
        let pin = claim::uid(found).map(|uid| Mark::Ours(uid.to_owned()));
        pin.ok_or_else(|| Fault::transient(format!("claim {name} has no uid")).into())
    }

    async fn remove(&self, step: &Step<'_>, proof: &OwnershipProof) -> Result<Deleted, Failure> {
        let name = claim_name(step.storage).unwrap_or_default();
        let since = find(step.snapshot, name)
            .and_then(claim::deleted_at)
            .and_then(|t| t.parse::<Timestamp>().ok());
        match since {
            None => self.cluster.delete_claim(name, proof.pin()).await?,
            Some(since) if step.snapshot.now.as_second() - since.as_second() > GONE_WITHIN => {
                let message = format!(
                    "claim {name} was deleted at {since} and is still there: a pod may use it, or another finalizer holds it"
                );
                return Err(Fault::config(message).into());
            }
            Some(_) => {}
        }
        let message = format!("claim {name} was deleted, waiting until it is gone");
        let wait = Wait {
            after: LOOK_AGAIN,
            message,
            verdicts: Vec::new(),
        };
        Ok(Deleted {
            objects: 0,
            next: Ok(wait),
        })
    }

    fn removed(&self, location: &str) -> Vec<Verdict> {
        vec![exists(
            Status::False,
            "PVC Deleted",
            format!("Claim {location} was deleted with its images."),
        )]
    }

    fn forget(storage: &mut Storage) {
        if let Some(pvc) = &mut storage.pvc {
            pvc.claim = None;
        }
    }
}
