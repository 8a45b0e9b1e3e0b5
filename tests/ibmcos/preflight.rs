//! What the preflight requires of the keys of the registry.

use std::time::Duration;

use devcluster::stores::Fault;
use image_registry_operator::status::judge::Preflight;
use serde_json::json;

use super::cluster::IbmCluster;
use super::conformance::BackendUnderTest as _;

/// No version may be deleted.
fn keep_versions(cluster: &IbmCluster) {
    cluster.gate.rule(|asked| match asked.operation().as_str() {
        "DeleteObject" if asked.parameter("versionId").is_some() => Fault::error(403, "AccessDenied"),
        "GetObjectLockConfiguration" => Fault::error(404, "ObjectLockConfigurationNotFoundError"),
        _ => Fault::Pass,
    });
}

// storage-decisions T10, T15, T17: the operator could not remove what the bucket holds
#[tokio::test]
async fn a_right_to_delete_versions_that_is_missing_fails_the_preflight_of_new_managed_storage() {
    let storage = json!({"ibmcos": {"bucket": "versions-new-users"}, "managementState": "Managed"});
    let mut cluster = IbmCluster::with_instance("versions-new", storage).await;
    let instance = cluster.instance();
    cluster.ibm.make_bucket(&instance, "versions-new-users").await.unwrap();
    cluster.keep_versions("versions-new-users").await;
    keep_versions(&cluster);
    let mut preflight = None;
    for _ in 0..3 {
        preflight = cluster.pass().await.preflight;
        assert!(cluster.running.is_none());
        // Longer than a fresh key may be refused.
        cluster.later(Duration::from_mins(6));
    }
    let Some(Preflight::Failed(told)) = &preflight else {
        panic!("{preflight:?}");
    };
    assert!(told.contains("denied"), "{told}");
}

// storage-decisions T14b, T15: the registry that runs needs no such right
#[tokio::test]
async fn a_right_to_delete_versions_that_is_missing_keeps_no_new_key_from_storage_in_use() {
    let mut cluster = IbmCluster::new("versions-used", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.keep_versions(&cluster.generated()).await;
    keep_versions(&cluster);
    let before = cluster.file();
    let second = cluster.ibm.make_key(&cluster.instance(), "second", "Writer").await;
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": second.unwrap()}}}));
    let outcome = cluster.settle().await;
    assert!(outcome.preflight.is_none(), "{:?}", outcome.preflight);
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_ne!(cluster.file(), before);
    assert_eq!(cluster.count_events("StorageProbeKept"), 1);
}
