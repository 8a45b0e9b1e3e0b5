//! One cluster that keeps its images in Google Cloud Storage: the shared harness, credentials, and a gate between the operator
//! and the cloud. Every host of Google's is the gate.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Fault, Gate, Reply, When, gcs_error};
use http::Method;
use image_registry_operator::api::{Kind, Sensitive};
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::backend::gcs::endpoint::Endpoints;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::Http;
use image_registry_operator::storage::net::network::Settings;
use serde_json::{Value, json};

use super::harness::{CheckedClients, Killed, StorageHarness};
use super::stores::{self, REGION, allow, permissions};

/// Universes whose hosts are the gate.
const UNIVERSES: [&str; 2] = ["googleapis.com", "example-universe.goog"];
/// What tokens and assertions contain.
const TOKENS: [&str; 3] = ["ya29.", "eyJhbGci", "PRIVATE KEY"];
/// Key of the user's Secret.
pub const USER_KEY: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
/// Key of the minted Secret.
pub const MINTED_KEY: &str = "service_account.json";

/// How a process of the operator is started.
#[derive(Clone)]
struct Process {
    /// Where paths of token files begin.
    root: PathBuf,
    timeout: Option<Duration>,
    address: std::net::SocketAddr,
    /// Pauses are this much shorter than asked for.
    haste: u32,
    /// The operator's own proxy.
    proxy: Option<String>,
    /// Address of an emulator.
    emulator: Option<String>,
    /// The clock goes as fast as pauses are shortened.
    fast_clock: bool,
    /// Pauses that were asked for.
    pauses: Arc<Mutex<Vec<Duration>>>,
    /// Whether the process leads.
    leads: Arc<AtomicBool>,
}

impl Process {
    /// A process: nothing is remembered from the one before.
    fn start(&self) -> StorageClients {
        let leads = self.leads.clone();
        let proxies = Proxies {
            https: self.proxy.as_ref().map(Sensitive::new),
            ..Proxies::default()
        };
        let clients = StorageClients::new(Settings {
            version: "4.99.0-test".to_owned(),
            proxies: Arc::new(move || proxies.clone()),
            leading: Arc::new(move || leads.load(Ordering::Relaxed)),
            fips: false,
            root: self.root.clone(),
        });
        let address = self.address;
        let names = move |name: &str| {
            let of_google = UNIVERSES.iter().any(|universe| name.ends_with(&format!(".{universe}")));
            of_google.then_some(address)
        };
        let (timeout, haste) = (self.timeout, self.haste);
        let http = |http: Http| {
            let http = http.with_names(Arc::new(names));
            match timeout {
                Some(timeout) => http.with_timeout(timeout),
                None => http,
            }
        };
        let endpoints = Endpoints::of_emulator(self.emulator.as_deref());
        let pauses = self.pauses.clone();
        let clock = Clock {
            sleep: Arc::new(move |time| {
                pauses.lock().unwrap().push(time);
                Box::pin(tokio::time::sleep(time / haste))
            }),
            ..Clock::default()
        };
        let began = SystemTime::now();
        let fast: Arc<dyn Fn() -> SystemTime + Send + Sync> =
            Arc::new(move || began + began.elapsed().unwrap_or_default() * haste);
        let now = if self.fast_clock { fast } else { clock.now.clone() };
        let clients = clients.with_gcs_endpoints(endpoints).with_http(http);
        clients.with_clock(Clock { now, ..clock })
    }
}

/// A cluster.
pub struct GcsCluster {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
    process: Process,
}

impl Deref for GcsCluster {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for GcsCluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

/// The project of a cluster.
pub fn project(infrastructure: &str) -> String {
    format!("p-{infrastructure}")
}

/// A cluster of this name on Google Cloud, with `spec.storage` as given. The credentials are minted and have the permissions
/// that the operator asks for.
pub async fn cluster(infrastructure: &str, storage: Value) -> GcsCluster {
    allow(&project(infrastructure), &permissions()).await;
    let mut cluster = GcsCluster::bare(infrastructure, storage).await;
    cluster.mint(&stores::key_file().await);
    cluster
}

impl GcsCluster {
    /// A cluster without credentials.
    pub async fn bare(infrastructure: &str, storage: Value) -> Self {
        let gcs = stores::store().await;
        let names: Vec<_> = UNIVERSES.iter().map(|universe| format!("*.{universe}")).collect();
        let gate = Gate::start(gcs.target(), Some(gcs.authority()), &names).unwrap();
        let process = Process {
            root: PathBuf::new(),
            timeout: None,
            address: gate.target().address,
            haste: 200,
            proxy: None,
            emulator: None,
            fast_clock: false,
            pauses: Arc::default(),
            leads: Arc::new(AtomicBool::new(true)),
        };
        let clients = CheckedClients::new(process.start(), Vec::new(), &TOKENS);
        let platform = json!({"type": "GCP", "gcp": {"region": REGION, "projectID": project(infrastructure)}});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &platform, &json!({"replicas": 2, "storage": storage})),
            gate,
            process,
        };
        cluster.edit_infrastructure(|status| status["infrastructureName"] = json!(infrastructure));
        cluster.add(json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
            "spec": {"trustedCA": {"name": "proxy-ca"}},
        }));
        cluster.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "proxy-ca", "namespace": names::CONFIG_NAMESPACE},
            "data": {names::CA_BUNDLE_KEY: gcs.authority().pem()},
        }));
        cluster.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": names::TRUSTED_CA_MAP, "namespace": names::NAMESPACE},
            "data": {names::CA_BUNDLE_KEY: gcs.authority().pem()},
        }));
        cluster
    }

    pub fn edit_infrastructure(&mut self, edit: impl FnOnce(&mut Value)) {
        let objects = &self.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        edit(&mut object["status"]);
        self.add(object);
    }

    /// Edits the platform's part of the Infrastructure.
    pub fn edit_platform(&mut self, edit: impl FnOnce(&mut Value)) {
        self.edit_infrastructure(|status| edit(&mut status["platformStatus"]["gcp"]));
    }

    fn set_secret(&mut self, name: &str, key: &str, text: &str) {
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE},
            "data": {key: STANDARD.encode(text)},
        }));
    }

    fn never_show(&mut self, file: &Value) {
        let key = file["private_key"].as_str().unwrap_or_default();
        // A line of the key: the PEM text is escaped in JSON.
        let secret = key.lines().nth(1).unwrap_or_default().to_owned();
        if !secret.is_empty() {
            self.storage.secrets.push(secret);
        }
    }

    /// The minted Secret holds these credentials.
    pub fn mint(&mut self, file: &Value) {
        self.never_show(file);
        self.set_secret(names::MINTED_SECRET, MINTED_KEY, &file.to_string());
    }

    /// The user's Secret holds this text.
    pub fn set_user_text(&mut self, text: &str) {
        if let Ok(file) = serde_json::from_str(text) {
            self.never_show(&file);
        }
        self.set_secret(names::USER_SECRET, USER_KEY, text);
    }

    /// The operator finds token files below this directory; the registry's ServiceAccount gets this token.
    pub fn set_tokens(&mut self, root: &Path, of_registry: &str) {
        root.clone_into(&mut self.process.root);
        self.storage.secrets.push(of_registry.to_owned());
        of_registry.clone_into(&mut self.cluster.token.borrow_mut());
        self.restart();
    }

    /// Tags that the platform wants on everything; they exist.
    pub async fn set_tags(&mut self, names: &[&str]) {
        let gcs = stores::store().await;
        let tags: Vec<_> = names
            .iter()
            .map(|name| {
                gcs.tag_value(name);
                let parts: Vec<&str> = name.split('/').collect();
                json!({"parentID": parts[0], "key": parts[1], "value": parts[2]})
            })
            .collect();
        self.edit_platform(|gcp| gcp["resourceTags"] = json!(tags));
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.storage.clients = self.process.start();
    }

    /// Another process, with less patience for answers.
    pub fn give_up_after(&mut self, timeout: Duration) {
        self.process.timeout = Some(timeout);
        self.restart();
    }

    /// Another process, whose clock goes as fast as its pauses are shortened: an answer for which it waits 400 ms takes 80
    /// seconds.
    pub fn hurry(&mut self) {
        self.process.fast_clock = true;
        self.restart();
    }

    /// Pauses that were asked for since the last call.
    pub fn pauses(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.process.pauses.lock().unwrap())
    }

    /// Another process, whose pauses are as long as asked for.
    pub fn sleep_truly(&mut self) {
        self.process.haste = 1;
        self.restart();
    }

    /// Another process, which reaches the cloud through this proxy.
    pub fn go_through(&mut self, proxy: &str) {
        self.process.proxy = Some(proxy.to_owned());
        self.restart();
    }

    /// Another process, for which the storage is an emulator at this address.
    pub fn emulate(&mut self, url: &str) {
        self.process.emulator = Some(url.to_owned());
        self.restart();
    }

    /// The name that the operator gives, as far as it is known: the beginning.
    pub fn prefix(&self) -> String {
        format!("{}-image-registry-{REGION}-", self.infrastructure())
    }

    /// The only bucket of this cluster.
    pub async fn bucket(&self) -> String {
        let names = self.buckets().await;
        assert_eq!(names.len(), 1, "{names:?}");
        names.into_iter().next().unwrap()
    }

    /// Buckets whose names contain the name of the cluster.
    pub async fn buckets(&self) -> Vec<String> {
        let mut names = stores::store().await.buckets();
        names.retain(|name| name.contains(self.infrastructure()));
        names
    }

    /// Messages of all events, `reason: message`.
    pub fn told(&self) -> Vec<String> {
        let events = self.events.iter();
        events
            .map(|event| format!("{}: {}", event.reason, event.message))
            .collect()
    }

    /// Value of a variable that the registry would get.
    pub fn variable(&self, name: &str) -> Option<String> {
        let facts = self.running.as_ref()?;
        let found = facts.env.iter().find(|variable| variable.name == name)?;
        Some(format!("{:?}", found.value))
    }

    /// Whether the process leads, for a test to change.
    pub fn leads(&self) -> Arc<AtomicBool> {
        self.process.leads.clone()
    }

    /// Calls since the gate forgot, without those for tokens.
    pub fn calls(&self) -> Vec<String> {
        let asked = self.gate.asked();
        asked.iter().map(call).filter(|call| !is_token(call)).collect()
    }

    /// Those of them that change something, without those of a preflight.
    pub fn changed(&self) -> Vec<String> {
        let asked = self.gate.asked();
        let changes = asked
            .iter()
            .filter(|asked| asked.method != Method::GET && !is_of_probe(asked));
        changes.map(call).filter(|call| !is_token(call)).collect()
    }

    /// Bodies of the calls of this name, as JSON.
    pub fn bodies(&self, name: &str) -> Vec<Value> {
        let asked = self.gate.asked();
        let of_name = asked.iter().filter(|asked| call(asked) == name);
        of_name
            .map(|asked| serde_json::from_slice(&asked.body).unwrap_or_default())
            .collect()
    }

    /// Requests of this name get this error from now on.
    pub fn refuse(&self, name: &'static str, status: u16, reason: &'static str) {
        self.gate.rule(move |asked| {
            if call(asked) == name {
                Fault::Answer(gcs_error(status, reason, "refused by the test"))
            } else {
                Fault::Pass
            }
        });
    }

    /// A process that dies right after the n-th request of this name.
    pub async fn die_after(&mut self, name: &'static str) {
        let killed = Killed::new();
        let kill = killed.clone();
        self.gate.rule(move |asked| {
            let kill = kill.clone();
            if call(asked) == name {
                Fault::after(move |_| kill.kill())
            } else {
                Fault::Pass
            }
        });
        let outcome = self.pass_until(&killed).await;
        assert!(outcome.is_none(), "{name} was to be asked for");
        self.restart();
        self.gate.pass();
    }
}

/// Name of a call: method of the discovery document.
pub fn call(asked: &Asked) -> String {
    let path = asked.path.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    let method = asked.method.as_str();
    let name = match (method, parts.as_slice()) {
        (_, ["token"]) => "token",
        (_, ["v1", "token"]) => "sts",
        (_, ["v1", "projects", ..]) => "impersonate",
        ("GET", ["v3", "effectiveTags"]) => "effectiveTags.list",
        ("POST", ["v3", "tagBindings"]) => "tagBindings.create",
        ("GET", ["v3", "operations", ..]) => "operations.get",
        ("POST", ["storage", "v1", "b"]) => "buckets.insert",
        ("GET", ["storage", "v1", "b"]) => "buckets.list",
        ("GET", ["storage", "v1", "b", _]) => "buckets.get",
        ("PATCH", ["storage", "v1", "b", _]) => "buckets.patch",
        ("DELETE", ["storage", "v1", "b", _]) => "buckets.delete",
        ("GET", ["storage", "v1", "b", _, "o"]) => "objects.list",
        ("DELETE", ["storage", "v1", "b", _, "o", _]) => "objects.delete",
        ("POST", ["storage", "v1", "b", _, "o", _, "rewriteTo", ..]) => "objects.rewrite",
        ("POST", ["upload", ..]) if asked.parameter("uploadType").as_deref() == Some("resumable") => "uploads.begin",
        ("POST", ["upload", ..]) => "objects.insert",
        ("PUT", ["upload", ..]) => "uploads.put",
        ("DELETE", ["upload", ..]) => "uploads.delete",
        ("GET", [_, _, ..]) => "download",
        _ => return format!("{method} /{path}"),
    };
    name.to_owned()
}

/// Whether the call is for a token.
pub fn is_token(call: &str) -> bool {
    matches!(call, "token" | "sts" | "impersonate")
}

/// Whether the request is about probe objects only.
pub fn is_of_probe(asked: &Asked) -> bool {
    let name = asked.parameter("name").unwrap_or_default();
    let path = asked.path.replace("%2F", "/");
    path.contains("/_preflight/") || name.contains("/_preflight/") || asked.parameter("upload_id").is_some()
}

/// An error of Cloud Storage.
pub fn error(status: u16, reason: &str) -> Fault {
    Fault::Answer(gcs_error(status, reason, "refused by the test"))
}

/// A response with this status and text.
pub fn answer(status: u16, body: &str) -> Fault {
    Fault::Answer(Reply::new(status, body))
}

/// The requests with this method and text in the path.
pub fn at(method: Method, path: &str) -> When {
    When::any().method(method).path(path)
}
