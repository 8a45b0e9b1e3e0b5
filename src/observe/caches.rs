//! The cached objects of all watches, updated by watch events and by the operator's own writes.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::watch::{self, EventHandler};
use super::watch_spec::{Controller, Unreadable, WatchSpec, exposure, volumes, watch_specs};
use crate::api::ObjectRef;
use crate::config::environment::Environment;
use crate::config::snapshot::{Objects, Snapshot};
use crate::config::trim;

/// The time of day.
pub(crate) type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The watched objects of the cluster. Cheap to clone; clones share the caches.
#[derive(Clone)]
pub(crate) struct Caches {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    environment: Environment,
    now: Now,
    state: Mutex<State>,
    triggers: HashMap<Controller, Notify>,
    synced: Notify,
}

#[derive(Default)]
struct State {
    objects: Objects,
    /// Watches whose kind the API server does not serve.
    absent: HashSet<WatchSpec>,
    /// Watches whose kind cannot be read, although passes go on, and the error.
    unreadable: HashMap<WatchSpec, String>,
    /// Watches without a complete initial list.
    pending: HashSet<WatchSpec>,
    running: HashMap<WatchSpec, AbortHandle>,
    /// resourceVersion of the last deletion that each watch delivered. All earlier events were delivered as well.
    last_deletion: HashMap<WatchSpec, u64>,
    served: ServedGroups,
}

/// APIs that the operator asks for, because it watches none of their kinds.
#[derive(Clone, Copy)]
struct ServedGroups {
    security: bool,
    service_ca: bool,
    images: bool,
}

/// Until the API server was asked, the cluster counts as one of the platform.
impl Default for ServedGroups {
    fn default() -> Self {
        Self {
            security: true,
            service_ca: true,
            images: true,
        }
    }
}

impl Caches {
    /// Starts every watch of [`watch_specs`].
    pub(crate) fn start(client: Client, environment: Environment, now: Now) -> Self {
        let caches = Self::new(client, environment, now, State::default());
        for spec in watch_specs(&caches.shared.environment) {
            caches.watch(spec);
        }
        caches
    }

    fn new(client: Client, environment: Environment, now: Now, state: State) -> Self {
        let triggers = Controller::ALL
            .iter()
            .map(|controller| (*controller, Notify::new()))
            .collect();
        let shared = Shared {
            client,
            environment,
            now,
            state: Mutex::new(state),
            triggers,
            synced: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Waits until every watch has delivered its initial list, or its kind turned out not to be served.
    pub(crate) async fn wait_synced(&self) {
        loop {
            let notified = self.shared.synced.notified();
            if self.state().pending.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// The watches that have not delivered their initial list yet.
    pub(crate) fn pending(&self) -> Vec<String> {
        let state = self.state();
        let mut pending: Vec<_> = state.pending.iter().map(ToString::to_string).collect();
        pending.sort();
        pending
    }

    /// Whether every watch that triggers the controller has delivered its initial list, or its kind is not served.
    pub(crate) fn is_synced(&self, controller: Controller) -> bool {
        let state = self.state();
        !state.pending.iter().any(|i| i.triggers.contains(&controller))
    }

    /// Waits until an object changes that the controller watches.
    pub(crate) async fn changed(&self, controller: Controller) {
        if let Some(notify) = self.shared.triggers.get(&controller) {
            notify.notified().await;
        }
    }

    /// Triggers a pass of the controller.
    pub(crate) fn trigger(&self, controller: Controller) {
        if let Some(notify) = self.shared.triggers.get(&controller) {
            notify.notify_one();
        }
    }

    /// Everything that a pass reads.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            objects: state.objects.clone(),
            environment: self.shared.environment.clone(),
            security_api: state.served.security,
            service_ca_api: state.served.service_ca,
            image_api: state.served.images,
            now: (self.shared.now)(),
        }
    }

    /// Sets whether the platform enforces security context constraints.
    pub(crate) fn set_security_api(&self, served: bool) {
        self.state().served.security = served;
    }

    /// Sets whether the API server serves the kind ServiceCA; a change triggers the passes that depend on it.
    pub(crate) fn set_service_ca_api(&self, served: bool) {
        let before = std::mem::replace(&mut self.state().served.service_ca, served);
        if before != served {
            self.trigger(Controller::Registry);
            self.trigger(Controller::NodeCa);
        }
    }

    /// Sets whether the API server serves the image API.
    pub(crate) fn set_image_api(&self, served: bool) {
        self.state().served.images = served;
    }

    /// Watches exactly these objects for this controller, in addition to [`watch_specs`]: Secrets and ConfigMaps that a spec
    /// references. An object with an invalid name cannot exist, so it is not watched.
    pub(crate) fn watch_referenced(&self, wanted: &BTreeSet<ObjectRef>, triggers: &'static [Controller]) {
        let wanted: HashSet<WatchSpec> = wanted
            .iter()
            .filter(|object| object.is_possible())
            .filter_map(|object| referenced(object, triggers))
            .collect();
        let mut known = watch_specs(&self.shared.environment);
        let running = |spec: &WatchSpec| self.state().running.contains_key(spec);
        known.extend(exposure().into_iter().filter(running));
        let unwanted: Vec<WatchSpec> = {
            let state = self.state();
            let referenced = state
                .running
                .keys()
                .filter(|i| i.triggers == triggers && i.name.is_some() && !known.contains(i));
            referenced.filter(|i| !wanted.contains(i)).cloned().collect()
        };
        for spec in unwanted {
            self.unwatch(&spec);
        }
        for spec in wanted {
            let covered = known.iter().any(|k| {
                let is_same = k.kind == spec.kind && k.namespace == spec.namespace && k.name == spec.name;
                is_same && triggers.iter().all(|trigger| k.triggers.contains(trigger))
            });
            if !covered && !self.state().running.contains_key(&spec) {
                self.watch(spec);
            }
        }
    }

    /// Watches all PersistentVolumes, or ends that watch. Only the first pass of a new cluster may need them, and a cluster can
    /// have thousands.
    pub(crate) fn watch_volumes(&self, wanted: bool) {
        let spec = volumes();
        let running = self.state().running.contains_key(&spec);
        match (running, wanted) {
            (false, true) => self.watch(spec),
            (true, false) => self.unwatch(&spec),
            _ => {}
        }
    }

    /// Watches Ingresses, HTTPRoutes and what they need, or ends these watches.
    pub(crate) fn watch_exposure(&self, wanted: bool) {
        for spec in exposure() {
            let running = self.state().running.contains_key(&spec);
            match (running, wanted) {
                (false, true) => self.watch(spec),
                (true, false) => self.unwatch(&spec),
                _ => {}
            }
        }
    }

    /// Stores the API server's response to a write or a read, so that the next pass sees it. A response that is older than a
    /// deletion that the watch delivered is ignored: it must not bring the object back.
    ///
    /// Notifies the controllers that watch the object now; the later watch event is deduplicated.
    pub(crate) fn store(&self, reference: &ObjectRef, object: Value) {
        let object = trim::trim(reference.kind, object);
        let mut state = self.state();
        let outdated = match state.objects.find(reference) {
            Some(known) => is_older(&object, known),
            None => version_of(&object).is_some_and(|version| {
                let mut deletions = state.last_deletion.iter().filter(|(spec, _)| spec.covers(reference));
                deletions.any(|(_, deletion)| version <= *deletion)
            }),
        };
        if outdated {
            return;
        }
        let watching = keep(&mut state, reference, object);
        drop(state);
        self.notify(watching);
    }

    /// The latest known version of an object.
    pub(crate) fn latest(&self, reference: &ObjectRef) -> Option<Arc<Value>> {
        self.state().objects.find(reference).cloned()
    }

    /// Removes an object that a live read or a deletion found to be absent.
    pub(crate) fn remove(&self, reference: &ObjectRef) {
        let mut state = self.state();
        let watching = forget(&mut state, reference);
        drop(state);
        self.notify(watching);
    }

    fn watch(&self, spec: WatchSpec) {
        // The task finds its own watch among the running ones.
        let mut state = self.state();
        state.pending.insert(spec.clone());
        let task = tokio::spawn(watch::run(self.shared.client.clone(), spec.clone(), self.clone()));
        state.running.insert(spec, task.abort_handle());
    }

    fn unwatch(&self, spec: &WatchSpec) {
        let mut state = self.state();
        if let Some(task) = state.running.remove(spec) {
            task.abort();
        }
        state.pending.remove(spec);
        state.last_deletion.remove(spec);
        state.absent.remove(spec);
        state.unreadable.remove(spec);
        refresh_missing_kinds(&mut state);
        let of_kind = state.objects.of(spec.kind).map(|(object, _)| object);
        let unwatched: Vec<ObjectRef> = of_kind
            // Another controller may watch the same object.
            .filter(|object| spec.covers(object) && !state.running.keys().any(|other| other.covers(object)))
            .cloned()
            .collect();
        for object in &unwatched {
            state.objects.remove(object);
        }
    }

    fn notify(&self, controllers: impl IntoIterator<Item = Controller>) {
        for controller in controllers {
            self.trigger(controller);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves at most one outdated object, which the next watch event replaces.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventHandler for Caches {
    fn applied(&self, spec: &WatchSpec, reference: ObjectRef, object: Value) {
        let object = trim::trim(spec.kind, object);
        let mut state = self.state();
        let known = state.objects.find(&reference);
        if known.is_some_and(|known| is_older(&object, known)) {
            return;
        }
        // Another controller may have a watch of the same object, whose own event then brings nothing new.
        let watching = keep(&mut state, &reference, object);
        drop(state);
        self.notify(watching);
    }

    fn deleted(&self, spec: &WatchSpec, reference: &ObjectRef, version: Option<&str>) {
        let deletion: Option<u64> = version.and_then(|v| v.parse().ok());
        let mut state = self.state();
        if let Some(deletion) = deletion {
            let last = state.last_deletion.entry(spec.clone()).or_default();
            *last = deletion.max(*last);
        }
        let newer = |known: &Arc<Value>| {
            version_of(known)
                .zip(deletion)
                .is_some_and(|(known, deletion)| known > deletion)
        };
        if state.objects.find(reference).is_some_and(newer) {
            return; // the operator has created the object again; its watch event comes later
        }
        let watching = forget(&mut state, reference);
        drop(state);
        self.notify(watching);
    }

    fn list_completed(&self, spec: &WatchSpec, listed: &BTreeSet<ObjectRef>) {
        let mut state = self.state();
        let stale: Vec<ObjectRef> = state
            .objects
            .of(spec.kind)
            .filter(|(reference, object)| {
                spec.covers(reference) && spec.selects(object) && !listed.contains(*reference)
            })
            .map(|(reference, _)| reference.clone())
            .collect();
        let mut watching: HashSet<Controller> = stale.iter().flat_map(|object| forget(&mut state, object)).collect();
        // A kind that is served now changes what a pass does, also if it has no object yet.
        let appeared = state.absent.remove(spec) | state.unreadable.remove(spec).is_some();
        refresh_missing_kinds(&mut state);
        let first = state.pending.remove(spec);
        drop(state);
        if first || appeared {
            watching.extend(spec.triggers);
        }
        self.notify(watching);
        self.shared.synced.notify_waiters();
    }

    fn kind_absent(&self, spec: &WatchSpec) {
        let mut state = self.state();
        let new = state.absent.insert(spec.clone());
        state.pending.remove(spec);
        state.unreadable.remove(spec);
        refresh_missing_kinds(&mut state);
        drop(state);
        if new {
            tracing::info!(
                kind = spec.kind.kind(),
                group = spec.kind.group(),
                "the API server does not serve this kind; the watch is retried"
            );
            self.notify(spec.triggers.iter().copied());
        }
        self.shared.synced.notify_waiters();
    }

    fn kind_unreadable(&self, spec: &WatchSpec, error: &str) {
        let mut state = self.state();
        let before = state.unreadable.insert(spec.clone(), error.to_owned());
        let new = before.is_none_or(|before| before != error);
        state.pending.remove(spec);
        refresh_missing_kinds(&mut state);
        drop(state);
        if new {
            self.notify(spec.triggers.iter().copied());
        }
        self.shared.synced.notify_waiters();
    }
}

fn referenced(object: &ObjectRef, triggers: &'static [Controller]) -> Option<WatchSpec> {
    let namespace = [
        crate::names::NAMESPACE,
        crate::names::CONFIG_NAMESPACE,
        crate::names::CONFIG_MANAGED_NAMESPACE,
    ];
    let namespace = namespace.into_iter().find(|n| *n == object.namespace)?;
    Some(WatchSpec {
        kind: object.kind,
        namespace: Some(namespace),
        name: Some(object.name.clone()),
        labels: None,
        triggers,
        unreadable: Unreadable::Wait,
    })
}

/// The controllers that watch an object that is known.
fn watching(state: &State, reference: &ObjectRef) -> HashSet<Controller> {
    let Some(object) = state.objects.find(reference) else {
        return HashSet::new();
    };
    let watches = |spec: &&WatchSpec| spec.covers(reference) && spec.selects(object);
    let watches = state.running.keys().filter(watches);
    watches.flat_map(|spec| spec.triggers).copied().collect()
}

/// Stores an object, and returns the controllers that watch it; none if nothing has changed.
fn keep(state: &mut State, reference: &ObjectRef, object: Value) -> HashSet<Controller> {
    let known = state.objects.find(reference);
    let changed = known.is_none_or(|known| trim::changed(known, &object));
    state.objects.insert(reference.clone(), object);
    if changed {
        watching(state, reference)
    } else {
        HashSet::new()
    }
}

/// Removes an object, and returns the controllers that watch it. Each watch of the object reports its end, but only the first report
/// finds it known, so that all controllers are notified then.
fn forget(state: &mut State, reference: &ObjectRef) -> HashSet<Controller> {
    let watching = watching(state, reference);
    state.objects.remove(reference);
    watching
}

fn refresh_missing_kinds(state: &mut State) {
    let absent = state.absent.iter().map(|spec| spec.kind).collect();
    let unreadable = state.unreadable.iter();
    let unreadable = unreadable.map(|(spec, error)| (spec.kind, error.clone())).collect();
    state.objects.set_absent_kinds(absent);
    state.objects.set_unreadable_kinds(unreadable);
}

fn version_of(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// Whether `object` is an earlier version of `known`. Versions of one resource can be compared as numbers (guaranteed since
/// Kubernetes 1.35, and always true with etcd). A version that is no number counts as newer.
fn is_older(object: &Value, known: &Value) -> bool {
    version_of(object)
        .zip(version_of(known))
        .is_some_and(|(object, known)| object < known)
}

#[cfg(test)]
mod tests;
