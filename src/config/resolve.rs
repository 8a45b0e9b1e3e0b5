//! From what an administrator wrote to what cannot be wrong, or to a reason why not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::notice::Notice;
pub use super::rejection::{Reason, Rejection};
use super::snapshot::Snapshot;
use super::tls;
use crate::api::registry_config::{RequestLimits, RouteEntry, Storage};
use crate::api::{Config, Kind, Sensitive, duration};
use crate::names;

/// `spec.managementState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementState {
    /// Keep the registry as the Config says (also `Force` and absent).
    Managed,
    /// Touch nothing, report.
    Unmanaged,
    /// Take the registry away.
    Removed,
}

impl ManagementState {
    /// State of a Config.
    pub fn of(config: &Config) -> Self {
        Self::parse(config.spec.management_state.as_deref())
    }

    /// State of the stored Config, also where other members of it do not decode; `None` without a Config.
    pub fn stored(snapshot: &Snapshot) -> Option<Self> {
        let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER)?;
        Some(Self::parse(
            config.pointer("/spec/managementState").and_then(Value::as_str),
        ))
    }

    /// State of that name.
    pub fn parse(state: Option<&str>) -> Self {
        match state {
            Some("Unmanaged") => Self::Unmanaged,
            Some("Removed") => Self::Removed,
            _ => Self::Managed,
        }
    }
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// One after the other, new before old.
    RollingUpdate,
    /// All old ones go first; needed by volumes that one node alone can mount.
    Recreate,
}

/// Limits on requests of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests served at the same time; 0 is no limit.
    pub max_running: i64,
    /// Requests waiting.
    pub max_in_queue: i64,
    /// How long one may wait, in nanoseconds.
    pub max_wait: i64,
}

/// Proxy of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// A wanted Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRoute {
    /// Name of the Route.
    pub name: String,
    /// Host; the router chooses where there is none.
    pub host: Option<String>,
    /// Secret with certificate and key.
    pub secret: Option<String>,
}

/// `spec.unsupportedConfigOverrides`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Annotations of Deployment and pod template; reserved keys are left out.
    pub annotations: BTreeMap<String, String>,
    /// Keys that were asked for and are reserved.
    pub ignored: Vec<String>,
    /// Runtime class of the pods.
    pub runtime_class: Option<String>,
}

/// A Config that can be applied. No field can hold a wrong value.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Pods wanted, 0 or more.
    pub replicas: i32,
    /// How pods are replaced.
    pub rollout: Rollout,
    /// `REGISTRY_LOG_LEVEL`.
    pub log_level: &'static str,
    /// Shared upload secret; empty only before completion stored one.
    pub http_secret: Sensitive,
    /// Proxy, with the cluster's as fallback of each member.
    pub proxy: Proxy,
    /// TLS of the registry.
    pub tls: tls::ServingInfo,
    /// Limits on pulls; `None` emits no variable.
    pub read_limits: Option<Limits>,
    /// Limits on pushes; `None` emits no variable.
    pub write_limits: Option<Limits>,
    /// Overrides without support.
    pub overrides: Overrides,
    /// Routes, the default one first.
    pub routes: Vec<WantedRoute>,
    /// Refuses pushes.
    pub read_only: bool,
    /// Serves all data through the registry.
    pub disable_redirect: bool,
    /// Resources of the container; `None` is the default.
    pub resources: Option<Value>,
    /// Node selector as given.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Tolerations as given.
    pub tolerations: Vec<Value>,
    /// Affinity as given; `None` is the default.
    pub affinity: Option<Value>,
    /// Spreading as given; `None` is the default.
    pub spread: Option<Vec<Value>>,
}

const RESERVED_PREFIXES: &[&str] = &["imageregistry.operator.openshift.io/", "operator.openshift.io/"];
const RESERVED_KEYS: &[&str] = &[names::VERSION_ANNOTATION, names::SCC_ANNOTATION];

/// Resolves everything but the storage (see [`select`]).
pub fn resolve(config: &Config, snapshot: &Snapshot) -> Result<Resolved, Rejection> {
    let spec = &config.spec;
    if spec.replicas < 0 {
        // The first words are matched by users' tests.
        let message = format!(
            "replicas must be greater than or equal to 0, spec.replicas is {}",
            spec.replicas
        );
        return Err(Rejection::new(Reason::VerificationFailed, message));
    }
    let routes = routes(
        spec.default_route.unwrap_or(false),
        spec.routes.as_deref().unwrap_or_default(),
    )?;
    let requests = spec.requests.clone().unwrap_or_default();
    Ok(Resolved {
        replicas: spec.replicas,
        rollout: rollout(spec.rollout_strategy.as_deref())?,
        log_level: log_level(spec.log_level.as_deref(), spec.logging.unwrap_or(0)),
        http_secret: spec.http_secret.clone().unwrap_or_default(),
        proxy: proxy(config, snapshot),
        tls: tls::ServingInfo::stored(spec.observed_config.as_ref())?,
        read_limits: limits("read", requests.read.as_ref())?,
        write_limits: limits("write", requests.write.as_ref())?,
        overrides: overrides(spec.unsupported_config_overrides.as_ref())?,
        routes,
        read_only: spec.read_only.unwrap_or(false),
        disable_redirect: spec.disable_redirect.unwrap_or(false),
        resources: spec.resources.clone(),
        node_selector: spec.node_selector.clone(),
        tolerations: spec.tolerations.clone().unwrap_or_default(),
        affinity: spec.affinity.clone(),
        spread: spec.topology_spread_constraints.clone(),
    })
}

/// The one backend that `storage` names; `None` where it names none and the platform has to say. Several are a
/// rejection, and so is `oss` alone: the platform's default must not take the place of what was asked for.
pub fn select(storage: &Storage) -> Result<Option<&'static str>, Rejection> {
    let backends = storage.backends();
    match backends.as_slice() {
        [] if storage.oss.is_some() => {
            let message = "spec.storage names oss alone, which is not supported: set another backend, and oss to null";
            Err(Rejection::new(Reason::StorageNotConfigured, message))
        }
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let message = format!(
                "spec.storage names {} backends ({}), exactly one expected: set all but one to null",
                several.len(),
                several.join(", ")
            );
            Err(Rejection::new(Reason::StorageConflict, message))
        }
    }
}

/// What to tell about `storage` although it can be used.
pub fn storage_notice(storage: &Storage) -> Option<Notice> {
    let ignored = storage.oss.is_some() && !storage.backends().is_empty();
    ignored.then(|| Notice {
        warning: true,
        reason: "UnsupportedStorage",
        note: "spec.storage.oss is not supported and ignored: set it to null".to_owned(),
    })
}

fn rollout(strategy: Option<&str>) -> Result<Rollout, Rejection> {
    match strategy {
        None | Some("" | "RollingUpdate") => Ok(Rollout::RollingUpdate),
        Some("Recreate") => Ok(Rollout::Recreate),
        Some(other) => {
            let message = format!("spec.rolloutStrategy is {other:?}: set RollingUpdate or Recreate");
            Err(Rejection::new(Reason::InvalidConfig, message))
        }
    }
}

fn log_level(level: Option<&str>, logging: i64) -> &'static str {
    match (level, logging) {
        (Some("Debug" | "Trace" | "TraceAll"), _) => "debug",
        (_, 1) => "warn",
        (_, 0 | 2 | 3) => "info",
        _ => "debug",
    }
}

fn routes(default_route: bool, entries: &[RouteEntry]) -> Result<Vec<WantedRoute>, Rejection> {
    let default = WantedRoute {
        name: names::DEFAULT_ROUTE.to_owned(),
        host: None,
        secret: None,
    };
    let mut wanted: Vec<_> = default_route.then_some(default).into_iter().collect();
    let mut seen = BTreeSet::new();
    for entry in entries {
        if entry.name == names::DEFAULT_ROUTE {
            let message = format!(
                "spec.routes has an entry named {}, which is reserved for spec.defaultRoute: rename it",
                names::DEFAULT_ROUTE
            );
            return Err(Rejection::new(Reason::VerificationFailed, message));
        }
        if !seen.insert(&entry.name) {
            let message = format!(
                "spec.routes has two entries named {:?}: names must be unique",
                entry.name
            );
            return Err(Rejection::new(Reason::VerificationFailed, message));
        }
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        wanted.push(WantedRoute {
            name: entry.name.clone(),
            host: given(&entry.hostname),
            secret: given(&entry.secret_name),
        });
    }
    Ok(wanted)
}

fn proxy(config: &Config, snapshot: &Snapshot) -> Proxy {
    let own = config.spec.proxy.clone().unwrap_or_default();
    let cluster = snapshot.proxy();
    let first = |a: Option<String>, b: Option<String>| a.filter(|t| !t.is_empty()).or(b).filter(|t| !t.is_empty());
    Proxy {
        http: first(own.http, cluster.http_proxy),
        https: first(own.https, cluster.https_proxy),
        no_proxy: first(own.no_proxy, cluster.no_proxy),
    }
}

fn limits(direction: &str, given: Option<&RequestLimits>) -> Result<Option<Limits>, Rejection> {
    let given = given.cloned().unwrap_or_default();
    let max_running = given.max_running.unwrap_or(0);
    let max_in_queue = given.max_in_queue.unwrap_or(0);
    let max_wait = match given.max_wait_in_queue.as_deref() {
        None | Some("") => 0,
        Some(text) => duration::parse(text).ok_or_else(|| {
            let message = format!(
                "spec.requests.{direction}.maxWaitInQueue is {text:?}, which is no duration: write for example 90s, 5m or 1h30m"
            );
            Rejection::new(Reason::InvalidDuration, message)
        })?,
    };
    if max_running == 0 && max_in_queue == 0 {
        return Ok(None);
    }
    for (field, value) in [("maxRunning", max_running), ("maxInQueue", max_in_queue)] {
        if value < 0 {
            let message = format!("spec.requests.{direction}.{field} is {value}: it must not be negative");
            return Err(Rejection::new(Reason::InvalidRequestsLimits, message));
        }
    }
    Ok(Some(Limits {
        max_running,
        max_in_queue,
        max_wait,
    }))
}

fn overrides(given: Option<&Value>) -> Result<Overrides, Rejection> {
    let wrong = |path: &str, expected: &str| {
        let message = format!("spec.unsupportedConfigOverrides{path} must be {expected}");
        Rejection::new(Reason::InvalidOverrides, message)
    };
    let object = match given {
        None | Some(Value::Null) => return Ok(Overrides::default()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(wrong("", "an object")),
    };
    let deployment = match object.get("deployment") {
        None | Some(Value::Null) => return Ok(Overrides::default()),
        Some(Value::Object(deployment)) => deployment,
        Some(_) => return Err(wrong(".deployment", "an object")),
    };
    let mut overrides = Overrides::default();
    match deployment.get("runtimeClassName") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => overrides.runtime_class = Some(name.clone()).filter(|n| !n.is_empty()),
        Some(_) => return Err(wrong(".deployment.runtimeClassName", "text")),
    }
    let annotations = match deployment.get("annotations") {
        None | Some(Value::Null) => return Ok(overrides),
        Some(Value::Object(annotations)) => annotations,
        Some(_) => return Err(wrong(".deployment.annotations", "a map of text to text")),
    };
    for (key, value) in annotations {
        let Value::String(value) = value else {
            return Err(wrong(&format!(".deployment.annotations[{key:?}]"), "text"));
        };
        let reserved = RESERVED_KEYS.contains(&key.as_str()) || RESERVED_PREFIXES.iter().any(|p| key.starts_with(p));
        if reserved {
            overrides.ignored.push(key.clone());
        } else {
            overrides.annotations.insert(key.clone(), value.clone());
        }
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests;
