//! The router on loopback: a client in front of it, an endpoint with a serving certificate behind it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use futures::StreamExt as _;
use futures::channel::mpsc;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1 as client;
use hyper::{Request, Response};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio_rustls::TlsConnector;

use super::super::authority::{Authority, Issued, ROUTER_CA, SERVICE_CA};
use super::super::cache::{Cache, Kind, fixture::cache};
use super::super::certificate::{client_trusting, key_pair};
use super::super::control::Control;
use super::super::route::condition_updates;
use super::*;

const HOST: &str = "blue.apps.quux";
const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

struct Scene {
    directory: PathBuf,
    service_ca: Authority,
    router_ca: Authority,
    router: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A router with one Route, whose Service has one endpoint: it sends back what it gets, as it gets it.
async fn scene(name: &str, served_name: &str, route_tls: serde_json::Value) -> Scene {
    let directory = std::env::temp_dir().join(format!("router-{name}-{}", std::process::id()));
    let service_ca = Authority::load_or_create(&directory, SERVICE_CA).unwrap();
    let router_ca = Authority::load_or_create(&directory, ROUTER_CA).unwrap();
    let mut tasks = JoinSet::new();
    let endpoint = echo(service_ca.issue(&[served_name.to_owned()]).unwrap(), &mut tasks).await;
    let wildcard = router_ca.issue(&["*.apps.quux".to_owned()]).unwrap();
    let trust = Trust {
        wildcard: key_pair(&wildcard.chain, &wildcard.key).unwrap(),
        service_ca: client_trusting(service_ca.certificate()).unwrap(),
    };
    let objects = objects(endpoint, &route_tls);
    let table = build(&objects, &condition_updates(&objects, &Control::default()), &trust);
    let (tables, table) = watch::channel(Arc::new(table));
    let (router, work) = listen(ANY, table).await.unwrap();
    tasks.spawn(async move {
        work.await;
        drop(tables);
    });
    Scene {
        directory,
        service_ca,
        router_ca,
        router,
        _tasks: tasks,
    }
}

fn objects(endpoint: SocketAddr, route_tls: &serde_json::Value) -> Cache {
    let at =
        |name: &str| json!({"name": name, "namespace": "zone-q", "labels": {"kubernetes.io/service-name": "quux"}});
    let route = |name: &str, host: &str, service: &str| {
        let spec = json!({"host": host, "to": {"kind": "Service", "name": service}, "tls": route_tls});
        (Kind::Route, json!({"metadata": at(name), "spec": spec}))
    };
    let slice = json!({
        "metadata": at("quux-x"),
        "ports": [{"name": "", "port": endpoint.port()}],
        "endpoints": [{"addresses": [endpoint.ip().to_string()], "conditions": {"ready": true}}],
    });
    cache([
        (
            Kind::Service,
            json!({"metadata": at("quux"), "spec": {"ports": [{"port": 5000}]}}),
        ),
        (Kind::EndpointSlice, slice),
        route("blue", HOST, "quux"),
        route("idle", "idle.apps.quux", "corge"),
    ])
}

/// An HTTPS server that answers with the request's body and, in a header, with what a router adds.
async fn echo(identity: Issued, tasks: &mut JoinSet<()>) -> SocketAddr {
    let listener = TcpListener::bind(ANY).await.unwrap();
    let address = listener.local_addr().unwrap();
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let service = service_fn(|request: Request<Incoming>| async move {
                    let seen = request.headers()["x-forwarded-proto"].clone();
                    Response::builder().header("x-seen", seen).body(request.into_body())
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// One request through the router, by a client that trusts this authority.
async fn ask<B>(scene: &Scene, host: &str, authority: &str, body: B) -> Result<Response<Incoming>>
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(scene.router).await?;
    let connector = TlsConnector::from(client_trusting(authority)?);
    let stream = connector
        .connect(ServerName::try_from(host.to_owned())?, stream)
        .await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/upload").header("host", host).body(body)?;
    Ok(sender.send_request(request).await?)
}

fn reencrypt() -> serde_json::Value {
    json!({"termination": "reencrypt"})
}

const SERVICE: &str = "quux.zone-q.svc";

#[tokio::test]
async fn bodies_stream_both_ways_without_waiting_for_their_end() {
    let scene = scene("stream", SERVICE, reencrypt()).await;
    let (sender, receiver) = mpsc::unbounded::<Bytes>();
    let body = StreamBody::new(receiver.map(|part| Ok::<_, std::io::Error>(Frame::data(part))));
    let part = Bytes::from(vec![7; 1 << 20]);
    sender.unbounded_send(part.clone()).unwrap();
    let mut response = ask(&scene, HOST, scene.router_ca.certificate(), body).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-seen"], "https");
    let mut received = 0;
    for round in 1..=20 {
        // The request is still open: what comes back so far was not held for its end.
        while received < round * part.len() {
            received += response.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        sender.unbounded_send(part.clone()).unwrap();
    }
    drop(sender);
    received += response.into_body().collect().await.unwrap().to_bytes().len();
    assert_eq!(received, 21 * part.len());
}

#[tokio::test]
async fn an_unknown_host_and_a_service_without_endpoints_get_the_page() {
    let scene = scene("page", SERVICE, reencrypt()).await;
    for host in ["nobody.apps.quux", "idle.apps.quux"] {
        let body = Full::new(Bytes::from_static(b"x"));
        let response = ask(&scene, host, scene.router_ca.certificate(), body).await.unwrap();
        assert_eq!(response.status(), 503, "{host}");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        assert!(page.starts_with(b"<html>"), "{host}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_the_service_is_not_spoken_to() {
    let scene = scene("imposter", "quux.zone-p.svc", reencrypt()).await;
    let response = ask(&scene, HOST, scene.router_ca.certificate(), Full::new(Bytes::new()))
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn a_route_serves_its_own_certificate() {
    let directory = std::env::temp_dir().join(format!("router-own-ca-{}", std::process::id()));
    let own_ca = Authority::load_or_create(&directory, ("own", "own-ca")).unwrap();
    let own = own_ca.issue(&[HOST.to_owned()]).unwrap();
    let tls = json!({"termination": "reencrypt", "certificate": own.chain, "key": own.key});
    let scene = scene("own", SERVICE, tls).await;
    let trusting = async |authority: &str| ask(&scene, HOST, authority, Full::new(Bytes::new())).await;
    assert_eq!(trusting(own_ca.certificate()).await.unwrap().status(), 200);
    assert!(trusting(scene.router_ca.certificate()).await.is_err());
    assert!(trusting(scene.service_ca.certificate()).await.is_err());
    std::fs::remove_dir_all(&directory).unwrap();
}
