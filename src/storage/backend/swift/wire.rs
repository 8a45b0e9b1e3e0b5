//! Sends requests to Keystone and Swift with the operator's HTTP clients.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};

use crate::api::Sensitive;
use crate::storage::model::error::StorageError;
use crate::storage::net::cause::cause;
use crate::storage::net::clock::Clock;
use crate::storage::net::http::{Egress, Http, Trust};
use crate::storage::net::network::Network;

/// Largest response body. The largest expected one, a page of a listing, has a thousand names of at most 1 KiB.
const LARGEST_ANSWER: usize = 16 << 20;

/// A connection: CA certificates and proxy.
#[derive(Clone)]
pub struct Wire {
    http: Arc<Http>,
    trust: Trust,
    egress: Egress,
    user_agent: HeaderValue,
    /// Time and sleep.
    pub clock: Clock,
}

/// A response, read completely.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

/// Why a request had no usable response.
#[derive(Debug)]
pub struct Unanswered {
    /// The cause.
    pub message: String,
    /// The time for the request ran out.
    pub late: bool,
}

impl Wire {
    /// Uses the operator's clients with these CA certificates and proxies.
    ///
    /// # Errors
    /// The CA bundle or the proxy is invalid.
    pub fn new(network: &Network, trust: Trust, egress: Egress) -> Result<Self, StorageError> {
        network.http.client(&trust, &egress)?;
        let agent = network.settings.user_agent();
        Ok(Self {
            http: network.http.clone(),
            trust,
            egress,
            user_agent: HeaderValue::from_str(&agent)
                .unwrap_or(HeaderValue::from_static("cluster-image-registry-operator")),
            clock: network.clock.clone(),
        })
    }

    /// Passwords of the proxies, for their redaction in messages.
    pub fn secrets(&self) -> Vec<Sensitive> {
        self.http.secrets(&self.egress)
    }

    /// Digest of CA certificates and proxies, for caches.
    pub fn path(&self) -> crate::storage::model::fingerprint::Fingerprint {
        Http::path(&self.trust, &self.egress)
    }

    /// Sends a request and reads the complete response.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        content: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Answer, Unanswered> {
        let failed = |message: String| Unanswered { message, late: false };
        let client = self
            .http
            .client(&self.trust, &self.egress)
            .map_err(|error| failed(error.message))?;
        let reads = matches!(method, Method::GET | Method::HEAD);
        let mut request = client.request(method, url).headers(headers);
        request = request.header(header::USER_AGENT, &self.user_agent);
        let empty = content.as_ref().is_none_or(|(_, body)| body.is_empty());
        if empty && !reads {
            // Swift refuses a PUT without a length, and the HTTP library sends none for an empty body.
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        request = match content {
            Some((kind, body)) => request.header(header::CONTENT_TYPE, kind).body(body),
            None => request,
        };
        let lost = |error: &reqwest::Error| Unanswered {
            message: cause(error),
            late: error.is_timeout() && !error.is_connect(),
        };
        let mut answer = request.send().await.map_err(|error| lost(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| lost(&error))? {
            if body.len() + chunk.len() > LARGEST_ANSWER {
                return Err(failed("the response is larger than 16 MiB".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body,
        })
    }
}
