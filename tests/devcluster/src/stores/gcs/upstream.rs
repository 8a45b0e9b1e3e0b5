//! fake-gcs-server behind the stand-in.

use super::super::Reply;
use super::super::asked::Asked;
use super::super::serve::{Body, Closed};
use super::super::wire::Target;
use super::path::encode;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;

/// Headers that do not go on: of one connection, of another host, and the caller's token.
const KEPT_BACK: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
];

pub(super) struct Upstream {
    pub target: Target,
}

/// A complete answer.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Forwarded {
    /// An answer of the stand-in itself.
    pub fn ours(reply: &Reply) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &reply.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
                headers.append(name, value);
            }
        }
        Self {
            status: reply.status,
            headers,
            body: reply.body.clone().into(),
        }
    }

    /// The body, if it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn response(self) -> Response<Body> {
        let mut response = Response::new(Either::Right(Full::new(self.body)));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = self.headers;
        response
    }
}

impl Upstream {
    /// Sends a request on under another path; URLs in the answer name the host that was asked.
    pub async fn forward(&self, asked: &Asked, path: &str) -> Result<Forwarded, Closed> {
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &asked.headers {
            if let (false, Ok(value)) = (KEPT_BACK.contains(name), value.to_str()) {
                headers.push((name.as_str(), value));
            }
        }
        let mut answer = self
            .send(asked.method.clone(), path, &headers, asked.body.clone())
            .await?;
        let rename = |text: &str| self.rename(asked, text);
        if let Some(location) = answer.headers.get_mut(header::LOCATION) {
            let renamed = location.to_str().ok().map(rename);
            if let Some(renamed) = renamed.and_then(|text| HeaderValue::from_str(&text).ok()) {
                *location = renamed;
            }
        }
        let kind = answer
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/json"))
            && asked.parameter("alt").as_deref() != Some("media")
        {
            answer.body = rename(&String::from_utf8_lossy(&answer.body)).into();
        }
        Ok(answer)
    }

    /// Text with the host that was asked in the place of our own.
    pub fn rename(&self, asked: &Asked, text: &str) -> String {
        let own = format!("http://{}", self.target.address);
        text.replace(&own, &format!("{}://{}", asked.scheme, asked.host))
    }

    /// Sends a request of ours.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Forwarded, Closed> {
        let mut request = Request::builder().method(method.clone()).uri(path);
        request = request.header(header::HOST, self.target.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|_| Closed)?;
        let (parts, body) = self.target.send(request).await.map_err(|_| Closed)?.into_parts();
        let mut headers = parts.headers;
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            headers.remove(name);
        }
        if method != Method::HEAD {
            headers.remove(header::CONTENT_LENGTH);
        }
        Ok(Forwarded {
            status: parts.status.as_u16(),
            headers,
            body: body.collect().await.map_err(|_| Closed)?.to_bytes(),
        })
    }
}

impl Upstream {
    /// Makes a bucket, unless it is there.
    pub async fn make_bucket(&self, name: &str) -> Result<(), Closed> {
        let body = serde_json::json!({ "name": name }).to_string();
        let headers = [("content-type", "application/json")];
        let answer = self.send(Method::POST, "/storage/v1/b?project=any", &headers, body.into());
        answer.await.map(drop)
    }

    /// Writes an object.
    pub async fn store(&self, bucket: &str, name: &str, kind: &str, content: Bytes) -> Result<Forwarded, Closed> {
        let path = format!(
            "/upload/storage/v1/b/{}/o?uploadType=media&name={}",
            encode(bucket),
            encode(name)
        );
        self.send(Method::POST, &path, &[("content-type", kind)], content).await
    }
}
