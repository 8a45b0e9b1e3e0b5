//! The SDK's requests over our own HTTP clients, and what we change in them.

use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::config::{HttpClient, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use super::error::Unanswered;
use crate::storage::http::{Http, Trust, Via, cause};

/// No answer of S3 or STS that we ask for comes near this: a page of a listing has a thousand keys of at most a KiB.
const LARGEST_ANSWER: usize = 16 << 20;

/// Sends the SDK's requests.
#[derive(Clone)]
pub struct Transport(Arc<Wire>);

struct Wire {
    http: Arc<Http>,
    trust: Trust,
    via: Via,
}

impl Transport {
    /// Over `http`, trusting and going out as said.
    pub fn new(http: Arc<Http>, trust: Trust, via: Via) -> Self {
        Self(Arc::new(Wire { http, trust, via }))
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
    /// The answer is read here, to its end, so that whatever goes wrong with a connection shows in one place.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let client = self
            .http
            .client(&self.trust, &self.via)
            .map_err(|fault| ConnectorError::user(fault.into()))?;
        let request = request
            .try_into_http1x()
            .map_err(|error| ConnectorError::user(error.into()))?;
        let (parts, body) = request.into_parts();
        let Some(bytes) = body.bytes() else {
            return Err(ConnectorError::user(
                "the request is a stream, which is never sent".into(),
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
                let text = "the answer is larger than any of S3".to_owned();
                return Err(ConnectorError::io(Unanswered(text).into()));
            }
            content.extend_from_slice(&chunk);
        }
        let garbled = |_: BoxError| ConnectorError::io(Unanswered("the answer's head is no HTTP".to_owned()).into());
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

/// Adds the operator to the SDK's user agent, and takes away what the SDK has from the environment.
#[derive(Clone, Debug)]
pub struct Product(Arc<str>);

impl Product {
    /// Of this version of the operator.
    pub fn new(version: &str) -> Self {
        Self(format!("openshift.io cluster-image-registry-operator/{version}").into())
    }
}

/// Without `AWS_EXECUTION_ENV`.
fn of_sdk(agent: &str) -> String {
    let words = agent.split(' ').filter(|word| !word.starts_with("exec-env/"));
    words.collect::<Vec<_>>().join(" ")
}

impl Intercept for Product {
    fn name(&self) -> &'static str {
        "Product"
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

/// What one request carries beyond what the SDK writes. To be attached to the request itself, not to the client: the
/// checksums that it replaces are written by the operation's own interceptors, which run after the client's.
#[derive(Clone, Debug, Default)]
pub struct Touch {
    /// `Content-MD5` in place of the newer checksums, which older stores refuse.
    pub md5: bool,
    /// Account in `x-amz-expected-bucket-owner`.
    pub owner: Option<String>,
    /// Name of the answer's outermost element, where stores name it differently: the registry's SDK does not look at it,
    /// this one does.
    pub root: Option<&'static str>,
}

impl Intercept for Touch {
    fn name(&self) -> &'static str {
        "Touch"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
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
        Ok(())
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
        if let (Some(root), Some(text), true) = (self.root, text, response.status().is_success())
            && let Some(renamed) = with_root(text, root)
        {
            *response.body_mut() = SdkBody::from(renamed);
        }
        Ok(())
    }
}

/// The document with this name for its outermost element; `None` where it has it, and where it is an error or no XML.
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
