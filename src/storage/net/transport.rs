//! Sends one request with the operator's HTTP clients, and reads the complete response. For clouds whose API no library speaks here.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::cause::cause;
use super::http::{Egress, Http, Trust};
use crate::api::Sensitive;

/// Largest response body. The largest expected one, a page of a listing, has a thousand names of at most 1 KiB.
const LARGEST_ANSWER: usize = 16 << 20;
const MIB: usize = 1 << 20;

/// Where requests go, and as whom.
#[derive(Clone)]
pub struct Transport {
    http: Arc<Http>,
    trust: Trust,
    egress: Egress,
    agent: Arc<str>,
    /// Largest response body, in bytes.
    largest: usize,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers, with names in lower case.
    pub headers: Vec<(Cow<'static, str>, Sensitive)>,
    /// Body; empty: none.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: String) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same with this header; its name in lower case.
    #[must_use]
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), Sensitive::new(value)));
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn content(self, media_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = self.header("content-type", media_type);
        request.body = body.into();
        request
    }
}

/// A complete response. It may hold a token, so that it has no Debug output.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Response {
    /// Value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no response.
#[derive(Debug)]
pub enum NoResponse {
    /// The network, the server or a proxy: why.
    Unreachable(String),
    /// The request cannot be sent: why.
    Unsendable(String),
}

impl Transport {
    /// Uses the clients of `http` with these CA certificates and proxies, as this user agent. A response may have 16 MiB.
    pub fn new(http: Arc<Http>, trust: Trust, egress: Egress, agent: String) -> Self {
        Self {
            http,
            trust,
            egress,
            agent: agent.into(),
            largest: LARGEST_ANSWER,
        }
    }

    /// The same for responses of at most so many bytes.
    #[must_use]
    pub fn at_most(mut self, largest: usize) -> Self {
        self.largest = largest;
        self
    }

    /// Passwords of the proxies, for their redaction in messages.
    pub fn secrets(&self) -> Vec<Sensitive> {
        self.http.secrets(&self.egress)
    }

    /// Sends the request once.
    pub async fn exchange(&self, request: &Request) -> Result<Response, NoResponse> {
        let unsendable = |error: String| NoResponse::Unsendable(error);
        let client = self
            .http
            .client(&self.trust, &self.egress)
            .map_err(|error| unsendable(error.message))?;
        let mut builder = client
            .request(request.method.clone(), request.url.as_str())
            .header("user-agent", &*self.agent);
        for (name, value) in &request.headers {
            let mut value = http::HeaderValue::from_str(value.expose())
                .map_err(|_| unsendable(format!("the header {name} has characters that no header may have")))?;
            value.set_sensitive(true);
            builder = builder.header(&**name, value);
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        } else if !matches!(request.method, Method::GET | Method::HEAD | Method::DELETE) {
            builder = builder.header("content-length", "0");
        }
        let request = builder.build().map_err(|error| unsendable(cause(&error)))?;
        let unreachable = |error: reqwest::Error| NoResponse::Unreachable(cause(&error));
        let mut answer = client.execute(request).await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > self.largest {
                return Err(NoResponse::Unreachable(format!(
                    "the response is larger than {} MiB: check whether a proxy or another service answers in place of \
                     the storage",
                    self.largest / MIB
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body,
        })
    }
}
