//! Azure: the endpoints file of Azure Stack Hub, and objects of old releases.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    STATES, TestCluster, cluster_operator, condition, config_ref, eventually, is, operand, user_input,
};
use crate::{empty_cluster, metrics};

const CONDITION: &str = "AzureStackCloudControllerDegraded";
const LEGACY: [&str; 2] = ["AzurePathFixProgressing", "AzurePathFixControllerDegraded"];

fn provider_config() -> ObjectRef {
    user_input(Kind::ConfigMap, names::CLOUD_PROVIDER_CONFIG)
}

async fn endpoints(cluster: &TestCluster, endpoints: Value) {
    let data = json!({"config": "{}", "endpoints": endpoints});
    if cluster.get(&provider_config()).await.is_some() {
        cluster.patch(&provider_config(), json!({"data": data})).await;
    } else {
        let metadata = json!({"name": provider_config().name, "namespace": provider_config().namespace});
        cluster
            .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
            .await;
    }
}

// lifecycle 93, deploy 32, storage-azure 50, 51
#[tokio::test]
async fn the_endpoints_file_follows_the_config_map_and_a_failed_write_degrades_only_azure() {
    let cluster = empty_cluster().await;
    cluster.create_config(json!({})).await;
    let operator = cluster.operator().await;
    cluster
        .until_config("not degraded without the variable", |c| {
            is(c, CONDITION, "False", "AsExpected")
        })
        .await;
    cluster.platform("Azure").await;
    let config = cluster
        .until_config("degraded", |c| is(c, CONDITION, "True", "Error"))
        .await;
    assert!(condition(&config, CONDITION).2.contains("AZURE_ENVIRONMENT_FILEPATH"));
    let reports = |o: &Value| is(o, "Degraded", "True", "AzureStackCloudControllerError");
    cluster
        .until(&cluster_operator(), "degraded", |o| o.is_some_and(reports))
        .await;
    // The operator logs it once, however often it reconciles.
    let failed = async || {
        let series = "image_registry_operator_reconciles_total{controller=\"azurestack\",outcome=\"error\"}";
        metrics::value(&operator.metrics().await, series)
    };
    let before = failed().await;
    endpoints(&cluster, json!("none")).await;
    eventually("it is looked at again", async || failed().await > before.max(1)).await;
    assert_eq!(operator.log().matches("azurestack: ").count(), 1, "{}", operator.log());
    assert!(operator.stop().await.success());

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("azurestackcloud.json");
    endpoints(&cluster, json!("{\"name\": \"one\"}")).await;
    let operator = cluster
        .operator_with(&[("AZURE_ENVIRONMENT_FILEPATH", file.to_str().unwrap())])
        .await;
    cluster
        .until_config("not degraded", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
    let holds = async |expected: Option<&str>| {
        let read = || std::fs::read_to_string(&file).ok();
        eventually(&format!("{expected:?}"), async || read().as_deref() == expected).await;
    };
    holds(Some("{\"name\": \"one\"}")).await;
    for (state, content) in STATES.into_iter().zip(["two", "three", "four"]) {
        cluster.enter_state(state).await;
        endpoints(&cluster, json!(content)).await;
        holds(Some(content)).await;
    }
    endpoints(&cluster, Value::Null).await;
    holds(None).await;
    endpoints(&cluster, json!("five")).await;
    holds(Some("five")).await;
    cluster.delete(&provider_config()).await;
    holds(None).await;
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing else is left"
    );

    // A file that cannot be written degrades only this condition, until it can be written again.
    std::fs::create_dir(&file).unwrap();
    endpoints(&cluster, json!("six")).await;
    let config = cluster
        .until_config("degraded", |c| is(c, CONDITION, "True", "Error"))
        .await;
    assert_eq!(condition(&config, "Degraded").0, "False");
    std::fs::remove_dir(&file).unwrap();
    endpoints(&cluster, json!("seven")).await;
    cluster
        .until_config("not degraded", |c| is(c, CONDITION, "False", "AsExpected"))
        .await;
    holds(Some("seven")).await;
    assert!(operator.stop().await.success());
}

fn has_legacy(config: &Value) -> bool {
    LEGACY.iter().all(|type_| !condition(config, type_).0.is_empty())
}

/// Creates an Unmanaged Config, so that its status stays as an old release wrote it, and the old release's Job.
async fn leftovers(cluster: &TestCluster, cloud: &str) {
    cluster.create_config(json!({"managementState": "Unmanaged"})).await;
    let conditions = LEGACY.map(|type_| {
        json!({"type": type_, "status": "False", "reason": "AsExpected", "message": "", "lastTransitionTime": "2025-01-01T00:00:00Z"})
    });
    let storage = match cloud {
        "" => json!({}),
        cloud => json!({"azure": {"accountName": "account", "container": "container", "cloudName": cloud}}),
    };
    cluster
        .patch_status(
            &config_ref(),
            json!({"status": {"storage": storage, "storageManaged": false, "conditions": conditions}}),
        )
        .await;
    let pod = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "localhost/none"}]}});
    cluster
        .create(
            json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {"suspend": true, "template": pod},
        "metadata": {"name": names::AZURE_PATH_FIX_JOB, "namespace": names::NAMESPACE}}),
        )
        .await;
}

// lifecycle 94, workload 103, storage-azure 54
#[tokio::test]
async fn leftovers_of_old_releases_are_deleted_on_azure_and_nowhere_else() {
    let job = operand(Kind::Job, names::AZURE_PATH_FIX_JOB);
    for (platform, cloud, cleans) in [
        ("AWS", "AzurePublicCloud", false),
        ("Azure", "AzureStackCloud", false),
        ("Azure", "AzurePublicCloud", true),
        // Whatever the status says about the storage.
        ("Azure", "", true),
    ] {
        let cluster = empty_cluster().await;
        cluster.platform(platform).await;
        leftovers(&cluster, cloud).await;
        let operator = cluster.operator().await;
        cluster
            .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
            .await;
        if cleans {
            cluster
                .until_config("without the old conditions", |c| {
                    LEGACY.iter().all(|t| condition(c, t).0.is_empty())
                })
                .await;
            cluster.until_absent(&job).await;
            cluster
                .until_event("Normal JobDeleted", names::AZURE_PATH_FIX_JOB)
                .await;
            // The Job is suspended: it moved nothing.
            cluster
                .until_event("Warning AzurePathFixIncomplete", "move-blobs")
                .await;
        } else {
            cluster.settle().await;
            assert!(has_legacy(&cluster.config().await), "{platform} {cloud}");
            assert!(cluster.get(&job).await.is_some(), "{platform} {cloud}");
        }
        assert!(operator.stop().await.success());
    }
}
