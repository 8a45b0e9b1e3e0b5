//! At the public endpoints of AWS.

use devcluster::stores::{ACCOUNT, Asked};
use serde_json::json;

use super::cluster::{S3Cluster, is_read};
use super::stores::{moto, store};
use super::under_test::is_of_probe;

/// Changing operations with the account that they name. Those on objects are left out: the preflight sends some as the
/// registry, whose client names no account.
fn owners(world: &S3Cluster) -> Vec<(String, Option<String>)> {
    let all = world.gate.asked();
    let of_bucket = all
        .iter()
        .filter(|asked| asked.resource().1.is_empty() && !is_of_probe(asked));
    let changes = of_bucket.filter(|asked| !is_read(&asked.operation()));
    let owner = |asked: &Asked| asked.header("x-amz-expected-bucket-owner").map(str::to_owned);
    changes.map(|asked| (asked.operation(), owner(asked))).collect()
}

// storage-decisions T2
#[tokio::test]
async fn creation_settings_and_removal_of_managed_storage_name_the_account_that_owns_it() {
    let moto = moto().await;
    let mut world = S3Cluster::public(moto.target(), moto.admin(), "public-p1", json!({"s3": {}}));
    world.settle().await;
    let name = world.generated();
    assert_eq!(
        (world.state(), store().await.exists(&name).await),
        (Some("Managed"), true)
    );
    store().await.put(&name, "image").await;
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done && !store().await.exists(&name).await);

    let changes = owners(&world);
    for operation in [
        "CreateBucket",
        "PutBucketTagging",
        "PutPublicAccessBlock",
        "PutBucketEncryption",
        "PutBucketLifecycleConfiguration",
        "DeleteObjects",
        "DeleteBucket",
    ] {
        assert!(
            changes.iter().any(|(name, _)| name == operation),
            "{operation} in {changes:?}"
        );
    }
    for (operation, owner) in changes {
        assert_eq!(owner.as_deref(), Some(ACCOUNT), "{operation}");
    }
    for asked in world.gate.asked().iter().filter(|asked| is_read(&asked.operation())) {
        assert_eq!(asked.header("x-amz-expected-bucket-owner"), None, "{asked}");
    }
}

// storage-decisions T2
#[tokio::test]
async fn a_bucket_of_the_user_is_used_without_a_claim_about_its_account() {
    let moto = moto().await;
    store().await.create("theirs-p2").await;
    let storage = json!({"managementState": "Unmanaged", "s3": {"bucket": "theirs-p2"}});
    let mut world = S3Cluster::public(moto.target(), moto.admin(), "public-p2", storage);
    world.settle().await;
    assert!(world.running.is_some());
    for asked in world.gate.asked() {
        assert_eq!(asked.header("x-amz-expected-bucket-owner"), None, "{asked}");
    }
}
