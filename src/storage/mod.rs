//! Where images are kept: the only room that talks to a cloud. One module per backend.
//!
//! A driver answers; it never writes the Config. Each step ([`driver::Next`]) is idempotent from what is stored (spec,
//! status, annotation) and what the cloud says; the controller records what a step returns and enters again. What is
//! decided for every backend alike is decided in [`select`], [`state`], [`ensure`](mod@ensure) and
//! [`remove`](mod@remove), and nowhere else: which backend, the managementState, the gate of removal, the proof of
//! ownership before anything is deleted. This room may use `config`, `api`, `names` and the types of conditions, never
//! `plan`.

use std::time::Duration;

use serde_json::Value;

use crate::api::{Config, ObjectRef, Sensitive, Storage};
use crate::config::facts::StorageFacts;
use crate::config::notice::Notice;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::Verdict;
use crate::status::judge::Preflight;

pub mod answers;
mod block;
mod claim;
pub mod cloud;
pub mod driver;
mod empty_dir;
mod ensure;
pub mod fault;
pub mod http;
mod look;
pub mod preflight;
mod probes;
mod pvc;
mod remove;
pub mod s3;
mod select;
mod state;
#[cfg(test)]
mod tests;
mod trial;

use answers::Answers;
pub use claim::{bootstrap_claim, bootstrap_claim_class};
use cloud::Cloud;
use fault::Fault;
use preflight::Pods;
pub use probes::{Cleared, clear as clear_probes};

/// Whether the storage exists; every backend has it.
pub const STORAGE_EXISTS: &str = "StorageExists";

/// Every condition that some backend may own. Those of them that the active backend does not own are to be dropped.
pub const STORAGE_CONDITIONS: &[&str] = &[
    STORAGE_EXISTS,
    "StorageTagged",
    "StorageLabeled",
    "StorageEncrypted",
    "StoragePublicAccessBlocked",
    "StorageIncompleteUploadCleanupEnabled",
];

/// How a create call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The object was made by this call.
    Created,
    /// There was one of this name already; nothing was changed.
    AlreadyExists,
}

/// What a step may ask of the cluster. The controller implements it, for one version of the Config.
///
/// A fault is [`fault::Class::Transient`] where the API server did not answer or failed (5xx, timeout, 429), and
/// [`fault::Class::Config`] where it refused (quota, admission, rights, validation).
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Cluster {
    /// Before anything is changed outside: whether this process still leads, and the Config is the newest. One live read a
    /// pass; leadership is looked at each time.
    async fn confirm(&self) -> Result<(), Fault>;
    /// A short-lived token of the registry's ServiceAccount, for this audience ([`preflight::AUDIENCE`]).
    async fn registry_token(&self, audience: &str) -> Result<Sensitive, Fault>;
    /// Whether [`Self::confirm`] found another Config than this one: what failed for it says nothing.
    fn is_stale(&self) -> bool {
        false
    }
    /// Creates a claim in the registry's namespace, after [`Self::confirm`].
    async fn create_claim(&self, claim: &Value) -> Result<Creation, Fault>;
    /// Deletes the claim if it still is the one with this uid, after [`Self::confirm`]; one that is gone already is a success.
    async fn delete_claim(&self, name: &str, uid: &str) -> Result<(), Fault>;
}

/// What does not go out of a pass in which the storage of the registry may not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    /// Nothing goes out.
    #[default]
    All,
    /// The private Secret and the Deployment wait; all else goes out.
    Deployment,
    /// Everything that the running registry has of its storage stays as it is; all else goes out, the Deployment included.
    /// Without a Deployment this is as [`Self::Deployment`].
    Storage,
}

/// What core works with beside the driver.
struct Core<'a, C> {
    cluster: &'a C,
    answers: &'a Answers,
    pods: &'a Pods<'a>,
}

/// What a step of the storage found and wants. Default is "nothing to say, nothing to do".
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// JSON merge patch of the Config (members of `spec.storage`, annotations), without resourceVersion; to be stored
    /// before anything uses it, also where `fault` is set. `None` on a settled cluster.
    pub record: Option<Value>,
    /// The new `status.storage`, to be stored after `record`, and not where that failed; `None` keeps what is stored.
    pub status_storage: Option<Storage>,
    /// The new `status.storageManaged`.
    pub storage_managed: bool,
    /// What was found.
    pub verdicts: Vec<Verdict>,
    /// Conditions that may stay; others of [`STORAGE_CONDITIONS`] are to be dropped.
    pub own_conditions: &'static [&'static str],
    /// What to tell in events.
    pub notices: Vec<Notice>,
    /// What the registry needs. `None`: nothing about the storage of the running registry may change in this pass (see
    /// `hold`). May stand beside a `fault`, when the storage in use is the one that the Config names.
    pub facts: Option<StorageFacts>,
    /// What waits while there are no `facts`.
    pub hold: Hold,
    /// Storage that was changed and is not used yet.
    pub preflight: Option<Preflight>,
    /// Why the certificates of the storage's endpoint cannot be had; beside `fault`.
    pub ca_fault: Option<String>,
    /// When to come back at the latest, though nothing is waited for.
    pub again: Option<Duration>,
    /// The storage moved to another place: counts in `storage_reconfigured_total`.
    pub reconfigured: bool,
    /// When to come back at the latest, and what is waited for. Zero: as soon as what this outcome wants stored is stored.
    pub wait: Option<(Duration, String)>,
    /// Why the step could not be done.
    pub fault: Option<Fault>,
    /// Removal only: nothing is left to do.
    pub done: bool,
}

impl Outcome {
    /// Takes back what goes with the use of the storage: the registry keeps what it has, and the status with it.
    pub fn hold_back(&mut self, config: &Config) {
        self.facts = None;
        self.hold = Hold::Storage;
        self.status_storage = None;
        self.storage_managed = Self::unchanged(config).storage_managed;
        self.reconfigured = false;
        self.notices.retain(|notice| notice.reason != ensure::RECONFIGURED);
    }

    /// An outcome that changes nothing of what is stored.
    fn unchanged(config: &Config) -> Self {
        let storage_managed = config.status.as_ref().is_some_and(|s| s.storage_managed);
        Self {
            storage_managed,
            own_conditions: STORAGE_CONDITIONS,
            ..Self::default()
        }
    }
}

/// ConfigMaps that the storage of spec and status looks at, for the watches.
pub fn config_maps(config: &Config, snapshot: &Snapshot) -> Vec<ObjectRef> {
    s3::ca::config_maps(config, snapshot)
}

/// Certificates that the storage's endpoint is trusted by, PEM: those of what the Config names, and of what is in use.
/// `None` where there are none. Pure.
pub fn ca_bundle(config: &Config, snapshot: &Snapshot) -> Result<Option<String>, Fault> {
    let wanted = select::select(config, snapshot)
        .ok()
        .and_then(|selected| selected.storage.s3);
    let used = config.status.as_ref().and_then(|status| status.storage.s3.clone());
    s3::ca::bundle(wanted.iter().chain(&used), snapshot)
}

/// One step towards the storage that the Config names, for `managementState: Managed`.
///
/// Harmless when run again; on a settled cluster it wants no record, the status as stored and the conditions as stored.
pub async fn ensure(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    cloud: &Cloud,
    pods: &Pods<'_>,
) -> Outcome {
    let core = &Core {
        cluster,
        answers: &cloud.answers,
        pods,
    };
    let selected = match select::select(config, snapshot) {
        Ok(selected) => selected,
        Err(fault) => {
            return Outcome {
                fault: Some(fault),
                ..Outcome::unchanged(config)
            };
        }
    };
    match selected.backend {
        // Boxed: each is large, and callers keep one future for all.
        pvc::NAME => Box::pin(ensure::ensure(&pvc::Pvc { cluster }, config, snapshot, &selected, core)).await,
        empty_dir::NAME => Box::pin(ensure::ensure(&empty_dir::EmptyDir, config, snapshot, &selected, core)).await,
        s3::NAME => {
            Box::pin(ensure::ensure(
                &s3::S3 { cloud, cluster },
                config,
                snapshot,
                &selected,
                core,
            ))
            .await
        }
        other => Outcome {
            record: ensure::record_default(config, &selected),
            fault: Some(select::not_in_this_build(other)),
            ..Outcome::unchanged(config)
        },
    }
}

/// One step of removal (`managementState: Removed`, or the Config is being deleted), to be called when the registry's
/// objects and pods are gone. What is removed is what `status.storage` names.
///
/// Ends with [`Outcome::done`]; without it the finalizer stays and the step is repeated.
pub async fn remove(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    cloud: &Cloud,
    deleting_config: bool,
) -> Outcome {
    let core = &Core {
        cluster,
        answers: &cloud.answers,
        pods: &Pods::none(),
    };
    if !deleting_config && ManagementState::of(config) != ManagementState::Removed {
        // The user thought better of it: nothing more is deleted.
        return Outcome::unchanged(config);
    }
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    match stored.backends().as_slice() {
        [] => remove::forget(config),
        [pvc::NAME] => remove::remove(&pvc::Pvc { cluster }, config, snapshot, core, deleting_config).await,
        [s3::NAME] => {
            let driver = s3::S3 { cloud, cluster };
            Box::pin(remove::remove(&driver, config, snapshot, core, deleting_config)).await
        }
        [empty_dir::NAME] => Outcome {
            own_conditions: &[],
            ..remove::forget(config)
        },
        [other] => remove::without_driver(other, config, deleting_config),
        several => {
            let message = format!(
                "status.storage names {} backends ({}), nothing was removed: leave the one in use",
                several.len(),
                several.join(", ")
            );
            Outcome {
                fault: Some(Fault::config(message)),
                ..Outcome::unchanged(config)
            }
        }
    }
}

/// What is told of storage when the operator stops looking after it (`managementState: Unmanaged`): that a removal had gone
/// some of the way, once.
pub fn left_alone(config: &Config, cloud: &Cloud) -> (Vec<Verdict>, Vec<Notice>) {
    remove::left_alone(config, &cloud.answers)
}

/// Deletes a probe object, with the driver of the storage that it is in.
async fn clear_probe(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    cloud: &Cloud,
    left: &probes::Left,
) -> Result<(), Fault> {
    match left.storage.backends().as_slice() {
        [pvc::NAME] => probes::clear_one(&pvc::Pvc { cluster }, config, snapshot, cluster, left).await,
        [empty_dir::NAME] => probes::clear_one(&empty_dir::EmptyDir, config, snapshot, cluster, left).await,
        [s3::NAME] => {
            let driver = s3::S3 { cloud, cluster };
            Box::pin(probes::clear_one(&driver, config, snapshot, cluster, left)).await
        }
        others => Err(Fault::config(format!(
            "this build of the operator has no driver for {}",
            others.join(", ")
        ))),
    }
}
