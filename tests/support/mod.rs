//! What integration tests share: one cluster per test binary, the operator as a process under its shipped
//! ServiceAccount, and ways to wait for what the API server tells.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::await_holding_lock,
    clippy::needless_pass_by_value,
    reason = "each test uses some of it; a helper that stops is the report of its test"
)]

pub mod course;
pub mod ending;
pub mod history;
pub mod https;
pub mod lease;
pub mod observe;
pub mod operator;
pub mod proxy;
pub mod volume;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use devcluster::standin::Control;
use devcluster::{Cluster, Options};
use futures::{StreamExt, future};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};

/// How long a test waits for what it expects; generous, the machine may have much to do.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The cluster of this test binary, taken by one test at a time, emptied of what the test before left.
pub struct Lab {
    pub client: Client,
    pub cluster: &'static Cluster,
    /// How long this test waits; [`PATIENCE`] unless it takes real pods.
    pub patience: Duration,
    _turn: Option<MutexGuard<'static, ()>>,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static TURN: Mutex<()> = Mutex::new(());

/// Takes the cluster; brings it up the first time. When this process ends, devcluster removes it.
pub async fn lab(options: Options) -> Lab {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if CLUSTER.get().is_none() {
        let cluster = Cluster::up(options).await.expect("the cluster comes up");
        CLUSTER.set(cluster).expect("one test at a time");
    }
    let cluster = CLUSTER.get().unwrap();
    let lab = Lab {
        client: cluster.client().await.unwrap(),
        cluster,
        patience: PATIENCE,
        _turn: Some(turn),
    };
    lab.reset().await;
    lab
}

/// Options of a cluster with simulated nodes.
pub fn simulated(name: &str) -> Options {
    Options {
        name: format!("{name}-{}", std::process::id()),
        simulated_nodes: 3,
        security_api: true,
        ..Options::default()
    }
}

pub fn config_ref() -> ObjectRef {
    ObjectRef::new(Kind::Config, "", names::CLUSTER)
}

pub fn operand(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, names::NAMESPACE, name)
}

/// Status, reason and message of a condition; empty texts where it is not there.
pub fn condition(object: &Value, type_: &str) -> (String, String, String) {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let found = conditions
        .iter()
        .find(|c| c["type"] == type_)
        .cloned()
        .unwrap_or_default();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// Whether a condition has this status and reason.
pub fn is(object: &Value, type_: &str, status: &str, reason: &str) -> bool {
    let (s, r, _) = condition(object, type_);
    s == status && r == reason
}

/// The registry is up: available, nothing in progress, nothing degraded.
pub fn is_up(config: &Value) -> bool {
    is(config, "Available", "True", "Ready") && is(config, "Progressing", "False", "Ready")
}

impl Lab {
    /// A cluster of its own, for what runs beside the tests; as it comes up.
    pub async fn aside(options: Options) -> Self {
        let cluster = Cluster::up(options).await.expect("the cluster comes up");
        let cluster: &'static Cluster = Box::leak(Box::new(cluster));
        Self {
            client: cluster.client().await.unwrap(),
            cluster,
            patience: PATIENCE,
            _turn: None,
        }
    }

    pub fn api(&self, reference: &ObjectRef) -> Api<DynamicObject> {
        let resource = reference.kind.resource();
        if reference.kind.namespaced() {
            Api::namespaced_with(self.client.clone(), &reference.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    pub async fn get(&self, reference: &ObjectRef) -> Option<Value> {
        let object = self.api(reference).get_opt(&reference.name).await.unwrap();
        object.map(|o| serde_json::to_value(o).unwrap())
    }

    pub async fn config(&self) -> Value {
        self.get(&config_ref()).await.expect("the Config exists")
    }

    pub async fn create(&self, object: Value) -> Value {
        self.try_create(object).await.unwrap()
    }

    pub async fn try_create(&self, object: Value) -> kube::Result<Value> {
        let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let namespace = object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or("");
        let reference = ObjectRef::new(kind, namespace, object["metadata"]["name"].as_str().unwrap());
        let parameters = PostParams {
            field_manager: Some("tests".to_owned()),
            ..PostParams::default()
        };
        let created = self
            .api(&reference)
            .create(&parameters, &serde_json::from_value(object).unwrap())
            .await?;
        Ok(serde_json::to_value(created).unwrap())
    }

    pub async fn patch(&self, reference: &ObjectRef, patch: Value) -> Value {
        self.try_patch(reference, patch)
            .await
            .unwrap_or_else(|e| panic!("{reference}: {e}"))
    }

    pub async fn try_patch(&self, reference: &ObjectRef, patch: Value) -> kube::Result<Value> {
        let patched = self
            .api(reference)
            .patch(&reference.name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(serde_json::to_value(patched).unwrap())
    }

    pub async fn patch_status(&self, reference: &ObjectRef, patch: Value) -> Value {
        let api = self.api(reference);
        let patched = api
            .patch_status(&reference.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
        serde_json::to_value(patched).unwrap()
    }

    /// As `oc patch configs.imageregistry.operator.openshift.io/cluster --type merge -p '{"spec": ...}'`.
    pub async fn edit(&self, spec: Value) -> Value {
        self.patch(&config_ref(), json!({"spec": spec})).await
    }

    pub async fn delete(&self, reference: &ObjectRef) {
        match self
            .api(reference)
            .delete(&reference.name, &DeleteParams::default())
            .await
        {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => panic!("{reference}: {error}"),
        }
    }

    /// Waits until an object is as expected (`None`: it does not exist). Panics with what it last was.
    pub async fn until(
        &self,
        reference: &ObjectRef,
        what: &str,
        expected: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let mut last = None;
        let api = self.api(reference);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", reference.name));
        let mut stream = Box::pin(watcher(api, config));
        let waited = tokio::time::timeout(self.patience, async {
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Init | Event::Delete(_)) => last = None,
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        last = Some(serde_json::to_value(object).unwrap());
                    }
                    Ok(Event::InitDone) => {}
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        continue;
                    }
                }
                if expected(last.as_ref()) {
                    return;
                }
            }
        })
        .await;
        if waited.is_err() {
            let shown = last
                .as_ref()
                .map(|o| serde_json::to_string_pretty(&without_noise(o)).unwrap());
            panic!(
                "{reference}: not {what} within {:?}; it is\n{}",
                self.patience,
                shown.unwrap_or("absent".to_owned())
            );
        }
        last
    }

    pub async fn until_config(&self, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
        self.until(&config_ref(), what, |o| o.is_some_and(&expected))
            .await
            .unwrap()
    }

    pub async fn until_present(&self, reference: &ObjectRef) -> Value {
        self.until(reference, "there", |o| o.is_some()).await.unwrap()
    }

    pub async fn until_absent(&self, reference: &ObjectRef) {
        self.until(reference, "gone", |o| o.is_none()).await;
    }

    pub async fn list(&self, kind: Kind, namespace: &str) -> Vec<Value> {
        let api = self.api(&ObjectRef::new(kind, namespace, "x"));
        let list = api.list(&ListParams::default()).await.unwrap();
        list.items
            .into_iter()
            .map(|o| serde_json::to_value(o).unwrap())
            .collect()
    }

    /// Sets the platform that the Infrastructure object tells.
    pub async fn platform(&self, platform: &str) {
        let infrastructure = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
        let status = json!({"platform": platform, "platformStatus": {"type": platform}, "infrastructureTopology": "HighlyAvailable",
                            "controlPlaneTopology": "HighlyAvailable", "infrastructureName": "kw-abc12"});
        self.patch_status(&infrastructure, json!({"status": status})).await;
    }

    /// A Config as an administrator would create it, `Managed`, one replica.
    pub fn managed(storage: Value) -> Value {
        json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "metadata": {"name": "cluster"},
               "spec": {"managementState": "Managed", "replicas": 1, "storage": storage}})
    }

    /// Brings the cluster back to where a test may begin: no Config, no operand, nothing of the operator.
    pub async fn reset(&self) {
        if self.cluster.real_nodes().is_empty() {
            self.cluster.resume_simulated_pods().unwrap();
        }
        let config = config_ref();
        if self.get(&config).await.is_some() {
            let _ = self.try_patch(&config, json!({"metadata": {"finalizers": null}})).await;
            self.delete(&config).await;
        }
        let mut doomed = vec![
            ObjectRef::new(Kind::ImagePruner, "", names::CLUSTER),
            ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR),
            ObjectRef::new(Kind::ClusterRole, "", names::REGISTRY_CLUSTER_ROLE),
            ObjectRef::new(Kind::ClusterRoleBinding, "", names::REGISTRY_CLUSTER_ROLE_BINDING),
            ObjectRef::new(Kind::ConfigMap, names::CONFIG_MANAGED_NAMESPACE, names::CA_MAP),
            operand(Kind::ConfigMap, names::CERTIFICATES_MAP),
            operand(Kind::ConfigMap, names::SERVICE_CA_MAP),
            ObjectRef::new(Kind::ClusterRole, "", names::PRUNER_CLUSTER_ROLE),
            ObjectRef::new(Kind::ClusterRoleBinding, "", names::PRUNER_CLUSTER_ROLE_BINDING),
            operand(Kind::DaemonSet, names::NODE_CA),
            operand(Kind::CronJob, names::PRUNER_CRON_JOB),
            operand(Kind::ServiceAccount, names::PRUNER_SERVICE_ACCOUNT),
            operand(Kind::NetworkPolicy, names::PRUNER_NETWORK_POLICY),
            operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
            operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
            operand(Kind::PodDisruptionBudget, names::REGISTRY),
            operand(Kind::Service, names::REGISTRY),
        ];
        for kind in [Kind::Deployment, Kind::Route, Kind::PersistentVolumeClaim, Kind::Job] {
            doomed.extend(
                self.list(kind, names::NAMESPACE)
                    .await
                    .iter()
                    .map(|o| operand(kind, o["metadata"]["name"].as_str().unwrap())),
            );
        }
        for secret in self.list(Kind::Secret, names::NAMESPACE).await {
            let name = secret["metadata"]["name"].as_str().unwrap();
            if name != "image-registry-operator-tls" {
                doomed.push(operand(Kind::Secret, name));
            }
        }
        future::join_all(doomed.iter().map(|reference| self.delete(reference))).await;
        self.delete_lease().await;
        for reference in &doomed {
            if !matches!(reference.kind, Kind::Secret) {
                self.until_absent(reference).await;
            }
        }
        self.until_absent(&config).await;
        while !self.list(Kind::Pod, names::NAMESPACE).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.platform("None").await;
        self.restore_inputs().await;
    }

    /// Inputs of the platform that tests change.
    async fn restore_inputs(&self) {
        Control::default().set(&self.client).await.unwrap();
        let pull = ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET);
        let data = json!({".dockerconfigjson": "eyJhdXRocyI6e319"});
        if self.get(&pull).await.is_none() {
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": data,
                                "metadata": {"name": names::PULL_SECRET, "namespace": names::CONFIG_NAMESPACE}});
            self.create(secret).await;
        }
        let image = ObjectRef::new(Kind::Image, "", names::CLUSTER);
        if self.get(&image).await.is_some() {
            self.patch_status(&image, json!({"status": null})).await;
        }
        for (kind, spec) in [
            (Kind::ApiServer, "tlsSecurityProfile"),
            (Kind::Image, "additionalTrustedCA"),
        ] {
            let reference = ObjectRef::new(kind, "", names::CLUSTER);
            if self.get(&reference).await.is_some() {
                self.patch(&reference, json!({"spec": {spec: null}})).await;
            }
        }
        let proxy = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
        if self.get(&proxy).await.is_some() {
            self.patch(
                &proxy,
                json!({"spec": {"httpProxy": null, "httpsProxy": null, "noProxy": null}}),
            )
            .await;
        }
    }
}

/// An object without what makes a failure's text long.
pub fn without_noise(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// Annotations and the like as a map of text.
pub fn texts(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    object
        .pointer(pointer)
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .unwrap_or_default()
}
