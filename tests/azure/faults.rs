//! A cloud that does not answer, or answers anything.

use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::json;

use super::cluster::{arm_error, blob_error, call, cluster, is_token};
use super::conformance::RESYNC;

// storage-azure section 10.4: whatever the call, whatever the answer
#[tokio::test]
async fn every_call_may_fail_in_every_way_and_the_storage_is_complete_afterwards() {
    for operation in [
        "Entra_Token",
        "StorageAccounts_GetProperties",
        "StorageAccounts_CheckNameAvailability",
        "StorageAccounts_Create",
        "StorageAccounts_ListKeys",
        "Container_GetProperties",
        "Container_Create",
        "Container_ListBlobFlatSegment",
        "BlockBlob_Upload",
    ] {
        for (kind, status) in [("a", 401), ("b", 403), ("c", 404), ("d", 409), ("e", 429), ("f", 503)] {
            if (operation, status) == ("StorageAccounts_CheckNameAvailability", 403) {
                continue; // whoever may not ask goes by the account
            }
            let short = operation.to_lowercase().replace('_', "");
            let name = format!("f{kind}-{}", &short[short.len().saturating_sub(12)..]);
            let mut world = cluster(&name, json!({"azure": {}})).await;
            let is_blob = operation.starts_with("Container") || operation.starts_with("BlockBlob");
            let reply = if is_blob {
                blob_error(status, "TestError")
            } else {
                arm_error(status, "TestError")
            };
            world.answer(operation, reply);
            let mut told = false;
            for _ in 0..4 {
                let outcome = world.pass().await;
                told |= outcome.error.is_some() || outcome.preflight.is_some();
                assert!(outcome.facts.is_none(), "{operation} {status}");
                world.later(RESYNC);
            }
            assert!(told, "{operation} {status}");
            world.gate.pass();
            world.later(RESYNC);
            world.converge().await;
            assert_eq!(world.accounts(), [world.account()], "{operation} {status}");
            assert_eq!(world.azure().containers(&world.account()).await.unwrap().len(), 1);
            assert_eq!(world.state(), Some("Managed"), "{operation} {status}");
        }
    }
}

#[tokio::test]
async fn lost_answers_and_pages_of_a_proxy_decide_nothing() {
    for (name, fault) in [
        ("fault-page", Fault::Answer(Reply::new(200, "<html>log in</html>"))),
        (
            "fault-moved",
            Fault::Answer(Reply::new(302, "").header("location", "https://evil.example/")),
        ),
        (
            "fault-proxy",
            Fault::Answer(Reply::new(404, "<html>no such host</html>")),
        ),
    ] {
        let mut world = cluster(name, json!({"azure": {}})).await;
        let answer = std::sync::Arc::new(std::sync::Mutex::new(Some(fault)));
        let first = answer.lock().unwrap().take().unwrap();
        let Fault::Answer(reply) = first else { unreachable!() };
        world.gate.rule(move |asked| {
            if is_token(&call(asked)) {
                Fault::Pass
            } else {
                Fault::Answer(reply.clone())
            }
        });
        let error = world.pass().await.error.unwrap();
        assert_eq!(error.class, ErrorClass::Transient, "{name}: {error}");
        assert_eq!(world.changed(), Vec::<String>::new());
        world.gate.pass();
        world.later(RESYNC);
        world.converge().await;
        assert_eq!(world.accounts(), [world.account()]);
    }
}

// storage-decisions T18
#[tokio::test]
async fn an_account_whose_host_is_not_found_is_not_taken_for_a_lost_one() {
    let mut world = cluster("fault-dns", json!({"azure": {}})).await;
    world.converge().await;
    world.gate.rule(|asked| {
        if call(asked).starts_with("Container") {
            Fault::Reset
        } else {
            Fault::Pass
        }
    });
    world.edit(json!({"replicas": 3}));
    let outcome = world.pass().await;
    assert!(outcome.error.is_some());
    assert!(world.condition("StorageExists").starts_with("Unknown/"));
    assert_eq!(world.count_lost(), 0);
    world.gate.pass();
    world.later(Duration::from_mins(11));
    world.converge().await;
    assert!(world.condition("StorageExists").starts_with("True/"));
}
