//! The network policies of the registry's namespace, proven with connections between pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use devcluster::pod_network::{PodListener, PodNetwork};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{TIMEOUT, TestCluster, is_up, network_policy, observed, operand};
use crate::{NAMESPACE, OPERATOR, Scenario};

/// An image that every node has.
const IMAGE: &str = "localhost/pause:dev";
/// Namespaces that no policy names, and the node of a client in each.
const CLIENTS: [(&str, &str); 2] = [("default", "node1"), ("kube-public", "node2")];
const OPERATOR_PORT: u16 = 60000;
const REGISTRY_PORT: u16 = 5000;
/// Ports at which every pod listens: the operator's, the registry's, their neighbours, and one far away.
const PORTS: [u16; 7] = [80, 4999, REGISTRY_PORT, 5001, 59999, OPERATOR_PORT, 60001];
/// Nodes answer or refuse at once, but the kernel limits the rate of refusals. What it does not answer counts as refused.
const LIMIT: Duration = Duration::from_millis(500);
const OPERATOR_POLICY: &str = "image-registry-operator-networkpolicy";
const DENY_POLICY: &str = "default-deny-all";
const OPERATOR_MANIFEST: &str = include_str!("../../deploy/07-netpol-operator.yaml");
const DENY_MANIFEST: &str = include_str!("../../deploy/08-default-deny-networkpolicy.yaml");

/// A running pod to which clients connect.
struct Server {
    /// Name of the pod.
    name: String,
    address: IpAddr,
    /// The port at which the pod's own program listens.
    port: u16,
    /// The test's listeners in the pod's network, at the other ports.
    _listeners: Vec<PodListener>,
}

impl Server {
    fn of(pod: &Value, port: u16) -> Self {
        let network = network_of(pod);
        let others = PORTS.iter().filter(|other| **other != port);
        Self {
            name: pod["metadata"]["name"].as_str().unwrap().to_owned(),
            address: pod["status"]["podIP"].as_str().unwrap().parse().unwrap(),
            port,
            _listeners: others.map(|other| network.listen(*other).unwrap()).collect(),
        }
    }
}

fn network_of(pod: &Value) -> PodNetwork {
    let container = pod["status"]["containerStatuses"][0]["containerID"].as_str();
    PodNetwork::of(container.unwrap_or_default()).unwrap()
}

/// For each client's namespace and each server's name: the ports that accept connections.
type Accepted = BTreeMap<(&'static str, String), BTreeSet<u16>>;

/// Who connects to whom.
struct Connections {
    clients: Vec<(&'static str, Arc<PodNetwork>)>,
    servers: Vec<Server>,
}

impl Connections {
    fn expected(&self, ports: impl Fn(&Server) -> BTreeSet<u16>) -> Accepted {
        let pairs = self
            .clients
            .iter()
            .flat_map(|(client, _)| self.servers.iter().map(move |server| (*client, server)));
        pairs
            .map(|(client, server)| ((client, server.name.clone()), ports(server)))
            .collect()
    }

    /// Connects each client to all ports of each server, all at the same time.
    async fn observe(&self) -> Accepted {
        let mut attempts = Vec::new();
        for (client, network) in &self.clients {
            for server in &self.servers {
                for port in PORTS {
                    let (network, to) = (network.clone(), SocketAddr::new(server.address, port));
                    let attempt = tokio::task::spawn_blocking(move || network.connect(to, LIMIT).is_ok());
                    attempts.push(((*client, server.name.clone()), port, attempt));
                }
            }
        }
        let mut found = self.expected(|_| BTreeSet::new());
        for (pair, port, attempt) in attempts {
            if attempt.await.unwrap() {
                found.entry(pair).or_default().insert(port);
            }
        }
        found
    }

    /// Nodes apply a change of policies a moment later, each for itself.
    async fn until(&self, what: &str, ports: impl Fn(&Server) -> BTreeSet<u16>) {
        let (expected, began) = (self.expected(ports), Instant::now());
        loop {
            let found = self.observe().await;
            if found == expected {
                return;
            }
            assert!(began.elapsed() < TIMEOUT, "{what}: {found:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn client(namespace: &str) -> ObjectRef {
    ObjectRef::new(Kind::Pod, namespace, "policy-client")
}

/// Starts a pod in another namespace, on a certain node.
async fn start_client(cluster: &TestCluster, name: &'static str, node: &str) -> (&'static str, Arc<PodNetwork>) {
    let reference = client(name);
    cluster
        .create(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": reference.name, "namespace": name},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never"}],
            },
        }))
        .await;
    let running = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    let pod = cluster
        .until(&reference, "running", |pod| pod.is_some_and(running))
        .await
        .unwrap();
    (name, Arc::new(network_of(&pod)))
}

impl Scenario {
    // deploy 38
    /// Connects from two other namespaces to each pod of operator and registry: with the policies as shipped, without those
    /// that allow, and without any. The last proves that nothing but the policies refuses.
    pub async fn policies_guard_every_port_but_one(&self) {
        let cluster = &self.cluster;
        let started = CLIENTS.map(|(name, node)| start_client(cluster, name, node));
        let connections = Connections {
            clients: futures::future::join_all(started).await,
            servers: self.servers().await,
        };
        let shipped = |server: &Server| BTreeSet::from([server.port]);
        connections.until("with the policies as shipped", shipped).await;

        // A Managed registry's policy would be restored at once.
        cluster.enter_state("Unmanaged").await;
        let operator_policy = operand(Kind::NetworkPolicy, OPERATOR_POLICY);
        cluster.delete(&operator_policy).await;
        cluster.delete(&network_policy()).await;
        connections
            .until("without the policies that allow", |_| BTreeSet::new())
            .await;
        cluster.delete(&operand(Kind::NetworkPolicy, DENY_POLICY)).await;
        connections.until("without any policy", |_| BTreeSet::from(PORTS)).await;

        cluster.devcluster.apply(OPERATOR_MANIFEST).await.unwrap();
        cluster.devcluster.apply(DENY_MANIFEST).await.unwrap();
        cluster.edit(json!({"managementState": "Managed"})).await;
        cluster.until_present(&network_policy()).await;
        connections.until("with the policies restored", shipped).await;
        cluster
            .until_config("up again", |config| observed(config) && is_up(config))
            .await;
        for (name, _) in CLIENTS {
            cluster.delete(&client(name)).await;
        }
        self.say("policies let other namespaces reach one port of each pod");
    }

    async fn servers(&self) -> Vec<Server> {
        let pods = self.cluster.list(Kind::Pod, NAMESPACE).await;
        let labelled = |label: &str, value: &str, port| {
            let ours = pods.iter().filter(|pod| {
                pod["metadata"]["labels"][label] == value && pod["metadata"].get("deletionTimestamp").is_none()
            });
            ours.map(|pod| Server::of(pod, port)).collect::<Vec<_>>()
        };
        let mut servers = labelled("name", OPERATOR, OPERATOR_PORT);
        assert_eq!(servers.len(), 1, "the operator's pod");
        servers.extend(labelled(
            names::OPERAND_LABEL,
            names::OPERAND_LABEL_VALUE,
            REGISTRY_PORT,
        ));
        assert_eq!(servers.len(), 3, "the operator's pod and two of the registry");
        servers
    }
}
