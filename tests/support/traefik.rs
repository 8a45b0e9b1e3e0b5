//! Traefik, a controller of Ingresses and Gateways, as a process of this machine, and clients of the registry before which it stands.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use devcluster::login::Login;
use devcluster::{image, programs};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::{TestCluster, operand};

/// The kinds that Traefik watches beside those of the Gateway API and of the operator.
const KINDS: &str = include_str!("../data/traefik-crds.yaml");
/// Name of its controller in IngressClasses.
pub const CONTROLLER: &str = "traefik.io/ingress-controller";

/// It ends when it is dropped.
pub struct Traefik {
    /// Where clients connect.
    pub address: SocketAddr,
    log: PathBuf,
    _process: Child,
}

/// A port of this machine that was free a moment ago: a Gateway names the port before anybody listens on it.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl TestCluster {
    /// Installs the kinds that Traefik watches. Those of the Gateway API, and Traefik's own ServersTransport, must be there.
    pub async fn install_traefik(&self) {
        self.devcluster.apply(KINDS).await.unwrap();
    }

    /// Starts Traefik. It connects to the endpoints of Services, which this machine has to reach.
    pub async fn traefik(&self, port: u16) -> Traefik {
        let programs = programs::ensure(programs::INGRESS_CONTROLLER).await.unwrap();
        let (variable, mark) = self.devcluster.mark_of_processes();
        let path = self.devcluster.directory().join("traefik.log");
        let log = std::fs::File::create(&path).unwrap();
        let mut command = Command::new(programs.path("traefik").unwrap());
        command
            .env_clear()
            .env(variable, mark)
            .env("KUBECONFIG", self.devcluster.kubeconfig())
            .args([
                "--global.checknewversion=false",
                "--global.sendanonymoususage=false",
                "--log.level=INFO",
            ])
            .arg(format!("--entrypoints.websecure.address=127.0.0.1:{port}"))
            .arg("--entrypoints.websecure.transport.respondingtimeouts.readtimeout=0")
            .args([
                "--providers.kubernetescrd",
                "--providers.kubernetesingress",
                "--providers.kubernetesgateway",
            ])
            .arg("--providers.kubernetesingress.ingressendpoint.ip=192.0.2.1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        Traefik {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            log: path,
            _process: command.spawn().unwrap(),
        }
    }

    /// Makes a Secret with a new certificate for these hosts, and returns the certificate.
    pub async fn certificate_for(&self, secret: &str, hosts: &[&str]) -> String {
        let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        let signed = rcgen::generate_simple_self_signed(hosts).unwrap();
        let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": secret, "namespace": names::NAMESPACE},
            "stringData": {"tls.crt": signed.cert.pem(), "tls.key": signed.signing_key.serialize_pem()}});
        self.delete(&operand(Kind::Secret, secret)).await;
        self.create(object).await;
        signed.cert.pem()
    }
}

/// A proxy that leads every host to one address: clients need no name service. It ends with the test.
async fn proxy(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                assert!(head.starts_with(b"CONNECT "), "{}", String::from_utf8_lossy(&head));
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                // Not before the controller listens.
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

/// A client outside of the cluster, which trusts the route's certificate alone and has the login that the operator made.
pub struct Client {
    directory: tempfile::TempDir,
    proxy: SocketAddr,
    log: PathBuf,
    timeout: Duration,
    /// The login's entry for the host.
    pub login: Value,
}

impl Client {
    pub async fn new(cluster: &TestCluster, certificate: &str, controller: &Traefik, host: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Login::of(cluster.devcluster, host, cluster.timeout).await.unwrap();
        let login = std::fs::read_to_string(files.directory.join("config.json")).unwrap();
        std::fs::write(directory.path().join("config.json"), &login).unwrap();
        std::fs::write(directory.path().join("trusted.pem"), certificate).unwrap();
        let login: Value = serde_json::from_str(&login).unwrap();
        Self {
            directory,
            proxy: proxy(controller.address).await,
            log: controller.log.clone(),
            timeout: cluster.timeout,
            login: login["auths"][host].clone(),
        }
    }

    /// Runs crane to its end; what it printed, or what it wrote to standard error.
    pub async fn crane(&self, words: &[&str]) -> Result<String, String> {
        let programs = programs::ensure(&["crane"]).await.unwrap();
        let output = Command::new(programs.path("crane").unwrap())
            .env_clear()
            .env("HTTPS_PROXY", format!("http://{}", self.proxy))
            .env("DOCKER_CONFIG", self.directory.path())
            .env("SSL_CERT_FILE", self.directory.path().join("trusted.pem"))
            .args(words)
            .output()
            .await
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Pushes an image with one small layer.
    pub async fn push_a_small_image(&self, name: &str) {
        let layer = self.directory.path().join("layer.tar");
        std::fs::write(&layer, b"not worth an archive".repeat(1000)).unwrap();
        let words = ["append", "--new_layer", layer.to_str().unwrap(), "--new_tag", name];
        self.crane(&words).await.unwrap();
    }

    /// Pushes an image, as soon as the controller serves the host, and pulls it.
    pub async fn push_and_pull(&self, host: &str) {
        let pause = programs::ensure(&["pause"]).await.unwrap();
        let payload = host.repeat(20_000).into_bytes();
        let sample = image::sample_image("localhost/sample:v1", pause.path("pause").unwrap(), payload);
        let layout = self.directory.path().join(host);
        let digest = sample.write_layout(&layout).unwrap().to_string();
        let name = format!("{host}/dock/sample:v1");
        let began = Instant::now();
        while let Err(error) = self.crane(&["push", layout.to_str().unwrap(), &name]).await {
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(began.elapsed() < self.timeout, "{error}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(self.crane(&["digest", &name]).await.unwrap(), digest);
        let pulled = self.directory.path().join("pulled");
        let pull = ["pull", "--format", "oci", &name, pulled.to_str().unwrap()];
        self.crane(&pull).await.unwrap();
        let index = std::fs::read_to_string(pulled.join("index.json")).unwrap();
        assert!(index.contains(&digest), "{index}");
    }
}
