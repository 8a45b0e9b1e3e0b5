//! The CA maps, and what users add to them.

use std::time::Duration;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, is_up, texts};
use crate::{STATES, ca_map, certificates_map, cluster_operator, enter, eventually, image, metrics, registry};

const CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";
const OWN: [&str; 2] = [
    "image-registry.openshift-image-registry.svc..5000",
    "image-registry.openshift-image-registry.svc.cluster.local..5000",
];
const USERS: [&str; 2] = ["reg.example.com", "with-port.example.com..5000"];

pub fn users_map() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, "users-trust")
}

pub async fn create_users_map(lab: &Lab) {
    let data =
        json!({USERS[0]: "no PEM at all", USERS[1]: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"});
    let metadata = json!({"name": users_map().name, "namespace": names::CONFIG_NAMESPACE});
    lab.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        .await;
}

fn keys(map: &Value) -> Vec<String> {
    texts(map, "/data").into_keys().collect()
}

/// Waits until both maps are whole: own keys where there is a Service, the user's entries verbatim in one of the two.
pub async fn until_whole(lab: &Lab, state: &str) {
    let own: &[&str] = if state == "Removed" { &[] } else { &OWN };
    let mut all: Vec<_> = own.iter().chain(&USERS).copied().collect();
    all.sort_unstable();
    lab.until(&certificates_map(), &format!("whole while {state}"), |o| {
        o.is_some_and(|o| keys(o) == all)
    })
    .await;
    lab.until(&ca_map(), &format!("whole while {state}"), |o| {
        o.is_some_and(|o| keys(o) == own)
    })
    .await;
}

// lifecycle 44, 91, workload 71, 72, 73, 75, 78, 107
// In part: 44 (the CA maps); 107 (the CA maps).
#[tokio::test]
async fn the_maps_are_kept_up_in_every_state_and_a_missing_map_is_told_at_once() {
    let (lab, _operator) = registry(json!({})).await;
    lab.delete(&users_map()).await;
    create_users_map(&lab).await;
    lab.patch(
        &image(),
        json!({"spec": {"additionalTrustedCA": {"name": users_map().name}}}),
    )
    .await;
    for state in STATES {
        enter(&lab, state).await;
        until_whole(&lab, state).await;
        by_hand(&lab, state).await;
        missing(&lab, state).await;
    }
    lab.until_event("Warning ", USERS[0]).await; // no PEM
    let certificates = lab.get(&certificates_map()).await.unwrap();
    let own = texts(&certificates, "/data")[OWN[0]].clone();
    assert_eq!(own.trim(), lab.cluster.service_ca().unwrap().trim());
    assert_eq!(texts(&certificates, "/data")[USERS[0]], "no PEM at all");
    lab.delete(&users_map()).await;
}

async fn by_hand(lab: &Lab, state: &str) {
    lab.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    lab.patch(
        &certificates_map(),
        json!({"data": {USERS[0]: "by hand", USERS[1]: null}}),
    )
    .await;
    until_whole(lab, state).await;
    let right = |o: &Value| texts(o, "/data")[USERS[0]] == "no PEM at all";
    lab.until(&certificates_map(), "put right", |o| o.is_some_and(right))
        .await;
}

/// The user's map goes and comes back: what was published of it stays, and a condition names it meanwhile.
async fn missing(lab: &Lab, state: &str) {
    lab.delete(&users_map()).await;
    let degraded = |c: &Value| is(c, CONDITION, "True", "Error");
    let config = lab.until_config("degraded", degraded).await;
    assert!(condition(&config, CONDITION).2.contains(&users_map().name), "{state}");
    let told = |o: &Value| {
        condition(o, "Degraded")
            .1
            .contains("ImageRegistryCertificatesControllerError")
    };
    lab.until(&cluster_operator(), "degraded", |o| o.is_some_and(told))
        .await;
    // Nothing but its own condition is touched.
    assert_eq!(condition(&config, "Degraded").0, "False", "{state}");
    until_whole(lab, state).await;
    create_users_map(lab).await;
    lab.until_config("well again", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
}

#[tokio::test]
async fn an_edit_of_disable_redirect_runs_the_certificates_loop_at_once() {
    let (lab, operator) = registry(json!({})).await;
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
    lab.edit(json!({"disableRedirect": true})).await;
    eventually("a pass", async || passes().await > before).await;
    lab.until_config("up", is_up).await;
}
