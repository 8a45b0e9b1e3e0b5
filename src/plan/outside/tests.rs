mod changes;
mod gateway;
mod ingress;
mod refusals;

use serde_json::{Value, json};

use super::controllers::Controller;
use crate::api::Kind;
use crate::config::resolve::resolve;
use crate::names::{self, Exposure, GatewayRef, Program, Way};
use crate::plan::fixture::{Cluster, USERS, live_service, map, operand, secret};
use crate::plan::removal::removal;
use crate::plan::stock::users_secret;
use crate::plan::{Desired, Plan, conflicts, drift};

const CA: &str = "-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n";
const HOST: &str = "image-registry.openshift-image-registry.svc";

fn exposure(way: Way) -> Exposure {
    Exposure {
        given: Some(way),
        domain: Some("apps.harbour.test".to_owned()),
        gateway: Some(GatewayRef {
            namespace: "edge".to_owned(),
            name: "outer".to_owned(),
            section: None,
        }),
        ..Exposure::default()
    }
}

fn of_class(name: &str) -> Exposure {
    Exposure {
        ingress_class: Some(name.to_owned()),
        ..exposure(Way::Ingress)
    }
}

/// A cluster with a Service and a published CA.
fn cluster(exposure: Exposure, spec: &Value, objects: impl IntoIterator<Item = Value>) -> Cluster {
    let usual = [map("serviceca", &json!({"service-ca.crt": CA})), live_service()];
    let mut cluster = Cluster::new(spec, usual.into_iter().chain(objects));
    cluster.snapshot.environment.exposure = exposure;
    resolved(cluster)
}

fn resolved(mut cluster: Cluster) -> Cluster {
    cluster.resolved = resolve(&cluster.snapshot.config().unwrap().unwrap(), &cluster.snapshot).unwrap();
    cluster
}

fn class(name: &str, controller: &str, default: bool) -> Value {
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "spec": {"controller": controller}, "metadata": {
        "name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default.to_string()},
    }})
}

fn owned(api_version: &str, kind: &str, name: &str) -> Value {
    operand(
        api_version,
        kind,
        name,
        &json!({"metadata": {"annotations": {"imageregistry.openshift.io": "true"}}}),
    )
}

/// One object of each kind that this operator makes to expose the registry.
fn everything() -> Vec<Value> {
    let gateway = "gateway.networking.k8s.io/v1";
    vec![
        owned("route.openshift.io/v1", "Route", "default-route"),
        owned("networking.k8s.io/v1", "Ingress", "default-route"),
        owned(gateway, "HTTPRoute", "default-route"),
        owned(gateway, "BackendTLSPolicy", "image-registry"),
        owned("traefik.io/v1alpha1", "ServersTransport", "image-registry"),
        owned("v1", "Secret", "image-registry-backend-ca"),
        owned("v1", "ConfigMap", "image-registry-backend-ca"),
    ]
}

fn absent(plan: &Plan) -> Vec<String> {
    let mut all: Vec<_> = plan
        .absent
        .iter()
        .map(|reference| format!("{} {}", reference.kind.kind(), reference.name))
        .collect();
    all.sort();
    all
}

fn failure(plan: &Plan) -> &str {
    let [failure] = plan.failures.as_slice() else {
        panic!("{:?}", plan.failures)
    };
    &failure.message
}

fn ingress(plan: &Plan, name: &str) -> Desired {
    plan.desired(Kind::Ingress, name)
        .cloned()
        .unwrap_or_else(|| panic!("no Ingress {name}: {:?}", plan.failures))
}

/// Annotations without those that every object has.
fn annotations(object: &Value) -> Vec<String> {
    let own = [
        names::OWNED_ANNOTATION,
        names::EXPOSURE_KEYS_ANNOTATION,
        names::EXPOSURE_ANNOTATION,
        names::SERVING_CERT_ANNOTATION,
    ];
    let all = object["metadata"]["annotations"].as_object().unwrap();
    all.iter()
        .filter(|(key, _)| !own.contains(&key.as_str()))
        .map(|(key, value)| format!("{key}: {}", value.as_str().unwrap()))
        .collect()
}

const DEFAULT: &str = "default-route";

fn wants_default() -> Value {
    json!({"defaultRoute": true})
}

/// `spec.controller`, the controller, its annotations on the Ingress and on the Service, and whether it reads the CA.
type Row = (&'static str, Controller, Vec<String>, Vec<String>, bool);
