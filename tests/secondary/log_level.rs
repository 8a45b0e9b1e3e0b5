//! The operator's own log level, and what no level prints.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::json;

use crate::support::{is_up, operand};
use crate::{cluster, create_config, enter, eventually};

const MARK: &str = "marked-secret-material";

// lifecycle 125, 128, workload 70
#[tokio::test]
async fn the_level_changes_at_run_time_with_one_event_and_no_level_prints_a_secret() {
    let lab = cluster().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "route-tls", "namespace": names::NAMESPACE},
        "stringData": {"tls.crt": "CERTIFICATE", "tls.key": MARK}});
    lab.create(secret).await;
    let pull = crate::ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET);
    lab.patch(
        &pull,
        json!({"stringData": {".dockerconfigjson": format!("{{\"auths\":{{\"{MARK}\":{{}}}}}}")}}),
    )
    .await;
    create_config(&lab, json!({"managementState": "Removed"})).await;
    let operator = lab.operator().await;
    lab.until_config("removed", |c| crate::support::is(c, "Available", "True", "Removed"))
        .await;
    lab.settle().await;
    assert!(
        !lab.events().await.iter().any(|e| e.contains("OperatorLogLevelChange")),
        "none at the start"
    );
    assert!(!operator.log().contains("DEBUG") && !operator.log().contains("TRACE"));

    lab.edit(json!({"operatorLogLevel": "TraceAll"})).await;
    lab.until_event("Normal OperatorLogLevelChange", "from Normal to TraceAll")
        .await;
    lab.edit(json!({"routes": [{"name": "own", "hostname": "own.example.com", "secretName": "route-tls"}]}))
        .await;
    enter(&lab, "Managed").await;
    let route = lab.until_present(&operand(Kind::Route, "own")).await;
    assert_eq!(route["spec"]["tls"]["key"], MARK);
    lab.edit(json!({"replicas": -1})).await;
    lab.until_config("refused", |c| {
        crate::support::condition(c, "Degraded").1 == "VerificationFailed"
    })
    .await;
    lab.edit(json!({"replicas": 1})).await;
    let config = lab.until_config("up", is_up).await;
    eventually("it says more", async || {
        operator.log().contains("DEBUG") || operator.log().contains("TRACE")
    })
    .await;
    let log = operator.log();
    let secret = config["spec"]["httpSecret"].as_str().unwrap();
    assert!(!log.contains(secret), "spec.httpSecret is in the log");
    assert!(!log.contains(MARK), "secret data is in the log");
    let encoded = "bWFya2VkLXNlY3JldC1tYXRlcmlhbA"; // MARK in base64
    assert!(!log.contains(encoded), "secret data is in the log");

    lab.edit(json!({"operatorLogLevel": "Normal"})).await;
    lab.until_event("Normal OperatorLogLevelChange", "from TraceAll to Normal")
        .await;
    let changes = lab
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("OperatorLogLevelChange"));
    assert_eq!(changes.count(), 2);
    assert!(operator.stop().await.success());
    lab.delete(&pull).await;
}
