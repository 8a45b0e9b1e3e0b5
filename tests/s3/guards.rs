//! Guards of data in the S3 backend, each of which a broken line would open without any other test turning red.

use devcluster::stores::{Fault, Reply, When};
use serde_json::json;

use super::conformance::preflight::PROBE as KEY;
use super::conformance::{BackendUnderTest as _, remove_and_keep};
use super::stores::{cluster, store};

// storage-decisions T7: settings are not changed for a Config that is not the newest
#[tokio::test]
async fn no_setting_is_changed_for_a_config_that_changed_meanwhile() {
    let mut world = cluster("stale-q1", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    let reads = [
        ("GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("GetPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"),
        ("GetBucketLifecycleConfiguration", "NoSuchLifecycleConfiguration"),
    ];
    for (operation, code) in reads {
        world.gate.plan(When::operation(operation), Fault::error(404, code));
    }
    // As after a crash before any setting was applied.
    world.config["status"]["conditions"] = json!([]);
    world.restart();
    world.gate.forget();
    world.cluster.stale.set(true);
    for _ in 0..3 {
        world.pass().await;
    }
    assert_eq!(world.changes(), Vec::<String>::new());
    assert!(world.gate.operations().len() > 1, "{:?}", world.gate.operations());
    world.cluster.stale.set(false);
    world.pass().await;
    assert!(
        world.changes().contains(&"PutPublicAccessBlock".to_owned()),
        "{:?}",
        world.changes()
    );
    assert!(store().await.exists(&name).await);
}

// storage-decisions T6: what the first page of a listing does not show
#[tokio::test]
async fn a_listing_that_shows_probes_alone_and_goes_on_is_not_empty() {
    let mut world = cluster("more-q2", json!({"s3": {}})).await;
    let name = world.generated();
    store().await.create(&name).await;
    store().await.put(&name, "image").await;
    let page = format!(
        "<ListVersionsResult><IsTruncated>true</IsTruncated><Version><Key>{KEY}</Key><VersionId>v1</VersionId>\
         </Version></ListVersionsResult>"
    );
    world.gate.plan(
        When::operation("ListObjectVersions"),
        Fault::Answer(Reply::new(200, &page)),
    );
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    world.gate.pass();
    remove_and_keep(&mut world, &name, 1).await;
}

// storage-decisions T15: a key that begins like the probe's is not the operator's
#[tokio::test]
async fn an_object_whose_key_begins_like_the_probes_stays() {
    let bucket = "prefix-q3";
    store().await.create(bucket).await;
    let users = format!("{KEY}-of-a-user");
    store().await.put(bucket, &users).await;
    let mut world = cluster(bucket, json!({"s3": {"bucket": bucket}})).await;
    world.die_after("PutObject").await;
    world.converge().await;
    assert!(world.running.is_some() && world.recorded_probe().is_none());
    assert_eq!(store().await.count(bucket).await, 1);
}

// storage-s3 34: a service that rejects a tag of the platform
#[tokio::test]
async fn a_mark_that_is_written_without_the_platforms_tags_keeps_the_users() {
    let bucket = "tags-q4";
    let store = store().await;
    store.create(bucket).await;
    store.set_tags(bucket, &[("team", "blue")]).await;
    let storage = json!({"s3": {"bucket": bucket}, "managementState": "Managed"});
    let mut world = cluster(bucket, storage).await;
    world.set_platform_tags(&json!([{"key": "rejected", "value": "v"}]));
    let location = world.location(bucket);
    world.annotate(image_registry_operator::names::ADOPT_STORAGE_ANNOTATION, &location);
    world.gate.rule(|asked| match asked.operation().as_str() {
        "PutBucketTagging" if asked.text().contains("rejected") => Fault::error(400, "InvalidTag"),
        _ => Fault::Pass,
    });
    world.settle().await;
    let tags = store.tags(bucket).await;
    assert!(world.is_ours(bucket).await);
    assert!(tags.contains(&("team".to_owned(), "blue".to_owned())), "{tags:?}");
}

// storage-decisions T6: a service that lists no versions of a bucket without versioning
#[tokio::test]
async fn a_bucket_whose_objects_are_not_listed_as_versions_is_not_empty() {
    let mut world = cluster("versions-q5", json!({"s3": {}})).await;
    let name = world.generated();
    store().await.create(&name).await;
    store().await.put(&name, "image").await;
    let nothing = Reply::new(200, "<ListVersionsResult/>");
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::Answer(nothing));
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    world.gate.pass();
    remove_and_keep(&mut world, &name, 1).await;
}

// storage-decisions T8: such a bucket is emptied, too
#[tokio::test]
async fn objects_that_are_not_listed_as_versions_are_deleted() {
    let mut world = cluster("versions-q8", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    let nothing = Reply::new(200, "<ListVersionsResult/>");
    world
        .gate
        .plan(When::operation("ListObjectVersions"), Fault::Answer(nothing));
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.converge().await.done);
    assert!(!store().await.exists(&name).await);
}

// storage-decisions T8: deletions without an effect are not repeated without a pause, and not counted
#[tokio::test]
async fn a_removal_whose_deletions_have_no_effect_waits() {
    let mut world = cluster("effect-q6", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    let nothing = Reply::new(200, "<DeleteResult/>");
    world
        .gate
        .plan(When::operation("DeleteObjects"), Fault::Answer(nothing));
    world.edit(json!({"managementState": "Removed"}));
    let outcome = world.pass().await;
    assert!(outcome.error.unwrap().message.contains("neither deleted nor refused"));
    world.gate.pass();
    assert!(world.converge().await.done);
}

// storage-s3 36: a lifecycle rule with an extension of the service
#[tokio::test]
async fn a_lifecycle_rule_with_an_extension_is_never_written_back_without_it() {
    let mut world = cluster("extension-q7", json!({"s3": {}})).await;
    let rules = "<LifecycleConfiguration><Rule><ID>archive</ID><Status>Enabled</Status><Filter><ArchiveZone/></Filter>\
                 <Expiration><Days>30</Days></Expiration></Rule></LifecycleConfiguration>";
    world.gate.plan(
        When::operation("GetBucketLifecycleConfiguration"),
        Fault::Answer(Reply::new(200, rules)),
    );
    world.settle().await;
    assert!(!world.changes().contains(&"PutBucketLifecycleConfiguration".to_owned()));
    let condition = "StorageIncompleteUploadCleanupEnabled";
    assert!(world.condition(condition).starts_with("False/"));
    assert!(
        world.message(condition).contains("ArchiveZone"),
        "{}",
        world.message(condition)
    );
    assert!(world.running.is_some());
}
