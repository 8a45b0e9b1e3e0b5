//! Compares a live object with the desired object, and builds the object to write.
//!
//! Defaults that the API server adds must never cause a write. Edits of fields that the operator owns always must.

use serde_json::{Map, Value, json};

use super::{Desired, Drift, adopt};
use crate::names;

/// The mark with which anybody closes a ConfigMap or a Secret.
const MARK: &str = "/immutable";

/// Whether the live object must be written. `recorded_generation` is `metadata.generation` after the operator's last write
/// and applies to [`Drift::Generation`] only; `None` causes one write.
pub fn differs(desired: &Desired, live: &Value, recorded_generation: Option<i64>) -> bool {
    if metadata_differs(desired, live) {
        return true;
    }
    match desired.drift {
        Drift::Whole(sections) => sections
            .iter()
            .any(|section| !same_member(section, desired.body.get(section), live.get(section))),
        Drift::Named | Drift::Template => {
            content(&desired.body).any(|(member, wanted)| !holds_member(member, wanted, live.get(member)))
        }
        // `None` differs from every generation.
        Drift::Generation => live.pointer("/metadata/generation").and_then(Value::as_i64) != recorded_generation,
    }
}

/// Whether the live object differs in an immutable field, so that it must be deleted and created again.
pub fn immutable_differs(desired: &Desired, live: &Value) -> bool {
    let stored = |pointer: &str| {
        let value = live.pointer(pointer);
        // Without the mark an object can be changed, too.
        value.filter(|value| pointer != MARK || **value != Value::Bool(false))
    };
    desired
        .immutable
        .iter()
        .any(|pointer| !same(desired.body.pointer(pointer), stored(pointer)))
}

/// The object after a write: [`merged`], or the desired object alone where the live one is deleted and created again.
pub(super) fn after_write(desired: &Desired, live: &Value) -> Value {
    let kept = if immutable_differs(desired, live) {
        &Value::Null
    } else {
        live
    };
    merged(desired, kept, None)
}

/// The object to write: the live object with the desired fields set. `live` is null if the object does not exist.
pub fn merged(desired: &Desired, live: &Value, checksum: Option<&str>) -> Value {
    let mut object = live.as_object().cloned().unwrap_or_default();
    for (member, value) in content(&desired.body) {
        match desired.drift {
            Drift::Named => assert_member(&mut object, member, value),
            Drift::Whole(_) | Drift::Template | Drift::Generation => {
                object.insert(member.clone(), stripped(value));
            }
        }
    }
    if let Drift::Whole(sections) = desired.drift {
        // Remove owned fields that are not desired.
        object.retain(|member, _| !sections.contains(&member.as_str()) || desired.body.get(member).is_some());
    }
    if desired.immutable.contains(&MARK) && desired.body.pointer(MARK).is_none() {
        // Equals an absent mark, and must not count in the digest of the pods.
        object.retain(|member, value| member != "immutable" || *value != Value::Bool(false));
    }
    for member in ["apiVersion", "kind"] {
        object.insert(member.to_owned(), desired.body.get(member).cloned().unwrap_or_default());
    }
    let mut metadata = live
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    if desired.drift == Drift::Generation {
        adopt::clear(&mut metadata, desired.body.get("metadata").unwrap_or(&Value::Null));
    }
    // The API server would replace managedFields with the reduced entries that the caches keep.
    metadata.remove("managedFields");
    assert_metadata(&mut metadata, desired, checksum);
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(object)
}

/// Top-level fields of an object, without type, metadata and status.
fn content(body: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let members = body.as_object().into_iter().flatten();
    members.filter(|(member, _)| !matches!(member.as_str(), "apiVersion" | "kind" | "metadata" | "status"))
}

fn metadata_differs(desired: &Desired, live: &Value) -> bool {
    let asserted = |pointer: &str| {
        let wanted = desired
            .body
            .pointer(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        let live = live.pointer(pointer);
        wanted
            .filter(move |(key, value)| live.and_then(|live| live.get(key)) != Some(value))
            .count()
            > 0
    };
    let dropped = |key: &String| {
        live.pointer("/metadata/annotations")
            .is_some_and(|all| all.get(key).is_some())
    };
    asserted("/metadata/labels") || asserted("/metadata/annotations") || desired.drop_annotations.iter().any(dropped)
}

fn assert_metadata(metadata: &mut Map<String, Value>, desired: &Desired, checksum: Option<&str>) {
    for (member, value) in desired
        .body
        .get("metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        assert_member(metadata, member, value);
    }
    if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
        annotations.retain(|key, _| !desired.drop_annotations.contains(key));
    }
    if let Some(checksum) = checksum.filter(|_| desired.checksum) {
        assert_member(metadata, "annotations", &json!({names::CHECKSUM_ANNOTATION: checksum}));
    }
}

/// Sets the fields of `wanted` and keeps other fields; null removes a field.
fn assert_member(target: &mut Map<String, Value>, member: &str, wanted: &Value) {
    match wanted {
        Value::Null => {
            target.remove(member);
        }
        Value::Object(wanted) if !wanted.is_empty() => {
            let mut inner = match target.remove(member) {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            for (member, value) in wanted {
                assert_member(&mut inner, member, value);
            }
            target.insert(member.to_owned(), Value::Object(inner));
        }
        wanted => {
            target.insert(member.to_owned(), stripped(wanted));
        }
    }
}

/// The value without null fields: null only means that a field must be absent.
pub fn stripped(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            kept.map(|(member, value)| (member.clone(), stripped(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(stripped).collect(),
        other => other.clone(),
    }
}

/// Whether the value is null, an empty list or an empty map: the API server does not store these.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Whether a value is empty as in [`is_empty`], or an empty text, which the API server does not store either.
fn is_blank(value: &Value) -> bool {
    is_empty(value) || value == ""
}

/// Fields that are maps with keys of anybody's choice. An empty text is an entry there and is stored: the node selector
/// `node-role.kubernetes.io/infra: ""` selects, and a label selector without such an entry selects more.
const MAPS: [&str; 6] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "matchLabels",
    "nodeSelector",
];

/// Fields that mean one thing when they are empty and another when they are absent, and that the API server stores empty: an empty selector
/// selects all pods or namespaces; an absent one selects no pods, or the own namespace only.
const SELECTORS: [&str; 2] = ["labelSelector", "namespaceSelector"];

/// Whether a selector is present on one side only.
fn selects_otherwise(member: &str, wanted: Option<&Value>, live: Option<&Value>) -> bool {
    let is_present = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    SELECTORS.contains(&member) && is_present(wanted) != is_present(live)
}

/// Whether nothing would be stored of a desired value.
fn says_nothing(wanted: &Value) -> bool {
    let nothing = |(member, value): (&String, &Value)| {
        if SELECTORS.contains(&member.as_str()) {
            value.is_null()
        } else if MAPS.contains(&member.as_str()) {
            is_empty(value)
        } else {
            says_nothing(value)
        }
    };
    is_blank(wanted) || wanted.as_object().is_some_and(|members| members.iter().all(nothing))
}

/// [`same`] for a field of an object.
fn same_member(member: &str, wanted: Option<&Value>, live: Option<&Value>) -> bool {
    match (wanted, live) {
        (wanted, live) if selects_otherwise(member, wanted, live) => false,
        (Some(Value::Object(wanted)), Some(Value::Object(live))) if MAPS.contains(&member) => {
            let missing = |(key, value): (&String, &Value)| !value.is_null() && live.get(key) != Some(value);
            let unwanted =
                |(key, value): (&String, &Value)| !value.is_null() && wanted.get(key).is_none_or(Value::is_null);
            !wanted.iter().any(missing) && !live.iter().any(unwanted)
        }
        (Some(Value::Object(wanted)), None) if MAPS.contains(&member) => wanted.values().all(Value::is_null),
        (wanted, live) => same(wanted, live),
    }
}

/// [`holds`] for a field of an object.
fn holds_member(member: &str, wanted: &Value, live: Option<&Value>) -> bool {
    match wanted {
        wanted if selects_otherwise(member, Some(wanted), live) => false,
        Value::Object(entries) if MAPS.contains(&member) && !entries.is_empty() => {
            entries.iter().all(|(key, value)| {
                let live = live.and_then(|live| live.get(key)).filter(|value| !value.is_null());
                live == Some(value).filter(|value| !value.is_null())
            })
        }
        wanted => holds(wanted, live),
    }
}

/// Whether two values are equal, where null, empty and absent are equal. For objects to which the API server adds no defaults.
/// A desired empty text equals an absent field; an empty text that somebody added does not, and is removed.
fn same(wanted: Option<&Value>, live: Option<&Value>) -> bool {
    let filled = |value: Option<&'_ Value>| value.is_some_and(|value| !is_empty(value));
    if wanted.is_some_and(says_nothing) && !filled(live) {
        return true;
    }
    match (wanted, live) {
        (wanted, live) if !filled(wanted) || !filled(live) => filled(wanted) == filled(live),
        (Some(Value::Object(wanted)), Some(Value::Object(live))) => wanted
            .keys()
            .chain(live.keys())
            .all(|member| same_member(member, wanted.get(member), live.get(member))),
        (Some(Value::Array(wanted)), Some(Value::Array(live))) => {
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(wanted, live)| same(Some(wanted), Some(live)))
        }
        (wanted, live) => wanted == live,
    }
}

/// Whether the live value contains the fields of `wanted`; other fields do not matter.
pub(super) fn holds(wanted: &Value, live: Option<&Value>) -> bool {
    match (wanted, live) {
        (wanted, live) if is_blank(wanted) => live.is_none_or(is_blank),
        (Value::Object(wanted), live) => wanted
            .iter()
            .all(|(member, value)| holds_member(member, value, live.and_then(|live| live.get(member)))),
        (Value::Array(wanted), Some(Value::Array(live))) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| holds(wanted, Some(live)))
        }
        (wanted, live) => live == Some(wanted),
    }
}

#[cfg(test)]
mod tests;
