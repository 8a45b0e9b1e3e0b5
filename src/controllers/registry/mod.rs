//! The registry controller: Config, storage, operand and their status. It is the only writer of the Config.

mod cluster;
mod controller;
mod last_login;
mod login;
mod manage;
mod pass;
mod record;
mod remove;
mod report;
mod storage;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::controller::{Ended, Interrupted, Registry, Since};
use self::pass::PassContext;
use super::bootstrap::{self, LastAttempt, NotCreated};
use super::optional_api::Asked;
use super::{Backoff, Context, RESYNC};
use crate::api::{Config, Kind, ObjectRef};
use crate::config::event_request::EventRequest;
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan;
use crate::status::cluster_operator::BootstrapDelay;

/// How often a changed Config may start a pass over before the controller waits.
const RESTARTS: u32 = 5;

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    let mut registry = Registry::new(context.clone());
    loop {
        let permit = context.start_pass().await;
        let began = Instant::now();
        registry.retry_due = backoff.is_due();
        let ended = registry.pass().await;
        context.count_pass("registry", !ended.failed, began.elapsed());
        drop(permit);
        let wait = if ended.failed {
            backoff.fail(context.jitter()).min(ended.again)
        } else {
            backoff.reset();
            ended.again
        };
        context.wait_for_change(Controller::Registry, wait).await;
    }
}

impl Registry {
    async fn pass(&mut self) -> Ended {
        let mut last = None;
        for _ in 0..RESTARTS {
            match Box::pin(self.attempt()).await {
                Ok(ended) => {
                    if self.logged.ended() {
                        info!("registry: the failure has ended");
                    }
                    return ended;
                }
                Err(Interrupted::Stale(stale)) => {
                    debug!("the pass starts over: {stale}");
                    last = Some(stale);
                    let config = ObjectRef::new(Kind::Config, "", names::CLUSTER);
                    if let Err(error) = self.context.writer.read(&config).await {
                        return self.failed(&format!("cannot read {config}: {error}"));
                    }
                }
                // The Config must be stored before it has an effect. Change nothing, and report the error in the
                // status; the log then has the words of the conditions.
                Err(Interrupted::Unstored(unstored)) => {
                    let reported = Box::pin(self.report_unstored(&unstored)).await;
                    return reported
                        .unwrap_or_else(|_| self.failed(&format!("cannot write the Config: {}", unstored.error)));
                }
                Err(Interrupted::Failed(error)) => return self.failed(&format!("the pass failed: {error}")),
            }
        }
        let last = last.map(|stale| stale.to_string()).unwrap_or_default();
        self.failed(&format!(
            "{RESTARTS} attempts of a pass had to start over, the last one because: {last}"
        ))
    }

    /// Logs a failure that no condition reports, once.
    fn failed(&mut self, words: &str) -> Ended {
        if self.logged.is_new(words) {
            warn!("registry: {words}");
        }
        Ended::FAILED
    }

    async fn attempt(&mut self) -> Result<Ended, Interrupted> {
        let snapshot = self.gather().await;
        self.set_log_level(&snapshot);
        let config = match snapshot.config() {
            Ok(Some(config)) => Box::new(config),
            Ok(None) => return Ok(self.bootstrap(&snapshot).await),
            Err(undecodable) => return self.report_undecodable(&snapshot, &undecodable).await,
        };
        self.set_bootstrap_delay(None);
        let watched = self.watch_referenced(&config);
        self.context.caches.watch_exposure(plan::may_expose(&snapshot));
        if !self.watch_volumes(bootstrap::reads_volumes(&snapshot, Some(&config))) || !watched {
            return Ok(Ended::SUCCESS); // The sync of the watch triggers the next pass.
        }
        let deleting = config.metadata.deletion_timestamp.is_some();
        let state = ManagementState::of(&config);
        let context = PassContext::new(config, snapshot);
        match state {
            _ if deleting => self.finalize(context).await,
            ManagementState::Managed => Box::pin(self.manage(context)).await,
            ManagementState::Removed => self.remove(context).await,
            ManagementState::Unmanaged => self.observe_only(context).await,
        }
    }

    /// Everything that the pass reads. If the namespace has no range of supplemental groups, this asks the API server
    /// whether the platform enforces security context constraints. An API server that does not say it stops no pass.
    async fn gather(&mut self) -> Snapshot {
        let mut snapshot = self.context.caches.snapshot();
        let namespace = snapshot.objects.cluster(Kind::Namespace, names::NAMESPACE);
        let annotations = namespace.and_then(|n| n.pointer("/metadata/annotations"));
        let has_range = annotations
            .and_then(|a| a.get(names::SUPPLEMENTAL_GROUPS_ANNOTATION))
            .is_some();
        // A positive answer is final; a negative one may change while the platform is installed.
        let asks = !has_range && self.security_asked.served != Some(true);
        self.security_asked = if asks {
            let question = self.context.writer.serves_group(names::SECURITY_GROUP);
            let jitter = self.context.jitter();
            self.security.ask(names::SECURITY_GROUP, jitter, question).await
        } else {
            Asked {
                fault: None,
                again: None,
                ..self.security_asked
            }
        };
        if let Some(served) = self.security_asked.served {
            self.context.caches.set_security_api(served);
            snapshot.security_api = served;
        }
        snapshot
    }

    async fn bootstrap(&mut self, snapshot: &Snapshot) -> Ended {
        if !self.watch_volumes(bootstrap::reads_volumes(snapshot, None)) {
            return Ended::SUCCESS; // The sync of the watch triggers the next pass.
        }
        let since = self.bootstrap_since.get_or_insert_with(Since::now).at(snapshot.now);
        let (last, due) = (&mut self.bootstrapped, self.retry_due);
        let not_created = bootstrap::bootstrap(&self.context, snapshot, since, last, due)
            .await
            .err();
        let failed = matches!(not_created, Some(NotCreated::Failed(..)));
        let (delay, again) = match not_created.map(|not_created| not_created.report(since, snapshot.now)) {
            None => (None, Duration::ZERO),
            Some((delay, left)) => (Some(delay), left.unwrap_or(RESYNC)),
        };
        self.set_bootstrap_delay(delay);
        Ended { failed, again }
    }

    fn set_bootstrap_delay(&mut self, delay: Option<BootstrapDelay>) {
        if delay.is_none() {
            self.bootstrap_since = None;
            self.bootstrapped = LastAttempt::default();
        }
        // Plain Kubernetes has no ClusterOperator that would report it, and an event lasts an hour.
        if let Some(BootstrapDelay::Failed(cause)) = &delay {
            self.context.publish_events([EventRequest {
                warning: true,
                reason: "ConfigNotCreated",
                message: format!("the Config cannot be created: {cause}"),
            }]);
        }
        if self.context.shared.set_bootstrap_delay(delay.clone()) {
            if let Some(BootstrapDelay::Pending(cause) | BootstrapDelay::Retrying(cause)) = delay {
                info!("the Config is not created yet: {cause}");
            }
            self.context.caches.trigger(Controller::ClusterOperator);
        }
    }

    /// Watches the PersistentVolumes of the cluster only while a pass needs them. `false` until the caches contain them.
    fn watch_volumes(&self, wanted: bool) -> bool {
        self.context.caches.watch_volumes(wanted);
        self.context.caches.is_synced(Controller::Registry)
    }

    /// A pass with `managementState: Unmanaged`: writes only `spec.observedConfig`, the status and the CA ConfigMaps.
    async fn observe_only(&mut self, mut context: PassContext) -> Result<Ended, Interrupted> {
        // A later removal waits for pods and for credentials from its own start.
        (self.gone_since, self.left_since) = (None, None);
        self.publish_unmanaged(&context);
        let mut outcome = report::Outcome {
            state: Some(ManagementState::Unmanaged),
            ..report::Outcome::default()
        };
        let meanwhile = "everything else is reported";
        let retried = self.complete_if_accepted(&mut context, &mut outcome, meanwhile).await?;
        (outcome.conditions, outcome.events) = crate::storage::left_alone(&context.config, &self.context.storage);
        let mut ended = self.report(&context.snapshot, outcome).await?;
        ended.failed |= retried;
        Ok(ended)
    }

    /// Watches the Secrets and ConfigMaps that the Config names. `false` until the caches contain all of them.
    fn watch_referenced(&self, config: &Config) -> bool {
        let mut wanted = BTreeSet::new();
        for route in config.spec.routes.iter().flatten() {
            if let Some(secret) = route.secret_name.as_deref().filter(|s| !s.is_empty()) {
                wanted.insert(ObjectRef::new(Kind::Secret, names::NAMESPACE, secret));
            }
        }
        let snapshot = self.context.caches.snapshot();
        wanted.extend(crate::storage::inputs(config, &snapshot));
        self.context.caches.watch_referenced(&wanted, &[Controller::Registry]);
        self.context.caches.is_synced(Controller::Registry)
    }

    /// Sets the log level from the undecoded Config, so that it works even if the Config does not decode.
    fn set_log_level(&self, snapshot: &Snapshot) {
        if let Some(config) = snapshot.objects.cluster(Kind::Config, names::CLUSTER) {
            let level = config.pointer("/spec/operatorLogLevel").and_then(Value::as_str);
            self.context.set_log_level(level.unwrap_or_default());
        }
    }
}

#[cfg(test)]
mod tests;
