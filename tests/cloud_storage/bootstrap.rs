//! AWS from nothing: the platform is told, and that is all.

use std::time::Duration;

use devcluster::stores::{Fault, When};
use http::Method;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::{REGION, World, assert_secured, moto};
use crate::support::{condition, is, operand};
use crate::{deployment, environment, eventually, file, is_settled};

/// What changes a bucket or its settings, in order.
const MADE: [&str; 5] = [
    "CreateBucket",
    "PutBucketTagging",
    "PutPublicAccessBlock",
    "PutBucketEncryption",
    "PutBucketLifecycleConfiguration",
];

/// What tries the storage out.
const PROBE: [&str; 14] = [
    "PutObject",
    "GetObject",
    "ListObjectsV2",
    "CreateMultipartUpload",
    "ListMultipartUploads",
    "UploadPart",
    "ListParts",
    "CompleteMultipartUpload",
    "CopyObject",
    "GetObject",
    "CreateMultipartUpload",
    "UploadPartCopy",
    "AbortMultipartUpload",
    "DeleteObjects",
];

// storage-core 1, 12, lifecycle 59, storage-s3 20, 30, 32, 46, storage-decisions 20, 22, T18
#[tokio::test]
async fn a_new_cluster_on_aws_has_a_registry_that_nobody_asked_for_in_few_calls() {
    let mut world = World::new("kw-born1").await;
    let keys = world.mint().await;
    let operator = world.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;

    let bucket = world.generated();
    assert_eq!(config["spec"]["managementState"], "Managed");
    let storage = json!({"managementState": "Managed", "s3": {"bucket": bucket, "region": REGION, "encrypt": true}});
    for place in ["spec", "status"] {
        let found = &config[place]["storage"];
        assert_eq!(found["s3"]["bucket"], json!(bucket), "{place}: {found}");
        assert_eq!(found["s3"]["encrypt"], json!(true), "{place}: {found}");
        assert_eq!(found["managementState"], storage["managementState"], "{place}: {found}");
        assert_eq!(found.as_object().unwrap().len(), 2, "{place}: {found}");
    }
    assert_eq!(config["status"]["storageManaged"], true);
    assert_secured(&config);
    assert!(is(&config, "Degraded", "False", ""));
    let tags = world.tags(&bucket).await;
    assert!(tags.contains("kubernetes.io/cluster/kw-born1"), "{tags}");
    assert!(tags.contains("kw-born1-image-registry<"), "{tags}");
    let environment = environment(&world.cluster).await;
    assert_eq!(environment["REGISTRY_STORAGE_S3_BUCKET"], bucket);
    assert_eq!(environment["REGISTRY_STORAGE_S3_REGION"], REGION);
    assert_eq!(environment["REGISTRY_STORAGE_S3_ENCRYPT"], "true");
    assert!(!environment.contains_key("REGISTRY_STORAGE_S3_REGIONENDPOINT"));
    assert_eq!(file(&world.cluster, "credentials").await.unwrap(), keys.profile());

    // Each step once; nothing of the probe is left.
    let calls = world.calls();
    let changes: Vec<String> = world.gate.operations();
    let changes: Vec<_> = changes.iter().filter(|name| MADE.contains(&name.as_str())).collect();
    assert_eq!(changes, MADE);
    // Default encryption is tried out by an upload before and one after it. The preflight reads twice, and begins an upload
    // that it aborts. Without the right to list versions, objects are listed in their place.
    for step in &PROBE {
        let most = match *step {
            "PutObject" | "GetObject" | "ListObjectsV2" => 3,
            "CreateMultipartUpload" => 2,
            _ => 1,
        };
        let times = calls.get(*step).copied().unwrap_or_default();
        assert!((1..=most).contains(&times), "{step} {times} times: {calls:?}");
    }
    // What is read is read once, before it is changed; the tags once more when the name is recorded.
    for (step, times) in calls
        .iter()
        .filter(|(step, _)| step.starts_with("Get") && *step != "GetObject")
    {
        let most = if step == "GetBucketTagging" { 2 } else { 1 };
        assert!(*times <= most, "{step} {times} times: {calls:?}");
    }
    assert!(calls["HeadBucket"] <= 3, "{calls:?}");
    assert_eq!(world.count(&bucket).await, 0);
    for asked in world.gate.asked() {
        let product = concat!(
            "openshift.io cluster-image-registry-operator/",
            env!("CARGO_PKG_VERSION")
        );
        let agent = asked.header("user-agent").unwrap_or_default();
        assert!(agent.contains(product), "{asked}: {agent}");
    }

    // Settled.
    world.gate.forget();
    world.cluster.assert_idle(Duration::from_secs(3)).await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    // An edit that has nothing to do with storage.
    world.cluster.edit(json!({"replicas": 1, "logLevel": "Debug"})).await;
    world.cluster.until_config("up with one pod", is_settled).await;
    world.cluster.settle().await;
    let calls = world.calls();
    assert!(
        calls.is_empty() || calls.len() == 1 && calls.get("HeadBucket") == Some(&1),
        "{calls:?}"
    );
    // Another process.
    world.gate.forget();
    let before = world.cluster.get(&deployment()).await.unwrap();
    world.stop(operator).await;
    let operator = world.operator().await;
    eventually("in sync", async || operator.passes("registry").await > 0).await;
    world.cluster.settle().await;
    let calls = world.calls();
    assert!(calls.len() == 1 && calls.get("HeadBucket") == Some(&1), "{calls:?}");
    assert_eq!(world.cluster.get(&deployment()).await.unwrap()["spec"], before["spec"]);
    world.judge(operator).await;
}

/// What another operator would have left: the same pods, without what only we write beside them.
async fn forget_us(world: &World) {
    let annotations = json!({names::SPEC_HASH_ANNOTATION: null});
    world
        .cluster
        .patch(&deployment(), json!({"metadata": {"annotations": annotations}}))
        .await;
    let config = world.cluster.config().await;
    let theirs = |c: &&Value| {
        ["Available", "Progressing", "Degraded", "Removed", "StorageExists"].contains(&c["type"].as_str().unwrap())
    };
    let conditions: Vec<_> = config["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(theirs)
        .collect();
    world
        .cluster
        .patch_status(
            &crate::support::config_ref(),
            json!({"status": {"conditions": conditions}}),
        )
        .await;
}

// storage-decisions 20, T13
#[tokio::test]
async fn a_take_over_tries_nothing_out_and_replaces_no_pod() {
    let mut world = World::new("kw-taken1").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    world.stop(operator).await;
    let before = world.cluster.get(&deployment()).await.unwrap();
    forget_us(&world).await;
    world.gate.forget();

    let operator = world.operator().await;
    let config = world
        .cluster
        .until_config("secured", |c| {
            is_settled(c) && crate::cloud::STEPS.iter().all(|step| condition(c, step).0 == "True")
        })
        .await;
    assert_secured(&config);
    world.cluster.settle().await;
    let calls = world.calls();
    for step in PROBE
        .iter()
        .chain(&["CreateBucket"])
        .filter(|step| **step != "ListObjectsV2")
    {
        assert!(!calls.contains_key(*step), "{step}: {calls:?}");
    }
    let after = world.cluster.get(&deployment()).await.unwrap();
    assert_eq!(after["spec"]["template"], before["spec"]["template"]);
    world.judge(operator).await;
}

/// Whether devcluster's nodes leave a pod alone that is to go.
fn unreachable(mark: &Value) -> Value {
    json!({"metadata": {"annotations": {"devcluster/unreachable": mark}}})
}

/// A pod of the registry that stays when it is told to go, as on a node that nobody reaches.
async fn hold_a_pod(world: &World) -> ObjectRef {
    let pods = world.cluster.list(Kind::Pod, names::NAMESPACE).await;
    let of_registry = |pod: &&Value| pod["metadata"]["labels"]["docker-registry"] == "default";
    let pod = pods.iter().find(of_registry).unwrap();
    let reference = operand(Kind::Pod, pod["metadata"]["name"].as_str().unwrap());
    world.cluster.patch(&reference, unreachable(&json!("true"))).await;
    reference
}

// lifecycle 53, 59, storage-core 40, 45, 49, storage-decisions 12
#[tokio::test]
async fn a_removed_registry_takes_its_bucket_along_and_tells_how_far_it_is_and_comes_back_with_a_new_one() {
    let mut world = World::new("kw-gone1").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    let bucket = world.generated();
    // More than one step takes.
    let moto = moto().await;
    let filled = moto
        .target()
        .fill(moto.admin(), &bucket, "docker/registry/v2/blobs/", 1_100);
    filled.await.unwrap();
    let slowly = Fault::Delay(Duration::from_secs(1));
    world.gate.plan(When::operation("DeleteObjects"), slowly);
    world.cluster.settle().await;
    let configs = world.cluster.record(&crate::support::config_ref()).await;

    let held = hold_a_pod(&world).await;
    world.gate.forget();
    world.cluster.edit(json!({"managementState": "Removed"})).await;
    let waits = |c: &Value| {
        let said = condition(c, "Progressing").2;
        said.contains(&held.name) && said.contains(" on node ")
    };
    world.cluster.until_config("waiting for the pod", waits).await;
    world.cluster.settle().await;
    world.cluster.assert_idle(Duration::from_secs(2)).await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());
    assert_eq!(world.count(&bucket).await, 1_000, "the first page of them all");
    world.cluster.patch(&held, unreachable(&Value::Null)).await;

    let removed = |c: &Value| is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
    let config = world.cluster.until_config("removed", removed).await;
    assert!(!world.exists(&bucket).await);
    assert_eq!(config["status"]["storage"], json!({}));
    assert!(
        config["spec"]["storage"]["s3"].get("bucket").is_none(),
        "{}",
        config["spec"]["storage"]
    );
    assert!(config["spec"]["storage"].get("managementState").is_none());
    let (status, reason, message) = condition(&config, "StorageExists");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "S3 Bucket Deleted"));
    assert!(message.contains(&bucket), "{message}");
    let told: Vec<String> = configs
        .versions()
        .iter()
        .map(|(_, c)| condition(c, "Progressing").2)
        .collect();
    let far = |text: &String| text.contains(&bucket) && text.contains("1000 objects are deleted so far");
    assert!(told.iter().any(far), "{told:#?}");
    assert!(
        world
            .cluster
            .get(&operand(Kind::Secret, names::PRIVATE_SECRET))
            .await
            .is_none()
    );

    // Once more costs nothing.
    world.cluster.settle().await;
    world.gate.forget();
    world.cluster.edit(json!({"logLevel": "Debug"})).await;
    world
        .cluster
        .until_config("seen", |c| crate::observed(c) && removed(c))
        .await;
    world.cluster.settle().await;
    assert!(world.calls().is_empty(), "{:?}", world.calls());

    world
        .cluster
        .edit(json!({"managementState": "Managed", "storage": null}))
        .await;
    let config = world.cluster.until_config("up again", is_settled).await;
    assert_eq!(config["spec"]["storage"]["s3"]["bucket"], json!(bucket));
    assert_eq!(config["status"]["storageManaged"], true);
    assert!(world.exists(&bucket).await);
    world.judge(operator).await;
}

// lifecycle 95, 96, storage-s3 54, 59, 61
#[tokio::test]
async fn tags_of_the_platform_reach_the_bucket_and_a_failure_is_tried_again_without_a_false_event() {
    let mut world = World::new("kw-tags1").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let bucket = world.generated();
    let (_, tags) = world.call(Method::GET, &format!("/{bucket}?tagging"), "").await;
    let users = tags.replacen("<TagSet>", "<TagSet><Tag><Key>team</Key><Value>x</Value></Tag>", 1);
    let users = users
        .split_once("<Tagging")
        .map(|(_, rest)| format!("<Tagging{rest}"))
        .unwrap();
    let (status, text) = world.call(Method::PUT, &format!("/{bucket}?tagging"), &users).await;
    assert!(status < 300, "{text}");

    world.cluster.delete_events().await;
    world.gate.plan(
        When::operation("PutBucketTagging").times(1),
        Fault::error(400, "MalformedXML"),
    );
    let wanted = json!([
        {"key": "cost", "value": "centre 9"}, {"key": "Name", "value": "no"}, {"key": "kubernetes.io/x", "value": "no"},
        {"key": "a.openshift.io/x", "value": "no"},
    ]);
    world.infrastructure(wanted).await;
    world
        .gate
        .until("attempt to tag", |asked| {
            asked
                .iter()
                .any(|a| a.operation() == "PutBucketTagging" && a.status == 400)
        })
        .await
        .unwrap();
    world.cluster.until_event("Warning", "MalformedXML").await;
    let events = world.cluster.events().await;
    assert!(
        !events.iter().any(|e| e.starts_with("Normal UpdateAWSTags")),
        "{events:?}"
    );

    // A restart looks anew, as the resync does.
    world.stop(operator).await;
    let operator = world.operator().await;
    world
        .infrastructure(json!([{"key": "cost", "value": "centre 9"}, {"key": "more", "value": "1"}]))
        .await;
    world.cluster.until_event("Normal UpdateAWSTags", "").await;
    let tags = world.tags(&bucket).await;
    for part in [
        "<Key>team</Key>",
        "<Value>centre 9</Value>",
        "<Key>more</Key>",
        "kubernetes.io/cluster/kw-tags1",
    ] {
        assert!(tags.contains(part), "{part}: {tags}");
    }
    assert!(!tags.contains("<Value>no</Value>"), "{tags}");
    world.infrastructure(json!([])).await;
    world.cluster.settle().await;
    assert!(world.tags(&bucket).await.contains("<Key>cost</Key>"));
    world.judge(operator).await;
}
