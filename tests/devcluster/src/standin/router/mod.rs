//! Plays the part of the platform's router that serves: ends TLS, picks the Route by its host, opens TLS of its own to
//! one of the Service's endpoints, and passes both bodies through as they come.

mod forward;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::certificate::provider;
pub(super) use table::{Table, Trust, build};

const HANDSHAKE: Duration = Duration::from_secs(10);

/// Listens at the address, which may ask for any free port; gives the address and the server's work, which never ends.
pub(super) async fn listen(
    address: SocketAddr,
    tables: watch::Receiver<Arc<Table>>,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("router: listen at {address}"))?;
    let address = listener.local_addr()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificates(tables.clone())));
    // As the platform's router in its default settings: no HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok((address, accept(listener, acceptor, tables)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, tables: watch::Receiver<Arc<Table>>) {
    // Dropped with this future, which ends the connections too.
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Such as too many open files: others may end meanwhile.
                debug!(%error, "router: accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        connections.spawn(serve(stream, peer, acceptor.clone(), tables.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, tables: watch::Receiver<Arc<Table>>) {
    // Small answers must not wait for their acknowledgement.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%peer, %error, "router: handshake"),
        Err(_) => return debug!(%peer, "router: handshake takes too long"),
    };
    let service = service_fn(move |request| {
        let table = tables.borrow().clone();
        async move { Ok::<_, std::convert::Infallible>(forward::forward(request, peer, &table).await) }
    });
    if let Err(error) = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        debug!(%peer, %error, "router: connection");
    }
}

/// Chooses the certificate by the host that the client names.
#[derive(Debug)]
struct Certificates(watch::Receiver<Arc<Table>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.borrow().certificate(hello.server_name()))
    }
}
