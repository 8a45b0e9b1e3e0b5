//! OSS in the conformance suite, on moto.

use devcluster::stores::{Asked, Fault, Moto};
use http::Method;
use serde_json::Value;

use super::cluster::{OssCluster, call};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};

conformance!(unmarked crate::cluster::OssCluster);

/// Whether the request is about probe objects only.
fn is_of_probe(asked: &Asked) -> bool {
    let text = asked.text();
    let keys = text.matches("<Key>").count();
    let of_probes = keys > 0 && keys == text.matches("<Key>docker/registry/v2/_preflight/").count();
    asked.path.contains("/_preflight/") || of_probes
}

fn is_read(asked: &Asked) -> bool {
    matches!(asked.method.as_str(), "GET" | "HEAD")
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

impl BackendUnderTest for OssCluster {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("oss", "bucket");
    const PAGE: usize = 1000;
    const CHANGES: usize = 8;
    const SETTINGS: &'static [&'static str] = &[];
    const GONE: (&'static str, &'static str) = ("NotFound", "OSS Bucket Deleted");
    const MARK_RIGHT: &'static str = "";
    const MARKS: bool = false;

    async fn start(cluster: &str, storage: Value) -> Self {
        Self::new(cluster, storage).await
    }

    fn generated(&self) -> String {
        self.generated()
    }

    fn location(&self, container: &str) -> String {
        format!("aliyuncs.com/{container}")
    }

    fn no_mark(&self) -> String {
        "does not support an ownership mark".to_owned()
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let refused = |operations: &'static [&str]| {
            self.disturb(move |asked| {
                let refused = operations.contains(&asked.operation().as_str());
                refused.then(|| Fault::error(403, "AccessDenied"))
            });
        };
        match failure {
            Failure::Outage => self.disturb(|_| Some(Fault::slow_down())),
            Failure::Access | Failure::MarkReads => refused(&["HeadBucket", "GetBucketLocation"]),
            Failure::ObjectReads => refused(&["GetObject"]),
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
        self.gate.asked().iter().map(sent).collect()
    }

    fn forget(&self) {
        self.gate.forget();
    }

    async fn containers(&self) -> Vec<String> {
        let (status, text) = call(Method::GET, "/", "").await;
        assert_eq!(status, 200, "{text}");
        let names = text
            .split("<Name>")
            .skip(1)
            .filter_map(|rest| rest.split("</Name>").next());
        names
            .filter(|name| name.contains(self.infrastructure()))
            .map(str::to_owned)
            .collect()
    }

    async fn exists(&self, container: &str) -> bool {
        call(Method::HEAD, &format!("/{container}"), "").await.0 == 200
    }

    async fn create(&self, container: &str) {
        let (status, answer) = call(Method::PUT, &format!("/{container}"), "").await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn delete(&self, container: &str) {
        let (status, answer) = call(Method::DELETE, &format!("/{container}"), "").await;
        assert_eq!(status, 204, "{answer}");
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
