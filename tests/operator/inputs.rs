//! Inputs of the registry's Deployment: Secrets, ConfigMaps, proxy, TLS profile, log levels, overrides. Each change causes one
//! rollout, and nothing else does.

use std::time::Duration;

use devcluster::standin::{Control, StandIn};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::support::{
    TestCluster, api_server, condition, deployment, env, is, is_rolled_out, is_up, namespace, network_policy, observed,
    operand, proxy, pull_secret, resource_version, rollout_revision, texts,
};
use crate::{empty_cluster, registry};

/// The source component of an event with this reason.
async fn reporter(cluster: &TestCluster, reason: &str) -> String {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
    let events = api
        .list(&ListParams::default().fields(&format!("reason={reason}")))
        .await
        .unwrap();
    events.items[0].source.clone().unwrap().component.unwrap()
}

/// Performs an action and asserts that it causes one rollout; returns the Deployment after it.
async fn rolls_once<T>(cluster: &TestCluster, what: &str, act: impl Future<Output = T>) -> Value {
    let before = cluster.until_rolled_out().await;
    act.await;
    let rolled = |o: &Value| rollout_revision(o) > rollout_revision(&before) && is_rolled_out(o);
    cluster
        .until(&deployment(), &format!("rolled after {what}"), |o| {
            o.is_some_and(rolled)
        })
        .await;
    let after = cluster.until_rolled_out().await;
    assert_eq!(
        rollout_revision(&after),
        rollout_revision(&before) + 1,
        "{what} rolls once"
    );
    after
}

fn checksum(deployment: &Value) -> String {
    texts(deployment, "/spec/template/metadata/annotations")[names::DEPENDENCIES_ANNOTATION].clone()
}

// workload 12, 13, 14
#[tokio::test]
async fn the_copy_of_the_pull_secret_follows_its_source_until_it_is_deleted() {
    let (cluster, _operator) = registry(json!({})).await;
    let copy = operand(Kind::Secret, names::PULL_SECRET_COPY);
    let data = json!({".dockerconfigjson": "eyJhdXRocyI6e30gfQ==", "note": "bm90ZQ=="});
    let before = checksum(&cluster.until_rolled_out().await);
    let found = rolls_once(
        &cluster,
        "a new pull secret",
        cluster.patch(&pull_secret(), json!({"data": data})),
    )
    .await;
    assert_ne!(checksum(&found), before);
    let copied = cluster.get(&copy).await.unwrap();
    assert_eq!(copied["data"], data);
    assert_eq!(copied["type"], "kubernetes.io/dockerconfigjson");
    rolls_once(&cluster, "the end of the pull secret", cluster.delete(&pull_secret())).await;
    assert!(cluster.get(&copy).await.is_none());
    // The volume of the Secret is optional, so the registry starts without it.
    cluster.delete(&deployment()).await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    cluster.until_present(&deployment()).await;
    assert!(cluster.get(&copy).await.is_none());
}

// lifecycle 37, workload 30
#[tokio::test]
async fn a_cleared_http_secret_is_generated_again_with_one_rollout() {
    let (cluster, _operator) = registry(json!({})).await;
    let first = cluster.config().await["spec"]["httpSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    let found = rolls_once(&cluster, "a cleared secret", cluster.edit(json!({"httpSecret": ""}))).await;
    let second = cluster.config().await["spec"]["httpSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(first, second);
    assert!(second.len() == 128 && second.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    assert_eq!(env(&found, "REGISTRY_HTTP_SECRET"), Some(second.as_str()));
}

// workload 28, 29
#[tokio::test]
async fn the_registry_uses_the_cluster_proxy_and_the_config_overrides_it() {
    let (cluster, _operator) = registry(json!({})).await;
    let proxy = proxy();
    let wanted =
        json!({"spec": {"httpProxy": "http://cluster:1", "httpsProxy": "http://cluster:2", "noProxy": "cluster"}});
    let found = rolls_once(&cluster, "a proxy", cluster.patch(&proxy, wanted)).await;
    let status = cluster.get(&proxy).await.unwrap()["status"].clone();
    for (name, member) in [
        ("HTTP_PROXY", "httpProxy"),
        ("HTTPS_PROXY", "httpsProxy"),
        ("NO_PROXY", "noProxy"),
    ] {
        assert_eq!(env(&found, name), status[member].as_str(), "{name}");
    }
    let found = rolls_once(
        &cluster,
        "an own proxy",
        cluster.edit(json!({"proxy": {"http": "http://own:1"}})),
    )
    .await;
    assert_eq!(env(&found, "HTTP_PROXY"), Some("http://own:1"));
    assert_eq!(env(&found, "HTTPS_PROXY"), Some("http://cluster:2"));
    let none = json!({"spec": {"httpProxy": null, "httpsProxy": null, "noProxy": null}});
    let control = Control::hold([StandIn::ProxyStatus]);
    control.set(&cluster.client).await.unwrap();
    cluster.patch(&proxy, none).await;
    let act = cluster.patch_status(
        &proxy,
        json!({"status": {"httpProxy": null, "httpsProxy": null, "noProxy": null}}),
    );
    rolls_once(&cluster, "no proxy of the cluster", act).await;
    let found = rolls_once(&cluster, "no proxy at all", cluster.edit(json!({"proxy": null}))).await;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        assert_eq!(env(&found, name), None);
    }
    Control::default().set(&cluster.client).await.unwrap();
}

// lifecycle 97, 98, workload 31
#[tokio::test]
async fn the_tls_profile_reaches_the_registry() {
    let (cluster, _operator) = registry(json!({})).await;
    let api_server = api_server();
    let profile = |profile: Value| json!({"spec": {"tlsSecurityProfile": profile}});
    let found = rolls_once(
        &cluster,
        "Modern",
        cluster.patch(&api_server, profile(json!({"type": "Modern", "modern": {}}))),
    )
    .await;
    assert_eq!(env(&found, "REGISTRY_HTTP_TLS_MINVERSION"), Some("VersionTLS13"));
    for (reason, part) in [
        ("ObservedConfigChanged", "VersionTLS13"),
        ("ObserveTLSSecurityProfile", "minTLSVersion changed to VersionTLS13"),
        (
            "ObserveTLSSecurityProfile",
            "cipherSuites changed to TLS_AES_128_GCM_SHA256,",
        ),
    ] {
        cluster.until_event(&format!("Normal {reason}"), part).await;
        assert_eq!(reporter(&cluster, reason).await, names::CONFIG_OBSERVER_COMPONENT);
    }
    let custom = json!({"type": "Custom", "modern": null, "custom": {"minTLSVersion": "VersionTLS12",
        "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "NOBODY-KNOWS-THIS", "ECDHE-RSA-AES256-GCM-SHA384"]}});
    let found = rolls_once(&cluster, "Custom", cluster.patch(&api_server, profile(custom))).await;
    assert_eq!(env(&found, "REGISTRY_HTTP_TLS_MINVERSION"), Some("VersionTLS12"));
    let suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    assert_eq!(env(&found, "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES"), Some(suites));
    // The operator reverts manual edits of `observedConfig`, and they have no effect.
    let mark = cluster.mark();
    let good = cluster.config().await["spec"]["observedConfig"].clone();
    cluster
        .edit(json!({"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS99"}, "more": 1}}))
        .await;
    cluster
        .until_config("restored", |c| {
            c["spec"]["observedConfig"] == good && observed(c) && is_up(c)
        })
        .await;
    cluster.settle().await;
    assert_eq!(cluster.writes(mark), Vec::<String>::new());
}

// lifecycle 128: what a change brings to the log
#[tokio::test]
async fn the_log_names_changed_fields_without_their_values() {
    let (cluster, operator) = registry(json!({})).await;
    let lines = |log: &str| log.matches("object changed").count();
    cluster.settle().await;
    let settled = lines(&operator.log());
    rolls_once(&cluster, "a cleared secret", cluster.edit(json!({"httpSecret": ""}))).await;
    cluster.until_config("up", is_up).await;
    cluster.settle().await;
    let (log, secret) = (operator.log(), cluster.config().await["spec"]["httpSecret"].clone());
    for changed in [
        "object changed: Config cluster: spec.httpSecret",
        "object changed: Config cluster: status.",
        "containers[registry].env[REGISTRY_HTTP_SECRET].value",
    ] {
        assert!(log.contains(changed), "{changed}:\n{log}");
    }
    assert!(!log.contains(secret.as_str().unwrap()));
    let count = lines(&log);
    assert!(count > settled);
    cluster.assert_idle(Duration::from_secs(2)).await;
    assert_eq!(lines(&operator.log()), count, "{}", operator.log());
}

// lifecycle 125, 126
#[tokio::test]
async fn log_levels_change_without_a_restart() {
    let (cluster, operator) = registry(json!({"operatorLogLevel": "Normal"})).await;
    assert!(
        !cluster
            .events()
            .await
            .iter()
            .any(|e| e.contains("OperatorLogLevelChange"))
    );
    assert!(!operator.log().contains(" DEBUG "));
    let pid = operator.pid();
    cluster.edit(json!({"operatorLogLevel": "TraceAll"})).await;
    cluster.until_event("Normal OperatorLogLevelChange:", "").await;
    cluster.settle().await;
    assert!(operator.log().contains("DEBUG"));
    let changes = cluster
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("OperatorLogLevelChange"))
        .count();
    assert_eq!((changes, pid), (1, operator.pid()));
    cluster.edit(json!({"operatorLogLevel": "Normal"})).await;
    let found = rolls_once(&cluster, "logLevel", cluster.edit(json!({"logLevel": "Debug"}))).await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    let found = rolls_once(
        &cluster,
        "logging",
        cluster.edit(json!({"logLevel": "Normal", "logging": 1})),
    )
    .await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("warn"));
}

// api 13, lifecycle 69, workload 52, 53
#[tokio::test]
async fn overrides_are_applied_and_removed_and_their_unknown_fields_stay() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.create_raw("/apis/node.k8s.io/v1/runtimeclasses",
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata"})).await;
    let release =
        cluster.get(&deployment()).await.unwrap()["metadata"]["annotations"][names::VERSION_ANNOTATION].clone();
    let overrides = json!({"foo": [1], "deployment": {"runtimeClassName": "kata", "annotations": {"x": "y", names::VERSION_ANNOTATION: "0"}}});
    let found = rolls_once(
        &cluster,
        "overrides",
        cluster.edit(json!({"unsupportedConfigOverrides": overrides})),
    )
    .await;
    let annotations = |o: &Value, pointer: &str| texts(o, pointer).get("x").cloned();
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        assert_eq!(annotations(&found, pointer).as_deref(), Some("y"));
    }
    assert_eq!(found["spec"]["template"]["spec"]["runtimeClassName"], "kata");
    assert_eq!(found["metadata"]["annotations"][names::VERSION_ANNOTATION], release);
    cluster.until_event("Warning ", names::VERSION_ANNOTATION).await;
    // A write of the operator keeps unknown fields.
    rolls_once(&cluster, "a cleared secret", cluster.edit(json!({"httpSecret": ""}))).await;
    assert_eq!(cluster.config().await["spec"]["unsupportedConfigOverrides"], overrides);
    let found = rolls_once(
        &cluster,
        "no overrides",
        cluster.edit(json!({"unsupportedConfigOverrides": null})),
    )
    .await;
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        assert_eq!(annotations(&found, pointer), None);
    }
    assert_eq!(found["spec"]["template"]["spec"].get("runtimeClassName"), None);
}

// workload 56, 57
#[tokio::test]
async fn changed_data_of_mounted_objects_causes_one_rollout_and_changed_labels_none() {
    let (cluster, _operator) = registry(json!({})).await;
    let serving = operand(Kind::Secret, names::SERVING_CERT_SECRET);
    Control::hold([StandIn::ServingCertificate, StandIn::TrustedCaBundle])
        .set(&cluster.client)
        .await
        .unwrap();
    cluster.until_rolled_out().await;
    let mark = cluster.mark();
    cluster
        .patch(&serving, json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
    cluster.settle().await;
    let requests = cluster.requests(mark).writes();
    assert!(requests.is_empty(), "{requests}");
    rolls_once(
        &cluster,
        "a rotated certificate",
        cluster.patch(&serving, json!({"data": {"more": "eA=="}})),
    )
    .await;

    let trusted = operand(Kind::ConfigMap, names::TRUSTED_CA_MAP);
    let mut kept = cluster.get(&trusted).await.unwrap();
    rolls_once(&cluster, "the end of trusted-ca", cluster.delete(&trusted)).await;
    kept["metadata"] =
        json!({"name": trusted.name, "namespace": trusted.namespace, "labels": kept["metadata"]["labels"]});
    rolls_once(&cluster, "trusted-ca with data", cluster.create(kept)).await;
    Control::default().set(&cluster.client).await.unwrap();
}

// deploy 16, storage-volumes 18, workload 40
#[tokio::test]
async fn without_a_supplemental_group_range_the_deployment_is_neither_created_nor_changed() {
    let cluster = empty_cluster().await;
    let namespace = namespace();
    Control::hold([StandIn::Namespace]).set(&cluster.client).await.unwrap();
    cluster
        .patch(
            &namespace,
            json!({"metadata": {"annotations": {names::SUPPLEMENTAL_GROUPS_ANNOTATION: null}}}),
        )
        .await;
    cluster.create(TestCluster::managed(json!({"emptyDir": {}}))).await;
    let _operator = cluster.operator().await;
    let reports = |c: &Value| {
        let (status, reason, message) = condition(c, "Progressing");
        status == "True"
            && reason == "Error"
            && message.contains(names::NAMESPACE)
            && message.contains(names::SUPPLEMENTAL_GROUPS_ANNOTATION)
    };
    cluster.until_config("without a range", reports).await;
    cluster.settle().await;
    assert!(cluster.get(&deployment()).await.is_none());
    assert!(cluster.get(&network_policy()).await.is_some());
    let range = |range: Value| json!({"metadata": {"annotations": {names::SUPPLEMENTAL_GROUPS_ANNOTATION: range}}});
    cluster.patch(&namespace, range(json!("1000650000/10000"))).await;
    cluster.until_config("up", is_up).await;
    let before = cluster.until_rolled_out().await;
    assert_eq!(
        before["spec"]["template"]["spec"]["securityContext"]["fsGroup"],
        1_000_650_000
    );
    cluster.patch(&namespace, range(Value::Null)).await;
    let config = cluster
        .until_config("without a range", |c| reports(c) && is(c, "Available", "True", "Ready"))
        .await;
    cluster.edit(json!({"logLevel": "Debug"})).await;
    cluster
        .until_config("observed", |c| {
            observed(c) && resource_version(c) != resource_version(&config)
        })
        .await;
    cluster.settle().await;
    assert_eq!(
        cluster.get(&deployment()).await.unwrap()["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    Control::default().set(&cluster.client).await.unwrap();
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
}
