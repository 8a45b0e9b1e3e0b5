//! PURE: computes the next status of the Config from the stored status and the findings of a pass, and the patch to write.
//!
//! Works on undecoded JSON, so that fields of a newer API version stay unchanged.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::conditions::{self, ConditionUpdate};
use crate::api::{Condition, Generation, ObjectRef, Storage, duration};

/// Content of the next status.
#[derive(Clone, Debug)]
pub struct Next<'a> {
    /// `metadata.generation` of the Config that the pass read, even if the pass could not apply it.
    pub generation: i64,
    /// Ready pods of the Deployment.
    pub ready_replicas: i32,
    /// Workloads that the pass wrote, with the `metadata.generation` that the API server returned.
    pub generations: &'a [(ObjectRef, i64)],
    /// Applied storage; empty after a removal; `None` leaves the stored value.
    pub storage: Option<&'a Storage>,
    /// Whether `spec.storage.managementState` is `Managed`; `None` leaves the stored value.
    pub storage_managed: Option<bool>,
    /// Condition updates of all controllers.
    pub condition_updates: &'a [ConditionUpdate],
    /// Types of conditions to remove.
    pub drop: &'a [&'a str],
    /// Start of the pass.
    pub now: Timestamp,
}

/// Conditions of a stored status, without entries that do not decode.
pub fn stored_conditions(status: &Value) -> Vec<Condition> {
    let entries = status.get("conditions").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
        .collect()
}

/// The complete next status. `stored` is the stored status, or null if the object has none.
pub fn next_status(stored: &Value, next: &Next<'_>) -> Value {
    let mut status = stored.as_object().cloned().unwrap_or_default();
    status.insert("observedGeneration".to_owned(), json!(next.generation));
    status.insert("readyReplicas".to_owned(), json!(next.ready_replicas));
    status.insert(
        "conditions".to_owned(),
        next_conditions(stored, next.condition_updates, next.drop, next.now),
    );
    if !next.generations.is_empty() {
        status.insert(
            "generations".to_owned(),
            next_generations(stored.get("generations"), next.generations),
        );
    }
    let storage = next
        .storage
        .map(|storage| serde_json::to_value(storage).unwrap_or_default());
    // Keep the stored spelling, including defaults of the API server, if both values mean the same.
    let storage = storage.filter(|wanted| !same("storage", stored.get("storage").unwrap_or(&Value::Null), wanted));
    if let Some(storage) = storage {
        status.insert("storage".to_owned(), storage);
    }
    if let Some(managed) = next.storage_managed {
        status.insert("storageManaged".to_owned(), json!(managed));
    }
    // The CRD requires these two fields.
    status.entry("storage").or_insert_with(|| json!({}));
    status.entry("storageManaged").or_insert(json!(false));
    Value::Object(status)
}

/// Merges condition updates into the conditions of a stored status, and removes the types in `drop`. Works on undecoded JSON,
/// so that unknown fields of a condition stay.
pub fn next_conditions(stored: &Value, condition_updates: &[ConditionUpdate], drop: &[&str], now: Timestamp) -> Value {
    let merged = conditions::merge(&stored_conditions(stored), condition_updates, now);
    let mut entries = stored
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for condition in merged
        .iter()
        .filter(|c| condition_updates.iter().any(|v| v.type_ == c.type_))
    {
        let Ok(Value::Object(members)) = serde_json::to_value(condition) else {
            continue;
        };
        let known = entries
            .iter_mut()
            .find(|e| e.get("type").and_then(Value::as_str) == Some(&condition.type_));
        match known.and_then(Value::as_object_mut) {
            Some(entry) => entry.extend(members),
            None => entries.push(Value::Object(members)),
        }
    }
    entries.retain(|e| {
        e.get("type")
            .and_then(Value::as_str)
            .is_none_or(|type_| !drop.contains(&type_))
    });
    Value::Array(entries)
}

fn next_generations(stored: Option<&Value>, written: &[(ObjectRef, i64)]) -> Value {
    let mut entries = stored.and_then(Value::as_array).cloned().unwrap_or_default();
    for (object, generation) in written {
        let key = key(object);
        let is_same = |entry: &&mut Value| {
            key.iter()
                .all(|(member, value)| entry.get(*member).and_then(Value::as_str).unwrap_or_default() == *value)
        };
        if let Some(entry) = entries.iter_mut().find(is_same).and_then(Value::as_object_mut) {
            entry.insert("lastGeneration".to_owned(), json!(generation));
            // The CRD requires the map keys, even if empty; entries of earlier releases may lack them.
            entry.extend(key.iter().map(|(member, value)| ((*member).to_owned(), json!(value))));
        } else {
            let mut entry: Map<_, _> = key
                .iter()
                .map(|(member, value)| ((*member).to_owned(), json!(value)))
                .collect();
            entry.insert("lastGeneration".to_owned(), json!(generation));
            entry.insert("hash".to_owned(), json!(""));
            entries.push(Value::Object(entry));
        }
    }
    Value::Array(entries)
}

fn key(object: &ObjectRef) -> [(&'static str, &str); 4] {
    let kind = object.kind;
    [
        ("group", kind.group()),
        ("resource", kind.plural()),
        ("namespace", &object.namespace),
        ("name", &object.name),
    ]
}

/// `metadata.generation` of a workload after the operator's last write; -1 if none is recorded, which differs from every
/// generation.
pub fn recorded_generation(generations: &[Generation], object: &ObjectRef) -> i64 {
    let key = key(object);
    let found = generations
        .iter()
        .find(|g| [g.group.as_str(), &g.resource, &g.namespace, &g.name] == key.map(|(_, value)| value));
    found.and_then(|g| g.last_generation).unwrap_or(-1)
}

/// Whether two statuses differ in meaning. An absent field equals a zero value and a default of the API server.
pub fn differs(old: &Value, new: &Value) -> bool {
    !same("", old, new)
}

fn same(member: &str, old: &Value, new: &Value) -> bool {
    normal(member, old) == normal(member, new)
}

/// The value of the field `member` without empty values and defaults; `None` if nothing is left.
fn normal(member: &str, value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let members: Map<_, _> = members
                .iter()
                .filter_map(|(name, value)| match normal(name, value) {
                    // The presence of a backend selects it, even without settings.
                    None if member == "storage" && value.is_object() => Some((name.clone(), json!({}))),
                    left => left.map(|left| (name.clone(), left)),
                })
                .collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Array(entries) => {
            // Keep empty entries: the index of an entry matters.
            let entries: Vec<_> = entries.iter().map(|e| normal("", e).unwrap_or_default()).collect();
            (!entries.is_empty()).then_some(Value::Array(entries))
        }
        Value::String(text) if is_default(member, text) => None,
        Value::String(text) if member == "duration" => match duration::parse(text) {
            Some(0) => None,
            Some(nanoseconds) => Some(json!(nanoseconds)),
            None => Some(value.clone()),
        },
        Value::Number(number) => (number.as_f64() != Some(0.0)).then(|| value.clone()),
        Value::Null | Value::Bool(false) => None,
        Value::String(_) | Value::Bool(true) => Some(value.clone()),
    }
}

/// Whether a string equals an absent field: the empty string, and defaults that the API server adds.
fn is_default(member: &str, text: &str) -> bool {
    // `type: External` occurs in `azure.networkAccess` only; no condition has this type.
    text.is_empty()
        || matches!(
            (member, text),
            ("type", "External") | ("endpointAccessibility", "Internal") | ("method", "AES256")
        )
}

/// JSON merge patch for the `/status` subresource that turns `stored` into `next`. The patch always contains `storage` and
/// `storageManaged`, which the CRD requires. Removed fields of `storage` are null.
pub fn merge_patch(stored: &Value, next: &Value) -> Value {
    let mut patch = match difference(stored, next) {
        Value::Object(patch) => patch,
        _ => Map::new(),
    };
    patch.entry("storage").or_insert_with(|| json!({}));
    patch
        .entry("storageManaged")
        .or_insert_with(|| next.get("storageManaged").cloned().unwrap_or(json!(false)));
    json!({"status": patch})
}

/// Minimal JSON merge patch that turns `old` into `new`.
pub fn difference(old: &Value, new: &Value) -> Value {
    let Value::Object(new_members) = new else {
        return new.clone();
    };
    let empty = Map::new();
    let old_members = old.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for name in old_members.keys().filter(|name| !new_members.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new_members {
        match old_members.get(name) {
            Some(before) if before == value => {}
            Some(before) => drop(patch.insert(name.clone(), difference(before, value))),
            None => drop(patch.insert(name.clone(), value.clone())),
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests;
