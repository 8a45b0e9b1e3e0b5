//! Several processes, signals, and a Lease that another process takes.

use std::time::{Duration, Instant};

use devcluster::stores::Latch;
use http::Method;
use image_registry_operator::names;
use serde_json::json;

use crate::empty_cluster;
use crate::support::operator::{Operator, signal};
use crate::support::proxy::{Fault, ProxiedRequest, Proxy};
use crate::support::{TestCluster, cluster_operator, infrastructure};

/// An operator and the proxy through which it sends all its requests.
struct Candidate {
    operator: Operator,
    proxy: Proxy,
}

impl Candidate {
    async fn start(cluster: &TestCluster) -> Self {
        let proxy = cluster.proxy().await;
        let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
        Self { operator, proxy }
    }

    /// Whether it wrote anything except the Lease.
    fn acts(&self) -> bool {
        self.proxy
            .requests()
            .iter()
            .any(|request| request.is_write() && !request.is_lease())
    }
}

fn releases(request: &ProxiedRequest) -> bool {
    request.is(&Method::PATCH, names::LEASE) && request.body["spec"]["holderIdentity"] == ""
}

// lifecycle 10, 11, 13, 14; deploy 27, 28, 29; decision 7
#[tokio::test]
async fn of_three_processes_one_leads_and_another_takes_over_within_seconds_of_its_stop() {
    let cluster = empty_cluster().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(Candidate::start(&cluster).await);
    }
    cluster.until_removed().await;
    for candidate in &waiting {
        let looked =
            |requests: &[ProxiedRequest]| requests.iter().any(|request| request.is_lease() && request.status != 0);
        candidate.proxy.until("look at the lease", looked).await;
    }
    let acting: Vec<_> = waiting.iter().map(Candidate::acts).collect();
    assert_eq!(acting.iter().filter(|acts| **acts).count(), 1, "{acting:?}");
    assert_eq!(cluster.lease().await.lease_duration_seconds, Some(137));
    let leader = waiting.remove(acting.iter().position(|acts| *acts).unwrap());
    let holder = cluster.holder().await;

    let Candidate { operator, proxy } = leader;
    let stopped = Instant::now();
    let status = operator.stop().await;
    let took = stopped.elapsed();
    assert!(
        status.success() && took < Duration::from_secs(2),
        "{status} after {took:?}"
    );
    assert!(proxy.requests().iter().any(releases), "the holder is cleared");
    cluster.until_held(&holder).await;
    let took = stopped.elapsed();
    println!("the successor leads {took:?} after the signal");
    assert!(took < Duration::from_secs(6), "{took:?}");

    // Only the leader acts.
    cluster.delete(&cluster_operator()).await;
    cluster.until_present(&cluster_operator()).await;
    let acting: Vec<_> = waiting.iter().map(Candidate::acts).collect();
    assert_eq!(acting.iter().filter(|acts| **acts).count(), 1, "{acting:?}");
    let mut leader = waiting.remove(acting.iter().position(|acts| *acts).unwrap());

    // The first signal starts a shutdown that cannot finish; the second ends the process at once.
    leader
        .proxy
        .rule(|request| if releases(request) { Fault::Hang } else { Fault::Pass });
    signal(leader.operator.pid(), "TERM");
    leader
        .proxy
        .until("release", |requests| requests.iter().any(releases))
        .await;
    signal(leader.operator.pid(), "TERM");
    assert_eq!(leader.operator.ended().await.code(), Some(1));
}

// lifecycle 11, deploy 29
#[tokio::test]
async fn on_a_single_node_control_plane_the_lease_lasts_longer() {
    let cluster = empty_cluster().await;
    let infrastructure = infrastructure();
    let status = json!({"controlPlaneTopology": "SingleReplica"});
    cluster.patch_status(&infrastructure, json!({"status": status})).await;
    let operator = cluster.operator().await;
    cluster.until_held("").await;
    assert_eq!(cluster.lease().await.lease_duration_seconds, Some(270));
    operator.kill().await;
}

// lifecycle 20
#[tokio::test]
async fn a_leader_that_loses_its_lease_ends_in_mid_reconcile_and_writes_nothing_more() {
    let cluster = empty_cluster().await;
    let Candidate { mut operator, proxy } = Candidate::start(&cluster).await;
    cluster.until_removed().await;
    cluster.set_holder("somebody-else").await;
    let answer = Latch::closed();
    let held = answer.clone();
    proxy.rule(move |request| {
        if request.is(&Method::GET, names::LEASE) {
            Fault::Hold(held.clone())
        } else if request.is(&Method::POST, "/clusterroles") {
            Fault::Hang
        } else {
            Fault::Pass
        }
    });
    // The leader notices at its next renewal.
    let reads = |requests: &[ProxiedRequest]| {
        requests
            .last()
            .is_some_and(|request| request.is(&Method::GET, names::LEASE))
    };
    proxy.until("look at the lease after a conflict", reads).await;
    let known = proxy.requests().len();
    cluster
        .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}}))
        .await;
    let writes = |requests: &[ProxiedRequest]| {
        requests[known..]
            .iter()
            .any(|request| request.is(&Method::POST, "/clusterroles"))
    };
    proxy.until("write in the middle of a reconcile", writes).await;
    let before = proxy.writes().len();
    answer.open();
    let lost = Instant::now();
    let status = operator.ended().await;
    assert!(
        status.success() && lost.elapsed() < Duration::from_secs(2),
        "{status} after {:?}",
        lost.elapsed()
    );
    let written = proxy.writes();
    assert_eq!(written.len(), before, "{:?}", written.last());
    assert_eq!(cluster.holder().await, "somebody-else");
}

// Issue 10, bug 5: the watchdog of the cluster ends what carries the cluster's mark when the test process ends, however it ends.
#[tokio::test]
async fn an_operator_of_a_test_carries_the_mark_by_which_it_ends_with_the_test_process() {
    let cluster = empty_cluster().await;
    let operator = cluster.operator().await;
    let (variable, directory) = cluster.devcluster.mark_of_processes();
    let mark = format!("{variable}={}", directory.display());
    // The kernel shows it a moment after the start of the program.
    let file = format!("/proc/{}/environ", operator.pid());
    while std::fs::read(&file).unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let environment = std::fs::read(&file).unwrap();
    let marked = environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes());
    assert!(marked, "{mark} is not in {}", String::from_utf8_lossy(&environment));
    operator.kill().await;
}
