//! The registry's pod on IBM Cloud Object Storage and on Alibaba Cloud OSS, with what the operator configured.

use devcluster::stores::{Authority, Cloud, Ibm, IbmOptions, Keys, Moto};
use serde_json::json;

use crate::switch::{set, user_secret};
use crate::{REGISTRY, Sample, Scenario};

const ACCOUNT: &str = "account-of-e2e";
const GROUP: &str = "e2e";
/// Hosts of IBM Cloud, and of OSS with the bucket in the host name.
const IBM_HOSTS: [&str; 3] = [
    "iam.cloud.ibm.com",
    "resource-controller.cloud.ibm.com",
    "s3.us-east.cloud-object-storage.appdomain.cloud",
];
const OSS_HOSTS: &str = "*.s3.oss-us-east-1-internal.aliyuncs.com";

/// Both clouds, under the names by which pods reach them.
struct Clouds {
    ibm: Ibm,
    cloud: Cloud,
    keys: Keys,
}

impl Scenario {
    /// Switches the registry from emptyDir to IBM Cloud, to OSS, and back.
    pub async fn on_ibm_cloud_and_oss(&self, first: &Sample) {
        let clouds = self.start_clouds().await;
        self.say("IBM Cloud and Alibaba Cloud are there");
        self.on_ibm_cloud(&clouds).await;
        self.on_oss(&clouds).await;
        self.change(async || {
            self.cluster.delete(&user_secret()).await;
            let storage = json!({"oss": null, "managementState": null, "emptyDir": {}});
            self.cluster
                .edit(json!({"storage": storage, "disableRedirect": false}))
                .await;
            self.distrust().await;
        })
        .await;
        self.push_and_pull(REGISTRY, first).await;
        self.say("back on emptyDir");
    }

    async fn start_clouds(&self) -> Clouds {
        let moto = Moto::shared().await.unwrap();
        let ibm = Ibm::start(IbmOptions::moto(moto)).unwrap();
        ibm.group(ACCOUNT, GROUP);
        let authority = Authority::new("clouds-ca").unwrap();
        let of_ibm = IBM_HOSTS.map(|host| (host.to_owned(), ibm.target().clone()));
        let routes = of_ibm
            .into_iter()
            .chain([(OSS_HOSTS.to_owned(), moto.target().clone())]);
        let names = IBM_HOSTS.into_iter().chain([OSS_HOSTS]).map(str::to_owned);
        let names: Vec<String> = names.collect();
        let cloud = Cloud::start(self.cluster.devcluster, &authority, routes.collect(), &names).unwrap();
        self.trust(&authority).await;
        let all = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
        let keys = moto.user("e2e-oss", &all).await.unwrap();
        Clouds { ibm, cloud, keys }
    }

    // issue 13
    async fn on_ibm_cloud(&self, clouds: &Clouds) {
        let key = json!({"REGISTRY_STORAGE_IBMCOS_IAMAPIKEY": clouds.ibm.api_key(ACCOUNT)});
        set(&self.cluster, &user_secret(), "stringData", key).await;
        let block = json!({"location": "us-east", "resourceGroupName": GROUP});
        self.change(async || {
            // Nodes do not resolve the names of the cloud.
            self.cluster
                .edit(json!({"storage": {"emptyDir": null, "ibmcos": block}, "disableRedirect": true}))
                .await;
        })
        .await;
        let sample = self.sample("reef").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.a_pod_runs(&sample).await;
        let asked = clouds.cloud.gate().asked();
        let by_registry = asked
            .iter()
            .filter(|asked| asked.operation() == "PutObject" && asked.is_signed());
        assert!(by_registry.count() > 1, "{asked:#?}");
        assert!(asked.iter().any(|asked| asked.operation() == "create_resource_key"));
        self.say("pushed to and pulled from IBM Cloud Object Storage");
    }

    // issue 13
    async fn on_oss(&self, clouds: &Clouds) {
        let keys = &clouds.keys;
        let pair = json!({
            "REGISTRY_STORAGE_OSS_ACCESSKEYID": keys.id, "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET": keys.secret,
        });
        self.change(async || {
            let storage = json!({"ibmcos": null, "managementState": null, "oss": {"region": "us-east-1"}});
            self.cluster.edit(json!({"storage": storage})).await;
            set(&self.cluster, &user_secret(), "stringData", pair).await;
        })
        .await;
        let sample = self.sample("delta").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.a_pod_runs(&sample).await;
        let asked = clouds.cloud.gate().asked();
        let of_oss = asked
            .iter()
            .filter(|asked| asked.operation() == "PutObject" && asked.host.ends_with(".aliyuncs.com"));
        assert!(of_oss.count() > 1, "{asked:#?}");
        self.say("pushed to and pulled from Alibaba Cloud OSS");
    }
}
