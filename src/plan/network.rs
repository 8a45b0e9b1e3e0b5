//! What may reach the registry in a namespace that denies all.

use serde_json::{Value, json};

use super::{Desired, Drift};
use crate::api::Kind;
use crate::names;

/// Opens the registry's port to everyone, and everything to the registry. The rules that name somebody are covered by the
/// open ones: they tell who the clients are, and stay for whoever closes the open ones.
pub(super) fn registry() -> Desired {
    let port = json!([{"protocol": "TCP", "port": names::REGISTRY_PORT}]);
    let body = json!({
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
                // Everyone, the nodes' own network included.
                {"ports": port},
            ],
            "egress": [
                {},
                {"to": api_server_peers(), "ports": [{"protocol": "TCP", "port": 8443}]},
                {"to": dns_peers(), "ports": dns_ports()},
                // The internet, without private ranges.
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
    Desired::new(Kind::NetworkPolicy, Drift::Whole(&["spec"]), body).without_checksum()
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
