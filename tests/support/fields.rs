//! Fields and conditions of objects that the API server returned.

use std::collections::BTreeMap;

use serde_json::Value;

/// Status, reason and message of a condition; three empty strings if the condition is missing.
pub fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions.into_iter().flatten().find(|c| c["type"] == type_);
    let text = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Status of a condition; an empty string if the condition is missing.
pub fn status(object: &Value, type_: &str) -> String {
    condition(object, type_).0
}

/// Whether a condition has this status and this reason.
pub fn is(object: &Value, type_: &str, status: &str, reason: &str) -> bool {
    let (s, r, _) = condition(object, type_);
    s == status && r == reason
}

/// Whether the Config reports that the registry is available and that no rollout is in progress.
pub fn is_up(config: &Value) -> bool {
    is(config, "Available", "True", "Ready") && is(config, "Progressing", "False", "Ready")
}

/// Whether the operator has reconciled the newest generation of the Config.
pub fn observed(config: &Value) -> bool {
    config["status"]["observedGeneration"] == config["metadata"]["generation"]
}

/// Value of an environment variable of the registry's container.
pub fn env<'a>(deployment: &'a Value, name: &str) -> Option<&'a str> {
    let all = deployment.pointer("/spec/template/spec/containers/0/env")?.as_array()?;
    all.iter().find(|e| e["name"] == name)?["value"].as_str()
}

/// Revision of the Deployment: the deployment controller counts rollouts with it.
pub fn rollout_revision(deployment: &Value) -> i64 {
    let annotation = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    annotation.as_str().unwrap_or("0").parse().unwrap()
}

/// Whether every pod of the Deployment is of its newest template and available.
pub fn is_rolled_out(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let all = deployment["spec"]["replicas"].as_i64();
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["updatedReplicas", "availableReplicas", "replicas"]
            .iter()
            .all(|m| status[m].as_i64().or(Some(0)) == all)
}

pub fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

pub fn resource_version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

/// The etcd revision at which this version was written. Unlike times, revisions can be compared between objects.
pub fn etcd_revision(object: &Value) -> u64 {
    resource_version(object).parse().unwrap()
}

/// An object without `managedFields`, which would make the text of a failure long.
pub fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// A map of strings, such as labels, annotations or the data of a ConfigMap.
pub fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .unwrap_or_default()
}
