//! Wiring only: each controller gathers, calls the rooms in their order, and rests until something it looks at changes.

mod azure;
mod backoff;
mod board;
mod bootstrap;
mod certificates;
mod cluster_operator;
mod image_config;
mod node_ca;
mod pace;
mod pruner;
mod registry;
mod secondary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinSet, LocalSet};
use tracing::info;

pub use backoff::{Backoff, RESYNC};
use board::Board;

use crate::api::{ObjectRef, Sensitive};
use crate::apply::{self, Sink, WriteError, Writer};
use crate::cli::{self, Runtime};
use crate::config::environment::Environment;
use crate::config::notice::Notice;
use crate::names;
use crate::observe::streams::{self, Tags};
use crate::observe::{Controller, World};
use crate::runtime::environment::ProxyVariables;
use crate::runtime::event::{Event, Events};
use crate::runtime::metrics::{ImageStreamTags, Metrics, Outcome};
use crate::runtime::random;
use crate::runtime::secret::Secret;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::telemetry::{Change, LevelError, Telemetry};
use crate::storage::cloud::{Cloud, Settings};
use crate::storage::http::Proxies;

/// How often sums of image stream tags are told at most.
const STREAM_TAGS: Duration = Duration::from_mins(1);
/// How long the first lists of all watches may take. One who cannot see everything does nothing, and leads in vain.
const SYNC: Duration = Duration::from_mins(10);
/// More than there are loops: whoever holds them all knows that no pass runs.
const PASSES: u32 = 64;

/// Reasons of events that come from [`names::CONFIG_OBSERVER_COMPONENT`].
const OBSERVER_REASONS: [&str; 3] = [
    "ObservedConfigChanged",
    "ObservedConfigWriteError",
    "ObserveTLSSecurityProfile",
];

/// What every controller works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    world: World,
    writer: Writer,
    board: Board,
    cloud: Arc<Cloud>,
    events: Events,
    metrics: Arc<Metrics>,
    telemetry: Telemetry,
    shutdown: Shutdown,
    passes: Arc<Semaphore>,
}

impl Context {
    /// Begins a pass; it has ended when the result is dropped. While the process stops, no pass begins.
    async fn begin(&self) -> OwnedSemaphorePermit {
        match self.passes.clone().acquire_owned().await {
            Ok(permit) if !self.shutdown.is_begun() => permit,
            _ => std::future::pending().await,
        }
    }

    /// Counts and times a pass.
    fn reconciled(&self, controller: &'static str, well: bool, took: Duration) {
        self.metrics
            .reconciled(controller, if well { Outcome::Success } else { Outcome::Error }, took);
    }

    /// Notes that a controller has had its first say, and wakes whom that lets speak.
    fn hear(&self, controller: Controller) {
        if !self.world.is_synced(controller) || !self.board.hear(controller) {
            return;
        }
        for listener in [Controller::Registry, Controller::ClusterOperator] {
            if repeated(listener).any(|said| said == controller) && self.has_heard(listener) {
                self.world.trigger(listener);
            }
        }
    }

    /// Whether all that this controller's status repeats have had their first say.
    fn has_heard(&self, listener: Controller) -> bool {
        self.board.heard(repeated(listener))
    }

    /// Sets the operator's own log level, at run time.
    fn set_log_level(&self, level: &str) {
        let (change, invalid) = match self.telemetry.set_level(level) {
            Ok(change) => (change, None),
            Err(LevelError::Unknown { error, change }) => (change, Some(error.to_string())),
            Err(error) => {
                self.events
                    .publish(Event::warning("OperatorLogLevelChangeFailed", error.to_string()));
                return;
            }
        };
        if let (Some(invalid), true) = (invalid, change != Change::None) {
            self.events.publish(Event::warning("OperatorLogLevelInvalid", invalid));
        }
        if let Change::Changed { from, to } = change {
            self.events.publish(Event::normal(
                "OperatorLogLevelChange",
                format!("operator log level changed from {from} to {to}"),
            ));
        }
    }

    /// Publishes notices as events. An event that cannot be sent never fails a pass.
    fn tell(&self, notices: impl IntoIterator<Item = Notice>) {
        for notice in notices {
            let Notice { warning, reason, note } = notice;
            let event = if warning {
                Event::warning(reason, note)
            } else {
                Event::normal(reason, note)
            };
            self.events.publish(if OBSERVER_REASONS.contains(&reason) {
                event.of(names::CONFIG_OBSERVER_COMPONENT)
            } else {
                event
            });
        }
    }

    /// Creates an object that is no operand, and tells it.
    async fn create(&self, reference: &ObjectRef, body: &Value) -> Result<Value, WriteError> {
        let (made, notices) = apply::create(reference, body, &self.writer).await;
        self.tell(notices);
        made
    }

    /// Between 0 and 1.
    #[allow(clippy::unused_self)]
    fn jitter(&self) -> f64 {
        random::up_to(Duration::from_secs(1)).as_secs_f64()
    }

    /// Rests until something changed that the controller looks at, or for this long.
    async fn rest(&self, controller: Controller, at_most: Duration) {
        tokio::select! {
            () = self.world.changed(controller) => {}
            () = tokio::time::sleep(at_most) => {}
            _ = self.shutdown.begun() => std::future::pending().await,
        }
    }
}

/// Controllers whose words a status repeats: that of the Config all but the ClusterOperator's, and that one the Config's.
fn repeated(listener: Controller) -> impl Iterator<Item = Controller> {
    let speaks = move |controller: &Controller| match controller {
        Controller::Registry => listener == Controller::ClusterOperator,
        Controller::ClusterOperator => false,
        _ => listener == Controller::Registry,
    };
    Controller::ALL.iter().copied().filter(speaks)
}

impl Sink for World {
    fn newest(&self, reference: &ObjectRef) -> Option<Arc<Value>> {
        Self::newest(self, reference)
    }

    fn written(&self, reference: ObjectRef, object: Value) {
        Self::written(self, &reference, object);
    }

    fn gone(&self, reference: &ObjectRef) {
        Self::gone(self, reference);
    }
}

/// Runs every controller until the process is asked to stop; then lets running passes come to their end, within bounds.
pub async fn run(runtime: Runtime) -> Result<(), String> {
    let environment = Environment {
        registry_image: runtime.environment.image.clone(),
        pruner_image: runtime.environment.image_pruner.clone(),
        operator_image: runtime.environment.operator_image.clone(),
        release_version: runtime.environment.release_version.clone(),
        gates_version: runtime.environment.operator_image_version.clone(),
        node_ca_user: runtime.environment.node_ca_user,
    };
    let world = World::start(runtime.client.clone(), environment);
    let claim = runtime.claim.clone();
    let leading = Arc::new(move || claim.is_current());
    let cloud = Arc::new(Cloud::new(settings(leading.clone())));
    let writer = Writer::new(runtime.client.clone(), leading, Arc::new(world.clone()));
    let context = Context {
        world: world.clone(),
        writer,
        board: Board::default(),
        cloud,
        events: runtime.events.clone(),
        metrics: runtime.metrics.clone(),
        telemetry: runtime.telemetry.clone(),
        shutdown: runtime.shutdown.clone(),
        passes: Arc::new(Semaphore::new(PASSES as usize)),
    };
    let passes = context.passes.clone();
    tokio::select! {
        synced = synced(&world) => synced?,
        _ = runtime.shutdown.begun() => return Ok(()),
    }
    info!("all watches are in sync");
    runtime.readiness.synced(true);
    // One thread runs all of it: futures need not be `Send`.
    let azure_file = runtime.environment.azure_environment_filepath.clone();
    LocalSet::new()
        .run_until(lead(context, runtime.client, azure_file, runtime.shutdown, passes))
        .await
}

/// Waits for the first lists of all watches. The error names those that did not come.
async fn synced(world: &World) -> Result<(), String> {
    tokio::time::timeout(SYNC, world.wait_synced()).await.map_err(|_| {
        format!(
            "these cannot be watched for {} minutes, and nothing is done without them: {}. Restore the rights that the \
             operator is installed with, or see why the API server does not serve them; the log tells each error",
            SYNC.as_secs() / 60,
            world.pending().join(", ")
        )
    })
}

/// What this process gives to clouds. Its environment is asked at each request.
fn settings(leading: Arc<dyn Fn() -> bool + Send + Sync>) -> Settings {
    Settings {
        version: cli::VERSION.to_owned(),
        proxies: Arc::new(|| {
            let ProxyVariables { http, https, no_proxy } = ProxyVariables::from_process();
            let secret = |address: Secret<String>| Sensitive::new(address.expose().as_str());
            Proxies {
                http: http.map(secret),
                https: https.map(secret),
                no_proxy,
            }
        }),
        leading,
        fips: std::env::var("AWS_USE_FIPS_ENDPOINT").is_ok_and(|set| set.eq_ignore_ascii_case("true")),
        root: PathBuf::new(),
    }
}

fn tell_tags(metrics: &Metrics, tags: Tags) {
    let Tags {
        imported_openshift,
        imported_other,
        pushed_openshift,
        pushed_other,
    } = tags;
    metrics.image_stream_tags(ImageStreamTags {
        imported_openshift,
        imported_other,
        pushed_openshift,
        pushed_other,
    });
}

async fn lead(
    context: Context,
    client: Client,
    azure_file: Option<PathBuf>,
    shutdown: Shutdown,
    passes: Arc<Semaphore>,
) -> Result<(), String> {
    let mut loops = JoinSet::new();
    loops.spawn_local(registry::run(context.clone()));
    loops.spawn_local(certificates::run(context.clone()));
    loops.spawn_local(cluster_operator::run(context.clone()));
    loops.spawn_local(image_config::run(context.clone()));
    loops.spawn_local(node_ca::run(context.clone()));
    loops.spawn_local(pruner::run(context.clone()));
    loops.spawn_local(azure::stack(context.clone(), azure_file));
    loops.spawn_local(azure::path_fix(context.clone()));
    let metrics = context.metrics.clone();
    loops.spawn_local(async move {
        streams::count_tags(client, STREAM_TAGS, |tags| tell_tags(&metrics, tags)).await;
    });
    tokio::select! {
        ended = loops.join_next() => return Err(format!("a controller ended by itself: {ended:?}")),
        _ = shutdown.begun() => {}
    }
    // The caller bounds this wait.
    let _ = passes.acquire_many(PASSES).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake_api::{FakeApi, Fault};

    // The exit status is that of any error of the controllers.
    #[tokio::test(start_paused = true)]
    async fn watches_that_are_forbidden_end_the_process_by_name_after_ten_minutes() {
        let api = FakeApi::default();
        api.fault(Fault::NoWatch);
        let world = World::start(api.client(), Environment::default());
        let began = tokio::time::Instant::now();
        let limit = SYNC * 2;
        let ended = tokio::time::timeout(limit, synced(&world)).await;
        let error = ended.expect("it waits for ever").unwrap_err();
        assert_eq!(began.elapsed(), SYNC);
        for named in [
            "Config cluster",
            "Deployment of openshift-image-registry",
            "StorageClass.",
        ] {
            assert!(error.contains(named), "{error}");
        }
    }
}
