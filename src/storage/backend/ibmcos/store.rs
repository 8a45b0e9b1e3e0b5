//! Operations of one bucket for the engine.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::Store;
use super::connect;
use super::stages::{self, gone_key, refused};
use crate::program::RegistryStorage;
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::stage::{Stage, StageState};
use crate::storage::net::http::{Egress, Trust};
use crate::storage::preflight::exercise;
use crate::storage::s3api::client::{Entry, ObjectEncryption};
use crate::storage::s3api::plane::RegistryBucket;
use crate::storage::s3api::static_keys::StaticKeys;
use crate::storage::traits::{Cluster, ObjectStore};

/// Error for the name of a bucket that the location does not show, and that the service does not give.
fn kept_name(error: CallError) -> CallError {
    CallError {
        class: CallClass::Rejected,
        message: format!(
            "the location shows no bucket of this name, and IBM Cloud does not give the name ({}). Either it keeps the name of a deleted \
             bucket, for about 10 minutes, or for 7 days after a deleted service instance: the operator tries again. Or the bucket is at \
             another location: correct spec.storage.ibmcos.location. Or it is of another account: name another bucket in \
             spec.storage.ibmcos.bucket",
            error.message
        ),
        ..error
    }
}

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = Entry;
    type Plane = RegistryBucket;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    async fn head(&self) -> Called<()> {
        let head = self.bucket()?.head().await;
        self.understood(head).await
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        let bucket = self.bucket()?;
        match bucket.create().await {
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => Ok(()),
            // The names of all accounts are in one namespace. The service has this code for the buckets of this account, too, and for
            // names that it keeps for a while after a deletion.
            Err(error) if error.class == CallClass::NameTaken => match bucket.head().await {
                Ok(()) if self.container.deterministic => Ok(()),
                Err(head) if head.is_missing() => Err(kept_name(error)),
                _ => Err(error),
            },
            ended => ended,
        }
    }

    /// Cloud Object Storage has no metadata of buckets that this API could change: the Config's creation record and the name
    /// prove the ownership.
    async fn read_ownership(&self) -> Called<Owner> {
        Ok(Owner::Unmarkable)
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        Ok(false)
    }

    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        self.bucket()?.contents(probe, plain).await
    }

    fn reached(&self) -> Option<&'static str> {
        self.reached()
    }

    async fn stage(&self, stage: &Stage) -> Called<StageState> {
        if stage.name == stages::INSTANCE.name {
            self.instance_stage().await
        } else {
            self.key_stage().await
        }
    }

    async fn advance(&self, stage: &Stage, _permit: &CreationPermit) -> Called<StageState> {
        if stage.name == stages::INSTANCE.name {
            self.create_instance().await
        } else {
            self.create_key().await
        }
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        let listed = self.bucket()?.list_page(at_most).await;
        self.understood(listed).await
    }

    async fn delete_page(&self, entries: Vec<Entry>) -> Called<PageDeletion> {
        self.bucket()?.delete_page(entries).await
    }

    async fn abort_uploads(&self) -> bool {
        match self.bucket() {
            Ok(bucket) => bucket.abort_uploads().await,
            Err(_) => false,
        }
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        self.bucket()?.delete_bucket().await
    }

    /// The registry's HMAC keys, from the resource key. They do not change as long as the key exists.
    async fn runtime_access(&self, known: RegistryStorage) -> Called<(RegistryStorage, Option<Duration>)> {
        let RegistryStorage::IbmCos(mut storage) = known else {
            return Ok((known, None));
        };
        let crn = self.effective.key.as_deref().ok_or_else(|| {
            let why = "the resource key is not known (resourceKeyCRN), so that the registry has no keys";
            CallError::invalid(&self.container.name, why)
        })?;
        let key = self.api.key(crn).await?;
        if key.is_gone() {
            return Err(gone_key(crn));
        }
        let keys = key.hmac(self.instance()?).map_err(|fault| refused(crn, &fault))?;
        storage.credentials = keys.text();
        Ok((RegistryStorage::IbmCos(storage), None))
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        let keys = match probe.access {
            RegistryStorage::IbmCos(storage) => StaticKeys::of_text(&storage.credentials),
            _ => None,
        };
        let keys = keys.ok_or_else(|| StorageError::transient("the registry's HMAC keys are not known yet"))?;
        let trust = Trust::with_system(probe.roots);
        let egress = Egress::Fixed(probe.proxies.clone());
        let name = &self.container.name;
        Ok(RegistryBucket {
            bucket: connect::connect(
                self.backend.network,
                &self.effective,
                Arc::new(keys),
                trust,
                egress,
                name,
            )?,
            encryption: ObjectEncryption::Default,
            must_delete_versions: self.request.must_delete_versions(),
            copied: exercise::UPLOADED.len(),
            remedy: Box::new(|_| String::new()),
        })
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        let cleared = self.bucket()?.clear_probe(probe).await;
        self.understood(cleared).await
    }
}
