//! The whole course of a bring-up: every version that watches told, and every request, judged together.

use std::time::Duration;

use devcluster::audit;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use image_registry_operator::status::cluster_operator::AWAITED;
use kube::api::{Api, ApiResource, DynamicObject};
use serde_json::Value;

use super::history::{History, reversals};
use super::{Lab, condition, config_ref, is, operand};

const NAMESPACE: &str = names::NAMESPACE;
const ACCOUNT: &str = "system:serviceaccount:openshift-image-registry:cluster-image-registry-operator";

/// A course under observation.
pub struct Course<'a> {
    lab: &'a Lab,
    pub configs: History,
    pub operators: History,
    pub deployments: History,
    pub sets: History,
    pub pods: History,
    mark: audit::Mark,
}

pub fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

/// Revision of the cluster's store at which this version was written: comparable among all objects, unlike times.
pub fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Status of a condition.
pub fn status(object: &Value, type_: &str) -> String {
    condition(object, type_).0
}

impl Lab {
    /// Records everything from now on.
    pub async fn course(&self) -> Course<'_> {
        Course {
            lab: self,
            configs: self.record(&config_ref()).await,
            operators: self.record(&cluster_operator()).await,
            deployments: self.record(&operand(Kind::Deployment, "")).await,
            sets: History::of(self.replica_sets()).await,
            pods: self.record(&operand(Kind::Pod, "")).await,
            mark: self.cluster.mark().unwrap(),
        }
    }

    /// ReplicaSets of the namespace.
    pub fn replica_sets(&self) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            api_version: "apps/v1".to_owned(),
            kind: "ReplicaSet".to_owned(),
            plural: "replicasets".to_owned(),
        };
        Api::namespaced_with(self.client.clone(), NAMESPACE, &resource)
    }
}

impl Course<'_> {
    /// Requests of everybody since the beginning.
    pub fn log(&self) -> audit::Log {
        audit::Log::read_since(self.lab.cluster.audit_log(), self.mark).unwrap()
    }

    /// Requests of the operator since the beginning.
    pub fn requests(&self) -> audit::Log {
        self.log().by_user(ACCOUNT)
    }

    /// Requests of the operator that count, up to the write that made the Config Available. Nobody else may have changed
    /// the Config since then.
    pub fn requests_to_available(&self) -> audit::Log {
        let configs = self.configs.versions();
        let configs = configs.iter().map(|(_, config)| config);
        let later = configs
            .skip_while(|config| !is(config, "Available", "True", "Ready"))
            .skip(1)
            .count();
        let log = self.requests();
        let told =
            log.filter(|event| event.resource == "configs" && event.subresource == "status" && event.code == 200);
        let available = told.events()[told.len() - 1 - later].time;
        log.counted().filter(|event| event.time <= available)
    }

    /// Names of the ReplicaSets that belong to Deployments of this course.
    pub fn replica_sets(&self) -> Vec<String> {
        let uids: Vec<_> = self
            .deployments
            .versions()
            .into_iter()
            .map(|(_, deployment)| deployment["metadata"]["uid"].clone())
            .collect();
        let owned = |set: &Value| uids.contains(&set["metadata"]["ownerReferences"][0]["uid"]);
        let all = self.sets.versions().into_iter().map(|(_, set)| set);
        let mut names: Vec<_> = all
            .filter(owned)
            .map(|set| set["metadata"]["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// How long after its last input the Deployment was asked for: inputs are what anybody wrote to the Config's spec, to
    /// Secrets and ConfigMaps of the namespace, and the Service.
    pub fn deployment_after_last_input(&self) -> Duration {
        let log = self.log();
        let is_deployment = |event: &&audit::Event| {
            event.resource == "deployments" && event.namespace == NAMESPACE && event.verb == "create"
        };
        let created = log
            .events()
            .iter()
            .find(is_deployment)
            .expect("a Deployment was created")
            .time;
        let is_input = |event: &&audit::Event| {
            let kind = match event.resource.as_str() {
                "secrets" | "configmaps" => event.namespace == NAMESPACE,
                "services" => event.namespace == NAMESPACE && event.verb == "create",
                "configs" => event.subresource.is_empty(),
                _ => false,
            };
            kind && event.is_write() && event.code < 300 && event.time + event.duration <= created
        };
        let inputs = log.events().iter().filter(is_input);
        let last = inputs
            .map(|event| event.time + event.duration)
            .max()
            .expect("inputs were written");
        Duration::from_micros((created - last).try_into().unwrap())
    }

    /// Everything that a bring-up must not do. Nothing before this version of the Config counts, nor what still says
    /// `Removed` right after it.
    pub async fn judge(&self, first: Option<&Value>) {
        self.told().await;
        let from = first.map_or(0, revision);
        let begins = |object: &Value| revision(object) > from && !is(object, "Available", "True", "Removed");
        let log = self.requests();
        for (what, history) in [("Config", &self.configs), ("ClusterOperator", &self.operators)] {
            let versions = history.versions();
            let counted = versions
                .iter()
                .map(|(_, object)| object)
                .skip_while(|object| !begins(object));
            assert_eq!(reversals(counted), Vec::<String>::new(), "of the {what}");
        }
        assert!(log.denied().is_empty(), "denied: {}", log.denied());
        let conflicts = log.filter(|event| event.code == 409);
        assert!(
            conflicts.is_empty(),
            "conflicts: {}among\n{}",
            self.raw(&conflicts),
            self.log().writes()
        );
        assert_eq!(self.replica_sets().len(), 1, "{:?}", self.replica_sets());
        self.available_after_ready(begins);
        self.cluster_operator_follows();
    }

    /// Waits until the recorders know what the API server has of Config and ClusterOperator, and that the latter is
    /// Available: they are watches of their own, and follow at their own pace.
    async fn told(&self) {
        let available = |operator: Option<&Value>| operator.is_some_and(|o| is(o, "Available", "True", "Ready"));
        let operator = self
            .lab
            .until(&cluster_operator(), "available", available)
            .await
            .expect("it is there");
        let config = self.lab.config().await;
        let knows = |history: &History, newest: &Value| {
            history
                .versions()
                .iter()
                .any(|(_, object)| revision(object) >= revision(newest))
        };
        let caught_up = async {
            while !(knows(&self.configs, &config) && knows(&self.operators, &operator)) {
                tokio::task::yield_now().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(self.lab.patience, caught_up)
            .await
            .expect("the recorders catch up");
    }

    /// Requests with all that the audit log has of them.
    fn raw(&self, log: &audit::Log) -> String {
        let text = std::fs::read_to_string(self.lab.cluster.audit_log()).unwrap();
        let asked = |line: &&str| log.events().iter().any(|event| line.contains(&event.id));
        text.lines().filter(asked).collect::<Vec<_>>().join("\n")
    }

    /// Available=True comes after a pod of this course was Ready, in the order in which the API server stored them.
    fn available_after_ready(&self, begins: impl Fn(&Value) -> bool) {
        let pods = self.pods.versions();
        let ready = pods.iter().find(|(_, pod)| status(pod, "Ready") == "True");
        let ready = ready.map(|(_, pod)| revision(pod)).expect("a pod is Ready");
        for (what, history) in [("Config", &self.configs), ("ClusterOperator", &self.operators)] {
            let versions = history.versions();
            let mut counted = versions
                .iter()
                .map(|(_, object)| object)
                .skip_while(|object| !begins(object));
            let available = counted
                .find(|object| status(object, "Available") == "True")
                .expect("it is available");
            assert!(
                revision(available) > ready,
                "{what} was Available before a pod was Ready"
            );
        }
    }

    /// What the Config says for longer than a second, the ClusterOperator says as well.
    fn cluster_operator_follows(&self) {
        const SOON: Duration = Duration::from_secs(1);
        let (configs, operators) = (self.configs.versions(), self.operators.versions());
        for (index, (at, config)) in configs.iter().enumerate() {
            let replaced = configs.get(index + 1).is_some_and(|(next, _)| *next <= *at + SOON);
            if replaced || status(config, "Available").is_empty() {
                continue;
            }
            let told = operators.iter().take_while(|(told, _)| *told <= *at + SOON).last();
            let told = told.map(|(_, operator)| operator).expect("a ClusterOperator");
            for (type_, normal) in [("Available", "True"), ("Progressing", "False"), ("Degraded", "False")] {
                let statuses = inputs(config, type_);
                // It turns normal only when every input is there; one that is not normal counts at once.
                let abnormal = statuses.iter().any(|status| status != normal);
                let missing = AWAITED.iter().any(|awaited| {
                    awaited.ends_with(type_)
                        && !awaited.starts_with("ImagePruner")
                        && status(config, awaited).is_empty()
                });
                // The pruner's inputs are of another object: until they are there, it does not turn normal either.
                let turns = operators.iter().find(|(_, operator)| status(operator, type_) == normal);
                let waits = turns.is_none_or(|(turned, _)| *turned > *at + SOON);
                if abnormal || !(missing || waits) {
                    assert_eq!(
                        status(told, type_) != normal,
                        abnormal,
                        "{type_} a second later, of {statuses:?}"
                    );
                }
            }
        }
    }
}

/// Statuses of all conditions of the Config that the ClusterOperator makes one of.
fn inputs(config: &Value, type_: &str) -> Vec<String> {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    let all = conditions.into_iter().flatten();
    let of_type = all.filter(|condition| condition["type"].as_str().is_some_and(|t| t.ends_with(type_)));
    of_type
        .map(|condition| condition["status"].as_str().unwrap().to_owned())
        .collect()
}
