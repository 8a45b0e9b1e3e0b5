//! What a proxy, or something else in between, answers in place of Cloud Storage is not believed.

use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::config::error_class::ErrorClass;
use image_registry_operator::status::judge::Preflight;
use serde_json::{Value, json};

use super::cluster::{GcsCluster, answer, call, cluster, project};
use super::conformance::{BackendUnderTest as _, RESYNC};
use super::stores::{REGION, store};

/// Calls of this name get this response.
fn answer_all(world: &GcsCluster, name: &'static str, fault: Fault) {
    world.gate.rule(move |asked| {
        if call(asked) == name {
            fault.clone()
        } else {
            Fault::Pass
        }
    });
}

fn count(world: &GcsCluster, name: &str) -> usize {
    world.calls().iter().filter(|call| *call == name).count()
}

/// A cluster whose own bucket holds so many objects, about to be removed.
async fn full(name: &str, objects: usize) -> (GcsCluster, String) {
    let mut world = cluster(name, json!({"gcs": {}})).await;
    world.converge().await;
    let bucket = world.bucket().await;
    store()
        .await
        .fill(&bucket, "docker/registry/v2/blobs/", objects)
        .await
        .unwrap();
    world.gate.forget();
    world.edit(json!({"managementState": "Removed"}));
    (world, bucket)
}

// storage-gcs section 6.6, storage-decisions T8: without this the removal lists and deletes one page for ever, without a pause
#[tokio::test]
async fn a_proxys_response_to_a_deletion_deletes_nothing_and_ends_the_step() {
    for (name, response) in [
        ("blue-pdel-1", answer(404, "<html>not here</html>")),
        (
            "blue-pdel-2",
            answer(404, "{\"error\": {\"code\": 404, \"message\": \"no route\"}}"),
        ),
        ("blue-pdel-3", answer(200, "<html>welcome</html>")),
    ] {
        let (mut world, bucket) = full(name, 3).await;
        answer_all(&world, "objects.delete", response);
        let outcome = world.pass().await;
        let error = outcome.error.unwrap();
        assert!(error.message.contains("not emptied"), "{error}");
        assert!(outcome.wait.is_none() && !world.message("StorageExists").contains("deleted so far"));
        assert_eq!((count(&world, "objects.list"), count(&world, "buckets.delete")), (1, 0));
        assert_eq!(store().await.objects(&bucket).len(), 3);
        world.gate.pass();
        assert!(world.converge().await.done);
        assert_eq!(world.buckets().await, Vec::<String>::new());
    }
}

// storage-gcs section 6.6: the service itself says that there is none
#[tokio::test]
async fn an_object_that_is_gone_already_is_no_error_and_not_counted() {
    let (mut world, _) = full("blue-pdel-4", 3).await;
    // Carried out twice: the second answer, which counts, is 404.
    let mut first = true;
    world.gate.rule(move |asked| {
        if call(asked) == "objects.delete" && std::mem::take(&mut first) {
            Fault::Twice
        } else {
            Fault::Pass
        }
    });
    let outcome = world.pass().await;
    assert!(outcome.error.is_none());
    let message = world.message("StorageExists");
    assert!(message.contains("2 objects are deleted so far"), "{message}");
    assert!(world.settle().await.done);
}

// storage-gcs section 9: bounded
#[tokio::test]
async fn deletions_without_an_answer_end_the_step_after_the_first() {
    let (mut world, bucket) = full("blue-pdel-5", 100).await;
    world.give_up_after(Duration::from_millis(400));
    answer_all(&world, "objects.delete", Fault::Hang);
    let error = world.pass().await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Transient, "{error}");
    // One batch, each with one retry.
    let sent = count(&world, "objects.delete");
    assert!(sent <= 32, "{sent}");
    assert_eq!(store().await.objects(&bucket).len(), 100);
    world.gate.pass();
    world.give_up_after(Duration::from_secs(30));
    assert!(world.converge().await.done);
}

/// The first page of each listing is empty, and has another page behind it.
fn hide_first_page(world: &GcsCluster) {
    let empty = json!({"kind": "storage#objects", "nextPageToken": "#0"}).to_string();
    world.gate.rule(move |asked| {
        if call(asked) == "objects.list" && asked.parameter("pageToken").is_none() {
            Fault::Answer(Reply::new(200, &empty).header("content-type", "application/json"))
        } else {
            Fault::Pass
        }
    });
}

// storage-gcs 42
#[tokio::test]
async fn an_empty_page_with_more_behind_it_is_not_the_end_of_a_removal() {
    let (mut world, _) = full("blue-page-1", 3).await;
    hide_first_page(&world);
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
    assert_eq!(count(&world, "buckets.delete"), 1);
}

// storage-decisions T6
#[tokio::test]
async fn an_empty_page_with_more_behind_it_says_nothing_about_an_adoption() {
    for (name, objects, state) in [("blue-page-2", 0, "Managed"), ("blue-page-3", 1, "Unmanaged")] {
        let mut world = cluster(name, json!({"gcs": {}})).await;
        let bucket = world.generated();
        let settings = json!({"location": REGION, "labels": {format!("kubernetes-io-cluster-{name}"): "owned"}});
        store()
            .await
            .make_bucket(&project(name), &bucket, &settings)
            .await
            .unwrap();
        store().await.fill(&bucket, "image", objects).await.unwrap();
        hide_first_page(&world);
        world.converge().await;
        assert_eq!(world.state(), Some(state));
    }
}

// storage-decisions T6, 10: data guard
#[tokio::test]
async fn a_listing_that_is_none_does_not_prove_that_a_bucket_is_empty() {
    let name = "blue-none-1";
    let mut world = cluster(name, json!({"gcs": {}})).await;
    let bucket = world.generated();
    let settings = json!({"location": REGION, "labels": {format!("kubernetes-io-cluster-{name}"): "owned"}});
    store()
        .await
        .make_bucket(&project(name), &bucket, &settings)
        .await
        .unwrap();
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    answer_all(&world, "objects.list", answer(200, "{}"));
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("proxy"), "{error}");
    assert_eq!(world.state(), None);
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Unmanaged"), "it is not empty");
}

// storage-decisions T2: data guard
#[tokio::test]
async fn a_description_that_is_none_is_not_believed() {
    for (n, body) in ["{}", "{\"name\": \"another\", \"metageneration\": \"1\"}"]
        .iter()
        .enumerate()
    {
        let mut world = cluster(&format!("blue-none-{}", n + 2), json!({"gcs": {}})).await;
        answer_all(&world, "buckets.get", answer(200, body));
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains("proxy"), "{error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert_eq!((world.changed(), world.state()), (Vec::<String>::new(), None));
    }
    // Without a version no label is written: somebody may change the bucket meanwhile.
    let mut world = cluster("blue-none-4", json!({"gcs": {}})).await;
    let bucket = world.generated();
    let settings = json!({"location": REGION});
    store()
        .await
        .make_bucket(&project("blue-none-4"), &bucket, &settings)
        .await
        .unwrap();
    world.gate.rule(|asked| {
        if call(asked) != "buckets.get" {
            return Fault::Pass;
        }
        Fault::change(|_, response| {
            let mut body: Value = serde_json::from_slice(response.body()).unwrap();
            body.as_object_mut().unwrap().remove("metageneration");
            response.headers_mut().remove("content-length");
            *response.body_mut() = body.to_string().into();
        })
    });
    assert!(world.settle().await.error.is_some());
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-gcs section 3: the token goes to the service alone
#[tokio::test]
async fn an_upload_is_not_continued_at_another_host() {
    let bucket = "blue-host-1-images";
    let settings = json!({"location": REGION});
    store()
        .await
        .make_bucket("p-blue-host-1", bucket, &settings)
        .await
        .unwrap();
    let mut world = cluster("blue-host-1", json!({"gcs": {"bucket": bucket}})).await;
    let other = world.gate.url();
    let place = format!("{other}/upload/storage/v1/b/{bucket}/o?upload_id=1");
    let elsewhere = Fault::change(move |_, response| {
        response.headers_mut().insert("location", place.parse().unwrap());
    });
    answer_all(&world, "uploads.begin", elsewhere);
    let outcome = world.pass().await;
    let Some(Preflight::Undecided(told)) = outcome.preflight else {
        panic!("{:?}", outcome.preflight);
    };
    assert!(told.contains("header Location"), "{told}");
    let asked = world.gate.asked();
    let strays: Vec<_> = asked
        .iter()
        .filter(|asked| !asked.host.ends_with("googleapis.com"))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}
