//! Sends one request with the operator's HTTP clients, and reads the complete response.

use std::sync::Arc;

use http::Method;

use crate::api::Sensitive;
use crate::storage::net::cause::cause;
use crate::storage::net::http::{Egress, Http, Trust};

/// Largest response body. The largest expected one is a page of a hundred resources.
const LARGEST_ANSWER: usize = 8 << 20;

/// CA certificates, proxies and user agent of the requests.
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
    /// Token for the header `Authorization`.
    pub token: Option<Sensitive>,
    /// Media type and content of the body.
    pub body: Option<(&'static str, Sensitive)>,
}

/// A complete response. It may hold secrets, so that it has no Debug output.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
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
        Self {
            http,
            trust,
            egress,
            agent: format!("openshift.io cluster-image-registry-operator/{version}").into(),
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
            .header("user-agent", &*self.agent)
            .header("accept", "application/json");
        if let Some(token) = &request.token {
            let mut value = http::HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| unsendable("the token has characters that no header may have".to_owned()))?;
            value.set_sensitive(true);
            builder = builder.header("authorization", value);
        }
        if let Some((media_type, body)) = &request.body {
            builder = builder
                .header("content-type", *media_type)
                .body(body.expose().to_owned());
        }
        let request = builder.build().map_err(|error| unsendable(cause(&error)))?;
        let unreachable = |error: reqwest::Error| NoResponse::Unreachable(cause(&error));
        let mut answer = client.execute(request).await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                let text = "the response is larger than 8 MiB: is a proxy in between another service?";
                return Err(NoResponse::Unreachable(text.to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, body })
    }
}
