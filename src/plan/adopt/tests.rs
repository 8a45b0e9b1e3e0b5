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
    let go = [
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
            set("cluster-image-registry-operator", &go), set("kubectl-edit", &["users", "both"]), {"manager": "odd"},
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
fn only_what_the_go_operator_alone_set_and_nobody_wants_goes() {
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
fn what_is_kept_of_the_managed_fields_tells_the_same() {
    let mut short = metadata();
    short["managedFields"] = reduced(&short["managedFields"]).unwrap();
    assert_eq!(reduced(&short["managedFields"]).as_ref(), Some(&short["managedFields"]));
    assert_eq!(cleared(short)["annotations"], cleared(metadata())["annotations"]);
    assert_eq!(reduced(&json!([{"manager": "kubectl-edit"}])), None);
    assert_eq!(reduced(&Value::Null), None);
}

#[test]
fn without_managed_fields_all_stays() {
    let mut unknown = metadata();
    unknown.as_object_mut().unwrap().remove("managedFields");
    assert_eq!(cleared(unknown.clone())["annotations"], unknown["annotations"]);
}
