//! IBM Cloud, as far as Cloud Object Storage needs it: tokens of IAM, Resource Manager, Resource Controller, and Cloud Object
//! Storage itself, at one address. A real store has the objects (moto or SeaweedFS); what IBM adds is kept here: service
//! instances, resource keys with HMAC keys, buckets in instances, storage classes. Tests drive it with IBM's own Python SDKs.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use devcluster::stores::{Ibm, IbmOptions, Moto};
//! let ibm = Ibm::start(IbmOptions::moto(Moto::shared().await?))?;
//! let key = ibm.api_key("account-1");
//! ibm.group("account-1", "my-group");
//! // ... point something at ibm.url() with that key ...
//! # Ok(())
//! # }
//! ```

mod cos;
mod hooks;
mod iam;
pub(super) mod operation;
mod reply;
mod resources;
mod routes;
mod state;

use super::lock;
use super::moto::Moto;
use super::seaweed::Seaweed;
use super::serve::Server;
use super::tls::Authority;
use super::wire::{Keys, Target};
use anyhow::Result;
use futures::future::BoxFuture;
use routes::Shared;
use state::State;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

/// Makes HMAC keys for a resource key of this name.
type Issue = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Keys>> + Send + Sync>;

/// How to start it.
#[derive(Clone)]
pub struct IbmOptions {
    upstream: Target,
    admin: Keys,
    region: String,
    issue: Issue,
    /// TLS with a certificate of this authority; plain HTTP without.
    pub authority: Option<Authority>,
    /// Names of the certificate beside [`super::NAMES`].
    pub names: Vec<String>,
    /// Where it listens; by default any port of loopback.
    pub address: Option<SocketAddr>,
}

impl std::fmt::Debug for IbmOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IbmOptions")
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}

impl IbmOptions {
    /// The objects are in moto; each resource key is a user of it.
    pub fn moto(moto: &'static Moto) -> Self {
        let issue = move |name: String| -> BoxFuture<'static, Result<Keys>> {
            Box::pin(async move {
                let all = serde_json::json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
                moto.user(&name, &all).await
            })
        };
        Self {
            upstream: moto.target().clone(),
            admin: moto.admin().clone(),
            region: "eu-west-3".to_owned(),
            issue: Arc::new(issue),
            authority: None,
            names: Vec::new(),
            address: None,
        }
    }

    /// The objects are in SeaweedFS; all resource keys have the HMAC keys of its administrator.
    pub fn seaweed(seaweed: &Seaweed) -> Self {
        let admin = seaweed.admin().clone();
        let issued = admin.clone();
        let issue = move |_: String| -> BoxFuture<'static, Result<Keys>> {
            let keys = issued.clone();
            Box::pin(async move { Ok(keys) })
        };
        Self {
            upstream: seaweed.target().clone(),
            admin,
            region: "us-east-1".to_owned(),
            issue: Arc::new(issue),
            authority: None,
            names: Vec::new(),
            address: None,
        }
    }
}

/// A running IBM Cloud; dropped, it is gone with all that it holds, except for the objects. A [`super::Gate`] before it
/// counts, records and injects faults; operations of IAM, Resource Controller and Resource Manager have the names of IBM's
/// SDKs, such as `create_resource_instance`.
pub struct Ibm {
    shared: Arc<Shared>,
    target: Target,
    _server: Server,
}

impl std::fmt::Debug for Ibm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ibm")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Ibm {
    /// Starts it; it answers when this returns.
    pub fn start(options: IbmOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            upstream: options.upstream,
            admin: options.admin,
            region: options.region,
            issue: options.issue,
        });
        let authority = options.authority.as_ref();
        let tls = authority
            .map(|authority| authority.server(&options.names))
            .transpose()?;
        let address = options.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let server = Server::start(address, tls, shared.clone())?;
        Ok(Self {
            target: server.target(authority)?,
            shared,
            _server: server,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    /// Where all of its services listen.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// `http://127.0.0.1:PORT`: what the paths of each service stand behind.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }
}
