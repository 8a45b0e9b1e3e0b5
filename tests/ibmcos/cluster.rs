//! One cluster on IBM Cloud: the shared harness, an API key, and a gate between the operator and the stand-in.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Authority, Gate, Ibm, IbmOptions, Moto};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::http::Http;
use image_registry_operator::storage::net::network::Settings;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::harness::{CheckedClients, StorageHarness};

pub const ACCOUNT: &str = "account-of-blue";
pub const GROUP: &str = "blue-group";
/// Location of the cluster.
pub const LOCATION: &str = "us-east";

static IBM: OnceCell<Ibm> = OnceCell::const_new();

/// IBM Cloud before moto, started once for all tests of this program.
pub async fn ibm() -> &'static Ibm {
    let start = || async {
        let ibm = Ibm::start(IbmOptions::moto(Moto::shared().await.unwrap())).unwrap();
        ibm.group(ACCOUNT, GROUP);
        ibm
    };
    IBM.get_or_init(start).await
}

/// A process of the operator: nothing is remembered from the one before.
fn process(timeout: Option<Duration>, public: Option<SocketAddr>, leads: &Arc<AtomicBool>) -> StorageClients {
    let leads = leads.clone();
    let clients = StorageClients::new(Settings {
        version: "4.99.0-test".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(move || leads.load(Ordering::Relaxed)),
        fips: false,
        root: std::path::PathBuf::new(),
    });
    let names = move |name: &str| {
        let of_ibm = name.ends_with(".cloud.ibm.com") || name.ends_with(".appdomain.cloud");
        public.filter(|_| of_ibm)
    };
    let http = |http: Http| {
        let http = http.with_names(Arc::new(names));
        match timeout {
            Some(timeout) => http.with_timeout(timeout),
            None => http,
        }
    };
    clients.with_http(http).with_clock(Clock {
        sleep: Arc::new(|time| Box::pin(tokio::time::sleep(time / 100))),
        ..Clock::default()
    })
}

/// A cluster.
pub struct IbmCluster {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
    pub ibm: &'static Ibm,
    pub api_key: String,
    /// Where the public addresses of IBM Cloud are.
    public: Option<SocketAddr>,
    /// Whether the process leads.
    pub leads: Arc<AtomicBool>,
}

impl Deref for IbmCluster {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for IbmCluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

/// Whether the request is one to Cloud Object Storage.
pub fn is_of_cos(asked: &Asked) -> bool {
    !asked.path.starts_with("/v2/") && asked.operation() != "create_token"
}

/// Whether the request changes nothing. A token changes nothing.
pub fn is_read(asked: &Asked) -> bool {
    asked.operation() == "create_token" || matches!(asked.method.as_str(), "GET" | "HEAD")
}

impl IbmCluster {
    /// A cluster of this name on IBM Cloud, with `spec.storage` as given; the API key is minted.
    pub async fn new(infrastructure: &str, storage: Value) -> Self {
        Self::on(ibm().await, infrastructure, storage)
    }

    /// The same on this IBM Cloud.
    pub fn on(ibm: &'static Ibm, infrastructure: &str, storage: Value) -> Self {
        let gate = Gate::start(ibm.target(), None, &[]).unwrap();
        let url = gate.url();
        let mut cluster = Self::behind(gate, ibm, infrastructure, storage);
        cluster.set_endpoints(&[
            ("COS", &url),
            ("IAM", &url),
            ("ResourceController", &url),
            ("ResourceManager", &url),
        ]);
        cluster
    }

    /// A cluster that reaches IBM Cloud at its public addresses.
    pub async fn public(infrastructure: &str, storage: Value) -> Self {
        let ibm = ibm().await;
        let authority = Authority::new("ibm").unwrap();
        let hosts = ["*.cloud.ibm.com", "*.cloud-object-storage.appdomain.cloud"].map(str::to_owned);
        let hosts = [
            hosts.to_vec(),
            vec![format!("s3.{LOCATION}.cloud-object-storage.appdomain.cloud")],
        ]
        .concat();
        let gate = Gate::start(ibm.target(), Some(&authority), &hosts).unwrap();
        let address = gate.target().address;
        let mut cluster = Self::behind(gate, ibm, infrastructure, storage);
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
        cluster.public = Some(address);
        cluster.restart();
        cluster
    }

    fn behind(gate: Gate, ibm: &'static Ibm, infrastructure: &str, storage: Value) -> Self {
        let api_key = ibm.api_key(ACCOUNT);
        let leads = Arc::new(AtomicBool::new(true));
        // storage-ibmcos 39, storage-core 48
        let clients = CheckedClients::new(process(None, None, &leads), vec![api_key.clone()], &["Bearer "]);
        let cloud = json!({"location": LOCATION, "resourceGroupName": GROUP});
        let platform = json!({"type": "IBMCloud", "ibmcloud": cloud});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &platform, &json!({"replicas": 2, "storage": storage})),
            gate,
            ibm,
            api_key: api_key.clone(),
            public: None,
            leads,
        };
        cluster.edit_infrastructure(|status| status["infrastructureName"] = json!(infrastructure));
        cluster.set_secret(names::MINTED_SECRET, "ibmcloud_api_key", &api_key);
        cluster
    }

    /// The same with an instance and a resource key in the spec, as a user would name them.
    pub async fn with_instance(infrastructure: &str, storage: Value) -> Self {
        let mut cluster = Self::new(infrastructure, storage).await;
        let instance = cluster.make_instance();
        let key = cluster.ibm.make_key(&instance, "of-a-user", "Manager").await.unwrap();
        let spec = &mut cluster.config["spec"]["storage"]["ibmcos"];
        spec["location"] = json!(LOCATION);
        spec["resourceGroupName"] = json!(GROUP);
        spec["serviceInstanceCRN"] = json!(instance);
        spec["resourceKeyCRN"] = json!(key);
        cluster
    }

    pub fn edit_infrastructure(&mut self, edit: impl FnOnce(&mut Value)) {
        let objects = &self.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        edit(&mut object["status"]);
        self.add(object);
    }

    /// Addresses of services, as the platform has them.
    pub fn set_endpoints(&mut self, endpoints: &[(&str, &str)]) {
        let list: Vec<_> = endpoints
            .iter()
            .map(|(name, url)| json!({"name": name, "url": url}))
            .collect();
        self.edit_infrastructure(|status| {
            let platform = &mut status["platformStatus"];
            let member = if platform["type"] == "PowerVS" {
                "powervs"
            } else {
                "ibmcloud"
            };
            platform[member]["serviceEndpoints"] = json!(list);
        });
    }

    /// Another address of Cloud Object Storage.
    pub fn set_cos_endpoint(&mut self, url: &str) {
        let own = self.gate.url();
        self.set_endpoints(&[
            ("COS", url),
            ("IAM", &own),
            ("ResourceController", &own),
            ("ResourceManager", &own),
        ]);
    }

    pub fn set_secret(&mut self, name: &str, key: &str, value: &str) {
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE},
            "data": {key: STANDARD.encode(value)},
        }));
    }

    /// This text must never be shown.
    pub fn never_show(&mut self, secret: &str) {
        self.storage.secrets.push(secret.to_owned());
    }

    /// Name of service instance and resource key.
    pub fn resource_name(&self) -> String {
        format!("{}-image-registry", self.infrastructure())
    }

    /// Makes the instance that the operator would find by its name.
    pub fn make_instance(&self) -> String {
        let group = self.ibm.group(ACCOUNT, GROUP);
        self.ibm.make_instance(ACCOUNT, &self.resource_name(), &group)
    }

    /// CRN of the newest instance with the operator's name, or the one that it is going to have.
    pub fn instance(&self) -> String {
        self.ibm.crn_of(ACCOUNT, &self.resource_name())
    }

    /// The name that the operator gives.
    pub fn generated(&self) -> String {
        format!("{}-image-registry-{LOCATION}", self.infrastructure())
    }

    /// The creation record.
    pub fn created_record(&self) -> Option<String> {
        self.annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION)
            .map(str::to_owned)
    }

    /// The Secret of the registry's pods holds the file that they run with, as the controller writes it.
    pub fn publish_file(&mut self) {
        let file = self.file();
        self.set_secret(names::PRIVATE_SECRET, "credentials", &file);
    }

    /// The registry's Deployment has these values of variables.
    pub fn deploy(&mut self, variables: &[(&str, &str)]) {
        let env: Vec<_> = variables
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        self.add(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
            "spec": {"template": {"spec": {"containers": [{"name": "registry", "env": env}]}}},
            "status": {"availableReplicas": 1},
        }));
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.storage.clients = process(None, self.public, &self.leads);
    }

    /// Another process, with less patience for answers.
    pub fn give_up_after(&mut self, timeout: Duration) {
        self.storage.clients = process(Some(timeout), self.public, &self.leads);
    }

    /// Operations since the gate forgot.
    pub fn operations(&self) -> Vec<String> {
        self.gate.operations()
    }

    /// How often this operation was asked for.
    pub fn count_of(&self, operation: &str) -> usize {
        self.operations().iter().filter(|other| *other == operation).count()
    }

    /// Operations that changed something since the gate forgot, without the preflight's, and without creations of a bucket whose name
    /// was not given.
    pub fn created(&self) -> Vec<String> {
        let asked = self.gate.asked();
        let created = asked.iter().filter(|asked| asked.status != 409).map(Asked::operation);
        created
            .filter(|name| name.starts_with("create_resource") || name == "CreateBucket")
            .collect()
    }

    /// A field of the spec.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.storage_spec()["ibmcos"][name].as_str()
    }

    /// Value of a variable that the registry would get, in Debug form.
    pub fn variable(&self, name: &str) -> Option<String> {
        let facts = self.running.as_ref()?;
        let found = facts.env.iter().find(|variable| variable.name == name)?;
        Some(format!("{:?}", found.value))
    }

    /// The file with the registry's keys.
    pub fn file(&self) -> String {
        let facts = self.running.as_ref().unwrap();
        facts.files["credentials"].expose().to_owned()
    }
}
