//! Acceptance of claims: removal. All of these guard data.

use serde_json::json;

use super::{World, warnings};
use crate::api::Kind;
use crate::names;

const OWN: &str = names::DEFAULT_CLAIM;

/// A registry on the operator's own claim, then `Removed`.
async fn removed_own() -> World {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.settle().await;
    world.edit(json!({"managementState": "Removed"}));
    world.calls.borrow_mut().clear();
    world
}

/// A registry on a user's claim under the given state, then `Removed`.
async fn removed_named(state: &str, ours: bool) -> World {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}, "managementState": state}));
    world.add_claim("blue-claim", &["ReadWriteMany"], ours);
    world.settle().await;
    world.edit(json!({"managementState": "Removed"}));
    world
}

// storage-volumes 19, storage-core 40, 45
#[tokio::test]
async fn the_operators_claim_is_deleted_by_uid_and_forgotten_when_it_is_gone() {
    let mut world = removed_own().await;
    let outcome = world.pass().await;
    assert_eq!(world.calls(), [format!("delete {OWN} made-by-operator")]);
    assert!(!outcome.done && outcome.wait.is_some() && outcome.status_storage.is_none());

    world.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T03:01:00Z"));
    let outcome = world.pass().await;
    assert!(!outcome.done && outcome.fault.is_none());
    assert_eq!(world.calls().len(), 1, "deleted twice");
    assert_eq!(world.status()["pvc"]["claim"], OWN);

    world.drop_claim(OWN);
    let outcome = world.pass().await;
    assert!(outcome.done);
    assert_eq!((world.status(), world.storage()), (&json!({}), &json!({"pvc": {}})));
    assert_eq!(world.exists(), "False/PVC Deleted");
    assert_eq!(world.config["status"]["storageManaged"], false);

    let before = world.config.clone();
    assert!(world.pass().await.done);
    assert_eq!((world.config.clone(), world.calls().len()), (before, 1));
}

// storage-volumes 19
#[tokio::test]
async fn a_claim_without_the_mark_is_kept_and_the_condition_says_so() {
    let mut world = removed_named("Managed", false).await;
    let outcome = world.pass().await;
    assert!(outcome.done && world.calls().is_empty());
    assert_eq!(world.status(), &json!({}));
    assert!(world.message().contains("blue-claim was kept") && world.message().contains(names::OWNED_ANNOTATION));
    assert!(warnings(&outcome)[0].contains("blue-claim was kept"));
    assert_eq!(world.storage()["pvc"]["claim"], "blue-claim");
    let again = world.pass().await;
    assert!(again.notices.is_empty() && world.message().contains("was kept"));
}

// storage-volumes 20, 28, storage-core 41
#[tokio::test]
async fn an_unmanaged_claim_is_not_touched() {
    let mut world = removed_named("Unmanaged", true).await;
    let storage = world.storage().clone();
    let outcome = world.pass().await;
    assert!(outcome.done && world.calls().is_empty() && outcome.notices.is_empty());
    assert_eq!((world.status(), world.storage()), (&json!({}), &storage));

    // The claim that bootstrap made, annotated as ours, named in the spec.
    let mut bootstrap = World::with_storage(json!({"pvc": {"claim": OWN}}));
    bootstrap.add_claim(OWN, &["ReadWriteOnce"], true);
    bootstrap.settle().await;
    bootstrap.edit(json!({"managementState": "Removed"}));
    assert!(bootstrap.pass().await.done && bootstrap.calls().is_empty());
}

#[tokio::test]
async fn a_state_lowered_together_with_the_removal_keeps_the_claim() {
    let mut world = removed_own().await;
    world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(world.pass().await.done && world.calls().is_empty());
    assert_eq!(
        (world.status(), world.storage()["pvc"]["claim"].as_str()),
        (&json!({}), Some(OWN))
    );
}

#[tokio::test]
async fn only_the_literal_managed_deletes() {
    for text in ["managed", "Force", ""] {
        let mut world = removed_own().await;
        world.config["spec"]["storage"]["managementState"] = json!(text);
        world.config["status"]["storage"]["managementState"] = json!(text);
        assert!(world.pass().await.done && world.calls().is_empty(), "{text:?}");
    }
}

// storage-volumes 21
#[tokio::test]
async fn a_claim_that_is_gone_already_is_a_success() {
    let mut world = removed_own().await;
    world.drop_claim(OWN);
    assert!(world.pass().await.done && world.calls().is_empty());
    assert_eq!(world.status(), &json!({}));
}

// storage-volumes 22, storage-decisions 7
#[tokio::test]
async fn after_a_removal_the_default_claim_is_new_and_a_named_one_is_the_users() {
    let mut world = removed_own().await;
    world.drop_claim(OWN);
    world.pass().await;
    let mut named = World {
        config: world.config.clone(),
        ..World::with_storage(json!({}))
    };
    world.edit(json!({"managementState": "Managed"}));
    world.settle().await;
    assert_eq!(
        (world.exists().as_str(), world.state()),
        ("True/PVC Exists", Some("Managed"))
    );
    assert_eq!(world.calls(), [format!("create {OWN}")]);

    named.add_claim("blue-claim", &["ReadWriteMany"], true);
    named.edit(json!({"managementState": "Managed", "storage": {"pvc": {"claim": "blue-claim"}}}));
    named.settle().await;
    assert_eq!(named.state(), Some("Unmanaged"));
}

// storage-decisions 7: also where the data was kept and `Managed` is left over
#[tokio::test]
async fn a_left_over_managed_says_nothing_about_other_storage() {
    let mut world = removed_named("Managed", false).await;
    world.pass().await;
    assert_eq!(world.state(), Some("Managed"));
    world.add_claim("green-claim", &["ReadWriteMany"], true);
    world.edit(json!({"managementState": "Managed", "storage": {"pvc": {"claim": "green-claim"}}}));
    world.settle().await;
    assert_eq!(world.state(), Some("Unmanaged"));
}

// storage-decisions 5
#[tokio::test]
async fn a_state_raised_together_with_the_removal_deletes_nothing() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    world.add_claim("blue-claim", &["ReadWriteMany"], true);
    world.settle().await;
    world.edit(json!({"managementState": "Removed", "storage": {"managementState": "Managed"}}));
    let outcome = world.pass().await;
    assert!(outcome.done && world.calls().is_empty());
    assert!(world.message().contains("raised to Managed together"));
    assert_eq!(world.status(), &json!({}));
}

// storage-decisions 5: the bucket of that statement, where nobody can tell where it is
#[tokio::test]
async fn a_users_bucket_survives_a_patch_to_removed_managed_and_another_block() {
    let mut world = World::with_storage(json!({"managementState": "Managed", "pvc": {}}));
    world.config["status"] = json!({
        "storage": {"s3": {"bucket": "of-a-user"}, "managementState": "Unmanaged"}, "storageManaged": false,
    });
    world.edit(json!({"managementState": "Removed"}));
    let outcome = world.pass().await;
    assert!(outcome.done && world.calls().is_empty() && !outcome.notices.is_empty());
    assert_eq!(world.status(), &json!({}));
}

#[tokio::test]
async fn storage_that_cannot_be_found_is_never_forgotten_while_it_is_ours() {
    // Without a driver, and with one that cannot tell where the bucket is.
    for (backend, why) in [("gcs", "GCS is not implemented"), ("s3", "region")] {
        let storage = json!({backend: {"bucket": "b"}, "managementState": "Managed"});
        let mut world = World::with_storage(storage.clone());
        world.config["status"] = json!({"storage": storage, "storageManaged": true});
        world.edit(json!({"managementState": "Removed"}));
        let outcome = world.pass().await;
        assert!(!outcome.done && outcome.fault.unwrap().message.contains(why));
        assert_eq!(world.status()[backend]["bucket"], "b");
        world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        assert!(world.pass().await.done);
    }
}

// storage-decisions 13, storage-core 43
#[tokio::test]
async fn what_the_status_names_goes_and_what_the_spec_names_stays() {
    let mut world = removed_own().await;
    world.add_claim("blue-claim", &["ReadWriteMany"], true);
    world.edit(json!({"storage": {"pvc": {"claim": "blue-claim"}, "emptyDir": {}}}));
    world.pass().await;
    assert_eq!(world.calls(), [format!("delete {OWN} made-by-operator")]);
    world.drop_claim(OWN);
    assert!(world.pass().await.done);
    assert_eq!(
        world.storage(),
        &json!({"pvc": {"claim": "blue-claim"}, "emptyDir": {}})
    );
}

// storage-core 27
#[tokio::test]
async fn a_users_claim_does_not_inherit_managed_from_the_bucket_before_it() {
    let mut world = World::with_storage(json!({"pvc": {"claim": "blue-claim"}, "managementState": "Managed"}));
    world.config["status"] =
        json!({"storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}, "storageManaged": true});
    world.add_claim("blue-claim", &["ReadWriteMany"], true);
    let outcome = world.pass().await;
    assert!(outcome.reconfigured);
    assert_eq!(world.state(), Some("Unmanaged"));
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.pass().await.done && world.calls().is_empty());
}

// storage-decisions 11
#[tokio::test]
async fn a_config_that_is_not_removed_any_more_deletes_nothing() {
    let mut world = removed_own().await;
    world.edit(json!({"managementState": "Managed"}));
    let outcome = world.remove(false).await;
    assert!(!outcome.done && outcome.status_storage.is_none() && world.calls().is_empty());
}

// lifecycle 113, 114
#[tokio::test]
async fn deletion_of_the_config_deletes_managed_storage_only_if_the_registry_is_managed() {
    let mut world = World::with_storage(json!({"pvc": {}}));
    world.settle().await;
    world.calls.borrow_mut().clear();
    let outcome = world.remove(true).await;
    assert!(!outcome.done && world.calls().len() == 1);
    world.drop_claim(OWN);
    let outcome = world.remove(true).await;
    assert!(outcome.done && outcome.record.is_none());

    let mut left = World::with_storage(json!({"pvc": {}}));
    left.settle().await;
    left.calls.borrow_mut().clear();
    left.edit(json!({"managementState": "Unmanaged"}));
    assert!(left.remove(true).await.done && left.calls().is_empty());
}

#[tokio::test]
async fn a_claim_that_does_not_go_is_reported_after_five_minutes() {
    let mut world = removed_own().await;
    world.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T02:57:02Z"));
    assert!(world.pass().await.fault.is_none());
    world.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T02:57:00Z"));
    let outcome = world.pass().await;
    assert!(outcome.fault.unwrap().message.contains("still there") && !outcome.done);
    assert!(world.calls().is_empty());
}

// storage-decisions 4, for a mark that cannot be read
#[tokio::test]
async fn nothing_is_deleted_or_forgotten_while_claims_cannot_be_listed() {
    let mut world = removed_own().await;
    world.drop_claim(OWN);
    world.snapshot.objects.set_absent_kind(Kind::PersistentVolumeClaim);
    let outcome = world.pass().await;
    assert!(outcome.fault.is_some() && !outcome.done && world.calls().is_empty());
    assert_eq!(world.status()["pvc"]["claim"], OWN);
}
