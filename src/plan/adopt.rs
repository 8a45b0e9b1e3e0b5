//! Removes obsolete metadata of the Go operator from a workload.
//!
//! The Go operator merges labels, annotations and owner references into a Deployment or DaemonSet and never removes a key, so
//! keys of removed overrides and of earlier releases stay. `managedFields` records which manager set a key. The next write
//! removes a key that only the Go operator set and that the desired object does not contain. Such a key does not cause a
//! write by itself: an admission plugin that sets a key at every write sets the key in the name of the writer, and the
//! operator would write for ever.

use serde_json::{Map, Value};

use crate::api::Kind;
use crate::api::managed_fields::{ANNOTATIONS, LABELS, set_only_by};
use crate::names;

/// The API server sets this annotation on a DaemonSet in the name of the writer.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Removes obsolete labels, annotations and owner references of the Go operator from the metadata of a live object. `wanted`
/// is the metadata of the desired object.
pub(super) fn clear(metadata: &mut Map<String, Value>, wanted: &Value) {
    let managed = metadata.get("managedFields").cloned().unwrap_or_default();
    for member in [LABELS, ANNOTATIONS] {
        let wanted = wanted.get(member);
        let obsolete: Vec<&str> = set_only_by(&managed, names::FORMER_MANAGER, member)
            .into_iter()
            .filter(|key| wanted.is_none_or(|wanted| wanted.get(key).is_none()) && !is_kept(key))
            .collect();
        if let Some(Value::Object(live)) = metadata.get_mut(member) {
            live.retain(|key, _| !obsolete.contains(&key.as_str()));
        }
    }
    // The garbage collector would delete the registry with its owner. Deleting the Config must not do that.
    if let Some(Value::Array(owners)) = metadata.get_mut("ownerReferences") {
        owners.retain(|owner| {
            let version = owner.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
            version.split('/').next() != Some(Kind::Config.group())
        });
    }
}

/// Whether the API server or a controller sets the key in the name of the writer, or this operator still uses the key.
fn is_kept(key: &str) -> bool {
    let domain = key.split_once('/').map(|(domain, _)| domain);
    let below = |domain: &str, parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    key == TEMPLATE_GENERATION || domain.is_some_and(|d| below(d, "kubernetes.io") || below(d, "k8s.io"))
        // This operator sets the annotation too, outside of the desired object.
        || key == names::CHECKSUM_ANNOTATION
}

#[cfg(test)]
mod tests;
