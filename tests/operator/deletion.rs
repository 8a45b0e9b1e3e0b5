//! Deletion of the Config: what the operator deletes with it, what it keeps, and which Config follows.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{TestCluster, ca_map, condition, config_ref, deployment, is, operand, operands, texts, uid};
use crate::{empty_cluster, registry};

const CLAIM: &str = names::DEFAULT_CLAIM;

/// Deletes the Config and waits for its successor, which is the default of platform None.
async fn deleted_and_fresh(cluster: &TestCluster) -> Value {
    let old = cluster.config().await;
    cluster.delete(&config_ref()).await;
    is_fresh(cluster, &old).await
}

async fn is_fresh(cluster: &TestCluster, old: &Value) -> Value {
    let fresh = |c: &Value| uid(c) != uid(old) && is(c, "Available", "True", "Removed");
    let config = cluster.until_config("created again", fresh).await;
    assert_eq!(config["spec"]["managementState"], "Removed");
    assert_eq!(config["spec"]["storage"], json!({}));
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    for reference in operands() {
        assert!(cluster.get(&reference).await.is_none(), "{reference} is still there");
    }
    config
}

/// Switches the registry to the claim that the operator creates.
async fn on_own_claim(cluster: &TestCluster) {
    cluster
        .edit(json!({"storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let applied = |c: &Value| {
        c.pointer("/status/storage/pvc/claim") == Some(&json!(CLAIM)) && c["status"]["storageManaged"] == true
    };
    cluster.until_config("on its claim", applied).await;
    cluster
        .until(&deployment(), "on its claim", |o| {
            o.is_some_and(|o| {
                o.pointer("/spec/template/spec/volumes/0/persistentVolumeClaim/claimName") == Some(&json!(CLAIM))
            })
        })
        .await;
}

// lifecycle 113, workload 108
#[tokio::test]
async fn deletion_removes_objects_and_owned_data_and_a_default_config_follows() {
    let (cluster, mut operator) = registry(json!({})).await;
    on_own_claim(&cluster).await;
    deleted_and_fresh(&cluster).await;
    cluster.until_absent(&operand(Kind::PersistentVolumeClaim, CLAIM)).await;
    assert!(operator.is_running());
}

// lifecycle 114
#[tokio::test]
async fn deletion_while_unmanaged_keeps_the_data() {
    let (cluster, mut operator) = registry(json!({})).await;
    on_own_claim(&cluster).await;
    let claim = operand(Kind::PersistentVolumeClaim, CLAIM);
    let before = cluster.get(&claim).await.unwrap();
    cluster.edit(json!({"managementState": "Unmanaged"})).await;
    cluster
        .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    let mark = cluster.mark();
    deleted_and_fresh(&cluster).await;
    cluster.settle().await;
    let after = cluster.get(&claim).await.unwrap();
    assert_eq!(uid(&before), uid(&after));
    assert_eq!(after["metadata"].get("deletionTimestamp"), None);
    let writes = cluster.writes(mark);
    assert!(
        !writes.iter().any(|w| w.contains("persistentvolumeclaims")),
        "{writes:?}"
    );
    assert!(operator.is_running());
}

// lifecycle 115
#[tokio::test]
async fn a_foreign_finalizer_stays_and_blocks_nothing_else() {
    let (cluster, _operator) = registry(json!({})).await;
    let old = cluster.config().await;
    let both = json!(["example.com/keep", names::FINALIZER]);
    cluster
        .patch(&config_ref(), json!({"metadata": {"finalizers": both}}))
        .await;
    cluster.delete(&config_ref()).await;
    cluster
        .until_config("without our finalizer", |c| {
            c["metadata"]["finalizers"] == json!(["example.com/keep"])
        })
        .await;
    for reference in operands() {
        cluster.until_absent(&reference).await;
    }
    cluster.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    cluster
        .until(&ca_map(), "restored", |o| {
            o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
        })
        .await;
    cluster.settle().await;
    assert_eq!(uid(&cluster.config().await), uid(&old));
    cluster
        .patch(&config_ref(), json!({"metadata": {"finalizers": null}}))
        .await;
    is_fresh(&cluster, &old).await;
}

#[tokio::test]
async fn a_deletion_without_a_running_operator_is_completed_by_the_next_one() {
    let (cluster, operator) = registry(json!({})).await;
    on_own_claim(&cluster).await;
    cluster.settle().await;
    assert!(operator.stop().await.success());
    let old = cluster.config().await;
    cluster.delete(&config_ref()).await;
    let _next = cluster.operator().await;
    is_fresh(&cluster, &old).await;
    cluster.until_absent(&operand(Kind::PersistentVolumeClaim, CLAIM)).await;
}

// A pod that has ended uses no storage, and its object may exist for long.
#[tokio::test]
async fn a_pod_that_has_ended_does_not_delay_the_removal() {
    let (cluster, _operator) = registry(json!({})).await;
    let labels = json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE});
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "ended", "namespace": names::NAMESPACE, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "localhost/none"}], "schedulerName": "nobody"},
        }))
        .await;
    let pod = operand(Kind::Pod, "ended");
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("waiting for the pod", |c| {
            condition(c, "Progressing").2.contains("Pod ended")
        })
        .await;
    cluster.patch_status(&pod, json!({"status": {"phase": "Failed"}})).await;
    cluster
        .until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    assert!(cluster.get(&pod).await.is_some());
    cluster.delete(&pod).await;
}

// lifecycle 51
#[tokio::test]
async fn without_credentials_the_removal_ends_in_the_cluster_and_says_what_is_left() {
    let cluster = empty_cluster().await;
    cluster.platform("AWS").await;
    let storage = json!({"managementState": "Managed", "s3": {"bucket": "blue", "region": "eu-south-9"}});
    let mut config = TestCluster::managed(storage.clone());
    config["spec"]["managementState"] = json!("Removed");
    cluster.create(config).await;
    let status = json!({"status": {"storage": storage, "storageManaged": true}});
    cluster.patch_status(&config_ref(), status).await;
    let _operator = cluster.operator().await;
    let removed = |c: &Value| is(c, "Progressing", "False", "Removed") && is(c, "Available", "True", "Removed");
    let config = cluster.until_config("removed", removed).await;
    let (_, _, left) = condition(&config, "StorageExists");
    assert!(
        left.starts_with("S3 blue is left with its images: no credentials"),
        "{left}"
    );
    assert!(
        is(&config, "Degraded", "False", "Removed"),
        "{:?}",
        condition(&config, "Degraded")
    );
    assert_eq!(config["status"]["storage"]["s3"]["bucket"], "blue");
    // The conditions stay, whatever starts a pass.
    cluster.settle().await;
    let before = cluster.config().await;
    cluster.trigger_reconcile("again").await;
    cluster.settle().await;
    assert_eq!(
        cluster.config().await["status"]["conditions"],
        before["status"]["conditions"]
    );
}
