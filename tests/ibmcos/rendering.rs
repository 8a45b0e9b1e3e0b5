//! What the platform's registry gets.

use image_registry_operator::api::Sensitive;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::names;
use image_registry_operator::program::platform::Platform;
use image_registry_operator::program::{RegistryProgram as _, RegistryStorage, S3Storage};
use serde_json::{Value, json};

use super::cluster::IbmCluster;

// storage-ibmcos 1, section 8
#[test]
fn the_pods_get_eight_variables_in_order_and_the_file_of_keys() {
    let storage = RegistryStorage::IbmCos(Box::new(S3Storage {
        bucket: "images-of-blue".to_owned(),
        region: "us-east".to_owned(),
        endpoint: Some("s3.us-east.cloud-object-storage.appdomain.cloud".to_owned()),
        public: None,
        path_style: true,
        dual_stack: Some(false),
        encrypt: false,
        key_id: None,
        chunk_size: None,
        credentials: Sensitive::new("[default]\n"),
        cloud_front: None,
    }));
    let facts = Platform.render(&storage).unwrap();
    let env: Vec<_> = facts
        .env
        .iter()
        .map(|variable| (variable.name, variable.value.clone()))
        .collect();
    let text = |value: &str| EnvValue::Text(value.to_owned());
    assert_eq!(
        env,
        [
            ("REGISTRY_STORAGE", text("s3")),
            ("REGISTRY_STORAGE_S3_BUCKET", text("images-of-blue")),
            ("REGISTRY_STORAGE_S3_REGION", text("us-east")),
            (
                "REGISTRY_STORAGE_S3_REGIONENDPOINT",
                text("s3.us-east.cloud-object-storage.appdomain.cloud")
            ),
            ("REGISTRY_STORAGE_S3_ENCRYPT", EnvValue::Flag(false)),
            ("REGISTRY_STORAGE_S3_FORCEPATHSTYLE", EnvValue::Flag(true)),
            ("REGISTRY_STORAGE_S3_USEDUALSTACK", EnvValue::Flag(false)),
            (
                "REGISTRY_STORAGE_S3_CREDENTIALSCONFIGPATH",
                text("/var/run/secrets/cloud/credentials")
            ),
        ]
    );
    let name = names::PRIVATE_SECRET;
    assert_eq!(
        facts.volumes,
        [json!({"name": name, "secret": {"secretName": name, "optional": false}})]
    );
    assert_eq!(
        facts.mounts,
        [json!({"name": name, "mountPath": "/var/run/secrets/cloud", "readOnly": true})]
    );
    assert_eq!(facts.files["credentials"].expose(), "[default]\n");
    assert!(storage.texts().iter().any(|text| text.contains("[default]")));
}

// storage-ibmcos 1, 2, 27
#[tokio::test]
async fn endpoint_region_and_constraint_are_of_one_location() {
    // The public addresses.
    let mut cluster = IbmCluster::public("rendered-public", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let variable = |cluster: &IbmCluster, name: &str| cluster.variable(&format!("REGISTRY_STORAGE_S3_{name}")).unwrap();
    let text = |value: &str| format!("{:?}", EnvValue::Text(value.to_owned()));
    assert_eq!(variable(&cluster, "REGION"), text("us-east"));
    let host = "s3.us-east.cloud-object-storage.appdomain.cloud";
    assert_eq!(variable(&cluster, "REGIONENDPOINT"), text(host));
    let asked = cluster.gate.asked();
    let hosts: std::collections::BTreeSet<_> = asked.iter().map(|asked| asked.host.clone()).collect();
    assert_eq!(
        hosts.into_iter().collect::<Vec<_>>(),
        ["iam.cloud.ibm.com", "resource-controller.cloud.ibm.com", host]
    );
    // The platform's own address, and the location of the spec.
    let mut cluster = IbmCluster::new("rendered-location", json!({"ibmcos": {"location": "eu-gb"}})).await;
    cluster.converge().await;
    assert_eq!(variable(&cluster, "REGION"), text("eu-gb"));
    assert_eq!(variable(&cluster, "REGIONENDPOINT"), text(&cluster.gate.url()));
    assert_eq!(cluster.field("location"), Some("eu-gb"));
    let bucket = cluster.field("bucket").unwrap();
    assert_eq!(bucket, "rendered-location-image-registry-eu-gb");
    assert_eq!(cluster.ibm.bucket(bucket).unwrap().1, "eu-gb-smart");
    // The registry signs for the location.
    let asked = cluster.gate.asked();
    let signed = asked.iter().find(|asked| asked.is_signed()).unwrap();
    assert!(signed.header("authorization").unwrap().contains("/eu-gb/s3/"));
}

// storage-ibmcos 31
#[tokio::test]
async fn without_a_resource_key_there_is_no_file() {
    let storage = json!({"ibmcos": {"bucket": "no-file-users"}, "managementState": "Unmanaged"});
    let mut cluster = IbmCluster::with_instance("no-file", storage).await;
    cluster
        .ibm
        .make_bucket(&cluster.instance(), "no-file-users")
        .await
        .unwrap();
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}}));
    // As if the storage had been in use without a key.
    let spec = cluster.storage_spec()["ibmcos"].clone();
    cluster.config["status"] = json!({
        "storage": {"ibmcos": spec, "managementState": "Unmanaged"}, "storageManaged": false,
        "conditions": [{"type": "StorageExists", "status": "True", "reason": "IBM COS Bucket Exists", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("resource key"), "{error}");
    assert!(cluster.running.is_none());
    assert_eq!(cluster.storage_spec()["ibmcos"]["resourceKeyCRN"], Value::Null);
}
