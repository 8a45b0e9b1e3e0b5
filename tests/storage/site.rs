//! A cluster with the fake cloud. A pass is one step, so that a test can look between any two.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use image_registry_operator::names;
use image_registry_operator::storage::{Freeze, Outcome};
use serde_json::{Value, json};

use crate::fake::{CA_MAP, FakeCloud};
use crate::harness::StorageHarness;

pub struct Site(pub StorageHarness<FakeCloud>);

impl Deref for Site {
    type Target = StorageHarness<FakeCloud>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Site {
    pub fn new(storage: Value) -> Self {
        Self::on("BareMetal", json!({"rolloutStrategy": "Recreate", "storage": storage}))
    }

    /// On a platform, with these members in `spec`.
    pub fn on(platform: &str, spec: Value) -> Self {
        let mut harness = StorageHarness::new(FakeCloud::default(), &json!({"type": platform}), &spec);
        // More than any wait.
        harness.tick = Duration::from_mins(6);
        harness.single_steps = true;
        Self(harness)
    }

    /// A cluster whose storage has settled.
    pub async fn applied(storage: Value) -> Self {
        let mut site = Self::new(storage);
        site.settle().await;
        site.cloud().calls.borrow_mut().clear();
        site.preflights();
        site.looks();
        site
    }

    pub fn cloud(&self) -> &FakeCloud {
        &self.0.storage
    }

    /// As the controller does it: what a step records is stored, and the next step follows.
    pub async fn whole(&mut self) -> Outcome {
        self.0.single_steps = false;
        let outcome = self.0.pass().await;
        self.0.single_steps = true;
        outcome
    }

    pub async fn settle(&mut self) -> Outcome {
        for _ in 0..30 {
            let before = (self.0.config.clone(), self.calls());
            let outcome = self.0.pass().await;
            if (self.0.config.clone(), self.calls()) == before && outcome.wait.is_none() {
                return outcome;
            }
        }
        panic!("does not settle: {:#}", self.0.config);
    }

    /// The registry is to be removed; more passes than that takes.
    pub async fn remove(&mut self) {
        self.edit(json!({"managementState": "Removed"}));
        for _ in 0..12 {
            self.pass().await;
        }
    }

    /// The ConfigMap with the cloud's CA, with this data.
    pub fn set_ca(&mut self, data: Value) {
        self.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": CA_MAP, "namespace": names::CONFIG_NAMESPACE}, "data": data,
        }));
    }

    /// Another process leads from now on.
    pub fn restart(&mut self) {
        self.0.storage.cache.take();
    }

    pub fn calls(&self) -> Vec<String> {
        self.cloud().calls()
    }

    /// HEAD calls since the last look.
    pub fn looks(&self) -> u32 {
        self.cloud().heads.take()
    }

    /// Preflights since the last look.
    pub fn preflights(&self) -> Vec<String> {
        self.cloud().preflights.take()
    }

    pub fn exists(&self) -> String {
        self.0.condition("StorageExists")
    }

    pub fn message(&self) -> String {
        self.0.message("StorageExists")
    }

    pub fn probe_record(&self) -> Option<&str> {
        self.0.annotation(names::STORAGE_PROBE_ANNOTATION)
    }

    /// Nothing of the running registry may change, all else is applied.
    pub fn is_held(outcome: &Outcome) -> bool {
        outcome.facts.is_none() && outcome.status_storage.is_none() && outcome.freeze == Freeze::Storage
    }
}
