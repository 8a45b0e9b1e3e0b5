//! The record that the operator creates, or created, a bucket; and consent to own one that it did not create.

use devcluster::stores::{Fault, When};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::conformance::{BackendUnderTest as _, remove_and_keep};
use super::stores::{cluster, store};

// storage-decisions T1, T2, T6: a refused adoption leaves no creation record behind
#[tokio::test]
async fn a_refused_adoption_takes_the_intent_away_and_a_store_without_tags_has_no_proof_from_it() {
    let store = store().await;
    for (infrastructure, state) in [("refused-e3", Value::Null), ("refused-e3m", json!("Managed"))] {
        let mut world = cluster(infrastructure, json!({"s3": {}, "managementState": state})).await;
        let name = world.generated();
        world.steps(1).await;
        assert_eq!(world.intent(), Some(world.location(&name).as_str()));
        // Somebody makes and fills it before the create call, and the store does not show it yet.
        store.create(&name).await;
        store.put(&name, "image").await;
        for operation in ["GetBucketTagging", "PutBucketTagging"] {
            world
                .gate
                .plan(When::operation(operation), Fault::error(501, "NotImplemented"));
        }
        world
            .gate
            .plan(When::operation("HeadBucket").nth(1), Fault::error(404, "NoSuchBucket"));
        world.settle().await;
        assert_eq!(world.state(), state.as_str().or(Some("Unmanaged")));
        assert_eq!(world.intent(), None);
        world.edit(json!({"storage": {"managementState": "Managed"}}));
        world.settle().await;
        remove_and_keep(&mut world, &name, 1).await;
    }
}

// storage-decisions T1, T6: an intent beside storage that is Unmanaged, as an older state of the Config may have it
#[tokio::test]
async fn an_intent_beside_unmanaged_storage_is_taken_away_also_at_its_removal() {
    let store = store().await;
    for state in ["Managed", "Removed"] {
        let bucket = format!("stale-e4-{}", state.to_lowercase());
        store.create(&bucket).await;
        store.put(&bucket, "image").await;
        let storage = json!({"s3": {"bucket": bucket}, "managementState": "Unmanaged"});
        let mut world = cluster(&bucket, storage).await;
        world.settle().await;
        let location = world.location(&bucket);
        world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
        world.edit(json!({"managementState": state}));
        world.settle().await;
        assert_eq!(world.intent(), None, "{state}");
    }
}

// storage-decisions 8, T6: the record is stored, the status still names the storage before
#[tokio::test]
async fn a_bucket_that_was_created_and_marked_stays_managed_though_images_come_before_the_status_names_it() {
    let mut world = cluster("synced-e5", json!({"s3": {}})).await;
    world.settle().await;
    let first = world.generated();
    world
        .gate
        .plan(When::operation("PutObject"), Fault::error(403, "AccessDenied"));
    world.edit(json!({"storage": {"s3": {"bucket": "second-e5"}}}));
    world.pass().await;
    assert_eq!(
        (world.state(), world.status()["s3"]["bucket"].as_str()),
        (Some("Managed"), Some(first.as_str()))
    );
    assert!(world.is_ours("second-e5").await);
    // An administrator copies the images.
    store().await.put("second-e5", "image").await;
    world.gate.pass();
    world.restart();
    world.converge().await;
    assert_eq!(
        (world.state(), world.status()["s3"]["bucket"].as_str()),
        (Some("Managed"), Some("second-e5"))
    );
    assert!(world.created().is_some());
}

// storage-decisions T1: an event says so, also where the name has to be recorded first
#[tokio::test]
async fn consent_to_a_bucket_of_the_generated_name_is_told_of() {
    let mut world = cluster("consent-e8", json!({"s3": {}, "managementState": "Managed"})).await;
    let name = world.generated();
    store().await.create(&name).await;
    store().await.put(&name, "image").await;
    let location = world.location(&name);
    world.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
    world.settle().await;
    assert!(world.is_ours(&name).await);
    let told = world
        .events()
        .iter()
        .filter(|n| n.starts_with("StorageAdopted"))
        .count();
    assert_eq!(told, 1, "{:?}", world.events());
}
