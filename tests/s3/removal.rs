//! A bucket goes, with everything in it, and only where that is wanted.

use devcluster::stores::{Fault, When};
use serde_json::json;

use super::cluster::{S3Cluster, Store};
use super::conformance::{BackendUnderTest as _, owned};
use super::stores::{seaweed, store};

fn removed(world: &mut S3Cluster) {
    world.edit(json!({"managementState": "Removed"}));
}

// storage-s3 48, storage-decisions T10
#[tokio::test]
async fn a_versioned_bucket_goes_with_versions_markers_and_unfinished_uploads() {
    let (mut world, name) = owned::<S3Cluster>("versions-e2").await;
    let store = store().await;
    world.fill(&name, 20).await; // version null
    store.version(&name, "Enabled").await;
    world.fill(&name, 30).await;
    world.fill(&name, 30).await;
    for n in 0..10 {
        store
            .drop_object(&name, &format!("docker/registry/v2/blobs/{n:06}"))
            .await;
    }
    let (status, _) = store
        .call(http::Method::POST, &format!("/{name}/upload?uploads"), &[], "")
        .await;
    assert_eq!(status, 200);
    removed(&mut world);
    assert!(world.settle().await.done && !store.exists(&name).await);
    assert!(world.changes().contains(&"AbortMultipartUpload".to_owned()));
}

// storage-s3 49, storage-decisions T10
#[tokio::test]
async fn without_the_right_to_list_versions_an_unversioned_bucket_goes() {
    let (mut world, name) = owned::<S3Cluster>("plain-e3").await;
    world.fill(&name, 30).await;
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    assert!(world.settle().await.done && !store().await.exists(&name).await);
}

// storage-decisions T10
#[tokio::test]
async fn without_the_right_to_list_versions_a_versioned_bucket_stays_and_the_rights_are_named() {
    let (mut world, name) = owned::<S3Cluster>("hidden-e4").await;
    let store = store().await;
    store.version(&name, "Enabled").await;
    world.fill(&name, 3).await;
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    let message = world.settle().await.error.unwrap().message;
    for part in [
        "bucket holds versions",
        "s3:ListBucketVersions",
        "s3:DeleteObjectVersion",
    ] {
        assert!(message.contains(part), "{message}");
    }
    world.gate.forget();
    world.pass().await;
    assert_eq!(world.changes(), ["DeleteBucket"], "no further deletes");
    world.gate.pass();
    assert!(world.settle().await.done && !store.exists(&name).await);
}

// storage-s3 47, 50, storage-decisions T10
#[tokio::test]
async fn a_key_that_is_not_deleted_is_an_error_that_names_the_right() {
    for (infrastructure, versioned, action) in [
        ("keyed-e5", false, "s3:DeleteObject is"),
        ("keyed-e5b", true, "s3:DeleteObjectVersion is"),
    ] {
        let (mut world, name) = owned::<S3Cluster>(infrastructure).await;
        if versioned {
            store().await.version(&name, "Enabled").await;
        }
        world.fill(&name, 3).await;
        let kept = "docker/registry/v2/blobs/000001";
        world
            .gate
            .plan(When::operation("DeleteObjects"), keep(kept, versioned, "Access Denied"));
        removed(&mut world);
        let outcome = world.settle().await;
        let message = outcome.error.unwrap().message;
        assert!(
            !outcome.done && message.contains(action) && message.contains(kept),
            "{message}"
        );
        assert_eq!(world.status()["s3"]["bucket"], json!(name));
        assert!(!world.changes().contains(&"DeleteBucket".to_owned()));
        world.gate.pass();
        assert!(world.converge().await.done);
        let mut deletes = world
            .gate
            .asked()
            .into_iter()
            .filter(|a| a.operation() == "DeleteObjects");
        let names_versions = deletes.any(|a| a.text().contains("VersionId"));
        assert_eq!(
            names_versions, versioned,
            "a role without s3:DeleteObjectVersion will do"
        );
    }
}

/// An answer of 200 that says that one key was not deleted (nothing is).
fn keep(key: &str, of_version: bool, message: &str) -> Fault {
    let version = if of_version { "<VersionId>v1</VersionId>" } else { "" };
    let body = format!(
        "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Error><Key>{key}</Key>{version}\
         <Code>AccessDenied</Code><Message>{message}</Message></Error></DeleteResult>"
    );
    Fault::Answer(devcluster::stores::Reply::new(200, &body).header("content-type", "application/xml"))
}

// T10, D6
#[tokio::test]
async fn objects_under_object_lock_are_counted_and_named() {
    let (mut world, name) = owned::<S3Cluster>("locked-e6").await;
    world.fill(&name, 3).await;
    let locked = "Access Denied because object protected by object lock.";
    world
        .gate
        .plan(When::operation("DeleteObjects"), keep("k", true, locked));
    removed(&mut world);
    let message = world.settle().await.error.unwrap().message;
    assert!(message.contains("1 objects are under object lock"), "{message}");
}

// A 404 of something else in between
#[tokio::test]
async fn a_bucket_is_gone_only_when_the_store_itself_says_so() {
    let (mut world, name) = owned::<S3Cluster>("between-e7b").await;
    let page = devcluster::stores::Reply::new(404, "<html>no such backend</html>").header("content-type", "text/html");
    world.gate.rule(move |_| Fault::Answer(page.clone()));
    removed(&mut world);
    let outcome = world.pass().await;
    assert!(!outcome.done && outcome.error.is_some());
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
    world.gate.pass();
    assert!(world.converge().await.done && !store().await.exists(&name).await);
}

// storage-s3 53
#[tokio::test]
async fn a_bucket_that_may_not_be_deleted_is_kept_in_the_status() {
    let (mut world, name) = owned::<S3Cluster>("denied-e9").await;
    world
        .gate
        .plan(When::operation("DeleteBucket"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    let outcome = world.settle().await;
    assert!(!outcome.done && outcome.error.unwrap().message.contains("s3:DeleteBucket"));
    assert_eq!(world.condition("StorageExists"), "Unknown/AccessDenied");
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
}

// storage-s3 47, 48: another server
#[tokio::test]
async fn a_bucket_of_seaweedfs_goes_with_versions_markers_and_unfinished_uploads() {
    let seaweed = seaweed().await;
    for versioned in [false, true] {
        let infrastructure = format!("weed-f6-{}", u8::from(versioned));
        let mut world = S3Cluster::new(seaweed.target(), seaweed.admin(), &infrastructure, json!({"s3": {}}));
        world.converge().await;
        assert_eq!(world.state(), Some("Managed"));
        let name = world.generated();
        let admin = Store {
            target: seaweed.target(),
            keys: seaweed.admin(),
        };
        if versioned {
            admin.version(&name, "Enabled").await;
        }
        for round in 0..2 {
            for n in 0..20 {
                admin.put(&name, &format!("docker/registry/v2/blobs/{n}")).await;
            }
            if round == 1 {
                admin.drop_object(&name, "docker/registry/v2/blobs/7").await;
            }
        }
        admin
            .call(http::Method::POST, &format!("/{name}/upload?uploads"), &[], "")
            .await;
        removed(&mut world);
        assert!(world.converge().await.done, "{:?}", world.config["status"]);
        assert!(!admin.exists(&name).await);
    }
}

// storage-decisions T2: what is gone is forgotten, so that it has to be known
#[tokio::test]
async fn a_404_that_the_store_does_not_confirm_forgets_nothing() {
    for (infrastructure, status, code) in [
        ("unsaid-f7", 403, "AccessDenied"),
        ("unsaid-f7b", 501, "NotImplemented"),
    ] {
        let (mut world, name) = owned::<S3Cluster>(infrastructure).await;
        world.fill(&name, 1).await;
        let reads = || [When::operation("GetBucketTagging"), When::operation("ListObjectsV2")];
        world
            .gate
            .plan(When::operation("HeadBucket"), Fault::error(404, "NotFound"));
        for read in reads() {
            world.gate.plan(read, Fault::error(status, code));
        }
        removed(&mut world);
        let outcome = world.pass().await;
        assert!(!outcome.done && outcome.error.is_some(), "{code}");
        assert_eq!(world.status()["s3"]["bucket"], json!(name));
        // It is listed.
        world.gate.pass();
        world
            .gate
            .plan(When::operation("HeadBucket"), Fault::error(404, "NotFound"));
        world
            .gate
            .plan(When::operation("GetBucketTagging"), Fault::error(status, code));
        let outcome = world.pass().await;
        assert!(!outcome.done && outcome.error.is_some(), "{code}");
        assert_eq!(store().await.count(&name).await, 1);
        // Its tags may not be read, or there are none, and it is gone.
        store()
            .await
            .drop_object(&name, "docker/registry/v2/blobs/000000")
            .await;
        store().await.delete(&name).await;
        assert!(world.pass().await.done, "{code}");
    }
}

// storage-decisions T8: also what went together with what did not
#[tokio::test]
async fn objects_that_went_beside_one_that_did_not_are_counted() {
    let (mut world, name) = owned::<S3Cluster>("partly-f8").await;
    world.fill(&name, 3).await;
    let kept = "docker/registry/v2/blobs/000001";
    world
        .gate
        .plan(When::operation("DeleteObjects"), keep(kept, false, "Access Denied"));
    removed(&mut world);
    assert!(world.pass().await.error.is_some());
    world.gate.pass();
    world.edit(json!({"managementState": "Managed"}));
    world.settle().await;
    assert!(
        world
            .events()
            .iter()
            .any(|n| n.starts_with("RemovalStopped") && n.contains("2 objects")),
        "{:?}",
        world.events()
    );
}
