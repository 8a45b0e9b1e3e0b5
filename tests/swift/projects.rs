//! A container of another project.

use devcluster::stores::{Fault, Project, REGION, Reply};
use serde_json::json;

use super::cloud::{cloud, gateway};
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

// storage-decisions T4: the same login leads to another region, which has no such container
#[tokio::test]
async fn another_region_without_the_container_gets_none() {
    let gateway = gateway().await;
    let (mut site, name) = owned::<SwiftCluster>("region-a14").await;
    site.set_cloud(site.cloud.password(), json!({"region_name": "Ceph"}));
    site.forget();
    let running = site.running.clone();
    for _ in 0..6 {
        site.pass().await;
        site.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(site.running, running, "the registry keeps its region");
    assert!(site.changes().is_empty(), "{:?}", site.operations());
    assert_eq!(site.count_events("StorageLost"), 0);
    assert!(site.message("StorageExists").contains("restore credentials"));
    let there = gateway.account_with(&site.cloud.project, &site.cloud.token().await);
    assert!(!there.containers().await.unwrap().contains(&name));
    assert!(site.exists(&name).await);
}

// storage-decisions T4: nobody names a region, and the catalogue lists another one first from now on
#[tokio::test]
async fn a_container_of_another_region_is_not_lost() {
    let gateway = gateway().await;
    let (mut site, name) = owned::<SwiftCluster>("region-a15").await;
    site.set_cloud(site.cloud.password(), json!({}));
    site.forget();
    let there = gateway.account_with(&site.cloud.project, &site.cloud.token().await);
    there.create(&name, &[]).await.unwrap();
    site.disturb(|asked| {
        let of_container = ["HeadContainer", "GetContainer"].contains(&asked.operation().as_str());
        let missing = Reply::new(404, "").header("x-trans-id", "tx1");
        of_container.then(|| Fault::Answer(missing))
    });
    let running = site.running.clone();
    for _ in 0..6 {
        site.pass().await;
        site.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(site.running, running);
    assert!(site.changes().is_empty(), "{:?}", site.operations());
    assert_eq!(site.count_events("StorageLost"), 0);
    assert!(
        site.message("StorageExists").contains("region_name"),
        "{}",
        site.message("StorageExists")
    );
    site.edit(json!({"managementState": "Removed"}));
    assert!(site.settle().await.error.is_some(), "a removal does not end here");
    // The administrator does what the message says.
    site.set_cloud(site.cloud.password(), json!({"region_name": REGION}));
    site.forget();
    site.pass_all();
    assert!(site.exists(&name).await);
    assert!(site.converge().await.done && !site.exists(&name).await);
    assert_eq!(site.state(), None);
}

// In part: storage-core 40; nobody names a region, and no region has the container any more
#[tokio::test]
async fn a_removal_ends_where_the_catalogue_has_several_regions() {
    gateway().await;
    let (mut site, name) = owned::<SwiftCluster>("region-a16").await;
    site.set_cloud(site.cloud.password(), json!({}));
    site.forget();
    site.edit(json!({"managementState": "Removed"}));
    assert!(site.converge().await.done && !site.exists(&name).await);
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
