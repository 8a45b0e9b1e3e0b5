//! OpenStack from nothing, and a container full of images that is removed by processes that are killed. On Ceph's gateway
//! `SWIFT_MANY_OBJECTS=20000` makes them as many as a real registry has; the usual run takes fewer. Swift gets fewer: its servers are
//! one process here, which stores or deletes some 20 objects a second.

use std::time::{Duration, Instant};

use devcluster::stores::{Account, Fault, Gate, OpenStack, OpenStackOptions, Project, Reply, Rgw, When};
use futures::StreamExt as _;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::many::{Killed, kill_at};
use crate::support::operator::Operator;
use crate::support::{TestCluster, cluster_operator, config_ref, default_claim, operand, shared_cluster, simulated};
use crate::{environment, file, is_settled};

const ON_SWIFT: usize = 1_000;
const USUAL: usize = 3_000;
/// Objects that are stored at the same time.
const AT_ONCE: usize = 20;
/// Pages that a removal takes: more than there are deaths.
const PAGES: usize = 20;
const LOGIN: &str = "POST /v3/auth/tokens";

static STACK: OnceCell<OpenStack> = OnceCell::const_new();

async fn stack() -> &'static OpenStack {
    let start = || async {
        let options = OpenStackOptions {
            caches_tokens: true,
            ..OpenStackOptions::default()
        };
        OpenStack::start(options).await.unwrap()
    };
    STACK.get_or_init(start).await
}

/// Stores so many objects; every third is a segment of a large object.
async fn fill(account: &Account, container: &str, count: usize) {
    let puts = (0..count).map(|n| async move {
        let folder = if n % 3 == 0 {
            "segments/abc"
        } else {
            "files/docker/registry/v2/blobs"
        };
        account.put(container, &format!("{folder}/{n:016}"), b"x").await
    });
    let mut puts = futures::stream::iter(puts).buffer_unordered(AT_ONCE);
    while let Some(put) = puts.next().await {
        put.unwrap();
    }
}

/// A cluster on OpenStack, with nothing of the operator in it. Its region of the catalogue names a gate.
pub struct World {
    pub cluster: TestCluster,
    pub keystone: Gate,
    pub swift: Gate,
    pub project: Project,
    pub account: Account,
    pub infrastructure: &'static str,
    pub logs: Vec<String>,
}

impl World {
    pub async fn new(infrastructure: &'static str) -> Self {
        let stack = stack().await;
        let project = stack.keystone.project(infrastructure).await.unwrap();
        let account = stack.swift.account(&stack.keystone, &project).await.unwrap();
        let swift = Gate::start(stack.swift.target(), None, &[]).unwrap();
        let url = swift.url();
        Self::before(infrastructure, project, account, swift, &url).await
    }

    /// With Ceph's gateway in the place of Swift.
    pub async fn on_ceph(infrastructure: &'static str, gateway: &Rgw) -> Self {
        let keystone = &stack().await.keystone;
        let project = keystone.project(infrastructure).await.unwrap();
        let token = keystone.token(&project, &project.password).await.unwrap();
        let account = gateway.account_with(&project, &token);
        let swift = Gate::start(gateway.target(), None, &[]).unwrap();
        let url = format!("{}/swift", swift.url());
        Self::before(infrastructure, project, account, swift, &url).await
    }

    pub async fn before(
        infrastructure: &'static str,
        project: Project,
        account: Account,
        swift: Gate,
        url: &str,
    ) -> Self {
        let stack = stack().await;
        let cluster = shared_cluster(simulated("cloud-storage")).await;
        cluster.delete_events().await;
        let keystone = Gate::start(stack.keystone.target(), None, &[]).unwrap();
        stack.keystone.set_swift(infrastructure, Some(url)).await.unwrap();
        let platform = json!({"type": "OpenStack", "openstack": {"cloudName": "colony"}});
        let status = json!({"platform": "OpenStack", "platformStatus": platform, "infrastructureName": infrastructure,
            "infrastructureTopology": "HighlyAvailable"});
        let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        cluster.patch_status(&reference, json!({"status": status})).await;
        Self {
            cluster,
            keystone,
            swift,
            project,
            account,
            infrastructure,
            logs: Vec::new(),
        }
    }

    /// The Secret as the platform's credential operator writes it.
    pub async fn mint(&self) {
        let auth = json!({"auth_url": format!("{}/v3", self.keystone.url()), "username": self.project.user,
            "password": self.project.password, "project_id": self.project.id, "user_domain_name": "Default"});
        let clouds = json!({"clouds": {"colony": {"auth": auth, "region_name": self.infrastructure}}});
        self.cluster
            .create(
                json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"clouds.yaml": clouds.to_string()},
                           "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE}}),
            )
            .await;
    }

    pub fn generated(&self) -> String {
        format!("{}-image-registry", self.infrastructure)
    }

    pub async fn exists(&self) -> bool {
        self.account.metadata(&self.generated()).await.unwrap().is_some()
    }

    /// At the end of each test: nothing was denied by the API server, and no secret was told to anybody.
    pub async fn judge(mut self, operator: Operator) {
        let log = self.cluster.devcluster.audit().unwrap();
        let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
        assert!(ours.denied().is_empty(), "{}", ours.denied());
        let mut texts = vec![operator.metrics().await, operator.log()];
        operator.stop().await;
        for reference in [config_ref(), cluster_operator()] {
            texts.extend(self.cluster.get(&reference).await.map(|object| object.to_string()));
        }
        texts.extend(self.cluster.events().await);
        texts.append(&mut self.logs);
        for secret in [self.project.password.as_str(), "gAAAA"] {
            let line = texts
                .iter()
                .flat_map(|text| text.lines())
                .find(|line| line.contains(secret));
            assert!(line.is_none(), "a secret is told: {line:?}");
        }
    }
}

// lifecycle 28, storage-core 12, storage-swift 1, 33, workload 21
#[tokio::test]
async fn a_new_cluster_on_openstack_has_a_registry_on_swift_that_nobody_asked_for() {
    let world = World::new("kw-sborn").await;
    world.mint().await;
    let operator = world.cluster.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let spec = &config["spec"];
    let storage = json!({"swift": {"container": world.generated()}, "managementState": "Managed"});
    assert_eq!((&spec["storage"], &config["status"]["storage"]), (&storage, &storage));
    assert_eq!(
        (&spec["replicas"], &spec["rolloutStrategy"]),
        (&json!(2), &json!("RollingUpdate"))
    );
    assert_eq!(
        world.swift.operations().iter().filter(|o| *o == "PutContainer").count(),
        1
    );
    let variables = environment(&world.cluster).await;
    assert_eq!(variables["REGISTRY_STORAGE"], "swift");
    assert_eq!(variables["REGISTRY_STORAGE_SWIFT_AUTHVERSION"], "3");
    assert_eq!(variables["REGISTRY_STORAGE_SWIFT_REGION"], "kw-sborn");
    let secret = world
        .cluster
        .get(&operand(Kind::Secret, names::PRIVATE_SECRET))
        .await
        .unwrap();
    let keys: Vec<_> = secret["data"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys.iter()
            .filter(|key| key.starts_with("REGISTRY_STORAGE_SWIFT_"))
            .count(),
        6
    );
    for key in [
        "TOKENID",
        "APPLICATIONCREDENTIALID",
        "APPLICATIONCREDENTIALNAME",
        "APPLICATIONCREDENTIALSECRET",
    ] {
        let found = file(&world.cluster, &format!("REGISTRY_STORAGE_SWIFT_{key}")).await;
        assert_eq!(found.as_deref(), Some("\"\""), "{key}");
    }
    // Settled: nothing is asked of the cloud.
    world.swift.forget();
    world.keystone.forget();
    world.cluster.trigger_reconcile("again").await;
    world.cluster.settle().await;
    assert_eq!(
        (world.swift.operations(), world.keystone.operations()),
        (vec![], vec![])
    );
    world.judge(operator).await;
}

// lifecycle 28, storage-core 5, storage-volumes 25, storage-swift 28; issue 11: a claim of the fallback without a volume is told
#[tokio::test]
async fn a_new_cluster_on_openstack_without_swift_gets_a_claim() {
    let world = World::new("kw-sbare").await;
    stack().await.keystone.hide_object_store(&world.project).await.unwrap();
    world.mint().await;
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "cinder.test",
        "metadata": {"name": "standard-csi"}});
    let _ = world.cluster.try_create(class).await;
    let operator = world.cluster.operator().await;
    let config = world.cluster.until_config("there", |_| true).await;
    let spec = &config["spec"];
    assert_eq!(spec["storage"]["pvc"]["claim"], names::DEFAULT_CLAIM);
    assert_eq!(
        (&spec["replicas"], &spec["rolloutStrategy"]),
        (&json!(1), &json!("Recreate"))
    );
    let claim = world.cluster.get(&default_claim()).await.unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "standard-csi");
    assert_eq!(claim["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(claim["metadata"]["annotations"]["imageregistry.openshift.io"], "true");
    // Nothing provisions its volume.
    let told = |c: &Value| {
        let conditions = c["status"]["conditions"].as_array();
        let available = conditions.and_then(|list| list.iter().find(|c| c["type"] == "Available"));
        available.is_some_and(|c| {
            let message = c["message"].as_str().unwrap_or_default();
            c["reason"] == "NoReplicasAvailable"
                && message.contains("has no node")
                && message.contains("PersistentVolumeClaim")
        })
    };
    world.cluster.until_config("why the pod waits", told).await;
    world.judge(operator).await;
}

// lifecycle 29, 34, storage-core 6, storage-swift 30
#[tokio::test]
async fn while_nobody_knows_whether_swift_is_there_nothing_is_created() {
    let world = World::new("kw-swait").await;
    let operator = world.cluster.operator().await;
    let reports = |object: Option<&Value>, text: &str| object.is_some_and(|o| o.to_string().contains(text));
    let missing = |o: Option<&Value>| reports(o, "installer-cloud-credentials");
    world
        .cluster
        .until(&cluster_operator(), "no credentials", missing)
        .await;
    let refused = Fault::Answer(Reply::keystone_error(401, "Unauthorized", "refused by the test"));
    world.keystone.plan(When::operation(LOGIN), refused);
    world.mint().await;
    world
        .cluster
        .until(&cluster_operator(), "refused", |o| reports(o, "401"))
        .await;
    world.keystone.pass();
    world
        .keystone
        .plan(When::operation(LOGIN), Fault::Answer(Reply::new(503, "")));
    world
        .cluster
        .until(&cluster_operator(), "down", |o| reports(o, "503"))
        .await;
    assert!(world.cluster.get(&config_ref()).await.is_none());
    assert!(world.cluster.get(&default_claim()).await.is_none());
    assert!(!world.exists().await);
    world.keystone.pass();
    let config = world.cluster.until_config("up", is_settled).await;
    assert_eq!(
        config["spec"]["storage"]["swift"]["container"],
        json!(world.generated())
    );
    world.judge(operator).await;
}

/// A removal of so many objects by operators that are killed, one after the other. Swift tells that it deletes a page at once.
async fn removal_of_many(mut world: World, count: usize) {
    let page = (count / PAGES).min(1000);
    // A busy machine deletes 50 in a second.
    world.cluster.timeout = world
        .cluster
        .timeout
        .max(Duration::from_millis(20) * u32::try_from(count).unwrap());
    world.mint().await;
    let operator = world.cluster.operator().await;
    world.cluster.until_config("up", is_settled).await;
    let began = Instant::now();
    fill(&world.account, &world.generated(), count).await;
    eprintln!("{count} objects in {:?}", began.elapsed());
    world.cluster.settle().await;
    let start = async || world.cluster.operator().await;
    let killed = Killed::removal(&world.cluster, operator, start, |death, most| {
        let operation = if death % 2 == 0 { "BulkDelete" } else { "GetContainer" };
        let victim = kill_at(&world.swift, operation, 1, most);
        for path in ["/info", "/swift/info"] {
            let told = Fault::change(move |_, answer| {
                let mut info: Value = serde_json::from_slice(answer.body()).unwrap();
                info["bulk_delete"]["max_deletes_per_request"] = json!(page);
                *answer.body_mut() = info.to_string().into_bytes().into();
            });
            world.swift.plan(When::any().path(path), told);
        }
        victim
    })
    .await;
    world.logs.extend(killed.logs.iter().cloned());
    let left = world.account.objects(&world.generated()).await.unwrap();
    assert!(!left.is_empty(), "each process died in the middle");
    world.swift.pass();
    let operator = world.cluster.operator().await;
    killed.until_removed(&world.cluster, &operator, count).await;
    assert!(!world.exists().await);
    world.judge(operator).await;
}

// storage-swift 40, storage-core 40, 45: in bounded memory, though the process is killed
#[tokio::test]
async fn a_full_container_goes_in_bounded_memory_though_the_operator_is_killed_ten_times() {
    removal_of_many(World::new("kw-smany").await, ON_SWIFT).await;
}

// storage-swift 40, storage-core 40, 45; with SWIFT_MANY_OBJECTS=20000, issue 11: 20,000 objects with segments
#[tokio::test]
async fn a_full_container_of_ceph_goes_in_bounded_memory_though_the_operator_is_killed_ten_times() {
    let gateway = Rgw::start(&stack().await.keystone).await.unwrap();
    let world = World::on_ceph("kw-cmany", &gateway).await;
    let asked = std::env::var("SWIFT_MANY_OBJECTS").ok();
    removal_of_many(world, asked.and_then(|n| n.parse().ok()).unwrap_or(USUAL)).await;
}
