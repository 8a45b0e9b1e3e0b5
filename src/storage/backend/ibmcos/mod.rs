//! IBM Cloud Object Storage. It is the default storage on the platforms `IBMCloud` and `PowerVS`.
//!
//! The operator creates a service instance and a resource key with HMAC keys, and works with a token of IAM. The registry
//! works with the HMAC keys. A bucket carries no ownership mark: the Config's creation record and the deterministic name
//! prove the ownership. Service instance and resource key are never deleted: the platform's installer deletes them with the
//! cluster.

mod api;
mod bucket;
mod connect;
mod context;
pub mod credentials;
pub mod effective;
pub mod endpoint;
mod error;
mod identity;
mod platform;
pub mod reasons;
pub mod resource;
mod stages;
mod store;

pub use context::IbmCos;
pub use identity::Sessions;

use bucket::Store;
use credentials::ApiKey;
use effective::{Effective, given, location_id, spec_of};

use crate::api::{ObjectRef, Sensitive, Storage};
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::{RegistryStorage, S3Storage};
use crate::storage::inputs::live;
use crate::storage::inputs::trust::{proxy_bundle, proxy_map};
use crate::storage::model::backend::Backend;
use crate::storage::model::container::Terms;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::{STORAGE_EXISTS, UNKNOWN_ERROR};
use crate::storage::model::spec;
use crate::storage::model::stage::Stage;
use crate::storage::model::target::{Request, Target};
use crate::storage::s3api::static_keys::StaticKeys;
use crate::storage::traits::{Cluster, ObjectBackend};

fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    Effective::of(&spec_of(storage), snapshot)
}

/// What the registry needs, without the HMAC keys, which only a call can provide.
fn access(effective: &Effective, snapshot: &Snapshot) -> Result<RegistryStorage, StorageError> {
    if effective.key.is_none() {
        return Err(StorageError::action_required(
            "the resource key of the registry is not set (spec.storage.ibmcos.resourceKeyCRN): the operator creates it \
             together with the bucket",
        ));
    }
    let bucket = effective.bucket_name(snapshot)?;
    let live = live::s3_endpoint(snapshot, &bucket);
    Ok(RegistryStorage::IbmCos(Box::new(S3Storage {
        region: effective.location.clone(),
        endpoint: Some(effective.endpoints.of_registry(&effective.location, live)),
        bucket,
        public: None,
        path_style: true,
        dual_stack: Some(false),
        encrypt: false,
        key_id: None,
        chunk_size: None,
        credentials: Sensitive::new(""),
        cloud_front: None,
    })))
}

impl<C: Cluster> ObjectBackend for IbmCos<'_, C> {
    const BACKEND: Backend = Backend::IbmCos;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const TERMS: Terms = Terms {
        container: "bucket",
        exists: reasons::EXISTS,
        brought: reasons::EXISTS,
        created: reasons::CREATED,
        gone: &["NotFound", "NoSuchBucket", reasons::INSTANCE_GONE, "ResourceNotReady"],
        not_visible: "ResourceNotReady",
        name_taken: "BucketAlreadyExists",
        not_created: None,
        deleted: reasons::DELETED,
        no_login: UNKNOWN_ERROR,
        unknown: UNKNOWN_ERROR,
        name_field: "spec.storage.ibmcos.bucket",
        rights_to_observe: "the service roles Reader and Writer on the service instance",
        rights_on_versions: "the service role Writer on the service instance",
        marked: None,
    };
    type Store<'s>
        = Store<'s, C>
    where
        Self: 's;

    fn locate(storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        let spec = storage.ibmcos.as_ref()?;
        let instance = given(spec.service_instance_crn.as_ref())?;
        Some(location_id(instance, given(spec.bucket.as_ref())?))
    }

    /// A bucket is reached by its service instance.
    fn is_found(stored: &Storage) -> bool {
        let spec = spec_of(stored);
        given(spec.bucket.as_ref()).is_some() && given(spec.service_instance_crn.as_ref()).is_some()
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.ibmcos, &wanted.ibmcos) {
            (Some(stored), Some(wanted)) => Effective::same(stored, wanted, snapshot),
            _ => false,
        }
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        let bucket = effective.bucket_name(snapshot).ok();
        Ok(Target {
            location: bucket.and_then(|bucket| effective.locate(&bucket)),
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
        let effective = effective(request.storage, request.snapshot).ok();
        let effective = effective.as_ref();
        let key = ApiKey::of(request.snapshot);
        let key = key
            .as_ref()
            .map_or_else(|error| error.message.as_str(), |key| key.key.expose());
        let endpoints = effective.map(|effective| effective.endpoints.texts());
        let filled = |member: fn(&Effective) -> &Option<String>| {
            let text = effective.and_then(|effective| member(effective).as_deref());
            text.unwrap_or_default()
        };
        let location = effective.map(|effective| effective.location.as_str());
        let texts = proxies
            .texts()
            .into_iter()
            .chain(proxy_ca.as_deref())
            .chain([key, filled(|e| &e.instance), filled(|e| &e.key)])
            .chain([location.unwrap_or_default(), filled(|e| &e.resource_group)])
            .chain(endpoints.into_iter().flatten());
        Fingerprint::of_target(request.target).and(texts)
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        access(&effective(request.storage, request.snapshot)?, request.snapshot)
    }

    /// The HMAC keys that the pods have, while the status says that they are those of the resource key.
    fn kept_access(request: &Request<'_>, known: &RegistryStorage) -> Option<RegistryStorage> {
        let key = given(request.storage.ibmcos.as_ref()?.resource_key_crn.as_ref())?;
        let stored = request.config.status.as_ref()?.storage.ibmcos.as_ref()?;
        let file = live::credentials_file(request.snapshot)?;
        let is_usable = given(stored.resource_key_crn.as_ref()) == Some(key) && StaticKeys::of_text(&file).is_some();
        let mut kept = known.clone();
        match &mut kept {
            RegistryStorage::IbmCos(storage) if is_usable => storage.credentials = file,
            _ => return None,
        }
        Some(kept)
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.ibmcos, name, |spec| &mut spec.bucket);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        let bucket = effective.bucket_name(request.snapshot)?;
        Ok(Storage {
            ibmcos: Some(effective.completed(&bucket)),
            ..request.storage.clone()
        })
    }

    fn prerequisites(&self, _request: &Request<'_>) -> Vec<Stage> {
        vec![stages::INSTANCE, stages::KEY]
    }

    /// Without the resource key the bucket and its images stay.
    fn holds_container(stage: &Stage) -> bool {
        stage.name == stages::INSTANCE.name
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s, C>, StorageError> {
        Store::open(self, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::RegistryProgram as _;
    use crate::program::platform::Platform;
    use crate::testing::takeover;

    // workload 61
    #[test]
    fn a_take_over_from_the_go_operator_changes_nothing_in_the_pods() {
        let keys = StaticKeys {
            id: "access-key".to_owned(),
            secret: Sensitive::new("secret-key"),
        };
        for case in takeover::cases("ibmcos-") {
            let effective = effective(&case.storage, &case.snapshot).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
            let RegistryStorage::IbmCos(mut access) = access(&effective, &case.snapshot).unwrap() else {
                panic!("{}", case.name)
            };
            access.credentials = keys.text();
            let facts = Platform.render(&RegistryStorage::IbmCos(access)).unwrap();
            case.assert_unchanged(&facts);
        }
    }
}
