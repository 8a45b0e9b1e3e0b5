//! `devcluster`: a real Kubernetes cluster on this machine in one command.

mod demo;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use devcluster::{Cluster, Options, Record, bench, cluster, inside, programs, rights};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// A real Kubernetes cluster on this machine: no Docker, several side by side.
#[derive(Parser)]
#[command(name = "devcluster")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Bring a cluster up and leave it running.
    Up(Up),
    /// Stop a cluster and remove everything of it.
    Down(Name),
    /// Show the clusters on this machine, or the processes of one.
    Status {
        /// Only this cluster.
        #[arg(long)]
        name: Option<String>,
    },
    /// See all of it work: a cluster, the operator in it, a registry, an image pushed, pulled and run.
    Demo(demo::Demo),
    /// Run a command on a real node, such as `crane`: names resolve and registries are trusted as the node does it.
    Exec {
        #[command(flatten)]
        name: Name,
        /// The node, such as node1.
        node: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Load an image archive (OCI layout) into the real nodes of a cluster.
    LoadImage {
        #[command(flatten)]
        name: Name,
        /// The archive.
        tar: PathBuf,
    },
    /// Measure the operator on a cluster of its own, and print the figures.
    Bench(Bench),
    /// Find or build every program that clusters and tests use, and show where they are.
    Programs,
    /// Tell which rights of deploy/02-rbac.yaml the operator used on clusters; fails for a denied request and for a rule that no
    /// request used.
    Rights {
        /// The folder with the audit logs of the clusters, which `DEVCLUSTER_AUDIT_LOGS` named while they ran.
        folder: PathBuf,
        /// Where the table of the rights is written to, in Markdown.
        #[arg(long)]
        table: Option<PathBuf>,
    },
    /// Play the stand-ins for a cluster; `up` starts this.
    #[command(hide = true)]
    Standins {
        /// The cluster's directory.
        directory: PathBuf,
    },
}

#[derive(Args)]
struct Name {
    /// The cluster's name.
    #[arg(long, default_value = "dev")]
    name: String,
}

#[derive(Args)]
#[allow(clippy::struct_excessive_bools)] // flags of a command line
struct Up {
    #[command(flatten)]
    name: Name,
    /// Nodes that kwok simulates; by default one, none beside real nodes.
    #[arg(long)]
    simulated_nodes: Option<usize>,
    /// Nodes with kubelet and containerd; need root.
    #[arg(long, default_value_t = 0)]
    real_nodes: usize,
    /// Make real nodes enforce NetworkPolicies.
    #[arg(long)]
    network_policies: bool,
    /// Platform type of the Infrastructure object.
    #[arg(long, default_value = "None")]
    platform: String,
    /// Make the API group security.openshift.io served.
    #[arg(long)]
    security_api: bool,
    /// Install the image streams API.
    #[arg(long)]
    imagestreams: bool,
    /// Do not apply deploy/.
    #[arg(long)]
    no_deploy: bool,
    /// Do not start the stand-ins for the platform's controllers.
    #[arg(long)]
    no_standins: bool,
}

#[derive(Args)]
struct Bench {
    /// The operator's program; a release build.
    #[arg(long)]
    operator: PathBuf,
    /// How long the settled operator is watched.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Starts and stops.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Edits, at rest and in quick succession.
    #[arg(long, default_value_t = 100)]
    edits: usize,
    /// Secrets, ConfigMaps and image streams each that are not ours.
    #[arg(long, default_value_t = 10_000)]
    foreign: usize,
}

fn main() -> ExitCode {
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let result = runtime.block_on(act(Arguments::parse().action));
    // Do not wait for a build that was interrupted.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Own messages only: the client library calls every refused connection of a server that is still starting an error.
fn log_to_stderr() {
    let own = tracing_subscriber::filter::Targets::new().with_target("devcluster", tracing::Level::INFO);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time();
    tracing_subscriber::registry().with(layer.with_filter(own)).init();
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "devcluster: {error:#}");
    ExitCode::FAILURE
}

async fn act(action: Action) -> Result<()> {
    match action {
        Action::Up(arguments) => up(arguments).await,
        Action::Down(Name { name }) => cluster::down(&name),
        Action::Status { name } => status(name),
        Action::LoadImage { name, tar } => cluster::load_image(&devcluster::find_cluster(&name.name)?, &tar).await,
        Action::Demo(arguments) => demo::run(arguments).await,
        Action::Exec { name, node, command } => exec(&name.name, &node, &command).await,
        Action::Bench(arguments) => measure(arguments).await,
        Action::Programs => list_programs().await,
        Action::Rights { folder, table } => rights(&folder, table.as_deref()),
        Action::Standins { directory } => devcluster::run_standins(&directory).await,
    }
}

fn rights(folder: &Path, table: Option<&Path>) -> Result<()> {
    let report = rights::Report::read(folder)?;
    if let Some(path) = table {
        std::fs::write(path, report.table())?;
    }
    say(&format!("{} requests of the operator", report.requests()))?;
    let (denied, unused) = (report.denied(), report.unused());
    ensure!(denied.is_empty(), "denied:\n{}", denied.join("\n"));
    ensure!(unused.is_empty(), "rules that no request used:\n{}", unused.join("\n"));
    Ok(())
}

async fn list_programs() -> Result<()> {
    let names = programs::all();
    let found = programs::ensure(&names).await?;
    programs::ensure_openstack().await?;
    programs::google_clients().await?;
    programs::ibm_clients().await?;
    programs::ensure_azure().await?;
    programs::ensure_ceph().await?;
    names
        .iter()
        .try_for_each(|name| say(&format!("{name:24} {}", found.path(name)?.display())))
}

async fn up(arguments: Up) -> Result<()> {
    let begin = Instant::now();
    let options = Options {
        name: arguments.name.name,
        simulated_nodes: arguments
            .simulated_nodes
            .unwrap_or(usize::from(arguments.real_nodes == 0)),
        real_nodes: arguments.real_nodes,
        network_policies: arguments.network_policies,
        platform: arguments.platform,
        security_api: arguments.security_api,
        imagestreams: arguments.imagestreams,
        platform_apis: true,
        deploy: !arguments.no_deploy,
        standins: !arguments.no_standins,
    };
    let name = options.name.clone();
    // Dropping the half-built cluster removes it.
    let cluster = tokio::select! {
        cluster = Cluster::up(options) => cluster?,
        () = interrupted() => bail!("interrupted"),
    };
    let record = cluster.leave_running(&std::env::current_exe().context("this program's path")?)?;
    say(&format!(
        "# up in {:.1} s; `devcluster down --name {name}` stops it",
        begin.elapsed().as_secs_f32()
    ))?;
    say(&format!("export KUBECONFIG={}", record.kubeconfig().display()))
}

/// Becomes the command.
async fn exec(name: &str, node: &str, command: &[String]) -> Result<()> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut inside = inside::command(&devcluster::find_cluster(name)?, node, &words).await?;
    let error = inside.stdin(Stdio::inherit()).exec();
    Err(error).context("cannot run nsenter")
}

async fn measure(arguments: Bench) -> Result<()> {
    let settings = bench::Settings {
        operator: arguments.operator,
        settled: Duration::from_secs(arguments.minutes * 60),
        rounds: arguments.rounds,
        edits: arguments.edits,
        foreign: arguments.foreign,
    };
    // Dropping the cluster removes it.
    let table = tokio::select! {
        table = bench::run(settings) => table?,
        () = interrupted() => bail!("interrupted"),
    };
    say(table.trim_end())
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn status(name: Option<String>) -> Result<()> {
    let records = match name {
        Some(name) => vec![devcluster::find_cluster(&name)?],
        None => cluster::list()?
            .iter()
            .filter_map(|directory| Record::read(directory).ok())
            .collect(),
    };
    if records.is_empty() {
        return say("no cluster runs; `devcluster up` makes one");
    }
    for record in records {
        say(&format!(
            "{} in {}, {}",
            record.name,
            record.directory.display(),
            record.server
        ))?;
        for (process, pid) in record.processes() {
            say(&format!(
                "  {process:28} {}",
                pid.map_or("STOPPED".into(), |pid| format!("running, pid {pid}"))
            ))?;
        }
        for node in &record.nodes {
            say(&format!("  {:28} {}, pods {}", node.name, node.address, node.pods))?;
        }
        say(&format!("  export KUBECONFIG={}", record.kubeconfig().display()))?;
    }
    Ok(())
}

fn say(line: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
