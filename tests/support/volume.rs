//! PersistentVolumes for the claims of simulated pods.

use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::conditions;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::{TIMEOUT, TestCluster};

impl TestCluster {
    /// A volume that fits the claim that the operator creates by default.
    pub async fn shared_volume(&self) {
        let spec = json!({"accessModes": ["ReadWriteMany"], "storageClassName": ""});
        Box::pin(self.volume("volume", spec)).await;
    }

    /// Creates an unbound volume of 100 Gi, with `spec` merged into it; replaces a volume of the same name.
    pub async fn volume(&self, name: &str, spec: Value) {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        if let Some(old) = api.get_opt(name).await.unwrap() {
            api.delete(name, &DeleteParams::default()).await.unwrap();
            let uid = old.metadata.uid.unwrap();
            let gone = await_condition(api.clone(), name, conditions::is_deleted(&uid));
            tokio::time::timeout(TIMEOUT, gone)
                .await
                .expect("the old volume is deleted")
                .unwrap();
        }
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": "100Gi"}, "persistentVolumeReclaimPolicy": "Retain",
                     "hostPath": {"path": "/nowhere", "type": "Directory"}},
        });
        for (member, value) in spec.as_object().unwrap() {
            volume["spec"][member] = value.clone();
        }
        api.create(&PostParams::default(), &serde_json::from_value(volume).unwrap())
            .await
            .unwrap();
    }
}
