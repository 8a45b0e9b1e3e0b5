//! The optional admission policy, on the real API server.

use std::collections::BTreeMap;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{TestCluster, eventually};
use crate::{empty_cluster, support};

const POLICY: &str = include_str!("../../deploy/optional/admission-policy.yaml");
const CASES: &str = include_str!("../data/admission.yaml");
const PATH: &str = "/apis/imageregistry.operator.openshift.io/v1/configs";

/// Creates a Config with `spec` and the defaults of the required fields. `dry_run`: nothing is stored.
async fn create(cluster: &TestCluster, spec: &Value, dry_run: bool) -> http::Response<kube::client::Body> {
    let mut spec = spec.clone();
    let defaults = json!({"managementState": "Managed", "replicas": 1, "logging": 2, "operatorLogLevel": "Normal"});
    for (field, value) in defaults.as_object().unwrap() {
        spec.as_object_mut()
            .unwrap()
            .entry(field.clone())
            .or_insert(value.clone());
    }
    let config = json!({
        "apiVersion": Kind::Config.api_version(), "kind": Kind::Config.kind(),
        "metadata": {"name": names::CLUSTER}, "spec": spec,
    });
    let query = if dry_run { "?dryRun=All" } else { "" };
    let request = http::Request::post(format!("{PATH}{query}"))
        .header("content-type", "application/json")
        .body(kube::client::Body::from(serde_json::to_vec(&config).unwrap()))
        .unwrap();
    cluster.client.send(request).await.unwrap()
}

/// Texts of the header `Warning` with which the API server answers a request that creates a Config.
async fn warnings(cluster: &TestCluster, spec: &Value, dry_run: bool) -> Vec<String> {
    let answer = create(cluster, spec, dry_run).await;
    assert!(answer.status().is_success(), "{} for {spec}", answer.status());
    let texts = answer
        .headers()
        .get_all("warning")
        .iter()
        .map(|header| header.to_str().unwrap().to_owned());
    // 299 - "Validation failed for ValidatingAdmissionPolicy 'NAME' with binding 'NAME': TEXT"
    texts
        .filter(|text| text.contains("ValidatingAdmissionPolicy"))
        .map(|text| {
            text.rsplit_once("': ")
                .unwrap()
                .1
                .trim_end_matches('"')
                .replace("\\\"", "\"")
        })
        .collect()
}

async fn claim(cluster: &TestCluster, name: &str, mode: &str) {
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": names::NAMESPACE},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "none"},
        }))
        .await;
}

fn policies() -> impl Iterator<Item = Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(POLICY).unwrap();
    documents.into_iter()
}

fn path_of(policy: &Value) -> String {
    let resource = match policy["kind"].as_str().unwrap() {
        "ValidatingAdmissionPolicy" => "validatingadmissionpolicies",
        _ => "validatingadmissionpolicybindings",
    };
    format!("/apis/admissionregistration.k8s.io/v1/{resource}")
}

// deploy 56
#[tokio::test]
async fn the_policy_warns_of_common_mistakes_and_of_nothing_else() {
    let cluster = empty_cluster().await;
    let claims = [("single", "ReadWriteOnce"), ("shared", "ReadWriteMany")];
    for (name, mode) in claims {
        claim(&cluster, name, mode).await;
    }
    for policy in policies() {
        cluster.create_raw(&path_of(&policy), policy).await;
    }
    let cases: Vec<Value> = serde_saphyr::from_str(CASES).unwrap();
    let expected = |case: &Value| -> Vec<String> {
        let texts = case["warnings"].as_array().into_iter().flatten();
        texts.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    // The API server learns of policies, bindings and claims a moment after they are stored.
    for case in cases.iter().filter(|case| case["warnings"].is_array()) {
        eventually(case["case"].as_str().unwrap(), async || {
            warnings(&cluster, &case["spec"], true).await == expected(case)
        })
        .await;
    }
    for case in cases.iter().filter(|case| case["warnings"].is_null()) {
        assert_eq!(
            warnings(&cluster, &case["spec"], true).await,
            Vec::<String>::new(),
            "{}",
            case["case"]
        );
    }
    for (scenario, spec) in golden_configs() {
        assert_eq!(
            warnings(&cluster, &spec, true).await,
            Vec::<String>::new(),
            "{scenario}"
        );
    }
    // Not refused: the Config is stored.
    let two = json!({"storage": {"emptyDir": {}, "s3": {"bucket": "images"}}});
    assert_eq!(warnings(&cluster, &two, false).await.len(), 1);
    assert!(cluster.config().await["spec"]["storage"]["s3"].is_object());
    denied(&cluster).await;

    cluster.delete(&support::config_ref()).await;
    for policy in policies() {
        let path = format!("{}/{}", path_of(&policy), policy["metadata"]["name"].as_str().unwrap());
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        cluster.client.request::<Value>(request).await.unwrap();
    }
    for (name, _) in claims {
        let claim = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, name);
        cluster.delete(&claim).await;
    }
    // The binding denies until the API server notices that it is gone, and the next tests store Configs with mistakes.
    eventually("the API server no longer applies the policy", async || {
        let answer = create(&cluster, &two, true).await;
        answer.status().is_success() && !answer.headers().contains_key("warning")
    })
    .await;
}

/// With `Deny`, a stored mistake gets in nobody's way: neither in that of the operator, nor in that of whoever removes the finalizer.
async fn denied(cluster: &TestCluster) {
    for binding in policies().filter(|policy| policy["kind"] == "ValidatingAdmissionPolicyBinding") {
        let path = format!(
            "{}/{}",
            path_of(&binding),
            binding["metadata"]["name"].as_str().unwrap()
        );
        let deny = json!({"spec": {"validationActions": ["Deny"]}});
        let request = http::Request::patch(path).header("content-type", "application/merge-patch+json");
        let request = request.body(serde_json::to_vec(&deny).unwrap()).unwrap();
        cluster.client.request::<Value>(request).await.unwrap();
    }
    let operator = format!(
        "system:serviceaccount:{}:{}",
        names::NAMESPACE,
        names::OPERATOR_DEPLOYMENT
    );
    let patch = async |user: Option<&str>, patch: Value| {
        let mut request = http::Request::patch(format!("{PATH}/{}", names::CLUSTER))
            .header("content-type", "application/merge-patch+json");
        if let Some(user) = user {
            request = request.header("impersonate-user", user);
        }
        let body = kube::client::Body::from(serde_json::to_vec(&patch).unwrap());
        cluster.client.send(request.body(body).unwrap()).await.unwrap().status()
    };
    // Another edit at each attempt: one that changes nothing is never refused.
    let mut seconds = 1;
    let mut edit = || {
        seconds += 1;
        json!({"spec": {"requests": {"read": {"maxWaitInQueue": format!("{seconds}s")}}}})
    };
    eventually("an edit that leaves the mistake is refused", async || {
        patch(None, edit()).await == 422
    })
    .await;
    assert_eq!(patch(Some(&operator), edit()).await, 200);
    assert_eq!(
        patch(None, json!({"metadata": {"finalizers": ["example.com/held"]}})).await,
        200
    );
    assert_eq!(patch(None, json!({"metadata": {"finalizers": null}})).await, 200);
}

/// The Configs of all golden plans, without those that leave a host to the router, which is one of the mistakes.
fn golden_configs() -> BTreeMap<String, Value> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut configs = BTreeMap::new();
    for scenario in std::fs::read_dir(directory).unwrap() {
        let scenario = scenario.unwrap();
        let text = std::fs::read_to_string(scenario.path().join("snapshot.yaml")).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        let config = documents
            .into_iter()
            .find(|object| object["kind"] == Kind::Config.kind())
            .unwrap();
        let mut routes = config["spec"]["routes"].as_array().into_iter().flatten();
        if routes.all(|route| route["hostname"].is_string()) {
            configs.insert(scenario.file_name().into_string().unwrap(), config["spec"].clone());
        }
    }
    assert!(configs.len() > 10);
    configs
}
