//! One cluster that keeps its images in S3: the Config as the API server would store it, the operator's process, and a gate
//! between it and a real store. Passes run as the controller runs them: what a step wants recorded is stored, then the next
//! step is taken; the status is written last.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use devcluster::stores::{Call, Fault as Gated, Gate, Keys, Target, When};
use http::Method;
use image_registry_operator::api::{Config, Kind, ObjectRef, Sensitive};
use image_registry_operator::config::environment::Environment;
use image_registry_operator::config::facts::StorageFacts;
use image_registry_operator::config::notice::Notice;
use image_registry_operator::config::snapshot::{Objects, Snapshot};
use image_registry_operator::names;
use image_registry_operator::status::conditions;
use image_registry_operator::storage::cloud::{Cloud, Pace, Settings};
use image_registry_operator::storage::fault::Fault;
use image_registry_operator::storage::http::{Http, Proxies};
use image_registry_operator::storage::preflight::Pods;
use image_registry_operator::storage::{self, Cluster, Creation, Outcome};
use json_patch::merge;
use serde_json::{Value, json};
use tokio::sync::watch;

pub const REGION: &str = "eu-west-3";

/// A cluster.
pub struct World {
    pub config: Value,
    pub snapshot: Snapshot,
    pub gate: Gate,
    pub keys: Keys,
    pub infrastructure: String,
    cloud: Cloud,
    /// Where paths of token files begin.
    root: PathBuf,
    /// What the running registry was told.
    pub running: Option<StorageFacts>,
    /// Notices of all passes, `reason: note`.
    pub notices: Vec<String>,
    /// Those of them that are warnings.
    pub warnings: Vec<String>,
    pub read_only: bool,
    seam: Seam,
}

/// What a step may ask of the cluster.
#[derive(Default)]
struct Seam {
    /// Somebody changed the Config meanwhile.
    stale: Cell<bool>,
    confirmed: Cell<u32>,
    tokens: RefCell<Vec<String>>,
    /// What a token of the registry is.
    token: RefCell<String>,
}

impl Cluster for Seam {
    async fn confirm(&self) -> Result<(), Fault> {
        self.confirmed.set(self.confirmed.get() + 1);
        if self.stale.get() {
            return Err(Fault::transient("the Config was changed at the same time"));
        }
        Ok(())
    }

    fn is_stale(&self) -> bool {
        self.stale.get()
    }

    async fn registry_token(&self, audience: &str) -> Result<Sensitive, Fault> {
        self.tokens.borrow_mut().push(audience.to_owned());
        Ok(Sensitive::new(self.token.borrow().as_str()))
    }

    async fn create_claim(&self, _claim: &Value) -> Result<Creation, Fault> {
        Err(Fault::config("no claims here"))
    }

    async fn delete_claim(&self, _name: &str, _uid: &str) -> Result<(), Fault> {
        Err(Fault::config("no claims here"))
    }
}

/// A process of the operator: nothing is remembered from the one before.
fn process(root: &Path, timeout: Option<Duration>) -> Cloud {
    let cloud = Cloud::new(Settings {
        version: "4.99.0-test".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| true),
        fips: false,
        root: root.to_owned(),
    });
    let names = |name: &str| {
        let ours = name.ends_with(".test.example");
        ours.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    };
    let http = |http: Http| {
        let http = http.with_names(Arc::new(names));
        match timeout {
            Some(timeout) => http.with_timeout(timeout),
            None => http,
        }
    };
    cloud.with_http(http).with_pace(Pace {
        sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 50))),
        ..Pace::default()
    })
}

impl World {
    /// A cluster of this name before the store, with `spec.storage` as given, the store's endpoint in it; credentials are in
    /// the user's Secret.
    pub fn new(store: &Target, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let gate = Gate::start(store, None, &[]).unwrap();
        Self::behind(gate, keys, infrastructure, storage)
    }

    /// The same behind a gate of its own.
    pub fn behind(gate: Gate, keys: &Keys, infrastructure: &str, storage: Value) -> Self {
        let platform = json!({"type": "AWS", "aws": {"region": REGION}});
        let mut storage = storage;
        if let Some(block) = storage.get_mut("s3") {
            block["regionEndpoint"] = block.get("regionEndpoint").cloned().unwrap_or(json!(gate.url()));
        }
        let infrastructures = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"infrastructureName": infrastructure, "platformStatus": platform},
        });
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": names::NAMESPACE, "uid": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"},
        });
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": names::REGISTRY_SERVICE_ACCOUNT, "namespace": names::NAMESPACE},
        });
        let snapshot = Snapshot {
            objects: Objects::from_values([infrastructures, namespace, account]).unwrap(),
            environment: Environment::default(),
            security_api: true,
            now: "2026-05-04T03:02:01Z".parse().unwrap(),
        };
        let config = json!({
            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
            "metadata": {"name": "cluster", "generation": 1},
            "spec": {"managementState": "Managed", "replicas": 2, "storage": storage},
        });
        let mut world = Self {
            config,
            snapshot,
            gate,
            keys: keys.clone(),
            infrastructure: infrastructure.to_owned(),
            cloud: process(Path::new(""), None),
            root: PathBuf::new(),
            running: None,
            notices: Vec::new(),
            warnings: Vec::new(),
            read_only: false,
            seam: Seam::default(),
        };
        world.set_credentials(keys);
        world
    }

    /// The same cluster with another Config: `spec.storage` as given, nothing in the status.
    pub fn set_credentials(&mut self, keys: &Keys) {
        let encode = |text: &str| {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.encode(text)
        };
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE},
            "data": {
                "REGISTRY_STORAGE_S3_ACCESSKEY": encode(&keys.id),
                "REGISTRY_STORAGE_S3_SECRETKEY": encode(&keys.secret),
            },
        }));
    }

    pub fn add(&mut self, object: Value) {
        let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let reference = ObjectRef::new(kind, &namespace, &name);
        self.snapshot.objects.insert(reference, object.into());
    }

    pub fn remove(&mut self, kind: Kind, name: &str) {
        let reference = ObjectRef::new(kind, names::NAMESPACE, name);
        self.snapshot.objects.remove(&reference);
    }

    /// The minted Secret holds this text, and there is no user's.
    pub fn set_minted(&mut self, text: &str) {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        self.remove(Kind::Secret, names::USER_SECRET);
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE},
            "data": {"credentials": encoded},
        }));
    }

    /// The operator finds token files below this directory; the registry's ServiceAccount gets this token.
    pub fn set_tokens(&mut self, root: &Path, of_registry: &str) {
        root.clone_into(&mut self.root);
        of_registry.clone_into(&mut self.seam.token.borrow_mut());
        self.restart();
    }

    /// Audiences of the tokens that were asked for.
    pub fn tokens(&self) -> Vec<String> {
        self.seam.tokens.borrow().clone()
    }

    /// Services of AWS under other addresses.
    pub fn set_service(&mut self, name: &str, url: &str) {
        let mut object = self
            .snapshot
            .objects
            .cluster(Kind::Infrastructure, "cluster")
            .unwrap()
            .clone();
        object["status"]["platformStatus"]["aws"]["serviceEndpoints"] = json!([{"name": name, "url": url}]);
        self.add(object);
    }

    /// Tags that the platform wants on everything.
    pub fn set_platform_tags(&mut self, tags: &Value) {
        let mut object = self
            .snapshot
            .objects
            .cluster(Kind::Infrastructure, "cluster")
            .unwrap()
            .clone();
        object["status"]["platformStatus"]["aws"]["resourceTags"] = tags.clone();
        self.add(object);
    }

    /// The name that the operator gives.
    pub fn generated(&self) -> String {
        format!("{}-image-registry-{REGION}", self.infrastructure)
    }

    pub fn location(&self, bucket: &str) -> String {
        format!("{}/{bucket}", self.gate.url())
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        self.config["metadata"]["annotations"][key] = json!(value);
    }

    pub fn intent(&self) -> Option<&str> {
        self.config["metadata"]["annotations"][names::STORAGE_INTENT_ANNOTATION].as_str()
    }

    pub fn edit(&mut self, spec: Value) {
        merge(&mut self.config["spec"], &spec);
        self.config["metadata"]["generation"] = json!(self.config["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.cloud = process(&self.root, None);
    }

    /// The same process, with less patience for answers.
    pub fn give_up_after(&mut self, timeout: Duration) {
        self.cloud = process(&self.root, Some(timeout));
    }

    fn typed(&self) -> Config {
        serde_json::from_value(self.config.clone()).unwrap()
    }

    fn is_removed(&self) -> bool {
        self.config["spec"]["managementState"] == "Removed"
    }

    /// One step.
    pub async fn step(&self) -> Outcome {
        let config = self.typed();
        if self.is_removed() {
            return storage::remove(&config, &self.snapshot, &self.seam, &self.cloud, false).await;
        }
        let differs = |facts: &StorageFacts| self.running.as_ref() != Some(facts);
        let pods = Pods {
            differs: &differs,
            via: Proxies::default(),
            read_only: self.read_only,
        };
        storage::ensure(&config, &self.snapshot, &self.seam, &self.cloud, &pods).await
    }

    /// So many steps; what they want recorded is stored, and nothing else.
    pub async fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let outcome = self.step().await;
            if let Some(record) = outcome.record {
                merge(&mut self.config, &record);
            }
        }
    }

    /// One pass: steps until the storage rests, then the registry, then the status.
    pub async fn pass(&mut self) -> Outcome {
        self.later(Duration::from_secs(1));
        self.clear_probes().await;
        for _ in 0..20 {
            let mut outcome = self.step().await;
            self.assert_no_secret(&outcome);
            let recorded = outcome.record.take().is_some_and(|record| {
                merge(&mut self.config, &record);
                true
            });
            self.note(&outcome.notices);
            let at_once = outcome.wait.as_ref().is_some_and(|(after, _)| after.is_zero());
            if recorded && at_once && outcome.fault.is_none() {
                continue;
            }
            if let Some(facts) = &outcome.facts {
                self.running = Some(facts.clone());
                self.add(json!({
                    "apiVersion": "apps/v1", "kind": "Deployment",
                    "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
                    "status": {"availableReplicas": 2},
                }));
            }
            self.store_status(&outcome);
            return outcome;
        }
        panic!("a pass without end: {:#}", self.config);
    }

    /// No secret is in anything that people or logs may see.
    fn assert_no_secret(&self, outcome: &Outcome) {
        let token = self.seam.token.borrow();
        let secrets = [self.keys.secret.as_str(), token.as_str()];
        let told = format!("{outcome:?} {} {:?}", self.config, self.notices);
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            assert!(!told.contains(secret), "a secret in {told}");
        }
    }

    /// What earlier processes may have left of probes.
    async fn clear_probes(&mut self) {
        let cleared = storage::clear_probes(&self.typed(), &self.snapshot, &self.seam, &self.cloud).await;
        self.note(&cleared.notices);
        if let Some(record) = &cleared.record {
            merge(&mut self.config, record);
        }
    }

    fn note(&mut self, notices: &[Notice]) {
        for notice in notices {
            let text = format!("{}: {}", notice.reason, notice.note);
            self.warnings.extend(notice.warning.then(|| text.clone()));
            self.notices.push(text);
        }
    }

    fn store_status(&mut self, outcome: &Outcome) {
        let stored = self.typed().status.unwrap_or_default();
        let mut kept = stored.conditions.clone().unwrap_or_default();
        kept.retain(|c| outcome.own_conditions.contains(&c.type_.as_str()));
        let merged = conditions::merge(&kept, &outcome.verdicts, self.snapshot.now);
        let storage = outcome.status_storage.clone().unwrap_or(stored.storage);
        self.config["status"] = json!({
            "storage": storage, "storageManaged": outcome.storage_managed, "conditions": merged,
            "observedGeneration": self.config["metadata"]["generation"],
        });
    }

    /// Passes until nothing changes any more; the last outcome. Waits are waited for.
    pub async fn settle(&mut self) -> Outcome {
        for _ in 0..400 {
            let before = self.config.clone();
            let outcome = self.pass().await;
            let waits = outcome.wait.as_ref().map(|(after, _)| *after);
            if waits.is_none() && (self.config == before || outcome.fault.is_some()) {
                return outcome;
            }
            let waits = waits.unwrap_or_default();
            tokio::time::sleep(waits.min(Duration::from_millis(50))).await;
            self.later(waits);
        }
        panic!("does not settle: {:#}", self.config);
    }

    /// Passes, with pauses, until one ends without a fault and with nothing left to do.
    pub async fn converge(&mut self) -> Outcome {
        for _ in 0..40 {
            let outcome = self.settle().await;
            if outcome.fault.is_none() && outcome.preflight.is_none() {
                return outcome;
            }
            // As a resync: the snapshot's clock goes on.
            self.later(Duration::from_mins(11));
        }
        panic!("does not converge: {:#}", self.config);
    }

    pub fn later(&mut self, time: Duration) {
        self.snapshot.now += jiff::SignedDuration::try_from(time).unwrap();
    }

    /// A pass that ends when `killed` says so, whatever it is doing: whether it was killed.
    pub async fn pass_until(&mut self, killed: &Killed) -> bool {
        let mut signal = killed.0.subscribe();
        tokio::select! {
            biased;
            _ = signal.wait_for(|dead| *dead) => {}
            _ = self.pass() => return false,
        }
        self.restart();
        killed.0.send_replace(false);
        true
    }

    /// A process that dies right after its first call of this operation; nothing disturbs the next.
    pub async fn die_after(&mut self, operation: &str) {
        let killed = Killed::new();
        let kill = killed.clone();
        self.gate
            .plan(When::operation(operation), Gated::after(move |_| kill.kill()));
        assert!(self.pass_until(&killed).await, "{operation} was to be asked for");
        self.gate.pass();
    }

    /// Record of probes that may have been left behind.
    pub fn recorded_probe(&self) -> Option<&str> {
        self.config["metadata"]["annotations"][names::STORAGE_PROBE_ANNOTATION].as_str()
    }

    pub fn storage(&self) -> &Value {
        &self.config["spec"]["storage"]
    }

    pub fn status(&self) -> &Value {
        &self.config["status"]["storage"]
    }

    pub fn state(&self) -> Option<&str> {
        self.storage()["managementState"].as_str()
    }

    /// `status/reason` of a stored condition.
    pub fn condition(&self, type_: &str) -> String {
        let condition = self.condition_of(type_);
        let text = |key: &str| condition[key].as_str().unwrap_or("-").to_owned();
        format!("{}/{}", text("status"), text("reason"))
    }

    pub fn message(&self, type_: &str) -> String {
        self.condition_of(type_)["message"].as_str().unwrap_or("").to_owned()
    }

    fn condition_of(&self, type_: &str) -> Value {
        let conditions = self.config["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.into_iter().find(|c| c["type"] == type_).unwrap_or_default()
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
        all.retain(|name| !name.starts_with("Get") && !name.starts_with("Head") && !name.starts_with("List"));
        all
    }

    pub fn make_stale(&self, stale: bool) {
        self.seam.stale.set(stale);
    }

    pub fn confirmed(&self) -> u32 {
        self.seam.confirmed.get()
    }
}

/// The death of a process, for a fault of the gate.
#[derive(Clone)]
pub struct Killed(watch::Sender<bool>);

impl Killed {
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn kill(&self) {
        self.0.send_replace(true);
    }
}

/// The store behind the gate, as an administrator reaches it.
pub struct Store<'a> {
    pub target: &'a Target,
    pub keys: &'a Keys,
}

impl Store<'_> {
    /// Takes an empty bucket away.
    pub async fn delete(&self, bucket: &str) {
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
