//! The DaemonSet node-ca: writes the registry's CA to every node, so that container runtimes trust the registry. The
//! DaemonSet runs in every management state.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::{Desired, Drift, Plan, certificates, checksum, operand, own_certificates, service};
use crate::api::Kind;
use crate::config::content;
use crate::config::environment::Environment;
use crate::config::snapshot::Snapshot;
use crate::names::{self, NodeCa};

/// The DaemonSet node-ca; with `NODE_CA=off`, its removal.
pub fn node_ca(snapshot: &Snapshot) -> Plan {
    let environment = &snapshot.environment;
    let desired = match environment.node_ca {
        NodeCa::Docker => daemon_set("10%", &docker(environment)),
        // A pod waits on a node without a directory for containerd, and such pods must not hold up the others. The pods serve
        // nobody, and what they wrote stays, so all may be replaced at a time.
        NodeCa::Containerd => daemon_set("100%", &containerd(environment, servers(snapshot))),
        NodeCa::Off => {
            let live = snapshot.objects.operand(Kind::DaemonSet, names::NODE_CA);
            let absent = live
                .filter(|live| is_own(live))
                .map(|_| operand(Kind::DaemonSet, names::NODE_CA));
            return Plan {
                absent: absent.into_iter().collect(),
                ..Plan::default()
            };
        }
    };
    Plan {
        present: vec![desired],
        ..Plan::default()
    }
}

/// Whether an operator made the DaemonSet, and it is not being deleted.
fn is_own(live: &Value) -> bool {
    let metadata = |member: &str| live.pointer(&format!("/metadata/{member}"));
    metadata("deletionTimestamp").is_none()
        && metadata("annotations").is_some_and(|annotations| annotations.get(names::SPEC_HASH_ANNOTATION).is_some())
}

fn daemon_set(max_unavailable: &str, pod: &Value) -> Desired {
    let labels = json!({"name": names::NODE_CA});
    let spec = json!({
        "selector": {"matchLabels": labels},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": max_unavailable}},
        "template": {
            "metadata": {
                "labels": labels,
                "annotations": {
                    names::PARTITIONING_ANNOTATION: "{\"effect\": \"PreferredDuringScheduling\"}",
                    names::SCC_ANNOTATION: "privileged",
                },
            },
            "spec": pod,
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
/// The same for containerd, whose directory belongs to root.
const ROOT: u32 = 0;

fn docker(environment: &Environment) -> Value {
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
                {"name": "host", "mountPath": names::DOCKER_CERTS},
            ],
        }],
        "volumes": [
            {"name": "host", "hostPath": {"path": names::DOCKER_CERTS}},
            // The volume is named after another ConfigMap. It is not optional, so pods wait until the CA ConfigMap exists.
            {"name": "serviceca", "configMap": {"name": names::CERTIFICATES_MAP}},
        ],
    })
}

/// The pod for containerd. The runtime creates a missing directory that is mounted: the first container sees an empty one then,
/// and waits. Only after it has ended, the second one mounts, and thereby creates, the directory that it writes to.
fn containerd(environment: &Environment, servers: Vec<String>) -> Value {
    let container = |name: &str, args: Value, mounts: Value| {
        json!({
            "name": name,
            "image": environment.operator_image,
            "command": ["cluster-image-registry-operator"],
            "args": args,
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            // The owner of the directory needs no capability to write there.
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": true,
                "runAsGroup": 0,
                "runAsUser": environment.node_ca_user.unwrap_or(ROOT),
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
        })
    };
    let mut args = vec!["node-ca-sync".to_owned(), "--runtime=containerd".to_owned()];
    args.extend(servers);
    json!({
        "serviceAccountName": "node-ca",
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [container(
            "containerd",
            json!(["node-ca-sync", format!("--await-directory={}", names::CONTAINERD_DIRECTORY)]),
            json!([{"name": "containerd", "mountPath": names::CONTAINERD_DIRECTORY, "readOnly": true}]),
        )],
        "containers": [container(
            "node-ca",
            json!(args),
            json!([
                {"name": "serviceca", "mountPath": "/tmp/serviceca"},
                {"name": "host", "mountPath": names::CONTAINERD_HOSTS},
            ]),
        )],
        // Without a type, so that the kubelet neither refuses a missing directory nor creates it.
        "volumes": [
            {"name": "containerd", "hostPath": {"path": names::CONTAINERD_DIRECTORY}},
            {"name": "host", "hostPath": {"path": names::CONTAINERD_HOSTS}},
            {"name": "serviceca", "configMap": {"name": names::CERTIFICATES_MAP}},
        ],
    })
}

/// Begin of an argument of node-ca: `--server=HOST=ADDRESS`.
const SERVER: &str = "--server=";

/// The address of the Service for each of its host names: nodes then need no DNS for them. Empty if the certificate does not have
/// the address. Without a Service, what the live DaemonSet has: the arguments change only with the address.
fn servers(snapshot: &Snapshot) -> Vec<String> {
    let Some(service) = snapshot.objects.operand(Kind::Service, names::REGISTRY) else {
        return live_servers(snapshot);
    };
    let address = content::text(service.pointer("/spec/clusterIP")).and_then(|text| text.parse::<IpAddr>().ok());
    let Some(address) = address.filter(|address| own_certificates::has_address(snapshot, *address)) else {
        return Vec::new();
    };
    let address = SocketAddr::new(address, service::port(service));
    let hosts = certificates::own_keys(&snapshot.objects);
    let hosts = hosts.iter().map(|key| match key.rsplit_once("..") {
        Some((host, port)) => format!("{host}:{port}"),
        None => key.clone(),
    });
    hosts.map(|host| format!("{SERVER}{host}={address}")).collect()
}

fn live_servers(snapshot: &Snapshot) -> Vec<String> {
    let live = snapshot.objects.operand(Kind::DaemonSet, names::NODE_CA);
    let args = live.and_then(|live| live.pointer("/spec/template/spec/containers/0/args")?.as_array());
    let args = args.into_iter().flatten().filter_map(Value::as_str);
    args.filter(|arg| arg.starts_with(SERVER)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
