//! What must do no harm: a crash at any moment, several processes that want to lead, and edits or errors in the middle of a
//! reconcile. The Lease of a crashed leader expires in `tests/timeouts`.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod edit;
mod fault;
mod kill;
mod process;

use serde_json::{Value, json};

use support::operator::Operator;
use support::proxy::Proxy;
use support::{TestCluster, shared_cluster, simulated};

async fn empty_cluster() -> TestCluster {
    shared_cluster(simulated("robust")).await
}

/// A user's Config: Managed, a claim that the operator creates, two replicas. Creates a volume that fits.
async fn config_with_claim(cluster: &TestCluster) -> Value {
    cluster.shared_volume().await;
    let mut config = TestCluster::managed(json!({"pvc": {"claim": ""}}));
    config["spec"]["replicas"] = json!(2);
    config
}

/// A registry on emptyDir that is up and settled, and the proxy through which its operator sends all requests.
async fn registry_behind_proxy(cluster: &TestCluster) -> (Proxy, Operator) {
    cluster.create(TestCluster::managed(json!({"emptyDir": {}}))).await;
    let proxy = cluster.proxy().await;
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    cluster.until_up().await;
    cluster.settle().await;
    (proxy, operator)
}
