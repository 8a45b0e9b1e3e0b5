//! A private account while any call about networks fails in any way.

use std::collections::BTreeSet;
use std::time::Duration;

use devcluster::stores::Fault;
use serde_json::Value;

use super::cluster::{AzureCluster, arm_error, call, is_token};
use super::conformance::RESYNC;
use super::faults::turn;
use super::harness::Killed;
use super::private::{assert_none_of_each, assert_one_of_each, is_private, of_network, private};

/// Answers of Resource Manager, and no answer.
const FAULTS: [(&str, u16); 8] = [
    ("e401", 401),
    ("e403", 403),
    ("e404", 404),
    ("e409", 409),
    ("e429", 429),
    ("e503", 503),
    ("hang", 0),
    ("token", 1),
];

/// The operations about networks of a life, and those of the account that belong to it.
async fn operations(removal: bool) -> BTreeSet<String> {
    let mut world = private("pfaults-list", Value::Null).await;
    world.converge().await;
    if removal {
        world.request_removal();
        assert!(world.converge().await.done);
    }
    let mut all: BTreeSet<_> = of_network(&world).into_iter().collect();
    all.insert("StorageAccounts_GetProperties".to_owned());
    all.insert(
        if removal {
            "StorageAccounts_Delete"
        } else {
            "StorageAccounts_Update"
        }
        .to_owned(),
    );
    all
}

/// Passes in which this operation fails so.
async fn fail(world: &mut AzureCluster, operation: &str, fault: u16) {
    let name = operation.to_owned();
    let killed = Killed::new();
    let hangs = killed.clone();
    let mut expired = false;
    world.gate.rule(move |asked| {
        let of_operation = call(asked) == name;
        match fault {
            0 if of_operation => {
                hangs.kill();
                Fault::Hang
            }
            // The token is not accepted any more, once.
            1 if of_operation && !std::mem::replace(&mut expired, true) => {
                Fault::Answer(arm_error(401, "ExpiredAuthenticationToken"))
            }
            status @ 2.. if of_operation && !is_token(&call(asked)) => Fault::Answer(arm_error(status, "TestError")),
            _ => Fault::Pass,
        }
    });
    for _ in 0..12 {
        match world.pass_until(&killed).await {
            // The process hung, and somebody ended it.
            None => world.restart(),
            Some(outcome) if outcome.done => break,
            Some(outcome) => {
                let wait = outcome.wait.map(|wait| wait.after);
                world.later(wait.unwrap_or(Duration::from_mins(2)));
            }
        }
    }
    world.gate.pass();
    world.later(RESYNC);
}

// storage-azure section 10.4: whatever the call, whatever the answer
#[tokio::test]
async fn every_call_about_networks_may_fail_in_every_way_while_all_is_created() {
    for (place, operation) in operations(false).await.into_iter().enumerate() {
        let worlds = turn(&FAULTS, place).into_iter().map(async |(kind, fault)| {
            let at = format!("{operation} {kind}");
            let mut world = private(&format!("pc{kind}"), Value::Null).await;
            fail(&mut world, &operation, fault).await;
            world.converge().await;
            assert_one_of_each(&world, &at);
            assert!(is_private(&world, &world.account()), "{at}");
            assert_eq!(world.state(), Some("Managed"), "{at}");
            assert_eq!(world.count_lost(), 0, "{at}");
        });
        futures::future::join_all(worlds).await;
    }
}

// storage-azure section 10.4, 43
#[tokio::test]
async fn every_call_about_networks_may_fail_in_every_way_while_all_is_deleted() {
    for (place, operation) in operations(true).await.into_iter().enumerate() {
        let worlds = turn(&FAULTS, place).into_iter().map(async |(kind, fault)| {
            let at = format!("{operation} {kind}");
            let mut world = private(&format!("pd{kind}"), Value::Null).await;
            world.converge().await;
            world.request_removal();
            fail(&mut world, &operation, fault).await;
            assert!(world.converge().await.done, "{at}");
            assert_eq!(world.accounts(), Vec::<String>::new(), "{at}");
            if fault == 403 {
                return; // What may not be read or deleted for so long is left, and told.
            }
            assert_none_of_each(&world, &at);
        });
        futures::future::join_all(worlds).await;
    }
}
