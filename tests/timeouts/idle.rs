//! What the operator does when there is nothing to do.

use std::time::Duration;

use devcluster::audit;
use image_registry_operator::names;
use serde_json::json;

use crate::empty_cluster;
use crate::support::operator::{ACCOUNT, Operator};
use crate::support::{TestCluster, deployment, eventually, resource_version, uid};

/// How long after its deletion the Deployment may be created again on a busy machine.
const SOON: Duration = Duration::from_secs(3);
/// Events of a bring-up are written within this time.
const EVENTS: Duration = Duration::from_millis(700);

// lifecycle 55, 65, 67; workload 2; storage-core 12; decisions 9 (a Deployment that was deleted waits for nothing) and 10
#[tokio::test]
async fn an_idle_operator_sends_no_request_and_recreates_a_deleted_deployment_at_once() {
    let cluster = empty_cluster().await;
    cluster.shared_volume().await;
    cluster
        .create(TestCluster::managed(json!({"pvc": {"claim": ""}})))
        .await;
    let recorder = cluster.record_rollout().await;
    let operator = cluster.operator().await;
    cluster.until_up().await;
    recorder.assert_clean_bring_up(None).await;
    let operator = restart_writes_nothing(&cluster, operator).await;
    deleted_deployment_comes_back(&cluster).await;

    until_idle(&cluster).await;
    let passes = operator.passes("registry").await;
    assert!(passes > 0);
    let mark = cluster.mark();
    // One more reconcile, which finds nothing to do.
    let touched = cluster.trigger_reconcile("touched").await;
    eventually("a reconcile follows the edit", async || {
        operator.passes("registry").await > passes
    })
    .await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let requests = requests(&cluster, mark).counted();
    assert!(requests.is_empty(), "{requests}");
    assert_eq!(resource_version(&cluster.config().await), resource_version(&touched));
    operator.kill().await;
}

/// Requests of the operator since a mark, except those for its Lease.
fn requests(cluster: &TestCluster, since: audit::Mark) -> audit::Log {
    let log = audit::Log::read_since(cluster.devcluster.audit_log(), since).unwrap();
    log.by_service_account(names::NAMESPACE, ACCOUNT)
        .filter(|event| event.resource != "leases")
}

/// Waits until the operator has sent nothing for a while, not even an event.
async fn until_idle(cluster: &TestCluster) {
    loop {
        let mark = cluster.mark();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        if requests(cluster, mark).counted().is_empty() {
            return;
        }
    }
}

/// A restarted operator that finds everything done writes its Lease and at most one event.
async fn restart_writes_nothing(cluster: &TestCluster, operator: Operator) -> Operator {
    tokio::time::sleep(EVENTS).await;
    assert!(operator.stop().await.success());
    let mark = cluster.mark();
    let operator = cluster.operator().await;
    for controller in ["registry", "certificates", "clusteroperator"] {
        eventually(&format!("a reconcile of {controller}"), async || {
            operator.passes(controller).await > 0
        })
        .await;
    }
    tokio::time::sleep(EVENTS).await;
    let writes = requests(cluster, mark).writes();
    let events = writes.filter(|event| event.resource == "events");
    assert!(events.len() <= 1 && events.len() == writes.len(), "{writes}");
    operator
}

async fn deleted_deployment_comes_back(cluster: &TestCluster) {
    let recorder = cluster.record_rollout().await;
    let old = cluster.get(&deployment()).await.unwrap();
    cluster.delete(&deployment()).await;
    cluster
        .until(&deployment(), "created again", |d| {
            d.is_some_and(|d| uid(d) != uid(&old))
        })
        .await;
    // A watch may report a write before the audit log has it.
    cluster.until_up().await;
    let deletions = recorder
        .log()
        .filter(|event| event.resource == "deployments" && event.verb == "delete");
    let deleted = deletions.events()[0].time + deletions.events()[0].duration;
    let after = Duration::from_micros((recorder.deployment_created() - deleted).try_into().unwrap());
    assert!(after <= SOON, "{after:?}");
}
