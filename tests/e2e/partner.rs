//! A foreign registry. Nodes trust its CA only because of `additionalTrustedCA`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use devcluster::{Record, inside, install, programs};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use image_registry_operator::node_ca::{DESTINATION, MARKER};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::TestCluster;

/// The node on which it runs, and whose name the other nodes resolve.
const NODE: &str = "node1";
const PORT: u16 = 5443;
const HOST: &str = "node1:5443";
/// The same as the key of a ConfigMap, which cannot contain a colon.
const KEY: &str = "node1..5443";
pub const MAP: &str = "partner-trust";

/// The running registry, with an image in it, and a pod that needs the image.
pub struct Partner {
    authority: String,
    digest: String,
    /// The process that entered the node; the registry itself ends with its node.
    entrance: Child,
}

impl Drop for Partner {
    fn drop(&mut self) {
        let _ = self.entrance.kill();
        let _ = self.entrance.wait();
    }
}

fn pod() -> ObjectRef {
    ObjectRef::new(Kind::Pod, "default", "runs-partner")
}

/// Starts the registry and pushes an image. No node can pull the image, because none trusts the registry's CA. Then the
/// administrator adds the CA to `additionalTrustedCA`.
pub async fn begin(cluster: &TestCluster, layout: &Path, digest: &str) -> Partner {
    let partner = start(cluster, digest).await;
    let image = format!("{HOST}/partner/app:v1");
    let push = ["push", "--insecure", &layout.display().to_string(), &image];
    inside::crane(cluster.devcluster.record(), "node2", &push)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"));
    let spec = json!({
        "nodeSelector": {"kubernetes.io/hostname": "node2"},
        "containers": [{"name": "main", "image": image, "imagePullPolicy": "Always"}],
    });
    let metadata = json!({"name": pod().name, "namespace": pod().namespace});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
        .await;
    let refused = |pod: &Value| {
        let state = &pod["status"]["containerStatuses"][0]["state"];
        let message = state["waiting"]["message"].as_str().unwrap_or_default();
        message.contains("x509: certificate signed by unknown authority")
    };
    cluster
        .until(&pod(), "refused by its node", |pod| pod.is_some_and(refused))
        .await;

    let metadata = json!({"name": MAP, "namespace": names::CONFIG_NAMESPACE});
    let data = json!({KEY: partner.authority});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}))
        .await;
    cluster
        .patch(
            &crate::support::image(),
            json!({"spec": {"additionalTrustedCA": {"name": MAP}}}),
        )
        .await;
    partner
}

/// Waits until node-ca has installed the CA on every node and the same pod runs.
pub async fn is_trusted(cluster: &TestCluster, partner: Partner) {
    install::nodes_trust(cluster.devcluster, HOST).await.unwrap();
    let directory = format!("{DESTINATION}/{HOST}");
    for node in cluster.devcluster.real_nodes() {
        let (certificate, marker) = (format!("{directory}/ca.crt"), format!("{directory}/{MARKER}"));
        let output = run(cluster.devcluster.record(), &node.name, &["cat", &certificate]).await;
        assert_eq!(output.trim(), partner.authority.trim(), "{}", node.name);
        run(cluster.devcluster.record(), &node.name, &["test", "-f", &marker]).await;
    }
    let running = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    let found = cluster.until(&pod(), "running", |pod| pod.is_some_and(running)).await;
    let found = found.unwrap();
    let image = found["status"]["containerStatuses"][0]["imageID"].as_str().unwrap();
    assert!(image.ends_with(&partner.digest), "{image}");
    cluster.delete(&pod()).await;
}

/// Runs a command in a node; returns its output.
async fn run(record: &Record, node: &str, words: &[&str]) -> String {
    let output = inside::command(record, node, words).await.unwrap().output().unwrap();
    assert!(output.status.success(), "{words:?} on {node}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn start(cluster: &TestCluster, digest: &str) -> Partner {
    let record = cluster.devcluster.record();
    let directory = cluster.devcluster.directory().join("partner");
    fs::create_dir(&directory).unwrap();
    let authority = certificates(&directory);
    let programs = programs::ensure(&["registry"]).await.unwrap();
    let program = programs.path("registry").unwrap().display().to_string();
    let mut command: Command = inside::command(record, NODE, &[&program]).await.unwrap();
    let log = File::create(directory.join("log")).unwrap();
    let (variable, directory_of_cluster) = cluster.devcluster.mark_of_processes();
    let entrance = command
        .env(variable, directory_of_cluster)
        .env("REGISTRY_STORAGE", "inmemory")
        .env("REGISTRY_HTTP_ADDR", format!(":{PORT}"))
        .env("REGISTRY_HTTP_TLS_CERTIFICATE", directory.join("tls.crt"))
        .env("REGISTRY_HTTP_TLS_KEY", directory.join("tls.key"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let partner = Partner {
        authority,
        digest: digest.to_owned(),
        entrance,
    };
    let node = cluster
        .devcluster
        .real_nodes()
        .iter()
        .find(|node| node.name == NODE)
        .unwrap();
    let listens = async {
        while TcpStream::connect((node.address, PORT)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), listens).await.is_err() {
        let log = fs::read_to_string(directory.join("log")).unwrap();
        panic!("{HOST} does not listen:\n{log}");
    }
    partner
}

/// Writes a certificate of a new CA for the registry to `tls.crt` and `tls.key`; returns the CA as PEM.
fn certificates(directory: &Path) -> String {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "partner");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = parameters.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new([NODE.to_owned()]).unwrap();
    let certificate = own.signed_by(&key, &issuer).unwrap();
    fs::write(directory.join("tls.crt"), certificate.pem()).unwrap();
    fs::write(directory.join("tls.key"), key.serialize_pem()).unwrap();
    authority
}
