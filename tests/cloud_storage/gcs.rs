//! Google Cloud from a Config that an installer wrote, or from nothing, and a bucket full of images that is removed by processes
//! that are killed. `GCS_MANY_OBJECTS=20000` makes them as many as a real registry has; the usual run takes fewer.

use std::time::Duration;

use devcluster::stores::{Authority, ForwardProxy, Gate, Gcs, GcsOptions, Hosts, ProxyOptions, ServiceAccountKey};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::many::{Killed, kill_at};
use crate::support::operator::Operator;
use crate::support::{TestCluster, cluster_operator, condition, config_ref, is, operand, shared_cluster, simulated};
use crate::{deployment, environment, eventually, file, is_settled};

pub const REGION: &str = "europe-west3";
/// All hosts of Google's, behind the cluster's proxy.
const HOSTS: &str = "*.googleapis.com";
const USUAL: usize = 1_000;
/// Parts of the content that one process deletes before it dies: more than there are deaths.
const PARTS: usize = 20;

static GOOGLE: OnceCell<Gcs> = OnceCell::const_new();

pub async fn google() -> &'static Gcs {
    let start = || async {
        let options = GcsOptions::new(Authority::new("google").unwrap());
        Gcs::start(options).await.unwrap()
    };
    GOOGLE.get_or_init(start).await
}

/// What the operator asks the platform for.
fn permissions() -> Vec<&'static str> {
    let manifest = include_str!("../../deploy/01-registry-credentials-request-gcs.yaml");
    let lines = manifest.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let of_google = |line: &&str| line.starts_with("storage.") || line.starts_with("resourcemanager.");
    lines.filter(of_google).collect()
}

/// A cluster on Google Cloud, with nothing of the operator in it. The public names lead to a gate.
pub struct World {
    pub cluster: TestCluster,
    pub gate: Gate,
    pub proxy: ForwardProxy,
    pub project: String,
    pub key: ServiceAccountKey,
    pub infrastructure: &'static str,
    pub roots: TempDir,
    pub logs: Vec<String>,
}

impl World {
    pub async fn new(infrastructure: &'static str) -> Self {
        let google = google().await;
        let cluster = shared_cluster(simulated("cloud-storage")).await;
        cluster.delete_events().await;
        let project = format!("p-{infrastructure}");
        google.project(&project);
        let key = google.service_account(&project, "registry", &permissions()).unwrap();
        let gate = Gate::start(google.target(), Some(google.authority()), &[HOSTS.to_owned()]).unwrap();
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Hosts::new().with(HOSTS, gate.target().address),
            ..ProxyOptions::default()
        })
        .unwrap();
        let roots = tempfile::tempdir().unwrap();
        std::fs::write(roots.path().join("roots.pem"), google.authority().pem()).unwrap();
        let platform = json!({"type": "GCP", "gcp": {"region": REGION, "projectID": project}});
        let status = json!({"platform": "GCP", "platformStatus": platform, "infrastructureName": infrastructure,
            "infrastructureTopology": "HighlyAvailable"});
        let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        cluster.patch_status(&reference, json!({"status": status})).await;
        let reference = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
        let spec = json!({"httpsProxy": proxy.url()});
        cluster.patch(&reference, json!({"spec": spec})).await;
        let in_use = |o: Option<&Value>| o.is_some_and(|o| o["status"]["httpsProxy"] == spec["httpsProxy"]);
        cluster.until(&reference, "in use", in_use).await;
        Self {
            cluster,
            gate,
            proxy,
            project,
            key,
            infrastructure,
            roots,
            logs: Vec::new(),
        }
    }

    /// The text of a key file, with a member that only its reader knows.
    pub fn key_file(key: &ServiceAccountKey) -> String {
        let mut file = key.json("https://oauth2.googleapis.com/token");
        file["x_of_the_platform"] = json!({"kept": [1, null, "ü"]});
        format!("{file:#}\n")
    }

    /// The Secret as the platform's credential operator writes it.
    pub async fn mint(&self) {
        self.cluster
            .create(
                json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"service_account.json": Self::key_file(&self.key)},
                           "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE}}),
            )
            .await;
    }

    /// Environment of the operator: the way to the cloud, and what Google's libraries would read.
    pub fn environment(&self) -> Vec<(String, String)> {
        let path = |file: &str| self.roots.path().join(file).display().to_string();
        let astray = path("astray.json");
        std::fs::write(&astray, "{\"type\": \"service_account\", \"client_email\": \"astray\"}").unwrap();
        [
            ("HTTPS_PROXY", self.proxy.url()),
            ("SSL_CERT_FILE", path("roots.pem")),
            ("GOOGLE_APPLICATION_CREDENTIALS", astray),
            ("GOOGLE_CLOUD_PROJECT", "astray".to_owned()),
            ("GCE_METADATA_HOST", "127.0.0.1:1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub async fn operator(&self) -> Operator {
        self.cluster.operator_in(&self.environment()).await
    }

    /// The only bucket of this cluster.
    pub async fn bucket(&self) -> String {
        let mut buckets = google().await.buckets();
        buckets.retain(|name| name.starts_with(self.infrastructure));
        assert_eq!(buckets.len(), 1, "{buckets:?}");
        buckets.remove(0)
    }

    /// Waits until the bucket is empty, as long as it gets emptier.
    pub async fn until_empty(&self, bucket: &str) {
        let google = google().await;
        let mut left = google.objects(bucket).len();
        while left > 0 {
            eventually("fewer objects", async || google.objects(bucket).len() < left).await;
            left = google.objects(bucket).len();
        }
    }

    pub async fn checksum(&self) -> Value {
        let live = self.cluster.get(&deployment()).await.unwrap();
        live["spec"]["template"]["metadata"]["annotations"][names::DEPENDENCIES_ANNOTATION].clone()
    }

    /// At the end of each test: nothing was denied by the API server, and no secret was told to anybody.
    pub async fn judge(mut self, operator: Operator) {
        let log = self.cluster.devcluster.audit().unwrap();
        let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
        assert!(ours.denied().is_empty(), "{}", ours.denied());
        let mut texts = vec![operator.metrics().await, operator.log()];
        operator.stop().await;
        for reference in [config_ref(), cluster_operator(), deployment()] {
            texts.extend(self.cluster.get(&reference).await.map(|object| object.to_string()));
        }
        texts.extend(self.cluster.events().await);
        texts.append(&mut self.logs);
        let key = self.key.pkcs8();
        let line_of_key = key.lines().nth(1).unwrap();
        for secret in [line_of_key, "ya29.", "eyJhbGci", "PRIVATE KEY"] {
            let mut lines = texts.iter().flat_map(|text| text.lines());
            let line = lines.find(|line| line.contains(secret));
            assert!(line.is_none(), "a secret is told: {line:?}");
        }
    }
}

// storage-gcs 21, 40, storage-core 12, lifecycle 59: issue 12, a Config as an installer writes it
#[tokio::test]
async fn a_config_with_nothing_but_a_key_gets_its_bucket_when_the_key_is_usable() {
    let mut world = World::new("kw-gborn").await;
    world.mint().await;
    let key = format!(
        "projects/{}/locations/{REGION}/keyRings/ring/cryptoKeys/images",
        world.project
    );
    google().await.kms_key(&key, false);
    world
        .cluster
        .create(TestCluster::managed(json!({"gcs": {"keyID": key}})))
        .await;
    let operator = world.operator().await;
    let refused = |c: &Value| condition(c, "StorageExists").1 == "403";
    let config = world.cluster.until_config("refused", refused).await;
    let (status, _, message) = condition(&config, "StorageExists");
    assert_eq!(status, "False");
    for part in [key.as_str(), "roles/cloudkms.cryptoKeyEncrypterDecrypter", REGION] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(config["spec"]["storage"], json!({"gcs": {"keyID": key}}));
    assert!(world.cluster.get(&deployment()).await.is_none());
    google().await.kms_key(&key, true);
    let config = world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let bucket = world.bucket().await;
    let gcs = json!({"bucket": bucket, "region": REGION, "projectID": world.project, "keyID": key});
    let storage = json!({"gcs": gcs, "managementState": "Managed"});
    assert_eq!(
        (&config["spec"]["storage"], &config["status"]["storage"]),
        (&storage, &storage)
    );
    let resource = google().await.bucket(&bucket).unwrap();
    assert_eq!(resource["encryption"]["defaultKmsKeyName"], json!(key));
    assert!(is(&config, "StorageEncrypted", "True", "Encryption Successful"));
    assert!(is(&config, "StorageLabeled", "True", "Bucket Labeled Successfully"));
    let variables = environment(&world.cluster).await;
    assert_eq!(variables["REGISTRY_STORAGE"], "gcs");
    assert_eq!(variables["REGISTRY_STORAGE_GCS_BUCKET"], bucket);
    // Byte by byte what the platform minted, and what it mints next, with which the pods are replaced.
    let name = "REGISTRY_STORAGE_GCS_KEYFILE";
    assert_eq!(file(&world.cluster, name).await, Some(World::key_file(&world.key)));
    let before = world.checksum().await;
    let next = google().await.add_key(&world.key.email).unwrap();
    let minted = operand(Kind::Secret, names::MINTED_SECRET);
    let text = World::key_file(&next);
    let data = json!({"stringData": {"service_account.json": text}});
    world.cluster.patch(&minted, data).await;
    let private = operand(Kind::Secret, names::PRIVATE_SECRET);
    let of_next = |o: Option<&Value>| {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(&text);
        o.is_some_and(|o| o["data"][name] == json!(encoded))
    };
    world.cluster.until(&private, "with the next key", of_next).await;
    world.cluster.until_config("up again", is_settled).await;
    world.cluster.settle().await;
    assert_ne!(world.checksum().await, before);
    // Settled: nothing is asked of the cloud.
    world.gate.forget();
    world.cluster.trigger_reconcile("again").await;
    world.cluster.settle().await;
    world.cluster.assert_idle(Duration::from_secs(2)).await;
    assert_eq!(world.gate.operations(), Vec::<String>::new());
    world.key = next;
    world.judge(operator).await;
}

// lifecycle 28, storage-gcs 7, 11, 14
#[tokio::test]
async fn a_new_cluster_on_google_cloud_has_a_registry_that_nobody_asked_for_and_removes_it() {
    let world = World::new("kw-gbare").await;
    world.mint().await;
    let operator = world.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    let bucket = world.bucket().await;
    assert_eq!(bucket.len(), 62);
    let spec = &config["spec"];
    let gcs = json!({"bucket": bucket, "region": REGION, "projectID": world.project});
    assert_eq!(spec["storage"], json!({"gcs": gcs, "managementState": "Managed"}));
    assert_eq!(
        (&spec["replicas"], &spec["rolloutStrategy"]),
        (&json!(2), &json!("RollingUpdate"))
    );
    assert_eq!(google().await.objects(&bucket).len(), 0, "no probe is left");
    google().await.put(&bucket, "docker/image", b"layer").await.unwrap();
    world.cluster.edit(json!({"managementState": "Removed"})).await;
    let removed = |c: &Value| is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
    let config = world.cluster.until_config("removed", removed).await;
    assert_eq!(config["status"]["storage"], json!({}));
    assert_eq!(
        config["spec"]["storage"],
        json!({"gcs": {"region": REGION, "projectID": world.project}})
    );
    assert!(is(&config, "StorageExists", "False", "GCS Bucket Deleted"));
    assert!(google().await.bucket(&bucket).is_none());
    world.judge(operator).await;
}

// storage-gcs 42, storage-core 40, 45: issue 12, in bounded memory, though the process is killed
#[tokio::test]
async fn a_full_bucket_of_google_goes_in_bounded_memory_though_the_operator_is_killed_ten_times() {
    let asked = std::env::var("GCS_MANY_OBJECTS").ok();
    let count: usize = asked.and_then(|n| n.parse().ok()).unwrap_or(USUAL);
    let mut world = World::new("kw-gmany").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    let bucket = world.bucket().await;
    google()
        .await
        .fill(&bucket, "docker/registry/v2/blobs/", count)
        .await
        .unwrap();
    world.cluster.settle().await;
    let killed = Killed::removal(
        &world.cluster,
        operator,
        async || world.operator().await,
        |death, most| {
            let (operation, n) = if death % 2 == 0 {
                ("storage.objects.delete", count / PARTS)
            } else {
                ("storage.objects.list", 1)
            };
            kill_at(&world.gate, operation, n, most)
        },
    )
    .await;
    world.logs.extend(killed.logs.iter().cloned());
    let left = google().await.objects(&bucket).len();
    assert!(left > 0 && left < count, "{left} of {count} are left");
    world.gate.pass();
    let operator = world.operator().await;
    world.until_empty(&bucket).await;
    killed.until_removed(&world.cluster, &operator, count).await;
    assert!(google().await.bucket(&bucket).is_none());
    world.judge(operator).await;
}
