//! Acceptance of looking: how often storage is asked whether it is there.

use std::time::Duration;

use serde_json::{Value, json};

use super::conformance::Sent;
use super::fake::CHOSEN;
use super::harness::warnings;
use super::site::Site;
use image_registry_operator::names;
use image_registry_operator::status::conditions::Status;

// storage-decisions T18, 20, storage-core 12
#[tokio::test]
async fn a_settled_registry_asks_nothing_and_an_edit_one_thing() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    for _ in 0..5 {
        site.pass().await;
    }
    assert_eq!(site.looks(), 0, "resync");
    site.restart();
    let outcome = site.pass().await;
    assert!(outcome.facts.is_some() && outcome.conditions.is_empty() && outcome.record.is_none());
    assert_eq!(
        site.looks(),
        0,
        "the first pass after a start does not wait for the storage"
    );
    assert_eq!(outcome.again, Some(Duration::ZERO));
    for _ in 0..3 {
        site.pass().await;
    }
    assert_eq!(site.looks(), 1, "the next pass after a start looks once");
    site.edit(json!({"replicas": 1, "logLevel": "Debug"}));
    site.pass().await;
    site.pass().await;
    assert_eq!(site.looks(), 1, "a new generation");
    site.restart();
    site.edit(json!({"logLevel": "Trace"}));
    site.pass().await;
    assert_eq!(site.looks(), 1, "a start with an edit that nobody looked at");
}

// storage-decisions 20: a proxy that does not answer, after a restart
#[tokio::test(start_paused = true)]
async fn a_restarted_operator_that_gets_no_answer_says_so_within_a_minute_and_leaves_the_registry() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let running = site.running.clone();
    site.cloud().hangs.set(true);
    site.restart();
    let began = tokio::time::Instant::now();
    assert!(site.pass().await.facts.is_some());
    assert_eq!(began.elapsed(), Duration::ZERO, "the first pass does not wait");
    let outcome = site.pass().await;
    assert!(began.elapsed() < Duration::from_mins(1));
    assert!(site.exists().starts_with("Unknown/") && site.message().contains("no response"));
    assert!(Site::is_held(&outcome) && outcome.error.is_some());
    assert_eq!(site.running, running);
    site.cloud().hangs.set(false);
    site.settle().await;
    assert_eq!(site.exists(), "True/Bucket Exists");
}

// storage-decisions T18: credentials, CA
#[tokio::test]
async fn other_credentials_or_roots_ask_again() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    *site.cloud().credentials.borrow_mut() = "rotated".to_owned();
    site.settle().await;
    assert_eq!(site.looks(), 1);
    site.set_ca(json!({"bundle": "CA"}));
    site.settle().await;
    assert_eq!(site.looks(), 1);
}

// storage-decisions T18
#[tokio::test]
async fn a_deployment_that_turns_unavailable_asks_once_and_then_ever_more_slowly() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.tick = Duration::from_secs(10);
    site.pass().await;
    let mut asked = Vec::new();
    for second in (10..1200).step_by(10) {
        let tick = site.tick;
        site.later(tick);
        site.serve(0);
        let outcome = site.step().await;
        assert!(outcome.facts.is_some() && outcome.again.is_some());
        if site.looks() > 0 {
            asked.push(second);
        }
    }
    assert_eq!(asked, [10, 130, 370, 670, 970]);
    site.serve(1);
    site.step().await;
    assert_eq!(site.looks(), 0, "it serves again");
    site.serve(0);
    site.step().await;
    assert_eq!(site.looks(), 1, "it turned anew");
}

// storage-decisions T18: nobody wants it to serve
#[tokio::test]
async fn a_registry_without_replicas_asks_nothing() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.edit(json!({"replicas": 0}));
    site.settle().await;
    site.looks();
    site.serve(0);
    for _ in 0..3 {
        site.later(Duration::from_mins(6));
        site.step().await;
    }
    assert_eq!(site.looks(), 0);
}

// storage-decisions T18, 21, storage-core 13: retried, but not by each event
#[tokio::test]
async fn an_outage_is_asked_about_with_backoff_and_all_else_goes_on() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.edit(json!({"logLevel": "Debug"}));
    site.cloud().down.set(true);
    site.tick = Duration::from_secs(1);
    let mut asked = Vec::new();
    for second in 0..300 {
        let outcome = site.pass().await;
        assert!(Site::is_held(&outcome) && outcome.error.is_some() && outcome.again.is_some());
        assert_eq!(site.exists(), "Unknown/Unknown Error Occurred");
        if site.looks() > 0 {
            asked.push(second);
        }
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63, 127, 255]);
    site.cloud().down.set(false);
    site.later(Duration::from_mins(5));
    assert!(site.pass().await.facts.is_some());
    assert_eq!(site.exists(), "True/Bucket Exists");
    assert!(site.calls().is_empty() && site.preflights().is_empty());
}

// storage-decisions T18: a bucket that vanished is told of before it is made again
#[tokio::test]
async fn a_lost_bucket_shows_when_the_registry_fails_and_is_made_again_with_a_warning() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.pass().await;
    site.cloud().containers.borrow_mut().clear();
    site.pass().await;
    assert!(site.calls().is_empty(), "the registry serves: nobody looked");
    site.serve(0);
    let outcome = site.step().await;
    assert!(warnings(&outcome.events)[0].contains("images"));
    assert_eq!(outcome.conditions[0].status, Status::False);
    site.store_status(&outcome);
    site.settle().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
}

// storage-decisions T18: also where the pass has something to do with the bucket in any case
#[tokio::test]
async fn a_lost_bucket_is_told_of_before_it_is_made_again_whatever_the_pass_is_for() {
    for edit in [
        json!({"storage": {"s3": {"encrypt": true}}}),
        json!({"storage": {"managementState": "Unmanaged"}}),
        json!({"logLevel": "Debug"}),
    ] {
        let mut site = Site::applied(json!({"s3": {}})).await;
        site.cloud().containers.borrow_mut().clear();
        if edit.pointer("/storage/managementState").is_some() {
            // Turned over twice, so that the pass is about more than a look.
            site.config["status"]["storage"]["managementState"] = json!("Unmanaged");
            site.edit(json!({"logLevel": "Trace"}));
        } else {
            site.edit(edit.clone());
        }
        let outcome = site.pass().await;
        assert!(warnings(&outcome.events).iter().any(|w| w.contains("images")), "{edit}");
        assert!(
            site.calls().is_empty() && outcome.conditions[0].status == Status::False,
            "{edit}"
        );
        site.settle().await;
        assert_eq!(site.calls(), ["create", "mark", "harden"], "{edit}");
    }
}

// storage-s3 35, storage-core 13: best effort steps
#[tokio::test]
async fn what_hardening_could_not_do_is_tried_again_once_a_resync() {
    let mut site = Site::new(json!({"s3": {}}));
    site.cloud().settings_down.set(true);
    site.settle().await;
    assert_eq!(site.calls(), ["create", "mark"]);
    site.cloud().settings_down.set(false);
    site.tick = Duration::from_mins(1);
    site.restart();
    site.cloud().settings_down.set(true);
    site.pass().await;
    site.cloud().settings_down.set(false);
    for _ in 0..9 {
        site.pass().await;
        assert_eq!(site.calls().len(), 2);
    }
    site.pass().await;
    assert_eq!(site.calls(), ["create", "mark", "harden"]);
    site.looks();
    for _ in 0..30 {
        site.pass().await;
    }
    assert_eq!(site.looks(), 0, "all conditions are True");
}

// storage-s3 43: a map that is missing
#[tokio::test]
async fn a_ca_that_cannot_be_had_stops_before_anything_is_asked() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.set_ca(json!({}));
    let outcome = site.pass().await;
    assert!(Site::is_held(&outcome) && site.looks() == 0);
    assert!(outcome.ca_error.unwrap().contains("blue-ca") && outcome.error.unwrap().message.contains("bundle"));
    assert_eq!(site.exists(), "Unknown/Unknown Error Occurred");
    site.set_ca(json!({"bundle": "CA"}));
    assert!(site.pass().await.ca_error.is_none());
}

// storage-decisions 2: consent that comes later
#[tokio::test]
async fn consent_that_is_given_later_is_looked_at_once() {
    let mut site = Site::new(json!({"s3": {"bucket": "brought"}, "managementState": "Managed"}));
    site.cloud().put("brought", 2, None);
    site.settle().await;
    assert_eq!(site.calls(), ["harden"]);
    site.config["metadata"]["annotations"] =
        json!({image_registry_operator::names::ADOPT_STORAGE_ANNOTATION: "/brought"});
    assert_eq!(warnings(&site.pass().await.events).len(), 1);
    assert_eq!(site.calls(), ["harden", "mark"]);
    site.settle().await;
    site.looks();
    site.settle().await;
    assert_eq!(site.looks(), 0);
    assert_eq!(site.created(), Some("/brought"));
    assert_eq!(site.annotation(names::ADOPT_STORAGE_ANNOTATION), Some("/brought"));
    let _: &Value = site.storage_spec();
}

// storage-core 47
#[tokio::test]
async fn storage_that_is_seen_to_again_and_found_as_it_was_leaves_the_status_as_it_is() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let before = site.config["status"].clone();
    // Asks for a whole new look at the bucket.
    site.annotate(names::STORAGE_CREATED_ANNOTATION, "");
    site.annotate(names::ADOPT_STORAGE_ANNOTATION, &format!("/{CHOSEN}"));
    let outcome = site.whole().await;
    assert!(site.looks() > 0);
    let told = outcome.conditions.iter().find(|v| v.type_ == "StorageExists");
    assert_eq!(told.map(|v| v.status), Some(Status::True), "told anew");
    assert_eq!(outcome.status_storage, None);
    assert_eq!(site.config["status"], before);
}

// storage-decisions T18, 20: the registry's keys need a call, and it gets no answer after a restart
#[tokio::test(start_paused = true)]
async fn a_first_pass_waits_for_the_keys_of_the_registry_for_a_limited_time() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let running = site.running.clone();
    site.cloud().keys_hang.set(true);
    site.restart();
    site.cloud().key_reads.take();
    site.tick = Duration::ZERO;
    let began = tokio::time::Instant::now();
    let outcome = site.pass().await;
    assert_eq!(began.elapsed(), Duration::from_secs(20));
    assert!(Site::is_held(&outcome) && outcome.error.is_some());
    assert!(site.exists().starts_with("Unknown/") && site.message().contains("no response"));
    // A second pass looks at the storage, and does not ask for the keys once more.
    assert!(site.pass().await.error.is_some());
    assert!(began.elapsed() < Duration::from_mins(1));
    let asked = began.elapsed();
    site.pass().await;
    assert_eq!(began.elapsed(), asked, "remembered");
    assert_eq!((site.cloud().key_reads.take(), &site.running), (1, &running));
    site.cloud().keys_hang.set(false);
    site.tick = Duration::from_mins(6);
    site.settle().await;
    assert_eq!(site.exists(), "True/Bucket Exists");
}

// storage-decisions T18: keys that cannot be read are asked for with backoff
#[tokio::test]
async fn keys_of_the_registry_that_cannot_be_read_are_not_asked_for_by_each_event() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.restart();
    site.cloud().keys_down.set(true);
    site.cloud().key_reads.take();
    site.tick = Duration::from_secs(1);
    let mut asked = Vec::new();
    for second in 0..100 {
        let outcome = site.pass().await;
        assert!(Site::is_held(&outcome) && outcome.error.is_some());
        if site.cloud().key_reads.take() > 0 {
            asked.push(second);
        }
    }
    assert_eq!(asked, [0, 1, 3, 7, 15, 31, 63]);
}

// storage-decisions T18: a Deployment that turns unavailable may have lost its keys
#[tokio::test]
async fn keys_of_the_registry_are_read_again_when_the_deployment_turns_unavailable() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.tick = Duration::from_secs(10);
    site.pass().await;
    site.cloud().key_reads.take();
    let mut asked = Vec::new();
    for second in (10..800).step_by(10) {
        let tick = site.tick;
        site.later(tick);
        site.serve(0);
        let outcome = site.step().await;
        assert!(outcome.facts.is_some(), "{second}");
        if site.cloud().key_reads.take() > 0 {
            asked.push(second);
        }
    }
    assert_eq!(asked, [10, 130, 370, 670], "with each look");
    // Keys that were valid stay in use while nobody answers.
    site.cloud().keys_down.set(true);
    site.later(Duration::from_mins(6));
    let outcome = site.step().await;
    assert!(outcome.facts.is_some() && outcome.error.is_none());
    assert_eq!(site.cloud().key_reads.take(), 1);
}

// What gives the registry its keys is gone: the storage is seen to again, and nothing is lost.
#[tokio::test]
async fn keys_that_are_gone_make_the_operator_see_to_the_storage_at_once() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud().keys_gone.set(true);
    site.restart();
    site.cloud().sent.take();
    site.tick = Duration::ZERO;
    let outcome = site.pass().await;
    assert!(Site::is_held(&outcome) && outcome.error.is_some());
    assert!(!site.cloud().sent.take().contains(&Sent::ReadMark), "a look alone");
    site.pass().await;
    assert!(site.cloud().sent.take().contains(&Sent::ReadMark), "all of it");
    site.pass().await;
    assert!(!site.cloud().sent.take().contains(&Sent::ReadMark), "once");
    site.cloud().keys_gone.set(false);
    site.tick = Duration::from_mins(6);
    site.settle().await;
    assert_eq!((site.exists(), site.calls()), ("True/Bucket Exists".to_owned(), vec![]));
    assert!(!site.events.iter().any(|event| event.reason == "StorageLost"));
}
