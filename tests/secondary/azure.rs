//! Azure: the endpoints file of Azure Stack Hub, and what old releases left behind.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, config_ref, is, operand};
use crate::{cluster, cluster_operator, create_config, enter, eventually, metrics};

const CONDITION: &str = "AzureStackCloudControllerDegraded";
const LEGACY: [&str; 2] = ["AzurePathFixProgressing", "AzurePathFixControllerDegraded"];

fn provider_config() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG)
}

async fn endpoints(lab: &Lab, endpoints: Value) {
    let data = json!({"config": "{}", "endpoints": endpoints});
    if lab.get(&provider_config()).await.is_some() {
        lab.patch(&provider_config(), json!({"data": data})).await;
    } else {
        let metadata = json!({"name": provider_config().name, "namespace": provider_config().namespace});
        lab.create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
            .await;
    }
}

// lifecycle 93, deploy 32
#[tokio::test]
async fn the_endpoints_file_follows_the_map_and_without_a_place_for_it_azure_alone_is_degraded() {
    let lab = cluster().await;
    create_config(&lab, json!({})).await;
    let operator = lab.operator().await;
    lab.until_config("well without the variable", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
    lab.platform("Azure").await;
    let config = lab
        .until_config("degraded", |c| is(c, CONDITION, "True", "Error"))
        .await;
    assert!(condition(&config, CONDITION).2.contains("AZURE_ENVIRONMENT_FILEPATH"));
    let told = |o: &Value| is(o, "Degraded", "True", "AzureStackCloudControllerError");
    lab.until(&cluster_operator(), "degraded", |o| o.is_some_and(told))
        .await;
    // However often it is looked at, it is logged once.
    let failed = async || {
        let series = "image_registry_operator_reconciles_total{controller=\"azurestack\",outcome=\"error\"}";
        metrics::value(&operator.metrics().await, series)
    };
    let before = failed().await;
    endpoints(&lab, json!("none")).await;
    eventually("it is looked at again", async || failed().await > before.max(1)).await;
    assert_eq!(operator.log().matches("azurestack: ").count(), 1, "{}", operator.log());
    assert!(operator.stop().await.success());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("azurestackcloud.json");
    endpoints(&lab, json!("{\"name\": \"one\"}")).await;
    let operator = lab
        .operator_with(&[("AZURE_ENVIRONMENT_FILEPATH", file.to_str().unwrap())])
        .await;
    lab.until_config("well", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
    let holds = async |expected: Option<&str>| {
        let read = || std::fs::read_to_string(&file).ok();
        eventually(&format!("{expected:?}"), async || read().as_deref() == expected).await;
    };
    holds(Some("{\"name\": \"one\"}")).await;
    for (state, content) in crate::STATES.into_iter().zip(["two", "three", "four"]) {
        enter(&lab, state).await;
        endpoints(&lab, json!(content)).await;
        holds(Some(content)).await;
    }
    endpoints(&lab, Value::Null).await;
    holds(None).await;
    endpoints(&lab, json!("five")).await;
    holds(Some("five")).await;
    lab.delete(&provider_config()).await;
    holds(None).await;
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing else is left"
    );

    // What cannot be written degrades this condition alone, and heals.
    std::fs::create_dir(&file).unwrap();
    endpoints(&lab, json!("six")).await;
    let config = lab
        .until_config("degraded", |c| is(c, CONDITION, "True", "Error"))
        .await;
    assert_eq!(condition(&config, "Degraded").0, "False");
    std::fs::remove_dir(&file).unwrap();
    endpoints(&lab, json!("seven")).await;
    lab.until_config("well", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
    holds(Some("seven")).await;
    assert!(operator.stop().await.success());
}

fn has_legacy(config: &Value) -> bool {
    LEGACY.iter().all(|type_| !condition(config, type_).0.is_empty())
}

/// A Config that is left alone, so that its status stays what an old release wrote; and the old Job.
async fn leftovers(lab: &Lab, cloud: &str) {
    create_config(lab, json!({"managementState": "Unmanaged"})).await;
    let conditions = LEGACY.map(|type_| {
        json!({"type": type_, "status": "False", "reason": "AsExpected", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"})
    });
    let storage = json!({"azure": {"accountName": "account", "container": "container", "cloudName": cloud}});
    lab.patch_status(
        &config_ref(),
        json!({"status": {"storage": storage, "storageManaged": false, "conditions": conditions}}),
    )
    .await;
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "localhost/none"}]}});
    lab.create(
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "template": pod},
        "metadata": {"name": names::AZURE_PATH_FIX_JOB, "namespace": names::NAMESPACE}}),
    )
    .await;
}

// lifecycle 94, workload 103
#[tokio::test]
async fn what_old_releases_left_on_azure_is_taken_away_and_nothing_elsewhere() {
    let job = operand(Kind::Job, names::AZURE_PATH_FIX_JOB);
    for (platform, cloud, cleans) in [
        ("AWS", "AzurePublicCloud", false),
        ("Azure", "AzureStackCloud", false),
        ("Azure", "AzurePublicCloud", true),
    ] {
        let lab = cluster().await;
        lab.platform(platform).await;
        leftovers(&lab, cloud).await;
        let operator = lab.operator().await;
        lab.until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
            .await;
        if cleans {
            lab.until_config("without the old conditions", |c| {
                LEGACY.iter().all(|t| condition(c, t).0.is_empty())
            })
            .await;
            lab.until_absent(&job).await;
            lab.until_event("Normal JobDeleted", names::AZURE_PATH_FIX_JOB).await;
        } else {
            lab.settle().await;
            assert!(has_legacy(&lab.config().await), "{platform} {cloud}");
            assert!(lab.get(&job).await.is_some(), "{platform} {cloud}");
        }
        assert!(operator.stop().await.success());
    }
}
