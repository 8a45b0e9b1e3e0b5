//! The default Config of a new cluster on every platform.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::{
    TestCluster, cluster_operator, condition, config_ref, default_claim, eventually, infrastructure, is, merge,
    resource_version, uid,
};
use crate::volumes::failing_webhook;

/// Sets the platform and lets the operator create the Config again.
async fn anew(cluster: &TestCluster, status: Value) -> Value {
    cluster.patch_status(&infrastructure(), json!({"status": status})).await;
    let old = cluster.config().await;
    cluster.delete(&config_ref()).await;
    cluster.until_config("created again", |c| uid(c) != uid(&old)).await
}

// lifecycle 21, 22, 23, 24, 25, 26, 33
#[tokio::test]
async fn every_platform_has_its_own_default_config() {
    let cluster = empty_cluster().await;
    let _operator = cluster.operator().await;
    let first = cluster.until_config("there", |_| true).await;
    assert_eq!(first["metadata"]["finalizers"], json!([names::FINALIZER]));
    let platform = |name: &str, infrastructure: &str, control: &str| {
        json!({"platform": name, "platformStatus": {"type": name}, "infrastructureTopology": infrastructure,
               "controlPlaneTopology": control, "infrastructureName": "kw-abc12"})
    };
    let (single, many) = ("SingleReplica", "HighlyAvailable");
    for (name, infrastructure, control, replicas, state, backend) in [
        ("AWS", many, many, 2, "Managed", "s3"),
        ("AWS", single, single, 1, "Managed", "s3"),
        ("AWS", many, single, 2, "Managed", "s3"),
        ("Azure", many, many, 2, "Managed", "azure"),
        ("GCP", many, many, 2, "Managed", "gcs"),
        ("IBMCloud", many, many, 2, "Managed", "ibmcos"),
        ("PowerVS", many, many, 2, "Managed", "ibmcos"),
        ("BareMetal", many, many, 1, "Removed", ""),
        ("VSphere", many, many, 1, "Removed", ""),
        ("Nutanix", many, many, 1, "Removed", ""),
        ("KubeVirt", many, many, 1, "Removed", ""),
        ("EquinixMetal", many, many, 1, "Removed", ""),
        ("AlibabaCloud", many, many, 1, "Removed", ""),
        ("External", many, many, 1, "Removed", ""),
        ("Libvirt", many, many, 1, "Managed", "emptyDir"),
    ] {
        let what = format!("{name} {infrastructure} {control}");
        let config = anew(&cluster, platform(name, infrastructure, control)).await;
        let spec = &config["spec"];
        assert_eq!(spec["replicas"], replicas, "{what}");
        assert_eq!(spec["managementState"], state, "{what}");
        let backends: Vec<_> = spec["storage"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| *k != "managementState")
            .collect();
        assert_eq!(
            backends,
            [backend].iter().filter(|b| !b.is_empty()).collect::<Vec<_>>(),
            "{what}"
        );
        assert_eq!(spec["rolloutStrategy"], "RollingUpdate", "{what}");
        assert_eq!(
            (&spec["logLevel"], &spec["operatorLogLevel"]),
            (&json!("Normal"), &json!("Normal"))
        );
        assert!(
            spec.pointer("/observedConfig/servingInfo/minTLSVersion").is_some(),
            "{what}"
        );
        assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
        // Here S3 has no region, IBM Cloud no location, and the other clouds have no credentials.
        let missing = match backend {
            "" | "emptyDir" => continue,
            "s3" => "spec.storage.s3.region",
            "ibmcos" => "spec.storage.ibmcos.location",
            _ => "installer-cloud-credentials",
        };
        let reports = |c: &Value| condition(c, "Progressing").2.contains(missing);
        cluster
            .until_config(&format!("{what}: reporting {missing}"), reports)
            .await;
    }
    // The Infrastructure has no platform.
    let bare = json!({"platform": null, "platformStatus": null});
    let config = anew(&cluster, bare).await;
    assert_eq!(config["spec"]["managementState"], "Removed");
}

// lifecycle 34
#[tokio::test]
async fn if_no_config_can_be_created_the_cluster_operator_reports_why() {
    let cluster = empty_cluster().await;
    cluster.platform("OpenStack").await;
    let _operator = cluster.operator().await;
    let failed = |o: &Value| is(o, "Degraded", "True", "BootstrapFailed");
    let reported = cluster
        .until(&cluster_operator(), "degraded", |o| o.is_some_and(failed))
        .await
        .unwrap();
    assert!(
        condition(&reported, "Degraded")
            .2
            .contains("installer-cloud-credentials")
    );
    assert!(cluster.get(&config_ref()).await.is_none());
    cluster.platform("None").await;
    cluster
        .until_config("there", |c| is(c, "Available", "True", "Removed"))
        .await;
    cluster
        .until(&cluster_operator(), "corrected", |o| {
            o.is_some_and(|o| condition(o, "Degraded").0 == "False")
        })
        .await;
}

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const DENIAL: &str = "this cluster always has a registry: choose its storage";

/// Denies every Config with `managementState: Removed`, as the policy of a hosted control plane does.
async fn deny_removed(cluster: &TestCluster, reason: &str) {
    let rules = json!([{"apiGroups": ["imageregistry.operator.openshift.io"], "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"], "resources": ["configs"]}]);
    let denial = json!({"expression": "object.spec.managementState != 'Removed'", "message": DENIAL, "reason": reason});
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-removed"},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": rules}, "validations": [denial]}});
    let binding = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-removed"}, "spec": {"policyName": "no-removed", "validationActions": ["Deny"]}});
    cluster.create_raw(POLICIES, policy).await;
    cluster.create_raw(BINDINGS, binding).await;
    until_denied(cluster, true).await;
}

async fn until_denied(cluster: &TestCluster, denied: bool) {
    let mut config = TestCluster::managed(json!({}));
    config["spec"]["managementState"] = json!("Removed");
    eventually("the policy", async || {
        let request = http::Request::post("/apis/imageregistry.operator.openshift.io/v1/configs?dryRun=All")
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&config).unwrap())
            .unwrap();
        match cluster.client.request::<Value>(request).await {
            Ok(_) => !denied,
            Err(kube::Error::Api(status)) if status.is_already_exists() => !denied, // admission came first
            Err(kube::Error::Api(status)) if status.message.contains(DENIAL) => denied,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
}

async fn allow_removed(cluster: &TestCluster) {
    for path in [BINDINGS, POLICIES] {
        let request = http::Request::delete(format!("{path}/no-removed"))
            .body(Vec::new())
            .unwrap();
        cluster.client.request::<Value>(request).await.unwrap();
    }
    until_denied(cluster, false).await;
}

// deploy 54
#[tokio::test]
async fn a_policy_that_denies_removed_is_reported_in_its_words_and_asked_ever_less_often() {
    for reason in ["Invalid", "Forbidden"] {
        let cluster = empty_cluster().await;
        deny_removed(&cluster, reason).await;
        let mark = cluster.mark();
        let operator = cluster.operator().await;
        let denied =
            |o: &Value| is(o, "Degraded", "True", "BootstrapFailed") && condition(o, "Degraded").2.contains(DENIAL);
        cluster
            .until(&cluster_operator(), "denied", |o| o.is_some_and(denied))
            .await;
        let attempts = || {
            let log = cluster.requests(mark).writes();
            let creates = log
                .events()
                .iter()
                .filter(|event| event.resource == "configs" && event.verb == "create");
            creates.map(|event| event.time).collect::<Vec<_>>()
        };
        eventually("five attempts", async || attempts().len() >= 5).await;
        let times = attempts();
        // In microseconds. Each wait is twice the one before, plus up to a half of it; a busy machine adds to it.
        let waits: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (number, wait) in waits.iter().take(4).enumerate() {
            assert!(*wait >= 200_000 << number, "{reason}: {waits:?}");
        }
        assert!(cluster.get(&config_ref()).await.is_none());
        // Plain Kubernetes has no ClusterOperator.
        cluster.until_event("Warning ConfigNotCreated", DENIAL).await;
        // The cause has one line in the log, not one for each attempt.
        assert_eq!(operator.log().matches("the Config cannot be created: ").count(), 1);

        allow_removed(&cluster).await;
        cluster.until_removed().await;
    }
}

// deploy 54: the second half
#[tokio::test]
async fn where_removed_is_denied_a_config_that_was_there_before_the_start_is_used_as_it_is() {
    let cluster = empty_cluster().await;
    deny_removed(&cluster, "Invalid").await;
    let written = cluster.create_config(json!({"logLevel": "Debug"})).await;
    let _operator = cluster.operator().await;
    let config = cluster.until_up().await;
    assert_eq!(uid(&config), uid(&written));
    // The operator only adds what it fills in.
    let mut merged = config["spec"].clone();
    merge(&mut merged, written["spec"].clone());
    assert_eq!(config["spec"], merged);
    // Nobody may remove the registry, and the attempt changes nothing.
    let edit = cluster
        .try_patch(&config_ref(), json!({"spec": {"managementState": "Removed"}}))
        .await;
    assert!(edit.unwrap_err().to_string().contains(DENIAL));
    cluster.settle().await;
    cluster.until_up().await;
    allow_removed(&cluster).await;
}

// lifecycle 27, 30, 31, 34, storage-volumes 4, 26, 27, 28, 29
#[tokio::test]
async fn on_ovirt_the_operator_creates_a_claim_and_never_deletes_it() {
    let cluster = empty_cluster().await;
    let own = default_claim();
    cluster.platform("oVirt").await;
    cluster.delete_events().await;
    let hook = failing_webhook(&cluster, "persistentvolumeclaims", "").await;
    let operator = cluster.operator().await;
    let pending = |o: &Value, part: &str| {
        let (_, reason, message) = condition(o, "Degraded");
        assert_ne!(reason, "BootstrapFailed", "{message}");
        is(o, "Progressing", "True", "BootstrapPending") && condition(o, "Progressing").2.contains(part)
    };
    cluster
        .until(&cluster_operator(), "without a class", |o| {
            o.is_some_and(|o| pending(o, "ovirt-csi-sc does not exist"))
        })
        .await;
    // A volume of the class is enough. A webhook that does not answer may be back soon.
    let of_class = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "ovirt-csi-sc"});
    cluster.volume("of-its-class", of_class).await;
    cluster
        .until(&cluster_operator(), "failing", |o| {
            o.is_some_and(|o| pending(o, "failing.example.com"))
        })
        .await;
    assert!(cluster.get(&config_ref()).await.is_none());
    hook.remove().await;
    let config = cluster
        .until_config("on its claim", |c| {
            c["status"]["storage"]["pvc"]["claim"] == names::DEFAULT_CLAIM
        })
        .await;
    for event in [
        "Warning PersistentVolumeClaimCreateFailed",
        "Normal PersistentVolumeClaimCreated",
        "Normal ConfigCreated",
        "Normal ClusterOperatorCreated",
        "Normal ImagePrunerCreated",
    ] {
        cluster.until_event(event, "").await;
    }
    let made = cluster.get(&own).await.unwrap();
    assert_eq!(made["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(made["spec"]["storageClassName"], "ovirt-csi-sc");
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert!(made["metadata"]["annotations"].get(names::OWNED_ANNOTATION).is_some());
    assert_eq!(config["spec"]["rolloutStrategy"], "Recreate");
    assert_eq!(config["spec"]["replicas"], 1);
    assert_eq!(config["status"]["storage"]["managementState"], "Unmanaged");
    cluster.settle().await;

    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("removed", |c| {
            is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({})
        })
        .await;
    assert_eq!(uid(&cluster.get(&own).await.unwrap()), uid(&made));
    // A new Config uses the existing claim and does not change it.
    let before = cluster.get(&own).await.unwrap();
    let old = cluster.config().await;
    cluster.delete(&config_ref()).await;
    cluster
        .until_config("created again", |c| {
            uid(c) != uid(&old) && c["status"]["storage"]["pvc"]["claim"] == names::DEFAULT_CLAIM
        })
        .await;
    cluster.settle().await;
    assert_eq!(
        resource_version(&cluster.get(&own).await.unwrap()),
        resource_version(&before)
    );
    // A restart creates no further defaults.
    let before = cluster.config().await;
    assert!(operator.stop().await.success());
    let _operator = cluster.operator().await;
    cluster.until(&cluster_operator(), "there", |o| o.is_some()).await;
    cluster.settle().await;
    assert_eq!(cluster.config().await["spec"], before["spec"]);
    cluster
        .delete(&ObjectRef::new(Kind::PersistentVolume, "", "of-its-class"))
        .await;
}

// A misspelt bucket that the API server dropped would become a bucket of the operator's own.
#[tokio::test]
async fn a_misspelt_field_of_the_environment_creates_no_config() {
    let cluster = empty_cluster().await;
    let given = r#"{"storage": {"s3": {"buket": "images"}}}"#;
    let operator = cluster.operator_with(&[("DEFAULT_CONFIG_SPEC", given)]).await;
    let message = cluster
        .until_event("Warning ConfigNotCreated", "spec.storage.s3.buket")
        .await;
    assert!(message.contains("DEFAULT_CONFIG_SPEC"), "{message}");
    assert!(cluster.get(&config_ref()).await.is_none());
    assert!(operator.stop().await.success());
    let given = r#"{"storage": {"emptyDir": {}}}"#;
    let _operator = cluster.operator_with(&[("DEFAULT_CONFIG_SPEC", given)]).await;
    let config = cluster.until_config("created", |_| true).await;
    assert!(config["spec"]["storage"]["emptyDir"].is_object(), "{config}");
}
