//! One cluster on OpenStack: the shared harness, credentials, and a gate between the operator and the real servers.

use std::marker::PhantomData;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Authority, Fault, Gate, GateOptions, Reply};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::Http;
use image_registry_operator::storage::net::network::Settings;
use serde_json::{Value, json};

use super::cloud::{self, Cloud};
use super::harness::{CheckedClients, Passed, StorageHarness};

/// Objects that one request may delete, as the gate lets Swift tell.
pub const PAGE: usize = 5;
/// Bytes of the longest name of a container.
pub const LONGEST_NAME: usize = 256;
/// Hosts of the gate.
const KEYSTONE: &str = "keystone.test.example";
const SWIFT: &str = "swift.test.example";

/// A process of the operator: nothing is remembered from the one before. Its clock shows the time that went by between passes.
fn process(passed: &Passed, timeout: Option<Duration>) -> StorageClients {
    let clients = StorageClients::new(Settings {
        version: "4.99.0-test".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| true),
        fips: false,
        root: std::path::PathBuf::new(),
    });
    let names = |name: &str| {
        name.ends_with(".test.example")
            .then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    };
    let http = |http: Http| {
        let http = http.with_names(Arc::new(names));
        match timeout {
            Some(timeout) => http.with_timeout(timeout),
            None => http,
        }
    };
    let passed = passed.clone();
    clients.with_http(http).with_clock(Clock {
        sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 50))),
        now: Arc::new(move || SystemTime::now() + Duration::from_millis(passed.load(Ordering::SeqCst))),
    })
}

/// The object store of a test.
#[allow(async_fn_in_trait)] // One thread runs all of it.
pub trait Server: 'static {
    async fn cloud() -> &'static Cloud;
}

/// Swift of OpenStack.
pub struct OpenStackSwift;

impl Server for OpenStackSwift {
    async fn cloud() -> &'static Cloud {
        cloud::cloud().await
    }
}

/// A cluster before a server.
pub struct Site<S> {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
    pub cloud: &'static Cloud,
    scheme: &'static str,
    passed: Passed,
    server: PhantomData<S>,
}

/// A cluster on OpenStack.
pub type SwiftCluster = Site<OpenStackSwift>;

impl<S> Deref for Site<S> {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl<S> DerefMut for Site<S> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

/// The answer to `/info`, changed.
pub fn changed_info(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::change(move |_, answer| {
        let mut info: Value = serde_json::from_slice(answer.body()).unwrap();
        change(&mut info);
        *answer.body_mut() = info.to_string().into_bytes().into();
    })
}

/// Whether the request is about Keystone.
pub fn is_of_keystone(asked: &Asked) -> bool {
    asked.host.starts_with(KEYSTONE)
}

/// Whether the request asks what the store can do.
pub fn is_info(asked: &Asked) -> bool {
    matches!(asked.path.as_str(), "/info" | "/swift/info")
}

/// Whether the request changes nothing. A login changes nothing.
pub fn is_read(asked: &Asked) -> bool {
    is_of_keystone(asked) || matches!(asked.method.as_str(), "GET" | "HEAD")
}

impl<S: Server> Site<S> {
    /// A cluster of this name before the servers, with `spec.storage` as given; the platform's Secret holds the rest.
    pub async fn new(infrastructure: &str, storage: Value) -> Self {
        Self::behind(infrastructure, storage, None).await
    }

    /// The same over TLS, with certificates of this authority.
    pub async fn over_tls(infrastructure: &str, storage: Value, authority: &Authority) -> Self {
        Self::behind(infrastructure, storage, Some(authority)).await
    }

    async fn behind(infrastructure: &str, storage: Value, authority: Option<&Authority>) -> Self {
        let cloud = S::cloud().await;
        let gate = Gate::with(GateOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            routes: vec![
                (KEYSTONE.to_owned(), cloud.stack.keystone.target().clone()),
                (SWIFT.to_owned(), cloud.store.clone()),
            ],
            authority: authority.cloned(),
            names: vec![KEYSTONE.to_owned(), SWIFT.to_owned()],
        })
        .unwrap();
        // storage-swift 51, storage-core 48: tokens of Keystone begin so
        let passed = Passed::default();
        let secrets = vec![cloud.project.password.clone()];
        let clients = CheckedClients::new(process(&passed, None), secrets, &["gAAAA"]).passing(passed.clone());
        let spec = json!({"replicas": 2, "storage": storage});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &json!({"type": "OpenStack"}), &spec),
            gate,
            cloud,
            scheme: if authority.is_some() { "https" } else { "http" },
            passed,
            server: PhantomData,
        };
        let objects = &cluster.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        object["status"]["infrastructureName"] = json!(infrastructure);
        cluster.add(object);
        cluster.set_cloud(cloud.password(), json!({"region_name": cloud.region}));
        cluster.pass_all();
        cluster
    }

    fn port(&self) -> u16 {
        self.gate.target().address.port()
    }

    /// Keystone's URL without its version.
    pub fn keystone(&self) -> String {
        format!("{}://{KEYSTONE}:{}", self.scheme, self.port())
    }

    /// URL of Swift at the gate.
    pub fn gated(&self) -> String {
        format!("{}://{SWIFT}:{}", self.scheme, self.port())
    }

    /// What the gate does with a request that no test disturbs: the catalogue names the gate, and Swift tells how much it deletes at once.
    pub fn undisturbed(&self) -> impl Fn(&Asked) -> Fault + Send + Clone + use<S> {
        let real = self.cloud.url.clone();
        let gated = self.gated();
        move |asked: &Asked| {
            let (real, gated) = (real.clone(), gated.clone());
            if asked.path.ends_with("/auth/tokens") {
                Fault::change(move |_, answer| {
                    let text = String::from_utf8_lossy(answer.body()).replace(&real, &gated);
                    *answer.body_mut() = text.into_bytes().into();
                })
            } else if is_info(asked) {
                changed_info(|info| info["bulk_delete"]["max_deletes_per_request"] = json!(PAGE))
            } else {
                Fault::Pass
            }
        }
    }

    /// Faults for the requests for which `fault` has one; all others pass.
    pub fn disturb(&self, mut fault: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        let undisturbed = self.undisturbed();
        self.gate
            .rule(move |asked| fault(asked).unwrap_or_else(|| undisturbed(asked)));
    }

    /// Every request of this operation is answered with this status.
    pub fn refuse(&self, operation: &'static str, status: u16) {
        self.disturb(move |asked| (asked.operation() == operation).then(|| Fault::Answer(Reply::new(status, ""))));
    }

    /// The same, by Swift itself.
    pub fn refuse_as_swift(&self, operation: &'static str, status: u16) {
        let reply = move || Fault::Answer(Reply::new(status, "").header("x-trans-id", "tx1"));
        self.disturb(move |asked| (asked.operation() == operation).then(reply));
    }

    /// What `/info` says, changed.
    pub fn change_info(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        let change = Arc::new(change);
        self.disturb(move |asked| {
            let change = change.clone();
            is_info(asked).then(|| changed_info(move |info| change(info)))
        });
    }

    /// Ends all faults.
    pub fn pass_all(&self) {
        self.gate.pass();
        self.gate.rule(self.undisturbed());
    }

    pub fn set_secret(&mut self, name: &str, data: &[(&str, &str)]) {
        let data: serde_json::Map<String, Value> = data
            .iter()
            .map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value).into()))
            .collect();
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data,
        }));
    }

    /// `clouds.yaml`: this `auth`, with Keystone's URL unless it has one, and these members beside it.
    pub fn clouds(&self, mut auth: Value, beside: Value) -> String {
        if auth.get("auth_url").is_none() {
            auth["auth_url"] = json!(format!("{}/v3", self.keystone()));
        }
        let mut cloud = beside;
        cloud["auth"] = auth;
        json!({"clouds": {"openstack": cloud}}).to_string()
    }

    /// The platform's Secret holds this cloud.
    pub fn set_cloud(&mut self, auth: Value, beside: Value) {
        let clouds = self.clouds(auth, beside);
        self.set_secret(names::MINTED_SECRET, &[("clouds.yaml", &clouds)]);
    }

    /// This text must never be shown.
    pub fn never_show(&mut self, secret: &str) {
        self.harness.storage.secrets.push(secret.to_owned());
    }

    /// The name that the operator gives.
    pub fn generated(&self) -> String {
        format!("{}-image-registry", self.infrastructure())
    }

    /// Location ID of a container of the platform's cloud.
    pub fn place(container: &str) -> String {
        format!("openstack/-/-/{container}")
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.harness.storage.clients = process(&self.passed, None);
    }

    /// Another process, with less patience for answers.
    pub fn give_up_after(&mut self, timeout: Duration) {
        self.harness.storage.clients = process(&self.passed, Some(timeout));
    }

    /// Operations of Swift since the gate forgot.
    pub fn operations(&self) -> Vec<String> {
        let asked = self.gate.asked();
        asked
            .iter()
            .filter(|asked| !is_of_keystone(asked))
            .map(Asked::operation)
            .collect()
    }

    /// Logins, and questions to Keystone.
    pub fn logins(&self) -> Vec<String> {
        let asked = self.gate.asked();
        asked
            .iter()
            .filter(|asked| is_of_keystone(asked))
            .map(Asked::operation)
            .collect()
    }

    pub fn count(&self, operation: &str) -> usize {
        let operations = self.operations();
        operations.iter().filter(|other| *other == operation).count()
    }

    /// Events of all passes, `reason: message`.
    pub fn told(&self) -> Vec<String> {
        let events = self.events.iter();
        events
            .map(|event| format!("{}: {}", event.reason, event.message))
            .collect()
    }

    /// Value of a variable that the registry would get, in Debug form.
    pub fn variable(&self, name: &str) -> Option<String> {
        let facts = self.running.as_ref()?;
        let found = facts
            .env
            .iter()
            .find(|variable| variable.name == format!("REGISTRY_STORAGE_SWIFT_{name}"))?;
        Some(format!("{:?}", found.value))
    }
}
