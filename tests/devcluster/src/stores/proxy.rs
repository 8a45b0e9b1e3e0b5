//! A forward proxy, as `HTTP_PROXY` and `HTTPS_PROXY` name one: tunnels (CONNECT) and absolute URLs. It counts, and it
//! knows hosts that no resolver knows, so a client that uses it speaks to `sts.us-east-1.amazonaws.com` on this machine.
//! Whatever it does not know it refuses: nothing leaves loopback and clusters.

use super::serve::{Answered, Closed, Handler, Peer, Server};
use super::wire::{Target, host_name};
use super::{Reply, lock};
use crate::slot;
use anyhow::Result;
use base64::Engine as _;
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpStream;

/// Which hosts are where.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<(String, SocketAddr)>);

impl Hosts {
    /// Nobody but addresses of loopback and clusters, `localhost` and the names below it, which are where they say.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with a host more; `*.NAME` stands for every name below NAME, at any depth. Any port of it is the one of
    /// `at`. The first that fits counts.
    #[must_use]
    pub fn with(mut self, host: &str, at: SocketAddr) -> Self {
        self.0.push((host.to_owned(), at));
        self
    }

    /// Where `host` (without port) and `port` are.
    pub fn find(&self, host: &str, port: u16) -> Option<SocketAddr> {
        if let Some((_, at)) = self.0.iter().find(|(pattern, _)| fits(pattern, host)) {
            return Some(*at);
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return (address.is_loopback() || slot::is_ours(address)).then_some((address, port).into());
        }
        let local = host == "localhost" || host.ends_with(".localhost");
        local.then_some((Ipv4Addr::LOCALHOST, port).into())
    }
}

/// Whether a host is meant by a pattern: itself, or `*.NAME` for every name below NAME, at any depth.
pub(super) fn fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(domain) => host.ends_with(domain),
        None => host == pattern,
    }
}

/// A request to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// When.
    pub at: Instant,
    /// `CONNECT`, or the method of a request in the clear.
    pub method: Method,
    /// `HOST:PORT` of a tunnel, the URL of a request in the clear.
    pub target: String,
    /// Status of the proxy's own answer, or of the server's in the clear.
    pub status: u16,
}

/// How to start a forward proxy.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// Hosts that it knows.
    pub hosts: Hosts,
    /// User and password that it asks for (407 without them).
    pub credentials: Option<(String, String)>,
}

/// A running forward proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct ForwardProxy {
    shared: Arc<Shared>,
    target: Target,
    _server: Server,
}

#[derive(Debug)]
struct Shared {
    options: ProxyOptions,
    seen: Mutex<Vec<Proxied>>,
    /// Given to everybody, while there is one.
    refusal: Mutex<Option<u16>>,
}

impl ForwardProxy {
    /// On any port of loopback.
    pub fn start(options: ProxyOptions) -> Result<Self> {
        let shared = Arc::new(Shared {
            options,
            seen: Mutex::default(),
            refusal: Mutex::default(),
        });
        let server = Server::local(None, &[], shared.clone())?;
        Ok(Self {
            shared,
            target: server.target(None)?,
            _server: server,
        })
    }

    /// URL for `HTTP_PROXY` and `HTTPS_PROXY`; holds user and password where it asks for them.
    pub fn url(&self) -> String {
        let who = self.shared.options.credentials.as_ref();
        let who = who.map_or_else(String::new, |(user, password)| format!("{user}:{password}@"));
        format!("http://{who}{}", self.target.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// What came so far.
    pub fn seen(&self) -> Vec<Proxied> {
        lock(&self.shared.seen).clone()
    }

    /// Answers everything with this status from now on; `None`: works again.
    pub fn refuse(&self, status: Option<u16>) {
        *lock(&self.shared.refusal) = status;
    }
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> BoxFuture<'static, Answered> {
        async move { self.act(request).await }.boxed()
    }
}

impl Shared {
    async fn act(&self, request: Request<Incoming>) -> Answered {
        let mut proxied = Proxied {
            at: Instant::now(),
            method: request.method().clone(),
            target: request.uri().to_string(),
            status: 0,
        };
        let answer = self.decide(request).await;
        proxied.status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        lock(&self.seen).push(proxied);
        answer
    }

    async fn decide(&self, request: Request<Incoming>) -> Answered {
        let method = request.method().clone();
        let reply = |status, text: &str| Ok(Reply::new(status, text).response(&method));
        if let Some(status) = *lock(&self.refusal) {
            return reply(status, "refused by the test");
        }
        if !self.is_known(&request) {
            let asks = Reply::new(407, "who are you?").header("proxy-authenticate", "Basic realm=\"devcluster\"");
            return Ok(asks.response(&method));
        }
        let uri = request.uri();
        let Some(host) = uri.host() else {
            return reply(400, "no absolute URL: this is a proxy");
        };
        let port = uri
            .port_u16()
            .unwrap_or(if method == Method::CONNECT { 443 } else { 80 });
        let Some(address) = self.options.hosts.find(host_name(host), port) else {
            return reply(502, "this proxy does not know that host");
        };
        if method == Method::CONNECT {
            return match TcpStream::connect(address).await {
                Ok(stream) => Ok(tunnel(request, stream)),
                Err(_) => reply(502, "nobody listens there"),
            };
        }
        match pass(request, address).await {
            Ok(answer) => Ok(answer),
            Err(Closed) => reply(502, "nobody answers there"),
        }
    }

    fn is_known(&self, request: &Request<Incoming>) -> bool {
        let Some((user, password)) = &self.options.credentials else {
            return true;
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let given = request.headers().get(header::PROXY_AUTHORIZATION);
        given.is_some_and(|given| given.as_bytes() == format!("Basic {encoded}").as_bytes())
    }
}

/// Answers, and carries bytes both ways once the client has the answer.
fn tunnel(request: Request<Incoming>, mut stream: TcpStream) -> Response<Either<Incoming, Full<Bytes>>> {
    let _ = stream.set_nodelay(true);
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            // How a tunnel ends is the matter of those at its ends.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut stream).await;
        }
    });
    Response::new(Either::Right(Full::default()))
}

async fn pass(request: Request<Incoming>, address: SocketAddr) -> Answered {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = path.parse().map_err(|_| Closed)?;
    parts.headers.remove(header::PROXY_AUTHORIZATION);
    parts.headers.remove("proxy-connection");
    super::serve::strip(&mut parts.headers);
    let target = Target { address, tls: None };
    let sent = target.send(Request::from_parts(parts, Full::new(body))).await;
    let mut answer = sent.map_err(|_| Closed)?;
    super::serve::strip(answer.headers_mut());
    Ok(answer.map(Either::Left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_by_name_by_domain_and_on_loopback() {
        let at: SocketAddr = ([127, 0, 0, 1], 9000).into();
        let other: SocketAddr = ([127, 0, 0, 1], 9001).into();
        let hosts = Hosts::new().with("sts.test.example", other).with("*.test.example", at);
        assert_eq!(hosts.find("sts.test.example", 443), Some(other));
        assert_eq!(hosts.find("a.b.test.example", 443), Some(at));
        assert_eq!(hosts.find("test.example", 443), None);
        assert_eq!(hosts.find("evil-test.example", 443), None);
        assert_eq!(hosts.find("b.s3.localhost", 80), Some(([127, 0, 0, 1], 80).into()));
        assert_eq!(hosts.find("192.0.2.1", 80), None);
    }
}
