use serde_json::{Value, json};

use crate::azure::{REGION, World};

use super::{Back, generated, go, remove};
use crate::go::Go;
use crate::go::statuses::condition;
use crate::go::takeover::{give_back, running};
use crate::support::{is, is_up};

/// Makes an account with an image in its container, and returns both names.
async fn account_with_an_image(world: &World, infrastructure: &str, is_ours: bool) -> (String, String) {
    let mut account = format!("imageregistry{}", infrastructure.replace('-', ""));
    account.truncate(19);
    account.push_str("bcd24");
    let container = generated(infrastructure, "");
    let key = format!("kubernetes.io_cluster.{infrastructure}");
    let tags = if is_ours { json!({key: "owned"}) } else { json!({}) };
    world
        .azure
        .make_account(&world.group, &account, &json!({"location": REGION, "tags": tags}))
        .unwrap();
    world.azure.make_container(&account, &container, &[]).await.unwrap();
    world
        .azure
        .put_blob(&account, &container, "docker/registry/v2/x", b"image")
        .await
        .unwrap();
    (account, container)
}

/// The Go operator with its registry on this account, in the environment of the cloud.
async fn go_on<'a>(world: &'a World, infrastructure: &str, case: &str, account: &str, container: &str) -> Go<'a> {
    let keys = world.azure.account_keys(account).unwrap();
    let group = world.group.rsplit('/').next().unwrap();
    let subscription = world.group.split('/').nth(2).unwrap();
    let values = [
        ("$ACCOUNT_KEY", keys[0].as_str()),
        ("$ACCOUNT", account),
        ("$CONTAINER", container),
        ("$REGION", REGION),
        ("$RESOURCE_GROUP", group),
        ("$SUBSCRIPTION", subscription),
        ("$TENANT", &world.tenant),
        ("$CLIENT_ID", &world.identity.client_id),
        ("$CLIENT_SECRET", &world.secret),
        ("$INFRA", infrastructure),
    ];
    let mut go = go(&world.cluster, infrastructure, case, &values).await;
    go.environment.extend(world.environment());
    go
}

async fn unchanged(infrastructure: &'static str, case: &str, back: Back, is_ours: bool) {
    let world = World::new(infrastructure).await;
    let (account, container) = account_with_an_image(&world, infrastructure, is_ours).await;
    let keys = world.azure.account_keys(&account).unwrap();
    let go = go_on(&world, infrastructure, case, &account, &container).await;
    let before = (
        world.azure.account(&account),
        world.azure.containers(&account).await.unwrap(),
    );
    world.azure.forget_calls();
    let operator = back.take_over(&go).await;
    let after = (
        world.azure.account(&account),
        world.azure.containers(&account).await.unwrap(),
    );
    assert_eq!(after, before);
    remove(&world.cluster).await;
    // An account of the Go operator has no record of its creation, and stays.
    assert!(world.azure.account(&account).is_some());
    assert_eq!(world.azure.containers(&account).await.unwrap().is_empty(), is_ours);
    world.judge(operator, keys).await;
}

// workload 61: Azure, with a client secret that the platform minted
#[tokio::test]
async fn an_account_of_the_go_operator_is_taken_over() {
    unchanged("kw-ztake1", "azure-minted", Back::AndForth, true).await;
}

// workload 61: an account of the user with its key
#[tokio::test]
async fn an_account_of_the_user_is_taken_over_and_stays() {
    unchanged("kw-ztake2", "azure-user-account", Back::Once, false).await;
}

// workload 61: Azure Red Hat OpenShift, whose installer made the account
#[tokio::test]
async fn an_account_that_the_installer_named_is_taken_over_and_stays() {
    unchanged("kw-ztake3", "azure-preset-account", Back::Once, false).await;
}

// storage-azure 29: the operator fills in the cloud that the Config does not name, and the pods keep the environment that they have
#[tokio::test]
async fn pods_are_not_replaced_though_the_operator_has_to_look_at_the_storage_and_fills_in_the_cloud() {
    for (infrastructure, case, managed) in [
        ("kw-ztake4", "azure-user-account", false),
        ("kw-ztake5", "azure-preset-account", false),
        ("kw-ztake6", "azure-preset-account", true),
    ] {
        let world = World::new(infrastructure).await;
        let (account, container) = account_with_an_image(&world, infrastructure, managed).await;
        let keys = world.azure.account_keys(&account).unwrap();
        let mut go = go_on(&world, infrastructure, case, &account, &container).await;
        let store = go.store.as_mut().unwrap();
        store.conditions = vec![condition("StorageExists", "Unknown", "AzureError", "a passing error")];
        if managed {
            store.storage_managed = true;
            for storage in [&mut store.spec_storage, &mut store.status_storage] {
                storage["managementState"] = json!("Managed");
                storage["azure"].as_object_mut().unwrap().remove("cloudName");
            }
            store
                .env
                .retain(|variable| variable["name"] != "REGISTRY_STORAGE_AZURE_REALM");
            go.spec["storage"] = store.spec_storage.clone();
        }
        go.install().await;
        let before = running(&world.cluster).await;
        world.azure.forget_calls();
        let (operator, _) = go.take_over().await;
        let found = |c: &Value| is_up(c) && is(c, "StorageExists", "True", "ContainerExists");
        let config = world.cluster.until_config("up", found).await;
        world.cluster.settle().await;
        assert_eq!(running(&world.cluster).await, before, "{infrastructure}");
        assert_eq!(
            config["status"]["storage"]["azure"]["cloudName"], "AzurePublicCloud",
            "{infrastructure}"
        );
        let calls = world.azure.calls();
        let written = calls
            .iter()
            .filter(|call| call.request.starts_with("PUT ") || call.request.starts_with("DELETE "));
        assert_eq!(
            written.map(|call| &call.request).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{infrastructure}"
        );
        give_back(&world.cluster, operator).await;
        let operator = world.operator().await;
        remove(&world.cluster).await;
        world.judge(operator, keys).await;
    }
}
