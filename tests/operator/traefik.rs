//! A real controller before a real registry: Traefik serves the operator's Ingress, and its HTTPRoute.
//!
//! Traefik and the registry are processes. The nodes of the cluster are simulated, so an EndpointSlice of the test leads the Service to the registry: to a
//! forwarder on an address of this machine, because the API server admits no loopback address there.

mod pulls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::operand::{Files, Operand, OperandOptions, Replica};
use devcluster::stores::{Authority, Target};
use devcluster::{image, programs};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::exposure::{cluster_with, ingress, until_hosts};
use crate::support::operator::STOCK;
use crate::support::{TIMEOUT, TestCluster, deployment, env, eventually, https, operand};
use pulls::{Pulls, Source};

/// The kinds that Traefik watches beside those of the operator.
const KINDS: &str = include_str!("../data/traefik-crds.yaml");
/// The host of the Ingress, and that of the HTTPRoute.
const BLUE: &str = "blue.test";
const GREEN: &str = "green.test";
/// Processes that play the pods before and after a rollout.
const OLD: [&str; 2] = ["old-1", "old-2"];
const NEW: [&str; 2] = ["new-1", "new-2"];
/// The Secret with the certificate of both.
const CERTIFICATE: &str = "outer-tls";
const SERVICE: &str = "image-registry.openshift-image-registry.svc";
const SLICE: &str = "/apis/discovery.k8s.io/v1/namespaces/openshift-image-registry/endpointslices";

/// First byte of a connection that begins with TLS.
const HANDSHAKE: u8 = 22;

/// Leads each connection to an address, and counts those in clear. It ends with the test.
async fn forward(to: SocketAddr, in_clear: &Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind(SocketAddr::new(own_address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let in_clear = in_clear.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let counter = in_clear.clone();
            tokio::spawn(async move {
                let mut first = [HANDSHAKE];
                let _ = client.peek(&mut first).await;
                counter.fetch_add(usize::from(first != [HANDSHAKE]), Ordering::Relaxed);
                // Not after the registry has ended.
                if let Ok(mut server) = TcpStream::connect(to).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

/// A proxy that leads every host to one address: clients need no name service.
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

/// An address of this machine that is not a loopback address. No packet is sent.
fn own_address() -> std::net::IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let routed = socket.connect("192.0.2.254:9");
    routed.expect(
        "Traefik reaches the registry by an address of this machine: it needs an interface with a route beside lo",
    );
    socket.local_addr().unwrap().ip()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn traefik(cluster: &TestCluster, port: u16) -> Child {
    let programs = programs::ensure(programs::INGRESS_CONTROLLER).await.unwrap();
    let (variable, mark) = cluster.devcluster.mark_of_processes();
    let log = std::fs::File::create(cluster.devcluster.directory().join("traefik.log")).unwrap();
    let mut command = Command::new(programs.path("traefik").unwrap());
    command
        .env_clear()
        .env(variable, mark)
        .env("KUBECONFIG", cluster.devcluster.kubeconfig())
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
    command.spawn().unwrap()
}

/// What the Secrets or ConfigMaps of the registry's namespace hold.
async fn data(cluster: &TestCluster, kind: Kind) -> BTreeMap<String, Files> {
    let decoded = |text: &str| match kind {
        Kind::Secret => STANDARD.decode(text).unwrap(),
        _ => text.as_bytes().to_vec(),
    };
    let of = |object: &Value| -> Files {
        let members = object["data"].as_object().into_iter().flatten();
        members
            .map(|(key, value)| (key.clone(), decoded(value.as_str().unwrap())))
            .collect()
    };
    let all = cluster.list(kind, names::NAMESPACE).await;
    all.iter()
        .map(|object| (object["metadata"]["name"].as_str().unwrap().to_owned(), of(object)))
        .collect()
}

/// A pod of the registry, as the operator rendered it.
async fn pod(cluster: &TestCluster) -> Value {
    let rendered = cluster.until_present(&deployment()).await;
    for name in [names::SERVING_CERT_SECRET, names::HTPASSWD_COPY] {
        cluster.until_present(&operand(Kind::Secret, name)).await;
    }
    let mut pod = rendered["spec"]["template"]["spec"].clone();
    let secrets = data(cluster, Kind::Secret).await;
    for variable in pod["containers"][0]["env"].as_array_mut().unwrap() {
        let Some(source) = variable.pointer("/valueFrom/secretKeyRef").cloned() else {
            continue;
        };
        let value = &secrets[source["name"].as_str().unwrap()][source["key"].as_str().unwrap()];
        *variable = json!({"name": variable["name"], "value": String::from_utf8(value.clone()).unwrap()});
    }
    pod
}

/// The registry, as the operator rendered it.
async fn registry(cluster: &TestCluster) -> Operand {
    let options = OperandOptions {
        pod: pod(cluster).await,
        secrets: data(cluster, Kind::Secret).await,
        config_maps: data(cluster, Kind::ConfigMap).await,
        token: String::new(),
        hosts: Vec::new(),
        authority: Authority::elsewhere(&cluster.devcluster.service_ca().unwrap(), SERVICE).unwrap(),
    };
    Operand::start(options).await.unwrap()
}

/// Leads the Service to a registry, too. There are no pods, so that the test's are its only endpoints.
async fn endpoint(cluster: &TestCluster, name: &str, address: SocketAddr) {
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "labels": {
            "kubernetes.io/service-name": names::REGISTRY, "endpointslice.kubernetes.io/managed-by": "tests",
        }},
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": names::REGISTRY_PORT_NAME, "port": address.port(), "protocol": "TCP"}]});
    cluster.create_raw(SLICE, slice).await;
}

async fn remove_endpoint(cluster: &TestCluster, name: &str) {
    let request = http::Request::delete(format!("{SLICE}/{name}"))
        .body(Vec::new())
        .unwrap();
    let _ = cluster.client.request::<Value>(request).await;
}

async fn remove_endpoints(cluster: &TestCluster) {
    for name in OLD.into_iter().chain(NEW) {
        remove_endpoint(cluster, name).await;
    }
}

/// A client outside of the cluster, which trusts the route's certificate alone and has the login that the operator made.
struct Client {
    directory: tempfile::TempDir,
    certificate: String,
    controller: SocketAddr,
    proxy: SocketAddr,
}

impl Client {
    async fn new(cluster: &TestCluster, certificate: &str, controller: SocketAddr, host: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = |secret: &Value| {
            let encoded = secret["data"][".dockerconfigjson"].as_str().unwrap();
            String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
        };
        let secret = operand(Kind::Secret, names::LOGIN_SECRET);
        let has_host = |o: Option<&Value>| o.is_some_and(|o| text(o).contains(host));
        let login = text(&cluster.until(&secret, "with the host", has_host).await.unwrap());
        std::fs::write(directory.path().join("config.json"), login).unwrap();
        std::fs::write(directory.path().join("trusted.pem"), certificate).unwrap();
        Self {
            directory,
            certificate: certificate.to_owned(),
            controller,
            proxy: proxy(controller).await,
        }
    }

    async fn crane(&self, words: &[&str]) -> Result<String, String> {
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

    /// A small image behind a host, to be pulled often.
    async fn source(&self, host: &str) -> Source {
        let layer = self.directory.path().join("layer.tar");
        std::fs::write(&layer, b"not worth an archive".repeat(1000)).unwrap();
        let name = format!("{host}/dock/small:v1");
        self.crane(&["append", "--new_layer", layer.to_str().unwrap(), "--new_tag", &name])
            .await
            .unwrap();
        let login = std::fs::read(self.directory.path().join("config.json")).unwrap();
        let login: Value = serde_json::from_slice(&login).unwrap();
        Source::new(
            self.controller,
            host,
            "dock/small",
            &self.certificate,
            &login["auths"][host],
        )
    }

    /// Pushes an image, as soon as the controller serves the host, and pulls it.
    async fn push_and_pull(&self, host: &str, log: &Path) {
        let pause = programs::ensure(&["pause"]).await.unwrap();
        let payload = host.repeat(20_000).into_bytes();
        let sample = image::sample_image("localhost/sample:v1", pause.path("pause").unwrap(), payload);
        let layout = self.directory.path().join(host);
        let digest = sample.write_layout(&layout).unwrap().to_string();
        let name = format!("{host}/dock/sample:v1");
        let began = Instant::now();
        while let Err(error) = self.crane(&["push", layout.to_str().unwrap(), &name]).await {
            let log = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(began.elapsed() < TIMEOUT, "{error}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        println!("{host}: pushed after {:?}", began.elapsed());
        assert_eq!(self.crane(&["digest", &name]).await.unwrap(), digest);
        let pulled = self.directory.path().join("pulled");
        let pull = ["pull", "--format", "oci", &name, pulled.to_str().unwrap()];
        self.crane(&pull).await.unwrap();
        let index = std::fs::read_to_string(pulled.join("index.json")).unwrap();
        assert!(index.contains(&digest), "{index}");
    }
}

/// Makes a registry an endpoint of the Service.
async fn serve(cluster: &TestCluster, name: &str, registry: &Target, in_clear: &Arc<AtomicUsize>) {
    let address = forward(registry.address, in_clear).await;
    endpoint(cluster, name, address).await;
}

/// A rollout of two replicas on one volume. The pods of this cluster run nothing, so the test plays the kubelet: a pod that is to end
/// loses its endpoint at once, and is told to end after the pause of its preStop hook.
async fn rollout_under_pulls(
    cluster: &TestCluster,
    first: &Operand,
    source: Source,
    in_clear: &Arc<AtomicUsize>,
) -> Vec<Replica> {
    let before = pod(cluster).await;
    let pause = before.pointer("/containers/0/lifecycle/preStop/sleep/seconds");
    let pause = Duration::from_secs(pause.and_then(Value::as_u64).unwrap());
    let second = first.replica(OLD[1], &before).await.unwrap();
    serve(cluster, OLD[1], second.target(), in_clear).await;
    let pulls = Pulls::start(source);
    cluster.edit(json!({"logLevel": "Debug"})).await;
    let is_new =
        |o: Option<&Value>| o.is_some_and(|o| env(o, "REGISTRY_LOG_LEVEL").is_some_and(|level| level == "debug"));
    cluster.until(&deployment(), "of the new log level", is_new).await;
    let after = pod(cluster).await;
    let mut replicas = Vec::new();
    for (old, new) in OLD.into_iter().zip(NEW) {
        let replica = first.replica(new, &after).await.unwrap();
        serve(cluster, new, replica.target(), in_clear).await;
        replicas.push(replica);
        remove_endpoint(cluster, old).await;
    }
    tokio::time::sleep(pause).await;
    let (one, two) = tokio::join!(first.terminate(), second.terminate());
    one.and(two).unwrap();
    pulls.end().await;
    replicas
}

/// A client that asks for a host all the time, with whatever result. It ends with the test. Returns how often the registry answered.
fn keep_asking(controller: SocketAddr, host: &'static str, certificate: &str) -> Arc<AtomicUsize> {
    let certificate = certificate.to_owned();
    let answered = Arc::new(AtomicUsize::new(0));
    let count = answered.clone();
    tokio::spawn(async move {
        loop {
            let answer = https::try_get(controller, host, &certificate, "/v2/").await;
            if answer.is_ok_and(|(status, _)| status == 401) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    answered
}

/// The Gateway of an administrator, with the certificate.
async fn make_gateway(cluster: &TestCluster, port: u16) {
    let group = "/apis/gateway.networking.k8s.io/v1";
    let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "traefik"},
        "spec": {"controllerName": "traefik.io/gateway-controller"}});
    let listener = json!({"name": "https", "port": port, "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": CERTIFICATE}]},
        "allowedRoutes": {"namespaces": {"from": "Same"}}});
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "outer"},
        "spec": {"gatewayClassName": "traefik", "listeners": [listener]}});
    let gateways = format!("{group}/namespaces/{}/gateways", names::NAMESPACE);
    for path in [format!("{group}/gatewayclasses/traefik"), format!("{gateways}/outer")] {
        let request = http::Request::delete(path).body(Vec::new()).unwrap();
        let _ = cluster.client.request::<Value>(request).await;
    }
    cluster.create_raw(&format!("{group}/gatewayclasses"), class).await;
    cluster.create_raw(&gateways, gateway).await;
}

/// A certificate for both hosts, in a Secret.
async fn make_certificate(cluster: &TestCluster) -> String {
    let signed = rcgen::generate_simple_self_signed([BLUE, GREEN].map(str::to_owned)).unwrap();
    let tls = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": CERTIFICATE, "namespace": names::NAMESPACE},
        "stringData": {"tls.crt": signed.cert.pem(), "tls.key": signed.signing_key.serialize_pem()}});
    cluster.delete(&operand(Kind::Secret, CERTIFICATE)).await;
    cluster.create(tls).await;
    signed.cert.pem()
}

// kubernetes 13; in part: kubernetes 25 (the test plays the kubelet)
#[tokio::test]
async fn push_and_pull_pass_through_traefik_by_ingress_and_by_gateway() {
    let route = |name: &str, host: &str| json!([{"name": name, "hostname": host, "secretName": CERTIFICATE}]);
    let storage = json!({"emptyDir": null, "pvc": {}});
    let cluster = cluster_with(json!({"replicas": 0, "storage": storage, "routes": route("blue", BLUE)})).await;
    cluster.shared_volume().await;
    cluster.devcluster.apply(KINDS).await.unwrap();
    remove_endpoints(&cluster).await;
    let certificate = make_certificate(&cluster).await;
    let port = free_port();
    let controller = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let log = cluster.devcluster.directory().join("traefik.log");

    let of_ingress = [("EXPOSE", "ingress"), ("EXPOSE_INGRESS_CLASS", "edge")];
    let operator = cluster.operator_with(&[&STOCK[..], &of_ingress].concat()).await;
    cluster.until_present(&ingress("blue")).await;
    let registry = registry(&cluster).await;
    let in_clear = Arc::new(AtomicUsize::new(0));
    serve(&cluster, OLD[0], registry.target(), &in_clear).await;
    let _traefik = traefik(&cluster, port).await;
    let client = Client::new(&cluster, &certificate, controller, BLUE).await;
    client.push_and_pull(BLUE, &log).await;
    let (status, _) = https::get(controller, BLUE, &certificate, "/v2/").await;
    assert_eq!(status, 401, "nobody gets in without a login");
    until_hosts(&cluster, Some(BLUE)).await;
    let source = client.source(BLUE).await;
    let _replicas = rollout_under_pulls(&cluster, &registry, source, &in_clear).await;
    let answered = keep_asking(controller, BLUE, &certificate);
    assert!(operator.stop().await.success());

    // Another host, so that no request takes the Ingress.
    make_gateway(&cluster, port).await;
    cluster.edit(json!({"routes": route("green", GREEN)})).await;
    let of_gateway = [
        ("EXPOSE", "gateway"),
        ("EXPOSE_GATEWAY", "openshift-image-registry/outer/https"),
    ];
    // The change itself may take less time than a request.
    eventually("clients reach the registry until EXPOSE changes", async || {
        answered.load(Ordering::Relaxed) > 3
    })
    .await;
    let operator = cluster.operator_with(&[&STOCK[..], &of_gateway].concat()).await;
    cluster.until_absent(&ingress("blue")).await;
    // By then the login is for this host too.
    until_hosts(&cluster, Some(GREEN)).await;
    let client = Client::new(&cluster, &certificate, controller, GREEN).await;
    client.push_and_pull(GREEN, &log).await;
    let (status, _) = https::get(controller, GREEN, &certificate, "/v2/").await;
    assert_eq!(status, 401, "nobody gets in without a login");
    assert!(operator.stop().await.success());
    assert_eq!(
        in_clear.load(Ordering::Relaxed),
        0,
        "Traefik always speaks TLS to the registry"
    );
    remove_endpoints(&cluster).await;
}
