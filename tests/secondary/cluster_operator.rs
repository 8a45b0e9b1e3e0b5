//! The ClusterOperator: what the operator reports to the platform.

use std::time::{Duration, Instant};

use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::history::History;
use crate::support::{cluster_operator, condition, config_ref, deployment, eventually, is, is_up, uid};
use crate::{empty_cluster, registry};

fn version(operator: &Value) -> &str {
    operator
        .pointer("/status/versions/0/version")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The next release of operator and registry.
const NEXT: &[(&str, &str)] = &[("RELEASE_VERSION", "4.23.0-next"), ("IMAGE", "localhost/registry:next")];

// lifecycle 106, 111, api 41
#[tokio::test]
async fn the_cluster_operator_is_created_complete_and_again_after_deletion() {
    let mark;
    let (cluster, _operator) = {
        let cluster = empty_cluster().await;
        mark = cluster.mark();
        cluster.create_config(json!({})).await;
        let operator = cluster.operator().await;
        (cluster, operator)
    };
    let complete = |o: &Value| is(o, "Available", "True", "Ready") && version(o) == "4.22.0-test";
    let first = cluster
        .until(&cluster_operator(), "complete", |o| o.is_some_and(complete))
        .await
        .unwrap();
    cluster.settle().await;
    let writes = cluster
        .requests(mark)
        .writes()
        .filter(|e| e.resource == "clusteroperators");
    let verbs: Vec<_> = writes
        .events()
        .iter()
        .map(|e| format!("{} {}", e.verb, e.subresource))
        .collect();
    assert_eq!(verbs[0], "create ");
    assert!(verbs[1..].iter().all(|v| v == "patch status"), "{verbs:?}");
    assert_complete(&first);

    cluster.delete(&cluster_operator()).await;
    let again = |o: &Value| uid(o) != uid(&first) && complete(o);
    let second = cluster
        .until(&cluster_operator(), "created again", |o| o.is_some_and(again))
        .await
        .unwrap();
    assert_complete(&second);
}

fn assert_complete(operator: &Value) {
    assert!(is(operator, "Progressing", "False", "Ready"));
    assert!(is(operator, "Degraded", "False", "AsExpected"));
    let (_, _, message) = condition(operator, "Available");
    for source in ["Available: ", "NodeCADaemonAvailable: ", "ImagePrunerAvailable: "] {
        assert!(
            message.lines().any(|line| line.starts_with(source)),
            "{source}: {message}"
        );
    }
    let related = json!([
        {"group": "imageregistry.operator.openshift.io", "resource": "configs", "name": "cluster"},
        {"group": "imageregistry.operator.openshift.io", "resource": "imagepruners", "name": "cluster"},
        {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "name": "system:registry"},
        {"group": "rbac.authorization.k8s.io", "resource": "clusterrolebindings", "name": "registry-registry-role"},
        {"group": "rbac.authorization.k8s.io", "resource": "clusterrolebindings", "name": "openshift-image-registry-pruner"},
        {"group": "", "resource": "namespaces", "name": names::NAMESPACE},
    ]);
    assert_eq!(operator["status"]["relatedObjects"], related);
    assert_eq!(operator["status"]["versions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_cluster_operator_follows_the_config_within_a_second_and_warns_of_overrides() {
    let (cluster, _operator) = registry(json!({})).await;
    let operators = cluster.record(&cluster_operator()).await;
    let configs = cluster.record(&config_ref()).await;
    for state in ["Unmanaged", "Managed", "Removed", "Managed"] {
        cluster.enter_state(state).await;
        let reason = if state == "Managed" { "Ready" } else { state };
        let reports = |o: &Value| is(o, "Available", "True", reason);
        cluster
            .until(&cluster_operator(), state, |o| o.is_some_and(reports))
            .await;
        // By the watches: how long after the Config the ClusterOperator reported the same.
        let (config, operator) = (since(&configs, reason).await, since(&operators, reason).await);
        let took = operator.saturating_duration_since(config);
        assert!(took < Duration::from_secs(1), "{state}: after {took:?}");
    }
    let overrides = json!({"deployment": {"annotations": {"example.com/a": "b"}}});
    let edited = Instant::now();
    cluster.edit(json!({"unsupportedConfigOverrides": overrides})).await;
    let refuses = |o: &Value| is(o, "Upgradeable", "False", "UnsupportedConfigOverridesSet");
    cluster
        .until(&cluster_operator(), "not upgradeable", |o| o.is_some_and(refuses))
        .await;
    assert!(edited.elapsed() < Duration::from_secs(1), "{:?}", edited.elapsed());
    cluster.edit(json!({"unsupportedConfigOverrides": null})).await;
    cluster
        .until(&cluster_operator(), "upgradeable", |o| {
            o.is_some_and(|o| condition(o, "Upgradeable").0.is_empty())
        })
        .await;
}

/// Since when Available has had this reason without interruption.
async fn since(history: &History, reason: &str) -> Instant {
    let tells = |object: &Value| condition(object, "Available").1 == reason;
    eventually("the record has it", async || {
        history.versions().last().is_some_and(|(_, o)| tells(o))
    })
    .await;
    let versions = history.versions();
    versions
        .iter()
        .rev()
        .take_while(|(_, object)| tells(object))
        .last()
        .unwrap()
        .0
}

// lifecycle 109, 110, deploy 30
#[tokio::test]
async fn a_version_is_reported_once_its_rollout_is_complete() {
    let cluster = empty_cluster().await;
    cluster.create_config(json!({"managementState": "Removed"})).await;
    let operator = cluster.operator().await;
    // No registry runs, so the operator's own version is reported.
    let removed = |o: &Value| is(o, "Available", "True", "Removed") && version(o) == "4.22.0-test";
    cluster
        .until(&cluster_operator(), "removed", |o| o.is_some_and(removed))
        .await;
    cluster.enter_state("Managed").await;
    assert!(operator.stop().await.success());

    cluster.devcluster.pause_simulated_pods().unwrap();
    let _next = cluster.operator_with(NEXT).await;
    let annotated =
        |o: &Value| o.pointer("/metadata/annotations/release.openshift.io~1version") == Some(&json!("4.23.0-next"));
    let updating = |o: &Value| annotated(o) && o["status"]["updatedReplicas"] == 1 && o["status"]["replicas"] == 2;
    cluster
        .until(&deployment(), "rolling out", |o| o.is_some_and(updating))
        .await;
    let rolling = |o: &Value| is(o, "Progressing", "True", "DeploymentNotCompleted");
    let found = cluster
        .until(&cluster_operator(), "rolling out", |o| o.is_some_and(rolling))
        .await
        .unwrap();
    assert_eq!(version(&found), "4.22.0-test");
    cluster.settle().await;
    assert_eq!(version(&cluster.get(&cluster_operator()).await.unwrap()), "4.22.0-test");
    cluster.devcluster.resume_simulated_pods().unwrap();
    cluster
        .until(&cluster_operator(), "of the next version", |o| {
            o.is_some_and(|o| version(o) == "4.23.0-next")
        })
        .await;
    cluster.until_config("up", is_up).await;
}
