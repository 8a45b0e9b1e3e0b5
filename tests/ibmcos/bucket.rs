//! The bucket: found, created, observed; whose it is; how it is asked for.

use devcluster::stores::{Fault, Reply, When};
use serde_json::{Value, json};

use super::cluster::{IbmCluster, LOCATION, is_of_cos};

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
    let mut cluster = IbmCluster::with_instance("taken", json!({"ibmcos": {}})).await;
    cluster
        .gate
        .plan(When::operation("HeadBucket"), Fault::Answer(Reply::new(404, "")));
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("taken by another account"), "{error}");
    assert!(error.message.contains("spec.storage.ibmcos.bucket"), "{error}");
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
