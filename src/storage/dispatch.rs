//! The only module that knows every backend. It selects the backend for each step, removal, preflight and watch.

use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value;

use super::backend::azure::environment::Environment as AzureEnvironment;
use super::backend::azure::{Azure, Clients as AzureClients};
use super::backend::empty_dir::EmptyDir;
use super::backend::gcs::endpoint::Endpoints;
use super::backend::gcs::{Clients as GcsClients, Gcs};
use super::backend::ibmcos::{IbmCos, Sessions as IbmSessions};
use super::backend::oss::Oss;
use super::backend::pvc::Pvc;
use super::backend::s3::S3;
use super::backend::s3::identity::Identities;
use super::backend::swift::{Sessions, Swift, inputs_of_usable, is_usable};
use super::engine::cache::ObservationCache;
use super::engine::context::Engine;
use super::engine::object_storage::ObjectStorage;
use super::engine::platform::PlatformCache;
use super::engine::select::{self, PlatformDefaults};
use super::engine::{reconcile, removal};
use super::model::backend::Backend;
use super::model::error::StorageError;
use super::model::outcome::Outcome;
use super::net::clock::Clock;
use super::net::http::Http;
use super::net::network::{Network, Settings};
use super::preflight::record::{self, Clearing, LeftoverProbe};
use super::preflight::{RegistryPods, no_pods};
use super::traits::{Cluster, Creation, ObjectBackend};
use crate::api::{Config, ObjectRef, Sensitive, Storage};
use crate::config::defaults::{self, PlatformStorage};
use crate::config::event_request::EventRequest;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::status::conditions::ConditionUpdate;

/// Connections and cached observations of this process, for all backends. They live as long as the process leads.
/// Correctness does not depend on them.
pub struct StorageClients {
    network: Network,
    cache: ObservationCache,
    platform: PlatformCache,
    s3: Identities,
    swift: Sessions,
    gcs: GcsClients,
    ibmcos: IbmSessions,
    azure: AzureClients,
}

impl StorageClients {
    /// Creates clients without a connection.
    pub fn new(settings: Settings) -> Self {
        Self {
            network: Network::new(settings),
            cache: ObservationCache::default(),
            platform: PlatformCache::default(),
            s3: Identities::default(),
            swift: Sessions::default(),
            gcs: GcsClients::default(),
            ibmcos: IbmSessions::default(),
            azure: AzureClients::default(),
        }
    }

    /// The same with another clock; for tests.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self {
            network: self.network.with_clock(clock),
            ..self
        }
    }

    /// The same with other HTTP clients; for tests.
    #[must_use]
    pub fn with_http(self, change: impl FnOnce(Http) -> Http) -> Self {
        Self {
            network: self.network.with_http(change),
            ..self
        }
    }

    /// The same with other addresses of Google Cloud.
    #[must_use]
    pub fn with_gcs_endpoints(mut self, endpoints: Endpoints) -> Self {
        self.gcs.endpoints = endpoints;
        self
    }

    /// The same with what the environment of the process says about Azure.
    #[must_use]
    pub fn with_azure_environment(mut self, environment: AzureEnvironment) -> Self {
        self.azure = self.azure.with_environment(environment);
        self
    }

    /// The same with a counter of the lookups of Azure account keys: called with whether the cache had a fresh key.
    #[must_use]
    pub fn with_azure_key_counter(mut self, counter: Arc<dyn Fn(bool) + Send + Sync>) -> Self {
        self.azure = self.azure.with_counter(counter);
        self
    }

    /// Connections; for tests of one backend.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Identities of S3; for tests.
    pub fn s3_identities(&self) -> &Identities {
        &self.s3
    }

    /// Records that a write of this process changed `metadata.generation` of the Config from `before` to `after`, so
    /// that cached observations stay valid.
    pub fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        self.cache.config_written(before, after);
    }

    fn swift<'a, C: Cluster>(&'a self, cluster: &'a C) -> Swift<'a, C> {
        Swift {
            network: &self.network,
            sessions: &self.swift,
            cluster,
        }
    }

    fn gcs<'a, C: Cluster>(&'a self, cluster: &'a C) -> Gcs<'a, C> {
        Gcs {
            network: &self.network,
            clients: &self.gcs,
            cluster,
        }
    }

    fn ibmcos<'a, C: Cluster>(&'a self, cluster: &'a C) -> IbmCos<'a, C> {
        IbmCos {
            network: &self.network,
            sessions: &self.ibmcos,
            cluster,
        }
    }

    fn azure<'a, C: Cluster>(&'a self, cluster: &'a C) -> Azure<'a, C> {
        Azure {
            network: &self.network,
            clients: &self.azure,
            cluster,
        }
    }

    fn oss<'a, C: Cluster>(&'a self, _cluster: &'a C) -> Oss<'a, C> {
        Oss {
            network: &self.network,
            cluster: PhantomData,
        }
    }

    fn s3<'a, C: Cluster>(&'a self, cluster: &'a C) -> S3<'a, C> {
        S3 {
            network: &self.network,
            identities: &self.s3,
            cluster,
        }
    }
}

/// Runs `$body` with the driver of an object store, or `$other` for a backend without one.
///
/// Each future is boxed, because it is large and the caller's future would hold those of all backends.
macro_rules! with_object_storage {
    ($selected:expr, $clients:expr, $cluster:expr, |$driver:ident| $body:expr, |$name:ident| $other:expr) => {
        match $selected {
            Backend::S3 => {
                let $driver = &ObjectStorage {
                    backend: &$clients.s3($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            Backend::Swift => {
                let $driver = &ObjectStorage {
                    backend: &$clients.swift($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            Backend::Gcs => {
                let $driver = &ObjectStorage {
                    backend: &$clients.gcs($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            Backend::IbmCos => {
                let $driver = &ObjectStorage {
                    backend: &$clients.ibmcos($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            Backend::Oss => {
                let $driver = &ObjectStorage {
                    backend: &$clients.oss($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            Backend::Azure => {
                let $driver = &ObjectStorage {
                    backend: &$clients.azure($cluster),
                    cluster: $cluster,
                    cache: &$clients.cache,
                };
                Box::pin($body).await
            }
            $name => $other,
        }
    };
}

/// Evaluates `$pure` with the type `$B` of an object store, or `$other` for another backend. For methods without a
/// call.
macro_rules! with_object_backend {
    ($backend:expr, |$B:ident| $pure:expr, $other:expr) => {
        match $backend {
            Backend::S3 => {
                type $B = S3<'static, NoCluster>;
                $pure
            }
            Backend::Swift => {
                type $B = Swift<'static, NoCluster>;
                $pure
            }
            Backend::Gcs => {
                type $B = Gcs<'static, NoCluster>;
                $pure
            }
            Backend::IbmCos => {
                type $B = IbmCos<'static, NoCluster>;
                $pure
            }
            Backend::Oss => {
                type $B = Oss<'static, NoCluster>;
                $pure
            }
            Backend::Azure => {
                type $B = Azure<'static, NoCluster>;
                $pure
            }
            Backend::EmptyDir | Backend::Pvc => $other,
        }
    };
}

/// A type without values, for the pure methods of a backend, which need no access to the cluster.
enum NoCluster {}

impl Cluster for NoCluster {
    async fn confirm(&self) -> Result<(), StorageError> {
        match *self {}
    }

    async fn registry_token(&self, _audience: &str) -> Result<Sensitive, StorageError> {
        match *self {}
    }

    async fn create_claim(&self, _claim: &Value) -> Result<Creation, StorageError> {
        match *self {}
    }

    async fn delete_claim(&self, _name: &str, _uid: &str, _version: &str) -> Result<(), StorageError> {
        match *self {}
    }
}

/// The backends that a spec names.
fn backends_of(storage: &Storage) -> impl Iterator<Item = Backend> {
    storage.backends().into_iter().filter_map(Backend::named)
}

/// Platform defaults that depend on a call.
struct Defaults<'a>(&'a StorageClients);

impl PlatformDefaults for Defaults<'_> {
    async fn is_usable(&self, backend: Backend, snapshot: &Snapshot) -> Result<bool, StorageError> {
        match backend {
            Backend::Swift => {
                let clients = self.0;
                let asked = Box::pin(is_usable(&clients.network, &clients.swift, snapshot));
                match inputs_of_usable(&clients.network, snapshot) {
                    Some(inputs) => clients.platform.usable(inputs, snapshot.now, asked).await,
                    None => asked.await,
                }
            }
            other => Err(select::not_in_this_build(other)),
        }
    }
}

/// Default storage of the platform; `None` if the platform has none. May call the platform's object storage.
///
/// # Errors
/// Whether the platform's object storage can be used is unknown.
pub async fn platform_default(
    snapshot: &Snapshot,
    platform: Option<&str>,
    clients: &StorageClients,
) -> Result<Option<Storage>, StorageError> {
    select::platform_default(snapshot, platform, &Defaults(clients)).await
}

/// One step towards the storage that the Config names, for `managementState: Managed`.
///
/// Idempotent. On a settled cluster a step records nothing and changes neither status nor conditions.
pub async fn ensure(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    clients: &StorageClients,
    pods: &RegistryPods<'_>,
) -> Outcome {
    let engine = &Engine {
        cluster,
        cache: &clients.cache,
        pods,
    };
    let selected = match select::select(config, snapshot, &Defaults(clients)).await {
        Ok(selected) => selected,
        Err(error) => {
            return Outcome {
                error: Some(error),
                ..Outcome::unchanged(config)
            };
        }
    };
    match selected.backend {
        Backend::Pvc => Box::pin(reconcile::ensure(&Pvc { cluster }, config, snapshot, &selected, engine)).await,
        Backend::EmptyDir => Box::pin(reconcile::ensure(&EmptyDir, config, snapshot, &selected, engine)).await,
        object_storage => with_object_storage!(
            object_storage,
            clients,
            cluster,
            |driver| reconcile::ensure(driver, config, snapshot, &selected, engine),
            |other| Outcome {
                record: reconcile::record_default(config, &selected),
                error: Some(select::not_in_this_build(other)),
                ..Outcome::unchanged(config)
            }
        ),
    }
}

/// One step of the removal of the storage that `status.storage` names: with `managementState: Removed` or a Config that
/// is being deleted, after the registry's objects and pods are deleted.
///
/// The controller keeps the finalizer and repeats the step until [`Outcome::done`].
pub async fn remove(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    clients: &StorageClients,
    deleting_config: bool,
) -> Outcome {
    if !deleting_config && ManagementState::of(config) != ManagementState::Removed {
        // The user changed managementState back. Delete nothing more.
        return Outcome::unchanged(config);
    }
    let engine = &Engine {
        cluster,
        cache: &clients.cache,
        pods: &no_pods(),
    };
    let stored = config.status.as_ref().map(|s| s.storage.clone()).unwrap_or_default();
    let backends = stored.backends();
    let backend = match backends.as_slice() {
        [] => return removal::forget(config),
        [one] => Backend::named(one),
        several => {
            let message = format!(
                "status.storage of Config cluster names {} backends ({}), so no storage was removed: remove all but \
                 the one in use from status.storage",
                several.len(),
                several.join(", ")
            );
            return Outcome {
                error: Some(StorageError::action_required(message)),
                ..Outcome::unchanged(config)
            };
        }
    };
    let outcome = match backend {
        Some(Backend::Pvc) => removal::remove(&Pvc { cluster }, config, snapshot, engine, deleting_config).await,
        Some(Backend::EmptyDir) => Outcome {
            own_conditions: &[],
            ..removal::forget(config)
        },
        Some(object_storage) => with_object_storage!(
            object_storage,
            clients,
            cluster,
            |driver| removal::remove(driver, config, snapshot, engine, deleting_config),
            |other| removal::without_driver(other.name(), config, deleting_config)
        ),
        None => removal::without_driver(backends.first().copied().unwrap_or_default(), config, deleting_config),
    };
    outcome.with_storage_left(config)
}

/// Conditions and events for storage that the operator stops managing (`managementState: Unmanaged`): reports once that
/// an unfinished removal deleted a part of it.
pub fn left_alone(config: &Config, clients: &StorageClients) -> (Vec<ConditionUpdate>, Vec<EventRequest>) {
    removal::left_alone(config, &clients.cache)
}

/// Deletes probe objects that earlier processes may have left. Without a record, as on a settled cluster, it makes no
/// call.
pub async fn clear_probes(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    clients: &StorageClients,
) -> Clearing {
    record::clear(config, snapshot, &clients.cache, async |left| {
        clear_probe(config, snapshot, cluster, clients, left).await
    })
    .await
}

async fn clear_probe(
    config: &Config,
    snapshot: &Snapshot,
    cluster: &impl Cluster,
    clients: &StorageClients,
    left: &LeftoverProbe,
) -> Result<(), StorageError> {
    let backends = left.storage.backends();
    let backend = match backends.as_slice() {
        [one] => Backend::named(one),
        _ => None,
    };
    match backend {
        Some(Backend::Pvc) => record::clear_one(&Pvc { cluster }, config, snapshot, cluster, left).await,
        Some(Backend::EmptyDir) => record::clear_one(&EmptyDir, config, snapshot, cluster, left).await,
        Some(object_storage) => with_object_storage!(
            object_storage,
            clients,
            cluster,
            |driver| record::clear_one(driver, config, snapshot, cluster, left),
            |other| Err(StorageError::action_required(no_driver(other.name())))
        ),
        None => Err(StorageError::action_required(no_driver(&backends.join(", ")))),
    }
}

fn no_driver(backend: &str) -> String {
    format!("this build of the operator does not implement storage backend {backend}")
}

/// Secrets and ConfigMaps that the storage reads, for the watches: those of the spec, of the storage in use, and of
/// storage in which a probe object may be left. The two Secrets with credentials are watched in any case.
pub fn inputs(config: &Config, snapshot: &Snapshot) -> Vec<ObjectRef> {
    let spec = config.spec.storage.as_ref();
    let status = config.status.as_ref().map(|status| &status.storage);
    let probed = record::stored(config);
    let storages = spec
        .into_iter()
        .chain(status)
        .chain(probed.iter().map(|left| &left.storage));
    let mut inputs: Vec<ObjectRef> = Vec::new();
    for storage in storages {
        for backend in backends_of(storage) {
            inputs.extend(with_object_backend!(
                backend,
                |B| B::inputs(storage, snapshot),
                Vec::new()
            ));
        }
    }
    inputs.sort();
    inputs.dedup();
    inputs
}

/// CA bundles (PEM) of the endpoints of two storages: the one that the Config names, and the one in use. `None` if
/// neither has a bundle. Pure.
///
/// # Errors
/// A bundle that the spec names is missing or holds no certificate.
pub fn ca_bundle(config: &Config, snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
    let spec = config.spec.storage.clone().unwrap_or_default();
    let wanted = match spec.backends().len() {
        0 => snapshot
            .infrastructure()
            .map(|infrastructure| defaults::storage(defaults::platform(&infrastructure).as_deref())),
        1 => Some(PlatformStorage::Backend(Box::new(spec))),
        // While the spec names two backends, the registry keeps its current storage.
        _ => None,
    };
    let wanted = match &wanted {
        Some(PlatformStorage::Backend(storage)) => Some(&**storage),
        _ => None,
    };
    let status = config.status.as_ref().map(|status| &status.storage);
    let mut bundles = Vec::new();
    for storage in wanted.into_iter().chain(status) {
        for backend in backends_of(storage) {
            bundles.extend(with_object_backend!(
                backend,
                |B| <B as ObjectBackend>::ca_bundle(storage, snapshot)?,
                None
            ));
        }
    }
    Ok(super::inputs::trust::union(bundles))
}
