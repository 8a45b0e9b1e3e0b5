//! Sends one request with the operator's HTTP clients, and reads the complete response.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::api::Sensitive;
use crate::names;
use crate::storage::net::cause::cause;
use crate::storage::net::http::{Egress, Http, Trust};

/// Largest response body. The largest expected one, a page of a listing, has a thousand names of at most 1 KiB.
const LARGEST_ANSWER: usize = 16 << 20;
/// Longest application ID that Azure accepts.
const AGENT_LENGTH: usize = 24;

/// Where requests go.
#[derive(Clone)]
pub struct Transport {
    http: Arc<Http>,
    trust: Trust,
    egress: Egress,
    agent: Arc<str>,
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute URL.
    pub url: String,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, Sensitive)>,
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
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), Sensitive::new(value)));
        self
    }

    /// The same with this body.
    #[must_use]
    pub fn content(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
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
    /// Uses the clients of `http` with these CA certificates and proxies. `version`: that of the operator.
    pub fn new(http: Arc<Http>, trust: Trust, egress: Egress, version: &str) -> Self {
        let mut agent = format!("{}/{version}", names::USER_AGENT);
        agent.retain(|c| c.is_ascii_graphic());
        agent.truncate(AGENT_LENGTH);
        Self {
            http,
            trust,
            egress,
            agent: agent.into(),
        }
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
            builder = builder.header(name, value);
        }
        if request.body.is_empty() && request.method != Method::GET && request.method != Method::HEAD {
            builder = builder.header("content-length", "0");
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        }
        let request = builder.build().map_err(|error| unsendable(cause(&error)))?;
        let unreachable = |error: reqwest::Error| NoResponse::Unreachable(cause(&error));
        let mut answer = client.execute(request).await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                let text = "the response is larger than 16 MiB: is a proxy in between another service?";
                return Err(NoResponse::Unreachable(text.to_owned()));
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
