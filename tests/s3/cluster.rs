//! One cluster that keeps its images in S3: the shared harness, credentials, and a gate between the operator and a real store.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Authority, Call, Fault as Gated, Gate, Keys, Target, When};
use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::config::event_request::EventRequest;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::Http;
use image_registry_operator::storage::net::network::Settings;
use image_registry_operator::storage::{Outcome, StorageClients};
use serde_json::{Value, json};

use super::harness::{CheckedClients, Killed, StorageHarness};

pub const REGION: &str = "eu-west-3";

/// Shorter ones are no secrets of a store, and are found in other words.
const SHORTEST_SECRET: usize = 8;

/// A process of the operator: nothing is remembered from the one before.
fn process(root: &Path, timeout: Option<Duration>, aws: Option<SocketAddr>) -> StorageClients {
    let clients = StorageClients::new(Settings {
        version: "4.99.0-test".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| true),
        fips: false,
        root: root.to_owned(),
    });
    let names = move |name: &str| match aws {
        Some(aws) if name.ends_with(".amazonaws.com") => Some(aws),
        _ if name.ends_with(".test.example") => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        _ => None,
    };
    let http = |http: Http| {
        let http = http.with_names(Arc::new(names));
        match timeout {
            Some(timeout) => http.with_timeout(timeout),
            None => http,
        }
    };
    clients.with_http(http).with_clock(Clock {
        sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 50))),
        ..Clock::default()
    })
}

/// A cluster.
pub struct S3Cluster {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
    pub keys: Keys,
    /// Where paths of token files begin.
    root: PathBuf,
    /// Where the public hosts of AWS are.
    aws: Option<SocketAddr>,
}

impl Deref for S3Cluster {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for S3Cluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

impl S3Cluster {
    /// A cluster of this name before the store, with `spec.storage` as given, the store's endpoint in it; credentials are in
    /// the user's Secret.
    pub fn new(store: &Target, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let gate = Gate::start(store, None, &[]).unwrap();
        Self::behind(gate, keys, infrastructure, storage)
    }

    /// The same behind a gate of its own.
    pub fn behind(gate: Gate, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let mut storage = storage;
        if let Some(block) = storage.get_mut("s3") {
            block["regionEndpoint"] = block.get("regionEndpoint").cloned().unwrap_or(json!(gate.url()));
        }
        let clients = CheckedClients::new(process(Path::new(""), None, None), Vec::new(), &[]);
        let platform = json!({"type": "AWS", "aws": {"region": REGION}});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &platform, &json!({"replicas": 2, "storage": storage})),
            gate,
            keys: keys.clone(),
            root: PathBuf::new(),
            aws: None,
        };
        cluster.edit_infrastructure(|status| status["infrastructureName"] = json!(infrastructure));
        cluster.set_credentials(keys);
        cluster
    }

    /// A cluster that reaches the public endpoints of AWS, which are this store.
    pub fn public(store: &Target, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let mut storage = storage;
        storage["s3"]["regionEndpoint"] = json!(""); // The public one.
        let authority = Authority::new("aws").unwrap();
        let s3 = format!("s3.dualstack.{REGION}.amazonaws.com");
        let hosts = [s3.clone(), format!("*.{s3}"), format!("sts.{REGION}.amazonaws.com")];
        let gate = Gate::start(store, Some(&authority), &hosts).unwrap();
        let aws = gate.target().address;
        let mut cluster = Self::behind(gate, keys, infrastructure, storage);
        cluster.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": names::CLOUD_CONFIG_MAP, "namespace": names::CONFIG_MANAGED_NAMESPACE},
            "data": {names::CLOUD_CA_KEY: authority.pem()},
        }));
        cluster.aws = Some(aws);
        cluster.restart();
        cluster
    }

    fn edit_infrastructure(&mut self, edit: impl FnOnce(&mut Value)) {
        let objects = &self.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        edit(&mut object["status"]);
        self.add(object);
    }

    fn add_secret(&mut self, name: &str, data: &[(&str, &str)]) {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
            .collect();
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data,
        }));
    }

    /// This text must never be shown.
    fn never_show(&mut self, secret: &str) {
        if secret.len() >= SHORTEST_SECRET {
            self.storage.secrets.push(secret.to_owned());
        }
    }

    /// The user's Secret holds these keys.
    pub fn set_credentials(&mut self, keys: &Keys) {
        self.never_show(&keys.secret);
        let data = [
            ("REGISTRY_STORAGE_S3_ACCESSKEY", keys.id.as_str()),
            ("REGISTRY_STORAGE_S3_SECRETKEY", keys.secret.as_str()),
        ];
        self.add_secret(names::USER_SECRET, &data);
    }

    /// The minted Secret holds this text, and there is no user's.
    pub fn set_minted(&mut self, text: &str) {
        self.remove_object(Kind::Secret, names::USER_SECRET);
        self.add_secret(names::MINTED_SECRET, &[("credentials", text)]);
    }

    /// The operator finds token files below this directory; the registry's ServiceAccount gets this token.
    pub fn set_tokens(&mut self, root: &Path, of_registry: &str) {
        root.clone_into(&mut self.root);
        self.never_show(of_registry);
        of_registry.clone_into(&mut self.cluster.token.borrow_mut());
        self.restart();
    }

    /// Audiences of the tokens that were requested.
    pub fn tokens(&self) -> Vec<String> {
        self.cluster.tokens.borrow().clone()
    }

    /// Services of AWS under other addresses.
    pub fn set_service(&mut self, name: &str, url: &str) {
        let endpoints = json!([{"name": name, "url": url}]);
        self.edit_infrastructure(|status| status["platformStatus"]["aws"]["serviceEndpoints"] = endpoints);
    }

    /// Tags that the platform wants on everything.
    pub fn set_platform_tags(&mut self, tags: &Value) {
        let tags = tags.clone();
        self.edit_infrastructure(|status| status["platformStatus"]["aws"]["resourceTags"] = tags);
    }

    /// The name that the operator gives.
    pub fn generated(&self) -> String {
        format!("{}-image-registry-{REGION}", self.infrastructure())
    }

    pub fn location(&self, bucket: &str) -> String {
        format!("{}/{bucket}", self.gate.url())
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.storage.clients = process(&self.root, None, self.aws);
    }

    /// Another process, with less patience for answers.
    pub fn give_up_after(&mut self, timeout: Duration) {
        self.storage.clients = process(&self.root, Some(timeout), self.aws);
    }

    /// Events of all passes, `reason: message`.
    pub fn events(&self) -> Vec<String> {
        self.events_where(|_| true)
    }

    /// Those of them that are warnings.
    pub fn warnings(&self) -> Vec<String> {
        self.events_where(|event| event.warning)
    }

    fn events_where(&self, counts: impl Fn(&EventRequest) -> bool) -> Vec<String> {
        let events = self.events.iter().filter(|event| counts(event));
        events
            .map(|event| format!("{}: {}", event.reason, event.message))
            .collect()
    }

    /// A process that dies right after its first call of this operation; nothing disturbs the next.
    pub async fn die_after(&mut self, operation: &str) {
        let killed = Killed::new();
        let kill = killed.clone();
        self.gate
            .plan(When::operation(operation), Gated::after(move |_| kill.kill()));
        let outcome = self.pass_until(&killed).await;
        assert!(outcome.is_none(), "{operation} was to be asked for");
        self.restart();
        self.gate.pass();
    }

    /// Record of probes that may have been left behind.
    pub fn recorded_probe(&self) -> Option<&str> {
        self.annotation(names::STORAGE_PROBE_ANNOTATION)
    }

    /// Value of a variable that the registry would get.
    pub fn variable(outcome: &Outcome, name: &str) -> Option<String> {
        let facts = outcome.facts.as_ref()?;
        let found = facts.env.iter().find(|variable| variable.name == name)?;
        Some(format!("{:?}", found.value))
    }

    /// Operations sent since the gate forgot, those that only read left out.
    pub fn changes(&self) -> Vec<String> {
        let mut all = self.gate.operations();
        all.retain(|name| !is_read(name));
        all
    }
}

/// Whether the operation changes nothing.
pub fn is_read(operation: &str) -> bool {
    ["Get", "Head", "List"].iter().any(|read| operation.starts_with(read))
}

/// The store behind the gate, as an administrator reaches it.
pub struct Store<'a> {
    pub target: &'a Target,
    pub keys: &'a Keys,
}

impl Store<'_> {
    /// Takes an empty bucket away.
    pub async fn delete(&self, bucket: &str) {
        self.drop_tags(bucket).await;
        let (status, answer) = self.call(Method::DELETE, &format!("/{bucket}"), &[], "").await;
        assert_eq!(status, 204, "{answer}");
    }

    pub async fn call(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let call = Call::new(method, path).headers(headers).body(body.as_bytes());
        let answer = self.target.call(call.signed(self.keys, "s3", REGION)).await.unwrap();
        (answer.status, answer.text())
    }

    async fn good(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let (status, text) = self.call(method, path, headers, body).await;
        assert!((200..300).contains(&status), "{path}: {status}: {text}");
        text
    }

    pub async fn create(&self, bucket: &str) {
        let body = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        self.good(Method::PUT, &format!("/{bucket}"), &[], &body).await;
        self.drop_tags(bucket).await;
    }

    /// moto keeps the tags of a deleted bucket.
    async fn drop_tags(&self, bucket: &str) {
        self.call(Method::DELETE, &format!("/{bucket}?tagging"), &[], "").await;
    }

    pub async fn exists(&self, bucket: &str) -> bool {
        self.call(Method::HEAD, &format!("/{bucket}"), &[], "").await.0 == 200
    }

    pub async fn put(&self, bucket: &str, key: &str) {
        self.good(Method::PUT, &format!("/{bucket}/{key}"), &[], "layer").await;
    }

    pub async fn drop_object(&self, bucket: &str, key: &str) {
        self.good(Method::DELETE, &format!("/{bucket}/{key}"), &[], "").await;
    }

    /// Deletes every version of the key that is no delete marker.
    pub async fn drop_versions(&self, bucket: &str, key: &str) {
        let (_, listed) = self.read(bucket, "versions").await;
        let versions = listed.split("<Version>").skip(1).filter_map(|part| {
            let id = part.split_once("<VersionId>")?.1.split_once("</VersionId>")?.0;
            part.contains(&format!("<Key>{key}</Key>")).then(|| id.to_owned())
        });
        for version in versions.collect::<Vec<_>>() {
            self.good(Method::DELETE, &format!("/{bucket}/{key}?versionId={version}"), &[], "")
                .await;
        }
    }

    pub async fn set_tags(&self, bucket: &str, tags: &[(&str, &str)]) {
        let tags: Vec<_> = tags
            .iter()
            .map(|(k, v)| format!("<Tag><Key>{k}</Key><Value>{v}</Value></Tag>"))
            .collect();
        let tags = tags.concat();
        let body = format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
        self.good(Method::PUT, &format!("/{bucket}?tagging"), &[], &body).await;
    }

    /// Keys and values, in order.
    pub async fn tags(&self, bucket: &str) -> Vec<(String, String)> {
        let (status, text) = self.call(Method::GET, &format!("/{bucket}?tagging"), &[], "").await;
        if status == 404 {
            return Vec::new();
        }
        let between = |part: &str, tag: &str| {
            let rest = part.split_once(&format!("<{tag}>"))?.1;
            Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
        };
        let parts = text.split("<Tag>").skip(1);
        parts
            .map(|part| {
                (
                    between(part, "Key").unwrap(),
                    between(part, "Value").unwrap_or_default(),
                )
            })
            .collect()
    }

    pub async fn version(&self, bucket: &str, status: &str) {
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        self.good(Method::PUT, &format!("/{bucket}?versioning"), &[], &body)
            .await;
    }

    pub async fn read(&self, bucket: &str, query: &str) -> (u16, String) {
        self.call(Method::GET, &format!("/{bucket}?{query}"), &[], "").await
    }

    pub async fn write(&self, bucket: &str, query: &str, body: &str) {
        self.good(Method::PUT, &format!("/{bucket}?{query}"), &[], body).await;
    }

    /// How many keys are seen.
    pub async fn count(&self, bucket: &str) -> usize {
        let text = self.good(Method::GET, &format!("/{bucket}?list-type=2"), &[], "").await;
        text.matches("<Key>").count()
    }

    /// Buckets of the account whose name holds the text.
    pub async fn buckets(&self, part: &str) -> Vec<String> {
        let text = self.good(Method::GET, "/", &[], "").await;
        let names = text
            .split("<Name>")
            .skip(1)
            .filter_map(|rest| rest.split("</Name>").next());
        names.filter(|name| name.contains(part)).map(str::to_owned).collect()
    }
}
