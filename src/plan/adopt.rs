//! What the Go operator left on a workload and nobody wants any more.
//!
//! It merges labels, annotations and owners into a Deployment or DaemonSet and never takes one away: those of an override
//! that was removed, or of an earlier release, stay. The API server knows who set a key; what only the Go operator set, and
//! the desired object does not have, goes with the next write. Such a leftover causes no write of its own: an admission
//! plugin that sets a key on each write sets it in the writer's name, and would be fought without end.

use serde_json::{Map, Value};

use crate::api::Kind;
use crate::api::managed_fields::{ANNOTATIONS, LABELS, set_only_by};
use crate::names;

/// The API server sets it on a DaemonSet in its writer's name.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Takes out of a live object's metadata what the Go operator left; `wanted` are the metadata of the desired object.
pub(super) fn clear(metadata: &mut Map<String, Value>, wanted: &Value) {
    let managed = metadata.get("managedFields").cloned().unwrap_or_default();
    for member in [LABELS, ANNOTATIONS] {
        let wanted = wanted.get(member);
        let left: Vec<&str> = set_only_by(&managed, names::FORMER_MANAGER, member)
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
