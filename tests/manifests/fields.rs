//! Fields of the objects.

use super::*;

/// Fails if an object has a field that its type does not know, or a field of another type: reading and writing must preserve
/// the object.
fn assert_round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(m: &Manifest) {
    let typed: T = serde_json::from_value(m.object.clone()).unwrap_or_else(|error| panic!("{}: {error}", m.file));
    let mut back = serde_json::to_value(typed).unwrap();
    // The types omit apiVersion and kind.
    for key in ["apiVersion", "kind"] {
        back[key] = m.object[key].clone();
    }
    assert_eq!(back, m.object, "{}", m.file);
}

#[test]
fn no_object_has_a_field_that_kubernetes_does_not_know() {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, networking::v1 as networking, rbac::v1 as rbac};
    let mut checked = 0;
    for m in &install_set() {
        let check = match m.kind() {
            "Namespace" => assert_round_trip::<core::Namespace>,
            "ConfigMap" => assert_round_trip::<core::ConfigMap>,
            "Service" => assert_round_trip::<core::Service>,
            "ServiceAccount" => assert_round_trip::<core::ServiceAccount>,
            "Deployment" => assert_round_trip::<apps::Deployment>,
            "ClusterRole" => assert_round_trip::<rbac::ClusterRole>,
            "ClusterRoleBinding" => assert_round_trip::<rbac::ClusterRoleBinding>,
            "Role" => assert_round_trip::<rbac::Role>,
            "RoleBinding" => assert_round_trip::<rbac::RoleBinding>,
            "NetworkPolicy" => assert_round_trip::<networking::NetworkPolicy>,
            "CredentialsRequest" | "ClusterOperator" | "PrometheusRule" | "ServiceMonitor" => continue,
            kind => panic!("{}: {kind} is new here", m.file),
        };
        check(m);
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

// deploy 15
#[test]
fn the_namespace_lets_node_ca_run_everywhere_and_is_scraped() {
    let set = install_set();
    let namespace = find(&set, "Namespace", "", HOME);
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(
            namespace.label(&format!("pod-security.kubernetes.io/{mode}")),
            Some("privileged"),
            "{mode}"
        );
    }
    assert_eq!(namespace.label("openshift.io/cluster-monitoring"), Some("true"));
    assert_eq!(namespace.annotation("openshift.io/node-selector"), Some(""));
    assert_eq!(
        namespace.annotation("workload.openshift.io/allowed"),
        Some("management")
    );
}

// deploy 17
#[test]
fn the_operator_runs_one_small_pod_with_a_read_only_file_system() {
    let set = install_set();
    let deployment = in_file(&set, VARIANT_A);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(deployment["spec"]["replicas"], 1);
    let container = container(deployment);
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "10m", "memory": "50Mi"}})
    ); // no limits
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn the_operator_needs_no_privilege() {
    let set = install_set();
    let deployment = in_file(&set, VARIANT_A);
    let pod = &deployment["spec"]["template"];
    assert_eq!(
        text(pod, "/metadata/annotations/openshift.io~1required-scc"),
        "restricted-v2"
    );
    assert_eq!(
        pod["spec"]["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let container = container(deployment);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["command"], Value::Null, "the entrypoint is the program");
    for mount in list(container, "/volumeMounts") {
        let path = text(mount, "/mountPath");
        assert!(
            !path.starts_with("/etc/pki") && !path.starts_with("/etc/ssl"),
            "{path} would hide the roots"
        );
    }
}

#[test]
fn each_file_in_the_operators_arguments_is_mounted() {
    let set = install_set();
    let container = container(in_file(&set, VARIANT_A));
    let mounts: Vec<&str> = list(container, "/volumeMounts")
        .iter()
        .map(|m| text(m, "/mountPath").trim_end_matches('/'))
        .collect();
    for argument in strings(container, "/args") {
        let (_, path) = argument.split_once('=').expect("--flag=path");
        let parent = path.rsplit_once('/').unwrap().0;
        assert!(mounts.contains(&parent), "{argument}: {mounts:?}");
    }
}

#[test]
fn monitors_find_the_port_that_the_service_names() {
    let set = install_set();
    let service = find(&set, "Service", HOME, "image-registry-operator");
    let monitor = &find(&set, "ServiceMonitor", HOME, "image-registry-operator").object["spec"];
    assert_eq!(monitor["selector"]["matchLabels"], service.object["metadata"]["labels"]);
    assert_eq!(
        monitor["endpoints"][0]["port"],
        service.object["spec"]["ports"][0]["name"]
    );
    let pod_labels = &in_file(&set, VARIANT_A)["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service.object["spec"]["selector"], pod_labels);

    let registry = &find(&set, "ServiceMonitor", HOME, "image-registry").object["spec"];
    assert_eq!(
        registry["selector"]["matchLabels"],
        json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE})
    );
    assert_eq!(registry["endpoints"][0]["port"], names::REGISTRY_PORT_NAME);
}
