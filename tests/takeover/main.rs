//! This operator takes a live cluster over from the Go operator and gives it back, without restarting a pod.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod go;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devcluster::audit::Mark;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use go::Go;
use support::operator::Operator;
use support::{
    TestCluster, ca_map, cluster_operator, cluster_role, config_ref, cron_job, daemon_set, default_claim, deployment,
    is, is_up, operand, proxy, shared_cluster, simulated,
};
use words::condition;

const EMPTY_DIR: &str = include_str!("../data/takeover/deployment-emptydir.yaml");
const CLAIM_ZONED: &str = include_str!("../data/takeover/deployment-pvc-zoned.yaml");
const OVERRIDES_PROXY: &str = include_str!("../data/takeover/deployment-overrides-proxy.yaml");
const USERS: &str = "example.com/users";
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

/// The registry's pods with UID and restarts, and its ReplicaSets with UID, by name.
async fn running(cluster: &TestCluster) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for pod in cluster.list(Kind::Pod, names::NAMESPACE).await {
        if pod["metadata"]["labels"]["docker-registry"] == "default" {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
            found.insert(name, format!("{} {restarts:?}", pod["metadata"]["uid"]));
        }
    }
    let sets: Api<ReplicaSet> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    for set in sets.list(&ListParams::default()).await.unwrap() {
        found.insert(set.name_any(), set.uid().unwrap());
    }
    found
}

/// Every object that the Go operator maintains and this operator writes.
async fn kept(cluster: &TestCluster) -> Vec<Value> {
    let mut found = Vec::new();
    for kind in [
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Service,
        Kind::Deployment,
        Kind::DaemonSet,
        Kind::CronJob,
        Kind::PodDisruptionBudget,
        Kind::NetworkPolicy,
        Kind::Route,
    ] {
        let mut objects = cluster.list(kind, names::NAMESPACE).await;
        for object in &mut objects {
            object["apiVersion"] = json!(kind.api_version());
            object["kind"] = json!(kind.kind());
        }
        let foreign = [
            "default",
            "builder",
            "deployer",
            "node-ca",
            "cluster-image-registry-operator",
        ];
        objects.retain(|o| kind != Kind::ServiceAccount || !foreign.contains(&o["metadata"]["name"].as_str().unwrap()));
        found.extend(objects);
    }
    for (kind, name) in [
        (Kind::ClusterRole, names::REGISTRY_CLUSTER_ROLE),
        (Kind::ClusterRole, names::PRUNER_CLUSTER_ROLE),
        (Kind::ClusterRoleBinding, names::REGISTRY_CLUSTER_ROLE_BINDING),
        (Kind::ClusterRoleBinding, names::PRUNER_CLUSTER_ROLE_BINDING),
    ] {
        found.extend(cluster.get(&ObjectRef::new(kind, "", name)).await);
    }
    found.extend(cluster.get(&ca_map()).await);
    found
}

/// Adds labels and annotations to every object, and Secrets to the ServiceAccounts, as users do.
async fn users_touch_everything(cluster: &TestCluster) {
    for object in kept(cluster).await {
        let reference = go::reference(&object);
        let mut patch = json!({"metadata": {"labels": {USERS: "kept"}, "annotations": {USERS: "kept"}}});
        if reference.kind == Kind::ServiceAccount {
            patch["secrets"] = json!([{"name": "users-own"}]);
            patch["imagePullSecrets"] = json!([{"name": "users-pull"}]);
        }
        cluster.patch(&reference, patch).await;
    }
    let mut status = cluster.config().await["status"].clone();
    let foreign = condition("ExampleAudited", "True", "Audited", "by somebody else");
    status["conditions"].as_array_mut().unwrap().push(foreign);
    cluster.patch_status(&config_ref(), json!({"status": status})).await;
    cluster
        .patch(
            &config_ref(),
            json!({"metadata": {"labels": {USERS: "kept"}, "annotations": {USERS: "kept"}}}),
        )
        .await;
}

async fn users_fields_are_there(cluster: &TestCluster) {
    for object in kept(cluster).await.into_iter().chain([cluster.config().await]) {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        for member in ["labels", "annotations"] {
            assert_eq!(object["metadata"][member][USERS], "kept", "{member} of {name}");
        }
        if object["kind"] == "ServiceAccount" {
            assert!(
                object["secrets"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({"name": "users-own"})),
                "{object}"
            );
            assert!(
                object["imagePullSecrets"]
                    .as_array()
                    .unwrap()
                    .contains(&json!({"name": "users-pull"})),
                "{object}"
            );
        }
    }
    let config = cluster.config().await;
    assert!(is(&config, "ExampleAudited", "True", "Audited"), "{config}");
    let operator = cluster.get(&cluster_operator()).await.unwrap();
    assert!(is(&operator, "ExampleFamiliar", "True", "Foreign"), "{operator}");
}

/// Number of writes to each object since a mark, by verb; `write` is a patch or an update.
fn count(cluster: &TestCluster, since: Mark) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in cluster.requests(since).writes().events() {
        let verb = if matches!(event.verb.as_str(), "patch" | "update") {
            "write"
        } else {
            event.verb.as_str()
        };
        let part = if event.subresource.is_empty() {
            String::new()
        } else {
            format!("/{}", event.subresource)
        };
        *counts
            .entry(format!("{verb} {}{part} {}", event.resource, event.name))
            .or_default() += 1;
        assert!((200..300).contains(&event.code), "{event}");
    }
    counts
}

/// Starts this operator and waits until it has taken the workloads over and is idle.
async fn take_over(cluster: &TestCluster, environment: &[(&str, &str)]) -> (Operator, BTreeMap<String, usize>) {
    let mark = cluster.mark();
    let operator = cluster.operator_with(environment).await;
    synced(cluster, &operator).await;
    // Changes of messages may be written with a delay.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.settle().await;
    let count = count(cluster, mark);
    eprintln!("{count:#?}");
    (operator, count)
}

async fn synced(cluster: &TestCluster, operator: &Operator) {
    let began = Instant::now();
    while !operator.log().contains("all watches are in sync") {
        assert!(began.elapsed() < cluster.timeout, "{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// This operator's node-ca runs the same image as the Go operator's.
const SAME_IMAGE: &[(&str, &str)] = &[("OPERATOR_IMAGE", go::IMAGE)];

/// Asserts at most one write for each object, and no creation or deletion. The ClusterOperator may be written four times: it
/// adds what the Go operator did not report, and repeats two other statuses as they change, that of the Config up to twice.
fn assert_once(counts: &BTreeMap<String, usize>) {
    for (what, times) in counts {
        let most = match what.as_str() {
            "write clusteroperators/status image-registry" => 4,
            "write configs/status cluster" => 2,
            _ => 1,
        };
        assert!(*times <= most && what.starts_with("write"), "{what} {times} times");
    }
}

/// Asserts that fields that only the Go operator had set are gone from the Deployment.
async fn nothing_is_left(cluster: &TestCluster) {
    let live = cluster.get(&deployment()).await.unwrap();
    for member in ["labels", "annotations"] {
        assert!(
            live["metadata"][member].get(go::LEFT).is_none(),
            "{member}: {}",
            live["metadata"]
        );
    }
    assert!(
        live["metadata"].get("ownerReferences").is_none(),
        "{}",
        live["metadata"]
    );
    // The managed fields stay complete.
    let managers: Vec<_> = live["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["manager"].clone())
        .collect();
    assert!(
        managers.contains(&json!(go::MANAGER)) && managers.contains(&json!("kube-controller-manager")),
        "{managers:?}"
    );
}

/// Asserts that the Go operator can read the Config and knows every condition in it.
async fn go_can_read(cluster: &TestCluster) {
    let config = cluster.config().await;
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    let known = [
        "Available",
        "Progressing",
        "Degraded",
        "Removed",
        "StorageExists",
        "NodeCADaemonAvailable",
        "NodeCADaemonProgressing",
        "NodeCADaemonControllerDegraded",
        "ImageRegistryCertificatesControllerDegraded",
        "ImageConfigControllerDegraded",
        "AzureStackCloudControllerDegraded",
        "ConfigObservationDegraded",
        "ExampleAudited",
    ];
    let conditions = config["status"]["conditions"].as_array().unwrap();
    for condition in conditions {
        assert!(known.contains(&condition["type"].as_str().unwrap()), "{condition}");
        assert!(
            ["True", "False", "Unknown"].contains(&condition["status"].as_str().unwrap()),
            "{condition}"
        );
        let time = condition["lastTransitionTime"].as_str().unwrap();
        assert!(
            time.parse::<jiff::Timestamp>().is_ok() && time.len() == 20,
            "{condition}"
        );
    }
    for (kind, name) in [(Kind::Deployment, names::REGISTRY), (Kind::DaemonSet, names::NODE_CA)] {
        let Some(live) = cluster.get(&operand(kind, name)).await else {
            continue;
        };
        if kind == Kind::Deployment && config["spec"]["managementState"] == "Unmanaged" {
            continue;
        }
        let entry = json!({"group": "apps", "resource": kind.plural(), "namespace": names::NAMESPACE, "name": name,
                           "lastGeneration": live["metadata"]["generation"], "hash": ""});
        assert!(
            config["status"]["generations"].as_array().unwrap().contains(&entry),
            "{}",
            config["status"]["generations"]
        );
    }
}

async fn lease(cluster: &TestCluster) -> k8s_openapi::api::coordination::v1::LeaseSpec {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    api.get("openshift-master-controllers").await.unwrap().spec.unwrap()
}

/// Stops this operator, which releases the Lease.
async fn give_back(cluster: &TestCluster, operator: Operator) {
    let holder = lease(cluster).await.holder_identity.unwrap();
    let (host, id) = holder.split_once('_').unwrap();
    assert!(!host.is_empty() && id.len() == 36, "{holder}");
    assert!(operator.stop().await.success());
    let left = lease(cluster).await;
    assert_eq!(left.holder_identity.as_deref(), Some(""));
    assert_eq!(left.lease_duration_seconds, Some(1));
}

/// Takes over, restarts, gives back, and takes over again; no step restarts a pod.
async fn take_over_and_back(cluster: &TestCluster, go: &Go<'_>) {
    go.install().await;
    users_touch_everything(cluster).await;
    let before = running(cluster).await;
    let config = cluster.config().await;
    let (operator, counts) = take_over(cluster, SAME_IMAGE).await;
    cluster.until_config("up", is_up).await;
    assert_once(&counts);
    for workload in [
        "write deployments image-registry",
        "write daemonsets node-ca",
        "write cronjobs image-pruner",
    ] {
        assert_eq!(counts.get(workload), Some(&1), "{workload}");
    }
    let others = |what: &&String| {
        !what.contains("/status")
            && !["deployments", "daemonsets", "cronjobs"]
                .iter()
                .any(|k| what.contains(k))
    };
    assert_eq!(
        counts.keys().filter(others).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "equal objects need no write"
    );
    assert_eq!(running(cluster).await, before);
    users_fields_are_there(cluster).await;
    nothing_is_left(cluster).await;
    assert_eq!(cluster.config().await["spec"], config["spec"]);
    go_can_read(cluster).await;
    give_back(cluster, operator).await;

    let (operator, counts) = take_over(cluster, SAME_IMAGE).await;
    assert_eq!(counts, BTreeMap::new(), "a second start has nothing to write");
    give_back(cluster, operator).await;

    // The Go operator takes over again: it finds other digests and writes its own form.
    let written = go.pass().await;
    for workload in [deployment(), daemon_set(), cron_job()] {
        assert!(written.contains(&format!("update {workload}")), "{written:?}");
    }
    assert_eq!(go.pass().await, Vec::<String>::new());
    go.rolled_out().await;
    assert_eq!(running(cluster).await, before);
    go.report().await;

    let (operator, counts) = take_over(cluster, SAME_IMAGE).await;
    assert_once(&counts);
    assert_eq!(running(cluster).await, before);
    assert!(operator.stop().await.success());
}

// workload 61
#[tokio::test]
async fn a_registry_on_empty_dir_is_taken_over_without_a_restarted_pod() {
    let cluster = empty_cluster().await;
    take_over_and_back(&cluster, &Go::new(&cluster, EMPTY_DIR, json!({}))).await;
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
    take_over_and_back(&cluster, &go).await;
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
    take_over_and_back(&cluster, &go).await;
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

    let (operator, counts) = take_over(&cluster, &[]).await;
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
    let (operator, counts) = take_over(&cluster, SAME_IMAGE).await;
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
    only_what_is_always_there_is_written(&cluster).await;
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
    only_what_is_always_there_is_written(&cluster).await;
    assert_eq!(running(&cluster).await, before);
    let live = cluster.get(&deployment()).await.unwrap();
    assert_eq!(
        live["metadata"]["annotations"][go::LEFT],
        "an override that was removed"
    );
}

async fn only_what_is_always_there_is_written(cluster: &TestCluster) {
    let config = cluster.config().await;
    let (operator, counts) = take_over(cluster, SAME_IMAGE).await;
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
    Go::new(&cluster, EMPTY_DIR, json!({})).install().await;
    let (operator, _) = take_over(&cluster, SAME_IMAGE).await;
    give_back(&cluster, operator).await;
    let before = running(&cluster).await;
    cluster
        .patch_status(&config_ref(), json!({"status": {"generations": []}}))
        .await;
    let (operator, counts) = take_over(&cluster, SAME_IMAGE).await;
    assert_once(&counts);
    for workload in ["write deployments image-registry", "write daemonsets node-ca"] {
        assert_eq!(counts.get(workload), Some(&1), "{workload}: {counts:#?}");
    }
    assert_eq!(running(&cluster).await, before);
    go_can_read(&cluster).await;
    assert!(operator.stop().await.success());
}
