//! A live cluster changes hands: what the Go operator left is taken over without a pod's end, and given back the same way.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod go;
mod words;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devcluster::audit::Mark;
use go::Go;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};
use support::operator::Operator;
use support::{Lab, config_ref, is, is_up, lab, operand, simulated};
use words::condition;

const EMPTY_DIR: &str = include_str!("../data/takeover/deployment-emptydir.yaml");
const CLAIM_ZONED: &str = include_str!("../data/takeover/deployment-pvc-zoned.yaml");
const OVERRIDES_PROXY: &str = include_str!("../data/takeover/deployment-overrides-proxy.yaml");
const USERS: &str = "example.com/users";
const ZONE: &str = "topology.kubernetes.io/zone";

async fn cluster() -> Lab {
    let lab = lab(simulated("takeover")).await;
    zones(&lab, json!(null)).await;
    lab
}

async fn zones(lab: &Lab, zone: Value) {
    for node in lab.list(Kind::Node, "").await {
        let node = ObjectRef::new(Kind::Node, "", node["metadata"]["name"].as_str().unwrap());
        lab.patch(&node, json!({"metadata": {"labels": {ZONE: zone}}})).await;
    }
}

fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

/// Pods of the registry by name with their uid and restarts, and its ReplicaSets with their uid.
async fn running(lab: &Lab) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for pod in lab.list(Kind::Pod, names::NAMESPACE).await {
        if pod["metadata"]["labels"]["docker-registry"] == "default" {
            let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
            let restarts = pod.pointer("/status/containerStatuses/0/restartCount");
            found.insert(name, format!("{} {restarts:?}", pod["metadata"]["uid"]));
        }
    }
    let sets: Api<ReplicaSet> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    for set in sets.list(&ListParams::default()).await.unwrap() {
        found.insert(set.name_any(), set.uid().unwrap());
    }
    found
}

/// Everything that the Go operator keeps and ours writes.
async fn kept(lab: &Lab) -> Vec<Value> {
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
        let mut objects = lab.list(kind, names::NAMESPACE).await;
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
        found.extend(lab.get(&ObjectRef::new(kind, "", name)).await);
    }
    found.extend(
        lab.get(&ObjectRef::new(
            Kind::ConfigMap,
            names::CONFIG_MANAGED_NAMESPACE,
            names::CA_MAP,
        ))
        .await,
    );
    found
}

/// Users put labels and annotations on everything, and secrets on the ServiceAccounts.
async fn users_touch_everything(lab: &Lab) {
    for object in kept(lab).await {
        let reference = go::reference(&object);
        let mut patch = json!({"metadata": {"labels": {USERS: "kept"}, "annotations": {USERS: "kept"}}});
        if reference.kind == Kind::ServiceAccount {
            patch["secrets"] = json!([{"name": "users-own"}]);
            patch["imagePullSecrets"] = json!([{"name": "users-pull"}]);
        }
        lab.patch(&reference, patch).await;
    }
    let mut status = lab.config().await["status"].clone();
    let foreign = condition("ExampleAudited", "True", "Audited", "by somebody else");
    status["conditions"].as_array_mut().unwrap().push(foreign);
    lab.patch_status(&config_ref(), json!({"status": status})).await;
    lab.patch(
        &config_ref(),
        json!({"metadata": {"labels": {USERS: "kept"}, "annotations": {USERS: "kept"}}}),
    )
    .await;
}

async fn users_fields_are_there(lab: &Lab) {
    for object in kept(lab).await.into_iter().chain([lab.config().await]) {
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
    let config = lab.config().await;
    assert!(is(&config, "ExampleAudited", "True", "Audited"), "{config}");
    let operator = lab
        .get(&ObjectRef::new(Kind::ClusterOperator, "", "image-registry"))
        .await
        .unwrap();
    assert!(is(&operator, "ExampleFamiliar", "True", "Foreign"), "{operator}");
}

/// How often each object was written since; creations and deletions stand out by their verb.
fn count(lab: &Lab, since: Mark) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in lab.requests(since).writes().events() {
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

/// Starts the operator and waits until it has taken the workloads over and rests.
async fn take_over(lab: &Lab, environment: &[(&str, &str)]) -> (Operator, BTreeMap<String, usize>) {
    let mark = lab.mark();
    let operator = lab.operator_with(environment).await;
    synced(lab, &operator).await;
    // Words may wait for a moment.
    tokio::time::sleep(Duration::from_secs(1)).await;
    lab.settle().await;
    let count = count(lab, mark);
    eprintln!("{count:#?}");
    (operator, count)
}

async fn synced(lab: &Lab, operator: &Operator) {
    let began = Instant::now();
    while !operator.log().contains("all watches are in sync") {
        assert!(began.elapsed() < lab.patience, "{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Our node-ca runs the same image as theirs.
const SAME_IMAGE: &[(&str, &str)] = &[("OPERATOR_IMAGE", go::IMAGE)];

/// At most one write an object, none made or deleted. The ClusterOperator repeats what two others say, each when it says it,
/// and adds what the Go operator did not say.
fn assert_once(counts: &BTreeMap<String, usize>) {
    for (what, times) in counts {
        let most = match what.as_str() {
            "write clusteroperators/status image-registry" => 3,
            "write configs/status cluster" => 2,
            _ => 1,
        };
        assert!(*times <= most && what.starts_with("write"), "{what} {times} times");
    }
}

/// What the Go operator alone had set, and nobody wants, is gone from the Deployment.
async fn nothing_is_left(lab: &Lab) {
    let live = lab.get(&deployment()).await.unwrap();
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
    // The record of who set what stays complete.
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

/// The Go operator can read all of it, and nothing in it is unknown to it.
async fn go_can_read(lab: &Lab) {
    let config = lab.config().await;
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
        let Some(live) = lab.get(&operand(kind, name)).await else {
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

async fn lease(lab: &Lab) -> k8s_openapi::api::coordination::v1::LeaseSpec {
    let api: Api<Lease> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    api.get("openshift-master-controllers").await.unwrap().spec.unwrap()
}

/// Stops ours; the lease is free then.
async fn give_back(lab: &Lab, operator: Operator) {
    let holder = lease(lab).await.holder_identity.unwrap();
    let (host, id) = holder.split_once('_').unwrap();
    assert!(!host.is_empty() && id.len() == 36, "{holder}");
    assert!(operator.stop().await.success());
    let left = lease(lab).await;
    assert_eq!(left.holder_identity.as_deref(), Some(""));
    assert_eq!(left.lease_duration_seconds, Some(1));
}

/// There, again, back, and there again: each time without a pod's end.
async fn course(lab: &Lab, go: &Go<'_>) {
    go.install().await;
    users_touch_everything(lab).await;
    let before = running(lab).await;
    let config = lab.config().await;
    let (operator, counts) = take_over(lab, SAME_IMAGE).await;
    lab.until_config("up", is_up).await;
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
    assert_eq!(running(lab).await, before);
    users_fields_are_there(lab).await;
    nothing_is_left(lab).await;
    assert_eq!(lab.config().await["spec"], config["spec"]);
    go_can_read(lab).await;
    give_back(lab, operator).await;

    let (operator, counts) = take_over(lab, SAME_IMAGE).await;
    assert_eq!(counts, BTreeMap::new(), "a second start has nothing to write");
    give_back(lab, operator).await;

    // The way back: it sees other digests, and writes its form.
    let written = go.pass().await;
    for workload in [
        deployment(),
        operand(Kind::DaemonSet, names::NODE_CA),
        operand(Kind::CronJob, names::PRUNER_CRON_JOB),
    ] {
        assert!(written.contains(&format!("update {workload}")), "{written:?}");
    }
    assert_eq!(go.pass().await, Vec::<String>::new());
    go.rolled_out().await;
    assert_eq!(running(lab).await, before);
    go.report().await;

    let (operator, counts) = take_over(lab, SAME_IMAGE).await;
    assert_once(&counts);
    assert_eq!(running(lab).await, before);
    assert!(operator.stop().await.success());
}

// workload 61
#[tokio::test]
async fn an_ephemeral_registry_changes_hands_without_a_pods_end() {
    let lab = cluster().await;
    course(&lab, &Go::new(&lab, EMPTY_DIR, json!({}))).await;
}

// workload 61
#[tokio::test]
async fn two_replicas_on_a_claim_with_routes_change_hands_without_a_pods_end() {
    let lab = cluster().await;
    zones(&lab, json!("south-2")).await;
    let volume = format!("takeover-{}", names::DEFAULT_CLAIM);
    lab.cluster.host_volume(&volume, &["ReadWriteMany"]).await.unwrap();
    let storage = json!({"managementState": "Managed", "pvc": {"claim": names::DEFAULT_CLAIM}});
    let routes = json!([{"name": "public", "hostname": "registry.example.com", "secretName": "public-tls"}]);
    let mut go = Go::new(
        &lab,
        CLAIM_ZONED,
        json!({"replicas": 2, "storage": storage, "defaultRoute": true, "routes": routes}),
    );
    let signed = rcgen::generate_simple_self_signed(vec!["registry.example.com".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    go.route = Some((certificate.clone(), key.clone()));
    let data = json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": certificate});
    lab.create(
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "stringData": data,
                      "metadata": {"name": "public-tls", "namespace": names::NAMESPACE}}),
    )
    .await;
    go.create(&json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": names::DEFAULT_CLAIM, "namespace": names::NAMESPACE, "annotations": {names::OWNED_ANNOTATION: "true"}},
        "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "100Gi"}}}}))
        .await;
    course(&lab, &go).await;
    let claim = lab
        .get(&operand(Kind::PersistentVolumeClaim, names::DEFAULT_CLAIM))
        .await
        .unwrap();
    assert_eq!(claim["metadata"].get("deletionTimestamp"), None);
    zones(&lab, json!(null)).await;
}

// workload 61
#[tokio::test]
async fn overrides_and_proxies_change_hands_without_a_pods_end() {
    let lab = cluster().await;
    let proxy = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
    let spec = json!({"httpProxy": "http://cluster.proxy.test:3128", "httpsProxy": "http://cluster.proxy.test:3129",
                      "noProxy": ".cluster.local"});
    lab.patch(&proxy, json!({"spec": spec})).await;
    lab.until(&proxy, "told", |o| {
        o.is_some_and(|o| o["status"]["noProxy"] == ".cluster.local")
    })
    .await;
    let overrides = json!({"deployment": {"annotations": {"tuning.example.com/profile": "fast"}}});
    let requests = json!({"read": {"maxRunning": 7, "maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}});
    let go = Go::new(
        &lab,
        OVERRIDES_PROXY,
        json!({"unsupportedConfigOverrides": overrides, "logLevel": "Debug", "readOnly": true,
        "requests": requests, "proxy": {"http": "http://own.proxy.test:3128"}}),
    );
    course(&lab, &go).await;
    let live = lab.get(&deployment()).await.unwrap();
    assert_eq!(live["metadata"]["annotations"]["tuning.example.com/profile"], "fast");
    lab.patch(
        &proxy,
        json!({"spec": {"httpProxy": null, "httpsProxy": null, "noProxy": null}}),
    )
    .await;
}

/// An earlier release than ours: what it told, set and ran, and nobody does any more, goes; one rollout is due.
#[tokio::test]
async fn what_an_earlier_release_left_goes_with_one_rollout() {
    let lab = cluster().await;
    lab.platform("Azure").await;
    let mut go = Go::new(&lab, EMPTY_DIR, json!({}));
    go.edit = |deployment| {
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        env.insert(3, json!({"name": "REGISTRY_FORMER_SETTING", "value": "on"}));
    };
    go.install().await;
    users_touch_everything(&lab).await;
    let mut role = lab
        .get(&ObjectRef::new(Kind::ClusterRole, "", names::REGISTRY_CLUSTER_ROLE))
        .await
        .unwrap();
    role["rules"].as_array_mut().unwrap().truncate(3);
    go.put(&go::reference(&role), &role).await;
    go.create(&json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": names::AZURE_PATH_FIX_JOB, "namespace": names::NAMESPACE},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "x", "image": "localhost/x:dev"}]}}}}))
        .await;
    let mut status = lab.config().await["status"].clone();
    let conditions = status["conditions"].as_array_mut().unwrap();
    conditions.push(condition("AzurePathFixProgressing", "False", "AsExpected", ""));
    conditions.push(condition("AzurePathFixControllerDegraded", "False", "", ""));
    for condition in conditions.iter_mut().filter(|c| c["type"] != "ExampleAudited") {
        condition.as_object_mut().unwrap().remove("reason");
    }
    go.put_status(&config_ref(), status).await;
    let before = running(&lab).await;

    let (operator, counts) = take_over(&lab, &[]).await;
    lab.until_config("up", is_up).await;
    lab.settle().await;
    for (what, times) in &counts {
        assert!(what.contains("/status") || *times == 1, "{what} {times} times");
    }
    assert_eq!(counts.get("write deployments image-registry"), Some(&1));
    assert_eq!(counts.get("write clusterroles system:registry"), Some(&1));
    let live = lab.get(&deployment()).await.unwrap();
    assert!(
        !live.to_string().contains("REGISTRY_FORMER_SETTING\",\"value"),
        "{live}"
    );
    let sets = |all: &BTreeMap<String, String>| all.keys().filter(|name| name.matches('-').count() == 2).count();
    assert_eq!(sets(&running(&lab).await), sets(&before) + 1, "one rollout");
    users_fields_are_there(&lab).await;
    nothing_is_left(&lab).await;
    go_can_read(&lab).await;
    lab.until_absent(&operand(Kind::Job, names::AZURE_PATH_FIX_JOB)).await;
    assert!(operator.stop().await.success());
}

/// Taken over in the middle of a rollout of the former operator: it goes on to its end as it began.
#[tokio::test]
async fn a_rollout_that_is_under_way_goes_on() {
    let lab = cluster().await;
    let mut go = Go::new(&lab, EMPTY_DIR, json!({}));
    go.install().await;
    lab.cluster.pause_simulated_pods().unwrap();
    lab.edit(json!({"logLevel": "Debug"})).await;
    go.edit = |deployment| {
        let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
            .as_array_mut()
            .unwrap();
        env.iter_mut().find(|e| e["name"] == "REGISTRY_LOG_LEVEL").unwrap()["value"] = json!("debug");
    };
    assert_eq!(go.pass().await, [format!("update {}", deployment())]);
    let began = Instant::now();
    while running(&lab).await.len() < 4 {
        assert!(began.elapsed() < lab.patience, "two pods, two ReplicaSets");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = running(&lab).await;
    let (operator, counts) = take_over(&lab, SAME_IMAGE).await;
    assert_once(&counts);
    assert_eq!(counts.get("write deployments image-registry"), Some(&1));
    let config = lab
        .until_config("in progress", |c| {
            is(c, "Progressing", "True", "DeploymentNotCompleted")
        })
        .await;
    assert!(is(&config, "Available", "True", "MinimumAvailability"), "{config}");
    assert_eq!(
        running(&lab).await.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    lab.cluster.resume_simulated_pods().unwrap();
    lab.until_config("up", is_up).await;
    let after = running(&lab).await;
    assert!(
        after.keys().all(|name| before.contains_key(name)),
        "{before:#?}\n{after:#?}"
    );
    assert!(operator.stop().await.success());
}

/// What is not the registry is taken over in every state; of the registry nothing is made, changed or deleted.
#[tokio::test]
async fn a_removed_registry_stays_removed() {
    let lab = cluster().await;
    let mut go = Go::new(&lab, EMPTY_DIR, json!({"managementState": "Removed"}));
    go.managed = false;
    go.install().await;
    users_touch_everything(&lab).await;
    only_what_is_always_there_is_written(&lab).await;
    assert!(lab.get(&deployment()).await.is_none());
}

#[tokio::test]
async fn an_unmanaged_registry_is_left_alone() {
    let lab = cluster().await;
    let go = Go::new(&lab, EMPTY_DIR, json!({}));
    go.install().await;
    lab.edit(json!({"managementState": "Unmanaged"})).await;
    go.report().await;
    users_touch_everything(&lab).await;
    let before = running(&lab).await;
    only_what_is_always_there_is_written(&lab).await;
    assert_eq!(running(&lab).await, before);
    let live = lab.get(&deployment()).await.unwrap();
    assert_eq!(
        live["metadata"]["annotations"][go::LEFT],
        "an override that was removed"
    );
}

async fn only_what_is_always_there_is_written(lab: &Lab) {
    let config = lab.config().await;
    let (operator, counts) = take_over(lab, SAME_IMAGE).await;
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
    let now = lab.config().await;
    assert_eq!(now["spec"], config["spec"]);
    assert_eq!(now["status"]["storage"], config["status"]["storage"]);
    users_fields_are_there(lab).await;
    go_can_read(lab).await;
    give_back(lab, operator).await;
}

// workload 63
#[tokio::test]
async fn a_workload_whose_generation_is_not_recorded_is_written_once() {
    let lab = cluster().await;
    Go::new(&lab, EMPTY_DIR, json!({})).install().await;
    let (operator, _) = take_over(&lab, SAME_IMAGE).await;
    give_back(&lab, operator).await;
    let before = running(&lab).await;
    lab.patch_status(&config_ref(), json!({"status": {"generations": []}}))
        .await;
    let (operator, counts) = take_over(&lab, SAME_IMAGE).await;
    assert_once(&counts);
    for workload in ["write deployments image-registry", "write daemonsets node-ca"] {
        assert_eq!(counts.get(workload), Some(&1), "{workload}: {counts:#?}");
    }
    assert_eq!(running(&lab).await, before);
    go_can_read(&lab).await;
    assert!(operator.stop().await.success());
}
