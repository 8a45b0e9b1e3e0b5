//! Faults at every call: throttling, 5xx, resets, lost answers, none at all. `S3_ALL_FAULTS=1` tries each kind at each call; the usual
//! run takes turns.

use std::time::Duration;

use devcluster::stores::{Fault, When};
use serde_json::json;

use super::cluster::S3Cluster;
use super::conformance::{BackendUnderTest as _, Sent, assert_one_owned};
use super::stores::{cluster, store};

/// Faults that a client outlives, or that a later pass does.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("503", Fault::slow_down()),
        ("lost", Fault::LoseAnswer),
        ("500", Fault::error(500, "InternalError")),
        ("reset", Fault::Reset),
        ("timeout", Fault::Hang),
        ("twice", Fault::Twice),
    ]
}

/// Those to try at the n-th call.
fn faults_at(n: usize) -> Vec<(&'static str, Fault)> {
    let all = faults();
    if std::env::var_os("S3_ALL_FAULTS").is_some() {
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
fn break_at(world: &mut S3Cluster, first: usize, fault: &Fault) {
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

// storage-decisions 9
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_creation_it_comes_to_its_end_with_one_bucket() {
    let mut calls = usize::MAX;
    for first in 1.. {
        for (kind, fault) in faults_at(first) {
            let infrastructure = format!("f{kind}x{first}-j1");
            let mut world = cluster(&infrastructure, json!({"s3": {}})).await;
            break_at(&mut world, first, &fault);
            let outcome = world.converge().await;
            calls = world.gate.asked().len();
            let name = world.generated();
            let at = format!("{kind} at call {first} of {calls}");
            assert!(outcome.facts.is_some(), "{at}");
            assert_eq!(world.containers().await, std::slice::from_ref(&name), "{at}");
            assert_eq!(world.state(), Some("Managed"), "{at}");
            assert_eq!(store().await.tags(&name).await.len(), 2, "{at}");
            assert_eq!(store().await.count(&name).await, 0, "{at}");
        }
        if calls < first {
            break;
        }
    }
}

// storage-decisions 9
#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found_by_the_intent() {
    let mut world = cluster("lost-i3", json!({"s3": {}})).await;
    world
        .gate
        .plan(When::operation("CreateBucket").nth(1), Fault::LoseAnswer);
    world.gate.plan(When::operation("CreateBucket"), Fault::slow_down());
    let outcome = world.pass().await;
    assert!(outcome.error.is_some());
    world.gate.pass();
    world.converge().await;
    assert_one_owned(&world, "lost answer").await;
    let created = world.sent().into_iter().filter(|sent| *sent == Sent::Create);
    assert_eq!(created.count(), 1);
}

// storage-core 40
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_removal_it_comes_to_its_end() {
    let mut calls = usize::MAX;
    for first in 1.. {
        for (kind, fault) in faults_at(first).into_iter().chain(faults_at(first + 2)) {
            let mut world = cluster(&format!("q{kind}{first}-j2"), json!({"s3": {}})).await;
            world.converge().await;
            let name = world.generated();
            store().await.put(&name, "image").await;
            break_at(&mut world, first, &fault);
            world.edit(json!({"managementState": "Removed"}));
            assert!(world.converge().await.done, "{kind} at call {first}");
            calls = world.gate.asked().len();
            assert!(!store().await.exists(&name).await);
        }
        if calls < first {
            break;
        }
    }
}
