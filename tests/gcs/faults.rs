//! Faults at every call: throttling, 5xx, resets, lost answers, none at all. `GCS_ALL_FAULTS=1` tries each kind at each call;
//! the usual run takes turns.

use std::time::Duration;

use devcluster::stores::{Discovery, Fault};
use serde_json::json;

use super::cluster::{GcsCluster, cluster, error};
use super::conformance::BackendUnderTest as _;
use super::stores::store;

/// Faults that a client outlives, or that a later pass does.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("503", error(503, "backendError")),
        ("lost", Fault::LoseAnswer),
        ("429", error(429, "rateLimitExceeded")),
        ("500", error(500, "backendError")),
        ("reset", Fault::Reset),
        ("timeout", Fault::Hang),
        ("401", error(401, "authError")),
        ("403", error(403, "forbidden")),
        ("409", error(409, "conflict")),
        ("412", error(412, "conditionNotMet")),
        ("twice", Fault::Twice),
    ]
}

/// Those to try at the n-th call.
fn faults_at(n: usize) -> Vec<(&'static str, Fault)> {
    let all = faults();
    if std::env::var_os("GCS_ALL_FAULTS").is_some() {
        return all;
    }
    let turn = n % all.len();
    all.into_iter().skip(turn).take(1).collect()
}

/// How long a call waits where one is not answered: it does so several times.
const PATIENCE: Duration = Duration::from_millis(400);
/// So many answers in a row: the client's own retries do not save it.
const OUTAGE: usize = 5;

/// From the n-th call on, counted from now, as many as an outage.
fn break_at(world: &mut GcsCluster, first: usize, fault: &Fault) {
    if matches!(fault, Fault::Hang) {
        world.give_up_after(PATIENCE);
    }
    world.gate.forget();
    let fault = fault.clone();
    let mut seen = 0;
    world.gate.rule(move |_| {
        seen += 1;
        if (first..first + OUTAGE).contains(&seen) {
            fault.clone()
        } else {
            Fault::Pass
        }
    });
}

// storage-decisions 9: issue 12, faults at every call
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_creation_it_comes_to_its_end_with_one_bucket() {
    let mut calls = usize::MAX;
    for first in 1.. {
        for (kind, fault) in faults_at(first) {
            let mut world = cluster(&format!("f{kind}x{first}-j1"), json!({"gcs": {}})).await;
            world.set_tags(&["9001/team/blue"]).await;
            break_at(&mut world, first, &fault);
            let outcome = world.converge().await;
            calls = world.gate.asked().len();
            let at = format!("{kind} at call {first} of {calls}");
            assert!(outcome.facts.is_some(), "{at}");
            let name = world.generated();
            assert_eq!(world.buckets().await, std::slice::from_ref(&name), "{at}");
            assert_eq!(world.state(), Some("Managed"), "{at}");
            assert!(world.is_ours(&name).await, "{at}");
            assert_eq!(store().await.objects(&name).len(), 0, "{at}");
        }
        if calls < first {
            break;
        }
    }
}

// storage-core 40: issue 12, faults at every call
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_removal_it_comes_to_its_end() {
    let mut calls = usize::MAX;
    for first in 1.. {
        for (kind, fault) in faults_at(first).into_iter().chain(faults_at(first + 3)) {
            let mut world = cluster(&format!("q{kind}{first}-j2"), json!({"gcs": {}})).await;
            world.converge().await;
            let name = world.generated();
            store().await.put(&name, "image", b"layer").await.unwrap();
            break_at(&mut world, first, &fault);
            world.edit(json!({"managementState": "Removed"}));
            assert!(world.converge().await.done, "{kind} at call {first}");
            calls = world.gate.asked().len();
            assert_eq!(world.buckets().await, Vec::<String>::new(), "{kind} at call {first}");
        }
        if calls < first {
            break;
        }
    }
}

// issue 12: request bodies are what the discovery documents of Google's own client describe
#[tokio::test]
async fn what_is_sent_is_what_googles_documents_describe() {
    let mut world = cluster("blue-disc1", json!({"gcs": {}})).await;
    world.edit_platform(|gcp| gcp["resourceLabels"] = json!([{"key": "k1", "value": "v1"}]));
    world.set_tags(&["9001/team/blue"]).await;
    world.converge().await;
    world.edit(json!({"managementState": "Removed"}));
    world.settle().await;
    let accepted = store().await.accepted();
    let methods = [
        "storage.buckets.insert",
        "storage.objects.delete",
        "cloudresourcemanager.tagBindings.create",
    ];
    for method in methods {
        assert!(accepted.iter().any(|accepted| accepted.method == method), "{method}");
    }
    Discovery::load().await.unwrap().check(&accepted).unwrap();
}
