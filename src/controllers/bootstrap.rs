//! Creates the default Config if none exists.

use serde_json::Value;

use super::Context;
use crate::api::{Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::defaults;
use crate::config::snapshot::Snapshot;
use crate::config::tls::ServingInfo;
use crate::names;
use crate::storage;

/// Creates the default PersistentVolumeClaim if the platform uses one, then the Config. The ClusterOperator reports the
/// error, because no Config exists yet.
pub(super) async fn bootstrap(context: &Context, snapshot: &Snapshot) -> Result<(), String> {
    let Some(infrastructure) = snapshot.infrastructure() else {
        return Err(
            "Infrastructure cluster does not exist, so the platform and its default storage are unknown".to_owned(),
        );
    };
    let platform = defaults::platform(&infrastructure);
    let storage = storage::platform_default(snapshot, platform.as_deref())
        .await
        .map_err(|error| format!("the default storage of the platform is not known: {}", error.message))?;
    if storage.as_ref().is_some_and(|s| s.pvc.is_some()) {
        create_claim(context, snapshot, platform.as_deref()).await?;
    }
    let observed = ServingInfo::observed(snapshot.api_server().as_ref());
    let config = defaults::bootstrap_config(&infrastructure, storage.as_ref(), &observed.to_observed_config());
    create(context, &ObjectRef::new(Kind::Config, "", names::CLUSTER), &config).await
}

async fn create_claim(context: &Context, snapshot: &Snapshot, platform: Option<&str>) -> Result<(), String> {
    let reference = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, names::DEFAULT_CLAIM);
    if snapshot.objects.find(&reference).is_some() {
        return Ok(());
    }
    let claim = storage::bootstrap_claim(snapshot, platform).map_err(|error| error.message)?;
    create(context, &reference, &claim).await
}

/// An object that exists already counts as created: its watch event has not arrived yet.
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
