//! Amazon S3, and services with an S3 API.
//!
//! The ownership mark consists of two tags of the bucket ([`tags::owner`]). With a service without tags, the Config's
//! creation record and the deterministic name prove the ownership.

mod access;
mod bucket;
mod cloud_front;
mod connect;
mod context;
pub mod credentials;
pub mod effective;
mod encryption;
pub mod endpoint;
pub mod identity;
pub mod profile;
mod registry;
mod remedy;
pub mod session;
mod settings;
mod shared_config;
mod store;
pub mod sts;
pub mod tags;
pub mod trust;

pub use connect::{Connection, connect};
pub use context::S3;

use bucket::Store;
use credentials::Credentials;
use effective::Effective;
use session::Token;

use crate::api::registry_storage::S3Storage;
use crate::api::{ObjectRef, Storage};
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;
use crate::storage::inputs::name;
use crate::storage::inputs::trust::proxy_bundle;
use crate::storage::model::backend::Backend;
use crate::storage::model::container::{ContainerName, Terms};
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::{STORAGE_EXISTS, UNKNOWN_ERROR};
use crate::storage::model::setting::Setting;
use crate::storage::model::spec;
use crate::storage::model::state::State;
use crate::storage::model::target::{Request, Target};
use crate::storage::net::http::Egress;
use crate::storage::traits::{Cluster, ObjectBackend};

/// The effective configuration with the bucket's name, even if the operator chooses the name.
fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    let spec = storage.s3.clone().unwrap_or_default();
    let mut effective = Effective::of(&spec, snapshot, region(snapshot).as_deref())?;
    if bucket_name(&effective.spec).is_none() {
        effective.spec.bucket = effective.deterministic_bucket(snapshot).ok();
    }
    Ok(effective)
}

/// Region in the credentials.
fn region(snapshot: &Snapshot) -> Option<String> {
    Credentials::of(snapshot).ok()?.region
}

fn bucket_name(spec: &S3Storage) -> Option<&str> {
    spec.bucket.as_deref().filter(|name| !name.is_empty())
}

impl<C: Cluster> ObjectBackend for S3<'_, C> {
    const BACKEND: Backend = Backend::S3;
    const CONDITIONS: &'static [&'static str] = &[
        STORAGE_EXISTS,
        settings::PRIVATE,
        settings::TAGGED,
        settings::ENCRYPTED,
        settings::CLEANED,
    ];
    const TERMS: Terms = Terms {
        container: "bucket",
        exists: "S3 Bucket Exists",
        brought: "S3 Bucket Exists",
        created: "Creation Successful",
        gone: &["NotFound", "NoSuchBucket", "ResourceNotReady"],
        not_visible: "ResourceNotReady",
        name_taken: "Unable to Access Bucket",
        not_created: None,
        deleted: "S3 Bucket Deleted",
        no_login: UNKNOWN_ERROR,
        unknown: UNKNOWN_ERROR,
        name_field: "spec.storage.s3.bucket",
        rights_to_observe: "s3:ListBucket and s3:GetBucketLocation on the bucket",
        rights_on_versions: "s3:ListBucketVersions and s3:DeleteObjectVersion",
        marked: Some(settings::TAGGED),
    };
    type Store<'s>
        = Store<'s, C>
    where
        Self: 's;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        bucket_name(storage.s3.as_ref()?)?;
        effective(storage, snapshot).ok()?.location()
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.s3, &wanted.s3) {
            (Some(stored), Some(wanted)) => Effective::same(stored, wanted, snapshot, region(snapshot).as_deref()),
            _ => false,
        }
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        Ok(Target {
            location: effective.location(),
            named: storage.s3.as_ref().and_then(bucket_name).is_some(),
            access: access::access(&effective, snapshot).ok(),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn inputs(storage: &Storage, snapshot: &Snapshot) -> Vec<ObjectRef> {
        let Some(spec) = &storage.s3 else {
            return Vec::new();
        };
        let signing_key = spec.cloud_front.as_ref().and_then(cloud_front::secret);
        let mut inputs = trust::config_maps(spec, snapshot);
        inputs.extend(signing_key);
        inputs
    }

    fn ca_bundle(storage: &Storage, snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        let spec = storage.s3.clone().unwrap_or_default();
        Ok(trust::trust(&spec, snapshot)?.publish)
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        let proxies = (self.network.settings.proxies)();
        let requested = tags::of_platform(request.snapshot);
        let proxy_ca = proxy_bundle(request.snapshot);
        let sts_endpoint = effective::sts_endpoint(request.snapshot);
        let texts = proxies
            .texts()
            .into_iter()
            .chain(proxy_ca.as_deref())
            .chain(sts_endpoint.as_deref())
            .chain(tags::texts(&requested));
        Fingerprint::of_target(request.target).and(texts)
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        access::access(&effective(request.storage, request.snapshot)?, request.snapshot)
    }

    /// The names of buckets on AWS are unique in a partition. Other services may have tenants, such as Ceph's gateway.
    fn has_tenants(&self, request: &Request<'_>) -> bool {
        effective(request.storage, request.snapshot).is_ok_and(|effective| effective.endpoint.is_some())
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.s3, name, |spec| &mut spec.bucket);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        let container = container(&effective, request.snapshot)?;
        let spec = S3Storage {
            bucket: Some(container.name),
            ..effective.spec
        };
        Ok(Storage {
            s3: Some(spec),
            ..request.storage.clone()
        })
    }

    fn settings(&self, request: &Request<'_>) -> Vec<Setting> {
        settings::all(request)
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s, C>, StorageError> {
        let credentials = Credentials::of(request.snapshot)?;
        let effective = effective(request.storage, request.snapshot)?;
        let container = container(&effective, request.snapshot)?;
        let trust = trust::trust(&effective.spec, request.snapshot)?;
        let connection = Connection {
            effective: &effective,
            credentials: &credentials,
            token: Token::of_operator(&credentials.profile),
            trust: trust.s3,
            sts_trust: trust.sts,
            egress: Egress::Process,
            // Also while the state is undecided, because this step may create the bucket.
            pin_owner: request.state != Some(State::Unmanaged),
        };
        let bucket = connect(self.network, self.identities, connection, &container.name)?;
        Ok(Store {
            backend: self,
            request,
            infrastructure: name::infrastructure_name(request.snapshot)?,
            probe_key: crate::storage::preflight::key(request.snapshot),
            container,
            effective,
            bucket,
            tags: std::sync::Mutex::default(),
            probe_left: std::sync::atomic::AtomicBool::default(),
        })
    }
}

/// Name and location of the bucket.
fn container(effective: &Effective, snapshot: &Snapshot) -> Result<ContainerName, StorageError> {
    let deterministic = effective.deterministic_bucket(snapshot)?;
    let name = bucket_name(&effective.spec).unwrap_or(&deterministic).to_owned();
    Ok(ContainerName {
        location: effective.location().unwrap_or_default(),
        deterministic: name == deterministic,
        place: effective.region.clone(),
        name,
    })
}
