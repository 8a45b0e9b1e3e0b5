//! IBM Cloud and Power Virtual Server from nothing, to service instance, resource key, bucket and Deployment, and the removal.

use devcluster::stores::{Gate, Ibm, IbmOptions, Moto};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::operator::Operator;
use crate::support::{TestCluster, cluster_operator, condition, config_ref, shared_cluster, simulated};
use crate::{environment, file, is_settled};

pub const ACCOUNT: &str = "account-of-clusters";
pub const GROUP: &str = "clusters";

static IBM: OnceCell<Ibm> = OnceCell::const_new();

async fn ibm() -> &'static Ibm {
    let start = || async {
        let ibm = Ibm::start(IbmOptions::moto(Moto::shared().await.unwrap())).unwrap();
        ibm.group(ACCOUNT, GROUP);
        ibm
    };
    IBM.get_or_init(start).await
}

/// A cluster on IBM Cloud, with nothing of the operator in it; a gate has the addresses of all services.
pub struct World {
    pub cluster: TestCluster,
    pub gate: Gate,
    pub ibm: &'static Ibm,
    pub api_key: String,
}

impl World {
    pub async fn new(infrastructure: &'static str, platform: &str, mut cloud: Value) -> Self {
        let ibm = ibm().await;
        let cluster = shared_cluster(simulated("cloud-storage")).await;
        cluster.delete_events().await;
        let gate = Gate::start(ibm.target(), None, &[]).unwrap();
        let address = |name: &str| json!({"name": name, "url": format!("{}/", gate.url())});
        let unused = json!({"name": "VPC", "url": "https://us-east.private.iaas.cloud.ibm.com/v1"});
        let services = ["COS", "IAM", "ResourceController", "ResourceManager"].map(address);
        cloud["serviceEndpoints"] = services.into_iter().chain([unused]).collect();
        let member = if platform == "PowerVS" { "powervs" } else { "ibmcloud" };
        let status = json!({
            "platform": platform, "platformStatus": {"type": platform, member: cloud},
            "infrastructureName": infrastructure, "infrastructureTopology": "HighlyAvailable",
        });
        let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        cluster.patch_status(&reference, json!({"status": status})).await;
        let api_key = ibm.api_key(ACCOUNT);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "stringData": {"ibmcloud_api_key": api_key},
            "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE},
        });
        cluster.create(secret).await;
        Self {
            cluster,
            gate,
            ibm,
            api_key,
        }
    }

    pub fn count(&self, operation: &str) -> usize {
        self.gate.operations().iter().filter(|name| *name == operation).count()
    }

    /// At the end of each test: nothing was denied by the API server, and no secret was told to anybody.
    pub async fn judge(self, operator: Operator, instance: &str) {
        let log = self.cluster.devcluster.audit().unwrap();
        let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
        assert!(ours.denied().is_empty(), "{}", ours.denied());
        let mut texts = vec![operator.metrics().await, operator.log()];
        operator.stop().await;
        for reference in [config_ref(), cluster_operator()] {
            texts.extend(self.cluster.get(&reference).await.map(|object| object.to_string()));
        }
        texts.extend(self.cluster.events().await);
        let keys = self.ibm.keys(instance);
        let hmac = keys.iter().filter_map(|key| self.ibm.hmac(key)).map(|keys| keys.secret);
        for secret in hmac.chain([self.api_key.clone(), "Bearer ey".to_owned()]) {
            let line = texts
                .iter()
                .flat_map(|text| text.lines())
                .find(|line| line.contains(&secret));
            assert!(line.is_none(), "a secret is told: {line:?}");
        }
    }
}

// lifecycle 24, storage-ibmcos 1, 9, 30, 33, storage-core 12, 40
#[tokio::test]
async fn a_new_cluster_on_ibm_cloud_has_a_registry_that_nobody_asked_for() {
    let cloud = json!({"location": "us-east", "resourceGroupName": GROUP});
    let world = World::new("kw-ibm", "IBMCloud", cloud).await;
    let operator = world.cluster.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let bucket = "kw-ibm-image-registry-us-east";
    let instance = world.ibm.crn_of(ACCOUNT, "kw-ibm-image-registry");
    let storage = json!({
        "ibmcos": {
            "bucket": bucket, "location": "us-east", "resourceGroupName": GROUP, "serviceInstanceCRN": instance,
            "resourceKeyCRN": world.ibm.keys(&instance)[0],
        },
        "managementState": "Managed",
    });
    assert_eq!(
        (&config["spec"]["storage"], &config["status"]["storage"]),
        (&storage, &storage)
    );
    assert_eq!(config["spec"]["replicas"], 2);
    let (status, reason, _) = condition(&config, "StorageExists");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "IBM COS Bucket Exists"));
    let variables = environment(&world.cluster).await;
    for (name, value) in [
        ("REGISTRY_STORAGE", "s3"),
        ("REGISTRY_STORAGE_S3_BUCKET", bucket),
        ("REGISTRY_STORAGE_S3_REGION", "us-east"),
        ("REGISTRY_STORAGE_S3_REGIONENDPOINT", &world.gate.url()),
        ("REGISTRY_STORAGE_S3_USEDUALSTACK", "false"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    let keys = world.ibm.hmac(&world.ibm.keys(&instance)[0]).unwrap();
    assert_eq!(file(&world.cluster, "credentials").await.unwrap(), keys.profile());
    for operation in [
        "create_token",
        "create_resource_instance",
        "create_resource_key",
        "CreateBucket",
    ] {
        assert_eq!(world.count(operation), 1, "{operation}");
    }
    // Settled: nothing is asked of the cloud.
    world.gate.forget();
    world.cluster.trigger_reconcile("again").await;
    world.cluster.settle().await;
    assert_eq!(world.gate.operations(), [] as [&str; 0]);
    // Removed: the bucket goes, instance and key stay.
    world.cluster.edit(json!({"managementState": "Removed"})).await;
    let removed = |config: &Value| config["status"]["storage"] == json!({});
    let config = world.cluster.until_config("removed", removed).await;
    assert_eq!(world.ibm.bucket(bucket), None);
    assert_eq!(
        config["spec"]["storage"]["ibmcos"]["serviceInstanceCRN"],
        json!(instance)
    );
    assert_eq!(world.ibm.keys(&instance).len(), 1);
    world.judge(operator, &instance).await;
}

// lifecycle 24, storage-ibmcos 3
#[tokio::test]
async fn a_new_cluster_on_power_vs_has_a_registry_in_the_location_of_its_region() {
    let cloud = json!({"region": "mad", "resourceGroup": GROUP});
    let world = World::new("kw-power", "PowerVS", cloud).await;
    let operator = world.cluster.operator().await;
    let config = world.cluster.until_config("up", is_settled).await;
    assert_eq!(config["spec"]["storage"]["ibmcos"]["location"], "eu-de");
    let (_, constraint) = world.ibm.bucket("kw-power-image-registry-eu-de").unwrap();
    assert_eq!(constraint, "eu-de-smart");
    let instance = world.ibm.crn_of(ACCOUNT, "kw-power-image-registry");
    world.judge(operator, &instance).await;
}
