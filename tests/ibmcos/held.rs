//! Service instances that cannot be used, and whose buckets may exist or come back: nothing is created, forgotten or given up for lost
//! (docs/decisions/0031).

use devcluster::stores::{Fault, Reply, When};
use futures::future::join_all;
use serde_json::json;

use super::bucket::nowhere;
use super::cluster::{ACCOUNT, GROUP, IbmCluster};
use super::conformance::{BackendUnderTest as _, RESYNC};

/// All states but `active`, those of a beginning, and `removed`; the last one is not known.
const STATES: [&str; 5] = [
    "inactive",
    "pending_reclamation",
    "pending_removal",
    "failed",
    "a-state-of-tomorrow",
];

/// Name of a cluster, of which the name of the bucket is made.
fn named(test: &str, state: &str, hidden: bool) -> String {
    format!("{test}-{}-{hidden}", state.replace('_', "-"))
}

/// Some passes, each of which names the instance and its state and changes nothing.
async fn assert_held(cluster: &mut IbmCluster, instance: &str, state: &str) {
    let before = (cluster.storage_spec().clone(), cluster.status()["ibmcos"].clone());
    for _ in 0..4 {
        let outcome = cluster.pass().await;
        let message = outcome.error.map(|error| error.message).unwrap_or_default();
        assert!(message.contains(instance) && message.contains(state), "{message}");
        assert!(!outcome.done, "{state}");
        let told = cluster.condition("StorageExists");
        assert!(told.starts_with("Unknown/"), "{state}: {told}");
        cluster.later(RESYNC);
    }
    assert_eq!(
        (cluster.storage_spec(), &cluster.status()["ibmcos"]),
        (&before.0, &before.1),
        "{state}"
    );
    assert_eq!(cluster.created(), [] as [&str; 0], "{state}");
    assert_eq!(cluster.count_events("StorageLost"), 0, "{state}");
}

// storage-ibmcos 13, section 6.A, with decision 0031: only `removed` is gone
#[tokio::test]
async fn a_registry_keeps_its_instance_until_that_is_removed() {
    let cases = STATES.into_iter().flat_map(|state| [(state, false), (state, true)]);
    // Cloud Object Storage refuses access to such a bucket, or says that there is none.
    join_all(cases.map(|(state, hidden)| async move {
        let mut cluster = IbmCluster::new(&named("held", state, hidden), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let (instance, bucket, record) = (cluster.instance(), cluster.generated(), cluster.created_record());
        cluster.fill(&bucket, 2).await;
        cluster.ibm.set_instance(&instance, state);
        if hidden {
            nowhere(&cluster.gate);
        }
        cluster.gate.forget();
        cluster.edit(json!({"replicas": 3}));
        assert_held(&mut cluster, &instance, state).await;
        // Another key, so that more than the existence is looked at; and a process that remembers nothing.
        let key = cluster.field("resourceKeyCRN").unwrap().to_owned();
        cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": format!("{key}2")}}}));
        cluster.restart();
        assert_held(&mut cluster, &instance, state).await;
        cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": key}}}));
        assert_eq!(cluster.created_record(), record, "{state}");
        // It is back: no edit is needed.
        cluster.ibm.set_instance(&instance, "active");
        cluster.gate.pass();
        cluster.later(RESYNC);
        cluster.converge().await;
        assert_eq!(cluster.condition("StorageExists"), "True/IBM COS Bucket Exists");
        assert_eq!(cluster.field("serviceInstanceCRN"), Some(instance.as_str()));
        assert_eq!(
            (cluster.created(), cluster.count(&bucket).await),
            (vec![], 2),
            "{state}"
        );
    }))
    .await;
}

// storage-ibmcos section 7, with decision 0031: a removal reports no bucket as deleted that may come back
#[tokio::test]
async fn a_removal_does_not_end_while_the_instance_may_come_back() {
    let cases = STATES.into_iter().flat_map(|state| [(state, false), (state, true)]);
    join_all(cases.map(|(state, hidden)| async move {
        let mut cluster = IbmCluster::new(&named("kept", state, hidden), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let (instance, bucket) = (cluster.instance(), cluster.generated());
        cluster.fill(&bucket, 2).await;
        cluster.ibm.set_instance(&instance, state);
        if hidden {
            nowhere(&cluster.gate);
        }
        cluster.gate.forget();
        cluster.edit(json!({"managementState": "Removed"}));
        assert_held(&mut cluster, &instance, state).await;
        let message = cluster.message("StorageExists");
        assert!(
            message.contains("spec.storage.managementState to Unmanaged"),
            "{message}"
        );
        let told = message.contains("reclamation-restore") && message.contains("wait until the reclamation is over");
        assert_eq!(told, state == "pending_reclamation", "{message}");
        assert_eq!(cluster.changes(), [], "{state}");
        assert_eq!(cluster.count(&bucket).await, 2, "{state}");
        // The two ways out.
        if hidden {
            cluster.gate.pass();
            cluster.ibm.set_instance(&instance, "removed");
            cluster.later(RESYNC);
            assert!(cluster.settle().await.done, "{state}");
            assert_eq!(cluster.condition("StorageExists"), "False/IBM COS Bucket Deleted");
        } else {
            cluster.edit(json!({"storage": {"managementState": "Unmanaged"}}));
            assert!(cluster.pass().await.done, "{state}");
            assert_eq!(cluster.count(&bucket).await, 2, "{state}");
        }
        assert_eq!(cluster.status(), &json!({}), "{state}");
    }))
    .await;
}

// As long as nobody says that the instance is active, a bucket that is not shown proves nothing.
#[tokio::test]
async fn a_bucket_that_is_not_shown_is_not_lost_while_the_instance_cannot_be_read() {
    let mut cluster = IbmCluster::new("held-unread", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let (instance, before) = (cluster.instance(), cluster.storage_spec().clone());
    cluster.gate.rule(|asked| match asked.operation().as_str() {
        "HeadBucket" => Fault::Answer(Reply::new(404, "")),
        "GetBucketLocation" | "ListObjectVersions" | "ListObjectsV2" => Fault::error(404, "NoSuchBucket"),
        "get_resource_instance" => Fault::Answer(Reply::new(503, "")),
        _ => Fault::Pass,
    });
    cluster.gate.forget();
    for edit in [json!({"replicas": 3}), json!({"managementState": "Removed"})] {
        cluster.edit(edit);
        for _ in 0..3 {
            let outcome = cluster.pass().await;
            assert!(outcome.error.unwrap().message.contains(&instance));
            assert!(!outcome.done && cluster.condition("StorageExists").starts_with("Unknown/"));
            cluster.later(RESYNC);
        }
    }
    assert_eq!((cluster.storage_spec(), cluster.created()), (&before, vec![]));
    assert_eq!(cluster.count_events("StorageLost"), 0);
}

// As while it is restored: nothing is said of its buckets before it is active.
#[tokio::test]
async fn a_bucket_that_is_not_shown_is_not_lost_while_the_instance_is_provisioned() {
    for state in ["provisioning", "pre_provisioning"] {
        let mut cluster = IbmCluster::new(&named("begun", state, true), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let (instance, bucket) = (cluster.instance(), cluster.generated());
        cluster.fill(&bucket, 2).await;
        cluster.ibm.set_instance(&instance, state);
        nowhere(&cluster.gate);
        cluster.gate.forget();
        for edit in [json!({"replicas": 3}), json!({"managementState": "Removed"})] {
            cluster.edit(edit);
            for _ in 0..3 {
                assert!(!cluster.pass().await.done, "{state}");
                cluster.later(RESYNC);
            }
            assert_eq!(cluster.status()["ibmcos"]["bucket"], json!(bucket), "{state}");
        }
        assert_eq!(
            (cluster.created(), cluster.count_events("StorageLost")),
            (vec![], 0),
            "{state}"
        );
        cluster.gate.pass();
        cluster.ibm.set_instance(&instance, "active");
        cluster.later(RESYNC);
        assert!(cluster.settle().await.done, "{state}");
    }
}

// A new registry whose instance was not made well: the message says what helps at once.
#[tokio::test]
async fn an_instance_whose_creation_failed_is_replaced_after_an_edit() {
    for state in ["failed", "pending_reclamation"] {
        let mut cluster = IbmCluster::new(&named("new", state, false), json!({"ibmcos": {}})).await;
        // Nothing but the instance is made.
        cluster.gate.rule(|asked| match asked.operation().as_str() {
            "create_resource_key" => Fault::Answer(Reply::new(503, "")),
            _ => Fault::Pass,
        });
        while cluster.field("serviceInstanceCRN").is_none() {
            cluster.pass().await;
        }
        let failed = cluster.instance();
        cluster.ibm.set_instance(&failed, state);
        cluster.gate.pass();
        cluster.gate.forget();
        cluster.later(RESYNC);
        assert_held(&mut cluster, &failed, state).await;
        assert!(
            cluster
                .message("StorageExists")
                .contains("resourceKeyCRN are empty, another instance is created")
        );
        cluster.edit(json!({"storage": {"ibmcos": {"serviceInstanceCRN": null, "resourceKeyCRN": null}}}));
        cluster.converge().await;
        assert_ne!(cluster.field("serviceInstanceCRN"), Some(failed.as_str()), "{state}");
        assert!(cluster.running.is_some(), "{state}");
    }
}

// Storage that is not in use yet: what the user named is not replaced either.
#[tokio::test]
async fn a_named_instance_that_cannot_be_used_is_told_and_another_name_helps() {
    for state in STATES {
        let mut cluster = IbmCluster::with_instance(&named("named", state, false), json!({"ibmcos": {}})).await;
        let instance = cluster.instance();
        cluster.ibm.set_instance(&instance, state);
        assert_held(&mut cluster, &instance, state).await;
        let group = cluster.ibm.group(ACCOUNT, GROUP);
        let name = format!("other-{state}");
        let other = cluster.ibm.make_instance(ACCOUNT, &name, &group);
        cluster.edit(json!({"storage": {"ibmcos": {"serviceInstanceCRN": other, "resourceKeyCRN": null}}}));
        cluster.converge().await;
        assert_eq!(cluster.field("serviceInstanceCRN"), Some(other.as_str()), "{state}");
        assert_eq!(cluster.created(), ["create_resource_key", "CreateBucket"], "{state}");
    }
}

// D1: the same for an explicit Unmanaged
#[tokio::test]
async fn an_unmanaged_bucket_of_a_disabled_instance_is_not_said_to_be_gone() {
    let storage = json!({"ibmcos": {"bucket": "held-users"}, "managementState": "Unmanaged"});
    let mut cluster = IbmCluster::with_instance("held-unmanaged", storage).await;
    let instance = cluster.instance();
    cluster.ibm.make_bucket(&instance, "held-users").await.unwrap();
    cluster.converge().await;
    cluster.ibm.set_instance(&instance, "inactive");
    cluster.edit(json!({"replicas": 3}));
    assert_held(&mut cluster, &instance, "inactive").await;
}

// A list shows a disabled instance only to those who ask for it.
#[tokio::test]
async fn no_instance_is_created_beside_a_disabled_one_of_the_same_name() {
    let mut cluster = IbmCluster::new("held-by-name", json!({"ibmcos": {}})).await;
    let instance = cluster.make_instance();
    cluster.ibm.set_instance(&instance, "inactive");
    assert_held(&mut cluster, &instance, "inactive").await;
    assert!(!cluster.message("StorageExists").contains("another instance is created"));
    cluster.ibm.set_instance(&instance, "active");
    cluster.converge().await;
    assert_eq!(cluster.field("serviceInstanceCRN"), Some(instance.as_str()));
    assert_eq!(cluster.ibm.instances(&cluster.resource_name()).len(), 1);
}

// storage-ibmcos section 6.A: `pre_provisioning` is a beginning
#[tokio::test]
async fn an_instance_whose_creation_has_not_begun_is_found_after_a_lost_answer() {
    let mut cluster = IbmCluster::new("pre-provisioning", json!({"ibmcos": {}})).await;
    cluster
        .gate
        .plan(When::operation("create_resource_instance").times(1), Fault::LoseAnswer);
    let error = cluster.settle().await.error;
    assert!(error.is_some());
    let instance = cluster.instance();
    cluster.ibm.set_instance(&instance, "pre_provisioning");
    for _ in 0..3 {
        cluster.later(RESYNC);
        let outcome = cluster.pass().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(
            cluster.condition("StorageExists"),
            "False/IBM COS Instance Provisioning"
        );
    }
    cluster.ibm.set_instance(&instance, "active");
    cluster.converge().await;
    assert_eq!(cluster.field("serviceInstanceCRN"), Some(instance.as_str()));
    assert_eq!(cluster.ibm.instances(&cluster.resource_name()).len(), 1);
}
