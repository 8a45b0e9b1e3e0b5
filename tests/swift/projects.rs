//! A container of another project.

use devcluster::stores::{Fault, Project, REGION, Reply};
use serde_json::{Value, json};

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

// Swift finds no container while the servers of the account are down, also in another region
#[tokio::test]
async fn a_region_whose_account_does_not_answer_may_have_the_container() {
    let (mut site, name) = owned::<SwiftCluster>("region-a17").await;
    site.set_cloud(site.cloud.password(), json!({}));
    site.forget();
    let undisturbed = site.undisturbed();
    let (real, gated) = (site.cloud.url.clone(), site.gated());
    site.gate.rule(move |asked| {
        let answer = |status| Fault::Answer(Reply::new(status, "").header("x-trans-id", "tx1"));
        let operation = asked.operation();
        if asked.path.ends_with("/auth/tokens") {
            let gated = gated.clone();
            let real = real.clone();
            return Fault::change(move |_, token| {
                let text = String::from_utf8_lossy(token.body()).replace(&real, &gated);
                let mut body: Value = serde_json::from_str(&text).unwrap();
                for service in body["token"]["catalog"].as_array_mut().unwrap() {
                    if service["type"] != "object-store" {
                        continue;
                    }
                    let mut other = service["endpoints"][0].clone();
                    for interface in ["public", "internal", "admin"] {
                        other["interface"] = json!(interface);
                        other["region"] = json!("East");
                        other["region_id"] = json!("East");
                        other["url"] = json!(format!("{gated}/east"));
                        service["endpoints"].as_array_mut().unwrap().push(other.clone());
                    }
                }
                *token.body_mut() = body.to_string().into_bytes().into();
            });
        }
        match asked.path.strip_prefix("/east") {
            Some("") => answer(503),
            Some(_) => answer(404),
            None if ["HeadContainer", "GetContainer"].contains(&operation.as_str()) => answer(404),
            None => undisturbed(asked),
        }
    });
    // The token, and with it the catalogue, is of the process. A new one first goes by what the status says.
    site.restart();
    site.pass().await;
    site.pass().await;
    assert!(
        site.condition("StorageExists").starts_with("Unknown/"),
        "{}",
        site.message("StorageExists")
    );
    assert!(
        site.message("StorageExists").contains("East"),
        "{}",
        site.message("StorageExists")
    );
    site.edit(json!({"managementState": "Removed"}));
    assert!(!site.pass().await.done);
    assert_eq!(site.status()["swift"]["container"], json!(name));
}

// In part: storage-core 40; nobody names a region, and no region has the container any more
#[tokio::test]
async fn a_removal_ends_where_the_catalogue_has_several_regions() {
    gateway().await;
    let (mut site, name) = owned::<SwiftCluster>("region-a16").await;
    assert_eq!(site.count_events("RegionNotNamed"), 0);
    site.set_cloud(site.cloud.password(), json!({}));
    site.forget();
    site.settle().await;
    // The registry would take the first region of the catalogue, whatever is first.
    let told = site.told();
    assert!(
        told.iter()
            .any(|told| told.starts_with("RegionNotNamed: ") && told.contains("region_name")),
        "{told:?}"
    );
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
