//! Azure in the conformance suite, at the level of the container: all clusters share a user's account, which the operator
//! neither creates nor deletes. The account itself is in `account` and `removal`.

use devcluster::stores::{Asked, Fault};
use image_registry_operator::storage::backend::azure::generated;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, blob_error, call, is_of_probe, is_read, is_token};
use super::conformance::{BLOBS, BackendUnderTest, Death, Failure, Sent, conformance};
use super::harness::{CheckedClients, Killed};
use super::stores::cloud;

conformance!(crate::cluster::AzureCluster);

/// The account of all clusters of the suite, and its resource group.
const ACCOUNT: &str = "conformance";
/// One cluster at a time looks whether the account exists.
static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
/// Member of a container's metadata that names a cluster.
const MARK: &str = "openshiftclusterid";

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
            "Container_GetProperties" => Sent::ReadMark,
            "Container_Create" if asked.status == 201 => Sent::Create,
            "Blob_Delete" | "Container_Delete" => Sent::Delete,
            _ if is_read(asked) => Sent::Read,
            _ => Sent::Change,
        };
        if !(name == "Blob_Delete" && before == name && one == Sent::Delete) {
            all.push(one);
        }
        before = name;
    }
    all
}

impl BackendUnderTest for AzureCluster {
    type Storage = CheckedClients;
    const FIELD: (&'static str, &'static str) = ("azure", "container");
    const PAGE: usize = 250;
    const CHANGES: usize = 8;
    const SETTINGS: &'static [&'static str] = &[];
    const GONE: (&'static str, &'static str) = ("ContainerNotFound", "ContainerDeleted");
    const UNKNOWN: &'static str = "AzureError";
    const NO_LOGIN: &'static str = "ConfigError";
    const MARK_RIGHT: &'static str = "Microsoft.Storage/storageAccounts/blobServices/containers/read";
    const REFUSED: &'static str = "Unknown/";

    async fn start(name: &str, storage: Value) -> Self {
        let mut cluster = Self::bare(cloud().await, name, ACCOUNT, storage);
        cluster.with_secret();
        let _turn = MAKING.lock().unwrap();
        if cluster.azure().account(ACCOUNT).is_none() {
            cluster.users_account(ACCOUNT);
        }
        cluster
    }

    fn storage(container: Option<&str>) -> Value {
        match container {
            Some(name) => json!({"azure": {"accountName": ACCOUNT, "container": name}}),
            None => json!({"azure": {"accountName": ACCOUNT}}),
        }
    }

    fn generated(&self) -> String {
        generated::container(&self.snapshot).unwrap()
    }

    fn location(&self, container: &str) -> String {
        format!("AzurePublicCloud/{ACCOUNT}/{container}")
    }

    fn no_mark(&self) -> String {
        format!("{MARK}={}", self.infrastructure())
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn fail(&self, failure: Failure) {
        let refused = || blob_error(403, "AuthorizationPermissionMismatch");
        match failure {
            Failure::Outage => self.gate.rule(|_| Fault::Answer(blob_error(503, "ServerBusy"))),
            Failure::Access | Failure::MarkReads => self.answer("Container_GetProperties", refused()),
            Failure::ObjectReads => self.answer("Blob_Download", refused()),
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
                Death::AfterProbe if call(asked) == "BlockBlob_Upload" => Fault::after(move |_| kill.kill()),
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
        let all = self.azure().containers(ACCOUNT).await.unwrap();
        let names = all.into_iter().map(|(name, _)| name);
        names.filter(|name| name.contains(self.infrastructure())).collect()
    }

    async fn create(&self, container: &str) {
        self.azure().make_container(ACCOUNT, container, &[]).await.unwrap();
    }

    async fn delete(&self, container: &str) {
        self.azure().delete_container(ACCOUNT, container).await.unwrap();
    }

    async fn mark(&self, container: &str) -> Option<String> {
        let all = self.azure().containers(ACCOUNT).await.unwrap();
        let (_, metadata) = all.into_iter().find(|(name, _)| name == container)?;
        metadata.get(MARK)?.as_str().map(str::to_owned)
    }

    async fn set_mark(&self, container: &str, cluster: Option<&str>) {
        let metadata = match cluster {
            Some(cluster) => (MARK, cluster),
            None => ("team", "x"),
        };
        self.azure()
            .set_container_metadata(ACCOUNT, container, &[metadata])
            .await
            .unwrap();
    }

    async fn has_settings(&self, _container: &str) -> bool {
        true
    }

    async fn put(&self, container: &str, key: &str) {
        self.azure()
            .put_blob(ACCOUNT, container, &format!("/{key}"), b"layer")
            .await
            .unwrap();
    }

    async fn fill(&self, container: &str, count: usize) {
        self.azure()
            .fill(ACCOUNT, container, &format!("/{BLOBS}"), count)
            .await
            .unwrap();
    }

    async fn count(&self, container: &str) -> usize {
        self.azure().blobs(ACCOUNT, container).await.unwrap().len()
    }
}
