//! What a stand-in wants written, as data, and the sending of it.

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::StandIn;
use super::cache::Kind;

/// One wanted write.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Who wants it; also its field manager, so that an audit log tells the stand-ins apart.
    pub(super) by: StandIn,
    pub(super) kind: Kind,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) verb: Verb,
}

/// How to write.
#[derive(Clone, Debug)]
pub(super) enum Verb {
    /// Create this object.
    Create(Value),
    /// Merge this into the object.
    Merge(Value),
    /// Merge this into the object's status.
    MergeStatus(Value),
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was done, and this is the object now.
    Done(Box<DynamicObject>),
    /// The object is not what we thought; its watch will tell, and the next pass decides anew.
    Outdated,
    /// It failed for another reason; try again after a while.
    Failed(Error),
}

impl Write {
    /// A creation.
    pub(super) fn create(by: StandIn, kind: Kind, namespace: &str, name: &str, body: Value) -> Self {
        Self {
            by,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            verb: Verb::Create(body),
        }
    }

    /// A merge into an object, done only if it still is what the cache shows.
    pub(super) fn merge(by: StandIn, kind: Kind, object: &DynamicObject, body: Value) -> Self {
        Self::onto(by, kind, object, Verb::Merge(guarded(object, body)))
    }

    /// A merge into an object's status, done only if it still is what the cache shows.
    pub(super) fn merge_status(by: StandIn, kind: Kind, object: &DynamicObject, status: &Value) -> Self {
        Self::onto(
            by,
            kind,
            object,
            Verb::MergeStatus(guarded(object, json!({"status": status}))),
        )
    }

    fn onto(by: StandIn, kind: Kind, object: &DynamicObject, verb: Verb) -> Self {
        let (namespace, name) = super::cache::key(object);
        Self {
            by,
            kind,
            namespace,
            name,
            verb,
        }
    }

    /// Sends it.
    pub(super) async fn send(&self, client: &Client) -> Outcome {
        match self.request(client).await {
            Ok(object) => Outcome::Done(Box::new(object)),
            // Changed, gone or made in the meantime; or its namespace is going.
            Err(Error::Api(status)) if matches!(status.code, 404 | 409) || status.reason == "Forbidden" => {
                Outcome::Outdated
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn request(&self, client: &Client) -> Result<DynamicObject, Error> {
        let resource = self.kind.resource();
        let api: Api<DynamicObject> = if self.namespace.is_empty() {
            Api::all_with(client.clone(), &resource)
        } else {
            Api::namespaced_with(client.clone(), &self.namespace, &resource)
        };
        let manager = Some(format!("standin-{}", self.by.name()));
        let patch = PatchParams {
            field_manager: manager.clone(),
            ..PatchParams::default()
        };
        match &self.verb {
            Verb::Create(body) => {
                let mut object = DynamicObject::new(&self.name, &resource).data(body.clone());
                if let Some(metadata) = object.data.as_object_mut().and_then(|data| data.remove("metadata")) {
                    object.metadata = serde_json::from_value(metadata).map_err(Error::SerdeError)?;
                    object.metadata.name = Some(self.name.clone());
                }
                api.create(
                    &PostParams {
                        field_manager: manager,
                        ..PostParams::default()
                    },
                    &object,
                )
                .await
            }
            Verb::Merge(body) => api.patch(&self.name, &patch, &Patch::Merge(body)).await,
            Verb::MergeStatus(body) => api.patch_status(&self.name, &patch, &Patch::Merge(body)).await,
        }
    }
}

/// The body with the version that it is made for.
fn guarded(object: &DynamicObject, mut body: Value) -> Value {
    if let Some(version) = &object.metadata.resource_version {
        body["metadata"]["resourceVersion"] = json!(version);
    }
    body
}
