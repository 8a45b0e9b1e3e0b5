//! Feature gates, which never stop the process.

use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::{TestCluster, cluster_version, eventually, feature_gate, image};

const GATE: &str = "ImageStreamImportMode";

/// Sets the feature gates of some releases: whether [`GATE`] is enabled.
async fn gates(cluster: &TestCluster, releases: &[(&str, bool)]) {
    let entries = releases.iter().map(|(version, enabled)| {
        let (on, off) = if *enabled {
            (json!([{"name": GATE}]), json!([]))
        } else {
            (json!([]), json!([{"name": GATE}]))
        };
        json!({"version": version, "enabled": on, "disabled": off})
    });
    let entries: Vec<_> = entries.collect();
    cluster
        .patch_status(&feature_gate(), json!({"status": {"featureGates": entries}}))
        .await;
}

async fn architecture(cluster: &TestCluster, architecture: Value) {
    cluster
        .patch_status(
            &cluster_version(),
            json!({"status": {"desired": {"architecture": architecture}}}),
        )
        .await;
}

fn mode(image: &Value) -> &str {
    image
        .pointer("/status/imageStreamImportMode")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

async fn until_mode(cluster: &TestCluster, expected: &str) {
    cluster
        .until(&image(), expected, |o| o.is_some_and(|o| mode(o) == expected))
        .await;
}

// lifecycle 17, 18, 19, 121
#[tokio::test]
async fn a_feature_gate_takes_effect_without_a_restart() {
    let cluster = empty_cluster().await;
    // The new Image has no status that an earlier release wrote.
    cluster.delete(&image()).await;
    gates(&cluster, &[("4.22.0", true)]).await;
    let mut operator = cluster.operator().await;
    let off = "has no entry for release \"4.22.0-test\"";
    eventually("the log reports it", async || operator.log().contains(off)).await;
    cluster.settle().await;
    assert_eq!(mode(&cluster.get(&image()).await.unwrap()), "");
    assert!(!cluster.events().await.iter().any(|told| told.contains("FeatureGates")));

    gates(&cluster, &[("4.22.0", false), ("4.22.0-test", true)]).await;
    until_mode(&cluster, "Legacy").await;
    cluster.until_event("Normal FeatureGatesInitialized", GATE).await;
    architecture(&cluster, json!("Multi")).await;
    until_mode(&cluster, "PreserveOriginal").await;
    cluster
        .patch(&image(), json!({"spec": {"imageStreamImportMode": "Legacy"}}))
        .await;
    until_mode(&cluster, "Legacy").await;

    // With the gate off again, the operator leaves the field alone.
    gates(&cluster, &[("4.22.0-test", false)]).await;
    cluster.until_event("Normal FeatureGatesModified", GATE).await;
    cluster.settle().await;
    cluster
        .patch(&image(), json!({"spec": {"imageStreamImportMode": ""}}))
        .await;
    cluster.settle().await;
    assert_eq!(mode(&cluster.get(&image()).await.unwrap()), "Legacy");
    cluster.delete(&feature_gate()).await;
    cluster.settle().await;
    assert!(operator.is_running());
    assert_eq!(
        operator.log().matches(off).count(),
        2,
        "logged once each time:\n{}",
        operator.log()
    );
    assert!(operator.stop().await.success());

    // A development build without a release version uses the version of the cluster.
    let object = json!({"apiVersion": "config.openshift.io/v1", "kind": "FeatureGate", "metadata": {"name": "cluster"}, "spec": {}});
    cluster.create(object).await;
    gates(&cluster, &[("0.0.1-snapshot", false), ("4.22.0", true)]).await;
    let _snapshot = cluster
        .operator_with(&[("OPERATOR_IMAGE_VERSION", "0.0.1-snapshot")])
        .await;
    until_mode(&cluster, "PreserveOriginal").await;
    gates(&cluster, &[("4.22.0", false)]).await;
    architecture(&cluster, Value::Null).await;
}
