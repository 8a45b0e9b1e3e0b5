//! This operator takes a live cluster over from the Go operator and gives it back, without restarting a pod.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/go/mod.rs"]
mod go;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use go::statuses::condition;
use go::takeover::{
    assert_once, give_back, go_can_read, nothing_is_left, running, users_fields_are_there, users_touch_everything,
};
use go::{EMPTY_DIR, Go};
use support::{
    TestCluster, cluster_role, config_ref, default_claim, deployment, is, is_up, operand, proxy, shared_cluster,
    simulated,
};

const CLAIM_ZONED: &str = include_str!("../data/takeover/deployment-pvc-zoned.yaml");
const OVERRIDES_PROXY: &str = include_str!("../data/takeover/deployment-overrides-proxy.yaml");
const ZONE: &str = "topology.kubernetes.io/zone";

async fn empty_cluster() -> TestCluster {
    let cluster = shared_cluster(simulated("takeover")).await;
    zones(&cluster, json!(null)).await;
    cluster
}

async fn zones(cluster: &TestCluster, zone: Value) {
    for node in cluster.list(Kind::Node, "").await {
        let node = ObjectRef::new(Kind::Node, "", node["metadata"]["name"].as_str().unwrap());
        cluster
            .patch(&node, json!({"metadata": {"labels": {ZONE: zone}}}))
            .await;
    }
}

// workload 61
#[tokio::test]
async fn a_registry_on_empty_dir_is_taken_over_without_a_restarted_pod() {
    let cluster = empty_cluster().await;
    let operator = Go::new(&cluster, EMPTY_DIR, json!({})).take_over_and_back().await;
    assert!(operator.stop().await.success());
}

// workload 61
#[tokio::test]
async fn two_replicas_on_a_claim_with_routes_are_taken_over_without_a_restarted_pod() {
    let cluster = empty_cluster().await;
    zones(&cluster, json!("south-2")).await;
    let volume = format!("takeover-{}", names::DEFAULT_CLAIM);
    cluster
        .devcluster
        .host_volume(&volume, &["ReadWriteMany"])
        .await
        .unwrap();
    let storage = json!({"managementState": "Managed", "pvc": {"claim": names::DEFAULT_CLAIM}});
    let routes = json!([{"name": "public", "hostname": "registry.example.com", "secretName": "public-tls"}]);
    let mut go = Go::new(
        &cluster,
        CLAIM_ZONED,
        json!({"replicas": 2, "storage": storage, "defaultRoute": true, "routes": routes}),
    );
    let signed = rcgen::generate_simple_self_signed(vec!["registry.example.com".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    go.route = Some((certificate.clone(), key.clone()));
    let data = json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": certificate});
    cluster
        .create(
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": data,
                      "metadata": {"name": "public-tls", "namespace": names::NAMESPACE}}),
        )
        .await;
    go.create(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": names::DEFAULT_CLAIM, "namespace": names::NAMESPACE, "annotations": {names::OWNED_ANNOTATION: "true"}},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "100Gi"}}}}))
        .await;
    let operator = go.take_over_and_back().await;
    assert!(operator.stop().await.success());
    let claim = cluster.get(&default_claim()).await.unwrap();
    assert_eq!(claim["metadata"].get("deletionTimestamp"), None);
    zones(&cluster, json!(null)).await;
}

/// The topology spread constraints of builds of the Go operator before summer 2026.
fn with_former_constraints(deployment: &mut Value) {
    let constraints = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"].as_array_mut();
    for constraint in constraints.into_iter().flatten() {
        for member in ["matchLabelKeys", "nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.as_object_mut().unwrap().remove(member).unwrap();
        }
    }
}

// workload 61
#[tokio::test]
async fn overrides_and_proxies_are_taken_over_without_a_restarted_pod() {
    let cluster = empty_cluster().await;
    let proxy = proxy();
    let spec = json!({"httpProxy": "http://cluster.proxy.test:3128", "httpsProxy": "http://cluster.proxy.test:3129",
                      "noProxy": ".cluster.local"});
    cluster.patch(&proxy, json!({"spec": spec})).await;
    cluster
        .until(&proxy, "reported", |o| {
            o.is_some_and(|o| o["status"]["noProxy"] == ".cluster.local")
        })
        .await;
    let overrides = json!({"deployment": {"annotations": {"tuning.example.com/profile": "fast"}}});
    let requests = json!({"read": {"maxRunning": 7, "maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}});
    let mut go = Go::new(
        &cluster,
        OVERRIDES_PROXY,
        json!({"unsupportedConfigOverrides": overrides, "logLevel": "Debug", "readOnly": true,
        "requests": requests, "proxy": {"http": "http://own.proxy.test:3128"}}),
    );
    go.edit = with_former_constraints;
    let operator = go.take_over_and_back().await;
    assert!(operator.stop().await.success());
    let live = cluster.get(&deployment()).await.unwrap();
    assert_eq!(live["metadata"]["annotations"]["tuning.example.com/profile"], "fast");
    cluster
        .patch(
            &proxy,
            json!({"spec": {"httpProxy": null, "httpsProxy": null, "noProxy": null}}),
        )
        .await;
}

/// Conditions, fields and workloads of an earlier release are removed, with one rollout.
#[tokio::test]
async fn leftovers_of_an_earlier_release_are_removed_with_one_rollout() {
    let cluster = empty_cluster().await;
    cluster.platform("Azure").await;
    let mut go = Go::new(&cluster, EMPTY_DIR, json!({}));
    go.environment.clear();
    go.edit = |deployment| {
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        env.insert(3, json!({"name": "REGISTRY_FORMER_SETTING", "value": "on"}));
    };
    go.install().await;
    users_touch_everything(&cluster).await;
    let mut role = cluster.get(&cluster_role()).await.unwrap();
    role["rules"].as_array_mut().unwrap().truncate(3);
    go.put(&go::reference(&role), &role).await;
    go.create(&json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": names::AZURE_PATH_FIX_JOB, "namespace": names::NAMESPACE},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "localhost/x:dev"}]}}}}))
        .await;
    let mut status = cluster.config().await["status"].clone();
    let conditions = status["conditions"].as_array_mut().unwrap();
    conditions.push(condition("AzurePathFixProgressing", "False", "AsExpected", ""));
    conditions.push(condition("AzurePathFixControllerDegraded", "False", "", ""));
    for condition in conditions.iter_mut().filter(|c| c["type"] != "ExampleAudited") {
        condition.as_object_mut().unwrap().remove("reason");
    }
    go.put_status(&config_ref(), status).await;
    let before = running(&cluster).await;

    let (operator, counts) = go.take_over().await;
    cluster.until_config("up", is_up).await;
    cluster.settle().await;
    for (what, times) in &counts {
        assert!(what.contains("/status") || *times == 1, "{what} {times} times");
    }
    assert_eq!(counts.get("write deployments image-registry"), Some(&1));
    assert_eq!(counts.get("write clusterroles system:registry"), Some(&1));
    let live = cluster.get(&deployment()).await.unwrap();
    assert!(
        !live.to_string().contains("REGISTRY_FORMER_SETTING\",\"value"),
        "{live}"
    );
    let sets = |all: &BTreeMap<String, String>| all.keys().filter(|name| name.matches('-').count() == 2).count();
    assert_eq!(sets(&running(&cluster).await), sets(&before) + 1, "one rollout");
    users_fields_are_there(&cluster).await;
    nothing_is_left(&cluster).await;
    go_can_read(&cluster).await;
    cluster
        .until_absent(&operand(Kind::Job, names::AZURE_PATH_FIX_JOB))
        .await;
    assert!(operator.stop().await.success());
}

/// A rollout that the Go operator began completes unchanged after the takeover.
#[tokio::test]
async fn a_rollout_in_progress_continues() {
    let cluster = empty_cluster().await;
    let mut go = Go::new(&cluster, EMPTY_DIR, json!({}));
    go.install().await;
    cluster.devcluster.pause_simulated_pods().unwrap();
    cluster.edit(json!({"logLevel": "Debug"})).await;
    go.edit = |deployment| {
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        env.iter_mut().find(|e| e["name"] == "REGISTRY_LOG_LEVEL").unwrap()["value"] = json!("debug");
    };
    assert_eq!(go.pass().await, [format!("update {}", deployment())]);
    let began = Instant::now();
    while running(&cluster).await.len() < 4 {
        assert!(began.elapsed() < cluster.timeout, "two pods, two ReplicaSets");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = running(&cluster).await;
    let (operator, counts) = go.take_over().await;
    assert_once(&counts);
    assert_eq!(counts.get("write deployments image-registry"), Some(&1));
    let config = cluster
        .until_config("in progress", |c| {
            is(c, "Progressing", "True", "DeploymentNotCompleted")
        })
        .await;
    assert!(is(&config, "Available", "True", "MinimumAvailability"), "{config}");
    assert_eq!(
        running(&cluster).await.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    cluster.devcluster.resume_simulated_pods().unwrap();
    cluster.until_config("up", is_up).await;
    let after = running(&cluster).await;
    assert!(
        after.keys().all(|name| before.contains_key(name)),
        "{before:#?}\n{after:#?}"
    );
    assert!(operator.stop().await.success());
}

/// Objects other than the registry's are taken over in every state; in Unmanaged the registry's are not touched.
#[tokio::test]
async fn a_removed_registry_stays_removed() {
    let cluster = empty_cluster().await;
    let mut go = Go::new(&cluster, EMPTY_DIR, json!({"managementState": "Removed"}));
    go.managed = false;
    go.install().await;
    users_touch_everything(&cluster).await;
    only_what_is_always_there_is_written(&go).await;
    assert!(cluster.get(&deployment()).await.is_none());
}

#[tokio::test]
async fn an_unmanaged_registry_is_left_alone() {
    let cluster = empty_cluster().await;
    let go = Go::new(&cluster, EMPTY_DIR, json!({}));
    go.install().await;
    cluster.edit(json!({"managementState": "Unmanaged"})).await;
    go.report().await;
    users_touch_everything(&cluster).await;
    let before = running(&cluster).await;
    only_what_is_always_there_is_written(&go).await;
    assert_eq!(running(&cluster).await, before);
    let live = cluster.get(&deployment()).await.unwrap();
    assert_eq!(
        live["metadata"]["annotations"][go::LEFT],
        "an override that was removed"
    );
}

async fn only_what_is_always_there_is_written(go: &Go<'_>) {
    let cluster = go.cluster;
    let config = cluster.config().await;
    let (operator, counts) = go.take_over().await;
    let allowed = [
        "write daemonsets node-ca",
        "write cronjobs image-pruner",
        "write configs/status cluster",
        "write clusteroperators/status image-registry",
        "write imagepruners/status cluster",
    ];
    assert_once(&counts);
    assert!(
        counts.keys().all(|what| allowed.contains(&what.as_str())),
        "{counts:#?}"
    );
    let now = cluster.config().await;
    assert_eq!(now["spec"], config["spec"]);
    assert_eq!(now["status"]["storage"], config["status"]["storage"]);
    users_fields_are_there(cluster).await;
    go_can_read(cluster).await;
    give_back(cluster, operator).await;
}

// workload 63
#[tokio::test]
async fn a_workload_without_a_recorded_generation_is_written_once() {
    let cluster = empty_cluster().await;
    let go = Go::new(&cluster, EMPTY_DIR, json!({}));
    go.install().await;
    let (operator, _) = go.take_over().await;
    give_back(&cluster, operator).await;
    let before = running(&cluster).await;
    cluster
        .patch_status(&config_ref(), json!({"status": {"generations": []}}))
        .await;
    let (operator, counts) = go.take_over().await;
    assert_once(&counts);
    for workload in ["write deployments image-registry", "write daemonsets node-ca"] {
        assert_eq!(counts.get(workload), Some(&1), "{workload}: {counts:#?}");
    }
    assert_eq!(running(&cluster).await, before);
    go_can_read(&cluster).await;
    assert!(operator.stop().await.success());
}
