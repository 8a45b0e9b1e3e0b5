//! Connections to a bucket: identity, CA certificates, proxy.

use super::bucket::Bucket;
use super::client::Client;
use super::clients::Clients;
use super::credentials::Credentials;
use super::identity::{IdentityKey, Subject};
use crate::storage::model::error::StorageError;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::transport::Transport;

/// Parameters of a connection.
pub struct Connection<'a> {
    /// Credentials.
    pub credentials: &'a Credentials,
    /// Domain of the APIs.
    pub universe: &'a str,
    /// Scope of the tokens.
    pub scope: &'static str,
    /// Source of the token of a workload identity federation.
    pub subject: Subject,
    /// CA certificates.
    pub trust: Trust,
    /// Proxies.
    pub egress: Egress,
}

/// Prepares a connection to the bucket `name`, without a call.
///
/// # Errors
/// The CA bundle or the proxy is invalid.
pub fn connect(
    network: &Network,
    clients: &Clients,
    connection: Connection<'_>,
    name: &str,
) -> Result<Bucket, StorageError> {
    // Report an invalid CA bundle or proxy before errors of the identity.
    network.http.client(&connection.trust, &connection.egress)?;
    let path = Http::path(&connection.trust, &connection.egress);
    let transport = Transport::new(
        network.http.clone(),
        connection.trust,
        connection.egress,
        network.settings.user_agent(),
    );
    let key = IdentityKey {
        credentials: connection.credentials,
        universe: connection.universe,
        scope: connection.scope,
        subject: connection.subject,
        transport: transport.clone(),
        path,
    };
    let emulated = clients.endpoints.emulator;
    let identity = (!emulated).then(|| clients.identities.of(key, &network.clock));
    Ok(Bucket {
        client: Client::new(
            transport,
            identity,
            connection.credentials.quota_project.clone(),
            network.clock.clone(),
            network.settings.leading.clone(),
        ),
        name: name.to_owned(),
        storage: clients.endpoints.storage(connection.universe),
    })
}
