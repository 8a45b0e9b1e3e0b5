//! Bring-ups of the registry, each checked as a whole: its rollouts, requests, conditions and duration.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

mod support;

use std::time::{Duration, Instant};

use devcluster::standin::{Control, StandIn};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use jiff::Timestamp;
use serde_json::json;

use support::{
    TestCluster, cluster_operator, deployment, disruption_budget, is, network_policy, operand, service,
    service_account, shared_cluster, simulated,
};

/// The most requests that the operator may send in a bring-up, in the median of all; watches do not count.
const REQUESTS: usize = 55;
/// The most requests in a single bring-up, without status writes of Config and ClusterOperator. How many these are depends on how
/// many steps of the rollout the operator sees one by one. Those of reasons and messages alone are limited to two a second for
/// each of the two objects.
const WITHOUT_STATUS: usize = 48;
/// The most events in a single bring-up: one for the objects that a controller creates together, one for each workload and each
/// object of the platform, and one for each object that changes when an input arrives.
const EVENTS: usize = 14;
/// How soon after its last input the operator creates the Deployment.
const AFTER_LAST_INPUT: Duration = Duration::from_millis(300);
/// What a single bring-up may take instead on a busy machine. A Deployment that no event triggers would take far longer.
const OUTLIER: Duration = Duration::from_secs(3);
/// A second rollout would begin within this time: everything that delivers inputs is faster.
const QUIET: Duration = Duration::from_millis(700);

async fn empty_cluster() -> TestCluster {
    shared_cluster(simulated("bringup")).await
}

/// How a bring-up begins.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// The operator creates the Config: emptyDir, Managed.
    Bootstrap,
    /// A user's Config exists before the operator starts: a claim that the operator creates, two replicas.
    UsersClaim,
    /// The operator creates the Config as Removed; the administrator edits it to Managed, with a claim.
    Edited,
}

/// Figures of one bring-up.
#[derive(Debug)]
struct Figures {
    requests: usize,
    events: usize,
    after_last_input: Duration,
    available: Duration,
}

// lifecycle 26, 37; decisions 7, 9, 10 and 11
#[tokio::test]
async fn twenty_bring_ups_each_cause_one_rollout_without_a_flapping_condition_or_a_conflict() {
    let cluster = empty_cluster().await;
    let mut figures = Vec::new();
    for round in 0..20 {
        if round > 0 {
            cluster.reset().await;
        }
        let start = match round % 5 {
            1 => Start::UsersClaim,
            3 => Start::Edited,
            _ => Start::Bootstrap,
        };
        figures.push(one_bring_up(&cluster, start).await);
    }
    let mut gaps: Vec<_> = figures.iter().map(|f| f.after_last_input).collect();
    let mut seconds: Vec<_> = figures.iter().map(|f| f.available).collect();
    gaps.sort();
    seconds.sort();
    let mut requests: Vec<_> = figures.iter().map(|f| f.requests).collect();
    requests.sort_unstable();
    let mut events: Vec<_> = figures.iter().map(|f| f.events).collect();
    events.sort_unstable();
    let summary = format!(
        "events: p50 {}, max {}; requests: p50 {}, max {}; Deployment after its last input: p50 {:?}, max {:?}; Available: p50 {:?}, max {:?}",
        events[10], events[19], requests[10], requests[19], gaps[10], gaps[19], seconds[10], seconds[19]
    );
    println!("{summary}");
    assert!(requests[10] <= REQUESTS, "{summary}");
    assert!(gaps[14] <= AFTER_LAST_INPUT && gaps[19] <= OUTLIER, "{summary}");
}

async fn one_bring_up(cluster: &TestCluster, start: Start) -> Figures {
    match start {
        Start::Bootstrap => cluster.platform("Libvirt").await,
        Start::UsersClaim | Start::Edited => {
            cluster.shared_volume().await;
        }
    }
    let claim = json!({"replicas": 2, "managementState": "Managed", "storage": {"pvc": {"claim": ""}}});
    if let Start::UsersClaim = start {
        let mut config = TestCluster::managed(json!({}));
        config["spec"] = claim.clone();
        cluster.create(config).await;
    }
    let recorder = cluster.record_rollout().await;
    let recorded = Instant::now();
    let (mut began, mut edited, mut first) = (Instant::now(), 0, None);
    let operator = cluster.operator().await;
    if let Start::Edited = start {
        // An edit before the status is complete would cause a conflict, which would be correct.
        cluster.until_removed().await;
        began = Instant::now();
        edited = Timestamp::now().as_microsecond();
        first = Some(cluster.edit(claim).await);
    }
    let config = cluster.until_up().await;
    let available = began.elapsed();
    match start {
        Start::Bootstrap => {
            let storage = json!({"emptyDir": {}, "managementState": "Managed"});
            assert_eq!(config["spec"]["storage"], storage);
            assert_eq!(config["spec"]["managementState"], "Managed");
            assert_eq!(config["spec"]["replicas"], 1);
        }
        Start::UsersClaim | Start::Edited => {
            let storage = json!({"pvc": {"claim": names::DEFAULT_CLAIM}, "managementState": "Managed"});
            assert_eq!(config["spec"]["storage"], storage);
            assert_eq!(config["spec"]["replicas"], 2);
        }
    }
    let secret = config["spec"]["httpSecret"].as_str().unwrap();
    assert!(secret.len() == 128 && secret.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)));
    tokio::time::sleep(QUIET).await;
    recorder.assert_clean_bring_up(first.as_ref()).await;
    let requests = recorder.requests_to_available();
    // The bring-up begins with the edit.
    let requests = requests.filter(|event| event.time >= edited);
    let has_debounce = |resource: &str| matches!(resource, "configs" | "clusteroperators");
    let status_writes = requests
        .filter(|event| event.subresource == "status" && has_debounce(&event.resource))
        .len();
    let (debounced, elapsed) = (recorder.debounced_writes(), recorded.elapsed());
    let limit = 1 + usize::try_from(elapsed.as_millis() / 500).unwrap();
    assert!(
        requests.len() - status_writes <= WITHOUT_STATUS && debounced.iter().all(|writes| *writes <= limit),
        "{} requests, {status_writes} status writes, {debounced:?} of reasons and messages in {elapsed:?}:\n{requests}",
        requests.len()
    );
    let events = requests.filter(|event| event.resource == "events").len();
    assert!(events <= EVENTS, "{events} events:\n{requests}");
    let after_last_input = recorder.deployment_after_last_input();
    assert_one_line_for_each_object(&operator.log());
    operator.kill().await;
    Figures {
        requests: requests.len(),
        events,
        after_last_input,
        available,
    }
}

/// lifecycle 128: the log has one line for each created object, and no second one for its event.
fn assert_one_line_for_each_object(log: &str) {
    let created: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once("object created: "))
        .map(|(_, object)| object.trim())
        .collect();
    assert!(created.len() > 10, "{log}");
    let mut lines: Vec<&str> = log.lines().filter(|line| line.contains("event: ")).collect();
    lines.retain(|line| created.iter().any(|object| line.contains(object)));
    assert!(lines.is_empty(), "{lines:#?}");
    let mut sorted = created.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), created.len(), "{created:?}");
}

// lifecycle 25, 49
#[tokio::test]
async fn the_default_config_follows_the_platform() {
    let cluster = empty_cluster().await;
    let operator = cluster.operator().await;
    let config = cluster
        .until_config("removed", |c| is(c, "Available", "True", "Removed"))
        .await;
    assert_eq!(config["spec"]["managementState"], "Removed");
    assert_eq!(config["spec"]["replicas"], 1);
    assert_eq!(config["spec"]["storage"], json!({}));
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    cluster
        .until(&cluster_operator(), "available", |o| {
            o.is_some_and(|o| is(o, "Available", "True", "Removed"))
        })
        .await;
    operator.kill().await;
}

// decision 9: every other object goes out at once, conditions say what is missing, and the last input brings the rollout
#[tokio::test]
async fn the_first_deployment_waits_for_delayed_inputs_and_reports_which_are_missing() {
    const INPUTS: [(StandIn, &str); 3] = [
        (StandIn::ServingCertificate, names::SERVING_CERT_SECRET),
        (StandIn::ServiceCaBundle, names::SERVICE_CA_MAP),
        (StandIn::TrustedCaBundle, names::TRUSTED_CA_MAP),
    ];
    let cluster = empty_cluster().await;
    cluster.platform("Libvirt").await;
    let mut held: Vec<_> = INPUTS.to_vec();
    hold(&cluster, &held).await;
    let trusted = operand(Kind::ConfigMap, names::TRUSTED_CA_MAP);
    cluster.patch(&trusted, json!({"data": null})).await;
    let recorder = cluster.record_rollout().await;
    let operator = cluster.operator().await;
    while !held.is_empty() {
        let missing: Vec<_> = held.iter().map(|(_, name)| *name).collect();
        cluster
            .until_waiting_for_inputs(&format!("waiting for {missing:?}"), |message| {
                INPUTS
                    .iter()
                    .all(|(_, name)| message.contains(&format!(" {name}")) == missing.contains(name))
            })
            .await;
        assert_eq!(cluster.get(&deployment()).await, None);
        if held.len() == INPUTS.len() {
            for reference in [
                service(),
                service_account(),
                operand(Kind::Secret, names::PULL_SECRET_COPY),
                operand(Kind::Secret, names::PRIVATE_SECRET),
                disruption_budget(),
                network_policy(),
            ] {
                assert!(cluster.get(&reference).await.is_some(), "{reference} waits");
            }
        }
        held.remove(0);
        hold(&cluster, &held).await;
    }
    cluster.until_up().await;
    tokio::time::sleep(QUIET).await;
    recorder.assert_clean_bring_up(None).await;
    let gap = recorder.deployment_after_last_input();
    assert!(gap <= OUTLIER, "{gap:?}");
    operator.kill().await;
}

async fn hold(cluster: &TestCluster, held: &[(StandIn, &str)]) {
    let control = Control::hold(held.iter().map(|(stand_in, _)| *stand_in));
    control.set(&cluster.client).await.unwrap();
}
