//! Acceptance of trying changed storage out before the registry uses it.

use std::time::Duration;

use image_registry_operator::api::Sensitive;

use serde_json::json;

use super::conformance::preflight::PROBE as KEY;
use super::conformance::{Death, dies};
use super::fake::{CHOSEN, Refusal};
use super::site::Site;
use image_registry_operator::names;
use image_registry_operator::status::judge::Preflight;
use image_registry_operator::storage::model::state::State;

fn failed(preflight: Option<Preflight>) -> String {
    match preflight {
        Some(Preflight::Failed(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Storage that was changed, and may not be used.
async fn refused(auth: bool) -> Site {
    let mut site = Site::applied(json!({"s3": {}})).await;
    "new".clone_into(&mut site.cloud().credentials.borrow_mut());
    *site.cloud().denied.borrow_mut() = Some(Refusal::Denied("s3:PutObject", auth));
    site.tick = Duration::from_secs(1);
    site
}

// storage-decisions T13, T14, T15: tried out once, as the registry, before the registry uses it, and nothing is left
#[tokio::test]
async fn new_storage_is_tried_out_once_as_the_registry_before_it_is_used() {
    let mut site = Site::new(json!({"s3": {}}));
    site.proxies.https = Some(Sensitive::new("http://proxy.example"));
    let mut recorded = false;
    for _ in 0..12 {
        let outcome = site.pass().await;
        recorded |= site
            .annotation(names::STORAGE_PROBE_ANNOTATION)
            .is_some_and(|text| text.contains(KEY));
        let probed = site.cloud().preflights.borrow().len();
        assert!(recorded || probed == 0);
        assert!(outcome.facts.is_none() || probed == 1);
        assert_eq!(site.status().get("s3").is_some(), site.running.is_some());
    }
    assert_eq!(site.preflights(), [format!("{CHOSEN} as secondhttp://proxy.example")]);
    assert_eq!(site.probe_record(), None);
    assert!(recorded && site.running.is_some() && site.cloud().container(CHOSEN).unwrap().probes.is_empty());
}

// storage-decisions T4: the mark is read again before anything is written
#[tokio::test]
async fn new_credentials_that_reach_another_clusters_container_write_nothing_to_it() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    let before = site.running.clone();
    *site.cloud().credentials.borrow_mut() = "of-another-tenant".to_owned();
    let foreign = Some("green-1".to_owned());
    site.cloud().containers.borrow_mut().get_mut(CHOSEN).unwrap().mark = foreign;
    site.tick = Duration::from_secs(1);
    let mut last = None;
    for _ in 0..6 {
        last = site.pass().await.preflight.or(last);
    }
    assert!(failed(last).contains("the mark of cluster green-1"));
    assert!(site.preflights().is_empty() && site.calls().is_empty());
    assert_eq!(site.running, before);
}

// storage-decisions 18
#[tokio::test]
async fn credentials_that_may_not_write_change_nothing_of_the_running_registry() {
    let mut site = refused(false).await;
    let status = site.status().clone();
    for _ in 0..3 {
        site.later(Duration::from_mins(6));
        let outcome = site.whole().await;
        assert!(Site::is_held(&outcome) && outcome.wait.is_none() && outcome.error.is_none());
        let message = failed(outcome.preflight);
        assert!(
            message.starts_with(&format!("s3:PutObject failed on {CHOSEN}/{KEY}: AccessDenied")),
            "{message}"
        );
    }
    assert_eq!(site.status(), &status);
    *site.cloud().denied.borrow_mut() = None;
    site.later(Duration::from_mins(6));
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
    let began = site.snapshot.now;
    let mut tries = Vec::new();
    let mut last = first;
    for _ in 0..40 {
        let tick = site.tick;
        site.later(last.again.unwrap().saturating_sub(tick));
        let before = site.cloud().preflights.borrow().len();
        last = site.whole().await;
        let gone = site.snapshot.now.duration_since(began).as_secs();
        if site.cloud().preflights.borrow().len() > before {
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
            site.config["status"]["conditions"]
                .as_array_mut()
                .unwrap()
                .push(degraded);
        }
        site.restart();
        // A record that was made before the restart.
        let step = site.step().await;
        site.store_record(step.record.as_ref().unwrap());
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
    *site.cloud().denied.borrow_mut() = Some(Refusal::Undecided);
    for _ in 0..3 {
        let outcome = site.whole().await;
        assert!(matches!(&outcome.preflight, Some(Preflight::Undecided(message)) if message.contains("503")));
        assert!(Site::is_held(&outcome));
        site.later(Duration::from_mins(6));
    }
}

// storage-decisions T13, 20
#[tokio::test]
async fn unchanged_storage_is_not_tried_out_after_a_restart_and_changed_storage_is_tried_out_again() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    site.restart();
    site.settle().await;
    site.edit(json!({"replicas": 1, "logLevel": "Debug"}));
    site.settle().await;
    assert!(site.preflights().is_empty());
    *site.cloud().credentials.borrow_mut() = "rotated".to_owned();
    site.settle().await;
    assert_eq!(site.preflights().len(), 1);
    site.set_ca(json!({"bundle": "CA"}));
    site.settle().await;
    assert_eq!(site.preflights().len(), 1);
    assert_eq!(site.running.as_ref().unwrap().ca_bundle.as_deref(), Some("CA"));
}

// storage-decisions T13, storage-s3 24: user's storage as well, and nothing but the probe touches it
#[tokio::test]
async fn storage_of_a_user_is_tried_out_too() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}}));
    site.cloud().put("of-a-user", 3, None);
    site.settle().await;
    assert_eq!((site.preflights().len(), site.calls()), (1, vec![]));
    assert_eq!((site.state(), site.running.is_some()), (Some("Unmanaged"), true));
}

// storage-decisions T14: with spec.readOnly nothing is written, and so nothing recorded
#[tokio::test]
async fn a_registry_that_takes_no_pushes_is_tried_out_without_writing() {
    let mut site = Site::new(json!({"s3": {"bucket": "of-a-user"}}));
    site.cloud().put("of-a-user", 3, None);
    site.read_only = true;
    for _ in 0..5 {
        site.pass().await;
        assert_eq!(site.probe_record(), None);
    }
    assert!(site.running.is_some() && site.preflights().len() == 1);
}

// storage-decisions 19
#[tokio::test]
async fn a_probe_left_behind_is_deleted_from_the_old_bucket_first() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    "new".clone_into(&mut site.cloud().credentials.borrow_mut());
    assert!(dies(&mut site, Death::AfterProbe).await);
    assert!(site.cloud().container(CHOSEN).unwrap().probes.keys().eq([KEY]));
    // Meanwhile the Config names another bucket.
    site.cloud().put("next", 0, None);
    site.edit(json!({"storage": {"s3": {"bucket": "next"}}}));
    // The old one does not answer at first.
    site.cloud().down.set(true);
    let cleared = site.clear_probes().await;
    assert!(cleared.record.is_none() && cleared.again == Some(Duration::from_secs(5)));
    site.cloud().down.set(false);
    assert!(site.clear_probes().await.again.is_some(), "not before its time");
    site.later(Duration::from_secs(5));
    assert!(site.clear_probes().await.events.is_empty());
    // The expected owner of the bucket is a condition on Managed storage alone.
    assert_eq!(*site.cloud().clearing_states.borrow(), [Some(State::Unmanaged)]);
    assert!(site.cloud().container(CHOSEN).unwrap().probes.is_empty());
    assert_eq!(site.probe_record(), None);
    site.settle().await;
    assert!(site.cloud().container("next").unwrap().probes.is_empty() && site.running.is_some());
}

// storage-decisions T15
#[tokio::test]
async fn a_probe_that_cannot_be_deleted_for_a_day_is_told_of_and_let_go() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    "new".clone_into(&mut site.cloud().credentials.borrow_mut());
    assert!(dies(&mut site, Death::AfterProbe).await);
    site.cloud().down.set(true);
    site.clear_probes().await;
    site.later(Duration::from_hours(25));
    let cleared = site.clear_probes().await;
    assert_eq!(cleared.events.len(), 1);
    assert!(
        cleared.events[0].warning
            && cleared.events[0].message.contains(KEY)
            && cleared.events[0].message.contains(CHOSEN)
    );
    assert_eq!(site.probe_record(), None);
}

// storage-decisions T7: nothing is tried out for a Config that is not the newest
#[tokio::test]
async fn nothing_is_written_for_a_config_that_changed() {
    let mut site = refused(false).await;
    site.pass().await;
    site.cluster.stale.set(true);
    let outcome = site.pass().await;
    assert!(Site::is_held(&outcome) && site.preflights().is_empty());
}

#[tokio::test]
async fn a_probe_record_that_names_an_image_deletes_nothing() {
    let mut site = Site::applied(json!({"s3": {}})).await;
    for key in [
        "docker/registry/v2/blobs/precious",
        "docker/registry/v2/_preflight/",
        "",
    ] {
        let container = |site: &Site| site.cloud().container(CHOSEN).unwrap();
        site.cloud().containers.borrow_mut().get_mut(CHOSEN).unwrap().probes = [(key.to_owned(), Vec::new())].into();
        let left = json!([{
            "location": site.created(), "storage": site.storage_spec(), "key": key, "at": site.snapshot.now.to_string(),
        }]);
        let annotations = json!({names::STORAGE_PROBE_ANNOTATION: left.to_string()});
        site.store_record(&json!({"metadata": {"annotations": annotations}}));
        site.clear_probes().await;
        assert!(
            container(&site).probes.keys().eq([key]),
            "an object of this key is not the operator's to delete"
        );
    }
}
