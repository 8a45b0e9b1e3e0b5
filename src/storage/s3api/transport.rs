//! Sends the SDK's requests with the operator's HTTP clients, and changes some of their headers.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::{HttpClient, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
    BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::error::Unanswered;
use crate::api::Sensitive;
use crate::storage::model::call::CallError;
use crate::storage::net::cause::cause;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Settings;

/// Largest response body. The largest expected one, a page of a listing, has a thousand keys of at most 1 KiB.
const LARGEST_ANSWER: usize = 16 << 20;

/// Sends the SDK's requests.
#[derive(Clone)]
pub struct Transport(Arc<Wire>);

struct Wire {
    http: Arc<Http>,
    trust: Trust,
    egress: Egress,
}

impl Transport {
    /// Uses the clients of `http` with these CA certificates and proxies.
    pub fn new(http: Arc<Http>, trust: Trust, egress: Egress) -> Self {
        Self(Arc::new(Wire { http, trust, egress }))
    }

    /// Passwords of the proxies, for their redaction in messages.
    pub fn secrets(&self) -> Vec<Sensitive> {
        self.0.http.secrets(&self.0.egress)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Transport {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let wire = self.0.clone();
        HttpConnectorFuture::new(async move { wire.exchange(request).await })
    }
}

impl Wire {
    /// Sends the request and reads the complete response, so that all connection errors occur here.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let client = self
            .http
            .client(&self.trust, &self.egress)
            .map_err(|error| ConnectorError::user(error.into()))?;
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let (parts, body) = request.into_parts();
        let Some(bytes) = body.bytes() else {
            return Err(ConnectorError::user(
                "the body of the request is a stream, which is not supported".into(),
            ));
        };
        let request = http::Request::from_parts(parts, bytes.to_vec());
        let request = reqwest::Request::try_from(request).map_err(|error| ConnectorError::user(error.into()))?;
        let mut answer = client.execute(request).await.map_err(|error| unanswered(&error))?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = std::mem::take(answer.headers_mut());
        }
        let mut content = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unanswered(&error))? {
            if content.len() + chunk.len() > LARGEST_ANSWER {
                let text = "the response is larger than 16 MiB: is the endpoint one of S3?".to_owned();
                return Err(ConnectorError::io(Unanswered(text).into()));
            }
            content.extend_from_slice(&chunk);
        }
        let garbled =
            |_: BoxError| ConnectorError::io(Unanswered("the response has an invalid HTTP header".to_owned()).into());
        let response = response
            .body(SdkBody::from(content))
            .map_err(|error| garbled(error.into()))?;
        HttpResponse::try_from(response).map_err(|error| garbled(error.into()))
    }
}

fn unanswered(error: &reqwest::Error) -> ConnectorError {
    let why = Unanswered(cause(error));
    if error.is_timeout() {
        ConnectorError::timeout(why.into())
    } else {
        ConnectorError::io(why.into())
    }
}

/// Adds the operator to the SDK's user agent, and removes `AWS_EXECUTION_ENV` from it.
#[derive(Clone, Debug)]
pub struct UserAgent(Arc<str>);

impl UserAgent {
    /// User agent of the operator.
    pub fn new(settings: &Settings) -> Self {
        Self(settings.user_agent().into())
    }
}

/// The SDK's user agent without `AWS_EXECUTION_ENV`.
fn of_sdk(agent: &str) -> String {
    let words = agent.split(' ').filter(|word| !word.starts_with("exec-env/"));
    words.collect::<Vec<_>>().join(" ")
}

impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        let agent = of_sdk(headers.get("user-agent").unwrap_or_default());
        headers.try_insert("user-agent", format!("{agent} {}", self.0))?;
        if let Some(signed) = headers.get("x-amz-user-agent").map(of_sdk) {
            headers.try_insert("x-amz-user-agent", signed)?;
        }
        Ok(())
    }
}

/// Changes of one request. Attach them to the request, not to the client: they replace checksums that the operation's
/// own interceptors write, and those run after the client's interceptors.
#[derive(Clone, Debug, Default)]
pub struct RequestOverrides {
    /// Sends `Content-MD5` instead of the newer checksums, which older services refuse.
    pub md5: bool,
    /// The request is about the bucket itself. Its path does not end with a slash, as with the registry's client.
    pub of_bucket: bool,
    /// Account for `x-amz-expected-bucket-owner`.
    pub owner: Option<String>,
    /// Name of the response's root element. Some services use another name, which the registry's SDK ignores and this
    /// SDK rejects.
    pub root: Option<&'static str>,
    /// Collects names of elements in the response that the types of the SDK do not contain, and drop.
    pub unknown: Option<Unknown>,
    /// Further headers, such as a token.
    pub headers: Vec<(&'static str, Sensitive)>,
    /// Whether this process still leads; `None` for calls that only read.
    pub leading: Option<Leading>,
    /// Right that the call needs, for errors.
    pub action: &'static str,
    /// Bucket, or bucket and key, for errors.
    pub resource: String,
}

/// Tells whether this process still leads.
#[derive(Clone)]
pub struct Leading(pub Arc<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Leading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leading")
    }
}

/// Collector of names of unknown elements.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// Names of elements that the SDK knows.
    pub known: &'static [&'static str],
    /// Names that a response contained beside these.
    pub found: Arc<Mutex<BTreeSet<String>>>,
}

impl Unknown {
    fn collect(&self, text: &str) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.clear();
        let names = text.split('<').skip(1).filter_map(|element| {
            let name = element
                .split(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
                .next()?;
            name.starts_with(|c: char| c.is_ascii_alphabetic()).then_some(name)
        });
        found.extend(names.filter(|name| !self.known.contains(name)).map(str::to_owned));
    }
}

impl Intercept for RequestOverrides {
    fn name(&self) -> &'static str {
        "RequestOverrides"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if let Some(uri) = self.of_bucket.then(|| without_slash(request.uri())).flatten() {
            request.set_uri(uri)?;
        }
        if self.md5 {
            let sum = STANDARD.encode(Md5::digest(request.body().bytes().unwrap_or_default()));
            let headers = request.headers_mut();
            let newer: Vec<String> = headers
                .iter()
                .map(|(name, _)| name.to_owned())
                .filter(|name| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm")
                .collect();
            for name in newer {
                headers.remove(name);
            }
            headers.try_insert("content-md5", sum)?;
        }
        if let Some(owner) = &self.owner {
            request
                .headers_mut()
                .try_insert("x-amz-expected-bucket-owner", owner.clone())?;
        }
        for (name, value) in &self.headers {
            request.headers_mut().try_insert(*name, value.expose().to_owned())?;
        }
        Ok(())
    }

    /// The SDK signs with credentials that it may have got from a token service just now, which may have taken long.
    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match &self.leading {
            Some(Leading(leading)) if !leading() => Err(Box::new(CallError::not_leading(self.action, &self.resource))),
            _ => Ok(()),
        }
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let text = response
            .body()
            .bytes()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let (Some(unknown), Some(text), true) = (&self.unknown, text, response.status().is_success()) {
            unknown.collect(text);
        }
        if let (Some(root), Some(text), true) = (self.root, text, response.status().is_success())
            && let Some(renamed) = with_root(text, root)
        {
            *response.body_mut() = SdkBody::from(renamed);
        }
        Ok(())
    }
}

/// The URI without the slash at the end of its path; `None` if there is none, or if the path consists of it alone.
fn without_slash(uri: &str) -> Option<String> {
    let (path, query) = uri
        .split_once('?')
        .map_or((uri, None), |(path, query)| (path, Some(query)));
    let shorter = path.strip_suffix('/')?;
    let (_, rest) = shorter.split_once("://")?;
    rest.contains('/')
        .then(|| query.map_or_else(|| shorter.to_owned(), |query| format!("{shorter}?{query}")))
}

/// The document with its root element renamed; `None` if it has this name, is an error document, or is not XML.
fn with_root(text: &str, root: &str) -> Option<String> {
    let begin = text.match_indices('<').map(|(at, _)| at + 1).find(|at| {
        let next = text[*at..].chars().next();
        next.is_some_and(|c| c.is_ascii_alphabetic())
    })?;
    let name = text[begin..]
        .split(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
        .next()?;
    let end = text.rfind(&format!("</{name}>"))? + 2;
    if name == root || name == "Error" {
        return None;
    }
    let (head, inner, tail) = (
        &text[..begin],
        &text[begin + name.len()..end],
        &text[end + name.len()..],
    );
    Some(format!("{head}{root}{inner}{root}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_bucket_has_no_slash_at_its_end() {
        for (uri, expected) in [
            ("http://store/images/", Some("http://store/images")),
            (
                "http://store/images/?list-type=2&prefix=a/",
                Some("http://store/images?list-type=2&prefix=a/"),
            ),
            ("https://store:9000/v1/s3/", Some("https://store:9000/v1/s3")),
            ("https://images.store/", None),
            ("https://images.store/?delete", None),
            ("https://store/images?location", None),
        ] {
            assert_eq!(without_slash(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn an_answer_gets_the_name_that_the_sdk_wants_and_an_error_stays_one() {
        let renamed = with_root("<?xml version=\"1.0\"?>\n<B xmlns=\"x\"><B>1</B></B>\n", "Result");
        assert_eq!(
            renamed.as_deref(),
            Some("<?xml version=\"1.0\"?>\n<Result xmlns=\"x\"><B>1</B></Result>\n")
        );
        for text in [
            "<Result><B/></Result>",
            "<Error><Code>NoSuchUpload</Code></Error>",
            "no XML",
            "",
            "<",
            "<B/>",
        ] {
            assert_eq!(with_root(text, "Result"), None, "{text}");
        }
    }
}
