//! Each way in which a bucket that is not provably ours could become the operator's, or be deleted from.

use devcluster::stores::{Fault, When};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::lab::{self, cluster, store};
use super::world::World;

const OTHER_MARK: [(&str, &str); 2] = [
    ("kubernetes.io/cluster/green-9", "owned"),
    ("Name", "green-9-image-registry"),
];

fn mark_of(infrastructure: &str) -> Vec<(String, String)> {
    vec![
        (format!("kubernetes.io/cluster/{infrastructure}"), "owned".to_owned()),
        ("Name".to_owned(), format!("{infrastructure}-image-registry")),
    ]
}

/// Whether the bucket carries the whole mark of the cluster.
pub async fn is_marked(world: &World, bucket: &str) -> bool {
    let tags = store().await.tags(bucket).await;
    mark_of(&world.infrastructure).iter().all(|tag| tags.contains(tag))
}

/// Removes the registry; whatever becomes of it, nothing of the bucket's content may go.
pub async fn remove_and_find_all(world: &mut World, bucket: &str, objects: usize) {
    world.edit(json!({"managementState": "Removed"}));
    for _ in 0..4 {
        world.pass().await;
        world.later(std::time::Duration::from_mins(11));
    }
    assert_eq!(store().await.count(bucket).await, objects, "of {bucket}");
}

// storage-decisions 1, storage-core 17
#[tokio::test]
async fn an_explicit_managed_gets_settings_on_a_users_bucket_and_no_mark_and_its_objects_stay() {
    let store = store().await;
    store.create("brought-c1").await;
    store.put("brought-c1", "image").await;
    let mut world = cluster(
        "brought-c1",
        json!({"s3": {"bucket": "brought-c1"}, "managementState": "Managed"}),
    )
    .await;
    world.settle().await;
    for condition in ["StoragePublicAccessBlocked", "StorageTagged", "StorageEncrypted"] {
        assert!(world.condition(condition).starts_with("True/"), "{condition}");
    }
    assert_eq!(
        store.tags("brought-c1").await,
        [("Name".to_owned(), "brought-c1-image-registry".to_owned())]
    );
    remove_and_find_all(&mut world, "brought-c1", 1).await;
    assert!(
        world
            .notices
            .iter()
            .any(|n| n.starts_with("StorageKept") && n.contains("kubernetes.io/cluster/brought-c1=owned is missing"))
    );
}

// T1: the name tag would complete a mark that some other operator of this cluster began
#[tokio::test]
async fn settings_never_complete_the_mark_on_a_bucket_that_carries_half_of_it() {
    let store = store().await;
    store.create("half-c2").await;
    store.put("half-c2", "logs").await;
    store
        .set_tags("half-c2", &[("kubernetes.io/cluster/half-c2", "owned")])
        .await;
    let mut world = cluster(
        "half-c2",
        json!({"s3": {"bucket": "half-c2"}, "managementState": "Managed"}),
    )
    .await;
    world.settle().await;
    assert!(!is_marked(&world, "half-c2").await);
    remove_and_find_all(&mut world, "half-c2", 1).await;
}

// storage-decisions 2
#[tokio::test]
async fn consent_by_location_marks_a_users_bucket_and_removal_deletes_it() {
    let store = store().await;
    for (bucket, consented) in [("consent-c3", "consent-c3"), ("consent-c3b", "another")] {
        store.create(bucket).await;
        store.put(bucket, "image").await;
        let mut world = cluster(bucket, json!({"s3": {"bucket": bucket}, "managementState": "Managed"})).await;
        world.settle().await;
        assert!(!is_marked(&world, bucket).await);
        let location = world.location(consented);
        world.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
        world.later(std::time::Duration::from_mins(11));
        world.settle().await;
        let meant = bucket == consented;
        assert_eq!(is_marked(&world, bucket).await, meant);
        assert_eq!(world.notices.iter().any(|n| n.starts_with("StorageAdopted")), meant);
        world.edit(json!({"managementState": "Removed"}));
        world.settle().await;
        assert_eq!(store.exists(bucket).await, !meant);
    }
}

// storage-decisions 2, 3
#[tokio::test]
async fn another_clusters_bucket_is_refused_and_never_changed_whatever_the_config_says() {
    let store = store().await;
    store.create("greens-c4").await;
    store.put("greens-c4", "image").await;
    store.set_tags("greens-c4", &OTHER_MARK).await;
    for state in [Value::Null, json!("Managed"), json!("Unmanaged")] {
        for noted in [false, true] {
            let storage = json!({"s3": {"bucket": "greens-c4"}, "managementState": state});
            let mut world = cluster("blue-c4", storage).await;
            if noted {
                // A copy of the other cluster's Config, with everything in it.
                let location = world.location("greens-c4");
                world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
                world.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
                let copied = world.storage().clone();
                world.config["status"] = json!({"storage": copied, "storageManaged": state == json!("Managed")});
            }
            let outcome = world.settle().await;
            assert_eq!(outcome.fault.is_some(), state == json!("Managed"));
            remove_and_find_all(&mut world, "greens-c4", 1).await;
            let on_objects = |o: &String| o.contains("Object") || o.contains("Upload");
            let changes: Vec<_> = world.changes().into_iter().filter(|o| !on_objects(o)).collect();
            assert!(changes.is_empty(), "{state} {noted}: {changes:?}");
            assert_eq!(
                store.tags("greens-c4").await,
                OTHER_MARK.map(|(k, v)| (k.to_owned(), v.to_owned()))
            );
        }
    }
}

// storage-decisions 3, T6: also where it is empty
#[tokio::test]
async fn another_clusters_empty_bucket_is_not_adopted_though_the_config_names_it_as_to_be_created() {
    let store = store().await;
    for state in [Value::Null, json!("Managed")] {
        let mut world = cluster("greens-c4e", json!({"s3": {}, "managementState": state})).await;
        let name = world.generated();
        if !store.exists(&name).await {
            store.create(&name).await;
            store.set_tags(&name, &OTHER_MARK).await;
        }
        let location = world.location(&name);
        world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
        world.settle().await;
        assert!(!is_marked(&world, &name).await);
        world.edit(json!({"managementState": "Removed"}));
        world.settle().await;
        assert!(store.exists(&name).await);
    }
}

// storage-decisions 3: both marks on one bucket
#[tokio::test]
async fn a_bucket_with_the_marks_of_two_clusters_is_deleted_by_neither() {
    let mut world = cluster("two-c5", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    let store = store().await;
    store.put(&name, "image").await;
    let (key, title) = ("kubernetes.io/cluster/two-c5", "two-c5-image-registry");
    store
        .set_tags(&name, &[(key, "owned"), ("Name", title), OTHER_MARK[0]])
        .await;
    remove_and_find_all(&mut world, &name, 1).await;
}

// storage-decisions 10, T6
#[tokio::test]
async fn a_bucket_of_the_generated_name_that_holds_anything_is_unmanaged() {
    let store = store().await;
    for (infrastructure, content) in [
        ("full-c6", "object"),
        ("full-c6b", "marker"),
        ("full-c6c", "old version"),
    ] {
        for marked in [false, true] {
            let infrastructure = format!("{infrastructure}{}", u8::from(marked));
            let mut world = cluster(&infrastructure, json!({"s3": {}})).await;
            let name = world.generated();
            store.create(&name).await;
            if content != "object" {
                store.version(&name, "Enabled").await;
            }
            store.put(&name, "image").await;
            if content != "object" {
                store.drop_object(&name, "image").await;
            }
            if content == "marker" {
                store.drop_versions(&name, "image").await;
            }
            if marked {
                // As it is left when the Config was deleted under Unmanaged.
                let mark = mark_of(&infrastructure);
                let mark: Vec<_> = mark.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                store.set_tags(&name, &mark).await;
            }
            world.settle().await;
            assert_eq!(world.state(), Some("Unmanaged"), "{content}");
            assert!(
                world.notices.iter().any(|n| n.contains("not empty")),
                "{:?}",
                world.notices
            );
            assert_eq!(
                world.storage()["s3"]["bucket"],
                json!(name),
                "the next pass needs the name"
            );
            assert_eq!(store.tags(&name).await.len(), if marked { 2 } else { 0 });
            world.edit(json!({"managementState": "Removed"}));
            world.settle().await;
            assert!(store.exists(&name).await);
        }
    }
}

// storage-decisions T6
#[tokio::test]
async fn an_empty_bucket_of_the_generated_name_is_adopted_after_it_was_noted() {
    let mut world = cluster("empty-c7", json!({"s3": {}})).await;
    let name = world.generated();
    let store = store().await;
    store.create(&name).await;
    // Our own probe is nothing.
    store
        .put(
            &name,
            "docker/registry/v2/_preflight/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
        )
        .await;
    let outcome = world.step().await;
    assert!(outcome.record.is_some() && world.changes().is_empty(), "noted first");
    world.settle().await;
    assert_eq!(world.state(), Some("Managed"));
    assert!(is_marked(&world, &name).await);
}

// storage-decisions T6: a name of the user's is not the operator's to adopt, though it is empty
#[tokio::test]
async fn an_empty_bucket_of_a_users_name_is_not_adopted() {
    store().await.create("empty-c8").await;
    let mut world = cluster("blue-c8", json!({"s3": {"bucket": "empty-c8"}})).await;
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    assert!(store().await.tags("empty-c8").await.is_empty());
}

// storage-decisions T6: the record of one bucket says nothing about another
#[tokio::test]
async fn the_creation_record_of_another_location_adopts_nothing() {
    let mut world = cluster("record-c9", json!({"s3": {}})).await;
    world.settle().await;
    store().await.create("empty-c9").await;
    world.edit(json!({"storage": {"s3": {"bucket": "empty-c9"}}}));
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    assert!(store().await.tags("empty-c9").await.is_empty());
}

// storage-decisions 10: filled by somebody between the intent and the creation
#[tokio::test]
async fn a_bucket_that_somebody_filled_after_the_intent_is_not_adopted() {
    let mut world = cluster("raced-d1", json!({"s3": {}})).await;
    let name = world.generated();
    let outcome = world.step().await;
    let noted = outcome.record.unwrap()["metadata"]["annotations"][names::STORAGE_INTENT_ANNOTATION].clone();
    world.annotate(names::STORAGE_INTENT_ANNOTATION, noted.as_str().unwrap());
    let store = store().await;
    store.create(&name).await;
    store.put(&name, "image").await;
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    assert!(store.tags(&name).await.is_empty());
    remove_and_find_all(&mut world, &name, 1).await;
}

// storage-decisions 1: the same under an explicit Managed
#[tokio::test]
async fn under_managed_too_what_somebody_filled_after_the_intent_gets_no_mark() {
    let store = store().await;
    store.create("raced-d1m").await;
    store.put("raced-d1m", "image").await;
    let mut world = cluster(
        "raced-d1m",
        json!({"s3": {"bucket": "raced-d1m"}, "managementState": "Managed"}),
    )
    .await;
    let location = world.location("raced-d1m");
    world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
    world.settle().await;
    assert!(!is_marked(&world, "raced-d1m").await);
    remove_and_find_all(&mut world, "raced-d1m", 1).await;
}

// storage-decisions 15, T11
#[tokio::test]
async fn where_tags_cannot_be_read_none_are_written_and_nothing_else_is() {
    let store = store().await;
    store.create("unread-d2").await;
    store.set_tags("unread-d2", &[("team", "x")]).await;
    let mut world = cluster(
        "unread-d2",
        json!({"s3": {"bucket": "unread-d2"}, "managementState": "Managed"}),
    )
    .await;
    world
        .gate
        .plan(When::operation("GetBucketTagging"), Fault::error(403, "AccessDenied"));
    let outcome = world.settle().await;
    assert!(
        outcome.fault.is_none() && outcome.facts.is_some(),
        "{:?}",
        outcome.fault
    );
    assert_eq!(world.condition("StorageTagged"), "False/AccessDenied");
    let writes: Vec<_> = world
        .changes()
        .into_iter()
        .filter(|o| o.contains("Bucket") || o.contains("Access"))
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(store.tags("unread-d2").await, [("team".to_owned(), "x".to_owned())]);
}

// T6: the mark is part of the creation
#[tokio::test]
async fn a_bucket_that_cannot_be_marked_is_not_used() {
    for (infrastructure, operation) in [
        ("unmarked-d3", "PutBucketTagging"),
        ("unmarked-d3b", "GetBucketTagging"),
    ] {
        let mut world = cluster(infrastructure, json!({"s3": {}})).await;
        world
            .gate
            .plan(When::operation(operation), Fault::error(403, "AccessDenied"));
        let outcome = world.pass().await;
        assert!(outcome.fault.unwrap().message.contains(&format!("s3:{operation}")));
        assert!(outcome.facts.is_none() && world.state().is_none());
        assert_eq!(world.condition("StorageTagged"), "False/AccessDenied");
        world.gate.pass();
        world.converge().await;
        assert_eq!(world.state(), Some("Managed"));
        assert!(is_marked(&world, &world.generated()).await);
        assert_eq!(store().await.buckets(infrastructure).await, [world.generated()]);
    }
}

// storage-decisions 7, T5
#[tokio::test]
async fn after_a_removal_a_named_bucket_does_not_inherit_managed() {
    let mut world = cluster("left-d4", json!({"s3": {}})).await;
    world.settle().await;
    world.edit(json!({"managementState": "Removed"}));
    world.settle().await;
    assert_eq!((world.state(), world.storage()["s3"].get("bucket")), (None, None));
    let store = store().await;
    store.create("users-d4").await;
    store.put("users-d4", "image").await;
    world.edit(json!({"managementState": "Managed", "storage": {"s3": {"bucket": "users-d4"}}}));
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    remove_and_find_all(&mut world, "users-d4", 1).await;
}

// storage-decisions 5, T3
#[tokio::test]
async fn managed_asked_for_together_with_removed_deletes_nothing_and_sends_nothing() {
    let store = store().await;
    store.create("users-d5").await;
    store.put("users-d5", "image").await;
    let mark = mark_of("users-d5");
    let mark: Vec<_> = mark.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    store.set_tags("users-d5", &mark).await; // even with the whole mark on it
    let mut world = cluster("users-d5", json!({"s3": {"bucket": "users-d5"}})).await;
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    world.gate.forget();
    world.edit(json!({"managementState": "Removed", "storage": {"s3": null, "pvc": {}, "managementState": "Managed"}}));
    let outcome = world.settle().await;
    assert!(outcome.done && world.changes().is_empty());
    assert_eq!(store.count("users-d5").await, 1);
}

// storage-decisions 4
#[tokio::test]
async fn an_unreadable_mark_at_removal_keeps_everything_until_the_user_lets_go() {
    let mut world = cluster("unread-d6", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    world
        .gate
        .plan(When::operation("GetBucketTagging"), Fault::error(403, "AccessDenied"));
    world.gate.forget();
    world.edit(json!({"managementState": "Removed"}));
    for _ in 0..3 {
        let outcome = world.pass().await;
        assert!(!outcome.done && outcome.fault.unwrap().message.contains("s3:GetBucketTagging"));
    }
    assert!(world.changes().is_empty());
    assert_eq!(world.status()["s3"]["bucket"], json!(name));
    world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(world.pass().await.done);
    assert_eq!(store().await.count(&name).await, 1);
}

// storage-decisions T2: a store without tags
#[tokio::test]
async fn where_the_store_knows_no_tags_the_record_and_the_generated_name_are_the_proof() {
    let no_tags = |world: &World| {
        for operation in ["GetBucketTagging", "PutBucketTagging"] {
            world
                .gate
                .plan(When::operation(operation), Fault::error(501, "NotImplemented"));
        }
    };
    // Created by the operator: it goes.
    let mut ours = cluster("tagless-d7", json!({"s3": {}})).await;
    no_tags(&ours);
    ours.converge().await;
    assert_eq!(
        (ours.state(), ours.condition("StorageTagged").as_str()),
        (Some("Managed"), "False/NotImplemented")
    );
    ours.edit(json!({"managementState": "Removed"}));
    ours.settle().await;
    assert!(!store().await.exists(&ours.generated()).await);
    // Under a name of the user's, or without the record: it stays.
    for (infrastructure, storage, forget) in [
        ("tagless-d7b", json!({"s3": {"bucket": "tagless-d7b"}}), false),
        ("tagless-d7c", json!({"s3": {}}), true),
    ] {
        let mut world = cluster(infrastructure, storage).await;
        no_tags(&world);
        world.converge().await;
        assert_eq!(world.state(), Some("Managed"));
        let bucket = world.status()["s3"]["bucket"].as_str().unwrap().to_owned();
        store().await.put(&bucket, "image").await;
        if forget {
            world.annotate(names::STORAGE_INTENT_ANNOTATION, "");
        }
        remove_and_find_all(&mut world, &bucket, 1).await;
    }
}

// storage-decisions T8: the Config changed between the proof and the step
#[tokio::test]
async fn nothing_is_changed_when_the_config_is_not_the_newest() {
    let mut world = cluster("stale-d8", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    world.edit(json!({"managementState": "Removed"}));
    world.gate.forget();
    world.make_stale(true);
    for _ in 0..3 {
        assert!(!world.pass().await.done);
    }
    assert!(world.changes().is_empty(), "{:?}", world.changes());
    // And at creation.
    let mut fresh = cluster("stale-d8b", json!({"s3": {}})).await;
    fresh.make_stale(true);
    fresh.pass().await;
    assert!(fresh.changes().is_empty() && fresh.confirmed() > 0);
    let _ = lab::moto().await;
}

// storage-decisions T4: other credentials mean another tenant on the same endpoint
#[tokio::test]
async fn with_other_credentials_the_mark_is_read_again_before_anything_is_deleted() {
    let mut world = cluster("tenant-d9", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    // The other tenant's bucket of that name, as those credentials would see it.
    store().await.put(&name, "precious").await;
    store().await.set_tags(&name, &[("owner", "the other tenant")]).await;
    remove_and_find_all(&mut world, &name, 1).await;
}

// storage-decisions T6: roles of old clusters may not list versions
#[tokio::test]
async fn without_the_right_to_list_versions_only_what_was_noted_beforehand_is_adopted() {
    let refused = || Fault::error(403, "AccessDenied");
    // It was not there when it was noted.
    let mut world = cluster("novers-e1", json!({"s3": {}})).await;
    world.gate.plan(When::operation("ListObjectVersions"), refused());
    world.settle().await;
    assert_eq!(world.state(), Some("Managed"));
    // It was there before: what it hides is not known.
    let mut world = cluster("novers-e1b", json!({"s3": {}})).await;
    let name = world.generated();
    store().await.create(&name).await;
    world.gate.plan(When::operation("ListObjectVersions"), refused());
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    assert!(
        world.notices.iter().any(|n| n.contains("s3:ListBucketVersions")),
        "{:?}",
        world.notices
    );
    assert!(store().await.tags(&name).await.is_empty());
}

// T6: the mark does not depend on what else the platform wants on the bucket
#[tokio::test]
async fn where_the_store_refuses_the_platforms_tags_the_mark_is_written_alone() {
    let mut world = cluster("badtag-e2", json!({"s3": {}})).await;
    world.set_platform_tags(&json!([{"key": "cost", "value": "x"}]));
    world.gate.rule(|asked| {
        if asked.operation() == "PutBucketTagging" && asked.text().contains("cost") {
            Fault::error(400, "InvalidTag")
        } else {
            Fault::Pass
        }
    });
    let outcome = world.settle().await;
    assert!(outcome.fault.is_none() && world.state() == Some("Managed"));
    assert!(is_marked(&world, &world.generated()).await);
    assert_eq!(world.condition("StorageTagged"), "False/InvalidTag");
}
