//! Input that cannot be right: a condition says so, nothing else changes, and the next edit recovers.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{condition, is, is_up};
use crate::{deployment, env, observed, registry, version};

/// Edit, reason of Degraded, a part of its message, the edit that mends it.
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
        // What a patch of the status counts on is then a text that the API server writes otherwise than others do.
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
            "StorageNotConfigured",
            "oss",
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
async fn what_cannot_be_right_is_told_and_changes_nothing() {
    let (lab, mut operator) = registry(json!({})).await;
    let before = lab.get(&deployment()).await.unwrap();
    for (bad, reason, part, good) in cases() {
        let mark = lab.mark();
        let edited = lab.edit(bad.clone()).await;
        let told =
            |c: &Value| is(c, "Degraded", "True", reason) && is(c, "Progressing", "False", "Error") && observed(c);
        let config = lab.until_config(&format!("{reason} after {bad}"), told).await;
        assert!(
            condition(&config, "Degraded").2.contains(part),
            "{bad}: {:?}",
            condition(&config, "Degraded")
        );
        assert!(
            is(&config, "Available", "True", "Ready"),
            "{bad}: the registry goes on serving"
        );
        lab.settle().await;
        let changed = lab
            .requests(mark)
            .writes()
            .filter(|e| !matches!(e.resource.as_str(), "configs" | "clusteroperators"));
        assert!(changed.is_empty(), "{bad}: {changed}");
        let config = lab.config().await;
        assert_eq!(config["spec"], edited["spec"], "{bad}: the spec is the user's");
        assert!(operator.is_running(), "{bad}");
        lab.edit(good).await;
        let well = |c: &Value| is_up(c) && is(c, "Degraded", "False", "") && observed(c);
        lab.until_config(&format!("well again after {bad}"), well).await;
    }
    lab.settle().await;
    let after = lab.get(&deployment()).await.unwrap();
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);
}

// api 29, lifecycle 40, 56
#[tokio::test]
async fn a_config_that_is_wrong_from_the_start_makes_nothing_until_it_is_mended() {
    let lab = crate::cluster().await;
    for (replicas, storage, reason) in [
        (-1_i64, json!({"emptyDir": {}}), "VerificationFailed"),
        (5_000_000_000, json!({"emptyDir": {}}), "InvalidConfig"),
        (1, json!({}), "StorageNotConfigured"),
    ] {
        lab.reset().await;
        lab.platform("VSphere").await;
        let mut config = crate::Lab::managed(storage);
        config["spec"]["replicas"] = json!(replicas);
        lab.create(config).await;
        let mark = lab.mark();
        let mut operator = lab.operator().await;
        let told = |c: &Value| {
            is(c, "Available", "False", reason)
                && is(c, "Degraded", "True", reason)
                && is(c, "Progressing", "False", "Error")
        };
        lab.until_config(reason, told).await;
        lab.until(&crate::cluster_operator(), "degraded", |o| {
            o.is_some_and(|o| condition(o, "Degraded").0 == "True")
        })
        .await;
        lab.settle().await;
        let writes = lab.writes(mark);
        assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
        lab.edit(json!({"replicas": 1, "storage": {"emptyDir": {}}})).await;
        lab.until_config("up", is_up).await;
        assert!(operator.is_running());
    }
}

// api 29, lifecycle 125
#[tokio::test]
async fn a_config_that_does_not_decode_is_not_removed_until_it_is_mended() {
    let (lab, _operator) = registry(json!({})).await;
    lab.edit(json!({"replicas": 5_000_000_000_i64})).await;
    lab.until_config("undecodable", |c| is(c, "Degraded", "True", "InvalidConfig"))
        .await;
    // Whoever looks for the fault may want to see more.
    lab.edit(json!({"operatorLogLevel": "Debug"})).await;
    lab.until_event("Normal OperatorLogLevelChange", "from Normal to Debug")
        .await;
    lab.settle().await;
    let old = lab.config().await;
    let mark = lab.mark();
    lab.delete(&crate::support::config_ref()).await;
    lab.settle().await;
    assert_eq!(lab.writes(mark), Vec::<String>::new());
    assert_eq!(lab.config().await["metadata"]["finalizers"], json!([names::FINALIZER]));
    lab.edit(json!({"replicas": 1})).await;
    lab.until_config("made anew", |c| crate::uid(c) != crate::uid(&old))
        .await;
}

// api 15
#[tokio::test]
async fn one_day_means_twenty_four_hours() {
    let (lab, _operator) = registry(json!({})).await;
    lab.edit(json!({"requests": {"read": {"maxRunning": 1, "maxWaitInQueue": "1 day"}, "write": {"maxRunning": 1, "maxWaitInQueue": "90s"}}})).await;
    let found = lab
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
async fn a_config_of_another_name_is_nobodys() {
    let (lab, _operator) = registry(json!({})).await;
    let mark = lab.mark();
    let mut other = crate::Lab::managed(json!({"pvc": {}}));
    other["metadata"]["name"] = json!("other");
    other["spec"]["replicas"] = json!(3);
    let other = lab.create(other).await;
    lab.settle().await;
    let reference = crate::ObjectRef::new(Kind::Config, "", "other");
    let found = lab.get(&reference).await.unwrap();
    lab.delete(&reference).await;
    lab.settle().await;
    assert_eq!(version(&other), version(&found));
    let all = lab.requests(mark).counted();
    assert!(all.is_empty(), "{all}");
}

// workload 66, 73
#[tokio::test]
async fn a_name_that_no_object_can_have_is_told_as_missing_and_stops_nothing() {
    let (lab, _operator) = registry(json!({})).await;
    let name = "tls,metadata.name=other";
    lab.edit(json!({"replicas": 2, "routes": [{"name": "public", "hostname": "r.example.com", "secretName": name}]}))
        .await;
    let image = crate::ObjectRef::new(Kind::Image, "", names::CLUSTER);
    lab.patch(&image, json!({"spec": {"additionalTrustedCA": {"name": name}}}))
        .await;
    let told = |c: &Value| {
        is(c, "Progressing", "True", "Error")
            && condition(c, "Progressing").2.contains(name)
            && is(c, "ImageRegistryCertificatesControllerDegraded", "True", "Error")
            && condition(c, "ImageRegistryCertificatesControllerDegraded")
                .2
                .contains(name)
    };
    lab.until_config("missing both", told).await;
    lab.until(&deployment(), "scaled", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 2)
    })
    .await;
    lab.edit(json!({"managementState": "Removed"})).await;
    lab.until_config("removed", |c| {
        is(c, "Removed", "True", "Removed") && is(c, "Progressing", "False", "Removed")
    })
    .await;
    lab.patch(&image, json!({"spec": {"additionalTrustedCA": null}})).await;
}
