//! What a plan is made of: desired objects, objects to delete, and how a live object is compared.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::source::Source;
use crate::api::{Kind, ObjectRef};
use crate::config::content;
use crate::config::error_class::ErrorClass;
use crate::config::event_request::EventRequest;
use crate::config::rejection::Rejection;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;

/// Inputs of the plan of the registry's objects.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The validated Config.
    pub resolved: &'a Resolved,
    /// Source of the storage settings of the registry's pods.
    pub storage: Source<'a>,
    /// The live objects.
    pub snapshot: &'a Snapshot,
    /// `metadata.generation` of the Deployment after the operator's last write; `None` if it is not known.
    pub recorded: Option<i64>,
}

/// How a live object is compared with the desired object, and which fields a write replaces.
///
/// Every variant sets the labels and annotations of the desired object and keeps other labels and annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// The operator owns these top-level fields completely: live must equal desired, and a write replaces the whole field.
    Whole(&'static [&'static str]),
    /// The operator owns only the fields that the desired object contains, at any depth; null means that the field must be
    /// absent. Other fields belong to the API server or to other writers and stay. Lists are compared element by element and
    /// replaced as a whole. An empty list or map in the desired object means that the live field must be empty.
    Named,
    /// For workloads without a recorded generation. The comparison is that of [`Drift::Named`], because the API server adds
    /// defaults; a write replaces the whole `spec`.
    Template,
    /// For workloads with a recorded generation. The live object differs if a desired label or annotation (including the
    /// spec hash) is missing or different, or if `metadata.generation` is not the generation of the operator's last write.
    /// A write replaces the whole `spec`.
    Generation,
}

/// An object that must exist.
#[derive(Clone, PartialEq)]
pub struct Desired {
    /// Reference of the object.
    pub reference: ObjectRef,
    /// The manifest, without the checksum annotation. A write keeps other labels and annotations of the live object.
    pub body: Value,
    /// Comparison with the live object.
    pub drift: Drift,
    /// Annotations that the operator set earlier and removes now.
    pub drop_annotations: Vec<String>,
    /// Whether a write sets the checksum annotation.
    pub checksum: bool,
    /// JSON pointers of fields that the API server treats as immutable: if one differs, the object is deleted and created
    /// again.
    pub immutable: &'static [&'static str],
    /// Set if another owner has the live object: a message that says why the operator does not write the object.
    pub refused: Option<String>,
    /// Set if an object of this name may also be somebody else's: a write never touches a live object without the mark, also if the live
    /// object came, or replaced another one, after the plan.
    pub mark: Option<Mark>,
    /// Where fields of the object come from, for the message if the API server refuses one.
    pub origins: Vec<Origin>,
    /// Objects that must be written first, such as those whose planned content goes into a digest in this object. While a write or
    /// deletion of one of them fails, the digest would be wrong, so this object is not written.
    pub depends_on: Vec<ObjectRef>,
}

/// Key of the label or annotation by which the operator knows an object of its own. The value does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A label.
    Label(&'static str),
    /// An annotation.
    Annotation(&'static str),
}

impl Mark {
    /// Whether an object has it.
    pub fn is_on(self, object: &Value) -> bool {
        match self {
            Self::Label(key) => content::has_label(object, key),
            Self::Annotation(key) => annotation(object, key).is_some(),
        }
    }
}

/// Where a field of an object comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Field of the object, such as `spec.template.spec.tolerations`; also stands for the fields below it.
    pub field: &'static str,
    /// What the user edits, such as `spec.tolerations` or `spec.routes[0].hostname`.
    pub source: String,
    /// The object that the user edits, such as `Config cluster`.
    pub object: String,
    /// Whether `source` has the same fields below it as `field`.
    pub same_below: bool,
}

impl Origin {
    /// A field that is copied as it is.
    pub(super) fn copied(field: &'static str, source: impl Into<String>, object: impl Into<String>) -> Self {
        Self {
            field,
            source: source.into(),
            object: object.into(),
            same_below: true,
        }
    }

    /// A field that is made from a source of another shape.
    pub(super) fn made(field: &'static str, source: impl Into<String>, object: impl Into<String>) -> Self {
        Self {
            same_below: false,
            ..Self::copied(field, source, object)
        }
    }

    /// `spec.tolerations[0].operator of Config cluster`, for `spec.template.spec.tolerations[0].operator` of the object.
    /// `None` if the field does not come from here.
    fn explain(&self, field: &str) -> Option<String> {
        let below = field.strip_prefix(self.field)?;
        if !(below.is_empty() || below.starts_with(['.', '['])) {
            return None;
        }
        let below = if self.same_below { below } else { "" };
        Some(format!("{}{below} of {}", self.source, self.object))
    }
}

/// The Config, as messages name it.
pub(super) fn config() -> String {
    format!("Config {}", names::CLUSTER)
}

impl Desired {
    /// An object with the checksum annotation. The reference comes from the metadata of `body`.
    pub(super) fn new(kind: Kind, drift: Drift, body: Value) -> Self {
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
            mark: None,
            origins: Vec::new(),
            depends_on: Vec::new(),
        }
    }

    /// Which fields of which objects the user has to edit, for fields of this object that the API server refuses. Empty if
    /// none of them comes from a user.
    pub fn explain(&self, fields: &[String]) -> Vec<String> {
        let mut sources = Vec::new();
        for field in fields {
            let of_field = self
                .origins
                .iter()
                .filter_map(|origin| Some((origin, origin.explain(field)?)));
            // The most specific one.
            if let Some((_, source)) = of_field.max_by_key(|(origin, _)| origin.field.len())
                && !sources.contains(&source)
            {
                sources.push(source);
            }
        }
        sources
    }

    pub(super) fn with_origins(self, origins: impl IntoIterator<Item = Origin>) -> Self {
        let origins = origins.into_iter().collect();
        Self { origins, ..self }
    }

    pub(super) fn without_checksum(self) -> Self {
        Self {
            checksum: false,
            ..self
        }
    }

    pub(super) fn with_immutable(self, immutable: &'static [&'static str]) -> Self {
        Self { immutable, ..self }
    }
}

/// Omits `body`: manifests contain secrets.
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
            mark,
            origins,
            depends_on,
        } = self;
        f.debug_struct("Desired")
            .field("reference", reference)
            .field("drift", drift)
            .field("drop_annotations", drop_annotations)
            .field("checksum", checksum)
            .field("immutable", immutable)
            .field("refused", refused)
            .field("mark", mark)
            .field("origins", origins)
            .field("depends_on", depends_on)
            .finish_non_exhaustive()
    }
}

/// An object that could not be planned. The rest of the plan is still applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Reference of the object.
    pub reference: ObjectRef,
    /// Whether the fault waits for an edit.
    pub class: ErrorClass,
    /// The cause, and what the user can do.
    pub message: String,
}

/// The desired state of a set of objects, in the order of application.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Objects that must exist.
    pub present: Vec<Desired>,
    /// Existing objects to delete.
    pub absent: Vec<ObjectRef>,
    /// Objects that could not be planned.
    pub failures: Vec<Failure>,
    /// Events to emit.
    pub events: Vec<EventRequest>,
}

impl Plan {
    /// The desired object with this kind and name; `None` if the plan does not contain the object.
    pub fn desired(&self, kind: Kind, name: &str) -> Option<&Desired> {
        self.present
            .iter()
            .find(|desired| desired.reference.kind == kind && desired.reference.name == name)
    }

    /// Adds a failure that names an object of the registry's namespace.
    pub fn fail(&mut self, kind: Kind, name: &str, message: impl Into<String>) {
        self.failures.push(Failure {
            reference: operand(kind, name),
            class: ErrorClass::ActionRequired,
            message: message.into(),
        });
    }

    /// An object that cannot be planned before the user edits what it is made from.
    pub(super) fn reject(&mut self, kind: Kind, name: &str, rejection: Rejection) {
        let Rejection { reason, message } = rejection;
        self.failures.push(Failure {
            reference: operand(kind, name),
            class: ErrorClass::Invalid(reason),
            message,
        });
    }

    /// The plan as one JSON document, for golden files.
    pub fn to_value(&self) -> Value {
        let Self {
            present,
            absent,
            failures,
            events,
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
            "notices": events.iter().map(|event| format!("{}: {}", event.reason, event.message)).collect::<Vec<_>>(),
        })
    }
}

/// Reference to an object in the registry's namespace, or to a cluster-scoped object.
pub(super) fn operand(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, names::NAMESPACE, name)
}

/// Value of an annotation.
pub(super) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(key)?.as_str()
}

/// `wanted`, plus null for every other key of `live`, at any depth, also in the elements of lists of the same length. For maps and lists
/// that the operator owns completely: under [`Drift::Named`] and [`Drift::Template`], null removes a key. Lists of different lengths
/// differ in any case, and are replaced as a whole. Not for lists whose elements get defaults of the API server.
pub(super) fn exclusive(wanted: Value, live: Option<&Value>) -> Value {
    match (wanted, live) {
        (Value::Object(mut wanted), Some(Value::Object(live))) => {
            for (key, value) in live {
                let member = wanted
                    .remove(key)
                    .map_or(Value::Null, |member| exclusive(member, Some(value)));
                wanted.insert(key.clone(), member);
            }
            Value::Object(wanted)
        }
        (Value::Array(wanted), Some(Value::Array(live))) if wanted.len() == live.len() => wanted
            .into_iter()
            .zip(live)
            .map(|(wanted, live)| exclusive(wanted, Some(live)))
            .collect(),
        (wanted, _) => wanted,
    }
}
