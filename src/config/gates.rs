//! Feature gates of the release in use. A gate that is unknown, missing or changing is off, or re-evaluated; it never
//! stops anything.

use serde_json::Value;

use super::snapshot::Snapshot;
use crate::api::Kind;
use crate::api::openshift::{ClusterVersionStatus, FeatureGateStatus, ReleaseGates};
use crate::names;

/// Lets the operator write `status.imageStreamImportMode` of `images.config.openshift.io/cluster`.
pub const IMAGE_STREAM_IMPORT_MODE: &str = "ImageStreamImportMode";

/// Release whose gates count: the one this program was built for, or, where the release tool put none in, the one that
/// the cluster runs. `None` where neither is known.
pub fn release(snapshot: &Snapshot) -> Option<String> {
    let own = snapshot.environment.gates_version.as_str();
    if own != names::SNAPSHOT_VERSION {
        return Some(own.to_owned()).filter(|version| !version.is_empty());
    }
    let version = snapshot.objects.cluster(Kind::ClusterVersion, names::CLUSTER_VERSION)?;
    let status: ClusterVersionStatus = decode(version.get("status"))?;
    let desired = status
        .desired
        .and_then(|desired| desired.version)
        .filter(|version| !version.is_empty());
    desired.or_else(|| status.history.into_iter().flatten().next()?.version)
}

/// Whether a gate is on. `None` where the cluster tells nothing about the release in use: it counts as off, and the entry
/// may still appear.
pub fn enabled(snapshot: &Snapshot, gate: &str) -> Option<bool> {
    let release = release(snapshot)?;
    let gates = snapshot.objects.cluster(Kind::FeatureGate, names::CLUSTER)?;
    let status: FeatureGateStatus = decode(gates.get("status"))?;
    let mut entries = status.feature_gates.into_iter().flatten();
    let entry: ReleaseGates = entries.find(|entry| entry.version.as_deref() == Some(&release))?;
    Some(
        entry
            .enabled
            .into_iter()
            .flatten()
            .any(|known| known.name.as_deref() == Some(gate)),
    )
}

fn decode<T: serde::de::DeserializeOwned>(part: Option<&Value>) -> Option<T> {
    serde_json::from_value(part?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::snapshot::Objects;

    fn snapshot(own: &str, objects: Vec<Value>) -> Snapshot {
        let mut snapshot = Snapshot::empty();
        own.clone_into(&mut snapshot.environment.gates_version);
        snapshot.objects = Objects::from_values(objects).unwrap();
        snapshot
    }

    fn gates(entries: &Value) -> Value {
        json!({"apiVersion": "config.openshift.io/v1", "kind": "FeatureGate", "metadata": {"name": "cluster"},
               "status": {"featureGates": entries}})
    }

    fn version(desired: &Value, history: &Value) -> Value {
        json!({"apiVersion": "config.openshift.io/v1", "kind": "ClusterVersion", "metadata": {"name": "version"},
               "status": {"desired": desired, "history": history, "availableUpdates": null}})
    }

    // lifecycle 17
    // lifecycle 19
    // api 39
    #[test]
    fn a_gate_is_off_until_the_entry_of_this_release_says_otherwise() {
        let on = json!([{"name": IMAGE_STREAM_IMPORT_MODE}]);
        let of = |entries: Value| enabled(&snapshot("4.22.0", vec![gates(&entries)]), IMAGE_STREAM_IMPORT_MODE);
        assert_eq!(
            of(json!([{"version": "4.22.0", "enabled": on, "disabled": []}])),
            Some(true)
        );
        assert_eq!(
            of(json!([{"version": "4.22.0", "enabled": [], "disabled": on}])),
            Some(false)
        );
        assert_eq!(of(json!([{"version": "4.22.0"}])), Some(false), "in neither list");
        assert_eq!(
            of(json!([{"version": "4.21.0", "enabled": on}])),
            None,
            "of another release"
        );
        assert_eq!(of(Value::Null), None);
        assert_eq!(
            enabled(&snapshot("4.22.0", vec![]), IMAGE_STREAM_IMPORT_MODE),
            None,
            "no FeatureGate at all"
        );
        let on = gates(&json!([{"version": "", "enabled": on}]));
        assert_eq!(
            enabled(&snapshot("", vec![on]), IMAGE_STREAM_IMPORT_MODE),
            None,
            "no version never matches"
        );
    }

    // lifecycle 18
    #[test]
    fn while_the_release_tool_put_in_no_version_the_clusters_counts() {
        let of = |objects| release(&snapshot(names::SNAPSHOT_VERSION, objects));
        let history = json!([{"version": "4.21.3"}, {"version": "4.21.2"}]);
        assert_eq!(
            of(vec![version(&json!({"version": "4.21.9"}), &history)]).as_deref(),
            Some("4.21.9")
        );
        assert_eq!(of(vec![version(&json!({}), &history)]).as_deref(), Some("4.21.3"));
        assert_eq!(of(vec![version(&json!({}), &json!([]))]), None);
        assert_eq!(of(vec![]), None);
        assert_eq!(release(&snapshot("4.22.0", vec![])).as_deref(), Some("4.22.0"));
    }
}
