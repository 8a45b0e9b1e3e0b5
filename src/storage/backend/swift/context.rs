//! The backend and its dependencies.

use super::session::Sessions;
use crate::storage::net::network::Network;

/// The backend.
pub struct Swift<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// Cached logins.
    pub sessions: &'a Sessions,
    /// Access to the cluster.
    pub cluster: &'a C,
}
