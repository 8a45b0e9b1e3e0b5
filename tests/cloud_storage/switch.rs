//! From one storage to another, and back.

use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::World;
use crate::support::{TestCluster, is, texts};
use crate::{environment, is_settled, private_secret};

// storage-core 15, 33, lifecycle 61, storage-s3 24, 52, storage-core 41
#[tokio::test]
async fn from_scratch_to_a_bucket_of_ones_own_and_back_leaves_the_bucket_as_it_was() {
    let mut world = World::new("kw-moves1").await;
    world.mint().await;
    world.make("moves-quarry1").await;
    world.put("moves-quarry1", "mine").await;
    world
        .cluster
        .create(TestCluster::managed(json!({"emptyDir": {}})))
        .await;
    let operator = world.operator().await;
    world.cluster.until_config("up on scratch", is_settled).await;
    world.cluster.settle().await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());

    world
        .cluster
        .edit(json!({"storage": {"emptyDir": null, "managementState": null, "s3": {"bucket": "moves-quarry1"}}}))
        .await;
    let on_s3 = |c: &Value| is_settled(c) && c["status"]["storage"]["s3"]["bucket"] == "moves-quarry1";
    let config = world.cluster.until_config("up on S3", on_s3).await;
    assert_eq!(config["spec"]["storage"]["managementState"], "Unmanaged");
    assert_eq!(config["status"]["storageManaged"], false);
    assert!(is(&config, "StorageExists", "True", "S3 Bucket Exists"));
    for step in crate::cloud::STEPS.iter().skip(1) {
        assert_eq!(crate::support::condition(&config, step).0, "", "{step}");
    }
    assert_eq!(environment(&world.cluster).await["REGISTRY_STORAGE"], "s3");
    let secret = world.cluster.get(&private_secret()).await.unwrap();
    assert_eq!(
        texts(&secret, "/data")
            .keys()
            .filter(|key| *key == "credentials")
            .count(),
        1
    );
    world.cluster.settle().await;
    let calls = world.calls();
    let settings = ["Tagging", "Encryption", "Lifecycle", "PublicAccess", "CreateBucket"];
    assert!(
        !calls.keys().any(|name| settings.iter().any(|part| name.contains(part))),
        "{calls:?}"
    );

    world
        .cluster
        .edit(json!({"storage": {"s3": null, "managementState": null, "emptyDir": {}}}))
        .await;
    let on_scratch = |c: &Value| is_settled(c) && c["status"]["storage"].get("emptyDir").is_some();
    let config = world.cluster.until_config("up on scratch again", on_scratch).await;
    assert!(config["status"]["storage"].get("s3").is_none());
    assert_eq!(environment(&world.cluster).await["REGISTRY_STORAGE"], "filesystem");
    world.cluster.settle().await;
    let secret = world.cluster.get(&private_secret()).await.unwrap_or_default();
    assert!(!texts(&secret, "/data").contains_key("credentials"));
    assert_eq!(world.count("moves-quarry1").await, 1, "neither probe nor loss");

    // Removed with a bucket of theirs: nothing is sent, and its name stays.
    world
        .cluster
        .edit(json!({"storage": {"emptyDir": null, "s3": {"bucket": "moves-quarry1"}}}))
        .await;
    world.cluster.until_config("up on S3 again", on_s3).await;
    world.cluster.settle().await;
    world.gate.forget();
    world.cluster.edit(json!({"managementState": "Removed"})).await;
    let removed = |c: &Value| is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
    let config = world.cluster.until_config("removed", removed).await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    assert_eq!(config["status"]["storage"], json!({}));
    assert_eq!(config["spec"]["storage"]["s3"]["bucket"], "moves-quarry1");
    assert_eq!(world.count("moves-quarry1").await, 1);
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    world.judge(operator).await;
}
