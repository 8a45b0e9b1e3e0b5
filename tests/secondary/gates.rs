//! Feature gates: whatever becomes of them, the process goes on.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::Lab;
use crate::{cluster, eventually, image};

const GATE: &str = "ImageStreamImportMode";

fn feature_gate() -> ObjectRef {
    ObjectRef::new(Kind::FeatureGate, "", names::CLUSTER)
}

fn cluster_version() -> ObjectRef {
    ObjectRef::new(Kind::ClusterVersion, "", names::CLUSTER_VERSION)
}

/// The gates of some releases: whether ours is among the enabled ones.
async fn gates(lab: &Lab, releases: &[(&str, bool)]) {
    let entries = releases.iter().map(|(version, enabled)| {
        let (on, off) = if *enabled {
            (json!([{"name": GATE}]), json!([]))
        } else {
            (json!([]), json!([{"name": GATE}]))
        };
        json!({"version": version, "enabled": on, "disabled": off})
    });
    let entries: Vec<_> = entries.collect();
    lab.patch_status(&feature_gate(), json!({"status": {"featureGates": entries}}))
        .await;
}

async fn architecture(lab: &Lab, architecture: Value) {
    lab.patch_status(
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

async fn until_mode(lab: &Lab, expected: &str) {
    lab.until(&image(), expected, |o| o.is_some_and(|o| mode(o) == expected))
        .await;
}

// lifecycle 17, 18, 19, 121
#[tokio::test]
async fn a_gate_that_appears_or_changes_is_taken_up_by_the_running_process() {
    let lab = cluster().await;
    // One without a status: whatever an earlier release wrote must not look like ours.
    lab.delete(&image()).await;
    gates(&lab, &[("4.22.0", true)]).await;
    let mut operator = lab.operator().await;
    let off = "has no entry for release \"4.22.0-test\"";
    eventually("the log tells it", async || operator.log().contains(off)).await;
    lab.settle().await;
    assert_eq!(mode(&lab.get(&image()).await.unwrap()), "");
    assert!(!lab.events().await.iter().any(|told| told.contains("FeatureGates")));

    gates(&lab, &[("4.22.0", false), ("4.22.0-test", true)]).await;
    until_mode(&lab, "Legacy").await;
    lab.until_event("Normal FeatureGatesInitialized", GATE).await;
    architecture(&lab, json!("Multi")).await;
    until_mode(&lab, "PreserveOriginal").await;
    lab.patch(&image(), json!({"spec": {"imageStreamImportMode": "Legacy"}}))
        .await;
    until_mode(&lab, "Legacy").await;

    // Off again: the field is nobody's business.
    gates(&lab, &[("4.22.0-test", false)]).await;
    lab.until_event("Normal FeatureGatesModified", GATE).await;
    lab.settle().await;
    lab.patch(&image(), json!({"spec": {"imageStreamImportMode": ""}}))
        .await;
    lab.settle().await;
    assert_eq!(mode(&lab.get(&image()).await.unwrap()), "Legacy");
    lab.delete(&feature_gate()).await;
    lab.settle().await;
    assert!(operator.is_running());
    assert_eq!(
        operator.log().matches(off).count(),
        2,
        "said once each time:\n{}",
        operator.log()
    );
    assert!(operator.stop().await.success());

    // A program that the release tool put no version into goes by the cluster's.
    let object = json!({"apiVersion": "config.openshift.io/v1", "kind": "FeatureGate", "metadata": {"name": "cluster"}, "spec": {}});
    lab.create(object).await;
    gates(&lab, &[("0.0.1-snapshot", false), ("4.22.0", true)]).await;
    let _snapshot = lab.operator_with(&[("OPERATOR_IMAGE_VERSION", "0.0.1-snapshot")]).await;
    until_mode(&lab, "PreserveOriginal").await;
    gates(&lab, &[("4.22.0", false)]).await;
    architecture(&lab, Value::Null).await;
}
