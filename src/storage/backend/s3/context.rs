//! The backend and its dependencies.

use super::identity::Identities;
use crate::storage::net::network::Network;

/// The backend.
pub struct S3<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// Cached identities.
    pub identities: &'a Identities,
    /// Access to the cluster.
    pub cluster: &'a C,
}
