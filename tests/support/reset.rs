//! The cluster as a test finds it: no Config, no object of the operator, and the platform's objects with their defaults.

use std::time::Duration;

use devcluster::standin::Control;
use futures::future;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::json;

use super::{
    TestCluster, api_server, ca_map, certificates_map, cluster_operator, config_ref, cron_job, daemon_set, image,
    image_pruner, operand, operands, proxy, pull_secret,
};

/// The operator's own Secret; it belongs to `deploy/`.
const SERVING_SECRET: &str = "image-registry-operator-tls";

impl TestCluster {
    /// Removes what the test before this one left.
    pub async fn reset(&self) {
        if self.devcluster.real_nodes().is_empty() {
            self.devcluster.resume_simulated_pods().unwrap();
        }
        let config = config_ref();
        if self.get(&config).await.is_some() {
            let _ = self.try_patch(&config, json!({"metadata": {"finalizers": null}})).await;
            self.delete(&config).await;
        }
        let leftovers = self.leftovers().await;
        future::join_all(leftovers.iter().map(|reference| self.delete(reference))).await;
        self.delete_lease().await;
        let awaited = leftovers.iter().filter(|reference| reference.kind != Kind::Secret);
        future::join_all(awaited.chain([&config]).map(|reference| self.until_absent(reference))).await;
        future::join3(self.until_no_pods(), self.platform("None"), self.restore_inputs()).await;
    }

    /// Objects of the operator and of earlier tests.
    async fn leftovers(&self) -> Vec<ObjectRef> {
        let mut leftovers = operands();
        leftovers.extend([
            image_pruner(),
            cluster_operator(),
            ca_map(),
            certificates_map(),
            operand(Kind::ConfigMap, names::SERVICE_CA_MAP),
            ObjectRef::new(Kind::ClusterRole, "", names::PRUNER_CLUSTER_ROLE),
            ObjectRef::new(Kind::ClusterRoleBinding, "", names::PRUNER_CLUSTER_ROLE_BINDING),
            daemon_set(),
            cron_job(),
            operand(Kind::ServiceAccount, names::PRUNER_SERVICE_ACCOUNT),
            operand(Kind::NetworkPolicy, names::PRUNER_NETWORK_POLICY),
        ]);
        let kinds = [
            Kind::Deployment,
            Kind::Route,
            Kind::Ingress,
            Kind::PersistentVolumeClaim,
            Kind::Job,
            Kind::Secret,
        ];
        let lists = kinds.map(|kind| async move { (kind, self.list(kind, names::NAMESPACE).await) });
        for (kind, objects) in future::join_all(lists).await {
            let names = objects.iter().map(|o| o["metadata"]["name"].as_str().unwrap());
            let names = names.filter(|name| kind != Kind::Secret || *name != SERVING_SECRET);
            leftovers.extend(names.map(|name| operand(kind, name)));
        }
        leftovers
    }

    async fn until_no_pods(&self) {
        while !self.list(Kind::Pod, names::NAMESPACE).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Restores inputs of the platform that tests change.
    async fn restore_inputs(&self) {
        Control::default().set(&self.client).await.unwrap();
        if self.get(&pull_secret()).await.is_none() {
            let data = json!({".dockerconfigjson": "eyJhdXRocyI6e319"});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": data,
                                "metadata": {"name": names::PULL_SECRET, "namespace": names::CONFIG_NAMESPACE}});
            self.create(secret).await;
        }
        if self.get(&image()).await.is_some() {
            self.patch_status(&image(), json!({"status": null})).await;
        }
        for (reference, spec) in [
            (api_server(), json!({"tlsSecurityProfile": null})),
            (image(), json!({"additionalTrustedCA": null})),
            (proxy(), json!({"httpProxy": null, "httpsProxy": null, "noProxy": null})),
        ] {
            if self.get(&reference).await.is_some() {
                self.patch(&reference, json!({"spec": spec})).await;
            }
        }
    }
}
