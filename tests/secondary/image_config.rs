//! `images.config.openshift.io/cluster`: where the registry is reached.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{is, is_up, operand};
use crate::{cluster, create_config, enter, image};

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
    let lab = cluster().await;
    lab.delete(&image()).await;
    lab.forget_events().await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
        "spec": {"host": "foreign.example.com", "to": {"kind": "Service", "name": "image-registry"}}});
    lab.create(foreign).await;
    let routes = json!([{"name": "r1", "hostname": "b.example.com"}, {"name": "r2", "hostname": "a.example.com"}]);
    create_config(&lab, json!({"defaultRoute": true, "routes": routes})).await;
    let operator = lab.operator().await;
    let complete = |o: &Value| internal(o) == INTERNAL && external(o).len() == 3;
    let found = lab
        .until(&image(), "complete", |o| o.is_some_and(complete))
        .await
        .unwrap();
    lab.until_event("Normal ImageCreated", "").await;
    let hosts = external(&found);
    assert!(
        hosts[0].starts_with("default-route-openshift-image-registry."),
        "{hosts:?}"
    );
    assert_eq!(hosts[1..], ["a.example.com", "b.example.com"]);
    lab.until_config("up", |c| {
        is_up(c) && is(c, "ImageConfigControllerDegraded", "False", "AsExpected")
    })
    .await;

    // Edits by hand do not last, and what others keep in the object does.
    lab.patch(&image(), json!({"metadata": {"labels": {"example.com/own": "x"}}}))
        .await;
    lab.patch_status(
        &image(),
        json!({"status": {"internalRegistryHostname": "wrong", "externalRegistryHostnames": null}}),
    )
    .await;
    let found = lab
        .until(&image(), "put right", |o| o.is_some_and(complete))
        .await
        .unwrap();
    assert_eq!(found["metadata"]["labels"]["example.com/own"], "x");

    // The port of the Service, while nobody puts it right.
    enter(&lab, "Unmanaged").await;
    let port = |port: i64| json!({"spec": {"ports": [{"name": "https", "port": port, "protocol": "TCP", "targetPort": 5000}]}});
    lab.patch(&crate::service(), port(443)).await;
    let bare = INTERNAL.strip_suffix(":5000").unwrap();
    lab.until(&image(), "without port", |o| o.is_some_and(|o| internal(o) == bare))
        .await;
    lab.delete(&operand(Kind::Route, "r2")).await;
    lab.until(&image(), "without r2", |o| o.is_some_and(|o| external(o).len() == 2))
        .await;

    enter(&lab, "Removed").await;
    lab.until(&image(), "empty", |o| {
        o.is_some_and(|o| internal(o).is_empty() && external(o).is_empty())
    })
    .await;
    assert!(lab.get(&operand(Kind::Route, "foreign")).await.is_some());
    enter(&lab, "Managed").await;
    lab.until(&image(), "complete again", |o| o.is_some_and(complete)).await;
    assert!(operator.stop().await.success());
}
