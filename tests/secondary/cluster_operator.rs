//! The ClusterOperator: what the platform is told.

use std::time::{Duration, Instant};

use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::history::History;
use crate::support::{condition, is, is_up};
use crate::{cluster, cluster_operator, create_config, deployment, enter, eventually, registry, uid};

fn version(operator: &Value) -> &str {
    operator
        .pointer("/status/versions/0/version")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Another release of operator and registry.
const NEXT: &[(&str, &str)] = &[("RELEASE_VERSION", "4.23.0-next"), ("IMAGE", "localhost/registry:next")];

// lifecycle 106, 111, api 41
#[tokio::test]
async fn it_is_made_with_conditions_version_and_related_objects_and_made_anew_when_deleted() {
    let mark;
    let (lab, _operator) = {
        let lab = cluster().await;
        mark = lab.mark();
        create_config(&lab, json!({})).await;
        let operator = lab.operator().await;
        (lab, operator)
    };
    let complete = |o: &Value| is(o, "Available", "True", "Ready") && version(o) == "4.22.0-test";
    let first = lab
        .until(&cluster_operator(), "complete", |o| o.is_some_and(complete))
        .await
        .unwrap();
    lab.settle().await;
    let writes = lab.requests(mark).writes().filter(|e| e.resource == "clusteroperators");
    let verbs: Vec<_> = writes
        .events()
        .iter()
        .map(|e| format!("{} {}", e.verb, e.subresource))
        .collect();
    assert_eq!(verbs[0], "create ");
    assert!(verbs[1..].iter().all(|v| v == "patch status"), "{verbs:?}");
    judge(&first);

    lab.delete(&cluster_operator()).await;
    let again = |o: &Value| uid(o) != uid(&first) && complete(o);
    let second = lab
        .until(&cluster_operator(), "made anew", |o| o.is_some_and(again))
        .await
        .unwrap();
    judge(&second);
}

fn judge(operator: &Value) {
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
async fn it_follows_the_config_within_a_second_and_warns_of_overrides() {
    let (lab, _operator) = registry(json!({})).await;
    let operators = lab.record(&cluster_operator()).await;
    let configs = lab.record(&crate::support::config_ref()).await;
    for state in ["Unmanaged", "Managed", "Removed", "Managed"] {
        enter(&lab, state).await;
        let reason = if state == "Managed" { "Ready" } else { state };
        let told = |o: &Value| is(o, "Available", "True", reason);
        lab.until(&cluster_operator(), state, |o| o.is_some_and(told)).await;
        // As the watches told it: how long after the Config the ClusterOperator said the same.
        let (config, operator) = (since(&configs, reason).await, since(&operators, reason).await);
        let took = operator.saturating_duration_since(config);
        assert!(took < Duration::from_secs(1), "{state}: after {took:?}");
    }
    let overrides = json!({"deployment": {"annotations": {"example.com/a": "b"}}});
    let edited = Instant::now();
    lab.edit(json!({"unsupportedConfigOverrides": overrides})).await;
    let refuses = |o: &Value| is(o, "Upgradeable", "False", "UnsupportedConfigOverridesSet");
    lab.until(&cluster_operator(), "not upgradeable", |o| o.is_some_and(refuses))
        .await;
    assert!(edited.elapsed() < Duration::from_secs(1), "{:?}", edited.elapsed());
    lab.edit(json!({"unsupportedConfigOverrides": null})).await;
    lab.until(&cluster_operator(), "upgradeable", |o| {
        o.is_some_and(|o| condition(o, "Upgradeable").0.is_empty())
    })
    .await;
}

/// Since when Available has had this reason without a break.
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
async fn a_version_is_told_once_its_rollout_is_complete() {
    let lab = cluster().await;
    create_config(&lab, json!({"managementState": "Removed"})).await;
    let operator = lab.operator().await;
    // Nothing runs: the operator's own version counts.
    let removed = |o: &Value| is(o, "Available", "True", "Removed") && version(o) == "4.22.0-test";
    lab.until(&cluster_operator(), "removed", |o| o.is_some_and(removed))
        .await;
    enter(&lab, "Managed").await;
    assert!(operator.stop().await.success());

    lab.cluster.pause_simulated_pods().unwrap();
    let _next = lab.operator_with(NEXT).await;
    let annotated =
        |o: &Value| o.pointer("/metadata/annotations/release.openshift.io~1version") == Some(&json!("4.23.0-next"));
    let updating = |o: &Value| annotated(o) && o["status"]["updatedReplicas"] == 1 && o["status"]["replicas"] == 2;
    lab.until(&deployment(), "rolling out", |o| o.is_some_and(updating))
        .await;
    let rolling = |o: &Value| is(o, "Progressing", "True", "DeploymentNotCompleted");
    let found = lab
        .until(&cluster_operator(), "rolling out", |o| o.is_some_and(rolling))
        .await
        .unwrap();
    assert_eq!(version(&found), "4.22.0-test");
    lab.settle().await;
    assert_eq!(version(&lab.get(&cluster_operator()).await.unwrap()), "4.22.0-test");
    lab.cluster.resume_simulated_pods().unwrap();
    lab.until(&cluster_operator(), "of the next version", |o| {
        o.is_some_and(|o| version(o) == "4.23.0-next")
    })
    .await;
    lab.until_config("up", is_up).await;
}
