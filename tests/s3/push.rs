//! The preflight is a push in small: stores that answer a call of a push and do not do it, or do not know the call.

use std::time::Instant;

use devcluster::stores::{Fault, Reply, When};
use image_registry_operator::status::judge::Preflight;
use serde_json::json;

use super::cluster::S3Cluster;
use super::stores::{cluster, moto, seaweed, store};

async fn before(bucket: &str) -> S3Cluster {
    store().await.create(bucket).await;
    cluster(bucket, json!({"s3": {"bucket": bucket}})).await
}

fn failed(preflight: Option<Preflight>) -> String {
    match preflight {
        Some(Preflight::Failed(message)) => message,
        other => panic!("{other:?}"),
    }
}

// storage-decisions 25: issue 10, rows 6 and 7
#[tokio::test]
async fn a_store_that_answers_without_an_effect_or_knows_no_copy_is_refused_and_the_operation_is_named() {
    let empty_uploads = Reply::new(200, "<ListMultipartUploadsResult/>");
    let empty_parts = Reply::new(200, "<ListPartsResult/>");
    let empty_list = Reply::new(200, "<ListBucketResult/>");
    for (n, (operation, fault, told)) in [
        (
            "ListMultipartUploads",
            Fault::Answer(empty_uploads),
            "s3:ListBucketMultipartUploads failed",
        ),
        (
            "ListParts",
            Fault::Answer(empty_parts),
            "s3:ListMultipartUploadParts failed",
        ),
        ("ListObjectsV2", Fault::Answer(empty_list), "s3:ListBucket failed"),
        (
            "GetObject",
            Fault::Answer(Reply::new(200, "other")),
            "s3:GetObject failed",
        ),
        (
            "CopyObject",
            Fault::error(501, "NotImplemented"),
            "s3:PutObject (CopyObject) failed",
        ),
        (
            "CopyObject",
            Fault::error(405, "MethodNotAllowed"),
            "s3:PutObject (CopyObject) failed",
        ),
        (
            "UploadPartCopy",
            Fault::error(501, "NotImplemented"),
            "s3:PutObject (UploadPartCopy) failed",
        ),
        (
            "CompleteMultipartUpload",
            Fault::error(400, "InvalidPart"),
            "s3:PutObject (CompleteMultipartUpload) failed",
        ),
        // Status 200, and the copy failed.
        (
            "CopyObject",
            Fault::Answer(Reply::error(200, "InvalidRequest", "no")),
            "CopyObject",
        ),
        (
            "DeleteObjects",
            Fault::error(403, "AccessDenied"),
            "s3:DeleteObject denied",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let bucket = format!("effect-p1-{n}");
        let mut world = before(&bucket).await;
        world.gate.plan(When::operation(operation), fault);
        // A refused key is an error after two minutes.
        let mut last = None;
        for _ in 0..3 {
            world.later(std::time::Duration::from_mins(6));
            last = world.pass().await.preflight;
        }
        let message = match last {
            Some(Preflight::Failed(message) | Preflight::Undecided(message)) => message,
            other => panic!("{operation}: {other:?}"),
        };
        assert!(message.contains(told), "{operation}: {message}");
        assert!(world.running.is_none(), "{operation}");
        world.gate.pass();
        world.later(std::time::Duration::from_mins(6));
        world.converge().await;
        assert!(world.running.is_some(), "{operation}");
        assert_eq!(store().await.count(&bucket).await, 0, "{operation}");
        let (_, uploads) = store().await.read(&bucket, "uploads").await;
        assert!(!uploads.contains("_preflight"), "{operation}: {uploads}");
    }
}

// issue 10, row 8
#[tokio::test]
async fn a_store_without_delete_objects_is_used_with_a_warning_and_a_bucket_of_the_operator_is_emptied_one_by_one() {
    for (n, status) in [(1, 405), (2, 501)] {
        let infrastructure = format!("single-p2-{n}");
        let mut world = cluster(&infrastructure, json!({"s3": {}})).await;
        world.gate.plan(
            When::operation("DeleteObjects"),
            Fault::error(status, "MethodNotAllowed"),
        );
        world.settle().await;
        assert!(world.running.is_some(), "{status}");
        let warned = world
            .events()
            .iter()
            .filter(|event| event.starts_with("StorageDeletionUnsupported"))
            .count();
        assert_eq!(warned, 1, "{:?}", world.events());
        let bucket = world.generated();
        for key in ["a", "b", "c"] {
            store().await.put(&bucket, key).await;
        }
        world.edit(json!({"managementState": "Removed"}));
        assert!(world.settle().await.done);
        assert!(!store().await.exists(&bucket).await);
    }
}

// storage-decisions 26, T14a: issue 10, row 5
#[tokio::test]
async fn a_bucket_with_default_retention_is_used_and_the_version_that_stays_is_told_once() {
    // moto wants a checksum for CopyObject, too, which has no body; so the rules of AWS stand here.
    let bucket = "locked-p3";
    let store = store().await;
    store.create(bucket).await;
    store.version(bucket, "Enabled").await;
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>\
                <Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>";
    for managed in [false, true] {
        let mut world = cluster(&format!("{bucket}-{managed}"), json!({"s3": {"bucket": bucket}})).await;
        if managed {
            world.edit(json!({"storage": {"managementState": "Managed"}}));
        }
        world.gate.rule(|asked| {
            let checked = asked.header("content-md5").is_some();
            match asked.operation().as_str() {
                "PutObject" | "UploadPart" if !checked => Fault::error(400, "InvalidRequest"),
                "DeleteObject" if asked.parameter("versionId").is_some() => Fault::error(403, "AccessDenied"),
                "GetObjectLockConfiguration" => Fault::Answer(Reply::new(200, lock)),
                _ => Fault::Pass,
            }
        });
        for _ in 0..5 {
            world.later(std::time::Duration::from_mins(6));
            world.pass().await;
        }
        let outcome = world.pass().await;
        assert!(world.running.is_some(), "{managed}: {outcome:?} {:?}", world.events());
        let kept = world
            .events()
            .iter()
            .filter(|event| event.starts_with("StorageProbeKept"))
            .count();
        assert_eq!(kept, 1, "{managed}: {:?}", world.events());
        assert_eq!(world.recorded_probe(), None, "{managed}");
        assert_eq!(store.count(bucket).await, 0, "{managed}: hidden");
        let puts = |world: &S3Cluster| world.gate.operations().iter().filter(|o| *o == "CopyObject").count();
        assert_eq!(puts(&world), 1, "{managed}: one preflight");
    }
}

// storage-decisions T14: the headers of the registry's driver
#[tokio::test]
async fn the_objects_of_a_preflight_have_the_headers_of_the_registrys() {
    let mut world = before("headers-p4").await;
    world.pass().await;
    for asked in world.gate.asked() {
        let of_object = ["PutObject", "CreateMultipartUpload", "CopyObject"];
        if of_object.contains(&asked.operation().as_str()) {
            for (header, value) in [
                ("x-amz-acl", "private"),
                ("x-amz-storage-class", "STANDARD"),
                ("content-type", "application/octet-stream"),
            ] {
                assert_eq!(asked.header(header), Some(value), "{asked}");
            }
        }
        if ["PutObject", "UploadPart", "DeleteObjects"].contains(&asked.operation().as_str()) {
            assert!(asked.header("content-md5").is_some(), "{asked}");
            assert_eq!(asked.header("x-amz-sdk-checksum-algorithm"), None, "{asked}");
        }
    }
}

// issue 10: the whole small push, against both stores
#[tokio::test]
async fn the_whole_push_passes_at_moto_and_at_seaweedfs() {
    let (moto, seaweed) = (moto().await, seaweed().await);
    for (name, target, keys) in [
        ("moto", moto.target(), moto.admin()),
        ("seaweedfs", seaweed.target(), seaweed.admin()),
    ] {
        let bucket = format!("push-p5-{name}");
        super::cluster::Store { target, keys }.create(&bucket).await;
        let mut world = S3Cluster::new(target, keys, &bucket, json!({"s3": {"bucket": bucket}}));
        let began = Instant::now();
        let outcome = world.pass().await;
        println!("{name}: a pass with its preflight takes {:?}", began.elapsed());
        assert!(
            world.running.is_some(),
            "{name}: {:?} {:?}",
            outcome.preflight,
            outcome.error
        );
        assert!(outcome.events.is_empty(), "{name}: {:?}", outcome.events);
        let requests = world.gate.operations();
        assert!(requests.contains(&"CopyObject".to_owned()), "{name}: {requests:?}");
        // Nine calls before the preflight compared what it reads.
        assert!(requests.len() <= 18, "{name}: {requests:?}");
    }
}

#[tokio::test]
async fn a_failed_preflight_says_what_is_missing_in_one_line() {
    let mut world = before("line-p6").await;
    world.gate.plan(
        When::operation("ListMultipartUploads"),
        Fault::Answer(Reply::new(200, "<ListMultipartUploadsResult/>")),
    );
    world.later(std::time::Duration::from_mins(6));
    let message = failed(world.pass().await.preflight);
    assert!(
        message.contains("NotListed") && message.contains("each push would fail"),
        "{message}"
    );
}
