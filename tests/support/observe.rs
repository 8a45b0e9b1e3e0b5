//! What the operator did, as the API server tells: its requests, and its events.

use std::time::{Duration, Instant};

use devcluster::audit::{Event, Log, Mark};
use image_registry_operator::names;
use k8s_openapi::api::core::v1::Event as Told;
use kube::api::{Api, DeleteParams, ListParams};

use super::{Lab, PATIENCE};

const ACCOUNT: &str = "cluster-image-registry-operator";
/// How long the operator has to write nothing to count as settled.
const QUIET: Duration = Duration::from_millis(600);

/// Whether an object is there whatever becomes of the registry.
fn is_independent(name: &str) -> bool {
    name == "serviceca" || ["pruner", "node-ca"].iter().any(|part| name.contains(part))
}

impl Lab {
    /// The end of the audit log.
    pub fn mark(&self) -> Mark {
        self.cluster.mark().unwrap()
    }

    /// Requests of the operator since a mark, but those about its lease and its events.
    pub fn requests(&self, since: Mark) -> Log {
        let log = Log::read_since(self.cluster.audit_log(), since).unwrap();
        log.by_service_account(names::NAMESPACE, ACCOUNT)
            .filter(|event| !matches!(event.resource.as_str(), "leases" | "events"))
    }

    /// Writes of the operator since a mark to the registry's objects and the CA maps, as `verb resource name`: not those to
    /// what it reports by (Config, ClusterOperator, Image), nor to what is independent of the registry (pruner, node-ca).
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

    /// Waits until the operator writes nothing any more.
    pub async fn settle(&self) {
        let began = Instant::now();
        loop {
            let mark = self.mark();
            tokio::time::sleep(QUIET).await;
            let log = self.requests(mark).writes();
            if log.is_empty() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the operator does not come to rest:\n{log}");
        }
    }

    /// Nothing is written for this long.
    pub async fn rests(&self, how_long: Duration) {
        let mark = self.mark();
        tokio::time::sleep(how_long).await;
        let log = self.requests(mark).counted();
        assert!(log.is_empty(), "the operator does not rest:\n{log}");
    }

    /// The operator's events, as `Type Reason: message`.
    pub async fn events(&self) -> Vec<String> {
        let api: Api<Told> = Api::namespaced(self.client.clone(), names::NAMESPACE);
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

    /// Waits for an event that begins so and contains that.
    pub async fn until_event(&self, begin: &str, part: &str) -> String {
        let began = Instant::now();
        loop {
            let events = self.events().await;
            if let Some(found) = events.iter().find(|e| e.starts_with(begin) && e.contains(part)) {
                return found.clone();
            }
            assert!(
                began.elapsed() < PATIENCE,
                "no event {begin} ... {part}, only {events:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Removes all events of the registry's namespace.
    pub async fn forget_events(&self) {
        let api: Api<Told> = Api::namespaced(self.client.clone(), names::NAMESPACE);
        api.delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap();
    }
}

impl Lab {
    /// Creates an object of a kind that the operator does not know, at the path of its list.
    pub async fn create_raw(&self, path: &str, object: serde_json::Value) {
        let body = serde_json::to_vec(&object).unwrap();
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        self.client.request::<serde_json::Value>(request).await.unwrap();
    }
}
