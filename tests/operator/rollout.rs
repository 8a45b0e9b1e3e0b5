//! When the Deployment changes, how often, and in which steps.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{condition, config_ref, is, is_up, operand};
use crate::{deployment, observed, registry, revision, rolled_out};

fn affinity(deployment: &Value) -> Option<&Value> {
    deployment.pointer("/spec/template/spec/affinity")
}

fn updates(writes: &[String]) -> usize {
    writes
        .iter()
        .filter(|w| w.contains("deployments") && !w.contains("refused with 409"))
        .count()
}

// lifecycle 70, workload 7, 47, 49, 62
#[tokio::test]
async fn the_anti_affinity_of_two_replicas_goes_before_a_third_one_comes() {
    let (lab, _operator) = registry(json!({})).await;
    let budget = operand(Kind::PodDisruptionBudget, names::REGISTRY);
    assert_eq!(lab.get(&budget).await.unwrap()["spec"]["minAvailable"], 0);
    lab.edit(json!({"replicas": 2})).await;
    lab.until(&deployment(), "of two", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 2 && affinity(o).is_some())
    })
    .await;
    rolled_out(&lab).await;
    assert_eq!(lab.get(&budget).await.unwrap()["spec"]["minAvailable"], 1);

    let history = lab.record(&deployment()).await;
    let mark = lab.mark();
    lab.edit(json!({"replicas": 3})).await;
    lab.until(&deployment(), "of three", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 3)
    })
    .await;
    let after = rolled_out(&lab).await;
    assert_eq!(affinity(&after), None);
    assert_eq!(updates(&lab.writes(mark)), 2, "{:?}", lab.writes(mark));
    history.first("of three", |d| d["spec"]["replicas"] == 3).await;
    let states: Vec<_> = history
        .versions()
        .iter()
        .map(|(_, d)| (d["spec"]["replicas"].as_i64(), affinity(d).is_some()))
        .collect();
    let mut steps = states.clone();
    steps.dedup();
    assert_eq!(
        steps,
        [(Some(2), true), (Some(2), false), (Some(3), false)],
        "{states:?}"
    );

    lab.edit(json!({"replicas": 2})).await;
    lab.until(&deployment(), "of two", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 2)
    })
    .await;
    rolled_out(&lab).await;
    let mark = lab.mark();
    lab.edit(json!({"replicas": 1, "storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let switched = |o: &Value| {
        o["spec"]["replicas"] == 1
            && o.pointer("/spec/template/spec/volumes/0/persistentVolumeClaim")
                .is_some()
    };
    lab.until(&deployment(), "of one on a claim", |o| o.is_some_and(switched))
        .await;
    lab.settle().await;
    assert_eq!(updates(&lab.writes(mark)), 1, "{:?}", lab.writes(mark));
}

// workload 50
#[tokio::test]
async fn the_rollout_strategy_can_be_switched_both_ways() {
    let (lab, _operator) = registry(json!({"rolloutStrategy": "RollingUpdate"})).await;
    for (strategy, rolling) in [("Recreate", false), ("RollingUpdate", true)] {
        lab.edit(json!({"rolloutStrategy": strategy})).await;
        let switched = |o: &Value| o["spec"]["strategy"]["type"] == strategy;
        let found = lab
            .until(&deployment(), strategy, |o| o.is_some_and(switched))
            .await
            .unwrap();
        assert_eq!(found["spec"]["strategy"].get("rollingUpdate").is_some(), rolling);
    }
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
}

// workload 54, 63
#[tokio::test]
async fn another_release_or_a_lost_record_writes_the_deployment_once_and_starts_no_pod_anew() {
    let (lab, operator) = registry(json!({})).await;
    let before = rolled_out(&lab).await;
    assert!(operator.stop().await.success());
    let mark = lab.mark();
    let operator = lab.operator_with(&[("RELEASE_VERSION", "4.23.0-next")]).await;
    let newer = |o: &Value| o["metadata"]["annotations"][names::VERSION_ANNOTATION] == "4.23.0-next";
    lab.until(&deployment(), "of the next release", |o| o.is_some_and(newer))
        .await;
    let after = rolled_out(&lab).await;
    assert_eq!(revision(&after), revision(&before));
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(updates(&lab.writes(mark)), 1);

    assert!(operator.stop().await.success());
    lab.patch_status(&config_ref(), json!({"status": {"generations": []}}))
        .await;
    let mark = lab.mark();
    let _operator = lab.operator_with(&[("RELEASE_VERSION", "4.23.0-next")]).await;
    let recorded =
        |c: &Value| c.pointer("/status/generations/0/lastGeneration") == Some(&after["metadata"]["generation"]);
    lab.until_config("recorded", recorded).await;
    let last = rolled_out(&lab).await;
    assert_eq!(revision(&last), revision(&before));
    assert_eq!(lab.writes(mark), ["patch deployments image-registry"]);
}

// lifecycle 55, 74, 83, 84, workload 49
#[tokio::test]
async fn progressing_tells_of_rollouts_only_and_no_replica_is_no_registry() {
    let (lab, _operator) = registry(json!({"replicas": 2})).await;
    let configs = lab.record(&config_ref()).await;
    for pod in lab.list(Kind::Pod, names::NAMESPACE).await {
        lab.delete(&operand(Kind::Pod, pod["metadata"]["name"].as_str().unwrap()))
            .await;
        lab.settle().await;
        lab.until_config("up", is_up).await;
    }
    let turned: Vec<_> = configs
        .versions()
        .iter()
        .filter(|(_, c)| condition(c, "Progressing").0 != "False")
        .cloned()
        .collect();
    assert!(turned.is_empty(), "{turned:?}");
    lab.rests(std::time::Duration::from_secs(15)).await;

    lab.cluster.pause_simulated_pods().unwrap();
    lab.edit(json!({"logLevel": "Debug"})).await;
    let config = lab
        .until_config("rolling out", |c| {
            observed(c) && is(c, "Progressing", "True", "DeploymentNotCompleted")
        })
        .await;
    assert_eq!(condition(&config, "Degraded").0, "False");
    assert_eq!(condition(&config, "Available").0, "True");
    lab.cluster.resume_simulated_pods().unwrap();
    lab.until_config("up", is_up).await;

    lab.edit(json!({"replicas": 0})).await;
    let none =
        |c: &Value| observed(c) && is(c, "Available", "False", "NoReplicasAvailable") && is(c, "Degraded", "False", "");
    let config = lab.until_config("without a replica", none).await;
    assert_eq!(config["status"]["readyReplicas"], 0);
}
