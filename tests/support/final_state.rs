//! The objects at the end of a test, without the parts that differ between runs, so that two runs can be compared.

use kube::api::ListParams;
use std::collections::BTreeMap;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::Value;

use super::{TestCluster, ca_map};

/// Fields that the API server sets, and times.
const NOISE: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "lastTransitionTime",
    "managedFields",
    "clusterIP",
    "clusterIPs",
];

/// Every object that the operator creates, by kind and name, and the number of ReplicaSets and pods.
pub type FinalState = BTreeMap<String, Value>;

impl TestCluster {
    /// The state now.
    pub async fn final_state(&self) -> FinalState {
        let mut all = FinalState::new();
        for kind in [
            Kind::Config,
            Kind::ImagePruner,
            Kind::Image,
            Kind::ClusterOperator,
            Kind::ClusterRole,
            Kind::ClusterRoleBinding,
            Kind::Deployment,
            Kind::DaemonSet,
            Kind::CronJob,
            Kind::Service,
            Kind::ServiceAccount,
            Kind::Secret,
            Kind::ConfigMap,
            Kind::PodDisruptionBudget,
            Kind::NetworkPolicy,
            Kind::Route,
            Kind::PersistentVolumeClaim,
        ] {
            let namespace = if kind.namespaced() { names::NAMESPACE } else { "" };
            for object in self.list(kind, namespace).await {
                let name = object["metadata"]["name"].as_str().unwrap();
                if kind.namespaced() || ours(name) {
                    all.insert(format!("{kind:?} {name}"), plain(kind, object));
                }
            }
        }
        let reference = ca_map();
        let map = self.get(&reference).await.map(|map| plain(Kind::ConfigMap, map));
        all.insert(reference.to_string(), map.unwrap_or_default());
        let sets = self
            .replica_sets()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len();
        all.insert("ReplicaSets".to_owned(), sets.into());
        all.insert(
            "Pods".to_owned(),
            self.list(Kind::Pod, names::NAMESPACE).await.len().into(),
        );
        all
    }
}

/// The objects that differ between two states, as text; `None` if the states are equal.
pub fn difference(one: &FinalState, other: &FinalState) -> Option<String> {
    let names = one
        .keys()
        .chain(other.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let differs = names.into_iter().filter(|name| one.get(*name) != other.get(*name));
    let show = |value: Option<&Value>| value.map_or("absent".to_owned(), |v| serde_json::to_string_pretty(v).unwrap());
    let lines: Vec<_> = differs
        .map(|name| {
            format!(
                "{name} is\n{}\ninstead of\n{}",
                show(one.get(name)),
                show(other.get(name))
            )
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn ours(name: &str) -> bool {
    [
        names::CLUSTER,
        names::CLUSTER_OPERATOR,
        names::REGISTRY_CLUSTER_ROLE,
        names::REGISTRY_CLUSTER_ROLE_BINDING,
        names::PRUNER_CLUSTER_ROLE,
        names::PRUNER_CLUSTER_ROLE_BINDING,
    ]
    .contains(&name)
}

fn plain(kind: Kind, mut object: Value) -> Value {
    let data = object.get_mut("data").and_then(Value::as_object_mut);
    if let Some(data) = data.filter(|_| kind == Kind::Secret) {
        data.values_mut().for_each(|value| *value = Value::from("<secret>"));
    }
    if kind == Kind::CronJob {
        // The operator updates the CronJob when the registry's host name appears, which may happen later.
        object["metadata"]["generation"].take();
    }
    strip(&mut object);
    object
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|member, _| !NOISE.contains(&member.as_str()));
            members.values_mut().for_each(strip);
            // Their order depends on which controller came first and has no meaning.
            for list in ["conditions", "generations"] {
                if let Some(list) = members.get_mut(list).and_then(Value::as_array_mut) {
                    list.sort_by_key(ToString::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::String(text) if is_noise(text) => "<generated>".clone_into(text),
        _ => {}
    }
}

/// Secrets, digests, UIDs and times; and a message of the deployment controller that contains a digest.
fn is_noise(text: &str) -> bool {
    let digest = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let uuid = text.len() == 36 && text.split('-').all(hex) && text.split('-').count() == 5;
    let message = text.starts_with("ReplicaSet \"");
    uuid || message || (digest.len() >= 32 && hex(digest)) || text.parse::<jiff::Timestamp>().is_ok()
}
