//! Validates a Config and completes it with defaults: the result is a [`Resolved`] or a [`Rejection`].

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use super::rejection::{Reason, Rejection};
use super::snapshot::Snapshot;
use super::tls;
use crate::api::registry_config::{RequestLimits, RouteEntry, Storage};
use crate::api::{Config, Kind, Sensitive, duration};
use crate::names::{self, Exposure, Program};

/// `spec.managementState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementState {
    /// Reconcile the registry with the Config. `Force`, an unknown value and an absent value mean the same.
    Managed,
    /// Report status; change no object of the registry.
    Unmanaged,
    /// Remove the registry.
    Removed,
}

impl ManagementState {
    /// Management state of a decoded Config.
    pub fn of(config: &Config) -> Self {
        Self::parse(config.spec.management_state.as_deref())
    }

    /// Management state of the Config in the snapshot, even if other fields of the Config do not decode; `None` without a
    /// Config.
    pub fn stored(snapshot: &Snapshot) -> Option<Self> {
        let config = snapshot.objects.cluster(Kind::Config, names::CLUSTER)?;
        Some(Self::parse(
            config.pointer("/spec/managementState").and_then(Value::as_str),
        ))
    }

    /// Parses `spec.managementState`.
    pub fn parse(state: Option<&str>) -> Self {
        match state {
            Some("Unmanaged") => Self::Unmanaged,
            Some("Removed") => Self::Removed,
            _ => Self::Managed,
        }
    }
}

/// Strategy of the registry's Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// New pods start before old pods stop.
    RollingUpdate,
    /// All old pods stop before new pods start; required for volumes that only one node can mount (ReadWriteOnce).
    Recreate,
}

/// Limits on requests of one direction (pulls or pushes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests served in parallel, 0 or more; 0 means no limit.
    pub max_running: i64,
    /// Length of the queue, 0 or more.
    pub max_in_queue: i64,
    /// Longest wait in the queue, in nanoseconds.
    pub max_wait: i64,
}

/// Egress proxy of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// A Route that the Config requests, or what takes its place on clusters without Routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRoute {
    /// Index in `spec.routes`; `None` for the default Route.
    pub index: Option<usize>,
    /// Name of the Route.
    pub name: String,
    /// Host; `None` lets the router of OpenShift choose, and is not enough for Ingress and HTTPRoute.
    pub host: Option<String>,
    /// Name of the Secret with the certificate and its key.
    pub secret: Option<String>,
}

/// `spec.unsupportedConfigOverrides`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Annotations of the Deployment and of its pod template, without reserved keys.
    pub annotations: BTreeMap<String, String>,
    /// Reserved annotation keys that the Config requests; the operator ignores them.
    pub ignored: Vec<String>,
    /// `runtimeClassName` of the pods.
    pub runtime_class: Option<String>,
}

/// Whether the stock registry asks for a login. The platform's registry always does, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// Everybody has to log in.
    Required,
    /// Nobody has to log in; the registry must not be reachable from outside of the cluster.
    NotInside,
    /// Nobody has to log in, also not from outside of the cluster.
    Nowhere,
}

/// A validated Config.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// `spec.replicas`, 0 or more.
    pub replicas: i32,
    /// `spec.rolloutStrategy`.
    pub rollout: Rollout,
    /// `REGISTRY_LOG_LEVEL`: `debug`, `info` or `warn`.
    pub log_level: &'static str,
    /// Secret that all replicas share to sign upload state; empty only until [`completion`](super::complete::completion)
    /// is stored.
    pub http_secret: Sensitive,
    /// Egress proxy; each empty field falls back to the field of the cluster's proxy.
    pub proxy: Proxy,
    /// TLS settings of the registry's server.
    pub tls: tls::ServingInfo,
    /// Limits on pulls; `None` sets no environment variable.
    pub read_limits: Option<Limits>,
    /// Limits on pushes; `None` sets no environment variable.
    pub write_limits: Option<Limits>,
    /// `spec.unsupportedConfigOverrides`.
    pub overrides: Overrides,
    /// Whether the stock registry asks for a login.
    pub login: Login,
    /// Routes, the default Route first.
    pub routes: Vec<WantedRoute>,
    /// The registry refuses pushes.
    pub read_only: bool,
    /// The registry serves blobs itself and does not redirect clients to the storage.
    pub disable_redirect: bool,
    /// core/v1 `ResourceRequirements` of the container; `None` selects the operator's default.
    pub resources: Option<Value>,
    /// `spec.nodeSelector`, unchanged.
    pub node_selector: Option<BTreeMap<String, String>>,
    /// `spec.tolerations`, unchanged (core/v1).
    pub tolerations: Vec<Value>,
    /// `spec.affinity`, unchanged (core/v1); `None` selects the operator's default.
    pub affinity: Option<Value>,
    /// `spec.topologySpreadConstraints`, unchanged (core/v1); `None` selects the operator's default.
    pub spread: Option<Vec<Value>>,
}

// The operator sets annotations under these keys itself, and the Deployment controller its own: an override of its revision would be
// reverted by each of its syncs, and written again by each pass.
const RESERVED_PREFIXES: &[&str] = &[
    "imageregistry.operator.openshift.io/",
    "operator.openshift.io/",
    "deployment.kubernetes.io/",
];
const RESERVED_KEYS: &[&str] = &[names::VERSION_ANNOTATION, names::SCC_ANNOTATION];

/// Validates the Config and resolves everything except the storage backend (see [`select`]).
pub fn resolve(config: &Config, snapshot: &Snapshot) -> Result<Resolved, Rejection> {
    let spec = &config.spec;
    if spec.replicas < 0 {
        // Tests of users match the text before the comma.
        let message = format!(
            "replicas must be greater than or equal to 0, spec.replicas is {}",
            spec.replicas
        );
        return Err(Rejection::new(Reason::VerificationFailed, message));
    }
    let routes = routes(
        spec.default_route.unwrap_or(false),
        spec.routes.as_deref().unwrap_or_default(),
        &snapshot.environment.exposure,
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
        login: login(config, snapshot.environment.program),
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

/// Name of the storage backend that `storage` sets, such as `S3`; `None` if it sets none, which selects the platform's
/// default. Rejects several backends.
pub fn select(storage: &Storage) -> Result<Option<&'static str>, Rejection> {
    let backends = storage.backends();
    match backends.as_slice() {
        [] => Ok(None),
        [backend] => Ok(Some(backend)),
        several => {
            let message = format!(
                "spec.storage sets {} backends ({}), exactly one expected: set all but one to null",
                several.len(),
                several.join(", ")
            );
            Err(Rejection::new(Reason::StorageConflict, message))
        }
    }
}

/// Any value of the annotation but the two documented ones means that everybody has to log in.
fn login(config: &Config, program: Program) -> Login {
    let annotations = config.metadata.annotations.as_ref();
    let value = annotations.and_then(|annotations| annotations.get(names::ANONYMOUS_ANNOTATION));
    match (program, value.map(String::as_str)) {
        (Program::Distribution, Some("true")) => Login::NotInside,
        (Program::Distribution, Some("exposed")) => Login::Nowhere,
        _ => Login::Required,
    }
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

fn routes(default_route: bool, entries: &[RouteEntry], exposure: &Exposure) -> Result<Vec<WantedRoute>, Rejection> {
    let default = WantedRoute {
        index: None,
        name: names::DEFAULT_ROUTE.to_owned(),
        host: exposure.generated_host(names::DEFAULT_ROUTE),
        secret: None,
    };
    let mut wanted: Vec<_> = default_route.then_some(default).into_iter().collect();
    let mut seen = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        if entry.name == names::DEFAULT_ROUTE {
            let message = format!(
                "spec.routes has an entry named {}, which is reserved for spec.defaultRoute: rename the entry",
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
        let non_empty = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        wanted.push(WantedRoute {
            index: Some(index),
            name: entry.name.clone(),
            host: non_empty(&entry.hostname).or_else(|| exposure.generated_host(&entry.name)),
            secret: non_empty(&entry.secret_name),
        });
    }
    Ok(wanted)
}

fn proxy(config: &Config, snapshot: &Snapshot) -> Proxy {
    let config = config.spec.proxy.clone().unwrap_or_default();
    let cluster = snapshot.proxy();
    let first = |a: Option<String>, b: Option<String>| a.filter(|t| !t.is_empty()).or(b).filter(|t| !t.is_empty());
    Proxy {
        http: first(config.http, cluster.http_proxy),
        https: first(config.https, cluster.https_proxy),
        no_proxy: first(config.no_proxy, cluster.no_proxy),
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
                "spec.requests.{direction}.maxWaitInQueue is {text:?}, which is not a duration: set a value such as 90s, 5m or 1h30m"
            );
            Rejection::new(Reason::InvalidDuration, message)
        })?,
    };
    if max_running == 0 && max_in_queue == 0 {
        return Ok(None);
    }
    for (field, value) in [("maxRunning", max_running), ("maxInQueue", max_in_queue)] {
        if value < 0 {
            let message = format!("spec.requests.{direction}.{field} is {value}: set 0 or a positive number");
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
    let reject = |path: &str, expected: &str| {
        let message = format!("spec.unsupportedConfigOverrides{path} must be {expected}");
        Rejection::new(Reason::InvalidOverrides, message)
    };
    let object = match given {
        None | Some(Value::Null) => return Ok(Overrides::default()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(reject("", "an object")),
    };
    let deployment = match object.get("deployment") {
        None | Some(Value::Null) => return Ok(Overrides::default()),
        Some(Value::Object(deployment)) => deployment,
        Some(_) => return Err(reject(".deployment", "an object")),
    };
    let mut overrides = Overrides::default();
    match deployment.get("runtimeClassName") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) => overrides.runtime_class = Some(name.clone()).filter(|n| !n.is_empty()),
        Some(_) => return Err(reject(".deployment.runtimeClassName", "a string")),
    }
    let annotations = match deployment.get("annotations") {
        None | Some(Value::Null) => return Ok(overrides),
        Some(Value::Object(annotations)) => annotations,
        Some(_) => return Err(reject(".deployment.annotations", "a map of strings to strings")),
    };
    for (key, value) in annotations {
        let Value::String(value) = value else {
            return Err(reject(&format!(".deployment.annotations[{key:?}]"), "a string"));
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
