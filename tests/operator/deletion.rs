//! Deletion of the Config: what goes with it, what stays, and what comes after.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, config_ref, is, operand, texts};
use crate::{ca_map, deployment, operands, registry, uid};

const CLAIM: &str = names::DEFAULT_CLAIM;

/// Deletes the Config and waits for the next one, which is the default of platform None.
async fn deleted_and_fresh(lab: &Lab) -> Value {
    let old = lab.config().await;
    lab.delete(&config_ref()).await;
    is_fresh(lab, &old).await
}

async fn is_fresh(lab: &Lab, old: &Value) -> Value {
    let fresh = |c: &Value| uid(c) != uid(old) && is(c, "Available", "True", "Removed");
    let config = lab.until_config("made anew", fresh).await;
    assert_eq!(config["spec"]["managementState"], "Removed");
    assert_eq!(config["spec"]["storage"], json!({}));
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    for reference in operands() {
        assert!(lab.get(&reference).await.is_none(), "{reference} is still there");
    }
    config
}

/// Moves the registry to the operator's own claim.
async fn on_own_claim(lab: &Lab) {
    lab.edit(json!({"storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let applied = |c: &Value| {
        c.pointer("/status/storage/pvc/claim") == Some(&json!(CLAIM)) && c["status"]["storageManaged"] == true
    };
    lab.until_config("on its claim", applied).await;
    lab.until(&deployment(), "on its claim", |o| {
        o.is_some_and(|o| {
            o.pointer("/spec/template/spec/volumes/0/persistentVolumeClaim/claimName") == Some(&json!(CLAIM))
        })
    })
    .await;
}

// lifecycle 113, workload 108
#[tokio::test]
async fn deletion_takes_objects_and_owned_data_and_a_default_config_follows() {
    let (lab, mut operator) = registry(json!({})).await;
    on_own_claim(&lab).await;
    deleted_and_fresh(&lab).await;
    lab.until_absent(&operand(Kind::PersistentVolumeClaim, CLAIM)).await;
    assert!(operator.is_running());
}

// lifecycle 114
#[tokio::test]
async fn deletion_while_unmanaged_keeps_the_data() {
    let (lab, mut operator) = registry(json!({})).await;
    on_own_claim(&lab).await;
    let claim = operand(Kind::PersistentVolumeClaim, CLAIM);
    let before = lab.get(&claim).await.unwrap();
    lab.edit(json!({"managementState": "Unmanaged"})).await;
    lab.until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    let mark = lab.mark();
    deleted_and_fresh(&lab).await;
    lab.settle().await;
    let after = lab.get(&claim).await.unwrap();
    assert_eq!(uid(&before), uid(&after));
    assert_eq!(after["metadata"].get("deletionTimestamp"), None);
    let writes = lab.writes(mark);
    assert!(
        !writes.iter().any(|w| w.contains("persistentvolumeclaims")),
        "{writes:?}"
    );
    assert!(operator.is_running());
}

// lifecycle 115
#[tokio::test]
async fn a_foreign_finalizer_stays_and_stops_nothing_else() {
    let (lab, _operator) = registry(json!({})).await;
    let old = lab.config().await;
    let both = json!(["example.com/keep", names::FINALIZER]);
    lab.patch(&config_ref(), json!({"metadata": {"finalizers": both}}))
        .await;
    lab.delete(&config_ref()).await;
    lab.until_config("without our finalizer", |c| {
        c["metadata"]["finalizers"] == json!(["example.com/keep"])
    })
    .await;
    for reference in operands() {
        lab.until_absent(&reference).await;
    }
    lab.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    lab.until(&ca_map(), "put right", |o| {
        o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
    })
    .await;
    lab.settle().await;
    assert_eq!(uid(&lab.config().await), uid(&old));
    lab.patch(&config_ref(), json!({"metadata": {"finalizers": null}}))
        .await;
    is_fresh(&lab, &old).await;
}

#[tokio::test]
async fn a_config_is_deleted_while_no_operator_runs_and_the_next_one_finishes_it() {
    let (lab, operator) = registry(json!({})).await;
    on_own_claim(&lab).await;
    lab.settle().await;
    assert!(operator.stop().await.success());
    let old = lab.config().await;
    lab.delete(&config_ref()).await;
    let _next = lab.operator().await;
    is_fresh(&lab, &old).await;
    lab.until_absent(&operand(Kind::PersistentVolumeClaim, CLAIM)).await;
}

// A pod that has ended uses nothing: its object may stay for long.
#[tokio::test]
async fn a_pod_that_has_ended_holds_up_no_removal() {
    let (lab, _operator) = registry(json!({})).await;
    let labels = json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE});
    lab.create(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "ended", "namespace": names::NAMESPACE, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "localhost/none"}], "schedulerName": "nobody"},
    }))
    .await;
    let pod = operand(Kind::Pod, "ended");
    lab.edit(json!({"managementState": "Removed"})).await;
    lab.until_config("waiting for the pod", |c| {
        condition(c, "Progressing").2.contains("Pod ended")
    })
    .await;
    lab.patch_status(&pod, json!({"status": {"phase": "Failed"}})).await;
    lab.until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    assert!(lab.get(&pod).await.is_some());
    lab.delete(&pod).await;
}
