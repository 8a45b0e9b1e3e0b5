//! The operator's log level, and secrets that no level prints.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::json;

use crate::empty_cluster;
use crate::support::{condition, eventually, is, is_up, operand, pull_secret};

const MARK: &str = "marked-secret-material";

// lifecycle 125, 128, workload 70
#[tokio::test]
async fn the_log_level_changes_at_run_time_with_one_event_and_no_level_prints_a_secret() {
    let cluster = empty_cluster().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "route-tls", "namespace": names::NAMESPACE},
        "stringData": {"tls.crt": "CERTIFICATE", "tls.key": MARK}});
    cluster.create(secret).await;
    let pull = pull_secret();
    cluster
        .patch(
            &pull,
            json!({"stringData": {".dockerconfigjson": format!("{{\"auths\":{{\"{MARK}\":{{}}}}}}")}}),
        )
        .await;
    cluster.create_config(json!({"managementState": "Removed"})).await;
    let operator = cluster.operator().await;
    cluster
        .until_config("removed", |c| is(c, "Available", "True", "Removed"))
        .await;
    cluster.settle().await;
    assert!(
        !cluster
            .events()
            .await
            .iter()
            .any(|e| e.contains("OperatorLogLevelChange")),
        "none at the start"
    );
    assert!(!operator.log().contains("DEBUG") && !operator.log().contains("TRACE"));

    cluster.edit(json!({"operatorLogLevel": "TraceAll"})).await;
    cluster
        .until_event("Normal OperatorLogLevelChange", "from Normal to TraceAll")
        .await;
    cluster
        .edit(json!({"routes": [{"name": "own", "hostname": "own.example.com", "secretName": "route-tls"}]}))
        .await;
    cluster.enter_state("Managed").await;
    let route = cluster.until_present(&operand(Kind::Route, "own")).await;
    assert_eq!(route["spec"]["tls"]["key"], MARK);
    cluster.edit(json!({"replicas": -1})).await;
    cluster
        .until_config("refused", |c| condition(c, "Degraded").1 == "VerificationFailed")
        .await;
    cluster.edit(json!({"replicas": 1})).await;
    let config = cluster.until_config("up", is_up).await;
    eventually("the log is more verbose", async || {
        operator.log().contains("DEBUG") || operator.log().contains("TRACE")
    })
    .await;
    let log = operator.log();
    let secret = config["spec"]["httpSecret"].as_str().unwrap();
    assert!(!log.contains(secret), "spec.httpSecret is in the log");
    assert!(!log.contains(MARK), "secret data is in the log");
    let encoded = "bWFya2VkLXNlY3JldC1tYXRlcmlhbA"; // MARK in base64
    assert!(!log.contains(encoded), "secret data is in the log");

    cluster.edit(json!({"operatorLogLevel": "Normal"})).await;
    cluster
        .until_event("Normal OperatorLogLevelChange", "from TraceAll to Normal")
        .await;
    let changes = cluster
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("OperatorLogLevelChange"));
    assert_eq!(changes.count(), 2);
    assert!(operator.stop().await.success());
    cluster.delete(&pull).await;
}
