//! Routes: made, followed, renamed, let go; and never somebody else's.

use std::collections::BTreeSet;

use devcluster::standin::Control;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, is_up, operand, texts};
use crate::{deployment, observed, registry, uid, version};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nc2VjcmV0bHktcHVibGlj\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\ndmVyeS1zZWNyZXQta2V5\n-----END PRIVATE KEY-----\n";

fn route(name: &str) -> crate::ObjectRef {
    operand(Kind::Route, name)
}

async fn certificate(lab: &Lab, name: &str, pem: &str) {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE},
                        "stringData": {"tls.crt": pem, "tls.key": KEY, "tls.cacrt": PEM}});
    lab.create(secret).await;
}

// api 40, lifecycle 68, 128, workload 64, 65, 66, 67, 70
#[tokio::test]
async fn routes_follow_the_spec_and_their_secrets() {
    let (lab, operator) = registry(json!({"operatorLogLevel": "TraceAll"})).await;
    let entry = |name: &str| json!({"name": name, "hostname": "registry.example.com", "secretName": "public-tls"});
    let budget = operand(Kind::PodDisruptionBudget, names::REGISTRY);
    lab.delete(&budget).await;
    lab.edit(json!({"defaultRoute": true, "routes": [entry("public")]}))
        .await;
    let missing =
        |c: &Value| is(c, "Progressing", "True", "Error") && condition(c, "Progressing").2.contains("public-tls");
    lab.until_config("missing a Secret", missing).await;
    let default = lab
        .until(&route(names::DEFAULT_ROUTE), "with a host", |o| {
            o.is_some_and(|o| o["spec"]["host"].is_string())
        })
        .await
        .unwrap();
    assert_eq!(default["spec"]["tls"]["termination"], "reencrypt");
    assert_eq!(default["spec"]["tls"].get("destinationCACertificate"), None);
    lab.until_present(&budget).await;
    assert!(lab.get(&route("public")).await.is_none());

    certificate(&lab, "public-tls", PEM).await;
    let found = lab.until_present(&route("public")).await;
    assert_eq!(found["spec"]["host"], "registry.example.com");
    assert_eq!(found["spec"]["tls"]["certificate"], PEM);
    assert_eq!(found["spec"]["tls"]["key"], KEY);
    assert_eq!(found["spec"]["tls"]["caCertificate"], PEM);
    let newer = PEM.replace("c2VjcmV0", "YW5vdGhl");
    lab.patch(
        &operand(Kind::Secret, "public-tls"),
        json!({"stringData": {"tls.crt": newer}}),
    )
    .await;
    lab.until(&route("public"), "with the new certificate", |o| {
        o.is_some_and(|o| o["spec"]["tls"]["certificate"] == newer)
    })
    .await;

    // Renamed: the new one comes, the old one goes; one that nobody marked stays.
    lab.create(json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
                      "spec": {"to": {"kind": "Service", "name": "x"}}})).await;
    lab.edit(json!({"routes": [entry("renamed")]})).await;
    lab.until_present(&route("renamed")).await;
    lab.until_absent(&route("public")).await;
    lab.edit(json!({"defaultRoute": false, "routes": null})).await;
    lab.until_absent(&route(names::DEFAULT_ROUTE)).await;
    lab.until_absent(&route("renamed")).await;
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
    lab.settle().await;
    assert!(lab.get(&route("foreign")).await.is_some());

    let log = operator.log();
    assert!(log.contains("DEBUG"), "the log is as loud as it can be");
    let http = lab.config().await["spec"]["httpSecret"].as_str().unwrap().to_owned();
    for secret in ["dmVyeS1zZWNyZXQta2V5", http.as_str(), "eyJhdXRocyI6e319"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    let told = lab.events().await.join("\n") + &lab.config().await["status"].to_string();
    assert!(!told.contains("dmVyeS1zZWNyZXQta2V5") && !told.contains(&http));
}

// workload 69
#[tokio::test]
async fn a_route_of_somebody_else_is_not_taken() {
    let (lab, _operator) = registry(json!({})).await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "taken", "namespace": names::NAMESPACE},
                         "spec": {"host": "theirs.example.com", "to": {"kind": "Service", "name": "theirs"}}});
    lab.create(foreign).await;
    let foreign = lab
        .until(&route("taken"), "admitted", |o| {
            o.is_some_and(|o| o.get("status").is_some())
        })
        .await
        .unwrap();
    lab.edit(json!({"logLevel": "Debug", "routes": [{"name": "taken"}, {"name": "free"}]}))
        .await;
    let conflict =
        |c: &Value| is(c, "Degraded", "True", "RouteConflict") && condition(c, "Degraded").2.contains("taken");
    lab.until_config("in conflict", |c| conflict(c) && is_up(c) && observed(c))
        .await;
    lab.until_present(&route("free")).await;
    let found = lab.get(&deployment()).await.unwrap();
    assert_eq!(crate::env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    lab.settle().await;
    assert_eq!(version(&lab.get(&route("taken")).await.unwrap()), version(&foreign));
    // The mark hands it over.
    lab.patch(
        &route("taken"),
        json!({"metadata": {"annotations": {names::OWNED_ANNOTATION: "true"}}}),
    )
    .await;
    let ours = lab
        .until(&route("taken"), "taken over", |o| {
            o.is_some_and(|o| o["spec"]["to"]["name"] == names::REGISTRY)
        })
        .await
        .unwrap();
    assert_eq!(uid(&ours), uid(&foreign));
    lab.until_config("well", |c| is(c, "Degraded", "False", "")).await;
    assert!(!texts(&ours, "/metadata/annotations").is_empty());
}

// lifecycle 82
#[tokio::test]
async fn a_route_that_the_router_refuses_degrades_a_healthy_registry() {
    let (lab, _operator) = registry(json!({})).await;
    let refused = format!("{}/{}", names::NAMESPACE, names::DEFAULT_ROUTE);
    let control = Control {
        refuse_routes: BTreeSet::from([refused]),
        ..Control::default()
    };
    control.set(&lab.client).await.unwrap();
    lab.edit(json!({"defaultRoute": true})).await;
    let degraded = |c: &Value| is(c, "Degraded", "True", "RouteDegraded");
    let config = lab.until_config("degraded", degraded).await;
    let host = lab.get(&route(names::DEFAULT_ROUTE)).await.unwrap()["spec"]["host"]
        .as_str()
        .unwrap_or("default-route")
        .to_owned();
    let message = condition(&config, "Degraded").2;
    assert!(
        message.contains(names::DEFAULT_ROUTE) && message.contains(&host),
        "{message}"
    );
    assert!(is_up(&config));
    // Hidden while a rollout is under way, there again after it.
    lab.cluster.pause_simulated_pods().unwrap();
    lab.edit(json!({"logLevel": "Debug"})).await;
    lab.until_config("rolling out", |c| {
        is(c, "Progressing", "True", "DeploymentNotCompleted") && is(c, "Degraded", "False", "")
    })
    .await;
    lab.cluster.resume_simulated_pods().unwrap();
    lab.until_config("degraded", |c| degraded(c) && is_up(c)).await;
    Control::default().set(&lab.client).await.unwrap();
    lab.until_config("well", |c| is(c, "Degraded", "False", "")).await;
}
