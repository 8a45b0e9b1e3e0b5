//! The end-to-end proof, on real nodes: the operator runs as a pod from `deploy/`, brings a registry up when the
//! administrator asks for one, images go in and out through Service and route, and the cluster runs a pod from one.
//!
//! One scenario on one cluster: each step builds on the one before. Needs root, for its nodes.

// A test may end where it stands, tell a number, and hold its turn while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod partner;
mod pulls;
mod s3;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devcluster::{Options, Record, image, inside, install, programs};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams, LogParams};
use pulls::Pulls;
use serde_json::{Value, json};
use support::history::History;
use support::{Lab, config_ref, https, is, is_up, lab, operand};

const NAMESPACE: &str = names::NAMESPACE;
const OPERATOR: &str = names::OPERATOR_DEPLOYMENT;
/// What everybody in the cluster calls the registry.
const REGISTRY: &str = "image-registry.openshift-image-registry.svc:5000";
const CLAIM: &str = "registry-images";

// lifecycle 45, 48; storage-volumes 20; deploy 19; issue 4: a registry that only `additionalTrustedCA` makes trusted
#[tokio::test]
async fn the_operator_in_a_pod_brings_up_a_registry_from_which_the_cluster_runs_an_image() {
    assert!(
        is_root(),
        "the end-to-end test runs real nodes, which take root: run it as root, or leave it out \
         (`make test-fast` needs neither)"
    );
    let options = Options {
        name: format!("e2e-{}", std::process::id()),
        simulated_nodes: 0,
        real_nodes: 3,
        platform: "None".to_owned(),
        security_api: true,
        ..Options::default()
    };
    let began = Instant::now();
    let mut lab = lab(options).await;
    // A rollout of real pods takes its time: probes begin late, old pods wait before they end.
    lab.patience = Duration::from_secs(150);
    let scenario = Scenario { lab, began };
    scenario.say("three nodes are up");
    let failed = {
        use futures::FutureExt as _;
        std::panic::AssertUnwindSafe(scenario.play()).catch_unwind().await
    };
    if let Err(panic) = failed {
        scenario.show_what_is_there().await;
        std::panic::resume_unwind(panic);
    }
    let name = scenario.lab.cluster.name().to_owned();
    tokio::task::spawn_blocking(move || devcluster::cluster::down(&name))
        .await
        .unwrap()
        .unwrap();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

struct Scenario {
    lab: Lab,
    began: Instant,
}

impl Scenario {
    /// Progress, with the time since the beginning: this test takes minutes.
    fn say(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f32());
    }

    fn record(&self) -> &Record {
        self.lab.cluster.record()
    }

    async fn crane(&self, node: &str, words: &[&str]) -> String {
        inside::crane(self.record(), node, words)
            .await
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn play(&self) {
        let sample = self.sample("theirs").await;
        let (partner, ()) = futures::join!(
            partner::begin(&self.lab, &sample.layout, &sample.digest),
            self.operator_comes_up_and_removes(),
        );
        self.say("a registry of somebody else is to be trusted");
        self.registry_comes_up_on_empty_dir().await;
        let first = self.sample("first").await;
        self.push_and_pull(REGISTRY, &first).await;
        self.a_pod_runs(&first).await;
        self.operator_is_observable().await;
        self.on_s3(&first).await;
        let (data, host, second) = self.move_to_a_claim_and_open_the_route().await;
        self.rollout_under_pulls(&host, &second).await;
        partner::is_trusted(&self.lab, partner).await;
        self.say("a pod runs from the registry of somebody else");
        assert!(has_blob(&data, &second.digest), "the image is in the volume");
        self.removed(&data, &second).await;
        self.nothing_was_denied();
    }
}

/// An image on this machine, to be pushed.
struct Sample {
    name: String,
    layout: PathBuf,
    digest: String,
}

impl Sample {
    fn at(&self, host: &str) -> String {
        format!("{host}/e2e/{}:v1", self.name)
    }
}

impl Scenario {
    /// The shipped Deployment; on platform None the operator starts without a registry.
    async fn operator_comes_up_and_removes(&self) {
        let binary = Path::new(env!("CARGO_BIN_EXE_cluster-image-registry-operator"));
        install::load_images(self.lab.cluster, binary).await.unwrap();
        self.say("images are loaded");
        install::deploy_operator(self.lab.cluster).await.unwrap();
        let deployment = operand(Kind::Deployment, OPERATOR);
        self.lab
            .until(&deployment, "available", |d| {
                d.is_some_and(|d| d["status"]["availableReplicas"] == 1)
            })
            .await;
        self.say("the operator's pod is ready");
        let config = self
            .lab
            .until_config("removed", |c| is(c, "Available", "True", "Removed"))
            .await;
        // Its readers follow a moment later; what comes before that is not part of a bring-up.
        self.lab
            .until(&cluster_operator(), "removed", |o| {
                o.is_some_and(|o| is(o, "Available", "True", "Removed"))
            })
            .await;
        assert_eq!(config["spec"]["managementState"], "Removed");
        assert_eq!(
            self.lab.list(Kind::Deployment, NAMESPACE).await.len(),
            1,
            "the operator's own only"
        );
    }

    /// The edit of the published documentation.
    async fn registry_comes_up_on_empty_dir(&self) {
        let configs = self.lab.record(&config_ref()).await;
        let operators = self.lab.record(&cluster_operator()).await;
        self.lab
            .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}}))
            .await;
        self.lab.until_config("up", is_up).await;
        self.lab
            .until(&cluster_operator(), "available", |o| {
                o.is_some_and(|o| is(o, "Available", "True", "Ready"))
            })
            .await;
        self.say("the registry is available on emptyDir");
        assert_eq!(reversals(&configs), Vec::<String>::new());
        assert_eq!(reversals(&operators), Vec::<String>::new());
        assert_eq!(self.replica_sets().await.len(), 1, "one rollout");
        assert!(self.available_only_with_a_ready_pod(&configs).await);
    }

    /// Names of all ReplicaSets of the registry: as many as there were rollouts.
    async fn replica_sets(&self) -> BTreeSet<String> {
        let api: Api<ReplicaSet> = Api::namespaced(self.lab.client.clone(), NAMESPACE);
        let ours = ListParams::default().labels("docker-registry=default");
        let sets = api.list(&ours).await.unwrap();
        sets.into_iter().map(|set| set.metadata.name.unwrap()).collect()
    }

    /// The first `Available=True` of the bring-up is not older than the pod's readiness.
    async fn available_only_with_a_ready_pod(&self, configs: &History) -> bool {
        let pods = self.registry_pods().await;
        let conditions = pods[0].status.as_ref().unwrap().conditions.clone().unwrap();
        let ready = conditions.into_iter().find(|c| c.type_ == "Ready").unwrap();
        let ready = serde_json::to_value(ready).unwrap()["lastTransitionTime"]
            .as_str()
            .unwrap()
            .to_owned();
        let first = bring_up(configs)
            .into_iter()
            .find(|c| is(c, "Available", "True", "Ready"))
            .unwrap();
        let conditions = first["status"]["conditions"].as_array().unwrap();
        let available = conditions.iter().find(|c| c["type"] == "Available").unwrap();
        available["lastTransitionTime"].as_str().unwrap() >= ready.as_str()
    }

    async fn registry_pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.lab.client.clone(), NAMESPACE);
        api.list(&ListParams::default().labels("docker-registry=default"))
            .await
            .unwrap()
            .items
    }

    async fn sample(&self, name: &str) -> Sample {
        let programs = programs::ensure(&["pause"]).await.unwrap();
        let layout = self.lab.cluster.directory().join(name);
        let payload = name.repeat(100_000).into_bytes();
        let image = image::sample_image(
            &format!("localhost/{name}:v1"),
            programs.path("pause").unwrap(),
            payload,
        );
        let digest = image.write_layout(&layout).unwrap().to_string();
        Sample {
            name: name.to_owned(),
            layout,
            digest,
        }
    }

    /// Pushed from one node and pulled to another, whole, it is the same image.
    async fn push_and_pull(&self, host: &str, sample: &Sample) {
        let reference = sample.at(host);
        install::nodes_trust(self.lab.cluster, host).await.unwrap();
        self.crane("node1", &["push", &sample.layout.display().to_string(), &reference])
            .await;
        assert_eq!(self.crane("node2", &["digest", &reference]).await, sample.digest);
        let copy = self.lab.cluster.directory().join(format!("{}.pulled", sample.name));
        self.crane(
            "node2",
            &["pull", "--format=oci", &reference, &copy.display().to_string()],
        )
        .await;
        let index: Value = serde_json::from_slice(&fs::read(copy.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], json!(sample.digest));
        self.say(&format!("pushed to and pulled from {host}"));
    }

    /// The kubelet pulls by the Service's name; it trusts the registry because node-ca ran.
    async fn a_pod_runs(&self, sample: &Sample) {
        let name = format!("runs-{}", sample.name);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": sample.at(REGISTRY), "imagePullPolicy": "Always"}]},
        });
        self.lab.create(pod).await;
        let reference = ObjectRef::new(Kind::Pod, "default", &name);
        let running = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let pod = self
            .lab
            .until(&reference, "running", |pod| pod.is_some_and(running))
            .await
            .unwrap();
        let image = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
        assert!(image.ends_with(&sample.digest), "{image}");
        self.say("a pod runs from the pushed image");
        self.lab.delete(&reference).await;
    }

    /// Probes and metrics, over TLS with the service CA, under the name of the Service.
    async fn operator_is_observable(&self) {
        let api: Api<EndpointSlice> = Api::namespaced(self.lab.client.clone(), NAMESPACE);
        let service = "image-registry-operator";
        let slices = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let slice = api.list(&slices).await.unwrap().items.remove(0);
        let address: SocketAddr = format!("{}:60000", slice.endpoints[0].addresses[0]).parse().unwrap();
        let authority = self.lab.cluster.service_ca().unwrap();
        let name = format!("{service}.{NAMESPACE}.svc");
        let (status, metrics) = https::get(address, &name, &authority, "/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains("image_registry_operator_"), "{metrics}");
        for path in ["/healthz", "/readyz"] {
            assert_eq!(https::get(address, &name, &authority, path).await.0, 200, "{path}");
        }
        let pods = self.lab.list(Kind::Pod, NAMESPACE).await;
        let pod = pods
            .iter()
            .find(|p| p["metadata"]["labels"]["name"] == OPERATOR)
            .unwrap();
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        self.say("the operator answers over HTTPS");
    }

    /// One edit: other storage, two replicas, the default route.
    async fn move_to_a_claim_and_open_the_route(&self) -> (PathBuf, String, Sample) {
        let data = self
            .lab
            .cluster
            .host_volume("registry", &["ReadWriteMany"])
            .await
            .unwrap();
        self.lab
            .create(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM, "namespace": NAMESPACE},
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}},
            }))
            .await;
        let scratch = self.registry_pods().await.remove(0).status.unwrap().pod_ip.unwrap();
        self.lab
            .edit(json!({
                "replicas": 2, "defaultRoute": true,
                "storage": {"emptyDir": null, "pvc": {"claim": CLAIM}},
            }))
            .await;
        let config = self.until_settled("up on the claim", 2).await;
        self.until_nobody_reaches(&scratch).await;
        assert_eq!(
            config["spec"]["storage"]["managementState"], "Unmanaged",
            "the claim is the administrator's"
        );
        self.say("two replicas are up on the claim");
        let route = self
            .lab
            .until_present(&operand(Kind::Route, names::DEFAULT_ROUTE))
            .await;
        let host = route["spec"]["host"].as_str().unwrap().to_owned();
        let sample = self.sample("second").await;
        self.push_and_pull(&host, &sample).await;
        assert_eq!(
            self.crane("node3", &["digest", &sample.at(REGISTRY)]).await,
            sample.digest
        );
        (data, host, sample)
    }

    /// The pod with the old storage lives on for a while, and the nodes learn of its end a moment after the Config's
    /// readers do: an image of the new storage is unknown to it.
    async fn until_nobody_reaches(&self, address: &str) {
        for node in &self.record().nodes {
            let rules = ["iptables-save", "-t", "nat"];
            while {
                let output = inside::command(self.record(), &node.name, &rules)
                    .await
                    .unwrap()
                    .output()
                    .unwrap();
                assert!(output.status.success(), "{output:?}");
                String::from_utf8_lossy(&output.stdout).contains(address)
            } {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// The Config tells of this very generation that the registry is up, with that many pods.
    async fn until_settled(&self, what: &str, replicas: i64) -> Value {
        self.lab
            .until_config(what, |c| {
                is_up(c)
                    && c["status"]["observedGeneration"] == c["metadata"]["generation"]
                    && c["status"]["readyReplicas"] == replicas
            })
            .await
    }

    /// Clients notice nothing of a rollout.
    async fn rollout_under_pulls(&self, host: &str, sample: &Sample) {
        let before: BTreeSet<String> = self.pod_names().await;
        let sets = self.replica_sets().await.len();
        let pulls = Pulls::start(self.record().clone(), vec![sample.at(REGISTRY), sample.at(host)]);
        self.lab.edit(json!({"logLevel": "Debug"})).await;
        self.until_settled("up after the rollout", 2).await;
        self.say("the new pods are up");
        while !self.pod_names().await.is_disjoint(&before) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (done, failed) = pulls.end().await;
        self.say(&format!("the old pods are gone, {done} pulls meanwhile"));
        assert_eq!(failed, Vec::<String>::new());
        assert!(done > 20, "only {done} pulls");
        assert_eq!(
            self.crane("node1", &["digest", &sample.at(REGISTRY)]).await,
            sample.digest,
            "from the new pods"
        );
        assert_eq!(self.replica_sets().await.len(), sets + 1, "one rollout");
    }

    async fn pod_names(&self) -> BTreeSet<String> {
        self.registry_pods()
            .await
            .into_iter()
            .map(|pod| pod.metadata.name.unwrap())
            .collect()
    }

    /// Everything goes but what is the administrator's.
    async fn removed(&self, data: &Path, sample: &Sample) {
        self.lab.edit(json!({"managementState": "Removed"})).await;
        let config = self
            .lab
            .until_config("removed", |c| {
                is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed")
            })
            .await;
        self.say("the registry is removed");
        for reference in [
            operand(Kind::Deployment, names::REGISTRY),
            operand(Kind::Service, names::REGISTRY),
            operand(Kind::Route, names::DEFAULT_ROUTE),
            operand(Kind::Secret, names::PRIVATE_SECRET),
            operand(Kind::Secret, names::PULL_SECRET_COPY),
            operand(Kind::PodDisruptionBudget, names::REGISTRY),
            operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
            operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
            ObjectRef::new(Kind::ClusterRole, "", names::REGISTRY_CLUSTER_ROLE),
            ObjectRef::new(Kind::ClusterRoleBinding, "", names::REGISTRY_CLUSTER_ROLE_BINDING),
        ] {
            assert!(self.lab.get(&reference).await.is_none(), "{reference}");
        }
        assert!(
            self.lab
                .get(&operand(Kind::ConfigMap, names::CERTIFICATES_MAP))
                .await
                .is_some()
        );
        assert_eq!(config["status"]["storage"], json!({}));
        let claim = self
            .lab
            .get(&operand(Kind::PersistentVolumeClaim, CLAIM))
            .await
            .expect("the claim stays");
        assert_eq!(claim["status"]["phase"], "Bound");
        assert!(claim["metadata"].get("deletionTimestamp").is_none());
        assert!(has_blob(data, &sample.digest), "the data stays");
    }

    fn nothing_was_denied(&self) {
        let log = self
            .lab
            .cluster
            .audit()
            .unwrap()
            .by_service_account(NAMESPACE, OPERATOR);
        assert!(!log.is_empty());
        assert!(log.denied().is_empty(), "{}", log.denied());
    }

    /// For the reader of a failure.
    async fn show_what_is_there(&self) {
        self.say("failed; what is there:");
        let api: Api<Pod> = Api::namespaced(self.lab.client.clone(), NAMESPACE);
        let Ok(pods) = api.list(&ListParams::default()).await else {
            return;
        };
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            eprintln!(
                "--- pod {name}: {}",
                serde_json::to_string(&pod.status).unwrap_or_default()
            );
            let tail = LogParams {
                tail_lines: Some(30),
                ..LogParams::default()
            };
            eprintln!(
                "{}",
                api.logs(&name, &tail).await.unwrap_or_else(|error| error.to_string())
            );
        }
        if let Some(config) = self.lab.get(&config_ref()).await {
            eprintln!(
                "--- Config\n{}",
                serde_json::to_string_pretty(&support::without_noise(&config)).unwrap_or_default()
            );
        }
    }
}

fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

/// Versions since the operator began to follow the edit: `Available=True` of `Removed` is not part of a bring-up.
fn bring_up(history: &History) -> Vec<Value> {
    let versions = history.versions().into_iter().map(|(_, object)| object);
    versions
        .skip_while(|object| is(object, "Available", "True", "Removed"))
        .collect()
}

/// Conditions that came back to a status that they had left; shows the course of all where there is one.
fn reversals(history: &History) -> Vec<String> {
    if !support::history::reversals(bring_up(history).iter()).is_empty() {
        for (time, version) in history.versions() {
            eprintln!("{time:?} {} {}", version["metadata"], version["status"]["conditions"]);
        }
    }
    support::history::reversals(bring_up(history).iter())
}

/// Whether the registry's storage holds the manifest.
fn has_blob(data: &Path, digest: &str) -> bool {
    let hash = digest.trim_start_matches("sha256:");
    data.join("docker/registry/v2/blobs/sha256")
        .join(&hash[..2])
        .join(hash)
        .join("data")
        .is_file()
}
