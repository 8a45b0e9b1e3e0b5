//! Guards of data, each of which a broken line would open without any other test turning red.

use std::time::Duration;

use image_registry_operator::api::Storage;
use image_registry_operator::names;
use image_registry_operator::storage::engine::cache::ObservationCache;
use image_registry_operator::storage::model::backend::Backend;
use image_registry_operator::storage::model::error::StorageError;
use image_registry_operator::storage::preflight::record;
use serde_json::json;

use super::conformance::preflight::PROBE as KEY;
use super::conformance::{Death, dies};
use super::fake::{ACCOUNT, CHOSEN, CLUSTER, Refusal};
use super::site::Site;

async fn passes(site: &mut Site, count: usize) {
    for _ in 0..count {
        site.pass().await;
    }
}

// lifecycle 20, storage-decisions T8: leadership and the newest Config are confirmed just before each change
#[tokio::test]
async fn each_change_in_the_cloud_follows_a_confirmation() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().staged.set(true);
    site.settle().await;
    site.cloud().with_images(CHOSEN, 3);
    "new".clone_into(&mut site.cloud().credentials.borrow_mut());
    assert!(dies(&mut site, Death::AfterProbe).await);
    site.later(Duration::from_mins(6));
    site.clear_probes().await;
    site.settle().await;
    site.edit(json!({"managementState": "Removed"}));
    passes(&mut site, 20).await;
    let calls = site.calls();
    for call in [
        "create account",
        "create",
        "mark",
        "harden",
        "delete image",
        "delete bucket",
        "delete account",
    ] {
        assert!(calls.contains(&call.to_owned()), "{call}: {calls:?}");
    }
    assert_eq!(site.cloud().clearing_states.borrow().len(), 1);
    assert_eq!(*site.cloud().unconfirmed.borrow(), Vec::<String>::new());
}

// storage-decisions T6: the record of a creation says nothing about what a later create call finds
#[tokio::test]
async fn a_create_call_that_finds_a_full_container_with_a_creation_record_does_not_own_it() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().put("next", 5, Some(CLUSTER));
    site.cloud().with("next", |container| container.hidden_for = 1);
    site.annotate(names::STORAGE_CREATED_ANNOTATION, "/next");
    site.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    passes(&mut site, 12).await;
    assert_eq!(site.state(), Some("Unmanaged"));
    site.edit(json!({"managementState": "Removed"}));
    passes(&mut site, 6).await;
    assert_eq!(site.cloud().container("next").unwrap().images, 5);
}

// storage-decisions T2: without marks, the name must be the generated one, too
#[tokio::test]
async fn without_marks_a_container_of_another_name_is_kept() {
    let mut site = Site::new(json!({"s3": {"bucket": "named"}}));
    site.cloud().unmarkable.set(true);
    site.settle().await;
    assert_eq!((site.state(), site.created()), (Some("Managed"), Some("/named")));
    site.cloud().with_images("named", 4);
    site.edit(json!({"managementState": "Removed"}));
    passes(&mut site, 12).await;
    assert_eq!(site.cloud().container("named").unwrap().images, 4);
}

// storage-decisions T6: a creation is complete only with the mark
#[tokio::test]
async fn a_new_container_whose_mark_cannot_be_read_is_not_used() {
    let mut site = Site::new(json!({"s3": {"bucket": "named"}, "managementState": "Managed"}));
    site.cloud().marks_denied.set(true);
    let mut last = None;
    for _ in 0..8 {
        last = site.pass().await.error;
    }
    assert!(last.is_some() && site.running.is_none());
    assert_eq!(site.calls(), ["create"]);
    assert!(site.condition("StorageTagged").starts_with("False/"));
}

// storage-decisions T2: a 404 to the read of the mark is no proof that the container is gone
#[tokio::test]
async fn a_mark_that_is_not_found_does_not_end_a_removal() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().with_images(CHOSEN, 2);
    site.cloud().marks_missing.set(true);
    site.edit(json!({"managementState": "Removed"}));
    for _ in 0..4 {
        let outcome = site.pass().await;
        assert!(!outcome.done && outcome.error.is_some());
    }
    assert_eq!(site.status()["s3"]["bucket"], CHOSEN);
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 2);
}

// storage-core section 12: conditions tell what is so for the storage in use
#[tokio::test]
async fn settings_of_a_switch_that_is_aborted_do_not_count_for_the_storage_in_use() {
    let mut site = Site::new(json!({"s3": {"bucket": "first"}, "managementState": "Managed"}));
    site.cloud().put("first", 1, None);
    site.cloud().settings_down.set(true);
    passes(&mut site, 12).await;
    assert!(site.running.is_some() && site.condition("StorageTagged").starts_with("False/"));
    site.cloud().settings_down.set(false);
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("s3:PutObject", true));
    site.edit(json!({"storage": {"s3": {"bucket": "second"}}}));
    passes(&mut site, 8).await;
    assert!(
        site.condition("StorageTagged").starts_with("True/"),
        "of the second one"
    );
    assert_eq!(site.status()["s3"]["bucket"], "first");
    assert!(!site.cloud().container("first").unwrap().hardened);
    site.restart();
    site.edit(json!({"storage": {"s3": {"bucket": "first"}}}));
    site.settle().await;
    assert!(site.cloud().container("first").unwrap().hardened);
    assert!(site.condition("StorageTagged").starts_with("True/"));
    assert_eq!(site.annotation(names::STORAGE_SETTINGS_ANNOTATION), None);
}

// storage-core section 12: the record of whose settings the conditions report is stored before the status, and outlives them
#[tokio::test]
async fn settings_of_an_aborted_switch_do_not_count_though_the_process_dies_before_it_reports() {
    let mut site = Site::new(json!({"s3": {"bucket": "first"}, "managementState": "Managed"}));
    site.cloud().put("first", 1, None);
    site.cloud().settings_down.set(true);
    passes(&mut site, 12).await;
    site.cloud().settings_down.set(false);
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("s3:PutObject", true));
    site.edit(json!({"storage": {"s3": {"bucket": "second"}}}));
    passes(&mut site, 8).await;
    assert!(
        site.condition("StorageTagged").starts_with("True/"),
        "of the second one"
    );
    site.cloud().settings_down.set(true);
    site.edit(json!({"storage": {"s3": {"bucket": "first"}}}));
    for _ in 0..3 {
        let conditions = site.config["status"]["conditions"].clone();
        site.pass().await;
        site.config["status"]["conditions"] = conditions;
        site.restart();
    }
    site.cloud().settings_down.set(false);
    site.later(Duration::from_mins(11));
    site.settle().await;
    assert!(site.cloud().container("first").unwrap().hardened);
    assert!(site.condition("StorageTagged").starts_with("True/"));
    assert_eq!(site.annotation(names::STORAGE_SETTINGS_ANNOTATION), None);
}

// storage-core section 12: a completed switch leaves no record
#[tokio::test]
async fn the_record_of_settings_ends_with_the_switch() {
    let mut site = Site::applied(json!({"s3": {"bucket": "first"}})).await;
    site.edit(json!({"storage": {"s3": {"bucket": "second"}}}));
    let mut recorded = false;
    for _ in 0..12 {
        site.pass().await;
        recorded |= site.annotation(names::STORAGE_SETTINGS_ANNOTATION).is_some();
    }
    assert_eq!(site.status()["s3"]["bucket"], "second");
    assert!(recorded, "during the switch");
    assert_eq!(site.annotation(names::STORAGE_SETTINGS_ANNOTATION), None);
}

#[tokio::test]
async fn a_setting_that_is_final_at_one_location_is_tried_again_at_another() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().settings_unsupported.set(true);
    site.settle().await;
    assert!(site.annotation(names::STORAGE_SETTINGS_ANNOTATION).is_some());
    site.cloud().settings_unsupported.set(false);
    site.cloud().settings_down.set(true);
    site.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    passes(&mut site, 12).await;
    assert!(site.condition("StorageTagged").starts_with("False/"));
    site.cloud().settings_down.set(false);
    site.later(Duration::from_mins(11));
    passes(&mut site, 3).await;
    assert!(
        site.condition("StorageTagged").starts_with("True/"),
        "{}",
        site.condition("StorageTagged")
    );
}

// storage-decisions T2: the objects around one container say nothing about those around another
#[tokio::test]
async fn records_of_stages_of_another_container_delete_nothing() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().staged.set(true);
    site.settle().await;
    let records = site
        .annotation(names::STORAGE_STAGES_ANNOTATION)
        .unwrap()
        .replace(CHOSEN, "another");
    site.annotate(names::STORAGE_STAGES_ANNOTATION, &records);
    site.edit(json!({"managementState": "Removed"}));
    passes(&mut site, 12).await;
    assert!(site.cloud().stage_objects.borrow().contains_key(ACCOUNT.name));
}

// storage-decisions T7: the error of a Config that is not the newest says nothing about the newest
#[tokio::test]
async fn a_step_that_fails_for_a_stale_config_is_repeated_at_once() {
    let mut site = Site::new(json!({"s3": {}}));
    passes(&mut site, 1).await;
    site.tick = Duration::ZERO;
    site.cluster.stale.set(true);
    assert!(site.pass().await.error.is_some());
    site.cluster.stale.set(false);
    passes(&mut site, 1).await;
    assert_eq!(site.calls(), ["create"]);
}

// storage-decisions T15: what could not be deleted stays recorded
#[tokio::test]
async fn a_probe_that_is_not_deleted_stays_recorded() {
    for action in ["s3:AbortMultipartUpload", "s3:DeleteObject"] {
        let mut site = Site::new(json!({"s3": {}}));
        *site.cloud().denied.borrow_mut() = Some(Refusal::Denied(action, false));
        passes(&mut site, 12).await;
        assert!(site.running.is_none() && site.probe_record().is_some(), "{action}");
        *site.cloud().denied.borrow_mut() = None;
        site.settle().await;
        assert_eq!(site.probe_record(), None, "{action}");
    }
}

// storage-decisions T4: a status that names two backends names none
#[tokio::test]
async fn a_status_with_two_backends_makes_no_storage_the_operators() {
    let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
    site.cloud().put("users", 3, None);
    let both = json!({"s3": {"bucket": "users"}, "pvc": {"claim": "blue"}, "managementState": "Managed"});
    site.config["status"] = json!({"storage": both, "storageManaged": true});
    passes(&mut site, 8).await;
    assert_eq!(site.state(), Some("Unmanaged"));
    assert_eq!(site.calls(), Vec::<String>::new());
}

/// A Config with probe objects recorded at two locations.
fn two_records() -> Site {
    let mut site = Site::new(json!({"s3": {}}));
    for location in ["/one", "/two"] {
        let storage: Storage =
            serde_json::from_value(json!({"s3": {"bucket": location.trim_start_matches('/')}})).unwrap();
        let now = site.snapshot.now;
        let patch = record::with(&site.config(), location, &storage, Backend::S3, KEY, now).unwrap();
        site.store_record(&patch);
    }
    site
}

// storage-decisions T15: one location does not forget another's
#[tokio::test]
async fn records_of_two_locations_end_one_by_one() {
    let mut site = two_records();
    let locations = |site: &Site| -> Vec<String> {
        record::stored(&site.config())
            .into_iter()
            .map(|left| left.location)
            .collect()
    };
    assert_eq!(locations(&site), ["/one", "/two"]);
    let patch = record::without(&site.config(), "/one").unwrap();
    site.store_record(&patch);
    assert_eq!(locations(&site), ["/two"]);
    assert_eq!(record::without(&site.config(), "/one"), None);
}

// storage-decisions T15: an error that no time mends ends the attempts, an outage does not
#[tokio::test]
async fn a_location_that_rejects_the_deletion_is_given_up_and_one_that_does_not_answer_is_not() {
    let site = two_records();
    let clearing = record::clear(
        &site.config(),
        &site.snapshot,
        &ObservationCache::default(),
        async |left| {
            Err(if left.location == "/one" {
                StorageError::action_required("rejected")
            } else {
                StorageError::transient("503")
            })
        },
    )
    .await;
    assert_eq!(clearing.events.len(), 1);
    assert!(clearing.events[0].message.contains("/one") && clearing.again.is_some());
    let mut stored = two_records();
    stored.store_record(&clearing.record.unwrap());
    let left = record::stored(&stored.config());
    assert_eq!((left.len(), left[0].location.as_str()), (1, "/two"));
}
