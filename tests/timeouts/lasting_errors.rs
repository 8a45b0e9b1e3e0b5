//! Controllers that cannot write: which conditions report it, and when.
//!
//! A ValidatingAdmissionPolicy of the API server refuses the operator's writes to some kinds.

use std::time::{Duration, Instant};

use image_registry_operator::names;
use kube::Client;
use serde_json::{Value, json};

use crate::support::operator::ACCOUNT;
use crate::support::pruner::until_arguments;
use crate::support::{
    STATES, TestCluster, ca_map, cluster_operator, condition, cron_job, daemon_set, deployment, eventually, image,
    image_pruner, is, simulated,
};

const MESSAGE: &str = "a test refuses this";

/// A policy that refuses writes of the operator until it is lifted.
struct Refusal {
    name: &'static str,
}

async fn send(client: &Client, method: &str, path: String, body: Value) -> kube::Result<Value> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(&body).unwrap()
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    client.request(request.body(body).unwrap()).await
}

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";

impl Refusal {
    /// Refuses writes to kinds, given as group and resource.
    async fn of(cluster: &TestCluster, name: &'static str, kinds: &[(&str, &str)]) -> Self {
        let rules = kinds.iter().map(|(group, resource)| {
            json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]})
        });
        let expression = format!(
            "request.userInfo.username == 'system:serviceaccount:{}:{ACCOUNT}'",
            names::NAMESPACE
        );
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules.collect::<Vec<_>>()},
                "matchConditions": [{"name": "operator", "expression": expression}],
                "validations": [{"expression": "false", "message": MESSAGE}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        send(&cluster.client, "POST", POLICIES.to_owned(), policy)
            .await
            .unwrap();
        send(&cluster.client, "POST", BINDINGS.to_owned(), binding)
            .await
            .unwrap();
        Self { name }
    }

    async fn lift(self, cluster: &TestCluster) {
        send(
            &cluster.client,
            "DELETE",
            format!("{BINDINGS}/{}", self.name),
            Value::Null,
        )
        .await
        .unwrap();
        send(
            &cluster.client,
            "DELETE",
            format!("{POLICIES}/{}", self.name),
            Value::Null,
        )
        .await
        .unwrap();
    }
}

/// Waits until the API server refuses, or accepts again, that the operator creates this object.
async fn until_refused(cluster: &TestCluster, path: &str, object: &Value, refused: bool) {
    let kubeconfig = cluster
        .devcluster
        .service_account_kubeconfig(names::NAMESPACE, "cluster-image-registry-operator")
        .await
        .unwrap();
    let client = devcluster::client_from(&kubeconfig).await.unwrap();
    eventually("the policy is in force", async || {
        match send(&client, "POST", format!("{path}?dryRun=All"), object.clone()).await {
            Ok(_) => !refused,
            Err(kube::Error::Api(status)) => refused && status.message.contains(MESSAGE),
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}

async fn map_refused(cluster: &TestCluster, refused: bool) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    until_refused(
        cluster,
        "/api/v1/namespaces/openshift-config-managed/configmaps",
        &map,
        refused,
    )
    .await;
}

async fn set_refused(cluster: &TestCluster, refused: bool) {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "localhost/none"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "probe"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    until_refused(
        cluster,
        "/apis/apps/v1/namespaces/openshift-image-registry/daemonsets",
        &set,
        refused,
    )
    .await;
}

const CERTIFICATES: &str = "ImageRegistryCertificatesControllerDegraded";
const NODE_CA: &str = "NodeCADaemonControllerDegraded";
const IMAGE_CONFIG: &str = "ImageConfigControllerDegraded";

/// Types of the Config's `...Degraded` conditions that are not False.
fn degraded(config: &Value) -> Vec<&str> {
    let conditions = config["status"]["conditions"].as_array().unwrap();
    let wrong = conditions
        .iter()
        .filter(|c| c["type"].as_str().unwrap().ends_with("Degraded") && c["status"] != "False");
    wrong.map(|c| c["type"].as_str().unwrap()).collect()
}

// lifecycle 88, 104, 123, workload 9, 82
// In part: 9 (across loops).
#[tokio::test]
async fn a_controller_that_cannot_write_degrades_its_own_condition_and_blocks_no_other() {
    let mut options = simulated("errors");
    options.imagestreams = true;
    let cluster = TestCluster::exclusive(options).await;
    let _operator = cluster.start_registry(json!({})).await;
    // Two controllers report an error at once, two only an error that lasts.
    let at_once = Refusal::of(&cluster, "at-once", &[("", "configmaps"), ("batch", "cronjobs")]).await;
    let lasting = Refusal::of(
        &cluster,
        "lasting",
        &[("apps", "daemonsets"), ("config.openshift.io", "images/status")],
    )
    .await;
    map_refused(&cluster, true).await;
    set_refused(&cluster, true).await;
    let began = Instant::now();
    cluster.delete(&daemon_set()).await;
    cluster
        .patch_status(
            &image(),
            json!({"status": {"internalRegistryHostname": "wrong.example.com"}}),
        )
        .await;
    cluster.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    cluster
        .patch(&cron_job(), json!({"spec": {"schedule": "1 1 * * *"}}))
        .await;

    let config = cluster
        .until_config("degraded", |c| {
            is(c, CERTIFICATES, "True", "Error") && is(c, "NodeCADaemonAvailable", "False", "NotFound")
        })
        .await;
    assert!(condition(&config, CERTIFICATES).2.contains(MESSAGE));
    let found = cluster
        .until(&image_pruner(), "degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "True", "SyncError"))
        })
        .await
        .unwrap();
    assert!(condition(&found, "Degraded").2.contains(MESSAGE));
    let both = "ImagePrunerSyncError::ImageRegistryCertificatesControllerError";
    cluster
        .until(&cluster_operator(), "degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "True", both))
        })
        .await;
    assert_eq!(degraded(&cluster.config().await), [CERTIFICATES]);

    // The controllers recover by themselves.
    at_once.lift(&cluster).await;
    cluster
        .until_config("not degraded", |c| is(c, CERTIFICATES, "False", "AsExpected"))
        .await;
    cluster
        .until(&image_pruner(), "not degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
        })
        .await;
    cluster
        .patch_status(
            &image(),
            json!({"status": {"internalRegistryHostname": "image-registry.openshift-image-registry.svc:5000"}}),
        )
        .await;

    // The registry works in every state. So does the pruner; nobody can reset the host name by which it knows the registry.
    for state in STATES {
        cluster.enter_state(state).await;
        until_arguments(&cluster, state).await;
    }
    cluster.edit(json!({"replicas": 2})).await;
    cluster
        .until(&deployment(), "with two replicas", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 2)
        })
        .await;
    cluster
        .patch_status(
            &image(),
            json!({"status": {"externalRegistryHostnames": ["wrong.example.com"]}}),
        )
        .await;
    cluster.enter_state("Unmanaged").await;
    until_arguments(&cluster, "Unmanaged").await;
    lasts(&cluster, began).await;

    lasting.lift(&cluster).await;
    set_refused(&cluster, false).await;
    cluster.enter_state("Managed").await;
    let well = |c: &Value| {
        is(c, NODE_CA, "False", "AsExpected") && is(c, IMAGE_CONFIG, "False", "AsExpected") && degraded(c).is_empty()
    };
    cluster.until_config("not degraded", well).await;
    cluster.until_present(&daemon_set()).await;
    cluster
        .until(&cluster_operator(), "not degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
        })
        .await;
}

/// Waits for the two minutes after which a lasting error is reported; no other event wakes the controllers.
async fn lasts(cluster: &TestCluster, began: Instant) {
    cluster.settle().await;
    let config = cluster.config().await;
    assert!(
        began.elapsed() < Duration::from_secs(118),
        "the test itself took too long"
    );
    assert_eq!(degraded(&config), Vec::<&str>::new());
    let reports = |c: &Value| is(c, NODE_CA, "True", "Error") && is(c, IMAGE_CONFIG, "True", "Error");
    let mut config = config;
    while !reports(&config) {
        assert!(
            began.elapsed() < Duration::from_secs(135),
            "not reported in time: {}",
            config["status"]
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
        config = cluster.config().await;
        assert!(
            began.elapsed() > Duration::from_secs(119) || degraded(&config).is_empty(),
            "reported too early"
        );
    }
    assert!(condition(&config, NODE_CA).2.contains(MESSAGE) && condition(&config, IMAGE_CONFIG).2.contains(MESSAGE));
    assert_eq!(condition(&config, "Degraded").0, "False");
    let both = "ImageConfigControllerError::NodeCADaemonControllerError";
    cluster
        .until(&cluster_operator(), "degraded", |o| {
            o.is_some_and(|o| condition(o, "Degraded").1.contains(both))
        })
        .await;
}
