//! A cloud that does not answer, or answers anything. `AZURE_ALL_FAULTS=1` tries each kind at each call; the usual run takes turns.

use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::json;

use super::cluster::{AzureCluster, arm_error, blob_error, call, cluster, is_token, keyless_cluster};
use super::conformance::RESYNC;
use super::harness::logs;

/// The kinds of faults for the operation at this place of a list. Over all operations each kind occurs equally often.
pub fn turn<T: Copy>(kinds: &[T], place: usize) -> Vec<T> {
    if std::env::var_os("AZURE_ALL_FAULTS").is_some() {
        return kinds.to_vec();
    }
    (0..2).map(|n| kinds[(place * 2 + n) % kinds.len()]).collect()
}

// storage-azure section 10.4: whatever the call, whatever the answer
#[tokio::test]
async fn every_call_may_fail_in_every_way_and_the_storage_is_complete_afterwards() {
    let kinds = [("a", 401), ("b", 403), ("c", 404), ("d", 409), ("e", 429), ("f", 503)];
    for (place, operation) in [
        "Entra_Token",
        "StorageAccounts_GetProperties",
        "StorageAccounts_CheckNameAvailability",
        "StorageAccounts_Create",
        "StorageAccounts_ListKeys",
        "Container_GetProperties",
        "Container_Create",
        "Container_ListBlobFlatSegment",
        "BlockBlob_Upload",
    ]
    .into_iter()
    .enumerate()
    {
        for (kind, status) in turn(&kinds, place) {
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
    // What is logged is searched for secrets, such as the lines about these retries.
    assert!(logs::taken() > 0);
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failing {
    With(u16),
    /// The token is refused once.
    Expired,
    Reset,
    Hang,
}

const FAILING: [Failing; 9] = [
    Failing::With(401),
    Failing::With(403),
    Failing::With(404),
    Failing::With(409),
    Failing::With(429),
    Failing::With(503),
    Failing::Expired,
    Failing::Reset,
    Failing::Hang,
];

/// Calls of this name fail so from now on.
fn fail(world: &AzureCluster, operation: &'static str, how: Failing) {
    let beginnings = ["Container_", "Blob", "AppendBlob", "Service_"];
    let is_blob =
        beginnings.iter().any(|beginning| operation.starts_with(beginning)) && !operation.starts_with("BlobContainers");
    let reply = move |status| {
        if is_blob {
            blob_error(status, "TestError")
        } else {
            arm_error(status, "TestError")
        }
    };
    let mut seen = 0;
    world.gate.rule(move |asked| {
        if call(asked) != operation {
            return Fault::Pass;
        }
        seen += 1;
        match how {
            Failing::With(status) => Fault::Answer(reply(status)),
            Failing::Expired if seen == 1 => Fault::Answer(reply(401)),
            Failing::Expired => Fault::Pass,
            Failing::Reset => Fault::Reset,
            Failing::Hang => Fault::Hang,
        }
    });
}

async fn keyless_life(operation: &'static str, how: Failing, number: usize) {
    let short = operation.to_lowercase().replace('_', "");
    let name = format!("k{number}-{}", &short[short.len().saturating_sub(12)..]);
    let mut world = keyless_cluster(&name, json!({"azure": {}})).await;
    world.hurry();
    fail(&world, operation, how);
    for _ in 0..3 {
        world.pass().await;
        world.later(RESYNC);
    }
    assert_eq!(world.count_lost(), 0, "{operation} {how:?}");
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(
        (world.accounts(), world.state()),
        (vec![world.account()], Some("Managed")),
        "{operation} {how:?}"
    );
}

// storage-azure section 10.4: the life without keys
#[tokio::test]
async fn every_call_of_a_keyless_life_may_fail_in_every_way() {
    for (place, operation) in [
        "Entra_Token",
        "StorageAccounts_Create",
        "Container_GetProperties",
        "Container_Create",
        "Container_ListBlobFlatSegment",
        "Service_GetUserDelegationKey",
        "BlockBlob_Upload",
        "AppendBlob_Create",
        "AppendBlob_AppendBlock",
        "Blob_StartCopyFromURL",
        "Blob_Download",
        "Blob_GetProperties",
        "Blob_Delete",
    ]
    .into_iter()
    .enumerate()
    {
        let turn = turn(&FAILING, place).into_iter().enumerate();
        let lives = turn.map(|(number, how)| keyless_life(operation, how, number));
        futures::future::join_all(lives).await;
    }
}

async fn removal(operation: &'static str, how: Failing, number: usize) {
    let short = operation.to_lowercase().replace('_', "");
    let name = format!("r{number}-{}", &short[short.len().saturating_sub(12)..]);
    let mut world = cluster(&name, json!({"azure": {}})).await;
    world.converge().await;
    let account = world.account();
    world
        .azure()
        .fill(&account, &world.container(), "/docker/", 2)
        .await
        .unwrap();
    world.restart();
    world.hurry();
    fail(&world, operation, how);
    world.request_removal();
    let mut done = false;
    for _ in 0..2 {
        done |= world.settle().await.done;
        world.later(RESYNC);
    }
    // Whoever may not see what else is in the account keeps it.
    let is_look = ["FileShares_List", "Queue_List", "Table_List"].contains(&operation);
    if done && is_look && how != Failing::Expired {
        assert_eq!(world.accounts(), [account], "{operation} {how:?}");
        return;
    }
    if done {
        assert_eq!(world.accounts(), Vec::<String>::new(), "{operation} {how:?}");
        return;
    }
    world.gate.pass();
    world.later(RESYNC);
    assert!(
        world.settle().await.done,
        "{operation} {how:?}: {}",
        world.message("StorageExists")
    );
    assert_eq!(world.accounts(), Vec::<String>::new(), "{operation} {how:?}");
    assert_eq!(world.status(), &json!({}), "{operation} {how:?}");
}

// storage-azure section 10.4: the removal
#[tokio::test]
async fn every_call_of_a_removal_may_fail_in_every_way() {
    for (place, operation) in [
        "Entra_Token",
        "StorageAccounts_ListKeys",
        "Container_GetProperties",
        "Container_ListBlobFlatSegment",
        "Blob_Delete",
        "Container_Delete",
        "StorageAccounts_GetProperties",
        "BlobContainers_List",
        "FileShares_List",
        "Queue_List",
        "Table_List",
        "StorageAccounts_Delete",
    ]
    .into_iter()
    .enumerate()
    {
        let turn = turn(&FAILING, place).into_iter().enumerate();
        let removals = turn.map(|(number, how)| removal(operation, how, number));
        futures::future::join_all(removals).await;
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

// storage-azure section 10.3: a token never goes to a host that is not the service
#[tokio::test]
async fn addresses_of_other_hosts_in_answers_are_not_followed() {
    const ELSEWHERE: &str = "https://management.usgovcloudapi.net/subscriptions/x/operations/1?api-version=1";
    for (name, header) in [("foreign-async", "azure-asyncoperation"), ("foreign-place", "location")] {
        let mut world = cluster(name, json!({"azure": {}})).await;
        world.gate.rule(move |asked| {
            if call(asked) != "StorageAccounts_Create" {
                return Fault::Pass;
            }
            Fault::change(move |_, answer| {
                answer.headers_mut().remove("location");
                answer.headers_mut().insert(header, ELSEWHERE.parse().unwrap());
                *answer.status_mut() = http::StatusCode::ACCEPTED;
            })
        });
        world.converge().await;
        let hosts: Vec<String> = world.gate.asked().into_iter().map(|asked| asked.host).collect();
        assert!(hosts.iter().all(|host| !host.contains("usgovcloudapi")), "{hosts:?}");
    }
}

// storage-azure section 10.4: Retry-After counts, also if it is longer than a step may wait
#[tokio::test]
async fn a_service_that_wants_a_longer_pause_is_left_alone_so_long() {
    let mut world = cluster("fault-pause", json!({"azure": {}})).await;
    let reply = arm_error(429, "TooManyRequests").header("retry-after", "300");
    world.answer("StorageAccounts_GetProperties", reply);
    assert!(world.pass().await.error.is_some());
    assert_eq!(world.count("StorageAccounts_GetProperties"), 1);
    world.gate.pass();
    world.later(Duration::from_mins(2));
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("asked to wait"), "{error}");
    assert_eq!(world.count("StorageAccounts_GetProperties"), 1);
    world.clock_forward(Duration::from_mins(5));
    world.step().await;
    assert_eq!(world.count("StorageAccounts_GetProperties"), 2);
}
