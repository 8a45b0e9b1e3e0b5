//! A proxy between one operator and the API server, in which a test decides what becomes of each request: faults happen
//! exactly where they are wanted, and each process is told apart, which the audit log cannot.
//!
//! It speaks what the API server speaks (TLS, HTTP/2 or HTTP/1.1), passes the caller's credentials on, and streams answers.

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

use super::{Lab, PATIENCE};

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// What becomes of a request.
#[derive(Clone)]
pub enum Fault {
    /// Nothing happens to it.
    Pass,
    /// It is forwarded once the gate is open.
    Hold(Latch),
    /// It is not forwarded; this is the answer.
    Refuse(u16),
    /// It is forwarded twice; the second answer is given.
    Twice,
    /// It is forwarded and carried out; the answer is never given.
    LoseAnswer,
    /// It is neither forwarded nor answered.
    Hang,
}

/// A request that came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Instant,
    pub method: Method,
    pub path: String,
    pub query: String,
    pub body: Value,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// Whether it was carried out, and its answer thrown away.
    pub lost: bool,
}

impl Asked {
    /// Whether it can change something.
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

    /// Whether it is this method on a path with this end.
    pub fn is(&self, method: &Method, end: &str) -> bool {
        self.method == *method && self.path.ends_with(end)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.status, self.method, self.path)
    }
}

type Rule = Box<dyn FnMut(&Asked) -> Fault + Send>;

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

struct Shared {
    upstream: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    rule: Mutex<Rule>,
    asked: watch::Sender<Vec<Asked>>,
    /// Counts how often all connections were to be cut; none is accepted while `down`.
    cut: watch::Sender<(usize, bool)>,
}

impl Lab {
    /// A proxy for a new operator; it changes nothing until it is told to.
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
            asked: watch::Sender::new(Vec::new()),
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

    /// What an operator needs to go through this proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// Decides from now on; the earlier rule is forgotten.
    pub fn rule(&self, rule: impl FnMut(&Asked) -> Fault + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Everything passes from now on; what hangs goes on hanging.
    pub fn pass(&self) {
        self.rule(|_| Fault::Pass);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.borrow().clone()
    }

    /// Writes so far, without events.
    pub fn writes(&self) -> Vec<Asked> {
        self.asked()
            .into_iter()
            .filter(|asked| asked.is_write() && !asked.is_event())
            .collect()
    }

    /// Waits until what was asked is as expected.
    pub async fn until(&self, what: &str, expected: impl Fn(&[Asked]) -> bool) {
        let mut asked = self.shared.asked.subscribe();
        let waited = tokio::time::timeout(PATIENCE, asked.wait_for(|asked| expected(asked))).await;
        if waited.is_err() {
            let all: Vec<_> = self.asked().iter().map(ToString::to_string).collect();
            panic!("no {what} within {PATIENCE:?}; asked was\n{}", all.join("\n"));
        }
    }

    /// Cuts every connection and refuses new ones, as an API server that went away.
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

/// Ends its task when it is dropped.
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
    // How a connection ends is the caller's matter.
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
        let asked = Asked {
            at: Instant::now(),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            status: 0,
            lost: false,
        };
        let fault = (self.rule.lock().unwrap())(&asked);
        let mut index = 0;
        self.asked.send_modify(|all| {
            index = all.len();
            all.push(asked);
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
                self.asked.send_modify(|all| all[index].lost = true);
                std::future::pending().await
            }
            Fault::Hang => std::future::pending().await,
        };
        let status = answer.status().as_u16();
        self.asked.send_modify(|all| all[index].status = status);
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

/// In the API server's words.
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
