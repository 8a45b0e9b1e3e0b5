//! Azure Blob Storage.
//!
//! There are two levels of ownership: the account carries a tag ([`effective::mark`]), the container metadata. What surrounds a
//! private account are stages of their own.

mod account;
mod arm;
mod attempts;
mod blobs;
mod certificate;
mod clients;
pub mod cloud;
mod connect;
mod container;
mod context;
pub mod credentials;
pub mod effective;
pub mod environment;
mod error;
pub mod generated;
mod identity;
mod keys;
mod network;
mod pbe;
mod pkcs12;
mod private;
mod private_dns;
mod private_inherited;
mod private_names;
mod private_removal;
mod private_repair;
mod private_stages;
mod reasons;
mod registry;
pub mod relocation;
mod sas;
mod shared_key;
mod shared_keys;
mod stages;
mod step;
mod store;
mod xml;

pub use clients::Clients;
pub use context::Azure;

use connect::{Route, connect};
use credentials::Credentials;
use effective::Effective;
use environment::Environment;
use error::Service;
use stages::{ACCOUNT, NAMES};
use step::Store;

use crate::api::{Kind, ObjectRef, Sensitive, Storage};
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::program::{self, AzureLogin, RegistryStorage};
use crate::storage::inputs::name;
use crate::storage::inputs::trust::{cloud_bundle, cloud_map, proxy_bundle, proxy_map};
use crate::storage::model::backend::Backend;
use crate::storage::model::container::{ContainerName, Terms};
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::setting::Setting;
use crate::storage::model::spec;
use crate::storage::model::stage::Stage;
use crate::storage::model::state::State;
use crate::storage::model::target::{Request, Target};
use crate::storage::traits::{Cluster, ObjectBackend};

/// The effective configuration with all names, even those that the operator chooses.
fn effective(storage: &Storage, snapshot: &Snapshot) -> Result<Effective, Rejection> {
    let spec = storage.azure.clone().unwrap_or_default();
    Ok(Effective::of(&spec, snapshot)?.named(snapshot))
}

fn is_named(storage: &Storage) -> bool {
    let given = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
    storage
        .azure
        .as_ref()
        .is_some_and(|spec| given(&spec.account_name) && given(&spec.container))
}

fn is_unmanaged(stored: &Storage) -> bool {
    stored.management_state.as_deref() == Some(State::Unmanaged.text())
}

/// Whether the administrator gave an account key, and whether the registry needs none. Both are `false` without credentials.
fn modes(snapshot: &Snapshot) -> (bool, bool) {
    match Credentials::of(snapshot) {
        Ok(credentials) => (matches!(credentials, Credentials::UserKey(_)), credentials.is_keyless()),
        Err(_) => (false, false),
    }
}

/// What the registry needs, with an empty key where only a call can provide it.
fn access(
    effective: &Effective,
    snapshot: &Snapshot,
    environment: &Environment,
) -> Result<RegistryStorage, StorageError> {
    let cloud = effective.cloud(snapshot, environment)?;
    let login = match Credentials::of(snapshot)? {
        Credentials::UserKey(key) => AzureLogin::Key(key),
        Credentials::Platform(platform) if platform.token_file.is_empty() || cloud.stack => {
            // The key is read when the account exists.
            AzureLogin::Key(Sensitive::default())
        }
        Credentials::Platform(platform) => AzureLogin::WorkloadIdentity {
            client: platform.client,
            tenant: platform.tenant,
            token_file: platform.token_file,
            authority: cloud.authority.clone(),
        },
    };
    Ok(RegistryStorage::Azure(Box::new(program::AzureStorage {
        account: effective.account().to_owned(),
        container: effective.container().to_owned(),
        realm: effective.realm(&cloud, snapshot),
        login,
    })))
}

impl<C: Cluster> ObjectBackend for Azure<'_, C> {
    const BACKEND: Backend = Backend::Azure;
    const CONDITIONS: &'static [&'static str] = &[STORAGE_EXISTS];
    const TERMS: Terms = Terms {
        container: "container",
        exists: reasons::EXISTS,
        brought: reasons::EXISTS,
        created: reasons::EXISTS,
        gone: &[reasons::CONTAINER_NOT_FOUND, reasons::ACCOUNT_NOT_FOUND],
        not_visible: reasons::CONTAINER_NOT_FOUND,
        name_taken: reasons::AZURE_ERROR,
        not_created: Some(reasons::AZURE_ERROR),
        deleted: reasons::CONTAINER_DELETED,
        no_login: reasons::CONFIG_ERROR,
        unknown: reasons::AZURE_ERROR,
        name_field: "spec.storage.azure.container",
        rights_to_observe: container::READ,
        rights_on_versions: container::READ_BLOBS,
        marked: None,
    };
    // Network rules refuse access whether or not the container exists.
    const DENIED_MEANS_EXISTS: bool = true;
    type Store<'s>
        = Store<'s, C>
    where
        Self: 's;

    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String> {
        if !is_named(storage) {
            return None;
        }
        effective(storage, snapshot).ok()?.location()
    }

    const NOT_FOUND: Option<&'static str> = Some(reasons::NOT_CONFIGURED);

    fn is_found(stored: &Storage) -> bool {
        is_named(stored)
    }

    fn same(stored: &Storage, wanted: &Storage, snapshot: &Snapshot) -> bool {
        match (&stored.azure, &wanted.azure) {
            // The status of storage whose network access the operator does not manage says what it is, not what the spec asks for.
            (Some(found), Some(wanted)) if is_unmanaged(stored) || modes(snapshot).0 => {
                let access = found.network_access.clone();
                let wanted = crate::api::registry_storage::AzureStorage {
                    network_access: access,
                    ..wanted.clone()
                };
                Effective::same(found, &wanted, snapshot)
            }
            (Some(found), Some(wanted)) => Effective::same(found, wanted, snapshot),
            _ => false,
        }
    }

    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection> {
        let effective = effective(storage, snapshot)?;
        Ok(Target {
            location: effective.location(),
            named: is_named(storage),
            access: access(&effective, snapshot, &self.clients.environment).ok(),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn inputs(_storage: &Storage, snapshot: &Snapshot) -> Vec<ObjectRef> {
        let endpoints = ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG);
        [endpoints, cloud_map()]
            .into_iter()
            .chain(proxy_map(snapshot))
            .collect()
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        let snapshot = request.snapshot;
        let proxies = (self.network.settings.proxies)();
        let (proxy_ca, cloud_ca) = (proxy_bundle(snapshot), cloud_bundle(snapshot).ok().flatten());
        let map = snapshot
            .objects
            .get(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG);
        let endpoints = map.and_then(|map| content::map_text(map, "endpoints"));
        let credentials = Credentials::of(snapshot).ok();
        let own: Vec<&str> = match &credentials {
            Some(Credentials::Platform(platform)) => platform.texts().to_vec(),
            Some(Credentials::UserKey(key)) => vec![key.expose()],
            None => Vec::new(),
        };
        let texts = proxies
            .texts()
            .into_iter()
            .chain(proxy_ca.as_deref())
            .chain(cloud_ca.as_deref());
        // The registry gets another key of the account as soon as the operator sees it.
        let keys = self.clients.keys.changes().to_string();
        let texts = texts.chain(endpoints.as_deref()).chain(own).chain([keys.as_str()]);
        let fingerprint = Fingerprint::of_target(request.target).and(texts);
        // The identity of a managed control plane is not rendered. Its certificate changes often, and changes no answer.
        match self.clients.certificates.client() {
            Some(client) => fingerprint.and([client.as_str()]),
            None => fingerprint,
        }
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        access(&effective, request.snapshot, &self.clients.environment)
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        spec::set_name(&mut storage.azure, name, |spec| &mut spec.container);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let effective = effective(request.storage, request.snapshot)?;
        Ok(Storage {
            azure: Some(effective.spec),
            ..request.storage.clone()
        })
    }

    fn notices(&self, request: &Request<'_>) -> Vec<EventRequest> {
        match Credentials::of(request.snapshot) {
            Ok(Credentials::Platform(platform)) if !platform.secret.is_empty() && !platform.token_file.is_empty() => {
                vec![EventRequest {
                    warning: false,
                    reason: "AzureCredentials",
                    message: format!(
                        "{} has a client secret and a federated token file: the operator uses the secret, the registry the \
                         token, and the storage account needs no keys",
                        platform.source
                    ),
                }]
            }
            _ => Vec::new(),
        }
    }

    fn prerequisites(&self, request: &Request<'_>) -> Vec<Stage> {
        match modes(request.snapshot) {
            (true, _) if is_named(request.storage) => Vec::new(),
            (true, _) => vec![NAMES],
            (false, _) => vec![ACCOUNT],
        }
    }

    fn finalizing(&self, request: &Request<'_>) -> Vec<Stage> {
        let (user_key, _) = modes(request.snapshot);
        let Ok(effective) = effective(request.storage, request.snapshot) else {
            return Vec::new();
        };
        if user_key || cloud::is_stack(effective.cloud_name()) || !effective.is_internal() {
            return Vec::new();
        }
        private_stages::ALL.to_vec()
    }

    fn settings(&self, request: &Request<'_>) -> Vec<Setting> {
        let Ok(effective) = effective(request.storage, request.snapshot) else {
            return Vec::new();
        };
        let (user_key, keyless) = modes(request.snapshot);
        if user_key || cloud::is_stack(effective.cloud_name()) {
            return Vec::new();
        }
        let setting = shared_keys::setting(effective.account(), keyless, request.snapshot);
        setting.into_iter().collect()
    }

    fn teardown(&self, request: &Request<'_>, kept: bool) -> Vec<Stage> {
        match modes(request.snapshot).0 {
            true => Vec::new(),
            // Others may use the account.
            false if kept => private_stages::RETIRED.to_vec(),
            false => private_stages::REMOVED.to_vec(),
        }
    }

    fn maintained(&self, request: &Request<'_>) -> bool {
        let internal = effective(request.storage, request.snapshot).is_ok_and(|effective| effective.is_internal());
        internal && !modes(request.snapshot).0
    }

    fn left_over(&self, location: &str) -> Vec<String> {
        self.clients.left(location)
    }

    fn retired(&self, request: &Request<'_>) -> Vec<Stage> {
        let external = effective(request.storage, request.snapshot).is_ok_and(|effective| !effective.is_internal());
        if external && !modes(request.snapshot).0 {
            private_stages::RETIRED.to_vec()
        } else {
            Vec::new()
        }
    }

    fn deleted_reason(&self, location: &str, deleted: bool) -> &'static str {
        let otherwise = if deleted {
            reasons::CONTAINER_DELETED
        } else {
            reasons::CONTAINER_NOT_FOUND
        };
        self.clients.ended(location).unwrap_or(otherwise)
    }

    fn clear_identifiers(&self, storage: &mut Storage, location: &str) {
        Self::set_container(storage, None);
        let ended = self.clients.ended(location);
        if matches!(ended, Some(reasons::ACCOUNT_DELETED | reasons::ACCOUNT_NOT_FOUND))
            && let Some(spec) = &mut storage.azure
        {
            spec.account_name = None;
        }
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<Store<'s, C>, StorageError> {
        let snapshot = request.snapshot;
        let effective = effective(request.storage, snapshot)?;
        let session = connect(self.network, self.clients, &effective, snapshot)?;
        let route = Route::of_operator(snapshot);
        let access = session.access.clone();
        let blobs = connect::container(self.network, &session, &effective, &route, access, Service::Blobs)?;
        let name = effective.container().to_owned();
        let container = ContainerName {
            location: effective.location().unwrap_or_default(),
            deterministic: name == generated::container(snapshot)?,
            place: String::new(),
            name,
        };
        Ok(Store {
            backend: self,
            request,
            container,
            effective,
            infrastructure: name::infrastructure_name(snapshot)?,
            mark: effective::mark(snapshot)?,
            session,
            blobs,
            account: std::sync::Mutex::default(),
            metadata: std::sync::Mutex::default(),
            unreached: std::sync::Mutex::default(),
            notes: std::sync::Mutex::default(),
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
        for case in takeover::cases("azure-") {
            let effective = effective(&case.storage, &case.snapshot).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
            let access = access(&effective, &case.snapshot, &Environment::default());
            let RegistryStorage::Azure(mut access) = access.unwrap_or_else(|e| panic!("{}: {e:?}", case.name)) else {
                panic!("{}", case.name)
            };
            if matches!(&access.login, AzureLogin::Key(key) if key.is_empty()) {
                access.login = AzureLogin::Key(Sensitive::new("YWNjb3VudC1rZXk="));
            }
            case.assert_unchanged(&Platform.render(&RegistryStorage::Azure(access)).unwrap());
        }
    }
}
