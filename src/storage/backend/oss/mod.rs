//! Alibaba Cloud OSS, through its S3-compatible API. The registry uses its S3 driver.
//!
//! A bucket carries no ownership mark, because the S3 API of OSS has no tags of buckets: the Config's creation record and the
//! deterministic name prove the ownership.

mod context;
pub mod credentials;
pub mod effective;
mod remedy;
mod store;

pub use context::Oss;

use effective::{Effective, location_id, named, spec_of};
use store::Store;

use crate::api::{ObjectRef, Storage};
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::{RegistryStorage, S3Storage};
use crate::storage::inputs::trust::{proxy_bundle, proxy_map};
use crate::storage::model::backend::Backend;
use crate::storage::model::container::Terms;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::{STORAGE_EXISTS, UNKNOWN_ERROR};
use crate::storage::model::spec;
use crate::storage::model::target::{Request, Target};
use crate::storage::net::http::Trust;
use crate::storage::traits::{Cluster, ObjectBackend};

fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    Effective::of(&spec_of(storage), snapshot)
}

/// What the registry needs.
fn access(effective: &Effective, snapshot: &Snapshot) -> Result<RegistryStorage, StorageError> {
    Ok(RegistryStorage::S3(Box::new(S3Storage {
        bucket: effective.bucket_name(snapshot)?,
        region: effective.region.clone(),
        endpoint: Some(effective.endpoint()),
        public: None,
        path_style: false,
        dual_stack: None,
        encrypt: effective.encrypt,
        key_id: None,
        chunk_size: None,
        credentials: credentials::keys(snapshot)?.text(),
        cloud_front: None,
    })))
}

impl<C: Cluster> ObjectBackend for Oss<'_, C> {
    const BACKEND: Backend = Backend::Oss;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const TERMS: Terms = Terms {
        container: "bucket",
        exists: "OSS Bucket Exists",
        brought: "OSS Bucket Exists",
        created: "Creation Successful",
        gone: &["NotFound", "NoSuchBucket", "ResourceNotReady"],
        not_visible: "ResourceNotReady",
        name_taken: "BucketAlreadyExists",
        not_created: None,
        deleted: "OSS Bucket Deleted",
        no_login: UNKNOWN_ERROR,
        unknown: UNKNOWN_ERROR,
        name_field: "spec.storage.oss.bucket",
        rights_to_observe: "oss:GetBucketInfo and oss:ListObjects on the bucket",
        rights_on_versions: "oss:ListObjectVersions and oss:DeleteObjectVersion",
        marked: None,
    };
    type Store<'s>
        = Store<'s>
    where
        Self: 's;

    fn locate(storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        named(storage).map(location_id)
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.oss, &wanted.oss) {
            (Some(stored), Some(wanted)) => Effective::same(stored, wanted, snapshot),
            _ => false,
        }
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        Ok(Target {
            location: effective.bucket_name(snapshot).ok().map(|name| location_id(&name)),
            named: effective.bucket.is_some(),
            access: access(&effective, snapshot).ok(),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn inputs(_storage: &Storage, snapshot: &Snapshot) -> Vec<ObjectRef> {
        proxy_map(snapshot).into_iter().collect()
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        let proxies = (self.network.settings.proxies)();
        let proxy_ca = proxy_bundle(request.snapshot);
        let texts = proxies.texts().into_iter().chain(proxy_ca.as_deref());
        Fingerprint::of_target(request.target).and(texts)
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        access(&effective(request.storage, request.snapshot)?, request.snapshot)
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.oss, name, |spec| &mut spec.bucket);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        let mut storage = request.storage.clone();
        Self::set_container(&mut storage, Some(&effective.bucket_name(request.snapshot)?));
        if let Some(spec) = &mut storage.oss {
            let region = spec.region.take().filter(|region| !region.is_empty());
            spec.region = region.or(Some(effective.region));
        }
        Ok(storage)
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s>, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        let container = effective.container(request.snapshot)?;
        let trust = Trust::with_system(proxy_bundle(request.snapshot).unwrap_or_default());
        Store::open(
            self.network,
            effective,
            container,
            credentials::keys(request.snapshot)?,
            trust,
            request.must_delete_versions(),
        )
    }
}
