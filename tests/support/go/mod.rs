//! A client that imitates the Go operator: its objects, digests, field manager, plain creates and updates, and its rules for
//! when to write what. Written from the description of the Go operator's behaviour, without code of this operator.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use image_registry_operator::api::{Kind, ObjectRef};
use kube::api::PostParams;
use serde_json::{Map, Value, json};

use crate::support::{TestCluster, config_ref, deployment, operand, proxy, pull_secret, service};

pub mod statuses;
pub mod store;
pub mod takeover;

pub use store::Store;

/// The Deployment of a registry on emptyDir with one replica.
pub const EMPTY_DIR: &str = include_str!("../../data/takeover/deployment-emptydir.yaml");
/// Field manager of the Go operator.
pub const MANAGER: &str = "cluster-image-registry-operator";
/// Image of the Go operator, as its node-ca runs it.
pub const IMAGE: &str = "localhost/former-operator:4.21";
pub const HTTP_SECRET: &str = "7461b5f1d5d7c0";

const COMMON: &str = include_str!("../../data/takeover/common.yaml");
const ALWAYS: &str = include_str!("../../data/takeover/always.yaml");
const ROUTES: &str = include_str!("../../data/takeover/routes.yaml");
const CHECKSUM: &str = "imageregistry.operator.openshift.io/checksum";
/// A label and an annotation on the Deployment that are no longer desired.
pub const LEFT: &str = "former.example.com/left";
const HASH: &str = "operator.openshift.io/spec-hash";

/// The Go operator on a cluster.
pub struct Go<'a> {
    pub cluster: &'a TestCluster,
    /// YAML of the Deployment.
    pub deployment: &'static str,
    /// Additional fields of the Config's spec.
    pub spec: Value,
    /// Certificate and key of the second route; without them there are no routes.
    pub route: Option<(String, String)>,
    /// Whether the registry exists.
    pub managed: bool,
    /// Edits of the desired Deployment.
    pub edit: fn(&mut Value),
    /// The object store, in place of the storage that the Deployment's YAML has.
    pub store: Option<Store>,
    /// Environment of the operator that takes over. By default its node-ca runs the image of the Go operator's.
    pub environment: Vec<(String, String)>,
}

impl<'a> Go<'a> {
    pub fn new(cluster: &'a TestCluster, deployment: &'static str, spec: Value) -> Self {
        Self {
            cluster,
            deployment,
            spec,
            route: None,
            managed: true,
            edit: |_| (),
            store: None,
            environment: vec![("OPERATOR_IMAGE".to_owned(), IMAGE.to_owned())],
        }
    }

    /// The Go operator with its registry on an object store.
    pub fn with_store(cluster: &'a TestCluster, store: Store) -> Self {
        let mut go = Self::new(cluster, EMPTY_DIR, json!({"replicas": store.replicas}));
        go.spec["storage"] = store.spec_storage.clone();
        go.store = Some(store);
        go
    }

    /// Brings the cluster to the state in which the Go operator has nothing to do.
    pub async fn install(&self) {
        let cluster = self.cluster;
        self.create(&self.config()).await;
        self.create(&json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "ImagePruner",
            "metadata": {"name": "cluster"},
            "spec": {"suspend": false, "keepTagRevisions": 3, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 3,
                     "ignoreInvalidImageReferences": true, "schedule": "", "logLevel": "Normal"}}))
            .await;
        self.create(
            &json!({"apiVersion": "config.openshift.io/v1", "kind": "ClusterOperator",
            "metadata": {"name": "image-registry"}, "spec": {}}),
        )
        .await;
        let first = if self.managed {
            self.documents(COMMON).await
        } else {
            Vec::new()
        };
        let maps = self
            .documents(ALWAYS)
            .await
            .into_iter()
            .filter(|o| o["metadata"]["name"] == "serviceca");
        for object in first.into_iter().chain(maps) {
            self.apply(object).await;
        }
        let has = |pointer: &'static str| move |o: Option<&Value>| o.is_some_and(|o| o.pointer(pointer).is_some());
        cluster
            .until(
                &operand(Kind::ConfigMap, "serviceca"),
                "injected",
                has("/data/service-ca.crt"),
            )
            .await;
        cluster
            .until(
                &operand(Kind::ConfigMap, "trusted-ca"),
                "injected",
                has("/data/ca-bundle.crt"),
            )
            .await;
        if self.managed {
            let service = cluster.get(&service()).await.unwrap();
            // A certificate of an earlier Service is deleted with it, and a new one is issued.
            cluster
                .until(&operand(Kind::Secret, "image-registry-tls"), "of this Service", |o| {
                    o.is_some_and(|o| {
                        o.pointer("/metadata/ownerReferences/0/uid") == service.pointer("/metadata/uid")
                            && o["metadata"].get("deletionTimestamp").is_none()
                    })
                })
                .await;
        }
        self.pass().await;
        self.rolled_out().await;
        if self.managed {
            self.leave_something().await;
            self.pass().await; // annotations are part of a Deployment's generation
            self.rolled_out().await;
        }
        self.report().await;
        assert_eq!(
            self.pass().await,
            Vec::<String>::new(),
            "the fixture is at rest by its own rules"
        );
    }

    /// Fields that were merged into the Deployment long ago and are no longer desired.
    async fn leave_something(&self) {
        let reference = deployment();
        let mut live = self.cluster.get(&reference).await.unwrap();
        live["metadata"]["annotations"][LEFT] = json!("an override that was removed");
        live["metadata"]["labels"][LEFT] = json!("long-ago");
        let config = self.cluster.config().await;
        live["metadata"]["ownerReferences"] = json!([{"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
            "name": "cluster", "uid": config["metadata"]["uid"]}]);
        self.put(&reference, &live).await;
    }

    /// Waits until all its workloads run.
    pub async fn rolled_out(&self) {
        let cluster = self.cluster;
        if self.managed {
            cluster
                .until(&deployment(), "rolled out", |o| o.is_some_and(deployed))
                .await;
        }
        let everywhere = |o: &Value| {
            let status = &o["status"];
            status["observedGeneration"] == o["metadata"]["generation"]
                && status["desiredNumberScheduled"].as_i64() > Some(0)
                && ["updatedNumberScheduled", "numberAvailable"]
                    .iter()
                    .all(|n| status[n] == status["desiredNumberScheduled"])
        };
        cluster
            .until(&operand(Kind::DaemonSet, "node-ca"), "everywhere", |o| {
                o.is_some_and(everywhere)
            })
            .await;
        if self.route.is_some() {
            for name in ["default-route", "public"] {
                cluster
                    .until(&operand(Kind::Route, name), "admitted", |o| {
                        o.is_some_and(|o| o.pointer("/status/ingress/0/conditions/0/status") == Some(&json!("True")))
                    })
                    .await;
            }
        }
    }

    /// One reconcile by the Go operator's rules; returns what it wrote.
    pub async fn pass(&self) -> Vec<String> {
        let mut objects = if self.managed {
            self.documents(COMMON).await
        } else {
            Vec::new()
        };
        if self.route.is_some() {
            objects.extend(self.documents(ROUTES).await);
        }
        let mut written = Vec::new();
        for object in objects {
            written.extend(self.apply(object).await);
        }
        for object in self.documents(ALWAYS).await {
            written.extend(self.apply(object).await);
        }
        // The Deployment contains the digest of the objects that the pods mount.
        if self.managed {
            for mut object in self.documents(self.deployment).await {
                (self.edit)(&mut object);
                written.extend(self.apply(object).await);
            }
        }
        written
    }

    fn config(&self) -> Value {
        let tls = json!({"minTLSVersion": "VersionTLS12", "cipherSuites": [
            "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]});
        let mut spec = json!({
            "managementState": "Managed", "logLevel": "Normal", "operatorLogLevel": "Normal", "replicas": 1,
            "rolloutStrategy": "RollingUpdate", "httpSecret": HTTP_SECRET, "observedConfig": {"servingInfo": tls},
            "unsupportedConfigOverrides": null, "proxy": {},
            "requests": {"read": {"maxWaitInQueue": "0s"}, "write": {"maxWaitInQueue": "0s"}},
            "storage": {"managementState": "Managed", "emptyDir": {}},
        });
        for (member, value) in self.spec.as_object().unwrap() {
            spec[member] = value.clone();
        }
        json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "spec": spec,
               "metadata": {"name": "cluster", "finalizers": ["imageregistry.operator.openshift.io/finalizer"]}})
    }

    async fn documents(&self, text: &str) -> Vec<Value> {
        let cluster = self.cluster;
        let data = |object: Option<Value>| object.and_then(|o| o.get("data").cloned()).unwrap_or(json!({}));
        let ca = data(cluster.get(&operand(Kind::ConfigMap, "serviceca")).await);
        let service = cluster.get(&service()).await.is_some();
        let mut certificates = json!({});
        for host in ["svc", "svc.cluster.local"].iter().filter(|_| service) {
            certificates[format!("image-registry.openshift-image-registry.{host}..5000")] =
                ca["service-ca.crt"].clone();
        }
        let mut prune = vec!["--prune-registry=false"];
        if service {
            prune = vec![
                "--prune-registry=true",
                "--registry-url=https://image-registry.openshift-image-registry.svc:5000",
            ];
        }
        let pull = pull_secret();
        let config = cluster.config().await;
        let (certificate, key) = self.route.clone().unwrap_or_default();
        let values: BTreeMap<&str, Value> = [
            ("$CERTIFICATES", certificates),
            ("$PRUNE_REGISTRY", json!(prune)),
            ("$PULL_SECRET", data(cluster.get(&pull).await)),
            (
                "$MIN_AVAILABLE",
                json!(i32::from(config["spec"]["replicas"].as_i64() > Some(1))),
            ),
            ("$OPERATOR_IMAGE", json!(IMAGE)),
            ("$HTTP_SECRET", json!(HTTP_SECRET)),
            ("$DEPENDENCIES", json!(self.dependencies().await)),
            ("$ROUTE_CERTIFICATE", json!(certificate)),
            ("$ROUTE_CA", json!(certificate)),
            ("$ROUTE_KEY", json!(key)),
        ]
        .into();
        let mut documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
        for document in &mut documents {
            fill(document, &values);
            if let Some(store) = &self.store {
                store.fill(document, &cluster.get(&proxy()).await.unwrap_or_default());
            }
        }
        documents
    }

    /// The digest on the pod template, as described for the Go operator.
    async fn dependencies(&self) -> String {
        let mut lines = Vec::new();
        let (mut maps, mut secrets) = self.store.as_ref().map(Store::mounts).unwrap_or_default();
        maps.extend(["image-registry-certificates", "trusted-ca"]);
        secrets.extend(["image-registry-tls", "installation-pull-secrets"]);
        for (kind, prefix, names) in [(Kind::ConfigMap, "configmap", maps), (Kind::Secret, "secret", secrets)] {
            for name in names {
                let Some(object) = self.cluster.get(&operand(kind, name)).await else {
                    continue;
                };
                let mut text = r#"{"metadata":{}"#.to_owned();
                for member in ["immutable", "data", "binaryData", "type"] {
                    if let Some(value) = object.get(member) {
                        let sorted: Value = serde_json::from_str(&value.to_string()).unwrap();
                        write!(text, r#","{member}":{sorted}"#).unwrap();
                    }
                }
                text += "}";
                let text = text
                    .replace('&', "\\u0026")
                    .replace('<', "\\u003c")
                    .replace('>', "\\u003e");
                lines.push(format!("{prefix}:{name}:sha256:{}", hex(&text)));
            }
        }
        format!("sha256:{}", hex(&json!(lines).to_string()))
    }

    /// Applies one object by the strategy of its kind; returns what it wrote.
    async fn apply(&self, mut desired: Value) -> Option<String> {
        let reference = reference(&desired);
        digests(&mut desired);
        let Some(live) = self.cluster.get(&reference).await else {
            let written = self.create(&desired).await;
            self.note_generation(&reference, &written).await;
            return Some(format!("create {reference}"));
        };
        let body = match reference.kind {
            Kind::Deployment | Kind::DaemonSet => {
                self.merged_workload(&desired, &live, self.recorded(&reference).await)?
            }
            Kind::NetworkPolicy => {
                if live["spec"] == desired["spec"] {
                    return None;
                }
                with(&live, "spec", &desired["spec"])
            }
            Kind::ConfigMap if reference.name == "serviceca" => {
                let same = ["annotations", "labels"]
                    .iter()
                    .all(|m| live["metadata"].get(m) == desired["metadata"].get(m));
                if same {
                    return None;
                }
                stomped(&desired, &live, &[])
            }
            kind => {
                if live["metadata"]["annotations"][CHECKSUM] == desired["metadata"]["annotations"][CHECKSUM] {
                    return None;
                }
                if kind == Kind::Service {
                    let mut body = stomped(&desired, &live, &[]);
                    body["spec"]["selector"] = desired["spec"]["selector"].clone();
                    body["spec"]["ports"] = desired["spec"]["ports"].clone();
                    body["spec"]["type"] = json!("ClusterIP");
                    body
                } else {
                    let members: Vec<&str> = live
                        .as_object()
                        .unwrap()
                        .keys()
                        .chain(desired.as_object().unwrap().keys())
                        .map(String::as_str)
                        .filter(|m| !["metadata", "status", "apiVersion", "kind"].contains(m))
                        .collect();
                    let mut body = stomped(&desired, &live, &members);
                    if kind == Kind::Route && body["spec"].get("host").is_none() {
                        body["spec"]["host"] = live["spec"]["host"].clone(); // the aggregated API keeps it
                    }
                    body
                }
            }
        };
        let written = self.put(&reference, &body).await;
        self.note_generation(&reference, &written).await;
        Some(format!("update {reference}"))
    }

    #[allow(clippy::unused_self)]
    fn merged_workload(&self, desired: &Value, live: &Value, recorded: i64) -> Option<Value> {
        let mut body = live.clone();
        let mut differs = live["metadata"]["generation"].as_i64() != Some(recorded);
        for member in ["labels", "annotations"] {
            for (key, value) in desired["metadata"][member].as_object().into_iter().flatten() {
                differs |= live["metadata"][member][key] != *value;
                body["metadata"][member][key] = value.clone();
            }
        }
        body["spec"] = desired["spec"].clone();
        differs.then_some(body)
    }

    async fn recorded(&self, reference: &ObjectRef) -> i64 {
        let config = self.cluster.config().await;
        let entries = config
            .pointer("/status/generations")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let found = entries.iter().find(|e| {
            e["group"] == reference.kind.group()
                && e["resource"] == reference.kind.plural()
                && e["name"] == reference.name
        });
        found.map_or(-1, |e| e["lastGeneration"].as_i64().unwrap())
    }

    async fn note_generation(&self, reference: &ObjectRef, written: &Value) {
        if !matches!(reference.kind, Kind::Deployment | Kind::DaemonSet) {
            return;
        }
        let mut status = self
            .cluster
            .config()
            .await
            .get("status")
            .cloned()
            .unwrap_or(json!({"storage": {}, "storageManaged": true}));
        let mut entries = status
            .get("generations")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        entries.retain(|e| e["name"] != reference.name);
        entries.push(json!({"group": reference.kind.group(), "resource": reference.kind.plural(), "namespace": reference.namespace,
                            "name": reference.name, "lastGeneration": written["metadata"]["generation"], "hash": ""}));
        status["generations"] = json!(entries);
        self.put_status(&config_ref(), status).await;
    }

    pub async fn create(&self, object: &Value) -> Value {
        let reference = reference(object);
        let created = self
            .cluster
            .api(&reference)
            .create(&parameters(), &serde_json::from_value(object.clone()).unwrap())
            .await;
        serde_json::to_value(created.unwrap_or_else(|e| panic!("create {reference}: {e}"))).unwrap()
    }

    pub async fn put(&self, reference: &ObjectRef, object: &Value) -> Value {
        let body = serde_json::from_value(object.clone()).unwrap();
        let written = self
            .cluster
            .api(reference)
            .replace(&reference.name, &parameters(), &body)
            .await;
        serde_json::to_value(written.unwrap_or_else(|e| panic!("update {reference}: {e}"))).unwrap()
    }

    pub async fn put_status(&self, reference: &ObjectRef, status: Value) {
        let object = with(&self.cluster.get(reference).await.unwrap(), "status", &status);
        let body = serde_json::from_value(object).unwrap();
        let written = self
            .cluster
            .api(reference)
            .replace_status(&reference.name, &parameters(), &body)
            .await;
        written.unwrap_or_else(|e| panic!("status of {reference}: {e}"));
    }

    pub async fn patch_status(&self, reference: &ObjectRef, status: Value) {
        self.cluster.patch_status(reference, json!({"status": status})).await;
    }
}

fn deployed(o: &Value) -> bool {
    let status = &o["status"];
    status["observedGeneration"] == o["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|n| status[n] == o["spec"]["replicas"])
        && status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|c| c["reason"] == "NewReplicaSetAvailable")
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PostParams::default()
    }
}

pub fn reference(object: &Value) -> ObjectRef {
    let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    ObjectRef::new(kind, namespace, object["metadata"]["name"].as_str().unwrap())
}

/// The live object with the name, labels and annotations of the desired one as its only metadata, and with these fields of the
/// desired one.
fn stomped(desired: &Value, live: &Value, members: &[&str]) -> Value {
    let mut body = live.clone();
    let mut metadata: Map<String, Value> = Map::new();
    for member in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        if let Some(value) = live["metadata"].get(member) {
            metadata.insert(member.to_owned(), value.clone());
        }
    }
    metadata.extend(desired["metadata"].as_object().unwrap().clone());
    body["metadata"] = Value::Object(metadata);
    for member in members {
        match desired.get(*member) {
            Some(value) => body[*member] = value.clone(),
            None => drop(body.as_object_mut().unwrap().remove(*member)),
        }
    }
    body
}

fn with(object: &Value, member: &str, value: &Value) -> Value {
    let mut object = object.clone();
    object[member] = value.clone();
    object
}

/// Replaces placeholders by their values; a list within a list is flattened.
fn fill(value: &mut Value, values: &BTreeMap<&str, Value>) {
    match value {
        Value::String(text) => {
            if let Some(found) = values.get(text.as_str()) {
                *value = found.clone();
            }
        }
        Value::Array(items) => {
            let before = std::mem::take(items);
            for mut item in before {
                let name = item
                    .as_str()
                    .is_some_and(|t| values.get(t).is_some_and(Value::is_array));
                fill(&mut item, values);
                match item {
                    Value::Array(inner) if name => items.extend(inner),
                    item => items.push(item),
                }
            }
        }
        Value::Object(members) => members.values_mut().for_each(|v| fill(v, values)),
        _ => {}
    }
}

/// Digests of the object without the digests. Which bytes the Go operator hashes does not matter to this operator.
fn digests(object: &mut Value) {
    let annotations = object["metadata"].get("annotations").cloned().unwrap_or_default();
    if annotations.get(HASH).is_some() {
        object["metadata"]["annotations"][HASH] = json!(hex(&format!("go {}", object["spec"])));
    }
    if annotations.get(CHECKSUM).is_some() {
        object["metadata"]["annotations"][CHECKSUM] = json!(format!("sha256:{}", hex(&format!("go {object}"))));
    }
}

fn hex(text: &str) -> String {
    let mut hex = String::new();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}
