//! Which backend a Config means. PURE.

use super::fault::{Class, Fault};
use crate::api::openshift::InfrastructureStatus;
use crate::api::{Config, Kind, Storage};
use crate::config::defaults::{self, PlatformStorage};
use crate::config::resolve::{self, Reason};
use crate::config::snapshot::Snapshot;

/// The backend that counts in this pass.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Name of the backend.
    pub backend: &'static str,
    /// `spec.storage`, with the platform's default block added where it has none. All else in it is the user's.
    pub storage: Storage,
    /// The block is the platform's default and not in the spec yet.
    pub defaulted: bool,
}

fn not_configured(message: String) -> Fault {
    Fault {
        class: Class::Rejected(Reason::StorageNotConfigured),
        message,
    }
}

/// The backend of the spec, else the platform's.
pub fn select(config: &Config, snapshot: &Snapshot) -> Result<Selected, Fault> {
    let storage = config.spec.storage.clone().unwrap_or_default();
    if let Some(backend) = resolve::select(&storage)? {
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
            return Err(Fault::config(message));
        }
        None => InfrastructureStatus::default(),
    };
    let platform = defaults::platform(&infrastructure);
    match defaults::storage(platform.as_deref()) {
        PlatformStorage::Backend(default) => {
            let storage = Storage {
                management_state: storage.management_state,
                ..*default
            };
            let backend = resolve::select(&storage)?.unwrap_or_default();
            Ok(Selected {
                backend,
                storage,
                defaulted: true,
            })
        }
        PlatformStorage::SwiftOrClaim => Err(not_configured(
            "spec.storage names no backend, and the default of platform OpenStack, Swift, is not implemented by this \
             build: set one backend in spec.storage, for example pvc"
                .to_owned(),
        )),
        PlatformStorage::Nothing => Err(not_configured(format!(
            "spec.storage names no backend, and platform {} has no default: set one, for example pvc",
            platform.as_deref().unwrap_or("(unknown)")
        ))),
    }
}

/// The backend exists in the API and not in this program.
pub fn not_in_this_build(backend: &str) -> Fault {
    not_configured(format!(
        "storage backend {backend} is not implemented by this build of the operator; nothing was touched, and a running \
         registry is left as it is: use s3, pvc or emptyDir in spec.storage, or run an operator that implements {backend}"
    ))
}
