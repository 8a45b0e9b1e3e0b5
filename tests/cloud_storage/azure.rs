//! Azure from nothing, and a container full of images that is removed by processes that are killed. `AZURE_MANY_OBJECTS=20000` makes
//! them as many as a real registry has; the usual run takes fewer.

use devcluster::stores::{Authority, Azure, AzureOptions, EntraApplication, ForwardProxy, Gate, ProxyOptions, Role};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::many::{Killed, kill_at};
use crate::support::operator::Operator;
use crate::support::{TestCluster, cluster_operator, config_ref, is, shared_cluster, simulated};
use crate::{deployment, environment, eventually, is_settled};

pub const REGION: &str = "westeurope";
const USUAL: usize = 2_000;
/// Parts of the content that one process deletes before it dies, at most a page: more than there are deaths.
const PARTS: usize = 20;
const PAGE: usize = 250;

/// A cluster on Azure, with nothing of the operator in it. The public names lead to a gate.
pub struct World {
    pub cluster: TestCluster,
    pub azure: Azure,
    pub gate: Gate,
    pub proxy: ForwardProxy,
    pub identity: EntraApplication,
    pub secret: String,
    /// ID of the tenant.
    pub tenant: String,
    /// ID of the resource group.
    pub group: String,
    pub roots: TempDir,
    pub logs: Vec<String>,
}

impl World {
    pub async fn new(infrastructure: &str) -> Self {
        let authority = Authority::new("azure").unwrap();
        let azure = Azure::start(AzureOptions::new(authority)).await.unwrap();
        let cluster = shared_cluster(simulated("cloud-storage")).await;
        cluster.delete_events().await;
        let tenant = azure.tenant();
        let subscription = azure.subscription(&tenant);
        let group = format!("rg-{infrastructure}");
        let id = azure.resource_group(&subscription, &group, REGION);
        let identity = azure.application(&tenant);
        let manifest = include_str!("../../deploy/01-registry-credentials-request-azure.yaml");
        azure.allow(&identity, &id, Role::of_credentials_request(manifest).unwrap());
        let secret = azure.add_secret(&identity).unwrap();
        let gate = azure.gate().unwrap();
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Azure::hosts(gate.target().address),
            ..ProxyOptions::default()
        })
        .unwrap();
        let roots = tempfile::tempdir().unwrap();
        std::fs::write(roots.path().join("roots.pem"), azure.authority().pem()).unwrap();
        let platform = json!({"type": "Azure", "azure": {"resourceGroupName": group, "cloudName": "AzurePublicCloud"}});
        let status = json!({"platform": "Azure", "platformStatus": platform, "infrastructureName": infrastructure,
            "infrastructureTopology": "HighlyAvailable"});
        let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        cluster.patch_status(&reference, json!({"status": status})).await;
        let reference = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
        let spec = json!({"httpsProxy": proxy.url()});
        cluster.patch(&reference, json!({"spec": spec})).await;
        let in_use = |o: Option<&Value>| o.is_some_and(|o| o["status"]["httpsProxy"] == spec["httpsProxy"]);
        cluster.until(&reference, "in use", in_use).await;
        // The Secret as the platform's credential operator writes it.
        let data = json!({
            "azure_subscription_id": subscription, "azure_tenant_id": tenant, "azure_client_id": identity.client_id,
            "azure_client_secret": secret, "azure_resourcegroup": group, "azure_region": REGION,
        });
        let metadata = json!({"name": names::MINTED_SECRET, "namespace": names::NAMESPACE});
        cluster
            .create(json!({"apiVersion": "v1", "kind": "Secret", "stringData": data, "metadata": metadata}))
            .await;
        Self {
            cluster,
            azure,
            gate,
            proxy,
            identity,
            secret,
            tenant,
            group: id,
            roots,
            logs: Vec::new(),
        }
    }

    /// Environment of the operator: the way to the cloud.
    pub fn environment(&self) -> Vec<(String, String)> {
        let roots = self.roots.path().join("roots.pem").display().to_string();
        [("HTTPS_PROXY", self.proxy.url()), ("SSL_CERT_FILE", roots)]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }

    pub async fn operator(&self) -> Operator {
        self.cluster.operator_in(&self.environment()).await
    }

    pub async fn left(&self, account: &str, container: &str) -> usize {
        self.azure
            .blobs(account, container)
            .await
            .map_or(0, |blobs| blobs.len())
    }

    /// At the end of each test: nothing was denied by the API server or by Azure, and no secret was told to anybody.
    pub async fn judge(mut self, operator: Operator, keys: [String; 2]) {
        let log = self.cluster.devcluster.audit().unwrap();
        let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
        assert!(ours.denied().is_empty(), "{}", ours.denied());
        let needed = self.azure.needed(&self.identity.client_id);
        assert!(needed.iter().all(|right| right.granted), "{needed:?}");
        let mut texts = vec![operator.metrics().await, operator.log()];
        operator.stop().await;
        for reference in [config_ref(), cluster_operator(), deployment()] {
            texts.extend(self.cluster.get(&reference).await.map(|object| object.to_string()));
        }
        texts.extend(self.cluster.events().await);
        texts.append(&mut self.logs);
        let [one, other] = &keys;
        for secret in [self.secret.as_str(), one, other, "eyJ", "SharedKey "] {
            let mut lines = texts.iter().flat_map(|text| text.lines());
            let line = lines.find(|line| line.contains(secret));
            assert!(line.is_none(), "a secret is told: {line:?}");
        }
    }
}

// storage-azure section 10.2, 57, storage-core 40, 45: issue 14, in bounded memory, though the process is killed
#[tokio::test]
async fn a_full_container_of_azure_goes_in_bounded_memory_though_the_operator_is_killed_ten_times() {
    let asked = std::env::var("AZURE_MANY_OBJECTS").ok();
    let count: usize = asked.and_then(|n| n.parse().ok()).unwrap_or(USUAL);
    let mut world = World::new("kw-zmany").await;
    let operator = world.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    let text = |field: &str| config["status"]["storage"]["azure"][field].as_str().unwrap().to_owned();
    let (account, container) = (text("accountName"), text("container"));
    assert_eq!(config["spec"]["storage"]["managementState"], "Managed");
    let variables = environment(&world.cluster).await;
    assert_eq!(variables["REGISTRY_STORAGE_AZURE_CONTAINER"], container);
    let keys = world.azure.account_keys(&account).unwrap();
    world
        .azure
        .fill(&account, &container, "/docker/registry/v2/blobs/", count)
        .await
        .unwrap();
    world.cluster.settle().await;
    let killed = Killed::removal(
        &world.cluster,
        operator,
        async || world.operator().await,
        |death, most| {
            let (operation, n) = if death % 2 == 0 {
                ("Blob_Delete", (count / PARTS).min(PAGE))
            } else {
                ("Container_ListBlobFlatSegment", 1)
            };
            kill_at(&world.gate, operation, n, most)
        },
    )
    .await;
    world.logs.extend(killed.logs.iter().cloned());
    let left = world.left(&account, &container).await;
    assert!(left > 0 && left < count, "{left} of {count} are left");
    world.gate.pass();
    let operator = world.operator().await;
    let mut left = left;
    while left > 0 {
        // As long as there are fewer and fewer.
        eventually("fewer blobs", async || world.left(&account, &container).await < left).await;
        left = world.left(&account, &container).await;
    }
    let config = killed.until_removed(&world.cluster, &operator, count).await;
    assert!(is(&config, "StorageExists", "False", "AccountDeleted"));
    assert!(world.azure.account(&account).is_none());
    world.judge(operator, keys).await;
}
