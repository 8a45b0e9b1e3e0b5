//! The DaemonSet node-ca: writes the registry's CA to every node, so that container runtimes trust the registry. The
//! DaemonSet runs in every management state.

use serde_json::{Value, json};

use super::{Desired, Drift, checksum};
use crate::api::Kind;
use crate::config::environment::Environment;
use crate::names;

/// The DaemonSet node-ca.
pub fn node_ca(environment: &Environment) -> Desired {
    let labels = json!({"name": names::NODE_CA});
    let spec = json!({
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {
            "metadata": {
                "labels": labels,
                "annotations": {
                    names::PARTITIONING_ANNOTATION: "{\"effect\": \"PreferredDuringScheduling\"}",
                    names::SCC_ANNOTATION: "privileged",
                },
            },
            "spec": pod(environment),
        },
    });
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": names::NODE_CA,
            "namespace": names::NAMESPACE,
            "annotations": {names::SPEC_HASH_ANNOTATION: checksum::spec_hash(&spec)},
        },
        "spec": spec,
    });
    Desired::new(Kind::DaemonSet, Drift::Generation, body)
        .without_checksum()
        .with_immutable(&["/spec/selector"])
}

/// Default `runAsUser` of node-ca.
const USER: u32 = 1001;

fn pod(environment: &Environment) -> Value {
    json!({
        // The host network works before the pod network does.
        "hostNetwork": true,
        "serviceAccountName": "node-ca",
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "containers": [{
            "name": "node-ca",
            "image": environment.operator_image,
            "command": ["cluster-image-registry-operator"],
            "args": ["node-ca-sync"],
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            // The directory on the host belongs to the group root.
            "securityContext": {
                "privileged": true,
                "runAsUser": environment.node_ca_user.unwrap_or(USER),
                "runAsGroup": 0,
                "readOnlyRootFilesystem": true,
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "serviceca", "mountPath": "/tmp/serviceca"},
                {"name": "host", "mountPath": "/etc/docker/certs.d"},
            ],
        }],
        "volumes": [
            {"name": "host", "hostPath": {"path": "/etc/docker/certs.d"}},
            // The volume is named after another ConfigMap. It is not optional, so pods wait until the CA ConfigMap exists.
            {"name": "serviceca", "configMap": {"name": names::CERTIFICATES_MAP}},
        ],
    })
}

#[cfg(test)]
mod tests;
