//! Google Cloud Storage.
//!
//! The ownership mark is a label of the bucket ([`labels::owner`]), which is part of its creation.

mod binding;
mod bucket;
mod client;
mod clients;
mod connect;
mod context;
pub mod credentials;
pub mod effective;
pub mod endpoint;
mod error;
mod identity;
mod jwt;
pub mod labels;
mod registry;
mod settings;
mod step;
mod store;
pub mod tags;

pub use clients::Clients;
pub use context::Gcs;

use connect::{Connection, connect};
use credentials::Credentials;
use effective::{Effective, PUBLIC_UNIVERSE};
use identity::{OPERATOR_SCOPE, Subject};
use step::Store;

use crate::api::registry_storage::GcsStorage;
use crate::api::{ObjectRef, Storage};
use crate::config::event_request::EventRequest;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::{self, RegistryStorage};
use crate::storage::inputs::name;
use crate::storage::inputs::trust::{proxy_bundle, proxy_map};
use crate::storage::model::backend::Backend;
use crate::storage::model::container::{ContainerName, Terms};
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::{STORAGE_EXISTS, UNKNOWN_ERROR};
use crate::storage::model::setting::Setting;
use crate::storage::model::spec;
use crate::storage::model::target::{Request, Target};
use crate::storage::net::http::{Egress, Trust};
use crate::storage::traits::{Cluster, ObjectBackend};

/// The effective configuration with the bucket's name, even if the operator chooses the name.
fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    let spec = storage.gcs.clone().unwrap_or_default();
    Ok(Effective::of(&spec, snapshot)?.named(snapshot))
}

fn bucket_name(spec: &GcsStorage) -> Option<&str> {
    spec.bucket.as_deref().filter(|name| !name.is_empty())
}

/// Warning if the credentials and the cluster name different universes.
fn universes_differ(effective: Effective) -> Option<EventRequest> {
    let other = effective.other_universe?;
    Some(EventRequest {
        warning: true,
        reason: "UniverseDomainDiffers",
        message: format!(
            "the credentials of the storage name universe domain {}, which is used, and infrastructures/cluster names {other}",
            effective.universe
        ),
    })
}

fn access(effective: &Effective, snapshot: &Snapshot) -> Result<RegistryStorage, StorageError> {
    let credentials = Credentials::of(snapshot)?;
    Ok(RegistryStorage::Gcs(program::GcsStorage {
        bucket: effective.spec.bucket.clone().unwrap_or_default(),
        key_file: credentials.text,
    }))
}

/// Name and location of the bucket.
fn container(effective: &Effective, snapshot: &Snapshot) -> Result<ContainerName, StorageError> {
    let generated = effective.generated(snapshot)?;
    let name = bucket_name(&effective.spec).unwrap_or(&generated).to_owned();
    Ok(ContainerName {
        location: effective.location().unwrap_or_default(),
        deterministic: name == generated,
        place: effective.spec.region.clone().unwrap_or_default(),
        name,
    })
}

impl<C: Cluster> ObjectBackend for Gcs<'_, C> {
    const BACKEND: Backend = Backend::Gcs;
    const CONDITIONS: &'static [&'static str] = &[
        STORAGE_EXISTS,
        settings::LABELED,
        settings::ENCRYPTED,
        settings::PRIVATE,
        settings::TAGGED,
    ];
    const TERMS: Terms = Terms {
        container: "bucket",
        exists: "GCS Bucket Exists",
        brought: "GCS Bucket Exists",
        created: "Creation Successful",
        gone: &["Bucket does not exist"],
        not_visible: "Bucket does not exist",
        name_taken: "409",
        not_created: None,
        deleted: "GCS Bucket Deleted",
        no_login: UNKNOWN_ERROR,
        unknown: UNKNOWN_ERROR,
        name_field: "spec.storage.gcs.bucket",
        rights_to_observe: "storage.buckets.get on the bucket",
        rights_on_versions: "storage.objects.list and storage.objects.delete",
        marked: Some(settings::LABELED),
    };
    const DENIED_MEANS_EXISTS: bool = true;
    const EXISTS_IF_NOT_DELETED: bool = true;
    type Store<'s>
        = Store<'s, C>
    where
        Self: 's;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        bucket_name(storage.gcs.as_ref()?)?;
        effective(storage, snapshot).ok()?.location()
    }

    /// In the public universe, which is the only one that the Go operator knows.
    fn usual_location(stored: &Storage) -> Option<String> {
        let bucket = bucket_name(stored.gcs.as_ref()?)?;
        Some(format!("{PUBLIC_UNIVERSE}/{bucket}"))
    }

    fn is_located(snapshot: &Snapshot) -> bool {
        effective::is_universe_known(snapshot)
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.gcs, &wanted.gcs) {
            (Some(stored), Some(wanted)) => Effective::same(stored, wanted, snapshot),
            _ => false,
        }
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        Ok(Target {
            location: effective.location(),
            named: storage.gcs.as_ref().and_then(bucket_name).is_some(),
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
        let requested = tags::of_platform(request.snapshot);
        let texts = proxies
            .texts()
            .into_iter()
            .chain(proxy_ca.as_deref())
            .chain(requested.iter().map(String::as_str));
        Fingerprint::of_target(request.target).and(texts)
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        access(&effective(request.storage, request.snapshot)?, request.snapshot)
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.gcs, name, |spec| &mut spec.bucket);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        let container = container(&effective, request.snapshot)?;
        let spec = GcsStorage {
            bucket: Some(container.name),
            ..effective.spec
        };
        Ok(Storage {
            gcs: Some(spec),
            ..request.storage.clone()
        })
    }

    fn notices(&self, request: &Request<'_>) -> Vec<EventRequest> {
        let effective = effective(request.storage, request.snapshot).ok();
        let differ = effective.filter(|_| !request.applied).and_then(universes_differ);
        differ.into_iter().collect()
    }

    fn settings(&self, request: &Request<'_>) -> Vec<Setting> {
        settings::all(request)
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s, C>, StorageError> {
        let credentials = Credentials::of(request.snapshot)?;
        let effective = effective(request.storage, request.snapshot)?;
        let container = container(&effective, request.snapshot)?;
        let connection = Connection {
            credentials: &credentials,
            universe: &effective.universe,
            scope: OPERATOR_SCOPE,
            subject: Subject::File(self.network.settings.root.clone()),
            trust: Trust::with_system(proxy_bundle(request.snapshot).unwrap_or_default()),
            egress: Egress::Process,
        };
        let bucket = connect(self.network, self.clients, connection, &container.name)?;
        Ok(Store {
            backend: self,
            request,
            infrastructure: name::infrastructure_name(request.snapshot)?,
            container,
            effective,
            bucket,
            metadata: std::sync::Mutex::default(),
        })
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
        for case in takeover::cases("gcs-wif") {
            let effective = Effective::of(case.storage.gcs.as_ref().unwrap(), &case.snapshot).unwrap();
            let access = access(&effective, &case.snapshot).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
            case.assert_unchanged(&Platform.render(&access).unwrap());
        }
    }
}
