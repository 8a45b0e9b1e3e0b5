//! Storage in use that vanishes, and what exists under its name afterwards.

use std::time::Duration;

use image_registry_operator::names;
use image_registry_operator::storage::engine::cache::{Circumstances, Observation, ObservationCache, Subject};
use image_registry_operator::storage::model::error::{StepError, StorageError};
use image_registry_operator::storage::model::fingerprint::Fingerprint;
use image_registry_operator::storage::model::preflight::Preflighted;
use image_registry_operator::storage::model::progress::Wait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::fake::{CHOSEN, CLUSTER};
use super::site::Site;

/// Storage in use of a service that stores no marks.
async fn unmarkable() -> Site {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().unmarkable.set(true);
    site.settle().await;
    assert_eq!(
        (site.state(), site.created()),
        (Some("Managed"), Some("/chosen-by-driver"))
    );
    assert_eq!(site.intent(), None, "the intent became the creation record");
    site.cloud().with_images(CHOSEN, 3);
    site
}

/// The container is gone, and a HEAD is due.
fn vanish(site: &Site) {
    site.cloud().containers.borrow_mut().clear();
    site.cloud().cache.take();
}

// storage-decisions T2: where the service stores no mark, the creation record is the proof
#[tokio::test]
async fn without_marks_a_removal_deletes_only_what_the_creation_record_names() {
    let mut site = unmarkable().await;
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN), None);
    let mut other = unmarkable().await;
    other.annotate(names::STORAGE_CREATED_UNMARKED_ANNOTATION, "/another");
    other.remove().await;
    assert_eq!(other.cloud().container(CHOSEN).unwrap().images, 3);
}

// storage-decisions T2: the service answers that it stores no marks, for a container that the operator marked
#[tokio::test]
async fn a_marked_container_whose_mark_is_hidden_is_kept() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().put(CHOSEN, 3, Some("green-1"));
    site.cloud().unmarkable.set(true);
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 3);
    assert_eq!(
        site.status()["s3"]["bucket"],
        CHOSEN,
        "the removal goes on when the mark is back"
    );
}

// storage-decisions T2: a service that reads marks, and writes none
#[tokio::test]
async fn a_container_that_could_not_be_marked_is_removed_by_its_creation_record() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().marks_read_only.set(true);
    site.settle().await;
    assert_eq!(
        site.annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION),
        Some("/chosen-by-driver")
    );
    site.cloud().with_images(CHOSEN, 2);
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN), None);
}

// storage-decisions T1: consent where no mark can be written
#[tokio::test]
async fn consent_to_a_container_that_cannot_be_marked_is_refused_and_the_data_stays() {
    let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
    site.cloud().put("users", 3, None);
    site.cloud().marks_read_only.set(true);
    site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
    let mut last = None;
    for _ in 0..4 {
        last = site.pass().await.error;
    }
    assert!(last.unwrap().message.contains("stores no ownership mark"));
    assert!(!site.events.iter().any(|event| event.reason == "StorageAdopted"));
    site.remove().await;
    assert_eq!(site.cloud().container("users").unwrap().images, 3);
}

// storage-decisions T18: one 404 to HEAD, as a proxy may answer, is no loss
#[tokio::test]
async fn a_false_404_of_storage_in_use_is_no_loss() {
    for marks in [true, false] {
        let mut site = unmarkable().await;
        site.cloud().unmarkable.set(!marks);
        if marks {
            site.cloud()
                .with(CHOSEN, |container| container.mark = Some(CLUSTER.to_owned()));
        }
        site.cloud().with(CHOSEN, |container| container.hidden_for = 1);
        site.restart();
        site.pass().await;
        site.pass().await;
        assert!(site.exists().starts_with("Unknown/"), "{}", site.exists());
        for _ in 0..4 {
            site.pass().await;
        }
        assert_eq!(site.exists(), "True/Bucket Exists");
        assert!(!site.events.iter().any(|event| event.reason == "StorageLost"));
        assert!(site.created().is_some());
    }
}

// storage-decisions T4: other credentials may show a container of the same name without the operator's mark
#[tokio::test]
async fn nothing_is_written_to_a_container_that_lost_the_operators_mark() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let running = site.running.clone();
    site.cloud().put(CHOSEN, 4, None);
    "of-another-tenant".clone_into(&mut site.cloud().credentials.borrow_mut());
    for _ in 0..4 {
        site.pass().await;
    }
    assert_eq!((site.running.clone(), site.preflights().len()), (running, 0));
    assert!(site.calls().is_empty());
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 4);
}

// storage-decisions T2, T6: an intent is no proof
#[tokio::test]
async fn without_marks_an_intent_alone_proves_nothing() {
    let mut site = unmarkable().await;
    site.annotate(names::STORAGE_CREATED_UNMARKED_ANNOTATION, "");
    site.annotate(names::STORAGE_INTENT_ANNOTATION, "/chosen-by-driver");
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 3);
}

// storage-decisions T6: whatever exists under the name of storage that vanished is not what the operator created
#[tokio::test]
async fn a_container_that_an_administrator_restores_is_never_deleted() {
    for after_report in [false, true] {
        let mut site = unmarkable().await;
        vanish(&site);
        if after_report {
            for _ in 0..2 {
                site.pass().await;
            }
            assert_eq!(site.created(), None);
        } else {
            // The operator restarts, and the loss is reported in the pass after the first.
            while site.created().is_some() {
                site.pass().await;
            }
        }
        site.cloud().put(CHOSEN, 7, None);
        for _ in 0..12 {
            site.pass().await;
        }
        let lost = site.events.iter().filter(|event| event.reason == "StorageLost");
        assert_eq!(lost.count(), 1);
        site.remove().await;
        assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 7, "{after_report}");
    }
}

// storage-decisions T18: a create call proves nothing about what it finds
#[tokio::test]
async fn a_container_that_is_restored_just_before_the_create_call_is_not_the_operators() {
    let mut site = unmarkable().await;
    vanish(&site);
    while site.intent().is_none() {
        site.pass().await;
    }
    site.cloud().put(CHOSEN, 7, None);
    site.cloud().with(CHOSEN, |container| container.hidden_for = 1);
    for _ in 0..12 {
        site.pass().await;
    }
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 7);
}

// storage-decisions T18: created again, and owned again
#[tokio::test]
async fn a_container_that_is_created_again_is_owned_and_removed() {
    for marks in [true, false] {
        let mut site = unmarkable().await;
        site.cloud().unmarkable.set(!marks);
        vanish(&site);
        site.settle().await;
        site.settle().await;
        assert_eq!(site.created(), Some("/chosen-by-driver"), "{marks}");
        assert_eq!(site.cloud().container(CHOSEN).unwrap().mark.is_some(), marks);
        site.remove().await;
        assert_eq!(site.cloud().container(CHOSEN), None, "{marks}");
    }
}

#[tokio::test]
async fn a_loss_is_reported_once_although_the_name_is_taken_meanwhile() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    vanish(&site);
    site.cloud().name_taken.set(true);
    let mut writes = 0;
    for pass in 0..12 {
        let before = site.config.clone();
        site.whole().await;
        let annotations = |config: &serde_json::Value| config["metadata"]["annotations"].clone();
        writes += u32::from(pass > 3 && annotations(&before) != annotations(&site.config));
    }
    let lost = site.events.iter().filter(|event| event.reason == "StorageLost");
    assert_eq!((lost.count(), writes), (1, 0));
    assert_eq!(site.exists(), "False/NoSuchBucket");
    assert!(
        site.message().contains("is taken by another account"),
        "{}",
        site.message()
    );
}

// storage-decisions T4: with credentials of another tenant, the service does not know the name
#[tokio::test]
async fn a_removal_says_that_it_deleted_only_what_it_deleted() {
    for deleted in [true, false] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().with_images(CHOSEN, 1);
        if !deleted {
            vanish(&site);
        }
        site.remove().await;
        assert_eq!(site.exists(), "False/Bucket Deleted");
        assert_eq!(
            site.message().contains("was deleted with its images"),
            deleted,
            "{}",
            site.message()
        );
    }
}

#[tokio::test]
async fn a_service_that_deletes_nothing_and_refuses_nothing_is_not_asked_without_a_pause() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().with_images(CHOSEN, 2);
    site.cloud().ignores_deletions.set(true);
    site.edit(json!({"managementState": "Removed"}));
    let outcome = site.pass().await;
    assert!(outcome.error.unwrap().message.contains("neither deleted nor refused"));
}

// storage-decisions T6: records of objects around the container are never forgotten in silence
#[tokio::test]
async fn records_of_stages_that_cannot_be_read_stop_creation_and_removal() {
    for removal in [false, true] {
        let mut site = Site::new(json!({"s3": {}}));
        site.cloud().staged.set(true);
        if removal {
            site.settle().await;
            site.edit(json!({"managementState": "Removed"}));
        }
        site.annotate(names::STORAGE_STAGES_ANNOTATION, "{");
        site.cloud().calls.borrow_mut().clear();
        for _ in 0..4 {
            let error = site.pass().await.error.unwrap();
            assert!(error.message.contains(names::STORAGE_STAGES_ANNOTATION), "{error:?}");
        }
        assert_eq!(site.calls(), Vec::<String>::new());
        assert_eq!(site.annotation(names::STORAGE_STAGES_ANNOTATION), Some("{"));
    }
}

// storage-decisions 30, T18a
#[tokio::test]
async fn the_status_says_created_for_one_pass_and_then_exists_without_a_call() {
    let mut site = Site::new(json!({"s3": {}}));
    let mut reasons = Vec::new();
    for _ in 0..20 {
        site.pass().await;
        let exists = site.exists();
        if exists.starts_with("True/") && reasons.last() != Some(&exists) {
            reasons.push(exists);
            site.looks();
        }
    }
    assert_eq!(reasons, ["True/Bucket Created", "True/Bucket Exists"]);
    assert_eq!(site.looks(), 0);
    site.restart();
    site.settle().await;
    assert_eq!(site.exists(), "True/Bucket Exists");
}

/// A cache whose values are from this time.
fn cached(at: Timestamp) -> (ObservationCache, Subject) {
    let cache = ObservationCache::default();
    let fingerprint = Fingerprint::of(["a"]);
    let subject = Subject {
        fingerprint: fingerprint.clone(),
        generation: 1,
        consent: false,
    };
    let error = StepError::from(StorageError::transient("503"));
    cache.store(subject.clone(), Observation::Failed(error), circumstances(at));
    let probed = Preflighted::Undecided("503".to_owned()).into();
    cache.store_preflight(fingerprint, &probed, at, None);
    cache.store_leftovers(false, at);
    (cache, subject)
}

fn circumstances(now: Timestamp) -> Circumstances {
    Circumstances {
        now,
        available: false,
        unfinished: false,
    }
}

// A clock that was set back must not stop the attempts until the old time comes again.
#[test]
fn a_cached_value_from_the_future_does_not_count() {
    let then: Timestamp = "2026-05-04T03:02:01Z".parse().unwrap();
    let fingerprint = Fingerprint::of(["a"]);
    for (now, counts) in [
        (then, true),
        (then + SignedDuration::from_millis(1), true),
        (then - SignedDuration::from_millis(1), false),
        (then - SignedDuration::from_hours(9), false),
        (then + SignedDuration::from_hours(9), false),
    ] {
        let (cache, subject) = cached(then);
        assert_eq!(cache.recall(&subject, circumstances(now)).is_some(), counts, "{now}");
        assert_eq!(
            cache.preflight(&fingerprint).unwrap().wait(now).is_some(),
            counts,
            "{now}"
        );
        assert_eq!(cache.leftovers_wait(now).is_some(), counts, "{now}");
        let wait = Observation::Wait(Wait::new(Duration::from_secs(30), "creation"));
        cache.store(subject.clone(), wait, circumstances(then));
        assert_eq!(cache.recall(&subject, circumstances(now)).is_some(), counts, "{now}");
    }
}

// storage-decisions T1, T2: the mark of another process, or of a person, on what the create call finds
#[tokio::test]
async fn a_create_call_that_finds_a_marked_and_full_container_does_not_own_it_under_a_blank_state() {
    let mut site = Site::new(json!({"s3": {}}));
    site.pass().await;
    site.cloud().put(CHOSEN, 5, Some(CLUSTER));
    site.cloud().with(CHOSEN, |container| container.hidden_for = 1);
    for _ in 0..12 {
        site.pass().await;
    }
    assert_eq!(site.state(), Some("Unmanaged"));
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 5);
}

// storage-decisions T18: a proxy answers each call with its own 404
#[tokio::test]
async fn a_404_that_is_not_the_services_own_is_no_loss() {
    for marks in [true, false] {
        let mut site = unmarkable().await;
        site.cloud().unmarkable.set(!marks);
        let created = site.created().map(str::to_owned);
        site.cloud().proxied.set(true);
        site.restart();
        for _ in 0..6 {
            site.pass().await;
        }
        assert!(site.exists().starts_with("Unknown/"), "{}", site.exists());
        assert_eq!(site.created().map(str::to_owned), created);
        assert!(!site.events.iter().any(|event| event.reason == "StorageLost"));
    }
}

// storage-decisions T18: the loss of a container has nothing to do with what else changes, or with a registry that does not run
#[tokio::test]
async fn a_container_that_is_lost_is_created_again_where_the_credentials_are_the_same() {
    let no_registry = |site: &mut Site| site.running = None;
    let other_ca = |site: &mut Site| site.running.as_mut().unwrap().ca_bundle = Some("PREVIOUS CA".to_owned());
    let cases: [fn(&mut Site); 2] = [no_registry, other_ca];
    for change in cases {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().has_tenants.set(true);
        change(&mut site);
        vanish(&site);
        site.settle().await;
        let lost = site.events.iter().filter(|event| event.reason == "StorageLost").count();
        assert_eq!((site.exists().as_str(), lost), ("True/Bucket Exists", 1));
        assert!(site.cloud().container(CHOSEN).is_some());
    }
}

// storage-decisions T18: the bucket is deleted, and the user turns back before the operator has seen that
#[tokio::test]
async fn a_removal_that_is_cancelled_at_its_end_creates_the_container_again() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().has_tenants.set(true);
    site.edit(json!({"managementState": "Removed"}));
    while site.cloud().container(CHOSEN).is_some() {
        site.pass().await;
    }
    site.running = None;
    site.edit(json!({"managementState": "Managed"}));
    site.settle().await;
    assert_eq!(site.exists(), "True/Bucket Exists");
    assert!(site.cloud().container(CHOSEN).is_some());
}

// storage-decisions T1: the consent was for the storage that is lost, and the annotation stays
#[tokio::test]
async fn consent_does_not_count_for_what_an_administrator_restores_after_a_loss() {
    let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
    site.cloud().put("users", 2, None);
    site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
    site.settle().await;
    assert_eq!(site.created(), Some("/users"));
    site.cloud().creation_denied.set(true);
    vanish(&site);
    for _ in 0..8 {
        site.pass().await;
    }
    assert_eq!(site.annotation(names::ADOPT_STORAGE_ANNOTATION), Some("/users"));
    site.cloud().put("users", 5, None);
    site.settle().await;
    site.remove().await;
    assert_eq!(site.cloud().container("users").unwrap().images, 5);
}

// storage-decisions T6: the administrator restores the container while the operator tries to create it again
#[tokio::test]
async fn the_intent_ends_with_a_container_that_is_not_the_operators() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().creation_denied.set(true);
    vanish(&site);
    for _ in 0..8 {
        site.pass().await;
    }
    assert_eq!(site.intent(), Some("/chosen-by-driver"));
    site.cloud().put(CHOSEN, 5, None);
    site.settle().await;
    assert_eq!((site.intent(), site.created()), (None, None));
    site.remove().await;
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 5);
    assert_eq!(site.status(), &json!({}), "the removal ends");
}

// storage-decisions T4: credentials of a project that has no such container
#[tokio::test]
async fn a_tenant_without_the_container_gets_none() {
    for has_tenants in [true, false] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().has_tenants.set(has_tenants);
        let (running, before) = (site.running.clone(), site.cloud().containers.take());
        "of-another-tenant".clone_into(&mut site.cloud().credentials.borrow_mut());
        site.restart();
        for _ in 0..12 {
            site.pass().await;
        }
        let lost = site.events.iter().any(|event| event.reason == "StorageLost");
        assert_eq!((site.calls().is_empty(), lost), (has_tenants, !has_tenants));
        if !has_tenants {
            continue;
        }
        assert!(site.exists().starts_with("Unknown/"), "{}", site.exists());
        assert!(site.message().contains("restore credentials"), "{}", site.message());
        assert_eq!(site.running, running);
        // The credentials before, and the container is as it was.
        "".clone_into(&mut site.cloud().credentials.borrow_mut());
        site.cloud().containers.replace(before);
        site.settle().await;
        assert_eq!((site.exists().as_str(), site.calls().len()), ("True/Bucket Exists", 0));
        // It is really gone: with the credentials that the registry has, that is a loss.
        vanish(&site);
        for _ in 0..6 {
            site.pass().await;
        }
        assert!(site.events.iter().any(|event| event.reason == "StorageLost"));
    }
}
