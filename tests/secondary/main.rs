//! The loops beside the registry's, at work on a cluster with simulated nodes: what only their wiring can break. All tests
//! go through the operator's own process, under the rights that `deploy/` gives; but for `orders::simulated`, which runs the
//! same loops within this process, hundreds of times over.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that stops is the report of its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod azure;
mod certificates;
mod cluster_operator;
mod faults;
mod gates;
mod image_config;
mod log_level;
mod memory;
mod metrics;
mod node_ca;
mod orders;
mod pruner;
mod quiet;

use std::time::{Duration, Instant};

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use support::operator::Operator;
use support::{Lab, is_up, lab, operand, simulated};

/// The cluster of this program, on platform `None`, empty.
async fn cluster() -> Lab {
    let mut options = simulated("secondary");
    options.imagestreams = true;
    let lab = lab(options).await;
    lab.forget_events().await;
    lab.delete(&ObjectRef::new(
        Kind::ConfigMap,
        names::CONFIG_NAMESPACE,
        names::CLOUD_PROVIDER_CONFIG,
    ))
    .await;
    lab
}

/// A registry on emptyDir with one replica that is up and at rest, with these members of the spec besides.
async fn registry(spec: Value) -> (Lab, Operator) {
    let lab = cluster().await;
    create_config(&lab, spec).await;
    let operator = lab.operator().await;
    lab.until_config("up", is_up).await;
    lab.settle().await;
    (lab, operator)
}

async fn create_config(lab: &Lab, spec: Value) {
    let mut config = Lab::managed(json!({"emptyDir": {}}));
    for (key, value) in spec.as_object().unwrap() {
        config["spec"][key] = value.clone();
    }
    lab.create(config).await;
}

/// Every managementState, in an order that a registry which is up goes through with its Service there while `Unmanaged`.
const STATES: [&str; 3] = ["Unmanaged", "Removed", "Managed"];

/// Changes the managementState and waits until the Config's status follows.
async fn enter(lab: &Lab, state: &str) {
    lab.edit(json!({"managementState": state})).await;
    lab.until_config(state, |c| {
        c["status"]["observedGeneration"] == c["metadata"]["generation"]
            && match state {
                "Managed" => is_up(c),
                _ => support::is(c, "Available", "True", state) && support::is(c, "Progressing", "False", state),
            }
    })
    .await;
}

fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

fn service() -> ObjectRef {
    operand(Kind::Service, names::REGISTRY)
}

fn image() -> ObjectRef {
    ObjectRef::new(Kind::Image, "", names::CLUSTER)
}

fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

fn image_pruner() -> ObjectRef {
    ObjectRef::new(Kind::ImagePruner, "", names::CLUSTER)
}

fn daemon_set() -> ObjectRef {
    operand(Kind::DaemonSet, names::NODE_CA)
}

fn cron_job() -> ObjectRef {
    operand(Kind::CronJob, names::PRUNER_CRON_JOB)
}

fn certificates_map() -> ObjectRef {
    operand(Kind::ConfigMap, names::CERTIFICATES_MAP)
}

fn ca_map() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_MANAGED_NAMESPACE, names::CA_MAP)
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap()
}

/// Waits for something that no watch tells.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(
            began.elapsed() < support::PATIENCE,
            "{what}: not within {:?}",
            support::PATIENCE
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
