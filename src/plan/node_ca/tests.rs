use serde_json::{Value, json};

use super::node_ca;
use crate::config::environment::Environment;
use crate::plan::drift::{differs, merged};
use crate::plan::fixture::{merge, snapshot};

fn desired() -> crate::plan::Desired {
    node_ca(&snapshot([]).environment)
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
    let environment = Environment {
        node_ca_user: Some(0),
        ..Environment::default()
    };
    let user = "/spec/template/spec/containers/0/securityContext/runAsUser";
    assert_eq!(
        super::node_ca(&environment).body.pointer(user),
        Some(&serde_json::json!(0))
    );
    assert_eq!(
        super::node_ca(&Environment::default()).body.pointer(user),
        Some(&serde_json::json!(1001))
    );
}
