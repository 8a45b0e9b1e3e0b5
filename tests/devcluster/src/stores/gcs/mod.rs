//! Google Cloud Storage, with what belongs to it: OAuth 2.0, STS, IAM Service Account Credentials and tags of Resource
//! Manager, over TLS at one address. [fake-gcs-server](https://github.com/fsouza/fake-gcs-server) has the objects; what it
//! forgets or never knew is kept here, and each call needs a token of somebody with exactly the permission that Google asks
//! for. Tests drive it with Google's own Python clients.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use devcluster::stores::{Authority, Gcs, GcsOptions};
//! let gcs = Gcs::start(GcsOptions::new(Authority::new("cloud")?)).await?;
//! gcs.project("my-project");
//! let key = gcs.service_account("my-project", "registry", &["storage.buckets.*", "storage.objects.*"])?;
//! let file = gcs.key_file(&key);
//! // ... point something at gcs.storage_url() with that file ...
//! # Ok(())
//! # }
//! ```
//!
//! Every service answers under the address. A name such as `us-east1-cloudresourcemanager.googleapis.com` in the Host header
//! (by a [`super::ForwardProxy`], a [`super::Cloud`] or a resolver) is that service only.

mod access;
mod buckets;
mod discovery;
mod federation;
mod hooks;
mod keys;
mod multipart;
mod oauth;
mod objects;
pub(super) mod operation;
mod path;
mod reply;
mod routes;
mod signed;
mod state;
mod tags;
mod uploads;
mod upstream;

pub use discovery::Discovery;
pub use federation::Federation;
pub use keys::ServiceAccountKey;
pub use reply::storage as gcs_error;
pub use state::Accepted;
pub use tags::Operation;

use super::home::Home;
use super::lock;
use super::serve::Server;
use super::tls::Authority;
use super::wire::{Call, Target};
use crate::{files, process, programs};
use anyhow::{Context as _, Result};
use hyper::Method;
use routes::Shared;
use serde_json::Value;
use state::State;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use upstream::Upstream;

const PROGRAM: &str = "fake-gcs-server";
/// Hosts of the services in the default universe, for the certificate.
const HOSTS: &str = "*.googleapis.com";

/// How to start it.
#[derive(Clone, Debug)]
pub struct GcsOptions {
    /// Signs the certificate, which is good for `*.googleapis.com` too.
    pub authority: Authority,
    /// Names of the certificate beside these and [`super::NAMES`], such as `*.example-universe.goog`.
    pub names: Vec<String>,
    /// Where it listens; by default any port of loopback.
    pub address: Option<SocketAddr>,
}

impl GcsOptions {
    /// On any port of loopback.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            names: Vec::new(),
            address: None,
        }
    }
}

/// A running Google Cloud; dropped, it is gone with all that it holds. A [`super::Gate`] before it counts, records and
/// injects faults; its operations have the names of Google's discovery documents, such as `storage.buckets.insert`.
pub struct Gcs {
    shared: Arc<Shared>,
    target: Target,
    authority: Authority,
    _server: Server,
    home: Home,
}

impl std::fmt::Debug for Gcs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gcs")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Gcs {
    /// Starts it; it answers when this returns.
    pub async fn start(options: GcsOptions) -> Result<Self> {
        let programs = programs::ensure(&[PROGRAM]).await?;
        // It waits for the disk at each write, and is slow with many objects in its own memory.
        let mut home = Home::in_memory("gcs", 1)?;
        let port = home.ports().first().copied().context("a port")?;
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, port).into();
        let data = home.directory().join("data");
        files::create_dir(&data)?;
        let mut command = process::command(programs.path(PROGRAM)?);
        command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()]);
        command.args(["-backend", "filesystem", "-log-level", "warn"]);
        command.arg("-filesystem-root").arg(&data);
        // What its URLs begin with, which the stand-in renames.
        command.arg("-external-url").arg(format!("http://{address}"));
        command.arg("-public-host").arg(address.to_string());
        command.env("HOME", home.directory());
        home.spawn(PROGRAM, command)?;
        let upstream = Target::plain(address);
        home.until("fake-gcs-server answers", || async {
            let answer = upstream.call(Call::new(Method::GET, "/_internal/healthcheck")).await;
            answer.ok().filter(|answer| answer.status == 200)
        })
        .await?;
        home.complete = true;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            upstream: Upstream { target: upstream },
        });
        let mut names = options.names;
        names.push(HOSTS.to_owned());
        let tls = options.authority.server(&names)?;
        let address = options.address.unwrap_or((Ipv4Addr::LOCALHOST, 0).into());
        let server = Server::start(address, Some(tls), shared.clone())?;
        Ok(Self {
            target: server.target(Some(&options.authority))?,
            authority: options.authority,
            shared,
            _server: server,
            home,
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

    /// Where the log of fake-gcs-server lies, among others.
    pub fn directory(&self) -> &std::path::Path {
        self.home.directory()
    }

    /// `https://127.0.0.1:PORT`: what each service's paths stand behind, also Resource Manager's `/v3/`.
    pub fn url(&self) -> String {
        self.target.origin(&self.target.address.to_string())
    }

    /// `https://127.0.0.1:PORT/storage/v1/`.
    pub fn storage_url(&self) -> String {
        format!("{}/storage/v1/", self.url())
    }

    /// OAuth 2.0: `https://127.0.0.1:PORT/token`.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// STS: `https://127.0.0.1:PORT/v1/token`.
    pub fn sts_url(&self) -> String {
        format!("{}/v1/token", self.url())
    }

    /// IAM Service Account Credentials, for one service account.
    pub fn impersonation_url(&self, email: &str) -> String {
        impersonation_url(&self.url(), email)
    }

    /// A key's file, for the token endpoint at this address.
    pub fn key_file(&self, key: &ServiceAccountKey) -> Value {
        key.json(&self.token_url())
    }

    /// What was accepted so far, for [`Discovery::check`].
    pub fn accepted(&self) -> Vec<Accepted> {
        self.state().accepted.clone()
    }
}

fn impersonation_url(origin: &str, email: &str) -> String {
    format!("{origin}/v1/projects/-/serviceAccounts/{email}:generateAccessToken")
}
