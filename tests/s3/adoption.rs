//! Each way in which a bucket that is not provably ours could become the operator's, or be deleted from.

use devcluster::stores::{Fault, Keys, When};
use image_registry_operator::names;
use serde_json::json;

use super::cluster::{S3Cluster, Store};
use super::conformance::{BackendUnderTest as _, remove_and_keep};
use super::stores::{self, cluster, store};
use super::under_test::mark_of;

const OTHER_MARK: [(&str, &str); 2] = [
    ("kubernetes.io/cluster/green-9", "owned"),
    ("Name", "green-9-image-registry"),
];

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
    assert!(!world.is_ours("half-c2").await);
    remove_and_keep(&mut world, "half-c2", 1).await;
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
    remove_and_keep(&mut world, &name, 1).await;
}

// storage-decisions 3: the mark of another cluster counts with any value
#[tokio::test]
async fn a_bucket_that_another_cluster_shares_is_not_the_operators() {
    let store = store().await;
    let shared = ("kubernetes.io/cluster/green-9", "shared");
    store.create("shared-c7").await;
    store.set_tags("shared-c7", &[shared]).await;
    let storage = json!({"s3": {"bucket": "shared-c7"}, "managementState": "Managed"});
    let mut world = cluster("shared-c7", storage).await;
    let location = world.location("shared-c7");
    world.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("the mark of cluster green-9"), "{error:?}");
    assert_eq!(store.tags("shared-c7").await.len(), 1);
    // One that the operator created, and that another cluster shares meanwhile.
    let mut own = cluster("shared-c8", json!({"s3": {}})).await;
    own.settle().await;
    let name = own.generated();
    store.put(&name, "image").await;
    let mark = mark_of("shared-c8");
    let tags: Vec<(&str, &str)> = mark
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .chain([shared])
        .collect();
    store.set_tags(&name, &tags).await;
    remove_and_keep(&mut own, &name, 1).await;
}

// storage-decisions 10, T6
#[tokio::test]
async fn a_bucket_of_the_generated_name_that_holds_only_a_marker_or_an_old_version_is_unmanaged() {
    let store = store().await;
    for (infrastructure, content) in [("full-c6b", "marker"), ("full-c6c", "old version")] {
        for marked in [false, true] {
            let infrastructure = format!("{infrastructure}{}", u8::from(marked));
            let mut world = cluster(&infrastructure, json!({"s3": {}})).await;
            let name = world.generated();
            store.create(&name).await;
            store.version(&name, "Enabled").await;
            store.put(&name, "image").await;
            store.drop_object(&name, "image").await;
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
                world.events().iter().any(|n| n.contains("not empty")),
                "{:?}",
                world.events()
            );
            assert_eq!(
                world.storage_spec()["s3"]["bucket"],
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
        outcome.error.is_none() && outcome.facts.is_some(),
        "{:?}",
        outcome.error
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
        assert!(outcome.error.unwrap().message.contains(&format!("s3:{operation}")));
        assert!(outcome.facts.is_none() && world.state().is_none());
        assert_eq!(world.condition("StorageTagged"), "False/AccessDenied");
        world.gate.pass();
        world.converge().await;
        assert_eq!(world.state(), Some("Managed"));
        assert!(world.is_ours(&world.generated()).await);
        assert_eq!(store().await.buckets(infrastructure).await, [world.generated()]);
    }
}

// storage-decisions T2: a store without tags
#[tokio::test]
async fn where_the_store_knows_no_tags_the_record_and_the_generated_name_are_the_proof() {
    let no_tags = |world: &S3Cluster| {
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
            world.annotate(names::STORAGE_CREATED_UNMARKED_ANNOTATION, "");
        }
        remove_and_keep(&mut world, &bucket, 1).await;
    }
}

/// Another tenant on the same endpoint, with a bucket of the same name that holds an object and these tags.
async fn other_tenant(bucket: &str, tags: &[(&str, &str)]) -> Store<'static> {
    let seaweed = stores::seaweed().await;
    let tenant = Store {
        target: seaweed.target(),
        keys: seaweed.admin(),
    };
    tenant.create(bucket).await;
    tenant.put(bucket, "precious").await;
    tenant.set_tags(bucket, tags).await;
    tenant
}

/// The cluster's credentials become those of the tenant, whose store answers from now on.
fn become_tenant(world: &mut S3Cluster, tenant: &Store<'static>) {
    let target = tenant.target.clone();
    world.gate.rule(move |_| Fault::To(target.clone()));
    world.set_credentials(tenant.keys);
    world.gate.forget();
}

/// Whether each change of the bucket came after a read of its mark with these keys, which nobody else asked with.
fn assert_mark_is_read_before_changes(world: &S3Cluster, keys: &Keys) {
    let mut read = false;
    for asked in world.gate.asked() {
        assert_eq!(asked.key_id().as_deref(), Some(keys.id.as_str()), "{asked}");
        match asked.operation().as_str() {
            "GetBucketTagging" => read = true,
            operation if ["Get", "Head", "List"].iter().any(|reads| operation.starts_with(reads)) => {}
            operation => assert!(read, "{operation}: {:?}", world.gate.operations()),
        }
    }
    assert!(read, "{:?}", world.gate.operations());
}

// storage-decisions T4: other credentials mean another tenant on the same endpoint
#[tokio::test]
async fn with_credentials_of_another_tenant_the_mark_is_read_again_before_anything_is_deleted() {
    let mut world = cluster("tenant-d9", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    let tenant = other_tenant(&name, &[("owner", "the other tenant")]).await;
    become_tenant(&mut world, &tenant);
    world.edit(json!({"managementState": "Removed"}));
    for _ in 0..4 {
        assert!(!world.pass().await.done);
        world.later(std::time::Duration::from_mins(11));
    }
    assert_mark_is_read_before_changes(&world, tenant.keys);
    assert_eq!(world.changes(), Vec::<String>::new());
    assert_eq!((tenant.count(&name).await, store().await.count(&name).await), (1, 1));
}

// storage-decisions T4: the same for what is written while the registry is Managed
#[tokio::test]
async fn with_credentials_of_another_tenant_the_mark_is_read_again_before_anything_is_written() {
    let mut world = cluster("tenant-d9w", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    let tenant = other_tenant(&name, &OTHER_MARK).await;
    become_tenant(&mut world, &tenant);
    world.set_platform_tags(&json!([{"key": "cost", "value": "blue"}]));
    world.edit(json!({"storage": {"s3": {"keyID": "another-key"}}}));
    let message = world.pass().await.error.unwrap().message;
    assert!(message.contains("carries the mark of cluster green-9"), "{message}");
    assert_mark_is_read_before_changes(&world, tenant.keys);
    assert_eq!(world.changes(), Vec::<String>::new());
    let mut tags = tenant.tags(&name).await;
    tags.sort_by_key(|(key, _)| std::cmp::Reverse(key.clone()));
    assert_eq!(tags, OTHER_MARK.map(|(key, value)| (key.to_owned(), value.to_owned())));
    assert_eq!(tenant.read(&name, "encryption").await.0, 404);
}

// storage-decisions T4: another principal that may access the very bucket finds the mark, and goes on
#[tokio::test]
async fn with_credentials_of_another_principal_the_mark_is_read_again_and_what_is_ours_is_deleted() {
    let mut world = cluster("tenant-d9p", json!({"s3": {}})).await;
    world.settle().await;
    let name = world.generated();
    store().await.put(&name, "image").await;
    let everything = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    let principal = stores::moto().await.user("principal-d9p", &everything).await.unwrap();
    world.set_credentials(&principal);
    world.gate.forget();
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done && !store().await.exists(&name).await);
    assert_mark_is_read_before_changes(&world, &principal);
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
        world.events().iter().any(|n| n.contains("s3:ListBucketVersions")),
        "{:?}",
        world.events()
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
    assert!(outcome.error.is_none() && world.state() == Some("Managed"));
    assert!(world.is_ours(&world.generated()).await);
    assert_eq!(world.condition("StorageTagged"), "False/InvalidTag");
}
