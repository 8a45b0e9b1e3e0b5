//! The fake cloud in the conformance suite.

use serde_json::Value;

use crate::conformance::{BackendUnderTest, Death, Failure, Sent, conformance};
use crate::fake::{CHOSEN, Container, FakeCloud, Refusal};
use crate::harness::Killed;
use crate::site::Site;

conformance!(crate::site::Site);

impl BackendUnderTest for Site {
    type Storage = FakeCloud;
    const FIELD: (&'static str, &'static str) = ("s3", "bucket");
    const PAGE: usize = 1;
    const CHANGES: usize = 5;
    const SETTINGS: &'static [&'static str] = &["StorageTagged"];
    const GONE: (&'static str, &'static str) = ("NoSuchBucket", "Bucket Deleted");
    const MARK_RIGHT: &'static str = "s3:GetBucketTagging";

    async fn start(_cluster: &str, storage: Value) -> Self {
        let mut site = Self::new(storage);
        site.single_steps = false;
        site
    }

    fn generated(&self) -> String {
        CHOSEN.to_owned()
    }

    fn location(&self, container: &str) -> String {
        format!("/{container}")
    }

    fn no_mark(&self) -> String {
        "it carries no mark".to_owned()
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let cloud = self.cloud();
        match failure {
            Failure::Outage => cloud.down.set(true),
            Failure::Access => cloud.access_denied.set(true),
            Failure::MarkReads => cloud.marks_denied.set(true),
            Failure::ObjectReads => *cloud.denied.borrow_mut() = Some(Refusal::Denied("s3:GetObject", false)),
        }
    }

    fn die(&self, death: Death, killed: &Killed) {
        self.cloud().changes.set(0);
        *self.cloud().death.borrow_mut() = Some((death, killed.clone()));
    }

    fn heal(&self) {
        let cloud = self.cloud();
        for failing in [&cloud.down, &cloud.access_denied, &cloud.marks_denied] {
            failing.set(false);
        }
        cloud.denied.take();
        cloud.death.take();
    }

    fn sent(&self) -> Vec<Sent> {
        self.cloud().sent.borrow().clone()
    }

    fn forget(&self) {
        self.cloud().sent.take();
    }

    async fn containers(&self) -> Vec<String> {
        self.cloud().containers.borrow().keys().cloned().collect()
    }

    async fn create(&self, container: &str) {
        self.cloud().put(container, 0, None);
    }

    async fn delete(&self, container: &str) {
        self.cloud().containers.borrow_mut().remove(container);
    }

    async fn mark(&self, container: &str) -> Option<String> {
        self.cloud().container(container).unwrap().mark
    }

    async fn set_mark(&self, container: &str, cluster: Option<&str>) {
        self.cloud().with(container, |c| c.mark = cluster.map(str::to_owned));
    }

    async fn has_settings(&self, container: &str) -> bool {
        self.cloud().container(container).unwrap().hardened
    }

    async fn put(&self, container: &str, key: &str) {
        self.cloud().with(container, |c| {
            if key.contains("/_preflight/") {
                c.probes.insert(key.to_owned(), Vec::new());
            } else {
                c.images += 1;
            }
        });
    }

    async fn count(&self, container: &str) -> usize {
        let Container { images, probes, .. } = self.cloud().container(container).unwrap();
        images as usize + probes.len()
    }
}
