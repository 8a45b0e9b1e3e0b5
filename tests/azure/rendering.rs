//! What the registry gets.

use image_registry_operator::config::facts::EnvValue;
use serde_json::json;

use super::cluster::{AzureCluster, TOKEN_FILE, USER_KEY, cluster, keyless_cluster};

fn variables(world: &AzureCluster) -> Vec<(&'static str, &'static str)> {
    let env = &world.running.as_ref().unwrap().env;
    let kind = |value: &EnvValue| match value {
        EnvValue::Secret(_) => "secret",
        EnvValue::Raw(_) => "raw",
        _ => "text",
    };
    env.iter()
        .map(|variable| (variable.name, kind(&variable.value)))
        .collect()
}

const COMMON: [(&str, &str); 3] = [
    ("REGISTRY_STORAGE", "text"),
    ("REGISTRY_STORAGE_AZURE_CONTAINER", "text"),
    ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "text"),
];

// storage-azure 27, 29
#[tokio::test]
async fn with_a_client_secret_the_registry_gets_the_accounts_key() {
    let mut world = cluster("render-key", json!({"azure": {}})).await;
    world.converge().await;
    assert_eq!(variables(&world), [&[(USER_KEY, "secret")][..], &COMMON].concat());
    let [key, _] = world.azure().account_keys(&world.account()).unwrap();
    for (name, value) in [
        (USER_KEY, key),
        ("REGISTRY_STORAGE", "azure".to_owned()),
        ("REGISTRY_STORAGE_AZURE_CONTAINER", world.container()),
        ("REGISTRY_STORAGE_AZURE_ACCOUNTNAME", world.account()),
    ] {
        assert_eq!(world.variable(name), Some(value), "{name}");
    }
    let facts = world.running.as_ref().unwrap();
    assert!(facts.volumes.is_empty() && facts.mounts.is_empty() && facts.files.is_empty() && facts.ca_bundle.is_none());
}

// storage-azure 28, workload 38
#[tokio::test]
async fn with_a_workload_identity_the_registry_gets_no_key() {
    let mut world = keyless_cluster("render-keyless", json!({"azure": {}})).await;
    world.converge().await;
    let identity = [
        ("AZURE_CLIENT_ID", "raw"),
        ("AZURE_TENANT_ID", "raw"),
        ("AZURE_FEDERATED_TOKEN_FILE", "raw"),
        ("AZURE_AUTHORITY_HOST", "raw"),
    ];
    assert_eq!(variables(&world), [&identity[..], &COMMON].concat());
    for (name, value) in [
        ("AZURE_CLIENT_ID", world.operator.client_id.as_str()),
        ("AZURE_TENANT_ID", &world.operator.tenant),
        ("AZURE_FEDERATED_TOKEN_FILE", TOKEN_FILE),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/"),
    ] {
        assert_eq!(world.variable(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(world.count("StorageAccounts_ListKeys"), 0);
    assert!(
        world.calls().iter().any(|call| call == "Service_GetUserDelegationKey"),
        "the registry signs URLs with it"
    );
    world.gate.forget();
    for _ in 0..5 {
        assert!(world.pass().await.facts.is_some());
    }
    assert_eq!(world.gate.asked().len(), 0, "rendering asks for nothing");
}

// storage-azure 7: the realm of the cluster's cloud
#[tokio::test]
async fn a_cloud_that_the_spec_names_tells_the_registry_its_realm() {
    let mut world = cluster("render-realm", json!({"azure": {"cloudName": "azurecloud"}})).await;
    world.converge().await;
    assert_eq!(
        world.variable("REGISTRY_STORAGE_AZURE_REALM").as_deref(),
        Some("core.windows.net")
    );
}
