//! Azure: Entra ID, instance metadata, Resource Manager (storage accounts, private endpoints, private DNS, resource groups) and
//! the blob services of the accounts, over TLS at one address. [Azurite](https://github.com/Azure/Azurite) has containers and
//! blobs; all else is kept here. Each call needs a token of somebody whose roles have exactly the action that Azure asks for, or
//! a signature with the account's key. Tests drive it with Microsoft's own Python clients.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use devcluster::stores::{Authority, Azure, AzureOptions, Role};
//! let azure = Azure::start(AzureOptions::new(Authority::new("cloud")?)).await?;
//! let tenant = azure.tenant();
//! let subscription = azure.subscription(&tenant);
//! let group = azure.resource_group(&subscription, "cluster-rg", "westeurope");
//! let operator = azure.application(&tenant);
//! let secret = azure.add_secret(&operator)?;
//! azure.allow(&operator, &group, Role::everything());
//! // ... point something at it, by a ForwardProxy that knows azure.hosts() ...
//! # Ok(())
//! # }
//! ```
//!
//! The host tells the service: `login.microsoftonline.com`, `management.azure.com`, `ACCOUNT.blob.core.windows.net`, and those of
//! the other clouds. Under an address, or `localhost`, the path tells it; there blob services are not to be had. Instance metadata
//! answers without TLS, at [`Azure::metadata_url`].
//!
//! Where it differs from Azure: what is granted or changed counts at once; `checkNameAvailability` needs no action, and neither does
//! a look at a long operation; soft delete, versions, snapshots of blobs and batches are not played; a container is gone at once,
//! unless a test says how long that takes; names of metadata are in lower case.

mod access;
mod accounts;
mod address;
mod arm;
mod azurite;
mod blob;
mod containers;
mod dns;
mod entra;
mod environment;
mod groups;
mod hooks;
mod identity;
mod long_running;
mod metadata;
mod network;
pub(super) mod operation;
mod reply;
mod routes;
mod signature;
mod state;

pub use environment::AzureCloud;
pub use identity::{EntraApplication, EntraCertificate};
pub use long_running::{LongRunning, OperationHeaders};
pub use state::{AzureCall, Needed, Role};

use super::proxy::Hosts;
use super::serve::Server;
use super::tls::Authority;
use super::wire::Target;
use super::{Gate, GateOptions, lock};
use anyhow::Result;
use azurite::Azurite;
use routes::Shared;
use serde_json::{Value, json};
use state::State;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

/// How to start it.
#[derive(Clone, Debug)]
pub struct AzureOptions {
    /// Signs the certificate, which is good for the hosts of all clouds.
    pub authority: Authority,
    /// Which cloud it is.
    pub cloud: AzureCloud,
    /// Where it listens; by default any port of loopback.
    pub address: Option<SocketAddr>,
}

impl AzureOptions {
    /// The public cloud, on any port of loopback.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            cloud: AzureCloud::Public,
            address: None,
        }
    }

    /// The same as another cloud.
    #[must_use]
    pub fn cloud(self, cloud: AzureCloud) -> Self {
        Self { cloud, ..self }
    }
}

/// A running Azure; dropped, it is gone with all that it holds.
///
/// A [`Gate`] before it ([`Azure::gate`]) injects faults; operations have the names of Microsoft's specifications, such as
/// `StorageAccounts_Create` or `Container_GetProperties`.
pub struct Azure {
    shared: Arc<Shared>,
    target: Target,
    authority: Authority,
    server: Mutex<Option<Server>>,
    metadata: Server,
}

impl std::fmt::Debug for Azure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Azure")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Azure {
    /// Starts it; it answers when this returns. The first of a program starts Azurite too, which takes some seconds.
    pub async fn start(options: AzureOptions) -> Result<Self> {
        let azurite = Azurite::shared().await?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(options.cloud, azurite)),
            azurite,
        });
        let address = options.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let tls = options.authority.server(&names())?;
        let server = Server::start(address, Some(tls), shared.clone())?;
        let metadata = Server::local(None, &[], shared.clone())?;
        Ok(Self {
            target: server.target(Some(&options.authority))?,
            authority: options.authority,
            shared,
            server: Mutex::new(Some(server)),
            metadata,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    /// Where all of its services listen.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Who signed its certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Which cloud it is.
    pub fn cloud(&self) -> AzureCloud {
        self.state().cloud
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// `http://127.0.0.1:PORT` of instance metadata, for `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
    pub fn metadata_url(&self) -> Result<String> {
        let target = self.metadata.target(None)?;
        Ok(target.origin(&target.address.to_string()))
    }

    /// Host names of all clouds, for a certificate: `*.` stands for one label.
    pub fn names() -> Vec<String> {
        names()
    }

    /// Where a [`super::ForwardProxy`] finds the hosts of all clouds: at `address`, which is that of [`Azure::target`], or of a
    /// [`Gate`] before it.
    pub fn hosts(address: SocketAddr) -> Hosts {
        // The first that fits counts, and a `*` stands for any number of labels.
        names()
            .iter()
            .fold(Hosts::new(), |hosts, name| hosts.with(name, address))
    }

    /// Hosts of all clouds and what is behind them, for [`super::Cloud::start`] with [`Azure::names`].
    pub fn routes(target: &Target) -> Vec<(String, Target)> {
        names().into_iter().map(|name| (name, target.clone())).collect()
    }

    /// A gate before it, for the same hosts.
    pub fn gate(&self) -> Result<Gate> {
        Gate::with(GateOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            routes: vec![("*".to_owned(), self.target.clone())],
            authority: Some(self.authority.clone()),
            names: names(),
        })
    }

    /// The endpoints of Stack Hub, as `AZURE_ENVIRONMENT_FILEPATH` names a file of them.
    pub fn stack_hub_endpoints() -> Value {
        let hub = AzureCloud::StackHub;
        let host = hub.authorities().first().copied().unwrap_or_default();
        json!({
            "name": "AzureStackCloud",
            "managementPortalURL": "https://portal.local.stack.example/",
            "galleryEndpoint": "https://gallery.local.stack.example/",
            "activeDirectoryEndpoint": format!("https://{host}/"),
            "tokenAudience": hub.audience(),
            "resourceManagerEndpoint": format!("https://{}/", hub.resource_manager()),
            "storageEndpointSuffix": hub.storage_suffix(),
        })
    }

    /// Stops listening, and ends all connections; what it holds stays.
    pub fn stop(&self) {
        lock(&self.server).take();
    }

    /// Listens again, at the same address, with all that it held.
    pub fn resume(&self) -> Result<()> {
        let mut server = lock(&self.server);
        if server.is_none() {
            let tls = self.authority.server(&names())?;
            *server = Some(Server::start(self.target.address, Some(tls), self.shared.clone())?);
        }
        Ok(())
    }
}

fn names() -> Vec<String> {
    environment::CLOUDS.into_iter().flat_map(AzureCloud::names).collect()
}
