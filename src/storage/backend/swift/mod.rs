//! OpenStack Swift, and services with its API, such as Ceph RGW.
//!
//! The ownership mark is metadata of the container (`Openshiftclusterid`). It is written after the container is known to be
//! empty, never with the request that creates it: that request also succeeds for a container that exists.

mod access;
pub mod auth_url;
mod bulk;
pub mod catalog;
mod client;
pub mod clouds;
mod container;
mod context;
pub mod credentials;
pub mod effective;
mod error;
mod keystone;
mod layout;
pub mod reasons;
mod registry;
mod session;
mod store;
pub mod trust;
mod usable;
mod wire;

pub use context::Swift;
pub use session::Sessions;
pub use usable::{inputs_of_usable, is_usable};

use effective::Effective;
use store::Store;

use crate::api::registry_storage::SwiftStorage;
use crate::api::{ObjectRef, Storage};
use crate::config::event_request::EventRequest;
use crate::config::notice::redirect_needs_trust;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;
use crate::storage::inputs::trust::proxy_bundle;
use crate::storage::model::backend::Backend;
use crate::storage::model::container::Terms;
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::spec;
use crate::storage::model::target::{Request, Target};
use crate::storage::traits::{Cluster, ObjectBackend};

fn spec_of(storage: &Storage) -> SwiftStorage {
    storage.swift.clone().unwrap_or_default()
}

fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, StorageError> {
    Effective::of(&spec_of(storage), snapshot)
}

/// Name of the container: that of the spec, otherwise the one that the operator chooses.
fn named(storage: &Storage, snapshot: &Snapshot) -> Result<String, StorageError> {
    match name_of(storage) {
        Some(name) => Ok(name.to_owned()),
        None => effective::deterministic(snapshot),
    }
}

fn name_of(storage: &Storage) -> Option<&str> {
    let spec = storage.swift.as_ref()?;
    spec.container.as_deref().filter(|name| !name.is_empty())
}

impl<C: Cluster> ObjectBackend for Swift<'_, C> {
    const BACKEND: Backend = Backend::Swift;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const TERMS: Terms = Terms {
        container: "container",
        exists: reasons::EXISTS,
        brought: reasons::BROUGHT,
        created: reasons::CREATED,
        gone: &[reasons::MISSING],
        not_visible: reasons::MISSING,
        name_taken: reasons::NOT_CREATED,
        not_created: Some(reasons::NOT_CREATED),
        deleted: reasons::DELETED,
        no_login: reasons::NO_LOGIN,
        unknown: reasons::UNKNOWN,
        name_field: "spec.storage.swift.container",
        rights_to_observe: "a role of Swift's operator_roles in the project (usually member or swiftoperator)",
        rights_on_versions: "a role of Swift's operator_roles in the project",
        marked: None,
    };
    type Store<'s>
        = Store<'s, C>
    where
        Self: 's;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        let name = name_of(storage)?;
        Some(effective::location(storage.swift.as_ref()?, name, snapshot))
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let spec = spec_of(storage);
        effective::check(&spec)?;
        let effective = match Effective::of(&spec, snapshot) {
            Ok(effective) => Some(effective),
            Err(error) => match effective::as_rejection(&error) {
                Some(rejection) => return Err(rejection),
                None => None,
            },
        };
        let name = named(storage, snapshot).ok();
        Ok(Target {
            location: name.as_ref().map(|name| effective::location(&spec, name, snapshot)),
            named: name_of(storage).is_some(),
            access: effective.zip(name).and_then(|(e, name)| access::access(&e, &name).ok()),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn inputs(_storage: &Storage, snapshot: &Snapshot) -> Vec<ObjectRef> {
        trust::config_maps(snapshot)
    }

    fn ca_bundle(_storage: &Storage, snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        trust::published(snapshot)
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        let proxies = (self.network.settings.proxies)();
        let proxy_ca = proxy_bundle(request.snapshot);
        let effective = effective(request.storage, request.snapshot);
        // Without them there is no login; the message tells one cause from another.
        let error = effective.as_ref().err().map(|error| error.message.clone());
        let credentials = effective.as_ref().ok().and_then(|e| e.credentials.as_ref().err());
        let texts = proxies
            .texts()
            .into_iter()
            .chain(proxy_ca.as_deref())
            .chain(error.as_deref())
            .chain(credentials.map(|error| error.message.as_str()))
            .chain(effective.iter().flat_map(Effective::texts_of_operator));
        Fingerprint::of_target(request.target).and(texts)
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        access::access(&effective, &named(request.storage, request.snapshot)?)
    }

    /// Each project has containers of its own, and the credentials may name the project.
    fn has_tenants(&self, _request: &Request<'_>) -> bool {
        true
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.swift, name, |spec| &mut spec.container);
    }

    /// What the cluster fills in is not written, so that a later change of `clouds.yaml` is followed.
    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let mut storage = request.storage.clone();
        Self::set_container(&mut storage, Some(&named(request.storage, request.snapshot)?));
        Ok(storage)
    }

    fn notices(&self, request: &Request<'_>) -> Vec<EventRequest> {
        let Ok(effective) = effective(request.storage, request.snapshot) else {
            return Vec::new();
        };
        let unverified = (!effective.verify).then(|| {
            let message = format!(
                "{}: clouds.yaml has verify: false, so that the operator does not verify the certificates of Keystone and \
                 Swift. The registry verifies them: store their CA under key cacert, and remove verify",
                effective.source
            );
            EventRequest::warning("CertificatesNotVerified", message)
        });
        let redirects = !request.config.spec.disable_redirect.unwrap_or(false);
        let private = (redirects && request.target.ca_bundle.is_some()).then(|| {
            redirect_needs_trust(
                "the public endpoint of Swift",
                "the CA of the cloud (key cacert of its Secret, or ConfigMap cloud-provider-config)",
            )
        });
        unverified.into_iter().chain(private).collect()
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s, C>, StorageError> {
        Store::open(self, request, effective(request.storage, request.snapshot)?)
    }
}
