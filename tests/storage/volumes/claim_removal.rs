//! Acceptance of claims: removal. All of these guard data.

use serde_json::json;

use super::Volumes;
use crate::harness::warnings;

use image_registry_operator::api::Kind;
use image_registry_operator::config::error_class::ErrorClass;
use image_registry_operator::names;

const OWN: &str = names::DEFAULT_CLAIM;

/// A registry on the operator's own claim, then `Removed`.
async fn removed_own() -> Volumes {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.settle().await;
    cluster.edit(json!({"managementState": "Removed"}));
    cluster.recorded_calls().clear();
    cluster
}

/// A registry on a user's claim under the given state, then `Removed`.
async fn removed_named(state: &str, ours: bool) -> Volumes {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}, "managementState": state}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], ours);
    cluster.settle().await;
    cluster.edit(json!({"managementState": "Removed"}));
    cluster
}

// storage-volumes 19, storage-core 40, 45
#[tokio::test]
async fn the_operators_claim_is_deleted_by_uid_and_version_and_forgotten_when_it_is_gone() {
    let mut cluster = removed_own().await;
    let outcome = cluster.pass().await;
    assert_eq!(cluster.calls(), [format!("delete {OWN} made-by-operator 1")]);
    assert!(!outcome.done && outcome.wait.is_some() && outcome.status_storage.is_none());

    cluster.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T03:01:00Z"));
    let outcome = cluster.pass().await;
    assert!(!outcome.done && outcome.error.is_none());
    assert_eq!(cluster.calls().len(), 1, "deleted twice");
    assert_eq!(cluster.status()["pvc"]["claim"], OWN);

    cluster.drop_claim(OWN);
    let outcome = cluster.pass().await;
    assert!(outcome.done);
    assert_eq!(
        (cluster.status(), cluster.storage_spec()),
        (&json!({}), &json!({"pvc": {}}))
    );
    assert_eq!(cluster.exists(), "False/PVC Deleted");
    assert_eq!(cluster.config["status"]["storageManaged"], false);

    let before = cluster.config.clone();
    assert!(cluster.pass().await.done);
    assert_eq!((cluster.config.clone(), cluster.calls().len()), (before, 1));
}

// storage-volumes 19
#[tokio::test]
async fn a_claim_without_the_mark_is_kept_and_the_condition_says_so() {
    let mut cluster = removed_named("Managed", false).await;
    let outcome = cluster.pass().await;
    assert!(outcome.done && cluster.calls().is_empty());
    assert_eq!(cluster.status(), &json!({}));
    assert!(cluster.message().contains("blue-claim was kept") && cluster.message().contains(names::OWNED_ANNOTATION));
    assert!(warnings(&outcome.events)[0].contains("blue-claim was kept"));
    assert_eq!(cluster.storage_spec()["pvc"]["claim"], "blue-claim");
    let again = cluster.pass().await;
    assert!(again.events.is_empty() && cluster.message().contains("was kept"));
}

// storage-volumes 20, 28, storage-core 41
#[tokio::test]
async fn an_unmanaged_claim_is_not_touched() {
    let mut cluster = removed_named("Unmanaged", true).await;
    let storage = cluster.storage_spec().clone();
    let outcome = cluster.pass().await;
    assert!(outcome.done && cluster.calls().is_empty() && outcome.events.is_empty());
    assert_eq!((cluster.status(), cluster.storage_spec()), (&json!({}), &storage));

    // The claim that bootstrap made, annotated as ours, named in the spec.
    let mut bootstrap = Volumes::with_storage(json!({"pvc": {"claim": OWN}}));
    bootstrap.add_claim(OWN, &["ReadWriteOnce"], true);
    bootstrap.settle().await;
    bootstrap.edit(json!({"managementState": "Removed"}));
    assert!(bootstrap.pass().await.done && bootstrap.calls().is_empty());
}

#[tokio::test]
async fn a_state_lowered_together_with_the_removal_keeps_the_claim() {
    let mut cluster = removed_own().await;
    cluster.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(cluster.pass().await.done && cluster.calls().is_empty());
    assert_eq!(
        (cluster.status(), cluster.storage_spec()["pvc"]["claim"].as_str()),
        (&json!({}), Some(OWN))
    );
}

#[tokio::test]
async fn only_the_literal_managed_deletes() {
    for text in ["managed", "Force", ""] {
        let mut cluster = removed_own().await;
        cluster.config["spec"]["storage"]["managementState"] = json!(text);
        cluster.config["status"]["storage"]["managementState"] = json!(text);
        assert!(cluster.pass().await.done && cluster.calls().is_empty(), "{text:?}");
    }
}

// storage-volumes 21
#[tokio::test]
async fn a_claim_that_is_gone_already_is_a_success() {
    let mut cluster = removed_own().await;
    cluster.drop_claim(OWN);
    assert!(cluster.pass().await.done && cluster.calls().is_empty());
    assert_eq!(cluster.status(), &json!({}));
}

// storage-volumes 22, storage-decisions 7
#[tokio::test]
async fn after_a_removal_the_default_claim_is_new_and_a_named_one_is_the_users() {
    let mut cluster = removed_own().await;
    cluster.drop_claim(OWN);
    cluster.pass().await;
    let mut named = Volumes::with_storage(json!({}));
    named.config = cluster.config.clone();
    cluster.edit(json!({"managementState": "Managed"}));
    cluster.settle().await;
    assert_eq!(
        (cluster.exists().as_str(), cluster.state()),
        ("True/PVC Exists", Some("Managed"))
    );
    assert_eq!(cluster.calls(), [format!("create {OWN}")]);

    named.add_claim("blue-claim", &["ReadWriteMany"], true);
    named.edit(json!({"managementState": "Managed", "storage": {"pvc": {"claim": "blue-claim"}}}));
    named.settle().await;
    assert_eq!(named.state(), Some("Unmanaged"));
}

// storage-decisions 7: also where the data was kept and `Managed` is left over
#[tokio::test]
async fn a_left_over_managed_says_nothing_about_other_storage() {
    let mut cluster = removed_named("Managed", false).await;
    cluster.pass().await;
    assert_eq!(cluster.state(), Some("Managed"));
    cluster.add_claim("green-claim", &["ReadWriteMany"], true);
    cluster.edit(json!({"managementState": "Managed", "storage": {"pvc": {"claim": "green-claim"}}}));
    cluster.settle().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
}

// storage-decisions 5
#[tokio::test]
async fn a_state_raised_together_with_the_removal_deletes_nothing() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}}));
    cluster.add_claim("blue-claim", &["ReadWriteMany"], true);
    cluster.settle().await;
    cluster.edit(json!({"managementState": "Removed", "storage": {"managementState": "Managed"}}));
    let outcome = cluster.pass().await;
    assert!(outcome.done && cluster.calls().is_empty());
    assert!(cluster.message().contains("raised to Managed together"));
    assert_eq!(cluster.status(), &json!({}));
}

// storage-decisions 5: the bucket of that statement, where nobody can tell where it is
#[tokio::test]
async fn a_users_bucket_survives_a_patch_to_removed_managed_and_another_block() {
    let mut cluster = Volumes::with_storage(json!({"managementState": "Managed", "pvc": {}}));
    cluster.config["status"] = json!({
        "storage": {"s3": {"bucket": "of-a-user"}, "managementState": "Unmanaged"}, "storageManaged": false,
    });
    cluster.edit(json!({"managementState": "Removed"}));
    let outcome = cluster.pass().await;
    assert!(outcome.done && cluster.calls().is_empty() && !outcome.events.is_empty());
    assert_eq!(cluster.status(), &json!({}));
}

#[tokio::test]
async fn storage_that_cannot_be_found_is_never_forgotten_while_it_is_ours() {
    // Without a region nobody can tell where the bucket is.
    let storage = json!({"s3": {"bucket": "b"}, "managementState": "Managed"});
    let mut cluster = Volumes::with_storage(storage.clone());
    cluster.config["status"] = json!({"storage": storage, "storageManaged": true});
    cluster.edit(json!({"managementState": "Removed"}));
    let outcome = cluster.pass().await;
    assert!(!outcome.done && outcome.error.unwrap().message.contains("region"));
    assert_eq!(cluster.status()["s3"]["bucket"], "b");
    cluster.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(cluster.pass().await.done);
}

// storage-decisions 13, storage-core 43
#[tokio::test]
async fn what_the_status_names_goes_and_what_the_spec_names_stays() {
    let mut cluster = removed_own().await;
    cluster.add_claim("blue-claim", &["ReadWriteMany"], true);
    cluster.edit(json!({"storage": {"pvc": {"claim": "blue-claim"}, "emptyDir": {}}}));
    cluster.pass().await;
    assert_eq!(cluster.calls(), [format!("delete {OWN} made-by-operator 1")]);
    cluster.drop_claim(OWN);
    assert!(cluster.pass().await.done);
    assert_eq!(
        cluster.storage_spec(),
        &json!({"pvc": {"claim": "blue-claim"}, "emptyDir": {}})
    );
}

// storage-core 27
#[tokio::test]
async fn a_users_claim_does_not_inherit_managed_from_the_bucket_before_it() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}, "managementState": "Managed"}));
    cluster.config["status"] =
        json!({"storage": {"s3": {"bucket": "b"}, "managementState": "Managed"}, "storageManaged": true});
    cluster.add_claim("blue-claim", &["ReadWriteMany"], true);
    let outcome = cluster.pass().await;
    assert!(outcome.reconfigured);
    assert_eq!(cluster.state(), Some("Unmanaged"));
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.pass().await.done && cluster.calls().is_empty());
}

// storage-decisions T5: the registry never ran with the container for which the operator wrote Managed
#[tokio::test]
async fn a_users_claim_does_not_inherit_managed_from_a_container_that_was_not_used() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {"claim": "blue-claim"}, "managementState": "Managed"}));
    cluster.config["metadata"]["annotations"] = json!({names::STORAGE_CREATED_ANNOTATION: "openstack/-/-/x"});
    cluster.add_claim("blue-claim", &["ReadWriteMany"], true);
    cluster.settle().await;
    assert_eq!(cluster.state(), Some("Unmanaged"));
    assert_eq!(cluster.config["metadata"]["annotations"], json!({}));
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.pass().await.done && cluster.calls().is_empty());
}

// storage-decisions 11
#[tokio::test]
async fn a_config_that_is_not_removed_any_more_deletes_nothing() {
    let mut cluster = removed_own().await;
    cluster.edit(json!({"managementState": "Managed"}));
    let outcome = cluster.removal(false).await;
    assert!(!outcome.done && outcome.status_storage.is_none() && cluster.calls().is_empty());
}

// lifecycle 113, 114
#[tokio::test]
async fn deletion_of_the_config_deletes_managed_storage_only_if_the_registry_is_managed() {
    let mut cluster = Volumes::with_storage(json!({"pvc": {}}));
    cluster.settle().await;
    cluster.recorded_calls().clear();
    let outcome = cluster.removal(true).await;
    assert!(!outcome.done && cluster.calls().len() == 1);
    cluster.drop_claim(OWN);
    let outcome = cluster.removal(true).await;
    assert!(outcome.done && outcome.record.is_none());

    let mut left = Volumes::with_storage(json!({"pvc": {}}));
    left.settle().await;
    left.recorded_calls().clear();
    left.edit(json!({"managementState": "Unmanaged"}));
    assert!(left.removal(true).await.done && left.calls().is_empty());
}

#[tokio::test]
async fn a_claim_that_does_not_go_is_reported_after_five_minutes() {
    let mut cluster = removed_own().await;
    cluster.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T02:57:02Z"));
    assert!(cluster.pass().await.error.is_none());
    cluster.set_claim(OWN, "/metadata/deletionTimestamp", json!("2026-05-04T02:57:00Z"));
    let outcome = cluster.pass().await;
    assert!(outcome.error.unwrap().message.contains("still there") && !outcome.done);
    assert!(cluster.calls().is_empty());
}

// storage-decisions 4, for a mark that cannot be read
#[tokio::test]
async fn nothing_is_deleted_or_forgotten_while_claims_cannot_be_listed() {
    let mut cluster = removed_own().await;
    cluster.drop_claim(OWN);
    cluster.snapshot.objects.set_absent_kind(Kind::PersistentVolumeClaim);
    let outcome = cluster.pass().await;
    assert!(outcome.error.is_some() && !outcome.done && cluster.calls().is_empty());
    assert_eq!(cluster.status()["pvc"]["claim"], OWN);
}

// lifecycle 51
#[tokio::test]
async fn storage_whose_credentials_are_missing_is_said_to_be_left() {
    let secret = |name: &str, data: serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "Secret", "data": data,
               "metadata": {"namespace": names::NAMESPACE, "name": name}})
    };
    let user = |data| Some(secret(names::USER_SECRET, data));
    let minted = |data| Some(secret(names::MINTED_SECRET, data));
    let (id, key) = ("REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY");
    for (what, secret, cause) in [
        ("no Secret", None, "does not exist"),
        ("an empty Secret", user(json!({})), "no value"),
        ("an id without a key", user(json!({id: "QUtJQQ=="})), key),
        ("a key without an id", user(json!({key: "QUtJQQ=="})), id),
        ("empty keys", user(json!({id: "", key: ""})), "no value"),
        ("no text", user(json!({id: "/w==", key: "/w=="})), "not UTF-8"),
        (
            "an empty profile",
            user(json!({"credentials": "W2RlZmF1bHRdCg=="})),
            names::USER_SECRET,
        ),
        ("an empty minted Secret", minted(json!({})), names::MINTED_SECRET),
        (
            "half a minted key",
            minted(json!({"aws_access_key_id": "QUtJQQ=="})),
            names::MINTED_SECRET,
        ),
        (
            "a minted key that is no text",
            minted(json!({"credentials": "/w=="})),
            "not UTF-8",
        ),
    ] {
        let storage = json!({"s3": {"bucket": "blue", "region": "eu-south-9"}, "managementState": "Managed"});
        let mut cluster = Volumes::on("AWS", json!({"managementState": "Removed", "storage": storage}));
        cluster.config["status"] = json!({"storage": storage, "storageManaged": true});
        if let Some(secret) = secret {
            cluster.add(secret);
        }
        let outcome = cluster.pass().await;
        let error = outcome.error.unwrap();
        assert_eq!(error.class, ErrorClass::NoAccess, "{what}: {error}");
        assert!(!outcome.done && error.message.contains(cause), "{what}: {error}");
        let message = cluster.message();
        assert!(
            message.starts_with("S3 blue is left with its images: "),
            "{what}: {message}"
        );
        assert!(message.contains(cause), "{what}: {message}");
        assert_eq!(cluster.status()["s3"]["bucket"], "blue", "{what}");
    }
}
