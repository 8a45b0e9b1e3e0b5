//! PURE: status of the ClusterOperator `image-registry`, which the platform's version operator and administrators read.
//!
//! Each condition of the ClusterOperator aggregates the conditions of Config and ImagePruner with the same suffix. While a
//! registry starts, no aggregated condition returns to an earlier status: a condition turns normal only after every awaited
//! input ([`Sources::awaited`]) exists, so an input that appears late cannot turn it abnormal again.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::conditions::{Status, to_seconds};
use super::config_status::{differs, stored_conditions};
use super::deployment::{Deployment, text};
use crate::api::{Condition, Kind};
use crate::config::resolve::ManagementState;
use crate::names;

/// Types of conditions that exist after the first pass of every controller. Those of the pruner are awaited only if an
/// ImagePruner exists.
pub const AWAITED: &[&str] = &[
    "Available",
    "Progressing",
    "Degraded",
    "NodeCADaemonAvailable",
    "NodeCADaemonProgressing",
    "ImagePrunerAvailable",
    "ImagePrunerDegraded",
];

/// Reason of the condition `Upgradeable` that this operator sets. The operator does not change the condition while it has
/// another reason and the status `False`.
const OVERRIDES_SET: &str = "UnsupportedConfigOverridesSet";

/// Reason of `Progressing` while the operator waits to create the Config.
const PENDING: &str = "BootstrapPending";

/// Reason of `Degraded` while the operator cannot create the Config.
const FAILED: &str = "BootstrapFailed";

/// Inputs of the ClusterOperator's status.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The Config as undecoded JSON, so that a Config whose spec does not decode is reported too; `None` before bootstrap.
    pub config: Option<&'a Value>,
    /// The ImagePruner; `None` if it does not exist.
    pub pruner: Option<&'a Value>,
    /// The registry's Deployment.
    pub deployment: Option<&'a Value>,
    /// The live ClusterOperator; `None` if it does not exist: the caller must create it before it writes the status.
    pub live: Option<&'a Value>,
    /// Version of this release; if empty, no version is reported.
    pub release_version: &'a str,
    /// Why no Config exists yet; reported until it exists.
    pub bootstrap: Option<&'a BootstrapDelay>,
    /// Types of conditions that must exist before an aggregated condition turns normal; usually [`AWAITED`].
    pub awaited: &'a [&'a str],
    /// Start of the pass.
    pub now: Timestamp,
}

/// Why the operator has not created the Config yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootstrapDelay {
    /// Progressing: the operator waits for something.
    Pending(String),
    /// A failure that has lasted for less than two minutes in this process: Progressing, but Degraded stays if an earlier process
    /// reported it.
    Retrying(String),
    /// Degraded: the failure waits for an administrator, or has lasted for two minutes.
    Failed(String),
}

/// An aggregated condition of the ClusterOperator.
struct Output {
    /// `type` of the condition, and suffix of the types that it aggregates.
    suffix: &'static str,
    /// Status without any problem.
    normal: Status,
}

const OUTPUTS: [Output; 3] = [
    Output {
        suffix: "Available",
        normal: Status::True,
    },
    Output {
        suffix: "Progressing",
        normal: Status::False,
    },
    Output {
        suffix: "Degraded",
        normal: Status::False,
    },
];

/// The fields of the status to write: `conditions` (including those of other writers), `versions` and `relatedObjects`, each
/// complete; other fields of the status stay. `None` if nothing differs.
pub fn desired(sources: &Sources<'_>) -> Option<Value> {
    let empty = Value::Null;
    let live = sources.live.and_then(|live| live.get("status")).unwrap_or(&empty);
    let mut conditions = live
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut status = Map::new();
    if let Some(config) = sources.config {
        for output in &OUTPUTS {
            if let Some(aggregated) = aggregate(output, config, sources, live) {
                put(&mut conditions, &aggregated, sources.now);
            }
        }
        upgradeable(&mut conditions, config, sources.now);
        if let Some(version) = version(config, sources) {
            status.insert(
                "versions".to_owned(),
                json!([{"name": names::OPERATOR_VERSION_NAME, "version": version}]),
            );
        }
    } else {
        for condition in bootstrap(sources.bootstrap?, live) {
            put(&mut conditions, &condition, sources.now);
        }
    }
    status.insert("conditions".to_owned(), Value::Array(conditions));
    status.insert("relatedObjects".to_owned(), related_objects());
    let status = Value::Object(status);
    let before: Map<_, _> = status
        .as_object()?
        .keys()
        .filter_map(|k| Some((k.clone(), live.get(k)?.clone())))
        .collect();
    (sources.live.is_none() || differs(&Value::Object(before), &status)).then_some(status)
}

/// The ClusterOperator to create. The API server ignores the status in a create request.
pub fn skeleton() -> Value {
    json!({
        "apiVersion": Kind::ClusterOperator.api_version(),
        "kind": Kind::ClusterOperator.kind(),
        "metadata": {"name": names::CLUSTER_OPERATOR},
        "spec": {},
    })
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        last_transition_time: None,
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    }
}

/// The conditions while no Config exists. Each attempt reports one condition. What an earlier attempt reported in the other one
/// must not contradict it: an error that ended is withdrawn, and the message of a wait names the newest cause.
fn bootstrap(delay: &BootstrapDelay, live: &Value) -> Vec<Condition> {
    let config = names::CLUSTER;
    let stored = stored_conditions(live);
    let is_stored = |type_, reason| {
        let mut of_type = stored.iter().filter(|c| c.type_ == type_ && c.status == "True");
        of_type.any(|c| c.reason.as_deref() == Some(reason))
    };
    let pending = |cause: &str| {
        let message = format!("Config {config} is not created yet: {cause}");
        condition("Progressing", "True", PENDING, &message)
    };
    let (new, other) = match delay {
        BootstrapDelay::Pending(cause) => {
            let ended = || condition("Degraded", "False", "AsExpected", "");
            (pending(cause), is_stored("Degraded", FAILED).then(ended))
        }
        BootstrapDelay::Retrying(cause) if !is_stored("Degraded", FAILED) => (pending(cause), None),
        BootstrapDelay::Retrying(cause) | BootstrapDelay::Failed(cause) => {
            let message = format!("Config {config} cannot be created: {cause}");
            let waits = is_stored("Progressing", PENDING).then(|| pending(cause));
            (condition("Degraded", "True", FAILED, &message), waits)
        }
    };
    [new].into_iter().chain(other).collect()
}

/// All conditions of Config and ImagePruner; types of the ImagePruner have the prefix `ImagePruner`.
fn inputs(config: &Value, pruner: Option<&Value>) -> Vec<Condition> {
    let of = |object: &Value| object.get("status").map(stored_conditions).unwrap_or_default();
    let prefixed = |c: Condition| Condition {
        type_: format!("{PRUNER}{}", c.type_),
        ..c
    };
    let mut all = of(config);
    all.extend(pruner.map(of).unwrap_or_default().into_iter().map(prefixed));
    all
}

const PRUNER: &str = "ImagePruner";

/// Computes one aggregated condition; `None` leaves the stored condition.
fn aggregate(output: &Output, config: &Value, sources: &Sources<'_>, live: &Value) -> Option<Condition> {
    let suffix = output.suffix;
    let all: Vec<_> = inputs(config, sources.pruner)
        .into_iter()
        .filter(|c| c.type_.ends_with(suffix))
        .collect();
    let unknown = |c: &&Condition| matches!(c.status.as_str(), "" | "Unknown");
    let abnormal = all.iter().find(|c| !unknown(c) && c.status != output.normal.text());
    let status = match abnormal {
        Some(condition) => condition.status.as_str(),
        None if all.iter().any(|c| unknown(&c)) => Status::Unknown.text(),
        None => output.normal.text(),
    };
    let awaited = sources.awaited.iter().filter(|type_| type_.ends_with(suffix));
    let complete = awaited
        .filter(|type_| sources.pruner.is_some() || !type_.starts_with(PRUNER))
        .all(|type_| all.iter().any(|c| c.type_ == *type_));
    if !complete && abnormal.is_none() {
        let stored = stored_conditions(live).into_iter().find(|c| c.type_ == suffix);
        if all.is_empty() || stored.is_none_or(|c| c.status != status) {
            return None;
        }
    }
    let mut reasons: Vec<_> = all
        .iter()
        .filter_map(|c| {
            let reason = c.reason.as_deref().filter(|r| !r.is_empty() && *r != "AsExpected")?;
            Some(format!("{}{reason}", c.type_.strip_suffix(suffix).unwrap_or_default()))
        })
        .collect();
    reasons.sort();
    let mut reason = reasons.join("::");
    if reason.is_empty() && status == output.normal.text() {
        "AsExpected".clone_into(&mut reason);
    }
    let lines = all.iter().flat_map(|c| {
        let message = c.message.as_deref().unwrap_or_default();
        message
            .split('\n')
            .filter(|_| !message.is_empty())
            .map(|line| format!("{}: {line}", c.type_))
    });
    let message = lines.collect::<Vec<_>>().join("\n");
    Some(condition(suffix, status, &reason, &message))
}

/// Replaces the condition of the same type in place, or appends `new`. `lastTransitionTime` changes only with the status.
fn put(conditions: &mut Vec<Value>, new: &Condition, now: Timestamp) {
    let present = conditions.iter_mut().find(|c| text(c, "type") == new.type_);
    let time = present
        .as_ref()
        .filter(|c| text(c, "status") == new.status)
        .map(|c| text(c, "lastTransitionTime"));
    let time = time
        .filter(|time| !time.is_empty())
        .map_or_else(|| to_seconds(now), str::to_owned);
    let condition = json!({
        "type": new.type_,
        "status": new.status,
        "lastTransitionTime": time,
        "reason": new.reason,
        "message": new.message,
    });
    match present {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
}

/// Sets `Upgradeable=False` while `spec.unsupportedConfigOverrides` is set, and removes the condition afterwards. The condition
/// belongs to this operator only if it has this operator's reason. `Upgradeable=False` of another writer stays.
fn upgradeable(conditions: &mut Vec<Value>, config: &Value, now: Timestamp) {
    let overrides = config.pointer("/spec/unsupportedConfigOverrides");
    let set = overrides.is_some_and(|o| !o.is_null() && o.as_object().is_none_or(|members| !members.is_empty()));
    let stored = conditions.iter().position(|c| text(c, "type") == "Upgradeable");
    let owned = stored.is_some_and(|index| text(&conditions[index], "reason") == OVERRIDES_SET);
    let blocked = stored.is_some_and(|index| text(&conditions[index], "status") == "False");
    if set && (owned || !blocked) {
        let message = "Config cluster sets spec.unsupportedConfigOverrides, which the next release may not support: remove the overrides before the upgrade";
        put(
            conditions,
            &condition("Upgradeable", "False", OVERRIDES_SET, message),
            now,
        );
    } else if let Some(index) = stored.filter(|_| owned && !set) {
        conditions.remove(index);
    }
}

/// The version to report: for a `Managed` registry the version of the Deployment after it is rolled out, else the version of
/// this release. `None` leaves the stored version.
fn version<'a>(config: &Value, sources: &Sources<'a>) -> Option<&'a str> {
    let state = ManagementState::parse(config.pointer("/spec/managementState").and_then(Value::as_str));
    let version = if state == ManagementState::Managed {
        let deployment = Deployment(sources.deployment?);
        let reached =
            deployment.available() > 0 && deployment.observed() && deployment.updated() == deployment.replicas();
        reached.then(|| deployment.annotation(names::VERSION_ANNOTATION))?
    } else {
        sources.release_version
    };
    Some(version).filter(|version| !version.is_empty())
}

/// Objects that `oc adm must-gather` collects, in this order.
fn related_objects() -> Value {
    let entry = |kind: Kind, name: &str| json!({"group": kind.group(), "resource": kind.plural(), "name": name});
    json!([
        entry(Kind::Config, names::CLUSTER),
        entry(Kind::ImagePruner, names::CLUSTER),
        entry(Kind::ClusterRole, names::REGISTRY_CLUSTER_ROLE),
        entry(Kind::ClusterRoleBinding, names::REGISTRY_CLUSTER_ROLE_BINDING),
        entry(Kind::ClusterRoleBinding, names::PRUNER_CLUSTER_ROLE_BINDING),
        entry(Kind::Namespace, names::NAMESPACE),
    ])
}

#[cfg(test)]
mod tests;
