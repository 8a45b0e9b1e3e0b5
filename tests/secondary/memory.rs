//! An API server in memory, with the parts of a cluster that the controllers need: workloads become ready, service-ca issues
//! certificates, a router admits routes. A seed decides how long each response and each watch event takes, so each seed gives
//! another interleaving, which can be repeated. The time is tokio's paused time, so waiting costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use json_patch::merge;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The longest time, in milliseconds, that a response or a watch event takes.
const DELAY: u64 = 40;

/// A random number generator (SplitMix64).
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    /// Shuffles with the Fisher-Yates algorithm.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, usize::try_from(self.below(last as u64 + 1)).unwrap());
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.below(DELAY))
    }
}

struct Watcher {
    collection: String,
    name: Option<String>,
    lines: mpsc::UnboundedSender<Bytes>,
}

struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    random: Random,
    watchers: Vec<Watcher>,
    /// Paths of changed objects, for the simulated controllers of the cluster.
    changes: mpsc::UnboundedSender<String>,
    writes: usize,
    /// Paths of APIs that are not served; without the platform's API there is no service CA, either.
    absent: BTreeSet<String>,
}

/// The API server; clones share its state.
#[derive(Clone)]
pub struct Server(Arc<Mutex<State>>);

/// The path of an object.
pub fn path(reference: &ObjectRef) -> String {
    let collection = collection(reference.kind, &reference.namespace);
    format!("{collection}/{}", reference.name)
}

fn collection(kind: Kind, namespace: &str) -> String {
    let resource = kind.resource();
    let prefix = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    if kind.namespaced() {
        format!("{prefix}/namespaces/{namespace}/{}", resource.plural)
    } else {
        format!("{prefix}/{}", resource.plural)
    }
}

impl Server {
    /// Starts the simulated controllers of the cluster; must be called within a tokio runtime.
    pub fn start(seed: u64) -> Self {
        let (changes, mut changed) = mpsc::unbounded_channel::<String>();
        let state = State {
            objects: BTreeMap::new(),
            version: 100,
            random: Random(seed),
            watchers: Vec::new(),
            changes,
            writes: 0,
            absent: BTreeSet::new(),
        };
        let server = Self(Arc::new(Mutex::new(state)));
        let cluster = server.clone();
        tokio::spawn(async move {
            while let Some(path) = changed.recv().await {
                let wait = cluster.state().random.delay();
                tokio::time::sleep(wait).await;
                cluster.react(&path);
            }
        });
        server
    }

    /// The API at this path and below is not served.
    pub fn leave_out(&self, path: &str) {
        self.state().absent.insert(path.to_owned());
    }

    /// The API at this path is served from now on.
    pub fn serve(&self, path: &str) {
        assert!(self.state().absent.remove(path), "{path}");
    }

    pub fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    pub fn get(&self, reference: &ObjectRef) -> Option<Value> {
        self.state().objects.get(&path(reference)).cloned()
    }

    /// Every object except the Lease.
    pub fn objects(&self) -> BTreeMap<String, Value> {
        let mut objects = self.state().objects.clone();
        objects.retain(|path, _| !path.contains("/leases/"));
        objects
    }

    /// Number of requests of the operator that could change an object.
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    /// Applies a merge patch to object and status as another client; creates the object if it is missing.
    pub fn merge(&self, reference: &ObjectRef, patch: &Value) {
        let mut state = self.state();
        let path = path(reference);
        let mut object = state.objects.get(&path).cloned().unwrap_or_else(|| {
            let mut metadata = json!({"name": reference.name});
            if reference.kind.namespaced() {
                metadata["namespace"] = json!(reference.namespace);
            }
            json!({"apiVersion": reference.kind.api_version(), "kind": reference.kind.kind(), "metadata": metadata})
        });
        merge(&mut object, patch);
        state.store(&path, object);
    }

    /// As [`Self::merge`], but only if the object exists.
    pub fn touch(&self, reference: &ObjectRef, patch: &Value) {
        if self.get(reference).is_some() {
            self.merge(reference, patch);
        }
    }

    pub fn delete(&self, reference: &ObjectRef) {
        self.state().remove(&path(reference));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What the simulated controllers of the cluster do after a change.
    fn react(&self, changed: &str) {
        let find = |kind, name: &str| {
            let reference = ObjectRef::new(kind, names::NAMESPACE, name);
            (path(&reference) == changed).then(|| (self.get(&reference), reference))
        };
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        if let Some((Some(set), reference)) = find(Kind::Deployment, names::REGISTRY) {
            let n = set["spec"]["replicas"].as_i64().unwrap_or(1);
            let complete = json!([{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
            self.touch(
                &reference,
                &json!({"status": {"observedGeneration": generation(&set), "replicas": n, "updatedReplicas": n,
                "readyReplicas": n, "availableReplicas": n, "conditions": complete}}),
            );
        }
        if let Some((Some(set), reference)) = find(Kind::DaemonSet, names::NODE_CA) {
            self.touch(&reference, &json!({"status": {"observedGeneration": generation(&set), "desiredNumberScheduled": 3,
                "currentNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3, "numberReady": 3, "numberMisscheduled": 0}}));
        }
        if !self.state().absent.is_empty() {
            // No service CA. Otherwise the API server assigns no address: nothing of the platform depends on it.
            if let Some((Some(_), reference)) = find(Kind::Service, names::REGISTRY) {
                self.touch(
                    &reference,
                    &json!({"spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]}}),
                );
            }
        } else if let Some((service, _)) = find(Kind::Service, names::REGISTRY) {
            let secret = ObjectRef::new(Kind::Secret, names::NAMESPACE, names::SERVING_CERT_SECRET);
            self.delete(&secret);
            if let Some(service) = service {
                let owner = json!([{"apiVersion": "v1", "kind": "Service", "name": names::REGISTRY, "uid": service["metadata"]["uid"]}]);
                self.merge(
                    &secret,
                    &json!({"metadata": {"ownerReferences": owner}, "data": {"tls.crt": "YQ==", "tls.key": "Yg=="}}),
                );
            }
        }
        let is_platform = self.state().absent.is_empty();
        if let Some((Some(_), reference)) = find(Kind::ConfigMap, names::SERVICE_CA_MAP).filter(|_| is_platform) {
            self.touch(&reference, &json!({"data": {names::SERVICE_CA_KEY: "SERVICE CA\n"}}));
        }
        let routes = collection(Kind::Route, names::NAMESPACE);
        if let Some(name) = changed.strip_prefix(&routes) {
            let reference = ObjectRef::new(Kind::Route, names::NAMESPACE, name.trim_start_matches('/'));
            if let Some(route) = self.get(&reference) {
                let chosen = format!("{}-{}.apps.test", reference.name, names::NAMESPACE);
                let host = route["spec"]["host"].as_str().unwrap_or(&chosen);
                let admitted = json!([{"host": host, "routerName": "default", "conditions": [{"type": "Admitted", "status": "True"}]}]);
                self.touch(
                    &reference,
                    &json!({"spec": {"host": host}, "status": {"ingress": admitted}}),
                );
            }
        }
    }

    async fn respond(&self, request: Request<Body>) -> Result<Reply, BoxError> {
        let (before, after) = {
            let mut state = self.state();
            (state.random.delay(), state.random.delay())
        };
        tokio::time::sleep(before).await;
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let is_absent = self.state().absent.iter().any(|absent| path.starts_with(absent));
        let (code, object) = if path.contains("/imagestreams") || is_absent {
            refusal(404, "NotFound")
        } else if path.starts_with("/apis/") && path.split('/').count() < 5 {
            (200, json!({"kind": "APIResourceList", "resources": []})) // discovery
        } else if path.ends_with("/events") {
            (201, body)
        } else if query.contains("watch=true") {
            return Ok(self.watch(path, query));
        } else {
            let mut state = self.state();
            let counts = parts.method != Method::GET && !path.contains("/leases");
            state.writes += usize::from(counts);
            let json_patch = parts
                .headers
                .get("content-type")
                .is_some_and(|t| t == "application/json-patch+json");
            state.answer(&parts.method, path, body, json_patch)
        };
        tokio::time::sleep(after).await;
        let body = Full::from(object.to_string())
            .map_err(|never| match never {})
            .boxed_unsync();
        Ok(Response::builder().status(code).body(body)?)
    }

    /// A watch that starts with all objects, or with those newer than a resource version.
    fn watch(&self, path: &str, query: &str) -> Reply {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let name = parameter("fieldSelector")
            .and_then(|s| s.strip_prefix("metadata.name%3D"))
            .map(str::to_owned);
        let initial = parameter("sendInitialEvents") == Some("true");
        let since: u64 = parameter("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let (lines, mut queue) = mpsc::unbounded_channel::<Bytes>();
        let mut state = self.state();
        let watcher = Watcher {
            collection: path.to_owned(),
            name,
            lines,
        };
        for (path, object) in &state.objects {
            let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            if watcher.covers(path) && (initial || version > since) {
                watcher.tell("ADDED", object);
            }
        }
        if initial {
            let metadata = json!({"resourceVersion": state.version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}});
            watcher.tell(
                "BOOKMARK",
                &json!({"apiVersion": "v1", "kind": "Any", "metadata": metadata}),
            );
        }
        state.watchers.push(watcher);
        let mut random = Random(state.random.below(u64::MAX));
        let (delayed, mut lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(line) = queue.recv().await {
                tokio::time::sleep(random.delay()).await;
                if delayed.send(line).is_err() {
                    return;
                }
            }
        });
        let lines = stream::poll_fn(move |context| {
            lines
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line))))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl Watcher {
    fn covers(&self, path: &str) -> bool {
        let Some((collection, name)) = path.rsplit_once('/') else {
            return false;
        };
        collection == self.collection && self.name.as_ref().is_none_or(|wanted| wanted == name)
    }

    fn tell(&self, kind: &str, object: &Value) {
        let _ = self
            .lines
            .send(Bytes::from(format!("{}\n", json!({"type": kind, "object": object}))));
    }
}

impl State {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        let old = self.objects.get(path);
        if old.is_some_and(|old| *old == object) {
            return object; // nothing changed: no new version
        }
        self.version += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(self.version.to_string());
        if old.is_none() {
            metadata["uid"] = json!(format!("uid-{}", self.version));
            metadata["creationTimestamp"] = json!(jiff_now());
        }
        let generation = old.and_then(|old| old["metadata"]["generation"].as_i64()).unwrap_or(0);
        if object.get("spec").is_some() {
            let same = old.is_some_and(|old| old["spec"] == object["spec"]);
            object["metadata"]["generation"] = json!(if same { generation } else { generation + 1 });
        }
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        self.objects.insert(path.to_owned(), object.clone());
        self.tell(kind, path, &object);
        object
    }

    fn remove(&mut self, path: &str) {
        if let Some(mut object) = self.objects.remove(path) {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            self.tell("DELETED", path, &object);
        }
    }

    fn tell(&mut self, kind: &str, path: &str, object: &Value) {
        self.watchers
            .iter()
            .filter(|w| w.covers(path))
            .for_each(|w| w.tell(kind, object));
        let _ = self.changes.send(path.to_owned());
    }

    fn answer(&mut self, method: &Method, path: &str, body: Value, json_patch: bool) -> (u16, Value) {
        if *method == Method::POST {
            let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
            if self.objects.contains_key(&path) {
                return refusal(409, "AlreadyExists");
            }
            let mut object = body;
            object.as_object_mut().unwrap().remove("status");
            return (201, self.store(&path, object));
        }
        let status_only = path.ends_with("/status");
        let path = path.strip_suffix("/status").unwrap_or(path);
        let Some(old) = self.objects.get(path).cloned() else {
            return refusal(404, "NotFound");
        };
        let mut object = old.clone();
        match *method {
            Method::GET => return (200, old),
            Method::DELETE => {
                let uid = body.pointer("/preconditions/uid");
                if uid.is_some_and(|uid| !uid.is_null() && *uid != old["metadata"]["uid"]) {
                    return refusal(409, "Conflict");
                }
                self.remove(path);
                return (
                    200,
                    json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success", "code": 200}),
                );
            }
            Method::PUT => object = body.clone(),
            _ if json_patch => {
                if !patched(&mut object, &body) {
                    return refusal(422, "Invalid");
                }
            }
            _ => merge(&mut object, &body),
        }
        if !json_patch
            && body
                .pointer("/metadata/resourceVersion")
                .is_some_and(|v| *v != old["metadata"]["resourceVersion"])
        {
            return refusal(409, "Conflict");
        }
        // Status and the rest are written through different paths.
        if status_only {
            let status = object["status"].take();
            object = old;
            object["status"] = status;
        } else if let Some(status) = old.get("status") {
            object["status"] = status.clone();
        }
        (200, self.store(path, object))
    }
}

/// Applies a JSON patch (RFC 6902), as far as the operator uses it. Returns false if a test operation fails.
fn patched(object: &mut Value, steps: &Value) -> bool {
    for step in steps.as_array().unwrap() {
        let pointer = step["path"].as_str().unwrap();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        let member = member.replace("~1", "/").replace("~0", "~");
        match step["op"].as_str().unwrap() {
            "test" if object.pointer(pointer) != Some(&step["value"]) => return false,
            "test" => {}
            "add" | "replace" => object.pointer_mut(parent).unwrap()[&member] = step["value"].clone(),
            "remove" => match object
                .pointer_mut(parent)
                .and_then(Value::as_object_mut)
                .and_then(|o| o.remove(&member))
            {
                Some(_) => {}
                None => return false,
            },
            other => panic!("{other}"),
        }
    }
    true
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": reason,
        "reason": reason, "code": code});
    (code, status)
}

fn jiff_now() -> String {
    image_registry_operator::status::conditions::to_seconds(jiff::Timestamp::now())
}

impl tower::Service<Request<Body>> for Server {
    type Response = Reply;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move { server.respond(request).await })
    }
}
