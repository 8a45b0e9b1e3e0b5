//! The stock registry on a cluster without the platform's APIs: nothing resolves the name of the registry's Service on the nodes there,
//! nothing but node-ca makes containerd trust the registry, and nobody pulls without a login.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::{Options, inside, install};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use kube::api::{Api, ListParams, LogParams};
use serde_json::{Value, json};

use crate::support::operator::{ACCOUNT, STOCK, program};
use crate::support::{TestCluster, condition, daemon_set, eventually, is, is_up, operand, service, uid};
use crate::{NAMESPACE, NODES, Pod, REGISTRY, Sample, Scenario, is_root};

const HOSTS: &str = names::CONTAINERD_HOSTS;
/// The node without a directory of containerd.
const BARE: &str = "node3";
const ALL: [&str; 3] = ["node1", "node2", BARE];
/// Directories of an administrator, the second one for a name of the registry.
const FOREIGN: [&str; 2] = [
    "foreign.example.com",
    "image-registry.openshift-image-registry.svc.cluster.local:5000",
];

// kubernetes 10, 11, 12, 16; in part: kubernetes 2 (emptyDir), 20 (node-ca and the CA stay)
#[tokio::test]
async fn nodes_with_containerd_pull_by_the_name_of_the_service_without_dns_and_follow_its_address() {
    assert!(is_root(), "the end-to-end test runs real nodes, which take root");
    let _alone = NODES.lock().await;
    let began = Instant::now();
    let mut cluster = TestCluster::exclusive(Options {
        name: format!("e2ec-{}", std::process::id()),
        simulated_nodes: 0,
        real_nodes: 3,
        platform_apis: false,
        standins: false,
        ..Options::default()
    })
    .await;
    cluster.timeout = Duration::from_secs(150);
    let scenario = Scenario { cluster, began };
    scenario.run(scenario.play_containerd()).await;
}

impl Scenario {
    async fn play_containerd(&self) {
        install::load_stock_program(self.cluster.devcluster, &program())
            .await
            .unwrap();
        for node in ALL {
            self.on_node(node, "rm -r /etc/containerd").unwrap();
            for name in FOREIGN.into_iter().filter(|_| node != BARE) {
                let made = format!("mkdir -p {HOSTS}/{name} && echo '# {name}' > {HOSTS}/{name}/hosts.toml");
                self.on_node(node, &made).expect("a directory of the administrator");
            }
        }
        let environment = [&STOCK[..], &[("NODE_CA", "containerd")]].concat();
        let operator = self.cluster.operator_with(&environment).await;
        self.a_node_without_the_directory_is_named().await;
        self.cluster
            .edit(json!({"managementState": "Managed", "storage": {"emptyDir": {}}, "replicas": 1}))
            .await;
        self.cluster.until_config("up", is_up).await;
        let first = self.sample("first").await;
        let address = self.push_to_the_address(&first).await;
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
        self.registry_is_removed().await;
        let denied = self.cluster.devcluster.audit().unwrap();
        let denied = denied.by_service_account(NAMESPACE, ACCOUNT).denied();
        assert!(denied.is_empty(), "{denied}");
        assert!(operator.stop().await.success());
    }

    /// Runs a shell in a node; its output, or what it wrote to standard error.
    fn on_node(&self, node: &str, script: &str) -> Result<String, String> {
        let mut command = self
            .cluster
            .devcluster
            .node_command(node, &["sh", "-c", script])
            .unwrap();
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// The condition names the node and the setting of containerd, the pod logs it, and nobody needs to restart anything.
    async fn a_node_without_the_directory_is_named(&self) {
        let message = |c: &Value| condition(c, "NodeCADaemonAvailable").2;
        let named = |c: &Value| message(c).contains(BARE) && is(c, "NodeCADaemonAvailable", "True", "AsExpected");
        let config = self.cluster.until_config("naming the node", named).await;
        let text = message(&config);
        assert!(text.contains("config_path = \"/etc/containerd/certs.d\""), "{text}");
        assert!(!text.contains("node1") && !text.contains("node2"), "{text}");
        let log = self.log_of_the_first_container(BARE).await;
        assert!(log.contains("no directory /etc/containerd"), "{log}");
        self.say("the condition names the node without a directory");
        self.on_node(BARE, &format!("mkdir -p {HOSTS}")).unwrap();
        let everywhere = |o: Option<&Value>| o.is_some_and(|o| o["status"]["numberAvailable"] == 3);
        self.cluster.until(&daemon_set(), "on all nodes", everywhere).await;
        self.cluster
            .until_config("without complaint", |c| !message(c).contains(BARE))
            .await;
        self.say("node-ca runs on all nodes");
    }

    async fn log_of_the_first_container(&self, node: &str) -> String {
        let api: Api<Pod> = Api::namespaced(self.cluster.client.clone(), NAMESPACE);
        let of_node = ListParams::default()
            .labels("name=node-ca")
            .fields(&format!("spec.nodeName={node}"));
        let name = api.list(&of_node).await.unwrap().items.remove(0).metadata.name.unwrap();
        let first = LogParams {
            container: Some("containerd".to_owned()),
            ..LogParams::default()
        };
        api.logs(&name, &first).await.unwrap()
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
        let service = self.cluster.get(&service()).await.unwrap();
        let address = format!("{}:5000", service["spec"]["clusterIP"].as_str().unwrap());
        let login = self.login(&address).await;
        let folder = self.cluster.devcluster.directory().join("login");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.json"), login).unwrap();
        self.push(&address, sample, Some(&folder)).await.unwrap();
        address
    }

    async fn push(&self, address: &str, sample: &Sample, login: Option<&Path>) -> Result<String, String> {
        let reference = operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
        let authorities = self.cluster.get(&reference).await.unwrap();
        let file = self.cluster.devcluster.directory().join("authorities.pem");
        fs::write(&file, authorities["data"][names::SERVICE_CA_KEY].as_str().unwrap()).unwrap();
        let layout = sample.layout.display().to_string();
        let words = ["crane", "push", &layout, &sample.at(address)];
        let mut command = inside::command(self.record(), "node1", &words).await.unwrap();
        let nowhere = self.cluster.devcluster.directory().join("no-login");
        command
            .env("SSL_CERT_FILE", file)
            .env("DOCKER_CONFIG", login.unwrap_or(&nowhere));
        inside::run(command).await.map_err(|error| format!("{error:#}"))
    }

    async fn nobody_pushes_without_a_login(&self, address: &str, sample: &Sample) {
        let refused = self.push(address, sample, None).await.unwrap_err();
        // An answer to HEAD has no body with a code.
        assert!(refused.to_uppercase().contains("UNAUTHORIZED"), "{refused}");
        self.say("nobody pushes without a login");
    }

    /// The login that the operator made, once it is good for this address.
    async fn login(&self, address: &str) -> String {
        let reference = operand(Kind::Secret, names::LOGIN_SECRET);
        let document = |secret: &Value| {
            let data = secret["data"][".dockerconfigjson"].as_str().unwrap();
            String::from_utf8(STANDARD.decode(data).unwrap()).unwrap()
        };
        let is_for = |secret: Option<&Value>| secret.is_some_and(|secret| document(secret).contains(address));
        let secret = self.cluster.until(&reference, "for the address", is_for).await;
        document(&secret.unwrap())
    }

    fn nothing_else_helps_the_nodes(&self) {
        let (host, _) = REGISTRY.split_once(':').unwrap();
        for node in ALL {
            assert!(
                self.on_node(node, &format!("getent hosts {host}")).is_err(),
                "{node} resolves {host}"
            );
            let docker = self.on_node(node, &format!("ls -A {}", names::DOCKER_CERTS)).unwrap();
            assert_eq!(docker, "", "{node} has certificates of another program");
        }
    }

    async fn until_nodes_have(&self, address: &str) {
        let file = format!("cat {HOSTS}/{REGISTRY}/hosts.toml");
        let has = |node: &&str| self.on_node(node, &file).is_ok_and(|text| text.contains(address));
        eventually("each node has the address", async || ALL.iter().all(&has)).await;
    }

    async fn a_pod_runs_on(&self, node: &str, sample: &Sample) {
        let reference = ObjectRef::new(Kind::Pod, "default", &format!("runs-on-{node}"));
        let image = sample.at(REGISTRY);
        self.pods_have_the_login().await;
        self.cluster
            .create(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": reference.name, "namespace": reference.namespace},
                "spec": {
                    "nodeName": node,
                    "imagePullSecrets": [{"name": names::LOGIN_SECRET}],
                    "containers": [{"name": "main", "image": image, "imagePullPolicy": "Always"}],
                },
            }))
            .await;
        let running = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        let found = self
            .cluster
            .until(&reference, "running", |pod| pod.is_some_and(running))
            .await
            .unwrap();
        let image = found["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
        assert!(image.ends_with(&sample.digest), "{image}");
        self.cluster.delete(&reference).await;
    }

    /// Pods pull with a Secret of their own namespace: a copy of the login, made once, because the login is made once.
    async fn pods_have_the_login(&self) {
        let copy = ObjectRef::new(Kind::Secret, "default", names::LOGIN_SECRET);
        if self.cluster.get(&copy).await.is_some() {
            return;
        }
        let login = self
            .cluster
            .get(&operand(Kind::Secret, names::LOGIN_SECRET))
            .await
            .unwrap();
        self.cluster
            .create(json!({
                "apiVersion": "v1", "kind": "Secret", "type": login["type"], "data": login["data"],
                "metadata": {"name": copy.name, "namespace": copy.namespace},
            }))
            .await;
    }

    /// Deletes the Service until it has another address; returns that when nodes know it and the registry has its certificate.
    async fn the_service_is_made_anew(&self, before: &str) -> String {
        self.cluster.until_rolled_out().await;
        // A busy machine may have needed more than one rollout until here.
        let earlier = self.revision().await;
        let address = loop {
            let old = self.cluster.get(&service()).await.unwrap();
            self.cluster.delete(&service()).await;
            let deleted = Instant::now();
            let anew = |o: Option<&Value>| o.is_some_and(|o| uid(o) != uid(&old));
            let new = self.cluster.until(&service(), "made anew", anew).await.unwrap();
            let address = format!("{}:5000", new["spec"]["clusterIP"].as_str().unwrap());
            if address != before {
                self.until_nodes_have(&address).await;
                let took = deleted.elapsed();
                self.say(&format!("nodes followed from {before} to {address} in {took:.1?}"));
                assert!(took < Duration::from_mins(1), "{took:?}");
                break address;
            }
        };
        // The pods of the certificate with the new address.
        eventually("the rollout begins", async || self.revision().await != earlier).await;
        self.cluster.until_rolled_out().await;
        self.cluster.until_config("up", is_up).await;
        address
    }

    /// Without a registry, its directories go; those of others, node-ca and the operator's CA stay.
    async fn registry_is_removed(&self) {
        self.cluster.enter_state("Removed").await;
        let list = |node: &str| self.on_node(node, &format!("ls -A {HOSTS}")).unwrap();
        let rest = |node: &str| {
            if node == BARE {
                String::new()
            } else {
                FOREIGN.join("\n")
            }
        };
        let began = Instant::now();
        while ALL.iter().any(|node| list(node) != rest(node)) {
            assert!(began.elapsed() < self.cluster.timeout, "{:?}", ALL.map(list));
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for node in ALL.into_iter().filter(|node| *node != BARE) {
            for name in FOREIGN {
                let text = self.on_node(node, &format!("cd {HOSTS}/{name} && ls -A && cat *"));
                assert_eq!(text.unwrap(), format!("hosts.toml\n# {name}"), "{node}");
            }
        }
        assert!(self.cluster.get(&daemon_set()).await.is_some());
        let authority = operand(Kind::Secret, names::OPERATOR_CA_SECRET);
        assert!(self.cluster.get(&authority).await.is_some());
        self.say("the registry's directories are gone, those of others are as they were");
    }
}
