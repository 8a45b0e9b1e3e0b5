use serde_json::{Value, json};

use super::clear;
use crate::api::managed_fields;
use crate::names;

fn reduced(managed: &Value) -> Option<Value> {
    managed_fields::reduced(managed, names::FORMER_MANAGER)
}

fn metadata() -> Value {
    let set = |manager: &str, keys: &[&str]| {
        let keys: serde_json::Map<_, _> = keys.iter().map(|key| (format!("f:{key}"), json!({}))).collect();
        json!({"manager": manager, "operation": "Update", "fieldsV1": {"f:metadata": {"f:annotations": keys}}})
    };
    let of_go_operator = [
        "left.example.com/a",
        "wanted",
        "both",
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "imageregistry.operator.openshift.io/checksum",
    ];
    json!({
        "name": "quux",
        "annotations": {
            "left.example.com/a": "x", "wanted": "x", "both": "x", "deployment.kubernetes.io/revision": "3", "users": "x",
            "deprecated.daemonset.template.generation": "1", "imageregistry.operator.openshift.io/checksum": "x",
        },
        "ownerReferences": [
            {"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "name": "cluster", "uid": "u"},
            {"apiVersion": "example.com/v1", "kind": "Quux", "name": "q", "uid": "v"},
        ],
        "managedFields": [
            set("cluster-image-registry-operator", &of_go_operator), set("kubectl-edit", &["users", "both"]), {"manager": "odd"},
        ],
    })
}

fn cleared(mut metadata: Value) -> Value {
    clear(
        metadata.as_object_mut().unwrap(),
        &json!({"annotations": {"wanted": "x"}}),
    );
    metadata
}

#[test]
fn only_obsolete_keys_that_the_go_operator_alone_set_are_removed() {
    let cleared = cleared(metadata());
    assert_eq!(
        cleared["annotations"],
        json!({
            "wanted": "x", "both": "x", "deployment.kubernetes.io/revision": "3", "users": "x",
            "deprecated.daemonset.template.generation": "1", "imageregistry.operator.openshift.io/checksum": "x",
        })
    );
    assert_eq!(cleared["ownerReferences"].as_array().unwrap().len(), 1);
    assert_eq!(cleared["ownerReferences"][0]["kind"], "Quux");
}

#[test]
fn reduced_managed_fields_give_the_same_result() {
    let mut with_reduced = metadata();
    with_reduced["managedFields"] = reduced(&with_reduced["managedFields"]).unwrap();
    assert_eq!(
        reduced(&with_reduced["managedFields"]).as_ref(),
        Some(&with_reduced["managedFields"])
    );
    assert_eq!(cleared(with_reduced)["annotations"], cleared(metadata())["annotations"]);
    assert_eq!(reduced(&json!([{"manager": "kubectl-edit"}])), None);
    assert_eq!(reduced(&Value::Null), None);
}

#[test]
fn without_managed_fields_no_key_is_removed() {
    let mut unknown = metadata();
    unknown.as_object_mut().unwrap().remove("managedFields");
    assert_eq!(cleared(unknown.clone())["annotations"], unknown["annotations"]);
}
