//! PURE: the next `Config.status` from the stored one and what a pass found, and whether it has to be written.
//!
//! Works on JSON as stored: members that a newer API knows and this program does not stay as they are.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::conditions::{self, Verdict};
use crate::api::{Condition, Generation, ObjectRef, Storage, duration};

/// What goes into the next status.
#[derive(Clone, Debug)]
pub struct Next<'a> {
    /// Generation of the Config that the pass looked at (not: applied).
    pub generation: i64,
    /// Ready pods of the Deployment.
    pub ready_replicas: i32,
    /// Workloads that the pass wrote, with the `metadata.generation` that the API server returned.
    pub generations: &'a [(ObjectRef, i64)],
    /// Storage as applied; empty after a removal; `None` leaves it as it is.
    pub storage: Option<&'a Storage>,
    /// Whether `spec.storage.managementState` is `Managed`; `None` leaves it as it is.
    pub storage_managed: Option<bool>,
    /// Every loop's verdicts.
    pub verdicts: &'a [Verdict],
    /// Types of conditions to drop (see [`conditions::stale_storage`]).
    pub drop: &'a [&'a str],
    /// When the pass began.
    pub now: Timestamp,
}

/// Conditions of a status as stored; what does not decode is left out.
pub fn stored_conditions(status: &Value) -> Vec<Condition> {
    let entries = status.get("conditions").and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter_map(|entry| serde_json::from_value(entry.clone()).ok())
        .collect()
}

/// The whole next status. `stored` is the status as stored, null where there is none.
pub fn next_status(stored: &Value, next: &Next<'_>) -> Value {
    let mut status = stored.as_object().cloned().unwrap_or_default();
    status.insert("observedGeneration".to_owned(), json!(next.generation));
    status.insert("readyReplicas".to_owned(), json!(next.ready_replicas));
    status.insert(
        "conditions".to_owned(),
        next_conditions(stored, next.verdicts, next.drop, next.now),
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
    // What means the same stays as it is stored, other spellings and server's defaults included.
    let storage = storage.filter(|wanted| !same("storage", stored.get("storage").unwrap_or(&Value::Null), wanted));
    if let Some(storage) = storage {
        status.insert("storage".to_owned(), storage);
    }
    if let Some(managed) = next.storage_managed {
        status.insert("storageManaged".to_owned(), json!(managed));
    }
    // The API server refuses a status without these two.
    status.entry("storage").or_insert_with(|| json!({}));
    status.entry("storageManaged").or_insert(json!(false));
    Value::Object(status)
}

/// Merges verdicts into the conditions of an object's status; works on JSON so that members of an entry that this
/// program does not know survive.
pub fn next_conditions(stored: &Value, verdicts: &[Verdict], drop: &[&str], now: Timestamp) -> Value {
    let merged = conditions::merge(&stored_conditions(stored), verdicts, now);
    let mut entries = stored
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for condition in merged.iter().filter(|c| verdicts.iter().any(|v| v.type_ == c.type_)) {
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
            // Keys of the list's entries, required also when they are empty; old entries may lack them.
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

/// The generation recorded at our last write of a workload; -1 where there is none, which no object has.
pub fn recorded_generation(generations: &[Generation], object: &ObjectRef) -> i64 {
    let key = key(object);
    let found = generations
        .iter()
        .find(|g| [g.group.as_str(), &g.resource, &g.namespace, &g.name] == key.map(|(_, value)| value));
    found.and_then(|g| g.last_generation).unwrap_or(-1)
}

/// Whether two statuses mean different things: absent is the same as zero, and as what the API server fills in.
pub fn differs(old: &Value, new: &Value) -> bool {
    !same("", old, new)
}

fn same(member: &str, old: &Value, new: &Value) -> bool {
    normal(member, old) == normal(member, new)
}

/// `value` of a member of that name without what means nothing; `None` where nothing is left.
fn normal(member: &str, value: &Value) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let members: Map<_, _> = members
                .iter()
                .filter_map(|(name, value)| match normal(name, value) {
                    // The presence of a backend is its selection, also without settings.
                    None if member == "storage" && value.is_object() => Some((name.clone(), json!({}))),
                    left => left.map(|left| (name.clone(), left)),
                })
                .collect();
            (!members.is_empty()).then_some(Value::Object(members))
        }
        Value::Array(entries) => {
            // Entries count by their place, also those that mean nothing.
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

/// Texts that mean the same as none: empty ones, and what the API server puts in unasked.
fn is_default(member: &str, text: &str) -> bool {
    // `type` of a condition is never one of these; of `azure.networkAccess` it is.
    text.is_empty()
        || matches!(
            (member, text),
            ("type", "External") | ("endpointAccessibility", "Internal") | ("method", "AES256")
        )
}

/// The JSON merge patch for `/status` that turns `stored` into `next`. It always carries `storage` and `storageManaged`,
/// without which the API server refuses a status; members of `storage` that are gone are null.
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

/// A merge patch from `old` to `new` with only what differs.
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
