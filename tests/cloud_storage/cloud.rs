//! AWS as this cluster sees it: one account in moto, its public names behind the cluster's proxy.

use std::collections::BTreeMap;

use devcluster::stores::{Authority, Call, ForwardProxy, Gate, GateOptions, Hosts, Keys, Moto, ProxyOptions};
use http::Method;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::operator::Operator;
use crate::support::{TestCluster, is, operand, shared_cluster, simulated};

pub const REGION: &str = "us-west-2";
/// The bucket is in the host name.
const S3: &str = "*.s3.dualstack.us-west-2.amazonaws.com";
const STS: &str = "sts.us-west-2.amazonaws.com";
/// Of the proxy; must not be shown anywhere.
const PROXY_PASSWORD: &str = "proxy-password-31f2";

/// The store, started once for all tests of this program; signatures and policies count.
pub async fn moto() -> &'static Moto {
    Moto::shared().await.unwrap()
}

/// A call as the account's administrator.
pub async fn call(method: Method, path: &str, body: &str) -> (u16, String) {
    let moto = moto().await;
    let call = Call::new(method, path).body(body.as_bytes());
    let answer = moto.target().call(call.signed(moto.admin(), "s3", REGION)).await;
    let answer = answer.unwrap();
    (answer.status, answer.text())
}

pub async fn exists(bucket: &str) -> bool {
    call(Method::HEAD, &format!("/{bucket}"), "").await.0 == 200
}

pub async fn make(bucket: &str) {
    let body = format!(
        "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
    );
    let (status, text) = call(Method::PUT, &format!("/{bucket}"), &body).await;
    assert_eq!(status, 200, "{text}");
}

/// A cluster on AWS, with nothing of the operator in it.
pub struct World {
    pub cluster: TestCluster,
    /// All that is asked of the cloud goes through it.
    pub gate: Gate,
    pub proxy: ForwardProxy,
    /// Name of the cluster, by which the operator names its bucket.
    pub infrastructure: &'static str,
    /// What nobody may see but the cloud.
    secrets: Vec<String>,
    /// Logs of operators that have ended.
    logs: Vec<String>,
    roots: tempfile::TempDir,
}

impl World {
    pub async fn new(infrastructure: &'static str) -> Self {
        let moto = moto().await;
        let cluster = shared_cluster(simulated("cloud-storage")).await;
        cluster.delete_events().await;
        for name in ["s3-ca", "other-ca"] {
            cluster
                .delete(&ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, name))
                .await;
        }
        let authority = Authority::new("cloud-ca").unwrap();
        let gate = Gate::with(GateOptions {
            address: ([127, 0, 0, 1], 0).into(),
            routes: vec![("*".to_owned(), moto.target().clone())],
            authority: Some(authority.clone()),
            names: vec![S3.to_owned(), STS.to_owned()],
        })
        .unwrap();
        let address = gate.target().address;
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Hosts::new().with(S3, address).with(STS, address),
            credentials: Some(("operator".to_owned(), PROXY_PASSWORD.to_owned())),
        })
        .unwrap();
        let roots = tempfile::tempdir().unwrap();
        std::fs::write(roots.path().join("roots.pem"), authority.pem()).unwrap();
        let world = Self {
            cluster,
            gate,
            proxy,
            infrastructure,
            secrets: vec![PROXY_PASSWORD.to_owned()],
            logs: Vec::new(),
            roots,
        };
        world.infrastructure(json!([])).await;
        let proxy = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
        let spec = json!({"httpsProxy": world.proxy.url()});
        world.cluster.patch(&proxy, json!({"spec": spec})).await;
        world
            .cluster
            .until(&proxy, "in use", |o| {
                o.is_some_and(|o| o["status"]["httpsProxy"] == spec["httpsProxy"])
            })
            .await;
        world
    }

    /// What the platform says: AWS, and the tags that it wants on everything.
    pub async fn infrastructure(&self, tags: Value) {
        let infrastructure = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        let platform = json!({"type": "AWS", "aws": {"region": REGION, "resourceTags": tags}});
        let status = json!({"platform": "AWS", "platformStatus": platform, "infrastructureName": self.infrastructure});
        self.cluster
            .patch_status(&infrastructure, json!({"status": status}))
            .await;
    }

    /// The name that the operator gives its bucket.
    pub fn generated(&self) -> String {
        format!("{}-image-registry-{REGION}", self.infrastructure)
    }

    /// A user of the account, by a name that is this cluster's.
    pub async fn user(&mut self, name: &str, statements: &Value) -> Keys {
        let name = format!("{}-{name}", self.infrastructure);
        let keys = moto().await.user(&name, statements).await.unwrap();
        self.secrets.push(keys.secret.clone());
        keys
    }

    /// Something more that nobody may see.
    pub fn secret(&mut self, text: &str) {
        self.secrets.push(text.to_owned());
    }

    /// Keys with exactly the rights that the platform is asked for, as it mints them.
    pub async fn mint(&mut self) -> Keys {
        let keys = self.minted().await;
        self.mint_as(&keys).await;
        keys
    }

    /// Such keys, without the Secret.
    pub async fn minted(&mut self) -> Keys {
        self.user("minted", &requested()).await
    }

    async fn mint_as(&self, keys: &Keys) {
        let data = json!({
            "aws_access_key_id": keys.id, "aws_secret_access_key": keys.secret, "credentials": keys.profile(),
        });
        self.cluster
            .create(json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
                           "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE}}))
            .await;
    }

    /// The operator, in an environment that would lead it astray if it looked there.
    pub async fn operator(&self) -> Operator {
        self.operator_with(&[]).await
    }

    /// The same, which reaches these hosts without the proxy.
    pub async fn operator_beside(&self, hosts: &str) -> Operator {
        self.operator_with(&[("NO_PROXY", hosts)]).await
    }

    /// The same, with another variable that names the proxy too.
    pub async fn operator_by(&self, variable: &str) -> Operator {
        self.operator_with(&[(variable, &self.proxy.url())]).await
    }

    async fn operator_with(&self, more: &[(&str, &str)]) -> Operator {
        let mut environment = self.environment();
        environment.extend(
            more.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        self.cluster.operator_in(&environment).await
    }

    /// Environment of the operator: the way to the cloud, and what would lead it astray if it looked there.
    pub fn environment(&self) -> Vec<(String, String)> {
        let home = self.roots.path();
        let aws = home.join(".aws");
        std::fs::create_dir_all(&aws).unwrap();
        let astray = Keys::new("AKIAASTRAYASTRAYASTR", "astray");
        for file in ["credentials", "config"] {
            let text = format!("{}region = eu-west-1\n", astray.profile());
            std::fs::write(aws.join(file), text).unwrap();
        }
        let endpoint = "http://127.0.0.1:1";
        [
            ("HTTPS_PROXY", self.proxy.url().as_str()),
            ("SSL_CERT_FILE", &home.join("roots.pem").display().to_string()),
            ("HOME", &home.display().to_string()),
            ("AWS_ACCESS_KEY_ID", &astray.id),
            ("AWS_SECRET_ACCESS_KEY", &astray.secret),
            ("AWS_SESSION_TOKEN", "astray"),
            ("AWS_PROFILE", "default"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ENDPOINT_URL_S3", endpoint),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/astray"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Ends an operator, whose log is still judged.
    pub async fn stop(&mut self, operator: Operator) {
        self.keep_log(operator.log());
        operator.stop().await;
    }

    /// The log of an operator that ends is still judged.
    pub fn keep_log(&mut self, log: String) {
        self.logs.push(log);
    }

    /// Operations asked for since the gate forgot, with how often.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for operation in self.gate.operations() {
            *calls.entry(operation).or_default() += 1;
        }
        calls
    }

    /// A call as the account's administrator, past the gate.
    pub async fn call(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        call(method, path, body).await
    }

    pub async fn exists(&self, bucket: &str) -> bool {
        exists(bucket).await
    }

    pub async fn make(&self, bucket: &str) {
        make(bucket).await;
    }

    pub async fn put(&self, bucket: &str, key: &str) {
        let (status, text) = self.call(Method::PUT, &format!("/{bucket}/{key}"), "layer").await;
        assert_eq!(status, 200, "{text}");
    }

    /// How many objects a bucket holds.
    pub async fn count(&self, bucket: &str) -> usize {
        let (status, text) = self.call(Method::GET, &format!("/{bucket}?list-type=2"), "").await;
        assert_eq!(status, 200, "{text}");
        text.matches("<Key>").count()
    }

    pub async fn tags(&self, bucket: &str) -> String {
        self.call(Method::GET, &format!("/{bucket}?tagging"), "").await.1
    }

    /// At the end of each test: nothing was denied by the API server, and no secret was told to anybody.
    pub async fn judge(mut self, operator: Operator) {
        let log = self.cluster.devcluster.audit().unwrap();
        let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
        assert!(ours.denied().is_empty(), "{}", ours.denied());
        let asked = self.gate.asked();
        let astray = asked
            .iter()
            .filter(|a| a.key_id().is_some_and(|id| id.contains("ASTRAY")));
        assert_eq!(astray.count(), 0, "{asked:#?}");
        let mut told = vec![self.cluster.config().await];
        // What the user writes there is the user's.
        told[0]["spec"]["proxy"] = json!({});
        let operator_of_cluster = ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR);
        told.extend(self.cluster.get(&operator_of_cluster).await);
        told.extend(
            self.cluster
                .get(&operand(Kind::Deployment, names::REGISTRY))
                .await
                .map(|mut d| {
                    // The pods' way out is theirs to know.
                    d["spec"] = json!({});
                    d["metadata"]["annotations"] = json!({});
                    d
                }),
        );
        let events = self.cluster.events().await;
        let metrics = operator.metrics().await;
        self.stop(operator).await;
        let mut texts: Vec<String> = told.iter().map(Value::to_string).collect();
        texts.extend(events);
        texts.append(&mut self.logs);
        texts.push(metrics);
        for (secret, text) in self.secrets.iter().flat_map(|s| texts.iter().map(move |t| (s, t))) {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "a secret is told: {line:?}");
        }
    }
}

/// The statements of the request to the platform for credentials; moto has a right of its own for HeadBucket.
fn requested() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/01-registry-credentials-request.yaml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let documents = text
        .split("\n---")
        .map(|part| serde_saphyr::from_str::<Value>(part).unwrap());
    let request = documents
        .into_iter()
        .find(|d| d["spec"]["providerSpec"]["kind"] == "AWSProviderSpec")
        .expect("a request for AWS");
    let entries = request["spec"]["providerSpec"]["statementEntries"]
        .as_array()
        .unwrap()
        .clone();
    let statements = entries.into_iter().map(|entry| {
        let mut actions = entry["action"].as_array().unwrap().clone();
        if actions.contains(&json!("s3:ListBucket")) {
            actions.push(json!("s3:HeadBucket"));
        }
        json!({"Effect": entry["effect"], "Action": actions, "Resource": entry["resource"]})
    });
    Value::Array(statements.collect())
}

/// The four steps that secure a bucket, and its existence.
pub const STEPS: [&str; 5] = [
    "StorageExists",
    "StoragePublicAccessBlocked",
    "StorageTagged",
    "StorageEncrypted",
    "StorageIncompleteUploadCleanupEnabled",
];

/// Each is True, with the reason it says.
pub fn assert_secured(config: &Value) {
    for step in STEPS {
        let (status, reason, message) = crate::support::condition(config, step);
        assert_eq!(status, "True", "{step}: {reason}: {message}");
    }
    assert!(is(config, "Available", "True", "Ready"));
}

impl Drop for World {
    /// For the reader of a failure.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let asked: Vec<String> = self.gate.asked().iter().map(ToString::to_string).collect();
            let proxied = self
                .proxy
                .seen()
                .into_iter()
                .map(|p| format!("{} {} {}", p.status, p.method, p.target));
            let proxied: std::collections::BTreeSet<String> = proxied.collect();
            eprintln!(
                "--- asked of the cloud\n{}\n--- through the proxy\n{proxied:#?}",
                asked.join("\n")
            );
        }
    }
}
