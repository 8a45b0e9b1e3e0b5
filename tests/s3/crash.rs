//! A process that dies between any two calls, before or after the store has done its work.

use devcluster::stores::{Fault, When};
use serde_json::json;

use super::lab::{cluster, store};
use super::world::{Killed, World};

/// Kills the process at the n-th call that changes something; `after`: when the store has done it already.
fn kill_at(world: &World, n: usize, after: bool) -> Killed {
    let killed = Killed::new();
    let mut seen = 0;
    let kill = killed.clone();
    world.gate.rule(move |asked| {
        let name = asked.operation();
        if ["Get", "Head", "List"].iter().any(|read| name.starts_with(read)) {
            return Fault::Pass;
        }
        seen += 1;
        if seen != n {
            return Fault::Pass;
        }
        let kill = kill.clone();
        if after {
            Fault::after(move |_| kill.kill())
        } else {
            Fault::before(move |_| kill.kill())
        }
    });
    killed
}

async fn assert_one_owned_bucket(world: &World, at: &str) {
    let store = store().await;
    let name = world.generated();
    assert_eq!(
        store.buckets(&world.infrastructure).await,
        std::slice::from_ref(&name),
        "{at}"
    );
    assert_eq!(world.state(), Some("Managed"), "{at}");
    assert_eq!(world.status()["s3"]["bucket"], json!(name), "{at}");
    let tags = store.tags(&name).await;
    let mark = (
        format!("kubernetes.io/cluster/{}", world.infrastructure),
        "owned".to_owned(),
    );
    assert!(tags.contains(&mark), "{at}: {tags:?}");
    for condition in [
        "StorageTagged",
        "StorageEncrypted",
        "StorageIncompleteUploadCleanupEnabled",
    ] {
        assert!(world.condition(condition).starts_with("True/"), "{at}: {condition}");
    }
    assert_eq!(store.count(&name).await, 0, "{at}: no probe is left");
}

// storage-decisions 8, storage-core 22
#[tokio::test]
async fn killed_at_any_call_of_the_creation_the_same_bucket_ends_up_owned_once_and_marked() {
    let mut deaths = 0;
    for n in 1.. {
        let mut survived = 0;
        for after in [false, true] {
            let mut world = cluster(&format!("k{n}{}-i1", u8::from(after)), json!({"s3": {}})).await;
            let killed = kill_at(&world, n, after);
            if world.pass_until(&killed).await {
                deaths += 1;
            } else {
                survived += 1;
            }
            world.gate.pass();
            world.converge().await;
            assert_one_owned_bucket(&world, &format!("call {n}, done: {after}")).await;
        }
        if survived == 2 {
            break;
        }
    }
    assert!(deaths >= 10, "only {deaths}");
}

// storage-decisions 8: between two records
#[tokio::test]
async fn killed_before_or_after_any_record_is_stored_the_same_bucket_ends_up_owned() {
    for steps in 0..4 {
        let mut world = cluster(&format!("r{steps}-i2"), json!({"s3": {}})).await;
        world.steps(steps).await;
        drop(world.step().await); // what it wants stored is lost
        world.restart();
        world.converge().await;
        assert_one_owned_bucket(&world, &format!("{steps} steps")).await;
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
    assert!(outcome.fault.is_some());
    world.gate.pass();
    world.converge().await;
    assert_one_owned_bucket(&world, "lost answer").await;
    let creates = world
        .gate
        .asked()
        .into_iter()
        .filter(|a| a.operation() == "CreateBucket" && a.status == 200);
    assert_eq!(creates.count(), 1);
}

// storage-decisions T8
#[tokio::test]
async fn killed_at_any_call_of_a_removal_the_next_process_ends_it() {
    for n in 1..=4 {
        for after in [false, true] {
            let mut world = cluster(&format!("d{n}{}-i4", u8::from(after)), json!({"s3": {}})).await;
            world.converge().await;
            let name = world.generated();
            store().await.version(&name, "Enabled").await;
            for key in ["a", "b", "c"] {
                store().await.put(&name, key).await;
            }
            world.edit(json!({"managementState": "Removed"}));
            let killed = kill_at(&world, n, after);
            for _ in 0..6 {
                if world.pass_until(&killed).await {
                    break;
                }
            }
            world.gate.pass();
            assert!(world.converge().await.done, "{n} {after}");
            assert!(!store().await.exists(&name).await);
            assert_eq!(
                (world.status(), world.storage()["s3"].get("bucket")),
                (&json!({}), None)
            );
        }
    }
}

// storage-core 14: what the conditions say of the bucket that vanished is not said of the new one
#[tokio::test]
async fn killed_while_a_vanished_bucket_is_made_anew_its_settings_are_applied_by_the_next_process() {
    for known in [false, true] {
        let mut world = cluster(&format!("anew{}-i5", u8::from(known)), json!({"s3": {}})).await;
        world.converge().await;
        let name = world.generated();
        store().await.delete(&name).await;
        world.edit(json!({"replicas": 1}));
        if !known {
            world.gate.rule(|_| Fault::slow_down());
            world.pass().await;
            assert!(world.condition("StorageExists").starts_with("Unknown/"));
            world.gate.pass();
            world.later(std::time::Duration::from_mins(11));
        }
        let killed = Killed::new();
        let kill = killed.clone();
        world.gate.plan(
            When::operation("PutPublicAccessBlock"),
            Fault::before(move |_| kill.kill()),
        );
        let mut died = false;
        for _ in 0..4 {
            died = died || world.pass_until(&killed).await;
        }
        assert!(died);
        world.gate.pass();
        world.converge().await;
        assert_one_owned_bucket(&world, "anew").await;
        for setting in ["publicAccessBlock", "encryption", "lifecycle"] {
            assert_eq!(store().await.read(&name, setting).await.0, 200, "{setting}");
        }
        assert!(
            world.notices.iter().any(|n| n.starts_with("StorageLost")),
            "{:?}",
            world.notices
        );
    }
}
