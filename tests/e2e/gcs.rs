//! The registry's pod on Google Cloud Storage, in a bucket of the operator: first a key of a service account, then another key
//! of it, then a workload identity federation, that is the pods' own tokens.

use std::collections::BTreeSet;
use std::path::Path;

use devcluster::stores::{Asked, Authority, Cloud, Federation, Gcs, GcsOptions, ServiceAccountKey};
use http::Method;
use serde_json::{Value, json};

use crate::reach::{TOKEN_FILE, assert_pods_came_with_tokens, subjects};
use crate::support::TestCluster;
use crate::switch::{set, user_secret};
use crate::{REGISTRY, Sample, Scenario};

const PROJECT: &str = "e2e-highlands";
const REGION: &str = "europe-west3";
const BUCKET: &str = "e2e-glacier";
/// Key of the user's Secret.
const USER_KEY: &str = "REGISTRY_STORAGE_GCS_KEYFILE";
const STORAGE: &str = "storage.googleapis.com";
/// Where the registry starts resumable uploads.
const UPLOADS: &str = "www.googleapis.com";
const TOKENS: &str = "oauth2.googleapis.com";
/// Hosts of a federation.
const FEDERATION: [&str; 2] = ["sts.googleapis.com", "iamcredentials.googleapis.com"];

/// Google Cloud with a project and a service account in it, as pods and nodes reach it.
pub struct Highlands {
    gcs: Gcs,
    key: ServiceAccountKey,
    /// A pool that trusts the cluster; operator and registry may be the service account.
    federation: Federation,
    cloud: Cloud,
    authority: Authority,
}

impl Highlands {
    pub async fn start(cluster: &TestCluster, authority: Authority) -> Self {
        let gcs = Gcs::start(GcsOptions::new(authority.clone())).await.unwrap();
        gcs.project(PROJECT);
        let key = gcs.service_account(PROJECT, "registry", &permissions()).unwrap();
        let of_cluster = cluster.devcluster.token_key().unwrap();
        let federation = gcs.federation(PROJECT, "e2e", of_cluster, "openshift").unwrap();
        for subject in subjects() {
            gcs.let_impersonate(&federation.principal(&subject), &key.email);
        }
        let hosts = [STORAGE, UPLOADS, TOKENS].into_iter().chain(FEDERATION);
        let hosts: Vec<String> = hosts.map(str::to_owned).collect();
        let routes = hosts.iter().map(|host| (host.clone(), gcs.target().clone())).collect();
        Self {
            cloud: Cloud::start(cluster.devcluster, &authority, routes, &hosts).unwrap(),
            gcs,
            key,
            federation,
            authority,
        }
    }

    /// The user's Secret with the key.
    pub fn secret(&self) -> Value {
        key_file(&self.key)
    }

    /// A bucket that is to be made, as the Config names it.
    pub fn bucket() -> Value {
        json!({"bucket": BUCKET, "region": REGION})
    }

    /// Names of the objects in the bucket.
    pub fn objects(&self) -> Vec<String> {
        self.gcs.objects(BUCKET)
    }

    /// Hosts that were asked.
    fn hosts(&self) -> BTreeSet<String> {
        let asked = self.cloud.gate().asked();
        asked.into_iter().map(|asked| asked.host).collect()
    }

    /// Number of objects that clients read through signed URLs.
    fn redirected(&self) -> usize {
        let read = |asked: &&Asked| {
            asked.method == Method::GET && asked.status == 200 && asked.query.contains("GoogleAccessId=")
        };
        self.cloud.gate().asked().iter().filter(read).count()
    }
}

/// The permissions that the operator asks the platform for, from the manifest that is shipped.
fn permissions() -> Vec<&'static str> {
    let manifest = include_str!("../../deploy/01-registry-credentials-request-gcs.yaml");
    let (_, permissions) = manifest.split_once("    permissions:").unwrap();
    let lines = permissions.lines().filter_map(|line| line.trim().strip_prefix("- "));
    lines.collect()
}

fn secret(file: &Value) -> Value {
    json!({USER_KEY: file.to_string()})
}

fn key_file(key: &ServiceAccountKey) -> Value {
    secret(&key.json(&format!("https://{TOKENS}/token")))
}

impl Scenario {
    /// Switches the registry from emptyDir to Google Cloud Storage and back.
    // issue 12: key, change of the key, federation, and back
    pub async fn on_gcs(&self, first: &Sample) {
        let highlands = Highlands::start(&self.cluster, Authority::new("google-ca").unwrap()).await;
        self.say("Google Cloud is there");
        let sample = self.service_account_key(&highlands).await;
        let key = self.other_service_account_key(&highlands, &sample).await;
        self.federation(&highlands, &key, &sample).await;
        self.change(async || {
            let storage = json!({"gcs": null, "managementState": null, "emptyDir": {}});
            self.cluster.edit(json!({"storage": storage})).await;
            self.cluster.delete(&user_secret()).await;
            self.distrust().await;
        })
        .await;
        self.push_and_pull(REGISTRY, first).await;
        self.say("back on emptyDir");
        let kept = highlands.objects();
        assert!(
            kept.iter().any(|name| name.contains("blobs")),
            "the bucket keeps its images: {kept:?}"
        );
    }

    /// From emptyDir to a new bucket; a node pulls through URLs that the registry signs with the key.
    async fn service_account_key(&self, highlands: &Highlands) -> Sample {
        self.trust(&highlands.authority).await;
        set(&self.cluster, &user_secret(), "stringData", highlands.secret()).await;
        let block = Highlands::bucket();
        self.change(async || {
            let storage = json!({"emptyDir": null, "managementState": null, "gcs": block});
            self.cluster.edit(json!({"storage": storage})).await;
        })
        .await;
        let (address, authority) = (highlands.cloud.address(), &highlands.authority);
        self.nodes_reach(&[STORAGE.to_owned()], address, authority).await;
        let sample = self.sample("glacier").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.say("pushed to and pulled from Google Cloud Storage, with a key of a service account");
        let before = highlands.redirected();
        assert!(before > 0, "{:#?}", highlands.cloud.gate().asked());
        self.a_pod_runs(&sample).await;
        assert!(highlands.redirected() > before, "the node pulled through signed URLs");
        let hosts = [STORAGE, UPLOADS, TOKENS].map(str::to_owned);
        assert_eq!(highlands.hosts(), BTreeSet::from(hosts));
        sample
    }

    /// To another key of the service account; URLs that the first has signed become invalid.
    async fn other_service_account_key(&self, highlands: &Highlands, sample: &Sample) -> ServiceAccountKey {
        let key = highlands.gcs.add_key(&highlands.key.email).unwrap();
        self.change(async || {
            set(&self.cluster, &user_secret(), "stringData", key_file(&key)).await;
        })
        .await;
        highlands.gcs.revoke_key(&highlands.key);
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same bucket");
        let before = highlands.redirected();
        self.push_and_pull(REGISTRY, &self.sample("moraine").await).await;
        self.say("pushed and pulled with another key of the service account");
        assert!(highlands.redirected() > before);
        key
    }

    /// To a federation: no pod has a key any more.
    async fn federation(&self, highlands: &Highlands, key: &ServiceAccountKey, sample: &Sample) {
        let federation = &highlands.federation;
        let file = federation.public_file(Path::new(TOKEN_FILE), Some(&key.email));
        self.change(async || {
            set(&self.cluster, &user_secret(), "stringData", secret(&file)).await;
        })
        .await;
        highlands.gcs.revoke_key(key);
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same bucket");
        self.push_and_pull(REGISTRY, &self.sample("fjord").await).await;
        self.say("pushed and pulled with a federation");
        let asked = highlands.cloud.gate().asked();
        let tokens = asked
            .iter()
            .filter(|asked| asked.operation() == "sts.token" && asked.status == 200);
        assert_pods_came_with_tokens(tokens, "subject_token");
        let refused: Vec<&Asked> = asked.iter().filter(|asked| asked.status == 403).collect();
        assert!(refused.is_empty(), "permissions that are missing: {refused:#?}");
    }
}
