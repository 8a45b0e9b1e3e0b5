//! Acceptance of the core with a backend that creates in several steps (storage-decisions 23).

use serde_json::json;

use super::fake::{CHOSEN, CLUSTER, Refusal};
use super::site::Site;
use image_registry_operator::names;
use image_registry_operator::storage::engine::removal;

// storage-core 12, 16, 21
#[tokio::test]
async fn the_name_is_recorded_before_anything_is_created() {
    let mut site = Site::new(json!({"s3": {}}));
    let first = site.pass().await;
    assert_eq!((site.calls(), site.intent()), (vec![], Some("/chosen-by-driver")));
    assert_eq!(
        site.storage_spec(),
        &json!({"s3": {}}),
        "a name in the spec reads as the user's"
    );
    assert!(first.wait.unwrap().after.is_zero() && first.facts.is_none() && first.status_storage.is_none());
    let second = site.pass().await;
    assert!(second.facts.is_none() && !second.wait.unwrap().after.is_zero());
    let last = site.settle().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
    assert_eq!(site.state(), Some("Managed"));
    assert_eq!(
        site.status(),
        &json!({"s3": {"bucket": CHOSEN}, "managementState": "Managed"})
    );
    assert_eq!(last.facts.unwrap().env[0].name, "REGISTRY_STORAGE_S3_KEYID");
}

// storage-core 21: what was done is recorded, also where the pass fails after it
#[tokio::test]
async fn a_failure_after_the_creation_keeps_name_and_state() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().keys_down.set(true);
    for _ in 0..6 {
        site.pass().await;
    }
    assert_eq!(
        site.storage_spec(),
        &json!({"s3": {"bucket": CHOSEN}, "managementState": "Managed"})
    );
    assert!(site.config["status"]["storage"].get("s3").is_none());
    site.cloud().keys_down.set(false);
    site.settle().await;
    assert_eq!(site.state(), Some("Managed"));
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
}

// storage-core, section 6: the mirror of storage that was let go says nothing about what is asked for later
#[tokio::test]
async fn managed_asked_for_after_a_removal_that_let_go_is_the_users_word() {
    for lets_go in [true, false] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        if lets_go {
            site.edit(json!({"managementState": "Removed", "storage": {"managementState": "Unmanaged"}}));
        } else {
            // It dies between the record and the status of a removal.
            site.edit(json!({"managementState": "Removed"}));
            removed_without_status(&mut site).await;
        }
        assert!(site.pass().await.done);
        assert_eq!(site.config["status"]["storageManaged"], false, "{lets_go}");
        site.cloud().put("of-a-user", 1, None);
        let storage = json!({"s3": {"bucket": "of-a-user"}, "managementState": "Managed"});
        site.edit(json!({"managementState": "Managed", "storage": storage}));
        site.settle().await;
        assert_eq!(site.state(), Some("Managed"), "{lets_go}");
    }
}

/// Passes of a removal; of the last one only the record is stored, then the process ends.
async fn removed_without_status(site: &mut Site) {
    for _ in 0..9 {
        let outcome = site.step().await;
        if let Some(record) = &outcome.record {
            site.store_record(record);
        }
        if outcome.done {
            break;
        }
        site.store_status(&outcome);
    }
    site.restart();
    assert!(site.cloud().containers.borrow().is_empty());
}

// storage-decisions T3: a removal whose end was recorded and not told
#[tokio::test]
async fn a_death_between_record_and_status_of_a_removal_leaves_its_end_told_and_deletes_nothing_more() {
    for back in [false, true] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().with_images(CHOSEN, 1);
        site.edit(json!({"managementState": "Removed"}));
        removed_without_status(&mut site).await;
        assert!(site.exists().starts_with("True/"));
        if back {
            // Somebody has made one of that name since, even with the mark.
            site.cloud().put(CHOSEN, 3, Some("blue-x7k2p"));
        }
        let calls = site.calls();
        let outcome = site.pass().await;
        assert!(outcome.done && outcome.record.is_none());
        assert_eq!((site.calls(), site.status()), (calls, &json!({})), "{back}");
        let told = if back {
            "True/Bucket Exists"
        } else {
            "False/Bucket Deleted"
        };
        assert_eq!(site.exists(), told);
        assert!(!site.message().contains("deleted so far"), "{}", site.message());
    }
}

// storage-decisions T8: taken back by an edit that names other storage
#[tokio::test]
async fn a_removal_that_is_taken_back_for_other_storage_is_told_of_too() {
    for next in [json!({"s3": {"bucket": "next"}}), json!({"s3": {"bucket": "missing"}})] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().with_images(CHOSEN, 5);
        site.cloud().put("next", 1, None);
        site.edit(json!({"managementState": "Removed"}));
        site.pass().await;
        site.pass().await;
        site.edit(json!({"managementState": "Managed", "storage": next}));
        let mut told = Vec::new();
        for _ in 0..9 {
            told.extend(site.pass().await.events);
        }
        let stopped: Vec<_> = told.iter().filter(|n| n.reason == "RemovalStopped").collect();
        assert_eq!(stopped.len(), 1, "{told:?}");
        assert!(
            stopped[0].warning && stopped[0].message.contains("/chosen-by-driver"),
            "{stopped:?}"
        );
        assert!(stopped[0].message.contains("2 objects were deleted"), "{stopped:?}");
        let switched = told.iter().find(|n| n.reason == "StorageReconfigured").unwrap();
        assert!(!switched.message.contains("with its images"), "{}", switched.message);
    }
}

// storage-decisions T8: taken back by Unmanaged, under which nothing is looked at
#[tokio::test]
async fn a_removal_that_is_taken_back_by_unmanaged_is_told_of_too() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().with_images(CHOSEN, 5);
    site.edit(json!({"managementState": "Removed"}));
    site.pass().await;
    site.pass().await;
    site.edit(json!({"managementState": "Unmanaged"}));
    let (conditions, events) = removal::left_alone(&site.config(), &site.cloud().cache.borrow());
    assert!(events[0].warning && events[0].message.contains("2 objects were deleted"));
    assert_eq!(
        (conditions[0].type_, conditions[0].reason.as_str()),
        ("StorageExists", "Bucket Exists")
    );
    assert!(conditions[0].message.contains("2 objects were deleted"));
    let again = removal::left_alone(&site.config(), &site.cloud().cache.borrow());
    assert_eq!((again.0.len(), again.1.len()), (0, 0), "told once");
}

// storage-decisions T5: a blank managementState of storage in use is the stored one, whatever else is edited
#[tokio::test]
async fn a_blank_state_with_another_edit_leaves_owned_storage_owned() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().with_images(CHOSEN, 5);
    site.edit(json!({"storage": {"managementState": null, "s3": {"encrypt": true}}}));
    let mut events = Vec::new();
    for _ in 0..12 {
        events.extend(site.pass().await.events);
    }
    assert!(
        !events
            .iter()
            .any(|event| event.reason == "StorageNotOwned" || event.reason == "StorageLost"),
        "{events:?}"
    );
    assert_eq!(site.state(), Some("Managed"));
    assert!(!site.message().contains("not be deleted"), "{}", site.message());
    assert_eq!(site.storage_spec()["s3"]["encrypt"], true);
}

// storage-decisions T1, T6: a 404 to HEAD may come from a proxy
#[tokio::test]
async fn one_false_404_does_not_make_an_existing_container_the_operators() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().put("let-go", 5, Some(CLUSTER));
    site.cloud()
        .containers
        .borrow_mut()
        .get_mut("let-go")
        .unwrap()
        .hidden_for = 1;
    site.edit(json!({"storage": {"s3": {"bucket": "let-go"}}}));
    for _ in 0..12 {
        site.pass().await;
    }
    assert_eq!(site.state(), Some("Unmanaged"));
    site.remove().await;
    assert_eq!(site.cloud().container("let-go").unwrap().images, 5);
}

// storage-decisions T1, T6: a proxy may answer each call with its own 404 while the storage is being set up
#[tokio::test]
async fn a_container_that_a_proxy_hides_does_not_become_the_operators() {
    for state in [None, Some("Managed")] {
        let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": state}));
        site.cloud().put("users", 0, None);
        site.cloud().proxied.set(true);
        for _ in 0..6 {
            site.pass().await;
        }
        assert!(site.exists().starts_with("Unknown/"), "{}", site.exists());
        assert_eq!(site.intent(), None);
        site.cloud().proxied.set(false);
        site.settle().await;
        assert_eq!(site.cloud().container("users").unwrap().mark, None);
        site.cloud().with_images("users", 5);
        site.remove().await;
        assert_eq!(site.cloud().container("users").unwrap().images, 5, "{state:?}");
    }
}

// storage-decisions T1, T6: the service refuses the create call, and the administrator creates the container
#[tokio::test]
async fn a_container_that_somebody_creates_after_a_refusal_does_not_become_the_operators() {
    for (state, stored) in [(None, "Unmanaged"), (Some("Managed"), "Managed")] {
        let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": state}));
        site.cloud().creation_denied.set(true);
        for _ in 0..6 {
            site.pass().await;
        }
        assert_eq!(site.intent(), Some("/users"));
        site.cloud().put("users", 0, None);
        site.settle().await;
        assert_eq!((site.state(), site.intent()), (Some(stored), None));
        assert_eq!(site.cloud().container("users").unwrap().mark, None);
        site.cloud().with_images("users", 5);
        site.remove().await;
        assert_eq!(site.cloud().container("users").unwrap().images, 5, "{state:?}");
    }
}

// storage-decisions T1, T4: consent is for the storage that the administrator saw
#[tokio::test]
async fn consent_is_used_once() {
    let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
    site.cloud().put("users", 2, None);
    site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
    site.settle().await;
    assert_eq!(site.cloud().container("users").unwrap().mark.as_deref(), Some(CLUSTER));
    assert_eq!(site.created(), Some("/users"));
    // Another tenant's container of the same name, or a mark that an administrator removed.
    site.cloud().put("users", 7, None);
    "of-another-tenant".clone_into(&mut site.cloud().credentials.borrow_mut());
    let running = site.running.clone();
    site.restart();
    for _ in 0..8 {
        site.pass().await;
    }
    assert_eq!(
        (site.cloud().container("users").unwrap().mark, &site.running),
        (None, &running)
    );
    site.remove().await;
    assert_eq!(site.cloud().container("users").unwrap().images, 7);
}

// storage-decisions T1, T4: an administrator protects the images, and the annotation stays
#[tokio::test]
async fn consent_does_not_count_again_after_unmanaged_or_a_removal_that_keeps_the_images() {
    for is_removed in [false, true] {
        let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
        site.cloud().put("users", 2, None);
        site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
        site.settle().await;
        assert_eq!(site.created(), Some("/users"));
        site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        if is_removed {
            site.remove().await;
            site.edit(json!({"managementState": "Managed"}));
        }
        site.settle().await;
        assert_eq!(site.created(), None);
        site.cloud().with("users", |container| container.mark = None);
        site.edit(json!({"storage": {"managementState": "Managed"}}));
        site.settle().await;
        assert_eq!(site.cloud().container("users").unwrap().mark, None, "{is_removed}");
        // An administrator who consents again annotates again.
        site.annotate(names::ADOPT_STORAGE_ANNOTATION, "");
        site.settle().await;
        assert_eq!(site.annotation(names::STORAGE_ADOPTED_ANNOTATION), None);
        site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
        site.settle().await;
        assert_eq!(site.cloud().container("users").unwrap().mark.as_deref(), Some(CLUSTER));
        site.remove().await;
        assert_eq!(site.cloud().container("users"), None);
    }
}

// storage-decisions T5, T6: the operator wrote Managed for storage to which the registry did not switch
#[tokio::test]
async fn a_switch_that_is_aborted_manages_nothing_that_is_unmanaged() {
    for is_users in [false, true] {
        let mut site = if is_users {
            let mut site = Site::new(json!({"s3": {"bucket": "first"}}));
            site.cloud().put("first", 4, None);
            site.settle().await;
            site
        } else {
            let mut site = Site::new(json!({"s3": {"bucket": "first"}}));
            site.settle().await;
            site.cloud().with_images("first", 4);
            site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
            site.settle().await;
            site
        };
        assert_eq!(site.state(), Some("Unmanaged"));
        *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("s3:PutObject", true));
        site.edit(json!({"storage": {"s3": {"bucket": "second"}, "managementState": null}}));
        for _ in 0..8 {
            site.pass().await;
        }
        assert_eq!((site.state(), site.created()), (Some("Managed"), Some("/second")));
        assert_eq!(site.status()["s3"]["bucket"], "first");
        let switched = site.calls().len();
        site.edit(json!({"storage": {"s3": {"bucket": "first"}}}));
        site.settle().await;
        assert_eq!((site.state(), site.created()), (Some("Unmanaged"), None), "{is_users}");
        assert_eq!(site.status()["managementState"], "Unmanaged");
        assert_eq!(site.calls().len(), switched, "{:?}", site.calls());
        site.remove().await;
        assert_eq!(site.cloud().container("first").unwrap().images, 4);
    }
}

/// The operator's own storage `first`, which an administrator protects, and a switch to `second` whose preflight fails. The `Managed`
/// of the spec is the operator's, for `second`.
async fn protected_before_a_failed_switch() -> Site {
    let mut site = Site::new(json!({"s3": {"bucket": "first"}}));
    site.settle().await;
    site.cloud().with_images("first", 4);
    site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    site.settle().await;
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("s3:PutObject", true));
    site.edit(json!({"storage": {"s3": {"bucket": "second"}, "managementState": null}}));
    for _ in 0..8 {
        site.pass().await;
    }
    assert_eq!((site.state(), site.created()), (Some("Managed"), Some("/second")));
    site
}

// storage-decisions T5: not for a third storage either, though an earlier switch left the operator's mark on it
#[tokio::test]
async fn a_managed_of_the_operator_does_not_count_for_a_third_storage() {
    for consents in [false, true] {
        let mut site = protected_before_a_failed_switch().await;
        site.cloud().put("third", 3, Some(CLUSTER));
        *site.cloud().denied.borrow_mut() = None;
        site.edit(json!({"storage": {"s3": {"bucket": "third"}}}));
        site.settle().await;
        assert_eq!((site.state(), site.created()), (Some("Unmanaged"), None));
        assert_eq!(site.status()["s3"]["bucket"], "third");
        let ignored = site.events.iter().filter(|event| event.reason == "StorageNotOwned");
        assert_eq!(ignored.count(), 1);
        if consents {
            // As the event says: a Managed of the administrator counts.
            site.edit(json!({"storage": {"managementState": "Managed"}}));
            site.settle().await;
            assert_eq!(site.state(), Some("Managed"));
        }
        site.remove().await;
        assert_eq!(site.cloud().container("third").is_some(), !consents);
        assert_eq!(site.cloud().container("first").unwrap().images, 4);
    }
}

// storage-decisions T5: for storage that does not exist the field is blank, so that the operator creates the storage
#[tokio::test]
async fn a_third_storage_that_does_not_exist_is_created() {
    let mut site = protected_before_a_failed_switch().await;
    *site.cloud().denied.borrow_mut() = None;
    site.edit(json!({"storage": {"s3": {"bucket": "third"}}}));
    site.settle().await;
    assert_eq!((site.state(), site.created()), (Some("Managed"), Some("/third")));
    assert!(!site.events.iter().any(|event| event.reason == "StorageNotOwned"));
}

// storage-decisions T3, T5: a removal between the switch and the way back makes no difference
#[tokio::test]
async fn a_managed_of_the_operator_does_not_count_after_a_removal_that_kept_the_storage() {
    let mut site = protected_before_a_failed_switch().await;
    site.remove().await;
    assert_eq!(site.status(), &json!({}));
    assert_eq!(site.cloud().container("first").unwrap().images, 4);
    *site.cloud().denied.borrow_mut() = None;
    site.edit(json!({"managementState": "Managed", "storage": {"s3": {"bucket": "first"}}}));
    site.settle().await;
    assert_eq!((site.state(), site.created()), (Some("Unmanaged"), None));
    site.remove().await;
    assert_eq!(site.cloud().container("first").unwrap().images, 4);
}

// storage-decisions T6: the location of a container of OpenStack reads otherwise with the Secret of an administrator
#[tokio::test]
async fn a_record_under_another_location_does_not_outlive_unmanaged() {
    const ELSEWHERE: &str = "elsewhere/chosen-by-driver";
    for is_removed in [false, true] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.annotate(names::STORAGE_CREATED_ANNOTATION, ELSEWHERE);
        site.settle().await;
        assert_eq!(
            site.created(),
            Some(ELSEWHERE),
            "a record may be of use while the storage is Managed"
        );
        site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        if is_removed {
            site.remove().await;
        } else {
            site.settle().await;
        }
        assert_eq!(site.created(), None, "{is_removed}");
    }
}

// storage-core 15, storage-decisions T6: an intent ends when the administrator names other storage that the registry can use
#[tokio::test]
async fn an_intent_does_not_adopt_what_an_administrator_creates_later() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().creation_denied.set(true);
    site.edit(json!({"storage": {"s3": {"bucket": "users"}}}));
    for _ in 0..6 {
        site.pass().await;
    }
    assert_eq!(site.annotation(names::STORAGE_INTENT_ANNOTATION), Some("/users"));
    site.edit(json!({"storage": {"s3": {"bucket": CHOSEN}}}));
    site.settle().await;
    assert_eq!(site.annotation(names::STORAGE_INTENT_ANNOTATION), None);
    site.restart();
    site.cloud().put("users", 0, None);
    site.edit(json!({"storage": {"s3": {"bucket": "users"}}}));
    site.settle().await;
    assert_eq!(site.state(), Some("Unmanaged"));
    assert_eq!(site.cloud().container("users").unwrap().mark, None);
}

// storage-decisions T1: the process dies between the mark and the record of the adoption
#[tokio::test]
async fn an_adoption_is_recorded_also_after_a_crash() {
    let mut site = Site::new(json!({"s3": {"bucket": "users"}, "managementState": "Managed"}));
    site.cloud().put("users", 2, Some(CLUSTER));
    site.annotate(names::ADOPT_STORAGE_ANNOTATION, "/users");
    site.settle().await;
    assert_eq!(site.created(), Some("/users"));
    // The storage vanishes: nobody consented to what comes after it.
    site.cloud().containers.borrow_mut().clear();
    site.restart();
    while site.created().is_some() {
        site.pass().await;
    }
    assert_eq!(site.annotation(names::STORAGE_ADOPTED_ANNOTATION), Some("/users"));
}
