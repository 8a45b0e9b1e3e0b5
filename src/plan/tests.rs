pub(super) mod fixture;

use serde_json::{Value, json};

use self::fixture::{Cluster, pull_secret, secret};
use super::checksum;
use crate::api::{Kind, Sensitive};
use crate::config::facts::{EnvValue, EnvVar};

// workload 1
#[test]
fn the_plan_contains_all_objects_in_order() {
    let plan = Cluster::new(&json!({"defaultRoute": true, "routes": [{"name": "harbour"}]}), []).plan();
    let order: Vec<String> = plan
        .present
        .iter()
        .map(|desired| desired.reference.to_string())
        .collect();
    let ns = "openshift-image-registry";
    let expected = [
        "ClusterRole system:registry".to_owned(),
        "ClusterRoleBinding registry-registry-role".to_owned(),
        format!("ServiceAccount {ns}/registry"),
        format!("Secret {ns}/installation-pull-secrets"),
        format!("Secret {ns}/image-registry-private-configuration"),
        format!("Service {ns}/image-registry"),
        format!("Deployment {ns}/image-registry"),
        format!("PodDisruptionBudget {ns}/image-registry"),
        format!("NetworkPolicy {ns}/image-registry-networkpolicy"),
        format!("Route {ns}/default-route"),
        format!("Route {ns}/harbour"),
    ];
    assert_eq!(order, expected);
    for desired in &plan.present {
        let text = |member: &str| desired.body[member].as_str().unwrap().to_owned();
        assert_eq!(
            Kind::find(&text("apiVersion"), &text("kind")),
            Some(desired.reference.kind)
        );
        for member in ["ownerReferences", "finalizers"] {
            assert!(desired.body["metadata"].get(member).is_none());
        }
    }
}

// workload 7
#[test]
fn a_single_pod_may_be_evicted_and_one_of_several_pods_stays() {
    for (replicas, expected) in [(0, 0), (1, 0), (2, 1), (5, 1)] {
        let plan = Cluster::new(&json!({"replicas": replicas}), []).plan();
        let spec = &plan.desired(Kind::PodDisruptionBudget, "image-registry").unwrap().body["spec"];
        assert_eq!(spec["minAvailable"], expected, "{replicas}");
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    }
}

// workload 12
#[test]
fn the_whole_pull_secret_is_copied() {
    let plan = Cluster::new(&json!({}), []).plan();
    let copy = &plan.desired(Kind::Secret, "installation-pull-secrets").unwrap().body;
    assert_eq!(copy["type"], "kubernetes.io/dockerconfigjson");
    assert_eq!(copy["data"], json!({".dockerconfigjson": "e30=", "other": "b3RoZXI="}));
}

// workload 13
#[test]
fn without_a_pull_secret_only_the_copy_is_missing() {
    let mut cluster = Cluster::new(&json!({}), []);
    cluster.remove(Kind::Secret, "openshift-config", "pull-secret");
    let plan = cluster.plan();
    assert!(plan.desired(Kind::Secret, "installation-pull-secrets").is_none() && plan.absent.is_empty());
    assert!(plan.desired(Kind::Deployment, "image-registry").is_some());
    cluster.put(&secret(
        "installation-pull-secrets",
        "kubernetes.io/dockerconfigjson",
        &json!({}),
    ));
    assert_eq!(
        cluster.plan().absent[0].to_string(),
        "Secret openshift-image-registry/installation-pull-secrets"
    );
}

#[test]
fn a_pull_secret_that_cannot_be_copied_is_reported() {
    for data in [
        json!({"wrong": "e30="}),
        json!({".dockerconfigjson": ""}),
        json!({".dockerconfigjson": null}),
        json!({}),
        Value::Null,
    ] {
        let mut source = pull_secret();
        source["data"] = data.clone();
        let mut cluster = Cluster::new(&json!({}), []);
        cluster.put(&source);
        let plan = cluster.plan();
        let message = &plan.failures[0].message;
        assert!(message.contains("openshift-config/pull-secret"), "{data}: {message}");
        assert!(
            plan.desired(Kind::Secret, "installation-pull-secrets").is_none(),
            "{data}"
        );
        assert!(plan.desired(Kind::Deployment, "image-registry").is_some());
    }
}

// workload 17, workload 20
#[test]
fn the_private_secret_contains_encoded_variables_and_raw_files() {
    let mut cluster = Cluster::new(&json!({}), []);
    let data = |cluster: &Cluster| {
        cluster
            .plan()
            .desired(Kind::Secret, "image-registry-private-configuration")
            .unwrap()
            .body["data"]
            .clone()
    };
    assert_eq!(data(&cluster), json!({}));
    let secret = |text: &str| EnvValue::Secret(Sensitive::new(text));
    cluster.facts.env = vec![
        EnvVar {
            name: "REGISTRY_STORAGE_SWIFT_TOKENID",
            value: secret(""),
        },
        EnvVar {
            name: "REGISTRY_STORAGE_SWIFT_PASSWORD",
            value: secret("10"),
        },
        EnvVar {
            name: "AZURE_SOMETHING",
            value: secret("10"),
        },
        EnvVar {
            name: "REGISTRY_BOTH",
            value: secret("variable"),
        },
    ];
    cluster
        .facts
        .files
        .insert("credentials".to_owned(), Sensitive::new("[default]\nx = y\n"));
    cluster
        .facts
        .files
        .insert("REGISTRY_BOTH".to_owned(), Sensitive::new("file"));
    assert_eq!(
        data(&cluster),
        json!({
            "REGISTRY_STORAGE_SWIFT_TOKENID": "IiI=", // ""
            "REGISTRY_STORAGE_SWIFT_PASSWORD": "IjEwIg==", // "10"
            "AZURE_SOMETHING": "MTA=", // 10
            "REGISTRY_BOTH": "ZmlsZQ==", // file
            "credentials": "W2RlZmF1bHRdCnggPSB5Cg==",
        })
    );
}

#[test]
fn checksums_of_objects_with_secrets_are_keyed() {
    let plan = Cluster::new(&json!({"defaultRoute": true}), []).plan();
    for desired in &plan.present {
        let keyed = matches!(desired.reference.kind, Kind::Secret | Kind::Route | Kind::Deployment);
        let (first, second) = (checksum(desired, "uid-1"), checksum(desired, "uid-2"));
        assert_eq!(first != second, keyed, "{}", desired.reference);
        assert_eq!((first.len(), &first[..7]), (71, "sha256:"));
        assert_eq!(first, checksum(desired, "uid-1"));
    }
}

// workload 70
#[test]
fn debug_output_of_a_plan_contains_no_secrets() {
    let mut cluster = Cluster::new(&json!({"httpSecret": "hunter2"}), []);
    cluster
        .facts
        .files
        .insert("credentials".to_owned(), Sensitive::new("hunter2"));
    let shown = format!("{:?}", cluster.plan());
    assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
}
