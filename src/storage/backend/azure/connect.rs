//! Connections of one step: cloud, identity, CA certificates, proxy.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::arm::Arm;
use super::blobs::{Access, BlobService, KeySource};
use super::clients::Clients;
use super::cloud::Cloud;
use super::container::BlobContainer;
use super::credentials::{Credentials, Login, Platform};
use super::effective::Effective;
use super::error::Service;
use super::identity::{Audience, BLOB_SCOPE, Identity, IdentityKey, Proof};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::trust::{cloud_bundle, join, proxy_bundle};
use crate::storage::model::error::StorageError;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;
use crate::storage::net::transport::Transport;

/// Longest application ID that Azure accepts.
const AGENT_LENGTH: usize = 24;

/// Connections of one step.
pub struct Session {
    /// Addresses of the cloud.
    pub cloud: Cloud,
    /// Resource Manager; `None` with an account key of the administrator.
    pub arm: Option<Arc<Arm>>,
    /// Authorization of requests for blobs.
    pub access: Access,
    /// Credentials.
    pub credentials: Credentials,
}

impl Session {
    /// Whether the administrator gave an account key.
    pub fn has_user_key(&self) -> bool {
        matches!(self.credentials, Credentials::UserKey(_))
    }

    /// Whether the registry authenticates with a token, so that the account needs no keys.
    pub fn is_keyless(&self) -> bool {
        self.credentials.is_keyless() && !self.cloud.stack
    }
}

/// A way to Azure: CA certificates and proxies.
pub struct Route {
    /// CA certificates.
    pub trust: Trust,
    /// Proxies.
    pub egress: Egress,
}

impl Route {
    /// The operator's own way.
    pub fn of_operator(snapshot: &Snapshot) -> Self {
        let proxy = proxy_bundle(snapshot);
        // Azure Stack Hub may have a CA of its own, which the platform publishes. An unusable bundle is the platform's to mend.
        let cloud = cloud_bundle(snapshot).ok().flatten();
        Self {
            trust: Trust::with_system(join(proxy.as_deref(), cloud.as_deref())),
            egress: Egress::Process,
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// The CA bundle or the proxy is invalid.
    pub fn transport(&self, network: &Network) -> Result<Transport, StorageError> {
        // Report an invalid CA bundle or proxy before errors of the identity.
        network.http.client(&self.trust, &self.egress)?;
        let (trust, egress) = (self.trust.clone(), self.egress.clone());
        Ok(Transport::new(
            network.http.clone(),
            trust,
            egress,
            agent(&network.settings.version),
        ))
    }
}

/// User agent: an application ID in the form that Azure accepts. `version`: that of the operator.
pub fn agent(version: &str) -> String {
    let mut agent = format!("{}/{version}", names::USER_AGENT);
    agent.retain(|c| c.is_ascii_graphic());
    agent.truncate(AGENT_LENGTH);
    agent
}

/// Prepares the connections of a step, without a call to a service.
///
/// # Errors
/// The cloud is not known, or credentials are missing or not usable.
pub fn connect(
    network: &Network,
    clients: &Clients,
    effective: &Effective,
    snapshot: &Snapshot,
) -> Result<Session, StorageError> {
    let cloud = effective.cloud(snapshot, &clients.environment)?;
    let credentials = Credentials::of(snapshot)?;
    let platform = match &credentials {
        Credentials::UserKey(key) => {
            return Ok(Session {
                access: Access::Key(KeySource::Given(key.clone())),
                cloud,
                arm: None,
                credentials,
            });
        }
        Credentials::Platform(platform) => platform,
    };
    let route = Route::of_operator(snapshot);
    let key = operator(network, clients, &cloud, platform, &route)?;
    let arm = Arc::new(Arm {
        transport: key.transport.clone(),
        identity: clients.identities.of(key.clone(), &network.clock),
        origin: cloud.resource_manager.clone(),
        subscription: platform.subscription.clone(),
        group: platform.resource_group.clone(),
        region: platform.region.clone(),
        stack: cloud.stack,
        clock: network.clock.clone(),
        leading: network.settings.leading.clone(),
        operations: clients.operations.clone(),
    });
    let access = if credentials.is_keyless() && !cloud.stack {
        let key = IdentityKey {
            audience: Audience::Scope(BLOB_SCOPE.to_owned()),
            ..key
        };
        Access::Token(clients.identities.of(key, &network.clock))
    } else {
        Access::Key(KeySource::Listed {
            cache: clients.keys.clone(),
            arm: arm.clone(),
        })
    };
    Ok(Session {
        cloud,
        arm: Some(arm),
        access,
        credentials,
    })
}

/// The operator's identity at Resource Manager.
fn operator(
    network: &Network,
    clients: &Clients,
    cloud: &Cloud,
    platform: &Platform,
    route: &Route,
) -> Result<IdentityKey, StorageError> {
    let audience = if cloud.stack {
        Audience::Resource(cloud.audience.clone())
    } else {
        Audience::Scope(cloud.scope())
    };
    let own = IdentityKey {
        client: platform.client.clone(),
        tenant: platform.tenant.clone(),
        authority: cloud.authority.clone(),
        proof: Proof::Secret(platform.secret.clone()),
        audience,
        transport: route.transport(network)?,
        path: Http::path(&route.trust, &route.egress),
    };
    Ok(match platform.login(&clients.environment, cloud.stack)? {
        Login::Secret => own,
        Login::WorkloadIdentity { client, tenant, file } => IdentityKey {
            client,
            tenant,
            proof: Proof::File {
                path: file,
                root: network.settings.root.clone(),
            },
            ..own
        },
        Login::CertificateFile(path) => {
            let certificate = clients.certificates.of(&path, (network.clock.now)())?;
            IdentityKey {
                client: certificate.client.clone(),
                tenant: certificate.tenant.clone(),
                authority: certificate.authority.clone(),
                proof: Proof::Certificate(certificate),
                ..own
            }
        }
    })
}

/// The registry's identity for blobs: the client of the Secret, with this token of the registry's ServiceAccount.
pub fn registry_identity(
    network: &Network,
    clients: &Clients,
    session: &Session,
    route: &Route,
    token: crate::api::Sensitive,
) -> Result<Arc<Identity>, StorageError> {
    let (client, tenant) = match &session.credentials {
        Credentials::Platform(platform) => (platform.client.clone(), platform.tenant.clone()),
        Credentials::UserKey(_) => (String::new(), String::new()),
    };
    let key = IdentityKey {
        client,
        tenant,
        authority: session.cloud.authority.clone(),
        proof: Proof::Given(token),
        audience: Audience::Scope(BLOB_SCOPE.to_owned()),
        transport: route.transport(network)?,
        path: Http::path(&route.trust, &route.egress),
    };
    Ok(clients.identities.of(key, &network.clock))
}

/// A container with its connection.
///
/// # Errors
/// The CA bundle or the proxy is invalid.
pub fn container(
    network: &Network,
    session: &Session,
    effective: &Effective,
    route: &Route,
    access: Access,
    service: Service,
) -> Result<BlobContainer, StorageError> {
    Ok(BlobContainer {
        name: effective.container().to_owned(),
        service: BlobService {
            transport: route.transport(network)?,
            access,
            account: effective.account().to_owned(),
            origin: session.cloud.blob_service(effective.account()),
            stack: session.cloud.stack,
            service,
            clock: network.clock.clone(),
            leading: network.settings.leading.clone(),
            unsure: AtomicBool::new(false),
        },
    })
}
