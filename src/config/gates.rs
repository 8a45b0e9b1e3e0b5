//! Feature gates of the release in use. Each pass evaluates them again. An unknown or missing gate counts as disabled and
//! never fails a pass.

use serde_json::Value;

use super::snapshot::Snapshot;
use crate::api::Kind;
use crate::api::openshift::{ClusterVersionStatus, FeatureGateStatus, ReleaseGates};
use crate::names;

/// Feature gate under which the operator writes `status.imageStreamImportMode` of `images.config.openshift.io/cluster`.
pub const IMAGE_STREAM_IMPORT_MODE: &str = "ImageStreamImportMode";

/// Version of the release whose feature gates apply: the version that this operator was built for or, if the release tool
/// left the placeholder [`names::SNAPSHOT_VERSION`], the version of the cluster (`status.desired.version` of the
/// ClusterVersion, else the latest entry of `status.history`). `None` if neither is known.
pub fn release(snapshot: &Snapshot) -> Option<String> {
    let built_for = snapshot.environment.gates_version.as_str();
    if built_for != names::SNAPSHOT_VERSION {
        return Some(built_for.to_owned()).filter(|version| !version.is_empty());
    }
    let version = snapshot.objects.cluster(Kind::ClusterVersion, names::CLUSTER_VERSION)?;
    let status: ClusterVersionStatus = decode(version.get("status"))?;
    let desired = status
        .desired
        .and_then(|desired| desired.version)
        .filter(|version| !version.is_empty());
    desired.or_else(|| status.history.into_iter().flatten().next()?.version)
}

/// Whether a feature gate is enabled. `None` while the FeatureGate has no entry for the release in use: the gate counts as
/// disabled, and the entry may still be added.
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

    fn snapshot(built_for: &str, objects: Vec<Value>) -> Snapshot {
        let mut snapshot = Snapshot::empty();
        built_for.clone_into(&mut snapshot.environment.gates_version);
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
    fn a_gate_is_disabled_until_the_entry_of_this_release_enables_it() {
        let gate = json!([{"name": IMAGE_STREAM_IMPORT_MODE}]);
        let state = |entries: Value| enabled(&snapshot("4.22.0", vec![gates(&entries)]), IMAGE_STREAM_IMPORT_MODE);
        assert_eq!(
            state(json!([{"version": "4.22.0", "enabled": gate, "disabled": []}])),
            Some(true)
        );
        assert_eq!(
            state(json!([{"version": "4.22.0", "enabled": [], "disabled": gate}])),
            Some(false)
        );
        assert_eq!(state(json!([{"version": "4.22.0"}])), Some(false), "in neither list");
        assert_eq!(
            state(json!([{"version": "4.21.0", "enabled": gate}])),
            None,
            "entry of another release"
        );
        assert_eq!(state(Value::Null), None);
        assert_eq!(
            enabled(&snapshot("4.22.0", vec![]), IMAGE_STREAM_IMPORT_MODE),
            None,
            "no FeatureGate"
        );
        let unversioned = gates(&json!([{"version": "", "enabled": gate}]));
        assert_eq!(
            enabled(&snapshot("", vec![unversioned]), IMAGE_STREAM_IMPORT_MODE),
            None,
            "an empty version matches no entry"
        );
    }

    // lifecycle 18
    #[test]
    fn the_placeholder_version_is_replaced_by_the_version_of_the_cluster() {
        let cluster_release = |objects| release(&snapshot(names::SNAPSHOT_VERSION, objects));
        let history = json!([{"version": "4.21.3"}, {"version": "4.21.2"}]);
        assert_eq!(
            cluster_release(vec![version(&json!({"version": "4.21.9"}), &history)]).as_deref(),
            Some("4.21.9")
        );
        assert_eq!(
            cluster_release(vec![version(&json!({}), &history)]).as_deref(),
            Some("4.21.3")
        );
        assert_eq!(cluster_release(vec![version(&json!({}), &json!([]))]), None);
        assert_eq!(cluster_release(vec![]), None);
        assert_eq!(release(&snapshot("4.22.0", vec![])).as_deref(), Some("4.22.0"));
    }
}
