//! What the registry follows: secrets, maps, proxy, TLS profile, levels, overrides; each change rolls once, and nothing
//! else does.

use std::time::Duration;

use devcluster::standin::{Control, StandIn};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::core::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, is_up, operand, texts};
use crate::{cluster, deployment, env, observed, registry, revision, rolled_out};

fn pull_secret() -> ObjectRef {
    ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET)
}

/// The component of an event with this reason.
async fn reporter(lab: &Lab, reason: &str) -> String {
    let api: Api<Event> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    let told = api
        .list(&ListParams::default().fields(&format!("reason={reason}")))
        .await
        .unwrap();
    told.items[0].source.clone().unwrap().component.unwrap()
}

/// Does something, and gives the Deployment after the one rollout that follows.
async fn rolls_once<T>(lab: &Lab, what: &str, act: impl Future<Output = T>) -> Value {
    let before = rolled_out(lab).await;
    act.await;
    let rolled = |o: &Value| revision(o) > revision(&before) && crate::is_rolled_out(o);
    lab.until(&deployment(), &format!("rolled after {what}"), |o| {
        o.is_some_and(rolled)
    })
    .await;
    let after = rolled_out(lab).await;
    assert_eq!(revision(&after), revision(&before) + 1, "{what} rolls once");
    after
}

fn checksum(deployment: &Value) -> String {
    texts(deployment, "/spec/template/metadata/annotations")[names::DEPENDENCIES_ANNOTATION].clone()
}

// workload 12, 13, 14
#[tokio::test]
async fn the_pull_secret_is_copied_followed_and_let_go() {
    let (lab, _operator) = registry(json!({})).await;
    let copy = operand(Kind::Secret, names::PULL_SECRET_COPY);
    let data = json!({".dockerconfigjson": "eyJhdXRocyI6e30gfQ==", "note": "bm90ZQ=="});
    let before = checksum(&rolled_out(&lab).await);
    let found = rolls_once(
        &lab,
        "a new pull secret",
        lab.patch(&pull_secret(), json!({"data": data})),
    )
    .await;
    assert_ne!(checksum(&found), before);
    let copied = lab.get(&copy).await.unwrap();
    assert_eq!(copied["data"], data);
    assert_eq!(copied["type"], "kubernetes.io/dockerconfigjson");
    rolls_once(&lab, "the end of the pull secret", lab.delete(&pull_secret())).await;
    assert!(lab.get(&copy).await.is_none());
    // Its volume is optional: the registry comes up without it.
    lab.delete(&deployment()).await;
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
    lab.until_present(&deployment()).await;
    assert!(lab.get(&copy).await.is_none());
}

// lifecycle 37, workload 30
#[tokio::test]
async fn a_cleared_http_secret_is_made_anew_and_rolls_once() {
    let (lab, _operator) = registry(json!({})).await;
    let first = lab.config().await["spec"]["httpSecret"].as_str().unwrap().to_owned();
    let found = rolls_once(&lab, "a cleared secret", lab.edit(json!({"httpSecret": ""}))).await;
    let second = lab.config().await["spec"]["httpSecret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert!(second.len() == 128 && second.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    assert_eq!(env(&found, "REGISTRY_HTTP_SECRET"), Some(second.as_str()));
}

// workload 28, 29
#[tokio::test]
async fn the_proxy_of_the_cluster_is_followed_and_the_configs_own_wins() {
    let (lab, _operator) = registry(json!({})).await;
    let proxy = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
    let wanted =
        json!({"spec": {"httpProxy": "http://cluster:1", "httpsProxy": "http://cluster:2", "noProxy": "cluster"}});
    let found = rolls_once(&lab, "a proxy", lab.patch(&proxy, wanted)).await;
    let status = lab.get(&proxy).await.unwrap()["status"].clone();
    for (name, member) in [
        ("HTTP_PROXY", "httpProxy"),
        ("HTTPS_PROXY", "httpsProxy"),
        ("NO_PROXY", "noProxy"),
    ] {
        assert_eq!(env(&found, name), status[member].as_str(), "{name}");
    }
    let found = rolls_once(
        &lab,
        "an own proxy",
        lab.edit(json!({"proxy": {"http": "http://own:1"}})),
    )
    .await;
    assert_eq!(env(&found, "HTTP_PROXY"), Some("http://own:1"));
    assert_eq!(env(&found, "HTTPS_PROXY"), Some("http://cluster:2"));
    let none = json!({"spec": {"httpProxy": null, "httpsProxy": null, "noProxy": null}});
    let control = Control::hold([StandIn::ProxyStatus]);
    control.set(&lab.client).await.unwrap();
    lab.patch(&proxy, none).await;
    let act = lab.patch_status(
        &proxy,
        json!({"status": {"httpProxy": null, "httpsProxy": null, "noProxy": null}}),
    );
    rolls_once(&lab, "no proxy of the cluster", act).await;
    let found = rolls_once(&lab, "no proxy at all", lab.edit(json!({"proxy": null}))).await;
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        assert_eq!(env(&found, name), None);
    }
    Control::default().set(&lab.client).await.unwrap();
}

// lifecycle 97, 98, workload 31
#[tokio::test]
async fn the_tls_profile_reaches_the_registry() {
    let (lab, _operator) = registry(json!({})).await;
    let api_server = ObjectRef::new(Kind::ApiServer, "", names::CLUSTER);
    let profile = |profile: Value| json!({"spec": {"tlsSecurityProfile": profile}});
    let found = rolls_once(
        &lab,
        "Modern",
        lab.patch(&api_server, profile(json!({"type": "Modern", "modern": {}}))),
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
        lab.until_event(&format!("Normal {reason}"), part).await;
        assert_eq!(reporter(&lab, reason).await, names::CONFIG_OBSERVER_COMPONENT);
    }
    let custom = json!({"type": "Custom", "modern": null, "custom": {"minTLSVersion": "VersionTLS12",
        "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256", "NOBODY-KNOWS-THIS", "ECDHE-RSA-AES256-GCM-SHA384"]}});
    let found = rolls_once(&lab, "Custom", lab.patch(&api_server, profile(custom))).await;
    assert_eq!(env(&found, "REGISTRY_HTTP_TLS_MINVERSION"), Some("VersionTLS12"));
    let suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    assert_eq!(env(&found, "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES"), Some(suites));
    // What is observed is not for hands, and what hands write into it does no harm.
    let mark = lab.mark();
    let good = lab.config().await["spec"]["observedConfig"].clone();
    lab.edit(json!({"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS99"}, "more": 1}}))
        .await;
    lab.until_config("observed anew", |c| {
        c["spec"]["observedConfig"] == good && observed(c) && is_up(c)
    })
    .await;
    lab.settle().await;
    assert_eq!(lab.writes(mark), Vec::<String>::new());
}

// lifecycle 128: what a change brings to the log
#[tokio::test]
async fn the_log_tells_what_was_changed_and_no_value_of_it() {
    let (lab, operator) = registry(json!({})).await;
    let lines = |log: &str| log.matches("object changed").count();
    lab.settle().await;
    let settled = lines(&operator.log());
    rolls_once(&lab, "a cleared secret", lab.edit(json!({"httpSecret": ""}))).await;
    lab.until_config("up", is_up).await;
    lab.settle().await;
    let (log, secret) = (operator.log(), lab.config().await["spec"]["httpSecret"].clone());
    for changed in [
        "object changed: Config cluster: spec.httpSecret",
        "object changed: Config cluster: status.",
        "containers[registry].env[REGISTRY_HTTP_SECRET].value",
    ] {
        assert!(log.contains(changed), "{changed}:\n{log}");
    }
    assert!(!log.contains(secret.as_str().unwrap()));
    let told = lines(&log);
    assert!(told > settled);
    lab.rests(Duration::from_secs(2)).await;
    assert_eq!(lines(&operator.log()), told, "{}", operator.log());
}

// lifecycle 125, 126
#[tokio::test]
async fn log_levels_change_while_it_runs() {
    let (lab, operator) = registry(json!({"operatorLogLevel": "Normal"})).await;
    assert!(!lab.events().await.iter().any(|e| e.contains("OperatorLogLevelChange")));
    assert!(!operator.log().contains(" DEBUG "));
    let pid = operator.pid();
    lab.edit(json!({"operatorLogLevel": "TraceAll"})).await;
    lab.until_event("Normal OperatorLogLevelChange:", "").await;
    lab.settle().await;
    assert!(operator.log().contains("DEBUG"));
    let changes = lab
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("OperatorLogLevelChange"))
        .count();
    assert_eq!((changes, pid), (1, operator.pid()));
    lab.edit(json!({"operatorLogLevel": "Normal"})).await;
    let found = rolls_once(&lab, "logLevel", lab.edit(json!({"logLevel": "Debug"}))).await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    let found = rolls_once(&lab, "logging", lab.edit(json!({"logLevel": "Normal", "logging": 1}))).await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("warn"));
}

// api 13, lifecycle 69, workload 52, 53
#[tokio::test]
async fn overrides_come_and_go_and_what_is_unknown_in_them_stays() {
    let (lab, _operator) = registry(json!({})).await;
    lab.create_raw("/apis/node.k8s.io/v1/runtimeclasses",
        json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"}, "handler": "kata"})).await;
    let release = lab.get(&deployment()).await.unwrap()["metadata"]["annotations"][names::VERSION_ANNOTATION].clone();
    let overrides = json!({"foo": [1], "deployment": {"runtimeClassName": "kata", "annotations": {"x": "y", names::VERSION_ANNOTATION: "0"}}});
    let found = rolls_once(
        &lab,
        "overrides",
        lab.edit(json!({"unsupportedConfigOverrides": overrides})),
    )
    .await;
    let annotations = |o: &Value, pointer: &str| texts(o, pointer).get("x").cloned();
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        assert_eq!(annotations(&found, pointer).as_deref(), Some("y"));
    }
    assert_eq!(found["spec"]["template"]["spec"]["runtimeClassName"], "kata");
    assert_eq!(found["metadata"]["annotations"][names::VERSION_ANNOTATION], release);
    lab.until_event("Warning ", names::VERSION_ANNOTATION).await;
    // A write of ours keeps what we do not know.
    rolls_once(&lab, "a cleared secret", lab.edit(json!({"httpSecret": ""}))).await;
    assert_eq!(lab.config().await["spec"]["unsupportedConfigOverrides"], overrides);
    let found = rolls_once(
        &lab,
        "no overrides",
        lab.edit(json!({"unsupportedConfigOverrides": null})),
    )
    .await;
    for pointer in ["/metadata/annotations", "/spec/template/metadata/annotations"] {
        assert_eq!(annotations(&found, pointer), None);
    }
    assert_eq!(found["spec"]["template"]["spec"].get("runtimeClassName"), None);
}

// workload 56, 57
#[tokio::test]
async fn what_pods_mount_rolls_them_once_and_its_labels_do_not() {
    let (lab, _operator) = registry(json!({})).await;
    let serving = operand(Kind::Secret, names::SERVING_CERT_SECRET);
    Control::hold([StandIn::ServingCertificate, StandIn::TrustedCaBundle])
        .set(&lab.client)
        .await
        .unwrap();
    rolled_out(&lab).await;
    let mark = lab.mark();
    lab.patch(&serving, json!({"metadata": {"labels": {"a": "b"}}})).await;
    lab.settle().await;
    let requests = lab.requests(mark).writes();
    assert!(requests.is_empty(), "{requests}");
    rolls_once(
        &lab,
        "a rotated certificate",
        lab.patch(&serving, json!({"data": {"more": "eA=="}})),
    )
    .await;

    let trusted = operand(Kind::ConfigMap, names::TRUSTED_CA_MAP);
    let mut kept = lab.get(&trusted).await.unwrap();
    rolls_once(&lab, "the end of trusted-ca", lab.delete(&trusted)).await;
    kept["metadata"] =
        json!({"name": trusted.name, "namespace": trusted.namespace, "labels": kept["metadata"]["labels"]});
    rolls_once(&lab, "trusted-ca with data", lab.create(kept)).await;
    Control::default().set(&lab.client).await.unwrap();
}

// storage-volumes 18, workload 40
#[tokio::test]
async fn without_the_namespaces_group_range_no_deployment_is_made_or_changed() {
    let lab = cluster().await;
    let namespace = ObjectRef::new(Kind::Namespace, "", names::NAMESPACE);
    Control::hold([StandIn::Namespace]).set(&lab.client).await.unwrap();
    lab.patch(
        &namespace,
        json!({"metadata": {"annotations": {names::SUPPLEMENTAL_GROUPS_ANNOTATION: null}}}),
    )
    .await;
    lab.create(Lab::managed(json!({"emptyDir": {}}))).await;
    let _operator = lab.operator().await;
    let told = |c: &Value| {
        let (status, reason, message) = condition(c, "Progressing");
        status == "True"
            && reason == "Error"
            && message.contains(names::NAMESPACE)
            && message.contains(names::SUPPLEMENTAL_GROUPS_ANNOTATION)
    };
    lab.until_config("without a range", told).await;
    lab.settle().await;
    assert!(lab.get(&deployment()).await.is_none());
    assert!(
        lab.get(&operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY))
            .await
            .is_some()
    );
    let range = |range: Value| json!({"metadata": {"annotations": {names::SUPPLEMENTAL_GROUPS_ANNOTATION: range}}});
    lab.patch(&namespace, range(json!("1000650000/10000"))).await;
    lab.until_config("up", is_up).await;
    let before = rolled_out(&lab).await;
    assert_eq!(
        before["spec"]["template"]["spec"]["securityContext"]["fsGroup"],
        1_000_650_000
    );
    lab.patch(&namespace, range(Value::Null)).await;
    let config = lab
        .until_config("without a range", |c| told(c) && is(c, "Available", "True", "Ready"))
        .await;
    lab.edit(json!({"logLevel": "Debug"})).await;
    lab.until_config("observed", |c| {
        observed(c) && crate::version(c) != crate::version(&config)
    })
    .await;
    lab.settle().await;
    assert_eq!(
        lab.get(&deployment()).await.unwrap()["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    Control::default().set(&lab.client).await.unwrap();
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
}
