//! HTTP/1.1 on the side of the client: requests to an address that need not be what the URL's host resolves to. Signs for AWS where
//! it is told who asks.

use anyhow::{Context as _, Result, bail};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const CONNECT: Duration = Duration::from_secs(10);

/// Access keys of somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key ID.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token, of keys that end.
    pub session: Option<String>,
}

impl Keys {
    /// Keys that last.
    pub fn new(id: &str, secret: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            session: None,
        }
    }

    /// As the text of a shared credentials file.
    pub fn profile(&self) -> String {
        let mut text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.id, self.secret
        );
        if let Some(session) = &self.session {
            text.push_str("aws_session_token = ");
            text.push_str(session);
            text.push('\n');
        }
        text
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where a server listens, and what to trust there.
#[derive(Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// For a server that speaks TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.origin(&self.address.to_string()))
    }
}

impl Target {
    /// A server without TLS; also one that is not there, for a gate that answers everything itself.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// URL of the server under a name, without a slash at the end.
    pub(crate) fn origin(&self, host: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    /// Sends a request, and gives the answer as it comes; the connection ends with it.
    pub(crate) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let host = self.prepare(&mut request);
        let mut sender = self.connect(&host).await?;
        Ok(sender.send_request(request).await?)
    }

    /// Makes the request complete, and gives the name that TLS asks for.
    pub(super) fn prepare(&self, request: &mut Request<Full<Bytes>>) -> String {
        // hyper sends no length with an empty body; Swift and Azurite refuse a PUT without one.
        if matches!(*request.method(), Method::PUT | Method::POST) && request.body().size_hint().exact() == Some(0) {
            let length = request.headers_mut().entry(header::CONTENT_LENGTH);
            length.or_insert(HeaderValue::from_static("0"));
        }
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        host.map_or_else(|| self.address.ip().to_string(), |host| host_name(host).to_owned())
    }

    /// A connection; the name is what TLS asks for.
    pub(super) async fn connect(&self, host: &str) -> Result<SendRequest<Full<Bytes>>> {
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(self.address));
        let stream = connecting
            .await
            .with_context(|| format!("{}: no connection", self.address))?;
        let stream = stream.with_context(|| format!("cannot connect to {}", self.address))?;
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => handshake(stream).await,
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host:?} is no name"))?;
                let connecting = TlsConnector::from(config.clone()).connect(name, stream);
                handshake(connecting.await.with_context(|| format!("TLS with {host}"))?).await
            }
        }
    }

    /// One call, and all of its answer.
    pub async fn call(&self, call: Call<'_>) -> Result<Answer> {
        let answer = self.send(self.request(&call)?).await?;
        let (parts, body) = answer.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// A call as it goes over the wire, signed now.
    pub(super) fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>> {
        let host = call.host.map_or_else(|| self.address.to_string(), ToOwned::to_owned);
        let mut builder = Request::builder().method(call.method.clone()).uri(call.path);
        builder = builder.header(header::HOST, &host);
        for (name, value) in call.headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(Full::new(Bytes::copy_from_slice(call.body)))?;
        if let Some(signed) = &call.signed {
            let url = format!("{}{}", self.origin(&host), call.path);
            signed.sign(&url, call.body, &mut request)?;
        }
        Ok(request)
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Carries bodies after this function has returned, and ends with the sender and the last of them.
    tokio::spawn(connection);
    Ok(sender)
}

/// A host without its port.
pub(super) fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Method.
    pub method: Method,
    /// Path with query, encoded: `/bucket?tagging`.
    pub path: &'a str,
    /// Host header, and the name that TLS asks for; by default the server's address.
    pub host: Option<&'a str>,
    /// Headers; the signature covers those that begin with `x-amz-`.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: &'a [u8],
    /// Who asks; nobody by default.
    pub signed: Option<Signed<'a>>,
}

impl<'a> Call<'a> {
    /// A call without headers, body and signature.
    pub fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            host: None,
            headers: &[],
            body: &[],
            signed: None,
        }
    }

    /// The same with a body.
    #[must_use]
    pub fn body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }

    /// The same with headers.
    #[must_use]
    pub fn headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    /// The same under another host.
    #[must_use]
    pub fn host(self, host: &'a str) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }

    /// The same by somebody, for a service such as `s3` in a region.
    #[must_use]
    pub fn signed(self, keys: &'a Keys, service: &'a str, region: &'a str) -> Self {
        Self {
            signed: Some(Signed { keys, service, region }),
            ..self
        }
    }
}

/// Who asks which service.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    keys: &'a Keys,
    service: &'a str,
    region: &'a str,
}

impl Signed<'_> {
    fn sign(&self, url: &str, body: &[u8], request: &mut Request<Full<Bytes>>) -> Result<()> {
        let keys = self.keys;
        let credentials = Credentials::new(&keys.id, &keys.secret, keys.session.clone(), None, "devcluster");
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        // As every client of S3 does it.
        if self.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let headers: Vec<(String, String)> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let signable = SignableRequest::new(
            request.method().as_str(),
            url,
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(body),
        )?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        for (name, value) in instructions.headers() {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        Ok(())
    }
}

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The answer if its status is 2xx, an error with all of it otherwise.
    pub fn good(self) -> Result<Self> {
        if !(200..300).contains(&self.status) {
            bail!("answered {}: {}", self.status, self.text());
        }
        Ok(self)
    }

    /// The text of the first element of that name, if the body is XML.
    pub fn element(&self, name: &str) -> Option<String> {
        element(&self.text(), name)
    }
}

/// The text of the first element of that name. Enough for answers of servers that tests run: no attributes, no CDATA.
pub(super) fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(text.replace("&amp;", "&"))
}
