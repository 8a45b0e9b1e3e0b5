//! One cluster with OSS: the shared harness, an AccessKey pair, and a gate that plays the S3 API of OSS.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Authority, Call, Fault, Gate, Keys, Moto, Target};
use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::Http;
use image_registry_operator::storage::net::network::Settings;
use serde_json::{Map, Value, json};

use super::harness::{CheckedClients, StorageHarness};

/// Region of the cluster. With this one, AWS asks for no LocationConstraint either.
pub const REGION: &str = "us-east-1";
/// Host of the internal endpoint.
pub const HOST: &str = "s3.oss-us-east-1-internal.aliyuncs.com";

/// A process of the operator: nothing is remembered from the one before.
fn process(oss: SocketAddr) -> StorageClients {
    let clients = StorageClients::new(Settings {
        version: "4.99.0-test".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| true),
        fips: false,
        root: std::path::PathBuf::new(),
    });
    let names = move |name: &str| name.ends_with(".aliyuncs.com").then_some(oss);
    clients
        .with_http(|http: Http| http.with_names(Arc::new(names)))
        .with_clock(Clock {
            sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 100))),
            ..Clock::default()
        })
}

/// Operations that the S3 API of OSS has. It documents no listing of unfinished uploads, without which the registry cannot
/// work: that it answers one is an assumption, which the preflight checks on each cluster.
const OFFERED: [&str; 21] = [
    "CreateBucket",
    "DeleteBucket",
    "ListObjects",
    "ListObjectsV2",
    "GetBucketLifecycleConfiguration",
    "GetBucketLocation",
    "HeadBucket",
    "PutBucketLifecycleConfiguration",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadObject",
    "PutObject",
    "CopyObject",
    "CreateMultipartUpload",
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "ListParts",
    "UploadPart",
    "UploadPartCopy",
    "ListMultipartUploads",
];

/// What OSS answers itself.
pub fn of_oss(asked: &Asked) -> Fault {
    if asked.host.starts_with("s3.") {
        return Fault::error(403, "SecondLevelDomainForbidden");
    }
    if !OFFERED.contains(&asked.operation().as_str()) {
        return Fault::error(501, "NotImplemented");
    }
    Fault::Pass
}

/// A cluster.
pub struct OssCluster {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
}

impl Deref for OssCluster {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for OssCluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

impl OssCluster {
    /// A cluster of this name before moto, with `spec.storage` as given; the AccessKey pair is in the user's Secret.
    pub async fn new(infrastructure: &str, storage: Value) -> Self {
        let moto = Moto::shared().await.unwrap();
        Self::before(moto.target(), moto.admin(), infrastructure, storage)
    }

    /// The same before another store.
    pub fn before(store: &Target, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let authority = Authority::new("oss").unwrap();
        let hosts = [
            HOST.to_owned(),
            format!("*.{HOST}"),
            format!("*.s3.oss-{REGION}.aliyuncs.com"),
        ];
        let gate = Gate::start(store, Some(&authority), &hosts).unwrap();
        // storage-core 48
        let clients = CheckedClients::new(process(gate.target().address), vec![keys.secret.clone()], &[]);
        let platform = json!({"type": "AlibabaCloud", "alibabaCloud": {"region": REGION}});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &platform, &json!({"replicas": 2, "storage": storage})),
            gate,
        };
        cluster.edit_infrastructure(|status| status["infrastructureName"] = json!(infrastructure));
        cluster.add(json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
            "spec": {"trustedCA": {"name": "proxy-ca"}},
        }));
        for (name, namespace) in [
            ("proxy-ca", names::CONFIG_NAMESPACE),
            (names::TRUSTED_CA_MAP, names::NAMESPACE),
        ] {
            cluster.add(json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
                "data": {names::CA_BUNDLE_KEY: authority.pem()},
            }));
        }
        cluster.set_secret(&[
            ("REGISTRY_STORAGE_OSS_ACCESSKEYID", &keys.id),
            ("REGISTRY_STORAGE_OSS_ACCESSKEYSECRET", &keys.secret),
        ]);
        cluster.pass_all();
        cluster
    }

    pub fn edit_infrastructure(&mut self, edit: impl FnOnce(&mut Value)) {
        let objects = &self.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        edit(&mut object["status"]);
        self.add(object);
    }

    /// The user's Secret holds this.
    pub fn set_secret(&mut self, data: &[(&str, &str)]) {
        let data: Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
            .collect();
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE},
            "data": data,
        }));
    }

    /// Faults for the requests for which `fault` has one; OSS answers all others.
    pub fn disturb(&self, mut fault: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        self.gate
            .rule(move |asked| fault(asked).unwrap_or_else(|| of_oss(asked)));
    }

    /// Ends all faults.
    pub fn pass_all(&self) {
        self.gate.pass();
        self.gate.rule(of_oss);
    }

    /// The name that the operator gives.
    pub fn generated(&self) -> String {
        format!("{}-image-registry-{REGION}", self.infrastructure())
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.storage.clients = process(self.gate.target().address);
    }

    /// Value of a variable that the registry would get, in Debug form.
    pub fn variable(&self, name: &str) -> Option<String> {
        let facts = self.running.as_ref()?;
        let found = facts
            .env
            .iter()
            .find(|variable| variable.name == format!("REGISTRY_STORAGE_S3_{name}"))?;
        Some(format!("{:?}", found.value))
    }
}

/// A call of moto's administrator.
pub async fn call(method: Method, path: &str, body: &str) -> (u16, String) {
    let moto = Moto::shared().await.unwrap();
    let call = Call::new(method, path).body(body.as_bytes());
    let answer = moto
        .target()
        .call(call.signed(moto.admin(), "s3", REGION))
        .await
        .unwrap();
    (answer.status, answer.text())
}
