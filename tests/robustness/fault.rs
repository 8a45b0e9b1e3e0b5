//! An API server that refuses requests, does not answer, or is unreachable.

use std::time::{Duration, Instant};

use http::Method;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::final_state::difference;
use crate::support::operator::signal;
use crate::support::proxy::{Fault, ProxiedRequest};
use crate::support::{TestCluster, condition, config_ref, deployment, disruption_budget, is, network_policy, service};
use crate::{config_with_claim, empty_cluster, registry_behind_proxy};

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Whether three consecutive waits grow, from at least `FIRST` to at least twice the first of them.
fn back_off(waits: &[Duration]) -> bool {
    const FIRST: Duration = Duration::from_millis(150);
    waits
        .windows(3)
        .any(|waits| waits.is_sorted() && waits[0] >= FIRST && waits[2] >= waits[0] * 2)
}

// workload 9
#[tokio::test]
async fn an_object_that_cannot_be_written_is_reported_and_retried_and_blocks_no_other() {
    let cluster = empty_cluster().await;
    let config = config_with_claim(&cluster).await;
    cluster.create(config).await;
    let proxy = cluster.proxy().await;
    proxy.rule(|request| match request.body["metadata"]["name"].as_str() {
        Some(names::REGISTRY_CLUSTER_ROLE) => Fault::Refuse(500),
        Some(names::REGISTRY_NETWORK_POLICY) => Fault::Refuse(503),
        _ => Fault::Pass,
    });
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    // Every other object exists, and the registry serves.
    let config = cluster
        .until_config("up but for two objects", |config| {
            is(config, "Available", "True", "Ready") && is(config, "Progressing", "True", "Error")
        })
        .await;
    let (_, _, message) = condition(&config, "Progressing");
    for name in [names::REGISTRY_CLUSTER_ROLE, names::REGISTRY_NETWORK_POLICY] {
        assert!(message.contains(name), "{message}");
    }
    assert!(cluster.get(&disruption_budget()).await.is_some());
    // Each change causes a reconcile at once; without changes, the waits between retries grow.
    let attempts = |requests: &[ProxiedRequest]| -> Vec<_> {
        requests
            .iter()
            .filter(|request| request.status == 503)
            .map(|request| request.at)
            .collect()
    };
    proxy
        .until("attempts with growing waits", |requests| {
            back_off(&gaps(&attempts(requests)))
        })
        .await;
    proxy.pass();
    cluster.until_up().await;
    assert!(cluster.get(&network_policy()).await.is_some());
    operator.kill().await;
}

/// Waits until the Config is being deleted and its status reports that this object prevents the deletion.
async fn until_deletion_fails(cluster: &TestCluster, object: &str) -> Value {
    let reports = |config: &Value| {
        is(config, "Degraded", "True", "RemoveFailed") && condition(config, "Degraded").2.contains(object)
    };
    cluster
        .until_config("reporting that it cannot be deleted", reports)
        .await
}

/// Waits until the Config is deleted and the operator has created another one.
async fn until_recreated(cluster: &TestCluster, gone: &Value) {
    let another = |config: &Value| config["metadata"]["uid"] != gone["metadata"]["uid"];
    cluster.until_config("created again", another).await;
}

/// Whether a request changes the Config, but not its status.
fn changes_config(request: &ProxiedRequest) -> bool {
    request.is(&Method::PATCH, "/configs/cluster")
}

#[tokio::test]
async fn a_config_that_cannot_be_written_reports_it_in_its_status() {
    let cluster = empty_cluster().await;
    cluster.delete_events().await;
    cluster.create(TestCluster::managed(json!({"emptyDir": {}}))).await;
    let proxy = cluster.proxy().await;
    proxy.refuse(403, changes_config);
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    let reports = |config: &Value, type_: &str| {
        is(config, type_, "True", "Error") && condition(config, type_).2.contains("Config cluster")
    };
    cluster
        .until_config("reporting that it cannot be written", |config| {
            reports(config, "Progressing")
                && reports(config, "ConfigObservationDegraded")
                && is(config, "Available", "False", "DeploymentNotFound")
        })
        .await;
    cluster
        .until_event("Warning ObservedConfigWriteError", "Config cluster")
        .await;
    assert!(cluster.get(&deployment()).await.is_none());
    proxy.pass();
    let config = cluster.until_up().await;
    assert!(is(&config, "ConfigObservationDegraded", "False", ""));

    // Nor can the operator remove its finalizer.
    cluster.settle().await;
    proxy.refuse(403, changes_config);
    cluster.delete(&config_ref()).await;
    let config = until_deletion_fails(&cluster, "Config cluster").await;
    assert!(is(&config, "ConfigObservationDegraded", "False", ""));
    proxy.pass();
    until_recreated(&cluster, &config).await;
    operator.kill().await;
}

// lifecycle 116
#[tokio::test]
async fn a_failed_deletion_is_reported_keeps_the_finalizer_and_is_retried() {
    let cluster = empty_cluster().await;
    let (proxy, operator) = registry_behind_proxy(&cluster).await;
    let deployment = format!("/deployments/{}", names::REGISTRY);
    proxy.refuse(500, move |request| request.is(&Method::DELETE, &deployment));
    cluster.delete(&config_ref()).await;
    let config = until_deletion_fails(&cluster, "Deployment").await;
    assert!(is(&config, "Progressing", "True", "DeletingDeployment"));
    assert!(is(&config, "Removed", "False", ""), "the state is Managed");
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    proxy.pass();
    until_recreated(&cluster, &config).await;
    operator.kill().await;
}

// lifecycle 63
#[tokio::test]
async fn a_storage_switch_is_counted_once_however_often_its_status_update_is_retried() {
    let cluster = empty_cluster().await;
    let claims = config_with_claim(&cluster).await;
    let (proxy, operator) = registry_behind_proxy(&cluster).await;
    let mut refused = 0;
    proxy.rule(move |request| {
        let switches =
            request.is(&Method::PATCH, "/configs/cluster/status") && request.body.to_string().contains("pvc");
        refused += usize::from(switches);
        if switches && refused <= 3 {
            Fault::Refuse(409)
        } else {
            Fault::Pass
        }
    });
    let mut storage = claims["spec"]["storage"].clone();
    storage["emptyDir"] = Value::Null;
    storage["managementState"] = Value::Null;
    cluster.edit(json!({"storage": storage, "replicas": 1})).await;
    cluster
        .until_config("on a claim", |config| !config["status"]["storage"]["pvc"].is_null())
        .await;
    cluster.until_up().await;
    cluster.settle().await;
    let metrics = operator.metrics().await;
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("image_registry_operator_storage_reconfigured_total "));
    assert_eq!(counted, Some("1"));
    operator.kill().await;
}

// workload 10
#[tokio::test]
async fn a_conflict_is_retried_four_times_with_fresh_reads_and_then_later() {
    let cluster = empty_cluster().await;
    let (proxy, operator) = registry_behind_proxy(&cluster).await;
    let service = service();
    let end = format!("/services/{}", names::REGISTRY);
    let update = end.clone();
    let updates = move |request: &ProxiedRequest| request.is_write() && request.path.ends_with(&update);
    let refused = updates.clone();
    proxy.refuse(409, move |request| refused(request));
    let before = proxy.requests().len();
    cluster
        .patch(&service, json!({"metadata": {"labels": {"docker-registry": "no"}}}))
        .await;
    // Each reconcile makes four attempts; the waits between reconciles grow.
    let passes = move |requests: &[ProxiedRequest]| {
        let at: Vec<_> = requests[before..]
            .iter()
            .filter(|request| updates(request))
            .map(|request| request.at)
            .collect();
        let between = at[..at.len() - at.len() % 4].windows(2).skip(3).step_by(4);
        between.map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    proxy
        .until("reconciles with growing waits", |requests| back_off(&passes(requests)))
        .await;
    proxy.pass();
    let requests = proxy.requests();
    let of_service = requests[before..].iter().filter(|request| request.path.ends_with(&end));
    let course: Vec<_> = of_service
        .take(8)
        .map(|request| if request.is_write() { "write" } else { "read" })
        .collect();
    assert_eq!(
        course,
        ["write", "read", "write", "read", "write", "read", "write", "write"]
    );
    cluster
        .until(&service, "restored", |s| {
            s.is_some_and(|s| s["metadata"]["labels"]["docker-registry"] == "default")
        })
        .await;
    cluster.until_up().await;
    operator.kill().await;
}

// workload 11
#[tokio::test]
async fn an_object_that_exists_already_is_used_as_it_is() {
    let cluster = empty_cluster().await;
    let config = config_with_claim(&cluster).await;
    cluster.create(config.clone()).await;
    let operator = cluster.operator().await;
    cluster.until_up().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let expected = cluster.final_state().await;
    operator.kill().await;

    // Each create request is carried out and answered with AlreadyExists, as after a lost response.
    cluster.reset().await;
    config_with_claim(&cluster).await;
    cluster.create(config).await;
    let proxy = cluster.proxy().await;
    proxy.rule(|request| {
        let creates = request.method == Method::POST && !request.is_event();
        if creates { Fault::Twice } else { Fault::Pass }
    });
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    cluster.until_up().await;
    let conflicts = proxy.requests().iter().filter(|request| request.status == 409).count();
    assert!(conflicts >= 12, "{conflicts}");
    let began = Instant::now();
    while let Some(difference) = difference(&cluster.final_state().await, &expected) {
        assert!(began.elapsed() < Duration::from_secs(10), "{difference}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.kill().await;
}

#[tokio::test]
async fn the_operator_survives_an_api_server_that_hangs_or_is_unreachable_for_seconds() {
    let cluster = empty_cluster().await;
    cluster.create(TestCluster::managed(json!({"emptyDir": {}}))).await;
    let proxy = cluster.proxy().await;
    let mut operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    cluster.until_up().await;
    let budget = disruption_budget();

    // The connections stay open, and the API server does not answer.
    let pid = std::fs::read_to_string(cluster.devcluster.directory().join("pids/kube-apiserver")).unwrap();
    let pid = pid.split_whitespace().next().unwrap().parse().unwrap();
    signal(pid, "STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal(pid, "CONT");
    comes_back(&cluster, &budget).await;

    // The connections break and new ones are refused. Twice, because the first outage must not delay recovery from the second.
    for _ in 0..2 {
        proxy.go_away();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        cluster.delete(&budget).await;
        proxy.come_back();
        cluster.until_present(&budget).await;
    }
    comes_back(&cluster, &budget).await;
    assert!(operator.is_running());
    operator.kill().await;
}

async fn comes_back(cluster: &TestCluster, object: &image_registry_operator::api::ObjectRef) {
    cluster.delete(object).await;
    let began = Instant::now();
    cluster.until_present(object).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
