//! A bucket goes, with everything in it, and only where that is wanted.

use devcluster::stores::{Fault, When};
use image_registry_operator::names;
use serde_json::json;

use super::lab::{cluster, seaweed, store};
use super::world::{Store, World};

/// A settled cluster with its own bucket.
async fn owned(infrastructure: &str) -> World {
    let mut world = cluster(infrastructure, json!({"s3": {}})).await;
    world.settle().await;
    assert_eq!(world.state(), Some("Managed"));
    world.gate.forget();
    world
}

async fn fill(bucket: &str, count: usize) {
    let store = store().await;
    let keys: Vec<_> = (0..count).map(|n| format!("docker/registry/v2/blobs/{n:06}")).collect();
    for chunk in keys.chunks(16) {
        futures::future::join_all(chunk.iter().map(|key| store.put(bucket, key))).await;
    }
}

fn removed(world: &mut World) {
    world.edit(json!({"managementState": "Removed"}));
}

// storage-s3 47, storage-core 40, 45, storage-decisions 14
#[tokio::test]
async fn removal_deletes_everything_and_forgets_the_name_the_state_and_the_record() {
    let mut world = owned("gone-e1").await;
    let name = world.generated();
    fill(&name, 2500).await;
    removed(&mut world);
    let outcome = world.settle().await;
    assert!(outcome.done && !store().await.exists(&name).await);
    assert_eq!(world.storage()["s3"].get("bucket"), None);
    assert_eq!(
        (world.status(), world.state(), world.intent()),
        (&json!({}), None, None)
    );
    let conditions = world.config["status"]["conditions"].as_array().unwrap();
    assert_eq!(
        conditions.len(),
        1,
        "none is about settings of what is gone: {conditions:?}"
    );
    assert_eq!(world.condition("StorageExists"), "False/S3 Bucket Deleted");
    let deletes: Vec<_> = world
        .gate
        .asked()
        .into_iter()
        .filter(|a| a.operation() == "DeleteObjects")
        .collect();
    assert_eq!(deletes.len(), 3, "1000 keys each");
    assert!(
        deletes.iter().all(|a| !a.text().contains("VersionId")),
        "a role without s3:DeleteObjectVersion will do"
    );
    // The mark was read before each of them.
    let operations = world.gate.operations();
    let mut read = false;
    for operation in &operations {
        match operation.as_str() {
            "GetBucketTagging" => read = true,
            "DeleteObjects" | "DeleteBucket" => assert!(std::mem::take(&mut read), "{operations:?}"),
            _ => {}
        }
    }
    world.gate.forget();
    assert!(world.pass().await.done);
    assert!(
        world.gate.operations().is_empty(),
        "nothing is asked about what is gone"
    );
}

// storage-s3 48, storage-decisions T10
#[tokio::test]
async fn a_versioned_bucket_goes_with_versions_markers_and_unfinished_uploads() {
    let mut world = owned("versions-e2").await;
    let name = world.generated();
    let store = store().await;
    fill(&name, 20).await; // version null
    store.version(&name, "Enabled").await;
    fill(&name, 30).await;
    fill(&name, 30).await;
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
    let mut world = owned("plain-e3").await;
    let name = world.generated();
    fill(&name, 30).await;
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    assert!(world.settle().await.done && !store().await.exists(&name).await);
}

// storage-decisions T10
#[tokio::test]
async fn without_the_right_to_list_versions_a_versioned_bucket_stays_and_the_rights_are_named() {
    let mut world = owned("hidden-e4").await;
    let name = world.generated();
    let store = store().await;
    store.version(&name, "Enabled").await;
    fill(&name, 3).await;
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    let message = world.settle().await.fault.unwrap().message;
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

// storage-s3 50, storage-decisions T10
#[tokio::test]
async fn a_key_that_is_not_deleted_is_an_error_that_names_the_right() {
    for (infrastructure, versioned, action) in [
        ("keyed-e5", false, "s3:DeleteObject is"),
        ("keyed-e5b", true, "s3:DeleteObjectVersion is"),
    ] {
        let mut world = owned(infrastructure).await;
        let name = world.generated();
        if versioned {
            store().await.version(&name, "Enabled").await;
        }
        fill(&name, 3).await;
        let kept = "docker/registry/v2/blobs/000001";
        world
            .gate
            .plan(When::operation("DeleteObjects"), keep(kept, versioned, "Access Denied"));
        removed(&mut world);
        let outcome = world.settle().await;
        let message = outcome.fault.unwrap().message;
        assert!(
            !outcome.done && message.contains(action) && message.contains(kept),
            "{message}"
        );
        assert_eq!(world.status()["s3"]["bucket"], json!(name));
        assert!(!world.changes().contains(&"DeleteBucket".to_owned()));
        world.gate.pass();
        assert!(world.converge().await.done);
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
    let mut world = owned("locked-e6").await;
    let name = world.generated();
    fill(&name, 3).await;
    let locked = "Access Denied because object protected by object lock.";
    world
        .gate
        .plan(When::operation("DeleteObjects"), keep("k", true, locked));
    removed(&mut world);
    let message = world.settle().await.fault.unwrap().message;
    assert!(message.contains("1 objects are under object lock"), "{message}");
}

// storage-s3 51
#[tokio::test]
async fn a_bucket_that_is_gone_already_is_a_success() {
    let mut world = owned("already-e7").await;
    let name = world.generated();
    store().await.delete(&name).await;
    removed(&mut world);
    assert!(world.pass().await.done);
    assert_eq!(
        (world.storage()["s3"].get("bucket"), world.status()),
        (None, &json!({}))
    );
    assert!(world.changes().is_empty());
}

// A 404 of something else in between
#[tokio::test]
async fn a_bucket_is_gone_only_when_the_store_itself_says_so() {
    let mut world = owned("between-e7b").await;
    let name = world.generated();
    let page = devcluster::stores::Reply::new(404, "<html>no such backend</html>").header("content-type", "text/html");
    world.gate.rule(move |_| Fault::Answer(page.clone()));
    removed(&mut world);
    let outcome = world.pass().await;
    assert!(!outcome.done && outcome.fault.is_some());
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
    world.gate.pass();
    assert!(world.converge().await.done && !store().await.exists(&name).await);
}

// storage-s3 52, storage-core 41
#[tokio::test]
async fn unmanaged_storage_is_left_without_a_call() {
    store().await.create("users-e8").await;
    let mut world = cluster("users-e8", json!({"s3": {"bucket": "users-e8"}})).await;
    world.settle().await;
    let spec = world.storage().clone();
    world.gate.forget();
    removed(&mut world);
    assert!(world.pass().await.done);
    assert!(world.gate.operations().is_empty());
    assert_eq!((world.status(), world.storage()), (&json!({}), &spec));
}

// storage-s3 53
#[tokio::test]
async fn a_bucket_that_may_not_be_deleted_is_kept_in_the_status() {
    let mut world = owned("denied-e9").await;
    let name = world.generated();
    world
        .gate
        .plan(When::operation("DeleteBucket"), Fault::error(403, "AccessDenied"));
    removed(&mut world);
    let outcome = world.settle().await;
    assert!(!outcome.done && outcome.fault.unwrap().message.contains("s3:DeleteBucket"));
    assert_eq!(world.condition("StorageExists"), "Unknown/AccessDenied");
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
}

// storage-core 42, 43
#[tokio::test]
async fn removal_goes_by_the_status_whatever_the_spec_has_become() {
    for (infrastructure, block) in [
        ("spec-f1", json!({"s3": null})),
        ("spec-f1b", json!({"pvc": {"claim": "x"}})),
    ] {
        let mut world = owned(infrastructure).await;
        let name = world.generated();
        fill(&name, 2).await;
        world.edit(json!({"managementState": "Removed", "storage": block}));
        assert!(world.settle().await.done && !store().await.exists(&name).await);
    }
}

// storage-decisions 13, T9
#[tokio::test]
async fn removal_takes_the_bucket_of_the_status_and_leaves_the_other_name_in_the_spec() {
    let mut world = owned("both-f2").await;
    let name = world.generated();
    store().await.create("other-f2").await;
    world.edit(json!({"managementState": "Removed", "storage": {"s3": {"bucket": "other-f2"}}}));
    assert!(world.settle().await.done);
    assert_eq!(world.storage()["s3"]["bucket"], "other-f2");
    assert!(!store().await.exists(&name).await && store().await.exists("other-f2").await);
}

// storage-decisions 11
#[tokio::test]
async fn deletion_stops_within_one_step_when_the_registry_is_wanted_again() {
    let mut world = owned("again-f3").await;
    let name = world.generated();
    fill(&name, 2200).await;
    removed(&mut world);
    world.step().await;
    world.edit(json!({"managementState": "Managed"}));
    world.gate.forget();
    world.settle().await;
    assert_eq!(count_all(&name).await, 1200);
    assert!(!world.changes().contains(&"DeleteObjects".to_owned()));
    // And by another mark that appears.
    store()
        .await
        .set_tags(&name, &[("kubernetes.io/cluster/green-9", "owned")])
        .await;
    removed(&mut world);
    world.settle().await;
    assert_eq!(count_all(&name).await, 1200);
}

async fn count_all(bucket: &str) -> usize {
    let (_, text) = store().await.read(bucket, "list-type=2&max-keys=1000").await;
    let first = text.matches("<Key>").count();
    let last = text
        .rsplit("<Key>")
        .next()
        .and_then(|rest| rest.split("</Key>").next())
        .unwrap_or_default();
    if first < 1000 {
        return first;
    }
    let (_, text) = store()
        .await
        .read(bucket, &format!("list-type=2&start-after={}", last.replace('/', "%2F")))
        .await;
    first + text.matches("<Key>").count()
}

// storage-decisions T2
#[tokio::test]
async fn two_proofs_are_needed_the_recorded_state_alone_deletes_nothing() {
    let mut world = owned("proofs-f4").await;
    let name = world.generated();
    fill(&name, 1).await;
    store()
        .await
        .set_tags(&name, &[("Name", "proofs-f4-image-registry")])
        .await;
    removed(&mut world);
    assert!(!world.settle().await.done);
    assert_eq!(store().await.count(&name).await, 1);
    assert!(world.changes().is_empty());
}

// storage-core 40, lifecycle: an owned bucket can be made anew after its removal
#[tokio::test]
async fn after_a_removal_a_new_bucket_is_created_and_recorded_anew() {
    let mut world = owned("anew-f5").await;
    removed(&mut world);
    world.settle().await;
    assert_eq!(world.intent(), None);
    world.edit(json!({"managementState": "Managed"}));
    world.settle().await;
    assert_eq!(
        (world.state(), world.storage()["s3"]["bucket"].as_str()),
        (Some("Managed"), Some(world.generated()).as_deref())
    );
    assert!(world.config["metadata"]["annotations"][names::STORAGE_INTENT_ANNOTATION].is_string());
}

// storage-s3 47, 48: another server
#[tokio::test]
async fn a_bucket_of_seaweedfs_goes_with_versions_markers_and_unfinished_uploads() {
    let seaweed = seaweed().await;
    for versioned in [false, true] {
        let infrastructure = format!("weed-f6-{}", u8::from(versioned));
        let mut world = World::new(seaweed.target(), seaweed.admin(), &infrastructure, json!({"s3": {}}));
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
        let mut world = owned(infrastructure).await;
        let name = world.generated();
        fill(&name, 1).await;
        let reads = || [When::operation("GetBucketTagging"), When::operation("ListObjectsV2")];
        world
            .gate
            .plan(When::operation("HeadBucket"), Fault::error(404, "NotFound"));
        for read in reads() {
            world.gate.plan(read, Fault::error(status, code));
        }
        removed(&mut world);
        let outcome = world.pass().await;
        assert!(!outcome.done && outcome.fault.is_some(), "{code}");
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
        assert!(!outcome.done && outcome.fault.is_some(), "{code}");
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
    let mut world = owned("partly-f8").await;
    let name = world.generated();
    fill(&name, 3).await;
    let kept = "docker/registry/v2/blobs/000001";
    world
        .gate
        .plan(When::operation("DeleteObjects"), keep(kept, false, "Access Denied"));
    removed(&mut world);
    assert!(world.pass().await.fault.is_some());
    world.gate.pass();
    world.edit(json!({"managementState": "Managed"}));
    world.settle().await;
    assert!(
        world
            .notices
            .iter()
            .any(|n| n.starts_with("RemovalStopped") && n.contains("2 objects")),
        "{:?}",
        world.notices
    );
}
