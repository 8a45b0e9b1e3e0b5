//! The stores of all watches, and what was last written.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Controller, Interest, interests, trim, watch};
use crate::api::{Kind, ObjectRef};
use crate::config::environment::Environment;
use crate::config::snapshot::{Objects, Snapshot};

/// The cluster as far as it is watched. Cheap to clone; all clones are the same world.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    environment: Environment,
    state: Mutex<State>,
    triggers: HashMap<Controller, Notify>,
    synced: Notify,
}

#[derive(Default)]
struct State {
    objects: Objects,
    absent: HashSet<Interest>,
    pending: HashSet<Interest>,
    followed: HashMap<Interest, AbortHandle>,
    /// Version of the last deletion that each watch told: it has told everything before as well.
    told: HashMap<Interest, u64>,
    security_api: bool,
}

impl World {
    /// Starts every watch of [`interests`].
    pub fn start(client: Client, environment: Environment) -> Self {
        let triggers = Controller::ALL
            .iter()
            .map(|controller| (*controller, Notify::new()))
            .collect();
        let state = Mutex::new(State {
            security_api: true,
            ..State::default()
        });
        let shared = Shared {
            client,
            environment,
            state,
            triggers,
            synced: Notify::new(),
        };
        let world = Self {
            shared: Arc::new(shared),
        };
        for interest in interests() {
            world.watch(interest);
        }
        world
    }

    /// Waits until every watch has told its initial list, or that its kind is not served.
    pub async fn wait_synced(&self) {
        loop {
            let notified = self.shared.synced.notified();
            if self.state().pending.is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// What the watches look at that have not told yet.
    pub fn pending(&self) -> Vec<String> {
        let state = self.state();
        let mut pending: Vec<_> = state.pending.iter().map(ToString::to_string).collect();
        pending.sort();
        pending
    }

    /// Whether every watch that triggers the controller has told its initial list, or that its kind is not served.
    pub fn is_synced(&self, controller: Controller) -> bool {
        let state = self.state();
        !state.pending.iter().any(|i| i.triggers.contains(&controller))
    }

    /// Waits until something changed that the controller looks at.
    pub async fn changed(&self, controller: Controller) {
        if let Some(notify) = self.shared.triggers.get(&controller) {
            notify.notified().await;
        }
    }

    /// Makes the controller run a pass.
    pub fn trigger(&self, controller: Controller) {
        if let Some(notify) = self.shared.triggers.get(&controller) {
            notify.notify_one();
        }
    }

    /// Everything that a pass looks at.
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot {
            objects: state.objects.clone(),
            environment: self.shared.environment.clone(),
            security_api: state.security_api,
            now: Timestamp::now(),
        }
    }

    /// Notes whether the platform enforces security context constraints.
    pub fn set_security_api(&self, served: bool) {
        self.state().security_api = served;
    }

    /// Follows exactly these objects on top of [`interests`], for this controller: Secrets and maps that the Config names.
    /// One that cannot exist needs no watch to be missing.
    pub fn follow(&self, wanted: &BTreeSet<ObjectRef>, triggers: &'static [Controller]) {
        let wanted: HashSet<Interest> = wanted
            .iter()
            .filter(|object| object.is_possible())
            .filter_map(|object| extra(object, triggers))
            .collect();
        let known = interests();
        let unwanted: Vec<Interest> = {
            let state = self.state();
            let extra = state
                .followed
                .keys()
                .filter(|i| i.triggers == triggers && !known.contains(i));
            extra.filter(|i| !wanted.contains(i)).cloned().collect()
        };
        for interest in unwanted {
            self.unwatch(&interest);
        }
        for interest in wanted {
            let covered = known
                .iter()
                .any(|k| k.kind == interest.kind && k.namespace == interest.namespace && k.name == interest.name);
            if !covered && !self.state().followed.contains_key(&interest) {
                self.watch(interest);
            }
        }
    }

    /// Puts what the API server answered to a write or a read into the store, so that the next pass sees it. An answer that
    /// comes after the watch told of the object's end is news no more: it must not bring the object back.
    ///
    /// What is new in it is told to everybody who looks at the object: when the watch comes to it, it is news no more.
    pub fn written(&self, reference: &ObjectRef, object: Value) {
        let object = trim::trim(reference.kind, object);
        let mut state = self.state();
        let outdated = match state.objects.find(reference) {
            Some(known) => is_older(&object, known),
            None => version_of(&object).is_some_and(|version| {
                let told = state.told.iter().filter(|(interest, _)| interest.covers(reference));
                told.map(|(_, told)| *told).any(|told| version <= told)
            }),
        };
        if outdated {
            return;
        }
        let known = state.objects.find(reference);
        let changed = known.is_none_or(|known| trim::changed(known, &object));
        state.objects.insert(reference.clone(), Arc::new(object));
        drop(state);
        if changed {
            self.notify_of(reference);
        }
    }

    /// The newest that is known of an object.
    pub fn newest(&self, reference: &ObjectRef) -> Option<Arc<Value>> {
        self.state().objects.find(reference).cloned()
    }

    /// Takes an object out of the store: a live read found it gone.
    pub fn gone(&self, reference: &ObjectRef) {
        let mut state = self.state();
        let known = state.objects.find(reference).is_some();
        state.objects.remove(reference);
        drop(state);
        if known {
            self.notify_of(reference);
        }
    }

    pub(super) fn observe(&self, interest: &Interest, reference: ObjectRef, object: Value) {
        let object = trim::trim(interest.kind, object);
        let mut state = self.state();
        state.absent.remove(interest);
        let known = state.objects.find(&reference);
        if known.is_some_and(|known| is_older(&object, known)) {
            return;
        }
        let changed = known.is_none_or(|known| trim::changed(known, &object));
        state.objects.insert(reference, Arc::new(object));
        drop(state);
        if changed {
            self.notify(interest);
        }
    }

    pub(super) fn vanish(&self, interest: &Interest, reference: &ObjectRef, version: Option<&str>) {
        let gone: Option<u64> = version.and_then(|v| v.parse().ok());
        let mut state = self.state();
        if let Some(gone) = gone {
            let told = state.told.entry(interest.clone()).or_default();
            *told = gone.max(*told);
        }
        let newer = |known: &Arc<Value>| version_of(known).zip(gone).is_some_and(|(known, gone)| known > gone);
        if state.objects.find(reference).is_some_and(newer) {
            return; // made anew by us; the watch has not come to it yet
        }
        state.objects.remove(reference);
        drop(state);
        self.notify(interest);
    }

    pub(super) fn initialised(&self, interest: &Interest, seen: &BTreeSet<ObjectRef>) {
        let mut state = self.state();
        let stale: Vec<ObjectRef> = state
            .objects
            .of(interest.kind)
            .map(|(reference, _)| reference)
            .filter(|reference| interest.covers(reference) && !seen.contains(*reference))
            .cloned()
            .collect();
        for reference in &stale {
            state.objects.remove(reference);
        }
        state.absent.remove(interest);
        refresh_absent_kinds(&mut state);
        let first = state.pending.remove(interest);
        drop(state);
        if first || !stale.is_empty() {
            self.notify(interest);
        }
        self.shared.synced.notify_waiters();
    }

    pub(super) fn kind_absent(&self, interest: &Interest) {
        let mut state = self.state();
        let new = state.absent.insert(interest.clone());
        state.pending.remove(interest);
        refresh_absent_kinds(&mut state);
        drop(state);
        if new {
            tracing::info!(
                kind = interest.kind.kind(),
                group = interest.kind.group(),
                "the API server does not serve this kind; it is asked for again"
            );
            self.notify(interest);
        }
        self.shared.synced.notify_waiters();
    }

    fn watch(&self, interest: Interest) {
        self.state().pending.insert(interest.clone());
        let task = tokio::spawn(watch::follow(
            self.shared.client.clone(),
            interest.clone(),
            self.clone(),
        ));
        self.state().followed.insert(interest, task.abort_handle());
    }

    fn unwatch(&self, interest: &Interest) {
        let mut state = self.state();
        if let Some(task) = state.followed.remove(interest) {
            task.abort();
        }
        state.pending.remove(interest);
        state.told.remove(interest);
        if let Some(name) = &interest.name {
            let object = ObjectRef::new(interest.kind, interest.namespace.unwrap_or_default(), name);
            // Another loop may follow the same object.
            if !state.followed.keys().any(|other| other.covers(&object)) {
                state.objects.remove(&object);
            }
        }
    }

    fn notify(&self, interest: &Interest) {
        for controller in interest.triggers {
            self.trigger(*controller);
        }
    }

    fn notify_of(&self, reference: &ObjectRef) {
        let covering: Vec<Interest> = {
            let state = self.state();
            state
                .followed
                .keys()
                .filter(|interest| interest.covers(reference))
                .cloned()
                .collect()
        };
        for interest in &covering {
            self.notify(interest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held left at worst one object out of date; the watch repairs it.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn extra(object: &ObjectRef, triggers: &'static [Controller]) -> Option<Interest> {
    let namespace = [
        crate::names::NAMESPACE,
        crate::names::CONFIG_NAMESPACE,
        crate::names::CONFIG_MANAGED_NAMESPACE,
    ];
    let namespace = namespace.into_iter().find(|n| *n == object.namespace)?;
    Some(Interest {
        kind: object.kind,
        namespace: Some(namespace),
        name: Some(object.name.clone()),
        labels: None,
        triggers,
    })
}

fn refresh_absent_kinds(state: &mut State) {
    let absent: BTreeSet<Kind> = state.absent.iter().map(|i| i.kind).collect();
    state.objects.set_absent_kinds(absent);
}

fn version_of(object: &Value) -> Option<u64> {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}

/// Whether `object` is an earlier version of `known`. Versions of one resource may be compared as numbers (Kubernetes
/// promises it since 1.35, and etcd has always kept it); what is no number counts as newer.
fn is_older(object: &Value, known: &Value) -> bool {
    version_of(object)
        .zip(version_of(known))
        .is_some_and(|(object, known)| object < known)
}

#[cfg(test)]
mod tests;
