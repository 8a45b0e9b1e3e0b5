//! What the operator did, by the API server's audit log and events.

use std::time::{Duration, Instant};

use devcluster::audit::{Event, Log, Mark};
use image_registry_operator::names;
use k8s_openapi::api::core::v1::Event as ApiEvent;
use kube::api::{Api, DeleteParams, ListParams};

use super::{TIMEOUT, TestCluster};

const ACCOUNT: &str = "cluster-image-registry-operator";
/// How long the operator must write nothing to count as settled.
const QUIET: Duration = Duration::from_millis(600);
/// How often the audit log is read meanwhile.
const POLL: Duration = Duration::from_millis(100);

/// Whether an object exists in every managementState.
fn is_independent(name: &str) -> bool {
    name == "serviceca" || ["pruner", "node-ca"].iter().any(|part| name.contains(part))
}

impl TestCluster {
    /// The current end of the audit log.
    pub fn mark(&self) -> Mark {
        self.devcluster.mark().unwrap()
    }

    /// Requests of the operator since a mark, except those for its Lease and its events.
    pub fn requests(&self, since: Mark) -> Log {
        let log = Log::read_since(self.devcluster.audit_log(), since).unwrap();
        log.by_service_account(names::NAMESPACE, ACCOUNT)
            .filter(|event| !matches!(event.resource.as_str(), "leases" | "events"))
    }

    /// Writes of the operator since a mark to the registry's objects and the CA maps, as `verb resource name`. Left out are
    /// objects that carry its reports (Config, ClusterOperator, Image) and objects that exist without a registry (pruner,
    /// node-ca).
    pub fn writes(&self, since: Mark) -> Vec<String> {
        let log = self.requests(since).writes();
        let reports = ["configs", "clusteroperators", "images", "imagepruners"];
        let registry = |e: &&Event| !reports.contains(&e.resource.as_str()) && !is_independent(&e.name);
        let refused = |code: u16| {
            if code < 300 {
                String::new()
            } else {
                format!(", refused with {code}")
            }
        };
        let of_registry = log.events().iter().filter(registry);
        of_registry
            .map(|e| format!("{} {} {}{}", e.verb, e.resource, e.name, refused(e.code)))
            .collect()
    }

    /// Waits until the operator has written nothing for [`QUIET`]. Each write starts the time anew.
    pub async fn settle(&self) {
        let began = Instant::now();
        let (mut mark, mut since) = (self.mark(), Instant::now());
        while since.elapsed() < QUIET {
            tokio::time::sleep(POLL.min(QUIET.saturating_sub(since.elapsed()))).await;
            let next = self.mark();
            let log = self.requests(mark).writes();
            if !log.is_empty() {
                (mark, since) = (next, Instant::now());
            }
            assert!(began.elapsed() < TIMEOUT, "the operator does not stop writing:\n{log}");
        }
    }

    /// Asserts that the operator sends no request for this long; watches and its Lease do not count.
    pub async fn assert_idle(&self, how_long: Duration) {
        let mark = self.mark();
        tokio::time::sleep(how_long).await;
        let log = self.requests(mark).counted();
        assert!(log.is_empty(), "the operator is not idle:\n{log}");
    }

    /// The operator's events, as `Type Reason: message`.
    pub async fn events(&self) -> Vec<String> {
        let api: Api<ApiEvent> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        let list = api.list(&ListParams::default()).await.unwrap();
        let ours = list.items.into_iter().filter(|event| {
            let component = event.source.as_ref().and_then(|s| s.component.as_deref());
            let component = component.or(event.reporting_component.as_deref());
            component.is_some_and(|c| [names::EVENT_COMPONENT, names::CONFIG_OBSERVER_COMPONENT].contains(&c))
        });
        ours.map(|e| {
            let text = |text: Option<String>| text.unwrap_or_default();
            format!("{} {}: {}", text(e.type_), text(e.reason), text(e.message))
        })
        .collect()
    }

    /// Waits for an event that starts with `begin` and contains `part`; returns the event.
    pub async fn until_event(&self, begin: &str, part: &str) -> String {
        let began = Instant::now();
        loop {
            let events = self.events().await;
            if let Some(found) = events.iter().find(|e| e.starts_with(begin) && e.contains(part)) {
                return found.clone();
            }
            assert!(
                began.elapsed() < TIMEOUT,
                "no event {begin} ... {part}, only {events:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes all events of the registry's namespace.
    pub async fn delete_events(&self) {
        let api: Api<ApiEvent> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        api.delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
    }
}
