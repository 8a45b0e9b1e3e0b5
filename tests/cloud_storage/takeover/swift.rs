use crate::swift::World;

use super::{Back, generated, go, remove};

/// Operations that change a container or its content.
const CHANGES: [&str; 4] = ["PutContainer", "PostContainer", "DeleteContainer", "PutObject"];

async fn unchanged(world: World, case: &str, back: Back, is_ours: bool) {
    let container = generated(world.infrastructure, "");
    let metadata = [
        ("Openshiftclusterid", world.infrastructure),
        ("Name", container.as_str()),
    ];
    world
        .account
        .create(&container, if is_ours { &metadata } else { &[] })
        .await
        .unwrap();
    world
        .account
        .put(&container, "files/docker/registry/v2/x", b"image")
        .await
        .unwrap();
    let before = world.account.metadata(&container).await.unwrap();
    let url = format!("{}/v3", world.keystone.url());
    let project = &world.project;
    let values = [
        ("$CONTAINER", container.as_str()),
        ("$AUTH_URL", &url),
        ("$USERNAME", &project.user),
        ("$PASSWORD", &project.password),
        ("$PROJECT_ID", &project.id),
        ("$PROJECT", world.infrastructure),
        ("$REGION", world.infrastructure),
        ("$INFRA", world.infrastructure),
    ];
    let go = go(&world.cluster, world.infrastructure, case, &values).await;
    world.swift.forget();
    let operator = back.take_over(&go).await;
    let operations = world.swift.operations();
    assert!(
        !operations.iter().any(|o| CHANGES.contains(&o.as_str())),
        "{operations:?}"
    );
    assert_eq!(world.account.metadata(&container).await.unwrap(), before);
    remove(&world.cluster).await;
    assert_eq!(world.account.metadata(&container).await.unwrap().is_none(), is_ours);
    world.judge(operator).await;
}

// workload 61: OpenStack, with the login that the platform minted
#[tokio::test]
async fn a_container_of_the_go_operator_is_taken_over() {
    let world = World::new("kw-stake").await;
    unchanged(world, "swift-created-password", Back::AndForth, true).await;
}

// workload 61: a container of the user
#[tokio::test]
async fn a_container_of_the_user_is_taken_over_and_stays() {
    let world = World::new("kw-suser").await;
    unchanged(world, "swift-user-container", Back::Once, false).await;
}
