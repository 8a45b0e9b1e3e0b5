//! The one loop of all stand-ins: take in what the watches tell, let each stand-in say what it wants written, write it.
//! Driven by events alone: when nothing happens, nothing is asked and nothing is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, warn};

use super::authority::Authority;
use super::cache::{Cache, Event, Key, Kind};
use super::control::Control;
use super::node::{Authorities, Nodes, knowledge};
use super::route::{ConditionUpdate, condition_updates};
use super::router::{self, Table, Trust};
use super::write::{Outcome, Verb, Write};
use super::{StandIn, ca_bundle, namespace, proxy_status, route, serving_certificate};

/// How long to wait after a write that failed for no reason of its own.
const RETRY: Duration = Duration::from_millis(500);
/// Passes that follow one another because each one's writes allow further ones: a Route's host, then its status.
const MAX_CHAIN: usize = 5;

/// Everything that the passes need.
pub(super) struct Engine {
    pub(super) client: Client,
    pub(super) service_ca: Arc<Authority>,
    pub(super) router_ca: Arc<Authority>,
    pub(super) trust: Trust,
    pub(super) trusted_bundle: String,
    pub(super) domain: String,
    pub(super) router: Option<SocketAddr>,
    pub(super) service_ca_on_nodes: bool,
    pub(super) nodes: Nodes,
    pub(super) tables: watch::Sender<Arc<Table>>,
    pub(super) cache: Cache,
    pub(super) tabled: Tabled,
}

/// What became of a pass's writes.
enum Sent {
    Nothing,
    Some,
    Outdated,
    Failed,
}

/// What the router's table was last made from.
pub(super) type Tabled = Option<([u64; 3], BTreeMap<Key, ConditionUpdate>)>;

impl Engine {
    /// Works for ever. Says so once when the first pass over a complete picture of the cluster is done.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let mut again = false;
        loop {
            let event = if again {
                tokio::time::timeout(RETRY, events.recv()).await
            } else {
                Ok(events.recv().await)
            };
            match event {
                Ok(Some(event)) => self.cache.apply(event),
                Ok(None) => return,
                Err(_) => {}
            }
            while let Ok(event) = events.try_recv() {
                self.cache.apply(event);
            }
            if !self.cache.complete() {
                continue;
            }
            again = match self.passes().await {
                Ok(settled) => !settled,
                Err(error) => {
                    warn!("stand-ins: {error:#}");
                    true
                }
            };
            if !again && let Some(ready) = ready.take() {
                // Nobody may be waiting any more.
                let _ = ready.send(());
            }
        }
    }

    /// Passes until nothing is left to write; false when another attempt is due without an event.
    async fn passes(&mut self) -> Result<bool> {
        for _ in 0..MAX_CHAIN {
            let control = Control::read(&self.cache);
            let writes = self.wanted(&control).await?;
            let sent = self.send(writes).await;
            self.tell(&control)?;
            match sent {
                Sent::Failed => return Ok(false),
                Sent::Some => {}
                // What we know is outdated, so an event is on its way.
                Sent::Outdated => return Ok(true),
                Sent::Nothing => {
                    let answer = Vec::from_iter(control.acknowledge(&self.cache));
                    return Ok(!matches!(self.send(answer).await, Sent::Failed));
                }
            }
        }
        Ok(false)
    }

    /// Sends writes in their order, up to the first failure.
    async fn send(&mut self, writes: Vec<Write>) -> Sent {
        let mut sent = Sent::Nothing;
        for write in writes {
            let (by, kind, namespace, name) = (write.by.name(), write.kind, &write.namespace, &write.name);
            match write.send(&self.client).await {
                Outcome::Done(object) => {
                    debug!(by, ?kind, namespace, name, "stand-ins: wrote");
                    self.cache.insert(kind, *object);
                    sent = Sent::Some;
                }
                // Somebody else made an object of that name: nothing to wait for.
                Outcome::Outdated if matches!(write.verb, Verb::Create(_)) => {}
                Outcome::Outdated if matches!(sent, Sent::Nothing) => sent = Sent::Outdated,
                Outcome::Outdated => {}
                Outcome::Failed(error) => {
                    warn!(by, ?kind, namespace, name, %error, "stand-ins: write");
                    return Sent::Failed;
                }
            }
        }
        sent
    }

    /// What all stand-ins want written now.
    async fn wanted(&self, control: &Control) -> Result<Vec<Write>> {
        let (cache, authority) = (&self.cache, self.service_ca.certificate());
        let mut writes = Vec::new();
        let mut ask = |stand_in: StandIn, plan: &dyn Fn() -> Vec<Write>| {
            if !control.holds(stand_in) {
                writes.extend(plan());
            }
        };
        ask(StandIn::Namespace, &|| namespace::plan(cache));
        ask(StandIn::ServiceCaBundle, &|| {
            ca_bundle::plan_service_ca(cache, authority)
        });
        ask(StandIn::TrustedCaBundle, &|| {
            ca_bundle::plan_trusted(cache, &self.trusted_bundle)
        });
        ask(StandIn::ProxyStatus, &|| proxy_status::plan(cache));
        ask(StandIn::Router, &|| {
            route::plan(cache, control, &self.domain, Timestamp::now())
        });
        let signer = self.service_ca.common_name();
        ask(StandIn::ServingCertificate, &|| {
            serving_certificate::plan(cache, authority, signer)
        });
        // Making a key takes a tenth of a second: the quick ones go first, in a pass of their own.
        if writes.is_empty() && !control.holds(StandIn::ServingCertificate) {
            writes.extend(self.certificates().await?);
        }
        Ok(writes)
    }

    /// Signs what is ordered. Off the loop's thread, because making an RSA key takes a while.
    async fn certificates(&self) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        for order in serving_certificate::orders(&self.cache, self.service_ca.certificate()) {
            let (authority, names) = (self.service_ca.clone(), order.names());
            let issued = tokio::task::spawn_blocking(move || authority.issue(&names)).await??;
            writes.push(order.fulfil(&self.cache, &issued, self.service_ca.certificate()));
        }
        Ok(writes)
    }

    /// Brings the router's table and the nodes' files up to date.
    fn tell(&mut self, control: &Control) -> Result<()> {
        let condition_updates = condition_updates(&self.cache, control);
        let authorities = Authorities {
            service_ca: self.service_ca_on_nodes.then(|| self.service_ca.certificate()),
            router_ca: self.router_ca.certificate(),
        };
        if !control.holds(StandIn::NodeResolver) {
            let knowledge = knowledge(&self.cache, &condition_updates, self.router, authorities);
            self.nodes.tell(knowledge).context("nodes' files")?;
        }
        let made_from = Some((
            self.cache.changes([Kind::EndpointSlice, Kind::Route, Kind::Service]),
            condition_updates,
        ));
        if self.router.is_some()
            && !control.holds(StandIn::Router)
            && made_from != self.tabled
            && let Some((_, condition_updates)) = &made_from
        {
            self.tables
                .send_replace(Arc::new(router::build(&self.cache, condition_updates, &self.trust)));
            self.tabled = made_from;
        }
        Ok(())
    }
}

/// The bundle that stands for the platform's trusted one: the cluster's own authority, or until there is one the
/// router's.
pub(super) fn trusted_bundle(pki_dir: &std::path::Path, router_ca: &Authority) -> String {
    let cluster: PathBuf = pki_dir.join("ca.crt");
    std::fs::read_to_string(cluster).unwrap_or_else(|_| router_ca.certificate().to_owned())
}
