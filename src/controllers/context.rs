//! What every controller works with: caches, the writer, shared conditions, events, metrics.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Settings;
use super::shared_conditions::SharedConditions;
use crate::api::ObjectRef;
use crate::apply::{self, ObjectCache, Report, WriteError, Writer};
use crate::config::event_request::EventRequest;
use crate::names;
use crate::observe::{Caches, Controller};
use crate::runtime::event::{Event, Events};
use crate::runtime::metrics::{Metrics, Outcome};
use crate::runtime::random;
use crate::runtime::server::OwnCertificate;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::telemetry::{Change, LevelError, Telemetry};
use crate::storage::StorageClients;

/// More permits than there are controllers. One pass takes one permit, so holding all of them means that no pass runs.
const PERMITS: u32 = 64;

/// Reasons of events whose source is [`names::CONFIG_OBSERVER_COMPONENT`].
const OBSERVER_REASONS: [&str; 3] = [
    "ObservedConfigChanged",
    "ObservedConfigWriteError",
    "ObserveTLSSecurityProfile",
];

/// What every controller works with. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Context {
    pub(super) caches: Caches,
    pub(super) writer: Writer,
    pub(super) shared: SharedConditions,
    pub(super) storage: Arc<StorageClients>,
    pub(super) metrics: Arc<Metrics>,
    events: Events,
    telemetry: Telemetry,
    /// Certificate of the metrics server, if the process makes it itself.
    pub(super) serving: Option<OwnCertificate>,
    shutdown: Shutdown,
    passes: Arc<Semaphore>,
    started: Instant,
}

impl Context {
    pub(super) fn new(settings: &Settings, caches: Caches, writer: Writer, storage: StorageClients) -> Self {
        Self {
            caches,
            writer,
            shared: SharedConditions::default(),
            storage: Arc::new(storage),
            metrics: settings.metrics.clone(),
            events: settings.events.clone(),
            telemetry: settings.telemetry.clone(),
            serving: settings.serving.clone(),
            shutdown: settings.shutdown.clone(),
            passes: Arc::new(Semaphore::new(PERMITS as usize)),
            started: Instant::now(),
        }
    }

    /// Starts a pass, which ends when the permit is dropped. Never returns once the process shuts down.
    pub(super) async fn start_pass(&self) -> OwnedSemaphorePermit {
        match self.passes.clone().acquire_owned().await {
            Ok(permit) if !self.shutdown.is_begun() => permit,
            _ => std::future::pending().await,
        }
    }

    /// Waits until no pass runs. Takes all permits, so no pass can start afterwards.
    pub(super) async fn finish_passes(&self) {
        let _ = self.passes.acquire_many(PERMITS).await;
    }

    /// Time since the controllers started, on a clock that nobody sets.
    pub(super) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a pass and records its duration.
    pub(super) fn count_pass(&self, controller: &'static str, success: bool, duration: Duration) {
        let outcome = if success { Outcome::Success } else { Outcome::Error };
        self.metrics.reconciled(controller, outcome, duration);
    }

    /// Records that a controller has reported for the first time, and triggers the controllers that waited for this report.
    pub(super) fn note_first_report(&self, controller: Controller) {
        if !self.caches.is_synced(controller) || !self.shared.note_first_report(controller) {
            return;
        }
        for listener in [Controller::Registry, Controller::ClusterOperator] {
            if sources_of(listener).any(|source| source == controller) && self.first_reports_done(listener) {
                self.caches.trigger(listener);
            }
        }
    }

    /// Whether every controller whose conditions this controller's status includes has reported once.
    pub(super) fn first_reports_done(&self, listener: Controller) -> bool {
        self.shared.have_reported(sources_of(listener))
    }

    /// Sets the operator's own log level while it runs.
    pub(super) fn set_log_level(&self, level: &str) {
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

    /// Publishes and logs events. An event that cannot be sent never fails a pass.
    pub(super) fn publish_events(&self, events: impl IntoIterator<Item = EventRequest>) {
        for event in events {
            self.events.publish(to_event(event));
        }
    }

    /// Publishes the events of a report. The log has the writes already.
    pub(super) fn publish_report(&self, report: &mut Report) {
        self.publish_events(std::mem::take(&mut report.events));
        self.publish_writes(std::mem::take(&mut report.write_events));
    }

    fn publish_writes(&self, events: Vec<EventRequest>) {
        for event in events {
            self.events.publish_logged(to_event(event));
        }
    }

    /// Creates an object that is no operand, and publishes an event about it.
    pub(super) async fn create(&self, reference: &ObjectRef, body: &Value) -> Result<Value, WriteError> {
        let (created, events) = apply::create(reference, body, &self.writer).await;
        self.publish_writes(events);
        created
    }

    /// A random number between 0 and 1.
    #[allow(clippy::unused_self)]
    pub(super) fn jitter(&self) -> f64 {
        random::up_to(Duration::from_secs(1)).as_secs_f64()
    }

    /// Waits until an object that the controller watches changes, but at most `limit`. Never returns once the process shuts
    /// down.
    pub(super) async fn wait_for_change(&self, controller: Controller, limit: Duration) {
        tokio::select! {
            () = self.caches.changed(controller) => {}
            () = tokio::time::sleep(limit) => {}
            _ = self.shutdown.begun() => std::future::pending().await,
        }
    }
}

fn to_event(request: EventRequest) -> Event {
    let EventRequest {
        warning,
        reason,
        message,
    } = request;
    let event = if warning {
        Event::warning(reason, message)
    } else {
        Event::normal(reason, message)
    };
    if OBSERVER_REASONS.contains(&reason) {
        event.with_component(names::CONFIG_OBSERVER_COMPONENT)
    } else {
        event
    }
}

/// Controllers whose conditions a status includes: the Config has those of all controllers but the ClusterOperator's; the
/// ClusterOperator has those of the Config.
fn sources_of(listener: Controller) -> impl Iterator<Item = Controller> {
    let is_source = move |controller: &Controller| match controller {
        Controller::Registry => listener == Controller::ClusterOperator,
        Controller::ClusterOperator => false,
        _ => listener == Controller::Registry,
    };
    Controller::ALL.iter().copied().filter(is_source)
}

impl ObjectCache for Caches {
    fn latest(&self, reference: &ObjectRef) -> Option<Arc<Value>> {
        Self::latest(self, reference)
    }

    fn store(&self, reference: ObjectRef, object: Value) {
        Self::store(self, &reference, object);
    }

    fn remove(&self, reference: &ObjectRef) {
        Self::remove(self, reference);
    }
}
