//! The parts of the registry's Deployment that belong to the storage: as they would be rendered, and as the running
//! Deployment has them.

use serde_json::{Value, json};

use super::source::Source;
use super::{Inputs, annotation, drift, secret, volumes};
use crate::api::Kind;
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::resolve::{Proxy, Resolved};
use crate::config::snapshot::Snapshot;
use crate::names::{self, Program};

/// The first variable after those of the storage.
pub(super) const FIRST_OWN_VARIABLE: &str = "REGISTRY_HTTP_ADDR";

/// First word of the stock registry's command, by which a Deployment tells its program.
pub(super) const STOCK_COMMAND: &str = "registry";

/// The parts of the Deployment that belong to the storage.
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
            // The storage of another program is no storage for this one: its Deployment stays as it is.
            Source::Live => live_deployment(inputs.snapshot)
                .filter(|deployment| program_of(deployment) == inputs.snapshot.environment.program)
                .map(Self::live),
            Source::Nowhere => None,
        }
    }

    /// The parts of what the storage needs now.
    pub(super) fn rendered(facts: &StorageFacts, resolved: &Resolved) -> Self {
        Self {
            env: facts.env.iter().map(variable).collect(),
            volumes: facts.volumes.clone(),
            mounts: facts.mounts.clone(),
            proxy: resolved.proxy.clone(),
            digest: None,
        }
    }

    /// As rendered once: less the defaults that the API server filled in, so that what did not change is not written.
    pub(super) fn live(deployment: &Value) -> Self {
        let list = |pointer: &str| {
            let items = deployment.pointer(pointer).and_then(Value::as_array);
            items.map_or(&[][..], Vec::as_slice)
        };
        let name = |value: &Value| value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let env = list("/spec/template/spec/containers/0/env");
        let value_of = |wanted: &str| {
            let found = env.iter().find(|variable| name(variable) == wanted)?;
            let value = found.get("value")?.as_str()?;
            (!value.is_empty()).then(|| expanded(value))
        };
        let of_storage = env.iter().take_while(|variable| name(variable) != FIRST_OWN_VARIABLE);
        let volumes = list("/spec/template/spec/volumes").iter();
        let mounts = list("/spec/template/spec/containers/0/volumeMounts").iter();
        let template = deployment.pointer("/spec/template");
        Self {
            env: of_storage.cloned().collect(),
            volumes: volumes
                .take_while(|volume| !volumes::is_own(&name(volume)))
                .map(less_defaults)
                .collect(),
            mounts: mounts
                .take_while(|mount| !volumes::is_own(&name(mount)))
                .cloned()
                .collect(),
            proxy: Proxy {
                http: value_of("HTTP_PROXY"),
                https: value_of("HTTPS_PROXY"),
                no_proxy: value_of("NO_PROXY"),
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
    pub(super) fn differs(&self, live: &Self) -> bool {
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

/// The value of a variable by which a container gets exactly this text: the kubelet expands `$(NAME)` and reads `$$` as `$`. Any other text
/// stays as it is, so that pods are not replaced for it.
pub(super) fn literal(text: &str) -> String {
    if text.contains("$(") || text.contains("$$") {
        text.replace('$', "$$")
    } else {
        text.to_owned()
    }
}

/// What a container gets by the value of a variable, as far as that names no other variable.
fn expanded(value: &str) -> String {
    value.replace("$$", "$")
}

/// A variable of the storage.
pub(super) fn variable(variable: &EnvVar) -> Value {
    let EnvVar { name, value } = variable;
    let value = match value {
        EnvValue::Secret(_) => {
            return json!({
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": names::PRIVATE_SECRET, "key": name}},
            });
        }
        EnvValue::Text(text) => secret::environment_text(name, text),
        EnvValue::Flag(flag) => flag.to_string(),
        EnvValue::Number(number) => number.to_string(),
        EnvValue::Raw(text) => text.clone(),
    };
    json!({"name": name, "value": value})
}

pub(super) fn live_deployment(snapshot: &Snapshot) -> Option<&Value> {
    snapshot.objects.operand(Kind::Deployment, names::REGISTRY)
}

/// The program that a Deployment runs.
pub(super) fn program_of(deployment: &Value) -> Program {
    let command = deployment.pointer("/spec/template/spec/containers/0/command/0");
    match command.and_then(Value::as_str) {
        Some(STOCK_COMMAND) => Program::Distribution,
        _ => Program::Platform,
    }
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
