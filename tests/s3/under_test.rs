//! S3 on moto in the conformance suite.

use devcluster::stores::{Asked, Fault, When};
use serde_json::Value;

use super::cluster::{S3Cluster, is_read};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};
use super::stores::{self, store};

conformance!(crate::cluster::S3Cluster);

/// The tags that together are the mark of a cluster.
pub fn mark_of(infrastructure: &str) -> [(String, String); 2] {
    [
        (format!("kubernetes.io/cluster/{infrastructure}"), "owned".to_owned()),
        ("Name".to_owned(), format!("{infrastructure}-image-registry")),
    ]
}

/// Whether the request is about probe objects only.
pub fn is_of_probe(asked: &Asked) -> bool {
    let text = asked.text();
    let keys = text.matches("<Key>").count();
    let of_probes = keys > 0 && keys == text.matches("<Key>docker/registry/v2/_preflight/").count();
    asked.resource().1.contains("/_preflight/") || of_probes
}

fn sent(asked: &Asked) -> Sent {
    match asked.operation().as_str() {
        _ if is_of_probe(asked) => Sent::Probe,
        "GetBucketTagging" => Sent::ReadMark,
        "CreateBucket" if asked.status == 200 => Sent::Create,
        "DeleteObjects" | "DeleteBucket" => Sent::Delete,
        operation if is_read(operation) => Sent::Read,
        _ => Sent::Change,
    }
}

impl BackendUnderTest for S3Cluster {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("s3", "bucket");
    const PAGE: usize = 1000;
    const CHANGES: usize = 10;
    const SETTINGS: &'static [&'static str] = &[
        "StoragePublicAccessBlocked",
        "StorageTagged",
        "StorageEncrypted",
        "StorageIncompleteUploadCleanupEnabled",
    ];
    const GONE: (&'static str, &'static str) = ("NotFound", "S3 Bucket Deleted");
    const MARK_RIGHT: &'static str = "s3:GetBucketTagging";

    async fn start(cluster: &str, storage: Value) -> Self {
        stores::cluster(cluster, storage).await
    }

    fn generated(&self) -> String {
        self.generated()
    }

    fn location(&self, container: &str) -> String {
        self.location(container)
    }

    fn no_mark(&self) -> String {
        format!("kubernetes.io/cluster/{}=owned", self.infrastructure())
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let refuse = |operation| {
            let refused = Fault::error(403, "AccessDenied");
            self.gate.plan(When::operation(operation), refused);
        };
        match failure {
            Failure::Outage => self.gate.rule(|_| Fault::slow_down()),
            // A store that hides the bucket hides its location, too.
            Failure::Access => ["HeadBucket", "GetBucketLocation"].into_iter().for_each(refuse),
            Failure::MarkReads => refuse("GetBucketTagging"),
            Failure::ObjectReads => refuse("GetObject"),
        }
    }

    fn die(&self, death: Death, killed: &Killed) {
        let (killed, mut seen) = (killed.clone(), 0);
        self.gate.rule(move |asked| {
            let kill = killed.clone();
            if is_read(&asked.operation()) {
                return Fault::Pass;
            }
            seen += 1;
            match death {
                Death::Before(n) if n == seen => Fault::before(move |_| kill.kill()),
                Death::After(n) if n == seen => Fault::after(move |_| kill.kill()),
                Death::AfterProbe if asked.operation() == "PutObject" => Fault::after(move |_| kill.kill()),
                _ => Fault::Pass,
            }
        });
    }

    fn heal(&self) {
        self.gate.pass();
    }

    fn sent(&self) -> Vec<Sent> {
        self.gate.asked().iter().map(sent).collect()
    }

    fn forget(&self) {
        self.gate.forget();
    }

    async fn containers(&self) -> Vec<String> {
        store().await.buckets(self.infrastructure()).await
    }

    async fn create(&self, container: &str) {
        store().await.create(container).await;
    }

    async fn delete(&self, container: &str) {
        store().await.delete(container).await;
    }

    async fn keep_versions(&self, container: &str) {
        store().await.version(container, "Enabled").await;
    }

    async fn mark(&self, container: &str) -> Option<String> {
        let tags = store().await.tags(container).await;
        let mut clusters = tags
            .iter()
            .filter_map(|(key, _)| key.strip_prefix("kubernetes.io/cluster/"));
        let is_whole = |cluster: &&str| mark_of(cluster).iter().all(|tag| tags.contains(tag));
        clusters.find(is_whole).map(str::to_owned)
    }

    async fn set_mark(&self, container: &str, cluster: Option<&str>) {
        let tags = cluster.map_or([("team".to_owned(), "x".to_owned())].to_vec(), |c| mark_of(c).to_vec());
        let tags: Vec<_> = tags.iter().map(|(key, value)| (&**key, &**value)).collect();
        store().await.set_tags(container, &tags).await;
    }

    async fn has_settings(&self, container: &str) -> bool {
        for setting in ["publicAccessBlock", "encryption", "lifecycle"] {
            if store().await.read(container, setting).await.0 != 200 {
                return false;
            }
        }
        true
    }

    async fn put(&self, container: &str, key: &str) {
        store().await.put(container, key).await;
    }

    async fn fill(&self, container: &str, count: usize) {
        let store = store().await;
        store.target.fill(store.keys, container, BLOBS, count).await.unwrap();
    }

    async fn count(&self, container: &str) -> usize {
        store().await.count(container).await
    }
}
