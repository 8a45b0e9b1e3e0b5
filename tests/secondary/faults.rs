//! Loops that cannot write: what they tell, and what the others make of it.
//!
//! A ValidatingAdmissionPolicy of the API server itself refuses writes of the operator to some kinds.

use std::time::{Duration, Instant};

use image_registry_operator::names;
use kube::Client;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is};
use crate::{
    STATES, ca_map, cluster_operator, cron_job, daemon_set, deployment, enter, eventually, image, image_pruner, pruner,
    registry,
};

const ACCOUNT: &str = "system:serviceaccount:openshift-image-registry:cluster-image-registry-operator";
const MESSAGE: &str = "a test refuses this";

/// Refuses the operator's writes until it is lifted.
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
    /// Refuses writes to kinds, given as group and resource. In force when this returns.
    async fn of(lab: &Lab, name: &'static str, kinds: &[(&str, &str)]) -> Self {
        let rules = kinds.iter().map(|(group, resource)| {
            json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]})
        });
        let expression = format!("request.userInfo.username == '{ACCOUNT}'");
        let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules.collect::<Vec<_>>()},
                "matchConditions": [{"name": "operator", "expression": expression}],
                "validations": [{"expression": "false", "message": MESSAGE}]}});
        let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
        send(&lab.client, "POST", POLICIES.to_owned(), policy).await.unwrap();
        send(&lab.client, "POST", BINDINGS.to_owned(), binding).await.unwrap();
        Self { name }
    }

    async fn lift(self, lab: &Lab) {
        send(&lab.client, "DELETE", format!("{BINDINGS}/{}", self.name), Value::Null)
            .await
            .unwrap();
        send(&lab.client, "DELETE", format!("{POLICIES}/{}", self.name), Value::Null)
            .await
            .unwrap();
    }
}

/// Waits until the operator may not, or may again, create this.
async fn until_refused(lab: &Lab, path: &str, object: &Value, refused: bool) {
    let kubeconfig = lab
        .cluster
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

async fn map_refused(lab: &Lab, refused: bool) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe"}});
    until_refused(
        lab,
        "/api/v1/namespaces/openshift-config-managed/configmaps",
        &map,
        refused,
    )
    .await;
}

async fn set_refused(lab: &Lab, refused: bool) {
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "localhost/none"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "probe"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    until_refused(
        lab,
        "/apis/apps/v1/namespaces/openshift-image-registry/daemonsets",
        &set,
        refused,
    )
    .await;
}

const CERTIFICATES: &str = "ImageRegistryCertificatesControllerDegraded";
const NODE_CA: &str = "NodeCADaemonControllerDegraded";
const IMAGE_CONFIG: &str = "ImageConfigControllerDegraded";

/// Every condition of the Config about a loop or the registry that says that something is wrong.
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
async fn a_loop_that_cannot_write_degrades_its_own_condition_by_its_own_rule_and_stops_no_other() {
    let (lab, _operator) = registry(json!({})).await;
    // Two loops tell at once, two only of what lasts.
    let at_once = Refusal::of(&lab, "at-once", &[("", "configmaps"), ("batch", "cronjobs")]).await;
    let lasting = Refusal::of(
        &lab,
        "lasting",
        &[("apps", "daemonsets"), ("config.openshift.io", "images/status")],
    )
    .await;
    map_refused(&lab, true).await;
    set_refused(&lab, true).await;
    let began = Instant::now();
    lab.delete(&daemon_set()).await;
    lab.patch_status(
        &image(),
        json!({"status": {"internalRegistryHostname": "wrong.example.com"}}),
    )
    .await;
    lab.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    lab.patch(&cron_job(), json!({"spec": {"schedule": "1 1 * * *"}})).await;

    let config = lab
        .until_config("degraded", |c| {
            is(c, CERTIFICATES, "True", "Error") && is(c, "NodeCADaemonAvailable", "False", "NotFound")
        })
        .await;
    assert!(condition(&config, CERTIFICATES).2.contains(MESSAGE));
    let found = lab
        .until(&image_pruner(), "degraded", |o| {
            o.is_some_and(|o| is(o, "Degraded", "True", "SyncError"))
        })
        .await
        .unwrap();
    assert!(condition(&found, "Degraded").2.contains(MESSAGE));
    let both = "ImagePrunerSyncError::ImageRegistryCertificatesControllerError";
    lab.until(&cluster_operator(), "degraded", |o| {
        o.is_some_and(|o| is(o, "Degraded", "True", both))
    })
    .await;
    assert_eq!(degraded(&lab.config().await), [CERTIFICATES]);

    // They find back by themselves.
    at_once.lift(&lab).await;
    lab.until_config("well", |c| is(c, CERTIFICATES, "False", "AsExpected"))
        .await;
    lab.until(&image_pruner(), "well", |o| {
        o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
    })
    .await;
    lab.patch_status(
        &image(),
        json!({"status": {"internalRegistryHostname": "image-registry.openshift-image-registry.svc:5000"}}),
    )
    .await;

    // The registry goes on in every state; so does the pruner, whose registry is known by a name that nobody takes back now.
    for state in STATES {
        enter(&lab, state).await;
        pruner::until_arguments(&lab, state).await;
    }
    lab.edit(json!({"replicas": 2})).await;
    lab.until(&deployment(), "of two replicas", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 2)
    })
    .await;
    lab.patch_status(
        &image(),
        json!({"status": {"externalRegistryHostnames": ["wrong.example.com"]}}),
    )
    .await;
    enter(&lab, "Unmanaged").await;
    pruner::until_arguments(&lab, "Unmanaged").await;
    lasts(&lab, began).await;

    lasting.lift(&lab).await;
    set_refused(&lab, false).await;
    enter(&lab, "Managed").await;
    let well = |c: &Value| {
        is(c, NODE_CA, "False", "AsExpected") && is(c, IMAGE_CONFIG, "False", "AsExpected") && degraded(c).is_empty()
    };
    lab.until_config("well", well).await;
    lab.until_present(&daemon_set()).await;
    lab.until(&cluster_operator(), "well", |o| {
        o.is_some_and(|o| is(o, "Degraded", "False", "AsExpected"))
    })
    .await;
}

/// Not before two minutes, and then without anything else to wake the loops.
async fn lasts(lab: &Lab, began: Instant) {
    lab.settle().await;
    let config = lab.config().await;
    assert!(
        began.elapsed() < Duration::from_secs(118),
        "the test took too long to tell"
    );
    assert_eq!(degraded(&config), Vec::<&str>::new());
    let told = |c: &Value| is(c, NODE_CA, "True", "Error") && is(c, IMAGE_CONFIG, "True", "Error");
    let mut config = config;
    while !told(&config) {
        assert!(
            began.elapsed() < Duration::from_secs(135),
            "not told in time: {}",
            config["status"]
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
        config = lab.config().await;
        assert!(
            began.elapsed() > Duration::from_secs(119) || degraded(&config).is_empty(),
            "told too early"
        );
    }
    assert!(condition(&config, NODE_CA).2.contains(MESSAGE) && condition(&config, IMAGE_CONFIG).2.contains(MESSAGE));
    assert_eq!(condition(&config, "Degraded").0, "False");
    let both = "ImageConfigControllerError::NodeCADaemonControllerError";
    lab.until(&cluster_operator(), "degraded", |o| {
        o.is_some_and(|o| condition(o, "Degraded").1.contains(both))
    })
    .await;
}
