//! End to end, on real nodes: the operator runs as a pod from `deploy/` and brings up a registry when the administrator asks
//! for one; clients push and pull images through Service and route; the cluster runs a pod from an image of the registry.
//!
//! One scenario on one cluster: each step builds on the one before. Real nodes need root. `kubernetes` has a second scenario, on a
//! cluster without the platform's APIs.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

#[path = "../support/mod.rs"]
mod support;

mod azure;
mod clouds;
mod gcs;
mod image;
mod kubernetes;
mod partner;
mod policies;
mod pulls;
mod reach;
mod runbooks;
mod s3;
mod swift;
mod switch;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use devcluster::{Options, Record, inside, install, programs};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams, LogParams};
use serde_json::{Value, json};

use pulls::Pulls;
use support::history::History;
use support::{
    TestCluster, certificates_map, cluster_operator, config_ref, default_route, deployment, is, is_up, operand,
    operands, shared_cluster,
};
use support::{https, pages};

const NAMESPACE: &str = names::NAMESPACE;
const OPERATOR: &str = names::OPERATOR_DEPLOYMENT;
/// Host and port of the registry within the cluster.
const REGISTRY: &str = "image-registry.openshift-image-registry.svc:5000";
const CLAIM: &str = "registry-images";

/// One cluster of real nodes at a time.
static NODES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

// lifecycle 45, 48; storage-volumes 20; deploy 19; issue 4: a registry that only `additionalTrustedCA` makes trusted
#[tokio::test]
async fn the_operator_in_a_pod_brings_up_a_registry_from_which_the_cluster_runs_an_image() {
    assert!(
        is_root(),
        "the end-to-end test runs real nodes, which take root: run it as root, or leave it out \
         (`make test-fast` needs neither)"
    );
    let _alone = NODES.lock().await;
    let options = Options {
        name: format!("e2e-{}", std::process::id()),
        simulated_nodes: 0,
        real_nodes: 3,
        network_policies: true,
        platform: "None".to_owned(),
        security_api: true,
        ..Options::default()
    };
    let began = Instant::now();
    image::is_reproducible();
    let mut cluster = shared_cluster(options).await;
    // A rollout of real pods is slow: probes start late, and old pods delay their end.
    cluster.timeout = Duration::from_secs(150);
    let scenario = Scenario { cluster, began };
    scenario.say("three nodes are up");
    scenario.run(scenario.play()).await;
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

struct Scenario {
    cluster: TestCluster,
    began: Instant,
}

impl Scenario {
    /// Plays to its end and removes the cluster. If the play fails, shows what is there.
    async fn run(&self, play: impl Future<Output = ()>) {
        use futures::FutureExt as _;
        let played = std::panic::AssertUnwindSafe(play).catch_unwind().await;
        if let Err(panic) = played {
            self.show_what_is_there().await;
            std::panic::resume_unwind(panic);
        }
        let name = self.cluster.devcluster.name().to_owned();
        tokio::task::spawn_blocking(move || devcluster::cluster::down(&name))
            .await
            .unwrap()
            .unwrap();
    }

    /// Prints progress and the time since the start, because this test takes minutes.
    fn say(&self, what: &str) {
        eprintln!("{:6.1} s  {what}", self.began.elapsed().as_secs_f32());
    }

    fn record(&self) -> &Record {
        self.cluster.devcluster.record()
    }

    /// Runs a script of bash in which `kubectl` is the cluster administrator's; its output.
    async fn kubectl(&self, script: &str) -> String {
        let kubectl = pages::kubectl(&self.cluster).await;
        let script = format!("set -euo pipefail\nkubectl() {{ {kubectl} \"$@\"; }}\n{script}");
        let output = pages::bash(&pages::repository(), script).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    async fn crane(&self, node: &str, words: &[&str]) -> String {
        inside::crane(self.record(), node, words)
            .await
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    async fn play(&self) {
        let sample = self.sample("theirs").await;
        let (partner, ()) = futures::join!(
            partner::begin(&self.cluster, &sample.layout, &sample.digest),
            self.operator_comes_up_and_removes(),
        );
        self.say("a registry of somebody else is to be trusted");
        self.registry_comes_up_on_empty_dir().await;
        let first = self.sample("first").await;
        self.push_and_pull(REGISTRY, &first).await;
        self.a_pod_runs(&first).await;
        self.operator_is_observable().await;
        self.on_s3(&first).await;
        self.on_swift(&first).await;
        self.on_ibm_cloud_and_oss(&first).await;
        self.on_azure(&first).await;
        self.on_gcs(&first).await;
        let (data, host, second) = self.move_to_a_claim_and_open_the_route().await;
        self.policies_guard_every_port_but_one().await;
        self.rollout_under_pulls(&host, &second).await;
        self.runbooks_can_be_followed().await;
        partner::is_trusted(&self.cluster, partner).await;
        self.say("a pod runs from the registry of somebody else");
        assert!(has_blob(&data, &second.digest), "the image is in the volume");
        self.removed(&data, &second).await;
        self.the_image_runs_as_any_user().await;
        self.a_hosted_control_plane_runs_the_operator().await;
        self.nothing_was_denied();
    }
}

/// An image on this machine that the test pushes.
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
    /// Installs the shipped Deployment. On platform None the operator starts without a registry.
    async fn operator_comes_up_and_removes(&self) {
        let image = install::build_image("operator").unwrap();
        let registry = [programs::REGISTRY, programs::REGISTRY_ON_SWIFT].concat();
        install::load_images(self.cluster.devcluster, &image, &registry)
            .await
            .unwrap();
        self.say("images are loaded");
        install::deploy_operator(self.cluster.devcluster, &install::OKD)
            .await
            .unwrap();
        let deployment = operand(Kind::Deployment, OPERATOR);
        self.cluster
            .until(&deployment, "available", |d| {
                d.is_some_and(|d| d["status"]["availableReplicas"] == 1)
            })
            .await;
        self.say("the operator's pod is ready");
        let config = self
            .cluster
            .until_config("removed", |c| is(c, "Available", "True", "Removed"))
            .await;
        // The ClusterOperator follows a moment later; only then the bring-up can begin.
        self.cluster
            .until(&cluster_operator(), "removed", |o| {
                o.is_some_and(|o| is(o, "Available", "True", "Removed"))
            })
            .await;
        assert_eq!(config["spec"]["managementState"], "Removed");
        assert_eq!(
            self.cluster.list(Kind::Deployment, NAMESPACE).await.len(),
            1,
            "the operator's own only"
        );
    }

    /// Makes the edit of the published documentation.
    async fn registry_comes_up_on_empty_dir(&self) {
        let configs = self.cluster.record(&config_ref()).await;
        let operators = self.cluster.record(&cluster_operator()).await;
        self.cluster
            .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}}))
            .await;
        self.cluster.until_config("up", is_up).await;
        self.cluster
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

    /// Number of the newest rollout. Old ReplicaSets are deleted, so that their number does not tell.
    async fn revision(&self) -> u64 {
        let deployment = self.cluster.get(&deployment()).await.unwrap();
        let revision = &deployment["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        revision.as_str().unwrap().parse().unwrap()
    }

    /// Names of all ReplicaSets of the registry.
    async fn replica_sets(&self) -> BTreeSet<String> {
        let api: Api<ReplicaSet> = Api::namespaced(self.cluster.client.clone(), NAMESPACE);
        let ours = ListParams::default().labels("docker-registry=default");
        let sets = api.list(&ours).await.unwrap();
        sets.into_iter().map(|set| set.metadata.name.unwrap()).collect()
    }

    /// Whether the first `Available=True` of the bring-up is not older than the pod's readiness.
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
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), NAMESPACE);
        api.list(&ListParams::default().labels("docker-registry=default"))
            .await
            .unwrap()
            .items
    }

    async fn sample(&self, name: &str) -> Sample {
        let programs = programs::ensure(&["pause"]).await.unwrap();
        let layout = self.cluster.devcluster.directory().join(name);
        let payload = name.repeat(100_000).into_bytes();
        let image = devcluster::image::sample_image(
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

    /// Pushes an image from one node and pulls it to another; the whole image must be the same.
    async fn push_and_pull(&self, host: &str, sample: &Sample) {
        let reference = sample.at(host);
        install::nodes_trust(self.cluster.devcluster, host).await.unwrap();
        self.crane("node1", &["push", &sample.layout.display().to_string(), &reference])
            .await;
        assert_eq!(self.crane("node2", &["digest", &reference]).await, sample.digest);
        let copy = self
            .cluster
            .devcluster
            .directory()
            .join(format!("{}.pulled", sample.name));
        self.crane(
            "node2",
            &["pull", "--format=oci", &reference, &copy.display().to_string()],
        )
        .await;
        let index: Value = serde_json::from_slice(&fs::read(copy.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], json!(sample.digest));
        self.say(&format!("pushed to and pulled from {host}"));
    }

    /// Runs a pod from the image. The kubelet pulls by the Service's name and trusts the registry's CA, which node-ca installed.
    async fn a_pod_runs(&self, sample: &Sample) {
        let spec = json!({"containers": [{"name": "main", "image": sample.at(REGISTRY), "imagePullPolicy": "Always"}]});
        self.run_pod(&format!("runs-{}", sample.name), spec, sample).await;
        self.say("a pod runs from the pushed image");
    }

    /// Runs a pod to its readiness, with exactly this image, and deletes it.
    async fn run_pod(&self, name: &str, spec: Value, sample: &Sample) {
        let reference = ObjectRef::new(Kind::Pod, "default", name);
        let metadata = json!({"name": reference.name, "namespace": reference.namespace});
        self.cluster
            .create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
            .await;
        let running = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let pod = self
            .cluster
            .until(&reference, "running", |pod| pod.is_some_and(running))
            .await
            .unwrap();
        let image = pod["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
        assert!(image.ends_with(&sample.digest), "{image}");
        self.cluster.delete(&reference).await;
    }

    /// Reads probes and metrics over TLS, with the service CA and the Service's name.
    async fn operator_is_observable(&self) {
        let api: Api<EndpointSlice> = Api::namespaced(self.cluster.client.clone(), NAMESPACE);
        let service = "image-registry-operator";
        let slices = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
        let slice = api.list(&slices).await.unwrap().items.remove(0);
        let address: SocketAddr = format!("{}:60000", slice.endpoints[0].addresses[0]).parse().unwrap();
        let authority = self.cluster.devcluster.service_ca().unwrap();
        let name = format!("{service}.{NAMESPACE}.svc");
        let (status, metrics) = https::get(address, &name, &authority, "/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains("image_registry_operator_"), "{metrics}");
        for path in ["/healthz", "/readyz"] {
            assert_eq!(https::get(address, &name, &authority, path).await.0, 200, "{path}");
        }
        let pods = self.cluster.list(Kind::Pod, NAMESPACE).await;
        let pod = pods
            .iter()
            .find(|p| p["metadata"]["labels"]["name"] == OPERATOR)
            .unwrap();
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        self.say("the operator answers over HTTPS");
    }

    /// Makes a claim of the administrator; the directory of its volume, which all nodes share.
    async fn make_claim(&self) -> PathBuf {
        let volume = self.cluster.devcluster.host_volume("registry", &["ReadWriteMany"]);
        let data = volume.await.unwrap();
        self.cluster
            .create(json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM, "namespace": NAMESPACE},
                "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}},
            }))
            .await;
        data
    }

    /// Changes storage, replicas and the default route in one edit.
    async fn move_to_a_claim_and_open_the_route(&self) -> (PathBuf, String, Sample) {
        let data = self.make_claim().await;
        let scratch = self.registry_pods().await.remove(0).status.unwrap().pod_ip.unwrap();
        self.cluster
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
        let route = self.cluster.until_present(&default_route()).await;
        let host = route["spec"]["host"].as_str().unwrap().to_owned();
        let sample = self.sample("second").await;
        self.push_and_pull(&host, &sample).await;
        assert_eq!(
            self.crane("node3", &["digest", &sample.at(REGISTRY)]).await,
            sample.digest
        );
        (data, host, sample)
    }

    /// Waits until no node routes traffic to a pod with the old storage, which does not have the images of the new storage.
    /// Nodes notice the end of a pod a moment after the Config reports the rollout as complete.
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

    /// Waits until the Config reports for its newest generation that the registry is up, with this number of ready pods.
    async fn until_settled(&self, what: &str, replicas: i64) -> Value {
        self.cluster
            .until_config(what, |c| {
                is_up(c)
                    && c["status"]["observedGeneration"] == c["metadata"]["generation"]
                    && c["status"]["readyReplicas"] == replicas
            })
            .await
    }

    /// A rollout fails no pull of a client.
    async fn rollout_under_pulls(&self, host: &str, sample: &Sample) {
        let before: BTreeSet<String> = self.pod_names().await;
        let revision = self.revision().await;
        let references = vec![sample.at(REGISTRY), sample.at(host)];
        let pulls = Pulls::start(self.record().clone(), references, Vec::new());
        self.cluster.edit(json!({"logLevel": "Debug"})).await;
        self.until_settled("up after the rollout", 2).await;
        self.say("the new pods are up");
        self.until_gone(&before).await;
        let (done, failed) = pulls.end().await;
        self.say(&format!("the old pods are gone, {done} pulls meanwhile"));
        assert_eq!(failed, Vec::<String>::new());
        assert!(done > 20, "only {done} pulls");
        assert_eq!(
            self.crane("node1", &["digest", &sample.at(REGISTRY)]).await,
            sample.digest,
            "from the new pods"
        );
        assert_eq!(self.revision().await, revision + 1, "one rollout");
    }

    /// Waits until none of these pods is there any more.
    async fn until_gone(&self, pods: &BTreeSet<String>) {
        let began = Instant::now();
        while !self.pod_names().await.is_disjoint(pods) {
            assert!(began.elapsed() < self.cluster.timeout, "earlier pods do not end");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn pod_names(&self) -> BTreeSet<String> {
        self.registry_pods()
            .await
            .into_iter()
            .map(|pod| pod.metadata.name.unwrap())
            .collect()
    }

    /// Removes the registry; the administrator's claim and its data stay.
    async fn removed(&self, data: &Path, sample: &Sample) {
        self.cluster.edit(json!({"managementState": "Removed"})).await;
        let config = self
            .cluster
            .until_config("removed", |c| {
                is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed")
            })
            .await;
        self.say("the registry is removed");
        for reference in operands().into_iter().chain([default_route()]) {
            assert!(self.cluster.get(&reference).await.is_none(), "{reference}");
        }
        assert!(self.cluster.get(&certificates_map()).await.is_some());
        assert_eq!(config["status"]["storage"], json!({}));
        let claim = self
            .cluster
            .get(&operand(Kind::PersistentVolumeClaim, CLAIM))
            .await
            .expect("the claim is kept");
        assert_eq!(claim["status"]["phase"], "Bound");
        assert!(claim["metadata"].get("deletionTimestamp").is_none());
        assert!(has_blob(data, &sample.digest), "the data stays");
    }

    fn nothing_was_denied(&self) {
        let log = self
            .cluster
            .devcluster
            .audit()
            .unwrap()
            .by_service_account(NAMESPACE, OPERATOR);
        assert!(!log.is_empty());
        assert!(log.denied().is_empty(), "{}", log.denied());
    }

    /// Prints the Config and of each pod its state and last lines: little, because CI keeps little of a long output.
    async fn show_what_is_there(&self) {
        const LINES: usize = 15;
        const LENGTH: usize = 250;
        let short = |text: &str| text.chars().take(LENGTH).collect::<String>();
        self.say("failed; the current state:");
        if let Some(config) = self.cluster.get(&config_ref()).await {
            for condition in config["status"]["conditions"].as_array().into_iter().flatten() {
                eprintln!("Config: {}", short(&condition.to_string()));
            }
        }
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), NAMESPACE);
        let Ok(pods) = api.list(&ListParams::default()).await else {
            return;
        };
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            for status in pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()) {
                let state = serde_json::to_string(&status.state).unwrap_or_default();
                eprintln!("--- pod {name}: {} restarts, {}", status.restart_count, short(&state));
            }
            let last = LogParams {
                tail_lines: i64::try_from(LINES).ok(),
                ..LogParams::default()
            };
            let log = api.logs(&name, &last).await.unwrap_or_else(|error| error.to_string());
            log.lines().for_each(|line| eprintln!("{}", short(line)));
        }
    }
}

/// Versions since the operator reacted to the edit; `Available=True` with reason `Removed` is not part of a bring-up.
fn bring_up(history: &History) -> Vec<Value> {
    let versions = history.versions().into_iter().map(|(_, object)| object);
    versions
        .skip_while(|object| is(object, "Available", "True", "Removed"))
        .collect()
}

/// Conditions that returned to a status that they had left. If there are any, prints all versions.
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
