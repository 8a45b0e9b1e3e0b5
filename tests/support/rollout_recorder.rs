//! Records a whole bring-up of the registry: every version of the objects that a watch reported, and every request. A test
//! then checks all of it, and not only the state at the end.

use std::time::Duration;

use devcluster::audit;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::status::cluster_operator::AWAITED;
use kube::api::{Api, ApiResource, DynamicObject};
use serde_json::Value;

use super::history::{History, reversals};
use super::operator::ACCOUNT;
use super::{TestCluster, cluster_operator, config_ref, etcd_revision, is, operand, status};

const NAMESPACE: &str = names::NAMESPACE;

/// Records from its creation until it is dropped.
pub struct RolloutRecorder<'a> {
    cluster: &'a TestCluster,
    pub configs: History,
    pub operators: History,
    pub deployments: History,
    pub sets: History,
    pub pods: History,
    mark: audit::Mark,
}

impl TestCluster {
    /// Records everything from now on.
    pub async fn record_rollout(&self) -> RolloutRecorder<'_> {
        RolloutRecorder {
            cluster: self,
            configs: self.record(&config_ref()).await,
            operators: self.record(&cluster_operator()).await,
            deployments: self.record(&operand(Kind::Deployment, "")).await,
            sets: History::of(self.replica_sets()).await,
            pods: self.record(&operand(Kind::Pod, "")).await,
            mark: self.mark(),
        }
    }

    /// ReplicaSets of the registry's namespace.
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

impl RolloutRecorder<'_> {
    /// Requests of every client so far.
    pub fn log(&self) -> audit::Log {
        audit::Log::read_since(self.cluster.devcluster.audit_log(), self.mark).unwrap()
    }

    /// Requests of the operator so far.
    pub fn requests(&self) -> audit::Log {
        self.log().by_service_account(NAMESPACE, ACCOUNT)
    }

    /// Requests of the operator that count, up to the write that made the Config Available. The Config must not have been
    /// changed by anybody else since that write.
    pub fn requests_to_available(&self) -> audit::Log {
        let configs = self.configs.versions();
        let configs = configs.iter().map(|(_, config)| config);
        let later = configs
            .skip_while(|config| !is(config, "Available", "True", "Ready"))
            .skip(1)
            .count();
        let log = self.requests();
        let writes =
            log.filter(|event| event.resource == "configs" && event.subresource == "status" && event.code == 200);
        let available = writes.events()[writes.len() - 1 - later].time;
        log.counted().filter(|event| event.time <= available)
    }

    /// Status writes that changed nothing but reasons and messages of conditions: the operator debounces these writes. A write
    /// that changes the status of a condition goes out at once. For the Config and for the ClusterOperator.
    pub fn debounced_writes(&self) -> [usize; 2] {
        let settled = |object: &Value| {
            let mut status = object["status"].clone();
            for condition in status["conditions"].as_array_mut().into_iter().flatten() {
                condition["reason"].take();
                condition["message"].take();
            }
            status
        };
        [&self.configs, &self.operators].map(|history| {
            let versions = history.versions();
            versions
                .windows(2)
                .filter(|pair| pair[0].1["status"] != pair[1].1["status"])
                .filter(|pair| settled(&pair[0].1) == settled(&pair[1].1))
                .count()
        })
    }

    /// When the operator created the Deployment, in microseconds since 1970. It must have done so exactly once.
    pub fn deployment_created(&self) -> i64 {
        let created = self
            .requests()
            .filter(|event| event.resource == "deployments" && event.verb == "create" && event.code == 201);
        assert_eq!(created.len(), 1, "{created}");
        created.events()[0].time
    }

    /// Names of the ReplicaSets that belong to the recorded Deployments.
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

    /// Time between the last input of the Deployment and its creation. Inputs are: writes to the Config's spec, to Secrets
    /// and ConfigMaps of the namespace, and the creation of the Service.
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

    /// Asserts what must hold in every bring-up: no condition returns to a status that it left, no request is denied or
    /// conflicts, there is one rollout, Available follows readiness, and the ClusterOperator follows the Config.
    ///
    /// The bring-up begins after version `first` of the Config; versions right after it that still report `Removed` do not
    /// count.
    pub async fn assert_clean_bring_up(&self, first: Option<&Value>) {
        self.until_watches_caught_up().await;
        let from = first.map_or(0, etcd_revision);
        let begins = |object: &Value| etcd_revision(object) > from && !is(object, "Available", "True", "Removed");
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

    /// Waits until the ClusterOperator is Available and the histories contain the newest Config and ClusterOperator: each
    /// history has its own watch, which may lag.
    async fn until_watches_caught_up(&self) {
        let operator = self
            .cluster
            .until(&cluster_operator(), "available", |operator| {
                operator.is_some_and(|o| is(o, "Available", "True", "Ready"))
            })
            .await
            .expect("the ClusterOperator exists");
        let config = self.cluster.config().await;
        let contains = |history: &History, newest: &Value| {
            history
                .versions()
                .iter()
                .any(|(_, object)| etcd_revision(object) >= etcd_revision(newest))
        };
        let caught_up = async {
            while !(contains(&self.configs, &config) && contains(&self.operators, &operator)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(self.cluster.timeout, caught_up)
            .await
            .expect("the watches catch up");
    }

    /// The audit log's lines about these requests, unabridged.
    fn raw(&self, log: &audit::Log) -> String {
        let text = std::fs::read_to_string(self.cluster.devcluster.audit_log()).unwrap();
        let wanted = |line: &&str| log.events().iter().any(|event| line.contains(&event.id));
        text.lines().filter(wanted).collect::<Vec<_>>().join("\n")
    }

    /// Available=True is written after a pod of this bring-up was Ready, by the order of etcd revisions.
    fn available_after_ready(&self, begins: impl Fn(&Value) -> bool) {
        let pods = self.pods.versions();
        let ready = pods.iter().find(|(_, pod)| status(pod, "Ready") == "True");
        let ready = ready.map(|(_, pod)| etcd_revision(pod)).expect("a pod is Ready");
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
                etcd_revision(available) > ready,
                "{what} was Available before a pod was Ready"
            );
        }
    }

    /// What the Config reports for longer than a second, the ClusterOperator reports as well.
    fn cluster_operator_follows(&self) {
        const SOON: Duration = Duration::from_secs(1);
        let (configs, operators) = (self.configs.versions(), self.operators.versions());
        for (index, (at, config)) in configs.iter().enumerate() {
            let replaced = configs.get(index + 1).is_some_and(|(next, _)| *next <= *at + SOON);
            if replaced || status(config, "Available").is_empty() {
                continue;
            }
            let reported = operators
                .iter()
                .take_while(|(written, _)| *written <= *at + SOON)
                .last();
            let reported = reported.map(|(_, operator)| operator).expect("a ClusterOperator");
            for (type_, normal) in [("Available", "True"), ("Progressing", "False"), ("Degraded", "False")] {
                let statuses = inputs(config, type_);
                // The ClusterOperator turns normal once every input is present. An abnormal input counts at once.
                let abnormal = statuses.iter().any(|status| status != normal);
                let missing = AWAITED.iter().any(|awaited| {
                    awaited.ends_with(type_)
                        && !awaited.starts_with("ImagePruner")
                        && status(config, awaited).is_empty()
                });
                // The inputs of the pruner are in another object; without them the ClusterOperator is not normal either.
                let turns = operators.iter().find(|(_, operator)| status(operator, type_) == normal);
                let waits = turns.is_none_or(|(turned, _)| *turned > *at + SOON);
                if abnormal || !(missing || waits) {
                    assert_eq!(
                        status(reported, type_) != normal,
                        abnormal,
                        "{type_} a second later, of {statuses:?}"
                    );
                }
            }
        }
    }
}

/// Statuses of all conditions of the Config from which the ClusterOperator derives one condition.
fn inputs(config: &Value, type_: &str) -> Vec<String> {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    let all = conditions.into_iter().flatten();
    let of_type = all.filter(|condition| condition["type"].as_str().is_some_and(|t| t.ends_with(type_)));
    of_type
        .map(|condition| condition["status"].as_str().unwrap().to_owned())
        .collect()
}
