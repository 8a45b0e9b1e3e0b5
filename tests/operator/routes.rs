//! Routes: created, updated, renamed and deleted, and never those of others.

use std::collections::BTreeSet;

use devcluster::standin::Control;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::registry;
use crate::support::{
    TestCluster, condition, deployment, disruption_budget, env, is, is_up, observed, operand, resource_version, texts,
    uid,
};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nc2VjcmV0bHktcHVibGlj\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\ndmVyeS1zZWNyZXQta2V5\n-----END PRIVATE KEY-----\n";

fn route(name: &str) -> ObjectRef {
    operand(Kind::Route, name)
}

async fn certificate(cluster: &TestCluster, name: &str, pem: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE},
                        "stringData": {"tls.crt": pem, "tls.key": KEY, "tls.cacrt": PEM}});
    cluster.create(secret).await;
}

// api 40, lifecycle 68, 128, workload 64, 65, 66, 67, 70
#[tokio::test]
async fn routes_follow_the_spec_and_their_secrets() {
    let (cluster, operator) = registry(json!({"operatorLogLevel": "TraceAll"})).await;
    let entry = |name: &str| json!({"name": name, "hostname": "registry.example.com", "secretName": "public-tls"});
    let budget = disruption_budget();
    cluster.delete(&budget).await;
    cluster
        .edit(json!({"defaultRoute": true, "routes": [entry("public")]}))
        .await;
    let missing =
        |c: &Value| is(c, "Progressing", "True", "Error") && condition(c, "Progressing").2.contains("public-tls");
    cluster.until_config("missing a Secret", missing).await;
    let default = cluster
        .until(&route(names::DEFAULT_ROUTE), "with a host", |o| {
            o.is_some_and(|o| o["spec"]["host"].is_string())
        })
        .await
        .unwrap();
    assert_eq!(default["spec"]["tls"]["termination"], "reencrypt");
    assert_eq!(default["spec"]["tls"].get("destinationCACertificate"), None);
    cluster.until_present(&budget).await;
    assert!(cluster.get(&route("public")).await.is_none());

    certificate(&cluster, "public-tls", PEM).await;
    let found = cluster.until_present(&route("public")).await;
    assert_eq!(found["spec"]["host"], "registry.example.com");
    assert_eq!(found["spec"]["tls"]["certificate"], PEM);
    assert_eq!(found["spec"]["tls"]["key"], KEY);
    assert_eq!(found["spec"]["tls"]["caCertificate"], PEM);
    let newer = PEM.replace("c2VjcmV0", "YW5vdGhl");
    cluster
        .patch(
            &operand(Kind::Secret, "public-tls"),
            json!({"stringData": {"tls.crt": newer}}),
        )
        .await;
    cluster
        .until(&route("public"), "with the new certificate", |o| {
            o.is_some_and(|o| o["spec"]["tls"]["certificate"] == newer)
        })
        .await;

    // Without a Secret, certificate and redirect of the administrator stay; with one they do not.
    let edit = json!({"spec": {"tls": {"insecureEdgeTerminationPolicy": "Redirect", "destinationCACertificate": PEM}}});
    for (name, kept) in [(names::DEFAULT_ROUTE, true), ("public", false)] {
        cluster.patch(&route(name), edit.clone()).await;
        let reverted = |o: &Value| o["spec"]["tls"].get("destinationCACertificate").is_none();
        let live = cluster
            .until(&route(name), "reverted", |o| o.is_some_and(reverted))
            .await
            .unwrap();
        assert_eq!(
            live["spec"]["tls"]["insecureEdgeTerminationPolicy"] == "Redirect",
            kept,
            "{live}"
        );
    }

    let edit = json!({"spec": {"tls": {"insecureEdgeTerminationPolicy": "Allow"}}});
    cluster.patch(&route(names::DEFAULT_ROUTE), edit).await;
    let reverted = |o: &Value| o["spec"]["tls"].get("insecureEdgeTerminationPolicy").is_none();
    cluster
        .until(&route(names::DEFAULT_ROUTE), "reverted", |o| o.is_some_and(reverted))
        .await;

    // A renamed route is created under its new name and deleted under the old one; a route without the operator's annotation stays.
    cluster.create(json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
                      "spec": {"to": {"kind": "Service", "name": "x"}}})).await;
    cluster.edit(json!({"routes": [entry("renamed")]})).await;
    cluster.until_present(&route("renamed")).await;
    cluster.until_absent(&route("public")).await;
    cluster.edit(json!({"defaultRoute": false, "routes": null})).await;
    cluster.until_absent(&route(names::DEFAULT_ROUTE)).await;
    cluster.until_absent(&route("renamed")).await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    cluster.settle().await;
    assert!(cluster.get(&route("foreign")).await.is_some());

    let log = operator.log();
    assert!(log.contains("DEBUG"), "the log is as loud as it can be");
    let http = cluster.config().await["spec"]["httpSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    for secret in ["dmVyeS1zZWNyZXQta2V5", http.as_str(), "eyJhdXRocyI6e319"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    let told = cluster.events().await.join("\n") + &cluster.config().await["status"].to_string();
    assert!(!told.contains("dmVyeS1zZWNyZXQta2V5") && !told.contains(&http));
}

// workload 69
#[tokio::test]
async fn a_route_of_somebody_else_is_not_taken_over() {
    let (cluster, _operator) = registry(json!({})).await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "taken", "namespace": names::NAMESPACE},
                         "spec": {"host": "theirs.example.com", "to": {"kind": "Service", "name": "theirs"}}});
    cluster.create(foreign).await;
    let foreign = cluster
        .until(&route("taken"), "admitted", |o| {
            o.is_some_and(|o| o.get("status").is_some())
        })
        .await
        .unwrap();
    cluster
        .edit(json!({"logLevel": "Debug", "routes": [{"name": "taken"}, {"name": "free"}]}))
        .await;
    let conflict =
        |c: &Value| is(c, "Degraded", "True", "RouteConflict") && condition(c, "Degraded").2.contains("taken");
    cluster
        .until_config("in conflict", |c| conflict(c) && is_up(c) && observed(c))
        .await;
    cluster.until_present(&route("free")).await;
    let found = cluster.get(&deployment()).await.unwrap();
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    cluster.settle().await;
    assert_eq!(
        resource_version(&cluster.get(&route("taken")).await.unwrap()),
        resource_version(&foreign)
    );
    // The operator's annotation makes the route its own.
    cluster
        .patch(
            &route("taken"),
            json!({"metadata": {"annotations": {names::OWNED_ANNOTATION: "true"}}}),
        )
        .await;
    let ours = cluster
        .until(&route("taken"), "taken over", |o| {
            o.is_some_and(|o| o["spec"]["to"]["name"] == names::REGISTRY)
        })
        .await
        .unwrap();
    assert_eq!(uid(&ours), uid(&foreign));
    cluster
        .until_config("not degraded", |c| is(c, "Degraded", "False", ""))
        .await;
    assert!(!texts(&ours, "/metadata/annotations").is_empty());
}

// lifecycle 82
#[tokio::test]
async fn a_route_that_the_router_rejects_degrades_a_healthy_registry() {
    let (cluster, _operator) = registry(json!({})).await;
    let refused = format!("{}/{}", names::NAMESPACE, names::DEFAULT_ROUTE);
    let control = Control {
        refuse_routes: BTreeSet::from([refused]),
        ..Control::default()
    };
    control.set(&cluster.client).await.unwrap();
    cluster.edit(json!({"defaultRoute": true})).await;
    let degraded = |c: &Value| is(c, "Degraded", "True", "RouteDegraded");
    let config = cluster.until_config("degraded", degraded).await;
    let host = cluster.get(&route(names::DEFAULT_ROUTE)).await.unwrap()["spec"]["host"]
        .as_str()
        .unwrap_or("default-route")
        .to_owned();
    let message = condition(&config, "Degraded").2;
    assert!(
        message.contains(names::DEFAULT_ROUTE) && message.contains(&host),
        "{message}"
    );
    assert!(is_up(&config));
    // The condition is not reported during a rollout, and again after it.
    cluster.devcluster.pause_simulated_pods().unwrap();
    cluster.edit(json!({"logLevel": "Debug"})).await;
    cluster
        .until_config("rolling out", |c| {
            is(c, "Progressing", "True", "DeploymentNotCompleted") && is(c, "Degraded", "False", "")
        })
        .await;
    cluster.devcluster.resume_simulated_pods().unwrap();
    cluster.until_config("degraded", |c| degraded(c) && is_up(c)).await;
    Control::default().set(&cluster.client).await.unwrap();
    cluster
        .until_config("not degraded", |c| is(c, "Degraded", "False", ""))
        .await;
}
