//! Volumes: claims and emptyDir.

mod claim;
mod claim_removal;
mod empty_dir;

use std::cell::RefMut;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::program::Proxies;
use image_registry_operator::storage::net::network::Settings;
use image_registry_operator::storage::{Outcome, StorageClients};
use serde_json::{Value, json};

use crate::harness::{ApiServer, StorageHarness};

/// A cluster with the program's own backends, and no network.
pub struct Volumes(StorageHarness<StorageClients>);

impl Deref for Volumes {
    type Target = StorageHarness<StorageClients>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Volumes {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Connections that lead nowhere.
fn no_network() -> StorageClients {
    StorageClients::new(Settings {
        version: "7.7.7".to_owned(),
        proxies: Arc::new(Proxies::default),
        leading: Arc::new(|| false),
        fips: false,
        root: PathBuf::new(),
    })
}

impl Volumes {
    /// On a platform, with these members in `spec`.
    pub fn on(platform: &str, spec: Value) -> Self {
        let mut harness = StorageHarness::new(no_network(), &json!({"type": platform}), &spec);
        harness.single_steps = true;
        harness.tick = std::time::Duration::ZERO;
        Self(harness)
    }

    /// On a platform without default storage, `spec.storage` as given, one replica, `Recreate`.
    pub fn with_storage(storage: Value) -> Self {
        Self::on("BareMetal", json!({"rolloutStrategy": "Recreate", "storage": storage}))
    }

    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.snapshot.objects.operand(Kind::PersistentVolumeClaim, name)
    }

    /// A claim of a user; `ours` puts the operator's annotation on it.
    pub fn add_claim(&mut self, name: &str, modes: &[&str], ours: bool) {
        let annotations = if ours {
            json!({names::OWNED_ANNOTATION: "true"})
        } else {
            json!({"team": "blue"})
        };
        self.add(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name, "namespace": names::NAMESPACE, "uid": format!("uid-of-{name}"), "resourceVersion": "1",
                "annotations": annotations,
            },
            "spec": {"accessModes": modes, "storageClassName": "slow", "resources": {"requests": {"storage": "7Gi"}}},
            "status": {"phase": "Bound", "capacity": {"storage": "8Gi"}},
        }));
    }

    pub fn set_claim(&mut self, name: &str, pointer: &str, value: Value) {
        let mut claim = self.claim(name).unwrap().clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        claim.pointer_mut(parent).unwrap()[key] = value;
        self.add(claim);
    }

    pub fn drop_claim(&mut self, name: &str) {
        self.remove_object(Kind::PersistentVolumeClaim, name);
    }

    pub async fn ensure(&self) -> Outcome {
        self.step().await
    }

    /// Passes until nothing more is wanted; the last outcome.
    pub async fn settle(&mut self) -> Outcome {
        for _ in 0..5 {
            let before = self.config.clone();
            let outcome = self.pass().await;
            if self.config == before && outcome.record.is_none() && outcome.status_storage.is_none() {
                return outcome;
            }
        }
        panic!("does not settle: {:#}", self.config);
    }

    pub fn answers(&self, server: ApiServer) {
        self.cluster.server.set(server);
    }

    /// Claims that were created or deleted, in order.
    pub fn calls(&self) -> Vec<String> {
        self.cluster.claim_calls.borrow().clone()
    }

    pub fn recorded_calls(&self) -> RefMut<'_, Vec<String>> {
        self.cluster.claim_calls.borrow_mut()
    }

    pub fn exists(&self) -> String {
        self.condition("StorageExists")
    }

    pub fn message(&self) -> String {
        self.0.message("StorageExists")
    }
}
