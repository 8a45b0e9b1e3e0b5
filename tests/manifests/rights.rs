//! RBAC: what the operator's code needs, and nothing else.

use super::*;

/// Whether a rule grants the verb on the resource; `object` is the object's name, `None` asks for a right on all of them.
fn grants(rule: &Value, group: &str, resource: &str, verb: &str, object: Option<&str>) -> bool {
    let names = strings(rule, "/resourceNames");
    strings(rule, "/apiGroups").contains(&group)
        && strings(rule, "/resources").contains(&resource)
        && strings(rule, "/verbs").contains(&verb)
        && (names.is_empty() || object.is_some_and(|object| names.contains(&object)))
}

/// The rules that a ServiceAccount holds: cluster-wide for an empty `namespace`, else through Roles of that namespace.
fn rules_of<'a>(set: &'a [Manifest], account: (&str, &str), namespace: &str) -> Vec<&'a Value> {
    let (binding_kind, role_kind) = if namespace.is_empty() {
        ("ClusterRoleBinding", "ClusterRole")
    } else {
        ("RoleBinding", "Role")
    };
    let subject = json!({"kind": "ServiceAccount", "namespace": account.0, "name": account.1});
    set.iter()
        .filter(|m| m.kind() == binding_kind && m.namespace() == namespace)
        .filter(|m| list(&m.object, "/subjects").contains(&subject))
        .flat_map(|m| {
            assert_eq!(text(&m.object, "/roleRef/kind"), role_kind, "{}", m.name());
            assert_eq!(
                text(&m.object, "/roleRef/apiGroup"),
                "rbac.authorization.k8s.io",
                "{}",
                m.name()
            );
            find(set, role_kind, namespace, text(&m.object, "/roleRef/name")).rules()
        })
        .collect()
}

fn operators_rules<'a>(set: &'a [Manifest], namespace: &str) -> Vec<&'a Value> {
    let rules = rules_of(set, (HOME, OPERATOR), namespace);
    assert!(
        !rules.is_empty(),
        "nothing is bound to the operator in namespace {namespace:?}"
    );
    rules
}

// deploy 10
#[test]
fn no_rule_has_a_wildcard_or_a_way_around_the_escalation_check() {
    for m in install_set()
        .iter()
        .filter(|m| ["ClusterRole", "Role"].contains(&m.kind()))
    {
        for rule in m.rules() {
            each_string(rule, "", &mut |_, word| {
                assert!(!word.contains('*'), "{} {}: {rule}", m.kind(), m.name());
                assert!(
                    !["escalate", "bind", "impersonate"].contains(&word),
                    "{} {}: {rule}",
                    m.kind(),
                    m.name()
                );
            });
        }
    }
}

// deploy 12
#[test]
fn the_operator_may_patch_its_cluster_operator() {
    let set = install_set();
    let held = operators_rules(&set, "");
    for resource in ["clusteroperators", "clusteroperators/status"] {
        assert!(
            held.iter().any(|rule| grants(
                rule,
                "config.openshift.io",
                resource,
                "patch",
                Some(names::CLUSTER_OPERATOR)
            )),
            "{resource}"
        );
    }
}

// deploy 13
#[test]
fn node_ca_may_use_the_privileged_constraint_and_nothing_else() {
    let set = install_set();
    let account = (HOME, names::NODE_CA);
    assert!(rules_of(&set, account, "").is_empty());
    let namespaces: BTreeSet<&str> = set
        .iter()
        .map(Manifest::namespace)
        .filter(|name| !name.is_empty())
        .collect();
    let rules: Vec<_> = namespaces
        .iter()
        .flat_map(|namespace| rules_of(&set, account, namespace))
        .collect();
    let only = json!({
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": ["privileged"],
        "verbs": ["use"],
    });
    assert_eq!(rules, [&only]);
    let service_account = find(&set, "ServiceAccount", HOME, names::NODE_CA);
    assert_eq!(service_account.object["automountServiceAccountToken"], false);
}

// deploy 14
#[test]
fn prometheus_may_get_the_registrys_metrics() {
    let set = install_set();
    let prometheus = ("openshift-monitoring", "prometheus-k8s");
    let cluster_wide = rules_of(&set, prometheus, "");
    assert!(
        cluster_wide
            .iter()
            .any(|rule| grants(rule, "image.openshift.io", "registry/metrics", "get", None))
    );
    let at_home = rules_of(&set, prometheus, HOME);
    for resource in ["services", "endpoints", "pods"] {
        for verb in ["get", "list", "watch"] {
            assert!(
                at_home.iter().any(|rule| grants(rule, "", resource, verb, None)),
                "{verb} {resource}"
            );
        }
    }
}

#[test]
fn outside_its_namespace_the_operator_reads_one_secret_and_writes_one_config_map() {
    let set = install_set();
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    let sensitive = [
        "secrets",
        "configmaps",
        "serviceaccounts",
        "serviceaccounts/token",
        "persistentvolumeclaims",
    ];
    for rule in operators_rules(&set, "") {
        for resource in sensitive {
            assert!(!strings(rule, "/resources").contains(&resource), "cluster-wide: {rule}");
        }
    }
    for rule in operators_rules(&set, names::CONFIG_NAMESPACE) {
        assert!(
            !strings(rule, "/verbs").iter().any(|verb| writes.contains(verb)),
            "{rule}"
        );
        if strings(rule, "/resources").contains(&"secrets") {
            assert_eq!(strings(rule, "/resourceNames"), [names::PULL_SECRET]);
        }
    }
    for rule in operators_rules(&set, names::CONFIG_MANAGED_NAMESPACE) {
        assert_eq!(strings(rule, "/resources"), ["configmaps"]);
        if strings(rule, "/verbs")
            .iter()
            .any(|verb| ["update", "patch", "delete"].contains(verb))
        {
            assert_eq!(strings(rule, "/resourceNames"), [names::CA_MAP]);
        }
    }
}

#[test]
fn each_rbac_rule_states_its_reason() {
    for file in files("deploy") {
        let content = read("deploy", &file);
        let lines: Vec<&str> = content.lines().collect();
        for (number, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("- apiGroups:"))
        {
            assert!(
                lines[number - 1].starts_with("# "),
                "{file}:{}: no reason above {line}",
                number + 1
            );
        }
    }
}
