//! PURE: the desired objects, and the objects that must be absent, as data. One file per kind.
//!
//! This room knows no client, clock, environment or randomness. It may use `config`, `api` and `names`.

mod adopt;
pub mod certificates;
pub mod checksum;
mod dependencies;
mod deployment;
mod disruption;
pub mod drift;
mod network;
mod node_ca;
mod pruner;
mod rbac;
pub mod removal;
mod route;
mod secret;
mod service;
pub mod settle;
mod storage;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub use self::certificates::{Certificates, certificates};
pub use self::checksum::checksum;
pub use self::deployment::affinity_first;
pub use self::node_ca::node_ca;
pub use self::pruner::pruner;
pub use self::removal::{Removal, removal};
pub use self::settle::{unsettled, wait_ends};
pub use self::storage::{Source, is_published, storage_cas, storage_differs};
use crate::api::{Kind, ObjectRef};
use crate::config::notice::Notice;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;

/// What the registry's objects are made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// What the administrator wants.
    pub resolved: &'a Resolved,
    /// What the storage needs.
    pub storage: Source<'a>,
    /// What there is.
    pub snapshot: &'a Snapshot,
}

/// All objects of the registry, in the order in which they are applied: rights and identity, Secrets, Service, Deployment,
/// PodDisruptionBudget, NetworkPolicy, Routes.
pub fn registry(inputs: &Inputs<'_>) -> Plan {
    let mut plan = Plan::default();
    plan.present.extend([
        rbac::cluster_role(),
        rbac::cluster_role_binding(),
        rbac::service_account(),
    ]);
    secret::plan_pull_secret(inputs.snapshot, &mut plan);
    plan.present.extend(inputs.storage.facts().map(secret::private));
    plan.present.push(service::service(&inputs.snapshot.objects));
    let scale = deployment::Scale::of(inputs);
    deployment::plan(inputs, scale.as_ref(), &mut plan);
    plan.present.push(disruption::budget(
        scale.map_or(inputs.resolved.replicas, |scale| scale.replicas),
    ));
    plan.present.push(network::registry());
    route::plan(inputs, &mut plan);
    plan
}

/// Why objects of the plan are left alone: they belong to somebody else.
pub fn conflicts(plan: &Plan) -> Vec<String> {
    plan.present
        .iter()
        .filter_map(|desired| desired.refused.clone())
        .collect()
}

/// How a live object is held against the desired one.
///
/// Labels and annotations that the desired object carries are asserted under each of them, and foreign ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// These top-level members are ours alone: live must equal desired; a write replaces them whole.
    Whole(&'static [&'static str]),
    /// What the desired object says counts, down to single members (null: must be absent); all else is the server's,
    /// or somebody else's, and stays. Lists are compared element by element and written whole; an empty list or map of the
    /// desired object says that nothing may be there.
    Named,
    /// Pod workloads without a recorded generation: compared like [`Drift::Named`], because the server fills in defaults,
    /// but `spec` is ours alone and written whole.
    Template,
    /// Workloads: `spec` is ours alone and written whole. Drift shows as a missing or different desired label or
    /// annotation (the spec hash among them), or as a `metadata.generation` other than the one recorded at our last write.
    Generation,
}

/// An object that must be there.
#[derive(Clone, PartialEq)]
pub struct Desired {
    /// Which object.
    pub reference: ObjectRef,
    /// The object, without the checksum annotation. Labels and annotations in it are asserted; foreign ones stay.
    pub body: Value,
    /// How the live object is held against it.
    pub drift: Drift,
    /// Annotations that were ours and are not wanted any more.
    pub drop_annotations: Vec<String>,
    /// Whether a write carries the checksum annotation.
    pub checksum: bool,
    /// JSON pointers of members that the API server does not let change: on a difference the object is made anew.
    pub immutable: &'static [&'static str],
    /// Set where the live object belongs to somebody else and must be left alone: why.
    pub refused: Option<String>,
}

impl Desired {
    /// An object that carries the checksum annotation; which one, its metadata say.
    fn new(kind: Kind, drift: Drift, body: Value) -> Self {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let reference = ObjectRef::new(kind, text("/metadata/namespace"), text("/metadata/name"));
        Self {
            reference,
            body,
            drift,
            drop_annotations: Vec::new(),
            checksum: true,
            immutable: &[],
            refused: None,
        }
    }

    fn without_checksum(self) -> Self {
        Self {
            checksum: false,
            ..self
        }
    }

    fn with_immutable(self, immutable: &'static [&'static str]) -> Self {
        Self { immutable, ..self }
    }
}

/// Bodies hold Secrets and keys: they are not shown.
impl fmt::Debug for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reference,
            body: _,
            drift,
            drop_annotations,
            checksum,
            immutable,
            refused,
        } = self;
        f.debug_struct("Desired")
            .field("reference", reference)
            .field("drift", drift)
            .field("drop_annotations", drop_annotations)
            .field("checksum", checksum)
            .field("immutable", immutable)
            .field("refused", refused)
            .finish_non_exhaustive()
    }
}

/// An object that could not be planned; the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which object.
    pub reference: ObjectRef,
    /// Names the cause and the remedy.
    pub message: String,
}

/// What a pass wants of the cluster. Order is the order of application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Objects that must be there.
    pub present: Vec<Desired>,
    /// Objects that exist and must not.
    pub absent: Vec<ObjectRef>,
    /// Objects that could not be planned.
    pub failures: Vec<Failure>,
    /// Things to tell.
    pub notices: Vec<Notice>,
}

impl Plan {
    /// The desired object of that reference, if it is planned.
    pub fn desired(&self, kind: Kind, name: &str) -> Option<&Desired> {
        self.present
            .iter()
            .find(|desired| desired.reference.kind == kind && desired.reference.name == name)
    }

    fn fail(&mut self, kind: Kind, name: &str, message: impl Into<String>) {
        self.failures.push(Failure {
            reference: operand(kind, name),
            message: message.into(),
        });
    }

    /// The plan as one document, for golden files.
    pub fn to_value(&self) -> Value {
        let Self {
            present,
            absent,
            failures,
            notices,
        } = self;
        serde_json::json!({
            "present": present.iter().map(|d| {
                let mut entry = BTreeMap::from([("object", d.body.clone()), ("drift", Value::from(format!("{:?}", d.drift)))]);
                if let Some(refused) = &d.refused {
                    entry.insert("refused", Value::from(refused.clone()));
                }
                if !d.drop_annotations.is_empty() {
                    entry.insert("dropAnnotations", Value::from(d.drop_annotations.clone()));
                }
                entry
            }).collect::<Vec<_>>(),
            "absent": absent.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "failures": failures.iter().map(|f| format!("{}: {}", f.reference, f.message)).collect::<Vec<_>>(),
            "notices": notices.iter().map(|n| format!("{}: {}", n.reason, n.note)).collect::<Vec<_>>(),
        })
    }
}

/// An object in the registry's namespace, or a cluster-scoped one.
fn operand(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, names::NAMESPACE, name)
}

/// An annotation of an object.
fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// `wanted`, and null for each further member of `live`: so that a map that is ours alone holds nothing else.
fn only(wanted: Value, live: Option<&Value>) -> Value {
    match (wanted, live) {
        (Value::Object(mut wanted), Some(Value::Object(live))) => {
            for (key, value) in live {
                let member = wanted
                    .remove(key)
                    .map_or(Value::Null, |member| only(member, Some(value)));
                wanted.insert(key.clone(), member);
            }
            Value::Object(wanted)
        }
        (wanted, _) => wanted,
    }
}
