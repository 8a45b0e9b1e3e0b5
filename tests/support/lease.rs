//! The Lease that operators lead by, as an administrator sees it.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::{Lab, PATIENCE};
use image_registry_operator::names;

impl Lab {
    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), names::NAMESPACE)
    }

    pub async fn lease(&self) -> LeaseSpec {
        self.leases().get(names::LEASE).await.unwrap().spec.unwrap()
    }

    /// Who holds it; empty for nobody.
    pub async fn holder(&self) -> String {
        self.lease().await.holder_identity.unwrap_or_default()
    }

    /// Waits until somebody other than `not` holds it; the name.
    pub async fn until_held(&self, not: &str) -> String {
        let held = |lease: Option<&Lease>| {
            let holder = lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.as_deref());
            holder.is_some_and(|holder| !holder.is_empty() && holder != not)
        };
        let wait = await_condition(self.leases(), names::LEASE, held);
        let lease = tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("somebody takes the lease")
            .unwrap();
        lease.and_then(|lease| lease.spec?.holder_identity).unwrap()
    }

    /// Makes somebody else, or nobody, the holder.
    pub async fn set_holder(&self, holder: &str) {
        let patch = Patch::Merge(json!({"spec": {"holderIdentity": holder}}));
        self.leases()
            .patch(names::LEASE, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// Takes the name of a dead holder out, if there is a Lease.
    pub async fn clear_lease(&self) {
        if self.leases().get_opt(names::LEASE).await.unwrap().is_some() {
            self.set_holder("").await;
        }
    }

    pub async fn delete_lease(&self) {
        let _ = self.leases().delete(names::LEASE, &DeleteParams::default()).await;
    }
}
