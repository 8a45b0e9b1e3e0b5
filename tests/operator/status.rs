//! The status: whose it is, when time turns it, and what of others in it stays.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{Lab, condition, config_ref, is, is_up};
use crate::{cluster, cluster_operator, deployment, observed, registry};

fn since(config: &Value, type_: &str) -> Timestamp {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array).unwrap();
    let found = conditions.iter().find(|c| c["type"] == type_).unwrap();
    found["lastTransitionTime"].as_str().unwrap().parse().unwrap()
}

/// As an administrator: the condition has been as it is since then.
async fn backdate(lab: &Lab, type_: &str, since: Timestamp) {
    let mut conditions = lab.config().await["status"]["conditions"].clone();
    for condition in conditions
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|c| c["type"] == type_)
    {
        condition["lastTransitionTime"] = json!(since.to_string());
    }
    lab.patch_status(&config_ref(), json!({"status": {"conditions": conditions}}))
        .await;
}

// lifecycle 6: the file that all tests start the operator with names other timings
#[tokio::test]
async fn the_configuration_file_has_no_say_in_leader_election() {
    let (lab, _operator) = registry(json!({})).await;
    assert_eq!(lab.lease().await.lease_duration_seconds, Some(137));
}

// lifecycle 76, 77, 78, 79
#[tokio::test]
async fn five_minutes_without_a_replica_degrade_without_any_event_and_across_a_restart() {
    let (lab, operator) = registry(json!({})).await;
    lab.edit(json!({"replicas": 0})).await;
    lab.until_config("without a replica", |c| {
        observed(c) && is(c, "Available", "False", "NoReplicasAvailable")
    })
    .await;
    lab.settle().await;
    assert!(operator.stop().await.success());
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let went = now.checked_sub(SignedDuration::from_secs(285)).unwrap();
    backdate(&lab, "Available", went).await;
    let _operator = lab.operator().await;
    // Another reason, the same status: the clock goes on.
    let hold = |f: Value| json!({"metadata": {"finalizers": f}});
    lab.patch(&deployment(), hold(json!(["example.com/hold"]))).await;
    lab.delete(&deployment()).await;
    let config = lab
        .until_config("deleted", |c| is(c, "Available", "False", "DeploymentDeleted"))
        .await;
    assert_eq!(since(&config, "Available"), went);
    assert!(is(&config, "Degraded", "False", ""));
    lab.settle().await;
    assert!(is(&lab.config().await, "Degraded", "False", ""));
    let mark = lab.mark();
    let config = lab
        .until_config("degraded", |c| is(c, "Degraded", "True", "Unavailable"))
        .await;
    let after = Timestamp::now().duration_since(went);
    assert!(
        after > SignedDuration::from_mins(5) && after < SignedDuration::from_secs(308),
        "after {after}"
    );
    assert_eq!(since(&config, "Available"), went);
    assert_eq!(lab.writes(mark), Vec::<String>::new());
    lab.patch(&deployment(), hold(Value::Null)).await;
    lab.edit(json!({"replicas": 1})).await;
    lab.until_config("up", |c| is_up(c) && is(c, "Degraded", "False", ""))
        .await;
}

// api 25, 26, lifecycle 85
#[tokio::test]
async fn the_first_status_is_whole_and_conditions_of_others_stay() {
    let lab = cluster().await;
    let mut config = Lab::managed(json!({"emptyDir": {}}));
    config["spec"]["replicas"] = json!(-1);
    lab.create(config).await;
    let history = lab.record(&config_ref()).await;
    let _operator = lab.operator().await;
    lab.until_config("degraded", |c| is(c, "Degraded", "True", "VerificationFailed"))
        .await;
    let (_, first) = history.first("with a status", |c| c.get("status").is_some()).await;
    assert_eq!(first["status"]["storage"], json!({}));
    assert_eq!(first["status"]["storageManaged"], false);

    let mut conditions = first["status"]["conditions"].clone();
    let foreign = json!({"type": "SomebodyElses", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
    conditions.as_array_mut().unwrap().push(foreign.clone());
    lab.patch_status(&config_ref(), json!({"status": {"conditions": conditions}}))
        .await;
    lab.edit(json!({"replicas": 1})).await;
    let config = lab.until_config("up", is_up).await;
    assert!(config["status"]["conditions"].as_array().unwrap().contains(&foreign));
}

// api 41
#[tokio::test]
async fn a_deleted_cluster_operator_is_reported_anew() {
    let (lab, _operator) = registry(json!({})).await;
    let well = |o: &Value| is(o, "Available", "True", "Ready") && condition(o, "Degraded").0 == "False";
    lab.until(&cluster_operator(), "well", |o| o.is_some_and(well)).await;
    let old = lab.get(&cluster_operator()).await.unwrap();
    lab.delete(&cluster_operator()).await;
    lab.until(&cluster_operator(), "made anew", |o| {
        o.is_some_and(|o| crate::uid(o) != crate::uid(&old) && well(o))
    })
    .await;
}

fn definitions(lab: &Lab) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    Api::all_with(lab.client.clone(), &ApiResource::from_gvk(&kind))
}

// api 21, 42
#[tokio::test]
async fn a_field_of_a_newer_api_survives_our_writes() {
    let (lab, _operator) = registry(json!({})).await;
    let mark = lab.mark();
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/future";
    let change = |operation: Value| {
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(json!([operation])).unwrap());
        let api = definitions(&lab);
        async move {
            api.patch(
                "configs.imageregistry.operator.openshift.io",
                &PatchParams::default(),
                &patch,
            )
            .await
            .unwrap()
        }
    };
    change(
        json!({"op": "add", "path": path, "value": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}),
    )
    .await;
    let began = Instant::now();
    while lab.edit(json!({"future": {"a": [1, {}]}})).await["spec"]
        .get("future")
        .is_none()
    {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the API server takes up the changed CRD"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let secret = lab.config().await["spec"]["httpSecret"].clone();
    lab.edit(json!({"httpSecret": "", "managementState": "Removed"})).await;
    lab.until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    lab.edit(json!({"managementState": "Managed"})).await;
    let config = lab.until_config("up", is_up).await;
    assert_ne!(config["spec"]["httpSecret"], secret);
    assert_eq!(config["spec"]["future"], json!({"a": [1, {}]}));
    lab.edit(json!({"future": null})).await;
    change(json!({"op": "remove", "path": path})).await;
    assert!(!lab.writes(mark).iter().any(|w| w.contains("customresourcedefinitions")));
}
