//! Faults at every call: throttling, 5xx, resets, lost answers.

use devcluster::stores::Fault;
use serde_json::json;

use super::lab::{cluster, store};

/// Faults that a client outlives, or that a later pass does.
fn faults() -> Vec<(&'static str, Fault)> {
    vec![
        ("503", Fault::slow_down()),
        ("500", Fault::error(500, "InternalError")),
        ("reset", Fault::Reset),
        ("lost", Fault::LoseAnswer),
        ("twice", Fault::Twice),
    ]
}

/// So many answers in a row: the client's own retries do not save it.
const OUTAGE: usize = 5;

// storage-decisions 9, 21, storage-core 13
#[tokio::test]
async fn whatever_happens_to_any_call_of_creation_and_removal_both_come_to_their_end_with_one_bucket() {
    for (kind, fault) in faults() {
        for length in [1, OUTAGE] {
            let mut first = 1;
            loop {
                let infrastructure = format!("f{kind}{length}x{first}-j1");
                let mut world = cluster(&infrastructure, json!({"s3": {}})).await;
                let fault = fault.clone();
                let mut seen = 0;
                world.gate.rule(move |_| {
                    seen += 1;
                    if (first..first + length).contains(&seen) {
                        fault.clone()
                    } else {
                        Fault::Pass
                    }
                });
                world.converge().await;
                let name = world.generated();
                let at = format!("{kind}, {length} from call {first}");
                assert_eq!(store().await.buckets(&infrastructure).await, [name.clone()], "{at}");
                assert_eq!(world.state(), Some("Managed"), "{at}");
                assert_eq!(store().await.tags(&name).await.len(), 2, "{at}");
                store().await.put(&name, "image").await;
                world.edit(json!({"managementState": "Removed"}));
                assert!(world.converge().await.done, "{at}");
                assert!(store().await.buckets(&infrastructure).await.is_empty(), "{at}");
                if world.gate.asked().len() < first {
                    break;
                }
                first += 4;
            }
        }
    }
}

// storage-decisions 21: at removal, too
#[tokio::test]
async fn whatever_happens_to_any_call_of_a_removal_it_comes_to_its_end() {
    for (kind, fault) in faults() {
        for first in 1..=8 {
            let mut world = cluster(&format!("q{kind}{first}-j2"), json!({"s3": {}})).await;
            world.converge().await;
            let name = world.generated();
            store().await.put(&name, "image").await;
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
            world.edit(json!({"managementState": "Removed"}));
            assert!(world.converge().await.done, "{kind} at {first}");
            assert!(!store().await.exists(&name).await);
        }
    }
}
