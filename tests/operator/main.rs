//! The operator on a cluster with simulated nodes, as its own process and with the rights that `deploy/` grants. These tests
//! find faults that only the wiring of the operator can have. Each test name states what a user can rely on.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod bad_input;
mod bootstrap;
mod certificates;
mod crds;
mod deletion;
mod drift;
mod exposure;
mod inputs;
mod refused;
mod remote;
mod rollout;
mod routes;
mod status;
mod stock;
mod traefik;
mod transitions;
mod volumes;

use serde_json::Value;

use support::operator::Operator;
use support::{Pool, TestCluster, simulated};

/// Two clusters: most of the time of these tests is waiting.
static CLUSTERS: Pool<2> = Pool::new();

/// A shared cluster, on platform `None`, without any object of the operator.
async fn empty_cluster() -> TestCluster {
    let cluster = CLUSTERS.cluster(simulated("operator")).await;
    cluster.delete_events().await;
    // What a failed test may have left behind.
    for path in [
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/failing",
        "/api/v1/namespaces/openshift-image-registry/resourcequotas/no-claims",
        "/apis/storage.k8s.io/v1/storageclasses/ovirt-csi-sc",
        "/apis/node.k8s.io/v1/runtimeclasses/kata",
        "/api/v1/persistentvolumes/of-its-class",
    ] {
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        let _ = cluster.client.request::<Value>(request).await;
    }
    let _ = refused::limit_http_secret(&cluster, false).await;
    cluster
}

/// A registry on emptyDir with one replica, up and idle; `spec` is merged into the Config.
async fn registry(spec: Value) -> (TestCluster, Operator) {
    let cluster = empty_cluster().await;
    let operator = cluster.start_registry(spec).await;
    (cluster, operator)
}
