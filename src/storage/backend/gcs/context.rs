//! The backend and its dependencies.

use super::clients::Clients;
use crate::storage::net::network::Network;

/// The backend.
pub struct Gcs<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// Tokens and addresses.
    pub clients: &'a Clients,
    /// Access to the cluster.
    pub cluster: &'a C,
}
