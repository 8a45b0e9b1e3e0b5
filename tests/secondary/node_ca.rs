//! The DaemonSet node-ca, which installs CAs on the nodes.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::registry;
use crate::support::{STATES, cluster_operator, condition, daemon_set, is, operand, uid};

// lifecycle 44, 87, 89, workload 80, 81, 107
// In part: 44 (node-ca); 107 (node-ca).
#[tokio::test]
async fn node_ca_is_repaired_in_every_state_and_missing_pods_are_reported_to_the_platform() {
    let (cluster, _operator) = registry(json!({})).await;
    let first = cluster.until_present(&daemon_set()).await;
    assert_complete(&first);
    for state in STATES {
        cluster.enter_state(state).await;
        // The operator restores exactly the same spec, including the API server's defaults.
        let by_hand = json!({"spec": {"template": {"spec": {"tolerations": null, "hostNetwork": null}}},
            "metadata": {"annotations": {"example.com/own": state}}});
        let edited = cluster.patch(&daemon_set(), by_hand).await;
        assert_ne!(edited["spec"], first["spec"]);
        let right = |o: &Value| o["spec"] == first["spec"] && o["metadata"]["annotations"]["example.com/own"] == state;
        let found = cluster
            .until(&daemon_set(), "repaired", |o| o.is_some_and(right))
            .await
            .unwrap();
        assert_eq!(uid(&found), uid(&first), "{state}");
        let recorded = |c: &Value| {
            let generations = c["status"]["generations"].as_array().cloned().unwrap_or_default();
            generations
                .iter()
                .any(|g| g["resource"] == "daemonsets" && g["lastGeneration"] == found["metadata"]["generation"])
        };
        cluster.until_config("recording its generation", recorded).await;
    }
    let nodes = |o: &Value| {
        o["status"]["desiredNumberScheduled"]
            .as_u64()
            .filter(|nodes| *nodes > 0)
    };
    let rolled_out = |o: &Value| {
        let status = &o["status"];
        let complete = |count: &str| status[count].as_u64() == nodes(o);
        nodes(o).is_some()
            && status["observedGeneration"] == o["metadata"]["generation"]
            && complete("updatedNumberScheduled")
            && complete("numberAvailable")
    };
    cluster
        .until(&daemon_set(), "rolled out", |o| o.is_some_and(rolled_out))
        .await;
    let ready = |o: &Value| is(o, "Available", "True", "Ready") && condition(o, "Progressing").0 == "False";
    cluster
        .until(&cluster_operator(), "available", |o| o.is_some_and(ready))
        .await;

    cluster.devcluster.pause_simulated_pods().unwrap();
    let pods = cluster.list(Kind::Pod, names::NAMESPACE).await;
    let running =
        |pod: &&Value| pod["metadata"]["labels"]["name"] == "node-ca" && pod["metadata"]["deletionTimestamp"].is_null();
    for pod in pods.iter().filter(running) {
        let reference = operand(Kind::Pod, pod["metadata"]["name"].as_str().unwrap());
        cluster
            .patch_status(
                &reference,
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            )
            .await;
    }
    let none = |c: &Value| {
        is(c, "NodeCADaemonAvailable", "False", "NoAvailableReplicas") && is(c, "Available", "True", "Ready")
    };
    cluster.until_config("without node-ca", none).await;
    let reports = |o: &Value| is(o, "Available", "False", "NodeCADaemonNoAvailableReplicas::Ready");
    cluster
        .until(&cluster_operator(), "not available", |o| o.is_some_and(reports))
        .await;
    cluster.devcluster.resume_simulated_pods().unwrap();

    cluster.delete(&daemon_set()).await;
    cluster
        .until(&daemon_set(), "created again", |o| {
            o.is_some_and(|o| uid(o) != uid(&first) && o["spec"] == first["spec"])
        })
        .await;
}

/// Asserts the fields that matter on a node.
fn assert_complete(set: &Value) {
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(pod["serviceAccountName"], "node-ca");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "localhost/operator:dev");
    assert_eq!(container["args"], json!(["node-ca-sync"]));
    assert_eq!(container["securityContext"]["privileged"], true);
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 2);
}
