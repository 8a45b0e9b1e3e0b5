//! Selects the backend of a Config.

use crate::api::openshift::InfrastructureStatus;
use crate::api::{Config, Kind, Storage};
use crate::config::defaults::{self, PlatformStorage};
use crate::config::resolve::{self, Reason};
use crate::config::snapshot::Snapshot;
use crate::storage::model::backend::Backend;
use crate::storage::model::error::{ErrorClass, StorageError};

/// The selected backend.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The backend.
    pub backend: Backend,
    /// `spec.storage`; if it names no backend, with the platform's default filled in.
    pub storage: Storage,
    /// The backend is the platform's default and not in the spec.
    pub defaulted: bool,
}

/// Platform defaults that depend on a call to the cloud.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait PlatformDefaults {
    /// Whether the platform's object storage can be used with the cluster's credentials. An error means unknown.
    async fn is_usable(&self, backend: Backend, snapshot: &Snapshot) -> Result<bool, StorageError>;
}

fn not_configured(message: String) -> StorageError {
    StorageError {
        class: ErrorClass::Invalid(Reason::StorageNotConfigured),
        message,
    }
}

/// Selects the backend of the spec, or the platform's default.
///
/// # Errors
/// The spec names several backends, or none on a platform without a default; or the platform is unknown.
pub async fn select(
    config: &Config,
    snapshot: &Snapshot,
    defaults: &impl PlatformDefaults,
) -> Result<Selected, StorageError> {
    let storage = config.spec.storage.clone().unwrap_or_default();
    if let Some(backend) = named(&storage)? {
        return Ok(Selected {
            backend,
            storage,
            defaulted: false,
        });
    }
    let infrastructure = match snapshot.infrastructure() {
        Some(infrastructure) => infrastructure,
        None if snapshot.objects.served(Kind::Infrastructure) => {
            let message = "Infrastructure cluster does not exist, so that the platform's default storage is not known: \
                           create it, or set one backend in spec.storage";
            return Err(StorageError::action_required(message));
        }
        None => InfrastructureStatus::default(),
    };
    let platform = defaults::platform(&infrastructure);
    let Some(default) = platform_default(snapshot, platform.as_deref(), defaults).await? else {
        return Err(not_configured(format!(
            "spec.storage names no backend, and platform {} has no default: set one, for example pvc",
            platform.as_deref().unwrap_or("(unknown)")
        )));
    };
    let storage = Storage {
        management_state: storage.management_state,
        ..default
    };
    let backend = named(&storage)?.unwrap_or(Backend::EmptyDir);
    Ok(Selected {
        backend,
        storage,
        defaulted: true,
    })
}

/// The backend that a spec names; `None` if it names none.
fn named(storage: &Storage) -> Result<Option<Backend>, StorageError> {
    Ok(resolve::select(storage)?.and_then(Backend::named))
}

/// Default storage of a platform; `None` if the platform has none. The default of OpenStack is Swift if Swift is
/// usable, otherwise a PersistentVolumeClaim.
pub async fn platform_default(
    snapshot: &Snapshot,
    platform: Option<&str>,
    defaults: &impl PlatformDefaults,
) -> Result<Option<Storage>, StorageError> {
    Ok(match defaults::storage(platform) {
        PlatformStorage::Backend(default) => Some(*default),
        PlatformStorage::SwiftOrClaim if defaults.is_usable(Backend::Swift, snapshot).await? => Some(Storage {
            swift: Some(crate::api::registry_storage::SwiftStorage::default()),
            ..Storage::default()
        }),
        PlatformStorage::SwiftOrClaim => Some(defaults::claim_storage()),
        PlatformStorage::Nothing => None,
    })
}

/// Error for a backend that this build does not implement.
pub fn not_in_this_build(backend: Backend) -> StorageError {
    let backend = backend.name();
    not_configured(format!(
        "storage backend {backend} is not implemented by this build of the operator; nothing was changed, and a \
         running registry keeps its storage: use another backend in spec.storage, or run an operator that \
         implements {backend}"
    ))
}
