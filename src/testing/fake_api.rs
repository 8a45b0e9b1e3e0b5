//! An in-memory API server for unit tests under paused time: JSON objects by path, resource versions, merge patches and JSON patches
//! with preconditions, watches, and faults on demand. Integration tests run against a real API server.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// A fault of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Only watches get a response.
    Hang,
    /// Calls are executed, but get no response.
    HangAfter,
    /// Calls are executed, and get a response ten seconds later.
    Slow,
    /// Every call fails with 500.
    Fail,
    /// Every watch is forbidden.
    NoWatch,
    /// Every watch ends after its initial list, and none can be resumed.
    Gone,
    /// Writes fail with this code if their path contains this text.
    Refuse(u16, &'static str),
    /// Writes fail with this code if their path ends with this text.
    RefuseEnd(u16, &'static str),
    /// Reads fail with this code if their path begins with this text.
    RefuseReads(u16, &'static str),
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    fault: Fault,
    /// How long each request takes.
    latency: Duration,
    /// Method and path of each request, watches as `WATCH`.
    log: Vec<String>,
    watchers: Vec<mpsc::UnboundedSender<Bytes>>,
}

/// Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Lets each request take this time, so that a loop of requests takes time, too.
    pub(crate) fn latency(&self, latency: Duration) {
        self.0.lock().unwrap().latency = latency;
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    /// All objects below a path.
    pub(crate) fn list(&self, prefix: &str) -> Vec<Value> {
        let state = self.0.lock().unwrap();
        state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Stores an object as another client would, and sends watch events.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.0.lock().unwrap().store(path, object);
    }

    /// Goes back to this resourceVersion, as etcd does that is restored from a backup.
    pub(crate) fn go_back_to(&self, version: u64) {
        self.0.lock().unwrap().version = version;
    }

    pub(crate) fn delete(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().log)
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if self.objects.contains_key(path) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        self.objects.insert(path.to_owned(), object.clone());
        self.send_event(kind, &object);
        object
    }

    fn remove(&mut self, path: &str) -> Option<Value> {
        let object = self.objects.remove(path)?;
        self.send_event("DELETED", &object);
        Some(object)
    }

    fn send_event(&mut self, kind: &str, object: &Value) {
        let line = Bytes::from(format!("{}\n", json!({ "type": kind, "object": object })));
        self.watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
    }

    fn watch(&mut self) -> Reply {
        let (sender, mut lines) = mpsc::unbounded_channel();
        self.watchers.push(sender);
        let lines = stream::poll_fn(move |context| lines.poll_recv(context));
        Response::new(StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync())
    }

    fn respond(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        match *method {
            Method::GET => match self.objects.get(path) {
                Some(object) => (200, object.clone()),
                None => status(404, "NotFound"),
            },
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return status(409, "AlreadyExists");
                }
                let mut object = body.clone();
                object["metadata"]["uid"] = json!("uid-1");
                (201, self.store(&path, object))
            }
            Method::PATCH => {
                let path = path.strip_suffix("/status").unwrap_or(path);
                let Some(mut object) = self.objects.get(path).cloned() else {
                    return status(404, "NotFound");
                };
                if body.is_array() {
                    let steps: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
                    if json_patch::patch(&mut object, &steps).is_err() {
                        return status(422, "Invalid");
                    }
                } else if object["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"] {
                    merge(&mut object, body);
                } else {
                    return status(409, "Conflict");
                }
                (200, self.store(path, object))
            }
            Method::PUT => match self.objects.get(path) {
                None => status(404, "NotFound"),
                Some(object) if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
                    status(409, "Conflict")
                }
                Some(_) => (200, self.store(path, body.clone())),
            },
            Method::DELETE => match self.remove(path) {
                Some(object) => (200, object),
                None => status(404, "NotFound"),
            },
            _ => status(405, "MethodNotAllowed"),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        target.clone_from(patch);
        return;
    };
    for (name, value) in fields {
        merge(&mut target[name], value);
    }
}

/// The event of a watch after its initial list.
fn end_of_list() -> Value {
    let metadata = json!({ "resourceVersion": "1", "annotations": { "k8s.io/initial-events-end": "true" } });
    json!({ "type": "BOOKMARK", "object": { "apiVersion": "v1", "kind": "Bookmark", "metadata": metadata } })
}

fn refused(code: u16) -> (u16, Value) {
    // The client tells a missing object by the reason.
    let reason = if code == 404 {
        "NotFound"
    } else {
        "refused at the wish of a test"
    };
    status(code, reason)
}

fn status(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code });
    (code, status)
}

impl Service<Request<Body>> for FakeApi {
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let state = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = parts.uri.path();
            let watches = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
            let (fault, latency) = {
                let mut state = state.lock().unwrap();
                let verb = if watches { "WATCH" } else { parts.method.as_str() };
                state.log.push(format!("{verb} {path}"));
                (state.fault, state.latency)
            };
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            let lists = parts
                .uri
                .query()
                .is_some_and(|query| query.contains("sendInitialEvents=true"));
            if watches && !matches!(fault, Fault::NoWatch | Fault::Gone) {
                return Ok(state.lock().unwrap().watch());
            }
            let (code, object) = match fault {
                Fault::Hang => std::future::pending().await,
                Fault::Fail => status(500, "InternalError"),
                Fault::Refuse(code, part) if parts.method != Method::GET && path.contains(part) => refused(code),
                Fault::RefuseEnd(code, end) if parts.method != Method::GET && path.ends_with(end) => refused(code),
                Fault::RefuseReads(code, part) if parts.method == Method::GET && path.starts_with(part) => {
                    refused(code)
                }
                Fault::Gone if lists => (200, end_of_list()),
                Fault::Gone if watches => status(410, "Expired"),
                _ if watches => status(403, "Forbidden"),
                _ => state.lock().unwrap().respond(&parts.method, path, &body),
            };
            match fault {
                Fault::HangAfter => std::future::pending().await,
                Fault::Slow => tokio::time::sleep(Duration::from_secs(10)).await,
                _ => {}
            }
            let body = Full::from(object.to_string())
                .map_err(|never| match never {})
                .boxed_unsync();
            Ok(Response::builder().status(code).body(body)?)
        })
    }
}
