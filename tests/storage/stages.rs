//! What clouds need beyond a bucket: stages with long operations, two levels of ownership, runtime credentials with a
//! lifetime, a credential that is never rendered, settings that follow the platform, a platform default that takes a call.

use std::time::Duration;

use image_registry_operator::names;
use image_registry_operator::status::judge::Deadline;
use image_registry_operator::storage::engine::select;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::json;

use crate::conformance::{at_each_death, dies};
use crate::fake::CloudObject;
use crate::fake::{ACCOUNT, CHOSEN, ENDPOINT, FakeCloud, KEY};
use crate::site::Site;

fn staged(storage: serde_json::Value) -> Site {
    let site = Site::new(storage);
    site.cloud().staged.set(true);
    site
}

async fn staged_applied() -> Site {
    let mut site = staged(json!({"s3": {}}));
    site.settle().await;
    site.cloud().calls.borrow_mut().clear();
    site
}

const ALL: [&str; 6] = [
    "create account",
    "create key",
    "create",
    "mark",
    "create endpoint",
    "harden",
];

#[tokio::test]
async fn each_stage_is_recorded_before_its_object_is_created_and_all_come_in_order() {
    let mut site = staged(json!({"s3": {}}));
    for _ in 0..40 {
        let before = site.calls();
        let recorded = site
            .annotation(names::STORAGE_STAGES_ANNOTATION)
            .unwrap_or_default()
            .to_owned();
        site.pass().await;
        for call in &site.calls()[before.len()..] {
            if let Some(stage) = call.strip_prefix("create ") {
                assert!(
                    recorded.contains(&format!("\"stage\":\"{stage}\"")),
                    "{call}: {recorded}"
                );
            }
        }
    }
    assert_eq!(site.calls(), ALL);
    assert_eq!(site.state(), Some("Managed"));
    assert!(site.running.is_some());
}

// storage-decisions T5: the operator wrote Managed when the account was ready, before there was a container
#[tokio::test]
async fn a_managed_of_a_stage_does_not_count_for_the_storage_before() {
    for is_removed in [false, true] {
        let mut site = Site::new(json!({"s3": {"bucket": "first"}}));
        site.settle().await;
        site.cloud().with_images("first", 4);
        site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
        site.settle().await;
        site.cloud().staged.set(true);
        site.cloud().creation_denied.set(true);
        site.edit(json!({"storage": {"s3": {"bucket": "second"}, "managementState": null}}));
        for _ in 0..20 {
            site.pass().await;
        }
        assert_eq!((site.state(), site.created()), (Some("Managed"), None));
        let records = site.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap().to_owned();
        assert!(
            records.contains(ACCOUNT.name) && records.contains("second"),
            "{records}"
        );
        assert_eq!(site.status()["s3"]["bucket"], "first");
        site.cloud().staged.set(false);
        if is_removed {
            site.remove().await;
        }
        site.edit(json!({"managementState": "Managed", "storage": {"s3": {"bucket": "first"}}}));
        site.settle().await;
        assert_eq!(site.state(), Some("Unmanaged"), "{is_removed}");
        assert_eq!(site.annotation(names::STORAGE_STAGES_ANNOTATION), None);
        site.remove().await;
        assert_eq!(site.cloud().container("first").unwrap().images, 4, "{is_removed}");
    }
}

// What surrounds the storage in use says nothing about who wrote Managed.
#[tokio::test]
async fn the_stages_of_protected_storage_leave_the_administrators_managed_alone() {
    let mut site = staged_applied().await;
    site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    site.settle().await;
    assert!(site.annotation(names::STORAGE_STAGES_ANNOTATION).is_some());
    site.cloud().staged.set(false);
    site.cloud().put("second", 2, None);
    site.edit(json!({"storage": {"s3": {"bucket": "second"}, "managementState": "Managed"}}));
    site.settle().await;
    assert_eq!(site.state(), Some("Managed"));
    assert!(!site.events.iter().any(|event| event.reason == "StorageNotOwned"));
}

// storage-core 18
#[tokio::test]
async fn no_stage_is_begun_under_unmanaged() {
    let mut site = staged(json!({"s3": {"bucket": "of-a-user"}, "managementState": "Unmanaged"}));
    site.cloud().put("of-a-user", 3, None);
    let outcome = site.pass().await;
    assert!(outcome.error.unwrap().message.contains("account"));
    assert!(site.calls().is_empty() && outcome.record.is_none());
}

#[tokio::test]
async fn an_operation_of_ten_minutes_is_no_error_survives_a_restart_and_is_overdue_after_its_deadline() {
    let mut site = staged(json!({"s3": {}}));
    site.cloud().stage_takes.set(1000);
    site.tick = Duration::from_secs(30);
    let mut overdue_at = None;
    for pass in 0..60 {
        if pass == 7 {
            site.restart();
        }
        let outcome = site.pass().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let Some(wait) = outcome.wait.filter(|wait| !wait.after.is_zero()) else {
            continue;
        };
        assert!(wait.message.starts_with("account is being created"), "{}", wait.message);
        assert_ne!(wait.deadline, Deadline::Common, "it has a deadline of its own");
        assert_eq!(site.exists(), "False/ResourceNotReady");
        if wait.deadline == Deadline::Passed {
            overdue_at.get_or_insert(pass);
            assert!(wait.message.contains("15 minutes"), "{}", wait.message);
        }
    }
    // The record is of the first pass, the restart changes nothing.
    assert_eq!(overdue_at, Some(31));
    assert_eq!(site.calls(), ["create account"]);
    site.cloud()
        .stage_objects
        .borrow_mut()
        .get_mut(ACCOUNT.name)
        .unwrap()
        .pending = 0;
    site.cloud().stage_takes.set(0);
    site.settle().await;
    assert_eq!(site.calls(), ALL);
}

// storage-core 22, storage-decisions 8, 9
#[tokio::test]
async fn a_crash_between_any_two_calls_of_stages_doubles_nothing_and_leaves_nothing_over() {
    let deaths = at_each_death(async |death, at| {
        let mut site = staged(json!({"s3": {}}));
        site.single_steps = false;
        let died = dies(&mut site, death).await;
        site.converge().await;
        assert_eq!(site.calls(), ALL, "{at}");
        died
    });
    assert!(deaths.await >= 2 * ALL.len());
    for steps in 0..16 {
        let mut site = staged(json!({"s3": {}}));
        site.steps(steps).await;
        drop(site.step().await); // what it wants stored is lost
        site.restart();
        site.settle().await;
        assert_eq!(site.calls(), ALL, "{steps} steps");
    }
}

#[tokio::test]
async fn a_removal_goes_in_the_reverse_order_and_keeps_what_is_kept_by_design() {
    let mut site = staged_applied().await;
    site.cloud().with_images(CHOSEN, 2);
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_eq!(
        site.calls(),
        [
            "delete endpoint",
            "delete image",
            "delete image",
            "delete bucket",
            "delete account"
        ]
    );
    let kept: Vec<_> = site.cloud().stage_objects.borrow().keys().copied().collect();
    assert_eq!(kept, [KEY.name]);
    assert_eq!(site.annotation(names::STORAGE_STAGES_ANNOTATION), None);
}

// storage-decisions T2: each level has a proof of its own
#[tokio::test]
async fn an_account_that_is_not_ours_is_kept_though_the_container_in_it_goes() {
    for (mark, recorded) in [(Some("green"), true), (None, true), (Some("blue-x7k2p"), false)] {
        let mut site = staged_applied().await;
        let set = |stage: &'static str| {
            let mut objects = site.cloud().stage_objects.borrow_mut();
            objects.get_mut(stage).unwrap().mark = mark.map(str::to_owned);
        };
        set(ACCOUNT.name);
        if !recorded {
            let annotations = site.config["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(names::STORAGE_STAGES_ANNOTATION);
        }
        site.edit(json!({"managementState": "Removed"}));
        site.settle().await;
        assert!(site.cloud().container(CHOSEN).is_none());
        assert!(
            site.cloud().stage_objects.borrow().contains_key(ACCOUNT.name),
            "{mark:?} {recorded}"
        );
        assert!(!site.calls().contains(&"delete account".to_owned()));
    }
}

// storage-decisions T2: the record names one account; another one of the same mark is not in it
#[tokio::test]
async fn an_account_that_the_record_does_not_name_is_not_deleted() {
    let mut site = staged_applied().await;
    let other = "account-of-the-installer".to_owned();
    site.cloud()
        .stage_objects
        .borrow_mut()
        .get_mut(ACCOUNT.name)
        .unwrap()
        .id = other;
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert!(site.cloud().container(CHOSEN).is_none());
    assert!(site.cloud().stage_objects.borrow().contains_key(ACCOUNT.name));
}

// storage-decisions D2, T5
#[tokio::test]
async fn a_record_of_another_account_makes_nothing_managed() {
    let mut site = staged(json!({"s3": {}}));
    for stage in [ACCOUNT, KEY] {
        let object = CloudObject {
            id: format!("{}-of-a-user", stage.name),
            ..CloudObject::default()
        };
        site.cloud().stage_objects.borrow_mut().insert(stage.name, object);
    }
    let record = json!({"stage": ACCOUNT.name, "id": "account-of-before", "since": "2026-01-01T00:00:00Z"});
    let records = json!({CHOSEN: [record]}).to_string();
    site.store_record(&json!({"metadata": {"annotations": {names::STORAGE_STAGES_ANNOTATION: records}}}));
    site.cloud().put(CHOSEN, 3, None);
    site.settle().await;
    assert_eq!(site.state(), Some("Unmanaged"));
}

// storage-decisions T2
#[tokio::test]
async fn an_account_of_ours_is_kept_while_a_container_in_it_is_not_ours() {
    let mut site = staged_applied().await;
    site.cloud().put(CHOSEN, 3, Some("green"));
    site.edit(json!({"managementState": "Removed"}));
    let outcome = site.pass().await;
    assert!(outcome.done && site.calls().is_empty());
    site.settle().await;
    assert_eq!(
        site.annotation(names::STORAGE_STAGES_ANNOTATION),
        None,
        "a kept account is the user's"
    );
    assert_eq!(site.cloud().container(CHOSEN).unwrap().images, 3);
    let stages = site.cloud().stage_objects.borrow();
    assert!(stages.contains_key(ACCOUNT.name) && stages.contains_key(ENDPOINT.name));
}

#[tokio::test]
async fn an_account_that_vanished_is_reported_before_anything_is_created_anew() {
    let mut site = staged_applied().await;
    site.cloud().stage_objects.borrow_mut().clear();
    site.cloud().containers.borrow_mut().clear();
    site.edit(json!({"logLevel": "Debug"}));
    let outcome = site.pass().await;
    assert!(
        outcome
            .events
            .iter()
            .any(|event| event.warning && event.message.contains("images"))
    );
    assert!(site.calls().is_empty() && site.exists() == "False/NoSuchBucket");
    site.settle().await;
    assert_eq!(site.calls(), ALL);
}

#[tokio::test]
async fn keys_of_the_registry_are_read_again_only_after_their_lifetime() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().key_lifetime.set(Some(Duration::from_mins(20)));
    site.tick = Duration::from_mins(1);
    site.settle().await;
    site.cloud().key_reads.set(0);
    for _ in 0..41 {
        assert!(site.pass().await.facts.is_some());
    }
    assert_eq!(site.cloud().key_reads.get(), 2);
    // Without a lifetime they are read once, and after a restart.
    site.cloud().key_lifetime.set(None);
    site.restart();
    for _ in 0..100 {
        site.pass().await;
    }
    assert_eq!(site.cloud().key_reads.get(), 3);
}

#[tokio::test]
async fn a_rotated_credential_that_is_never_rendered_is_noticed_and_changes_no_pod() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let running = site.running.clone();
    *site.cloud().api_key.borrow_mut() = "rotated".to_owned();
    site.settle().await;
    assert_eq!(site.looks(), 1, "the storage is checked with the new credential");
    assert!(
        site.preflights().is_empty(),
        "nothing of the registry's storage changed"
    );
    assert_eq!(site.running, running);
}

// storage-core 13: best effort steps
#[tokio::test]
async fn a_setting_that_follows_the_platform_is_applied_again_when_the_platform_asks_for_something_else() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().with(CHOSEN, |c| c.hardened = false);
    for _ in 0..3 {
        site.pass().await;
    }
    assert!(site.calls().is_empty(), "what is applied is not read again");
    *site.cloud().tags.borrow_mut() = "team=blue".to_owned();
    site.settle().await;
    assert_eq!(site.calls(), ["harden"]);
}

#[tokio::test]
async fn a_setting_that_the_service_does_not_implement_is_final_by_a_record_until_the_storage_changes() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().settings_unsupported.set(true);
    site.settle().await;
    assert_eq!(site.condition("StorageTagged"), "False/NotImplemented");
    assert!(
        site.annotation(names::STORAGE_SETTINGS_ANNOTATION)
            .unwrap()
            .contains("StorageTagged")
    );
    site.cloud().settings_unsupported.set(false);
    for _ in 0..30 {
        site.pass().await;
    }
    site.restart();
    site.settle().await;
    assert_eq!(site.calls(), ["create", "mark"], "final, also for the next process");
    site.edit(json!({"storage": {"s3": {"encrypt": true}}}));
    site.settle().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
    assert_eq!(site.annotation(names::STORAGE_SETTINGS_ANNOTATION), None);
}

// storage-decisions T12: also on a bucket of the user, which has no creation record
#[tokio::test]
async fn a_final_setting_of_a_users_bucket_stays_recorded() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}, "managementState": "Managed"}));
    site.cloud().put("of-a-user", 3, None);
    site.cloud().settings_unsupported.set(true);
    site.settle().await;
    let recorded = |site: &Site| site.annotation(names::STORAGE_SETTINGS_ANNOTATION).map(str::to_owned);
    let first = recorded(&site);
    assert!(first.as_ref().unwrap().contains("StorageTagged"));
    site.cloud().settings_unsupported.set(false);
    site.restart();
    for _ in 0..30 {
        site.pass().await;
    }
    assert_eq!(recorded(&site), first);
    assert!(site.calls().is_empty(), "it is not attempted again");
    // As Unmanaged storage it has no settings.
    site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    site.settle().await;
    assert_eq!(recorded(&site), None);
}

#[tokio::test]
async fn a_platform_default_that_takes_a_call_is_decided_by_the_call_and_never_by_an_outage() {
    for (usable, expected) in [
        (Some(true), Some(json!({"swift": {}}))),
        (Some(false), Some(json!({"pvc": {"claim": names::DEFAULT_CLAIM}}))),
        (None, None),
    ] {
        let site = Site::on("OpenStack", json!({}));
        let cloud = FakeCloud::default();
        cloud.usable.set(usable);
        let default = select::platform_default(&site.snapshot, Some("OpenStack"), &cloud).await;
        match expected {
            Some(expected) => assert_eq!(serde_json::to_value(default.unwrap()).unwrap(), expected),
            None => assert_eq!(default.unwrap_err().class, ErrorClass::Transient),
        }
    }
}

// storage-azure section 13: the object that is missing says why
#[tokio::test]
async fn a_missing_account_has_its_own_reason() {
    let mut site = staged_applied().await;
    site.cloud().stage_objects.borrow_mut().clear();
    site.edit(json!({"logLevel": "Debug"}));
    site.cloud().containers.borrow_mut().clear();
    site.pass().await;
    assert_eq!(site.exists(), "False/NoSuchBucket", "the container is looked at first");
    site.pass().await;
    assert_eq!(site.exists(), "False/NoSuchAccount");
}

// storage-azure section 10.3: each operation has its deadline, also of an object that the operator did not create
#[tokio::test]
async fn the_deadline_of_an_operation_counts_from_its_begin() {
    // Of somebody else's object: from the first look.
    let mut site = staged(json!({"s3": {}}));
    site.tick = Duration::from_mins(1);
    let object = CloudObject {
        id: "account-of-a-user".to_owned(),
        mark: None,
        pending: 1000,
    };
    site.cloud().stage_objects.borrow_mut().insert(ACCOUNT.name, object);
    let mut deadlines = Vec::new();
    for _ in 0..40 {
        let outcome = site.pass().await;
        deadlines.extend(outcome.wait.map(|wait| wait.deadline));
    }
    assert_eq!(deadlines.first(), Some(&Deadline::Ahead));
    assert_eq!(deadlines.last(), Some(&Deadline::Passed));
    // An account that is created again is not overdue because of the one before.
    let mut site = staged_applied().await;
    site.tick = Duration::from_mins(1);
    site.later(Duration::from_hours(20));
    site.cloud().stage_objects.borrow_mut().clear();
    site.cloud().containers.borrow_mut().clear();
    site.cloud().stage_takes.set(4);
    site.edit(json!({"logLevel": "Debug"}));
    let mut begun = false;
    for pass in 0..30 {
        if pass == 4 {
            site.restart();
        }
        let outcome = site.pass().await;
        begun |= site.calls().contains(&"create account".to_owned());
        let wait = outcome.wait.filter(|wait| !wait.after.is_zero());
        assert!(wait.is_none_or(|wait| wait.deadline != Deadline::Passed), "{pass}");
    }
    assert!(begun);
}

// storage-azure 43, 47: what leads to the container goes before it only if the account goes, too
#[tokio::test]
async fn the_container_goes_before_what_leads_to_it_if_the_account_is_kept() {
    let mut site = staged_applied().await;
    site.cloud().with_images(CHOSEN, 1);
    site.cloud()
        .stage_objects
        .borrow_mut()
        .get_mut(ACCOUNT.name)
        .unwrap()
        .mark = None;
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_eq!(site.calls(), ["delete image", "delete bucket", "delete endpoint"]);
}

// storage-azure 46: what was created around a container goes although the container is gone
#[tokio::test]
async fn what_surrounds_a_container_that_is_gone_goes_too() {
    for account in [true, false] {
        let mut site = staged_applied().await;
        site.cloud().containers.borrow_mut().clear();
        if !account {
            site.cloud().stage_objects.borrow_mut().remove(ACCOUNT.name);
        }
        site.edit(json!({"managementState": "Removed"}));
        site.settle().await;
        let kept: Vec<_> = site.cloud().stage_objects.borrow().keys().copied().collect();
        assert_eq!(kept, [KEY.name], "{account}");
    }
}

// storage-decisions D2: records of storage that the registry does not use any more mean nothing later
#[tokio::test]
async fn the_records_of_storage_that_is_left_are_dropped() {
    let mut site = staged_applied().await;
    site.cloud().put("another", 0, None);
    site.edit(json!({"storage": {"s3": {"bucket": "another"}, "managementState": null}}));
    site.settle().await;
    let records = site.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap_or_default();
    assert!(!records.contains(CHOSEN), "{records}");
}
