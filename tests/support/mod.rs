//! What the integration tests share: one cluster per test program, the operator as a process under the ServiceAccount that
//! `deploy/` ships, and helpers that wait for what the API server reports.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::await_holding_lock,
    clippy::needless_pass_by_value,
    reason = "each test program uses a part of it; a helper that panics reports the failure of its test"
)]

pub mod fields;
pub mod final_state;
pub mod history;
pub mod https;
pub mod lease;
pub mod objects;
pub mod observe;
pub mod operator;
pub mod pages;
pub mod pool;
pub mod proxy;
pub mod pruner;
pub mod reset;
pub mod rollout_recorder;
pub mod traefik;
pub mod volume;

use std::time::{Duration, Instant};

use devcluster::{Cluster, Options};
use futures::StreamExt;
use image_registry_operator::api::{Kind, ObjectRef};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};

pub use fields::*;
pub use objects::*;
pub use pool::Pool;
use pool::Turn;

/// How long a test waits for an expected state. Long, because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_mins(1);

/// A cluster for one test. Tests of one program share it, or a few of them, one after another; it is reset before each.
pub struct TestCluster {
    pub client: Client,
    pub devcluster: &'static Cluster,
    /// How long this test waits: [`TIMEOUT`], or longer with real pods.
    pub timeout: Duration,
    _turn: Option<Turn>,
}

/// Waits for the cluster of this test program and resets it. The first caller starts the cluster; devcluster removes it
/// when the process ends.
pub async fn shared_cluster(options: Options) -> TestCluster {
    static CLUSTER: Pool<1> = Pool::new();
    CLUSTER.cluster(options).await
}

/// Every managementState, in an order in which a registry that is up keeps its Service while `Unmanaged`.
pub const STATES: [&str; 3] = ["Unmanaged", "Removed", "Managed"];

/// Options of a cluster with three simulated nodes.
pub fn simulated(name: &str) -> Options {
    Options {
        name: format!("{name}-{}", std::process::id()),
        simulated_nodes: 3,
        security_api: true,
        ..Options::default()
    }
}

/// Options of such a cluster without the platform's APIs and what plays its controllers.
pub fn plain(name: &str) -> Options {
    Options {
        platform_apis: false,
        security_api: false,
        standins: false,
        ..simulated(name)
    }
}

/// As `kubectl patch --type merge`, but without deleting what is null.
pub fn merge(target: &mut Value, patch: Value) {
    match (target.as_object_mut(), patch) {
        (Some(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, patch) => *target = patch,
    }
}

/// Waits for something that no watch reports.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < TIMEOUT, "{what}: not within {TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl TestCluster {
    async fn of(devcluster: &'static Cluster, turn: Option<Turn>) -> Self {
        Self {
            client: devcluster.client().await.unwrap(),
            devcluster,
            timeout: TIMEOUT,
            _turn: turn,
        }
    }

    /// A new cluster for one test alone, which runs beside the other tests of its program.
    pub async fn exclusive(options: Options) -> Self {
        let started = Cluster::up(options).await.expect("the cluster starts");
        Self::of(Box::leak(Box::new(started)), None).await
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

    /// Creates an object of a kind that the operator does not know, at the path of its list.
    pub async fn create_raw(&self, path: &str, object: Value) {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        self.client.request::<Value>(request).await.unwrap();
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

    /// Changes an annotation of the Config, so that the operator reconciles again although nothing is to be done.
    pub async fn trigger_reconcile(&self, value: &str) -> Value {
        self.patch(&config_ref(), json!({"metadata": {"annotations": {"test": value}}}))
            .await
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

    /// Waits until an object is as expected (`None`: it does not exist). If it never is, panics with its last version.
    pub async fn until(
        &self,
        reference: &ObjectRef,
        what: &str,
        expected: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let (mut last, mut listed) = (None, false);
        let api = self.api(reference);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", reference.name));
        let mut stream = Box::pin(watcher(api, config));
        let waited = tokio::time::timeout(self.timeout, async {
            while let Some(event) = stream.next().await {
                match event {
                    Ok(Event::Init) => {
                        listed = false;
                        last = None;
                    }
                    Ok(Event::Delete(_)) => last = None,
                    Ok(Event::InitApply(object) | Event::Apply(object)) => {
                        last = Some(serde_json::to_value(object).unwrap());
                    }
                    Ok(Event::InitDone) => listed = true,
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
                // Before the list is complete, an object that is not in it may still exist.
                if listed && expected(last.as_ref()) {
                    return;
                }
            }
        })
        .await;
        if waited.is_err() {
            let shown = last
                .as_ref()
                .map(|o| serde_json::to_string_pretty(&without_managed_fields(o)).unwrap());
            panic!(
                "{reference}: not {what} within {:?}; it is\n{}",
                self.timeout,
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

    /// Waits until Config and ClusterOperator report that the registry is up; returns the Config.
    pub async fn until_up(&self) -> Value {
        let config = self.until_config("up", is_up).await;
        self.until(&cluster_operator(), "available", |o| o.is_some_and(is_up))
            .await;
        config
    }

    /// Waits until the ClusterOperator reports a Config that wants no registry, with every condition present.
    pub async fn until_removed(&self) {
        self.until(&cluster_operator(), "removed", |o| {
            o.is_some_and(|o| is(o, "Available", "True", "Removed") && !status(o, "Degraded").is_empty())
        })
        .await;
    }

    /// Waits until the Config reports that the Deployment waits for inputs, with an expected message.
    pub async fn until_waiting_for_inputs(&self, what: &str, expected: impl Fn(&str) -> bool) -> Value {
        self.until_config(what, |config| {
            is(config, "Available", "False", "DeploymentNotFound")
                && is(config, "Progressing", "True", "WaitingForDeployment")
                && expected(&condition(config, "Progressing").2)
        })
        .await
    }

    pub async fn until_present(&self, reference: &ObjectRef) -> Value {
        self.until(reference, "there", |o| o.is_some()).await.unwrap()
    }

    pub async fn until_absent(&self, reference: &ObjectRef) {
        self.until(reference, "gone", |o| o.is_none()).await;
    }

    /// Waits until the operator is idle and the rollout of the registry is complete; returns the Deployment.
    pub async fn until_rolled_out(&self) -> Value {
        self.settle().await;
        self.until(&deployment(), "rolled out", |o| o.is_some_and(is_rolled_out))
            .await
            .unwrap()
    }

    /// Changes the managementState and waits until the Config's status follows.
    pub async fn enter_state(&self, state: &str) {
        self.edit(json!({"managementState": state})).await;
        self.until_config(state, |c| {
            observed(c)
                && match state {
                    "Managed" => is_up(c),
                    _ => is(c, "Available", "True", state) && is(c, "Progressing", "False", state),
                }
        })
        .await;
    }

    pub async fn list(&self, kind: Kind, namespace: &str) -> Vec<Value> {
        let api = self.api(&ObjectRef::new(kind, namespace, "x"));
        let list = api.list(&ListParams::default()).await.unwrap();
        list.items
            .into_iter()
            .map(|o| serde_json::to_value(o).unwrap())
            .collect()
    }

    /// Sets the platform in the status of the Infrastructure.
    pub async fn platform(&self, platform: &str) {
        let status = json!({"platform": platform, "platformStatus": {"type": platform}, "infrastructureTopology": "HighlyAvailable",
                            "controlPlaneTopology": "HighlyAvailable", "infrastructureName": "kw-abc12"});
        self.patch_status(&infrastructure(), json!({"status": status})).await;
    }

    /// A Config as an administrator would create it: `Managed`, one replica.
    pub fn managed(storage: Value) -> Value {
        json!({"apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config", "metadata": {"name": "cluster"},
               "spec": {"managementState": "Managed", "replicas": 1, "storage": storage}})
    }

    /// Creates a Config on emptyDir with one replica, with `spec` merged into it.
    pub async fn create_config(&self, spec: Value) -> Value {
        let mut config = Self::managed(json!({"emptyDir": {}}));
        merge(&mut config["spec"], spec);
        self.create(config).await
    }

    /// Creates such a Config, starts the operator, and waits until the registry is up and the operator idle.
    pub async fn start_registry(&self, spec: Value) -> operator::Operator {
        self.create_config(spec).await;
        let operator = self.operator().await;
        self.until_config("up", is_up).await;
        self.settle().await;
        operator
    }
}
