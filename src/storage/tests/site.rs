//! A cluster with the fake cloud: steps are stored, the registry gets what they say, time goes by.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::answers::Answers;
use super::super::http::Proxies;
use super::super::preflight::Pods;
use super::super::probes::{self, Cleared};
use super::super::{Core, Hold, Outcome, ensure, remove, select};
use super::World;
use super::fake::Cloud;
use crate::api::Sensitive;
use crate::config::facts::StorageFacts;
use crate::names;

pub struct Site {
    pub world: World,
    pub cloud: Cloud,
    pub answers: Answers,
    /// What the registry runs with.
    pub live: Option<StorageFacts>,
    /// How much time goes by before each pass; by default more than any wait.
    pub tick: Duration,
    pub read_only: bool,
    /// Proxy of the pods.
    pub proxy: Option<String>,
}

impl Site {
    pub fn new(storage: Value) -> Self {
        let mut world = World::with_storage(storage);
        world.add(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": names::NAMESPACE, "uid": "uid-of-the-namespace",
        }}));
        world.add(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
            "name": "registry", "namespace": names::NAMESPACE,
        }}));
        Self {
            world,
            cloud: Cloud::default(),
            answers: Answers::default(),
            live: None,
            tick: Duration::from_mins(6),
            read_only: false,
            proxy: None,
        }
    }

    /// One that has settled.
    pub async fn applied(storage: Value) -> Self {
        let mut site = Self::new(storage);
        site.settle().await;
        site.cloud.calls.borrow_mut().clear();
        site.cloud.probed.borrow_mut().clear();
        site.cloud.looks.set(0);
        site
    }

    pub async fn step(&self) -> Outcome {
        let config = self.world.config();
        let pods = Pods {
            differs: &|facts| self.live.as_ref() != Some(facts),
            via: Proxies {
                https: self.proxy.as_deref().map(Sensitive::new),
                ..Proxies::default()
            },
            read_only: self.read_only,
        };
        let core = Core {
            cluster: &self.world,
            answers: &self.answers,
            pods: &pods,
        };
        if config.spec.management_state.as_deref() == Some("Removed") {
            return remove::remove(&self.cloud, &config, &self.world.snapshot, &core, false).await;
        }
        let selected = select::select(&config, &self.world.snapshot).unwrap();
        ensure::ensure(&self.cloud, &config, &self.world.snapshot, &selected, &core).await
    }

    pub async fn pass(&mut self) -> Outcome {
        self.wait(self.tick);
        let outcome = self.step().await;
        let before = self.world.config().metadata.generation;
        self.world.store_record(&outcome);
        self.answers.follow(before, self.world.config().metadata.generation);
        self.world.store_status(&outcome);
        if let Some(facts) = &outcome.facts {
            self.live = Some(facts.clone());
            self.serve(1);
        }
        outcome
    }

    /// As the controller does it: what is recorded at once is followed by the next step.
    pub async fn whole(&mut self) -> Outcome {
        let mut outcome = self.pass().await;
        for _ in 0..9 {
            let at_once = outcome.wait.as_ref().is_some_and(|(after, _)| after.is_zero());
            if outcome.record.is_none() || !at_once {
                break;
            }
            let tick = std::mem::take(&mut self.tick);
            outcome = self.pass().await;
            self.tick = tick;
        }
        outcome
    }

    pub async fn settle(&mut self) -> Outcome {
        for _ in 0..15 {
            let before = (self.world.config.clone(), self.calls());
            let outcome = self.pass().await;
            if (self.world.config.clone(), self.calls()) == before && outcome.wait.is_none() {
                return outcome;
            }
        }
        panic!("does not settle: {:#}", self.world.config);
    }

    /// Clears away what an earlier process left, as a pass does when it begins.
    pub async fn clear(&mut self) -> Cleared {
        let (config, snapshot) = (self.world.config(), self.world.snapshot.clone());
        let cleared = probes::clear_with(&config, &snapshot, &self.answers, async |left| {
            probes::clear_one(&self.cloud, &config, &snapshot, &self.world, left).await
        })
        .await;
        if let Some(record) = &cleared.record {
            self.world.merge(record);
        }
        cleared
    }

    /// Another process leads from now on.
    pub fn restart(&mut self) {
        self.answers = Answers::default();
    }

    pub fn wait(&mut self, time: Duration) {
        self.world.snapshot.now = self.world.snapshot.now.checked_add(time).unwrap();
    }

    /// The Deployment has so many available pods.
    pub fn serve(&mut self, available: u32) {
        self.world.add(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "image-registry", "namespace": names::NAMESPACE},
            "status": {"availableReplicas": available},
        }));
    }

    pub fn calls(&self) -> Vec<String> {
        self.cloud.calls.borrow().clone()
    }

    pub fn looks(&self) -> u32 {
        self.cloud.looks.take()
    }

    pub fn probed(&self) -> Vec<String> {
        self.cloud.probed.take()
    }

    pub fn note(&self) -> Option<&str> {
        self.annotation(names::STORAGE_INTENT_ANNOTATION)
    }

    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.world.config["metadata"]["annotations"][name].as_str()
    }

    /// Nothing of the running registry may change, all else goes out.
    pub fn is_held(outcome: &Outcome) -> bool {
        outcome.facts.is_none() && outcome.status_storage.is_none() && outcome.hold == Hold::Storage
    }
}
