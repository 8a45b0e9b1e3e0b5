//! What a backend must answer. Drivers hold their own seam to the cluster or the cloud; core hands them the rest.

use std::time::Duration;

use crate::api::{Config, Storage};
use crate::config::facts::StorageFacts;
use crate::config::notice::Notice;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::Verdict;

pub use super::answers::Fingerprint;
use super::block;
pub use super::ensure::Intent;
use super::fault::Fault;
pub use super::preflight::{Denial, Probe, Probed, Trial};
pub use super::remove::OwnershipProof;
pub use super::state::State;

/// What a block of `spec.storage` means, without asking anybody.
#[derive(Clone, Debug)]
pub struct Target {
    /// Location ID: what makes it the same storage. `None` while no name is chosen and none can be told in advance.
    pub location: Option<String>,
    /// Whether the block itself holds the identifier, as against one that the operator chooses.
    pub named: bool,
    /// What the registry needs, as far as it is known without the network. `unfit` and `not_usable` are filled in here;
    /// at first use `ensure` refuses what does not fit.
    pub facts: StorageFacts,
}

/// What a step looks at.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The Config as stored.
    pub config: &'a Config,
    /// Everything else of the cluster.
    pub snapshot: &'a Snapshot,
    /// The storage in question: that of the spec (with the platform's default filled in), at removal that of the status.
    pub storage: &'a Storage,
    /// What `storage` means.
    pub target: &'a Target,
    /// Managed or not; `None` where the driver's findings decide.
    pub state: Option<State>,
    /// The block is the platform's default and not in the spec yet.
    pub defaulted: bool,
    /// The block equals the one that is applied: what was accepted once is not refused, only reported.
    pub applied: bool,
    /// Proof that the annotation on the Config names this location: it may be created, or was. Nothing is created without
    /// it, except where a claim of a fixed name carries its mark from birth.
    pub intent: Option<&'a Intent>,
    /// An administrator asked for this very location to be owned, though the operator did not create it: the mark may be
    /// written, unless there is another cluster's.
    pub consent: bool,
}

/// Why a step could not be done, and what the conditions are to say.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The fault.
    pub fault: Fault,
    /// What was found on the way.
    pub verdicts: Vec<Verdict>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            verdicts: Vec::new(),
        }
    }
}

/// Something under way that only time can finish.
#[derive(Clone, Debug)]
pub struct Wait {
    /// When to look again at the latest.
    pub after: Duration,
    /// What is waited for.
    pub message: String,
    /// What was found.
    pub verdicts: Vec<Verdict>,
}

/// What is to be stored on the Config before the next step may be taken.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The storage as it should stand in the spec, with the names that the driver chose; `None` leaves it.
    pub storage: Option<Storage>,
    /// Location ID of what is about to be created. Refused by core where managementState is Unmanaged.
    pub intent: Option<String>,
    /// `ensure` is about to write an object under the key of probes ([`preflight::key`](super::preflight::key)).
    pub probe: bool,
    /// What is being prepared, for people.
    pub message: String,
    /// What was found.
    pub verdicts: Vec<Verdict>,
    /// What to tell.
    pub notices: Vec<Notice>,
}

/// How a step ended.
#[derive(Clone, Debug)]
pub enum Next<T> {
    /// Store this, then take the step again.
    Record(Box<Record>),
    /// Take the step again later.
    Wait(Wait),
    /// There.
    Done(T),
}

/// Whether the storage is there.
#[derive(Clone, Debug)]
pub enum Existence {
    /// It is. What was found, and what to tell.
    Present(Vec<Verdict>, Vec<Notice>),
    /// It is not, or not for us: `ensure` has to see to it.
    Absent {
        /// Reason of `StorageExists=False`.
        reason: &'static str,
        /// Message of it.
        message: String,
    },
    /// Neither: it is on its way out.
    Leaving(Wait),
}

/// What [`Driver::ensure`] ends with.
#[derive(Clone, Debug)]
pub struct Ensured {
    /// The storage with its block completed (names, regions), as it should stand in the spec.
    pub storage: Storage,
    /// As it should stand in the status, where that is not the same: the spec of Unmanaged storage stays as the user wrote
    /// it, and the status says what it means.
    pub applied: Option<Storage>,
    /// What a blank managementState becomes.
    pub blank_state: State,
    /// What was found and done.
    pub verdicts: Vec<Verdict>,
    /// What to tell.
    pub notices: Vec<Notice>,
    /// Something under the key of probes may still be there: it is looked for again.
    pub probe_left: bool,
}

/// A backend. No state that correctness needs may be kept between passes.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Driver {
    /// Name as in the API's documentation and in metrics.
    const NAME: &'static str;
    /// The conditions it owns.
    const CONDITIONS: &'static [&'static str];
    /// Reason of `StorageExists=True` for storage that is there.
    const EXISTS: &'static str;
    /// Reasons of `StorageExists=False` that say that storage which was in use is not there. Others (access denied) say
    /// nothing of that.
    const GONE: &'static [&'static str];
    /// Whether a look at the storage is a call to a service. Then answers are kept and used again ([`Self::fingerprint`]),
    /// failures are asked again with backoff, and changed storage is tried out before the registry uses it
    /// ([`Self::probe`]). Where not, the snapshot tells all, and nothing is kept.
    const REMOTE: bool;

    /// Location ID of a block, where the block alone tells; `None` where it names none. Pure.
    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String>;
    /// Whether the block of the spec means what is applied, as the status has it: what the cluster fills in counts as written
    /// in either. Pure.
    fn same(stored: &Storage, wanted: &Storage, _snapshot: &Snapshot) -> bool {
        block::same_block(stored, wanted, Self::NAME)
    }
    /// What the block means, or why it cannot be right. Pure.
    fn resolve(&self, config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection>;
    /// Certificates that the storage's endpoint is trusted by, PEM, out of the maps that the block names; core puts them
    /// into the facts. A fault (a map or key that is missing, a bundle without certificate) ends the step before anything
    /// is asked, and is also told by the condition of the CA maps. Pure.
    fn ca_bundle(&self, _storage: &Storage, _snapshot: &Snapshot) -> Result<Option<String>, Fault> {
        Ok(None)
    }
    /// What answers depend on: effective configuration, credentials, CA, proxy. Pure.
    fn fingerprint(&self, step: &Step<'_>) -> Fingerprint {
        let location = step.target.location.as_deref().unwrap_or_default();
        Fingerprint::of_facts(location, &step.target.facts)
    }
    /// Whether storage that is there misses something that `ensure` should try again, as the stored conditions say: core
    /// calls `ensure` for it at most once a resync. Pure.
    fn unfinished(&self, _step: &Step<'_>) -> bool {
        false
    }
    /// Cheap look whether the storage is there; must not create or repair. An error means: undecided.
    async fn exists(&self, step: &Step<'_>) -> Result<Existence, Failure>;
    /// One step towards storage that is there, complete and (where Managed) hardened. Never deletes or migrates. Before its
    /// first call that changes something it asks [`Cluster::confirm`](super::Cluster::confirm).
    async fn ensure(&self, step: &Step<'_>) -> Result<Next<Ensured>, Failure>;
    /// Adds to what [`Target::facts`] says what only the network can tell.
    async fn facts(&self, _step: &Step<'_>, known: StorageFacts) -> Result<StorageFacts, Failure> {
        Ok(known)
    }
    /// Tries out what the registry would do, as whom and on what way it would. Its object is recorded before by core, and is
    /// deleted also after a failure; with `probe.read_only` nothing is written. Leadership was confirmed.
    async fn probe(&self, _step: &Step<'_>, _probe: &Probe<'_>) -> Probed {
        Trial::Passed.into()
    }
    /// Deletes the probe object that an earlier process may have left under this key (and what is unfinished of it). Nothing
    /// there is a success. A transient fault is tried again; any other ends the attempts, and people are told.
    async fn clear_probe(&self, _step: &Step<'_>, _key: &str) -> Result<(), Failure> {
        Ok(())
    }
}

/// The backend's own mark of ownership on the storage.
#[derive(Clone, Debug)]
pub enum Mark {
    /// It is there; the text pins the very object that was looked at (a uid, an ETag), empty where there is no such thing.
    Ours(String),
    /// It is not there, or not all of it: what is missing. Where the operator created the storage nothing is deleted, and
    /// nothing is forgotten.
    Missing(String),
    /// It is another's, or there can be none: why this storage is not ours to delete.
    NotOurs(String),
    /// There is nothing left that could be deleted.
    Gone,
}

/// One step of deletion.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// Objects (versions, delete markers) that this step deleted.
    pub objects: u64,
    /// What comes next; or why some of what this step was for was not deleted.
    pub next: Result<Wait, Failure>,
}

/// A backend whose data outlives the pods.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Removable: Driver {
    /// Reads the mark, now. An error means that it cannot be read: nothing is deleted.
    async fn prove(&self, step: &Step<'_>) -> Result<Mark, Failure>;
    /// One bounded step of deletion (at most 1000 objects), taken again until [`Self::prove`] says [`Mark::Gone`]. Leadership,
    /// the newest Config and the proof were looked at just before.
    async fn remove(&self, step: &Step<'_>, proof: &OwnershipProof) -> Result<Deleted, Failure>;
    /// What the conditions say when it is gone.
    fn removed(&self, location: &str) -> Vec<Verdict>;
    /// Takes the identifiers of removed storage out of a block, and leaves the rest of it.
    fn forget(storage: &mut Storage);
}
