//! PURE: compares specs of backends (such as `spec.storage.s3`) and builds the patch from one to another.

use serde_json::{Map, Value, json};

use super::backend::Backend;
use crate::api::Storage;

fn to_object(storage: &Storage) -> Map<String, Value> {
    match serde_json::to_value(storage) {
        Ok(Value::Object(object)) => object,
        // A struct of optional members always serialises to an object.
        _ => Map::new(),
    }
}

/// The value without zero values. The Go operator writes zero values for fields that the user omitted.
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

/// Whether two storages mean the same. An absent member equals its zero value, but an empty object (`emptyDir: {}`)
/// selects a backend.
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

/// Whether the specs of one backend mean the same in both.
pub fn same_spec(a: &Storage, b: &Storage, backend: Backend) -> bool {
    let spec = |storage| to_object(storage).get(backend.field()).map(settings);
    spec(a) == spec(b)
}

/// The storage with the spec of this backend only, and this managementState: the form of `status.storage`.
pub fn only(storage: &Storage, backend: Backend, state: &str) -> Storage {
    let mut only = Storage {
        management_state: Some(state.to_owned()),
        ..Storage::default()
    };
    match backend {
        Backend::EmptyDir => only.empty_dir.clone_from(&storage.empty_dir),
        Backend::S3 => only.s3.clone_from(&storage.s3),
        Backend::Swift => only.swift.clone_from(&storage.swift),
        Backend::Gcs => only.gcs.clone_from(&storage.gcs),
        Backend::IbmCos => only.ibmcos.clone_from(&storage.ibmcos),
        Backend::Pvc => only.pvc.clone_from(&storage.pvc),
        Backend::Azure => only.azure.clone_from(&storage.azure),
        Backend::Oss => only.oss.clone_from(&storage.oss),
    }
    only
}

/// Name of the bucket, container or claim in a spec.
pub fn container_name(storage: &Storage, backend: Backend) -> Option<String> {
    let object = to_object(storage);
    let spec = object.get(backend.field())?;
    let name = ["bucket", "container", "claim"]
        .iter()
        .find_map(|key| spec.get(key)?.as_str().filter(|t| !t.is_empty()));
    name.map(str::to_owned)
}

/// Sets or clears the name of the container in the spec of a backend. A name makes a spec where there is none.
pub fn set_name<T: Default>(
    spec: &mut Option<T>,
    name: Option<&str>,
    member: impl FnOnce(&mut T) -> &mut Option<String>,
) {
    if let Some(name) = name {
        *member(spec.get_or_insert_default()) = Some(name.to_owned());
    } else if let Some(spec) = spec {
        *member(spec) = None;
    }
}

/// Backend and name of the storage, for messages: `PVC image-registry-storage`.
pub fn describe(storage: &Storage, backend: Backend) -> String {
    let name = container_name(storage, backend);
    name.map_or_else(
        || backend.name().to_owned(),
        |name| format!("{} {name}", backend.name()),
    )
}

/// [`describe`] for a backend name.
pub fn describe_named(storage: &Storage, backend: &str) -> String {
    Backend::named(backend).map_or_else(|| backend.to_owned(), |backend| describe(storage, backend))
}

/// JSON merge patch of the Config that changes `spec.storage` from `old` to `wanted` and sets these annotations (null
/// removes one). It contains only members that differ, so that concurrent edits of other members survive. `None`: no
/// change.
pub fn patch(old: Option<&Storage>, wanted: &Storage, annotations: &[(&str, Value)]) -> Option<Value> {
    let old = old.map(to_object).unwrap_or_default();
    let storage = difference(&old, &to_object(wanted));
    let storage = (!storage.is_empty()).then(|| json!({"spec": {"storage": storage}}));
    both(self::annotations(annotations), storage)
}

/// JSON merge patch of the Config that sets these annotations (null removes one). `None`: there are none.
pub fn annotations(annotations: &[(&str, Value)]) -> Option<Value> {
    let annotations: Map<_, _> = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    (!annotations.is_empty()).then(|| json!({"metadata": {"annotations": annotations}}))
}

/// Combines two merge patches. The second has precedence.
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
