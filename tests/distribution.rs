//! The stock registry as a process with exactly what the operator renders for it: the files of its pod, its environment, its users.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::operand::{Files, Operand, OperandOptions};
use devcluster::stores::{Authority, Call, Seaweed, SeaweedOptions, Target};
use devcluster::{image, programs};
use hyper::Method;
use image_registry_operator::api::{Kind, Sensitive};
use image_registry_operator::config::environment::Environment;
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::config::resolve::resolve;
use image_registry_operator::config::snapshot::{Objects, Snapshot};
use image_registry_operator::config::yaml;
use image_registry_operator::names::{self, Program};
use image_registry_operator::plan::stock::{self, Account};
use image_registry_operator::plan::{self, Inputs, Source, htpasswd};
use image_registry_operator::program::distribution::{Distribution, regions};
use image_registry_operator::program::{
    FilesystemVolume, PublicEndpoint, RegistryProgram as _, RegistryStorage, S3Storage,
};
use serde_json::{Value, json};

const USER: &str = "registry";
const PASSWORD: &str = "a-long-password-of-the-operator";

fn account() -> Account {
    Account {
        user: USER.to_owned(),
        password: Sensitive::new(PASSWORD),
    }
}

fn line(user: &str, password: &str) -> String {
    htpasswd::with_line("", user, &bcrypt::hash(password, 4).unwrap())
}

/// A cluster with the stock registry.
struct Site {
    annotation: Option<&'static str>,
    spec: Value,
    storage: RegistryStorage,
    storage_ca: Option<String>,
    users: String,
}

impl Site {
    fn new(spec: Value) -> Self {
        Self {
            annotation: None,
            spec,
            storage: RegistryStorage::Filesystem(FilesystemVolume::EmptyDir),
            storage_ca: None,
            users: line(USER, PASSWORD),
        }
    }

    fn plan(&self) -> plan::Plan {
        let mut config = json!({
            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "metadata": {"name": "cluster"},
            "spec": {"managementState": "Managed", "replicas": 1, "httpSecret": "s3cr3t", "storage": {"emptyDir": {}}},
        });
        for (member, value) in self.spec.as_object().unwrap() {
            config["spec"][member] = value.clone();
        }
        if let Some(value) = self.annotation {
            config["metadata"]["annotations"] = json!({names::ANONYMOUS_ANNOTATION: value});
        }
        let objects = [
            config,
            stock::users_secret(&self.users),
            stock::login_secret(&account()),
        ];
        let mut objects = Objects::from_values(objects).unwrap();
        objects.set_absent_kind(Kind::Route);
        let snapshot = Snapshot {
            objects,
            environment: Environment {
                program: Program::Distribution,
                registry_image: "stock/registry:3".to_owned(),
                ..Environment::default()
            },
            security_api: false,
            service_ca_api: false,
            image_api: false,
            now: "2031-05-06T07:08:09Z".parse().unwrap(),
        };
        let resolved = resolve(&snapshot.config().unwrap().unwrap(), &snapshot).unwrap();
        let mut facts = Distribution.render(&self.storage).unwrap();
        facts.ca_bundle.clone_from(&self.storage_ca);
        plan::registry(&Inputs {
            resolved: &resolved,
            storage: Source::Facts(&facts),
            snapshot: &snapshot,
            recorded: None,
        })
    }

    /// Starts what the plan has, with the Secrets and ConfigMaps of the plan.
    async fn start(&self) -> Operand {
        let plan = self.plan();
        let deployment = plan.desired(Kind::Deployment, names::REGISTRY).expect("a Deployment");
        let mut pod = deployment.body["spec"]["template"]["spec"].clone();
        let mut secrets = data(&plan, Kind::Secret);
        let mut config_maps = data(&plan, Kind::ConfigMap);
        let cas = self
            .storage_ca
            .iter()
            .map(|ca| (names::STORAGE_CA_KEY.to_owned(), ca.clone().into_bytes()));
        config_maps.insert(names::CERTIFICATES_MAP.to_owned(), cas.collect());
        follow_secrets(&mut pod, &mut secrets);
        let options = OperandOptions {
            pod,
            secrets,
            config_maps,
            token: String::new(),
            hosts: Vec::new(),
            authority: Authority::new("service-ca").unwrap(),
        };
        Operand::start(options).await.unwrap()
    }
}

/// What the Secrets or ConfigMaps of a plan hold.
fn data(plan: &plan::Plan, kind: Kind) -> BTreeMap<String, Files> {
    let of = |object: &Value| -> Files {
        let members = object["data"].as_object().into_iter().flatten();
        let bytes = |text: &str| match kind {
            Kind::Secret => STANDARD.decode(text).unwrap(),
            _ => text.as_bytes().to_vec(),
        };
        members
            .map(|(key, value)| (key.clone(), bytes(value.as_str().unwrap())))
            .collect()
    };
    let objects = plan.present.iter().filter(|desired| desired.reference.kind == kind);
    objects
        .map(|desired| (desired.reference.name.clone(), of(&desired.body)))
        .collect()
}

/// A process has no variables from Secrets: puts their values in.
fn follow_secrets(pod: &mut Value, secrets: &mut BTreeMap<String, Files>) {
    for variable in pod["containers"][0]["env"].as_array_mut().unwrap() {
        let Some(source) = variable.pointer("/valueFrom/secretKeyRef").cloned() else {
            continue;
        };
        let (name, key) = (source["name"].as_str().unwrap(), source["key"].as_str().unwrap());
        let value = String::from_utf8(secrets[name][key].clone()).unwrap();
        *variable = json!({"name": variable["name"], "value": value});
    }
}

/// A Docker configuration file.
fn login(registry: &Operand, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {registry.host(): {"auth": auth}}}).to_string()
}

/// Status of a request, as this user or as nobody.
async fn status(registry: &Operand, method: Method, path: &str, user: Option<(&str, &str)>) -> u16 {
    let basic = user.map(|(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    let headers: Vec<_> = basic.iter().map(|value| ("authorization", value.as_str())).collect();
    let call = Call::new(method, path).headers(&headers);
    registry.target().call(call).await.unwrap().status
}

const UPLOAD: &str = "/v2/lab/sample/blobs/uploads/";
const OWN: Option<(&str, &str)> = Some((USER, PASSWORD));

/// An image on disk, and its digest.
async fn sample(seed: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let pause = programs::ensure(&["pause"]).await.unwrap();
    let payload = seed.repeat(20_000).into_bytes();
    let sample = image::sample_image("localhost/sample:v1", pause.path("pause").unwrap(), payload);
    let digest = sample.write_layout(directory.path()).unwrap().to_string();
    (directory, digest)
}

/// Pushes an image, and pulls it whole.
async fn push_and_pull(registry: &Operand, logins: Option<&str>, seed: &str) {
    let (directory, digest) = sample(seed).await;
    let name = format!("{}/lab/sample:v1", registry.host());
    let pushed = registry
        .crane_with(logins, &["push", directory.path().to_str().unwrap(), &name])
        .await;
    pushed.unwrap_or_else(|error| panic!("{error:#}\n{}", registry.log().unwrap()));
    assert_eq!(registry.crane_with(logins, &["digest", &name]).await.unwrap(), digest);
    let tar = directory.path().join("pulled.tar");
    let pulled = registry
        .crane_with(logins, &["pull", &name, tar.to_str().unwrap()])
        .await;
    pulled.unwrap_or_else(|error| panic!("{error:#}\n{}", registry.log().unwrap()));
}

// kubernetes 2 (emptyDir), 4, 16: push and pull with the password; nobody without one
#[tokio::test]
async fn the_stock_registry_serves_with_what_is_rendered_and_asks_for_the_password() {
    let registry = Site::new(json!({})).start().await;
    let logins = login(&registry, USER, PASSWORD);
    push_and_pull(&registry, Some(&logins), "empty-dir").await;
    for (method, path) in [
        (Method::POST, UPLOAD),
        (Method::GET, "/v2/"),
        (Method::GET, "/v2/lab/sample/manifests/v1"),
    ] {
        assert_eq!(status(&registry, method.clone(), path, None).await, 401, "{path}");
        let wrong = Some((USER, "another"));
        assert_eq!(status(&registry, method, path, wrong).await, 401, "{path}");
    }
    assert_eq!(status(&registry, Method::POST, UPLOAD, OWN).await, 202);
    // Deletion is on, although `REGISTRY_STORAGE` replaces the section of the file.
    let name = format!("{}/lab/sample:v1", registry.host());
    let digest = registry.crane_with(Some(&logins), &["digest", &name]).await.unwrap();
    let manifest = format!("/v2/lab/sample/manifests/{digest}");
    assert_eq!(status(&registry, Method::DELETE, &manifest, OWN).await, 202);
    // The probes need no login; the file's header is there; metrics are elsewhere.
    let answer = registry.target().call(Call::new(Method::GET, "/")).await.unwrap();
    assert_eq!(answer.status, 200);
    let answer = registry.target().call(Call::new(Method::GET, "/v2/")).await.unwrap();
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let metrics = registry.debug().call(Call::new(Method::GET, "/metrics")).await.unwrap();
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.text().contains("registry_storage_action_seconds"),
        "{}",
        metrics.text()
    );
    let log = registry.log().unwrap();
    for unwanted in ["unrecognized environment", "provisioning with default user", PASSWORD] {
        assert!(!log.contains(unwanted), "{unwanted}: {log}");
    }
    assert!(log.contains("using inmemory blob descriptor cache"), "{log}");
}

// kubernetes 17: without a restart, by the same process
#[tokio::test]
async fn a_second_user_logs_in_without_a_restart() {
    let mut site = Site::new(json!({}));
    let mut registry = site.start().await;
    let second = Some(("frodo", "baggins"));
    assert_eq!(status(&registry, Method::POST, UPLOAD, second).await, 401);
    let hash = bcrypt::hash("baggins", 4).unwrap();
    site.users = htpasswd::with_line(&site.users, "frodo", &hash);
    let copy = |site: &Site| data(&site.plan(), Kind::Secret).remove(names::HTPASSWD_COPY);
    registry
        .update_secret(names::HTPASSWD_COPY, copy(&site).unwrap())
        .unwrap();
    assert_eq!(status(&registry, Method::POST, UPLOAD, second).await, 202);
    assert_eq!(status(&registry, Method::POST, UPLOAD, OWN).await, 202);
    // kubernetes 18: a line with another hash does not reach the registry.
    site.users.push_str("bilbo:$apr1$7QyS2WpW$MX2nVVd9Cc3jGqOoZsJDr/\n");
    assert_eq!(copy(&site), None);
}

// kubernetes 19, in part
#[tokio::test]
async fn only_the_annotation_lets_everybody_in() {
    let mut site = Site::new(json!({}));
    site.annotation = Some("true");
    let registry = site.start().await;
    push_and_pull(&registry, None, "anonymous").await;
    assert_eq!(status(&registry, Method::POST, UPLOAD, None).await, 202);
}

// kubernetes 4: read-only, TLS, redirects
#[tokio::test]
async fn a_read_only_registry_with_all_options_starts_and_refuses_pushes() {
    let suites = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ];
    let registry = Site::new(json!({
        "readOnly": true, "disableRedirect": true, "logLevel": "Debug",
        "observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS12", "cipherSuites": suites}},
    }));
    let registry = registry.start().await;
    assert_eq!(status(&registry, Method::POST, UPLOAD, OWN).await, 405);
    assert_eq!(status(&registry, Method::GET, "/v2/", OWN).await, 200);
    let log = registry.log().unwrap();
    for expected in [
        "backend redirection disabled",
        "restricting TLS version to tls1.2",
        "TLS_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "level=debug",
    ] {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}

/// A store with a private CA, and a cluster whose registry uses it.
async fn on_a_store() -> (Seaweed, Site) {
    let authority = Authority::new("store-ca").unwrap();
    let store = Seaweed::start(SeaweedOptions {
        authority: Some(authority.clone()),
        ..SeaweedOptions::default()
    });
    let store = store.await.unwrap();
    let keys = store.admin();
    let call = Call::new(Method::PUT, "/stock").signed(keys, "s3", "us-east-1");
    let target: &Target = store.target();
    assert_eq!(target.call(call).await.unwrap().status, 200);
    let credentials = format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        keys.id, keys.secret
    );
    let mut site = Site::new(json!({"disableRedirect": true}));
    site.storage = RegistryStorage::S3(Box::new(S3Storage {
        endpoint: Some(store.url()),
        path_style: true,
        dual_stack: Some(false),
        chunk_size: Some(10 << 20),
        credentials: Sensitive::new(credentials),
        ..at_amazon("us-east-1")
    }));
    site.storage_ca = Some(authority.pem().to_owned());
    (store, site)
}

fn at_amazon(region: &str) -> S3Storage {
    S3Storage {
        bucket: "stock".to_owned(),
        region: region.to_owned(),
        endpoint: None,
        public: None,
        path_style: false,
        dual_stack: Some(true),
        encrypt: false,
        key_id: None,
        chunk_size: None,
        credentials: Sensitive::new("[default]\naws_access_key_id = a\naws_secret_access_key = b\n"),
        cloud_front: None,
    }
}

// kubernetes 2 (S3), 4: credentials file, path style, chunk size, private CA
#[tokio::test]
async fn the_stock_registry_uses_a_store_with_a_private_ca_by_the_rendered_variables() {
    let (store, site) = on_a_store().await;
    let registry = site.start().await;
    push_and_pull(&registry, Some(&login(&registry, USER, PASSWORD)), "s3").await;
    // The health check of the storage runs: without the store the probes fail.
    drop(store);
    let unhealthy = async {
        while status(&registry, Method::GET, "/", None).await == 200 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), unhealthy).await.unwrap();
}

/// Starts the program with the rendered variables of this storage, without a network. Returns the first line that says whether it
/// serves.
async fn starts_with(storage: S3Storage) -> String {
    let mut site = Site::new(json!({}));
    site.annotation = Some("true");
    site.storage = RegistryStorage::S3(Box::new(storage));
    let plan = site.plan();
    let deployment = plan.desired(Kind::Deployment, names::REGISTRY).unwrap();
    let variables = deployment.body["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let variables = variables
        .iter()
        .map(|variable| (text(&variable["name"]), text(&variable["value"])));
    let variables = variables.filter(|(name, _)| {
        ["REGISTRY_STORAGE", "AWS_", "OTEL_"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = data(&plan, Kind::ConfigMap)[names::REGISTRY_CONFIG_MAP]["config.yml"].clone();
    std::fs::write(file.path(), config).unwrap();
    let programs = programs::ensure(programs::STOCK_REGISTRY).await.unwrap();
    let mut command = Command::new(programs.path("distribution").unwrap());
    command
        .args(["serve", file.path().to_str().unwrap()])
        .env_clear()
        .envs(variables);
    command.envs([
        ("REGISTRY_HTTP_ADDR", "127.0.0.1:0"),
        ("HTTPS_PROXY", "http://127.0.0.1:9"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let said = lines.find(|line| line.contains("listening on") || line.contains("invalid region"));
    process.kill().unwrap();
    process.wait().unwrap();
    said.unwrap_or_default()
}

// The list in the operator is that of the library; with any other region the program does not start.
#[tokio::test]
async fn the_stock_registry_starts_in_each_region_that_it_knows_and_elsewhere_with_the_public_endpoint() {
    for region in regions::REGIONS {
        let said = starts_with(at_amazon(region)).await;
        assert!(said.contains("listening on"), "{region}: {said}");
    }
    for (region, suffix) in [
        ("ap-east-2", "amazonaws.com"),
        ("ap-southeast-5", "amazonaws.com"),
        ("ap-southeast-7", "amazonaws.com"),
        ("mx-central-1", "amazonaws.com"),
        ("eusc-de-east-1", "amazonaws.eu"),
    ] {
        let said = starts_with(at_amazon(region)).await;
        assert!(said.contains("invalid region"), "{region}: {said}");
        let with_endpoint = S3Storage {
            public: Some(PublicEndpoint {
                url: format!("https://s3.dualstack.{region}.{suffix}"),
                needs_sts: false,
            }),
            ..at_amazon(region)
        };
        let said = starts_with(with_endpoint).await;
        assert!(said.contains("listening on"), "{region}: {said}");
    }
}

// docs/kubernetes.md, Logins: the program asks who somebody is, and not what they may do.
#[tokio::test]
async fn every_user_may_overwrite_and_delete_what_others_pushed() {
    let mut site = Site::new(json!({}));
    let hash = bcrypt::hash("baggins", 4).unwrap();
    site.users = htpasswd::with_line(&site.users, "frodo", &hash);
    let registry = site.start().await;
    push_and_pull(&registry, Some(&login(&registry, USER, PASSWORD)), "first").await;
    let others = login(&registry, "frodo", "baggins");
    let name = format!("{}/lab/sample:v1", registry.host());
    let digest = registry.crane_with(Some(&others), &["digest", &name]).await.unwrap();
    push_and_pull(&registry, Some(&others), "second").await;
    let manifest = format!("/v2/lab/sample/manifests/{digest}");
    let second = Some(("frodo", "baggins"));
    assert_eq!(status(&registry, Method::DELETE, &manifest, second).await, 202);
}

// docs/kubernetes.md, "Free space": the steps of the page, on storage that outlives the pods.
#[tokio::test]
async fn a_collection_frees_what_was_deleted_and_the_same_image_can_be_pushed_again() {
    const COLLECT: [&str; 2] = ["registry", "garbage-collect"];
    const CONFIG: &str = "/etc/image-registry/config.yml";
    let (_store, mut site) = on_a_store().await;
    let registry = site.start().await;
    let logins = login(&registry, USER, PASSWORD);
    push_and_pull(&registry, Some(&logins), "garbage").await;
    let name = format!("{}/lab/sample:v1", registry.host());
    let manifest = registry.crane_with(Some(&logins), &["manifest", &name]).await.unwrap();
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    let layer = format!(
        "/v2/lab/sample/blobs/{}",
        manifest["layers"][0]["digest"].as_str().unwrap()
    );
    let digest = registry.crane_with(Some(&logins), &["digest", &name]).await.unwrap();
    let path = format!("/v2/lab/sample/manifests/{digest}");
    assert_eq!(status(&registry, Method::DELETE, &path, OWN).await, 202);
    drop(registry);

    site.spec["readOnly"] = json!(true);
    let registry = site.start().await;
    assert_eq!(status(&registry, Method::POST, UPLOAD, OWN).await, 405);
    let dry = registry
        .exec(&[&COLLECT[..], &["--dry-run", CONFIG]].concat())
        .await
        .unwrap();
    assert!(dry.contains("eligible for deletion"), "{dry}");
    assert_eq!(
        status(&registry, Method::GET, &layer, OWN).await,
        200,
        "nothing is deleted yet"
    );
    registry.exec(&[&COLLECT[..], &[CONFIG]].concat()).await.unwrap();
    drop(registry);

    site.spec["readOnly"] = json!(false);
    let registry = site.start().await;
    assert_eq!(
        status(&registry, Method::GET, &layer, OWN).await,
        404,
        "its space is free"
    );
    push_and_pull(&registry, Some(&login(&registry, USER, PASSWORD)), "garbage").await;
}

// Each value is one that YAML reads as what it is.
#[test]
fn no_secret_of_the_storage_stands_in_a_variable() {
    let mut site = Site::new(json!({}));
    site.storage = RegistryStorage::Azure(Box::new(image_registry_operator::program::AzureStorage {
        account: "blue".to_owned(),
        container: "images".to_owned(),
        realm: None,
        login: image_registry_operator::program::AzureLogin::Key(Sensitive::new("bm8gc2VjcmV0")),
    }));
    let deployment = site
        .plan()
        .desired(Kind::Deployment, names::REGISTRY)
        .unwrap()
        .body
        .to_string();
    assert!(!deployment.contains("bm8gc2VjcmV0"));
    let facts = Distribution.render(&site.storage).unwrap();
    let secrets = facts
        .env
        .iter()
        .filter(|variable| matches!(variable.value, EnvValue::Secret(_)));
    assert_eq!(secrets.count(), 1);
    assert_eq!(yaml::text("bm8gc2VjcmV0"), "bm8gc2VjcmV0");
}
