//! Input of a step.

use super::state::{self, State};
use crate::api::{Config, Storage};
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;

/// Meaning of a backend's spec, without a call to a service.
#[derive(Clone, Debug)]
pub struct Target {
    /// Location ID: two specs with the same ID name the same storage. `None` until a name is chosen or can be derived.
    pub location: Option<String>,
    /// Whether the spec contains the name. Otherwise the operator chooses it.
    pub named: bool,
    /// What the registry needs to reach the storage, as far as known without a call. `None` if an input (a Secret, a
    /// CA) is missing.
    pub access: Option<RegistryStorage>,
    /// CA bundle (PEM) of the storage's endpoint; the engine fills it in ([`Driver::ca_bundle`]).
    ///
    /// [`Driver::ca_bundle`]: crate::storage::traits::Driver::ca_bundle
    pub ca_bundle: Option<String>,
    /// Why replicas or rollout strategy of the Config are incompatible with the storage. `ensure` refuses such storage
    /// before its first use.
    pub unfit: Option<String>,
    /// Why no new pod may start with the storage, such as a claim that is being deleted.
    pub not_usable: Option<String>,
}

/// Name of the container in a location ID.
pub fn container_name(location: &str) -> &str {
    location.rsplit('/').next().unwrap_or(location)
}

/// What the annotations of the Config say about the creation of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreationRecord {
    /// No annotation names the container.
    #[default]
    None,
    /// Intent: the operator is about to create the container.
    Intended,
    /// Creation record: the operator created the container and wrote its ownership mark.
    Created,
    /// Creation record: the operator created the container, and the service could not store an ownership mark.
    CreatedUnmarked,
}

impl CreationRecord {
    /// Whether an intent or a creation record names the container.
    pub fn exists(self) -> bool {
        self != Self::None
    }

    /// Whether this is a creation record.
    pub fn is_created(self) -> bool {
        matches!(self, Self::Created | Self::CreatedUnmarked)
    }
}

/// Input of one step.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts about the storage
pub struct Request<'a> {
    /// The stored Config.
    pub config: &'a Config,
    /// All other objects of the cluster.
    pub snapshot: &'a Snapshot,
    /// `spec.storage` with the platform's default filled in; during a removal `status.storage`.
    pub storage: &'a Storage,
    /// Meaning of `storage`.
    pub target: &'a Target,
    /// Managed or Unmanaged; `None` if managementState is blank and the observation of the storage decides.
    pub state: Option<State>,
    /// The spec names no backend, and `storage` is the platform's default.
    pub defaulted: bool,
    /// `storage` equals `status.storage`. Incompatible settings of such storage are reported, not refused.
    pub applied: bool,
    /// `status.storage` names the same location, perhaps with other settings.
    pub in_use: bool,
    /// The user changed managementState since the last stored status.
    pub state_changed: bool,
    /// An intent or a creation record names this location, and creation is allowed.
    pub may_create: bool,
    /// Intent or creation record of this location.
    pub record: CreationRecord,
    /// The adopt-storage annotation names this location.
    pub consent: bool,
    /// A probe object is recorded for this location and this cluster.
    pub probe_recorded: bool,
}

impl Request<'_> {
    /// managementState; if it is blank on storage in use, the state that an earlier pass stored.
    pub fn effective_state(&self) -> Option<State> {
        let stored = || self.in_use.then(|| state::mirrored(self.config));
        self.state.or_else(stored)
    }

    /// Whether a preflight fails if the versions of its objects may not be deleted: the operator could not remove the storage. The
    /// registry needs no versions deleted, so that storage in use gets its new credentials (docs/decisions/0030).
    pub fn must_delete_versions(&self) -> bool {
        self.effective_state() == Some(State::Managed) && !self.in_use
    }
}
