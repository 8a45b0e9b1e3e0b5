//! An operator that is killed at each write of a bring-up.

use std::time::{Duration, Instant};

use image_registry_operator::api::Kind;
use serde_json::{Value, json};

use crate::support::TestCluster;
use crate::support::final_state::{FinalState, difference};
use crate::support::proxy::{Fault, Proxy};
use crate::{config_with_claim, empty_cluster};

/// How long a settled operator has to show that it writes nothing more.
const QUIET: Duration = Duration::from_millis(500);

/// How a bring-up begins.
#[derive(Clone, Copy)]
enum Start {
    /// The operator creates the Config, and on this platform first a claim for it.
    Bootstrap,
    /// The user's Config asks for a claim that the operator creates.
    UsersClaim,
}

// storage-core 22 for claims
#[tokio::test]
async fn a_crash_at_any_write_of_a_bring_up_leads_to_the_same_state_without_duplicates() {
    let cluster = empty_cluster().await;
    let expected = undisturbed(&cluster, Start::UsersClaim).await;
    let mut writes = 0;
    while killed_at(&cluster, Start::UsersClaim, writes + 1, &expected).await {
        writes += 1;
    }
    println!("killed at each of {writes} writes");
    assert!(writes >= 18, "only {writes} writes");
}

// lifecycle 27, 30
#[tokio::test]
async fn a_crash_at_any_write_of_a_bootstrap_leads_to_one_config_and_one_claim() {
    let cluster = empty_cluster().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "ovirt-csi-sc"},
                       "provisioner": "kubernetes.io/no-provisioner"});
    let _ = cluster.try_create(class).await;
    let expected = undisturbed(&cluster, Start::Bootstrap).await;
    let config = &expected["Config cluster"]["spec"];
    assert_eq!(config["rolloutStrategy"], "Recreate");
    assert_eq!(config["storage"]["pvc"]["claim"], "image-registry-storage");
    // The Lease, the claim, the Config, and what other controllers write meanwhile.
    for n in 1..=5 {
        assert!(killed_at(&cluster, Start::Bootstrap, n, &expected).await);
    }
}

async fn begin(cluster: &TestCluster, start: Start) {
    cluster.reset().await;
    match start {
        Start::UsersClaim => {
            let config = config_with_claim(cluster).await;
            cluster.create(config).await;
        }
        Start::Bootstrap => {
            let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "ovirt-csi-sc"});
            cluster.volume("volume", spec).await;
            cluster.platform("oVirt").await;
        }
    }
}

/// The state after a bring-up without a fault.
async fn undisturbed(cluster: &TestCluster, start: Start) -> FinalState {
    begin(cluster, start).await;
    let operator = cluster.operator().await;
    cluster.until_up().await;
    tokio::time::sleep(QUIET).await;
    let ending = cluster.final_state().await;
    assert_eq!(ending["ReplicaSets"], 1);
    operator.kill().await;
    ending
}

/// Kills the operator after the API server carried out its n-th write and before the operator gets the response. Returns false
/// if there are fewer writes.
async fn killed_at(cluster: &TestCluster, start: Start, n: usize, expected: &FinalState) -> bool {
    begin(cluster, start).await;
    let proxy = cluster.proxy().await;
    let mut writes = 0;
    proxy.rule(move |request| {
        writes += usize::from(request.is_write() && !request.is_event());
        match writes.cmp(&n) {
            std::cmp::Ordering::Less => Fault::Pass,
            std::cmp::Ordering::Equal if request.is_write() && !request.is_event() => Fault::LoseAnswer,
            _ => Fault::Hang,
        }
    });
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    let settled = async {
        cluster.until_up().await;
        tokio::time::sleep(QUIET).await;
    };
    let reached = tokio::select! {
        () = proxy.until("such write", |requests| requests.iter().any(|request| request.lost)) => true,
        () = settled => false,
    };
    operator.kill().await;
    if reached {
        recovers(cluster, n, &proxy, expected).await;
    }
    reached
}

async fn recovers(cluster: &TestCluster, n: usize, proxy: &Proxy, expected: &FinalState) {
    let at = proxy.requests().into_iter().find(|request| request.lost).unwrap();
    let context = format!("killed at write {n}, {at}");
    let stored = cluster.list(Kind::Config, "").await;
    let secret = |config: &Value| {
        config
            .pointer("/spec/httpSecret")
            .cloned()
            .filter(|s| s.is_string() && s != "")
    };
    let before = stored.first().and_then(secret);
    cluster.clear_lease().await;
    let operator = cluster.operator().await;
    let config = cluster.until_up().await;
    assert!(
        before.is_none() || before == secret(&config),
        "{context}: the upload secret was generated again"
    );
    let began = Instant::now();
    while let Some(difference) = difference(&cluster.final_state().await, expected) {
        assert!(began.elapsed() < Duration::from_secs(10), "{context}: {difference}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.kill().await;
}
