//! The input of one reconcile pass, read once from the watch caches. Later steps of the pass do not read the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::environment::Environment;
use super::trim;
use crate::api::openshift::{ApiServerSpec, InfrastructureStatus, ProxySpec, ProxyStatus};
use crate::api::{Config, Kind, ObjectRef};
use crate::names;

/// Objects by reference, without the fields that [`trim`] removes. Nothing else can hold an object for a pass, so that a
/// test never shows a pass a field that the watches do not keep.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    known: BTreeMap<ObjectRef, Arc<Value>>,
    absent_kinds: BTreeSet<Kind>,
    unreadable_kinds: BTreeMap<Kind, String>,
}

impl Objects {
    /// The object, if it exists.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<&Value> {
        self.known
            .get(&ObjectRef::new(kind, namespace, name))
            .map(AsRef::as_ref)
    }

    /// The object that `reference` names, if it exists.
    pub fn find(&self, reference: &ObjectRef) -> Option<&Arc<Value>> {
        self.known.get(reference)
    }

    /// The object in the registry's namespace, if it exists.
    pub fn operand(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.get(kind, names::NAMESPACE, name)
    }

    /// The cluster-scoped object, if it exists.
    pub fn cluster(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.get(kind, "", name)
    }

    /// All objects of a kind, sorted by namespace and name.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (&ObjectRef, &Value)> {
        self.known
            .iter()
            .filter(move |(reference, _)| reference.kind == kind)
            .map(|(r, o)| (r, o.as_ref()))
    }

    /// Adds or replaces an object, without the fields that no pass reads.
    pub fn insert(&mut self, reference: ObjectRef, object: Value) {
        let kept = trim::trim(reference.kind, object);
        self.known.insert(reference, Arc::new(kept));
    }

    /// Removes an object.
    pub fn remove(&mut self, reference: &ObjectRef) {
        self.known.remove(reference);
    }

    /// Sets which kinds the API server does not serve.
    pub fn set_absent_kinds(&mut self, kinds: BTreeSet<Kind>) {
        self.absent_kinds = kinds;
    }

    /// Adds a kind that the API server does not serve.
    pub fn set_absent_kind(&mut self, kind: Kind) {
        self.absent_kinds.insert(kind);
    }

    /// Whether the API server serves the kind.
    pub fn served(&self, kind: Kind) -> bool {
        !self.absent_kinds.contains(&kind)
    }

    /// Sets the kinds that cannot be read, although passes go on without them, with the error of each.
    pub fn set_unreadable_kinds(&mut self, kinds: BTreeMap<Kind, String>) {
        self.unreadable_kinds = kinds;
    }

    /// Why the kind cannot be read; `None` if its objects are known. Objects that were read before are still there.
    pub fn unreadable(&self, kind: Kind) -> Option<&str> {
        self.unreadable_kinds.get(&kind).map(String::as_str)
    }

    /// Builds a set of objects from manifests; used by tests.
    ///
    /// `None` if an object has a kind that this operator does not know, or has no name.
    pub fn from_values(values: impl IntoIterator<Item = Value>) -> Option<Self> {
        let mut objects = Self::default();
        for value in values {
            let kind = Kind::find(value.get("apiVersion")?.as_str()?, value.get("kind")?.as_str()?)?;
            let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
            let reference = ObjectRef::new(kind, text("/metadata/namespace").unwrap_or(""), text("/metadata/name")?);
            objects.insert(reference, value);
        }
        Some(objects)
    }
}

/// An object in the cluster that does not decode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} cannot be read: {cause}")]
pub struct Undecodable {
    /// The object.
    pub object: ObjectRef,
    /// Path of the field, if known, and the error of the decoder.
    pub cause: String,
}

/// The input of one reconcile pass.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Objects of the cluster.
    pub objects: Objects,
    /// Settings of the process.
    pub environment: Environment,
    /// Whether the platform enforces security context constraints (API group `security.openshift.io` is served).
    pub security_api: bool,
    /// Whether the API server serves the kind ServiceCA, which configures a service CA.
    pub service_ca_api: bool,
    /// Whether the API server serves images and image streams (API group `image.openshift.io`).
    pub image_api: bool,
    /// When the pass began.
    pub now: Timestamp,
}

/// Why no image can be pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprunable {
    /// The cluster does not serve the image API, through which the pruner works.
    NoApi,
    /// The operator knows no image of the pruner.
    NoImage,
}

impl Snapshot {
    /// A cluster without objects.
    pub fn empty() -> Self {
        Self {
            objects: Objects::default(),
            environment: Environment::default(),
            security_api: false,
            service_ca_api: true,
            image_api: true,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// The Config `cluster`; `None` if it does not exist.
    pub fn config(&self) -> Result<Option<Config>, Undecodable> {
        self.decode(Kind::Config, names::CLUSTER)
    }

    /// Whether the cluster is an OpenShift cluster. There the version operator installs its APIs, possibly later than this
    /// operator: an API that is missing now proves nothing. The version operator's own kind exists before all others.
    pub fn is_platform(&self) -> bool {
        self.objects.served(Kind::ClusterVersion)
    }

    /// Whether the cluster is on no platform that the operator knows: nothing there has the cluster's name and its cloud.
    pub fn has_no_platform(&self) -> bool {
        !self.is_platform() && !self.objects.served(Kind::Infrastructure)
    }

    /// Whether the operator issues the registry's serving certificate itself, because no service CA does.
    pub fn issues_certificates(&self) -> bool {
        !self.is_platform() && !self.service_ca_api
    }

    /// Why no image can be pruned; `None` if images can be.
    pub fn unprunable(&self) -> Option<Unprunable> {
        if !self.is_platform() && !self.image_api {
            Some(Unprunable::NoApi)
        } else {
            self.environment.pruner_image.is_empty().then_some(Unprunable::NoImage)
        }
    }

    /// Status of the Infrastructure; `None` if the object does not exist.
    pub fn infrastructure(&self) -> Option<InfrastructureStatus> {
        self.part(Kind::Infrastructure, "status")
    }

    /// Status of the cluster's Proxy; empty if the object does not exist.
    pub fn proxy(&self) -> ProxyStatus {
        self.part(Kind::Proxy, "status").unwrap_or_default()
    }

    /// Name of the ConfigMap in `openshift-config` with the CA of the cluster's proxy; `None` if the Proxy names none.
    pub fn proxy_ca_map(&self) -> Option<String> {
        let spec: ProxySpec = self.part(Kind::Proxy, "spec")?;
        spec.trusted_ca?.name.filter(|name| !name.is_empty())
    }

    /// Spec of the APIServer; `None` if the object does not exist.
    pub fn api_server(&self) -> Option<ApiServerSpec> {
        self.part(Kind::ApiServer, "spec")
    }

    /// `metadata.uid` of the registry's namespace; empty if the namespace is not in the cache.
    pub fn namespace_uid(&self) -> &str {
        let namespace = self.objects.cluster(Kind::Namespace, names::NAMESPACE);
        namespace
            .and_then(|n| n.pointer("/metadata/uid"))
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn decode<T: DeserializeOwned>(&self, kind: Kind, name: &str) -> Result<Option<T>, Undecodable> {
        let Some(object) = self.objects.cluster(kind, name) else {
            return Ok(None);
        };
        serde_json::from_value(object.clone())
            .map(Some)
            .map_err(|error| Undecodable {
                object: ObjectRef::new(kind, "", name),
                cause: located::<T>(object, &error.to_string()),
            })
    }

    /// The `spec` or `status` of the object `cluster` of a kind; `None` if the object does not exist. A missing or
    /// undecodable part is empty: the operator does not validate objects that belong to other operators.
    fn part<T: DeserializeOwned + Default>(&self, kind: Kind, part: &str) -> Option<T> {
        let object = self.objects.cluster(kind, names::CLUSTER)?;
        Some(
            object
                .get(part)
                .and_then(|p| serde_json::from_value(p.clone()).ok())
                .unwrap_or_default(),
        )
    }
}

/// The error of the decoder, prefixed with the path of the field that causes it.
///
/// serde reports no path. This function searches it: a field is the cause if the object without the field decodes, or fails
/// with another error.
fn located<T: DeserializeOwned>(object: &Value, error: &str) -> String {
    let mut path: Vec<String> = Vec::new();
    let at = |path: &[String]| path.iter().fold(String::new(), |pointer, key| pointer + "/" + key);
    while let Some(members) = object.pointer(&at(&path)).and_then(Value::as_object) {
        let cause = members.keys().find(|key| {
            let mut without = object.clone();
            if let Some(members) = without.pointer_mut(&at(&path)).and_then(Value::as_object_mut) {
                members.remove(*key);
            }
            serde_json::from_value::<T>(without)
                .err()
                .is_none_or(|other| other.to_string() != error)
        });
        match cause {
            Some(key) => path.push(key.clone()),
            None => break,
        }
    }
    if path.is_empty() {
        error.to_owned()
    } else {
        format!("{}: {error}", path.join("."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_undecodable_config_names_the_field() {
        let cause = |spec: Value| {
            let mut snapshot = Snapshot::empty();
            let config = json!({"metadata": {"name": "cluster"}, "spec": spec});
            snapshot
                .objects
                .insert(ObjectRef::new(Kind::Config, "", names::CLUSTER), config);
            snapshot.config().unwrap_err().cause
        };
        assert!(cause(json!({"replicas": 5_000_000_000_i64})).starts_with("spec.replicas: "));
        let nested = json!({"replicas": 1, "storage": {"s3": {"bucket": "b", "region": 7}}, "logLevel": "Normal"});
        assert!(cause(nested).starts_with("spec.storage.s3.region: "));
    }
}
