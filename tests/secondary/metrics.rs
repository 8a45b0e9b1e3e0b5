//! The operator's metrics, scraped over TLS.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::{config_ref, eventually, image_pruner, is_up};

/// The value of a series; -1 if it is missing.
pub fn value(text: &str, series: &str) -> i64 {
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.map_or(-1, |value| value.parse().unwrap())
}

fn storage(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with("image_registry_storage_type{"))
        .collect()
}

fn stream(namespace: &str, name: &str, spec: &[&str], status: &[&str]) -> Value {
    let spec: Vec<_> = spec.iter().map(|n| json!({"name": n})).collect();
    let status: Vec<_> = status.iter().map(|n| json!({"tag": n, "items": []})).collect();
    json!({"apiVersion": "image.openshift.io/v1", "kind": "ImageStream", "metadata": {"name": name, "namespace": namespace},
           "spec": {"tags": spec}, "status": {"dockerImageRepository": "", "tags": status}})
}

// lifecycle 63, 64, 99, 100, 124
// In part: 63 (the counter); 99 (the gauge).
#[tokio::test]
async fn metrics_of_streams_storage_and_pruner_are_present_after_the_start_and_follow_changes() {
    let cluster = empty_cluster().await;
    for stream in [
        stream("openshift-config", "one", &["x"], &["x", "y"]),
        stream("default", "two", &["x", "z"], &["x", "z", "y"]),
        stream("default", "three", &[], &["p", "q"]),
    ] {
        let status = json!({"status": stream["status"]});
        let created = cluster.create(stream).await;
        let namespace = created["metadata"]["namespace"].as_str().unwrap();
        let reference = image_registry_operator::api::ObjectRef::new(
            Kind::ImageStream,
            namespace,
            created["metadata"]["name"].as_str().unwrap(),
        );
        if created["status"].is_null() {
            cluster.patch_status(&reference, status).await;
        }
    }
    cluster.create_config(json!({})).await;
    let operator = cluster.operator().await;
    let tags = |text: &str| {
        [
            ("imported", "openshift"),
            ("pushed", "openshift"),
            ("imported", "other"),
            ("pushed", "other"),
        ]
        .map(|(source, location)| {
            let series =
                format!("image_registry_image_stream_tags_total{{source=\"{source}\",location=\"{location}\"}}");
            value(text, &series)
        })
    };
    eventually("the tags are reported", async || {
        tags(&operator.metrics().await) == [1, 1, 2, 3]
    })
    .await;
    cluster.until_config("up", is_up).await;

    let reconfigured = |text: &str| value(text, "image_registry_operator_storage_reconfigured_total");
    let text = operator.metrics().await;
    assert_eq!(storage(&text), ["image_registry_storage_type{storage=\"EmptyDir\"} 1"]);
    assert_eq!(reconfigured(&text), 0);
    cluster
        .edit(json!({"storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let claimed = |c: &Value| !c["status"]["storage"]["pvc"].is_null();
    cluster.until_config("on a claim", claimed).await;
    let alone = ["image_registry_storage_type{storage=\"PVC\"} 1"];
    eventually("PVC alone", async || storage(&operator.metrics().await) == alone).await;
    cluster
        .edit(json!({"storage": {"emptyDir": {}, "managementState": null, "pvc": null}}))
        .await;
    cluster
        .until_config("back", |c| c["status"]["storage"]["pvc"].is_null())
        .await;
    let alone = ["image_registry_storage_type{storage=\"EmptyDir\"} 1"];
    eventually("EmptyDir alone", async || storage(&operator.metrics().await) == alone).await;
    assert_eq!(reconfigured(&operator.metrics().await), 2);

    let status = |text: &str| value(text, "image_registry_operator_image_pruner_install_status");
    assert_eq!(status(&operator.metrics().await), 2);
    cluster.patch(&image_pruner(), json!({"spec": {"suspend": true}})).await;
    eventually("suspended", async || status(&operator.metrics().await) == 1).await;
    assert!(cluster.get(&config_ref()).await.is_some());
    for (namespace, name) in [("openshift-config", "one"), ("default", "two"), ("default", "three")] {
        cluster
            .delete(&image_registry_operator::api::ObjectRef::new(
                Kind::ImageStream,
                namespace,
                name,
            ))
            .await;
    }
    let _ = names::NAMESPACE;
}
