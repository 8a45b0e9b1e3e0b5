//! What grants rights and opens the network, as golden data: `tests/golden_lists/<name>.yaml`. A right or a rule that is added
//! anywhere shows as a difference; `UPDATE_GOLDEN=1 cargo test --test plan_golden` accepts it after a review.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use image_registry_operator::api::{ImagePrunerSpec, Kind};
use image_registry_operator::names::NodeCa;
use image_registry_operator::plan::{self, Desired, Plan};
use serde_json::{Value, json};

use super::{Scenario, difference};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A fresh cluster; `state` is `spec.managementState` of its Config.
fn cluster(state: &str) -> Scenario {
    let text = fs::read_to_string(root().join("tests/golden/emptydir_default/snapshot.yaml")).unwrap();
    Scenario::read(&text.replace("managementState: Managed", &format!("managementState: {state}")))
}

fn assert_golden(name: &str, found: &Value) {
    let file = root().join("tests/golden_lists").join(format!("{name}.yaml"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, serde_saphyr::to_string(found).unwrap()).unwrap();
    }
    let golden: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap_or_default()).unwrap_or_default();
    assert!(
        golden == *found,
        "UPDATE_GOLDEN=1 rewrites {}, then review it:\n{}",
        file.display(),
        difference("", &golden, found).join("\n")
    );
}

fn pruner(spec: Value, state: &str) -> Plan {
    let spec: ImagePrunerSpec = serde_json::from_value(spec).unwrap();
    plan::pruner(&spec, &cluster(state).snapshot)
}

// deploy 40, deploy 42, workload 91
#[test]
fn the_plans_of_the_pruner_and_of_node_ca_equal_the_golden_ones() {
    let everything = json!({
        "schedule": "5 4 * * *", "suspend": true, "keepTagRevisions": 7, "keepYoungerThanDuration": "96h",
        "resources": {"requests": {"cpu": "150m"}, "limits": {"memory": "1Gi"}},
        "nodeSelector": {"node-role.kubernetes.io/infra": ""}, "affinity": {"nodeAffinity": {}},
        "tolerations": [{"key": "infra", "operator": "Exists"}],
        "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 2, "ignoreInvalidImageReferences": true, "logLevel": "Debug",
    });
    let plans = json!({
        "defaults": pruner(json!({}), "Managed").to_value(),
        "everything": pruner(everything, "Managed").to_value(),
    });
    assert_golden("pruner", &plans);
    let mut on_nodes = cluster("Managed").snapshot;
    assert_golden("node_ca", &plan::node_ca(&on_nodes).to_value());
    on_nodes.environment.node_ca = NodeCa::Containerd;
    assert_golden("node_ca_containerd", &plan::node_ca(&on_nodes).to_value());
}

// deploy 41: the pruner's part
#[test]
fn only_the_arguments_of_the_pruner_depend_on_the_state() {
    let without_arguments = |state| {
        let mut plan = pruner(json!({}), state).to_value();
        let job = plan["present"].as_array_mut().unwrap().last_mut().unwrap();
        job["object"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = Value::Null;
        plan
    };
    for state in ["Unmanaged", "Removed", "Force"] {
        assert_eq!(without_arguments(state), without_arguments("Managed"), "{state}");
    }
}

/// All objects of `deploy/` and of what plain Kubernetes gets on top, in the order of the files.
fn installed() -> Vec<Value> {
    let folders = ["deploy", "deploy/kubernetes"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let mut files: Vec<_> = folders
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let objects = files.iter().flat_map(|file| {
        let text = fs::read_to_string(file).unwrap();
        serde_saphyr::from_multiple::<Value>(&text).unwrap()
    });
    objects.filter(|object| !object.is_null()).collect()
}

fn described(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!(
        "{} {}/{}",
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

/// Members of the installed objects of these kinds, by object.
fn members(kinds: &[&str], names: &[&str]) -> BTreeMap<String, Value> {
    let objects = installed().into_iter();
    let objects = objects.filter(|object| kinds.contains(&object["kind"].as_str().unwrap_or_default()));
    let kept = objects.map(|object| {
        let members = names.iter().filter_map(|name| Some((*name, object.get(*name)?)));
        (described(&object), json!(members.collect::<BTreeMap<_, _>>()))
    });
    kept.collect()
}

// issue 10: least privilege
#[test]
fn the_rights_that_the_install_set_grants_equal_the_golden_ones() {
    let roles = members(&["ClusterRole", "Role"], &["rules", "aggregationRule"]);
    let bindings = members(&["ClusterRoleBinding", "RoleBinding"], &["roleRef", "subjects"]);
    assert!(roles.len() >= 4 && bindings.len() >= 4, "{roles:?}");
    assert_golden("rights", &json!({"roles": roles, "bindings": bindings}));
}

// deploy 38: the data; no CNI on this machine enforces it
#[test]
fn the_network_policies_equal_the_golden_ones() {
    let scenario = cluster("Managed");
    let planned = plan::registry(&scenario.inputs()).present;
    let planned = planned.into_iter().chain(pruner(json!({}), "Managed").present);
    let planned = planned.filter(|desired| desired.reference.kind == Kind::NetworkPolicy);
    let mut policies = members(&["NetworkPolicy"], &["spec"]);
    policies.extend(planned.map(|desired| (described(&desired.body), json!({"spec": desired.body["spec"]}))));
    assert_eq!(policies.len(), 4, "{policies:?}");
    assert_golden("network_policies", &json!(policies));
}

/// Whether a rule, which names no single object, gives a right.
fn gives(rule: &Value, group: &Value, resource: &Value, verb: &Value) -> bool {
    let lists = |name: &str, word: &Value| rule[name].as_array().is_some_and(|words| words.contains(word));
    rule.get("resourceNames").is_none()
        && lists("apiGroups", group)
        && lists("resources", resource)
        && lists("verbs", verb)
}

/// The ClusterRoles that the operator makes for others.
fn granted() -> Vec<Desired> {
    let planned = plan::registry(&cluster("Managed").inputs()).present;
    let planned = planned.into_iter().chain(pruner(json!({}), "Managed").present);
    planned
        .filter(|desired| desired.reference.kind == Kind::ClusterRole)
        .collect()
}

/// Each right of a role, as group, resource and verb.
fn rights(role: &Value) -> Vec<[Value; 3]> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut rights = Vec::new();
    for rule in list(&role["rules"]) {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]) {
                rights.extend(
                    list(&rule["verbs"])
                        .into_iter()
                        .map(|verb| [group.clone(), resource.clone(), verb]),
                );
            }
        }
    }
    rights
}

// deploy 9
#[test]
fn the_operators_cluster_role_holds_every_right_of_the_roles_that_it_plans() {
    let held = members(&["ClusterRole"], &["rules"])["ClusterRole /cluster-image-registry-operator"]["rules"].clone();
    let granted = granted();
    assert_eq!(granted.len(), 2, "{granted:?}");
    for role in &granted {
        let rights = rights(&role.body);
        assert!(rights.len() > 5);
        for [group, resource, verb] in rights {
            assert!(
                held.as_array()
                    .unwrap()
                    .iter()
                    .any(|rule| gives(rule, &group, &resource, &verb)),
                "the API server would refuse {}: {verb} on {group}/{resource}",
                role.reference
            );
        }
    }
}

// deploy 9, deploy 10
#[test]
fn no_role_that_the_operator_plans_reads_secrets_or_has_a_wildcard() {
    for role in granted() {
        for [group, resource, verb] in rights(&role.body) {
            let words = [&group, &resource, &verb].map(|word| word.as_str().unwrap());
            assert!(words.iter().all(|word| !word.contains('*')), "{words:?}");
            let core = ["limitranges", "resourcequotas", "pods", "replicationcontrollers"];
            assert!(
                !words[0].is_empty() || core.contains(&words[1]),
                "{}: {words:?}",
                role.reference
            );
            assert!(
                !["rbac.authorization.k8s.io", "authentication.k8s.io"].contains(&words[0]),
                "{words:?}"
            );
        }
    }
}
