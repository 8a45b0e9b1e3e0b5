//! What `oc adm inspect clusteroperator/image-registry` collects, and what docs/troubleshooting.md tells to look at.

use std::collections::BTreeSet;

use image_registry_operator::api::Kind;
use serde_json::Value;

use crate::read;
use crate::support::{TestCluster, cluster_operator};

/// What `oc adm inspect` collects of a namespace that `relatedObjects` names, beside the logs of its pods: these resources, and
/// those of category `all`, to which Kubernetes adds its workloads, Services and autoscalers, and OpenShift its Routes.
const OF_A_NAMESPACE: [&str; 19] = [
    "configmaps",
    "cronjobs",
    "daemonsets",
    "deployments",
    "endpoints",
    "endpointslices",
    "events",
    "jobs",
    "logs",
    "networkpolicies",
    "persistentvolumeclaims",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "replicationcontrollers",
    "routes",
    "secrets",
    "servicemonitors",
    "services",
];
/// The groups of which it collects every object, because it starts at a ClusterOperator.
const WHOLE_GROUPS: [&str; 2] = ["config.openshift.io", "operator.openshift.io"];

/// Something that a command reads: namespace (empty: cluster-scoped), resource, and name (empty: all).
type Looked = (String, String, String);

/// The plural that the commands of the page may abbreviate.
fn plural(word: &str) -> String {
    let resource = word.split('.').next().unwrap_or_default();
    match resource {
        "pvc" => "persistentvolumeclaims".to_owned(),
        "deploy" => "deployments".to_owned(),
        _ if resource.ends_with('s') => resource.to_owned(),
        _ => format!("{resource}s"),
    }
}

/// Every command `oc ...` of a page: in an indented line, or between backticks.
fn commands(page: &str) -> Vec<&str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    let quoted = page.split('`').skip(1).step_by(2);
    lines.chain(quoted).filter(|text| text.starts_with("oc ")).collect()
}

/// What a command reads.
fn looked_at(command: &str) -> Vec<Looked> {
    let command = command.split(" #").next().unwrap();
    let mut words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let mut namespace = String::new();
    if let Some(at) = words.iter().position(|word| *word == "-n") {
        words.remove(at + 1).clone_into(&mut namespace);
        words.remove(at);
    }
    let verb = words.remove(0);
    let positional: Vec<&str> = words
        .iter()
        .copied()
        .take_while(|word| !word.starts_with('-'))
        .collect();
    let one = |resource: &str, name: &str| (namespace.clone(), plural(resource), name.to_owned());
    match verb {
        "logs" => vec![(namespace.clone(), "logs".to_owned(), String::new())],
        "get" | "describe" | "patch" | "delete" => match positional[..] {
            [] => Vec::new(), // named in a sentence, without an object
            [typed] if typed.contains('/') => {
                let (resource, name) = typed.split_once('/').unwrap();
                vec![one(resource, name)]
            }
            [resources] => resources.split(',').map(|resource| one(resource, "")).collect(),
            [resource, ref names @ ..] => names.iter().map(|name| one(resource, name)).collect(),
        },
        _ => panic!("{command}: what does it look at?"),
    }
}

/// Whether what is collected contains what is looked at.
fn contains(related: &[Value], (namespace, resource, name): &Looked) -> bool {
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let named = |entry: &Value| {
        text(entry, "resource") == *resource && text(entry, "namespace") == *namespace && text(entry, "name") == *name
    };
    let whole_namespace = |entry: &Value| {
        text(entry, "resource") == "namespaces" && text(entry, "group").is_empty() && text(entry, "name") == *namespace
    };
    let kind = Kind::ALL
        .iter()
        .find(|kind| kind.plural() == resource && !kind.namespaced());
    related.iter().any(named)
        || related.iter().any(whole_namespace) && OF_A_NAMESPACE.contains(&resource.as_str())
        || namespace.is_empty() && kind.is_some_and(|kind| WHOLE_GROUPS.contains(&kind.group()))
}

/// Follows `relatedObjects` of the live ClusterOperator.
// deploy 58
pub async fn collects_what_the_page_names(cluster: &TestCluster) {
    let page = read("docs/troubleshooting.md");
    let looked: BTreeSet<Looked> = commands(&page).into_iter().flat_map(looked_at).collect();
    assert!(looked.len() > 7, "{looked:?}");
    let operator = cluster.get(&cluster_operator()).await.unwrap();
    let related = operator["status"]["relatedObjects"].as_array().unwrap();
    let missing: Vec<_> = looked.iter().filter(|looked| !contains(related, looked)).collect();
    assert!(missing.is_empty(), "`oc adm inspect` does not collect {missing:?}");
}

#[test]
fn a_page_is_understood() {
    let page = "Text, `oc delete`:\n\n    oc -n a get pods,pvc    # why\n    oc get clusteroperator x\n\n| `oc -n a logs deploy/b --previous` | `oc -n a describe pvc` |\n";
    let looked: Vec<Looked> = commands(page).into_iter().flat_map(looked_at).collect();
    let text = |(a, b, c): &Looked| format!("{a}|{b}|{c}");
    assert_eq!(
        looked.iter().map(text).collect::<Vec<_>>(),
        [
            "a|pods|",
            "a|persistentvolumeclaims|",
            "|clusteroperators|x",
            "a|logs|",
            "a|persistentvolumeclaims|"
        ]
    );
    let related = [serde_json::json!({"group": "", "resource": "namespaces", "name": "a"})];
    assert!(contains(&related, &looked[0]) && contains(&related, &looked[2]) && contains(&related, &looked[3]));
    for (namespace, resource, name) in [("a", "leases", "l"), ("b", "pods", ""), ("", "configs", "cluster")] {
        let looked = (namespace.to_owned(), resource.to_owned(), name.to_owned());
        assert!(!contains(&related, &looked), "{looked:?}");
    }
}
