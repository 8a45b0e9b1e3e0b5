//! All writes to the cluster, and the reads after a conflict. Each call checks leadership first.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{Request, Status};
use serde_json::Value;
use tracing::{debug, info, warn};

use super::changed_conditions::{self, Line};
use super::changes::Changes;
use super::patch;
use crate::api::{Kind, ObjectRef, Sensitive};
use crate::config::error_class::ErrorClass;
use crate::config::rejection::Reason;

/// Timeout of one call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Requested lifetime of a token.
const TOKEN_SECONDS: u32 = 600;

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Leadership is lost or uncertain. Nothing was sent.
    #[error("this process does not lead any more")]
    NotLeading,
    /// The object changed since it was read, or exists already.
    #[error("the object was changed at the same time: {0}")]
    Conflict(String),
    /// The object does not exist.
    #[error("the object does not exist")]
    NotFound,
    /// RBAC denies the call.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// The API server refused the object.
    #[error("the API server refused it: {0}")]
    Refused(Refusal),
    /// The API server did not answer, or answered with a temporary error.
    #[error("{0}")]
    Transient(String),
}

impl WriteError {
    /// What helps. A content that the API server refuses waits for an edit.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Refused(Refusal { content: true, .. }) => ErrorClass::Invalid(Reason::InvalidConfig),
            Self::Refused(_) | Self::Forbidden(_) => ErrorClass::ActionRequired,
            Self::NotLeading | Self::Conflict(_) | Self::NotFound | Self::Transient(_) => ErrorClass::Transient,
        }
    }
}

/// The API server's answer to an object that it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The message of the API server.
    pub text: String,
    /// The fields of the object that it refuses, such as `spec.template.spec.tolerations[0].operator`. Empty where an
    /// admission policy or webhook refuses, and where the object does not decode.
    pub fields: Vec<String>,
    /// The content of the object is refused: another content may be accepted, the same content is refused again.
    pub content: bool,
}

impl Refusal {
    /// A refusal that names no field.
    fn other(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn of(status: Status) -> Self {
        let causes = status.details.map(|details| details.causes).unwrap_or_default();
        let mut fields: Vec<_> = causes.into_iter().map(|cause| cause.field).collect();
        fields.retain(|field| !field.is_empty());
        fields.dedup();
        Self {
            text: status.message,
            fields,
            content: CONTENT_REFUSED.contains(&status.code),
        }
    }
}

/// Codes of the API server for a content that it does not accept: malformed, too large, invalid.
const CONTENT_REFUSED: [u16; 3] = [400, 413, 422];

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() || status.code == 409 => {
                Self::Conflict(status.message)
            }
            kube::Error::Api(status) if status.is_not_found() || status.code == 404 => Self::NotFound,
            kube::Error::Api(status) if status.is_forbidden() || status.code == 403 => Self::Forbidden(status.message),
            kube::Error::Api(status) if (400..500).contains(&status.code) && status.code != 429 => {
                Self::Refused(Refusal::of(*status))
            }
            kube::Error::Api(status) => Self::Transient(status.message),
            other => Self::Transient(other.to_string()),
        }
    }
}

/// The cached objects of the cluster. The writer stores every object that a write or a live read returned, so that the next
/// pass sees it.
pub(crate) trait ObjectCache: Send + Sync {
    /// The latest known version of an object.
    fn latest(&self, reference: &ObjectRef) -> Option<Arc<Value>>;
    /// Stores the object of an API server's response.
    fn store(&self, reference: ObjectRef, object: Value);
    /// Removes an object that does not exist any more.
    fn remove(&self, reference: &ObjectRef);
}

/// Sends writes to the API server.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leading: Arc<dyn Fn() -> bool + Send + Sync>,
    cache: Arc<dyn ObjectCache>,
}

impl Writer {
    /// A writer that sends only while `leading` returns true.
    pub fn new(client: Client, leading: Arc<dyn Fn() -> bool + Send + Sync>, cache: Arc<dyn ObjectCache>) -> Self {
        Self { client, leading, cache }
    }

    /// The latest known version of an object that was `seen` when the pass began, because an outdated version leads to a
    /// conflict. If the object was created again since then, returns `seen`: the next pass handles the new object.
    pub fn latest(&self, reference: &ObjectRef, seen: &Value) -> Value {
        let uid = |object: &Value| object.pointer("/metadata/uid").cloned();
        let latest = self.cache.latest(reference).filter(|latest| uid(latest) == uid(seen));
        latest.map_or_else(|| seen.clone(), |latest| latest.as_ref().clone())
    }

    /// Creates an object. If it exists already, returns [`WriteError::Conflict`].
    pub async fn create(&self, reference: &ObjectRef, body: &Value) -> Result<Value, WriteError> {
        let object: DynamicObject = decode(body)?;
        let api = self.api(reference);
        let written = if reference.kind == Kind::Config {
            self.create_strictly(&api, body).await?
        } else {
            self.send(api.create(&PostParams::default(), &object)).await?
        };
        info!("object created: {reference}");
        self.store(reference, written)
    }

    /// The API server refuses fields that it does not know, instead of dropping them. A Config has fields that the installation sets: with a
    /// misspelt bucket dropped, the operator would make another bucket.
    async fn create_strictly(&self, api: &Api<DynamicObject>, body: &Value) -> Result<DynamicObject, WriteError> {
        let request = http::Request::post(format!("{}?fieldValidation=Strict", api.resource_url()))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|error| WriteError::Refused(Refusal::other(error.to_string())))?;
        self.send(self.client.request(request)).await
    }

    /// Updates an object from `seen` to `wanted`. Returns [`WriteError::Conflict`] if its spec has changed since, or, for
    /// kinds without a spec, if anything has changed.
    pub async fn update(&self, reference: &ObjectRef, seen: &Value, wanted: &Value) -> Result<Value, WriteError> {
        let api = self.api(reference);
        if let Some(steps) = patch::update(seen, wanted) {
            let request =
                Request::new(api.resource_url()).patch(&reference.name, &PatchParams::default(), &json_patch(&steps)?);
            let written = self.send_patch(reference, &steps, request).await?;
            log_change(reference, &Changes::of_object(seen, &written));
            return Ok(written);
        }
        let object: DynamicObject = decode(wanted)?;
        let parameters = PostParams::default();
        let written = self.send(api.replace(&reference.name, &parameters, &object)).await?;
        let written = self.store(reference, written)?;
        log_change(reference, &Changes::of_object(seen, &written));
        Ok(written)
    }

    /// Merge-patches an object; with `resource_version`, only if the object still has that version.
    pub async fn merge(
        &self,
        reference: &ObjectRef,
        patch: Value,
        resource_version: Option<&str>,
    ) -> Result<Value, WriteError> {
        let patch = Patch::Merge(with_precondition(patch, resource_version));
        let api = self.api(reference);
        let parameters = PatchParams::default();
        let seen = self.cache.latest(reference).unwrap_or_default();
        let written = self.send(api.patch(&reference.name, &parameters, &patch)).await?;
        let written = self.store(reference, written)?;
        log_change(reference, &Changes::of_object(&seen, &written));
        Ok(written)
    }

    /// Applies a merge patch (`{"status": {...}}`) to an object's status. Returns [`WriteError::Conflict`] if one of the
    /// patched fields differs from `seen`.
    pub async fn merge_status(&self, reference: &ObjectRef, seen: &Value, merge: &Value) -> Result<Value, WriteError> {
        let api = self.api(reference);
        let steps = patch::status(seen, merge);
        let (parameters, patch) = (PatchParams::default(), json_patch(&steps)?);
        let request = Request::new(api.resource_url());
        let request = request.patch_subresource("status", &reference.name, &parameters, &patch);
        let written = self.send_patch(reference, &steps, request).await?;
        log_change(reference, &Changes::of_status(seen, &written));
        log_conditions(reference, seen, &written);
        Ok(written)
    }

    /// Removes one finalizer from `seen` and leaves all others as they are, also those that others add or remove at the same
    /// time. Returns [`WriteError::Conflict`] if the finalizers of the object have moved since.
    pub async fn remove_finalizer(
        &self,
        reference: &ObjectRef,
        seen: &Value,
        finalizer: &str,
    ) -> Result<(), WriteError> {
        let Some(steps) = patch::without_finalizer(seen, finalizer) else {
            return Ok(());
        };
        let api = self.api(reference);
        let request =
            Request::new(api.resource_url()).patch(&reference.name, &PatchParams::default(), &json_patch(&steps)?);
        let written = self.send_patch(reference, &steps, request).await?;
        log_change(reference, &Changes::of_object(seen, &written));
        Ok(())
    }

    /// Sends a JSON patch. The API server gives the same response to an invalid object and to a failed precondition, so a
    /// refusal is followed by a read.
    async fn send_patch(
        &self,
        reference: &ObjectRef,
        steps: &[Value],
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, WriteError> {
        let request = request.map_err(|error| WriteError::Refused(Refusal::other(error.to_string())))?;
        let request = request.map(|body| patch::as_stored(&body));
        match self.send(self.client.request(request)).await {
            Ok(written) => self.store(reference, written),
            Err(WriteError::Refused(cause)) => match self.read(reference).await? {
                Some(live) if !patch::is_outdated(steps, &live) => Err(WriteError::Refused(cause)),
                _ => Err(WriteError::Conflict(cause.text)),
            },
            Err(error) => Err(error),
        }
    }

    /// Deletes an object in the foreground without a grace period (pods keep their own); with `uid`, only the object with that
    /// UID. An object that does not exist is no error.
    pub async fn delete(&self, reference: &ObjectRef, uid: Option<&str>) -> Result<(), WriteError> {
        let seen = uid.map(|uid| Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        self.delete_seen(reference, seen).await
    }

    /// The same for exactly this version of the object. After a conflict the object is read, so that the next pass sees it.
    pub async fn delete_version(&self, reference: &ObjectRef, uid: &str, version: &str) -> Result<(), WriteError> {
        let seen = Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: Some(version.to_owned()),
        };
        let deleted = self.delete_seen(reference, Some(seen)).await;
        if matches!(deleted, Err(WriteError::Conflict(_))) {
            self.read(reference).await?;
        }
        deleted
    }

    async fn delete_seen(&self, reference: &ObjectRef, seen: Option<Preconditions>) -> Result<(), WriteError> {
        let mut parameters = DeleteParams::foreground().grace_period(0);
        if reference.kind == Kind::PersistentVolumeClaim {
            parameters = DeleteParams::default();
        }
        if let Some(seen) = seen {
            parameters = parameters.preconditions(seen);
        }
        let api = self.api(reference);
        match self.send(api.delete(&reference.name, &parameters)).await {
            Ok(answer) => {
                info!("object deleted: {reference}");
                match answer.left() {
                    Some(remaining) if remaining.metadata.deletion_timestamp.is_some() => {
                        self.store(reference, remaining)?;
                    }
                    _ => self.cache.remove(reference),
                }
                Ok(())
            }
            Err(WriteError::NotFound) => {
                self.cache.remove(reference);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads an object live. Only after a conflict, or before the first write of a pass.
    pub async fn read(&self, reference: &ObjectRef) -> Result<Option<Value>, WriteError> {
        let api = self.api(reference);
        let Some(object) = self.send(api.get_opt(&reference.name)).await? else {
            self.cache.remove(reference);
            return Ok(None);
        };
        self.store(reference, object).map(Some)
    }

    /// Whether this process leads.
    pub fn leads(&self) -> bool {
        (self.leading)()
    }

    /// A token of a ServiceAccount for an audience, valid for ten minutes, the shortest lifetime that the API server grants.
    pub async fn token(&self, account: &ObjectRef, audience: &str) -> Result<Sensitive, WriteError> {
        let body = serde_json::json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS},
        });
        let api = self.api(account);
        let request = http::Request::post(format!("{}/{}/token", api.resource_url(), account.name))
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|error| WriteError::Transient(error.to_string()))?;
        let answer: Value = self.send(self.client.request(request)).await?;
        let token = answer.pointer("/status/token").and_then(Value::as_str);
        token
            .map(Sensitive::new)
            .ok_or_else(|| WriteError::Transient("the API server answered without a token".to_owned()))
    }

    /// Whether the API server serves an API group.
    pub async fn serves_group(&self, group: &str) -> Result<bool, WriteError> {
        Ok(self.discover(group).await?.is_some())
    }

    /// Whether the API server serves a resource of a group and version.
    pub async fn serves_resource(&self, group_version: &str, plural: &str) -> Result<bool, WriteError> {
        let list = self.discover(group_version).await?;
        Ok(list.is_some_and(|list| has_resource(&list, plural)))
    }

    /// What the API server says about an API group, or one of its versions; `None` if it does not serve it.
    async fn discover(&self, path: &str) -> Result<Option<Value>, WriteError> {
        let request = http::Request::get(format!("/apis/{path}"))
            .body(Vec::new())
            .map_err(|error| WriteError::Transient(error.to_string()))?;
        match self.send(self.client.request::<Value>(request)).await {
            Ok(found) => Ok(Some(found)),
            Err(WriteError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn api(&self, reference: &ObjectRef) -> Api<DynamicObject> {
        let resource = reference.kind.resource();
        if reference.kind.namespaced() {
            Api::namespaced_with(self.client.clone(), &reference.namespace, &resource)
        } else {
            Api::all_with(self.client.clone(), &resource)
        }
    }

    async fn send<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
        if !(self.leading)() {
            return Err(WriteError::NotLeading);
        }
        match tokio::time::timeout(TIMEOUT, call).await {
            Ok(answer) => answer.map_err(WriteError::from),
            Err(_) => Err(WriteError::Transient(format!(
                "no answer from the API server within {} s",
                TIMEOUT.as_secs()
            ))),
        }
    }

    fn store(&self, reference: &ObjectRef, object: DynamicObject) -> Result<Value, WriteError> {
        let mut value = serde_json::to_value(object).map_err(|error| WriteError::Transient(error.to_string()))?;
        if let Some(map) = value.as_object_mut() {
            map.insert("apiVersion".to_owned(), Value::from(reference.kind.api_version()));
            map.insert("kind".to_owned(), Value::from(reference.kind.kind()));
        }
        self.cache.store(reference.clone(), value.clone());
        Ok(value)
    }
}

/// Whether an `APIResourceList` has a resource.
fn has_resource(list: &Value, plural: &str) -> bool {
    let resources = list.get("resources").and_then(Value::as_array);
    let mut names = resources.into_iter().flatten().map(|resource| resource.get("name"));
    names.any(|name| name.and_then(Value::as_str) == Some(plural))
}

/// The conditions of a ClusterOperator repeat those of the Config and of the ImagePruner.
fn log_conditions(reference: &ObjectRef, seen: &Value, written: &Value) {
    for Line { bad, text } in changed_conditions::lines(seen, written) {
        match bad {
            _ if reference.kind == Kind::ClusterOperator => debug!("{reference}: {text}"),
            true => warn!("{reference}: {text}"),
            false => info!("{reference}: {text}"),
        }
    }
}

/// Existing tests of users search the log for `object changed`.
fn log_change(reference: &ObjectRef, changes: &Changes) {
    if changes.is_empty() {
        debug!("object written: {reference}: {changes}");
    } else {
        info!("object changed: {reference}: {changes}");
    }
}

fn decode(body: &Value) -> Result<DynamicObject, WriteError> {
    serde_json::from_value(body.clone()).map_err(|error| WriteError::Refused(Refusal::other(error.to_string())))
}

fn json_patch(steps: &[Value]) -> Result<Patch<()>, WriteError> {
    let steps = Value::Array(steps.to_vec());
    let steps =
        serde_json::from_value(steps).map_err(|error| WriteError::Refused(Refusal::other(error.to_string())))?;
    Ok(Patch::Json(steps))
}

fn with_precondition(mut patch: Value, resource_version: Option<&str>) -> Value {
    if let (Some(version), Some(object)) = (resource_version, patch.as_object_mut()) {
        let metadata = object
            .entry("metadata")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("resourceVersion".to_owned(), Value::from(version));
        }
    }
    patch
}
