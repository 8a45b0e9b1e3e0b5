//! The backend and its dependencies.

use super::identity::Sessions;
use crate::storage::net::network::Network;

/// The backend.
pub struct IbmCos<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// Cached tokens.
    pub sessions: &'a Sessions,
    /// Access to the cluster.
    pub cluster: &'a C,
}
