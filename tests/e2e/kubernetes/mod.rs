//! The stock registry on a cluster without the platform's APIs: the operator runs as a pod of the overlay, nodes with containerd pull with
//! the login, clients come through an ingress controller, and the images are on each kind of storage.

mod ingress;
mod nodes;
mod pace;
mod stores;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use devcluster::login::Login;
use devcluster::stores::Authority;
use devcluster::{Options, inside, install};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{TestCluster, is, is_up, operand, service};
use crate::{NODES, OPERATOR, REGISTRY, Sample, Scenario, is_root};
use nodes::BARE;

// kubernetes 10, 11, 12, 16; in part: kubernetes 1 (on nodes), 2 (emptyDir), 20 (node-ca and the CA stay)
#[tokio::test]
async fn a_cluster_without_the_platforms_apis_runs_the_stock_registry() {
    assert!(is_root(), "the end-to-end test runs real nodes, which take root");
    let _alone = NODES.lock().await;
    let began = Instant::now();
    let mut cluster = TestCluster::exclusive(Options {
        name: format!("e2ek-{}", std::process::id()),
        simulated_nodes: 0,
        real_nodes: 3,
        platform_apis: false,
        standins: false,
        ..Options::default()
    })
    .await;
    cluster.timeout = Duration::from_secs(150);
    let scenario = Scenario { cluster, began };
    scenario.run(scenario.play_on_kubernetes()).await;
}

impl Scenario {
    async fn play_on_kubernetes(&self) {
        self.prepare_the_nodes();
        let authority = Authority::new("clouds-ca").unwrap();
        self.install_on_kubernetes(&authority).await;
        self.a_node_without_the_directory_is_named().await;
        self.cluster
            .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}, "replicas": 1}))
            .await;
        self.cluster.until_config("up", is_up).await;
        let first = self.sample("first").await;
        let address = self.push_to_the_address(&first).await;
        self.the_registry_has_no_token_for_the_api_server().await;
        self.nobody_pushes_without_a_login(&address, &first).await;
        self.nothing_else_helps_the_nodes();
        for node in ["node2", BARE] {
            self.until_nodes_have(&address).await;
            self.a_pod_runs_on(node, &first).await;
        }
        self.say("pods run on nodes that do not resolve the Service's name");
        let moved = self.the_service_is_made_anew(&address).await;
        let second = self.sample("second").await;
        assert_eq!(self.push_to_the_address(&second).await, moved);
        self.a_pod_runs_on("node1", &second).await;
        self.say("a pod runs from the new address");
        self.behind_an_ingress_controller().await;
        self.on_each_store(&authority).await;
        self.registry_is_removed().await;
        self.nothing_was_denied();
    }

    /// Installs the Deployment of the overlay, with an IngressClass that the operator is to use, and the CA of the clouds to come.
    async fn install_on_kubernetes(&self, clouds: &Authority) {
        let image = install::build_image("operator").unwrap();
        install::load_stock_images(self.cluster.devcluster, &image)
            .await
            .unwrap();
        self.prepare_ingress().await;
        let bundle = operand(Kind::ConfigMap, names::TRUSTED_CA_MAP);
        let pem = json!({"data": {names::CA_BUNDLE_KEY: clouds.pem()}});
        self.cluster.patch(&bundle, pem).await;
        install::deploy_operator(self.cluster.devcluster, &install::KUBERNETES)
            .await
            .unwrap();
        self.set_variables(&["EXPOSE=ingress", &format!("EXPOSE_INGRESS_CLASS={}", ingress::CLASS)])
            .await;
        let removed = |c: &Value| is(c, "Available", "True", "Removed");
        self.cluster.until_config("removed", removed).await;
        self.say("the operator leads");
    }

    /// Sets variables of the operator, each as `NAME=value`.
    async fn set_variables(&self, variables: &[&str]) {
        let script = format!(
            "kubectl --namespace {} set env deployment/{OPERATOR} {}",
            names::NAMESPACE,
            variables.join(" ")
        );
        self.kubectl(&script).await;
    }

    async fn the_registry_has_no_token_for_the_api_server(&self) {
        for pod in self.registry_pods().await {
            let spec = serde_json::to_string(&pod.spec).unwrap();
            assert!(!spec.contains("/var/run/secrets/kubernetes.io"), "{spec}");
        }
    }

    /// The registry's address, with which the nodes do without DNS.
    async fn address(&self) -> String {
        let service = self.cluster.get(&service()).await.unwrap();
        format!("{}:5000", service["spec"]["clusterIP"].as_str().unwrap())
    }

    async fn login(&self, address: &str) -> Login {
        Login::of(self.cluster.devcluster, address, self.cluster.timeout)
            .await
            .unwrap()
    }

    /// Pushes by the address, with the CA and the login that the operator made; returns the address.
    async fn push_to_the_address(&self, sample: &Sample) -> String {
        self.cluster.until_rolled_out().await;
        // A push may still reach the earlier pod while that ends, and its images go with it.
        let began = Instant::now();
        while self.registry_pods().await.len() != 1 {
            assert!(began.elapsed() < self.cluster.timeout, "the earlier pod does not end");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let address = self.address().await;
        let login = self.login(&address).await;
        self.push(&address, sample, &login).await.unwrap();
        address
    }

    async fn push(&self, address: &str, sample: &Sample, login: &Login) -> Result<String, String> {
        let layout = sample.layout.display().to_string();
        self.crane_with(login, "node1", &["push", &layout, &sample.at(address)])
            .await
    }

    async fn crane_with(&self, login: &Login, node: &str, words: &[&str]) -> Result<String, String> {
        let words = [&["crane"], words].concat();
        let mut command = inside::command(self.record(), node, &words).await.unwrap();
        command.envs(login.variables());
        inside::run(command).await.map_err(|error| format!("{error:#}"))
    }

    async fn nobody_pushes_without_a_login(&self, address: &str, sample: &Sample) {
        let nobody = Login {
            directory: PathBuf::from("/nonexistent"),
            ..self.login(address).await
        };
        let refused = self.push(address, sample, &nobody).await.unwrap_err();
        // An answer to HEAD has no body with a code.
        assert!(refused.to_uppercase().contains("UNAUTHORIZED"), "{refused}");
        self.say("nobody pushes without a login");
    }

    async fn a_pod_runs_on(&self, node: &str, sample: &Sample) {
        Login::copy(self.cluster.devcluster, "default").await.unwrap();
        let spec = json!({
            "nodeName": node,
            "imagePullSecrets": [{"name": names::LOGIN_SECRET}],
            "containers": [{"name": "main", "image": sample.at(REGISTRY), "imagePullPolicy": "Always"}],
        });
        self.run_pod(&format!("{}-on-{node}", sample.name), spec, sample).await;
    }
}
