//! The registry's address.

use serde_json::json;

use super::{Desired, Drift, only};
use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;

/// The Service. Addresses and IP families are the API server's.
pub(super) fn service(objects: &Objects) -> Desired {
    let live = objects.operand(Kind::Service, names::REGISTRY);
    // Everything in the selector narrows it: what is not ours there must go.
    let selector = only(
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

fn selector_of(live: Option<&serde_json::Value>) -> Option<&serde_json::Value> {
    live.and_then(|service| service.pointer("/spec/selector"))
}
