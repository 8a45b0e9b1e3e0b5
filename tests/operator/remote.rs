//! Storage over the network that is not there: what the registry has stays, and all else goes on. Storage that is there is
//! another program's matter.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, operand};
use crate::{certificates_map, deployment, observed, registry};

const CA_CONDITION: &str = "ImageRegistryCertificatesControllerDegraded";

/// Nobody listens there.
fn nowhere(more: Value) -> Value {
    let mut block = json!({"bucket": "blue-images", "region": "eu-west-3", "regionEndpoint": "http://127.0.0.1:9"});
    crate::merge(&mut block, more);
    json!({"storage": {"emptyDir": null, "s3": block}})
}

async fn credentials(lab: &Lab) {
    lab.create(json!({
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
async fn storage_that_does_not_answer_holds_the_deployment_and_nothing_else() {
    let (lab, operator) = registry(json!({})).await;
    credentials(&lab).await;
    let before = lab.get(&deployment()).await.unwrap();
    lab.edit(nowhere(json!({}))).await;
    lab.edit(json!({"defaultRoute": true, "logLevel": "Debug"})).await;
    let undecided = |c: &Value| is(c, "StorageExists", "Unknown", "Unknown Error Occurred") && observed(c);
    let config = lab.until_config("not decided", undecided).await;
    assert!(config["status"]["storage"].get("emptyDir").is_some() && config["status"]["storage"].get("s3").is_none());
    assert!(is(&config, "Available", "True", "Ready") && is(&config, "Progressing", "True", "Error"));
    lab.until_present(&operand(Kind::Route, names::DEFAULT_ROUTE)).await;
    // What else fails is told beside it.
    let route = json!({"name": "own", "hostname": "own.example.com", "secretName": "absent-tls"});
    lab.edit(json!({"routes": [route]})).await;
    let both = |message: &str| message.contains("storage: ") && message.contains("absent-tls");
    lab.until_config("telling both", |c| both(&condition(c, "Progressing").2))
        .await;
    lab.edit(json!({"routes": null})).await;
    lab.settle().await;
    let after = lab.get(&deployment()).await.unwrap();
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);

    lab.edit(json!({"storage": {"emptyDir": {}, "s3": null}})).await;
    lab.until_config("at rest again", |c| {
        is(c, "Progressing", "False", "Ready") && observed(c)
    })
    .await;
    let log = operator.log();
    assert!(!log.contains("blue-secret"));
}

// storage-s3 43, lifecycle 91: a trustedCA that is not there shows in both conditions, and its arrival is seen
#[tokio::test]
async fn a_missing_ca_of_the_storage_is_told_by_both_conditions_until_it_comes() {
    let (lab, _operator) = registry(json!({})).await;
    credentials(&lab).await;
    let map = ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, "blue-ca");
    lab.delete(&map).await;
    let before = lab.get(&deployment()).await.unwrap();
    lab.edit(nowhere(json!({"trustedCA": {"name": "blue-ca"}}))).await;
    let names_it = |c: &Value, type_: &str| condition(c, type_).2.contains("openshift-config/blue-ca");
    lab.until_config("the map is missed", |c| {
        is(c, CA_CONDITION, "True", "Error") && names_it(c, CA_CONDITION) && names_it(c, "StorageExists")
    })
    .await;
    let pem = lab.cluster.service_ca().unwrap();
    lab.create(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "blue-ca", "namespace": names::CONFIG_NAMESPACE},
        "data": {"ca-bundle.crt": pem},
    }))
    .await;
    lab.until_config("the map has come", |c| {
        is(c, CA_CONDITION, "False", "AsExpected") && !names_it(c, "StorageExists")
    })
    .await;
    // Nobody has tried it out: it is not published, and the pods stay.
    let published = lab.get(&certificates_map()).await.unwrap();
    assert!(published["data"].get(names::STORAGE_CA_KEY).is_none());
    lab.delete(&map).await;
    lab.edit(json!({"storage": {"emptyDir": {}, "s3": null}})).await;
    lab.until_config("at rest again", |c| {
        is(c, CA_CONDITION, "False", "AsExpected") && observed(c)
    })
    .await;
    let after = lab.get(&deployment()).await.unwrap();
    assert_eq!(template(&after), template(&before));
}

// lifecycle 44, storage-core 49: the CA of the storage that the Config names, and its rotation
#[tokio::test]
async fn the_ca_of_the_storage_is_published_while_unmanaged_and_followed() {
    let lab = crate::cluster().await;
    let map = ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, "blue-ca");
    lab.delete(&map).await;
    let mut config = Lab::managed(nowhere(json!({"trustedCA": {"name": "blue-ca"}}))["storage"].take());
    config["spec"]["storage"].as_object_mut().unwrap().remove("emptyDir");
    config["spec"]["managementState"] = json!("Unmanaged");
    lab.create(config).await;
    let _operator = lab.operator().await;
    lab.until_config("the map is missed", |c| {
        is(c, CA_CONDITION, "True", "Error") && condition(c, CA_CONDITION).2.contains("openshift-config/blue-ca")
    })
    .await;
    let service_ca = lab.cluster.service_ca().unwrap();
    let rotated = format!("# rotated\n{service_ca}");
    let with_ca = |pem: &str| json!({"data": {"ca-bundle.crt": pem}});
    let mut created = json!({"apiVersion": "v1", "kind": "ConfigMap",
                             "metadata": {"name": "blue-ca", "namespace": names::CONFIG_NAMESPACE}});
    crate::merge(&mut created, with_ca(&service_ca));
    lab.create(created).await;
    let holds = |o: Option<&Value>, pem: &str| o.is_some_and(|o| o["data"][names::STORAGE_CA_KEY] == pem);
    lab.until(&certificates_map(), "with the CA", |o| holds(o, &service_ca))
        .await;
    lab.patch(&map, with_ca(&rotated)).await;
    lab.until(&certificates_map(), "with the next CA", |o| holds(o, &rotated))
        .await;
    // It is not dropped for a moment's mistake.
    lab.delete(&map).await;
    lab.until_config("the map is missed", |c| is(c, CA_CONDITION, "True", "Error"))
        .await;
    lab.settle().await;
    assert!(holds(lab.get(&certificates_map()).await.as_ref(), &rotated));
}

// storage-decisions T16, storage-core 49: neither a restart, nor Unmanaged, nor a second backend drops the CA of storage in use
#[tokio::test]
async fn the_ca_of_the_storage_stays_published_while_nobody_looks_at_the_storage() {
    let (lab, operator) = registry(json!({})).await;
    lab.edit(json!({"managementState": "Unmanaged"})).await;
    lab.until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    operator.stop().await;
    lab.patch(
        &certificates_map(),
        json!({"data": {names::STORAGE_CA_KEY: "CA OF THE STORAGE\n"}}),
    )
    .await;
    let operator = lab.operator().await;
    let own = "image-registry.openshift-image-registry.svc..5000";
    let has_ca = |o: Option<&Value>| {
        o.is_some_and(|o| {
            o["data"][own]
                .as_str()
                .is_some_and(|pem| pem.contains("CA OF THE STORAGE"))
        })
    };
    // The loop went over the map: clients that are sent on to the storage trust it, too.
    let kept = lab
        .until(&certificates_map(), "with the CA under the registry's own name", has_ca)
        .await
        .unwrap();
    assert_eq!(kept["data"][names::STORAGE_CA_KEY], "CA OF THE STORAGE\n");
    let before = lab.get(&deployment()).await.unwrap();
    // Two backends: the registry keeps the storage that it has, and so what it trusts.
    lab.edit(json!({"managementState": "Managed", "storage": {"pvc": {}}}))
        .await;
    lab.until_config("in conflict", |c| {
        is(c, "Degraded", "True", "StorageConflict") && observed(c)
    })
    .await;
    lab.settle().await;
    assert!(has_ca(lab.get(&certificates_map()).await.as_ref()));
    // Storage that needs none.
    lab.edit(json!({"storage": {"pvc": null}})).await;
    lab.until(&certificates_map(), "without it", |o| {
        o.is_some_and(|o| o["data"].get(names::STORAGE_CA_KEY).is_none())
    })
    .await;
    lab.settle().await;
    assert_eq!(template(&lab.get(&deployment()).await.unwrap()), template(&before));
    drop(operator);
}
