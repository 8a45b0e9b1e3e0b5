//! The registry's pod on Azure Blob Storage, in a customer's account under its public host name: first a key of the account,
//! then its other key, then a workload identity, that is the pods' own tokens.

use devcluster::stores::{Asked, Authority, Azure, AzureOptions, Cloud, EntraApplication, Role};
use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::reach::{TOKEN_FILE, assert_pods_came_with_tokens, subjects};
use crate::support::{TestCluster, operand};
use crate::switch::{set, user_secret};
use crate::{REGISTRY, Sample, Scenario};

const REGION: &str = "westeurope";
const GROUP: &str = "e2e-rg";
const ACCOUNT: &str = "e2emeadow";
const CONTAINER: &str = "images-of-e2e";
/// Key of the user's Secret.
const USER_KEY: &str = "REGISTRY_STORAGE_AZURE_ACCOUNTKEY";

/// Azure with a storage account and a container of a customer, as pods and nodes reach it.
pub struct Meadow {
    azure: Azure,
    subscription: String,
    /// ID of the account.
    account: String,
    /// The managed identity of operator and registry.
    identity: EntraApplication,
    cloud: Cloud,
    authority: Authority,
}

impl Meadow {
    pub async fn start(cluster: &TestCluster, authority: Authority) -> Self {
        let azure = Azure::start(AzureOptions::new(authority.clone())).await.unwrap();
        let tenant = azure.tenant();
        let subscription = azure.subscription(&tenant);
        let group = azure.resource_group(&subscription, GROUP, REGION);
        let account = azure.make_account(&group, ACCOUNT, &Value::Null).unwrap();
        azure.make_container(ACCOUNT, CONTAINER, &[]).await.unwrap();
        let identity = azure.application(&tenant);
        azure.allow(&identity, &group, role());
        let key = cluster.devcluster.token_key().unwrap();
        for subject in subjects() {
            azure.federate(&identity, key.clone(), &subject, "openshift").unwrap();
        }
        let routes = Azure::routes(azure.target());
        Self {
            cloud: Cloud::start(cluster.devcluster, &authority, routes, &Azure::names()).unwrap(),
            azure,
            subscription,
            account,
            identity,
            authority,
        }
    }

    /// The user's Secret with a key of the account.
    pub fn secret(&self) -> Value {
        let [key, _] = self.azure.account_keys(ACCOUNT).unwrap();
        json!({USER_KEY: key})
    }

    /// The container, as the Config names it.
    pub fn container() -> Value {
        json!({"accountName": ACCOUNT, "container": CONTAINER})
    }

    /// Names of the blobs in the container.
    pub async fn blobs(&self) -> Vec<String> {
        self.azure.blobs(ACCOUNT, CONTAINER).await.unwrap()
    }

    /// The Secret that the platform's credential operator writes for a workload identity.
    fn minted(&self) -> Value {
        json!({
            "azure_subscription_id": self.subscription, "azure_tenant_id": self.identity.tenant,
            "azure_client_id": self.identity.client_id, "azure_resourcegroup": GROUP, "azure_region": REGION,
            "azure_federated_token_file": TOKEN_FILE,
        })
    }

    /// Number of blobs that clients read through signed URLs in whose query this stands.
    fn redirected(&self, part: &str) -> usize {
        let read = |asked: &&Asked| {
            asked.method == Method::GET
                && asked.status == 200
                && asked.query.contains("sig=")
                && asked.query.contains(part)
        };
        self.cloud.gate().asked().iter().filter(read).count()
    }
}

/// The rights that the operator asks the platform for, from the manifest that is shipped.
fn role() -> Role {
    let manifest = include_str!("../../deploy/01-registry-credentials-request-azure.yaml");
    Role::of_credentials_request(manifest).unwrap()
}

impl Scenario {
    /// Switches the registry from emptyDir to Azure and back.
    // issue 14: account key, change of credentials, workload identity, and back
    pub async fn on_azure(&self, first: &Sample) {
        let meadow = Meadow::start(&self.cluster, Authority::new("azure-ca").unwrap()).await;
        self.say("Azure is there");
        let sample = self.account_key(&meadow).await;
        self.other_account_key(&meadow, &sample).await;
        self.workload_identity(&meadow, &sample).await;
        self.change(async || {
            let storage = json!({"azure": null, "managementState": null, "emptyDir": {}});
            self.cluster.edit(json!({"storage": storage})).await;
            self.distrust().await;
        })
        .await;
        self.push_and_pull(REGISTRY, first).await;
        self.say("back on emptyDir");
        self.cluster.delete(&operand(Kind::Secret, names::MINTED_SECRET)).await;
        let kept = meadow.blobs().await;
        assert!(
            kept.iter().any(|name| name.contains("blobs")),
            "the container keeps its images: {kept:?}"
        );
    }

    /// From emptyDir to Azure with a key of the account; a node pulls through URLs that the registry signs with the key.
    async fn account_key(&self, meadow: &Meadow) -> Sample {
        self.trust(&meadow.authority).await;
        set(&self.cluster, &user_secret(), "stringData", meadow.secret()).await;
        let block = Meadow::container();
        self.change(async || {
            let storage = json!({"emptyDir": null, "managementState": null, "azure": block});
            self.cluster.edit(json!({"storage": storage})).await;
        })
        .await;
        let host = meadow.azure.cloud().blob_host(ACCOUNT);
        self.nodes_reach(&[host], meadow.cloud.address(), &meadow.authority)
            .await;
        let sample = self.sample("meadow").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.say("pushed to and pulled from Azure, with a key of the account");
        let before = meadow.redirected("sr=b");
        assert!(before > 0, "{:#?}", meadow.cloud.gate().asked());
        self.a_pod_runs(&sample).await;
        assert!(
            meadow.redirected("sr=b") > before,
            "the node pulled through signed URLs"
        );
        let asked = meadow.azure.calls();
        assert!(asked.iter().all(|call| call.client_id.is_none()), "{asked:#?}");
        sample
    }

    /// To the other key of the account, as keys are renewed; the first becomes invalid.
    async fn other_account_key(&self, meadow: &Meadow, sample: &Sample) {
        let [_, key] = meadow.azure.account_keys(ACCOUNT).unwrap();
        self.change(async || {
            set(&self.cluster, &user_secret(), "stringData", json!({USER_KEY: key})).await;
        })
        .await;
        meadow.azure.rotate_key(ACCOUNT, "key1").unwrap();
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same container");
        self.push_and_pull(REGISTRY, &self.sample("pasture").await).await;
        self.say("pushed and pulled with the other key of the account");
    }

    /// To a workload identity with the rights that the operator asks the platform for; then the account accepts no keys.
    async fn workload_identity(&self, meadow: &Meadow, sample: &Sample) {
        self.change(async || {
            let minted = operand(Kind::Secret, names::MINTED_SECRET);
            set(&self.cluster, &minted, "stringData", meadow.minted()).await;
            self.cluster.delete(&user_secret()).await;
        })
        .await;
        let account = meadow.azure.account(ACCOUNT).unwrap();
        let allowed = account["properties"].get("allowSharedKeyAccess");
        assert_eq!(allowed, None, "the keys of a customer's account stay");
        let without_keys = json!({"properties": {"allowSharedKeyAccess": false}});
        meadow.azure.change_resource(&meadow.account, &without_keys).unwrap();
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same container");
        self.push_and_pull(REGISTRY, &self.sample("orchard").await).await;
        self.say("pushed and pulled with a workload identity");
        assert!(meadow.redirected("skoid=") > 0, "signed by delegation of the identity");
        let asked = meadow.cloud.gate().asked();
        let tokens = asked
            .iter()
            .filter(|asked| asked.operation() == "Entra_Token" && asked.status == 200);
        assert_pods_came_with_tokens(tokens, "client_assertion");
        let mut needed = meadow.azure.needed(&meadow.identity.client_id);
        needed.retain(|needed| !needed.granted);
        assert!(needed.is_empty(), "rights that are missing: {needed:#?}");
    }
}
