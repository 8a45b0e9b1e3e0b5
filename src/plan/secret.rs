//! Secrets that the registry's pods read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{Desired, Drift, Origin, Plan, operand};
use crate::api::Kind;
use crate::config::content;
use crate::config::facts::{EnvValue, StorageFacts};
use crate::config::snapshot::Snapshot;
use crate::config::yaml;
use crate::names;

/// A type, and the mark that closes a Secret, cannot be changed: such a Secret is made anew.
const IMMUTABLE: &[&str] = &["/type", "/immutable"];
const PULL_SECRET_KEY: &str = ".dockerconfigjson";

/// The copy of the cluster's pull secret, for pull-through; without the source there must be no copy.
pub(super) fn plan_pull_secret(snapshot: &Snapshot, plan: &mut Plan) {
    let name = names::PULL_SECRET_COPY;
    let Some(source) = snapshot
        .objects
        .get(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET)
    else {
        if snapshot.objects.operand(Kind::Secret, name).is_some() {
            plan.absent.push(operand(Kind::Secret, name));
        }
        return;
    };
    let filled = content::secret_text(source, PULL_SECRET_KEY).is_some();
    match source.get("data").filter(|_| filled) {
        Some(data) => {
            let copy = secret(name, "kubernetes.io/dockerconfigjson", data);
            plan.present.push(copy.with_origins([pull_secret_origin()]));
        }
        // The API server would refuse the copy.
        None => plan.fail(
            Kind::Secret,
            name,
            format!(
                "Secret {}/{} has no key {PULL_SECRET_KEY}, so it cannot be copied: add the key, or delete the Secret",
                names::CONFIG_NAMESPACE,
                names::PULL_SECRET
            ),
        ),
    }
}

/// The cluster's pull secret, which the copy takes over as it is.
fn pull_secret_origin() -> Origin {
    let source = format!("key {PULL_SECRET_KEY}");
    let object = format!("Secret {}/{}", names::CONFIG_NAMESPACE, names::PULL_SECRET);
    Origin::made("data", source, object)
}

/// What the registry needs of the storage's credentials; there also when it needs none.
pub(super) fn private(facts: &StorageFacts) -> Desired {
    let mut data = Map::new();
    for variable in &facts.env {
        if let EnvValue::Secret(value) = &variable.value {
            data.insert(
                variable.name.to_owned(),
                encoded(&environment_text(variable.name, value.expose())),
            );
        }
    }
    for (key, content) in &facts.files {
        data.insert(key.clone(), encoded(content.expose()));
    }
    secret(names::PRIVATE_SECRET, "Opaque", &Value::Object(data))
}

/// A text as the value of a variable: YAML for the registry's own ones, as it is for all others.
pub(super) fn environment_text(name: &str, value: &str) -> String {
    if name.starts_with("REGISTRY_") {
        yaml::text(value)
    } else {
        value.to_owned()
    }
}

/// A value of `data`.
pub(super) fn encoded(text: &str) -> Value {
    Value::from(STANDARD.encode(text))
}

/// A Secret whose `data` the operator owns.
pub(super) fn secret(name: &str, type_: &str, data: &Value) -> Desired {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": names::NAMESPACE},
        "type": type_,
        "data": data,
    });
    Desired::new(Kind::Secret, Drift::Whole(&["data"]), body).with_immutable(IMMUTABLE)
}
