//! What a removal deletes, and what it keeps.

use devcluster::stores::{Fault, Reply, When};
use serde_json::{Value, json};

use super::cluster::IbmCluster;
use super::conformance::{BackendUnderTest as _, RESYNC};

// storage-ibmcos 33, 34
#[tokio::test]
async fn the_bucket_goes_and_instance_and_key_stay_and_are_used_again() {
    let mut cluster = IbmCluster::new("removed", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let bucket = cluster.generated();
    cluster.fill(&bucket, 5).await;
    let (instance, key) = (cluster.instance(), cluster.field("resourceKeyCRN").unwrap().to_owned());
    cluster.gate.forget();
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!(cluster.ibm.bucket(&bucket), None);
    assert_eq!(cluster.condition("StorageExists"), "False/IBM COS Bucket Deleted");
    assert_eq!((cluster.field("bucket"), cluster.status()), (None, &json!({})));
    assert_eq!(cluster.field("serviceInstanceCRN"), Some(instance.as_str()));
    assert_eq!(cluster.field("resourceKeyCRN"), Some(key.as_str()));
    let operations = cluster.operations();
    assert!(
        !operations.iter().any(|name| name.starts_with("delete_resource")),
        "{operations:?}"
    );
    assert_eq!(cluster.ibm.keys(&instance), [key.as_str()]);
    cluster.gate.forget();
    cluster.edit(json!({"managementState": "Managed"}));
    cluster.converge().await;
    assert_eq!(cluster.created(), ["CreateBucket"]);
    assert_eq!(
        (cluster.field("bucket"), cluster.state()),
        (Some(bucket.as_str()), Some("Managed"))
    );
    assert_eq!(cluster.field("serviceInstanceCRN"), Some(instance.as_str()));
    assert_eq!(cluster.field("resourceKeyCRN"), Some(key.as_str()));
    // A Config that was deleted names nothing: both are found by their name.
    cluster.config["spec"]["storage"] = json!({"ibmcos": {}});
    cluster.config["status"] = Value::Null;
    cluster.config["metadata"]["annotations"] = json!({});
    cluster.restart();
    cluster.gate.forget();
    cluster.converge().await;
    assert_eq!(cluster.created(), [] as [&str; 0]);
    assert_eq!(cluster.field("resourceKeyCRN"), Some(key.as_str()));
}

// storage-ibmcos 35
#[tokio::test]
async fn nothing_is_asked_for_unmanaged_storage_or_without_an_instance() {
    let storage = json!({"ibmcos": {"bucket": "let-go-users"}});
    let mut cluster = IbmCluster::with_instance("let-go", storage).await;
    cluster
        .ibm
        .make_bucket(&cluster.instance(), "let-go-users")
        .await
        .unwrap();
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
    cluster.gate.forget();
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!((cluster.operations(), cluster.status()), (vec![], &json!({})));
    // A status that names no instance, as no release of the operator leaves it.
    let mut cluster = IbmCluster::new("without-instance", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.config["status"]["storage"]["ibmcos"]["serviceInstanceCRN"].take();
    cluster.gate.forget();
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!((cluster.operations(), cluster.status()), (vec![], &json!({})));
    assert!(cluster.ibm.bucket(&cluster.generated()).is_some());
}

// storage-ibmcos 36, section 7: the bucket is gone with its instance
#[tokio::test]
async fn a_bucket_that_is_gone_alone_or_with_its_instance_ends_the_removal() {
    for how in ["bucket", "instance", "instance-forgotten"] {
        let mut cluster = IbmCluster::new(&format!("gone-{how}"), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let instance = cluster.instance();
        match how {
            "bucket" => cluster.delete(&cluster.generated()).await,
            "instance" => cluster.ibm.set_instance(&instance, "removed"),
            _ => cluster.ibm.forget_instance(&instance),
        }
        cluster.gate.forget();
        cluster.edit(json!({"managementState": "Removed"}));
        assert!(cluster.settle().await.done, "{how}");
        assert_eq!(
            cluster.condition("StorageExists"),
            "False/IBM COS Bucket Deleted",
            "{how}"
        );
        assert_eq!(cluster.status(), &json!({}));
        assert_eq!(cluster.changes(), [], "{how}");
    }
}

// Only a state of the instance, or 404, says that the bucket went with it.
#[tokio::test]
async fn an_answer_without_a_state_ends_no_removal() {
    let mut cluster = IbmCluster::new("stateless", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let bucket = cluster.generated();
    cluster.edit(json!({"managementState": "Removed"}));
    cluster
        .gate
        .plan(When::operation("HeadBucket"), Fault::error(403, "AccessDenied"));
    let empty = Fault::Answer(Reply::new(200, "{}"));
    cluster.gate.plan(When::operation("get_resource_instance"), empty);
    for _ in 0..3 {
        let outcome = cluster.pass().await;
        assert!(!outcome.done && outcome.error.is_some());
        cluster.later(RESYNC);
    }
    assert!(cluster.ibm.bucket(&bucket).is_some());
    assert_eq!(cluster.status()["ibmcos"]["bucket"], bucket.as_str());
}

// T2: what cannot be observed is kept
#[tokio::test]
async fn a_bucket_that_cannot_be_observed_is_kept_until_the_user_lets_go() {
    let mut cluster = IbmCluster::new("unobserved", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let bucket = cluster.generated();
    cluster.fill(&bucket, 2).await;
    cluster.edit(json!({"managementState": "Removed"}));
    for operation in ["HeadBucket", "GetBucketLocation"] {
        cluster
            .gate
            .plan(When::operation(operation), Fault::error(403, "AccessDenied"));
    }
    for _ in 0..3 {
        let outcome = cluster.pass().await;
        let message = outcome.error.unwrap().message;
        assert!(
            !outcome.done && message.contains("spec.storage.managementState to Unmanaged"),
            "{message}"
        );
        cluster.later(RESYNC);
    }
    assert_eq!(cluster.count(&bucket).await, 2);
    cluster.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(cluster.pass().await.done);
    assert_eq!(cluster.count(&bucket).await, 2);
}

// T2: without a mark, the name that the operator gives is part of the proof
#[tokio::test]
async fn a_created_bucket_of_another_name_is_kept_and_the_reason_told() {
    let storage = json!({"ibmcos": {"bucket": "named-by-user"}});
    let mut cluster = IbmCluster::with_instance("named-created", storage).await;
    cluster.converge().await;
    assert_eq!(
        (cluster.state(), cluster.created()),
        (Some("Managed"), vec!["CreateBucket".to_owned()])
    );
    cluster.fill("named-by-user", 1).await;
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!(cluster.count("named-by-user").await, 1);
    let message = cluster.message("StorageExists");
    assert!(message.contains("was kept"), "{message}");
}

// storage-decisions 3: the Config of another cluster names its bucket, and proves nothing
#[tokio::test]
async fn a_copied_config_deletes_nothing_of_the_other_cluster() {
    let mut first = IbmCluster::new("copied-from", json!({"ibmcos": {}})).await;
    first.converge().await;
    let bucket = first.generated();
    first.fill(&bucket, 2).await;
    let mut second = IbmCluster::new("copied-to", json!({"ibmcos": {}})).await;
    second.config = first.config.clone();
    second.edit(json!({"replicas": 3}));
    second.converge().await;
    second.edit(json!({"managementState": "Removed"}));
    second.settle().await;
    assert_eq!(first.count(&bucket).await, 2);
}
