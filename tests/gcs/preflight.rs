//! The preflight uses the bucket as the registry's driver does.

use devcluster::stores::{Fault, Reply};
use http::Method;
use image_registry_operator::status::judge::Preflight;
use serde_json::json;

use super::cluster::{GcsCluster, at, call, cluster, error, project};
use super::conformance::preflight::PROBE;
use super::stores::{REGION, store};

/// A cluster with a user's bucket that is not in use yet.
async fn before(name: &str, settings: serde_json::Value) -> GcsCluster {
    let mut settings = settings;
    settings["location"] = json!(REGION);
    let bucket = format!("{name}-images");
    store()
        .await
        .make_bucket(&project(name), &bucket, &settings)
        .await
        .unwrap();
    cluster(name, json!({"gcs": {"bucket": bucket}})).await
}

fn failed(preflight: Option<Preflight>) -> String {
    match preflight {
        Some(Preflight::Failed(message) | Preflight::Waiting(message)) => message,
        other => panic!("{other:?}"),
    }
}

// storage-decisions T14, T15
#[tokio::test]
async fn the_probe_does_what_the_registry_does_and_leaves_nothing() {
    let mut world = before("blue-prob1", json!({})).await;
    world.pass().await;
    let expected = [
        "buckets.get",
        "objects.insert",
        "download",
        "objects.list",
        "uploads.begin",
        "uploads.put",
        "objects.rewrite",
        "download",
        "uploads.begin",
        "uploads.delete",
        "objects.delete",
        "objects.delete",
        "objects.delete",
        "download",
        "objects.delete",
        "objects.delete",
        "objects.delete",
    ];
    assert_eq!(world.calls(), expected);
    assert!(world.running.is_some());
    let bucket = "blue-prob1-images";
    assert_eq!(
        (store().await.objects(bucket).len(), store().await.noncurrent(bucket)),
        (0, 0)
    );
    // The driver starts uploads at its own host, and reads objects by the XML API.
    for asked in world.gate.asked() {
        let host = match call(&asked).as_str() {
            "uploads.begin" => "www.googleapis.com",
            "token" => "oauth2.googleapis.com",
            // The session is where the service says.
            "uploads.put" | "uploads.delete" => continue,
            _ => "storage.googleapis.com",
        };
        assert_eq!(asked.host, host, "{asked}");
        if call(&asked) == "download" {
            let path = asked.path.trim_end_matches("-copy");
            assert_eq!(path, format!("/{bucket}/{PROBE}"));
        }
    }
    // Nothing the pods would get has changed: nothing is tried.
    world.gate.forget();
    world.edit(json!({"replicas": 5}));
    world.pass().await;
    assert_eq!(world.calls(), ["buckets.get"]);
}

// storage-decisions T14
#[tokio::test]
async fn a_read_only_registry_is_tried_by_reading() {
    let mut world = before("blue-prob2", json!({})).await;
    world.read_only = true;
    world.pass().await;
    assert_eq!(world.calls(), ["buckets.get", "objects.list", "download"]);
    assert!(world.running.is_some());
}

// storage-decisions 18, T14, T17
#[tokio::test]
async fn each_right_that_is_missing_is_named_with_what_it_is_missing_on() {
    for (n, name, right) in [
        (1, "objects.insert", "storage.objects.create"),
        (2, "download", "storage.objects.get"),
        (3, "objects.list", "storage.objects.list"),
        (4, "uploads.begin", "storage.objects.create"),
        (5, "uploads.put", "storage.objects.create"),
        (6, "objects.rewrite", "storage.objects.create"),
        (7, "objects.delete", "storage.objects.delete"),
    ] {
        let infrastructure = format!("blue-righ{n}");
        let mut world = before(&infrastructure, json!({})).await;
        world.refuse(name, 403, "forbidden");
        let told = failed(world.pass().await.preflight);
        let on = format!("{infrastructure}-images");
        for part in [right, "403", "forbidden", on.as_str()] {
            assert!(told.contains(part), "{name}: {part}: {told}");
        }
        assert!(world.running.is_none(), "{name}: nothing reaches the pods");
        world.gate.pass();
        world.converge().await;
        assert!(world.running.is_some());
        assert_eq!(store().await.objects(&on).len(), 0, "{name}");
    }
}

// storage-decisions 25
#[tokio::test]
async fn a_service_that_answers_without_an_effect_is_refused() {
    for (n, name, fault, part) in [
        (1, "download", Reply::new(200, "other"), "storage.objects.get"),
        (
            2,
            "objects.list",
            Reply::new(200, "{\"kind\": \"storage#objects\"}"),
            "storage.objects.list",
        ),
    ] {
        let mut world = before(&format!("blue-effe{n}"), json!({})).await;
        let fault = Fault::Answer(fault);
        world.gate.rule(move |asked| {
            if call(asked) == name {
                fault.clone()
            } else {
                Fault::Pass
            }
        });
        let told = failed(world.pass().await.preflight);
        assert!(told.contains(part), "{told}");
        assert!(world.running.is_none());
    }
}

// issue 12: a bucket with a retention policy
#[tokio::test]
async fn a_bucket_that_keeps_objects_is_refused_because_the_registry_could_not_finish_a_push() {
    let mut world = before("blue-rete1", json!({"retentionPolicy": {"retentionPeriod": "3600"}})).await;
    let told = failed(world.pass().await.preflight);
    assert!(told.contains("retention") || told.contains("Retention"), "{told}");
    assert!(world.running.is_none());
}

// issue 12: soft delete
#[tokio::test]
async fn versions_and_soft_delete_are_no_hindrance() {
    let settings = json!({"versioning": {"enabled": true}, "softDeletePolicy": {"retentionDurationSeconds": "604800"}});
    let mut world = before("blue-soft1", settings).await;
    world.converge().await;
    assert!(world.running.is_some());
    let bucket = "blue-soft1-images";
    assert_eq!(
        (store().await.objects(bucket).len(), store().await.noncurrent(bucket)),
        (0, 0)
    );
}

// storage-decisions T17
#[tokio::test]
async fn a_service_that_does_not_answer_is_undecided() {
    let mut world = before("blue-unde1", json!({})).await;
    world
        .gate
        .plan(at(Method::POST, "/upload/"), error(503, "backendError"));
    let outcome = world.pass().await;
    assert!(
        matches!(outcome.preflight, Some(Preflight::Undecided(_))),
        "{:?}",
        outcome.preflight
    );
    assert!(outcome.facts.is_none());
    world.gate.pass();
    world.converge().await;
    assert!(world.running.is_some());
}

// storage-gcs section 10: a key that is lost later
#[tokio::test]
async fn a_refusal_of_a_bucket_with_a_key_says_who_needs_the_key() {
    let name = "blue-keyl1";
    let key = format!("projects/{}/locations/{REGION}/keyRings/r/cryptoKeys/k", project(name));
    store().await.kms_key(&key, true);
    let mut world = cluster(name, json!({"gcs": {"keyID": key}})).await;
    world.refuse("objects.insert", 403, "forbidden");
    let told = failed(world.pass().await.preflight);
    for part in [key.as_str(), "roles/cloudkms.cryptoKeyEncrypterDecrypter"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
