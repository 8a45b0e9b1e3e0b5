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
    /// Nothing can be written, or read.
    Failed(WriteError),
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

/// What the loop keeps between passes. None of it is needed for correctness: a restart finds its way from the cluster.
struct Registry {
    context: Context,
    /// Generations after our writes, until the status that records them is stored.
    generations: HashMap<ObjectRef, i64>,
    /// Since when passes fail without a success in between.
    failing_since: Option<Timestamp>,
    /// Paces writes of the status.
    pace: Pace,
    /// When the Deployment was last written.
    deployed: Option<Instant>,
    /// Whether the group of security context constraints was asked for.
    security_asked: bool,
}

/// Runs passes until the process stops leading.
pub async fn run(context: Context) {
    let mut backoff = Backoff::default();
    let mut registry = Registry {
        context: context.clone(),
        generations: HashMap::new(),
        failing_since: None,
        pace: Pace::from_now(),
        deployed: None,
        security_asked: false,
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
                Err(Interrupted::Failed(error)) => {
                    warn!(%error, "the pass could not be finished");
                    return Ended {
                        failed: true,
                        again: RESYNC,
                    };
                }
            }
        }
        Ended {
            failed: true,
            again: RESYNC,
        }
    }

    async fn attempt(&mut self) -> Result<Ended, Interrupted> {
        let snapshot = self.gather().await?;
        let config = match snapshot.config() {
            Ok(Some(config)) => Box::new(config),
            Ok(None) => return Ok(self.bootstrap(&snapshot).await),
            Err(undecodable) => return self.report_undecodable(&snapshot, &undecodable).await,
        };
        self.set_log_level(&config);
        if !self.follow(&config) {
            return Ok(Ended {
                failed: false,
                again: RESYNC,
            }); // a sync triggers the next pass
        }
        let deleting = config.metadata.deletion_timestamp.is_some();
        match ManagementState::of(&config) {
            _ if deleting => self.finalize(config, snapshot).await,
            ManagementState::Managed => Box::pin(self.manage(config, snapshot)).await,
            ManagementState::Removed => self.remove(config, snapshot).await,
            ManagementState::Unmanaged => self.leave_alone(config, snapshot).await,
        }
    }

    /// Everything that the pass looks at. One question goes to the API server, once, and only where it matters: whether
    /// a namespace without group range is one of a platform that enforces security context constraints.
    async fn gather(&mut self) -> Result<Snapshot, Interrupted> {
        let mut snapshot = self.context.world.snapshot();
        let namespace = snapshot.objects.cluster(Kind::Namespace, names::NAMESPACE);
        let annotations = namespace.and_then(|n| n.pointer("/metadata/annotations"));
        let known = annotations
            .and_then(|a| a.get(names::SUPPLEMENTAL_GROUPS_ANNOTATION))
            .is_some();
        if !known && !self.security_asked {
            let served = self.context.writer.serves_group(names::SECURITY_GROUP).await?;
            self.security_asked = true;
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

    /// `Unmanaged`: nothing is touched but what is observed and told.
    async fn leave_alone(&mut self, config: Box<Config>, snapshot: Snapshot) -> Result<Ended, Interrupted> {
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
        self.context.world.is_synced()
    }

    fn set_log_level(&self, config: &Config) {
        let level = config.spec.operator_log_level.as_deref().unwrap_or_default();
        self.context.set_log_level(level);
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
