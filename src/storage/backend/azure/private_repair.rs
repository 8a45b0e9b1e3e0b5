//! Objects of a private storage account whose creation failed. Azure repairs such an object by another PUT.

use serde_json::Value;

use super::arm::Operation;
use super::network::Resource;
use super::step::Store;
use crate::storage::model::call::Called;
use crate::storage::traits::Cluster;

/// How far the creation of an object is.
pub(super) enum Progress {
    Complete,
    Running,
    Failed,
}

impl<C: Cluster> Store<'_, C> {
    /// Looks at the operation on an object, and remembers how it failed.
    pub(super) async fn look(&self, resource: &Resource<'_>) -> Called<Operation> {
        let operation = resource.operation().await;
        if let Err(error) = &operation {
            self.backend.clients.fail(&resource.path, error);
        }
        operation
    }

    /// How far the creation of an object is. The attempts for one that is complete are forgotten.
    pub(super) fn progress(&self, resource: &Resource<'_>, found: &Value) -> Progress {
        let progress = provisioning(found);
        if matches!(progress, Progress::Complete) {
            self.backend.clients.succeed(&resource.path);
        }
        progress
    }

    /// Whether an object whose creation failed may be created again. `ours`: the operator created it.
    ///
    /// # Errors
    /// It is somebody else's, or it is too early for another attempt.
    pub(super) fn check_repair(&self, resource: &Resource<'_>, ours: bool) -> Called<()> {
        if !ours {
            return Err(resource.rejected(
                "its creation failed, and the operator did not create it: see the activity log of the resource group, and \
                 correct or delete it",
            ));
        }
        let checked = self
            .backend
            .clients
            .check_pause(&resource.path, self.request.snapshot.now);
        let unknown = || {
            resource.rejected(
                "its creation failed, and is tried again every 10 minutes: see the activity log of the resource group",
            )
        };
        checked.map_err(|error| error.unwrap_or_else(unknown))
    }
}

/// What `provisioningState` says of an object.
pub(super) fn provisioning(object: &Value) -> Progress {
    match object.pointer("/properties/provisioningState").and_then(Value::as_str) {
        None | Some("Succeeded") => Progress::Complete,
        Some("Failed" | "Canceled") => Progress::Failed,
        Some(_) => Progress::Running,
    }
}
