//! Connections to a bucket: endpoint, identity, CA certificates, proxy.

use std::sync::Arc;

use super::credentials::Credentials;
use super::effective::Effective;
use super::endpoint;
use super::identity::{Identities, Identity, IdentityKey};
use super::profile::Profile;
use super::session::Token;
use super::sts::Sts;
use crate::storage::model::error::StorageError;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::s3api::client::{self, Bucket};
use crate::storage::s3api::transport::{Transport, UserAgent};

/// Parameters of a connection to a bucket.
#[derive(Clone, Debug)]
pub struct Connection<'a> {
    /// Region, endpoint, path style.
    pub effective: &'a Effective,
    /// Credentials.
    pub credentials: &'a Credentials,
    /// Source of web identity tokens.
    pub token: Token,
    /// CA certificates for S3.
    pub trust: Trust,
    /// CA certificates for STS.
    pub sts_trust: Trust,
    /// Proxies.
    pub egress: Egress,
    /// Calls that change something carry the account in `x-amz-expected-bucket-owner`, if it is known and the endpoint
    /// is public.
    pub pin_owner: bool,
}

/// Prepares a connection to the bucket `name`, without a call.
///
/// # Errors
/// The CA bundle or the proxy is invalid; the region has no FIPS endpoint although one is required, or no STS although
/// the credentials name a role; or the endpoint's host does not permit virtual-hosted style.
pub fn connect(
    network: &Network,
    identities: &Identities,
    connection: Connection<'_>,
    name: &str,
) -> Result<Bucket, StorageError> {
    // Report an invalid CA bundle or proxy before errors of the identity.
    network.http.client(&connection.trust, &connection.egress)?;
    let effective = connection.effective;
    let fips = fips(network, &connection);
    let identity = identity(network, identities, &connection, fips)?;
    let url = match &effective.endpoint {
        Some(custom) => custom.clone(),
        None => endpoint::s3_url(&effective.region, fips)?,
    };
    let public = effective.endpoint.is_none();
    let connection = client::Connection {
        region: effective.region.clone(),
        signing_region: endpoint::signing_region(&effective.region).to_owned(),
        url,
        // At the public endpoint the bucket is in the host name if the name permits that.
        path_style: !public && !effective.virtual_hosted,
        identity,
        trust: connection.trust,
        egress: connection.egress,
        // Only at the public endpoint the account of the credentials is the account of the bucket's owner.
        pin_owner: connection.pin_owner && public,
        lists_versions: true,
    };
    Bucket::connect(network, connection, name)
}

/// Whether to use FIPS endpoints of S3 and STS.
fn fips(network: &Network, connection: &Connection<'_>) -> bool {
    // Without a request to AWS, the region need not have FIPS endpoints.
    needs_aws(connection) && (network.settings.fips || connection.credentials.fips)
}

/// Whether requests go to AWS: static keys at a custom endpoint need no endpoint of AWS.
fn needs_aws(connection: &Connection<'_>) -> bool {
    let is_static = matches!(connection.credentials.profile, Profile::Static { .. });
    connection.effective.endpoint.is_none() || !is_static
}

fn identity(
    network: &Network,
    identities: &Identities,
    connection: &Connection<'_>,
    fips: bool,
) -> Result<Arc<Identity>, StorageError> {
    let effective = connection.effective;
    let transport = Transport::new(
        network.http.clone(),
        connection.sts_trust.clone(),
        connection.egress.clone(),
    );
    let sts_endpoint = effective.sts_endpoint.as_deref();
    let sts = Sts {
        endpoint: if needs_aws(connection) {
            endpoint::sts_url(&effective.region, sts_endpoint, fips)?
        } else {
            // Not used. The region may be a text for signatures only.
            sts_endpoint.unwrap_or_default().to_owned()
        },
        region: endpoint::signing_region(&effective.region).to_owned(),
        transport,
        path: Http::path(&connection.sts_trust, &connection.egress),
        product: UserAgent::new(&network.settings),
        root: network.settings.root.clone(),
    };
    let key = IdentityKey {
        profile: &connection.credentials.profile,
        text: &connection.credentials.text,
        token: &connection.token,
        sts,
    };
    Ok(identities.of(key, &network.clock))
}
