//! The ConfigMaps with CAs follow the Service, the service CA and the user's CAs.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::registry;
use crate::support::{
    TestCluster, ca_map, certificates_map, cluster_operator, condition, image, is, texts, user_input,
};

const OWN: [&str; 2] = [
    "image-registry.openshift-image-registry.svc..5000",
    "image-registry.openshift-image-registry.svc.cluster.local..5000",
];

fn users() -> ObjectRef {
    user_input(Kind::ConfigMap, "users")
}

async fn trust(cluster: &TestCluster, data: Value) {
    cluster.delete(&users()).await;
    cluster.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "users", "namespace": names::CONFIG_NAMESPACE},
                      "data": data}))
        .await;
}

async fn named(cluster: &TestCluster, name: &str) {
    let image = image();
    cluster
        .patch(&image, json!({"spec": {"additionalTrustedCA": {"name": name}}}))
        .await;
}

async fn until_keys(cluster: &TestCluster, map: &ObjectRef, keys: &[&str]) -> Value {
    let mut keys = [&OWN, keys].concat();
    keys.sort_unstable();
    cluster
        .until(map, &format!("with {keys:?}"), |o| {
            o.is_some_and(|o| texts(o, "/data").keys().eq(&keys))
        })
        .await
        .unwrap()
}

// api 33, lifecycle 91, workload 71, 72, 73, 78, 79
#[tokio::test]
async fn trusted_cas_of_users_are_published_and_a_missing_map_is_reported_at_once() {
    let (cluster, _operator) = registry(json!({})).await;
    let service_ca = cluster.devcluster.service_ca().unwrap();
    for map in [ca_map(), certificates_map()] {
        let found = until_keys(&cluster, &map, &[]).await;
        assert!(
            texts(&found, "/data")
                .values()
                .all(|pem| pem.trim() == service_ca.trim())
        );
    }
    named(&cluster, "users").await;
    let degraded = |o: &Value| condition(o, "ImageRegistryCertificatesControllerDegraded");
    let reports = |o: &Value| degraded(o).0 == "True" && degraded(o).1 == "Error" && degraded(o).2.contains("users");
    cluster.until_config("missing the map", reports).await;
    cluster
        .until(&cluster_operator(), "degraded", |o| {
            o.is_some_and(|o| condition(o, "Degraded").0 == "True")
        })
        .await;
    until_keys(&cluster, &certificates_map(), &[]).await;

    let pem = service_ca.as_str();
    trust(
        &cluster,
        json!({"foo.example.com": pem, "bar.example.com..5000": pem, OWN[0]: "users' own\n"}),
    )
    .await;
    let found = until_keys(
        &cluster,
        &certificates_map(),
        &["foo.example.com", "bar.example.com..5000"],
    )
    .await;
    assert_eq!(texts(&found, "/data")["foo.example.com"], service_ca);
    let both = &texts(&found, "/data")[OWN[0]];
    assert!(both.contains(service_ca.trim()) && both.contains("users' own"));
    until_keys(&cluster, &ca_map(), &[]).await;
    cluster
        .until_config("corrected", |c| {
            is(c, "ImageRegistryCertificatesControllerDegraded", "False", "AsExpected")
        })
        .await;
    // The operator publishes it, as the Go operator does, and warns.
    cluster.until_event("Warning ", OWN[0]).await;

    let mark = cluster.mark();
    cluster
        .patch(
            &certificates_map(),
            json!({"data": {"foo.example.com": "x", "more": "x"}}),
        )
        .await;
    cluster
        .until(&certificates_map(), "restored", |o| {
            o.is_some_and(|o| texts(o, "/data") == texts(&found, "/data"))
        })
        .await;
    cluster.settle().await;
    let writes = cluster.writes(mark);
    assert!(writes.iter().any(|w| w.starts_with("update configmaps")), "{writes:?}");

    // The map is deleted: its entries stay published, and the condition reports the missing map.
    cluster.delete(&users()).await;
    cluster.until_config("missing the map", reports).await;
    until_keys(
        &cluster,
        &certificates_map(),
        &["foo.example.com", "bar.example.com..5000"],
    )
    .await;
    // An empty name means no map.
    named(&cluster, "").await;
    until_keys(&cluster, &certificates_map(), &[]).await;
    cluster
        .until_config("corrected", |c| {
            is(c, "ImageRegistryCertificatesControllerDegraded", "False", "AsExpected")
        })
        .await;
}
