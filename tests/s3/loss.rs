//! A bucket in use that is refused, or gone: which of the two it is decides whether another is created.

use devcluster::stores::{Fault, Keys, When};
use serde_json::json;

use super::stores::{self, cluster};

// storage-decisions T18: refused is not gone, whatever comes next
#[tokio::test]
async fn a_bucket_that_was_refused_and_then_is_missing_is_told_of_before_anything_is_created() {
    let mut world = cluster("refused-b11", json!({"s3": {}})).await;
    let good = world.keys.clone();
    world.settle().await;
    world.set_credentials(&Keys::new("AKIAWRONGWRONG", "wrong"));
    world.pass().await;
    assert_eq!(world.condition("StorageExists"), "False/InvalidAccessKeyId");
    world.gate.forget();
    // The next keys are of another tenant, who has no such bucket.
    world.set_credentials(&good);
    world
        .gate
        .plan(When::operation("HeadBucket"), Fault::error(404, "NoSuchBucket"));
    world
        .gate
        .plan(When::operation("GetBucketTagging"), Fault::error(404, "NoSuchBucket"));
    world.pass().await;
    assert!(
        world.events().iter().any(|n| n.starts_with("StorageLost")),
        "{:?}",
        world.events()
    );
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(world.condition("StorageExists").starts_with("False/No"));
}

// storage-s3 34: final stays final
#[tokio::test]
async fn settings_are_not_applied_anew_because_the_credentials_were_refused_for_a_while() {
    let mut world = cluster("refused-b12", json!({"s3": {}})).await;
    let good = world.keys.clone();
    world.gate.plan(
        When::operation("PutPublicAccessBlock"),
        Fault::error(501, "NotImplemented"),
    );
    world.settle().await;
    world.set_credentials(&Keys::new("AKIAWRONGWRONG", "wrong"));
    world.pass().await;
    assert!(world.condition("StorageExists").starts_with("False/"));
    world.set_credentials(&good);
    world.gate.forget();
    world.settle().await;
    assert!(world.condition("StorageExists").starts_with("True/"));
    assert!(
        !world.changes().contains(&"PutPublicAccessBlock".to_owned()),
        "{:?}",
        world.changes()
    );
}

// storage-decisions T18: the loss is told once, also where the bucket cannot be made anew
#[tokio::test]
async fn a_vanished_bucket_that_cannot_be_made_anew_is_told_of_once() {
    let mut world = cluster("vanished-b13", json!({"s3": {}})).await;
    let name = world.generated();
    world.settle().await;
    stores::store().await.delete(&name).await;
    world
        .gate
        .plan(When::operation("CreateBucket"), Fault::error(403, "AccessDenied"));
    world.edit(json!({"replicas": 1}));
    for _ in 0..5 {
        world.pass().await;
        world.later(std::time::Duration::from_mins(11));
    }
    let lost = world.events().iter().filter(|n| n.starts_with("StorageLost")).count();
    assert_eq!(lost, 1, "{:?}", world.events());
    assert!(
        world.message("StorageExists").contains("s3:CreateBucket"),
        "{}",
        world.message("StorageExists")
    );
    world.gate.pass();
    world.settle().await;
    assert_eq!(stores::store().await.tags(&name).await.len(), 2);
}

// storage-s3 27, storage-decisions T18: the block was edited meanwhile
#[tokio::test]
async fn a_bucket_in_use_to_which_access_is_refused_is_neither_lost_nor_created_after_an_edit() {
    let mut world = cluster("refused-b14", json!({"s3": {}})).await;
    world.settle().await;
    world.gate.forget();
    world
        .gate
        .plan(When::operation("HeadBucket"), Fault::error(403, "AccessDenied"));
    world.edit(json!({"storage": {"s3": {"chunkSizeMiB": 20}}}));
    for _ in 0..3 {
        assert!(world.pass().await.error.is_some());
        world.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(
        !world.events().iter().any(|n| n.starts_with("StorageLost")),
        "{:?}",
        world.events()
    );
}
