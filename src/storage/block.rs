//! Blocks of `spec.storage` and `status.storage` as data: when two are the same, and what a patch has to say. PURE.

use serde_json::{Map, Value, json};

use crate::api::Storage;

/// Field of a backend in `spec.storage`.
fn field(backend: &str) -> &'static str {
    match backend {
        "EmptyDir" => "emptyDir",
        "S3" => "s3",
        "Swift" => "swift",
        "GCS" => "gcs",
        "IBMCOS" => "ibmcos",
        "PVC" => "pvc",
        _ => "azure",
    }
}

fn to_object(storage: &Storage) -> Map<String, Value> {
    match serde_json::to_value(storage) {
        Ok(Value::Object(object)) => object,
        // A struct of optional members cannot serialise to anything else.
        _ => Map::new(),
    }
}

/// The value without members that mean nothing: the Go operator writes zero values of fields that users leave out.
fn settings(value: &Value) -> Value {
    let Value::Object(object) = value else {
        return value.clone();
    };
    let kept = object
        .iter()
        .map(|(key, value)| (key.clone(), settings(value)))
        .filter(|(_, value)| !is_zero(value));
    Value::Object(kept.collect())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0s",
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Whether two storages mean the same: an absent member equals its zero value, but an empty block is a block.
pub fn same(a: &Storage, b: &Storage) -> bool {
    let normal = |storage: &Storage| -> Map<String, Value> {
        let members = to_object(storage)
            .into_iter()
            .map(|(key, value)| (key, settings(&value)));
        members
            .filter(|(_, value)| value.is_object() || !is_zero(value))
            .collect()
    };
    normal(a) == normal(b)
}

/// Whether the blocks of one backend mean the same in both.
pub fn same_block(a: &Storage, b: &Storage, backend: &str) -> bool {
    let block = |storage| to_object(storage).get(field(backend)).map(settings);
    block(a) == block(b)
}

/// Only the block of one backend, with the state: the form of `status.storage`.
pub fn only(storage: &Storage, backend: &str, state: &str) -> Storage {
    let mut only = Storage {
        management_state: Some(state.to_owned()),
        ..Storage::default()
    };
    match backend {
        "EmptyDir" => only.empty_dir.clone_from(&storage.empty_dir),
        "S3" => only.s3.clone_from(&storage.s3),
        "Swift" => only.swift.clone_from(&storage.swift),
        "GCS" => only.gcs.clone_from(&storage.gcs),
        "IBMCOS" => only.ibmcos.clone_from(&storage.ibmcos),
        "PVC" => only.pvc.clone_from(&storage.pvc),
        _ => only.azure.clone_from(&storage.azure),
    }
    only
}

/// Names the storage of a block for people: `PVC image-registry-storage`.
pub fn describe(storage: &Storage, backend: &str) -> String {
    let object = to_object(storage);
    let block = object.get(field(backend));
    let name = ["bucket", "container", "claim"]
        .iter()
        .find_map(|key| block?.get(key)?.as_str().filter(|t| !t.is_empty()));
    name.map_or_else(|| backend.to_owned(), |name| format!("{backend} {name}"))
}

/// Merge patch of the Config that turns `spec.storage` from `old` into `wanted` and sets these annotations (null takes one
/// away). It names only members that differ, so that concurrent edits of others survive. `None`: no change.
pub fn patch(old: Option<&Storage>, wanted: &Storage, annotations: &[(&str, Value)]) -> Option<Value> {
    let old = old.map(to_object).unwrap_or_default();
    let mut patch = Map::new();
    if !annotations.is_empty() {
        let annotations: Map<_, _> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        patch.insert("metadata".to_owned(), json!({ "annotations": annotations }));
    }
    let storage = difference(&old, &to_object(wanted));
    if !storage.is_empty() {
        patch.insert("spec".to_owned(), json!({"storage": storage}));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Two merge patches as one; the second counts where both say something.
pub fn both(first: Option<Value>, second: Option<Value>) -> Option<Value> {
    match (first, second) {
        (Some(Value::Object(mut first)), Some(Value::Object(second))) => {
            for (key, value) in second {
                let joined = both(first.remove(&key), Some(value));
                first.extend(joined.map(|value| (key, value)));
            }
            Some(Value::Object(first))
        }
        (first, second) => second.or(first),
    }
}

fn difference(old: &Map<String, Value>, wanted: &Map<String, Value>) -> Map<String, Value> {
    let gone = old
        .keys()
        .filter(|key| !wanted.contains_key(*key))
        .map(|key| (key.clone(), Value::Null));
    let mut patch: Map<_, _> = gone.collect();
    for (key, value) in wanted {
        match (old.get(key), value) {
            (Some(Value::Object(old)), Value::Object(wanted)) => {
                let inner = difference(old, wanted);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(old), value) if old == value => {}
            (_, value) => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    patch
}
