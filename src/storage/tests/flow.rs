//! Acceptance of the core: selection, state, comparison, records.

use serde_json::json;

use super::super::block;
use super::{World, rejected};
use crate::api::{Kind, Storage};
use crate::config::resolve::Reason;
use crate::config::snapshot::Objects;
use crate::storage::fault::Class;

fn storage(value: serde_json::Value) -> Storage {
    serde_json::from_value(value).unwrap()
}

// storage-core 1
#[tokio::test]
async fn the_platforms_default_is_written_into_the_spec() {
    let mut world = World::new("AWS", json!({"storage": {}}));
    let outcome = world.pass().await;
    assert_eq!(world.storage(), &json!({"s3": {}}));
    assert!(outcome.fault.unwrap().message.contains("region"), "the driver runs");
    assert!(world.status().get("s3").is_none() && world.calls().is_empty());
}

// storage-core 3
#[tokio::test]
async fn an_unknown_platform_gets_the_pods_own_disk() {
    for platform in ["SomethingNew", ""] {
        let mut world = World::new(platform, json!({}));
        world.settle().await;
        assert_eq!(world.storage(), &json!({"emptyDir": {}, "managementState": "Managed"}));
    }
}

// storage-core 7, 9, lifecycle 56
#[tokio::test]
async fn a_platform_without_default_waits_for_an_edit_and_recovers() {
    for (platform, spec) in [
        ("VSphere", json!({})),
        ("None", json!({"oss": {"bucket": "b"}})),
        ("null", json!({})),
    ] {
        let mut world = World::new(platform, json!({"storage": spec}));
        if platform == "null" {
            world.add(json!({
                "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
                "status": {"platformStatus": null},
            }));
        }
        let outcome = world.pass().await;
        assert_eq!(rejected(&outcome), Some(Reason::StorageNotConfigured));
        let message = outcome.fault.unwrap().message;
        assert_eq!(message.contains("oss"), platform == "None", "{message}");
        assert_eq!((outcome.record, outcome.status_storage), (None, None));
        world.edit(json!({"storage": {"emptyDir": {}}}));
        assert!(world.settle().await.facts.is_some());
    }
}

#[tokio::test]
async fn a_platform_that_is_not_known_yet_is_waited_for() {
    let mut world = World::new("None", json!({}));
    world.snapshot.objects = Objects::default();
    assert_eq!(world.pass().await.fault.unwrap().class, Class::Config);
    world.snapshot.objects.set_absent_kind(Kind::Infrastructure);
    assert_eq!(rejected(&world.pass().await), Some(Reason::StorageNotConfigured));
}

#[tokio::test]
async fn openstack_without_a_backend_says_that_swift_is_missing() {
    let mut world = World::new("OpenStack", json!({}));
    let outcome = world.pass().await;
    assert_eq!(rejected(&outcome), Some(Reason::StorageNotConfigured));
    assert!(
        outcome
            .fault
            .unwrap()
            .message
            .contains("Swift, is not implemented by this build")
    );
    assert!(world.calls().is_empty());
}

// storage-core 10, lifecycle 58
#[tokio::test]
async fn the_users_state_survives_the_platforms_default() {
    let mut world = World::new("AWS", json!({"storage": {"managementState": "Unmanaged"}}));
    world.pass().await;
    assert_eq!(world.storage(), &json!({"s3": {}, "managementState": "Unmanaged"}));
}

#[tokio::test]
async fn a_running_registry_on_a_backend_without_driver_is_left_alone() {
    let spec = json!({"storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}});
    let mut world = World::new("AWS", spec);
    world.config["status"] = json!({
        "storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}, "storageManaged": true,
        "conditions": [{"type": "StorageTagged", "status": "True"}],
    });
    let before = (world.storage().clone(), world.status().clone());
    let outcome = world.pass().await;
    assert!(outcome.fault.is_some() && outcome.facts.is_none());
    assert_eq!((world.storage().clone(), world.status().clone()), before);
    assert_eq!(world.config["status"]["storageManaged"], true);
    assert_eq!(world.config["status"]["conditions"][0]["type"], "StorageTagged");
}

// storage-core 11
#[test]
fn an_absent_member_equals_its_zero_value_and_an_empty_block_is_a_block() {
    let lean = storage(json!({"s3": {"bucket": "b"}}));
    let written = storage(json!({"s3": {
        "bucket": "b", "region": "", "virtualHostedStyle": false, "trustedCA": {"name": ""},
    }, "managementState": ""}));
    assert!(block::same_block(&lean, &written, "S3") && block::same(&lean, &written));
    assert!(!block::same_block(
        &lean,
        &storage(json!({"s3": {"bucket": "b", "encrypt": true}})),
        "S3"
    ));
    assert!(!block::same_block(
        &storage(json!({})),
        &storage(json!({"emptyDir": {}})),
        "EmptyDir"
    ));
    assert!(!block::same(&storage(json!({})), &storage(json!({"emptyDir": {}}))));
    assert!(!block::same(
        &lean,
        &storage(json!({"s3": {"bucket": "b"}, "managementState": "Managed"}))
    ));
}

// storage-core 19, lifecycle 62
#[tokio::test]
async fn a_blank_state_of_applied_storage_follows_the_mirror() {
    for (mirror, state) in [(true, "Managed"), (false, "Unmanaged")] {
        let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
        world.add_claim("blue-claim", &["ReadWriteMany"], false);
        world.config["status"] = json!({"storage": {"pvc": {"claim": "blue-claim"}}, "storageManaged": mirror});
        world.pass().await;
        assert_eq!(world.state(), Some(state));
        assert_eq!(world.status()["managementState"], state);
        assert_eq!(world.config["status"]["storageManaged"], mirror);
    }
}

// storage-core 20, lifecycle 60
#[tokio::test]
async fn a_lowered_state_is_mirrored() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.settle().await;
    let calls = world.calls();
    world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    world.settle().await;
    assert_eq!(world.config["status"]["storageManaged"], false);
    assert_eq!(world.status()["managementState"], "Unmanaged");
    assert_eq!((world.state(), world.calls()), (Some("Unmanaged"), calls));
}

// storage-core 23
#[tokio::test]
async fn a_record_names_only_what_changes() {
    let world = World::new("BareMetal", json!({"replicas": 2, "storage": {"pvc": {}}}));
    let outcome = world.ensure().await;
    let expected =
        json!({"spec": {"storage": {"managementState": "Managed", "pvc": {"claim": "image-registry-storage"}}}});
    assert_eq!(outcome.record, Some(expected));
}

// storage-core 25, 26, lifecycle 63
#[tokio::test]
async fn a_switch_of_backends_replaces_the_status_and_counts_once() {
    let mut world = World::with_storage(json!({"emptyDir": {}}));
    assert!(!world.pass().await.reconfigured, "the first storage is no switch");
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.edit(json!({"storage": {"emptyDir": null, "pvc": {"claim": "blue-claim"}}}));
    assert!(world.pass().await.reconfigured);
    assert_eq!(
        world.status(),
        &json!({"pvc": {"claim": "blue-claim"}, "managementState": "Unmanaged"})
    );
    assert!(!world.settle().await.reconfigured);
}

// storage-decisions, T5: a kept Unmanaged stays, and for a block without an identifier it is an error
#[tokio::test]
async fn a_kept_unmanaged_stays_after_a_switch() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], false);
    world.settle().await;
    world.edit(json!({"storage": {"pvc": {"claim": null}}}));
    assert_eq!(rejected(&world.pass().await), Some(Reason::InvalidConfig));
    assert!(world.calls().is_empty());
    world.edit(json!({"storage": {"pvc": null, "emptyDir": {}}}));
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
}

// storage-core, section 7: conditions of the backend before are dropped
#[tokio::test]
async fn a_backend_keeps_only_its_own_conditions() {
    let mut world = World::with_storage(json!({"emptyDir": {}}));
    world.config["status"] =
        json!({"storage": {}, "storageManaged": false, "conditions": [{"type": "StorageTagged", "status": "True"}]});
    world.settle().await;
    let types: Vec<_> = world.config["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["type"].clone())
        .collect();
    assert_eq!(types, ["StorageExists"]);
}
