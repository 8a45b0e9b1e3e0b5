//! Input that the API server does not accept in an object of the registry, and texts that it does not store.

use std::time::Duration;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::operator::Operator;
use crate::support::{
    TestCluster, condition, config_ref, deployment, eventually, is, is_up, observed, operand, pull_secret,
};
use crate::{empty_cluster, registry};

/// Passes of the registry's controller, whatever their outcome.
async fn passes(operator: &Operator) -> u64 {
    let series = "image_registry_operator_reconciles_total{controller=\"registry\"";
    let metrics = operator.metrics().await;
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// Asserts that no pass starts by itself. Writes would not show it: a pass that finds the same fault again writes nothing.
async fn assert_no_retry(operator: &Operator, why: &str) {
    let before = passes(operator).await;
    assert!(before > 0);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(passes(operator).await, before, "{why}");
}

fn reports(config: &Value) -> bool {
    is(config, "Degraded", "True", "InvalidConfig") && is(config, "Progressing", "False", "Error") && observed(config)
}

/// An edit that the API server refuses in an object of the registry, and the field that the message names.
fn cases() -> Vec<(Value, &'static str)> {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": []}]},
    ]}}});
    let overrides = |deployment: Value| json!({"unsupportedConfigOverrides": {"deployment": deployment}});
    let resources = json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}});
    let infra = "node-role.kubernetes.io/infra";
    vec![
        (
            json!({"tolerations": [{"key": infra, "operator": "Exists", "value": "reserved"}]}),
            "spec.tolerations[0]",
        ),
        (
            json!({"tolerations": [{"key": infra, "operator": "Exists"}, {"key": "a", "operator": "Equal", "effect": "Never"}]}),
            "spec.tolerations[1].effect",
        ),
        (
            json!({"tolerations": [{"key": infra, "effect": "NoSchedule", "tolerationSeconds": 5}]}),
            "spec.tolerations[0].effect",
        ),
        (json!({"nodeSelector": {"zone": "not a label"}}), "spec.nodeSelector"),
        (json!({"resources": resources}), "spec.resources.requests"),
        (
            json!({"resources": {"requests": {"cpu": "-1"}}}),
            "spec.resources.requests[cpu]",
        ),
        (json!({"affinity": affinity}), "spec.affinity.nodeAffinity"),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]}),
            "spec.topologySpreadConstraints[0].maxSkew",
        ),
        (
            json!({"routes": [{"name": "good"}, {"name": "Not A Name"}]}),
            "spec.routes[1].name",
        ),
        (
            overrides(json!({"runtimeClassName": "Not A Class"})),
            "spec.unsupportedConfigOverrides.deployment.runtimeClassName",
        ),
        (
            overrides(json!({"annotations": {"not a key": "x"}})),
            "spec.unsupportedConfigOverrides.deployment.annotations",
        ),
    ]
}

// issue 10, row 16; spec/README 12; lifecycle 40
#[tokio::test]
async fn what_the_api_server_refuses_is_an_invalid_config_at_once_and_the_field_is_named() {
    let (cluster, operator) = registry(json!({})).await;
    let before = cluster.get(&deployment()).await.unwrap();
    for (bad, field) in cases() {
        cluster.edit(bad.clone()).await;
        let config = cluster.until_config(&format!("refusing {bad}"), reports).await;
        for type_ in ["Degraded", "Progressing"] {
            let message = condition(&config, type_).2;
            assert!(message.contains(field), "{field}: {message}");
            assert!(message.contains("of Config cluster"), "{message}");
        }
        assert!(
            is(&config, "Available", "True", "Ready"),
            "{bad}: the registry goes on serving"
        );
        cluster.settle().await;
        let good: serde_json::Map<_, _> = bad
            .as_object()
            .unwrap()
            .keys()
            .map(|key| (key.clone(), Value::Null))
            .collect();
        cluster.edit(Value::Object(good)).await;
        cluster
            .until_config(&format!("up again after {bad}"), |c| is_up(c) && observed(c))
            .await;
    }
    let after = cluster.get(&deployment()).await.unwrap();
    assert_eq!(before["metadata"]["generation"], after["metadata"]["generation"]);

    // Only an edit starts the next pass.
    for bad in [
        json!({"replicas": -1}),
        json!({"replicas": 1, "nodeSelector": {"zone": "not a label"}}),
    ] {
        cluster.edit(bad.clone()).await;
        cluster
            .until_config("degraded", |c| condition(c, "Degraded").0 == "True" && observed(c))
            .await;
        cluster.settle().await;
        assert_no_retry(&operator, &bad.to_string()).await;
    }
    cluster.edit(json!({"replicas": 1, "nodeSelector": null})).await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    broken_pull_secret(&cluster).await;
}

/// A pull secret that is no JSON: the message names the Secret and not its content.
async fn broken_pull_secret(cluster: &TestCluster) {
    let mut good = cluster.get(&pull_secret()).await.unwrap();
    good["metadata"] = json!({"name": pull_secret().name, "namespace": pull_secret().namespace});
    cluster.delete(&pull_secret()).await;
    let mut bad = good.clone();
    bad["type"] = json!("Opaque");
    bad["data"] = Value::Null;
    bad["stringData"] = json!({".dockerconfigjson": "s3cr3t-but-no-json"});
    cluster.create(bad).await;
    let config = cluster.until_config("refusing the pull secret", reports).await;
    let message = condition(&config, "Degraded").2;
    assert!(
        message.contains("key .dockerconfigjson of Secret openshift-config/pull-secret"),
        "{message}"
    );
    assert!(!message.contains("s3cr3t"), "{message}");
    cluster.delete(&pull_secret()).await;
    cluster.create(good).await;
    cluster
        .until_config("up with the pull secret", |c| {
            is_up(c) && is(c, "Degraded", "False", "")
        })
        .await;
}

/// Limits `spec.httpSecret` in the CRD to fewer characters than the operator generates, or removes the limit.
pub async fn limit_http_secret(cluster: &TestCluster, limited: bool) -> kube::Result<Value> {
    let member = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/httpSecret/maxLength";
    let change = if limited {
        json!([{"op": "add", "path": member, "value": 10}])
    } else {
        json!([{"op": "remove", "path": member}])
    };
    let request = http::Request::patch(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/configs.imageregistry.operator.openshift.io",
    )
    .header("content-type", "application/json-patch+json")
    .body(serde_json::to_vec(&change).unwrap())
    .unwrap();
    cluster.client.request(request).await
}

/// Waits until the API server refuses a long `spec.httpSecret`, or accepts it.
async fn until_http_secret_is(cluster: &TestCluster, refused: bool) {
    let api = cluster.api(&config_ref());
    let parameters = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    eventually("the CRD is in force", async || {
        // A new text each time: an unchanged one is not validated again.
        let patch = json!({"spec": {"httpSecret": "eleven chars"}});
        let answer = api.patch(names::CLUSTER, &parameters, &Patch::Merge(patch)).await;
        answer.is_err() == refused
    })
    .await;
}

// spec/README 11, 12: the Config itself is refused
#[tokio::test]
async fn a_config_that_the_api_server_does_not_store_is_invalid_at_once_and_nothing_uses_it() {
    let cluster = empty_cluster().await;
    let config = json!({"managementState": "Unmanaged", "httpSecret": "short"});
    cluster.create_config(config).await;
    limit_http_secret(&cluster, true).await.unwrap();
    until_http_secret_is(&cluster, true).await;
    cluster
        .edit(json!({"managementState": "Managed", "httpSecret": null}))
        .await;
    let mark = cluster.mark();
    let operator = cluster.operator().await;
    let config = cluster.until_config("refused", reports).await;
    let message = condition(&config, "Degraded").2;
    assert!(
        message.contains("spec.httpSecret") && message.contains("Correct the field"),
        "{message}"
    );
    let writes: Vec<_> = cluster.writes(mark);
    assert!(!writes.iter().any(|write| write.contains("deployments")), "{writes:?}");
    cluster.settle().await;
    assert_no_retry(&operator, "only an edit helps").await;

    limit_http_secret(&cluster, false).await.unwrap();
    until_http_secret_is(&cluster, false).await;
    cluster.trigger_reconcile("again").await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
}

// issue 10, row 9; spec/README 13
#[tokio::test]
async fn a_secret_with_an_empty_ca_as_acme_issuers_write_it_leads_to_one_write_of_the_route() {
    let (cluster, _operator) = registry(json!({})).await;
    let certificate = "-----BEGIN CERTIFICATE-----\nc2VjcmV0bHktcHVibGlj\n-----END CERTIFICATE-----\n";
    let key = "-----BEGIN PRIVATE KEY-----\ndmVyeS1zZWNyZXQta2V5\n-----END PRIVATE KEY-----\n";
    let secret = operand(Kind::Secret, "acme-tls");
    cluster
        .create(
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": secret.name, "namespace": names::NAMESPACE},
            "stringData": {"tls.crt": certificate, "tls.key": key}, "data": {"ca.crt": ""}}),
        )
        .await;
    let stored = cluster.get(&secret).await.unwrap();
    assert_eq!(stored["data"]["ca.crt"], "", "the key is there and empty");
    let mark = cluster.mark();
    let entry = json!({"name": "acme", "hostname": "acme.example.com", "secretName": secret.name});
    cluster.edit(json!({"routes": [entry]})).await;
    let route = operand(Kind::Route, "acme");
    cluster.until_present(&route).await;
    cluster.settle().await;
    // Further passes find nothing to write.
    for value in ["one", "two", "three"] {
        cluster
            .patch(
                &secret,
                json!({"metadata": {"annotations": {"example.com/renewed": value}}}),
            )
            .await;
        cluster.settle().await;
    }
    let found = cluster.get(&route).await.unwrap();
    assert_eq!(found["spec"]["tls"]["certificate"], certificate);
    assert_eq!(found["spec"]["tls"].get("caCertificate"), None);
    let writes: Vec<_> = cluster
        .writes(mark)
        .into_iter()
        .filter(|write| write.contains("routes"))
        .collect();
    assert_eq!(writes.len(), 1, "{writes:?}");
}
