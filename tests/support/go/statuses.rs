//! Statuses as the Go operator writes them, with messages unlike this operator's.

use image_registry_operator::api::{Kind, ObjectRef};
use serde_json::{Value, json};

use super::Go;
use crate::support::{cluster_operator, config_ref, operand, service};

impl Go<'_> {
    /// Writes the Go operator's statuses, with its messages.
    pub async fn report(&self) {
        let cluster = self.cluster;
        let config = cluster.config().await;
        let state = config["spec"]["managementState"].as_str().unwrap().to_owned();
        let mut conditions: Vec<Value> = [
            (
                "NodeCADaemonAvailable",
                "True",
                "AsExpected",
                "The daemon set node-ca has available replicas",
            ),
            (
                "NodeCADaemonProgressing",
                "False",
                "AsExpected",
                "The daemon set node-ca is deployed",
            ),
            ("NodeCADaemonControllerDegraded", "False", "AsExpected", ""),
            ("ImageRegistryCertificatesControllerDegraded", "False", "AsExpected", ""),
            ("ImageConfigControllerDegraded", "False", "AsExpected", ""),
            ("AzureStackCloudControllerDegraded", "False", "AsExpected", ""),
            ("ConfigObservationDegraded", "False", "", ""),
        ]
        .into_iter()
        .map(|(type_, status, reason, message)| condition(type_, status, reason, message))
        .collect();
        let main: &[(&str, &str, &str)] = match state.as_str() {
            "Removed" => &[
                ("Available", "True", "Removed"),
                ("Progressing", "False", "Removed"),
                ("Degraded", "False", "Removed"),
                ("Removed", "True", "Removed"),
            ],
            "Unmanaged" => &[
                ("Available", "True", "Unmanaged"),
                ("Progressing", "False", "Unmanaged"),
                ("Degraded", "False", "Unmanaged"),
                ("Removed", "False", ""),
            ],
            _ => &[
                ("Available", "True", "Ready"),
                ("Progressing", "False", "Ready"),
                ("Degraded", "False", ""),
                ("Removed", "False", ""),
            ],
        };
        conditions.extend(
            main.iter()
                .map(|(t, s, r)| condition(t, s, r, "The registry is as it is")),
        );
        let (storage, managed) = match &self.store {
            _ if state == "Removed" => (json!({}), true),
            Some(store) => (store.status_storage.clone(), store.storage_managed),
            None => (config["spec"]["storage"].clone(), true),
        };
        if state == "Managed" {
            let of_store = self.store.as_ref().map(|store| store.conditions.clone());
            let by_default = || {
                vec![condition(
                    "StorageExists",
                    "True",
                    "Creation Successful",
                    "The registry is as it is",
                )]
            };
            conditions.extend(of_store.unwrap_or_else(by_default));
        }
        let replicas = if self.managed {
            config["spec"]["replicas"].clone()
        } else {
            json!(0)
        };
        let status = json!({"observedGeneration": config["metadata"]["generation"], "readyReplicas": replicas,
            "storageManaged": managed, "storage": storage, "conditions": conditions,
            "generations": config.pointer("/status/generations").cloned().unwrap_or(json!([]))});
        self.put_status(&config_ref(), status).await;
        let pruner = ObjectRef::new(Kind::ImagePruner, "", "cluster");
        let generation = cluster.get(&pruner).await.unwrap()["metadata"]["generation"].clone();
        let conditions = [
            condition("Available", "True", "AsExpected", "Pruner CronJob has been created"),
            condition("Failed", "False", "Complete", "Pruner completed successfully"),
            condition("Scheduled", "True", "Scheduled", "The pruner job has been scheduled."),
            condition("Degraded", "False", "AsExpected", ""),
        ];
        self.put_status(
            &pruner,
            json!({"observedGeneration": generation, "conditions": conditions}),
        )
        .await;
        let operator = cluster_operator();
        let pruner = cluster.get(&pruner).await.unwrap();
        let config = cluster.config().await;
        let all = inputs(&config, "")
            .into_iter()
            .chain(inputs(&pruner, "ImagePruner"))
            .collect::<Vec<_>>();
        let conditions = [
            aggregate("Available", "True", &all),
            aggregate("Progressing", "False", &all),
            aggregate("Degraded", "False", &all),
            condition("ExampleFamiliar", "True", "Foreign", "not ours"),
        ];
        let related = [
            ("imageregistry.operator.openshift.io", "configs", "cluster"),
            ("imageregistry.operator.openshift.io", "imagepruners", "cluster"),
            ("rbac.authorization.k8s.io", "clusterroles", "system:registry"),
            (
                "rbac.authorization.k8s.io",
                "clusterrolebindings",
                "registry-registry-role",
            ),
            (
                "rbac.authorization.k8s.io",
                "clusterrolebindings",
                "openshift-image-registry-pruner",
            ),
            ("", "namespaces", "openshift-image-registry"),
        ]
        .map(|(group, resource, name)| json!({"group": group, "resource": resource, "name": name}));
        self.put_status(
            &operator,
            json!({"conditions": conditions, "relatedObjects": related,
                                          "versions": [{"name": "operator", "version": "4.22.0-test"}]}),
        )
        .await;
        let image = ObjectRef::new(Kind::Image, "", "cluster");
        if cluster.get(&image).await.is_some() {
            let hosts = if self.route.is_some() {
                let default = cluster.get(&operand(Kind::Route, "default-route")).await.unwrap();
                json!([default["spec"]["host"], "registry.example.com"])
            } else {
                json!([])
            };
            let service = cluster.get(&service()).await;
            let internal = service.map_or("", |_| "image-registry.openshift-image-registry.svc:5000");
            self.patch_status(
                &image,
                json!({"internalRegistryHostname": internal, "externalRegistryHostnames": hosts}),
            )
            .await;
        }
    }
}

pub fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    let mut condition = json!({"type": type_, "status": status, "lastTransitionTime": "2026-03-04T05:06:07Z"});
    for (member, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[member] = json!(text);
        }
    }
    condition
}

/// Input conditions of the ClusterOperator: type, reason and message.
fn inputs(object: &Value, prefix: &str) -> Vec<[String; 3]> {
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |c: &Value, member: &str| c[member].as_str().unwrap_or_default().to_owned();
    all.iter()
        .map(|c| {
            [
                format!("{prefix}{}", text(c, "type")),
                text(c, "reason"),
                text(c, "message"),
            ]
        })
        .collect()
}

/// The Go operator's ClusterOperator when everything is normal.
fn aggregate(output: &str, status: &str, inputs: &[[String; 3]]) -> Value {
    let fitting = || {
        inputs
            .iter()
            .filter_map(|[t, r, m]| Some((t.strip_suffix(output)?, t, r, m)))
    };
    let mut reasons: Vec<_> = fitting()
        .filter(|(_, _, r, _)| !r.is_empty() && *r != "AsExpected")
        .map(|(p, _, r, _)| format!("{p}{r}"))
        .collect();
    reasons.sort();
    let reason = if reasons.is_empty() {
        "AsExpected".to_owned()
    } else {
        reasons.join("::")
    };
    let lines: Vec<_> = fitting()
        .filter(|(.., m)| !m.is_empty())
        .map(|(_, t, _, m)| format!("{t}: {m}"))
        .collect();
    condition(output, status, &reason, &lines.join("\n"))
}
