//! What a controller works with, over an API server in memory and under paused time.

use std::sync::Arc;
use std::time::Duration;

use kube::Resource as _;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{Kind, ObjectRef};
use crate::apply::Writer;
use crate::config::environment::Environment;
use crate::config::snapshot::Objects;
use crate::controllers::cloud::cloud_settings;
use crate::controllers::context::Context;
use crate::observe::Caches;
use crate::runtime::clock::Clock as _;
use crate::runtime::leader::Claim;
use crate::storage::StorageClients;
use crate::testing::clock::PausedClock;
use crate::testing::fake_api::FakeApi;
use crate::testing::settings::settings;

/// Seconds from the epoch to the start of a test: certificates cannot begin before the epoch.
const START: i64 = 1_900_000_000;

/// A cluster that a controller sees through its caches, which no watch fills.
pub(in crate::controllers) struct Cluster {
    pub(in crate::controllers) api: FakeApi,
    pub(in crate::controllers) context: Context,
    clock: Arc<PausedClock>,
}

impl Cluster {
    /// A cluster of the platform with these objects.
    pub(in crate::controllers) fn new(objects: impl IntoIterator<Item = Value>) -> Self {
        Self::with(objects, |_| {})
    }

    /// A cluster with these objects, after a change of what the caches know about its kinds.
    pub(in crate::controllers) fn with(
        objects: impl IntoIterator<Item = Value>,
        change: impl FnOnce(&mut Objects),
    ) -> Self {
        let api = FakeApi::default();
        let stored = objects.into_iter().map(|object| {
            let path = path_of(&object);
            api.put(&path, object);
            api.get(&path).unwrap()
        });
        let mut known = Objects::from_values(stored).unwrap();
        change(&mut known);
        let clock = Arc::new(PausedClock::start());
        clock.ahead(START);
        let time = clock.clone();
        let environment = Environment {
            registry_image: "test/registry".to_owned(),
            pruner_image: "test/pruner".to_owned(),
            operator_image: "test/operator".to_owned(),
            ..Environment::default()
        };
        let caches = Caches::unwatched(api.client(), environment, Arc::new(move || time.now()), known);
        let writer = Writer::new(api.client(), Arc::new(|| true), Arc::new(caches.clone()));
        let storage = StorageClients::new(cloud_settings("0", Arc::new(|| true)));
        let settings = settings(api.client(), Claim::fixed(Duration::from_hours(1)));
        Self {
            context: Context::new(&settings, caches, writer, storage),
            clock,
            api,
        }
    }

    /// Somebody sets the wall clock forward by so many seconds.
    pub(in crate::controllers) fn set_clock_forward(&self, seconds: i64) {
        self.clock.ahead(START + seconds);
    }

    /// Somebody stores this object, and the caches get it.
    pub(in crate::controllers) fn put(&self, object: Value) {
        let reference = reference_of(&object);
        let path = path(&reference);
        self.api.put(&path, object);
        self.context.caches.store(&reference, self.api.get(&path).unwrap());
    }

    /// The object as the API server has it.
    pub(in crate::controllers) fn get(&self, reference: &ObjectRef) -> Option<Value> {
        self.api.get(&path(reference))
    }

    /// The writes since the last call whose path contains this text.
    pub(in crate::controllers) fn writes(&self, part: &str) -> Vec<String> {
        let mut requests = self.api.requests();
        requests.retain(|request| !request.starts_with("GET ") && request.contains(part));
        requests
    }
}

fn path_of(object: &Value) -> String {
    path(&reference_of(object))
}

fn reference_of(object: &Value) -> ObjectRef {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = Kind::find(text("/apiVersion"), text("/kind")).unwrap();
    ObjectRef::new(kind, text("/metadata/namespace"), text("/metadata/name"))
}

fn path(reference: &ObjectRef) -> String {
    let namespace = Some(reference.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let all = DynamicObject::url_path(&reference.kind.resource(), namespace);
    format!("{all}/{}", reference.name)
}
