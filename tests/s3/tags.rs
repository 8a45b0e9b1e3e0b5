//! Tags of the cluster's Infrastructure, on the bucket in use.

use devcluster::stores::{Fault, When};
use serde_json::{Value, json};

use super::cluster::S3Cluster;
use super::stores::{cluster, store};

/// A bucket of the operator's that is in use, with a tag of a user; nothing is remembered of how that came about.
async fn in_use(infrastructure: &str) -> S3Cluster {
    let mut world = cluster(infrastructure, json!({"s3": {}})).await;
    world.settle().await;
    let mut tags = store().await.tags(&world.generated()).await;
    tags.push(("b".to_owned(), "2".to_owned()));
    let tags: Vec<_> = tags.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    store().await.set_tags(&world.generated(), &tags).await;
    world.gate.forget();
    world.events.clear();
    world
}

async fn value(world: &S3Cluster, key: &str) -> Option<String> {
    let tags = store().await.tags(&world.generated()).await;
    tags.into_iter().find(|(k, _)| k == key).map(|(_, value)| value)
}

/// Events about tags: normal ones and warnings.
fn told(world: &S3Cluster) -> (usize, usize) {
    let count = |events: &[String]| events.iter().filter(|n| n.starts_with("UpdateAWSTags: ")).count();
    let warnings = count(&world.warnings());
    (count(&world.events()) - warnings, warnings)
}

fn tag(key: &str, value: &str) -> Value {
    json!({"key": key, "value": value})
}

// storage-s3 54, 55, 61
#[tokio::test]
async fn tags_follow_the_infrastructure_and_what_is_there_stays() {
    let mut world = in_use("tags-h1").await;
    world.set_platform_tags(&json!([tag("a", "1"), tag("blank ed", "two words")]));
    world.settle().await;
    let put = ["HeadBucket", "GetBucketTagging", "PutBucketTagging"];
    assert_eq!(world.gate.operations(), put, "nothing else is asked");
    assert_eq!(value(&world, "a").await.as_deref(), Some("1"));
    assert_eq!(value(&world, "b").await.as_deref(), Some("2"));
    assert_eq!(value(&world, "Name").await.as_deref(), Some("tags-h1-image-registry"));
    assert_eq!(told(&world), (1, 0));

    // Another process finds nothing to do, and looks once.
    world.restart();
    world.gate.forget();
    world.settle().await;
    assert_eq!((world.changes(), told(&world)), (Vec::<String>::new(), (1, 0)));
    world.gate.forget();
    world.settle().await;
    assert_eq!(world.gate.operations(), Vec::<String>::new());

    // What the administrator takes away stays on the bucket.
    world.set_platform_tags(&json!([tag("blank ed", "two words")]));
    world.settle().await;
    assert_eq!(value(&world, "a").await.as_deref(), Some("1"));
    assert_eq!((world.changes(), told(&world)), (Vec::<String>::new(), (1, 0)));
}

// storage-s3 56
#[tokio::test]
async fn a_bucket_without_tags_gets_them() {
    let bucket = "bare-of-h2";
    store().await.create(bucket).await;
    let storage = json!({"s3": {"bucket": bucket}, "managementState": "Managed"});
    let mut world = cluster("bare-h2", storage).await;
    world.set_platform_tags(&json!([tag("a", "1")]));
    world.settle().await;
    let tags = store().await.tags(bucket).await;
    assert!(tags.contains(&("a".to_owned(), "1".to_owned())), "{tags:?}");
    assert!(
        tags.iter().all(|(key, _)| !key.starts_with("kubernetes.io/")),
        "{tags:?}"
    );
}

// storage-s3 59
#[tokio::test]
async fn tags_that_could_not_be_written_are_told_as_a_warning_and_tried_again() {
    let mut world = in_use("tags-h3").await;
    world
        .gate
        .plan(When::operation("PutBucketTagging"), Fault::error(403, "AccessDenied"));
    world.set_platform_tags(&json!([tag("a", "1")]));
    let outcome = world.pass().await;
    assert!(outcome.error.is_none(), "the registry goes on");
    assert_eq!(world.condition("StorageTagged"), "False/AccessDenied");
    assert_eq!(told(&world), (0, 1));
    assert!(
        world.events().iter().any(|n| n.contains("AccessDenied")),
        "{:?}",
        world.events()
    );
    world.gate.pass();
    world.later(std::time::Duration::from_mins(11));
    world.settle().await;
    assert_eq!(value(&world, "a").await.as_deref(), Some("1"));
    assert_eq!(world.condition("StorageTagged"), "True/Tagging Successful");
    assert_eq!(told(&world), (1, 1));
}

// storage-s3 37, 60
#[tokio::test]
async fn nothing_is_tagged_that_is_unmanaged_or_not_there_or_removed() {
    let bucket = "of-somebody-h4";
    store().await.create(bucket).await;
    let mut world = cluster("tags-h4", json!({"s3": {"bucket": bucket}})).await;
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    world.set_platform_tags(&json!([tag("a", "1")]));
    world.gate.forget();
    assert!(world.settle().await.error.is_none());
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!(store().await.tags(bucket).await, Vec::new());

    world.edit(json!({"managementState": "Removed"}));
    world.set_platform_tags(&json!([tag("a", "2")]));
    world.gate.forget();
    assert!(world.settle().await.error.is_none());
    assert_eq!(world.changes(), Vec::<String>::new());
}

// storage-s3 60
#[tokio::test]
async fn without_a_bucket_or_a_block_tags_wait_for_one_and_nothing_is_asked() {
    let mut world = cluster("tags-h5", json!({"s3": {}})).await;
    world
        .gate
        .plan(When::operation("CreateBucket"), Fault::error(403, "AccessDenied"));
    world.pass().await;
    for round in ["1", "2"] {
        world.set_platform_tags(&json!([tag("a", round)]));
        world.later(std::time::Duration::from_mins(11));
        world.pass().await;
    }
    assert!(
        world.changes().iter().all(|call| call == "CreateBucket"),
        "{:?}",
        world.changes()
    );
    assert_eq!(told(&world), (0, 0));

    let mut world = in_use("tags-h6").await;
    world.edit(json!({"storage": {"s3": null, "emptyDir": {}}}));
    world.settle().await;
    world.gate.forget();
    world.set_platform_tags(&json!([tag("a", "1")]));
    let outcome = world.settle().await;
    assert!(outcome.error.is_none() && outcome.facts.is_some());
    assert_eq!((world.gate.operations(), told(&world)), (Vec::<String>::new(), (0, 0)));
    assert_eq!(value(&world, "a").await, None);
}
