//! The context of one pass, and the storage steps of a pass.

use std::cell::Cell;

use serde_json::Value;

use super::cluster::ClusterAccess;
use super::controller::{Interrupted, Registry, Stale};
use crate::api::Config;
use crate::config::event_request::EventRequest;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names::Program;
use crate::plan;
use crate::program::distribution::Distribution;
use crate::program::platform::Platform;
use crate::program::{Proxies, RegistryProgram};
use crate::storage::preflight::RegistryPods;
use crate::storage::preflight::record::Clearing;
use crate::storage::{self, Cluster as _, Outcome};

/// The program that renders the storage.
fn renderer(program: Program) -> &'static dyn RegistryProgram {
    match program {
        Program::Platform => &Platform,
        Program::Distribution => &Distribution,
    }
}

/// Context of a pass.
pub(super) struct PassContext {
    /// The Config as the pass read it, or wrote it last.
    pub(super) config: Box<Config>,
    /// All other objects, read once.
    pub(super) snapshot: Snapshot,
    /// `config` is the newest version: the pass read it live, or wrote it.
    pub(super) confirmed: Cell<bool>,
}

impl PassContext {
    pub(super) fn new(config: Box<Config>, snapshot: Snapshot) -> Self {
        Self {
            config,
            snapshot,
            confirmed: Cell::new(false),
        }
    }
}

/// Implements [`storage::Pass`] for a pass of the controller.
struct StoragePass<'a> {
    registry: &'a mut Registry,
    context: &'a mut PassContext,
}

impl storage::Pass for StoragePass<'_> {
    type Interrupted = Interrupted;

    fn config(&self) -> &Config {
        &self.context.config
    }

    fn snapshot(&self) -> &Snapshot {
        &self.context.snapshot
    }

    async fn persist(&mut self, patch: Value) -> Result<(), Interrupted> {
        self.registry.store(self.context, patch).await
    }

    fn publish(&mut self, events: Vec<EventRequest>) {
        self.registry.context.publish_events(events);
    }
}

impl Registry {
    /// Runs storage steps until no further step may run at once.
    pub(super) async fn reconcile_storage(
        &mut self,
        context: &mut PassContext,
        resolved: &Resolved,
    ) -> Result<Outcome, Interrupted> {
        let mut pass = StoragePass {
            registry: self,
            context,
        };
        let step = async |pass: &StoragePass<'_>| {
            let PassContext {
                config,
                snapshot,
                confirmed,
            } = &*pass.context;
            let controller = &pass.registry.context;
            let cluster = ClusterAccess::continued(&controller.writer, config, confirmed.get());
            let pods = RegistryPods {
                program: renderer(snapshot.environment.program),
                differs: &|facts| plan::storage_differs(resolved, facts, snapshot),
                other_credentials: &|facts| plan::has_other_credentials(facts, snapshot),
                proxies: Proxies::of(&resolved.proxy),
                read_only: resolved.read_only,
            };
            let step = storage::ensure(config, snapshot, &cluster, &controller.storage, &pods);
            let outcome = Box::pin(step).await;
            if cluster.is_stale() {
                controller.publish_events(outcome.events);
                return Err(Stale::Changed.into());
            }
            confirmed.set(cluster.is_confirmed());
            Ok(outcome)
        };
        storage::reconcile(&mut pass, step).await
    }

    /// Deletes probe objects that an earlier process may have left. Returns the wait before the next attempt.
    pub(super) async fn clear_probes(
        &mut self,
        context: &mut PassContext,
    ) -> Result<Option<std::time::Duration>, Interrupted> {
        let cluster = ClusterAccess::new(&self.context.writer, &context.config);
        let clearing = storage::clear_probes(&context.config, &context.snapshot, &cluster, &self.context.storage);
        let Clearing { record, events, again } = Box::pin(clearing).await;
        if cluster.is_stale() {
            return Err(Stale::Changed.into());
        }
        self.context.publish_events(events);
        self.store(context, record.unwrap_or_default()).await?;
        Ok(again)
    }

    /// Runs one step of the removal of the storage, and stores its record.
    pub(super) async fn remove_storage(
        &mut self,
        context: &mut PassContext,
        deleting_config: bool,
    ) -> Result<Outcome, Interrupted> {
        let cluster = ClusterAccess::new(&self.context.writer, &context.config);
        let removal = storage::remove(
            &context.config,
            &context.snapshot,
            &cluster,
            &self.context.storage,
            deleting_config,
        );
        let mut outcome = Box::pin(removal).await;
        if cluster.is_stale() {
            self.context.publish_events(outcome.events);
            return Err(Stale::Changed.into());
        }
        self.store(context, outcome.record.take().unwrap_or_default()).await?;
        Ok(outcome)
    }
}
