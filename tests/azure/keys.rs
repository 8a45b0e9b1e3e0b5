//! Keys of the account: how often they are read, and what happens when they change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::names;
use serde_json::json;

use super::cluster::{AzureCluster, USER_KEY, call, cluster};

const LIST: &str = "StorageAccounts_ListKeys";

fn lookups(world: &AzureCluster) -> (u64, u64) {
    let [hits, misses] = &world.process.lookups;
    (hits.load(Ordering::Relaxed), misses.load(Ordering::Relaxed))
}

// storage-azure 18
#[tokio::test]
async fn an_account_without_a_key_is_told() {
    for (name, body) in [
        ("keys-none", json!({"keys": []})),
        ("keys-null", json!({"keys": [{"keyName": "key1", "value": null}]})),
    ] {
        let mut world = cluster(name, json!({"azure": {}})).await;
        let body = body.to_string();
        world.gate.rule(move |asked| {
            if call(asked) == LIST {
                Fault::Answer(Reply::new(200, &body).header("content-type", "application/json"))
            } else {
                Fault::Pass
            }
        });
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains("has no key"), "{error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/AzureError");
    }
}

// storage-azure 19
#[tokio::test]
async fn keys_are_read_once_in_twenty_minutes_and_errors_are_not_remembered() {
    let mut world = cluster("keys-cached", json!({"azure": {}})).await;
    world.answer(LIST, Reply::resource_manager_error(403, "AuthorizationFailed", "no"));
    assert!(world.settle().await.error.is_some());
    let (_, misses) = lookups(&world);
    assert!(misses > 0);
    world.gate.pass();
    world.gate.forget();
    world.converge().await;
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
    assert_eq!(lookups(&world).1, misses + 1);
    assert!(lookups(&world).0 > 0);
    // Settled: neither keys nor anything else is asked for.
    world.gate.forget();
    for _ in 0..10 {
        world.pass().await;
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    // The process is new: one look at the storage, with a key.
    world.restart();
    world.pass().await;
    world.pass().await;
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
}

// storage-azure 19: after its lifetime, for the registry too
#[tokio::test]
async fn a_key_is_read_again_after_its_lifetime() {
    let mut world = cluster("keys-expire", json!({"azure": {}})).await;
    world.converge().await;
    world.gate.forget();
    world.clock_forward(Duration::from_mins(21));
    world.pass().await;
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
}

// storage-azure 20
#[tokio::test]
async fn a_key_that_was_renewed_is_read_again_when_the_service_refuses_the_old_one() {
    let mut world = cluster("keys-rotated", json!({"azure": {}})).await;
    world.converge().await;
    let account = world.account();
    let old = world.variable(USER_KEY).unwrap();
    let new = world.azure().rotate_key(&account, "key1").unwrap();
    world.gate.forget();
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
    assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    // The registry gets the new key in the same pass, not when the old one's lifetime ends.
    assert_eq!(world.variable(USER_KEY), Some(new.clone()));
    assert_ne!(old, new);
}

// storage-azure 19: a key is that of one account in one resource group
#[tokio::test]
async fn another_account_or_resource_group_has_another_key() {
    let mut world = cluster("keys-other", json!({"azure": {"accountName": "keysotherone"}})).await;
    world.users_account("keysotherone");
    world.users_account("keysothertwo");
    world.converge().await;
    let [one, two] = ["keysotherone", "keysothertwo"].map(|name| world.azure().account_keys(name).unwrap()[0].clone());
    assert_eq!(world.variable(USER_KEY), Some(one));
    world.gate.forget();
    world.edit(
        json!({"storage": {"azure": {"accountName": "keysothertwo", "container": null}, "managementState": null}}),
    );
    world.converge().await;
    assert_eq!(world.variable(USER_KEY), Some(two));
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
    // The same name in another resource group is another account.
    let mut world = cluster("keys-moved", json!({"azure": {"accountName": "keysmoved"}})).await;
    world.users_account("keysmoved");
    world.converge().await;
    let other = world
        .azure()
        .resource_group(&world.cloud.subscription, "rg-keys-moved-2", super::stores::REGION);
    world.azure().allow(&world.operator, &other, super::stores::role());
    let secret = world.azure().add_secret(&world.operator).unwrap();
    world.storage.secrets.push(secret.clone());
    world.mint(&[
        ("azure_client_secret", &secret),
        ("azure_resourcegroup", "rg-keys-moved-2"),
    ]);
    world.gate.forget();
    world.edit(json!({"replicas": 3}));
    world.pass().await;
    assert_eq!(world.count(LIST), 1, "{:?}", world.calls());
}

// storage-azure 20: one attempt, not an endless loop
#[tokio::test]
async fn a_key_that_is_refused_twice_is_told() {
    let mut world = cluster("keys-refused", json!({"azure": {}})).await;
    world.converge().await;
    world.gate.forget();
    world.answer(
        "Container_GetProperties",
        Reply::blob_error(403, "AuthenticationFailed", "no"),
    );
    world.edit(json!({"replicas": 3}));
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("AuthenticationFailed"), "{error}");
    assert_eq!((world.count("Container_GetProperties"), world.count(LIST)), (2, 1));
    assert_eq!(world.condition("StorageExists"), "Unknown/AzureError");
}

#[tokio::test]
async fn an_account_that_accepts_no_keys_is_told_with_the_remedy() {
    let mut world = cluster("keys-off", json!({"azure": {"accountName": "keysoff"}})).await;
    world.users_account("keysoff");
    let id = format!("{}/providers/Microsoft.Storage/storageAccounts/keysoff", world.group);
    let off = json!({"properties": {"allowSharedKeyAccess": false}});
    world.azure().change_resource(&id, &off).unwrap();
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("KeyBasedAuthenticationNotPermitted"), "{error}");
    assert!(error.message.contains("azure_federated_token_file"), "{error}");
    assert!(world.annotation(names::STORAGE_CREATED_ANNOTATION).is_none());
}
