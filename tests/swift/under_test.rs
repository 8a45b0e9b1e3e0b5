//! Swift in the conformance suite.

use devcluster::stores::{Asked, Fault, Reply};
use serde_json::Value;

use super::cluster::{self, Server, Site, is_of_keystone, is_read};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};

conformance!(crate::cluster::SwiftCluster);

const MARK: &str = "openshiftclusterid";

/// Whether the request is about probe objects only.
fn is_of_probe(asked: &Asked) -> bool {
    let text = asked.text();
    let lines = || text.lines();
    let of_probes = lines().count() > 0 && lines().all(|line| line.contains("_preflight"));
    asked.path.contains("_preflight") || (asked.operation() == "BulkDelete" && of_probes)
}

/// Whether the request reads the mark: the smallest listing of a container.
pub fn reads_mark(asked: &Asked) -> bool {
    asked.operation() == "GetContainer"
        && asked.parameter("limit").as_deref() == Some("1")
        && asked.parameter("prefix").is_none()
}

/// Whether the request asks for the right to change metadata, and changes none.
fn is_trial(asked: &Asked) -> bool {
    asked.operation() == "PostContainer"
        && !asked
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-container-"))
}

fn sent(asked: &Asked) -> Sent {
    match asked.operation().as_str() {
        _ if is_of_probe(asked) || is_trial(asked) => Sent::Probe,
        _ if reads_mark(asked) => Sent::ReadMark,
        "PutContainer" if asked.status == 201 => Sent::Create,
        "BulkDelete" | "DeleteObject" | "DeleteContainer" => Sent::Delete,
        _ if is_read(asked) => Sent::Read,
        _ => Sent::Change,
    }
}

/// Name under which the tests put a key: probes lie where the registry's driver would put them.
fn object(key: &str) -> String {
    if key.contains("_preflight") {
        format!("files/{key}")
    } else {
        key.to_owned()
    }
}

impl<S: Server> BackendUnderTest for Site<S> {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("swift", "container");
    const PAGE: usize = cluster::PAGE;
    const CHANGES: usize = 6;
    const SETTINGS: &'static [&'static str] = &[];
    const GONE: (&'static str, &'static str) = ("Storage does not exist", "Swift Container Deleted");
    const UNKNOWN: &'static str = "Unknown error occurred";
    const NO_LOGIN: &'static str = "Could not connect to registry storage";
    const ROOT: &'static str = "files/";
    const MARK_RIGHT: &'static str = "GET container";

    async fn start(cluster: &str, storage: Value) -> Self {
        Self::new(cluster, storage).await
    }

    fn generated(&self) -> String {
        self.generated()
    }

    fn location(&self, container: &str) -> String {
        Self::place(container)
    }

    fn no_mark(&self) -> String {
        format!("Openshiftclusterid={}", self.infrastructure())
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let answer = |status| Some(Fault::Answer(Reply::new(status, "")));
        match failure {
            Failure::Outage => self.disturb(move |_| answer(503)),
            Failure::Access => self.refuse("HeadContainer", 403),
            Failure::MarkReads => self.disturb(move |asked| reads_mark(asked).then(|| answer(403)).flatten()),
            Failure::ObjectReads => self.refuse("GetObject", 403),
        }
    }

    fn die(&self, death: Death, killed: &Killed) {
        let (killed, mut seen) = (killed.clone(), 0);
        self.disturb(move |asked| {
            let kill = killed.clone();
            if is_read(asked) {
                return None;
            }
            seen += 1;
            match death {
                Death::Before(n) if n == seen => Some(Fault::before(move |_| kill.kill())),
                Death::After(n) if n == seen => Some(Fault::after(move |_| kill.kill())),
                Death::AfterProbe if asked.operation() == "PutObject" => Some(Fault::after(move |_| kill.kill())),
                _ => None,
            }
        });
    }

    fn heal(&self) {
        self.pass_all();
    }

    fn sent(&self) -> Vec<Sent> {
        let asked = self.gate.asked();
        asked.iter().filter(|asked| !is_of_keystone(asked)).map(sent).collect()
    }

    fn forget(&self) {
        self.gate.forget();
    }

    /// The list of the account lags behind in both directions.
    async fn containers(&self) -> Vec<String> {
        let mut named = self.cloud.account.containers().await.unwrap();
        named.push(self.generated());
        named.retain(|name| name.contains(self.infrastructure()));
        named.sort();
        named.dedup();
        let mut found = Vec::new();
        for name in named {
            if self.cloud.exists(&name).await {
                found.push(name);
            }
        }
        found
    }

    async fn exists(&self, container: &str) -> bool {
        self.cloud.exists(container).await
    }

    async fn create(&self, container: &str) {
        self.cloud.account.create(container, &[]).await.unwrap();
    }

    async fn delete(&self, container: &str) {
        self.cloud.account.delete(container).await.unwrap();
    }

    async fn mark(&self, container: &str) -> Option<String> {
        self.cloud
            .account
            .metadata(container)
            .await
            .unwrap()?
            .get(MARK)
            .cloned()
    }

    async fn set_mark(&self, container: &str, cluster: Option<&str>) {
        let mark = [(MARK, cluster.unwrap_or_default()), ("team", "x")];
        self.cloud.account.set_metadata(container, &mark).await.unwrap();
    }

    async fn has_settings(&self, _container: &str) -> bool {
        true // There are none.
    }

    async fn put(&self, container: &str, key: &str) {
        self.cloud.account.put(container, &object(key), b"layer").await.unwrap();
    }

    async fn fill(&self, container: &str, count: usize) {
        let puts = (0..count).map(|n| async move { self.put(container, &format!("files/{BLOBS}{n:06}")).await });
        futures::future::join_all(puts).await;
    }

    async fn count(&self, container: &str) -> usize {
        self.cloud.objects(container).await.len()
    }
}
