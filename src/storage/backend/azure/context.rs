//! The backend and its dependencies.

use super::clients::Clients;
use crate::storage::net::network::Network;

/// The backend.
pub struct Azure<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// Tokens, keys and operations.
    pub clients: &'a Clients,
    /// Access to the cluster.
    pub cluster: &'a C,
}
