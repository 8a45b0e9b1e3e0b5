use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    runtime::clock::SystemClock,
    testing::{
        clock::PausedClock,
        fake_api::{FakeApi, Fault},
    },
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/openshift-image-registry/leases";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/openshift-image-registry/leases/openshift-master-controllers";

fn candidate(api: &FakeApi, identity: &str) -> Candidate {
    Candidate {
        client: api.client(),
        identity: identity.to_owned(),
        timings: Timings::HA,
        clock: Arc::new(PausedClock::start()),
        events: Events::discard(),
        metrics: Arc::new(Metrics::new("1")),
    }
}

fn spec(api: &FakeApi) -> Value {
    api.get(LEASE).unwrap()["spec"].clone()
}

/// A Lease as the Go operator writes it, or without a holder after a release.
fn foreign(holder: &str, renewed: &str, transitions: i32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": "openshift-master-controllers", "namespace": "openshift-image-registry", "uid": "u",
            "labels": { "kept": "yes" } },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": if holder.is_empty() { 1 } else { 137 },
            "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": renewed, "leaseTransitions": transitions },
    })
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

async fn timed<T>(future: impl Future<Output = T>) -> (T, u64) {
    let started = Instant::now();
    (future.await, started.elapsed().as_secs())
}

/// Another operator that renews the Lease in time, until the returned task is aborted.
fn renewing(api: &FakeApi, holder: &'static str) -> tokio::task::JoinHandle<()> {
    let api = api.clone();
    tokio::spawn(async move {
        for round in 0..1_000_000 {
            api.put(LEASE, foreign(holder, &format!("2026-01-01T00:00:00.{round:06}Z"), 3));
            seconds(26).await;
        }
    })
}

// lifecycle 6: the three durations
// lifecycle 11
#[test]
fn timings_follow_the_topology() {
    let timings = |topology| {
        let Timings {
            lease,
            renew_deadline,
            retry,
        } = Timings::for_topology(topology);
        [lease, renew_deadline, retry].map(|duration| duration.as_secs())
    };
    assert_eq!(timings("SingleReplica"), [270, 240, 60]);
    for other in ["HighlyAvailable", "External", "DualReplica", ""] {
        assert_eq!(timings(other), [137, 107, 26], "{other}");
    }
    for timings in [Timings::HA, Timings::SINGLE_REPLICA] {
        assert!(timings.lease > timings.renew_deadline && timings.renew_deadline > timings.retry);
    }
}

#[test]
fn identities_contain_the_host_name_and_are_unique() {
    let (one, two) = (identity(), identity());
    assert_ne!(one, two);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(one.starts_with(&format!("{}_", host.trim())), "{one}");
}

#[tokio::test(start_paused = true)]
async fn an_absent_lease_is_created_with_two_requests() {
    let api = FakeApi::default();
    let (claim, time) = timed(acquire(candidate(&api, "a"))).await;
    assert!(claim.is_current());
    assert_eq!(time, 0);
    assert_eq!(api.requests(), [format!("GET {LEASE}"), format!("POST {LEASES}")]);
    let spec = spec(&api);
    assert_eq!(spec["holderIdentity"], "a");
    assert_eq!(spec["leaseDurationSeconds"], 137);
    assert_eq!(spec["leaseTransitions"], 0);
    assert_eq!(spec["renewTime"], "1970-01-01T00:00:00.000000Z");
    assert_eq!(spec["acquireTime"], spec["renewTime"]);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once_with_two_requests_and_increments_the_transitions() {
    let api = FakeApi::default();
    api.put(LEASE, foreign("", "2026-01-01T00:00:00.000000Z", 4));
    let (_claim, time) = timed(acquire(candidate(&api, "a"))).await;
    assert_eq!(time, 0);
    assert_eq!(api.requests(), [format!("GET {LEASE}"), format!("PATCH {LEASE}")]);
    assert_eq!(
        (&spec(&api)["holderIdentity"], &spec(&api)["leaseTransitions"]),
        (&json!("a"), &json!(5))
    );
    assert_eq!(api.get(LEASE).unwrap()["metadata"]["labels"]["kept"], "yes");
}

// A write succeeded and its response was lost.
#[tokio::test(start_paused = true)]
async fn a_candidate_does_not_wait_for_its_own_lease() {
    let api = FakeApi::default();
    api.put(LEASE, foreign("a", "2026-01-01T00:00:00.000000Z", 4));
    let (claim, time) = timed(acquire(candidate(&api, "a"))).await;
    assert!(claim.is_current());
    assert_eq!(time, 0);
    assert_eq!(spec(&api)["leaseTransitions"], 5);
}

// lifecycle 10, 28 of deploy: regardless of the time stamps in the Lease
#[tokio::test(start_paused = true)]
async fn a_renewed_lease_is_never_taken() {
    for fault in [Fault::None, Fault::NoWatch] {
        let api = FakeApi::default();
        let other = renewing(&api, "go");
        tokio::task::yield_now().await;
        api.fault(fault);
        let waiting = tokio::time::timeout(Duration::from_hours(3), acquire(candidate(&api, "a"))).await;
        assert!(waiting.is_err(), "{fault:?}");
        assert_eq!(spec(&api)["holderIdentity"], "go");
        other.abort();
    }
}

// Issue 3, Must show: a candidate takes over within 163 s, with and without a watch
#[tokio::test(start_paused = true)]
async fn the_lease_of_a_crashed_holder_is_taken_within_163_seconds_but_not_before_it_expires() {
    for fault in [Fault::None, Fault::NoWatch] {
        for lived in [0, 40, 200] {
            let api = FakeApi::default();
            let other = renewing(&api, "go");
            tokio::task::yield_now().await;
            api.fault(fault);
            let candidate = tokio::spawn(acquire(candidate(&api, "a")));
            seconds(lived).await;
            other.abort();
            let (claim, time) = timed(candidate).await;
            // The last renewal was up to 26 s before the crash.
            assert!(
                (137 - 26..=163).contains(&time),
                "{time} s after the crash ({fault:?}, lived {lived} s)"
            );
            assert!(claim.unwrap().is_current());
            assert_eq!(spec(&api)["leaseTransitions"], 4);
        }
    }
}

// lifecycle 13, deploy 28; with the watch within a second, without it by polling within 26 * 2.2 s
#[tokio::test(start_paused = true)]
async fn a_waiting_candidate_takes_a_released_lease_soon() {
    for (fault, limit) in [(Fault::None, 1), (Fault::NoWatch, 58)] {
        let api = FakeApi::default();
        let first = acquire(candidate(&api, "a")).await;
        api.fault(fault);
        let second = tokio::spawn(acquire(candidate(&api, "b")));
        seconds(70).await;
        first.release().await;
        assert!(!first.is_current());
        let (second, time) = timed(second).await;
        assert!(time <= limit, "{time} s, {fault:?}");
        assert!(second.unwrap().is_current());
        assert_eq!(
            (&spec(&api)["holderIdentity"], &spec(&api)["leaseTransitions"]),
            (&json!("b"), &json!(1))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_taken_soon() {
    let api = FakeApi::default();
    api.put(LEASE, foreign("go", "2026-01-01T00:00:00.000000Z", 0));
    let waiting = tokio::spawn(acquire(candidate(&api, "a")));
    seconds(5).await;
    api.delete(LEASE);
    let (claim, time) = timed(waiting).await;
    assert!(claim.unwrap().is_current() && time <= 1, "{time}");
}

// lifecycle 10
#[tokio::test(start_paused = true)]
async fn of_many_candidates_exactly_one_leads_at_any_time() {
    let api = FakeApi::default();
    let claims: Vec<_> = ["a", "b", "c"]
        .map(|name| tokio::spawn(acquire(candidate(&api, name))))
        .into();
    seconds(600).await;
    assert_eq!(claims.iter().filter(|claim| claim.is_finished()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_holder_renews_and_a_waiting_candidate_polls_rarely() {
    let api = FakeApi::default();
    let first = acquire(candidate(&api, "a")).await;
    let _second = tokio::spawn(acquire(candidate(&api, "b")));
    seconds(1).await;
    api.requests();
    seconds(3600).await;
    assert!(first.is_current());
    let requests = api.requests();
    let count = |verb: &str| requests.iter().filter(|line| line.starts_with(verb)).count();
    assert!((136..=139).contains(&count("PATCH")), "{} renewals", count("PATCH"));
    assert!(
        (3600 / 58..=3600 / 26).contains(&count("GET")),
        "{} polls",
        count("GET")
    );
    assert_eq!(count("WATCH"), count("GET"));
}

// lifecycle 20, the part of this room
#[tokio::test(start_paused = true)]
async fn a_claim_ends_at_its_deadline_even_if_calls_hang() {
    for fault in [Fault::Hang, Fault::HangAfter, Fault::Fail] {
        let api = FakeApi::default();
        let claim = acquire(candidate(&api, "a")).await;
        // Some renewals succeed; the last one was sent 22 s ago.
        seconds(100).await;
        api.fault(fault);
        let (why, time) = timed(claim.lost()).await;
        assert_eq!(time, 107 - 22, "{fault:?}");
        assert!(!claim.is_current());
        assert!(why.contains("in time"), "{why}");
        // For other candidates the Lease is held until 137 s after the last renewal, which is later.
        assert_eq!(spec(&api)["holderIdentity"], "a");
        // The claim does not become current again.
        api.fault(Fault::None);
        seconds(300).await;
        assert!(!claim.is_current());
    }
}

// storage-decisions T8: a request to a cloud, of up to 70 s, does not outlive the Lease
#[tokio::test(start_paused = true)]
async fn what_takes_long_starts_only_if_it_ends_before_another_process_can_lead() {
    let long = Duration::from_secs(70);
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.fault(Fault::Hang);
    seconds(66).await;
    assert!(claim.is_current_for(long));
    seconds(1).await;
    assert!(
        !claim.is_current_for(long) && claim.is_current(),
        "it would end 137 s after the renewal"
    );
    // What is short enough is allowed until the deadline, and not longer.
    seconds(39).await;
    assert!(claim.is_current_for(Duration::ZERO));
    seconds(1).await;
    assert!(!claim.is_current_for(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_claim_counts_from_before_the_renewal_was_sent() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.fault(Fault::Slow);
    seconds(60).await;
    // Renewals were sent after 26 s and 52 s; the answer to the second came 10 s later.
    seconds(3).await;
    api.fault(Fault::Fail);
    assert_eq!(timed(claim.lost()).await.1, 52 + 107 - 63);
}

// The monotonic clock does not count the time for which a machine is suspended; other candidates do.
#[tokio::test(start_paused = true)]
async fn a_claim_is_not_current_after_a_suspension_and_ends_if_another_process_led_meanwhile() {
    let api = FakeApi::default();
    let (clock, claim) = on_a_set_clock(&api, 0).await;
    seconds(30).await;
    clock.ahead(102);
    assert!(claim.is_current(), "the last renewal was sent 106 s ago");
    clock.ahead(103);
    assert!(!claim.is_current(), "a write after 107 s may meet another leader");
    let other = foreign("b", "2026-01-01T00:00:00.000000Z", 1);
    api.put(LEASE, other);
    let (why, time) = timed(claim.lost()).await;
    assert!(why.contains("held by b") && time == 22, "{why} after {time} s");
    assert_eq!(spec(&api)["holderIdentity"], "b");
}

#[tokio::test(start_paused = true)]
async fn leadership_goes_on_after_a_suspension_if_nobody_wrote_the_lease() {
    let api = FakeApi::default();
    let (clock, claim) = on_a_set_clock(&api, 0).await;
    seconds(30).await;
    clock.ahead(10_000);
    assert!(!claim.is_current());
    let before = spec(&api)["renewTime"].clone();
    // The next renewal was due after 52 s.
    seconds(23).await;
    assert!(claim.is_current());
    assert_ne!(spec(&api)["renewTime"], before);
    assert_eq!(spec(&api)["leaseTransitions"], 0);
    // While the API cannot be reached, the claim stays as it is, and ends at the deadline of the monotonic clock.
    clock.ahead(20_000);
    api.fault(Fault::Fail);
    seconds(30).await;
    assert!(!claim.is_current());
    assert!(timed(claim.lost()).await.1 <= 107);
}

// The write that takes the Lease, and each renewal, count from before they were sent, also on the wall clock.
#[tokio::test(start_paused = true)]
async fn a_suspension_during_a_renewal_counts() {
    let api = FakeApi::default();
    let (clock, claim) = on_a_set_clock(&api, 0).await;
    api.fault(Fault::Slow);
    // The renewal was sent after 26 s; its answer comes 10 s later.
    seconds(30).await;
    clock.ahead(200);
    seconds(7).await;
    assert!(!claim.is_current());
}

/// A process that leads, on a machine whose clock is ahead by so many seconds.
async fn on_a_set_clock(api: &FakeApi, ahead: i64) -> (Arc<PausedClock>, Claim) {
    let clock = Arc::new(PausedClock::start());
    clock.ahead(ahead);
    let candidate = Candidate {
        clock: clock.clone(),
        ..candidate(api, "a")
    };
    (clock, acquire(candidate).await)
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_prolongs_no_claim() {
    let api = FakeApi::default();
    let (clock, claim) = on_a_set_clock(&api, 86_400).await;
    seconds(30).await;
    clock.ahead(0);
    assert!(claim.is_current());
    api.fault(Fault::Fail);
    assert_eq!(timed(claim.lost()).await.1, 26 + 107 - 30);
}

#[tokio::test(start_paused = true)]
async fn leadership_survives_a_short_outage() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    for fault in [Fault::Fail, Fault::Hang] {
        seconds(30).await;
        api.fault(fault);
        seconds(70).await;
        assert!(claim.is_current(), "{fault:?}");
        api.fault(Fault::None);
        seconds(60).await;
        assert!(claim.is_current(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_holder_or_a_cleared_holder_ends_the_claim_at_the_next_renewal() {
    for (holder, words) in [("go", "held by go"), ("", "cleared")] {
        let api = FakeApi::default();
        let claim = acquire(candidate(&api, "a")).await;
        api.put(LEASE, foreign(holder, "2026-01-01T00:00:00.000000Z", 9));
        let (why, time) = timed(claim.lost()).await;
        assert!(why.contains(words), "{why}");
        assert_eq!(time, 26);
        assert!(!claim.is_current());
        assert_eq!(
            spec(&api)["leaseTransitions"],
            9,
            "the Lease of another process was overwritten"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_change_of_the_metadata_does_not_end_the_claim() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    let mut lease = api.get(LEASE).unwrap();
    lease["metadata"]["labels"] = json!({ "by": "an administrator" });
    api.put(LEASE, lease);
    seconds(30).await;
    assert!(claim.is_current());
    api.delete(LEASE);
    seconds(30).await;
    assert!(claim.is_current(), "a deleted lease is created again");
    assert_eq!(spec(&api)["holderIdentity"], "a");
}

// The namespace is gone: a write of anything in it is answered with 404.
#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_created_is_retried_slowly_and_ends_the_claim_at_its_deadline() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.delete(LEASE);
    api.fault(Fault::Refuse(404, "/leases"));
    api.latency(Duration::from_millis(1));
    api.requests();
    let (why, time) = timed(claim.lost()).await;
    assert!(why.contains("in time") && time == 107, "{why} after {time} s");
    // Three requests each 5 s, after the 26 s until the first renewal.
    let requests = api.requests().len();
    assert!(requests <= 3 * (107 - 26) / 5 + 3, "{requests}");
}

// What the caches know is from the future of a restored etcd; only a new process reads everything again.
#[tokio::test(start_paused = true)]
async fn an_etcd_that_is_restored_from_a_backup_ends_the_claim_at_the_next_renewal() {
    for lost in [false, true] {
        let api = FakeApi::default();
        let claim = acquire(candidate(&api, "a")).await;
        let backup = api.get(LEASE).unwrap();
        seconds(100).await;
        api.go_back_to(0);
        if lost {
            api.delete(LEASE);
        } else {
            api.put(LEASE, backup);
        }
        let lost = tokio::time::timeout(Duration::from_secs(26), claim.lost()).await;
        let why = lost.expect("leadership goes on");
        assert!(why.contains("restored"), "{why}");
        assert!(!claim.is_current());
    }
}

// lifecycle 10
#[tokio::test(start_paused = true)]
async fn an_edited_duration_never_lets_two_processes_lead() {
    for (duration, watches) in [(1, true), (1, false), (0, true), (-5, false)] {
        let api = FakeApi::default();
        if !watches {
            api.fault(Fault::NoWatch);
        }
        let first = acquire(candidate(&api, "a")).await;
        let second = tokio::spawn(acquire(candidate(&api, "b")));
        seconds(70).await;
        let mut lease = api.get(LEASE).unwrap();
        lease["spec"]["leaseDurationSeconds"] = json!(duration);
        api.put(LEASE, lease);
        for passed in 0..400 {
            assert!(
                !second.is_finished(),
                "two leaders after {passed} s, duration {duration}"
            );
            seconds(1).await;
        }
        assert!(first.is_current());
        assert_eq!(spec(&api)["leaseDurationSeconds"], 137, "the renewal repairs it");
        second.abort();
    }
}

// An edited duration does not keep the Lease of a crashed holder for longer than the longest one that an operator records.
#[tokio::test(start_paused = true)]
async fn a_huge_duration_counts_as_the_longest_one() {
    let api = FakeApi::default();
    let mut lease = foreign("go", "2026-01-01T00:00:00.000000Z", 0);
    for (duration, expected) in [(i32::MAX, 270), (270, 270), (200, 200), (100, 137)] {
        lease["spec"]["leaseDurationSeconds"] = json!(duration);
        api.put(LEASE, lease.clone());
        let (claim, time) = timed(tokio::time::timeout(
            Duration::from_mins(10),
            acquire(candidate(&api, "a")),
        ))
        .await;
        let claim = claim.expect("nobody leads");
        assert!(claim.is_current());
        assert!((expected..=expected + 1).contains(&time), "{duration}: {time}");
        claim.release().await;
    }
}

// lifecycle 13, deploy 27
#[tokio::test(start_paused = true)]
async fn release_clears_the_holder_and_no_request_follows() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    seconds(10).await;
    claim.release().await;
    claim.release().await;
    let spec = spec(&api);
    assert_eq!(
        (&spec["holderIdentity"], &spec["leaseDurationSeconds"]),
        (&json!(""), &json!(1))
    );
    assert!(claim.lost().await.contains("released"));
    api.requests();
    seconds(1000).await;
    assert!(api.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn release_does_not_change_the_lease_of_another_holder() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.put(LEASE, foreign("go", "2026-01-01T00:00:00.000000Z", 9));
    claim.release().await;
    assert_eq!(spec(&api)["holderIdentity"], "go");
}

#[tokio::test(start_paused = true)]
async fn release_succeeds_after_a_renewal_without_a_response() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.fault(Fault::HangAfter);
    seconds(30).await;
    api.fault(Fault::None);
    claim.release().await;
    assert_eq!(spec(&api)["holderIdentity"], "");
}

#[tokio::test(start_paused = true)]
async fn release_is_bounded_and_the_claim_ends_before_it() {
    let api = FakeApi::default();
    let claim = acquire(candidate(&api, "a")).await;
    api.fault(Fault::Hang);
    let ((), time) = timed(async {
        let release = claim.release();
        tokio::pin!(release);
        assert!(
            tokio::time::timeout(Duration::from_millis(1), &mut release)
                .await
                .is_err()
        );
        assert!(!claim.is_current(), "still current during the release");
        release.await;
    })
    .await;
    assert!(time <= 5, "{time}");
}

#[tokio::test(start_paused = true)]
async fn a_candidate_retries_while_the_api_is_unreachable() {
    let api = FakeApi::default();
    api.fault(Fault::Hang);
    let waiting = tokio::spawn(acquire(candidate(&api, "a")));
    seconds(300).await;
    api.fault(Fault::Fail);
    seconds(300).await;
    api.fault(Fault::None);
    let (claim, time) = timed(waiting).await;
    assert!(claim.unwrap().is_current() && time <= 11, "{time}");
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_publishes_an_event_about_the_lease() {
    let api = FakeApi::default();
    let mut candidate = candidate(&api, "a");
    candidate.events = Events::start(api.client(), None, Arc::new(SystemClock), candidate.metrics.clone());
    let events = candidate.events.clone();
    let _claim = acquire(candidate).await;
    events.flush(Duration::from_secs(1)).await;
    let events = api.list("/api/v1/namespaces/openshift-image-registry/events/");
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["reason"], &events[0]["involvedObject"]["kind"]),
        (&json!("LeaderElection"), &json!("Lease"))
    );
    assert_eq!(events[0]["involvedObject"]["uid"], "uid-1");
    assert_eq!(events[0]["message"], "a became leader");
}
