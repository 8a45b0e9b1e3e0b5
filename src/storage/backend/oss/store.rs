//! The bucket of one request, and its operations for the engine.

use std::sync::Arc;

use super::effective::Effective;
use super::remedy::remedy;
use crate::program::RegistryStorage;
use crate::storage::model::call::Called;
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::net::http::{Egress, Trust};
use crate::storage::net::network::Network;
use crate::storage::preflight::exercise;
use crate::storage::s3api::client::{Bucket, Connection, Entry, ObjectEncryption};
use crate::storage::s3api::plane::RegistryBucket;
use crate::storage::s3api::static_keys::StaticKeys;
use crate::storage::traits::ObjectStore;

/// Number of entries to list in order to decide whether a bucket is empty.
const A_FEW: u16 = 100;

/// The bucket of a request.
pub struct Store<'a> {
    network: &'a Network,
    container: ContainerName,
    effective: Effective,
    keys: StaticKeys,
    must_delete_versions: bool,
    bucket: Bucket,
}

impl<'a> Store<'a> {
    /// Opens the bucket, without a call. `trust`: CA certificates of the operator's connections.
    ///
    /// # Errors
    /// The CA bundle or the proxy is invalid.
    pub fn open(
        network: &'a Network,
        effective: Effective,
        container: ContainerName,
        keys: StaticKeys,
        trust: Trust,
        must_delete_versions: bool,
    ) -> Result<Self, StorageError> {
        let bucket = connect(
            network,
            &effective,
            keys.clone(),
            trust,
            Egress::Process,
            &container.name,
        )?;
        Ok(Self {
            network,
            container,
            effective,
            keys,
            must_delete_versions,
            bucket,
        })
    }
}

/// A bucket at its endpoint, in virtual-hosted style.
fn connect(
    network: &Network,
    effective: &Effective,
    keys: StaticKeys,
    trust: Trust,
    egress: Egress,
    name: &str,
) -> Result<Bucket, StorageError> {
    let connection = Connection {
        // The endpoint decides where a new bucket is.
        region: String::new(),
        signing_region: effective.region.clone(),
        url: effective.endpoint(),
        path_style: false,
        identity: Arc::new(keys),
        trust,
        egress,
        pin_owner: false,
        lists_versions: false,
    };
    Bucket::connect(network, connection, name)
}

impl ObjectStore for Store<'_> {
    type Entry = Entry;
    type Plane = RegistryBucket;

    fn container(&self) -> &ContainerName {
        &self.container
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

    /// The S3 API of OSS has no tags of buckets: the Config's creation record and the name prove the ownership.
    async fn read_ownership(&self) -> Called<Owner> {
        Ok(Owner::Unmarkable)
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        Ok(false)
    }

    /// Objects first: the list of the S3 API of OSS has no listing of versions.
    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        let objects = self.bucket.objects("", A_FEW).await?;
        if objects.entries.iter().any(|entry| !probe.contains(&entry.key)) {
            return Ok(Contents::Something);
        }
        self.bucket.contents(probe, plain).await
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
        let keys = match probe.access {
            RegistryStorage::S3(storage) => StaticKeys::of_text(&storage.credentials),
            _ => None,
        };
        let trust = Trust::with_system(probe.roots);
        let egress = Egress::Fixed(probe.proxies.clone());
        let keys = keys.unwrap_or_else(|| self.keys.clone());
        let effective = self.effective.clone();
        Ok(RegistryBucket {
            bucket: connect(self.network, &self.effective, keys, trust, egress, &self.container.name)?,
            encryption: if self.effective.encrypt {
                ObjectEncryption::Aes256
            } else {
                ObjectEncryption::Default
            },
            must_delete_versions: self.must_delete_versions,
            copied: exercise::UPLOADED.len(),
            remedy: Box::new(move |error| remedy(&effective, error)),
        })
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        self.bucket.clear_probe(probe).await
    }
}
