//! Faults at every call. `SWIFT_ALL_FAULTS=1` tries each kind at each call; the usual run takes turns.

use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use serde_json::json;

use super::cluster::SwiftCluster;
use super::conformance::{BackendUnderTest as _, assert_one_owned, owned};

fn faults() -> Vec<(&'static str, Fault)> {
    let answer = |status| Fault::Answer(Reply::new(status, ""));
    vec![
        ("503", answer(503)),
        ("lost", Fault::LoseAnswer),
        ("401", answer(401)),
        ("429", Fault::Answer(Reply::new(429, "").header("retry-after", "1"))),
        ("507", answer(507)),
        ("reset", Fault::Reset),
        ("timeout", Fault::Hang),
        ("409", answer(409)),
        ("500", answer(500)),
        ("twice", Fault::Twice),
        ("403", answer(403)),
    ]
}

/// Those to try at the n-th call.
fn faults_at(n: usize) -> Vec<(&'static str, Fault)> {
    let all = faults();
    if std::env::var_os("SWIFT_ALL_FAULTS").is_some() {
        return all;
    }
    let turn = n % all.len();
    all.into_iter().skip(turn).take(1).collect()
}

/// The calls to break: all, or every third in the usual run.
fn calls_to_break() -> impl Iterator<Item = usize> {
    let every = if std::env::var_os("SWIFT_ALL_FAULTS").is_some() {
        1
    } else {
        3
    };
    (1..).step_by(every)
}

/// How long a call waits where one is not answered.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many answers in a row: the client's own retries do not save it.
const OUTAGE: usize = 5;

/// From the n-th call on, Keystone's included, as many as an outage.
fn break_at(site: &mut SwiftCluster, first: usize, fault: &Fault) {
    if matches!(fault, Fault::Hang) {
        site.give_up_after(PATIENCE);
    }
    site.gate.forget();
    // Each silence takes the whole patience.
    let outage = if matches!(fault, Fault::Hang) { 2 } else { OUTAGE };
    let (fault, mut seen) = (fault.clone(), 0);
    site.disturb(move |_| {
        seen += 1;
        (first..first + outage).contains(&seen).then(|| fault.clone())
    });
}

// storage-decisions 9
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_creation_it_comes_to_its_end_with_one_container() {
    let mut calls = usize::MAX;
    for first in calls_to_break() {
        for (kind, fault) in faults_at(first) {
            let mut site = SwiftCluster::new(&format!("f{kind}x{first}-f1"), json!({"swift": {}})).await;
            break_at(&mut site, first, &fault);
            site.converge().await;
            calls = site.gate.asked().len();
            let at = format!("{kind} at call {first} of {calls}");
            assert!(site.running.is_some(), "{at}");
            assert_one_owned(&site, &at).await;
        }
        if calls < first {
            break;
        }
    }
}

// storage-core 40
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_removal_it_comes_to_its_end() {
    let mut calls = usize::MAX;
    for first in calls_to_break() {
        for (kind, fault) in faults_at(first).into_iter().chain(faults_at(first + 4)) {
            let (mut site, name) = owned::<SwiftCluster>(&format!("q{kind}x{first}-f2")).await;
            site.fill(&name, 6).await;
            break_at(&mut site, first, &fault);
            site.edit(json!({"managementState": "Removed"}));
            assert!(site.converge().await.done, "{kind} at call {first}");
            calls = site.gate.asked().len();
            assert!(!site.exists(&name).await, "{kind} at call {first}");
        }
        if calls < first {
            break;
        }
    }
}
