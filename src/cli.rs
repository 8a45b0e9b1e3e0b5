//! The program: its arguments, the order in which it starts and ends, and its exit status.
//! On the nodes it runs as `node-ca-sync`, which shares arguments, logs and exit status, and nothing else.
//!
//! | exit status | when |
//! |---|---|
//! | 0 | SIGINT or SIGTERM, a watched file changed, leadership lost, `--help` |
//! | 1 | anything that kept it from starting, a second signal, controllers that ended by themselves, unknown arguments |
//! | 2 | a bug: some task panicked |

mod node_ca;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser};
use http::Request;
use kube::Client;
use serde::Deserialize;

use self::node_ca::NodeCaArgs;
use crate::{
    names,
    runtime::{
        client,
        clock::{Clock, SystemClock},
        config_file,
        environment::ProcessEnvironment,
        event::{Event, Events},
        file_watch::FileWatch,
        leader::{self, Candidate, Claim, Timings},
        metrics::Metrics,
        server::{KeyPair, Readiness, Server},
        shutdown::{self, Cause, Shutdown},
        telemetry::{Format, Telemetry},
    },
};

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The CA bundle that the cluster's administrator trusts, mounted from ConfigMap `trusted-ca`.
pub const TRUSTED_CA_BUNDLE: &str = "/var/run/configmaps/trusted-ca/tls-ca-bundle.pem";
/// How long running work has to reach a safe point when the process ends.
const SAFE_POINT: Duration = Duration::from_millis(1500);
/// How long giving back the Lease may take at least; with [`SAFE_POINT`], of which it gets the rest, it stays below 2 s.
const RELEASE: Duration = Duration::from_millis(400);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the integrated image registry of an OpenShift cluster
#[derive(Debug, Parser)]
#[command(name = "cluster-image-registry-operator", version = VERSION)]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of the operator itself.
#[derive(Clone, Debug, Args, PartialEq, Eq)]
pub struct RunArgs {
    /// Kubeconfig file; without it, the credentials of the pod are used
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// File whose change restarts the process; may be repeated
    #[arg(long, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Controller configuration (`GenericControllerConfig`, YAML); without it, defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Certificate of the metrics server, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/secrets/tls.crt")]
    pub serving_cert: PathBuf,
    /// Private key of the metrics server, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/secrets/tls.key")]
    pub serving_key: PathBuf,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = log_format)]
    pub log_format: Format,
}

fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("use text or json".to_owned()),
    }
}

/// What the controllers get. They run until `shutdown` is begun, and check `claim` before each write.
#[derive(Clone)]
pub struct Runtime {
    /// Client of the cluster.
    pub client: Client,
    /// Leadership: check before each write.
    pub claim: Claim,
    /// Publishes events about the operator's Deployment.
    pub events: Events,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Set when no new work may begin.
    pub shutdown: Shutdown,
    /// To be told when everything watched was seen.
    pub readiness: Readiness,
    /// Environment variables.
    pub environment: Arc<ProcessEnvironment>,
    /// To be told the log level.
    pub telemetry: Telemetry,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
}

/// What this file calls and does not know: main passes it.
pub struct Program<C> {
    /// All controllers, until shutdown is begun. An error, or an end before that, is exit status 1.
    pub controllers: C,
    /// Prints the CRDs as YAML; `None` while there is nothing to print, and then there is no such command.
    pub crds: Option<fn() -> Result<String, BoxError>>,
}

/// Why the process did not start or did not go on.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(BoxError),
    #[error("the controllers failed: {0}")]
    Controllers(BoxError),
    #[error("the controllers ended by themselves")]
    ControllersEnded,
    #[error("{0}")]
    Shutdown(String),
}

impl Failure {
    fn start(error: impl Into<BoxError>) -> Self {
        Self::Start(error.into())
    }
}

/// The whole program: parses `arguments` (the first is the program's name), runs, and tells the exit status.
pub fn run<C, E>(arguments: impl IntoIterator<Item = OsString>, program: Program<C>) -> ExitCode
where
    C: AsyncFnOnce(Runtime) -> Result<(), E>,
    E: Into<BoxError>,
{
    let mut command = Cli::command().subcommand(node_ca::command());
    if program.crds.is_some() {
        command = command.subcommand(clap::Command::new("crds").about("Print the CustomResourceDefinitions as YAML"));
    }
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    if let ("crds", Some(crds)) = (matches.subcommand_name().unwrap_or_default(), program.crds) {
        return print(crds());
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match NodeCaArgs::of(&matches) {
        Some(Ok(arguments)) => execute(cli.run.log_format, async |_| arguments.run().await),
        Some(Err(error)) => usage(&error),
        None => execute(cli.run.log_format, async |telemetry| {
            lifetime(&cli.run, telemetry, program.controllers).await
        }),
    }
}

/// clap's own status for wrong arguments is 2, which here means a bug.
fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell if this fails.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn print(text: Result<String, BoxError>) -> ExitCode {
    use std::io::Write as _;
    let written = text.and_then(|text| Ok(std::io::stdout().write_all(text.as_bytes())?));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs `work` with logs in place and turns its end into an exit status.
fn execute(format: Format, work: impl AsyncFnOnce(Telemetry) -> Result<(), Failure>) -> ExitCode {
    let telemetry = Telemetry::init(format);
    end_on_panic();
    // One thread: the work is waiting, and each further thread costs memory. Blocking calls are file reads and name lookups.
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build();
    let result = match executor {
        Ok(executor) => {
            let result = executor.block_on(work(telemetry));
            // A hung name lookup must not delay the end.
            executor.shutdown_background();
            result
        }
        Err(error) => Err(Failure::start(error)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// A panic is a bug. A task that is simply gone would leave a process that looks alive and does half its work; one that
/// ends is started again.
fn end_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::exit(2);
    }));
}

/// From the first file read to the Lease given back.
async fn lifetime<C, E>(arguments: &RunArgs, telemetry: Telemetry, controllers: C) -> Result<(), Failure>
where
    C: AsyncFnOnce(Runtime) -> Result<(), E>,
    E: Into<BoxError>,
{
    let shutdown = Shutdown::new();
    shutdown::on_signals(shutdown.clone()).map_err(Failure::start)?;
    let start = start(arguments, telemetry, shutdown.clone());
    let runtime = tokio::select! {
        biased;
        cause = shutdown.begun() => return ended(&cause),
        runtime = start => runtime?,
    };
    let (claim, events) = (runtime.claim.clone(), runtime.events.clone());
    let (result, stopped) = lead(runtime, controllers).await;
    // Whoever lost leadership writes nothing more, not even events.
    if claim.is_current() {
        // What running work has left of its time is the API's.
        let left = RELEASE + SAFE_POINT.saturating_sub(stopped.elapsed());
        let farewell = async { tokio::join!(claim.release(), events.flush(left)) };
        if tokio::time::timeout(left, farewell).await.is_err() {
            tracing::warn!("the API did not answer in time; the lease expires by itself");
        }
    }
    result
}

/// Whether ending for this cause is what was asked for.
fn ended(cause: &Cause) -> Result<(), Failure> {
    if cause.is_orderly() {
        Ok(())
    } else {
        Err(Failure::Shutdown(cause.to_string()))
    }
}

/// Runs the controllers while this process leads, and gives them time to reach a safe point when it ends. Tells when it was
/// to end.
async fn lead<C, E>(runtime: Runtime, controllers: C) -> (Result<(), Failure>, Instant)
where
    C: AsyncFnOnce(Runtime) -> Result<(), E>,
    E: Into<BoxError>,
{
    let (claim, shutdown, events) = (runtime.claim.clone(), runtime.shutdown.clone(), runtime.events.clone());
    let work = controllers(runtime);
    tokio::pin!(work);
    let cause = tokio::select! {
        biased;
        why = claim.lost() => {
            // No safe point: another process may act already.
            tracing::error!("leadership lost: {why}");
            return (Ok(()), Instant::now());
        }
        cause = shutdown.begun() => cause,
        result = &mut work => {
            let result = match result {
                Err(error) => Err(Failure::Controllers(error.into())),
                Ok(()) => shutdown.cause().map_or(Err(Failure::ControllersEnded), |cause| ended(&cause)),
            };
            return (result, Instant::now());
        },
    };
    let stopped = Instant::now();
    if let Cause::FileChanged(path) = &cause {
        events.publish(Event::normal(
            "OperatorRestart",
            format!("restarting because {} changed", path.display()),
        ));
    }
    tokio::select! {
        why = claim.lost() => tracing::error!("leadership lost while shutting down: {why}"),
        result = tokio::time::timeout(SAFE_POINT, work) => match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("while shutting down: {}", error.into()),
            Err(_) => tracing::warn!("running work did not reach a safe point in {SAFE_POINT:?}; it is cut off"),
        },
    }
    (ended(&cause), stopped)
}

/// Everything up to leadership. What can be wrong in files and variables is found before the API is asked for anything.
async fn start(arguments: &RunArgs, telemetry: Telemetry, shutdown: Shutdown) -> Result<Runtime, Failure> {
    let environment = Arc::new(ProcessEnvironment::from_process().map_err(Failure::start)?);
    watch_files(&arguments.files, shutdown.clone())?;
    tell_trust(&arguments.files);
    let serving = match &arguments.config {
        Some(path) => config_file::read(path).map_err(Failure::start)?,
        None => config_file::ServingInfo::default(),
    };
    // kube and our server ask for the process's default; installing twice is harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (metrics, readiness) = (Arc::new(Metrics::new(VERSION)), Readiness::default());
    let pair = KeyPair {
        certificate: arguments.serving_cert.clone(),
        key: arguments.serving_key.clone(),
    };
    let server = Server::bind(&serving, &pair).await.map_err(Failure::start)?;
    tokio::spawn(server.serve(metrics.clone(), readiness.clone()));

    let client = client::connect(arguments.kubeconfig.as_deref(), VERSION, metrics.clone())
        .await
        .map_err(Failure::start)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let events = Events::start(
        client.clone(),
        environment.pod_name.clone(),
        clock.clone(),
        metrics.clone(),
    );
    let candidate = Candidate {
        timings: timings(&client, &events).await,
        client: client.clone(),
        identity: leader::identity(),
        clock: clock.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
    };
    let claim = leader::acquire(candidate).await;
    readiness.leading();
    tracing::info!("Cluster Image Registry Operator Version: {VERSION}");
    Ok(Runtime {
        client,
        claim,
        events,
        metrics,
        shutdown,
        readiness,
        environment,
        telemetry,
        clock,
    })
}

/// Begins to watch; the first change, or a file that cannot be read any more, ends the process.
fn watch_files(paths: &[PathBuf], shutdown: Shutdown) -> Result<(), Failure> {
    let watch = FileWatch::start(paths).map_err(Failure::start)?;
    if !paths.is_empty() {
        tokio::spawn(async move {
            shutdown.begin(match watch.changed().await {
                Ok(change) => Cause::FileChanged(change.path),
                Err(error) => Cause::Failure(error.to_string()),
            });
        });
    }
    Ok(())
}

/// Existing tests of users look for this line. Nothing is overwritten on disk: whoever speaks TLS to the outside reads the
/// bundle itself.
fn tell_trust(files: &[PathBuf]) {
    let known = Path::new(TRUSTED_CA_BUNDLE);
    let named = files
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| path.file_name() == known.file_name());
    if let Some(path) = named.chain([known]).find(|path| path.exists()) {
        tracing::info!(
            "Overwriting root TLS certificate authority trust store with {}",
            path.display()
        );
    }
}

/// The one field of `Infrastructure/cluster` that is needed here.
#[derive(Deserialize)]
struct Infrastructure {
    #[serde(default)]
    status: InfrastructureStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InfrastructureStatus {
    #[serde(default)]
    control_plane_topology: String,
}

/// Durations of the election. If the topology cannot be learned, those for several control plane nodes, which are safe
/// everywhere; an event says so.
async fn timings(client: &Client, events: &Events) -> Timings {
    let path = format!("/apis/config.openshift.io/v1/infrastructures/{}", names::CLUSTER);
    let why = match Request::get(path).body(Vec::new()) {
        Ok(request) => match client.request::<Infrastructure>(request).await {
            Ok(Infrastructure { status }) if !status.control_plane_topology.is_empty() => {
                return Timings::for_topology(&status.control_plane_topology);
            }
            Ok(_) => "Infrastructure/cluster does not tell it yet".to_owned(),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                "the cluster has no Infrastructure/cluster".to_owned()
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let note = format!("cannot learn the control plane topology, assuming a highly available one: {why}");
    events.publish(Event::warning("ControlPlaneTopology", note));
    Timings::HA
}

#[cfg(test)]
mod tests;
