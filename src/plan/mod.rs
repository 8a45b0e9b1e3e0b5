//! PURE: the desired objects, and the objects that must be absent, as data. One file per kind.
//!
//! This room knows no client, clock, environment or randomness. It may use `config`, `api` and `names`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::ObjectRef;
use crate::config::notice::Notice;

/// How a live object is held against the desired one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// These top-level members are ours alone: live must equal desired; a write replaces them whole.
    Whole(&'static [&'static str]),
    /// What the desired object says counts, down to single members (null: must be absent); all else is the server's,
    /// or somebody else's, and stays. Lists are compared element by element and written whole.
    Named,
    /// Workloads: `spec` is ours alone and written whole. Drift shows as a missing or different desired label or
    /// annotation (the spec hash among them), or as a `metadata.generation` other than the one recorded at our last write.
    Generation,
}

/// An object that must be there.
#[derive(Clone, Debug, PartialEq)]
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
    /// The plan as one document, for golden files.
    pub fn to_value(&self) -> Value {
        let Self { present, absent, failures, notices } = self;
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
