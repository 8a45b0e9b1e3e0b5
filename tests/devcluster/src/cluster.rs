//! A test cluster: start, use, end.

use crate::{
    Options,
    apply::Applier,
    audit, client,
    companion::{self, Companion},
    control_plane::{self, Ports, Start},
    files, hosts,
    layout::Layout,
    network, node, pki, platform, policies,
    process::{self, ProcessId, Processes},
    programs::{self, Programs},
    record::{self, Record},
    simulated,
    slot::{self, Holder, Slots},
    standin,
    stores::TokenKey,
    teardown, wait,
};
use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, ServiceAccount};
use kube::api::{Api, ListParams, PostParams};
use kube::{Client, ResourceExt as _};
use rustix::process::Signal;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use crate::record::NodeRecord as RealNode;

/// How long each step of the start may take. Long, because the machine may be busy.
const LIMIT: Duration = Duration::from_mins(2);

/// A running cluster. Dropping it ends every process and removes everything, also after a failed test; the logs of a
/// cluster dropped by a panic are kept.
#[derive(Debug)]
pub struct Cluster {
    record: Record,
    layout: Layout,
    kubeconfig: PathBuf,
    audit_log: PathBuf,
    ports: Ports,
    programs: Programs,
    processes: Processes,
    companion: Option<Companion>,
    /// Whether the start is complete; a cluster that is dropped before has failed.
    complete: bool,
    /// Whether dropping must do nothing: the cluster is stopped already, or shall keep running.
    released: bool,
}

impl Cluster {
    /// Starts a cluster. Afterwards the API answers, default ServiceAccounts exist, nodes are Ready, CRDs are
    /// Established, the platform's objects are there.
    pub async fn up(options: Options) -> Result<Self> {
        let mut cluster = Self::create(&options).await?;
        let client = cluster.start(&options).await?;
        cluster.fill(&client, &options).await?;
        cluster.complete = true;
        Ok(cluster)
    }

    /// Takes a slot and a directory; dropping the value removes everything created from here on.
    async fn create(options: &Options) -> Result<Self> {
        record::check_name(&options.name)?;
        if options.real_nodes > slot::MAX_REAL_NODES {
            bail!("at most {} real nodes", slot::MAX_REAL_NODES);
        }
        let layout = Layout::named(&options.name);
        let real = options.real_nodes > 0;
        if options.network_policies {
            policies::check(options)?;
        }
        if real {
            node::check(&layout)?;
        }
        let mut names = programs::CONTROL_PLANE.to_vec();
        names.extend(if options.simulated_nodes > 0 {
            programs::SIMULATED
        } else {
            &[]
        });
        names.extend(if real { programs::REAL } else { &[] });
        names.extend(if options.network_policies {
            programs::POLICIES
        } else {
            &[]
        });
        let programs = programs::ensure(&names).await?;
        tokio::task::spawn_blocking(teardown::remove_leftovers).await??;

        let owner = Some(ProcessId::current()?);
        let slots = Slots::lock()?;
        if layout.root().exists() || slots.find(layout.root()).is_some() {
            let name = &options.name;
            bail!(
                "a cluster {name:?} exists already in {} (`devcluster down --name {name}`)",
                layout.root().display()
            );
        }
        let slot = slots.take(&Holder {
            directory: layout.root().to_owned(),
            owner,
            real,
        })?;
        drop(slots);
        let mut cluster = Self {
            record: Record::new(options, &layout, slot),
            kubeconfig: layout.kubeconfig("admin"),
            audit_log: layout.audit_log(),
            ports: Ports::default(),
            programs,
            processes: Processes::new(&layout),
            layout,
            companion: None,
            complete: false,
            released: false,
        };
        cluster.ports = Ports::take(slot)?;
        cluster.record.listen(cluster.ports.api);
        for directory in [cluster.layout.pids(), cluster.layout.logs(), cluster.layout.volumes()] {
            files::create_dir(&directory)?;
        }
        files::set_mode(cluster.layout.root(), 0o755)?;
        cluster.record.write()?;
        cluster.processes.watch_over()?;
        Ok(cluster)
    }

    /// Starts the processes; returns a client once the API server is ready.
    async fn start(&self, options: &Options) -> Result<Client> {
        let record = &self.record;
        let start = Start {
            record,
            layout: &self.layout,
            programs: &self.programs,
            processes: &self.processes,
            ports: &self.ports,
        };
        let pki = control_plane::certificates(record, &self.layout)?;
        if !record.nodes.is_empty() {
            network::create(record.slot)?;
        }
        control_plane::start_api(&start)?;
        let client = client::from(&self.layout.kubeconfig("admin")).await?;
        // The nodes' runtimes start while the API server does.
        let (ready, prepared) = futures::join!(self.api_ready(&client), node::prepare(&start, &pki));
        prepared?;
        ready?;
        control_plane::start_controllers(&start)?;
        if options.simulated_nodes > 0 {
            simulated::start(&start)?;
        }
        node::start(&start)?;
        if options.network_policies {
            // The program restores the whole filter table when it starts. A chain that kube-proxy has just created would be lost,
            // kube-proxy's first synchronization would fail, and kube-proxy does not try again for minutes.
            self.services_translated().await?;
            policies::start(&start, &pki)?;
        }
        Ok(client)
    }

    async fn services_translated(&self) -> Result<()> {
        wait::until("pods reach the Service kubernetes from every node", LIMIT, || async {
            self.processes.check()?;
            Ok(node::translate_services(&self.record, &self.layout)?.then_some(()))
        })
        .await
    }

    async fn api_ready(&self, client: &Client) -> Result<()> {
        wait::until("the API server is ready", LIMIT, || async {
            self.processes.check()?;
            let request = http::Request::get("/readyz").body(Vec::new())?;
            Ok(client.request_text(request).await.ok().filter(|answer| answer == "ok"))
        })
        .await?;
        Ok(())
    }

    /// Fills the running cluster and waits until it is complete.
    async fn fill(&mut self, client: &Client, options: &Options) -> Result<()> {
        let (installed, created) = futures::join!(
            platform::install(client, options, &self.record),
            simulated::create(client, options),
        );
        installed?;
        created?;
        if options.standins {
            self.companion = Some(Companion::start(self.layout.root()).await?);
        }
        if options.deploy {
            platform::deploy(client, options.platform_apis).await?;
        }
        for namespace in ["default", "openshift-image-registry"] {
            let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
            wait::until(&format!("default ServiceAccount of {namespace}"), LIMIT, || async {
                self.processes.check()?;
                Ok(api.get_opt("default").await?)
            })
            .await?;
        }
        self.nodes_ready(client, options).await
    }

    /// Installs a CRD of the platform, such as `routes`, on a cluster without the platform's APIs.
    pub async fn install_platform_crd(&self, plural: &str) -> Result<()> {
        platform::install_crd(&self.client().await?, plural).await
    }

    async fn nodes_ready(&self, client: &Client, options: &Options) -> Result<()> {
        let api: Api<Node> = Api::all(client.clone());
        let mut names = simulated::names(options);
        names.extend(self.record.nodes.iter().map(|node| node.name.clone()));
        wait::until("nodes are Ready", LIMIT, || async {
            self.processes.check()?;
            let nodes = api.list(&ListParams::default()).await?;
            let ready = nodes
                .iter()
                .filter(|node| names.contains(&node.name_any()) && is_ready(node))
                .count();
            Ok((ready == names.len()).then_some(()))
        })
        .await?;
        self.services_translated().await?;
        for node in &self.record.nodes {
            node::label(client, &node.name).await?;
        }
        Ok(())
    }

    /// Stops the cluster and removes all of it.
    pub async fn down(mut self) -> Result<()> {
        tokio::task::spawn_blocking(move || self.end(false)).await?
    }

    /// The same after a failure; returns the directory of the kept logs.
    pub async fn down_keeping_logs(mut self) -> Result<PathBuf> {
        let kept = self.layout.kept_logs();
        tokio::task::spawn_blocking(move || self.end(true)).await??;
        Ok(kept)
    }

    fn end(&mut self, keep_logs: bool) -> Result<()> {
        if std::mem::replace(&mut self.released, true) {
            return Ok(());
        }
        self.companion = None;
        self.processes.end_watchdog();
        let removed = teardown::remove(self.layout.root(), keep_logs);
        self.processes.reap();
        removed
    }

    /// Lets the cluster outlive this process. The stand-ins continue in a process of their own; `standins` is this crate's
    /// program.
    pub fn leave_running(mut self, standins: &Path) -> Result<Record> {
        if self.companion.take().is_some() {
            let mut command = process::command(standins);
            command.arg("standins").arg(self.layout.root());
            self.processes.spawn("standins", command)?;
        }
        let slots = Slots::lock()?;
        let (slot, holder) = slots.find(self.layout.root()).context("the cluster's slot is gone")?;
        slots.set(slot, &Holder { owner: None, ..holder })?;
        self.processes.release();
        self.released = true;
        Ok(self.record.clone())
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Directory with everything of the cluster.
    pub fn directory(&self) -> &Path {
        self.layout.root()
    }

    /// Environment variable for a process that is to end with the cluster, at the latest with the process that owns the
    /// cluster, however that ends.
    pub fn mark_of_processes(&self) -> (&'static str, &Path) {
        (process::MARKER, self.layout.root())
    }

    /// What another process needs to use the cluster.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// URL of the API server.
    pub fn server(&self) -> &str {
        &self.record.server
    }

    /// Where the cluster's programs are.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The log of one of the cluster's processes, such as `kube-apiserver` or `node1.kubelet`.
    pub fn log(&self, process: &str) -> PathBuf {
        self.layout.logs().join(format!("{process}.log"))
    }

    /// Address of the stand-ins' router; none without stand-ins. Host names that the router chooses end in [`crate::APPS_DOMAIN`].
    pub fn router(&self) -> Option<SocketAddr> {
        companion::router(&self.layout)
    }

    /// The CA of the router's own certificate, as PEM.
    pub fn router_ca(&self) -> Result<String> {
        standin::router_ca(&self.layout.pki())
    }

    /// The CA of the Services' serving certificates, as PEM.
    pub fn service_ca(&self) -> Result<String> {
        standin::service_ca(&self.layout.pki())
    }

    /// A client as the administrator.
    pub async fn client(&self) -> Result<Client> {
        client::from(&self.kubeconfig).await
    }

    /// File of the API server's audit log: one JSON event a line.
    pub fn audit_log(&self) -> &Path {
        &self.audit_log
    }

    /// The requests so far. A request is logged before it is answered.
    pub fn audit(&self) -> Result<audit::Log> {
        audit::Log::read(&self.audit_log)
    }

    /// The end of the audit log as it is now, for [`audit::Log::since`].
    pub fn mark(&self) -> Result<audit::Mark> {
        audit::mark(&self.audit_log)
    }

    /// A kubeconfig with a token of a ServiceAccount, good for a day: it has exactly the rights that `deploy/` gives.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let spec = TokenRequestSpec {
            expiration_seconds: Some(24 * 60 * 60),
            ..Default::default()
        };
        let request = TokenRequest {
            spec,
            ..Default::default()
        };
        let answer = api.create_token_request(name, &PostParams::default(), &request).await;
        let answer = answer.with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?;
        let token = answer
            .status
            .with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?
            .token;
        let path = self.layout.kubeconfig(&format!("{namespace}.{name}"));
        let authority = files::read(&self.layout.pki().join("ca.crt"))?;
        pki::write_kubeconfig(&path, self.server(), &authority, name, &json!({ "token": token }))?;
        Ok(path)
    }

    /// The public key for tokens of the cluster's ServiceAccounts.
    pub fn token_key(&self) -> Result<TokenKey> {
        TokenKey::from_pem(&files::read(&self.layout.pki().join("service-account.pub"))?)
    }

    /// Loads an image archive (OCI layout, annotated with `io.containerd.image.name`) into every real node.
    pub async fn load_image(&self, tar: &Path) -> Result<()> {
        if self.record.nodes.is_empty() {
            bail!("the cluster has no real nodes to load an image into");
        }
        node::load(&self.record, self.programs.path("ctr")?, tar).await
    }

    /// Suspends kwok: pods on simulated nodes become neither ready nor deleted until kwok is resumed. The nodes stay Ready
    /// for the ten minutes that the node controller waits for a heartbeat.
    pub fn pause_simulated_pods(&self) -> Result<()> {
        self.signal_kwok(Signal::STOP)
    }

    /// Resumes kwok.
    pub fn resume_simulated_pods(&self) -> Result<()> {
        self.signal_kwok(Signal::CONT)
    }

    fn signal_kwok(&self, signal: Signal) -> Result<()> {
        process::named(&self.layout, "kwok")
            .context("kwok does not run: there are no simulated nodes")?
            .signal(signal);
        Ok(())
    }

    /// Applies YAML server-side, in order; a field that the API does not know is an error.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        Applier::new(self.client().await?, "devcluster-user")
            .apply_yaml(yaml)
            .await?;
        Ok(())
    }

    /// Applies the YAML files of a directory in byte order of their names; returns which objects were left out because
    /// the API does not serve their kind.
    pub async fn apply_dir(&self, directory: &Path) -> Result<Vec<String>> {
        platform::apply_directory(&self.client().await?, directory, true).await
    }

    /// The real nodes.
    pub fn real_nodes(&self) -> &[RealNode] {
        &self.record.nodes
    }

    /// A command that runs inside a real node: its network, its mounts, its processes.
    pub fn node_command(&self, node: &str, command: &[&str]) -> Result<Command> {
        let mut inside = network::enter(&self.layout, node)?;
        inside.args(command);
        Ok(inside)
    }

    /// See [`hosts::write_node_hosts`].
    pub fn write_node_hosts(&self, entries: &[(String, IpAddr)]) -> Result<()> {
        hosts::write_node_hosts(self.directory(), entries)
    }

    /// See [`hosts::write_node_ca`].
    pub fn write_node_ca(&self, host_port: &str, pem: &str) -> Result<()> {
        hosts::write_node_ca(self.directory(), host_port, pem)
    }

    /// Creates a PersistentVolume of 100 Gi without a class, on a directory that all real nodes share, for claims of any
    /// of `modes` (such as `ReadWriteMany`); returns the directory.
    pub async fn host_volume(&self, name: &str, modes: &[&str]) -> Result<PathBuf> {
        let directory = self.layout.volumes().join(name);
        files::create_dir(&directory)?;
        // Pods run as any user.
        files::set_mode(&directory, 0o777)?;
        let volume = serde_json::from_value(json!({
            "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": "100Gi" },
                "accessModes": modes,
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "",
                "hostPath": { "path": directory, "type": "Directory" },
            },
        }))?;
        let api: Api<PersistentVolume> = Api::all(self.client().await?);
        api.create(&PostParams::default(), &volume)
            .await
            .with_context(|| format!("cannot create volume {name}"))?;
        Ok(directory)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = !self.complete || std::thread::panicking();
        if let Err(error) = self.end(failed) {
            tracing::error!("{error:#}; the next `up` tries again");
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Stops a cluster that `devcluster up` left running and removes all of it.
pub fn down(name: &str) -> Result<()> {
    record::check_name(name)?;
    let layout = Layout::named(name);
    if !layout.root().exists() && Slots::lock()?.find(layout.root()).is_none() {
        bail!("there is no cluster {name:?} in {}", layout.root().display());
    }
    teardown::remove(layout.root(), false)
}

/// The directories of all clusters on this machine.
pub fn list() -> Result<Vec<PathBuf>> {
    Ok(Slots::lock()?
        .taken()
        .into_iter()
        .map(|(_, holder)| holder.directory)
        .collect())
}

/// Loads an image archive into the real nodes of a cluster that runs in other processes.
pub async fn load_image(record: &Record, tar: &Path) -> Result<()> {
    if record.nodes.is_empty() {
        bail!("cluster {:?} has no real nodes to load an image into", record.name);
    }
    let programs = programs::ensure(&["ctr"]).await?;
    node::load(record, programs.path("ctr")?, tar).await
}
