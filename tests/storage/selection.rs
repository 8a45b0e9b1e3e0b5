//! Acceptance of the core: selection, state, comparison, records.

use serde_json::json;

use crate::volumes::Volumes;
use image_registry_operator::storage::model::backend::Backend;
use image_registry_operator::storage::model::spec;

use image_registry_operator::api::{Kind, Storage};
use image_registry_operator::config::resolve::Reason;
use image_registry_operator::config::snapshot::Objects;
use image_registry_operator::storage::Outcome;
use image_registry_operator::storage::model::error::ErrorClass;

/// Reason of an invalid Config.
pub fn rejected(outcome: &Outcome) -> Option<Reason> {
    match outcome.error.as_ref()?.class {
        ErrorClass::Invalid(reason) => Some(reason),
        _ => None,
    }
}

fn storage(value: serde_json::Value) -> Storage {
    serde_json::from_value(value).unwrap()
}

// storage-core 1
#[tokio::test]
async fn the_platforms_default_is_written_into_the_spec() {
    let mut cluster = Volumes::on("AWS", json!({"storage": {}}));
    let outcome = cluster.pass().await;
    assert_eq!(cluster.storage_spec(), &json!({"s3": {}}));
    assert!(outcome.error.unwrap().message.contains("region"), "the driver runs");
    assert!(cluster.status().get("s3").is_none() && cluster.calls().is_empty());
}

// storage-core 3
#[tokio::test]
async fn an_unknown_platform_gets_the_pods_own_disk() {
    for platform in ["SomethingNew", ""] {
        let mut cluster = Volumes::on(platform, json!({}));
        cluster.settle().await;
        assert_eq!(
            cluster.storage_spec(),
            &json!({"emptyDir": {}, "managementState": "Managed"})
        );
    }
}

// storage-core 7, 9, lifecycle 56
// In part: 9 (a permanent error that names `oss`; with issue 13 the missing region is the cause).
#[tokio::test]
async fn a_platform_without_default_waits_for_an_edit_and_recovers() {
    for (platform, spec, reason) in [
        ("VSphere", json!({}), Reason::StorageNotConfigured),
        ("None", json!({"oss": {"bucket": "bucket"}}), Reason::InvalidConfig),
        ("null", json!({}), Reason::StorageNotConfigured),
    ] {
        let mut cluster = Volumes::on(platform, json!({"storage": spec}));
        if platform == "null" {
            cluster.add(json!({
                "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
                "status": {"platformStatus": null},
            }));
        }
        let outcome = cluster.pass().await;
        assert_eq!(rejected(&outcome), Some(reason));
        let message = outcome.error.unwrap().message;
        assert_eq!(message.contains("oss"), platform == "None", "{message}");
        assert_eq!((outcome.record, outcome.status_storage), (None, None));
        cluster.edit(json!({"storage": {"emptyDir": {}, "oss": null}}));
        assert!(cluster.settle().await.facts.is_some());
    }
}

#[tokio::test]
async fn a_platform_that_is_not_known_yet_is_waited_for() {
    let mut cluster = Volumes::on("None", json!({}));
    cluster.snapshot.objects = Objects::default();
    assert_eq!(cluster.pass().await.error.unwrap().class, ErrorClass::ActionRequired);
    cluster.snapshot.objects.set_absent_kind(Kind::Infrastructure);
    assert_eq!(rejected(&cluster.pass().await), Some(Reason::StorageNotConfigured));
}

// storage-core 6, storage-swift 30: without credentials nothing is chosen, not even the claim
#[tokio::test]
async fn openstack_without_a_backend_and_without_credentials_chooses_nothing() {
    let mut cluster = Volumes::on("OpenStack", json!({}));
    let outcome = cluster.pass().await;
    let error = outcome.error.unwrap();
    assert_eq!(error.class, ErrorClass::NoAccess);
    assert!(error.message.contains("installer-cloud-credentials"), "{error}");
    assert_eq!(outcome.record, None);
    assert!(cluster.calls().is_empty());
}

// storage-core 10, lifecycle 58
#[tokio::test]
async fn the_users_state_survives_the_platforms_default() {
    let mut cluster = Volumes::on("AWS", json!({"storage": {"managementState": "Unmanaged"}}));
    cluster.pass().await;
    assert_eq!(
        cluster.storage_spec(),
        &json!({"s3": {}, "managementState": "Unmanaged"})
    );
}

#[tokio::test]
async fn a_running_registry_on_a_backend_without_driver_is_left_alone() {
    let spec = json!({"storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}});
    let mut cluster = Volumes::on("AWS", spec);
    cluster.config["status"] = json!({
        "storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}, "storageManaged": true,
        "conditions": [{"type": "StorageTagged", "status": "True"}],
    });
    let before = (cluster.storage_spec().clone(), cluster.status().clone());
    let outcome = cluster.pass().await;
    assert!(outcome.error.is_some() && outcome.facts.is_none());
    assert_eq!((cluster.storage_spec().clone(), cluster.status().clone()), before);
    assert_eq!(cluster.config["status"]["storageManaged"], true);
    assert_eq!(cluster.config["status"]["conditions"][0]["type"], "StorageTagged");
}

// storage-core 11
#[test]
fn an_absent_member_equals_its_zero_value_and_an_empty_block_is_a_block() {
    let lean = storage(json!({"s3": {"bucket": "b"}}));
    let written = storage(json!({"s3": {
        "bucket": "b", "region": "", "virtualHostedStyle": false, "trustedCA": {"name": ""},
    }, "managementState": ""}));
    assert!(spec::same_spec(&lean, &written, Backend::S3) && spec::same(&lean, &written));
    assert!(!spec::same_spec(
        &lean,
        &storage(json!({"s3": {"bucket": "b", "encrypt": true}})),
        Backend::S3
    ));
    assert!(!spec::same_spec(
        &storage(json!({})),
        &storage(json!({"emptyDir": {}})),
        Backend::EmptyDir
    ));
    assert!(!spec::same(&storage(json!({})), &storage(json!({"emptyDir": {}}))));
    assert!(!spec::same(
        &lean,
        &storage(json!({"s3": {"bucket": "b"}, "managementState": "Managed"}))
    ));
}

// storage-core 19, lifecycle 62
#[tokio::test]
async fn a_blank_state_of_applied_storage_follows_the_mirror() {
    for (mirror, state) in [(true, "Managed"), (false, "Unmanaged")] {
        let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
        cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
        cluster.config["status"] = json!({"storage": {"pvc": {"claim": "blue-claim"}}, "storageManaged": mirror});
        cluster.pass().await;
        assert_eq!(cluster.state(), Some(state));
        assert_eq!(cluster.status()["managementState"], state);
        assert_eq!(cluster.config["status"]["storageManaged"], mirror);
    }
}

// storage-core 20, lifecycle 60
#[tokio::test]
async fn a_lowered_state_is_mirrored() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.settle().await;
    let calls = cluster.calls();
    cluster.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    cluster.settle().await;
    assert_eq!(cluster.config["status"]["storageManaged"], false);
    assert_eq!(cluster.status()["managementState"], "Unmanaged");
    assert_eq!((cluster.state(), cluster.calls()), (Some("Unmanaged"), calls));
}

// storage-core 23
#[tokio::test]
async fn a_record_names_only_what_changes() {
    let cluster = Volumes::on("BareMetal", json!({"replicas": 2, "storage": {"pvc": {}}}));
    let outcome = cluster.ensure().await;
    let expected =
        json!({"spec": {"storage": {"managementState": "Managed", "pvc": {"claim": "image-registry-storage"}}}});
    assert_eq!(outcome.record, Some(expected));
}

// storage-core 25, 26, lifecycle 63
#[tokio::test]
async fn a_switch_of_backends_replaces_the_status_and_counts_once() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    assert!(!cluster.pass().await.reconfigured, "the first storage is no switch");
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.edit(json!({"storage": {"emptyDir": null, "pvc": {"claim": "blue-claim"}}}));
    assert!(cluster.pass().await.reconfigured);
    assert_eq!(
        cluster.status(),
        &json!({"pvc": {"claim": "blue-claim"}, "managementState": "Unmanaged"})
    );
    assert!(!cluster.settle().await.reconfigured);
}

// storage-decisions, T5: a kept Unmanaged stays, and for a block without an identifier it is an error
#[tokio::test]
async fn a_kept_unmanaged_stays_after_a_switch() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], false);
    cluster.settle().await;
    cluster.edit(json!({"storage": {"pvc": {"claim": null}}}));
    assert_eq!(rejected(&cluster.pass().await), Some(Reason::InvalidConfig));
    assert!(cluster.calls().is_empty());
    cluster.edit(json!({"storage": {"pvc": null, "emptyDir": {}}}));
    cluster.settle().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
}

// storage-core, section 7: conditions of the backend before are dropped
#[tokio::test]
async fn a_backend_keeps_only_its_own_conditions() {
    let mut cluster = Volumes::with_storage(json!({"emptyDir": {}}));
    cluster.config["status"] =
        json!({"storage": {}, "storageManaged": false, "conditions": [{"type": "StorageTagged", "status": "True"}]});
    cluster.settle().await;
    let types: Vec<_> = cluster.config["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].clone())
        .collect();
    assert_eq!(types, ["StorageExists"]);
}
