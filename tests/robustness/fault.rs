//! An API server that refuses, forgets to answer, or goes away.

use std::time::{Duration, Instant};

use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use super::support::ending::difference;
use super::support::operator::signal;
use super::support::proxy::{Asked, Fault};
use super::support::{Lab, condition, config_ref, is, operand};
use super::{claims, cluster, up};

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// Whether there are three waits in a row of which each is longer than the one before it.
fn back_off(waits: &[Duration]) -> bool {
    const FIRST: Duration = Duration::from_millis(150);
    waits
        .windows(3)
        .any(|waits| waits.is_sorted() && waits[0] >= FIRST && waits[2] >= waits[0] * 2)
}

// workload 9
#[tokio::test]
async fn an_object_that_cannot_be_written_is_reported_and_retried_and_stops_no_other() {
    let lab = cluster().await;
    let config = claims(&lab).await;
    lab.create(config).await;
    let proxy = lab.proxy().await;
    proxy.rule(|asked| match asked.body["metadata"]["name"].as_str() {
        Some(names::REGISTRY_CLUSTER_ROLE) => Fault::Refuse(500),
        Some(names::REGISTRY_NETWORK_POLICY) => Fault::Refuse(503),
        _ => Fault::Pass,
    });
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    // Everything else is there, and even serves.
    let config = lab
        .until_config("up but for two objects", |config| {
            is(config, "Available", "True", "Ready") && is(config, "Progressing", "True", "Error")
        })
        .await;
    let (_, _, message) = condition(&config, "Progressing");
    for name in [names::REGISTRY_CLUSTER_ROLE, names::REGISTRY_NETWORK_POLICY] {
        assert!(message.contains(name), "{message}");
    }
    assert!(
        lab.get(&operand(Kind::PodDisruptionBudget, names::REGISTRY))
            .await
            .is_some()
    );
    // A change brings a pass of its own; once nothing happens, waits grow.
    let attempts = |asked: &[Asked]| -> Vec<_> {
        asked
            .iter()
            .filter(|asked| asked.status == 503)
            .map(|asked| asked.at)
            .collect()
    };
    proxy
        .until("attempts that come ever later", |asked| {
            back_off(&gaps(&attempts(asked)))
        })
        .await;
    proxy.pass();
    up(&lab).await;
    assert!(
        lab.get(&operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY))
            .await
            .is_some()
    );
    operator.kill().await;
}

/// The Config is being deleted, and its status tells that this object stands in the way.
async fn until_it_cannot_go(lab: &Lab, object: &str) -> Value {
    let told = |config: &Value| {
        is(config, "Degraded", "True", "RemoveFailed") && condition(config, "Degraded").2.contains(object)
    };
    lab.until_config("told that it cannot go", told).await
}

/// The Config went, and there is another.
async fn until_made_anew(lab: &Lab, gone: &Value) {
    let another = |config: &Value| config["metadata"]["uid"] != gone["metadata"]["uid"];
    lab.until_config("made anew", another).await;
}

/// Whether a request is to change the Config; not its status.
fn changes_config(asked: &Asked) -> bool {
    asked.is(&Method::PATCH, "/configs/cluster")
}

#[tokio::test]
async fn a_config_that_takes_no_write_tells_so_in_its_status() {
    let lab = cluster().await;
    lab.forget_events().await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let proxy = lab.proxy().await;
    let refuse = |asked: &Asked| {
        if changes_config(asked) {
            Fault::Refuse(403)
        } else {
            Fault::Pass
        }
    };
    proxy.rule(refuse);
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    let told = |config: &Value, type_: &str| {
        is(config, type_, "True", "Error") && condition(config, type_).2.contains("Config cluster")
    };
    lab.until_config("told that it takes no write", |config| {
        told(config, "Progressing")
            && told(config, "ConfigObservationDegraded")
            && is(config, "Available", "False", "DeploymentNotFound")
    })
    .await;
    lab.until_event("Warning ObservedConfigWriteError", "Config cluster")
        .await;
    assert!(lab.get(&operand(Kind::Deployment, names::REGISTRY)).await.is_none());
    proxy.pass();
    let config = up(&lab).await;
    assert!(is(&config, "ConfigObservationDegraded", "False", ""));

    // Nor lets go of its finalizer.
    lab.settle().await;
    proxy.rule(refuse);
    lab.delete(&config_ref()).await;
    let config = until_it_cannot_go(&lab, "Config cluster").await;
    assert!(is(&config, "ConfigObservationDegraded", "False", ""));
    proxy.pass();
    until_made_anew(&lab, &config).await;
    operator.kill().await;
}

// lifecycle 116
#[tokio::test]
async fn a_deletion_that_fails_is_told_keeps_the_finalizer_and_is_tried_again() {
    let lab = cluster().await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let proxy = lab.proxy().await;
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    up(&lab).await;
    lab.settle().await;
    let deployment = format!("/deployments/{}", names::REGISTRY);
    proxy.rule(move |asked| {
        if asked.is(&Method::DELETE, &deployment) {
            Fault::Refuse(500)
        } else {
            Fault::Pass
        }
    });
    lab.delete(&config_ref()).await;
    let config = until_it_cannot_go(&lab, "Deployment").await;
    assert!(is(&config, "Progressing", "True", "DeletingDeployment"));
    assert!(is(&config, "Removed", "False", ""), "the state is Managed");
    assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
    proxy.pass();
    until_made_anew(&lab, &config).await;
    operator.kill().await;
}

// lifecycle 63
#[tokio::test]
async fn a_switch_of_the_storage_counts_once_however_often_its_status_is_tried() {
    let lab = cluster().await;
    let claims = claims(&lab).await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let proxy = lab.proxy().await;
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    up(&lab).await;
    lab.settle().await;
    let mut refused = 0;
    proxy.rule(move |asked| {
        let switches = asked.is(&Method::PATCH, "/configs/cluster/status") && asked.body.to_string().contains("pvc");
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
    lab.edit(json!({"storage": storage, "replicas": 1})).await;
    lab.until_config("on a claim", |config| !config["status"]["storage"]["pvc"].is_null())
        .await;
    up(&lab).await;
    lab.settle().await;
    let metrics = operator.metrics().await;
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("image_registry_operator_storage_reconfigured_total "));
    assert_eq!(counted, Some("1"));
    operator.kill().await;
}

// workload 10
#[tokio::test]
async fn a_conflict_is_tried_four_times_with_fresh_reads_and_then_later() {
    let lab = cluster().await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let proxy = lab.proxy().await;
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    up(&lab).await;
    lab.settle().await;
    let service = operand(Kind::Service, names::REGISTRY);
    let end = format!("/services/{}", names::REGISTRY);
    let update = end.clone();
    let updates = move |asked: &Asked| asked.is_write() && asked.path.ends_with(&update);
    let refused = updates.clone();
    proxy.rule(move |asked| {
        if refused(asked) {
            Fault::Refuse(409)
        } else {
            Fault::Pass
        }
    });
    let before = proxy.asked().len();
    lab.patch(&service, json!({"metadata": {"labels": {"docker-registry": "no"}}}))
        .await;
    // Each pass makes four attempts; between the passes, waits grow.
    let passes = move |asked: &[Asked]| {
        let at: Vec<_> = asked[before..]
            .iter()
            .filter(|asked| updates(asked))
            .map(|asked| asked.at)
            .collect();
        let between = at[..at.len() - at.len() % 4].windows(2).skip(3).step_by(4);
        between.map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
    };
    proxy
        .until("passes that come ever later", |asked| back_off(&passes(asked)))
        .await;
    proxy.pass();
    let asked = proxy.asked();
    let of_service = asked[before..].iter().filter(|asked| asked.path.ends_with(&end));
    let course: Vec<_> = of_service
        .take(8)
        .map(|asked| if asked.is_write() { "write" } else { "read" })
        .collect();
    assert_eq!(
        course,
        ["write", "read", "write", "read", "write", "read", "write", "write"]
    );
    lab.until(&service, "put right", |s| {
        s.is_some_and(|s| s["metadata"]["labels"]["docker-registry"] == "default")
    })
    .await;
    up(&lab).await;
    operator.kill().await;
}

// workload 11
#[tokio::test]
async fn what_turns_out_to_exist_already_is_taken_as_it_is() {
    let lab = cluster().await;
    let config = claims(&lab).await;
    lab.create(config.clone()).await;
    let operator = lab.operator().await;
    up(&lab).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let expected = lab.ending().await;
    operator.kill().await;

    // Every creation is carried out, and its answer says that the object exists: as after an answer that was lost.
    lab.reset().await;
    claims(&lab).await;
    lab.create(config).await;
    let proxy = lab.proxy().await;
    proxy.rule(|asked| {
        let creates = asked.method == Method::POST && !asked.is_event();
        if creates { Fault::Twice } else { Fault::Pass }
    });
    let operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    up(&lab).await;
    let conflicts = proxy.asked().iter().filter(|asked| asked.status == 409).count();
    assert!(conflicts >= 12, "{conflicts}");
    let began = Instant::now();
    while let Some(difference) = difference(&lab.ending().await, &expected) {
        assert!(began.elapsed() < Duration::from_secs(10), "{difference}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    operator.kill().await;
}

#[tokio::test]
async fn an_api_server_that_freezes_or_goes_away_for_seconds_is_waited_for() {
    let lab = cluster().await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let proxy = lab.proxy().await;
    let mut operator = lab.operator_at(&proxy.kubeconfig(), &[]);
    up(&lab).await;
    let budget = operand(Kind::PodDisruptionBudget, names::REGISTRY);

    // Connections stay, and nothing answers.
    let pid = std::fs::read_to_string(lab.cluster.directory().join("pids/kube-apiserver")).unwrap();
    let pid = pid.split_whitespace().next().unwrap().parse().unwrap();
    signal(pid, "STOP");
    tokio::time::sleep(Duration::from_secs(3)).await;
    signal(pid, "CONT");
    comes_back(&lab, &budget).await;

    // Connections break, and new ones are refused; twice, because the first must not slow down the second.
    for _ in 0..2 {
        proxy.go_away();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        lab.delete(&budget).await;
        proxy.come_back();
        lab.until_present(&budget).await;
    }
    comes_back(&lab, &budget).await;
    assert!(operator.is_running());
    operator.kill().await;
}

async fn comes_back(lab: &Lab, object: &image_registry_operator::api::ObjectRef) {
    lab.delete(object).await;
    let began = Instant::now();
    lab.until_present(object).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
