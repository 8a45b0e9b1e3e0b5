//! Service of the registry.

use serde_json::{Value, json};

use super::{Desired, Drift, exclusive};
use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;

/// Host name of the Service, without the domain of the cluster.
pub(super) fn host() -> String {
    format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE)
}

/// Host name and port of the Service.
pub(super) fn address() -> String {
    format!("{}:{}", host(), names::REGISTRY_PORT)
}

/// The port of a live Service.
pub(super) fn port(service: &Value) -> u16 {
    let port = service.pointer("/spec/ports/0/port").and_then(Value::as_u64);
    port.and_then(|port| port.try_into().ok())
        .unwrap_or(names::REGISTRY_PORT)
}

/// The Service. The API server assigns addresses and IP families, which stay.
pub(super) fn service(objects: &Objects) -> Desired {
    let live = objects.operand(Kind::Service, names::REGISTRY);
    // Every other key in the selector would exclude pods, so other keys are removed.
    let selector = exclusive(
        json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}),
        selector_of(live),
    );
    let body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names::REGISTRY,
            "namespace": names::NAMESPACE,
            "labels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE},
            "annotations": {names::SERVING_CERT_ANNOTATION: names::SERVING_CERT_SECRET},
        },
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{
                "name": names::REGISTRY_PORT_NAME,
                "port": names::REGISTRY_PORT,
                "protocol": "TCP",
                "targetPort": names::REGISTRY_PORT,
            }],
        },
    });
    Desired::new(Kind::Service, Drift::Named, body)
}

fn selector_of(live: Option<&Value>) -> Option<&Value> {
    live.and_then(|service| service.pointer("/spec/selector"))
}
