//! Makes the Config where there is none: what the platform's users start with.

use serde_json::Value;

use super::Context;
use crate::api::{Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::defaults::{self, PlatformStorage};
use crate::config::snapshot::Snapshot;
use crate::config::tls::ServingInfo;
use crate::names;
use crate::storage;

/// Creates the default claim where the platform has one, then the Config. The error is for the ClusterOperator: there is
/// no Config yet to carry it.
pub async fn bootstrap(context: &Context, snapshot: &Snapshot) -> Result<(), String> {
    let Some(infrastructure) = snapshot.infrastructure() else {
        return Err(
            "Infrastructure cluster does not exist: without it the platform, and so the storage, is not known"
                .to_owned(),
        );
    };
    let platform = defaults::platform(&infrastructure);
    let storage = match defaults::storage(platform.as_deref()) {
        PlatformStorage::Nothing => None,
        PlatformStorage::Backend(storage) => Some(*storage),
        PlatformStorage::SwiftOrClaim => {
            return Err(
                "platform OpenStack: this build cannot find out yet whether Swift can be used. Create the Config \
                        cluster by hand, with spec.storage.pvc.claim naming a claim"
                    .to_owned(),
            );
        }
    };
    if storage.as_ref().is_some_and(|s| s.pvc.is_some()) {
        claim(context, snapshot, platform.as_deref()).await?;
    }
    let observed = ServingInfo::observed(snapshot.api_server().as_ref());
    let config = defaults::bootstrap_config(&infrastructure, storage.as_ref(), &observed.to_observed_config());
    create(context, &ObjectRef::new(Kind::Config, "", names::CLUSTER), &config).await
}

async fn claim(context: &Context, snapshot: &Snapshot, platform: Option<&str>) -> Result<(), String> {
    let reference = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, names::DEFAULT_CLAIM);
    if snapshot.objects.find(&reference).is_some() {
        return Ok(());
    }
    let claim = storage::bootstrap_claim(snapshot, platform).map_err(|fault| fault.message)?;
    create(context, &reference, &claim).await
}

/// One that exists already is as good as created: the watch has not told of it yet.
async fn create(context: &Context, reference: &ObjectRef, body: &Value) -> Result<(), String> {
    match context.create(reference, body).await {
        Ok(_) => Ok(()),
        Err(WriteError::Conflict(_)) => context
            .writer
            .read(reference)
            .await
            .map(drop)
            .map_err(|error| format!("cannot read {reference}: {error}")),
        Err(error) => Err(format!("cannot create {reference}: {error}")),
    }
}
