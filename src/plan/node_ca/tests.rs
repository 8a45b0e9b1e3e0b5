use serde_json::{Value, json};

use super::node_ca;
use crate::api::Kind;
use crate::config::environment::Environment;
use crate::config::snapshot::Snapshot;
use crate::names::NodeCa;
use crate::plan::drift::{differs, merged};
use crate::plan::fixture::{merge, snapshot};

fn desired() -> crate::plan::Desired {
    only(&snapshot([]))
}

fn only(snapshot: &Snapshot) -> crate::plan::Desired {
    let mut plan = node_ca(snapshot);
    assert_eq!((plan.present.len(), plan.absent.len()), (1, 0));
    plan.present.remove(0)
}

// workload 80
#[test]
fn the_daemon_set_equals_the_specification() {
    let pod = json!({
        "hostNetwork": true, "serviceAccountName": "node-ca", "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"}, "tolerations": [{"operator": "Exists"}],
        "containers": [{
            "name": "node-ca", "image": "test/operator",
            "command": ["cluster-image-registry-operator"], "args": ["node-ca-sync"],
            "resources": {"requests": {"cpu": "10m", "memory": "10Mi"}},
            "securityContext":
                {"privileged": true, "runAsUser": 1001, "runAsGroup": 0, "readOnlyRootFilesystem": true},
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "serviceca", "mountPath": "/tmp/serviceca"},
                {"name": "host", "mountPath": "/etc/docker/certs.d"},
            ],
        }],
        "volumes": [
            {"name": "host", "hostPath": {"path": "/etc/docker/certs.d"}},
            {"name": "serviceca", "configMap": {"name": "image-registry-certificates"}},
        ],
    });
    let annotations = json!({
        "target.workload.openshift.io/management": "{\"effect\": \"PreferredDuringScheduling\"}",
        "openshift.io/required-scc": "privileged",
    });
    let spec = json!({
        "selector": {"matchLabels": {"name": "node-ca"}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "template": {"metadata": {"labels": {"name": "node-ca"}, "annotations": annotations}, "spec": pod},
    });
    let desired = desired();
    assert_eq!(desired.body["spec"], spec);
    assert_eq!(
        desired.reference.to_string(),
        "DaemonSet openshift-image-registry/node-ca"
    );
    let written = merged(&desired, &Value::Null, Some("sha256:x"));
    let keys: Vec<_> = written["metadata"]["annotations"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["operator.openshift.io/spec-hash"]);
}

// workload 81
#[test]
fn removed_tolerations_are_restored() {
    let desired = desired();
    let mut live = merged(&desired, &Value::Null, None);
    merge(&mut live, &json!({"metadata": {"generation": 4}}));
    assert!(!differs(&desired, &live, Some(4)));
    merge(
        &mut live,
        &json!({"metadata": {"generation": 5}, "spec": {"template": {"spec": {"tolerations": []}}}}),
    );
    assert!(differs(&desired, &live, Some(4)));
    assert_eq!(merged(&desired, &live, None)["spec"], desired.body["spec"]);
}

#[test]
fn the_environment_of_the_operator_can_set_the_user() {
    for (node_ca, set, expected) in [
        (NodeCa::Docker, Some(0), 0),
        (NodeCa::Docker, None, 1001),
        (NodeCa::Containerd, Some(7), 7),
        (NodeCa::Containerd, None, 0),
    ] {
        let mut snapshot = snapshot([]);
        snapshot.environment = Environment {
            node_ca,
            node_ca_user: set,
            ..Environment::default()
        };
        let user = "/spec/template/spec/containers/0/securityContext/runAsUser";
        assert_eq!(only(&snapshot).body.pointer(user), Some(&json!(expected)));
    }
}

fn service(address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "image-registry", "namespace": "openshift-image-registry"},
           "spec": {"clusterIP": address, "ports": [{"port": 5000}]}})
}

/// A cluster without the platform, whose nodes run containerd.
fn plain(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let mut snapshot = snapshot(objects);
    snapshot.environment.node_ca = NodeCa::Containerd;
    snapshot.objects.set_absent_kind(Kind::ClusterVersion);
    snapshot.service_ca_api = false;
    snapshot
}

fn args(snapshot: &Snapshot) -> Vec<String> {
    let args = &only(snapshot).body["spec"]["template"]["spec"]["containers"][0]["args"];
    serde_json::from_value(args.clone()).unwrap()
}

// kubernetes 10: a node needs no privilege beyond its directory
#[test]
fn the_pod_for_containerd_has_no_privilege_but_the_directories_of_containerd() {
    let desired = only(&plain([]));
    let pod = &desired.body["spec"]["template"]["spec"];
    let of_host: Vec<_> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|v| v.get("hostPath"))
        .collect();
    assert_eq!(
        of_host,
        [
            &json!({"path": "/etc/containerd"}),
            &json!({"path": "/etc/containerd/certs.d"})
        ]
    );
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(field).is_none(), "{field}");
    }
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    let (first, main) = (&pod["initContainers"][0], &pod["containers"][0]);
    assert_eq!(
        first["args"],
        json!(["node-ca-sync", "--await-directory=/etc/containerd"])
    );
    let looks = json!([{"name": "containerd", "mountPath": "/etc/containerd", "readOnly": true}]);
    assert_eq!(first["volumeMounts"], looks);
    assert_eq!(
        main["volumeMounts"][1],
        json!({"name": "host", "mountPath": "/etc/containerd/certs.d"})
    );
    for container in [first, main] {
        let expected = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
            "runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(container["securityContext"], expected);
    }
    // Pods that wait must not hold up the others.
    assert_eq!(
        desired.body["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        "100%"
    );
}

// kubernetes 10, 11: the address
#[test]
fn the_arguments_have_the_address_of_the_service_and_change_only_with_it() {
    let host = "image-registry.openshift-image-registry.svc";
    let with = |address: &str| {
        let server = |host: &str| format!("--server={host}:5000={address}:5000");
        let begin = ["node-ca-sync", "--runtime=containerd"].map(str::to_owned);
        [begin, [server(host), server(&format!("{host}.cluster.local"))]].concat()
    };
    let mut snapshot = plain([service("10.5.6.7")]);
    assert_eq!(args(&snapshot), with("10.5.6.7"));
    assert_eq!(args(&plain([service("fd00::7")])), with("[fd00::7]"));
    assert_eq!(args(&plain([service("None")])).len(), 2);
    assert_eq!(args(&plain([])).len(), 2);
    // While the Service is made anew, and while the registry is removed, the DaemonSet stays as it is.
    let (before, mut live) = (only(&snapshot), merged(&only(&snapshot), &Value::Null, None));
    merge(&mut live, &json!({"metadata": {"generation": 4}}));
    snapshot = plain([live.clone()]);
    assert_eq!(only(&snapshot).body, before.body);
    assert!(!differs(&only(&snapshot), &live, Some(4)));
    let moved = plain([live.clone(), service("10.9.9.9")]);
    assert_eq!(args(&moved), with("10.9.9.9"));
    assert!(differs(&only(&moved), &live, Some(4)));
}

#[test]
fn a_certificate_of_others_is_asked_for_at_the_address_only_if_it_has_the_address() {
    let secret = |names: &[&str], label: bool| {
        let signed =
            rcgen::generate_simple_self_signed(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap();
        let encoded = |text: String| json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text));
        let labels = if label {
            json!({crate::names::ISSUED_LABEL: crate::names::ISSUED_LABEL_VALUE})
        } else {
            json!({})
        };
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "image-registry-tls", "namespace": "openshift-image-registry",
            "labels": labels}, "data": {"tls.crt": encoded(signed.cert.pem()), "tls.key": encoded(signed.signing_key.serialize_pem())}})
    };
    let count = |snapshot: &Snapshot| args(snapshot).len() - 2;
    for (names, label, servers) in [
        (&["a.svc"][..], false, 0),
        (&["a.svc", "10.5.6.7"], false, 2),
        (&["a.svc", "10.5.6.8"], false, 0),
        (&["a.svc"], true, 2), // the operator's own gets the address
    ] {
        assert_eq!(
            count(&plain([service("10.5.6.7"), secret(names, label)])),
            servers,
            "{names:?}"
        );
    }
    let mut service_ca = plain([service("10.5.6.7")]);
    service_ca.service_ca_api = true;
    assert_eq!(count(&service_ca), 0);
    service_ca.objects = plain([service("10.5.6.7"), secret(&["a.svc"], true)]).objects;
    // At the start of the operator, before it knows whether there is a service CA.
    assert_eq!(count(&service_ca), 2);
}

#[test]
fn node_ca_off_deletes_the_daemon_set_of_an_operator_and_no_other() {
    let live = merged(&desired(), &Value::Null, None);
    let of = |live: Option<&Value>| {
        let mut snapshot = snapshot(live.cloned());
        snapshot.environment.node_ca = NodeCa::Off;
        let plan = node_ca(&snapshot);
        assert!(plan.present.is_empty());
        plan.absent.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of(Some(&live)), ["DaemonSet openshift-image-registry/node-ca"]);
    assert!(of(None).is_empty());
    let mut foreign = live.clone();
    foreign["metadata"]["annotations"] = json!({});
    assert!(of(Some(&foreign)).is_empty());
    let mut going = live;
    going["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:09Z");
    assert!(of(Some(&going)).is_empty());
}
