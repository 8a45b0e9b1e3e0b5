//! `images.config.openshift.io/cluster`: the host names of the registry.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::pruner::until_arguments;
use crate::support::{cron_job, image, is, is_up, operand, service};

const INTERNAL: &str = "image-registry.openshift-image-registry.svc:5000";

fn internal(image: &Value) -> &str {
    image
        .pointer("/status/internalRegistryHostname")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn external(image: &Value) -> Vec<&str> {
    let hosts = image
        .pointer("/status/externalRegistryHostnames")
        .and_then(Value::as_array);
    hosts.into_iter().flatten().filter_map(Value::as_str).collect()
}

// lifecycle 117, 118, 119, 120, 122
#[tokio::test]
async fn the_host_names_follow_service_and_routes_in_every_state() {
    let cluster = empty_cluster().await;
    cluster.delete(&image()).await;
    cluster.delete_events().await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
        "spec": {"host": "foreign.example.com", "to": {"kind": "Service", "name": "image-registry"}}});
    cluster.create(foreign).await;
    let routes = json!([{"name": "r1", "hostname": "b.example.com"}, {"name": "r2", "hostname": "a.example.com"}]);
    cluster
        .create_config(json!({"defaultRoute": true, "routes": routes}))
        .await;
    let operator = cluster.operator().await;
    let complete = |o: &Value| internal(o) == INTERNAL && external(o).len() == 3;
    let found = cluster
        .until(&image(), "complete", |o| o.is_some_and(complete))
        .await
        .unwrap();
    cluster.until_event("Normal ImageCreated", "").await;
    let hosts = external(&found);
    assert!(
        hosts[0].starts_with("default-route-openshift-image-registry."),
        "{hosts:?}"
    );
    assert_eq!(hosts[1..], ["a.example.com", "b.example.com"]);
    cluster
        .until_config("up", |c| {
            is_up(c) && is(c, "ImageConfigControllerDegraded", "False", "AsExpected")
        })
        .await;

    // The operator reverts edits of its fields and keeps labels of others.
    cluster
        .patch(&image(), json!({"metadata": {"labels": {"example.com/own": "x"}}}))
        .await;
    cluster
        .patch_status(
            &image(),
            json!({"status": {"internalRegistryHostname": "wrong", "externalRegistryHostnames": null}}),
        )
        .await;
    let found = cluster
        .until(&image(), "restored", |o| o.is_some_and(complete))
        .await
        .unwrap();
    assert_eq!(found["metadata"]["labels"]["example.com/own"], "x");

    // In Unmanaged, nobody restores the port of the Service.
    cluster.enter_state("Unmanaged").await;
    let port = |port: i64| json!({"spec": {"ports": [{"name": "https", "port": port, "protocol": "TCP", "targetPort": 5000}]}});
    cluster.patch(&service(), port(443)).await;
    let bare = INTERNAL.strip_suffix(":5000").unwrap();
    cluster
        .until(&image(), "without port", |o| o.is_some_and(|o| internal(o) == bare))
        .await;
    cluster.delete(&operand(Kind::Route, "r2")).await;
    cluster
        .until(&image(), "without r2", |o| o.is_some_and(|o| external(o).len() == 2))
        .await;

    cluster.enter_state("Removed").await;
    cluster
        .until(&image(), "empty", |o| {
            o.is_some_and(|o| internal(o).is_empty() && external(o).is_empty())
        })
        .await;
    assert!(cluster.get(&operand(Kind::Route, "foreign")).await.is_some());
    cluster.enter_state("Managed").await;
    cluster
        .until(&image(), "complete again", |o| o.is_some_and(complete))
        .await;
    assert!(operator.stop().await.success());
}

// lifecycle 117
#[tokio::test]
async fn known_host_names_do_not_flap_while_a_missing_service_is_made() {
    let cluster = empty_cluster().await;
    let spec = json!({"defaultRoute": true, "routes": [{"name": "kept", "hostname": "kept.example.com"}]});
    let operator = cluster.start_registry(spec).await;
    let complete = |o: &Value| internal(o) == INTERNAL && external(o).len() == 2;
    cluster.until(&image(), "complete", |o| o.is_some_and(complete)).await;
    until_arguments(&cluster, "Managed").await;
    cluster.settle().await;
    assert!(operator.stop().await.success());
    // Service and Routes go while no operator runs.
    cluster.delete(&service()).await;
    for name in [names::DEFAULT_ROUTE, "kept"] {
        cluster.delete(&operand(Kind::Route, name)).await;
    }
    let (images, jobs) = (cluster.record(&image()).await, cluster.record(&cron_job()).await);
    let operator = cluster.operator().await;
    cluster.until_present(&service()).await;
    for name in [names::DEFAULT_ROUTE, "kept"] {
        cluster.until_present(&operand(Kind::Route, name)).await;
    }
    cluster.settle().await;
    let versions = images.versions();
    assert!(versions.iter().all(|(_, version)| complete(version)), "{versions:?}");
    let prunes = |job: &Value| job.to_string().contains("--prune-registry=true");
    assert!(jobs.versions().iter().all(|(_, version)| prunes(version)));

    // A registry that is removed has no host names.
    cluster.enter_state("Removed").await;
    let empty = |o: &Value| internal(o).is_empty() && external(o).is_empty();
    cluster.until(&image(), "empty", |o| o.is_some_and(empty)).await;
    assert!(operator.stop().await.success());
}
