//! The registry's pod on S3, with what the operator configured: first keys and a private CA, then the public endpoints of
//! AWS, then tokens of the cluster.

use devcluster::install;
use devcluster::stores::{ACCOUNT, Asked, Authority, Call, Cloud, Gate, Keys, Moto, MotoOptions, Sts, StsOptions};
use http::Method;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::TestCluster;
use crate::switch::{map, set, user_secret};
use crate::{REGISTRY, Sample, Scenario};

const REGION: &str = "us-east-1";
/// The registry of this cluster uses the second, a dual-stack endpoint.
const STS: [&str; 2] = ["sts.us-east-1.amazonaws.com", "sts.us-east-1.api.aws"];
/// Endpoints with the bucket in the host name; SDKs with dual-stack use the second.
const PUBLIC: [&str; 2] = ["*.s3.us-east-1.amazonaws.com", "*.s3.dualstack.us-east-1.amazonaws.com"];

/// The stores with all the names under which pods reach them.
pub struct S3 {
    /// The cloud. It checks who asks.
    moto: Moto,
    /// A private store, at an address: nodes, which are redirected to it, do not resolve names of pods. It does not check who
    /// asks, because moto answers 500 to a pre-signed GET if it does.
    private: Moto,
    cloud: Cloud,
    authority: Authority,
    keys: Keys,
    role: String,
    _sts: Sts,
}

impl S3 {
    pub async fn start(cluster: &TestCluster, authority: Authority) -> Self {
        let options = MotoOptions {
            authorisation: true,
            ..MotoOptions::default()
        };
        let moto = Moto::start(options).await.unwrap();
        let private = Moto::start(MotoOptions::default()).await.unwrap();
        let address = Cloud::address_in(cluster.devcluster).to_string();
        let sts = Sts::start(
            &moto,
            StsOptions {
                authority: authority.clone(),
                names: STS.map(str::to_owned).to_vec(),
                key: cluster.devcluster.token_key().unwrap(),
                address: None,
            },
        )
        .unwrap();
        let all = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
        let keys = moto.user("registry", &all).await.unwrap();
        let role = moto.role(ACCOUNT, "registry-role", &all).await.unwrap();
        for account in [names::OPERATOR_DEPLOYMENT, names::REGISTRY_SERVICE_ACCOUNT] {
            sts.trust(&role, &format!("system:serviceaccount:{}:{account}", names::NAMESPACE));
        }
        let stores = PUBLIC.iter().map(|name| (*name, moto.target()));
        let all = stores
            .chain(STS.map(|name| (name, sts.target())))
            .chain([(address.as_str(), private.target())]);
        let routes = all.map(|(name, target)| (name.to_owned(), target.clone())).collect();
        let names = PUBLIC.iter().chain(&STS).copied().chain([address.as_str()]);
        let of_certificate: Vec<String> = names.map(str::to_owned).collect();
        let cloud = Cloud::start(cluster.devcluster, &authority, routes, &of_certificate).unwrap();
        Self {
            moto,
            private,
            cloud,
            authority,
            keys,
            role,
            _sts: sts,
        }
    }

    /// The user's Secret with the key pair of a user who may do everything.
    pub fn secret(&self) -> Value {
        json!({"REGISTRY_STORAGE_S3_ACCESSKEY": self.keys.id, "REGISTRY_STORAGE_S3_SECRETKEY": self.keys.secret})
    }

    /// A bucket in the private store, as the Config names it.
    pub fn private_bucket(&self, name: &str) -> Value {
        json!({"bucket": name, "region": REGION, "regionEndpoint": format!("https://{}", self.cloud.address())})
    }

    /// Where requests to both stores are seen.
    pub fn gate(&self) -> &Gate {
        self.cloud.gate()
    }

    /// Number of objects in a bucket, at most one page.
    async fn count(&self, moto: &Moto, bucket: &str) -> usize {
        let path = format!("/{bucket}?list-type=2");
        let call = Call::new(Method::GET, &path).signed(self.moto.admin(), "s3", REGION);
        let answer = moto.target().call(call).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().matches("<Key>").count()
    }

    /// Number of requests for an operation.
    fn asked(&self, operation: &str) -> usize {
        let all = self.cloud.gate().operations();
        all.iter().filter(|asked| *asked == operation).count()
    }
}

impl Scenario {
    /// Switches the registry from emptyDir to S3 and back.
    pub async fn on_s3(&self, first: &Sample) {
        let s3 = S3::start(&self.cluster, Authority::new("cloud-ca").unwrap()).await;
        self.say("a cloud is there");
        self.keys_and_private_ca(&s3).await;
        let sample = self.public_names(&s3).await;
        self.tokens_of_the_cluster(&s3, &sample).await;

        self.change(async || {
            self.cluster.delete(&user_secret()).await;
            let storage = json!({"s3": null, "managementState": null, "emptyDir": {}});
            self.cluster
                .edit(json!({"storage": storage, "disableRedirect": false}))
                .await;
        })
        .await;
        self.push_and_pull(REGISTRY, first).await;
        self.say("back on emptyDir");
        for (moto, bucket) in [(&s3.private, "e2e-quarry"), (&s3.moto, "e2e-harbour")] {
            assert!(s3.count(moto, bucket).await > 0, "{bucket} keeps its images");
        }
        self.cluster
            .delete(&map(names::CONFIG_MANAGED_NAMESPACE, names::CLOUD_CONFIG_MAP))
            .await;
    }

    // issue 10, row 17; workload 74: nodes follow redirects to a store whose CA only the Config names
    async fn keys_and_private_ca(&self, s3: &S3) {
        set(&self.cluster, &user_secret(), "stringData", s3.secret()).await;
        let ca = json!({"ca-bundle.crt": s3.authority.pem()});
        set(&self.cluster, &map(names::CONFIG_NAMESPACE, "s3-ca"), "data", ca).await;
        let mut block = s3.private_bucket("e2e-quarry");
        block["trustedCA"] = json!({"name": "s3-ca"});
        let spec = json!({"storage": {"emptyDir": null, "s3": block}});
        self.change(async || {
            self.cluster.edit(spec).await;
        })
        .await;
        let sample = self.sample("quarry").await;
        // node-ca adds the store's CA to the registry's host.
        install::nodes_trust_authority(self.cluster.devcluster, REGISTRY, s3.authority.pem())
            .await
            .unwrap();
        self.push_and_pull(REGISTRY, &sample).await;
        self.say("pushed to and pulled from S3, with keys and a private CA");
        assert!(s3.count(&s3.private, "e2e-quarry").await > 0);
        let before = s3.cloud.gate().asked().len();
        self.a_pod_runs(&sample).await;
        let asked = s3.cloud.gate().asked();
        let redirected =
            |a: &&Asked| a.method == Method::GET && a.query.contains("X-Amz-Signature=") && a.status == 200;
        let pulled = asked[before..].iter().filter(redirected).count();
        assert!(pulled > 0, "the node pulled through redirects: {asked:#?}");
    }

    /// Switches to another bucket, at the public endpoint.
    async fn public_names(&self, s3: &S3) -> Sample {
        let ca = json!({names::CLOUD_CA_KEY: s3.authority.pem()});
        let cloud_config = map(names::CONFIG_MANAGED_NAMESPACE, names::CLOUD_CONFIG_MAP);
        set(&self.cluster, &cloud_config, "data", ca).await;
        let block = json!({"bucket": "e2e-harbour", "regionEndpoint": null, "trustedCA": null});
        self.change(async || {
            // Nodes do not resolve the names of the cloud.
            self.cluster
                .edit(json!({"storage": {"s3": block, "managementState": null}, "disableRedirect": true}))
                .await;
        })
        .await;
        let sample = self.sample("harbour").await;
        self.push_and_pull(REGISTRY, &sample).await;
        self.say("pushed to and pulled from a bucket at the public names");
        let asked = s3.cloud.gate().asked();
        let is_public = |a: &&Asked| a.operation() == "PutObject" && a.host.ends_with(".amazonaws.com");
        assert!(asked.iter().filter(is_public).count() > 1, "{asked:#?}");
        sample
    }

    /// Switches to other credentials for the same bucket; the old keys become invalid.
    async fn tokens_of_the_cluster(&self, s3: &S3, sample: &Sample) {
        let text = format!(
            "[default]\nsts_regional_endpoints = regional\nrole_arn = {}\n\
             web_identity_token_file = /var/run/secrets/openshift/serviceaccount/token\n",
            s3.role
        );
        assert_eq!(s3.asked("AssumeRoleWithWebIdentity"), 0);
        self.change(async || {
            set(
                &self.cluster,
                &user_secret(),
                "stringData",
                json!({"credentials": text}),
            )
            .await;
        })
        .await;
        s3.moto.delete_key(ACCOUNT, "registry", &s3.keys).await.unwrap();
        let digest = self.crane("node2", &["digest", &sample.at(REGISTRY)]).await;
        assert_eq!(digest, sample.digest, "the same bucket");
        self.push_and_pull(REGISTRY, &self.sample("token").await).await;
        self.say("pushed and pulled with the cluster's tokens");
        assert!(s3.asked("AssumeRoleWithWebIdentity") >= 2, "operator and registry");
    }
}
