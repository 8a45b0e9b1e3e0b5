//! Which service a request is for.

use super::arm::{self, Decision};
use super::azurite::{Azurite, Slot, without_signature};
use super::blob::{self, Admitted, Refused, Subject};
use super::environment::{Service, service};
use super::state::{AzureCall, Needed, State};
use super::{containers, entra, metadata, operation};
use crate::stores::asked::Asked;
use crate::stores::serve::{Answered, Body, Closed, Handler, Peer};
use crate::stores::wire::Answer;
use crate::stores::{Reply, lock};
use futures::future::{BoxFuture, FutureExt as _};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Headers that do not go on to Azurite.
const KEPT_BACK: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::AUTHORIZATION,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::EXPECT,
    HeaderName::from_static("x-ms-copy-source"),
    HeaderName::from_static("x-ms-copy-source-authorization"),
];

pub(super) struct Shared {
    pub state: Mutex<State>,
    pub azurite: &'static Azurite,
}

impl Handler for Shared {
    fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> BoxFuture<'static, Answered> {
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
            let asked = Asked::new(&Request::from_parts(parts, ()), "https", body);
            let operation = operation::name(&asked).unwrap_or_else(|| "Unknown".to_owned());
            let mut needed = Vec::new();
            let answer = self.route(&asked, &operation, &mut needed).await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            let mut state = lock(&self.state);
            let client_id = state.bearer(&asked).ok().map(|token| token.client_id);
            let query = without_signature(&asked.query);
            state.calls.push(AzureCall {
                operation,
                request: format!("{} https://{}{}?{query}", asked.method, asked.host, asked.path),
                client_id,
                needed,
                status,
            });
            answer
        }
        .boxed()
    }
}

impl Shared {
    /// Does something with the state, and tells what it needed.
    fn locked<T>(&self, needed: &mut Vec<Needed>, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = lock(&self.state);
        state.settle();
        state.needed.clear();
        let done = act(&mut state);
        needed.append(&mut state.needed);
        done
    }

    async fn route(&self, asked: &Asked, operation: &str, needed: &mut Vec<Needed>) -> Answered {
        let reply = |reply: Reply| Ok(reply.response(&asked.method));
        let elsewhere = Reply::new(404, "devcluster: no service of this cloud has that host");
        let Some((service, cloud)) = service(asked) else {
            return reply(elsewhere);
        };
        if cloud.is_some_and(|cloud| cloud != lock(&self.state).cloud) {
            return reply(elsewhere);
        }
        match service {
            Service::Entra => reply(self.locked(needed, |state| entra::answer(state, asked))),
            Service::Metadata => reply(self.locked(needed, |state| metadata::answer(state, asked))),
            Service::ResourceManager => {
                let decided = self.locked(needed, |state| arm::decide(state, asked, operation));
                let answer = match decided {
                    Ok(Decision::Done(answer)) | Err(answer) => answer,
                    Ok(Decision::Containers(work)) => {
                        containers::perform(self.azurite, &work).await.map_err(|_| Closed)?
                    }
                };
                let id = super::state::uuid();
                reply(
                    answer
                        .header("x-ms-request-id", &id)
                        .header("x-ms-correlation-request-id", &id),
                )
            }
            Service::Blob(account) => self.blob(asked, &account, operation, needed).await,
        }
    }

    async fn blob(&self, asked: &Asked, account: &str, operation: &str, needed: &mut Vec<Needed>) -> Answered {
        let subject = Subject::new(asked, account, operation);
        let admitted = self.locked(needed, |state| blob::admit(state, &subject));
        let Admitted { slot, answer } = match admitted {
            Ok(admitted) => admitted,
            Err(Refused::Reply(refused)) => return Ok(refused.response(&asked.method)),
            Err(Refused::Closed) => return Err(Closed),
        };
        if let Some(answer) = answer {
            return Ok(answer.response(&asked.method));
        }
        if let Some(refused) = self.other_type(asked, operation, &slot).await? {
            return Ok(refused.response(&asked.method));
        }
        let answer = self.forward(asked, &slot).await?;
        if operation == "Container_Delete" && answer.status == 202 {
            let mut state = lock(&self.state);
            let gone = Instant::now() + state.container_deletion;
            state.vanishing.insert((account.to_owned(), subject.container), gone);
        }
        Ok(response(asked, answer, &slot))
    }

    /// The answer to a write that would change the type of a blob, which Azurite permits.
    ///
    /// Source: https://learn.microsoft.com/rest/api/storageservices/copy-blob, "If the destination blob already exists, it must be
    /// of the same blob type as the source blob."
    async fn other_type(&self, asked: &Asked, operation: &str, slot: &Slot) -> Result<Option<Reply>, Closed> {
        let type_of = async |path: &str| -> Result<Option<String>, Closed> {
            let head = self.azurite.call(slot, Method::HEAD, (path, ""), &[], b"").await;
            let answer = head.map_err(|_| Closed)?;
            let found = answer.headers.get("x-ms-blob-type");
            Ok(found.and_then(|value| value.to_str().ok()).map(ToOwned::to_owned))
        };
        let wanted = match operation {
            "BlockBlob_Upload" | "AppendBlob_Create" | "PageBlob_Create" => {
                asked.header("x-ms-blob-type").map(ToOwned::to_owned)
            }
            "BlockBlob_CommitBlockList" => Some("BlockBlob".to_owned()),
            "Blob_StartCopyFromURL" | "Blob_CopyFromURL" => {
                let url = asked.header("x-ms-copy-source").unwrap_or_default();
                let (url, _) = url.split_once('?').unwrap_or((url, ""));
                let path = url.splitn(4, '/').nth(3).unwrap_or_default();
                type_of(&format!("/{path}")).await?
            }
            _ => return Ok(None),
        };
        let found = type_of(&asked.path).await?;
        let differs = wanted.zip(found).is_some_and(|(wanted, found)| wanted != found);
        let message = "The blob type is invalid for this operation.";
        Ok(differs.then(|| Reply::blob_error(409, "InvalidBlobType", message)))
    }

    /// Sends a request on to Azurite.
    async fn forward(&self, asked: &Asked, slot: &Slot) -> Result<Answer, Closed> {
        let source = asked.header("x-ms-copy-source").map(|url| {
            let (url, _) = url.split_once('?').unwrap_or((url, ""));
            let path = url.splitn(4, '/').nth(3).unwrap_or_default();
            format!("http://{}/{path}", slot.host())
        });
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &asked.headers {
            if let (false, Ok(value)) = (KEPT_BACK.contains(name), value.to_str()) {
                headers.push((name.as_str(), value));
            }
        }
        if let Some(source) = &source {
            headers.push(("x-ms-copy-source", source));
        }
        let query = without_signature(&asked.query);
        let sent = self
            .azurite
            .call(slot, asked.method.clone(), (&asked.path, &query), &headers, &asked.body);
        sent.await.map_err(|_| Closed)
    }
}

/// Azurite's answer, under the names that the client knows.
fn response(asked: &Asked, answer: Answer, slot: &Slot) -> Response<Body> {
    let origin = format!("https://{}", asked.host);
    let own = format!("http://{}", slot.host());
    let rename = |text: &str| {
        text.replace(&slot.endpoint(), &format!("{origin}/"))
            .replace(&own, &origin)
    };
    let mut headers = answer.headers;
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        HeaderName::from_static("keep-alive"),
    ] {
        headers.remove(name);
    }
    headers.insert(
        header::SERVER,
        HeaderValue::from_static("Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"),
    );
    for value in headers.values_mut() {
        let renamed = value.to_str().ok().filter(|text| text.contains(&own)).map(rename);
        if let Some(renamed) = renamed.and_then(|text| HeaderValue::from_str(&text).ok()) {
            *value = renamed;
        }
    }
    let is_xml = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/xml");
    let listed = is_xml && asked.parameter("comp").is_some();
    let body = if asked.method == Method::HEAD {
        hyper::body::Bytes::new()
    } else {
        headers.remove(header::CONTENT_LENGTH);
        if listed {
            rename(&String::from_utf8_lossy(&answer.body)).into()
        } else {
            answer.body
        }
    };
    let mut response = Response::new(Either::Right(Full::new(body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}
