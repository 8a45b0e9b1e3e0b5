//! The operator's other controllers on a cluster with simulated nodes: node-ca, image pruner, image configuration, certificates,
//! ClusterOperator and others. The operator runs as its own process and with the rights that `deploy/` grants; only
//! `orders` also runs the controllers within the test, hundreds of times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that panics reports the failure of its test"
)]

#[path = "../support/mod.rs"]
mod support;

mod azure;
mod certificates;
mod cluster_operator;
mod gates;
mod image_config;
mod log_level;
mod memory;
mod metrics;
mod node_ca;
mod orders;
mod plain;
mod pruner;
mod quiet;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::Value;

use support::operator::Operator;
use support::{TestCluster, shared_cluster, simulated, user_input};

/// The shared cluster, on platform `None`, without any object of the operator.
async fn empty_cluster() -> TestCluster {
    let mut options = simulated("secondary");
    options.imagestreams = true;
    let cluster = shared_cluster(options).await;
    cluster.delete_events().await;
    cluster
        .delete(&user_input(Kind::ConfigMap, names::CLOUD_PROVIDER_CONFIG))
        .await;
    cluster
}

/// A registry on emptyDir with one replica, up and idle; `spec` is merged into the Config.
async fn registry(spec: Value) -> (TestCluster, Operator) {
    let cluster = empty_cluster().await;
    let operator = cluster.start_registry(spec).await;
    (cluster, operator)
}
