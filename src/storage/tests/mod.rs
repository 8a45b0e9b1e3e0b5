//! A small world to run steps in: the Config as the controller would store it, and claims that live in the snapshot.

#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
#![allow(clippy::large_futures)]

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;

use json_patch::merge;
use serde_json::{Value, json};

use super::cloud::{Cloud, Settings};
use super::fault::{Class, Fault};
use super::http::Proxies;
use super::preflight::Pods;
use super::{Cluster, Creation, Outcome, ensure, remove};
use crate::api::{Config, Kind, ObjectRef, Sensitive};
use crate::config::environment::Environment;
use crate::config::resolve::Reason;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;
use crate::status::conditions;

mod cloud;
mod empty_dir;
mod existence;
mod fake;
mod flow;
mod preflight;
mod pvc;
mod pvc_removal;
mod site;

/// How the API server answers a create.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Works,
    OverQuota,
    Broken,
    LosesAnswer,
}

/// The cluster of one test.
struct World {
    config: Value,
    snapshot: Snapshot,
    server: Server,
    calls: RefCell<Vec<String>>,
    appeared: RefCell<Vec<Value>>,
    /// The Config is not the newest any more.
    stale: Cell<bool>,
}

impl Cluster for World {
    async fn confirm(&self) -> Result<(), Fault> {
        if self.stale.get() {
            return Err(Fault::transient("the Config was changed"));
        }
        Ok(())
    }

    async fn registry_token(&self, audience: &str) -> Result<Sensitive, Fault> {
        Ok(Sensitive::new(format!("token for {audience}")))
    }

    fn is_stale(&self) -> bool {
        self.stale.get()
    }

    async fn create_claim(&self, claim: &Value) -> Result<Creation, Fault> {
        let name = claim["metadata"]["name"].as_str().unwrap();
        self.calls.borrow_mut().push(format!("create {name}"));
        match self.server {
            Server::OverQuota => return Err(Fault::config("exceeded quota: claims-kept-small")),
            Server::Broken => return Err(Fault::transient("500 Internal Server Error")),
            Server::Works | Server::LosesAnswer => {}
        }
        if self.claim(name).is_some() {
            return Ok(Creation::AlreadyExists);
        }
        let mut made = claim.clone();
        made["metadata"]["uid"] = json!("made-by-operator");
        self.appeared.borrow_mut().push(made);
        if self.server == Server::LosesAnswer {
            Err(Fault::transient("connection reset"))
        } else {
            Ok(Creation::Created)
        }
    }

    async fn delete_claim(&self, name: &str, uid: &str) -> Result<(), Fault> {
        self.calls.borrow_mut().push(format!("delete {name} {uid}"));
        Ok(())
    }
}

impl World {
    fn new(platform: &str, spec: Value) -> Self {
        let infrastructure = json!({
            "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"infrastructureName": "blue-x7k2p", "platformStatus": {"type": platform}},
        });
        let snapshot = Snapshot {
            objects: Objects::from_values([infrastructure]).unwrap(),
            environment: Environment::default(),
            security_api: true,
            now: "2026-05-04T03:02:01Z".parse().unwrap(),
        };
        let mut config = json!({
            "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
            "metadata": {"name": "cluster", "generation": 1},
            "spec": {"managementState": "Managed", "replicas": 1},
        });
        merge(&mut config["spec"], &spec);
        Self {
            config,
            snapshot,
            server: Server::Works,
            calls: RefCell::default(),
            appeared: RefCell::default(),
            stale: Cell::default(),
        }
    }

    /// Platform without default storage, `spec.storage` as given, one replica, `Recreate`.
    fn with_storage(storage: Value) -> Self {
        Self::new("BareMetal", json!({"rolloutStrategy": "Recreate", "storage": storage}))
    }

    fn config(&self) -> Config {
        serde_json::from_value(self.config.clone()).unwrap()
    }

    fn claim(&self, name: &str) -> Option<&Value> {
        self.snapshot.objects.operand(Kind::PersistentVolumeClaim, name)
    }

    fn add(&mut self, object: Value) {
        let kind = Kind::find(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or("").to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.snapshot
            .objects
            .insert(ObjectRef::new(kind, &namespace, &name), object.into());
    }

    /// A claim that somebody made; `ours` puts the operator's annotation on it.
    fn add_claim(&mut self, name: &str, modes: &[&str], ours: bool) {
        let annotations = if ours {
            json!({names::OWNED_ANNOTATION: "true"})
        } else {
            json!({"team": "blue"})
        };
        self.add(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": names::NAMESPACE, "uid": format!("uid-of-{name}"), "annotations": annotations},
            "spec": {"accessModes": modes, "storageClassName": "slow", "resources": {"requests": {"storage": "7Gi"}}},
            "status": {"phase": "Bound", "capacity": {"storage": "8Gi"}},
        }));
    }

    fn set_claim(&mut self, name: &str, pointer: &str, value: Value) {
        let mut claim = self.claim(name).unwrap().clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        claim.pointer_mut(parent).unwrap()[key] = value;
        self.add(claim);
    }

    fn drop_claim(&mut self, name: &str) {
        self.snapshot
            .objects
            .remove(&ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, name));
    }

    fn edit(&mut self, spec: Value) {
        merge(&mut self.config["spec"], &spec);
        self.config["metadata"]["generation"] = json!(self.config["metadata"]["generation"].as_i64().unwrap() + 1);
    }

    /// What the API server made of our writes shows up in the stores.
    fn settle_store(&mut self) {
        for claim in self.appeared.take() {
            self.add(claim);
        }
    }

    fn store_record(&mut self, outcome: &Outcome) {
        if let Some(record) = &outcome.record {
            self.merge(record);
        }
    }

    /// A patch of the Config; like the API server, it counts changes of the spec.
    fn merge(&mut self, patch: &Value) {
        let before = self.config["spec"].clone();
        merge(&mut self.config, patch);
        if self.config["spec"] != before {
            self.config["metadata"]["generation"] = json!(self.config["metadata"]["generation"].as_i64().unwrap() + 1);
        }
    }

    fn store_status(&mut self, outcome: &Outcome) {
        let stored = self.config().status.unwrap_or_default();
        let kept: Vec<_> = stored.conditions.clone().unwrap_or_default();
        let kept: Vec<_> = kept
            .into_iter()
            .filter(|c| outcome.own_conditions.contains(&c.type_.as_str()))
            .collect();
        let merged = conditions::merge(&kept, &outcome.verdicts, self.snapshot.now);
        let storage = outcome.status_storage.clone().unwrap_or(stored.storage);
        self.config["status"] = json!({
            "storage": storage, "storageManaged": outcome.storage_managed, "conditions": merged,
            "observedGeneration": self.config["metadata"]["generation"],
        });
    }

    async fn ensure(&self) -> Outcome {
        self.ensure_of(&self.config(), &self.snapshot).await
    }

    async fn ensure_of(&self, config: &Config, snapshot: &Snapshot) -> Outcome {
        let pods = Pods {
            differs: &|_| false,
            via: Proxies::default(),
            read_only: false,
        };
        ensure(config, snapshot, self, &no_cloud(), &pods).await
    }

    async fn remove(&self, deleting_config: bool) -> Outcome {
        remove(&self.config(), &self.snapshot, self, &no_cloud(), deleting_config).await
    }

    /// One pass as the controller runs it: step, record, status.
    async fn pass(&mut self) -> Outcome {
        let config = self.config();
        let outcome = match config.spec.management_state.as_deref() {
            Some("Removed") => self.remove(false).await,
            _ => self.ensure().await,
        };
        self.store_record(&outcome);
        self.store_status(&outcome);
        self.settle_store();
        outcome
    }

    /// Passes until nothing more is wanted; the last outcome. Fails where that does not come.
    async fn settle(&mut self) -> Outcome {
        for _ in 0..5 {
            let before = self.config.clone();
            let outcome = self.pass().await;
            if self.config == before && outcome.record.is_none() && outcome.status_storage.is_none() {
                return outcome;
            }
        }
        panic!("does not settle: {:#}", self.config);
    }

    fn storage(&self) -> &Value {
        &self.config["spec"]["storage"]
    }

    fn status(&self) -> &Value {
        &self.config["status"]["storage"]
    }

    fn state(&self) -> Option<&str> {
        self.storage()["managementState"].as_str()
    }

    fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }

    /// `status/reason` of the stored `StorageExists`.
    fn exists(&self) -> String {
        let condition = self.exists_condition();
        format!(
            "{}/{}",
            condition["status"].as_str().unwrap_or("-"),
            condition["reason"].as_str().unwrap_or("-")
        )
    }

    fn message(&self) -> String {
        self.exists_condition()["message"].as_str().unwrap_or("").to_owned()
    }

    fn exists_condition(&self) -> Value {
        let conditions = self.config["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .into_iter()
            .find(|c| c["type"] == "StorageExists")
            .unwrap_or_default()
    }
}

/// A cloud that leads nowhere.
fn no_cloud() -> Cloud {
    Cloud::new(Settings {
        version: "7.7.7".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| false),
        fips: false,
        root: PathBuf::new(),
    })
}

fn rejected(outcome: &Outcome) -> Option<Reason> {
    match outcome.fault.as_ref()?.class {
        Class::Rejected(reason) => Some(reason),
        _ => None,
    }
}

fn warnings(outcome: &Outcome) -> Vec<&str> {
    outcome
        .notices
        .iter()
        .filter(|n| n.warning)
        .map(|n| n.note.as_str())
        .collect()
}
