//! What the Go operator left on a workload and nobody wants any more.
//!
//! It merges labels, annotations and owners into a Deployment or DaemonSet and never takes one away: those of an override
//! that was removed, or of an earlier release, stay. The API server knows who set a key; what only the Go operator set, and
//! the desired object does not have, goes with the next write. Such a leftover causes no write of its own: an admission
//! plugin that sets a key on each write sets it in the writer's name, and would be fought without end.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::Kind;
use crate::names;

const LABELS: &str = "labels";
const ANNOTATIONS: &str = "annotations";
/// The API server sets it on a DaemonSet in its writer's name.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The part of `metadata.managedFields` that [`clear`] needs: labels and annotations that only the Go operator set.
pub fn reduced(managed_fields: &Value) -> Option<Value> {
    let [labels, annotations] = [LABELS, ANNOTATIONS].map(|member| set_by_go(managed_fields, member));
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    let fields = |keys: BTreeSet<&str>| keys.into_iter().map(|key| (field(key), json!({}))).collect::<Map<_, _>>();
    Some(json!([{
        "manager": names::FORMER_MANAGER,
        "fieldsV1": {"f:metadata": {field(LABELS): fields(labels), field(ANNOTATIONS): fields(annotations)}},
    }]))
}

/// Takes out of a live object's metadata what the Go operator left; `wanted` are the metadata of the desired object.
pub(super) fn clear(metadata: &mut Map<String, Value>, wanted: &Value) {
    let managed = metadata.get("managedFields").cloned().unwrap_or_default();
    for member in [LABELS, ANNOTATIONS] {
        let wanted = wanted.get(member);
        let left: Vec<&str> = set_by_go(&managed, member)
            .into_iter()
            .filter(|key| wanted.is_none_or(|wanted| wanted.get(key).is_none()) && !is_the_platforms(key))
            .collect();
        if let Some(Value::Object(live)) = metadata.get_mut(member) {
            live.retain(|key, _| !left.contains(&key.as_str()));
        }
    }
    // An owner's end is its objects' end: resetting the Config must not take the registry with it unasked.
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        owners.retain(|owner| {
            let version = owner.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            version.split('/').next() != Some(Kind::Config.group())
        });
    }
}

fn set_by_go<'a>(managed_fields: &'a Value, member: &str) -> BTreeSet<&'a str> {
    let entries = managed_fields.as_array().map_or(&[][..], Vec::as_slice);
    let is_go = |entry: &&Value| entry.get("manager").and_then(Value::as_str) == Some(names::FORMER_MANAGER);
    let (go, others): (Vec<_>, Vec<_>) = entries.iter().partition(is_go);
    let pointer = format!("/fieldsV1/f:metadata/{}", field(member));
    let keys = |entries: Vec<&'a Value>| -> BTreeSet<&'a str> {
        let members = entries.into_iter().filter_map(|e| e.pointer(&pointer)?.as_object());
        members.flat_map(Map::keys).filter_map(|key| key.strip_prefix("f:")).collect()
    };
    let others = keys(others);
    keys(go).into_iter().filter(|key| !others.contains(key)).collect()
}

fn field(name: &str) -> String {
    format!("f:{name}")
}

/// Set by the API server itself, in the name of whoever writes.
fn is_the_platforms(key: &str) -> bool {
    let domain = key.split_once('/').map(|(domain, _)| domain);
    let below = |domain: &str, parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    key == TEMPLATE_GENERATION || domain.is_some_and(|d| below(d, "kubernetes.io") || below(d, "k8s.io"))
        // Ours, and kept where it is in no desired object.
        || key == names::CHECKSUM_ANNOTATION
}

#[cfg(test)]
mod tests;
