//! One cluster that keeps its images in Azure: the shared harness, credentials, and a gate between the operator and the cloud.
//! Every host of Azure's is the gate.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::stores::{Asked, Azure, EntraApplication, Fault, Gate, Reply};
use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::StorageClients;
use image_registry_operator::storage::backend::azure::environment::Environment;
use image_registry_operator::storage::backend::azure::generated;
use image_registry_operator::storage::net::clock::Clock;
use image_registry_operator::storage::net::network::Settings;
use serde_json::{Map, Value, json};

use super::harness::{CheckedClients, StorageHarness};
use super::stores::{Cloud, REGION, cloud, own_cloud, role};

/// What tokens and assertions contain.
const TOKENS: [&str; 3] = ["eyJ", "PRIVATE KEY", "SharedKey "];
/// Key of the user's Secret.
pub const USER_KEY: &str = "REGISTRY_STORAGE_AZURE_ACCOUNTKEY";
/// Where the pods find their token.
pub const TOKEN_FILE: &str = "/var/run/secrets/openshift/serviceaccount/token";

/// How a process of the operator is started.
#[derive(Clone)]
pub struct Process {
    /// Where paths of token files begin.
    pub root: PathBuf,
    address: std::net::SocketAddr,
    /// Pauses are this much shorter than asked for.
    haste: u32,
    /// Longest time of a request, if it is not the usual one.
    timeout: Option<Duration>,
    pub environment: Environment,
    /// Seconds by which the clock is ahead.
    ahead: Arc<AtomicU64>,
    /// Lookups of keys: hits and misses.
    pub lookups: [Arc<AtomicU64>; 2],
    /// Seconds that were slept.
    pub slept: Arc<AtomicU64>,
    /// Whether the process leads.
    pub leads: Arc<AtomicBool>,
}

impl Process {
    /// A process: nothing is remembered from the one before.
    fn start(&self) -> StorageClients {
        let leads = self.leads.clone();
        let clients = StorageClients::new(Settings {
            version: "4.99.0-test".to_owned(),
            proxies: Arc::new(Proxies::default),
            leading: Arc::new(move || leads.load(Ordering::Relaxed)),
            fips: false,
            root: self.root.clone(),
        });
        let address = self.address;
        let hosts = Azure::names();
        let names = move |name: &str| {
            let fits = |host: &String| match host.strip_prefix('*') {
                Some(suffix) => name.ends_with(suffix),
                None => name == host,
            };
            hosts.iter().any(fits).then_some(address)
        };
        let timeout = self.timeout;
        let (haste, slept, ahead) = (self.haste, self.slept.clone(), self.ahead.clone());
        let [hits, misses] = self.lookups.clone();
        clients
            .with_http(|http| {
                let http = http.with_names(Arc::new(names));
                match timeout {
                    Some(timeout) => http.with_timeout(timeout),
                    None => http,
                }
            })
            .with_azure_environment(self.environment.clone())
            .with_azure_key_counter(Arc::new(move |hit| {
                if hit { &hits } else { &misses }.fetch_add(1, Ordering::Relaxed);
            }))
            .with_clock(Clock {
                now: Arc::new(move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed))),
                sleep: Arc::new(move |time| {
                    slept.fetch_add(time.as_secs(), Ordering::Relaxed);
                    Box::pin(tokio::time::sleep(time / haste))
                }),
            })
    }
}

/// A cluster.
pub struct AzureCluster {
    harness: StorageHarness<CheckedClients>,
    pub gate: Gate,
    pub process: Process,
    pub cloud: &'static Cloud,
    /// The operator's application.
    pub operator: EntraApplication,
    /// ID of the resource group.
    pub group: String,
}

impl Deref for AzureCluster {
    type Target = StorageHarness<CheckedClients>;

    fn deref(&self) -> &Self::Target {
        &self.harness
    }
}

impl DerefMut for AzureCluster {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.harness
    }
}

/// A cluster of this name on Azure, with `spec.storage` as given. The credentials are a client secret, and have the rights
/// that the operator asks for in the resource group of the cluster.
pub async fn cluster(infrastructure: &str, storage: Value) -> AzureCluster {
    let mut cluster = AzureCluster::bare(cloud().await, infrastructure, &format!("rg-{infrastructure}"), storage);
    cluster.with_secret();
    cluster
}

/// The same in a cloud of its own, for tests that change how the cloud behaves.
pub async fn alone(infrastructure: &str, storage: Value) -> AzureCluster {
    alone_in(infrastructure, &format!("rg-{infrastructure}"), storage).await
}

/// The same in a resource group of this name.
pub async fn alone_in(infrastructure: &str, group: &str, storage: Value) -> AzureCluster {
    let mut cluster = AzureCluster::bare(own_cloud().await, infrastructure, group, storage);
    cluster.with_secret();
    cluster
}

/// The same in a cloud of its own, with a workload identity.
pub async fn keyless_alone(infrastructure: &str, storage: Value) -> AzureCluster {
    let mut cluster = AzureCluster::bare(
        own_cloud().await,
        infrastructure,
        &format!("rg-{infrastructure}"),
        storage,
    );
    cluster.with_workload_identity();
    cluster
}

/// The same with a workload identity.
pub async fn keyless_cluster(infrastructure: &str, storage: Value) -> AzureCluster {
    let mut cluster = AzureCluster::bare(cloud().await, infrastructure, &format!("rg-{infrastructure}"), storage);
    cluster.with_workload_identity();
    cluster
}

impl AzureCluster {
    /// A cluster without credentials.
    pub fn bare(cloud: &'static Cloud, infrastructure: &str, group: &str, storage: Value) -> Self {
        let azure = &cloud.azure;
        let operator = azure.application(&cloud.tenant);
        let id = azure.resource_group(&cloud.subscription, group, REGION);
        azure.allow(&operator, &id, role());
        let gate = azure.gate().unwrap();
        let process = Process {
            root: PathBuf::new(),
            address: gate.target().address,
            haste: 200,
            timeout: None,
            environment: Environment::default(),
            ahead: Arc::default(),
            lookups: [Arc::default(), Arc::default()],
            slept: Arc::default(),
            leads: Arc::new(AtomicBool::new(true)),
        };
        let clients = CheckedClients::new(process.start(), Vec::new(), &TOKENS).and(|shown| {
            let azure = &cloud.azure;
            let keys = azure
                .accounts()
                .into_iter()
                .filter_map(|name| azure.account_keys(&name).ok());
            for key in keys.flatten() {
                assert!(!shown.contains(&key), "a secret in {shown}");
            }
        });
        let platform = json!({"type": "Azure", "azure": {"resourceGroupName": group}});
        let mut cluster = Self {
            harness: StorageHarness::new(clients, &platform, &json!({"replicas": 2, "storage": storage})),
            gate,
            process,
            cloud,
            operator,
            group: id,
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
                "data": {names::CA_BUNDLE_KEY: azure.authority().pem()},
            }));
        }
        cluster
    }

    pub fn azure(&self) -> &'static Azure {
        &self.cloud.azure
    }

    pub fn edit_infrastructure(&mut self, edit: impl FnOnce(&mut Value)) {
        let objects = &self.snapshot.objects;
        let mut object = objects.cluster(Kind::Infrastructure, "cluster").unwrap().clone();
        edit(&mut object["status"]);
        self.add(object);
    }

    /// Edits the platform's part of the Infrastructure.
    pub fn edit_platform(&mut self, edit: impl FnOnce(&mut Value)) {
        self.edit_infrastructure(|status| edit(&mut status["platformStatus"]["azure"]));
    }

    pub fn set_secret(&mut self, name: &str, members: &[(&str, &str)]) {
        let data: Map<_, _> = members
            .iter()
            .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
            .collect();
        self.add(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data,
        }));
    }

    /// The minted Secret: what every login needs, and these members.
    pub fn mint(&mut self, more: &[(&str, &str)]) {
        let (tenant, client) = (self.operator.tenant.clone(), self.operator.client_id.clone());
        let subscription = self.cloud.subscription.clone();
        let group = self.group.rsplit('/').next().unwrap().to_owned();
        let mut members = vec![
            ("azure_subscription_id", subscription.as_str()),
            ("azure_tenant_id", &tenant),
            ("azure_client_id", &client),
            ("azure_resourcegroup", &group),
            ("azure_region", REGION),
        ];
        members.retain(|(key, _)| !more.iter().any(|(other, _)| other == key));
        members.extend(more);
        self.set_secret(names::MINTED_SECRET, &members);
    }

    /// The credentials are a client secret.
    pub fn with_secret(&mut self) {
        let secret = self.azure().add_secret(&self.operator).unwrap();
        self.storage.secrets.push(secret.clone());
        self.mint(&[("azure_client_secret", &secret)]);
    }

    /// The credentials are the tokens of the operator's and the registry's ServiceAccounts.
    pub fn with_workload_identity(&mut self) {
        let issuer = devcluster::stores::TokenIssuer::new().unwrap();
        let subject = |account: &str| format!("system:serviceaccount:openshift-image-registry:{account}");
        let accounts = ["cluster-image-registry-operator", "registry"];
        for account in accounts {
            let key = issuer.key().unwrap();
            self.azure()
                .federate(&self.operator, key, &subject(account), "openshift")
                .unwrap();
        }
        let [operator, registry] = accounts.map(|account| issuer.token(&subject(account), "openshift", 3600).unwrap());
        let root = tempfile::tempdir().unwrap().keep();
        let file = root.join(TOKEN_FILE.trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, &operator).unwrap();
        self.set_root(&root);
        self.storage.secrets.extend([operator, registry.clone()]);
        *self.cluster.token.borrow_mut() = registry;
        self.mint(&[("azure_federated_token_file", TOKEN_FILE)]);
    }

    /// The operator finds token files below this directory.
    pub fn set_root(&mut self, root: &Path) {
        root.clone_into(&mut self.process.root);
        self.restart();
    }

    /// The administrator's Secret holds this account key.
    pub fn set_user_key(&mut self, key: &str) {
        self.set_secret(names::USER_SECRET, &[(USER_KEY, key)]);
    }

    /// The operator's process ends, and another begins.
    pub fn restart(&mut self) {
        self.storage.clients = self.process.start();
    }

    /// Requests and pauses end early.
    pub fn hurry(&mut self) {
        self.process.timeout = Some(Duration::from_millis(500));
        self.process.haste = 20_000;
        self.restart();
    }

    /// The operator's pauses take as long as it asks for.
    pub fn unscaled(&mut self) {
        self.process.haste = 1;
        self.restart();
    }

    /// Seconds that the operator slept so far.
    pub fn slept(&self) -> u64 {
        self.process.slept.load(Ordering::Relaxed)
    }

    /// ID of an account in the resource group of the cluster.
    pub fn id_of(&self, account: &str) -> String {
        format!("{}/providers/Microsoft.Storage/storageAccounts/{account}", self.group)
    }

    /// Time goes by for clocks too.
    pub fn clock_forward(&mut self, time: Duration) {
        self.process.ahead.fetch_add(time.as_secs(), Ordering::Relaxed);
        self.later(time);
    }

    /// The account that the operator chooses.
    pub fn account(&self) -> String {
        generated::account(&self.snapshot).unwrap()
    }

    /// The container that the operator chooses.
    pub fn container(&self) -> String {
        generated::container(&self.snapshot).unwrap()
    }

    /// Makes a user's account in the resource group of the cluster.
    pub fn users_account(&self, name: &str) {
        self.azure().make_account(&self.group, name, &Value::Null).unwrap();
    }

    /// Accounts of this resource group.
    pub fn accounts(&self) -> Vec<String> {
        let all = self.azure().resources("Microsoft.Storage/storageAccounts");
        let own = all.iter().filter_map(|id| {
            let rest = id.to_lowercase();
            rest.starts_with(&format!("{}/", self.group.to_lowercase()))
                .then(|| id.rsplit('/').next().unwrap().to_owned())
        });
        own.collect()
    }

    /// Value of a variable that the registry would get: its kind and text.
    pub fn variable(&self, name: &str) -> Option<String> {
        let facts = self.running.as_ref()?;
        let found = facts.env.iter().find(|variable| variable.name == name)?;
        Some(match &found.value {
            EnvValue::Text(text) | EnvValue::Raw(text) => text.clone(),
            EnvValue::Secret(secret) => secret.expose().to_owned(),
            other => format!("{other:?}"),
        })
    }

    /// Operations since the gate forgot, without those for tokens.
    pub fn calls(&self) -> Vec<String> {
        let asked = self.gate.asked();
        asked.iter().map(call).filter(|call| !is_token(call)).collect()
    }

    /// How often an operation was asked for.
    pub fn count(&self, operation: &str) -> usize {
        self.calls().iter().filter(|call| *call == operation).count()
    }

    /// Operations that change something, without those of a preflight.
    pub fn changed(&self) -> Vec<String> {
        let asked = self.gate.asked();
        let changes = asked.iter().filter(|asked| !is_read(asked) && !is_of_probe(asked));
        changes.map(call).collect()
    }

    /// Bodies of the calls of this name, as JSON.
    pub fn bodies(&self, name: &str) -> Vec<Value> {
        let asked = self.gate.asked();
        let of_name = asked.iter().filter(|asked| call(asked) == name);
        of_name
            .map(|asked| serde_json::from_slice(&asked.body).unwrap_or_default())
            .collect()
    }

    /// How often the loss of storage in use was told.
    pub fn count_lost(&self) -> usize {
        self.events.iter().filter(|event| event.reason == "StorageLost").count()
    }

    /// Requests of this name get this answer from now on.
    pub fn answer(&self, name: &'static str, reply: Reply) {
        self.gate.rule(move |asked| {
            if call(asked) == name {
                Fault::Answer(reply.clone())
            } else {
                Fault::Pass
            }
        });
    }

    /// The operator is asked to remove the registry.
    pub fn request_removal(&mut self) {
        self.gate.forget();
        self.edit(json!({"managementState": "Removed"}));
    }
}

/// Name of a call: operation of Microsoft's specifications.
pub fn call(asked: &Asked) -> String {
    asked.operation()
}

/// Whether the call is for a token.
pub fn is_token(call: &str) -> bool {
    call == "Entra_Token"
}

/// Whether the call changes nothing.
pub fn is_read(asked: &Asked) -> bool {
    let posts = [
        "StorageAccounts_ListKeys",
        "StorageAccounts_CheckNameAvailability",
        "Service_GetUserDelegationKey",
    ];
    let name = call(asked);
    matches!(asked.method, Method::GET | Method::HEAD) || is_token(&name) || posts.contains(&name.as_str())
}

/// Whether the request is about probe objects only.
pub fn is_of_probe(asked: &Asked) -> bool {
    let prefix = asked.parameter("prefix").unwrap_or_default();
    let path = asked.path.replace("%2F", "/");
    path.contains("/_preflight/") || prefix.contains("/_preflight/")
}

/// An error of the blob service.
pub fn blob_error(status: u16, code: &str) -> Reply {
    Reply::blob_error(status, code, "refused by the test")
}

/// An error of Resource Manager.
pub fn arm_error(status: u16, code: &str) -> Reply {
    Reply::resource_manager_error(status, code, "refused by the test")
}
