//! The ClusterRole of the pruner, which openshift-apiserver writes, too.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::snapshot::Snapshot;
use crate::names::PRUNER_CLUSTER_ROLE as CLUSTER_ROLE;
use crate::plan::{Desired, rbac};

/// The API groups in which OpenShift 3 and old releases of Kubernetes served what the rules name. No API server serves it there today.
const LEGACY_GROUPS: [&str; 2] = ["", "extensions"];

/// The ClusterRole. openshift-apiserver has a role of this name among its own, and at each of its starts appends what it misses: the
/// operator's rules once more, for the legacy API groups. They grant nothing, so a live role with them counts as equal; otherwise
/// each restart of an API server would lead to a write.
pub(super) fn cluster_role(snapshot: &Snapshot) -> Desired {
    let mut wanted = rules();
    let live = snapshot.objects.cluster(Kind::ClusterRole, CLUSTER_ROLE);
    // A write does not contain them: the operator itself lacks these rights, and Kubernetes lets nobody grant what they lack.
    let live = live.filter(|live| live.get("aggregationRule").is_none_or(Value::is_null));
    if let Some(live) = live.and_then(|live| live.get("rules")?.as_array())
        && repeats(live, &wanted)
    {
        wanted.clone_from(live);
    }
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": CLUSTER_ROLE},
        "rules": wanted,
    });
    Desired::new(Kind::ClusterRole, rbac::ROLE_DRIFT, body)
}

/// Whether `live` is `wanted`, followed only by rules that repeat parts of `wanted` for the legacy API groups.
fn repeats(live: &[Value], wanted: &[Value]) -> bool {
    let Some(added) = live.strip_prefix(wanted) else {
        return false;
    };
    let granted: BTreeSet<_> = wanted.iter().flat_map(grants).collect();
    added.iter().all(|rule| {
        let restricted = ["resourceNames", "nonResourceURLs"];
        texts(rule, "apiGroups").all(|group| LEGACY_GROUPS.contains(&group))
            && restricted.iter().all(|member| texts(rule, member).next().is_none())
            && grants(rule).all(|grant| granted.contains(&grant))
    })
}

/// The resources and verbs of a rule, in pairs.
fn grants(rule: &Value) -> impl Iterator<Item = (&str, &str)> {
    texts(rule, "resources").flat_map(|resource| texts(rule, "verbs").map(move |verb| (resource, verb)))
}

fn texts<'a>(rule: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    let all = rule.get(member).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str)
}

fn rules() -> Vec<Value> {
    let read = json!(["get", "list"]);
    vec![
        json!({"apiGroups": [""], "resources": ["pods", "replicationcontrollers"], "verbs": read}),
        json!({"apiGroups": [""], "resources": ["limitranges"], "verbs": ["list"]}),
        json!({"apiGroups": ["build.openshift.io"], "resources": ["buildconfigs", "builds"], "verbs": read}),
        json!({"apiGroups": ["apps.openshift.io"], "resources": ["deploymentconfigs"], "verbs": read}),
        json!({"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": read}),
        json!({
            "apiGroups": ["apps"],
            "resources": ["daemonsets", "deployments", "replicasets", "statefulsets"],
            "verbs": read,
        }),
        json!({"apiGroups": ["image.openshift.io"], "resources": ["images"], "verbs": ["delete"]}),
        json!({
            "apiGroups": ["image.openshift.io"],
            "resources": ["images", "imagestreams"],
            "verbs": ["get", "list", "watch"],
        }),
        json!({"apiGroups": ["image.openshift.io"], "resources": ["imagestreams/status"], "verbs": ["update"]}),
    ]
}
