//! What loops tell each other. The registry's loop is the one writer of the Config: the others hand their conditions here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::ObjectRef;
use crate::observe::Controller;
use crate::status::conditions::Verdict;

/// What the CA maps are to hold of the storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StorageCa {
    /// Nobody has told yet: what is published stays.
    #[default]
    Unknown,
    /// The bundle, PEM; `None` where there is none.
    Known(Option<String>),
}

/// Shared notes. Cheap to clone; all clones are the same board.
#[derive(Clone, Default)]
pub struct Board {
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    verdicts: BTreeMap<&'static str, Verdict>,
    bootstrap_failure: Option<String>,
    storage_ca: StorageCa,
    storage_ca_fault: Option<String>,
    dropped: BTreeSet<&'static str>,
    generations: BTreeMap<ObjectRef, i64>,
    heard: HashSet<Controller>,
}

impl Board {
    /// Hands over a condition. Tells whether it is news.
    pub fn post(&self, verdict: Verdict) -> bool {
        let mut notes = self.notes();
        let news = notes.verdicts.get(verdict.type_) != Some(&verdict);
        notes.verdicts.insert(verdict.type_, verdict);
        news
    }

    /// Conditions handed over so far.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.notes().verdicts.values().cloned().collect()
    }

    /// Notes why there is no Config yet; `None` when that is mended. Tells whether it is news.
    pub fn set_bootstrap_failure(&self, failure: Option<String>) -> bool {
        let mut notes = self.notes();
        let news = notes.bootstrap_failure != failure;
        notes.bootstrap_failure = failure;
        news
    }

    /// Why there is no Config yet.
    pub fn bootstrap_failure(&self) -> Option<String> {
        self.notes().bootstrap_failure.clone()
    }

    /// Notes the CA bundle of the storage in use, PEM. Tells whether it is news.
    pub fn set_storage_ca(&self, bundle: Option<String>) -> bool {
        let mut notes = self.notes();
        let known = StorageCa::Known(bundle);
        let news = notes.storage_ca != known;
        notes.storage_ca = known;
        news
    }

    /// CA bundle of the storage in use.
    pub fn storage_ca(&self) -> StorageCa {
        self.notes().storage_ca.clone()
    }

    /// Notes why the CA bundle of the storage cannot be had; `None` when it can. Tells whether it is news.
    pub fn set_storage_ca_fault(&self, fault: Option<String>) -> bool {
        let mut notes = self.notes();
        let news = notes.storage_ca_fault != fault;
        notes.storage_ca_fault = fault;
        news
    }

    /// Why the CA bundle of the storage cannot be had.
    pub fn storage_ca_fault(&self) -> Option<String> {
        self.notes().storage_ca_fault.clone()
    }

    /// Notes conditions of the Config that nobody writes any more. Tells whether it is news.
    pub fn drop_conditions(&self, types: &[&'static str]) -> bool {
        let mut notes = self.notes();
        let before = notes.dropped.len();
        notes.dropped.extend(types);
        notes.dropped.len() > before
    }

    /// Conditions of the Config that nobody writes any more.
    pub fn dropped(&self) -> Vec<&'static str> {
        self.notes().dropped.iter().copied().collect()
    }

    /// Notes that a controller had its first say. Tells whether it is news.
    pub fn hear(&self, controller: Controller) -> bool {
        self.notes().heard.insert(controller)
    }

    /// Whether each of these controllers had its first say.
    pub fn heard(&self, mut controllers: impl Iterator<Item = Controller>) -> bool {
        let notes = self.notes();
        controllers.all(|controller| notes.heard.contains(&controller))
    }

    /// Notes the generation of a workload after a write.
    pub fn record(&self, object: ObjectRef, generation: i64) {
        self.notes().generations.insert(object, generation);
    }

    /// Generations of workloads after our writes.
    pub fn generations(&self) -> BTreeMap<ObjectRef, i64> {
        self.notes().generations.clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
