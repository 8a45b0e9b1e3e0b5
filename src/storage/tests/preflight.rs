//! Acceptance of trying changed storage out before the registry uses it.

use std::time::Duration;

use serde_json::json;

use super::super::preflight::{Denial, Trial};
use super::fake::CHOSEN;
use super::site::Site;
use super::warnings;
use crate::names;
use crate::status::judge::Preflight;

const KEY: &str = "docker/registry/v2/_preflight/uid-of-the-namespace";

fn denied(action: &str, auth: bool) -> Trial {
    Trial::Denied(Denial {
        action: action.to_owned(),
        resource: format!("{CHOSEN}/{KEY}"),
        code: "AccessDenied".to_owned(),
        message: String::new(),
        auth,
    })
}

fn failed(preflight: Option<Preflight>) -> String {
    match preflight {
        Some(Preflight::Failed(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Storage that was changed, and may not be used.
async fn refused(auth: bool) -> Site {
    let mut site = Site::applied(json!({"s3": {}})).await;
    *site.cloud.credentials.borrow_mut() = "new".to_owned();
    *site.cloud.denied.borrow_mut() = Some(denied("s3:PutObject", auth));
    site.tick = Duration::from_secs(1);
    site
}

// storage-decisions T13, T14, T15: tried out once, as the registry, before the registry uses it, and nothing is left
#[tokio::test]
async fn new_storage_is_tried_out_once_as_the_registry_before_it_is_used() {
    let mut site = Site::new(json!({"s3": {}}));
    site.proxy = Some("http://proxy.example".to_owned());
    let mut recorded = false;
    for _ in 0..12 {
        let outcome = site.pass().await;
        recorded |= site
            .annotation(names::STORAGE_PROBE_ANNOTATION)
            .is_some_and(|text| text.contains(KEY));
        let probed = site.cloud.probed.borrow().len();
        assert!(recorded || probed == 0);
        assert!(outcome.facts.is_none() || probed == 1);
        assert_eq!(site.world.status().get("s3").is_some(), site.live.is_some());
    }
    assert_eq!(site.probed(), [format!("{CHOSEN} as secondhttp://proxy.example")]);
    assert_eq!(site.annotation(names::STORAGE_PROBE_ANNOTATION), None);
    assert!(recorded && site.live.is_some() && site.cloud.bucket(CHOSEN).unwrap().probes.is_empty());
}

// storage-decisions 18
#[tokio::test]
async fn credentials_that_may_not_write_change_nothing_of_the_running_registry() {
    let mut site = refused(false).await;
    let status = site.world.status().clone();
    for _ in 0..3 {
        site.wait(Duration::from_mins(6));
        let outcome = site.whole().await;
        assert!(Site::is_held(&outcome) && outcome.wait.is_none() && outcome.fault.is_none());
        let message = failed(outcome.preflight);
        assert!(
            message.starts_with(&format!("s3:PutObject failed on {CHOSEN}/{KEY}: AccessDenied")),
            "{message}"
        );
    }
    assert_eq!(site.world.status(), &status);
    *site.cloud.denied.borrow_mut() = None;
    site.wait(Duration::from_mins(6));
    let outcome = site.settle().await;
    assert!(outcome.facts.is_some() && outcome.preflight.is_none());
}

// storage-decisions T17: fresh keys get two minutes, tries are 5 s to 5 min apart, each wait says when it ends
#[tokio::test]
async fn a_refused_key_is_wrong_only_after_two_minutes() {
    let mut site = refused(true).await;
    let first = site.whole().await;
    assert!(matches!(&first.preflight, Some(Preflight::Waiting(message)) if message.contains("denied on")));
    assert!(Site::is_held(&first) && first.again.unwrap() <= Duration::from_secs(5));
    let began = site.world.snapshot.now;
    let mut tries = Vec::new();
    let mut last = first;
    for _ in 0..40 {
        site.wait(last.again.unwrap().saturating_sub(site.tick));
        let before = site.cloud.probed.borrow().len();
        last = site.whole().await;
        let gone = site.world.snapshot.now.duration_since(began).as_secs();
        if site.cloud.probed.borrow().len() > before {
            tries.push(gone);
        }
        let is_failed = matches!(last.preflight, Some(Preflight::Failed(_)));
        assert_eq!(is_failed, gone >= 120, "{gone}");
    }
    let waits: Vec<i64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.windows(2).all(|pair| pair[1] >= pair[0]), "{waits:?}");
    assert_eq!((tries[0], waits.iter().max()), (5, Some(&300)), "{tries:?}");
}

// storage-decisions T17: what was degraded before a restart stays so
#[tokio::test]
async fn a_restart_does_not_make_a_known_failure_fresh() {
    for known in [false, true] {
        let mut site = refused(true).await;
        if known {
            let degraded = json!({"type": "Degraded", "status": "True", "reason": "StoragePreflightFailed"});
            site.world.config["status"]["conditions"]
                .as_array_mut()
                .unwrap()
                .push(degraded);
        }
        site.restart();
        // A record that was made before the restart.
        let step = site.step().await;
        site.world.store_record(&step);
        let outcome = site.step().await;
        assert_eq!(
            matches!(outcome.preflight, Some(Preflight::Failed(_))),
            known,
            "{:?}",
            outcome.preflight
        );
    }
}

// storage-decisions T17
#[tokio::test]
async fn no_answer_is_never_called_a_missing_permission() {
    let mut site = refused(false).await;
    *site.cloud.denied.borrow_mut() = Some(Trial::Undecided("503 SlowDown".to_owned()));
    for _ in 0..3 {
        let outcome = site.whole().await;
        assert!(matches!(&outcome.preflight, Some(Preflight::Undecided(message)) if message.contains("503")));
        assert!(Site::is_held(&outcome));
        site.wait(Duration::from_mins(6));
    }
}

// storage-decisions T13, 20
#[tokio::test]
async fn unchanged_storage_is_not_tried_out_after_a_restart_and_changed_storage_is_tried_out_again() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.restart();
    site.settle().await;
    site.world.edit(json!({"replicas": 1, "logLevel": "Debug"}));
    site.settle().await;
    assert!(site.probed().is_empty());
    *site.cloud.credentials.borrow_mut() = "rotated".to_owned();
    site.settle().await;
    assert_eq!(site.probed().len(), 1);
    *site.cloud.ca.borrow_mut() = Some(Ok("CA".to_owned()));
    site.settle().await;
    assert_eq!(site.probed().len(), 1);
    assert_eq!(site.live.unwrap().ca_bundle.as_deref(), Some("CA"));
}

// storage-decisions T13, storage-s3 24: user's storage as well, and nothing but the probe touches it
#[tokio::test]
async fn storage_of_a_user_is_tried_out_too() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}}));
    site.cloud.put("of-a-user", 3, None);
    site.settle().await;
    assert_eq!((site.probed().len(), site.calls()), (1, vec![]));
    assert_eq!((site.world.state(), site.live.is_some()), (Some("Unmanaged"), true));
}

// storage-decisions T14: with spec.readOnly nothing is written, and so nothing recorded
#[tokio::test]
async fn a_registry_that_takes_no_pushes_is_tried_out_without_writing() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}}));
    site.cloud.put("of-a-user", 3, None);
    site.read_only = true;
    for _ in 0..5 {
        site.pass().await;
        assert_eq!(site.annotation(names::STORAGE_PROBE_ANNOTATION), None);
    }
    assert!(site.live.is_some() && site.probed().len() == 1);
}

// storage-decisions 19
#[tokio::test]
async fn a_probe_left_behind_is_deleted_from_the_old_bucket_first() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    *site.cloud.credentials.borrow_mut() = "new".to_owned();
    site.cloud.dies_in_probe.set(true);
    site.pass().await;
    site.pass().await;
    assert_eq!(site.cloud.bucket(CHOSEN).unwrap().probes, [KEY]);
    site.cloud.dies_in_probe.set(false);
    site.restart();
    // Meanwhile the Config names another bucket.
    site.cloud.put("next", 0, None);
    site.world.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    // The old one does not answer at first.
    site.cloud.down.set(true);
    let cleared = site.clear().await;
    assert!(cleared.record.is_none() && cleared.again == Some(Duration::from_secs(5)));
    site.cloud.down.set(false);
    assert!(site.clear().await.again.is_some(), "not before its time");
    site.wait(Duration::from_secs(5));
    assert!(site.clear().await.notices.is_empty());
    assert!(site.cloud.bucket(CHOSEN).unwrap().probes.is_empty());
    assert_eq!(site.annotation(names::STORAGE_PROBE_ANNOTATION), None);
    site.settle().await;
    assert!(site.cloud.bucket("next").unwrap().probes.is_empty() && site.live.is_some());
}

// storage-decisions T15
#[tokio::test]
async fn a_probe_that_cannot_be_deleted_for_a_day_is_told_of_and_let_go() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    *site.cloud.credentials.borrow_mut() = "new".to_owned();
    site.cloud.dies_in_probe.set(true);
    site.pass().await;
    site.pass().await;
    site.restart();
    site.cloud.down.set(true);
    site.clear().await;
    site.wait(Duration::from_hours(25));
    let cleared = site.clear().await;
    assert_eq!(cleared.notices.len(), 1);
    assert!(
        cleared.notices[0].warning && cleared.notices[0].note.contains(KEY) && cleared.notices[0].note.contains(CHOSEN)
    );
    assert_eq!(site.annotation(names::STORAGE_PROBE_ANNOTATION), None);
}

// storage-decisions T7: nothing is tried out for a Config that is not the newest
#[tokio::test]
async fn nothing_is_written_for_a_config_that_changed() {
    let mut site = refused(false).await;
    site.pass().await;
    site.world.stale.set(true);
    let outcome = site.pass().await;
    assert!(Site::is_held(&outcome) && site.probed().is_empty());
}

// storage-decisions T16: the status, its state and the event of a switch come with the switch
#[tokio::test]
async fn a_switch_is_told_when_it_is_made() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.cloud.put("next", 2, None);
    *site.cloud.denied.borrow_mut() = Some(denied("s3:PutObject", false));
    site.world.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    for _ in 0..4 {
        let outcome = site.pass().await;
        assert!(!outcome.reconfigured && outcome.notices.is_empty() && outcome.facts.is_none());
        assert_eq!(site.world.status()["s3"]["bucket"], CHOSEN);
        assert_eq!(site.world.config["status"]["storageManaged"], true);
    }
    *site.cloud.denied.borrow_mut() = None;
    let mut told = 0;
    for _ in 0..4 {
        let outcome = site.pass().await;
        told += u32::from(outcome.reconfigured);
        assert_eq!(
            outcome.reconfigured,
            outcome.notices.iter().any(|n| n.reason == "StorageReconfigured")
        );
        assert!(warnings(&outcome).is_empty());
    }
    assert_eq!((told, site.world.status()["s3"]["bucket"].as_str()), (1, Some("next")));
    assert_eq!(site.world.config["status"]["storageManaged"], false);
}
