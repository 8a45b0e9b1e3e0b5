//! Stand-ins for the controllers of the platform that a plain cluster lacks: service-ca, router, network operator,
//! node resolver and the namespace annotator, as far as the image registry operator can tell the difference.
//!
//! ```text
//! watches  ->  cache  ->  one pure function a stand-in  ->  writes
//!                    \->  the router's table, the nodes' files
//! ```
//!
//! They are quiet when settled, write only on top of what they have seen (a conflict is decided anew from the next
//! event), and can be held back by a test: see [`Control`].

mod authority;
mod ca_bundle;
mod cache;
mod certificate;
mod control;
mod engine;
mod namespace;
mod node;
mod proxy_status;
mod route;
mod router;
mod serving_certificate;
mod watch;
mod write;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use authority::{Authority, ROUTER_CA, SERVICE_CA};
pub use control::Control;
pub(crate) use node::MARK as RESOLVER_MARK;

/// Events that may wait for a pass to end.
const BACKLOG: usize = 1024;

/// What the stand-ins need to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach the cluster, as an administrator.
    pub kubeconfig: PathBuf,
    /// Where the authorities are kept: `service-ca.{crt,key}` and `router-ca.{crt,key}`, made when missing. `ca.crt`,
    /// when there, is the cluster's own authority and goes into the trusted bundle.
    pub pki_dir: PathBuf,
    /// The domain of hosts that the router chooses, such as `apps.test`.
    pub domain: String,
    /// Where the router listens; port 0 takes a free one. None: Routes are admitted, and nothing serves them.
    pub router: Option<SocketAddr>,
    /// A directory for each node: in it `hosts` and `certs.d/<registry>/ca.crt` are kept up to date.
    pub node_dirs: Vec<PathBuf>,
    /// Whether nodes get the service CA for the registry's Service; false leaves that to node-ca.
    pub service_ca_on_nodes: bool,
}

/// The parts that are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StandIn {
    /// service-ca: Secrets with serving certificates.
    ServingCertificate,
    /// service-ca: its authority in annotated ConfigMaps.
    ServiceCaBundle,
    /// Network operator: the trusted bundle in labelled ConfigMaps.
    TrustedCaBundle,
    /// Network operator: the Proxy's status.
    ProxyStatus,
    /// Cluster-policy controller: ranges on namespaces.
    Namespace,
    /// Router: hosts, status and traffic of Routes.
    Router,
    /// DNS operator's node resolver, and the nodes' trust.
    NodeResolver,
    /// The answer to [`Control`]; holding it has no effect.
    Control,
}

impl StandIn {
    /// All parts.
    pub const ALL: [Self; 8] = [
        Self::ServingCertificate,
        Self::ServiceCaBundle,
        Self::TrustedCaBundle,
        Self::ProxyStatus,
        Self::Namespace,
        Self::Router,
        Self::NodeResolver,
        Self::Control,
    ];

    /// The part's name in field managers and in the control ConfigMap.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServingCertificate => "serving-certificate",
            Self::ServiceCaBundle => "service-ca-bundle",
            Self::TrustedCaBundle => "trusted-ca-bundle",
            Self::ProxyStatus => "proxy-status",
            Self::Namespace => "namespace",
            Self::Router => "router",
            Self::NodeResolver => "node-resolver",
            Self::Control => "control",
        }
    }
}

/// Running stand-ins. They end when this is dropped.
#[derive(Debug)]
pub struct Running {
    router: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Where the router listens.
    pub fn router(&self) -> Option<SocketAddr> {
        self.router
    }

    /// Ends them, and waits until they have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }

    /// Waits for an end that should not come.
    async fn ended(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Err(error)) => anyhow!(error).context("a stand-in ended"),
            _ => anyhow!("a stand-in ended"),
        }
    }
}

/// Starts all stand-ins; returns once they have done what there was to do, namespaces annotated and all.
pub async fn start(options: &Options) -> Result<Running> {
    let client = client(&options.kubeconfig).await?;
    let service_ca = Arc::new(Authority::load_or_create(&options.pki_dir, SERVICE_CA)?);
    let router_ca = Arc::new(Authority::load_or_create(&options.pki_dir, ROUTER_CA)?);
    let wildcard = router_ca.issue(&[format!("*.{}", options.domain)])?;
    let trust = router::Trust {
        wildcard: certificate::key_pair(&wildcard.chain, &wildcard.key)?,
        service_ca: certificate::client_trusting(service_ca.certificate())?,
    };
    let cache = cache::Cache::default();
    let table = router::build(&cache, &std::collections::BTreeMap::new(), &trust);
    let (tables, table) = tokio::sync::watch::channel(Arc::new(table));
    let mut tasks = JoinSet::new();
    let mut router = None;
    if let Some(address) = options.router {
        let (address, work) = router::listen(address, table).await?;
        router = Some(address);
        tasks.spawn(work);
    }
    let (sender, events) = mpsc::channel(BACKLOG);
    for kind in cache::Kind::ALL {
        tasks.spawn(watch::watch(client.clone(), kind, sender.clone()));
    }
    let engine = engine::Engine {
        client,
        trusted_bundle: engine::trusted_bundle(&options.pki_dir, &router_ca),
        service_ca,
        router_ca,
        trust,
        domain: options.domain.clone(),
        router,
        service_ca_on_nodes: options.service_ca_on_nodes,
        nodes: node::Nodes::new(options.node_dirs.clone()),
        tables,
        cache,
        tabled: None,
    };
    let (ready, is_ready) = oneshot::channel();
    tasks.spawn(engine.run(events, ready));
    let mut running = Running { router, tasks };
    tokio::select! {
        _ = is_ready => Ok(running),
        error = running.ended() => Err(error),
    }
}

/// Runs all stand-ins until the shutdown comes.
pub async fn run(options: &Options, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut running = start(options).await?;
    tokio::select! {
        () = shutdown => {
            running.stop().await;
            Ok(())
        }
        error = running.ended() => Err(error),
    }
}

/// The certificate of the authority that signs for Services, in PEM form; made when missing.
pub fn service_ca(pki_dir: &Path) -> Result<String> {
    Ok(Authority::load_or_create(pki_dir, SERVICE_CA)?.certificate().to_owned())
}

/// The certificate of the authority that signs for the router, in PEM form; made when missing.
pub fn router_ca(pki_dir: &Path) -> Result<String> {
    Ok(Authority::load_or_create(pki_dir, ROUTER_CA)?.certificate().to_owned())
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let what = || format!("stand-ins: {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).with_context(what)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .with_context(what)?;
    // This machine may have a proxy; the cluster is never behind it.
    config.proxy_url = None;
    Client::try_from(config).with_context(what)
}
