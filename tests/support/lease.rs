//! The Lease of the leader election.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::{TIMEOUT, TestCluster};
use image_registry_operator::names;

impl TestCluster {
    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), names::NAMESPACE)
    }

    pub async fn lease(&self) -> LeaseSpec {
        self.leases().get(names::LEASE).await.unwrap().spec.unwrap()
    }

    /// The holder of the Lease; empty if there is none.
    pub async fn holder(&self) -> String {
        self.lease().await.holder_identity.unwrap_or_default()
    }

    /// Waits until a process other than `not` holds the Lease; returns the holder.
    pub async fn until_held(&self, not: &str) -> String {
        let held = |lease: Option<&Lease>| {
            let holder = lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref());
            holder.is_some_and(|holder| !holder.is_empty() && holder != not)
        };
        let wait = await_condition(self.leases(), names::LEASE, held);
        let lease = tokio::time::timeout(TIMEOUT, wait)
            .await
            .expect("a process takes the Lease")
            .unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap()
    }

    /// Sets the holder; an empty name releases the Lease.
    pub async fn set_holder(&self, holder: &str) {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
        self.leases()
            .patch(names::LEASE, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Releases the Lease of a killed process, if there is a Lease.
    pub async fn clear_lease(&self) {
        if self.leases().get_opt(names::LEASE).await.unwrap().is_some() {
            self.set_holder("").await;
        }
    }

    pub async fn delete_lease(&self) {
        let _ = self.leases().delete(names::LEASE, &DeleteParams::default()).await;
    }
}
