//! A container of another project.

use devcluster::stores::Project;
use serde_json::json;

use super::cloud::cloud;
use super::cluster::SwiftCluster;
use super::conformance::{BackendUnderTest as _, Sent, owned};

/// The cloud's Secret has the credentials of this project from now on.
fn move_to(site: &mut SwiftCluster, project: &Project) {
    site.never_show(&project.password);
    let auth = json!({
        "username": project.user, "password": project.password, "project_id": project.id, "user_domain_name": "Default",
    });
    site.set_cloud(auth, json!({"region_name": "RegionOne"}));
    site.forget();
}

// storage-decisions T4: a change of the cloud's Secret alone
#[tokio::test]
async fn another_project_behind_the_same_names_is_not_written_to_before_the_mark_is_read() {
    let (mut site, name) = owned::<SwiftCluster>("other-a12").await;
    let other = cloud().await.stack.keystone.project("other-a12").await.unwrap();
    let stack = &cloud().await.stack;
    let account = stack.swift.account(&stack.keystone, &other).await.unwrap();
    account.create(&name, &[]).await.unwrap();
    account.put(&name, "image", b"x").await.unwrap();
    move_to(&mut site, &other);
    let running = site.running.clone();
    for _ in 0..3 {
        site.pass().await;
        site.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(site.running, running, "the registry keeps its credentials");
    assert!(
        !site.sent().contains(&Sent::Probe) && site.changes().is_empty(),
        "{:?}",
        site.operations()
    );
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_eq!(account.objects(&name).await.unwrap(), ["image"]);
    assert!(site.exists(&name).await);
}

// storage-decisions T4: credentials of a project that has no such container
#[tokio::test]
async fn another_project_without_the_container_gets_none() {
    let (mut site, name) = owned::<SwiftCluster>("none-a13").await;
    let stack = &cloud().await.stack;
    let other = stack.keystone.project("none-a13").await.unwrap();
    let account = stack.swift.account(&stack.keystone, &other).await.unwrap();
    move_to(&mut site, &other);
    let running = site.running.clone();
    for _ in 0..6 {
        site.pass().await;
        site.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(site.running, running, "the registry keeps its credentials");
    assert!(site.changes().is_empty(), "{:?}", site.operations());
    assert_eq!(site.count_events("StorageLost"), 0);
    assert!(site.condition("StorageExists").starts_with("Unknown/"));
    assert!(site.message("StorageExists").contains("restore credentials"));
    assert_eq!(account.containers().await.unwrap(), [] as [&str; 0]);
    assert!(site.exists(&name).await);
}
