//! When, how often and in which steps the operator changes the Deployment.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::registry;
use crate::support::{
    condition, config_ref, deployment, disruption_budget, is, is_up, observed, operand, rollout_revision,
};
use crate::volumes::claim;

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
async fn the_anti_affinity_of_two_replicas_is_removed_before_a_third_replica_starts() {
    let (cluster, _operator) = registry(json!({})).await;
    let budget = disruption_budget();
    assert_eq!(cluster.get(&budget).await.unwrap()["spec"]["minAvailable"], 0);
    cluster.edit(json!({"replicas": 2})).await;
    cluster
        .until(&deployment(), "with two replicas", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 2 && affinity(o).is_some())
        })
        .await;
    cluster.until_rolled_out().await;
    assert_eq!(cluster.get(&budget).await.unwrap()["spec"]["minAvailable"], 1);

    let history = cluster.record(&deployment()).await;
    let mark = cluster.mark();
    cluster.edit(json!({"replicas": 3})).await;
    cluster
        .until(&deployment(), "with three replicas", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 3)
        })
        .await;
    let after = cluster.until_rolled_out().await;
    assert_eq!(affinity(&after), None);
    assert_eq!(updates(&cluster.writes(mark)), 2, "{:?}", cluster.writes(mark));
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

    cluster.edit(json!({"replicas": 2})).await;
    cluster
        .until(&deployment(), "with two replicas", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 2)
        })
        .await;
    cluster.until_rolled_out().await;
    let mark = cluster.mark();
    cluster
        .edit(json!({"replicas": 1, "storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let switched = |o: &Value| {
        o["spec"]["replicas"] == 1
            && o.pointer("/spec/template/spec/volumes/0/persistentVolumeClaim")
                .is_some()
    };
    cluster
        .until(&deployment(), "with one replica on a claim", |o| {
            o.is_some_and(switched)
        })
        .await;
    cluster.settle().await;
    assert_eq!(updates(&cluster.writes(mark)), 1, "{:?}", cluster.writes(mark));
}

// workload 50
#[tokio::test]
async fn the_rollout_strategy_can_be_switched_both_ways() {
    let (cluster, _operator) = registry(json!({"rolloutStrategy": "RollingUpdate"})).await;
    for (strategy, rolling) in [("Recreate", false), ("RollingUpdate", true)] {
        cluster.edit(json!({"rolloutStrategy": strategy})).await;
        let switched = |o: &Value| o["spec"]["strategy"]["type"] == strategy;
        let found = cluster
            .until(&deployment(), strategy, |o| o.is_some_and(switched))
            .await
            .unwrap();
        assert_eq!(found["spec"]["strategy"].get("rollingUpdate").is_some(), rolling);
    }
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
}

// workload 54, 63
#[tokio::test]
async fn a_new_release_or_a_lost_generation_updates_the_deployment_once_without_a_rollout() {
    let (cluster, operator) = registry(json!({})).await;
    let before = cluster.until_rolled_out().await;
    assert!(operator.stop().await.success());
    let mark = cluster.mark();
    let operator = cluster.operator_with(&[("RELEASE_VERSION", "4.23.0-next")]).await;
    let newer = |o: &Value| o["metadata"]["annotations"][names::VERSION_ANNOTATION] == "4.23.0-next";
    cluster
        .until(&deployment(), "of the next release", |o| o.is_some_and(newer))
        .await;
    let after = cluster.until_rolled_out().await;
    assert_eq!(rollout_revision(&after), rollout_revision(&before));
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(updates(&cluster.writes(mark)), 1);

    assert!(operator.stop().await.success());
    cluster
        .patch_status(&config_ref(), json!({"status": {"generations": []}}))
        .await;
    let mark = cluster.mark();
    let _operator = cluster.operator_with(&[("RELEASE_VERSION", "4.23.0-next")]).await;
    let recorded =
        |c: &Value| c.pointer("/status/generations/0/lastGeneration") == Some(&after["metadata"]["generation"]);
    cluster.until_config("recorded", recorded).await;
    let last = cluster.until_rolled_out().await;
    assert_eq!(rollout_revision(&last), rollout_revision(&before));
    assert_eq!(cluster.writes(mark), ["patch deployments image-registry"]);
}

// lifecycle 55, 74, 83, 84, workload 49
#[tokio::test]
async fn progressing_reports_only_rollouts_and_zero_replicas_are_not_available() {
    let (cluster, _operator) = registry(json!({"replicas": 2})).await;
    let configs = cluster.record(&config_ref()).await;
    for pod in cluster.list(Kind::Pod, names::NAMESPACE).await {
        cluster
            .delete(&operand(Kind::Pod, pod["metadata"]["name"].as_str().unwrap()))
            .await;
        cluster.settle().await;
        cluster.until_config("up", is_up).await;
    }
    let turned: Vec<_> = configs
        .versions()
        .iter()
        .filter(|(_, c)| condition(c, "Progressing").0 != "False")
        .cloned()
        .collect();
    assert!(turned.is_empty(), "{turned:?}");
    cluster.assert_idle(std::time::Duration::from_secs(15)).await;

    cluster.devcluster.pause_simulated_pods().unwrap();
    cluster.edit(json!({"logLevel": "Debug"})).await;
    let config = cluster
        .until_config("rolling out", |c| {
            observed(c) && is(c, "Progressing", "True", "DeploymentNotCompleted")
        })
        .await;
    assert_eq!(condition(&config, "Degraded").0, "False");
    assert_eq!(condition(&config, "Available").0, "True");
    cluster.devcluster.resume_simulated_pods().unwrap();
    cluster.until_config("up", is_up).await;

    cluster.edit(json!({"replicas": 0})).await;
    let none =
        |c: &Value| observed(c) && is(c, "Available", "False", "NoReplicasAvailable") && is(c, "Degraded", "False", "");
    let config = cluster.until_config("without a replica", none).await;
    assert_eq!(config["status"]["readyReplicas"], 0);
}

/// A case of [`one_edit`]: the registry before the edit, the change, the replicas after it, the volume source of the pods, and how
/// many pods serve at any time.
struct Edit {
    what: &'static str,
    before: Value,
    change: Value,
    replicas: i64,
    volume: &'static str,
    serving: i64,
}

async fn one_edit(edit: Edit) {
    let Edit {
        what,
        before,
        change,
        replicas,
        volume,
        serving,
    } = edit;
    let (cluster, operator) = registry(before).await;
    cluster.shared_volume().await;
    let once = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": ""});
    cluster.volume("once", once).await;
    cluster.create(claim("once", &["ReadWriteOnce"])).await;
    cluster.until_rolled_out().await;
    // With two nodes, an anti-affinity of two pods leaves no node for a third.
    let nodes = cluster.list(Kind::Node, "").await;
    let node = ObjectRef::new(Kind::Node, "", nodes[0]["metadata"]["name"].as_str().unwrap());
    cluster.patch(&node, json!({"spec": {"unschedulable": true}})).await;
    let drained = operand(Kind::Pod, "");
    for pod in cluster.list(drained.kind, &drained.namespace).await {
        if pod["spec"]["nodeName"] == nodes[0]["metadata"]["name"] {
            cluster
                .delete(&operand(Kind::Pod, pod["metadata"]["name"].as_str().unwrap()))
                .await;
        }
    }
    cluster.until_rolled_out().await;

    let history = cluster.record(&deployment()).await;
    let old = cluster.get(&deployment()).await.unwrap()["metadata"]["generation"].as_i64();
    cluster.edit(change).await;
    let wanted = |o: &Value| {
        let storage = o.pointer("/spec/template/spec/volumes/0").unwrap();
        o["spec"]["replicas"] == replicas && storage.get(volume).is_some() && o["metadata"]["generation"].as_i64() > old
    };
    cluster.until(&deployment(), what, |o| o.is_some_and(wanted)).await;
    let after = cluster.until_rolled_out().await;
    cluster.until_config(what, |c| is_up(c) && observed(c)).await;
    assert_eq!(after["status"]["availableReplicas"], replicas, "{what}");
    assert_eq!(affinity(&after).is_some(), replicas == 2, "{what}");
    let available: Vec<_> = history
        .versions()
        .iter()
        .map(|(_, d)| d["status"]["availableReplicas"].as_i64().unwrap_or(0))
        .collect();
    let fewest = available.iter().copied().min();
    assert!(
        fewest >= Some(serving),
        "{what}: fewer than {serving} pods served: {available:?}"
    );
    cluster.patch(&node, json!({"spec": {"unschedulable": null}})).await;
    drop(operator);
}

// lifecycle 70
#[tokio::test]
async fn one_edit_of_affinity_replicas_and_storage_converges_and_a_pod_serves_where_the_storage_allows() {
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"docker-registry": "default"}}}]}});
    let on_claim = json!({"emptyDir": null, "managementState": null, "pvc": {"claim": ""}});
    let on_once = json!({"emptyDir": null, "managementState": null, "pvc": {"claim": "once"}});
    let claim = "persistentVolumeClaim";
    for edit in [
        Edit {
            what: "the affinity of the user, 2 to 3 and a claim",
            before: json!({"replicas": 2, "affinity": apart}),
            change: json!({"replicas": 3, "affinity": null, "storage": on_claim}),
            replicas: 3,
            volume: claim,
            serving: 1,
        },
        Edit {
            what: "2 to 1 and a claim",
            before: json!({"replicas": 2}),
            change: json!({"replicas": 1, "storage": on_claim}),
            replicas: 1,
            volume: claim,
            serving: 1,
        },
        Edit {
            what: "the affinity of the user, 2 to 1 and a claim",
            before: json!({"replicas": 2, "affinity": apart}),
            change: json!({"replicas": 1, "affinity": null, "storage": on_claim}),
            replicas: 1,
            volume: claim,
            serving: 1,
        },
        Edit {
            what: "2 to 1 and a claim of one node, which allows no pod beside the old one",
            before: json!({"replicas": 2}),
            change: json!({"replicas": 1, "rolloutStrategy": "Recreate", "storage": on_once}),
            replicas: 1,
            volume: claim,
            serving: 0,
        },
    ] {
        Box::pin(one_edit(edit)).await;
    }
}
