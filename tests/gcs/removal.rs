//! A bucket is deleted with everything in it, or kept.

use std::time::Duration;

use devcluster::stores::Fault;
use image_registry_operator::config::error_class::ErrorClass;
use serde_json::{Value, json};

use super::cluster::{GcsCluster, answer, call, cluster};
use super::conformance::{BackendUnderTest as _, RESYNC, Sent, remove_and_keep};
use super::stores::{REGION, store};

/// A cluster whose own bucket is in use, and the bucket.
async fn owned(name: &str) -> (GcsCluster, String) {
    let mut world = cluster(name, json!({"gcs": {}})).await;
    world.converge().await;
    let bucket = world.bucket().await;
    world.gate.forget();
    (world, bucket)
}

fn remove(world: &mut GcsCluster) {
    world.edit(json!({"managementState": "Removed"}));
}

// storage-gcs 42, 44
#[tokio::test]
async fn every_object_goes_and_then_the_bucket_whatever_the_names() {
    let (mut world, bucket) = owned("blue-remo1").await;
    let spec = world.storage_spec()["gcs"].clone();
    store()
        .await
        .fill(&bucket, "docker/registry/v2/blobs/", 251)
        .await
        .unwrap();
    for name in ["a b#c?d&e=f", "deep/er/x", "ünï/cødé", "100%"] {
        store().await.put(&bucket, name, b"x").await.unwrap();
    }
    remove(&mut world);
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
    assert_eq!(world.changes(), [Sent::Delete; 3], "two pages, and the bucket");
    let paths: Vec<String> = world.gate.asked().into_iter().map(|asked| asked.path).collect();
    let place = format!("/storage/v1/b/{bucket}/o/a%20b%23c%3Fd%26e%3Df");
    assert!(paths.contains(&place), "{place}");
    assert_eq!(world.condition("StorageExists"), "False/GCS Bucket Deleted");
    // Region and project stay.
    let left = json!({"region": spec["region"], "projectID": spec["projectID"]});
    assert_eq!((&world.storage_spec()["gcs"], world.status()), (&left, &json!({})));
}

// storage-gcs section 6.6: noncurrent versions, soft delete, uploads that nobody completes
#[tokio::test]
async fn versions_go_too_and_soft_deleted_objects_and_pending_uploads_hold_nothing_up() {
    let (mut world, bucket) = owned("blue-vers1").await;
    let gcs = store().await;
    let settings = json!({"versioning": {"enabled": true}, "softDeletePolicy": {"retentionDurationSeconds": "604800"}});
    gcs.change_bucket(&bucket, &settings).unwrap();
    for _ in 0..3 {
        gcs.put(&bucket, "image", b"layer").await.unwrap();
    }
    gcs.begin_upload(&bucket, "docker/registry/v2/repositories/a/_uploads/1/data")
        .unwrap();
    assert_eq!(gcs.noncurrent(&bucket), 2);
    remove(&mut world);
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
}

// storage-gcs 41
#[tokio::test]
async fn a_bucket_of_the_user_is_left_without_a_request() {
    let bucket = "blue-left1-images";
    let settings = json!({"location": REGION});
    store()
        .await
        .make_bucket("p-blue-left1", bucket, &settings)
        .await
        .unwrap();
    store().await.put(bucket, "image", b"layer").await.unwrap();
    for state in [Value::Null, json!("Unmanaged")] {
        let mut world = cluster(
            "blue-left1",
            json!({"gcs": {"bucket": bucket}, "managementState": state}),
        )
        .await;
        world.converge().await;
        world.gate.forget();
        remove(&mut world);
        assert!(world.settle().await.done);
        assert_eq!(world.gate.asked().len(), 0);
        assert_eq!(store().await.objects(bucket), ["image"]);
    }
}

// storage-gcs 43
#[tokio::test]
async fn a_bucket_that_somebody_deleted_meanwhile_is_a_success() {
    let (mut world, bucket) = owned("blue-away1").await;
    store().await.fill(&bucket, "blob", 260).await.unwrap();
    remove(&mut world);
    world.pass().await;
    assert_eq!(store().await.objects(&bucket).len(), 10, "one page is gone");
    store().await.drop_bucket(&bucket);
    assert!(world.settle().await.done);
    assert_eq!(world.condition("StorageExists"), "False/GCS Bucket Deleted");
}

// storage-gcs 45
#[tokio::test]
async fn a_bucket_that_is_written_to_meanwhile_is_told_and_emptied_again() {
    let (mut world, bucket) = owned("blue-busy2").await;
    remove(&mut world);
    world.refuse("buckets.delete", 409, "conflict");
    let outcome = world.pass().await;
    let error = outcome.error.unwrap();
    // Nobody has to act: it is a matter of time.
    assert_eq!((outcome.done, error.class), (false, ErrorClass::Transient), "{error}");
    for part in [bucket.as_str(), "409", "refused by the test", "written to it meanwhile"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    // The reason is empty, as the Go operator has it.
    assert_eq!(world.condition("StorageExists"), "True/");
    assert_eq!(world.message("StorageExists"), error.message);
    assert_eq!(world.status()["gcs"]["bucket"], json!(bucket), "it is tried again");
    // As the service itself has it: not empty when it is deleted.
    store().await.put(&bucket, "late", b"layer").await.unwrap();
    let mut hidden = false;
    world.gate.rule(move |asked| {
        if call(asked) == "objects.list" && !std::mem::replace(&mut hidden, true) {
            answer(200, "{\"kind\": \"storage#objects\"}")
        } else {
            Fault::Pass
        }
    });
    world.later(RESYNC);
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("not empty"), "{error}");
    assert_eq!(
        (world.condition("StorageExists"), store().await.objects(&bucket).len()),
        ("True/".to_owned(), 1)
    );
    // The next attempt, after its wait and in the same process, succeeds.
    world.later(Duration::from_secs(10));
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
}

// storage-decisions T2, T8: the bucket has another owner in the moment of its deletion
#[tokio::test]
async fn a_bucket_that_changes_between_proof_and_deletion_is_not_deleted() {
    let (mut world, bucket) = owned("blue-race1").await;
    let gcs = store().await;
    let (name, mut raced) = (bucket.clone(), false);
    world.gate.rule(move |asked| {
        if call(asked) == "buckets.delete" && !std::mem::replace(&mut raced, true) {
            let labels = json!({"kubernetes-io-cluster-green-9": "owned"});
            gcs.set_labels(&name, &labels).unwrap();
        }
        Fault::Pass
    });
    remove(&mut world);
    let error = world.settle().await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    world.later(RESYNC);
    world.settle().await;
    assert!(gcs.bucket(&bucket).is_some());
    assert_eq!(world.count_events("StorageKept"), 1, "{:?}", world.told());
}

// storage-gcs section 9: without an answer to the first question the removal goes on later
#[tokio::test]
async fn a_removal_does_not_wait_for_a_service_that_is_silent() {
    let (mut world, bucket) = owned("blue-mute1").await;
    world.gate.rule(|asked| {
        if call(asked) == "buckets.get" {
            Fault::Hang
        } else {
            Fault::Pass
        }
    });
    remove(&mut world);
    let outcome = tokio::time::timeout(Duration::from_secs(40), world.pass()).await;
    let error = outcome.expect("a step ends in time").error.unwrap();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    assert!(store().await.bucket(&bucket).is_some());
}

// storage-gcs 46
#[tokio::test]
async fn a_removal_after_a_switch_to_a_volume_goes_by_the_status() {
    let (mut world, _) = owned("blue-swit2").await;
    world.edit(json!({"managementState": "Removed", "storage": {"gcs": null, "pvc": {"claim": "images"}}}));
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
    assert_eq!(world.storage_spec(), &json!({"pvc": {"claim": "images"}}));
}

// issue 12: a bucket with a retention policy at removal
#[tokio::test]
async fn objects_under_retention_or_a_hold_are_kept_and_told_without_a_loop() {
    for (name, held) in [("blue-hold1", false), ("blue-hold2", true)] {
        let (mut world, bucket) = owned(name).await;
        let gcs = store().await;
        gcs.fill(&bucket, "blob", 3).await.unwrap();
        if held {
            gcs.hold(&bucket, "blob000001", true);
        } else {
            let policy = json!({"retentionPolicy": {"retentionPeriod": "3600"}});
            gcs.change_bucket(&bucket, &policy).unwrap();
        }
        remove(&mut world);
        let outcome = world.pass().await;
        let error = outcome.error.unwrap();
        let reason = if held {
            "objectUnderActiveHold"
        } else {
            "retentionPolicyNotMet"
        };
        let words = if held {
            "Temporary hold"
        } else {
            "subject to bucket's retention policy"
        };
        for part in ["a retention policy or a hold", "blob00000", reason, words, "Unmanaged"] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        let kept = if held { 1 } else { 3 };
        assert_eq!(gcs.objects(&bucket).len(), kept);
        assert!(gcs.bucket(&bucket).is_some());
        // The way out: the data is kept.
        world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        world.gate.forget();
        assert!(world.settle().await.done);
        assert_eq!((world.gate.asked().len(), gcs.objects(&bucket).len()), (0, kept));
    }
}

// storage-decisions T2
#[tokio::test]
async fn a_missing_right_to_delete_is_named() {
    let (mut world, bucket) = owned("blue-righ9").await;
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    world.refuse("objects.delete", 403, "forbidden");
    remove(&mut world);
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("storage.objects.delete is denied"), "{error}");
    world.gate.pass();
    world.refuse("objects.list", 403, "forbidden");
    world.later(RESYNC);
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("storage.objects.list"), "{error}");
    assert_eq!(store().await.objects(&bucket), ["image"]);
}

// storage-decisions 3: the same name in the project of somebody else
#[tokio::test]
async fn a_bucket_of_the_same_name_without_our_label_is_never_deleted() {
    let (mut world, bucket) = owned("blue-same1").await;
    let gcs = store().await;
    gcs.drop_bucket(&bucket);
    let settings = json!({"location": REGION});
    gcs.make_bucket("p-blue-same1", &bucket, &settings).await.unwrap();
    gcs.put(&bucket, "image", b"layer").await.unwrap();
    remove_and_keep(&mut world, &bucket, 1).await;
    assert_eq!(world.changes(), []);
}

// issue 12: bounded, also where a process ends again and again
#[tokio::test]
async fn a_removal_of_many_objects_survives_ends_of_the_process() {
    let (mut world, bucket) = owned("blue-many1").await;
    store()
        .await
        .fill(&bucket, "docker/registry/v2/blobs/", 600)
        .await
        .unwrap();
    remove(&mut world);
    for _ in 0..3 {
        world.die_after("objects.delete").await;
    }
    assert!(world.converge().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
    let most = world
        .gate
        .asked()
        .iter()
        .filter(|asked| call(asked) == "objects.list")
        .count();
    assert!(most >= 3, "a page at a time: {most}");
}
