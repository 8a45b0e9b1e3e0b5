//! A take-over from the Go operator and the way back, with what must hold at each step.

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

use super::statuses::condition;
use super::{Go, LEFT, MANAGER, reference};
use crate::support::operator::Operator;
use crate::support::{
    TestCluster, ca_map, cluster_operator, config_ref, cron_job, daemon_set, deployment, is, is_up, operand,
};

/// Label and annotation that users put on every object.
const USERS: &str = "example.com/users";

/// The registry's pods with UID and restarts, and its ReplicaSets with UID, by name.
pub async fn running(cluster: &TestCluster) -> BTreeMap<String, String> {
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
pub async fn users_touch_everything(cluster: &TestCluster) {
    for object in kept(cluster).await {
        let reference = reference(&object);
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

pub async fn users_fields_are_there(cluster: &TestCluster) {
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

impl Go<'_> {
    /// Starts this operator and waits until it has taken the workloads over and is idle. Returns its writes.
    pub async fn take_over(&self) -> (Operator, BTreeMap<String, usize>) {
        let cluster = self.cluster;
        let mark = cluster.mark();
        let operator = cluster.operator_in(&self.environment).await;
        synced(cluster, &operator).await;
        // Changes of messages may be written with a delay.
        tokio::time::sleep(Duration::from_secs(1)).await;
        cluster.settle().await;
        let count = count(cluster, mark);
        eprintln!("{count:#?}");
        (operator, count)
    }
}

async fn synced(cluster: &TestCluster, operator: &Operator) {
    let began = Instant::now();
    while !operator.log().contains("all watches are in sync") {
        assert!(began.elapsed() < cluster.timeout, "{}", operator.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asserts at most one write for each object, and no creation or deletion. The ClusterOperator may be written four times: it
/// adds what the Go operator did not report, and repeats two other statuses as they change, that of the Config up to twice.
pub fn assert_once(counts: &BTreeMap<String, usize>) {
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
pub async fn nothing_is_left(cluster: &TestCluster) {
    let live = cluster.get(&deployment()).await.unwrap();
    for member in ["labels", "annotations"] {
        assert!(
            live["metadata"][member].get(LEFT).is_none(),
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
        managers.contains(&json!(MANAGER)) && managers.contains(&json!("kube-controller-manager")),
        "{managers:?}"
    );
}

/// Asserts that the Go operator can read the Config and knows every condition in it.
pub async fn go_can_read(cluster: &TestCluster) {
    let config = cluster.config().await;
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    let known = [
        "Available",
        "Progressing",
        "Degraded",
        "Removed",
        "StorageExists",
        "StorageEncrypted",
        "StorageIncompleteUploadCleanupEnabled",
        "StorageLabeled",
        "StoragePublicAccessBlocked",
        "StorageTagged",
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
pub async fn give_back(cluster: &TestCluster, operator: Operator) {
    let holder = lease(cluster).await.holder_identity.unwrap();
    let (host, id) = holder.split_once('_').unwrap();
    assert!(!host.is_empty() && id.len() == 36, "{holder}");
    assert!(operator.stop().await.success());
    let left = lease(cluster).await;
    assert_eq!(left.holder_identity.as_deref(), Some(""));
    assert_eq!(left.lease_duration_seconds, Some(1));
}

/// The only writes of a take-over. Settings of object storage that the Go operator did not report as applied are recorded in an annotation
/// of the Config.
fn assert_only_the_workloads_are_written(counts: &BTreeMap<String, usize>, has_settings: bool) {
    assert_once(counts);
    let workloads = [
        "write deployments image-registry",
        "write daemonsets node-ca",
        "write cronjobs image-pruner",
    ];
    for workload in workloads {
        assert_eq!(counts.get(workload), Some(&1), "{workload}");
    }
    let config = has_settings.then_some("write configs cluster");
    let allowed: Vec<_> = workloads.into_iter().chain(config).collect();
    let others = counts
        .keys()
        .filter(|what| !what.contains("/status") && !allowed.contains(&what.as_str()));
    assert_eq!(
        others.collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "equal objects need no write"
    );
}

impl Go<'_> {
    /// Takes a cluster over that the Go operator left at rest: no pod restarts, only the workloads are written, and the Config names the
    /// same storage as before. Returns the operator.
    pub async fn take_over_unchanged(&self) -> Operator {
        let cluster = self.cluster;
        self.install().await;
        users_touch_everything(cluster).await;
        let before = running(cluster).await;
        let config = cluster.config().await;
        let (operator, counts) = self.take_over().await;
        cluster.until_config("up", is_up).await;
        assert_only_the_workloads_are_written(&counts, self.store.as_ref().is_some_and(|store| store.has_settings));
        assert_eq!(running(cluster).await, before);
        users_fields_are_there(cluster).await;
        nothing_is_left(cluster).await;
        let taken = cluster.config().await;
        assert_eq!(taken["spec"], config["spec"]);
        for member in ["storage", "storageManaged"] {
            assert_eq!(taken["status"][member], config["status"][member], "{member}");
        }
        go_can_read(cluster).await;
        operator
    }

    /// The same, then restarts, gives back, and takes over again; no step restarts a pod. Returns the operator.
    pub async fn take_over_and_back(&self) -> Operator {
        let cluster = self.cluster;
        let operator = self.take_over_unchanged().await;
        let before = running(cluster).await;
        give_back(cluster, operator).await;

        let (operator, counts) = self.take_over().await;
        assert_eq!(counts, BTreeMap::new(), "a second start has nothing to write");
        give_back(cluster, operator).await;

        // The Go operator takes over again: it finds other digests and writes its own form.
        let written = self.pass().await;
        for workload in [deployment(), daemon_set(), cron_job()] {
            assert!(written.contains(&format!("update {workload}")), "{written:?}");
        }
        assert_eq!(self.pass().await, Vec::<String>::new());
        self.rolled_out().await;
        assert_eq!(running(cluster).await, before);
        self.report().await;

        let (operator, counts) = self.take_over().await;
        assert_once(&counts);
        assert_eq!(running(cluster).await, before);
        operator
    }
}
