//! Invalid input: a condition reports it, nothing else changes, and the next edit recovers.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    TestCluster, cluster_operator, condition, config_ref, deployment, env, image, is, is_up, observed,
    resource_version, uid,
};
use crate::{empty_cluster, registry};

/// An invalid edit, the reason of Degraded, a part of its message, and the edit that corrects it.
fn cases() -> Vec<(Value, &'static str, &'static str, Value)> {
    let route = |name: &str| json!({"name": name});
    vec![
        (
            json!({"replicas": -1}),
            "VerificationFailed",
            "replicas must be greater than or equal to 0",
            json!({"replicas": 1}),
        ),
        (
            json!({"replicas": 5_000_000_000_i64}),
            "InvalidConfig",
            "spec.replicas",
            json!({"replicas": 1}),
        ),
        (
            json!({"storage": {"pvc": {"claim": "second"}}}),
            "StorageConflict",
            "EmptyDir",
            json!({"storage": {"pvc": null}}),
        ),
        (
            json!({"routes": [route("default-route")]}),
            "VerificationFailed",
            "default-route",
            json!({"routes": null}),
        ),
        (
            json!({"routes": [route("a"), route("a")]}),
            "VerificationFailed",
            "\"a\"",
            json!({"routes": null}),
        ),
        (
            json!({"requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "soon 5m"}}}),
            "InvalidDuration",
            "requests.read.maxWaitInQueue",
            json!({"requests": null}),
        ),
        // The message then contains characters that the API server escapes in JSON; the JSON patch of the status must still match.
        (
            json!({"requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "<5m> & \u{2028}more"}}}),
            "InvalidDuration",
            "<5m> &",
            json!({"requests": null}),
        ),
        (
            json!({"requests": {"write": {"maxRunning": -1}}}),
            "InvalidRequestsLimits",
            "requests.write.maxRunning",
            json!({"requests": null}),
        ),
        (
            json!({"unsupportedConfigOverrides": {"deployment": [1]}}),
            "InvalidOverrides",
            "unsupportedConfigOverrides",
            json!({"unsupportedConfigOverrides": null}),
        ),
        (
            json!({"unsupportedConfigOverrides": {"deployment": {"annotations": {"a": 1}}}}),
            "InvalidOverrides",
            "unsupportedConfigOverrides",
            json!({"unsupportedConfigOverrides": null}),
        ),
        (
            json!({"storage": null}),
            "StorageNotConfigured",
            "",
            json!({"storage": {"emptyDir": {}}}),
        ),
        (
            json!({"storage": {"emptyDir": null, "oss": {"bucket": "images"}}}),
            "InvalidConfig",
            "spec.storage.oss.region",
            json!({"storage": {"emptyDir": {}, "oss": null}}),
        ),
        (
            json!({"storage": {"emptyDir": null, "pvc": {}, "managementState": "Unmanaged"}}),
            "InvalidConfig",
            "Unmanaged",
            json!({"storage": {"emptyDir": {}, "pvc": null, "managementState": "Managed"}}),
        ),
        (
            json!({"storage": {"emptyDir": null, "pvc": {"claim": "No Name"}}}),
            "InvalidConfig",
            "No Name",
            json!({"storage": {"emptyDir": {}, "pvc": null}}),
        ),
    ]
}

// api 11, 19, 29, lifecycle 40, 41, 57, 69, storage-volumes 38, workload 27, 68
#[tokio::test]
async fn invalid_input_is_reported_and_changes_nothing() {
    let (cluster, mut operator) = registry(json!({})).await;
    let before = cluster.get(&deployment()).await.unwrap();
    for (bad, reason, part, good) in cases() {
        let mark = cluster.mark();
        let edited = cluster.edit(bad.clone()).await;
        let reports =
            |c: &Value| is(c, "Degraded", "True", reason) && is(c, "Progressing", "False", "Error") && observed(c);
        let config = cluster.until_config(&format!("{reason} after {bad}"), reports).await;
        assert!(
            condition(&config, "Degraded").2.contains(part),
            "{bad}: {:?}",
            condition(&config, "Degraded")
        );
        assert!(
            is(&config, "Available", "True", "Ready"),
            "{bad}: the registry goes on serving"
        );
        cluster.settle().await;
        let changed = cluster
            .requests(mark)
            .writes()
            .filter(|e| !matches!(e.resource.as_str(), "configs" | "clusteroperators"));
        assert!(changed.is_empty(), "{bad}: {changed}");
        let config = cluster.config().await;
        assert_eq!(config["spec"], edited["spec"], "{bad}: the spec is the user's");
        assert!(operator.is_running(), "{bad}");
        cluster.edit(good).await;
        let well = |c: &Value| is_up(c) && is(c, "Degraded", "False", "") && observed(c);
        cluster
            .until_config(&format!("no longer degraded after {bad}"), well)
            .await;
    }
    cluster.settle().await;
    let after = cluster.get(&deployment()).await.unwrap();
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
}

// api 29, lifecycle 40, 56
#[tokio::test]
async fn a_config_that_is_invalid_from_the_start_creates_nothing_until_it_is_corrected() {
    let cluster = empty_cluster().await;
    for (replicas, storage, reason) in [
        (-1_i64, json!({"emptyDir": {}}), "VerificationFailed"),
        (5_000_000_000, json!({"emptyDir": {}}), "InvalidConfig"),
        (1, json!({}), "StorageNotConfigured"),
    ] {
        cluster.reset().await;
        cluster.platform("VSphere").await;
        let mut config = TestCluster::managed(storage);
        config["spec"]["replicas"] = json!(replicas);
        cluster.create(config).await;
        let mark = cluster.mark();
        let mut operator = cluster.operator().await;
        let reports = |c: &Value| {
            is(c, "Available", "False", reason)
                && is(c, "Degraded", "True", reason)
                && is(c, "Progressing", "False", "Error")
        };
        cluster.until_config(reason, reports).await;
        cluster
            .until(&cluster_operator(), "degraded", |o| {
                o.is_some_and(|o| condition(o, "Degraded").0 == "True")
            })
            .await;
        cluster.settle().await;
        let writes = cluster.writes(mark);
        assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
        cluster.edit(json!({"replicas": 1, "storage": {"emptyDir": {}}})).await;
        cluster.until_config("up", is_up).await;
        assert!(operator.is_running());
    }
}

// api 29, lifecycle 125
#[tokio::test]
async fn a_config_that_cannot_be_decoded_keeps_its_finalizer_until_it_is_corrected() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.edit(json!({"replicas": 5_000_000_000_i64})).await;
    cluster
        .until_config("undecodable", |c| is(c, "Degraded", "True", "InvalidConfig"))
        .await;
    // The log level still takes effect, for whoever looks for the error.
    cluster.edit(json!({"operatorLogLevel": "Debug"})).await;
    cluster
        .until_event("Normal OperatorLogLevelChange", "from Normal to Debug")
        .await;
    cluster.settle().await;
    let old = cluster.config().await;
    let mark = cluster.mark();
    cluster.delete(&config_ref()).await;
    cluster.settle().await;
    assert_eq!(cluster.writes(mark), Vec::<String>::new());
    assert_eq!(
        cluster.config().await["metadata"]["finalizers"],
        json!([names::FINALIZER])
    );
    cluster.edit(json!({"replicas": 1})).await;
    cluster.until_config("created again", |c| uid(c) != uid(&old)).await;
}

// api 15
#[tokio::test]
async fn one_day_means_twenty_four_hours() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.edit(json!({"requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "1 day"}, "write": {"maxRunning": 1, "maxWaitInQueue": "90s"}}})).await;
    let found = cluster
        .until(&deployment(), "limited", |o| {
            o.is_some_and(|o| env(o, "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE").is_some())
        })
        .await
        .unwrap();
    assert_eq!(
        env(&found, "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE"),
        Some("24h0m0s")
    );
    assert_eq!(
        env(&found, "REGISTRY_OPENSHIFT_REQUESTS_WRITE_MAXWAITINQUEUE"),
        Some("1m30s")
    );
}

// api 28
#[tokio::test]
async fn a_config_with_another_name_is_ignored() {
    let (cluster, _operator) = registry(json!({})).await;
    let mark = cluster.mark();
    let mut other = TestCluster::managed(json!({"pvc": {}}));
    other["metadata"]["name"] = json!("other");
    other["spec"]["replicas"] = json!(3);
    let other = cluster.create(other).await;
    cluster.settle().await;
    let reference = ObjectRef::new(Kind::Config, "", "other");
    let found = cluster.get(&reference).await.unwrap();
    cluster.delete(&reference).await;
    cluster.settle().await;
    assert_eq!(resource_version(&other), resource_version(&found));
    let all = cluster.requests(mark).counted();
    assert!(all.is_empty(), "{all}");
}

// workload 66, 73
#[tokio::test]
async fn an_impossible_object_name_is_reported_as_missing_and_blocks_nothing() {
    let (cluster, _operator) = registry(json!({})).await;
    let name = "tls,metadata.name=other";
    cluster
        .edit(json!({"replicas": 2, "routes": [{"name": "public", "hostname": "r.example.com", "secretName": name}]}))
        .await;
    let image = image();
    cluster
        .patch(&image, json!({"spec": {"additionalTrustedCA": {"name": name}}}))
        .await;
    let reports = |c: &Value| {
        is(c, "Progressing", "True", "Error")
            && condition(c, "Progressing").2.contains(name)
            && is(c, "ImageRegistryCertificatesControllerDegraded", "True", "Error")
            && condition(c, "ImageRegistryCertificatesControllerDegraded")
                .2
                .contains(name)
    };
    cluster.until_config("reporting both as missing", reports).await;
    cluster
        .until(&deployment(), "scaled", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 2)
        })
        .await;
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("removed", |c| {
            is(c, "Removed", "True", "Removed") && is(c, "Progressing", "False", "Removed")
        })
        .await;
    cluster
        .patch(&image, json!({"spec": {"additionalTrustedCA": null}}))
        .await;
}
