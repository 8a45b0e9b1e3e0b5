use serde_json::json;

use crate::azure::{REGION, World};

use super::{Back, generated, go, remove};

async fn unchanged(infrastructure: &'static str, case: &str, back: Back, is_ours: bool) {
    let world = World::new(infrastructure).await;
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
    let keys = world.azure.account_keys(&account).unwrap();
    let group = world.group.rsplit('/').next().unwrap();
    let subscription = world.group.split('/').nth(2).unwrap();
    let values = [
        ("$ACCOUNT_KEY", keys[0].as_str()),
        ("$ACCOUNT", &account),
        ("$CONTAINER", &container),
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
