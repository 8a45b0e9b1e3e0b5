//! The backend and its dependencies.

use std::marker::PhantomData;

use crate::storage::net::network::Network;

/// The backend.
pub struct Oss<'a, C> {
    /// Connections.
    pub network: &'a Network,
    /// It needs nothing of the cluster.
    pub cluster: PhantomData<&'a C>,
}
