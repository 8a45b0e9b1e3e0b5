//! State that controllers share. The registry controller is the only writer of the Config; the other controllers put
//! their conditions here.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::ObjectRef;
use crate::observe::Controller;
use crate::status::cluster_operator::BootstrapDelay;
use crate::status::conditions::ConditionUpdate;

/// The CA bundle of the storage for the ConfigMaps with CA certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum StorageCa {
    /// Not reported yet: keep the published bundle.
    #[default]
    Unknown,
    /// The bundle, PEM; `None` if the storage has none.
    Known(Option<String>),
}

/// Shared state of the controllers. Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(super) struct SharedConditions {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    condition_updates: BTreeMap<&'static str, ConditionUpdate>,
    bootstrap_delay: Option<BootstrapDelay>,
    storage_ca: StorageCa,
    storage_ca_error: Option<String>,
    dropped: BTreeSet<&'static str>,
    generations: BTreeMap<ObjectRef, i64>,
    reported: HashSet<Controller>,
}

impl SharedConditions {
    /// Sets a condition of the Config. Returns whether it changed.
    pub(super) fn set_condition(&self, condition_update: ConditionUpdate) -> bool {
        let mut state = self.state();
        let changed = state.condition_updates.get(condition_update.type_) != Some(&condition_update);
        state.condition_updates.insert(condition_update.type_, condition_update);
        changed
    }

    /// All conditions that were set.
    pub(super) fn condition_updates(&self) -> Vec<ConditionUpdate> {
        self.state().condition_updates.values().cloned().collect()
    }

    /// Sets why no Config exists yet; `None` clears it. Returns whether it changed.
    pub(super) fn set_bootstrap_delay(&self, delay: Option<BootstrapDelay>) -> bool {
        let mut state = self.state();
        let changed = state.bootstrap_delay != delay;
        state.bootstrap_delay = delay;
        changed
    }

    /// Why no Config exists yet.
    pub(super) fn bootstrap_delay(&self) -> Option<BootstrapDelay> {
        self.state().bootstrap_delay.clone()
    }

    /// Sets the CA bundle of the storage in use, PEM. Returns whether it changed.
    pub(super) fn set_storage_ca(&self, bundle: Option<String>) -> bool {
        let mut state = self.state();
        let known = StorageCa::Known(bundle);
        let changed = state.storage_ca != known;
        state.storage_ca = known;
        changed
    }

    /// CA bundle of the storage in use.
    pub(super) fn storage_ca(&self) -> StorageCa {
        self.state().storage_ca.clone()
    }

    /// Sets why the CA bundle of the storage is unavailable; `None` clears it. Returns whether it changed.
    pub(super) fn set_storage_ca_error(&self, error: Option<String>) -> bool {
        let mut state = self.state();
        let changed = state.storage_ca_error != error;
        state.storage_ca_error = error;
        changed
    }

    /// Why the CA bundle of the storage is unavailable.
    pub(super) fn storage_ca_error(&self) -> Option<String> {
        self.state().storage_ca_error.clone()
    }

    /// Adds types of obsolete conditions, which are removed from the Config. Returns whether a type is new.
    pub(super) fn drop_conditions(&self, types: &[&'static str]) -> bool {
        let mut state = self.state();
        let before = state.dropped.len();
        state.dropped.extend(types);
        state.dropped.len() > before
    }

    /// Types of obsolete conditions of the Config.
    pub(super) fn dropped(&self) -> Vec<&'static str> {
        self.state().dropped.iter().copied().collect()
    }

    /// Records that a controller has reported. Returns whether this was its first report.
    pub(super) fn note_first_report(&self, controller: Controller) -> bool {
        self.state().reported.insert(controller)
    }

    /// Whether each of these controllers has reported at least once.
    pub(super) fn have_reported(&self, mut controllers: impl Iterator<Item = Controller>) -> bool {
        let state = self.state();
        controllers.all(|controller| state.reported.contains(&controller))
    }

    /// Records the generation of a workload after a write.
    pub(super) fn record_generation(&self, object: ObjectRef, generation: i64) {
        self.state().generations.insert(object, generation);
    }

    /// Generations of workloads after the operator's writes.
    pub(super) fn generations(&self) -> BTreeMap<ObjectRef, i64> {
        self.state().generations.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
