//! Google Cloud Storage in the conformance suite. The operator has the permissions of its CredentialsRequest alone, except where
//! it adopts a bucket that it did not create.

use devcluster::stores::{Asked, Fault};
use image_registry_operator::storage::backend::gcs::effective::Effective;
use serde_json::{Value, json};

use super::cluster::{GcsCluster, call, cluster, error, is_of_probe, is_token, project};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};
use super::stores::{REGION, allow, permissions, store};

conformance!(crate::cluster::GcsCluster);

/// Prefix of the label that names a cluster.
pub const MARK: &str = "kubernetes-io-cluster-";
/// Clusters of the suite that adopt a bucket.
const ADOPTERS: [&str; 3] = ["consent-given", "consent-elsewhere", "empty-generated"];
/// Tags that the platform wants.
const TAGS: [&str; 2] = ["9001/team/blue", "9001/env/prod"];

fn is_read(asked: &Asked) -> bool {
    asked.method == http::Method::GET || is_token(&call(asked))
}

/// A page of deletions counts once.
fn sent(asked: &[Asked]) -> Vec<Sent> {
    let mut all = Vec::new();
    let mut before = String::new();
    for asked in asked {
        let name = call(asked);
        if is_token(&name) {
            continue;
        }
        let one = match name.as_str() {
            _ if is_of_probe(asked) => Sent::Probe,
            "buckets.get" => Sent::ReadMark,
            "buckets.insert" if asked.status == 200 => Sent::Create,
            "objects.delete" | "buckets.delete" => Sent::Delete,
            _ if is_read(asked) => Sent::Read,
            _ => Sent::Change,
        };
        if !(name == "objects.delete" && before == name && one == Sent::Delete) {
            all.push(one);
        }
        before = name;
    }
    all
}

impl BackendUnderTest for GcsCluster {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("gcs", "bucket");
    const PAGE: usize = 250;
    const CHANGES: usize = 14;
    const SETTINGS: &'static [&'static str] = &["StorageTagged"];
    const GONE: (&'static str, &'static str) = ("Bucket does not exist", "GCS Bucket Deleted");
    const MARK_RIGHT: &'static str = "storage.buckets.get";
    const REFUSED: &'static str = "Unknown/";

    async fn start(name: &str, storage: Value) -> Self {
        let mut cluster = cluster(name, storage).await;
        if ADOPTERS.contains(&name) {
            let mut more = permissions();
            more.push("storage.buckets.update".to_owned());
            allow(&project(name), &more).await;
        }
        cluster.set_tags(&TAGS).await;
        cluster
    }

    fn generated(&self) -> String {
        let spec = serde_json::from_value(json!({})).unwrap();
        let effective = Effective::of(&spec, &self.snapshot).unwrap();
        effective.generated(&self.snapshot).unwrap()
    }

    fn location(&self, container: &str) -> String {
        format!("googleapis.com/{container}")
    }

    fn no_mark(&self) -> String {
        format!("{MARK}{}=owned", self.infrastructure())
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        match failure {
            Failure::Outage => self.gate.rule(|_| error(503, "backendError")),
            Failure::Access | Failure::MarkReads => self.refuse("buckets.get", 403, "forbidden"),
            Failure::ObjectReads => self.refuse("download", 403, "forbidden"),
        }
    }

    fn die(&self, death: Death, killed: &Killed) {
        let (killed, mut seen) = (killed.clone(), 0);
        self.gate.rule(move |asked| {
            let kill = killed.clone();
            if is_read(asked) {
                return Fault::Pass;
            }
            seen += 1;
            match death {
                Death::Before(n) if n == seen => Fault::before(move |_| kill.kill()),
                Death::After(n) if n == seen => Fault::after(move |_| kill.kill()),
                Death::AfterProbe if call(asked) == "objects.insert" => Fault::after(move |_| kill.kill()),
                _ => Fault::Pass,
            }
        });
    }

    fn heal(&self) {
        self.gate.pass();
    }

    fn sent(&self) -> Vec<Sent> {
        sent(&self.gate.asked())
    }

    fn forget(&self) {
        self.gate.forget();
    }

    async fn containers(&self) -> Vec<String> {
        self.buckets().await
    }

    async fn create(&self, container: &str) {
        let settings = json!({"location": REGION});
        let project = project(self.infrastructure());
        store().await.make_bucket(&project, container, &settings).await.unwrap();
    }

    async fn delete(&self, container: &str) {
        store().await.drop_bucket(container);
    }

    async fn keep_versions(&self, container: &str) {
        let versions = json!({"versioning": {"enabled": true}});
        store().await.change_bucket(container, &versions).unwrap();
    }

    async fn mark(&self, container: &str) -> Option<String> {
        let labels = store().await.labels(container);
        let mut marks = labels.iter().filter(|(_, value)| *value == "owned");
        marks.find_map(|(key, _)| key.strip_prefix(MARK).map(str::to_owned))
    }

    async fn set_mark(&self, container: &str, cluster: Option<&str>) {
        let labels = match cluster {
            Some(cluster) => json!({format!("{MARK}{cluster}"): "owned"}),
            None => json!({"team": "x"}),
        };
        store().await.set_labels(container, &labels).unwrap();
    }

    async fn has_settings(&self, container: &str) -> bool {
        store().await.tags(container).len() == TAGS.len()
    }

    async fn put(&self, container: &str, key: &str) {
        store().await.put(container, key, b"layer").await.unwrap();
    }

    async fn fill(&self, container: &str, count: usize) {
        store().await.fill(container, BLOBS, count).await.unwrap();
    }

    async fn count(&self, container: &str) -> usize {
        store().await.objects(container).len()
    }
}
