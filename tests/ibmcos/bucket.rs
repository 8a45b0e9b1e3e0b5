//! The bucket: found, created, observed; whose it is; how it is asked for.

use devcluster::stores::{Fault, Gate, Ibm, IbmOptions, Moto, Reply, When};
use serde_json::{Value, json};

use super::cluster::{ACCOUNT, GROUP, IbmCluster, LOCATION, is_of_cos};
use super::conformance::{BackendUnderTest as _, RESYNC};

// storage-ibmcos 22, 23, 24, section 6 (table)
#[tokio::test]
async fn the_state_follows_from_what_was_created() {
    for (name, bucket, exists, given, expected) in [
        ("state-none", false, false, Value::Null, "Managed"),
        ("state-existing", true, true, Value::Null, "Unmanaged"),
        ("state-missing", true, false, Value::Null, "Managed"),
        ("state-kept-unmanaged", true, true, json!("Unmanaged"), "Unmanaged"),
        ("state-kept-managed", true, true, json!("Managed"), "Managed"),
    ] {
        let bucket = bucket.then(|| format!("{name}-users"));
        let storage = json!({"ibmcos": {"bucket": bucket}, "managementState": given});
        let mut cluster = IbmCluster::with_instance(name, storage).await;
        if let Some(bucket) = bucket.as_ref().filter(|_| exists) {
            cluster.ibm.make_bucket(&cluster.instance(), bucket).await.unwrap();
        }
        cluster.converge().await;
        assert_eq!(cluster.state(), Some(expected), "{name}");
        assert_eq!(cluster.config["status"]["storageManaged"], expected == "Managed");
        assert_eq!(
            cluster.condition("StorageExists"),
            "True/IBM COS Bucket Exists",
            "{name}"
        );
        let created = cluster.created();
        assert_eq!(created.is_empty(), exists, "{name}: {created:?}");
        if !exists {
            let bucket = bucket.unwrap_or_else(|| cluster.generated());
            let (_, constraint) = cluster.ibm.bucket(&bucket).unwrap();
            assert_eq!(constraint, format!("{LOCATION}-smart"));
        }
    }
    // The instance is gone, and the bucket is named.
    let storage = json!({"ibmcos": {"bucket": "state-replaced-users"}});
    let mut cluster = IbmCluster::with_instance("state-replaced", storage).await;
    cluster.ibm.set_instance(&cluster.instance(), "removed");
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert_eq!(
        cluster.created(),
        ["create_resource_instance", "create_resource_key", "CreateBucket"]
    );
}

// storage-ibmcos 22: a blank state with a key that the operator creates
#[tokio::test]
async fn a_key_of_the_operator_makes_no_bucket_its_own() {
    let storage = json!({"ibmcos": {"bucket": "key-only-users"}});
    let mut cluster = IbmCluster::with_instance("key-only", storage).await;
    cluster
        .ibm
        .make_bucket(&cluster.instance(), "key-only-users")
        .await
        .unwrap();
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}}));
    cluster.converge().await;
    assert_eq!(
        (cluster.created(), cluster.state()),
        (vec!["create_resource_key".to_owned()], Some("Unmanaged"))
    );
}

// T18a, storage-decisions 30
#[tokio::test]
async fn a_created_bucket_is_said_to_exist_from_the_next_pass_on() {
    let mut cluster = IbmCluster::with_instance("words", json!({"ibmcos": {}})).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        cluster.pass().await;
        seen.push(cluster.condition("StorageExists"));
    }
    seen.dedup();
    let created = seen.iter().position(|reason| reason == "True/Creation Successful");
    assert!(created.is_some(), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "True/IBM COS Bucket Exists");
}

// storage-ibmcos 25
#[tokio::test]
async fn an_answer_that_decides_nothing_creates_nothing() {
    let mut cluster = IbmCluster::with_instance("undecided", json!({"ibmcos": {}})).await;
    cluster
        .gate
        .plan(When::operation("HeadBucket"), Fault::Answer(Reply::new(500, "")));
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains(&cluster.generated()), "{error}");
    assert_eq!(cluster.condition("StorageExists"), "Unknown/Unknown Error Occurred");
    assert_eq!(cluster.created(), [] as [&str; 0]);
}

// storage-ibmcos 2, 26
#[tokio::test]
async fn each_request_of_the_operator_has_a_token_and_the_instance_and_the_bucket_in_its_path() {
    let mut cluster = IbmCluster::new("headers", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.edit(json!({"managementState": "Removed"}));
    cluster.settle().await;
    let (instance, bucket) = (cluster.instance(), cluster.generated());
    let asked = cluster.gate.asked();
    let of_operator: Vec<_> = asked
        .iter()
        .filter(|asked| is_of_cos(asked) && !asked.is_signed())
        .collect();
    let operations: Vec<_> = of_operator.iter().map(|asked| asked.operation()).collect();
    for operation in ["HeadBucket", "CreateBucket", "ListObjectVersions", "DeleteBucket"] {
        assert!(operations.iter().any(|name| name == operation), "{operations:?}");
    }
    for asked in &of_operator {
        let token = asked.header("authorization").unwrap_or_default();
        assert!(token.starts_with("Bearer ey"), "{asked}");
        assert_eq!(
            asked.header("ibm-service-instance-id"),
            Some(instance.as_str()),
            "{asked}"
        );
        assert!(asked.path.starts_with(&format!("/{bucket}")), "{asked}");
        assert!(asked.host.starts_with("127.0.0.1"), "{asked}");
    }
    // The preflight is the registry's.
    let of_registry: Vec<_> = asked.iter().filter(|asked| asked.is_signed()).collect();
    assert!(
        !of_registry.is_empty()
            && of_registry
                .iter()
                .all(|asked| asked.header("ibm-service-instance-id").is_none())
    );
}

// The names of all accounts are in one namespace.
#[tokio::test]
async fn a_name_that_somebody_else_has_is_told() {
    let other = IbmCluster::with_instance("taken-owner", json!({"ibmcos": {}})).await;
    other
        .ibm
        .make_bucket(&other.instance(), "taken-image-registry-us-east")
        .await
        .unwrap();
    // Its owner's bucket is refused (403), and not unknown (404).
    let mut cluster = IbmCluster::with_instance("taken", json!({"ibmcos": {}})).await;
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("taken by another account"), "{error}");
    assert!(error.message.contains("spec.storage.ibmcos.bucket"), "{error}");
    assert!(!error.message.contains("10 minutes"), "{error}");
    // At another location its owner's bucket is not shown.
    cluster
        .gate
        .plan(When::operation("HeadBucket"), Fault::Answer(Reply::new(404, "")));
    cluster.later(RESYNC);
    let error = cluster.settle().await.error.unwrap();
    for part in [
        "spec.storage.ibmcos.location",
        "of another account",
        "10 minutes",
        "spec.storage.ibmcos.bucket",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
}

// The name of a deleted bucket is kept for a while. Nobody else has it, and nobody has to do anything.
#[tokio::test]
async fn the_name_of_a_deleted_bucket_is_waited_for() {
    let ibm: &'static Ibm = Box::leak(Box::new(
        Ibm::start(IbmOptions::moto(Moto::shared().await.unwrap())).unwrap(),
    ));
    ibm.group(ACCOUNT, GROUP);
    ibm.keep_names(3);
    let mut cluster = IbmCluster::on(ibm, "name-kept", json!({"ibmcos": {}}));
    cluster.converge().await;
    let bucket = cluster.generated();
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    cluster.edit(json!({"managementState": "Managed"}));
    for _ in 0..3 {
        let message = cluster.settle().await.error.unwrap().message;
        for part in [
            bucket.as_str(),
            "10 minutes",
            "7 days",
            "tries again",
            "spec.storage.ibmcos.bucket",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(cluster.condition("StorageExists"), "False/BucketAlreadyExists");
        cluster.later(RESYNC);
    }
    assert!(cluster.settle().await.error.is_none());
    assert_eq!(
        (cluster.state(), cluster.field("bucket")),
        (Some("Managed"), Some(bucket.as_str()))
    );
    assert_eq!(cluster.condition("StorageExists"), "True/IBM COS Bucket Exists");
}

// T6: the service has one code for the names of all accounts
#[tokio::test]
async fn a_bucket_of_ours_that_is_said_to_be_taken_is_adopted() {
    let mut cluster = IbmCluster::with_instance("taken-ours", json!({"ibmcos": {}})).await;
    cluster
        .gate
        .plan(When::operation("CreateBucket").times(1), Fault::LoseAnswer);
    let taken = Fault::Answer(Reply::error(409, "BucketAlreadyExists", "not available"));
    cluster.gate.plan(When::operation("CreateBucket"), taken);
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Managed"));
}

/// No bucket there, as an endpoint of another location says.
pub fn nowhere(gate: &Gate) {
    gate.rule(|asked| match asked.operation().as_str() {
        "HeadBucket" => Fault::Answer(Reply::new(404, "")),
        "GetBucketLocation" | "ListObjectVersions" | "ListObjectsV2" => Fault::error(404, "NoSuchBucket"),
        _ => Fault::Pass,
    });
}

// T6: a recorded creation is never dropped. An edited place shows nothing of the bucket in use.
#[tokio::test]
async fn a_bucket_that_another_place_does_not_show_is_not_lost() {
    for what in ["location", "endpoint"] {
        let mut cluster = IbmCluster::new(&format!("place-{what}"), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let (bucket, record) = (cluster.generated(), cluster.created_record());
        cluster.fill(&bucket, 2).await;
        let url = cluster.gate.url();
        cluster.deploy(&[
            ("REGISTRY_STORAGE_S3_BUCKET", &bucket),
            ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &url),
        ]);
        let elsewhere = Gate::start(cluster.ibm.target(), None, &[]).unwrap();
        nowhere(&elsewhere);
        let told = if what == "location" {
            nowhere(&cluster.gate);
            cluster.edit(json!({"storage": {"ibmcos": {"location": "eu-gb"}}}));
            "restore spec.storage.ibmcos.location to us-east"
        } else {
            cluster.set_cos_endpoint(&elsewhere.url());
            cluster.edit(json!({"replicas": 3}));
            "restore the serviceEndpoint COS"
        };
        for _ in 0..4 {
            let message = cluster.pass().await.error.unwrap().message;
            assert!(message.contains(told), "{what}: {message}");
            assert!(cluster.condition("StorageExists").starts_with("Unknown/"), "{what}");
            cluster.later(RESYNC);
        }
        assert_eq!(cluster.count_events("StorageLost"), 0, "{what}");
        assert_eq!(
            (cluster.created_record(), cluster.created().len()),
            (record, 3),
            "{what}"
        );
        if what == "location" {
            cluster.gate.pass();
            cluster.edit(json!({"storage": {"ibmcos": {"location": LOCATION}}}));
        } else {
            cluster.set_cos_endpoint(&url);
        }
        cluster.later(RESYNC);
        cluster.converge().await;
        cluster.edit(json!({"managementState": "Removed"}));
        assert!(cluster.settle().await.done, "{what}");
        assert_eq!(cluster.ibm.bucket(&bucket), None, "{what}");
    }
}

// In the same place a bucket that is gone is a loss, also while the platform's endpoint is another's.
#[tokio::test]
async fn a_bucket_that_its_own_place_does_not_show_is_lost() {
    let mut cluster = IbmCluster::new("place-own", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    // The pods have the endpoint in another spelling, as after a take-over.
    let (bucket, url) = (cluster.generated(), format!("{}/", cluster.gate.url()));
    cluster.deploy(&[
        ("REGISTRY_STORAGE_S3_BUCKET", &bucket),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &url),
    ]);
    cluster.delete(&bucket).await;
    cluster.edit(json!({"replicas": 3}));
    cluster.converge().await;
    assert_eq!(cluster.count_events("StorageLost"), 1);
    assert!(cluster.ibm.bucket(&bucket).is_some());
}

// storage-ibmcos section 6, A to C: how far a creation is, if a later step fails
#[tokio::test]
async fn the_condition_tells_how_far_a_creation_is() {
    let mut cluster = IbmCluster::new("how-far", json!({"ibmcos": {}})).await;
    cluster.single_steps = true;
    let mut seen = Vec::new();
    for _ in 0..20 {
        cluster.pass().await;
        seen.push(cluster.condition("StorageExists"));
    }
    seen.dedup();
    let expected = [
        "False/IBM COS Instance Creation Successful",
        "False/IBM COS Resource Key Creation Successful",
        "True/IBM COS Bucket Exists",
    ];
    let told: Vec<_> = seen
        .iter()
        .filter(|reason| expected.contains(&reason.as_str()))
        .collect();
    assert_eq!(told, expected, "{seen:?}");
    // The key cannot be created: in the pass of the instance, and in a later one.
    let mut cluster = IbmCluster::new("how-far-key", json!({"ibmcos": {}})).await;
    cluster
        .gate
        .plan(When::operation("create_resource_key"), Fault::error(403, "no"));
    for expected in [
        "False/IBM COS Instance Creation Successful",
        "False/IBM COS Instance Active",
    ] {
        let error = cluster.pass().await.error.unwrap().message;
        assert!(error.contains("role Editor"), "{error}");
        assert_eq!(cluster.condition("StorageExists"), expected);
        assert!(cluster.message("StorageExists").contains("role Editor"));
        cluster.later(RESYNC);
    }
    // A user's instance whose key is of no use.
    let mut cluster = IbmCluster::with_instance("how-far-users", json!({"ibmcos": {}})).await;
    let key = cluster.field("resourceKeyCRN").unwrap().to_owned();
    cluster.ibm.set_credentials(&key, Value::Null);
    assert!(cluster.pass().await.error.is_some());
    assert_eq!(cluster.condition("StorageExists"), "False/IBM COS Instance Active");
    // Storage in use is not said to be missing.
    let mut cluster = IbmCluster::new("how-far-used", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let key = cluster.field("resourceKeyCRN").unwrap().to_owned();
    cluster.ibm.set_credentials(&key, Value::Null);
    cluster.edit(json!({"storage": {"ibmcos": {"location": "eu-gb"}}}));
    assert!(cluster.pass().await.error.is_some());
    assert_eq!(cluster.condition("StorageExists"), "Unknown/Unknown Error Occurred");
}
