//! Nodes with containerd: nothing resolves the name of the registry's Service there, and nothing but node-ca makes containerd trust
//! the registry.

use std::time::{Duration, Instant};

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use kube::api::{Api, ListParams, LogParams};
use serde_json::Value;

use crate::support::{condition, daemon_set, eventually, is, is_up, operand, service, uid};
use crate::{NAMESPACE, Pod, REGISTRY, Scenario};

const HOSTS: &str = names::CONTAINERD_HOSTS;
/// The node without a directory of containerd.
pub const BARE: &str = "node3";
const ALL: [&str; 3] = ["node1", "node2", BARE];
/// Directories of an administrator, the second one for a name of the registry.
const FOREIGN: [&str; 2] = [
    "foreign.example.com",
    "image-registry.openshift-image-registry.svc.cluster.local:5000",
];

impl Scenario {
    /// Leaves one node without a directory of containerd, and the others with directories of an administrator.
    pub fn prepare_the_nodes(&self) {
        for node in ALL {
            self.on_node(node, "rm -r /etc/containerd").unwrap();
            for name in FOREIGN.into_iter().filter(|_| node != BARE) {
                let made = format!("mkdir -p {HOSTS}/{name} && echo '# {name}' > {HOSTS}/{name}/hosts.toml");
                self.on_node(node, &made).expect("a directory of the administrator");
            }
        }
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
    pub async fn a_node_without_the_directory_is_named(&self) {
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

    pub fn nothing_else_helps_the_nodes(&self) {
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

    pub async fn until_nodes_have(&self, address: &str) {
        let file = format!("cat {HOSTS}/{REGISTRY}/hosts.toml");
        let has = |node: &&str| self.on_node(node, &file).is_ok_and(|text| text.contains(address));
        eventually("each node has the address", async || ALL.iter().all(&has)).await;
    }

    /// Deletes the Service until it has another address; returns that when nodes know it and the registry has its certificate.
    pub async fn the_service_is_made_anew(&self, before: &str) -> String {
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
    pub async fn registry_is_removed(&self) {
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
