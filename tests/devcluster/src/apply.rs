//! Server-side apply of YAML with strict validation: a field that the API does not know is an error.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A kind as the API serves it, and whether its objects live in namespaces.
type Served = (ApiResource, bool);

/// Applies objects of any kind under one field manager.
pub struct Applier {
    client: Client,
    manager: &'static str,
    known: Mutex<HashMap<(String, String), Served>>,
}

impl Applier {
    /// Applies as `manager`; two managers share an object without taking back each other's fields.
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self {
            client,
            manager,
            known: Mutex::default(),
        }
    }

    /// Makes the kinds of CRDs known, which discovery tells of only a moment after they are established.
    pub fn learn(&self, crd: &CustomResourceDefinition) {
        let names = &crd.spec.names;
        for version in &crd.spec.versions {
            let gvk = GroupVersionKind::gvk(&crd.spec.group, &version.name, &names.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, &names.plural);
            self.remember(resource, crd.spec.scope == "Namespaced");
        }
    }

    fn remember(&self, resource: ApiResource, namespaced: bool) {
        let key = (resource.api_version.clone(), resource.kind.clone());
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, (resource, namespaced));
    }

    fn recall(&self, api_version: &str, kind: &str) -> Option<Served> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(api_version.to_owned(), kind.to_owned())).cloned()
    }

    /// Whether a kind is known to be served, without asking.
    pub fn knows(&self, api_version: &str, kind: &str) -> bool {
        self.recall(api_version, kind).is_some()
    }

    /// How the API serves a kind; none if it does not.
    pub async fn served(&self, api_version: &str, kind: &str) -> Result<Option<Served>> {
        if let Some(served) = self.recall(api_version, kind) {
            return Ok(Some(served));
        }
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let listed = if group.is_empty() {
            self.client.list_core_api_resources(version).await
        } else {
            self.client.list_api_group_resources(api_version).await
        };
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if status_code(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot discover {api_version}")),
        };
        for resource in listed.resources.iter().filter(|resource| !resource.name.contains('/')) {
            let gvk = GroupVersionKind::gvk(group, version, &resource.kind);
            self.remember(
                ApiResource::from_gvk_with_plural(&gvk, &resource.name),
                resource.namespaced,
            );
        }
        Ok(self.recall(api_version, kind))
    }

    /// The API of an object's kind in the object's namespace.
    async fn api(&self, object: &Value) -> Result<Option<Api<DynamicObject>>> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (Some(api_version), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
            bail!("an object without apiVersion or kind: {object}");
        };
        let Some((resource, namespaced)) = self.served(api_version, kind).await? else {
            return Ok(None);
        };
        Ok(Some(if namespaced {
            Api::namespaced_with(
                self.client.clone(),
                text("/metadata/namespace").unwrap_or("default"),
                &resource,
            )
        } else {
            Api::all_with(self.client.clone(), &resource)
        }))
    }

    /// Applies one object; none when the API does not serve its kind. A `status` that the API keeps apart is ignored.
    pub async fn apply(&self, object: &Value) -> Result<Option<DynamicObject>> {
        let Some(api) = self.api(object).await? else {
            return Ok(None);
        };
        let name = object.pointer("/metadata/name").and_then(Value::as_str);
        let name = name.with_context(|| format!("an object without a name: {object}"))?;
        let parameters = PatchParams::apply(self.manager).force().validation_strict();
        // A kind that was just added is refused for a moment, in one of several ways.
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            match api.patch(name, &parameters, &Patch::Apply(object)).await {
                Ok(applied) => return Ok(Some(applied)),
                Err(error) if matches!(status_code(&error), Some(404 | 429 | 503)) && Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(error).with_context(|| format!("cannot apply {} {name}", kind_of(object))),
            }
        }
    }

    /// Applies one object whose kind must be served.
    pub async fn require(&self, object: &Value) -> Result<DynamicObject> {
        let applied = self.apply(object).await?;
        applied.with_context(|| format!("the API does not serve {}", kind_of(object)))
    }

    /// Applies every object of a YAML text, in order; what they are.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<Vec<DynamicObject>> {
        let mut applied = Vec::new();
        for object in parse(yaml)? {
            applied.push(self.require(&object).await?);
        }
        Ok(applied)
    }

    /// Applies an object and then its status, as a whole: null stays null.
    pub async fn apply_with_status(&self, object: &Value) -> Result<()> {
        let mut applied = self.require(object).await?;
        let (Some(status), Some(api)) = (object.get("status"), self.api(object).await?) else {
            return Ok(());
        };
        applied.data["status"] = status.clone();
        let name = applied.name_any();
        let result = api.replace_status(&name, &PostParams::default(), &applied).await;
        result.with_context(|| format!("cannot write the status of {} {name}", kind_of(object)))?;
        Ok(())
    }
}

/// The objects of a YAML text of any number of documents; members of a `List` one by one.
pub fn parse(yaml: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("cannot understand YAML")?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").and_then(Value::as_str) == Some("List") => {
                if let Some(Value::Array(items)) = list.remove("items") {
                    objects.extend(items);
                }
            }
            other => objects.push(other),
        }
    }
    Ok(objects)
}

/// `kind` of an object with its API version, for messages.
fn kind_of(object: &Value) -> String {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or("?");
    format!("{} {}", text("apiVersion"), text("kind"))
}

/// HTTP status of an error that the server answered with.
pub(crate) fn status_code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_become_objects_in_order() -> Result<()> {
        let objects = parse("kind: A\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n---\nkind: D\n")?;
        let kinds: Vec<_> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B", "C", "D"]);
        Ok(())
    }
}
