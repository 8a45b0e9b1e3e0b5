//! `metadata.managedFields`: which field manager set which labels and annotations.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// The field `metadata.labels`.
pub const LABELS: &str = "labels";
/// The field `metadata.annotations`.
pub const ANNOTATIONS: &str = "annotations";

/// Keys of [`LABELS`] or [`ANNOTATIONS`] that `manager` owns and that no other field manager owns.
pub fn set_only_by<'a>(managed_fields: &'a Value, manager: &str, member: &str) -> BTreeSet<&'a str> {
    let entries = managed_fields.as_array().map_or(&[][..], Vec::as_slice);
    let is_of_manager = |entry: &&Value| entry.get("manager").and_then(Value::as_str) == Some(manager);
    let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_of_manager);
    let pointer = format!("/fieldsV1/f:metadata/{}", field(member));
    let keys = |entries: Vec<&'a Value>| -> BTreeSet<&'a str> {
        let members = entries.into_iter().filter_map(|e| e.pointer(&pointer)?.as_object());
        members
            .flat_map(Map::keys)
            .filter_map(|key| key.strip_prefix("f:"))
            .collect()
    };
    let others = keys(others);
    keys(own).into_iter().filter(|key| !others.contains(key)).collect()
}

/// The part of `managed_fields` that [`set_only_by`] needs for `manager`, so that caches need not keep the rest; `None` if
/// `manager` owns no label or annotation alone.
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
