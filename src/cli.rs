//! The program: arguments, start, shutdown and exit status. Subcommand `node-ca-sync`, which runs on the nodes, shares only
//! argument parsing, logs and exit status.
//!
//! | exit status | when |
//! |---|---|
//! | 0 | SIGINT or SIGTERM, a watched file changed, leadership lost, `--help` |
//! | 1 | start failed, a second signal, the controllers failed or ended unexpectedly, unknown arguments |
//! | 2 | a bug: a task panicked |

mod failure;
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

use self::{
    failure::{BoxError, Failure},
    node_ca::NodeCaArgs,
};
use crate::{
    api,
    controllers::{self, Settings},
    names,
    runtime::{
        client,
        clock::{Clock, SystemClock},
        config_file,
        environment::ProcessEnvironment,
        event::{Event, Events},
        file_watch::FileWatch,
        leader::{self, Candidate, Timings},
        metrics::Metrics,
        server::{KeyPair, OwnCertificate, Readiness, Server, ServingCertificate},
        shutdown::{self, Cause, Shutdown},
        telemetry::{Format, Telemetry},
    },
};

/// The CA bundle that the cluster administrator trusts, mounted from ConfigMap `trusted-ca`.
const TRUSTED_CA_BUNDLE: &str = "/var/run/configmaps/trusted-ca/tls-ca-bundle.pem";
/// Name of the subcommand that prints the CRDs.
const CRDS: &str = "crds";
/// Name of the subcommand that moves blobs of old releases on Azure.
const MOVE_BLOBS: &str = "move-blobs";
/// How long running passes may take to end during shutdown.
const SAFE_POINT: Duration = Duration::from_millis(1500);
/// Minimum time for releasing the Lease. The release also gets what is left of [`SAFE_POINT`]; together they stay below 2 s.
const RELEASE: Duration = Duration::from_millis(400);

/// Runs the integrated image registry of an OpenShift cluster
#[derive(Debug, Parser)]
#[command(name = "cluster-image-registry-operator")]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of the operator itself.
#[derive(Clone, Debug, Args, PartialEq, Eq)]
struct RunArgs {
    /// Kubeconfig file; without it, the credentials of the pod are used
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// File whose change restarts the process; may be repeated
    #[arg(long, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Controller configuration (`GenericControllerConfig`, YAML); without it, defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Certificate of the metrics server, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/secrets/tls.crt")]
    serving_cert: PathBuf,
    /// Private key of the metrics server, PEM
    #[arg(long, value_name = "FILE", default_value = "/etc/secrets/tls.key")]
    serving_key: PathBuf,
    /// Make a certificate for the metrics server if the files of its certificate do not exist
    #[arg(long)]
    self_signed_serving_cert: bool,
    /// Format of log lines
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = log_format)]
    log_format: Format,
}

fn log_format(text: &str) -> Result<Format, String> {
    match text {
        "text" => Ok(Format::Text),
        "json" => Ok(Format::Json),
        _ => Err("use text or json".to_owned()),
    }
}

/// Parses `arguments` (the first is the program's name), runs the program, and returns its exit status. `version` is what
/// `--version`, the log, the metrics and the user agent of requests name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, version: &'static str) -> ExitCode {
    let command = Cli::command()
        .version(version)
        .subcommand(node_ca::command())
        .subcommand(clap::Command::new(CRDS).about("Print the CustomResourceDefinitions as YAML"))
        .subcommand(clap::Command::new(MOVE_BLOBS).about(
            "Move blobs of releases up to 4.13 on Azure to where later releases look for them; settings come from AZURE_* \
             variables",
        ));
    let matches = match command.try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    if matches.subcommand_name() == Some(CRDS) {
        return print(api::crd::print_all().map_err(Into::into));
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    if matches.subcommand_name() == Some(MOVE_BLOBS) {
        return execute(cli.run.log_format, async |_| {
            controllers::move_blobs(version).await.map_err(Failure::start)
        });
    }
    match NodeCaArgs::of(&matches) {
        Some(Ok(arguments)) => execute(cli.run.log_format, async |_| arguments.run().await),
        Some(Err(error)) => usage(&error),
        None => execute(cli.run.log_format, async |telemetry| {
            run_operator(&cli.run, version, telemetry, controllers::run).await
        }),
    }
}

/// Prints a usage error. clap's exit status for wrong arguments is 2, which means a bug here.
fn usage(error: &clap::Error) -> ExitCode {
    // There is no other way to report a failure of this.
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

/// Sets up logs, runs `work` and converts its result to an exit status.
fn execute(format: Format, work: impl AsyncFnOnce(Telemetry) -> Result<(), Failure>) -> ExitCode {
    let telemetry = Telemetry::init(format);
    exit_on_panic();
    // One thread is enough, because tasks mostly wait, and each thread costs memory. Only file reads and DNS lookups block.
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build();
    let result = match executor {
        Ok(executor) => {
            let result = executor.block_on(work(telemetry));
            // A DNS lookup that hangs must not delay the exit.
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

/// Exits on a panic, so that the kubelet restarts the container. Without it, a process that lost a task would look healthy and
/// do part of its work.
fn exit_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::exit(2);
    }));
}

/// Runs the operator from start to the release of the Lease.
async fn run_operator<C, E>(
    arguments: &RunArgs,
    version: &'static str,
    telemetry: Telemetry,
    controllers: C,
) -> Result<(), Failure>
where
    C: AsyncFnOnce(Settings) -> Result<(), E>,
    E: Into<BoxError>,
{
    let shutdown = Shutdown::new();
    shutdown::on_signals(shutdown.clone()).map_err(Failure::start)?;
    let start = start(arguments, version, telemetry, shutdown.clone());
    let settings = tokio::select! {
        biased;
        cause = shutdown.begun() => return Failure::of_shutdown(&cause),
        settings = start => settings?,
    };
    let (claim, events) = (settings.claim.clone(), settings.events.clone());
    let (result, stopped) = run_while_leading(settings, controllers).await;
    // A process that lost leadership writes nothing, not even events.
    if claim.is_current() {
        // The release may use the time that running passes did not need.
        let left = RELEASE + SAFE_POINT.saturating_sub(stopped.elapsed());
        let release = async { tokio::join!(claim.release(), events.flush(left)) };
        if tokio::time::timeout(left, release).await.is_err() {
            tracing::warn!("the API server did not answer in time; the lease stays held until it expires");
        }
    }
    result
}

/// Runs the controllers while this process leads. On shutdown, waits until running passes end, but at most [`SAFE_POINT`].
/// Returns the result and when the shutdown began.
async fn run_while_leading<C, E>(settings: Settings, controllers: C) -> (Result<(), Failure>, Instant)
where
    C: AsyncFnOnce(Settings) -> Result<(), E>,
    E: Into<BoxError>,
{
    let (claim, shutdown, events) = (
        settings.claim.clone(),
        settings.shutdown.clone(),
        settings.events.clone(),
    );
    let work = controllers(settings);
    tokio::pin!(work);
    let cause = tokio::select! {
        biased;
        why = claim.lost() => {
            // Do not wait for running passes: another process may lead already.
            tracing::error!("leadership lost: {why}");
            return (Ok(()), Instant::now());
        }
        cause = shutdown.begun() => cause,
        result = &mut work => {
            let result = match result {
                Err(error) => Err(Failure::Controllers(error.into())),
                Ok(()) => shutdown.cause().map_or(Err(Failure::ControllersEnded), |cause| Failure::of_shutdown(&cause)),
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
            Ok(Err(error)) => tracing::warn!("the controllers failed during shutdown: {}", error.into()),
            Err(_) => tracing::warn!("a running pass did not end within {SAFE_POINT:?} and is aborted"),
        },
    }
    (Failure::of_shutdown(&cause), stopped)
}

/// Starts the process up to leadership. Files and variables are validated before the first request to the API server.
async fn start(
    arguments: &RunArgs,
    version: &'static str,
    telemetry: Telemetry,
    shutdown: Shutdown,
) -> Result<Settings, Failure> {
    let environment = Arc::new(ProcessEnvironment::from_process().map_err(Failure::start)?);
    watch_files(&arguments.files, shutdown.clone())?;
    log_trusted_bundle(&arguments.files);
    let serving = match &arguments.config {
        Some(path) => config_file::read(path).map_err(Failure::start)?,
        None => config_file::ServingInfo::default(),
    };
    // kube and the metrics server use the default provider of the process. A second installation has no effect.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (metrics, readiness) = (Arc::new(Metrics::new(version)), Readiness::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let certificate = serving_certificate(arguments, &clock);
    let server = Server::bind(&serving, &certificate).await.map_err(Failure::start)?;
    tokio::spawn(server.serve(metrics.clone(), readiness.clone()));

    let client = client::connect(arguments.kubeconfig.as_deref(), version, metrics.clone())
        .await
        .map_err(Failure::start)?;
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
    readiness.set_leading();
    tracing::info!("Cluster Image Registry Operator Version: {version}");
    Ok(Settings {
        version,
        client,
        claim,
        events,
        metrics,
        shutdown,
        readiness,
        serving: match certificate {
            ServingCertificate::Own(own) => Some(own),
            ServingCertificate::Files(_) => None,
        },
        clock,
        environment,
        telemetry,
    })
}

/// The certificate of the metrics server. One of two files alone is an error, which reading them reports.
fn serving_certificate(arguments: &RunArgs, clock: &Arc<dyn Clock>) -> ServingCertificate {
    let (certificate, key) = (arguments.serving_cert.clone(), arguments.serving_key.clone());
    if arguments.self_signed_serving_cert && !certificate.exists() && !key.exists() {
        tracing::info!(
            "{} does not exist; the metrics server uses a certificate of its own",
            certificate.display()
        );
        return ServingCertificate::Own(OwnCertificate::new(clock.clone()));
    }
    ServingCertificate::Files(KeyPair { certificate, key })
}

/// Starts to watch files. The first change, or a read error, shuts the process down.
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

/// Logs a line that existing tests of users search for. Nothing is overwritten on disk: every TLS client reads the bundle
/// itself.
fn log_trusted_bundle(files: &[PathBuf]) {
    let known = Path::new(TRUSTED_CA_BUNDLE);
    let given = files
        .iter()
        .map(PathBuf::as_path)
        .filter(|path| path.file_name() == known.file_name());
    if let Some(path) = given.chain([known]).find(|path| path.exists()) {
        tracing::info!(
            "Overwriting root TLS certificate authority trust store with {}",
            path.display()
        );
    }
}

/// The field of `Infrastructure/cluster` that selects the durations of leader election.
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

/// Durations of leader election. If the control plane topology is unknown, those for several control plane nodes, which are
/// safe everywhere; an event reports this.
async fn timings(client: &Client, events: &Events) -> Timings {
    let path = format!("/apis/config.openshift.io/v1/infrastructures/{}", names::CLUSTER);
    let why = match Request::get(path).body(Vec::new()) {
        Ok(request) => match client.request::<Infrastructure>(request).await {
            Ok(Infrastructure { status }) if !status.control_plane_topology.is_empty() => {
                return Timings::for_topology(&status.control_plane_topology);
            }
            Ok(_) => "Infrastructure/cluster has no status.controlPlaneTopology yet".to_owned(),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                "the cluster has no Infrastructure/cluster".to_owned()
            }
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    let note = format!("the control plane topology is unknown, assuming a highly available one: {why}");
    events.publish(Event::warning("ControlPlaneTopology", note));
    Timings::HA
}

#[cfg(test)]
mod tests;
