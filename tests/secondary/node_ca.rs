//! The DaemonSet node-ca, which installs CAs on the nodes.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{STATES, cluster_operator, condition, daemon_set, is, is_up, operand, uid};
use crate::{empty_cluster, registry};

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

/// A pod of node-ca that is not being deleted.
async fn a_pod(cluster: &crate::support::TestCluster) -> Option<Value> {
    let pods = cluster.list(Kind::Pod, names::NAMESPACE).await;
    pods.into_iter().find(|pod| {
        let metadata = &pod["metadata"];
        metadata["labels"]["name"] == "node-ca"
            && metadata["deletionTimestamp"].is_null()
            && pod["spec"]["initContainers"].is_array()
            && pod["spec"]["nodeName"].is_string()
    })
}

// kubernetes, section 3: NODE_CA
#[tokio::test]
async fn node_ca_follows_the_runtime_that_the_operator_is_told_and_names_nodes_without_a_directory() {
    let cluster = empty_cluster().await;
    cluster.create_config(json!({})).await;
    let operator = cluster.operator_with(&[("NODE_CA", "containerd")]).await;
    cluster.until_config("up", is_up).await;
    cluster.settle().await;
    let set = cluster.until_present(&daemon_set()).await;
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], Value::Null);
    for container in [&pod["initContainers"][0], &pod["containers"][0]] {
        let security = &container["securityContext"];
        assert_eq!(
            (&security["privileged"], &security["runAsUser"]),
            (&Value::Null, &json!(0))
        );
    }
    // The certificate of the service CA does not have the address.
    assert_eq!(
        pod["containers"][0]["args"],
        json!(["node-ca-sync", "--runtime=containerd"])
    );
    cluster.devcluster.pause_simulated_pods().unwrap();
    let waiting = a_pod(&cluster).await.expect("node-ca has a pod on a node");
    let node = waiting["spec"]["nodeName"].as_str().unwrap().to_owned();
    let status = json!({"name": "containerd", "image": "x", "imageID": "x", "ready": false, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
    let reference = operand(Kind::Pod, waiting["metadata"]["name"].as_str().unwrap());
    cluster
        .patch_status(&reference, json!({"status": {"initContainerStatuses": [status]}}))
        .await;
    let message = |c: &Value| condition(c, "NodeCADaemonAvailable").2;
    let config = cluster
        .until_config("naming the node", |c| message(c).contains(&node))
        .await;
    assert!(message(&config).contains("config_path"), "{}", message(&config));
    let done = json!({"name": "containerd", "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0}}});
    cluster
        .patch_status(&reference, json!({"status": {"initContainerStatuses": [done]}}))
        .await;
    cluster
        .until_config("without complaint", |c| !message(c).contains(&node))
        .await;
    cluster.devcluster.resume_simulated_pods().unwrap();
    operator.stop().await;

    let operator = cluster.operator_with(&[("NODE_CA", "off")]).await;
    cluster.until_absent(&daemon_set()).await;
    let off = |c: &Value| is(c, "NodeCADaemonAvailable", "True", "AsExpected") && message(c).contains("NODE_CA=off");
    let config = cluster.until_config("without node-ca", off).await;
    assert!(is(&config, "NodeCADaemonProgressing", "False", "AsExpected"));
    let ready = |o: &Value| is(o, "Available", "True", "Ready") && condition(o, "Degraded").0 == "False";
    cluster
        .until(&cluster_operator(), "available without node-ca", |o| {
            o.is_some_and(ready)
        })
        .await;
    operator.stop().await;

    let _operator = cluster.operator().await;
    assert_complete(&cluster.until_present(&daemon_set()).await);
    cluster
        .until_config("with node-ca", |c| is(c, "NodeCADaemonAvailable", "True", "AsExpected"))
        .await;
}
