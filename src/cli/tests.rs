use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::*;
use crate::{
    runtime::leader::Claim,
    testing::{fake_api::FakeApi, settings},
};

fn settings(claim: Claim) -> Settings {
    settings::settings(FakeApi::default().client(), claim)
}

fn held() -> Claim {
    Claim::fixed(Duration::from_hours(1))
}

// lifecycle 20, the part of this file
#[tokio::test(start_paused = true)]
async fn lost_leadership_aborts_passes_at_once_and_is_no_failure() {
    let finished = AtomicBool::new(false);
    let started = Instant::now();
    let result = run_while_leading(settings(Claim::fixed(Duration::from_secs(5))), async |_| {
        tokio::time::sleep(Duration::from_secs(6)).await;
        finished.store(true, Ordering::Relaxed);
        Ok::<_, BoxError>(())
    });
    assert!(result.await.0.is_ok());
    assert_eq!(started.elapsed().as_secs(), 5);
    assert!(!finished.into_inner());
}

#[tokio::test(start_paused = true)]
async fn a_running_pass_may_end_during_shutdown_within_a_limit() {
    for (needs, finishes) in [(1000, true), (60_000, false)] {
        let finished = AtomicBool::new(false);
        let started = Instant::now();
        let result = run_while_leading(settings(held()), async |settings: Settings| {
            settings.shutdown.begin(Cause::Signal("SIGTERM"));
            tokio::time::sleep(Duration::from_millis(needs)).await;
            finished.store(true, Ordering::Relaxed);
            Ok::<_, BoxError>(())
        });
        assert!(result.await.0.is_ok());
        assert_eq!(finished.into_inner(), finishes);
        assert!(started.elapsed() <= SAFE_POINT + Duration::from_millis(5));
    }
}

#[tokio::test(start_paused = true)]
async fn controllers_that_fail_or_end_unexpectedly_are_a_failure() {
    let (ended, _) = run_while_leading(settings(held()), async |_| Ok::<_, BoxError>(())).await;
    assert!(matches!(ended, Err(Failure::ControllersEnded)), "{ended:?}");
    let (failed, _) = run_while_leading(settings(held()), async |_| Err::<(), BoxError>("no watch".into())).await;
    assert!(failed.unwrap_err().to_string().contains("no watch"));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_for_a_failure_is_a_failure() {
    let result = run_while_leading(settings(held()), async |settings: Settings| {
        settings.shutdown.begin(Cause::Failure("cannot watch /x".to_owned()));
        Ok::<_, BoxError>(())
    });
    assert!(result.await.0.unwrap_err().to_string().contains("/x"));
}

#[test]
fn a_shutdown_takes_less_than_two_seconds() {
    assert!(SAFE_POINT + RELEASE < Duration::from_secs(2));
}

// lifecycle 11, 12
#[tokio::test(start_paused = true)]
async fn timings_follow_the_topology_and_an_event_reports_an_unknown_one() {
    let path = "/apis/config.openshift.io/v1/infrastructures/cluster";
    let path_of_events = "/api/v1/namespaces/openshift-image-registry/events/";
    for (object, expected, expected_events) in [
        (
            Some(serde_json::json!({ "status": { "controlPlaneTopology": "SingleReplica" } })),
            Timings::SINGLE_REPLICA,
            0,
        ),
        (
            Some(serde_json::json!({ "status": { "controlPlaneTopology": "HighlyAvailable" } })),
            Timings::HA,
            0,
        ),
        (Some(serde_json::json!({ "spec": {} })), Timings::HA, 1),
        (None, Timings::HA, 1),
    ] {
        let api = FakeApi::default();
        if let Some(object) = object {
            api.put(path, object);
        }
        let events = Events::start(api.client(), None, Arc::new(SystemClock), Arc::new(Metrics::new("1")));
        assert_eq!(timings(&api.client(), &events).await, expected);
        events.flush(Duration::from_secs(1)).await;
        let published = api.list(path_of_events);
        assert_eq!(published.len(), expected_events);
        assert!(
            published
                .iter()
                .all(|event| event["reason"] == "ControlPlaneTopology" && event["type"] == "Warning")
        );
    }
}
