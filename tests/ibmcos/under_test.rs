//! IBM Cloud Object Storage in the conformance suite. In the tests of crashes the operator creates service instance, resource key and
//! bucket; in the others the spec names an instance and a key of a user.

use devcluster::stores::{Asked, Fault, Moto};
use http::Method;
use image_registry_operator::names;
use serde_json::Value;

use super::cluster::{IbmCluster, is_of_cos, is_read};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};

conformance!(unmarked crate::cluster::IbmCluster);

const REGION: &str = "eu-west-3";
/// Beginnings of the names of clusters for which the operator creates instance and key, too.
const FROM_NOTHING: [&str; 3] = ["dies-", "emptied", "anew"];

/// Whether the request is about probe objects only.
fn is_of_probe(asked: &Asked) -> bool {
    let text = asked.text();
    let keys = text.matches("<Key>").count();
    let of_probes = keys > 0 && keys == text.matches("<Key>docker/registry/v2/_preflight/").count();
    asked.resource().1.contains("/_preflight/") || of_probes
}

fn sent(asked: &Asked) -> Sent {
    match asked.operation().as_str() {
        _ if is_of_probe(asked) => Sent::Probe,
        // There is no mark: the record and the existence of the bucket are the proof.
        "HeadBucket" => Sent::ReadMark,
        "CreateBucket" if asked.status == 200 => Sent::Create,
        "DeleteObjects" | "DeleteBucket" => Sent::Delete,
        _ if is_read(asked) => Sent::Read,
        _ => Sent::Change,
    }
}

async fn call(method: Method, path: &str, body: &str) -> (u16, String) {
    let moto = Moto::shared().await.unwrap();
    let call = devcluster::stores::Call::new(method, path).body(body.as_bytes());
    let answer = moto
        .target()
        .call(call.signed(moto.admin(), "s3", REGION))
        .await
        .unwrap();
    (answer.status, answer.text())
}

impl BackendUnderTest for IbmCluster {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("ibmcos", "bucket");
    const PAGE: usize = 1000;
    const CHANGES: usize = 10;
    const SETTINGS: &'static [&'static str] = &[];
    const GONE: (&'static str, &'static str) = ("NotFound", "IBM COS Bucket Deleted");
    const MARK_RIGHT: &'static str = "";
    const MARKS: bool = false;

    async fn start(cluster: &str, storage: Value) -> Self {
        let blank = storage["ibmcos"]["bucket"].is_null();
        if blank && FROM_NOTHING.iter().any(|name| cluster.starts_with(name)) {
            return Self::new(cluster, storage).await;
        }
        Self::with_instance(cluster, storage).await
    }

    fn generated(&self) -> String {
        self.generated()
    }

    fn location(&self, container: &str) -> String {
        format!("{}/{container}", self.instance())
    }

    fn no_mark(&self) -> String {
        "does not support an ownership mark".to_owned()
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let refused = |operations: &'static [&str]| {
            self.gate.rule(move |asked| {
                if operations.contains(&asked.operation().as_str()) {
                    Fault::error(403, "AccessDenied")
                } else {
                    Fault::Pass
                }
            });
        };
        match failure {
            Failure::Outage => self.gate.rule(|_| Fault::slow_down()),
            Failure::Access | Failure::MarkReads => refused(&["HeadBucket", "GetBucketLocation"]),
            Failure::ObjectReads => refused(&["GetObject"]),
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
                Death::AfterProbe if asked.operation() == "PutObject" => Fault::after(move |_| kill.kill()),
                _ => Fault::Pass,
            }
        });
    }

    fn heal(&self) {
        self.gate.pass();
    }

    fn sent(&self) -> Vec<Sent> {
        let asked = self.gate.asked();
        asked.iter().filter(|asked| is_of_cos(asked)).map(sent).collect()
    }

    fn forget(&self) {
        self.gate.forget();
    }

    async fn containers(&self) -> Vec<String> {
        self.ibm.buckets(self.infrastructure())
    }

    async fn exists(&self, container: &str) -> bool {
        self.ibm.bucket(container).is_some()
    }

    /// The record names the bucket, and nothing was created twice on the way.
    async fn is_ours(&self, container: &str) -> bool {
        let instances = self.ibm.instances(&self.resource_name());
        assert_eq!(instances.len(), 1, "{instances:?}");
        assert_eq!(self.ibm.keys(&self.instance()).len(), 1);
        self.annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION) == Some(self.location(container).as_str())
    }

    async fn create(&self, container: &str) {
        self.ibm.make_bucket(&self.instance(), container).await.unwrap();
    }

    async fn delete(&self, container: &str) {
        let (status, answer) = call(Method::DELETE, &format!("/{container}"), "").await;
        assert_eq!(status, 204, "{answer}");
        self.ibm.forget_bucket(container);
    }

    async fn keep_versions(&self, container: &str) {
        let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let (status, answer) = call(Method::PUT, &format!("/{container}?versioning"), body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn mark(&self, _container: &str) -> Option<String> {
        None
    }

    async fn set_mark(&self, _container: &str, _cluster: Option<&str>) {}

    async fn has_settings(&self, _container: &str) -> bool {
        true // There are none.
    }

    async fn put(&self, container: &str, key: &str) {
        let (status, answer) = call(Method::PUT, &format!("/{container}/{key}"), "layer").await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn fill(&self, container: &str, count: usize) {
        let moto = Moto::shared().await.unwrap();
        moto.target().fill(moto.admin(), container, BLOBS, count).await.unwrap();
    }

    async fn count(&self, container: &str) -> usize {
        let (status, answer) = call(Method::GET, &format!("/{container}?list-type=2"), "").await;
        assert_eq!(status, 200, "{answer}");
        answer.matches("<Key>").count()
    }
}
