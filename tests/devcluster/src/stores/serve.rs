//! HTTP/1.1 on the side of the server, in a thread of its own: it answers also while a test blocks.

use super::tls::Authority;
use super::wire::Target;
use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Headers that are between two neighbours, and not for the next one. The library frames each body anew.
const OWN_HOP: [HeaderName; 4] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
];

/// Takes out what must not go on to the next neighbour.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in OWN_HOP {
        headers.remove(name);
    }
}

/// What another server answered, or an answer of our own.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;
/// Without an answer the connection is closed.
pub(crate) type Answered = Result<Response<Body>, Closed>;

/// The connection ends here.
#[derive(Debug)]
pub(crate) struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed by the test")
    }
}

impl std::error::Error for Closed {}

/// What answers.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> BoxFuture<'static, Answered>;
}

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer(Arc<OwnedFd>);

impl Peer {
    /// Makes the connection's end a reset.
    pub fn reset(&self) {
        let now = Some(std::time::Duration::ZERO);
        // An error means that it has ended already.
        let _ = rustix::net::sockopt::set_socket_linger(&*self.0, now);
    }
}

/// A server in this process; it ends when it is dropped, with all its connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at the address (port 0: any), with TLS if there is a configuration.
    pub fn start(address: SocketAddr, tls: Option<Arc<ServerConfig>>, handler: Arc<dyn Handler>) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = listen(listener, tls.map(TlsAcceptor::from), handler) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread.context("cannot start a thread")?),
        })
    }

    /// At any port of loopback; with a certificate of the authority, if there is one, for its usual names and `names`.
    pub fn local(authority: Option<&Authority>, names: &[String], handler: Arc<dyn Handler>) -> Result<Self> {
        let tls = authority.map(|authority| authority.server(names)).transpose()?;
        Self::start((Ipv4Addr::LOCALHOST, 0).into(), tls, handler)
    }

    /// As what a client reaches; the authority is the one that the server was started with.
    pub fn target(&self, authority: Option<&Authority>) -> Result<Target> {
        Ok(Target {
            address: self.address,
            tls: authority.map(Authority::client).transpose()?,
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Ended by itself if nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Arc<dyn Handler>) {
    // Dropped with this future, which ends the connections too.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Such as too many open files: others may end meanwhile.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, tls.clone(), handler.clone()));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, handler: Arc<dyn Handler>) {
    let _ = stream.set_nodelay(true);
    let Ok(fd) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let peer = Peer(Arc::new(fd));
    match tls {
        None => serve(stream, handler, peer).await,
        Some(acceptor) => {
            // A client that does not trust us ends here.
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, handler, peer).await;
            }
        }
    }
}

async fn serve<S>(stream: S, handler: Arc<dyn Handler>, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| handler.clone().answer(request, peer.clone()));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the caller's matter.
    let _ = connection.with_upgrades().await;
}
