//! A proxy between one operator and the API server. A test decides for each request what the proxy does with it, and reads
//! which process sent which request; the audit log cannot distinguish processes with the same ServiceAccount.
//!
//! The proxy serves TLS with HTTP/2 or HTTP/1.1, forwards the caller's credentials, and streams responses.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use devcluster::stores::Latch;
use futures::future::{BoxFuture, FutureExt};
use http::{Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, client::ConfigExt};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{TIMEOUT, TestCluster};

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// What the proxy does with a request.
#[derive(Clone)]
pub enum Fault {
    /// Forwards it.
    Pass,
    /// Forwards it once the latch is open.
    Hold(Latch),
    /// Does not forward it, and answers with this status.
    Refuse(u16),
    /// Forwards it twice and returns the second response.
    Twice,
    /// Forwards it and never returns the response.
    LoseAnswer,
    /// Neither forwards nor answers it.
    Hang,
}

/// A request that the proxy received.
#[derive(Clone, Debug)]
pub struct ProxiedRequest {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
    /// Status of the response; 0 until there is one.
    pub status: u16,
    /// Whether the API server carried it out and the response was discarded.
    pub lost: bool,
}

impl ProxiedRequest {
    /// Whether the method can change objects.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    pub fn is_event(&self) -> bool {
        self.path.contains("/events")
    }

    pub fn is_lease(&self) -> bool {
        self.path.contains("/leases")
    }

    pub fn is_watch(&self) -> bool {
        self.query.contains("watch=")
    }

    /// Whether it has this method and a path that ends so.
    pub fn is(&self, method: &Method, end: &str) -> bool {
        self.method == *method && self.path.ends_with(end)
    }
}

impl fmt::Display for ProxiedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.status, self.method, self.path)
    }
}

type Rule = Box<dyn FnMut(&ProxiedRequest) -> Fault + Send>;

/// A running proxy; dropping it stops it.
pub struct Proxy {
    shared: Arc<Shared>,
    directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    rule: Mutex<Rule>,
    requests: watch::Sender<Vec<ProxiedRequest>>,
    /// How often all connections were cut, and whether new connections are refused.
    cut: watch::Sender<(usize, bool)>,
}

impl TestCluster {
    /// A proxy for a new operator; it forwards everything until a rule is set.
    pub async fn proxy(&self) -> Proxy {
        Proxy::start(&self.account().await).await
    }
}

impl Proxy {
    async fn start(kubeconfig: &Path) -> Self {
        let mut file = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file.clone(), &KubeConfigOptions::default())
            .await
            .unwrap();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.rustls_client_config().unwrap())
            .https_only()
            .enable_all_versions()
            .build();
        let shared = Arc::new(Shared {
            upstream: config.cluster_url.clone(),
            client: Client::builder(TokioExecutor::new()).build(connector),
            rule: Mutex::new(Box::new(|_| Fault::Pass)),
            requests: watch::Sender::new(Vec::new()),
            cut: watch::Sender::new((0, false)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()));
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let cluster = file.clusters[0].cluster.as_mut().unwrap();
        cluster.server = Some(format!("https://{address}"));
        cluster.certificate_authority = None;
        cluster.certificate_authority_data = Some(BASE64.encode(signed.cert.pem()));
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("kubeconfig"), serde_json::to_vec(&file).unwrap()).unwrap();
        let task = tokio::spawn(listen(listener, TlsAcceptor::from(Arc::new(tls)), shared.clone()));
        Self {
            shared,
            directory,
            task,
        }
    }

    /// A kubeconfig that leads through this proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Sets the rule for later requests, in place of the rule before.
    pub fn rule(&self, rule: impl FnMut(&ProxiedRequest) -> Fault + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Answers these requests with an error and forwards all others.
    pub fn refuse(&self, code: u16, mut which: impl FnMut(&ProxiedRequest) -> bool + Send + 'static) {
        self.rule(move |request| {
            if which(request) {
                Fault::Refuse(code)
            } else {
                Fault::Pass
            }
        });
    }

    /// Forwards every later request. Requests that hang already keep hanging.
    pub fn pass(&self) {
        self.rule(|_| Fault::Pass);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<ProxiedRequest> {
        self.shared.requests.borrow().clone()
    }

    /// All writes so far, except events.
    pub fn writes(&self) -> Vec<ProxiedRequest> {
        self.requests()
            .into_iter()
            .filter(|request| request.is_write() && !request.is_event())
            .collect()
    }

    /// Waits until the requests are as expected.
    pub async fn until(&self, what: &str, expected: impl Fn(&[ProxiedRequest]) -> bool) {
        let mut requests = self.shared.requests.subscribe();
        let waited = tokio::time::timeout(TIMEOUT, requests.wait_for(|requests| expected(requests))).await;
        if waited.is_err() {
            let all: Vec<_> = self.requests().iter().map(ToString::to_string).collect();
            panic!("no {what} within {TIMEOUT:?}; the requests were\n{}", all.join("\n"));
        }
    }

    /// Cuts every connection and refuses new ones, as a stopped API server would.
    pub fn go_away(&self) {
        self.shared.cut.send_modify(|cut| *cut = (cut.0 + 1, true));
    }

    /// Accepts connections again.
    pub fn come_back(&self) {
        self.shared.cut.send_modify(|cut| cut.1 = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let (round, down) = *shared.cut.borrow();
        if down {
            continue;
        }
        let (shared, acceptor) = (shared.clone(), acceptor.clone());
        connections.spawn(async move {
            let mut cut = shared.cut.subscribe();
            let serving = tokio::spawn(connection(stream, acceptor, shared.clone()));
            let serving = Abort(serving);
            while cut.borrow_and_update().0 == round && !serving.0.is_finished() {
                let _ = cut.changed().await;
            }
        });
    }
}

/// Aborts its task when it is dropped.
struct Abort(JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let stream = TokioIo::new(stream);
    let service = service_fn(move |request| shared.clone().handle(request));
    // An error of a connection concerns only the client.
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(stream, service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(stream, service).await;
    }
}

impl Shared {
    fn handle(self: Arc<Self>, request: Request<Incoming>) -> BoxFuture<'static, io::Result<Answer>> {
        async move { self.answer(request).await }.boxed()
    }

    async fn answer(&self, request: Request<Incoming>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let request = ProxiedRequest {
            at: Instant::now(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            status: 0,
            lost: false,
        };
        let fault = (self.rule.lock().unwrap())(&request);
        let mut index = 0;
        self.requests.send_modify(|all| {
            index = all.len();
            all.push(request);
        });
        let answer = match fault {
            Fault::Pass => self.forward(&parts, body).await?,
            Fault::Hold(gate) => {
                gate.passed().await;
                self.forward(&parts, body).await?
            }
            Fault::Refuse(code) => refusal(code),
            Fault::Twice => {
                self.carry_out(&parts, body.clone()).await?;
                self.forward(&parts, body).await?
            }
            Fault::LoseAnswer => {
                self.carry_out(&parts, body).await?;
                self.requests.send_modify(|all| all[index].lost = true);
                std::future::pending().await
            }
            Fault::Hang => std::future::pending().await,
        };
        let status = answer.status().as_u16();
        self.requests.send_modify(|all| all[index].status = status);
        Ok(answer)
    }

    async fn carry_out(&self, parts: &http::request::Parts, body: Bytes) -> io::Result<()> {
        let answer = self.forward(parts, body).await?;
        answer.into_body().collect().await.map(drop).map_err(io::Error::other)
    }

    async fn forward(&self, parts: &http::request::Parts, body: Bytes) -> io::Result<Answer> {
        let mut target = self.upstream.clone().into_parts();
        target.path_and_query = parts.uri.path_and_query().cloned();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = Uri::from_parts(target).map_err(io::Error::other)?;
        *request.headers_mut() = parts.headers.clone();
        request.headers_mut().remove(header::HOST);
        let answer = self.client.request(request).await.map_err(io::Error::other)?;
        Ok(answer.map(Either::Left))
    }
}

/// An error response as the API server sends it.
fn refusal(code: u16) -> Answer {
    let reason = match code {
        409 => "Conflict",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
                        "message": format!("refused by the test with {code}"), "code": code});
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Either::Right(Full::new(Bytes::from(status.to_string()))))
        .unwrap()
}
