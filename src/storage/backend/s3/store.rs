//! Operations of one bucket for the engine.

use std::sync::atomic::Ordering;

use super::bucket::Store;
use super::tags;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::setting::{Applied, Setting, SettingError, SettingScope};
use crate::storage::s3api::client::Entry;
use crate::storage::s3api::plane::RegistryBucket;
use crate::storage::traits::{Cluster, ObjectStore};

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = Entry;
    type Plane = RegistryBucket;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    fn explain(&self, error: &CallError) -> String {
        let configured = &self.effective.region;
        let other = error.region.as_deref().filter(|region| *region != configured.as_str());
        let hint = other
            .map(|region| format!("; the bucket is in region {region}, spec.storage.s3.region means {configured}"));
        format!("{error}{}", hint.unwrap_or_default())
    }

    async fn head(&self) -> Called<()> {
        self.bucket.head().await
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        match self.bucket.create().await {
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => Ok(()),
            ended => ended,
        }
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let tags = self.read_tags().await?;
        Ok(tags.map_or(Owner::Unmarkable, |tags| tags::owner(&tags, &self.infrastructure)))
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        let Some(existing) = self.read_tags().await? else {
            return Ok(false);
        };
        let (wanted, _) = self.wanted_tags();
        let Some(merged) = tags::merge(&existing, &wanted) else {
            return Ok(true);
        };
        let (tags, written) = match self.bucket.put_tags(&merged).await {
            Err(error) if error.cause == Cause::Answer(400) && !error.is_undecided() => {
                // The service may reject a tag of the platform. Write the mark without the platform's tags.
                let alone = tags::mark(&existing, &self.infrastructure).unwrap_or(existing);
                let written = self.bucket.put_tags(&alone).await;
                (alone, written)
            }
            written => (merged, written),
        };
        match written {
            Ok(()) => {
                self.set_tags(Some(tags));
                Ok(true)
            }
            Err(error) if error.is_unsupported() => {
                self.set_tags(None);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        self.bucket.contents(probe, plain).await
    }

    async fn would_probe(&self, _setting: &Setting) -> bool {
        self.would_verify_encryption().await
    }

    async fn apply(&self, setting: &Setting, scope: SettingScope) -> Result<Applied, SettingError> {
        self.apply_setting(setting, scope).await
    }

    fn probe_left(&self) -> bool {
        self.probe_left.load(Ordering::Relaxed)
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<Entry>> {
        self.bucket.list_page(at_most).await
    }

    async fn delete_page(&self, entries: Vec<Entry>) -> Called<PageDeletion> {
        self.bucket.delete_page(entries).await
    }

    async fn abort_uploads(&self) -> bool {
        self.bucket.abort_uploads().await
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        self.bucket.delete_bucket().await
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryBucket, StorageError> {
        self.as_registry(probe).await
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        self.bucket.clear_probe(probe).await
    }
}
