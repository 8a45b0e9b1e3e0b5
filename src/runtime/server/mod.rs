//! The HTTPS server of the process: `/metrics`, `/healthz`, `/readyz` over HTTP/1.1, without client authentication.
//!
//! It starts before leader election, so that the liveness probe of a waiting process succeeds. A certificate in files is read
//! once; its rotation restarts the process (see [`crate::runtime::file_watch`]).

mod connections;
mod own;
mod tls;

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use self::connections::{Connections, Use};
pub use own::OwnCertificate;
pub use tls::{KeyPair, ServingCertificate, TlsError};

use super::{
    config_file::ServingInfo,
    metrics::{CONTENT_TYPE, Metrics},
};

/// Default of `servingInfo.bindAddress`: all addresses, IPv4 and IPv6.
pub(crate) const DEFAULT_ADDRESS: &str = ":60000";
/// Timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection may be idle. Longer than the scrape interval, so that scrapes reuse one connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Certificate, key, version or cipher suites cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is not `host:port` or `:port`.
    #[error("servingInfo.bindAddress {0:?} is not an address like \":60000\" or \"127.0.0.1:60000\"")]
    Address(String),
    /// The port is in use or the address is not local.
    #[error("cannot listen on {0}: {1}")]
    Listen(String, #[source] io::Error),
}

/// State of `/readyz`. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<ReadinessState>);

#[derive(Debug, Default)]
struct ReadinessState {
    leads: AtomicBool,
    synced: AtomicBool,
}

impl Readiness {
    /// Records that this process became the leader. A leader is ready once its caches are synced.
    pub(crate) fn set_leading(&self) {
        self.0.leads.store(true, Ordering::Relaxed);
    }

    /// Sets whether the leader's caches are synced.
    pub(crate) fn set_synced(&self, synced: bool) {
        self.0.synced.store(synced, Ordering::Relaxed);
    }

    /// Whether `/readyz` returns 200.
    pub(crate) fn is_ready(&self) -> bool {
        !self.0.leads.load(Ordering::Relaxed) || self.0.synced.load(Ordering::Relaxed)
    }
}

/// A server that listens and does not serve yet.
pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Validates the configuration, reads the certificate and opens the port.
    pub(crate) async fn bind(info: &ServingInfo, certificate: &ServingCertificate) -> Result<Self, ServerError> {
        let config = tls::server_config(info, certificate)?;
        let address = if info.bind_address.is_empty() {
            DEFAULT_ADDRESS
        } else {
            &info.bind_address
        };
        let listener = listen(address).await?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!("serving metrics on {address}");
        }
        Ok(Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// The address in use.
    #[cfg(test)]
    pub(crate) fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the future is dropped.
    pub(crate) async fn serve(self, metrics: Arc<Metrics>, readiness: Readiness) -> Infallible {
        let mut connections = Connections::default();
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No file descriptor left, or the client has disconnected. Neither ends the server.
                    tracing::debug!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (acceptor, metrics, readiness) = (self.acceptor.clone(), metrics.clone(), readiness.clone());
            connections.serve(peer.ip(), |used| async move {
                if let Err(error) = serve_connection(stream, used, acceptor, metrics, readiness).await {
                    tracing::debug!("connection to the metrics server ended: {error}");
                }
            });
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    used: Use,
    acceptor: TlsAcceptor,
    metrics: Arc<Metrics>,
    readiness: Readiness,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let service = service_fn(move |request| {
        used.note();
        let response = respond(&request, &metrics, &readiness);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

fn respond<B>(request: &Request<B>, metrics: &Metrics, readiness: &Readiness) -> Response<Full<Bytes>> {
    let (status, kind, text) = match (request.uri().path(), request.method()) {
        ("/metrics" | "/healthz" | "/readyz", method) if *method != Method::GET && *method != Method::HEAD => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "method not allowed\n".to_owned(),
        ),
        ("/metrics", _) => match metrics.text() {
            Ok(text) => (StatusCode::OK, CONTENT_TYPE, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        ("/healthz", _) => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        ("/readyz", _) if readiness.is_ready() => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
        ("/readyz", _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "text/plain",
            "leading, caches not synced yet\n".to_owned(),
        ),
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `:port` means all addresses: IPv6 and IPv4 where the machine has IPv6, else IPv4.
async fn listen(address: &str) -> Result<TcpListener, ServerError> {
    let failed = |error| ServerError::Listen(address.to_owned(), error);
    let malformed = || ServerError::Address(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let port: u16 = port.parse().map_err(|_| malformed())?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if !host.is_empty() {
        return TcpListener::bind((host, port)).await.map_err(failed);
    }
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.map_err(failed)
        }
        bound => bound.map_err(failed),
    }
}

#[cfg(test)]
mod tests;
