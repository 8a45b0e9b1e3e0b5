//! What of the registry's objects is its storage's: as it would be rendered, and as the running Deployment has it.

use serde_json::{Value, json};

use super::deployment::{environment, volumes};
use super::{Inputs, annotation, certificates, drift, secret};
use crate::api::Kind;
use crate::config::facts::StorageFacts;
use crate::config::resolve::{Proxy, Resolved};
use crate::config::snapshot::Snapshot;
use crate::names;

/// Where the registry's objects have their storage from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// From what the storage needs now.
    Facts(&'a StorageFacts),
    /// From the running Deployment: what it mounts stays as it is, the private Secret included. Without a Deployment none is
    /// made.
    Live,
    /// From nowhere: Deployment and private Secret are not planned.
    Nowhere,
}

impl<'a> Source<'a> {
    /// What the storage needs now; `None` where that does not count.
    pub fn facts(&self) -> Option<&'a StorageFacts> {
        match self {
            Self::Facts(facts) => Some(facts),
            Self::Live | Self::Nowhere => None,
        }
    }
}

/// What of the Deployment is the storage's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// Variables of the container (core/v1), the first in its list.
    pub(super) env: Vec<Value>,
    /// Volumes (core/v1), the first in their list.
    pub(super) volumes: Vec<Value>,
    /// Mounts (core/v1), the first in their list.
    pub(super) mounts: Vec<Value>,
    /// The way to the storage.
    pub(super) proxy: Proxy,
    /// Digest of what the pods depend on; `None`: to be computed.
    pub(super) digest: Option<String>,
}

impl Parts {
    /// The parts to render; `None` where there is to be no Deployment.
    pub(super) fn of(inputs: &Inputs<'_>) -> Option<Self> {
        match inputs.storage {
            Source::Facts(facts) => Some(Self::rendered(facts, inputs.resolved)),
            Source::Live => live_deployment(inputs.snapshot).map(Self::live),
            Source::Nowhere => None,
        }
    }

    /// The parts of what the storage needs now.
    pub(super) fn rendered(facts: &StorageFacts, resolved: &Resolved) -> Self {
        Self {
            env: facts.env.iter().map(environment::of_storage).collect(),
            volumes: facts.volumes.clone(),
            mounts: facts.mounts.clone(),
            proxy: resolved.proxy.clone(),
            digest: None,
        }
    }

    /// As rendered once: less the defaults that the API server filled in, so that what did not change is not written.
    fn live(deployment: &Value) -> Self {
        let list = |pointer: &str| {
            let items = deployment.pointer(pointer).and_then(Value::as_array);
            items.map_or(&[][..], Vec::as_slice)
        };
        let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let own = |name: &str| volumes().iter().any(|volume| volume["name"] == name);
        let env = list("/spec/template/spec/containers/0/env");
        let variable = |wanted: &str| {
            let found = env.iter().find(|variable| name(variable) == wanted)?;
            let value = found.get("value")?.as_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        let of_storage = env.iter().take_while(|variable| name(variable) != environment::FIRST);
        let volumes = list("/spec/template/spec/volumes").iter();
        let mounts = list("/spec/template/spec/containers/0/volumeMounts").iter();
        let template = deployment.pointer("/spec/template");
        Self {
            env: of_storage.cloned().collect(),
            volumes: volumes
                .take_while(|volume| !own(&name(volume)))
                .map(less_defaults)
                .collect(),
            mounts: mounts.take_while(|mount| !own(&name(mount))).cloned().collect(),
            proxy: Proxy {
                http: variable("HTTP_PROXY"),
                https: variable("HTTPS_PROXY"),
                no_proxy: variable("NO_PROXY"),
            },
            digest: template
                .and_then(|template| annotation(template, names::DEPENDENCIES_ANNOTATION))
                .map(str::to_owned),
        }
    }

    /// Whether the registry keeps its images on a volume of the pod, which sets bounds to the number of pods.
    pub(super) fn is_filesystem(&self) -> bool {
        self.env
            .contains(&json!({"name": "REGISTRY_STORAGE", "value": "filesystem"}))
    }

    /// Whether other pods would be needed for these.
    fn differs(&self, live: &Self) -> bool {
        let named = |list: &[Value]| -> Vec<(String, Value)> {
            let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let mut named: Vec<_> = list.iter().map(|value| (name(value), value.clone())).collect();
            named.sort_by(|(a, _), (b, _)| a.cmp(b));
            named
        };
        let other = |wanted: &[Value], live: &[Value]| {
            let (wanted, live) = (named(wanted), named(live));
            wanted.len() != live.len()
                || wanted
                    .iter()
                    .zip(&live)
                    .any(|((wanted, value), (name, live))| wanted != name || !drift::holds(value, Some(live)))
        };
        other(&self.env, &live.env)
            || other(&self.volumes, &live.volumes)
            || other(&self.mounts, &live.mounts)
            || self.proxy != live.proxy
    }
}

/// Whether the registry would get another storage than it has: environment, volumes, content of the private Secret, CA, or
/// way out. Nothing that is kept anywhere counts, only what runs; so neither a restart nor a take-over makes a difference.
/// `true` where nothing runs.
pub fn storage_differs(resolved: &Resolved, facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let Some(deployment) = live_deployment(snapshot) else {
        return true;
    };
    Parts::rendered(facts, resolved).differs(&Parts::live(deployment))
        || secret_differs(facts, snapshot)
        || ca_differs(facts, snapshot)
}

fn secret_differs(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let desired = secret::private(facts);
    let live = snapshot.objects.operand(Kind::Secret, names::PRIVATE_SECRET);
    let nothing = Value::Null;
    drift::differs(&desired, live.unwrap_or(&nothing), None)
}

fn ca_differs(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let published = certificates::published_storage_ca(snapshot);
    match facts.ca_bundle.as_deref() {
        None => published.is_some(),
        Some(_) => !is_published(facts, snapshot),
    }
}

/// Whether pods that start now find the CA of the storage. More may be published: that of the storage before.
pub fn is_published(facts: &StorageFacts, snapshot: &Snapshot) -> bool {
    let Some(ca) = facts.ca_bundle.as_deref().map(str::trim) else {
        return true;
    };
    certificates::published_storage_ca(snapshot).is_some_and(|published| published.contains(ca))
}

/// What is published for pods and nodes while they turn to the storage of these facts: its CA, together with that of the
/// storage which they turn away from.
pub fn storage_cas(facts: &StorageFacts, snapshot: &Snapshot) -> Option<String> {
    let published = certificates::published_storage_ca(snapshot);
    match (published, facts.ca_bundle.as_deref()) {
        (Some(published), Some(ca)) if !published.contains(ca.trim()) => {
            let gap = if published.ends_with('\n') { "" } else { "\n" };
            Some(format!("{published}{gap}{ca}"))
        }
        (None, Some(ca)) => Some(ca.to_owned()),
        (published, _) => published,
    }
}

fn live_deployment(snapshot: &Snapshot) -> Option<&Value> {
    snapshot.objects.operand(Kind::Deployment, names::REGISTRY)
}

/// A volume without the mode that the API server gives to files where none is asked for.
fn less_defaults(volume: &Value) -> Value {
    let mut volume = volume.clone();
    for source in volume
        .as_object_mut()
        .into_iter()
        .flat_map(|members| members.values_mut())
    {
        if let Some(source) = source.as_object_mut()
            && source.get("defaultMode") == Some(&json!(0o644))
        {
            source.remove("defaultMode");
        }
    }
    volume
}

#[cfg(test)]
mod tests;
