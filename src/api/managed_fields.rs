//! `metadata.managedFields`: which labels and annotations of an object were set by whom.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Labels, as a member of metadata.
pub const LABELS: &str = "labels";
/// Annotations, as a member of metadata.
pub const ANNOTATIONS: &str = "annotations";

/// Keys of [`LABELS`] or [`ANNOTATIONS`] that this manager set, and no other.
pub fn set_only_by<'a>(managed_fields: &'a Value, manager: &str, member: &str) -> BTreeSet<&'a str> {
    let entries = managed_fields.as_array().map_or(&[][..], Vec::as_slice);
    let is_its = |entry: &&Value| entry.get("manager").and_then(Value::as_str) == Some(manager);
    let (its, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_its);
    let pointer = format!("/fieldsV1/f:metadata/{}", field(member));
    let keys = |entries: Vec<&'a Value>| -> BTreeSet<&'a str> {
        let members = entries.into_iter().filter_map(|e| e.pointer(&pointer)?.as_object());
        members
            .flat_map(Map::keys)
            .filter_map(|key| key.strip_prefix("f:"))
            .collect()
    };
    let others = keys(others);
    keys(its).into_iter().filter(|key| !others.contains(key)).collect()
}

/// The part that [`set_only_by`] needs for this manager; `None` where it set nothing alone.
pub fn reduced(managed_fields: &Value, manager: &str) -> Option<Value> {
    let [labels, annotations] = [LABELS, ANNOTATIONS].map(|member| set_only_by(managed_fields, manager, member));
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let fields = |keys: BTreeSet<&str>| {
        keys.into_iter()
            .map(|key| (field(key), json!({})))
            .collect::<Map<_, _>>()
    };
    Some(json!([{
        "manager": manager,
        "fieldsV1": {"f:metadata": {field(LABELS): fields(labels), field(ANNOTATIONS): fields(annotations)}},
    }]))
}

fn field(name: &str) -> String {
    format!("f:{name}")
}
