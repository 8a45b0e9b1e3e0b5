//! The storage step: what it records is stored at once, and what it finds goes to the other rooms.

use std::time::Duration;

use super::cluster::OnBehalf;
use super::{Interrupted, Registry};
use crate::api::{Config, Kind};
use crate::config::facts::StorageFacts;
use crate::config::resolve::Resolved;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::observe::Controller;
use crate::plan::{self, Inputs, Plan};
use crate::status::deployment::Deployment;
use crate::status::judge::Preflight;
use crate::storage::http::Proxies;
use crate::storage::preflight::{self, Pods};
use crate::storage::{self, Cluster as _};

impl Registry {
    /// Steps of the storage until it rests; what each wants recorded is stored before the next.
    pub(super) async fn store_storage(
        &mut self,
        mut config: Box<Config>,
        mut snapshot: Snapshot,
        resolved: &Resolved,
    ) -> Result<(Box<Config>, Snapshot, bool, storage::Outcome), Interrupted> {
        let mut wrote = false;
        let mut notices = Vec::new();
        loop {
            let cluster = OnBehalf::new(&self.context.writer, &config);
            let pods = Pods {
                differs: &|facts| plan::storage_differs(resolved, facts, &snapshot),
                via: Proxies {
                    http: preflight::proxy(resolved.proxy.http.as_ref()),
                    https: preflight::proxy(resolved.proxy.https.as_ref()),
                    no_proxy: resolved.proxy.no_proxy.clone(),
                },
                read_only: resolved.read_only,
            };
            let step = storage::ensure(&config, &snapshot, &cluster, &self.context.cloud, &pods);
            let mut stored = Box::pin(step).await;
            if cluster.is_stale() {
                return Err(Interrupted::Stale);
            }
            let record = stored.record.take().unwrap_or_default();
            let recorded;
            (config, snapshot, recorded) = self.store(config, snapshot, record).await?;
            wrote |= recorded;
            notices.append(&mut stored.notices);
            let at_once = stored.wait.as_ref().is_some_and(|(after, _)| after.is_zero());
            if recorded && at_once && stored.fault.is_none() {
                snapshot.objects = self.context.world.snapshot().objects;
                continue;
            }
            stored.notices = notices;
            return Ok((config, snapshot, wrote, stored));
        }
    }

    /// Deletes what an earlier process may have left of an attempt to try storage out. Tells whether it wrote the Config, and
    /// when to try again.
    pub(super) async fn clear_probes(
        &mut self,
        config: Box<Config>,
        snapshot: Snapshot,
    ) -> Result<(Box<Config>, Snapshot, bool, Option<Duration>), Interrupted> {
        let cluster = OnBehalf::new(&self.context.writer, &config);
        let cleared = Box::pin(storage::clear_probes(&config, &snapshot, &cluster, &self.context.cloud)).await;
        if cluster.is_stale() {
            return Err(Interrupted::Stale);
        }
        self.context.tell(cleared.notices);
        let record = cleared.record.unwrap_or_default();
        let (config, snapshot, wrote) = self.store(config, snapshot, record).await?;
        Ok((config, snapshot, wrote, cleared.again))
    }

    /// The facts, once the pods find the CA of that storage: pods that were started before would not trust it.
    pub(super) fn publish_first(
        &self,
        stored: &mut storage::Outcome,
        config: &Config,
        snapshot: &Snapshot,
    ) -> Option<StorageFacts> {
        self.tell_ca_fault(stored.ca_fault.take());
        let facts = stored.facts.take()?;
        if snapshot.objects.operand(Kind::Deployment, names::REGISTRY).is_none() {
            // The first pods wait for the map in any case.
            self.tell_ca(facts.ca_bundle.clone());
            return Some(facts);
        }
        if plan::is_published(&facts, snapshot) {
            return Some(facts);
        }
        self.tell_ca(plan::storage_cas(&facts, snapshot));
        let message = format!("its CA is being written to ConfigMap {}", names::CERTIFICATES_MAP);
        stored.hold_back(config);
        stored.preflight = Some(Preflight::Waiting(message));
        None
    }

    /// Once all pods are of this plan, nobody needs the CA of the storage before.
    pub(super) fn publish(&self, facts: &StorageFacts, plan: &Plan, inputs: &Inputs<'_>) {
        let live = inputs.snapshot.objects.operand(Kind::Deployment, names::REGISTRY);
        let Some(live) = live.map(Deployment) else { return };
        let rolled_out = plan
            .desired(Kind::Deployment, names::REGISTRY)
            .map(|desired| Deployment(&desired.body).annotation(names::SPEC_HASH_ANNOTATION))
            .is_some_and(|hash| hash == live.annotation(names::SPEC_HASH_ANNOTATION) && live.complete());
        self.tell_ca(if rolled_out {
            facts.ca_bundle.clone()
        } else {
            plan::storage_cas(facts, inputs.snapshot)
        });
    }

    /// The CA of storage that nobody tries out. Where none is named, what is published stays: pods may live on it.
    pub(super) fn publish_untried(&self, config: &Config, snapshot: &Snapshot) {
        let (bundle, fault) = match storage::ca_bundle(config, snapshot) {
            Ok(bundle) => (bundle, None),
            Err(fault) => (None, Some(fault.message)),
        };
        self.tell_ca_fault(fault);
        if bundle.is_some() {
            self.tell_ca(bundle);
        }
    }

    /// What the CA maps are to hold of the storage.
    pub(super) fn tell_ca(&self, bundle: Option<String>) {
        if self.context.board.set_storage_ca(bundle) {
            self.context.world.trigger(Controller::Certificates);
        }
    }

    /// Why the CA of the storage cannot be had.
    pub(super) fn tell_ca_fault(&self, fault: Option<String>) {
        if self.context.board.set_storage_ca_fault(fault) {
            self.context.world.trigger(Controller::Certificates);
        }
    }
}
