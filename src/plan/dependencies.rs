//! The digest of everything that the registry's pods mount or read: when it changes, they are replaced.
//!
//! It equals, byte for byte, what the Go operator computes, so that taking over a cluster replaces no pod.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::parts::Parts;
use super::{Plan, checksum, drift, operand};
use crate::api::{Kind, ObjectRef};
use crate::config::snapshot::Snapshot;
use crate::names::{self, Program};

/// ConfigMaps and Secrets of our namespace that the pods depend on, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dependencies {
    pub(super) maps: BTreeSet<String>,
    pub(super) secrets: BTreeSet<String>,
}

impl Dependencies {
    /// What the storage names: for secret variables, and as volumes. Volumes that may be absent are marked `optional`.
    pub(super) fn of_storage(env: &[Value], volumes: &[Value]) -> Self {
        let mut found = Self::default();
        let name = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        for variable in env {
            found.secrets.extend(name(variable, "/valueFrom/secretKeyRef/name"));
            found.maps.extend(name(variable, "/valueFrom/configMapKeyRef/name"));
        }
        for volume in volumes {
            found.secrets.extend(name(volume, "/secret/secretName"));
            found.maps.extend(name(volume, "/configMap/name"));
        }
        found
    }

    fn of_registry(parts: &Parts, program: Program) -> Self {
        let mut found = Self::of_storage(&parts.env, &parts.volumes);
        // The stock registry pulls nothing through, and follows its users by itself.
        let (map, secret) = match program {
            Program::Platform => (None, Some(names::PULL_SECRET_COPY)),
            Program::Distribution => (Some(names::REGISTRY_CONFIG_MAP), None),
        };
        let maps = [names::CERTIFICATES_MAP, names::TRUSTED_CA_MAP];
        found.maps.extend(maps.into_iter().chain(map).map(str::to_owned));
        let secrets = [names::SERVING_CERT_SECRET];
        found
            .secrets
            .extend(secrets.into_iter().chain(secret).map(str::to_owned));
        found
    }
}

/// The objects whose content the digest covers.
pub(super) fn objects(parts: &Parts, program: Program) -> Vec<ObjectRef> {
    let Dependencies { maps, secrets } = Dependencies::of_registry(parts, program);
    let maps = maps.iter().map(|name| operand(Kind::ConfigMap, name));
    maps.chain(secrets.iter().map(|name| operand(Kind::Secret, name)))
        .collect()
}

/// The digest, over live objects, over what `plan` is about to write, and over the CA map as it will be where
/// that is given.
pub(super) fn digest(parts: &Parts, snapshot: &Snapshot, plan: &Plan, certificates: Option<&Value>) -> String {
    let objects = &snapshot.objects;
    let Dependencies { maps, secrets } = Dependencies::of_registry(parts, snapshot.environment.program);
    let planned = |kind, name: &str| {
        if plan.absent.contains(&operand(kind, name)) {
            return None;
        }
        let live = objects.operand(kind, name);
        match plan.desired(kind, name) {
            Some(desired) => Some(Cow::Owned(drift::after_write(desired, live.unwrap_or(&Value::Null)))),
            None => live.map(Cow::Borrowed),
        }
    };
    let map = |name: &str| {
        let known = certificates.filter(|_| name == names::CERTIFICATES_MAP);
        known.map(Cow::Borrowed).or_else(|| planned(Kind::ConfigMap, name))
    };
    let maps = maps
        .iter()
        .filter_map(|name| Some(("configmap", name, map_json(&*map(name)?))));
    let secrets = secrets
        .iter()
        .filter_map(|name| Some(("secret", name, secret_json(&*planned(Kind::Secret, name)?))));
    let lines: Vec<String> = maps
        .chain(secrets)
        .map(|(kind, name, json)| format!("{kind}:{name}:sha256:{}", checksum::sha256(json.as_bytes())))
        .collect();
    let json = if lines.is_empty() {
        "null".to_owned()
    } else {
        go_json(&Value::from(lines))
    };
    format!("sha256:{}", checksum::sha256(json.as_bytes()))
}

fn map_json(map: &Value) -> String {
    members(map, &["immutable", "data", "binaryData"])
}

fn secret_json(secret: &Value) -> String {
    members(secret, &["immutable", "data", "type"])
}

/// JSON of an object as Go writes its struct: empty metadata first, then these members, empty ones left out.
fn members(object: &Value, members: &[&str]) -> String {
    let mut json = r#"{"metadata":{}"#.to_owned();
    for member in members {
        let Some(value) = object.get(member).filter(|value| !drift::is_empty(value)) else {
            continue;
        };
        // Writing to a String cannot fail.
        let _ = write!(json, r#","{member}":{}"#, go_json(value));
    }
    json.push('}');
    json
}

/// Compact JSON as Go writes it: keys sorted, and text safe inside HTML.
fn go_json(value: &Value) -> String {
    let text = match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            serde_json::to_string(&sorted).unwrap_or_default()
        }
        other => other.to_string(),
    };
    // None of these characters is part of JSON's syntax, they all stand in text.
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests;
