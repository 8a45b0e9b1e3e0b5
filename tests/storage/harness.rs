//! A cluster of one test, as the storage sees it: the Config as the API server would store it, and passes that run the
//! engine's own loop, store what it records, give the registry what it may use, and write the status last.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use image_registry_operator::api::{Config, Kind, ObjectRef, Sensitive};
use image_registry_operator::config::environment::Environment;
use image_registry_operator::config::event_request::EventRequest;
use image_registry_operator::config::facts::{EnvValue, StorageFacts};
use image_registry_operator::config::snapshot::{Objects, Snapshot};
use image_registry_operator::names;
use image_registry_operator::program::platform::Platform;
use image_registry_operator::program::{Proxies, RegistryProgram};
use image_registry_operator::status::conditions;
use image_registry_operator::storage::model::error::StorageError;
use image_registry_operator::storage::preflight::RegistryPods;
use image_registry_operator::storage::preflight::record::Clearing;
use image_registry_operator::storage::{self, Cluster, Creation, Outcome, StorageClients};
use jiff::Timestamp;
use json_patch::merge;
use serde_json::{Value, json};
use tokio::sync::watch;

#[path = "logs.rs"]
pub mod logs;

/// Storage under test: all backends of the program, or one fake.
#[allow(async_fn_in_trait)] // One thread runs all of it.
pub trait StorageUnderTest {
    async fn ensure(
        &self,
        config: &Config,
        snapshot: &Snapshot,
        cluster: &TestCluster,
        pods: &RegistryPods<'_>,
    ) -> Outcome;
    async fn remove(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster, deleting: bool) -> Outcome;
    async fn clear_probes(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster) -> Clearing;
    fn config_written(&self, before: Option<i64>, after: Option<i64>);
}

impl StorageUnderTest for StorageClients {
    async fn ensure(
        &self,
        config: &Config,
        snapshot: &Snapshot,
        cluster: &TestCluster,
        pods: &RegistryPods<'_>,
    ) -> Outcome {
        storage::ensure(config, snapshot, cluster, self, pods).await
    }

    async fn remove(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster, deleting: bool) -> Outcome {
        storage::remove(config, snapshot, cluster, self, deleting).await
    }

    async fn clear_probes(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster) -> Clearing {
        storage::clear_probes(config, snapshot, cluster, self).await
    }

    fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        Self::config_written(self, before, after);
    }
}

/// The clients of one process of the operator. No step shows a secret, in whatever people or logs may see.
pub struct CheckedClients {
    pub clients: StorageClients,
    pub secrets: Vec<String>,
    /// Texts that only secrets contain, such as the beginning of each token.
    marks: &'static [&'static str],
    /// What else must hold of a text that is shown.
    more: Box<dyn Fn(&str)>,
    /// Time of the first pass.
    began: Cell<Option<Timestamp>>,
    passed: Passed,
}

/// Time in milliseconds that went by from the first pass to the present one, for the clock of a process.
pub type Passed = Arc<AtomicU64>;

impl CheckedClients {
    pub fn new(clients: StorageClients, secrets: Vec<String>, marks: &'static [&'static str]) -> Self {
        logs::collect();
        Self {
            clients,
            secrets,
            marks,
            more: Box::new(|_| {}),
            began: Cell::default(),
            passed: Passed::default(),
        }
    }

    /// With what the clock of the clients reads.
    pub fn passing(self, passed: Passed) -> Self {
        Self { passed, ..self }
    }

    /// Sets the time of the pass, or of a call, that follows.
    pub fn pass_time(&self, snapshot: &Snapshot) {
        let began = self.began.get().unwrap_or(snapshot.now);
        self.began.set(Some(began));
        let passed = snapshot.now.duration_since(began).as_millis();
        self.passed
            .store(u64::try_from(passed).unwrap_or_default(), Ordering::SeqCst);
    }

    /// Another check of each text that is shown.
    pub fn and(mut self, more: impl Fn(&str) + 'static) -> Self {
        self.more = Box::new(more);
        self
    }

    pub fn assert_no_secret(&self, shown: &str) {
        for secret in &self.secrets {
            assert!(!shown.contains(secret), "a secret in {shown}");
        }
        for mark in self.marks {
            assert!(!shown.contains(mark), "{mark} in {shown}");
        }
        (self.more)(shown);
    }

    fn checked(&self, config: &Config, outcome: Outcome) -> Outcome {
        let config = serde_json::to_string(config).unwrap();
        self.assert_no_secret(&format!("{outcome:?} {config}"));
        self.assert_no_secret(&logs::take());
        outcome
    }
}

impl StorageUnderTest for CheckedClients {
    async fn ensure(
        &self,
        config: &Config,
        snapshot: &Snapshot,
        cluster: &TestCluster,
        pods: &RegistryPods<'_>,
    ) -> Outcome {
        self.pass_time(snapshot);
        let outcome = StorageUnderTest::ensure(&self.clients, config, snapshot, cluster, pods).await;
        self.checked(config, outcome)
    }

    async fn remove(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster, deleting: bool) -> Outcome {
        self.pass_time(snapshot);
        let outcome = StorageUnderTest::remove(&self.clients, config, snapshot, cluster, deleting).await;
        self.checked(config, outcome)
    }

    async fn clear_probes(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster) -> Clearing {
        let clearing = StorageUnderTest::clear_probes(&self.clients, config, snapshot, cluster).await;
        self.assert_no_secret(&format!("{clearing:?}"));
        self.assert_no_secret(&logs::take());
        clearing
    }

    fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        self.clients.config_written(before, after);
    }
}

/// How the API server answers a create.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ApiServer {
    #[default]
    Works,
    OverQuota,
    Broken,
    LosesAnswer,
}

/// What a step may do in the cluster.
#[derive(Default)]
pub struct TestCluster {
    /// Somebody changed the Config meanwhile.
    pub stale: Cell<bool>,
    /// How often leadership was confirmed.
    pub confirmed: Cell<u32>,
    /// Audiences of the tokens that were requested.
    pub tokens: RefCell<Vec<String>>,
    /// The token of the registry's ServiceAccount.
    pub token: RefCell<String>,
    pub server: Cell<ApiServer>,
    /// Claims that were created or deleted, in order.
    pub claim_calls: RefCell<Vec<String>>,
    /// Claims that exist.
    claims: RefCell<Vec<String>>,
    /// Claims that were created and are not in the snapshot yet.
    appeared: RefCell<Vec<Value>>,
}

impl Cluster for TestCluster {
    async fn confirm(&self) -> Result<(), StorageError> {
        self.confirmed.set(self.confirmed.get() + 1);
        if self.stale.get() {
            return Err(StorageError::transient("the Config was changed at the same time"));
        }
        Ok(())
    }

    async fn registry_token(&self, audience: &str) -> Result<Sensitive, StorageError> {
        self.tokens.borrow_mut().push(audience.to_owned());
        Ok(Sensitive::new(self.token.borrow().as_str()))
    }

    fn is_stale(&self) -> bool {
        self.stale.get()
    }

    async fn create_claim(&self, claim: &Value) -> Result<Creation, StorageError> {
        let name = claim["metadata"]["name"].as_str().unwrap();
        self.claim_calls.borrow_mut().push(format!("create {name}"));
        match self.server.get() {
            ApiServer::OverQuota => {
                return Err(StorageError::action_required("exceeded quota: claims-kept-small"));
            }
            ApiServer::Broken => return Err(StorageError::transient("500 Internal Server Error")),
            ApiServer::Works | ApiServer::LosesAnswer => {}
        }
        if self.claims.borrow().iter().any(|claim| claim == name) {
            return Ok(Creation::AlreadyExists);
        }
        let mut made = claim.clone();
        made["metadata"]["uid"] = json!("made-by-operator");
        made["metadata"]["resourceVersion"] = json!("1");
        self.appeared.borrow_mut().push(made);
        if self.server.get() == ApiServer::LosesAnswer {
            Err(StorageError::transient("connection reset"))
        } else {
            Ok(Creation::Created)
        }
    }

    async fn delete_claim(&self, name: &str, uid: &str, version: &str) -> Result<(), StorageError> {
        self.claim_calls
            .borrow_mut()
            .push(format!("delete {name} {uid} {version}"));
        Ok(())
    }
}

/// The death of a process.
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

/// The cluster of one test.
pub struct StorageHarness<S> {
    pub config: Value,
    pub snapshot: Snapshot,
    pub storage: S,
    pub cluster: TestCluster,
    /// What the running registry was rendered with.
    pub running: Option<StorageFacts>,
    /// Events of all passes.
    pub events: Vec<EventRequest>,
    /// Pushes are refused.
    pub read_only: bool,
    /// Proxy of the pods.
    pub proxies: Proxies,
    pub program: Box<dyn RegistryProgram>,
    /// How much time goes by before each pass.
    pub tick: Duration,
    /// Every stored condition message is replaced, after each write of the status: no decision may depend on it.
    pub scramble_messages: bool,
    /// Steps that are stored in the running pass; a test that counts on single steps sets it.
    pub single_steps: bool,
}

/// One pass over the harness, as the engine sees it.
struct HarnessPass<'a, S> {
    harness: &'a mut StorageHarness<S>,
    config: Config,
}

impl<S: StorageUnderTest> storage::Pass for HarnessPass<'_, S> {
    type Interrupted = std::convert::Infallible;

    fn config(&self) -> &Config {
        &self.config
    }

    fn snapshot(&self) -> &Snapshot {
        &self.harness.snapshot
    }

    async fn persist(&mut self, patch: Value) -> Result<(), Self::Interrupted> {
        self.harness.store_record(&patch);
        self.config = self.harness.config();
        Ok(())
    }

    fn publish(&mut self, events: Vec<EventRequest>) {
        self.harness.events.extend(events);
    }
}

impl<S: StorageUnderTest> StorageHarness<S> {
    /// A cluster on this platform with these members in `spec`.
    pub fn new(storage: S, platform: &Value, spec: &Value) -> Self {
        let infrastructure = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"infrastructureName": "blue-x7k2p", "platformStatus": platform},
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
            objects: Objects::from_values([infrastructure, namespace, account]).unwrap(),
            environment: Environment::default(),
            security_api: true,
            service_ca_api: true,
            image_api: true,
            now: "2026-05-04T03:02:01Z".parse().unwrap(),
        };
        let mut config = json!({
            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
            "metadata": {"name": "cluster", "generation": 1},
            "spec": {"managementState": "Managed", "replicas": 1},
        });
        merge(&mut config["spec"], spec);
        Self {
            config,
            snapshot,
            storage,
            cluster: TestCluster::default(),
            running: None,
            events: Vec::new(),
            read_only: false,
            proxies: Proxies::default(),
            program: Box::new(Platform),
            tick: Duration::from_secs(1),
            scramble_messages: false,
            single_steps: false,
        }
    }

    pub fn config(&self) -> Config {
        serde_json::from_value(self.config.clone()).unwrap()
    }

    /// The cluster's name, as marks carry it.
    pub fn infrastructure(&self) -> &str {
        let object = self.snapshot.objects.cluster(Kind::Infrastructure, "cluster").unwrap();
        object["status"]["infrastructureName"].as_str().unwrap()
    }

    pub fn is_removed(&self) -> bool {
        self.config["spec"]["managementState"] == "Removed"
    }

    /// Adds or replaces an object of the cluster.
    pub fn add(&mut self, object: Value) {
        let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if kind == Kind::PersistentVolumeClaim {
            self.cluster.claims.borrow_mut().push(name.clone());
        }
        let reference = ObjectRef::new(kind, &namespace, &name);
        self.snapshot.objects.insert(reference, object);
    }

    /// Removes an object of the registry's namespace.
    pub fn remove_object(&mut self, kind: Kind, name: &str) {
        self.cluster.claims.borrow_mut().retain(|claim| claim != name);
        let reference = ObjectRef::new(kind, names::NAMESPACE, name);
        self.snapshot.objects.remove(&reference);
    }

    /// An edit of `spec` by the user.
    pub fn edit(&mut self, spec: Value) {
        merge(&mut self.config["spec"], &spec);
        self.bump_generation();
    }

    fn bump_generation(&mut self) {
        let generation = self.config["metadata"]["generation"].as_i64().unwrap();
        self.config["metadata"]["generation"] = json!(generation + 1);
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        self.config["metadata"]["annotations"][key] = json!(value);
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.config["metadata"]["annotations"][key].as_str()
    }

    /// Location that the intent names.
    pub fn intent(&self) -> Option<&str> {
        self.annotation(names::STORAGE_INTENT_ANNOTATION)
    }

    /// Location that the creation record names.
    pub fn created(&self) -> Option<&str> {
        self.annotation(names::STORAGE_CREATED_ANNOTATION)
            .or_else(|| self.annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION))
    }

    /// A patch of the Config by the operator. As at the API server, a change of the spec gives it another generation.
    pub fn store_record(&mut self, patch: &Value) {
        let before = self.config["metadata"]["generation"].as_i64();
        let spec = self.config["spec"].clone();
        merge(&mut self.config, patch);
        if self.config["spec"] != spec {
            self.bump_generation();
        }
        let after = self.config["metadata"]["generation"].as_i64();
        self.storage.config_written(before, after);
    }

    /// One step: nothing is stored.
    pub async fn step(&self) -> Outcome {
        self.step_of(&self.config()).await
    }

    /// One step for this version of the Config.
    pub async fn step_of(&self, config: &Config) -> Outcome {
        if self.is_removed() {
            return self.storage.remove(config, &self.snapshot, &self.cluster, false).await;
        }
        let pods = RegistryPods {
            program: &*self.program,
            differs: &|facts| self.running.as_ref() != Some(facts),
            other_credentials: &|facts| {
                let running = self.running.as_ref();
                running.is_some_and(|running| credentials(running) != credentials(facts))
            },
            proxies: self.proxies.clone(),
            read_only: self.read_only,
        };
        self.storage.ensure(config, &self.snapshot, &self.cluster, &pods).await
    }

    /// One step of a removal.
    pub async fn removal(&self, deleting: bool) -> Outcome {
        self.storage
            .remove(&self.config(), &self.snapshot, &self.cluster, deleting)
            .await
    }

    /// So many steps; what they record is stored, and nothing else.
    pub async fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let outcome = self.step().await;
            if let Some(record) = outcome.record {
                self.store_record(&record);
            }
        }
    }

    /// Deletes what an earlier process left of a preflight, as a pass does first.
    pub async fn clear_probes(&mut self) -> Clearing {
        let clearing = self
            .storage
            .clear_probes(&self.config(), &self.snapshot, &self.cluster)
            .await;
        self.events.extend(clearing.events.clone());
        if let Some(record) = &clearing.record {
            self.store_record(record);
        }
        clearing
    }

    /// One pass: steps until the storage rests, then the registry, then the status.
    pub async fn pass(&mut self) -> Outcome {
        self.later(self.tick);
        if !self.single_steps {
            self.clear_probes().await;
        }
        let outcome = if self.is_removed() || self.single_steps {
            let mut outcome = self.step().await;
            if let Some(record) = outcome.record.take() {
                self.store_record(&record);
                outcome.record = Some(record);
            }
            outcome
        } else {
            let config = self.config();
            let mut pass = HarnessPass { harness: self, config };
            let step = async |pass: &HarnessPass<'_, S>| Ok(pass.harness.step_of(&pass.config).await);
            match storage::reconcile(&mut pass, step).await {
                Ok(outcome) => outcome,
                Err(never) => match never {},
            }
        };
        for event in &outcome.events {
            assert!(!event.message.contains("  "), "blanks of the source: {}", event.message);
        }
        self.events.extend(outcome.events.clone());
        if let Some(facts) = &outcome.facts {
            self.running = Some(facts.clone());
            self.serve(1);
        }
        self.store_status(&outcome);
        let appeared: Vec<Value> = self.cluster.appeared.take();
        for claim in appeared {
            self.add(claim);
        }
        outcome
    }

    /// A pass that ends when `killed` says so, whatever it is doing; `None`: the process died.
    pub async fn pass_until(&mut self, killed: &Killed) -> Option<Outcome> {
        let mut signal = killed.0.subscribe();
        tokio::select! {
            biased;
            _ = signal.wait_for(|dead| *dead) => {}
            outcome = self.pass() => return Some(outcome),
        }
        killed.0.send_replace(false);
        None
    }

    /// The Deployment has so many available pods.
    pub fn serve(&mut self, available: u32) {
        self.add(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
            "status": {"availableReplicas": available},
        }));
    }

    pub fn store_status(&mut self, outcome: &Outcome) {
        let stored = self.config().status.unwrap_or_default();
        let mut kept = stored.conditions.clone().unwrap_or_default();
        kept.retain(|c| outcome.own_conditions.contains(&c.type_.as_str()));
        let mut merged = conditions::merge(&kept, &outcome.conditions, self.snapshot.now);
        if self.scramble_messages {
            for condition in &mut merged {
                condition.message = Some("another text, as if a later version had reworded it".to_owned());
            }
        }
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
            let wait = outcome.wait.as_ref().map(|wait| wait.after);
            if wait.is_none() && (self.config == before || outcome.error.is_some()) {
                return outcome;
            }
            let wait = wait.unwrap_or_default();
            tokio::time::sleep(wait.min(Duration::from_millis(50))).await;
            self.later(wait);
        }
        panic!("does not settle: {:#}", self.config);
    }

    /// Passes, with pauses of a resync, until one ends without an error and with nothing left to do.
    pub async fn converge(&mut self) -> Outcome {
        let mut last = Outcome::default();
        for _ in 0..40 {
            let outcome = self.settle().await;
            if outcome.error.is_none() && outcome.preflight.is_none() {
                return outcome;
            }
            self.later(Duration::from_mins(11));
            last = outcome;
        }
        let (error, preflight) = (last.error, last.preflight);
        panic!("does not converge: {error:?} {preflight:?}: {:#}", self.config);
    }

    /// Time goes by.
    pub fn later(&mut self, time: Duration) {
        self.snapshot.now += jiff::SignedDuration::try_from(time).unwrap();
    }

    pub fn storage_spec(&self) -> &Value {
        &self.config["spec"]["storage"]
    }

    pub fn status(&self) -> &Value {
        &self.config["status"]["storage"]
    }

    pub fn state(&self) -> Option<&str> {
        self.storage_spec()["managementState"].as_str()
    }

    /// `status/reason` of a stored condition.
    pub fn condition(&self, type_: &str) -> String {
        let condition = self.stored_condition(type_);
        let text = |key: &str| condition[key].as_str().unwrap_or("-").to_owned();
        format!("{}/{}", text("status"), text("reason"))
    }

    /// Message of a stored condition.
    pub fn message(&self, type_: &str) -> String {
        self.stored_condition(type_)["message"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    }

    pub fn stored_condition(&self, type_: &str) -> Value {
        let conditions = self.config["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions.into_iter().find(|c| c["type"] == type_).unwrap_or_default()
    }
}

/// What facts hide in the private Secret, and what names the tenant.
fn credentials(facts: &StorageFacts) -> Vec<&str> {
    let shown = facts.env.iter().filter_map(|variable| match &variable.value {
        EnvValue::Secret(value) => Some(value.expose()),
        EnvValue::Text(value) if facts.tenant.contains(&variable.name) => Some(value),
        _ => None,
    });
    shown.chain(facts.files.values().map(Sensitive::expose)).collect()
}

/// Messages of the warnings among these events.
pub fn warnings(events: &[EventRequest]) -> Vec<&str> {
    let warnings = events.iter().filter(|event| event.warning);
    warnings.map(|event| event.message.as_str()).collect()
}
