//! NetworkPolicy of the registry, for a namespace that denies all traffic by default.

use serde_json::{Value, json};

use super::{Desired, Drift};
use crate::api::Kind;
use crate::names::{self, Program};

/// Allows ingress to the registry's port from everywhere, and all egress. The rules with peers are redundant beside the open
/// rules: they document the registry's clients and servers, and suffice if a later release drops the open rules.
pub(super) fn registry(program: Program) -> Desired {
    let port = json!([{"protocol": "TCP", "port": names::REGISTRY_PORT}]);
    let mut body = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": names::REGISTRY_NETWORK_POLICY, "namespace": names::NAMESPACE},
        "spec": {
            "podSelector": {"matchLabels": {names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                // Monitoring.
                {
                    "from": [{"namespaceSelector": {"matchLabels": {
                        "kubernetes.io/metadata.name": "openshift-monitoring",
                    }}}],
                    "ports": port,
                },
                // Routers.
                {
                    "from": [{"namespaceSelector": {"matchLabels": {
                        "policy-group.network.openshift.io/ingress": "",
                    }}}],
                    "ports": port,
                },
                // Everywhere, including the host network of the nodes.
                {"ports": port},
            ],
            "egress": [
                {},
                {"to": api_server_peers(), "ports": [{"protocol": "TCP", "port": 8443}]},
                {"to": dns_peers(), "ports": dns_ports()},
                // The internet without private address ranges.
                {
                    "to": [{"ipBlock": {
                        "cidr": "0.0.0.0/0",
                        "except": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"],
                    }}],
                    "ports": [{"protocol": "TCP", "port": 443}],
                },
            ],
        },
    });
    if program == Program::Distribution
        && let Some(ingress) = body.pointer_mut("/spec/ingress").and_then(Value::as_array_mut)
    {
        ingress.push(debug_port());
    }
    Desired::new(Kind::NetworkPolicy, Drift::Whole(&["spec"]), body).without_checksum()
}

/// The stock registry's metrics, which need no login: monitoring alone.
fn debug_port() -> Value {
    json!({
        "from": [{"namespaceSelector": {"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring", "openshift-monitoring"],
        }]}}],
        "ports": [{"protocol": "TCP", "port": names::DEBUG_PORT}],
    })
}

/// The platform's API servers.
pub(super) fn api_server_peers() -> Value {
    json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-kube-apiserver"}},
        "podSelector": {"matchLabels": {"app": "openshift-kube-apiserver"}},
    }])
}

/// The platform's DNS.
pub(super) fn dns_peers() -> Value {
    json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}])
}

/// Ports of the platform's DNS pods.
pub(super) fn dns_ports() -> Value {
    json!([{"protocol": "TCP", "port": 5353}, {"protocol": "UDP", "port": 5353}])
}
