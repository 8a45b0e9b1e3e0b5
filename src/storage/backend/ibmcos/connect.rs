//! Connections to the services of IBM Cloud: as the operator, by a token; as the registry, by HMAC keys.

use std::sync::Arc;

use super::api::Api;
use super::credentials::ApiKey;
use super::effective::Effective;
use super::identity::{Bearer, Sessions};
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::trust::proxy_bundle;
use crate::storage::model::error::StorageError;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::transport::Transport;
use crate::storage::s3api::client::{self, Bucket, Identity};

/// Largest response body. The largest expected one is a page of a hundred resources.
const LARGEST_ANSWER: usize = 8 << 20;

/// CA certificates of the operator's connections: the system's, and those of the cluster's proxy.
fn trust(snapshot: &Snapshot) -> Trust {
    Trust::with_system(proxy_bundle(snapshot).unwrap_or_default())
}

/// Resource Controller and Resource Manager, as the operator reaches them. Makes no call.
///
/// # Errors
/// There is no API key, or the CA bundle or the proxy is invalid.
pub fn api(
    network: &Network,
    sessions: &Sessions,
    effective: &Effective,
    snapshot: &Snapshot,
) -> Result<Api, StorageError> {
    let key = ApiKey::of(snapshot)?;
    let trust = trust(snapshot);
    network.http.client(&trust, &Egress::Process)?;
    let path = Http::path(&trust, &Egress::Process);
    let transport = Transport::new(
        network.http.clone(),
        trust,
        Egress::Process,
        network.settings.user_agent(),
    )
    .at_most(LARGEST_ANSWER);
    sessions.log_unknown(&effective.endpoints.unknown);
    let url = &effective.endpoints.iam;
    Ok(Api {
        iam: sessions.of(&key.key, url, transport.clone(), &path, &network.clock),
        transport,
        endpoints: effective.endpoints.clone(),
        clock: network.clock.clone(),
        leading: network.settings.leading.clone(),
    })
}

/// A bucket of this service instance, as the operator reaches it. Makes no call.
///
/// # Errors
/// The CA bundle or the proxy is invalid.
pub fn bucket(
    network: &Network,
    api: &Api,
    effective: &Effective,
    instance: &str,
    name: &str,
    snapshot: &Snapshot,
) -> Result<Bucket, StorageError> {
    let identity = Arc::new(Bearer::new(api.iam.clone(), instance));
    connect(network, effective, identity, trust(snapshot), Egress::Process, name)
}

/// A bucket, at the endpoint of the location, in path style.
///
/// # Errors
/// The CA bundle or the proxy is invalid.
pub fn connect(
    network: &Network,
    effective: &Effective,
    identity: Arc<dyn Identity>,
    trust: Trust,
    egress: Egress,
    name: &str,
) -> Result<Bucket, StorageError> {
    let connection = client::Connection {
        region: effective.constraint(),
        signing_region: effective.location.clone(),
        url: effective.endpoints.cos(&effective.location),
        path_style: true,
        identity,
        trust,
        egress,
        pin_owner: false,
        lists_versions: true,
    };
    Bucket::connect(network, connection, name)
}
