//! The ConfigMaps with CAs, and the entries that users add.

use std::time::Duration;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    STATES, TestCluster, ca_map, certificates_map, cluster_operator, condition, eventually, image, is, is_up, texts,
    user_input,
};
use crate::{metrics, registry};

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
const OWN: [&str; 2] = [
    "image-registry.openshift-image-registry.svc..5000",
    "image-registry.openshift-image-registry.svc.cluster.local..5000",
];
const USERS: [&str; 2] = ["reg.example.com", "with-port.example.com..5000"];

pub fn users_map() -> ObjectRef {
    user_input(Kind::ConfigMap, "users-trust")
}

pub async fn create_users_map(cluster: &TestCluster) {
    let data =
        json!({USERS[0]: "no PEM at all", USERS[1]: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"});
    let metadata = json!({"name": users_map().name, "namespace": names::CONFIG_NAMESPACE});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        .await;
}

fn keys(map: &Value) -> Vec<String> {
    texts(map, "/data").into_keys().collect()
}

/// Waits until both maps are complete: the operator's keys if there is a Service, and the user's entries verbatim in one map.
pub async fn until_whole(cluster: &TestCluster, state: &str) {
    let own: &[&str] = if state == "Removed" { &[] } else { &OWN };
    let mut all: Vec<_> = own.iter().chain(&USERS).copied().collect();
    all.sort_unstable();
    cluster
        .until(&certificates_map(), &format!("whole while {state}"), |o| {
            o.is_some_and(|o| keys(o) == all)
        })
        .await;
    cluster
        .until(&ca_map(), &format!("whole while {state}"), |o| {
            o.is_some_and(|o| keys(o) == own)
        })
        .await;
}

// lifecycle 44, 91, workload 71, 72, 73, 75, 78, 107
// In part: 44 (the CA maps); 107 (the CA maps).
#[tokio::test]
async fn the_ca_maps_are_maintained_in_every_state_and_a_missing_map_is_reported_at_once() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.delete(&users_map()).await;
    create_users_map(&cluster).await;
    cluster
        .patch(
            &image(),
            json!({"spec": {"additionalTrustedCA": {"name": users_map().name}}}),
        )
        .await;
    for state in STATES {
        cluster.enter_state(state).await;
        until_whole(&cluster, state).await;
        by_hand(&cluster, state).await;
        missing(&cluster, state).await;
    }
    cluster.until_event("Warning ", USERS[0]).await; // no PEM
    let certificates = cluster.get(&certificates_map()).await.unwrap();
    let own = texts(&certificates, "/data")[OWN[0]].clone();
    assert_eq!(own.trim(), cluster.devcluster.service_ca().unwrap().trim());
    assert_eq!(texts(&certificates, "/data")[USERS[0]], "no PEM at all");
    cluster.delete(&users_map()).await;
}

async fn by_hand(cluster: &TestCluster, state: &str) {
    // An immutable ConfigMap can only be deleted and created again.
    let edit = json!({"data": {"own": "by hand"}, "immutable": true});
    cluster.patch(&ca_map(), edit).await;
    cluster
        .patch(
            &certificates_map(),
            json!({"data": {USERS[0]: "by hand", USERS[1]: null}}),
        )
        .await;
    until_whole(cluster, state).await;
    let right = |o: &Value| texts(o, "/data")[USERS[0]] == "no PEM at all";
    cluster
        .until(&certificates_map(), "restored", |o| o.is_some_and(right))
        .await;
}

/// The user's map is deleted and created again. Meanwhile its published entries stay and a condition names it.
async fn missing(cluster: &TestCluster, state: &str) {
    cluster.delete(&users_map()).await;
    let degraded = |c: &Value| is(c, CONDITION, "True", "Error");
    let config = cluster.until_config("degraded", degraded).await;
    assert!(condition(&config, CONDITION).2.contains(&users_map().name), "{state}");
    let reports = |o: &Value| {
        condition(o, "Degraded")
            .1
            .contains("ImageRegistryCertificatesControllerError")
    };
    cluster
        .until(&cluster_operator(), "degraded", |o| o.is_some_and(reports))
        .await;
    // No other condition changes.
    assert_eq!(condition(&config, "Degraded").0, "False", "{state}");
    until_whole(cluster, state).await;
    create_users_map(cluster).await;
    cluster
        .until_config("no longer degraded", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
}

#[tokio::test]
async fn an_edit_of_disable_redirect_triggers_the_certificates_controller_at_once() {
    let (cluster, operator) = registry(json!({})).await;
    let passes = async || {
        let text = operator.metrics().await;
        metrics::value(
            &text,
            "image_registry_operator_reconciles_total{controller=\"certificates\",outcome=\"success\"}",
        )
    };
    let before = passes().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(before, passes().await, "it rests");
    cluster.edit(json!({"disableRedirect": true})).await;
    eventually("a reconcile", async || passes().await > before).await;
    cluster.until_config("up", is_up).await;
}
