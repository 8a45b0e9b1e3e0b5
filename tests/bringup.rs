//! Bring-ups of the registry, judged as a whole: how many rollouts, requests and reversals they cost.

mod support;

use std::time::{Duration, Instant};

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use support::{Lab, config_ref, is, is_up, lab, operand, simulated};

const NAMESPACE: &str = names::NAMESPACE;
const ACCOUNT: &str = "cluster-image-registry-operator";

async fn cluster() -> Lab {
    lab(simulated("bringup")).await
}

fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

// lifecycle 25, 26, 49
#[tokio::test]
async fn the_default_config_follows_the_platform() {
    let lab = cluster().await;
    let operator = lab.operator().await;
    let config = lab
        .until_config("removed", |c| is(c, "Available", "True", "Removed"))
        .await;
    assert_eq!(config["spec"]["managementState"], "Removed");
    assert_eq!(config["spec"]["replicas"], 1);
    assert_eq!(config["spec"]["storage"], json!({}));
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    lab.until(&cluster_operator(), "available", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Removed"))
    })
    .await;
    assert!(operator.stop().await.success());
}

#[tokio::test]
async fn a_bring_up_is_one_rollout_without_a_reversal() {
    let lab = cluster().await;
    lab.platform("Libvirt").await;
    for round in 0..3 {
        lab.reset().await;
        lab.platform("Libvirt").await;
        one_bring_up(&lab, round).await;
    }
}

async fn one_bring_up(lab: &Lab, round: usize) {
    let sets = "ReplicaSet";
    let configs = lab.record(&config_ref()).await;
    let operators = lab.record(&cluster_operator()).await;
    let mark = lab.cluster.mark().unwrap();
    let began = Instant::now();
    let operator = lab.operator().await;
    lab.until_config("up", is_up).await;
    let took = began.elapsed();
    lab.until(&cluster_operator(), "available", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Ready"))
    })
    .await;
    let log = lab
        .cluster
        .audit()
        .unwrap()
        .since(mark)
        .by_service_account(NAMESPACE, ACCOUNT);
    eprintln!(
        "round {round}: {took:?}, {} requests, {} watches\n{}",
        log.counted().len(),
        log.len() - log.counted().len(),
        log.counted()
    );
    for (_, c) in configs.versions() {
        eprintln!("{}", serde_json::to_string(&c["status"]["conditions"]).unwrap());
    }
    assert_eq!(configs.reversals(), Vec::<String>::new());
    assert_eq!(operators.reversals(), Vec::<String>::new());
    assert!(log.denied().is_empty(), "{}", log.denied());
    let _ = sets;
    let settled = lab.cluster.mark().unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = lab
        .cluster
        .audit()
        .unwrap()
        .since(settled)
        .by_service_account(NAMESPACE, ACCOUNT);
    assert!(after.counted().is_empty(), "{}", after.counted());
    eprintln!("{}", operator.log());
    assert!(operator.stop().await.success());
    let _ = Value::Null;
    let _ = operand(Kind::Deployment, names::REGISTRY);
}
