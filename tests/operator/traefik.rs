//! A real controller before a real registry: Traefik serves the operator's Ingress, and its HTTPRoute.
//!
//! Traefik and the registry are processes, because the nodes of the cluster are simulated. An EndpointSlice of the test leads the Service to
//! the registry: to a forwarder on an address of this machine, because the API server admits no loopback address there.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devcluster::operand::{Files, Operand, OperandOptions};
use devcluster::stores::Authority;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::exposure::{cluster_with, ingress, until_hosts};
use crate::support::operator::STOCK;
use crate::support::traefik::{Client, free_port};
use crate::support::{TestCluster, deployment, eventually, https, operand};

/// The host of the Ingress, and that of the HTTPRoute.
const BLUE: &str = "blue.test";
const GREEN: &str = "green.test";
/// The EndpointSlice that leads the Service to the registry.
const ENDPOINT: &str = "registry";
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

/// An address of this machine that is not a loopback address. No packet is sent.
fn own_address() -> std::net::IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let routed = socket.connect("192.0.2.254:9");
    routed.expect(
        "Traefik reaches the registry by an address of this machine: it needs an interface with a route beside lo",
    );
    socket.local_addr().unwrap().ip()
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

/// Leads the Service to the registry. There are no pods, so that this is its only endpoint.
async fn serve(cluster: &TestCluster, registry: &Operand, in_clear: &Arc<AtomicUsize>) {
    let address = forward(registry.target().address, in_clear).await;
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": ENDPOINT, "labels": {
            "kubernetes.io/service-name": names::REGISTRY, "endpointslice.kubernetes.io/managed-by": "tests",
        }},
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": names::REGISTRY_PORT_NAME, "port": address.port(), "protocol": "TCP"}]});
    cluster.create_raw(SLICE, slice).await;
}

async fn remove_endpoint(cluster: &TestCluster) {
    let request = http::Request::delete(format!("{SLICE}/{ENDPOINT}"))
        .body(Vec::new())
        .unwrap();
    let _ = cluster.client.request::<Value>(request).await;
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

// kubernetes 13
#[tokio::test]
async fn push_and_pull_pass_through_traefik_by_ingress_and_by_gateway() {
    let route = |name: &str, host: &str| json!([{"name": name, "hostname": host, "secretName": CERTIFICATE}]);
    let cluster = cluster_with(json!({"replicas": 0, "routes": route("blue", BLUE)})).await;
    cluster.install_traefik().await;
    remove_endpoint(&cluster).await;
    let certificate = cluster.certificate_for(CERTIFICATE, &[BLUE, GREEN]).await;
    let port = free_port();

    let of_ingress = [("EXPOSE", "ingress"), ("EXPOSE_INGRESS_CLASS", "edge")];
    let operator = cluster.operator_with(&[&STOCK[..], &of_ingress].concat()).await;
    cluster.until_present(&ingress("blue")).await;
    let registry = registry(&cluster).await;
    let in_clear = Arc::new(AtomicUsize::new(0));
    serve(&cluster, &registry, &in_clear).await;
    let traefik = cluster.traefik(port).await;
    let client = Client::new(&cluster, &certificate, &traefik, BLUE).await;
    client.push_and_pull(BLUE).await;
    let (status, _) = https::get(traefik.address, BLUE, &certificate, "/v2/").await;
    assert_eq!(status, 401, "nobody gets in without a login");
    until_hosts(&cluster, Some(BLUE)).await;
    let answered = keep_asking(traefik.address, BLUE, &certificate);
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
    let client = Client::new(&cluster, &certificate, &traefik, GREEN).await;
    client.push_and_pull(GREEN).await;
    let (status, _) = https::get(traefik.address, GREEN, &certificate, "/v2/").await;
    assert_eq!(status, 401, "nobody gets in without a login");
    assert!(operator.stop().await.success());
    assert_eq!(
        in_clear.load(Ordering::Relaxed),
        0,
        "Traefik always speaks TLS to the registry"
    );
    remove_endpoint(&cluster).await;
}
