//! One request: to an endpoint and back, bodies streamed both ways.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::{debug, warn};

use super::table::{Table, Target};

/// An endpoint's body, or a page of our own.
pub(super) type Body = Either<Incoming, Full<Bytes>>;

const CONNECT: Duration = Duration::from_secs(5);
const UNAVAILABLE: &str = "<html><body><h1>Application is not available</h1></body></html>\n";

/// Headers that are between two neighbours, and not for the next one. The library frames each body anew.
const OWN_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Answers a request with what an endpoint of its Route answers, or with 503.
pub(super) async fn forward(mut request: Request<Incoming>, peer: SocketAddr, table: &Table) -> Response<Body> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let Some(target) = table.target(host_name(&host)) else {
        debug!(host, "router: no such host");
        return unavailable();
    };
    prepare(request.headers_mut(), &host, peer);
    match exchange(request, target).await {
        Ok(mut response) => {
            strip(response.headers_mut());
            response.map(Either::Left)
        }
        Err(error) => {
            warn!(route = %format_args!("{}/{}", target.route.0, target.route.1), "router: {error:#}");
            unavailable()
        }
    }
}

/// Sends the request to the first endpoint that takes a connection: only then has none of its body been used.
async fn exchange(request: Request<Incoming>, target: &Target) -> Result<Response<Incoming>> {
    let mut last = None;
    for endpoint in target.endpoints() {
        match tokio::time::timeout(CONNECT, TcpStream::connect(endpoint)).await {
            Ok(Ok(stream)) => {
                return converse(request, stream, target)
                    .await
                    .with_context(|| endpoint.to_string());
            }
            Ok(Err(error)) => last = Some(format!("{endpoint}: {error}")),
            Err(_) => last = Some(format!("{endpoint}: no connection in {CONNECT:?}")),
        }
    }
    match last {
        Some(error) => bail!(error),
        None => bail!("no ready endpoint"),
    }
}

async fn converse(request: Request<Incoming>, stream: TcpStream, target: &Target) -> Result<Response<Incoming>> {
    let _ = stream.set_nodelay(true);
    match &target.tls {
        Some((client, name)) => {
            let connector = TlsConnector::from(client.clone());
            let stream = tokio::time::timeout(CONNECT, connector.connect(name.clone(), stream)).await??;
            send(request, stream).await
        }
        None => send(request, stream).await,
    }
}

async fn send<S>(request: Request<Incoming>, stream: S) -> Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Carries the bodies after this function has returned, and ends with them.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "router: connection to an endpoint");
        }
    });
    Ok(sender.send_request(request).await?)
}

/// Makes the client's headers those of a request that went through a router.
fn prepare(headers: &mut HeaderMap, host: &str, peer: SocketAddr) {
    strip(headers);
    let ip = peer.ip();
    let port = host
        .strip_prefix(host_name(host))
        .and_then(|rest| rest.strip_prefix(':'))
        .unwrap_or("443");
    let added = [
        ("x-forwarded-for", ip.to_string()),
        ("x-forwarded-host", host.to_owned()),
        ("x-forwarded-port", port.to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("forwarded", format!("for={ip};host={host};proto=https")),
    ];
    for (name, value) in added {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in OWN_HOP {
        headers.remove(name);
    }
}

/// A host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn unavailable() -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from_static(UNAVAILABLE.as_bytes()))));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backend_learns_what_the_client_asked_for() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("r.apps.quux:8443"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
        prepare(
            &mut headers,
            "r.apps.quux:8443",
            SocketAddr::from(([198, 18, 0, 9], 50000)),
        );
        assert_eq!(headers[header::HOST], "r.apps.quux:8443");
        assert_eq!(headers["x-forwarded-host"], "r.apps.quux:8443");
        assert_eq!(headers["x-forwarded-port"], "8443");
        assert_eq!(
            headers["x-forwarded-for"], "198.18.0.9",
            "a client's own word is not believed"
        );
        assert!(!headers.contains_key(header::CONNECTION));
    }

    #[test]
    fn a_host_may_carry_a_port() {
        assert_eq!(host_name("r.apps.quux:8443"), "r.apps.quux");
        assert_eq!(host_name("r.apps.quux"), "r.apps.quux");
    }
}
