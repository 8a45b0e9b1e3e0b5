//! What the platform's registry gets for Google Cloud Storage.

use image_registry_operator::api::Sensitive;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::names;
use image_registry_operator::program::platform::Platform;
use image_registry_operator::program::{GcsStorage, RegistryProgram as _, RegistryStorage};
use serde_json::json;

// storage-gcs 38
#[test]
fn the_pods_get_three_variables_and_the_key_file() {
    let storage = RegistryStorage::Gcs(GcsStorage {
        bucket: "images-of-blue".to_owned(),
        key_file: Sensitive::new("{\"type\": \"service_account\"}"),
    });
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
            ("REGISTRY_STORAGE", text("gcs")),
            ("REGISTRY_STORAGE_GCS_BUCKET", text("images-of-blue")),
            ("REGISTRY_STORAGE_GCS_KEYFILE", text("/gcs/keyfile")),
        ]
    );
    assert_eq!(
        facts.volumes,
        [json!({
            "name": "registry-storage-keyfile",
            "secret": {
                "secretName": names::PRIVATE_SECRET, "optional": false,
                "items": [{"key": "REGISTRY_STORAGE_GCS_KEYFILE", "path": "keyfile"}],
            },
        })]
    );
    assert_eq!(
        facts.mounts,
        [json!({"name": "registry-storage-keyfile", "mountPath": "/gcs"})]
    );
    let files: Vec<_> = facts
        .files
        .iter()
        .map(|(key, content)| (key.as_str(), content.expose()))
        .collect();
    assert_eq!(
        files,
        [("REGISTRY_STORAGE_GCS_KEYFILE", "{\"type\": \"service_account\"}")]
    );
    assert_eq!(facts.ca_bundle, None);
    // Debug output shows no key, and the fingerprint knows of it.
    assert!(!format!("{storage:?}").contains("service_account"));
    assert!(storage.texts().iter().any(|text| text.contains("service_account")));
}
