//! Remote storage that is unreachable: the registry keeps its storage, and everything else goes on. Reachable storage is
//! tested in `tests/cloud_storage`.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    TestCluster, certificates_map, condition, default_route, deployment, is, merge, observed, user_input,
};
use crate::{empty_cluster, registry};

const CA_CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";

/// A storage block with an endpoint on which nobody listens.
fn nowhere(more: Value) -> Value {
    let mut block = json!({"bucket": "blue-images", "region": "eu-west-3", "regionEndpoint": "http://127.0.0.1:9"});
    merge(&mut block, more);
    json!({"storage": {"emptyDir": null, "s3": block}})
}

async fn credentials(cluster: &TestCluster) {
    cluster.create(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE},
        "stringData": {"REGISTRY_STORAGE_S3_ACCESSKEY": "blue-key", "REGISTRY_STORAGE_S3_SECRETKEY": "blue-secret"},
    }))
    .await;
}

fn template(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]
}

// storage-decisions T18, storage-core 13, workload 9, 66: undecided with a changed block
#[tokio::test]
async fn unreachable_storage_blocks_only_the_deployment() {
    let (cluster, operator) = registry(json!({})).await;
    credentials(&cluster).await;
    let before = cluster.get(&deployment()).await.unwrap();
    cluster.edit(nowhere(json!({}))).await;
    cluster.edit(json!({"defaultRoute": true, "logLevel": "Debug"})).await;
    let undecided = |c: &Value| is(c, "StorageExists", "Unknown", "Unknown Error Occurred") && observed(c);
    let config = cluster.until_config("undecided", undecided).await;
    assert!(config["status"]["storage"].get("emptyDir").is_some() && config["status"]["storage"].get("s3").is_none());
    assert!(is(&config, "Available", "True", "Ready") && is(&config, "Progressing", "True", "Error"));
    cluster.until_present(&default_route()).await;
    // Another error is reported beside it.
    let route = json!({"name": "own", "hostname": "own.example.com", "secretName": "absent-tls"});
    cluster.edit(json!({"routes": [route]})).await;
    let both = |message: &str| message.contains("storage: ") && message.contains("absent-tls");
    cluster
        .until_config("reporting both", |c| both(&condition(c, "Progressing").2))
        .await;
    cluster.edit(json!({"routes": null})).await;
    cluster.settle().await;
    let after = cluster.get(&deployment()).await.unwrap();
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);

    cluster.edit(json!({"storage": {"emptyDir": {}, "s3": null}})).await;
    cluster
        .until_config("settled again", |c| {
            is(c, "Progressing", "False", "Ready") && observed(c)
        })
        .await;
    let log = operator.log();
    assert!(!log.contains("blue-secret"));
}

// storage-s3 43, lifecycle 91: a trustedCA that is not there shows in both conditions, and its arrival is seen
#[tokio::test]
async fn a_missing_storage_ca_is_reported_by_both_conditions_until_it_exists() {
    let (cluster, _operator) = registry(json!({})).await;
    credentials(&cluster).await;
    let map = user_input(Kind::ConfigMap, "blue-ca");
    cluster.delete(&map).await;
    let before = cluster.get(&deployment()).await.unwrap();
    cluster.edit(nowhere(json!({"trustedCA": {"name": "blue-ca"}}))).await;
    let names_it = |c: &Value, type_: &str| condition(c, type_).2.contains("openshift-config/blue-ca");
    cluster
        .until_config("the missing map is reported", |c| {
            is(c, CA_CONDITION, "True", "Error") && names_it(c, CA_CONDITION) && names_it(c, "StorageExists")
        })
        .await;
    let pem = cluster.devcluster.service_ca().unwrap();
    cluster.create(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "blue-ca", "namespace": names::CONFIG_NAMESPACE},
        "data": {"ca-bundle.crt": pem},
    }))
    .await;
    cluster
        .until_config("the map exists", |c| {
            is(c, CA_CONDITION, "False", "AsExpected") && !names_it(c, "StorageExists")
        })
        .await;
    // No preflight has used the CA yet, so it is not published and the pods stay.
    let published = cluster.get(&certificates_map()).await.unwrap();
    assert!(published["data"].get(names::STORAGE_CA_KEY).is_none());
    cluster.delete(&map).await;
    cluster.edit(json!({"storage": {"emptyDir": {}, "s3": null}})).await;
    cluster
        .until_config("settled again", |c| {
            is(c, CA_CONDITION, "False", "AsExpected") && observed(c)
        })
        .await;
    let after = cluster.get(&deployment()).await.unwrap();
    assert_eq!(template(&after), template(&before));
}

// lifecycle 44, storage-core 49: the CA of the storage that the Config names, and its rotation
#[tokio::test]
async fn in_unmanaged_the_storage_ca_is_published_and_its_rotation_followed() {
    let cluster = empty_cluster().await;
    let map = user_input(Kind::ConfigMap, "blue-ca");
    cluster.delete(&map).await;
    let mut config = TestCluster::managed(nowhere(json!({"trustedCA": {"name": "blue-ca"}}))["storage"].take());
    config["spec"]["storage"].as_object_mut().unwrap().remove("emptyDir");
    config["spec"]["managementState"] = json!("Unmanaged");
    cluster.create(config).await;
    let _operator = cluster.operator().await;
    cluster
        .until_config("the missing map is reported", |c| {
            is(c, CA_CONDITION, "True", "Error") && condition(c, CA_CONDITION).2.contains("openshift-config/blue-ca")
        })
        .await;
    let service_ca = cluster.devcluster.service_ca().unwrap();
    let rotated = format!("# rotated\n{service_ca}");
    let with_ca = |pem: &str| json!({"data": {"ca-bundle.crt": pem}});
    let mut created = json!({"apiVersion": "v1", "kind": "ConfigMap",
                             "metadata": {"name": "blue-ca", "namespace": names::CONFIG_NAMESPACE}});
    merge(&mut created, with_ca(&service_ca));
    cluster.create(created).await;
    let holds = |o: Option<&Value>, pem: &str| o.is_some_and(|o| o["data"][names::STORAGE_CA_KEY] == pem);
    cluster
        .until(&certificates_map(), "with the CA", |o| holds(o, &service_ca))
        .await;
    cluster.patch(&map, with_ca(&rotated)).await;
    cluster
        .until(&certificates_map(), "with the next CA", |o| holds(o, &rotated))
        .await;
    // The published CA stays although its source is missing.
    cluster.delete(&map).await;
    cluster
        .until_config("the missing map is reported", |c| is(c, CA_CONDITION, "True", "Error"))
        .await;
    cluster.settle().await;
    assert!(holds(cluster.get(&certificates_map()).await.as_ref(), &rotated));
}

// storage-decisions T16, storage-core 49: neither a restart, nor Unmanaged, nor a second backend drops the CA of storage in use
#[tokio::test]
async fn the_storage_ca_stays_published_while_the_storage_is_not_reconciled() {
    let (cluster, operator) = registry(json!({})).await;
    cluster.edit(json!({"managementState": "Unmanaged"})).await;
    cluster
        .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    operator.stop().await;
    cluster
        .patch(
            &certificates_map(),
            json!({"data": {names::STORAGE_CA_KEY: "CA OF THE STORAGE\n"}}),
        )
        .await;
    let operator = cluster.operator().await;
    let own = "image-registry.openshift-image-registry.svc..5000";
    let has_ca = |o: Option<&Value>| {
        o.is_some_and(|o| {
            o["data"][own]
                .as_str()
                .is_some_and(|pem| pem.contains("CA OF THE STORAGE"))
        })
    };
    // The controller has updated the map: clients that are redirected to the storage trust its CA, too.
    let kept = cluster
        .until(&certificates_map(), "with the CA under the registry's own name", has_ca)
        .await
        .unwrap();
    assert_eq!(kept["data"][names::STORAGE_CA_KEY], "CA OF THE STORAGE\n");
    let before = cluster.get(&deployment()).await.unwrap();
    // With two backends in the spec, the registry keeps its storage, and hence the CA.
    cluster
        .edit(json!({"managementState": "Managed", "storage": {"pvc": {}}}))
        .await;
    cluster
        .until_config("in conflict", |c| {
            is(c, "Degraded", "True", "StorageConflict") && observed(c)
        })
        .await;
    cluster.settle().await;
    assert!(has_ca(cluster.get(&certificates_map()).await.as_ref()));
    // The next storage needs no CA.
    cluster.edit(json!({"storage": {"pvc": null}})).await;
    cluster
        .until(&certificates_map(), "without it", |o| {
            o.is_some_and(|o| o["data"].get(names::STORAGE_CA_KEY).is_none())
        })
        .await;
    cluster.settle().await;
    assert_eq!(template(&cluster.get(&deployment()).await.unwrap()), template(&before));
    drop(operator);
}
