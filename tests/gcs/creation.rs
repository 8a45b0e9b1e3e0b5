//! A bucket is created, found, or refused.

use devcluster::stores::{Fault, gcs_error};
use http::Method;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use image_registry_operator::storage::Freeze;
use serde_json::{Value, json};

use super::cluster::{GcsCluster, answer, at, call, cluster, error, project};
use super::conformance::{BackendUnderTest as _, RESYNC, assert_one_owned};
use super::stores::{REGION, allow, permissions, store};

/// The resource of a bucket.
async fn resource(bucket: &str) -> Value {
    store().await.bucket(bucket).unwrap()
}

fn key(infrastructure: &str) -> String {
    format!(
        "projects/{}/locations/{REGION}/keyRings/ring/cryptoKeys/images",
        project(infrastructure)
    )
}

/// A bucket of this cluster's project that a user made.
async fn made(infrastructure: &str, bucket: &str, settings: Value) {
    let mut settings = settings;
    settings["location"] = json!(REGION);
    let project = project(infrastructure);
    store().await.make_bucket(&project, bucket, &settings).await.unwrap();
}

/// Passes until the storage rests. Reasons of `StorageExists`, each once, in order.
async fn reasons(world: &mut GcsCluster) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for _ in 0..12 {
        world.pass().await;
        let reason = world.condition("StorageExists");
        if reasons.last() != Some(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

// storage-gcs 7, 9, 11, 14, 24, storage-decisions 30
#[tokio::test]
async fn a_new_cluster_gets_a_bucket_without_anyone_asking() {
    let mut world = cluster("blue-new1", json!({"gcs": {}})).await;
    let reasons = reasons(&mut world).await;
    assert_eq!(reasons, ["True/Creation Successful", "True/GCS Bucket Exists"]);
    let bucket = world.bucket().await;
    assert_eq!(
        (bucket.len(), bucket.starts_with(&world.prefix())),
        (62, true),
        "{bucket}"
    );
    let project = project("blue-new1");
    let spec = json!({"bucket": bucket, "region": REGION, "projectID": project});
    assert_eq!(
        world.storage_spec(),
        &json!({"gcs": spec, "managementState": "Managed"})
    );
    assert_eq!(world.status(), world.storage_spec());
    let inserts: Vec<_> = world
        .gate
        .asked()
        .into_iter()
        .filter(|asked| call(asked) == "buckets.insert")
        .collect();
    assert_eq!(inserts.len(), 1);
    assert_eq!(inserts[0].parameter("project"), Some(project));
    let body: Value = serde_json::from_slice(&inserts[0].body).unwrap();
    assert_eq!(
        body,
        json!({
            "name": bucket, "location": REGION,
            "labels": {"kubernetes-io-cluster-blue-new1": "owned"},
            "iamConfiguration": {
                "uniformBucketLevelAccess": {"enabled": true}, "publicAccessPrevention": "enforced",
            },
        })
    );
    assert_eq!(world.condition("StorageLabeled"), "True/Bucket Labeled Successfully");
    assert!(world.message("StorageLabeled").contains(&bucket));
    assert_eq!(
        world.condition("StoragePublicAccessBlocked"),
        "True/Public Access Block Successful"
    );
    assert_eq!(world.condition("StorageEncrypted"), "-/-");
}

// storage-gcs 31, storage-core 12
#[tokio::test]
async fn a_settled_cluster_asks_nothing_and_an_unrelated_edit_costs_one_request() {
    let mut world = cluster("blue-calm1", json!({"gcs": {}})).await;
    world.converge().await;
    assert_eq!(world.condition("StorageTagged"), "False/SuccessTaggingBucket");
    assert_eq!(world.message("StorageTagged"), "user defined no tags");
    world.gate.forget();
    for _ in 0..3 {
        world.later(RESYNC);
        let outcome = world.pass().await;
        assert!(outcome.error.is_none() && outcome.record.is_none());
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    world.edit(json!({"replicas": 3}));
    world.settle().await;
    assert_eq!(world.calls(), ["buckets.get"]);
    // A restart costs one, too.
    world.restart();
    world.gate.forget();
    for _ in 0..3 {
        world.pass().await;
    }
    assert_eq!(world.calls(), ["buckets.get"]);
}

// storage-gcs 23
#[tokio::test]
async fn the_labels_of_the_platform_are_part_of_the_creation() {
    let mut world = cluster("blue-lab1", json!({"gcs": {}})).await;
    let labels = json!([{"key": "k1", "value": "v1"}, {"key": "k2", "value": "v2"}]);
    world.edit_platform(|gcp| gcp["resourceLabels"] = labels);
    world.converge().await;
    let wanted = json!({"k1": "v1", "k2": "v2", "kubernetes-io-cluster-blue-lab1": "owned"});
    assert_eq!(world.bodies("buckets.insert")[0]["labels"], wanted);
    assert_eq!(world.condition("StorageLabeled"), "True/Bucket Labeled Successfully");
    // Labels are never changed later.
    world.gate.forget();
    world.edit_platform(|gcp| gcp["resourceLabels"] = json!([{"key": "k3", "value": "v3"}]));
    world.edit(json!({"replicas": 3}));
    world.later(RESYNC);
    world.settle().await;
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-gcs 15, 22: issue 12, a named bucket that is there keeps its encryption
#[tokio::test]
async fn a_users_bucket_is_used_as_it_is() {
    let bucket = "blue-mine1-images";
    made("blue-mine1", bucket, json!({})).await;
    let before = resource(bucket).await;
    let gcs = json!({"bucket": bucket, "keyID": key("blue-mine1")});
    let mut world = cluster("blue-mine1", json!({"gcs": gcs})).await;
    world.set_tags(&["9001/team/blue"]).await;
    let reasons = reasons(&mut world).await;
    assert_eq!(reasons, ["True/GCS Bucket Exists"]);
    assert_eq!(world.state(), Some("Unmanaged"));
    assert_eq!(world.storage_spec()["gcs"], gcs, "the spec stays as the user wrote it");
    assert_eq!(world.changed(), Vec::<String>::new());
    assert_eq!(resource(bucket).await, before);
    for condition in [
        "StorageEncrypted",
        "StorageLabeled",
        "StorageTagged",
        "StoragePublicAccessBlocked",
    ] {
        assert_eq!(world.condition(condition), "-/-");
    }
}

// storage-gcs 22
#[tokio::test]
async fn a_users_bucket_under_managed_keeps_its_encryption_and_the_difference_is_told() {
    for (name, has_key) in [("blue-mism1", false), ("blue-mism2", true)] {
        let (bucket, key) = (format!("{name}-images"), key(name));
        store().await.kms_key(&key, true);
        let settings = if has_key {
            json!({"encryption": {"defaultKmsKeyName": key}})
        } else {
            json!({})
        };
        made(name, &bucket, settings).await;
        let before = resource(&bucket).await;
        let storage = json!({"gcs": {"bucket": bucket, "keyID": key}, "managementState": "Managed"});
        let mut world = cluster(name, storage).await;
        world.converge().await;
        let reason = if has_key {
            "BucketNotCreatedByOperator"
        } else {
            "KMSKeyMismatch"
        };
        assert_eq!(world.condition("StorageEncrypted"), format!("False/{reason}"));
        assert_eq!(world.changed(), Vec::<String>::new());
        assert_eq!(resource(&bucket).await, before);
        // What its user may correct is looked at again, and only looked at.
        world.gate.forget();
        world.later(RESYNC);
        world.pass().await;
        let looks = usize::from(!has_key);
        assert_eq!(world.calls(), vec!["buckets.get"; looks]);
    }
}

// storage-gcs section 6.4: a user who corrects the bucket need not edit the Config as well
#[tokio::test]
async fn settings_that_the_user_corrects_are_reported_as_correct() {
    let name = "blue-corr1";
    let mut world = cluster(name, json!({"gcs": {}})).await;
    world.converge().await;
    let bucket = world.bucket().await;
    // As if somebody had changed the bucket before the operator first compared it.
    world.edit_platform(|gcp| gcp["resourceLabels"] = json!([{"key": "k1", "value": "v1"}]));
    let open = json!({"iamConfiguration": {"publicAccessPrevention": "inherited"}});
    store().await.change_bucket(&bucket, &open).unwrap();
    world.config["status"]["conditions"] = json!([]);
    let key = key(name);
    store().await.kms_key(&key, true);
    world.edit(json!({"storage": {"gcs": {"keyID": key}}}));
    world.restart();
    world.converge().await;
    let told = |world: &GcsCluster| {
        ["StorageLabeled", "StoragePublicAccessBlocked", "StorageEncrypted"].map(|type_| world.condition(type_))
    };
    let expected = ["False/LabelsDiffer", "False/NotEnforced", "False/KMSKeyMismatch"];
    assert_eq!(told(&world), expected);
    assert!(!world.message("StorageEncrypted").contains("not tried again"));
    let corrected = json!({
        "labels": {"k1": "v1"}, "iamConfiguration": {"publicAccessPrevention": "enforced"},
        "encryption": {"defaultKmsKeyName": key},
    });
    store().await.change_bucket(&bucket, &corrected).unwrap();
    world.later(RESYNC);
    world.pass().await;
    let expected = [
        "True/Bucket Labeled Successfully",
        "True/Public Access Block Successful",
        "True/Encryption Successful",
    ];
    assert_eq!(told(&world), expected);
}

// storage-gcs section 6.4
#[tokio::test]
async fn a_region_that_is_not_the_buckets_is_told_and_not_shown_as_its_place() {
    let bucket = "blue-plac1-images";
    made("blue-plac1", bucket, json!({})).await;
    let mut world = cluster("blue-plac1", json!({"gcs": {"bucket": bucket, "region": REGION}})).await;
    world.converge().await;
    let place = format!("in {REGION}");
    assert!(
        world.message("StorageExists").contains(&place),
        "{}",
        world.message("StorageExists")
    );
    assert_eq!(world.count_events("LocationDiffers"), 0);
    world.edit(json!({"storage": {"gcs": {"region": "us-east1"}}}));
    world.converge().await;
    for _ in 0..3 {
        world.later(RESYNC);
        world.pass().await;
    }
    let message = world.message("StorageExists");
    assert!(
        message.contains("in EUROPE-WEST3") && !message.contains("us-east1"),
        "{message}"
    );
    let told = world.told();
    let differs: Vec<_> = told
        .iter()
        .filter(|event| event.starts_with("LocationDiffers"))
        .collect();
    assert_eq!(differs.len(), 1, "{told:?}");
    for part in ["EUROPE-WEST3", "us-east1", bucket, "spec.storage.gcs.region"] {
        assert!(differs[0].contains(part), "{part}: {differs:?}");
    }
}

// storage-decisions T6: anybody may create a bucket with the name that the operator would choose
#[tokio::test]
async fn a_bucket_of_another_project_under_the_generated_name_is_not_used() {
    let name = "blue-squa1";
    allow("p-of-squatter", &permissions()).await;
    let mut world = cluster(name, json!({"gcs": {}})).await;
    let bucket = world.generated();
    // It lets everybody in, and looks like the operator's.
    let settings = json!({"location": REGION, "labels": {format!("kubernetes-io-cluster-{name}"): "owned"}});
    store()
        .await
        .make_bucket("p-of-squatter", &bucket, &settings)
        .await
        .unwrap();
    for intended in [false, true] {
        if intended {
            world.annotate(names::STORAGE_INTENT_ANNOTATION, &format!("googleapis.com/{bucket}"));
        }
        let error = world.settle().await.error.unwrap();
        for part in [
            "belongs to somebody else",
            "p-blue-squa1",
            bucket.as_str(),
            "spec.storage.gcs.bucket",
        ] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        world.later(RESYNC);
    }
    // Nor if it appears just before the creation.
    let mut hidden = false;
    world.gate.rule(move |asked| {
        if call(asked) == "buckets.get" && !std::mem::replace(&mut hidden, true) {
            Fault::Answer(gcs_error(404, "notFound", "The specified bucket does not exist."))
        } else {
            Fault::Pass
        }
    });
    world.gate.forget();
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("belongs to somebody else"), "{error}");
    assert_eq!(world.bodies("buckets.insert").len(), 1);
    assert!(world.running.is_none() && world.state().is_none());
    let written = world.calls().iter().filter(|call| call.starts_with("objects.")).count();
    assert_eq!(written, 0, "no image and no probe gets there");
    // A user may name it.
    world.gate.pass();
    world.edit(json!({"storage": {"gcs": {"bucket": bucket}}}));
    world.later(RESYNC);
    world.converge().await;
    assert!(world.running.is_some());
}

// storage-decisions T6: who is asked for the right that this takes
#[tokio::test]
async fn a_bucket_under_the_generated_name_needs_the_right_to_list_buckets() {
    let name = "blue-squa2";
    let mut world = cluster(name, json!({"gcs": {}})).await;
    made(
        name,
        &world.generated(),
        json!({"labels": {format!("kubernetes-io-cluster-{name}"): "owned"}}),
    )
    .await;
    world.refuse("buckets.list", 403, "forbidden");
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("storage.buckets.list"), "{error}");
    assert!(error.message.contains("grant it in the project"), "{error}");
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

// storage-gcs section 6.2: credentials that are not accepted say nothing about the bucket
#[tokio::test]
async fn a_refused_login_is_not_taken_for_a_bucket_of_somebody_else() {
    let mut world = cluster("blue-anon1", json!({"gcs": {}})).await;
    world.refuse("buckets.get", 401, "authError");
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("401"), "{error}");
    assert!(!error.message.contains("belongs to another project"), "{error}");
}

// storage-gcs 16
#[tokio::test]
async fn a_named_bucket_that_is_missing_is_created_under_its_name() {
    let bucket = "blue-want1-images";
    let mut world = cluster("blue-want1", json!({"gcs": {"bucket": bucket}})).await;
    let reasons = reasons(&mut world).await;
    assert_eq!(reasons, ["True/Creation Successful", "True/GCS Bucket Exists"]);
    assert_eq!(
        (world.state(), world.bucket().await.as_str()),
        (Some("Managed"), bucket)
    );
}

// storage-gcs 8
#[tokio::test]
async fn a_project_of_the_user_is_kept() {
    allow("p-of-user", &permissions()).await;
    let mut world = cluster("blue-proj1", json!({"gcs": {"projectID": "p-of-user"}})).await;
    world.converge().await;
    let gcs = &world.storage_spec()["gcs"];
    assert_eq!(
        (&gcs["projectID"], &gcs["region"]),
        (&json!("p-of-user"), &json!(REGION))
    );
    let asked = world.gate.asked();
    let insert = asked.iter().find(|asked| call(asked) == "buckets.insert").unwrap();
    assert_eq!(insert.parameter("project").as_deref(), Some("p-of-user"));
}

// storage-gcs 35, as docs/decisions/0018 has it: a changed configuration has the condition of its own bucket, in each pass
#[tokio::test]
async fn a_changed_configuration_is_unknown_until_its_bucket_is_there() {
    let mut world = cluster("blue-chng1", json!({"gcs": {}})).await;
    world.converge().await;
    let before = world.status().clone();
    assert!(world.condition("StorageExists").starts_with("True/"));
    world.edit(json!({"storage": {"gcs": {"bucket": "blue-chng1-other"}}}));
    for operation in ["buckets.get", "buckets.insert"] {
        world.gate.pass();
        world.refuse(operation, 503, "backendError");
        world.later(RESYNC);
        assert!(world.settle().await.error.is_some());
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        let told = world.message("StorageExists");
        assert!(told.contains("blue-chng1-other"), "{operation}: {told}");
        assert_eq!(world.status(), &before, "{operation}");
    }
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert!(world.condition("StorageExists").starts_with("True/"));
    assert_eq!(world.status()["gcs"]["bucket"], json!("blue-chng1-other"));
}

// storage-gcs 36: a bucket without a name is not looked for. The operator usually chooses a name before (docs/decisions/0018)
#[tokio::test]
async fn without_a_name_nothing_is_asked() {
    let mut world = cluster("blue-nona1", json!({"gcs": {}})).await;
    let reference = ObjectRef::new(Kind::Infrastructure, "", "cluster");
    world.snapshot.objects.remove(&reference);
    assert!(world.pass().await.error.is_some());
    assert_eq!(world.gate.asked().len(), 0);
    // Nor by a removal.
    let mut world = cluster("blue-nona2", json!({"gcs": {}})).await;
    world.converge().await;
    world.config["status"]["storage"]["gcs"]
        .as_object_mut()
        .unwrap()
        .remove("bucket");
    world.gate.forget();
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done);
    assert_eq!(world.gate.asked().len(), 0);
    assert!(store().await.bucket(&world.generated()).is_some());
}

// storage-gcs 10, section 2.2
#[tokio::test]
async fn without_a_region_or_project_nothing_is_created_and_the_field_is_named() {
    for (name, gcs, field) in [
        ("blue-nowh1", json!({}), "spec.storage.gcs.region"),
        (
            "blue-nowh2",
            json!({"bucket": "blue-nowh2-images"}),
            "spec.storage.gcs.region",
        ),
        ("blue-nowh3", json!({"region": REGION}), "spec.storage.gcs.projectID"),
    ] {
        let mut world = cluster(name, json!({"gcs": gcs})).await;
        world.edit_infrastructure(|status| status["platformStatus"] = json!({"type": "None"}));
        let mut file = super::stores::key_file().await;
        file.as_object_mut().unwrap().remove("project_id");
        world.mint(&file);
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains(field), "{error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert!(world.message("StorageExists").contains(field));
        assert_eq!(world.changed(), Vec::<String>::new());
    }
}

// storage-gcs 6
#[tokio::test]
async fn without_the_infrastructure_nothing_is_asked() {
    let mut world = cluster(
        "blue-noin1",
        json!({"gcs": {"bucket": "blue-noin1-images", "region": REGION}}),
    )
    .await;
    let reference = ObjectRef::new(Kind::Infrastructure, "", "cluster");
    world.snapshot.objects.remove(&reference);
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("infrastructures/cluster"), "{error}");
    assert_eq!(world.gate.asked().len(), 0);
}

// storage-gcs 17
#[tokio::test]
async fn an_answer_that_decides_nothing_changes_nothing() {
    for state in [Value::Null, json!("Managed")] {
        let name = format!("blue-odd-{}", state.as_str().unwrap_or("blank").to_lowercase());
        let gcs = json!({"bucket": format!("{name}-images")});
        let mut world = cluster(&name, json!({"gcs": gcs, "managementState": state})).await;
        world.gate.rule(|asked| {
            if call(asked) == "buckets.get" {
                answer(424, "no JSON")
            } else {
                Fault::Pass
            }
        });
        let outcome = world.pass().await;
        let error = outcome.error.unwrap();
        assert!(
            error.message.contains("424") && error.message.contains("no JSON"),
            "{error}"
        );
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert_eq!((world.state(), outcome.freeze), (state.as_str(), Freeze::Deployment));
        assert_eq!(world.changed(), Vec::<String>::new());
    }
}

// storage-gcs section 6.2: a refusal is no reason to create
#[tokio::test]
async fn a_bucket_of_somebody_else_is_neither_used_nor_created() {
    store()
        .await
        .make_bucket("p-foreign", "blue-clos1-images", &json!({}))
        .await
        .unwrap();
    let mut world = cluster("blue-clos1", json!({"gcs": {"bucket": "blue-clos1-images"}})).await;
    let error = world.settle().await.error.unwrap();
    for part in [
        "storage.buckets.get",
        "403",
        "belongs to another project",
        "spec.storage.gcs.bucket",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-gcs section 6.2, storage-decisions T6: nor is the generated name created where it belongs to somebody else
#[tokio::test]
async fn a_generated_name_that_may_not_be_seen_is_not_created() {
    let mut world = cluster("blue-clos2", json!({"gcs": {}})).await;
    let location = format!("googleapis.com/{}", world.generated());
    world.annotate(names::STORAGE_INTENT_ANNOTATION, &location);
    world.refuse("buckets.get", 403, "forbidden");
    assert!(world.settle().await.error.is_some());
    assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-decisions 20, storage-gcs 31: a cluster of the Go operator
#[tokio::test]
async fn a_bucket_of_the_go_operator_stays_owned_and_costs_one_request() {
    let mut world = cluster("blue-over1", json!({"gcs": {}})).await;
    world.converge().await;
    let bucket = world.bucket().await;
    // As the Go operator leaves bucket and Config: no record, no access settings, and its conditions.
    let settings = json!({"iamConfiguration": {"publicAccessPrevention": "inherited"}});
    store().await.change_bucket(&bucket, &settings).unwrap();
    let before = resource(&bucket).await;
    world.config["metadata"]["annotations"] = json!({});
    let condition = |type_: &str, status: &str, reason: &str| {
        let since = "2026-05-04T03:02:01Z";
        json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": since})
    };
    world.config["status"]["conditions"] = json!([
        condition("StorageExists", "True", "GCS Bucket Exists"),
        condition("StorageLabeled", "True", "Bucket Labeled Successfully"),
        condition("StorageTagged", "False", "SuccessTaggingBucket"),
    ]);
    let (spec, status) = (world.storage_spec().clone(), world.status().clone());
    world.restart();
    world.gate.forget();
    for _ in 0..4 {
        assert!(world.pass().await.error.is_none());
        world.later(RESYNC);
    }
    assert_eq!(world.calls(), ["buckets.get"], "and no preflight");
    assert_eq!((world.storage_spec(), world.status()), (&spec, &status));
    assert_eq!(resource(&bucket).await, before);
    assert_eq!(world.condition("StorageLabeled"), "True/Bucket Labeled Successfully");
    assert_eq!(world.condition("StorageTagged"), "False/SuccessTaggingBucket");
    // The label alone proves the ownership.
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done);
    assert_eq!(world.buckets().await, Vec::<String>::new());
}

// storage-decisions 2, T1
#[tokio::test]
async fn an_adoption_keeps_the_labels_of_others_and_is_repeated_if_the_bucket_changed_meanwhile() {
    let (name, bucket) = ("blue-adop1", "blue-adop1-images");
    made(name, bucket, json!({"labels": {"team": "x"}})).await;
    let mut world = cluster(name, json!({"gcs": {"bucket": bucket}, "managementState": "Managed"})).await;
    let mut more = permissions();
    more.push("storage.buckets.update".to_owned());
    allow(&project(name), &more).await;
    world.annotate(names::ADOPT_STORAGE_ANNOTATION, &format!("googleapis.com/{bucket}"));
    // Somebody changes the bucket between the read and the write.
    let mut raced = false;
    world.gate.rule(move |asked| {
        let first = call(asked) == "buckets.patch" && !std::mem::replace(&mut raced, true);
        if first {
            error(412, "conditionNotMet")
        } else {
            Fault::Pass
        }
    });
    world.converge().await;
    let labels = json!({"team": "x", "kubernetes-io-cluster-blue-adop1": "owned"});
    assert_eq!(resource(bucket).await["labels"], labels);
    let asked = world.gate.asked();
    let patches: Vec<_> = asked.iter().filter(|asked| call(asked) == "buckets.patch").collect();
    assert_eq!(patches.len(), 2);
    assert!(
        patches
            .iter()
            .all(|asked| asked.parameter("ifMetagenerationMatch").is_some())
    );
    assert_eq!(world.count_events("StorageAdopted"), 1);
}

// storage-gcs 18
#[tokio::test]
async fn a_refused_creation_is_told_by_its_status_and_tried_again_under_the_same_name() {
    let mut world = cluster("blue-deny1", json!({"gcs": {}})).await;
    world.refuse("buckets.insert", 403, "forbidden");
    for _ in 0..2 {
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains("storage.buckets.create"), "{error}");
        assert_eq!(world.condition("StorageExists"), "False/403");
        // Nothing crashes while the bucket has no name yet.
        world.edit(json!({"replicas": 3}));
        world.later(RESYNC);
    }
    let name = world.intent().unwrap().to_owned();
    world.gate.pass();
    world.converge().await;
    let names: Vec<_> = world
        .bodies("buckets.insert")
        .iter()
        .map(|body| body["name"].clone())
        .collect();
    assert!(
        names.len() >= 3 && names.iter().all(|name| *name == names[0]),
        "{names:?}"
    );
    assert_eq!(name, format!("googleapis.com/{}", world.bucket().await));
}

// storage-decisions T6: new rights become valid one by one
#[tokio::test]
async fn a_new_bucket_that_may_not_be_listed_yet_is_owned_later() {
    let mut world = cluster("blue-late1", json!({"gcs": {}})).await;
    world.refuse("objects.list", 403, "forbidden");
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("storage.objects.list"), "{error}");
    assert_eq!(world.state(), None, "it is not the user's");
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    assert_eq!(world.condition("StorageLabeled"), "True/Bucket Labeled Successfully");
}

// storage-gcs 19
#[tokio::test]
async fn a_creation_without_an_answer_is_told_without_a_status() {
    for (name, fault) in [
        ("blue-rest1", Fault::Reset),
        ("blue-rest2", error(503, "backendError")),
        ("blue-rest3", error(429, "rateLimitExceeded")),
    ] {
        let mut world = cluster(name, json!({"gcs": {}})).await;
        world.gate.rule(move |asked| {
            if call(asked) == "buckets.insert" {
                fault.clone()
            } else {
                Fault::Pass
            }
        });
        let outcome = world.pass().await;
        // The bucket was looked for, and did not exist: the reason is that of the creation.
        let statuses: Vec<(String, u16)> = world
            .gate
            .asked()
            .iter()
            .map(|asked| (call(asked), asked.status))
            .collect();
        assert!(statuses.contains(&("buckets.get".to_owned(), 404)), "{statuses:?}");
        assert_eq!(world.bodies("buckets.insert").len(), 4, "with the client's retries");
        let error = outcome.error.unwrap();
        assert!(error.message.contains("storage.buckets.create"), "{error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert_eq!(world.message("StorageExists"), error.message);
        world.gate.pass();
        world.later(RESYNC);
        world.converge().await;
        assert_eq!(world.bucket().await, world.generated());
    }
}

// storage-gcs 20, storage-decisions 9
#[tokio::test]
async fn a_creation_whose_answer_is_lost_counts_as_created() {
    let mut world = cluster("blue-lost1", json!({"gcs": {}})).await;
    world.set_tags(&["9001/team/blue", "9001/env/prod"]).await;
    let first = at(Method::POST, "/storage/v1/b").nth(1);
    world.gate.plan(first, Fault::LoseAnswer);
    // In the same pass, without an error: the 409 and the GET after it are enough.
    let outcome = world.pass().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(world.condition("StorageExists"), "True/Creation Successful");
    let calls = world.calls();
    let place = calls.iter().rposition(|call| call == "buckets.insert").unwrap();
    assert_eq!(calls[place + 1..][..2], ["buckets.get", "buckets.list"], "{calls:?}");
    world.converge().await;
    assert_one_owned(&world, "lost answer").await;
    let asked = world.gate.asked();
    let inserts: Vec<u16> = asked
        .iter()
        .filter(|a| call(a) == "buckets.insert")
        .map(|a| a.status)
        .collect();
    assert_eq!(inserts.last(), Some(&409), "{inserts:?}");
}

// storage-gcs 20: a 409 without our label is no creation
#[tokio::test]
async fn a_bucket_without_the_label_is_not_what_the_operator_created() {
    for (name, labels) in [
        ("blue-take2", json!({})),
        ("blue-take3", json!({"kubernetes-io-cluster-green-9": "owned"})),
    ] {
        let bucket = format!("{name}-images");
        made(name, &bucket, json!({"labels": labels})).await;
        let mut world = cluster(name, json!({"gcs": {"bucket": bucket}})).await;
        let mut tried = false;
        world.gate.rule(move |asked| {
            tried |= call(asked) == "buckets.insert";
            if call(asked) == "buckets.get" && !tried {
                Fault::Answer(gcs_error(404, "notFound", "The specified bucket does not exist."))
            } else {
                Fault::Pass
            }
        });
        let error = world.pass().await.error.unwrap();
        assert!(error.message.contains("taken by another"), "{error}");
        assert_eq!(world.condition("StorageExists"), "False/409");
        assert_eq!(world.state(), None);
    }
}

// storage-gcs 20
#[tokio::test]
async fn a_name_that_is_taken_is_told() {
    store()
        .await
        .make_bucket("p-foreign", "blue-take1-images", &json!({}))
        .await
        .unwrap();
    let mut world = cluster("blue-take1", json!({"gcs": {"bucket": "blue-take1-images"}})).await;
    // Somebody else is faster than the operator.
    world.refuse("buckets.get", 404, "notFound");
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("taken by another"), "{error}");
    assert_eq!(world.condition("StorageExists"), "False/409");
    assert_eq!(world.state(), None);
}

// storage-gcs 21: issue 12, a Config as an installer writes it
#[tokio::test]
async fn a_config_with_nothing_but_a_key_gets_a_bucket_with_that_key_also_if_the_key_is_not_usable_yet() {
    let name = "blue-kms1";
    let key = key(name);
    let mut world = cluster(name, json!({"gcs": {"keyID": key}})).await;
    for usable in [None, Some(false)] {
        if let Some(usable) = usable {
            store().await.kms_key(&key, usable);
        }
        let error = world.settle().await.error.unwrap();
        for part in [key.as_str(), "roles/cloudkms.cryptoKeyEncrypterDecrypter", REGION] {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        assert!(
            world.condition("StorageExists").starts_with("False/4"),
            "{}",
            world.condition("StorageExists")
        );
        assert_eq!(world.buckets().await, Vec::<String>::new());
        world.later(RESYNC);
    }
    store().await.kms_key(&key, true);
    world.converge().await;
    let bucket = world.bucket().await;
    assert_eq!(resource(&bucket).await["encryption"]["defaultKmsKeyName"], json!(key));
    assert_eq!(world.condition("StorageEncrypted"), "True/Encryption Successful");
    let inserts = world.bodies("buckets.insert");
    assert!(
        inserts
            .iter()
            .all(|body| body["encryption"] == json!({"defaultKmsKeyName": key}))
    );
    assert!(!world.calls().contains(&"buckets.patch".to_owned()));
    assert_eq!(world.storage_spec()["gcs"]["keyID"], json!(key));
    // Another key changes nothing in the cloud.
    let other = key.replace("images", "other");
    world.edit(json!({"storage": {"gcs": {"keyID": other}}}));
    world.gate.forget();
    world.converge().await;
    assert_eq!(world.condition("StorageEncrypted"), "False/KMSKeyMismatch");
    assert_eq!(world.changed(), Vec::<String>::new());
}

// issue 12: a keyID that is none gives a reason and no crash
#[tokio::test]
async fn a_key_that_is_none_is_told_by_its_field() {
    let mut world = cluster("blue-bad1", json!({"gcs": {"keyID": "arn:aws:kms:eu-west-1:1:key/2"}})).await;
    let error = world.settle().await.error.unwrap();
    for part in ["spec.storage.gcs.keyID", "arn:aws:kms", "cryptoKeys/KEY"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert!(world.message("StorageExists").contains("spec.storage.gcs.keyID"));
    assert_eq!(world.changed(), Vec::<String>::new());
    // A registry whose bucket exists goes on.
    made("blue-bad2", "blue-bad2-images", json!({})).await;
    let mut used = cluster(
        "blue-bad2",
        json!({"gcs": {"bucket": "blue-bad2-images", "keyID": "none"}}),
    )
    .await;
    used.converge().await;
    assert_eq!(used.condition("StorageExists"), "True/GCS Bucket Exists");
}

// storage-gcs section 10
#[tokio::test]
async fn an_organisation_that_enforces_uniform_access_accepts_the_bucket() {
    let mut world = cluster("blue-unif1", json!({"gcs": {}})).await;
    store().await.require_uniform_access(&project("blue-unif1"), true);
    world.converge().await;
    let bucket = resource(&world.bucket().await).await;
    assert_eq!(bucket["iamConfiguration"]["publicAccessPrevention"], "enforced");
    assert_eq!(bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"], true);
    // Other policies are told.
    let mut refused = cluster("blue-unif2", json!({"gcs": {}})).await;
    refused.refuse("buckets.insert", 412, "conditionNotMet");
    let error = refused.settle().await.error.unwrap();
    assert!(error.message.contains("policy of the organisation"), "{error}");
    assert_eq!(refused.condition("StorageExists"), "False/412");
}

// storage-gcs 37
#[tokio::test]
async fn a_bucket_that_is_gone_is_told_and_a_proxys_404_is_not_believed() {
    let mut world = cluster("blue-gone1", json!({"gcs": {}})).await;
    world.converge().await;
    world.gate.rule(|asked| {
        if call(asked) == "buckets.get" {
            answer(404, "<html/>")
        } else {
            Fault::Pass
        }
    });
    world.edit(json!({"replicas": 3}));
    let outcome = world.pass().await;
    assert!(outcome.error.is_some() && outcome.freeze == Freeze::Storage);
    assert_eq!(world.count_events("StorageLost"), 0);
    world.gate.rule(|asked| {
        if call(asked) == "buckets.get" {
            Fault::Answer(gcs_error(404, "notFound", "The specified bucket does not exist."))
        } else {
            Fault::Pass
        }
    });
    world.edit(json!({"replicas": 4}));
    world.single_steps = true;
    world.later(RESYNC);
    world.pass().await;
    assert_eq!(world.condition("StorageExists"), "False/Bucket does not exist");
    assert_eq!(world.count_events("StorageLost"), 1);
}

// T4: another bucket is a switch
#[tokio::test]
async fn a_switch_from_and_to_another_backend_keeps_the_images() {
    let mut world = cluster("blue-swit1", json!({"emptyDir": {}})).await;
    world.converge().await;
    assert_eq!(world.gate.asked().len(), 0);
    world.edit(json!({"storage": {"emptyDir": null, "gcs": {}, "managementState": null}}));
    world.converge().await;
    let bucket = world.bucket().await;
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    world.edit(json!({"storage": {"gcs": null, "emptyDir": {}}}));
    world.converge().await;
    assert_eq!(
        world.variable("REGISTRY_STORAGE").as_deref(),
        Some("Text(\"filesystem\")")
    );
    assert_eq!(store().await.objects(&bucket), ["image"]);
    world.edit(json!({"storage": {"emptyDir": null, "gcs": {"bucket": bucket}, "managementState": null}}));
    world.converge().await;
    assert_eq!(store().await.objects(&bucket), ["image"]);
    assert_eq!(world.condition("StorageExists"), "True/GCS Bucket Exists");
}

// storage-decisions T1: adoption of a user's bucket needs a right that the platform does not grant
#[tokio::test]
async fn a_mark_that_may_not_be_written_is_told_with_the_right_and_the_label() {
    let mut world = cluster("blue-mark1", json!({"gcs": {}})).await;
    let name = world.generated();
    made("blue-mark1", &name, json!({})).await;
    let message = world.settle().await.error.unwrap().message;
    for part in ["storage.buckets.update", "kubernetes-io-cluster-blue-mark1=owned"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(world.running.is_none(), "it is not used before");
    store()
        .await
        .set_labels(&name, &json!({"kubernetes-io-cluster-blue-mark1": "owned"}))
        .unwrap();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

// storage-gcs section 9: what is tried again, and the reason that a fault of the cloud leaves
#[tokio::test]
async fn a_busy_cloud_is_asked_again_and_creates_one_bucket() {
    let mut world = cluster("blue-busy1", json!({"gcs": {}})).await;
    world.gate.plan(
        at(Method::POST, "/storage/v1/b").times(2),
        error(429, "rateLimitExceeded"),
    );
    world
        .gate
        .plan(at(Method::GET, "/storage/v1/b/").times(2), error(503, "backendError"));
    let outcome = world.converge().await;
    assert!(outcome.facts.is_some());
    assert_eq!(world.buckets().await.len(), 1);
}
