//! Several processes, signals, and a lease that somebody else takes.

use std::time::{Duration, Instant};

use devcluster::stores::Latch;
use http::Method;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::json;

use super::support::Lab;
use super::support::course::cluster_operator;
use super::support::operator::{Operator, signal};
use super::support::proxy::{Asked, Fault, Proxy};
use super::{cluster, removed};

/// An operator, and the proxy through which all its requests go.
struct Candidate {
    operator: Operator,
    proxy: Proxy,
}

impl Candidate {
    async fn start(lab: &Lab) -> Self {
        let proxy = lab.proxy().await;
        let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
        Self { operator, proxy }
    }

    /// Whether it wrote anything but the lease.
    fn acts(&self) -> bool {
        self.proxy
            .asked()
            .iter()
            .any(|asked| asked.is_write() && !asked.is_lease())
    }
}

fn releases(asked: &Asked) -> bool {
    asked.is(&Method::PATCH, names::LEASE) && asked.body["spec"]["holderIdentity"] == ""
}

// lifecycle 10, 11, 13, 14; deploy 27, 28, 29; decision 7
#[tokio::test]
async fn of_three_processes_one_acts_and_another_follows_within_seconds_when_it_is_stopped() {
    let lab = cluster().await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(Candidate::start(&lab).await);
    }
    removed(&lab).await;
    for candidate in &waiting {
        let looked = |asked: &[Asked]| asked.iter().any(|asked| asked.is_lease() && asked.status != 0);
        candidate.proxy.until("look at the lease", looked).await;
    }
    let acting: Vec<_> = waiting.iter().map(Candidate::acts).collect();
    assert_eq!(acting.iter().filter(|acts| **acts).count(), 1, "{acting:?}");
    assert_eq!(lab.lease().await.lease_duration_seconds, Some(137));
    let leader = waiting.remove(acting.iter().position(|acts| *acts).unwrap());
    let holder = lab.holder().await;

    let Candidate { operator, proxy } = leader;
    let stopped = Instant::now();
    let status = operator.stop().await;
    let took = stopped.elapsed();
    assert!(
        status.success() && took < Duration::from_secs(2),
        "{status} after {took:?}"
    );
    assert!(proxy.asked().iter().any(releases), "the holder is cleared");
    lab.until_held(&holder).await;
    let took = stopped.elapsed();
    println!("the successor leads {took:?} after the signal");
    assert!(took < Duration::from_secs(6), "{took:?}");

    // Who leads acts, and only it.
    lab.delete(&cluster_operator()).await;
    lab.until_present(&cluster_operator()).await;
    let acting: Vec<_> = waiting.iter().map(Candidate::acts).collect();
    assert_eq!(acting.iter().filter(|acts| **acts).count(), 1, "{acting:?}");
    let mut leader = waiting.remove(acting.iter().position(|acts| *acts).unwrap());

    // The first signal does not get to its end; the second ends the process at once.
    leader
        .proxy
        .rule(|asked| if releases(asked) { Fault::Hang } else { Fault::Pass });
    signal(leader.operator.pid(), "TERM");
    leader.proxy.until("release", |asked| asked.iter().any(releases)).await;
    signal(leader.operator.pid(), "TERM");
    assert_eq!(leader.operator.ended().await.code(), Some(1));
}

// lifecycle 11, deploy 29
#[tokio::test]
async fn on_a_single_node_control_plane_the_lease_lasts_longer() {
    let lab = cluster().await;
    let infrastructure = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
    let status = json!({"controlPlaneTopology": "SingleReplica"});
    lab.patch_status(&infrastructure, json!({"status": status})).await;
    let operator = lab.operator().await;
    lab.until_held("").await;
    assert_eq!(lab.lease().await.lease_duration_seconds, Some(270));
    operator.kill().await;
}

// lifecycle 20
#[tokio::test]
async fn a_leader_that_finds_its_lease_taken_ends_in_the_middle_of_a_pass_and_writes_nothing_more() {
    let lab = cluster().await;
    let Candidate { mut operator, proxy } = Candidate::start(&lab).await;
    removed(&lab).await;
    lab.set_holder("somebody-else").await;
    let answer = Latch::closed();
    let held = answer.clone();
    proxy.rule(move |asked| {
        if asked.is(&Method::GET, names::LEASE) {
            Fault::Hold(held.clone())
        } else if asked.is(&Method::POST, "/clusterroles") {
            Fault::Hang
        } else {
            Fault::Pass
        }
    });
    // It learns of it at its next renewal.
    let reads = |asked: &[Asked]| asked.last().is_some_and(|asked| asked.is(&Method::GET, names::LEASE));
    proxy.until("look at the lease after a conflict", reads).await;
    let known = proxy.asked().len();
    lab.edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}}))
        .await;
    let writes = |asked: &[Asked]| {
        asked[known..]
            .iter()
            .any(|asked| asked.is(&Method::POST, "/clusterroles"))
    };
    proxy.until("write in the middle of a pass", writes).await;
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
    assert_eq!(lab.holder().await, "somebody-else");
}
