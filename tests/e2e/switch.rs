//! Switches of the registry's storage.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::Scenario;
use crate::support::{TestCluster, deployment, is_up, operand};

/// Replaces a Secret or ConfigMap by one with this `data` or `stringData`.
pub async fn set(cluster: &TestCluster, reference: &ObjectRef, member: &str, data: Value) {
    cluster.delete(reference).await;
    let mut object = json!({
        "apiVersion": "v1", "kind": reference.kind.kind(),
        "metadata": {"name": reference.name, "namespace": reference.namespace},
    });
    object[member] = data;
    cluster.create(object).await;
}

/// The Secret in which the administrator gives credentials.
pub fn user_secret() -> ObjectRef {
    operand(Kind::Secret, names::USER_SECRET)
}

/// A ConfigMap.
pub fn map(namespace: &str, name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, namespace, name)
}

impl Scenario {
    /// Changes the storage, and waits until all pods use it and no node routes to the old ones.
    pub async fn change(&self, change: impl AsyncFnOnce()) {
        let deployment = deployment();
        let generation = |d: &Value| d["metadata"]["generation"].as_i64().unwrap_or_default();
        let before = generation(&self.cluster.get(&deployment).await.unwrap());
        let old: Vec<String> = self
            .registry_pods()
            .await
            .into_iter()
            .filter_map(|pod| pod.status?.pod_ip)
            .collect();
        change().await;
        let rolled_out = |d: &Value| {
            let status = &d["status"];
            let count = |key: &str| status[key].as_i64().unwrap_or_default();
            let wanted = d["spec"]["replicas"].as_i64().unwrap_or_default();
            generation(d) > before
                && count("observedGeneration") == generation(d)
                && [count("updatedReplicas"), count("availableReplicas"), count("replicas")] == [wanted; 3]
        };
        self.cluster
            .until(&deployment, "rolled out", |d| d.is_some_and(rolled_out))
            .await;
        self.cluster
            .until_config("up with the change", |c| {
                is_up(c) && c["status"]["observedGeneration"] == c["metadata"]["generation"]
            })
            .await;
        for address in &old {
            self.until_nobody_reaches(address).await;
        }
    }
}
