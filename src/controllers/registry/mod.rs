//! The registry: Config, storage, operand and their status. The one writer of the Config.

mod cluster;
mod manage;
mod record;
mod remove;
mod report;
mod storage;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::pace::Pace;
use super::{Backoff, Context, RESYNC, bootstrap};
use crate::api::{Config, Kind, ObjectRef};
use crate::apply::{Recorded, WriteError};
use crate::config::resolve::ManagementState;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::status::judge::{Failing, Preflight};

/// Passes in a row that a changed Config may start over before the loop rests.
const RESTARTS: u32 = 5;

/// Why a pass ended early.
enum Interrupted {
    /// The Config changed while the pass ran: it starts over with the newest.
    Stale,
    /// The Config takes nothing of what the pass adds to it.
    Unstored(Unstored),
    /// Nothing can be written, or read.
    Failed(WriteError),
}

/// What could not be stored, and why.
struct Unstored {
    error: WriteError,
    /// The cluster's TLS settings were among it.
    observed: bool,
}

impl From<WriteError> for Interrupted {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Conflict(_) | WriteError::NotFound => Self::Stale,
            other => Self::Failed(other),
        }
    }
}

/// How a pass ended: whether it is to be tried again, and when at the latest it is to be looked at again.
struct Ended {
    failed: bool,
    again: Duration,
}

impl Ended {
    const WELL: Self = Self {
        failed: false,
        again: RESYNC,
    };
    const FAILED: Self = Self {
        failed: true,
        again: RESYNC,
    };
}

/// What the loop keeps between passes. None of it is needed for correctness: a restart finds its way from the cluster.
struct Registry {
    context: Context,
    /// Generations after our writes, until the status that records them is stored.
    generations: HashMap<ObjectRef, i64>,
    /// Since when passes fail without a success in between.
    failing_since: Option<Timestamp>,
    /// Why the Config took no write, until it takes one.
    unstored: Option<String>,
    /// Since when a removal has seen no Deployment.
    gone_since: Option<Timestamp>,
    /// Paces writes of the status.
    pace: Pace,
    /// When the Deployment was last written.
    deployed: Option<Instant>,
    /// When the group of security context constraints was asked for.
    security_asked: Option<Instant>,
}

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    let mut registry = Registry {
        context: context.clone(),
        generations: HashMap::new(),
        failing_since: None,
        unstored: None,
        gone_since: None,
        pace: Pace::from_now(),
        deployed: None,
        security_asked: None,
    };
    loop {
        let permit = context.begin().await;
        let began = Instant::now();
        let ended = registry.pass().await;
        context.reconciled("registry", !ended.failed, began.elapsed());
        drop(permit);
        let wait = if ended.failed {
            backoff.fail(context.jitter()).min(ended.again)
        } else {
            backoff.reset();
            ended.again
        };
        context.rest(Controller::Registry, wait).await;
    }
}

impl Registry {
    async fn pass(&mut self) -> Ended {
        for _ in 0..RESTARTS {
            match Box::pin(self.attempt()).await {
                Ok(ended) => return ended,
                Err(Interrupted::Stale) => {
                    debug!("the Config changed while a pass ran, the pass starts over");
                    let config = ObjectRef::new(Kind::Config, "", names::CLUSTER);
                    if let Err(error) = self.context.writer.read(&config).await {
                        warn!(%error, "cannot read {config}");
                    }
                }
                // Store first, then use: nothing goes out, and the status tells why.
                Err(Interrupted::Unstored(unstored)) => {
                    warn!(error = %unstored.error, "the Config takes no write");
                    let told = Box::pin(self.report_unstored(&unstored)).await;
                    return told.unwrap_or(Ended::FAILED);
                }
                Err(Interrupted::Failed(error)) => {
                    warn!(%error, "the pass could not be finished");
                    return Ended::FAILED;
                }
            }
        }
        Ended::FAILED
    }

    async fn attempt(&mut self) -> Result<Ended, Interrupted> {
        let snapshot = self.gather().await?;
        self.set_log_level(&snapshot);
        let config = match snapshot.config() {
            Ok(Some(config)) => Box::new(config),
            Ok(None) => return Ok(self.bootstrap(&snapshot).await),
            Err(undecodable) => return self.report_undecodable(&snapshot, &undecodable).await,
        };
        if !self.follow(&config) {
            return Ok(Ended::WELL); // a sync triggers the next pass
        }
        let deleting = config.metadata.deletion_timestamp.is_some();
        match ManagementState::of(&config) {
            _ if deleting => self.finalize(config, snapshot).await,
            ManagementState::Managed => Box::pin(self.manage(config, snapshot)).await,
            ManagementState::Removed => self.remove(config, snapshot).await,
            ManagementState::Unmanaged => self.leave_alone(config, snapshot).await,
        }
    }

    /// Everything that the pass looks at. One question goes to the API server, and only where it matters: whether a
    /// namespace without group range is one of a platform that enforces security context constraints.
    async fn gather(&mut self) -> Result<Snapshot, Interrupted> {
        let mut snapshot = self.context.world.snapshot();
        let namespace = snapshot.objects.cluster(Kind::Namespace, names::NAMESPACE);
        let annotations = namespace.and_then(|n| n.pointer("/metadata/annotations"));
        let known = annotations
            .and_then(|a| a.get(names::SUPPLEMENTAL_GROUPS_ANNOTATION))
            .is_some();
        if !known && is_to_ask(self.security_asked, snapshot.security_api) {
            let served = self.context.writer.serves_group(names::SECURITY_GROUP).await?;
            self.security_asked = Some(Instant::now());
            self.context.world.set_security_api(served);
            snapshot.security_api = served;
        }
        Ok(snapshot)
    }

    async fn bootstrap(&mut self, snapshot: &Snapshot) -> Ended {
        let failure = bootstrap::bootstrap(&self.context, snapshot).await.err();
        let failed = failure.is_some();
        if let Some(failure) = &failure {
            warn!("cannot bootstrap: {failure}");
        }
        if self.context.board.set_bootstrap_failure(failure) {
            self.context.world.trigger(Controller::ClusterOperator);
        }
        Ended {
            failed,
            again: if failed { RESYNC } else { Duration::ZERO },
        }
    }

    /// `Unmanaged`: nothing is touched but what is observed and told, and the CA maps.
    async fn leave_alone(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
        self.publish_untried(&config, &snapshot);
        let (config, snapshot, _) = self.complete(config, snapshot, false).await?;
        let (verdicts, notices) = crate::storage::left_alone(&config, &self.context.cloud);
        let outcome = report::Outcome {
            state: Some(ManagementState::Unmanaged),
            verdicts,
            notices,
            ..report::Outcome::default()
        };
        self.report(&snapshot, outcome).await
    }

    /// Follows the Secrets and maps that the Config names. False while a new one is not in the store yet.
    fn follow(&self, config: &Config) -> bool {
        let mut wanted = BTreeSet::new();
        for route in config.spec.routes.iter().flatten() {
            if let Some(secret) = route.secret_name.as_deref().filter(|s| !s.is_empty()) {
                wanted.insert(ObjectRef::new(Kind::Secret, names::NAMESPACE, secret));
            }
        }
        let storage = config.spec.storage.as_ref().and_then(|s| s.s3.as_ref());
        let key = storage
            .and_then(|s| s.cloud_front.as_ref())
            .and_then(|c| c.private_key.get("name"))
            .and_then(Value::as_str);
        if let Some(secret) = key.filter(|k| !k.is_empty()) {
            wanted.insert(ObjectRef::new(Kind::Secret, names::NAMESPACE, secret));
        }
        let snapshot = self.context.world.snapshot();
        wanted.extend(crate::storage::config_maps(config, &snapshot));
        self.context.world.follow(&wanted, &[Controller::Registry]);
        self.context.world.is_synced(Controller::Registry)
    }

    /// Read from JSON: whoever looks for what does not decode may want to see more.
    fn set_log_level(&self, snapshot: &Snapshot) {
        if let Some(config) = snapshot.objects.cluster(Kind::Config, names::CLUSTER) {
            let level = config.pointer("/spec/operatorLogLevel").and_then(Value::as_str);
            self.context.set_log_level(level.unwrap_or_default());
        }
    }

    fn fail(&mut self, outcome: &report::Outcome, now: Timestamp) {
        match (&outcome.failing, &outcome.preflight) {
            (Some(Failing::Transient { .. }), _) | (None, Some(Preflight::Undecided(_))) => {
                self.failing_since.get_or_insert(now);
            }
            _ => self.failing_since = None,
        }
    }
}

/// Whether to ask (again) if security context constraints are enforced. A yes is final; while a platform comes up, a no is not.
fn is_to_ask(asked: Option<Instant>, served: bool) -> bool {
    asked.is_none_or(|asked| !served && asked.elapsed() >= RESYNC)
}

/// Generations that were recorded, newest first: ours of this process, then those in the status.
struct Generations<'a> {
    own: &'a HashMap<ObjectRef, i64>,
    stored: &'a [crate::api::Generation],
}

impl Recorded for Generations<'_> {
    fn generation(&self, object: &ObjectRef) -> Option<i64> {
        let own = self.own.get(object).copied();
        own.or_else(|| {
            let entry = self.stored.iter().find(|g| {
                g.group == object.kind.group()
                    && g.resource == object.kind.plural()
                    && g.namespace == object.namespace
                    && g.name == object.name
            });
            entry?.last_generation
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // In part: workload 40 (a group that is served later).
    #[tokio::test(start_paused = true)]
    async fn a_group_that_is_not_served_is_asked_for_again_once_a_resync() {
        assert!(is_to_ask(None, true));
        let asked = Some(Instant::now());
        tokio::time::advance(RESYNC / 2).await;
        assert!(!is_to_ask(asked, false));
        tokio::time::advance(RESYNC / 2).await;
        assert!(is_to_ask(asked, false));
        assert!(!is_to_ask(asked, true));
    }
}
