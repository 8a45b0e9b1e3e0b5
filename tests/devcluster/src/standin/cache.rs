//! What the stand-ins know of the cluster: the objects of the kinds they care for, fed by watches and by the answers to
//! their own writes. Pure: it talks to nobody.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

/// The kinds that the stand-ins look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ConfigMap,
    EndpointSlice,
    Namespace,
    Proxy,
    Route,
    Secret,
    Service,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::ConfigMap,
        Self::EndpointSlice,
        Self::Namespace,
        Self::Proxy,
        Self::Route,
        Self::Secret,
        Self::Service,
    ];

    pub(super) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::Proxy => ("config.openshift.io", "v1", "Proxy", "proxies"),
            Self::Route => ("route.openshift.io", "v1", "Route", "routes"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
        };
        let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
        ApiResource::from_gvk_with_plural(&gvk, plural)
    }

    /// The CRD that must be established before the kind can be watched; none for the server's own kinds.
    pub(super) fn crd(self) -> Option<&'static str> {
        match self {
            Self::Proxy => Some("proxies.config.openshift.io"),
            Self::Route => Some("routes.route.openshift.io"),
            _ => None,
        }
    }

    /// Of Secrets only those that can be a serving certificate are of interest.
    pub(super) fn field_selector(self) -> Option<&'static str> {
        (self == Self::Secret).then_some("type=kubernetes.io/tls")
    }
}

/// Namespace (empty when cluster-scoped) and name.
pub(super) type Key = (String, String);

/// The key of an object.
pub(super) fn key(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// One thing that a watch tells.
#[derive(Debug)]
pub(super) enum Event {
    /// A list begins; objects that it does not mention are gone.
    Listing(Kind),
    /// An object of that list.
    Listed(Kind, Box<DynamicObject>),
    /// The list is complete.
    Complete(Kind),
    /// An object was made or changed.
    Applied(Kind, Box<DynamicObject>),
    /// An object was deleted.
    Deleted(Kind, Box<DynamicObject>),
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Room {
    objects: BTreeMap<Key, DynamicObject>,
    /// While a list runs: the keys that it has mentioned.
    listing: Option<BTreeSet<Key>>,
    complete: bool,
    /// Counts changes, so that a reader can tell whether anything happened since it last looked.
    changes: u64,
}

/// All objects known. See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Cache {
    rooms: BTreeMap<Kind, Room>,
}

impl Cache {
    /// Takes in what a watch tells.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Listing(kind) => self.room(kind).listing = Some(BTreeSet::new()),
            Event::Listed(kind, object) => {
                if let Some(listing) = &mut self.room(kind).listing {
                    listing.insert(key(&object));
                }
                self.insert(kind, *object);
            }
            Event::Complete(kind) => {
                let room = self.room(kind);
                if let Some(listing) = room.listing.take() {
                    room.objects.retain(|key, _| listing.contains(key));
                }
                room.complete = true;
                room.changes += 1;
            }
            Event::Applied(kind, object) => self.insert(kind, *object),
            Event::Deleted(kind, object) => {
                let room = self.room(kind);
                // A late word of an older object's deletion says nothing of its successor.
                let key = key(&object);
                if room
                    .objects
                    .get(&key)
                    .is_some_and(|known| known.metadata.uid == object.metadata.uid)
                {
                    room.objects.remove(&key);
                    room.changes += 1;
                }
            }
        }
    }

    /// Takes in an object, unless a newer version of it is known already: watch and write answers race.
    pub(super) fn insert(&mut self, kind: Kind, object: DynamicObject) {
        let room = self.room(kind);
        let key = key(&object);
        if room
            .objects
            .get(&key)
            .is_some_and(|known| version(known) >= version(&object))
        {
            return;
        }
        room.objects.insert(key, object);
        room.changes += 1;
    }

    /// Whether all objects of the server's own kinds are known. Kinds of a CRD come when the CRD comes.
    pub(super) fn complete(&self) -> bool {
        Kind::ALL
            .iter()
            .all(|kind| kind.crd().is_some() || self.rooms.get(kind).is_some_and(|room| room.complete))
    }

    /// The objects of a kind, by namespace and name.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &DynamicObject> {
        self.rooms.get(&kind).into_iter().flat_map(|room| room.objects.values())
    }

    /// One object.
    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&DynamicObject> {
        self.rooms
            .get(&kind)?
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
    }

    /// A number for each kind that grows whenever anything of the kind changes.
    pub(super) fn changes<const N: usize>(&self, kinds: [Kind; N]) -> [u64; N] {
        kinds.map(|kind| self.rooms.get(&kind).map_or(0, |room| room.changes))
    }

    fn room(&mut self, kind: Kind) -> &mut Room {
        self.rooms.entry(kind).or_default()
    }
}

fn version(object: &DynamicObject) -> u64 {
    object
        .metadata
        .resource_version
        .as_deref()
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

/// The text at a JSON pointer such as `/spec/host`; absent and empty are the same.
pub(super) fn text<'a>(object: &'a DynamicObject, pointer: &str) -> Option<&'a str> {
    object
        .data
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

/// The items of the list at a JSON pointer; absent and null are empty lists.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The value of an annotation.
pub(super) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The value of a label.
pub(super) fn label<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// Whether the object is on its way out.
pub(super) fn terminating(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
pub(super) mod fixture {
    use super::*;

    /// A cache of objects given as JSON.
    pub(in crate::standin) fn cache(objects: impl IntoIterator<Item = (Kind, Value)>) -> Cache {
        let mut cache = Cache::default();
        for (kind, value) in objects {
            cache.insert(kind, object(value));
        }
        cache
    }

    /// An object given as JSON; without a resourceVersion it gets one.
    pub(in crate::standin) fn object(mut value: Value) -> DynamicObject {
        if value["metadata"].get("resourceVersion").is_none() {
            value["metadata"]["resourceVersion"] = "1".into();
        }
        serde_json::from_value(value).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::fixture::object;
    use super::*;

    fn named(name: &str, version: &str, uid: &str) -> Box<DynamicObject> {
        Box::new(object(
            json!({"metadata": {"name": name, "resourceVersion": version, "uid": uid}}),
        ))
    }

    #[test]
    fn a_new_list_forgets_what_it_does_not_mention() {
        let mut cache = Cache::default();
        cache.apply(Event::Applied(Kind::Namespace, named("gone", "5", "a")));
        cache.apply(Event::Applied(Kind::Namespace, named("kept", "6", "b")));
        cache.apply(Event::Listing(Kind::Namespace));
        cache.apply(Event::Listed(Kind::Namespace, named("kept", "6", "b")));
        assert_eq!(
            cache.all(Kind::Namespace).count(),
            2,
            "nothing is forgotten before the list is complete"
        );
        cache.apply(Event::Complete(Kind::Namespace));
        assert!(cache.get(Kind::Namespace, "", "gone").is_none());
        assert!(cache.get(Kind::Namespace, "", "kept").is_some());
    }

    #[test]
    fn older_news_changes_nothing() {
        let mut cache = Cache::default();
        cache.insert(Kind::Namespace, *named("quux", "8", "new"));
        cache.apply(Event::Applied(Kind::Namespace, named("quux", "7", "new")));
        assert_eq!(version(cache.get(Kind::Namespace, "", "quux").unwrap()), 8);
        cache.apply(Event::Deleted(Kind::Namespace, named("quux", "9", "old")));
        assert!(cache.get(Kind::Namespace, "", "quux").is_some());
        let before = cache.changes([Kind::Namespace]);
        cache.apply(Event::Deleted(Kind::Namespace, named("quux", "9", "new")));
        assert!(cache.get(Kind::Namespace, "", "quux").is_none());
        assert_ne!(cache.changes([Kind::Namespace]), before);
    }

    #[test]
    fn a_cluster_without_the_platforms_kinds_is_complete_too() {
        let mut cache = Cache::default();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.crd().is_none()) {
            assert!(!cache.complete());
            cache.apply(Event::Listing(kind));
            cache.apply(Event::Complete(kind));
        }
        assert!(cache.complete());
    }
}
