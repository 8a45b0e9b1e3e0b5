//! The status: which parts the operator owns, which conditions change with time, and which parts of others stay.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::support::{
    TestCluster, cluster_operator, condition, config_ref, deployment, eventually, is, is_up, observed, service, uid,
};
use crate::{empty_cluster, registry};

fn since(config: &Value, type_: &str) -> Timestamp {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array).unwrap();
    let found = conditions.iter().find(|c| c["type"] == type_).unwrap();
    found["lastTransitionTime"].as_str().unwrap().parse().unwrap()
}

/// Sets the last transition time of a condition.
async fn backdate(cluster: &TestCluster, type_: &str, since: Timestamp) {
    let mut conditions = cluster.config().await["status"]["conditions"].clone();
    for condition in conditions
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .filter(|c| c["type"] == type_)
    {
        condition["lastTransitionTime"] = json!(since.to_string());
    }
    cluster
        .patch_status(&config_ref(), json!({"status": {"conditions": conditions}}))
        .await;
}

// lifecycle 6: the file that all tests start the operator with names other timings
#[tokio::test]
async fn the_configuration_file_does_not_affect_leader_election() {
    let (cluster, _operator) = registry(json!({})).await;
    assert_eq!(cluster.lease().await.lease_duration_seconds, Some(137));
}

// lifecycle 76, 77, 78, 79
#[tokio::test]
async fn after_five_minutes_without_a_replica_the_operator_is_degraded_even_after_a_restart() {
    let (cluster, operator) = registry(json!({})).await;
    cluster.edit(json!({"replicas": 0})).await;
    cluster
        .until_config("without a replica", |c| {
            observed(c) && is(c, "Available", "False", "NoReplicasAvailable")
        })
        .await;
    cluster.settle().await;
    assert!(operator.stop().await.success());
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let went = now.checked_sub(SignedDuration::from_secs(285)).unwrap();
    backdate(&cluster, "Available", went).await;
    let _operator = cluster.operator().await;
    // Another reason with the same status does not restart the five minutes.
    let hold = |f: Value| json!({"metadata": {"finalizers": f}});
    cluster.patch(&deployment(), hold(json!(["example.com/hold"]))).await;
    cluster.delete(&deployment()).await;
    let config = cluster
        .until_config("deleted", |c| is(c, "Available", "False", "DeploymentDeleted"))
        .await;
    assert_eq!(since(&config, "Available"), went);
    assert!(is(&config, "Degraded", "False", ""));
    cluster.settle().await;
    assert!(is(&cluster.config().await, "Degraded", "False", ""));
    let mark = cluster.mark();
    let config = cluster
        .until_config("degraded", |c| is(c, "Degraded", "True", "Unavailable"))
        .await;
    let after = Timestamp::now().duration_since(went);
    assert!(
        after > SignedDuration::from_mins(5) && after < SignedDuration::from_secs(308),
        "after {after}"
    );
    assert_eq!(since(&config, "Available"), went);
    assert_eq!(cluster.writes(mark), Vec::<String>::new());
    cluster.patch(&deployment(), hold(Value::Null)).await;
    cluster.edit(json!({"replicas": 1})).await;
    cluster
        .until_config("up", |c| is_up(c) && is(c, "Degraded", "False", ""))
        .await;
}

// api 25, 26, lifecycle 85
#[tokio::test]
async fn the_first_status_is_complete_and_foreign_conditions_stay() {
    let cluster = empty_cluster().await;
    let mut config = TestCluster::managed(json!({"emptyDir": {}}));
    config["spec"]["replicas"] = json!(-1);
    cluster.create(config).await;
    let history = cluster.record(&config_ref()).await;
    let _operator = cluster.operator().await;
    cluster
        .until_config("degraded", |c| is(c, "Degraded", "True", "VerificationFailed"))
        .await;
    let (_, first) = history.first("with a status", |c| c.get("status").is_some()).await;
    assert_eq!(first["status"]["storage"], json!({}));
    assert_eq!(first["status"]["storageManaged"], false);

    let mut conditions = first["status"]["conditions"].clone();
    let foreign = json!({"type": "SomebodyElses", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"});
    conditions.as_array_mut().unwrap().push(foreign.clone());
    cluster
        .patch_status(&config_ref(), json!({"status": {"conditions": conditions}}))
        .await;
    cluster.edit(json!({"replicas": 1})).await;
    let config = cluster.until_config("up", is_up).await;
    assert!(config["status"]["conditions"].as_array().unwrap().contains(&foreign));
}

// api 41
#[tokio::test]
async fn a_deleted_cluster_operator_is_created_again() {
    let (cluster, _operator) = registry(json!({})).await;
    let well = |o: &Value| is(o, "Available", "True", "Ready") && condition(o, "Degraded").0 == "False";
    cluster
        .until(&cluster_operator(), "not degraded", |o| o.is_some_and(well))
        .await;
    let old = cluster.get(&cluster_operator()).await.unwrap();
    cluster.delete(&cluster_operator()).await;
    cluster
        .until(&cluster_operator(), "created again", |o| {
            o.is_some_and(|o| uid(o) != uid(&old) && well(o))
        })
        .await;
}

fn definitions(cluster: &TestCluster) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    Api::all_with(cluster.client.clone(), &ApiResource::from_gvk(&kind))
}

// api 21, 42
#[tokio::test]
async fn a_field_of_a_newer_api_survives_writes_of_the_operator() {
    let (cluster, _operator) = registry(json!({})).await;
    let mark = cluster.mark();
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/future";
    let change = |operation: Value| {
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(json!([operation])).unwrap());
        let api = definitions(&cluster);
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
    while cluster.edit(json!({"future": {"a": [1, {}]}})).await["spec"]
        .get("future")
        .is_none()
    {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the API server takes up the changed CRD"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let secret = cluster.config().await["spec"]["httpSecret"].clone();
    cluster
        .edit(json!({"httpSecret": "", "managementState": "Removed"}))
        .await;
    cluster
        .until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    cluster.edit(json!({"managementState": "Managed"})).await;
    let config = cluster.until_config("up", is_up).await;
    assert_ne!(config["spec"]["httpSecret"], secret);
    assert_eq!(config["spec"]["future"], json!({"a": [1, {}]}));
    cluster.edit(json!({"future": null})).await;
    change(json!({"op": "remove", "path": path})).await;
    assert!(
        !cluster
            .writes(mark)
            .iter()
            .any(|w| w.contains("customresourcedefinitions"))
    );
}

// lifecycle 128
#[tokio::test]
async fn the_log_has_the_words_of_a_failure_once_however_often_it_is_retried() {
    let (cluster, operator) = registry(json!({})).await;
    let hook = crate::volumes::failing_webhook(&cluster, "services", "").await;
    let lines = || -> Vec<String> {
        let log = operator.log();
        let found = log.lines().filter(|line| line.contains("failing.example.com"));
        found.map(str::to_owned).collect()
    };
    cluster
        .patch(&service(), json!({"spec": {"selector": {"a": "b"}}}))
        .await;
    cluster
        .until_config("failing", |c| {
            condition(c, "Progressing").2.contains("failing.example.com")
        })
        .await;
    for attempt in 0..5 {
        cluster.trigger_reconcile(&attempt.to_string()).await;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    }
    let told = lines();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("WARN") && told[0].contains("Progressing is True (Error)"),
        "{told:#?}"
    );
    hook.remove().await;
    cluster.until_config("up", is_up).await;
    cluster.settle().await;
    assert_eq!(lines(), told);
    let log = operator.log();
    let end = log
        .lines()
        .rfind(|line| line.contains("Config cluster: Progressing is "));
    assert!(
        end.is_some_and(|line| line.contains("INFO") && line.contains("Progressing is False (Ready)")),
        "{end:?}"
    );
}

// What the optional alerts read.
#[tokio::test]
async fn metrics_tell_the_conditions_and_the_end_of_the_serving_certificate() {
    let (cluster, operator) = registry(json!({})).await;
    let available = "image_registry_operator_condition{object=\"Config\",type=\"Available\"";
    let series = async |prefix: &str| -> Vec<String> {
        let metrics = operator.metrics().await;
        let lines = metrics.lines().filter(|line| line.starts_with(prefix));
        lines.map(str::to_owned).collect()
    };
    eventually("the Config is available", async || {
        series(available).await == [format!("{available},status=\"True\",reason=\"Ready\"}} 1")]
    })
    .await;
    let pruner = "image_registry_operator_condition{object=\"ImagePruner\",type=\"Failed\",status=\"False\"";
    assert_eq!(series(pruner).await.len(), 1);
    let expiry = series("image_registry_operator_certificate_expiry_timestamp_seconds{").await;
    let [line] = &expiry[..] else { panic!("{expiry:?}") };
    let (labels, seconds) = line.rsplit_once(' ').unwrap();
    assert!(labels.ends_with("{secret=\"image-registry-tls\"}"), "{line}");
    let left = seconds.parse::<i64>().unwrap() - Timestamp::now().as_second();
    assert!(left > 3600, "{line}");
    cluster.edit(json!({"managementState": "Removed"})).await;
    eventually("the Config is removed", async || {
        series(available).await == [format!("{available},status=\"True\",reason=\"Removed\"}} 1")]
    })
    .await;
}
