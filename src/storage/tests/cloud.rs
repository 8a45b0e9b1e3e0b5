//! Acceptance of the core with a backend that creates in several steps (storage-decisions 23).

use serde_json::{Value, json};

use super::super::{Hold, remove};
use super::fake::CHOSEN;
use super::site::Site;
use super::{rejected, warnings};
use crate::config::resolve::Reason;
use crate::names;

// storage-core 12, 16, 21
#[tokio::test]
async fn the_name_is_recorded_before_anything_is_created() {
    let mut site = Site::new(json!({"s3": {}}));
    let first = site.pass().await;
    assert_eq!((site.calls(), site.note()), (vec![], Some("/chosen-by-driver")));
    assert_eq!(site.world.storage(), &json!({"s3": {"bucket": CHOSEN}}));
    assert!(first.wait.unwrap().0.is_zero() && first.facts.is_none() && first.status_storage.is_none());
    let second = site.pass().await;
    assert!(second.facts.is_none() && !second.wait.unwrap().0.is_zero());
    let last = site.settle().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
    assert_eq!(site.world.state(), Some("Managed"));
    assert_eq!(
        site.world.status(),
        &json!({"s3": {"bucket": CHOSEN}, "managementState": "Managed"})
    );
    assert_eq!(last.facts.unwrap().env[0].name, "REGISTRY_STORAGE_S3_ACCESSKEY");
}

// storage-core 22, storage-decisions 8, 9
#[tokio::test]
async fn a_death_between_any_two_steps_ends_with_one_owned_and_marked_bucket() {
    for passes in 0..6 {
        for fuse in 0..3 {
            for record_stored in [false, true] {
                let mut site = Site::new(json!({"s3": {}}));
                for _ in 0..passes {
                    site.pass().await;
                }
                site.cloud.fuse.set(Some(fuse));
                let outcome = site.step().await;
                if record_stored {
                    site.world.store_record(&outcome);
                }
                site.cloud.fuse.set(None);
                site.restart();
                site.settle().await;
                let at = format!("{passes} passes, {fuse} calls, record stored: {record_stored}");
                assert_eq!(site.calls().iter().filter(|c| *c == "create").count(), 1, "{at}");
                assert_eq!(site.cloud.buckets.borrow().len(), 1, "{at}");
                let bucket = site.cloud.bucket(CHOSEN).unwrap();
                assert_eq!(
                    (bucket.mark.as_deref(), bucket.hardened),
                    (Some("blue-x7k2p"), true),
                    "{at}"
                );
                assert_eq!(site.world.state(), Some("Managed"), "{at}");
            }
        }
    }
}

// storage-core 15, 17, storage-decisions 1
#[tokio::test]
async fn a_users_bucket_is_never_marked_and_never_deleted() {
    for (storage, state, calls) in [
        (json!({"s3": {"bucket": "of-a-user"}}), "Unmanaged", vec![]),
        (
            json!({"s3": {"bucket": "of-a-user"}, "managementState": "Managed"}),
            "Managed",
            vec!["harden"],
        ),
    ] {
        let mut site = Site::new(storage);
        site.cloud.put("of-a-user", 9, None);
        site.settle().await;
        assert_eq!(
            (site.world.state(), site.calls()),
            (Some(state), calls.iter().map(ToString::to_string).collect())
        );
        site.world.edit(json!({"managementState": "Removed"}));
        let outcome = site.pass().await;
        assert!(outcome.done && site.calls().len() == calls.len());
        assert_eq!(site.cloud.bucket("of-a-user").unwrap().images, 9);
        assert_eq!(site.world.message().contains("it carries no mark"), state == "Managed");
    }
}

// storage-decisions 2
#[tokio::test]
async fn consent_by_location_marks_a_users_bucket_unless_it_is_another_clusters() {
    let consented = |mark: Option<&str>, consent: &str| {
        let mut site = Site::new(json!({"s3": {"bucket": "brought"}, "managementState": "Managed"}));
        site.cloud.put("brought", 2, mark);
        site.world.config["metadata"]["annotations"] = json!({names::ADOPT_STORAGE_ANNOTATION: consent});
        site
    };
    let mut site = consented(None, "/brought");
    assert_eq!(warnings(&site.pass().await).len(), 1);
    site.settle().await;
    site.world.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert!(site.cloud.bucket("brought").is_none());

    let mut other = consented(None, "/another");
    other.settle().await;
    assert_eq!(other.cloud.bucket("brought").unwrap().mark, None);

    let mut foreign = consented(Some("green"), "/brought");
    assert!(foreign.pass().await.fault.unwrap().message.contains("another cluster") && foreign.calls().is_empty());
}

// storage-decisions 3
#[tokio::test]
async fn a_config_copied_from_another_cluster_deletes_nothing() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-green"}, "managementState": "Managed"}));
    site.cloud.put("of-green", 5, Some("green"));
    site.world.config["metadata"]["annotations"] = json!({names::STORAGE_INTENT_ANNOTATION: "/of-green"});
    assert!(site.pass().await.fault.is_some());
    let copied = json!({"s3": {"bucket": "of-green"}, "managementState": "Managed"});
    site.world.config["status"] = json!({"storage": copied, "storageManaged": true});
    site.settle().await;
    site.world.edit(json!({"managementState": "Removed"}));
    assert!(site.pass().await.done && site.world.message().contains("the mark of green"));
    assert_eq!(
        (site.calls(), site.cloud.bucket("of-green").unwrap().images),
        (vec![], 5)
    );
}

// storage-decisions 4, storage-core 44
#[tokio::test]
async fn unreadable_marks_keep_the_data_until_the_user_lets_go() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.marks_denied.set(true);
    site.world.edit(json!({"managementState": "Removed"}));
    let outcome = site.pass().await;
    assert!(outcome.fault.unwrap().message.contains("s3:GetBucketTagging") && !outcome.done);
    assert_eq!(site.world.status()["s3"]["bucket"], CHOSEN);
    site.world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    assert!(site.pass().await.done && site.calls().is_empty());
}

// storage-decisions 6, storage-core 24
#[tokio::test]
async fn another_endpoint_is_other_storage() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.with_images(CHOSEN, 3);
    site.world
        .edit(json!({"storage": {"s3": {"regionEndpoint": "https://elsewhere.example"}}}));
    let outcome = site.whole().await;
    assert!(outcome.reconfigured && outcome.notices.iter().any(|n| n.reason == "StorageReconfigured"));
    assert_eq!(site.world.state(), Some("Unmanaged"));
}

// storage-decisions 10, T6
#[tokio::test]
async fn a_bucket_of_the_intended_name_that_holds_objects_is_the_users() {
    let mut site = Site::new(json!({"s3": {}}));
    site.pass().await;
    site.cloud.put(CHOSEN, 4, None);
    site.settle().await;
    assert_eq!((site.world.state(), site.calls()), (Some("Unmanaged"), vec![]));
}

// T6: the creation record of one bucket says nothing about another
#[tokio::test]
async fn a_record_of_another_location_adopts_nothing() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.put("empty-one-of-a-user", 0, None);
    site.world
        .edit(json!({"storage": {"s3": {"bucket": "empty-one-of-a-user"}}}));
    site.settle().await;
    assert_eq!((site.note(), site.calls()), (Some("/chosen-by-driver"), vec![]));
    assert_eq!(site.world.state(), Some("Unmanaged"));
}

// storage-decisions 11
#[tokio::test]
async fn deletion_stops_within_one_step_when_the_state_is_lowered() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.with_images(CHOSEN, 5);
    site.world.edit(json!({"managementState": "Removed"}));
    site.pass().await;
    site.pass().await;
    assert_eq!(site.cloud.bucket(CHOSEN).unwrap().images, 3);
    // Somebody else's mark appears: the next step does not go by what the last one read.
    site.cloud.put(CHOSEN, 3, Some("green"));
    assert!(site.pass().await.done);
    assert_eq!(site.cloud.bucket(CHOSEN).unwrap().images, 3);
}

// storage-decisions 11, T8
#[tokio::test]
async fn a_removal_that_is_taken_back_stops_at_once_and_says_how_many_objects_went() {
    for again in ["Managed", "Unmanaged", "newer"] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud.with_images(CHOSEN, 5);
        site.world.edit(json!({"managementState": "Removed"}));
        site.pass().await;
        site.pass().await;
        assert!(
            site.world.message().contains("2 objects are deleted so far"),
            "{}",
            site.world.message()
        );
        match again {
            // The controller does not know yet that it was taken back.
            "newer" => site.world.stale.set(true),
            "Managed" => site.world.edit(json!({"managementState": "Managed"})),
            state => site.world.edit(json!({"storage": {"managementState": state}})),
        }
        let outcome = site.pass().await;
        assert_eq!(
            (site.calls().len(), site.cloud.bucket(CHOSEN).unwrap().images),
            (2, 3),
            "{again}"
        );
        if again == "newer" {
            assert!(!outcome.done && outcome.fault.is_some());
            continue;
        }
        assert!(warnings(&outcome)[0].contains("2 objects were deleted"), "{again}");
        assert!(
            site.world.message().contains("2 objects were deleted"),
            "{}",
            site.world.message()
        );
        let last = site.settle().await;
        assert!(site.calls().len() == 2 && warnings(&last).is_empty(), "{again}");
    }
}

// storage-core 40, storage-decisions 7
#[tokio::test]
async fn removal_empties_in_steps_and_forgets_name_state_and_record() {
    let mut site = Site::applied(json!({"s3": {"regionEndpoint": "https://e.example"}})).await;
    site.cloud.with_images(CHOSEN, 2);
    site.world.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_eq!(site.calls(), ["delete image", "delete image", "delete bucket"]);
    assert_eq!(
        site.world.storage(),
        &json!({"s3": {"regionEndpoint": "https://e.example"}})
    );
    assert_eq!((site.world.status(), site.note()), (&json!({}), None));
    site.cloud.put("of-a-user", 1, None);
    site.world
        .edit(json!({"managementState": "Managed", "storage": {"s3": {"bucket": "of-a-user"}}}));
    site.settle().await;
    assert_eq!(site.world.state(), Some("Unmanaged"));
}

// storage-decisions 13
#[tokio::test]
async fn removal_takes_the_bucket_of_the_status_and_leaves_the_name_in_the_spec() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.put("of-a-user", 1, Some("blue-x7k2p"));
    site.world
        .edit(json!({"managementState": "Removed", "storage": {"s3": {"bucket": "of-a-user"}}}));
    site.settle().await;
    assert!(site.cloud.bucket(CHOSEN).is_none() && site.cloud.bucket("of-a-user").is_some());
    assert_eq!(site.world.storage(), &json!({"s3": {"bucket": "of-a-user"}}));
}

// storage-core 13, storage-decisions 21
#[tokio::test]
async fn an_outage_changes_nothing_of_a_running_registry_and_creates_nothing() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.world.edit(json!({"logLevel": "Debug"}));
    site.cloud.down.set(true);
    let outcome = site.pass().await;
    assert!(outcome.fault.is_some() && Site::is_held(&outcome) && site.calls().is_empty());
    assert_eq!(site.world.exists(), "Unknown/Unknown Error Occurred");
    assert_eq!(site.world.status()["s3"]["bucket"], CHOSEN);
    // With another block than the applied one, the registry's storage waits.
    site.world.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    let outcome = site.pass().await;
    assert!(outcome.facts.is_none() && outcome.hold == Hold::Deployment);
    assert_eq!(site.world.status()["s3"]["bucket"], CHOSEN);
}

// storage-core 14, storage-decisions T18
#[tokio::test]
async fn a_bucket_that_vanished_is_created_again() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.buckets.borrow_mut().clear();
    site.world.edit(json!({"logLevel": "Debug"}));
    let outcome = site.pass().await;
    assert!(warnings(&outcome)[0].contains("images") && Site::is_held(&outcome));
    // It dies right after the creation.
    site.step().await;
    site.restart();
    site.settle().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
    assert_eq!(site.world.exists(), "True/Bucket Exists");
}

// storage-core 18
#[tokio::test]
async fn nothing_is_created_under_unmanaged() {
    let storage = json!({"s3": {"bucket": "missing"}, "managementState": "Unmanaged"});
    let mut site = Site::new(storage.clone());
    // Even an intent on the Config does not help.
    for note in [Value::Null, json!({names::STORAGE_INTENT_ANNOTATION: "/missing"})] {
        site.world.config["metadata"]["annotations"] = note;
        let outcome = site.pass().await;
        assert!(outcome.fault.unwrap().message.contains("missing does not exist") && outcome.record.is_none());
        assert_eq!(
            (site.calls(), site.world.exists().as_str()),
            (vec![], "False/NoSuchBucket")
        );
    }
    let mut blank = Site::new(json!({"s3": {}, "managementState": "Unmanaged"}));
    assert_eq!(rejected(&blank.pass().await), Some(Reason::InvalidConfig));
    assert!(blank.calls().is_empty());
}

// storage-core, section 6: the flip to Managed applies settings at once
#[tokio::test]
async fn a_state_raised_on_applied_storage_hardens_it_and_does_not_mark_it() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}}));
    site.cloud.put("of-a-user", 1, None);
    site.settle().await;
    site.world.edit(json!({"storage": {"managementState": "Managed"}}));
    site.settle().await;
    assert_eq!(site.calls(), ["harden"]);
    assert_eq!(site.world.config["status"]["storageManaged"], true);
}

// storage-core 21: what was done is recorded, also where the pass fails after it
#[tokio::test]
async fn a_failure_after_the_creation_keeps_name_and_state() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud.keys_down.set(true);
    for _ in 0..6 {
        site.pass().await;
    }
    assert_eq!(
        site.world.storage(),
        &json!({"s3": {"bucket": CHOSEN}, "managementState": "Managed"})
    );
    assert!(site.world.config["status"]["storage"].get("s3").is_none());
    site.cloud.keys_down.set(false);
    site.settle().await;
    assert_eq!(site.world.state(), Some("Managed"));
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
}

// storage-core, section 6: the mirror of storage that was let go says nothing about what is asked for later
#[tokio::test]
async fn managed_asked_for_after_a_removal_that_let_go_is_the_users_word() {
    for lets_go in [true, false] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        if lets_go {
            site.world
                .edit(json!({"managementState": "Removed", "storage": {"managementState": "Unmanaged"}}));
        } else {
            // It dies between the record and the status of a removal.
            site.world.edit(json!({"managementState": "Removed"}));
            removed_without_status(&mut site).await;
        }
        assert!(site.pass().await.done);
        assert_eq!(site.world.config["status"]["storageManaged"], false, "{lets_go}");
        site.cloud.put("of-a-user", 1, None);
        let storage = json!({"s3": {"bucket": "of-a-user"}, "managementState": "Managed"});
        site.world
            .edit(json!({"managementState": "Managed", "storage": storage}));
        site.settle().await;
        assert_eq!(site.world.state(), Some("Managed"), "{lets_go}");
    }
}

/// Passes of a removal; of the last one only the record is stored, then the process ends.
async fn removed_without_status(site: &mut Site) {
    for _ in 0..9 {
        let outcome = site.step().await;
        site.world.store_record(&outcome);
        if outcome.done {
            break;
        }
        site.world.store_status(&outcome);
    }
    site.restart();
    assert!(site.cloud.buckets.borrow().is_empty());
}

// storage-decisions T5: nothing named later inherits a consent
#[tokio::test]
async fn a_removal_that_deleted_clears_the_consent() {
    let mut site = Site::new(json!({"s3": {"bucket": "brought"}, "managementState": "Managed"}));
    site.cloud.put("brought", 2, None);
    site.world.config["metadata"]["annotations"] = json!({names::ADOPT_STORAGE_ANNOTATION: "/brought", "team": "blue"});
    site.settle().await;
    site.world.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert!(site.cloud.bucket("brought").is_none());
    assert_eq!(
        (
            site.annotation(names::ADOPT_STORAGE_ANNOTATION),
            site.annotation("team")
        ),
        (None, Some("blue"))
    );
    site.cloud.put("brought", 2, None);
    let storage = json!({"s3": {"bucket": "brought"}, "managementState": "Managed"});
    site.world
        .edit(json!({"managementState": "Managed", "storage": storage}));
    site.settle().await;
    assert_eq!(site.cloud.bucket("brought").unwrap().mark, None);
}

// storage-decisions T3: a removal whose end was recorded and not told
#[tokio::test]
async fn a_death_between_record_and_status_of_a_removal_leaves_its_end_told_and_deletes_nothing_more() {
    for back in [false, true] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud.with_images(CHOSEN, 1);
        site.world.edit(json!({"managementState": "Removed"}));
        removed_without_status(&mut site).await;
        assert!(site.world.exists().starts_with("True/"));
        if back {
            // Somebody has made one of that name since, even with the mark.
            site.cloud.put(CHOSEN, 3, Some("blue-x7k2p"));
        }
        let calls = site.calls();
        let outcome = site.pass().await;
        assert!(outcome.done && outcome.record.is_none());
        assert_eq!((site.calls(), site.world.status()), (calls, &json!({})), "{back}");
        let told = if back {
            "True/Bucket Exists"
        } else {
            "False/Bucket Deleted"
        };
        assert_eq!(site.world.exists(), told);
        assert!(
            !site.world.message().contains("deleted so far"),
            "{}",
            site.world.message()
        );
    }
}

// storage-decisions T8: taken back by an edit that names other storage
#[tokio::test]
async fn a_removal_that_is_taken_back_for_other_storage_is_told_of_too() {
    for next in [json!({"s3": {"bucket": "next"}}), json!({"s3": {"bucket": "missing"}})] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud.with_images(CHOSEN, 5);
        site.cloud.put("next", 1, None);
        site.world.edit(json!({"managementState": "Removed"}));
        site.pass().await;
        site.pass().await;
        site.world.edit(json!({"managementState": "Managed", "storage": next}));
        let mut told = Vec::new();
        for _ in 0..9 {
            told.extend(site.pass().await.notices);
        }
        let stopped: Vec<_> = told.iter().filter(|n| n.reason == "RemovalStopped").collect();
        assert_eq!(stopped.len(), 1, "{told:?}");
        assert!(
            stopped[0].warning && stopped[0].note.contains("/chosen-by-driver"),
            "{stopped:?}"
        );
        assert!(stopped[0].note.contains("2 objects were deleted"), "{stopped:?}");
        let switched = told.iter().find(|n| n.reason == "StorageReconfigured").unwrap();
        assert!(!switched.note.contains("with its images"), "{}", switched.note);
    }
}

// storage-decisions T8: taken back by Unmanaged, under which nothing is looked at
#[tokio::test]
async fn a_removal_that_is_taken_back_by_unmanaged_is_told_of_too() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.with_images(CHOSEN, 5);
    site.world.edit(json!({"managementState": "Removed"}));
    site.pass().await;
    site.pass().await;
    site.world.edit(json!({"managementState": "Unmanaged"}));
    let (verdicts, notices) = remove::left_alone(&site.world.config(), &site.answers);
    assert!(notices[0].warning && notices[0].note.contains("2 objects were deleted"));
    assert_eq!(
        (verdicts[0].type_, verdicts[0].reason.as_str()),
        ("StorageExists", "Bucket Exists")
    );
    assert!(verdicts[0].message.contains("2 objects were deleted"));
    let again = remove::left_alone(&site.world.config(), &site.answers);
    assert_eq!((again.0.len(), again.1.len()), (0, 0), "told once");
}
