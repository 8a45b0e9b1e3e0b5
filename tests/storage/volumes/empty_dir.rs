//! Acceptance of the pod's own disk.

use serde_json::json;

use super::Volumes;
use crate::harness::warnings;
use crate::selection::rejected;

use image_registry_operator::config::resolve::Reason;

// storage-volumes 31
#[tokio::test]
async fn empty_dir_is_managed_and_applied_in_one_pass() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    let outcome = cluster.pass().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert_eq!(cluster.status(), &json!({"emptyDir": {}, "managementState": "Managed"}));
    assert_eq!(cluster.config["status"]["storageManaged"], true);
    assert_eq!(cluster.exists(), "True/Creation Successful");
    assert!(
        cluster
            .message()
            .contains("Images are lost when the registry pod is replaced.")
    );
    let facts = outcome.facts.unwrap();
    assert_eq!(facts.volumes, [json!({"name": "registry-storage", "emptyDir": {}})]);
    assert_eq!(
        facts.mounts,
        [json!({"name": "registry-storage", "mountPath": "/registry"})]
    );
}

// storage-volumes 32
#[tokio::test]
async fn a_settled_empty_dir_wants_nothing_stored() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    cluster.pass().await;
    let before = cluster.config.clone();
    let outcome = cluster.pass().await;
    assert!(outcome.record.is_none() && outcome.status_storage.is_none() && outcome.facts.is_some());
    assert_eq!(cluster.config, before);
}

// storage-volumes 33
#[tokio::test]
async fn several_replicas_on_empty_dir_are_deployed_and_warned_about_once_per_edit() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    cluster.edit(json!({"replicas": 3}));
    let first = cluster.pass().await;
    assert!(first.error.is_none() && first.facts.unwrap().unfit.is_none());
    assert!(
        cluster
            .message()
            .contains("ephemeral storage with 3 replicas: pods do not share content")
    );
    let notes: Vec<_> = first.events.iter().filter(|n| n.warning).collect();
    assert_eq!(notes.len(), 1);
    assert!(warnings(&cluster.pass().await.events).is_empty());
    cluster.edit(json!({"replicas": 4}));
    assert_eq!(warnings(&cluster.pass().await.events).len(), 1);
}

// storage-volumes 34
#[tokio::test]
async fn removal_of_empty_dir_forgets_it_in_status_only() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    cluster.settle().await;
    cluster.edit(json!({"managementState": "Removed"}));
    let outcome = cluster.pass().await;
    assert!(outcome.done && outcome.error.is_none());
    assert_eq!(cluster.status(), &json!({}));
    assert_eq!(cluster.storage_spec()["emptyDir"], json!({}));
    assert_eq!(cluster.exists(), "-/-", "a condition about a disk that is gone stayed");
}

// storage-volumes 35
#[tokio::test]
async fn an_empty_block_survives_being_read_and_written() {
    let cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    let written = serde_json::to_value(cluster.config()).unwrap();
    assert_eq!(written["spec"]["storage"], json!({"emptyDir": {}}));
}

// storage-volumes 36, storage-core 8
#[tokio::test]
async fn two_backends_are_refused_by_count_and_name() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}, "emptyDir": {}}));
    let outcome = cluster.pass().await;
    assert_eq!(rejected(&outcome), Some(Reason::StorageConflict));
    let message = outcome.error.unwrap().message;
    assert!(message.contains("2 backends (EmptyDir, PVC)"), "{message}");
    assert!(cluster.calls().is_empty() && outcome.record.is_none() && outcome.facts.is_none());
}
