//! What outlives a step: cached tokens, and the addresses of the APIs.

use super::endpoint::Endpoints;
use super::identity::Identities;

/// Tokens and addresses of this process.
#[derive(Default)]
pub struct Clients {
    /// Cached identities with their tokens.
    pub identities: Identities,
    /// Addresses.
    pub endpoints: Endpoints,
}
