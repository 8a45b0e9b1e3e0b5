//! The CA maps follow the Service, the service CA and what users trust.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, texts};
use crate::{ca_map, certificates_map, cluster_operator, registry};

const OWN: [&str; 2] = [
    "image-registry.openshift-image-registry.svc..5000",
    "image-registry.openshift-image-registry.svc.cluster.local..5000",
];

fn users() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, "users")
}

async fn trust(lab: &Lab, data: Value) {
    lab.delete(&users()).await;
    lab.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "users", "namespace": names::CONFIG_NAMESPACE},
                      "data": data}))
        .await;
}

async fn named(lab: &Lab, name: &str) {
    let image = ObjectRef::new(Kind::Image, "", names::CLUSTER);
    lab.patch(&image, json!({"spec": {"additionalTrustedCA": {"name": name}}}))
        .await;
}

async fn until_keys(lab: &Lab, map: &ObjectRef, keys: &[&str]) -> Value {
    let mut keys = [&OWN, keys].concat();
    keys.sort_unstable();
    lab.until(map, &format!("with {keys:?}"), |o| {
        o.is_some_and(|o| texts(o, "/data").keys().eq(&keys))
    })
    .await
    .unwrap()
}

// api 33, lifecycle 91, workload 71, 72, 73, 78, 79
#[tokio::test]
async fn what_users_trust_is_published_and_a_missing_map_is_told_at_once() {
    let (lab, _operator) = registry(json!({})).await;
    let service_ca = lab.cluster.service_ca().unwrap();
    for map in [ca_map(), certificates_map()] {
        let found = until_keys(&lab, &map, &[]).await;
        assert!(
            texts(&found, "/data")
                .values()
                .all(|pem| pem.trim() == service_ca.trim())
        );
    }
    named(&lab, "users").await;
    let degraded = |o: &Value| condition(o, "ImageRegistryCertificatesControllerDegraded");
    let told = |o: &Value| degraded(o).0 == "True" && degraded(o).1 == "Error" && degraded(o).2.contains("users");
    lab.until_config("missing the map", told).await;
    lab.until(&cluster_operator(), "degraded", |o| {
        o.is_some_and(|o| condition(o, "Degraded").0 == "True")
    })
    .await;
    until_keys(&lab, &certificates_map(), &[]).await;

    let pem = service_ca.as_str();
    trust(
        &lab,
        json!({"foo.example.com": pem, "bar.example.com..5000": pem, OWN[0]: "users' own\n"}),
    )
    .await;
    let found = until_keys(&lab, &certificates_map(), &["foo.example.com", "bar.example.com..5000"]).await;
    assert_eq!(texts(&found, "/data")["foo.example.com"], service_ca);
    let both = &texts(&found, "/data")[OWN[0]];
    assert!(both.contains(service_ca.trim()) && both.contains("users' own"));
    until_keys(&lab, &ca_map(), &[]).await;
    lab.until_config("mended", |c| {
        is(c, "ImageRegistryCertificatesControllerDegraded", "False", "AsExpected")
    })
    .await;
    // Published, as the Go operator does, and told.
    lab.until_event("Warning ", OWN[0]).await;

    let mark = lab.mark();
    lab.patch(
        &certificates_map(),
        json!({"data": {"foo.example.com": "x", "more": "x"}}),
    )
    .await;
    lab.until(&certificates_map(), "put right", |o| {
        o.is_some_and(|o| texts(o, "/data") == texts(&found, "/data"))
    })
    .await;
    lab.settle().await;
    let writes = lab.writes(mark);
    assert!(writes.iter().any(|w| w.starts_with("update configmaps")), "{writes:?}");

    // The map goes: what it held stays published, and the condition says what is missing.
    lab.delete(&users()).await;
    lab.until_config("missing the map", told).await;
    until_keys(&lab, &certificates_map(), &["foo.example.com", "bar.example.com..5000"]).await;
    // An empty name is none.
    named(&lab, "").await;
    until_keys(&lab, &certificates_map(), &[]).await;
    lab.until_config("mended", |c| {
        is(c, "ImageRegistryCertificatesControllerDegraded", "False", "AsExpected")
    })
    .await;
}
