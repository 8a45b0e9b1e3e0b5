//! Which objects are watched, and which controllers a change triggers.
//!
//! Secrets and ConfigMaps are watched by name: a namespace may hold thousands of others, which must cost neither memory nor
//! time.

use Controller::{AzurePathFix, AzureStack, Certificates, ClusterOperator, ImageConfig, NodeCa, Pruner, Registry};

use serde_json::Value;

use crate::api::{Kind, ObjectRef};
use crate::config::environment::Environment;
use crate::names::{self, Program};

/// A controller that a watch event can trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Controller {
    /// The registry, its storage and the Config.
    Registry,
    /// The ConfigMaps with CA certificates.
    Certificates,
    /// The ClusterOperator.
    ClusterOperator,
    /// `images.config.openshift.io/cluster`.
    ImageConfig,
    /// DaemonSet `node-ca`, which copies the registry's CA to every node.
    NodeCa,
    /// The image pruner.
    Pruner,
    /// The endpoints file of Azure Stack Hub.
    AzureStack,
    /// Cleanup of the Job that old releases created on Azure.
    AzurePathFix,
}

impl Controller {
    /// Every controller.
    pub(crate) const ALL: &[Self] = &[
        Self::Registry,
        Self::Certificates,
        Self::ClusterOperator,
        Self::ImageConfig,
        Self::NodeCa,
        Self::Pruner,
        Self::AzureStack,
        Self::AzurePathFix,
    ];
}

/// What passes do while the operator cannot read a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unreadable {
    /// They wait.
    Wait,
    /// A kind that the operator may not read counts as one that the cluster does not serve.
    NotServed,
    /// They go on, and know that they do not know the objects ([`Objects::unreadable`](crate::config::snapshot::Objects::unreadable)).
    Unknown,
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WatchSpec {
    /// Kind of the objects.
    pub kind: Kind,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<&'static str>,
    /// Name of the only object to watch; `None` for all.
    pub name: Option<String>,
    /// Label selector.
    pub labels: Option<&'static str>,
    /// Controllers that a change triggers.
    pub triggers: &'static [Controller],
    /// What passes do while the kind cannot be read.
    pub unreadable: Unreadable,
}

impl WatchSpec {
    /// Whether kind, namespace and name of an object match this watch.
    pub(super) fn covers(&self, object: &ObjectRef) -> bool {
        self.kind == object.kind
            && self.namespace.unwrap_or_default() == object.namespace
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }

    /// Whether the labels of an object match this watch. Two watches of pods in one namespace differ in nothing else.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let Some((key, value)) = self.labels.and_then(|labels| labels.split_once('=')) else {
            return true;
        };
        let labels = object.pointer("/metadata/labels");
        labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value)
    }
}

impl std::fmt::Display for WatchSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind.kind())?;
        match (self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " of {namespace}"),
            (None, Some(name)) => write!(f, " {name}"),
            (None, None) => Ok(()),
        }
    }
}

/// Everything that is watched from the start. [`Caches::watch_referenced`] adds the Secrets and ConfigMaps that a spec
/// references.
///
/// [`Caches::watch_referenced`]: super::Caches::watch_referenced
pub(super) fn watch_specs(environment: &Environment) -> Vec<WatchSpec> {
    let of_program = match environment.program {
        Program::Platform => Vec::new(),
        Program::Distribution => stock_registry(),
    };
    [
        cluster_scoped(),
        workloads(),
        access_rules(),
        secrets(),
        config_maps(),
        of_program,
        of_nodes(environment.node_ca),
    ]
    .concat()
}

/// What only the stock registry has.
fn stock_registry() -> Vec<WatchSpec> {
    let own = Some(names::NAMESPACE);
    let secrets = [names::HTPASSWD_SECRET, names::HTPASSWD_COPY, names::LOGIN_SECRET];
    let secrets = secrets.map(|name| one(Kind::Secret, own, name, &[Registry]));
    let map = one(Kind::ConfigMap, own, names::REGISTRY_CONFIG_MAP, &[Registry]);
    secrets.into_iter().chain([map]).collect()
}

/// Pods of node-ca: they tell on which nodes containerd has no directory.
fn of_nodes(node_ca: names::NodeCa) -> Vec<WatchSpec> {
    let pods = WatchSpec {
        labels: Some("name=node-ca"),
        ..all(Kind::Pod, Some(names::NAMESPACE), &[Controller::NodeCa])
    };
    match node_ca {
        names::NodeCa::Containerd => vec![pods],
        names::NodeCa::Docker | names::NodeCa::Off => Vec::new(),
    }
}

fn cluster_scoped() -> Vec<WatchSpec> {
    vec![
        one(Kind::Config, None, names::CLUSTER, Controller::ALL),
        one(Kind::ImagePruner, None, names::CLUSTER, &[Pruner, ClusterOperator]),
        one(Kind::Image, None, names::CLUSTER, &[Certificates, ImageConfig, Pruner]),
        one(
            Kind::Infrastructure,
            None,
            names::CLUSTER,
            &[Registry, Certificates, AzureStack, AzurePathFix],
        ),
        one(Kind::Proxy, None, names::CLUSTER, &[Registry]),
        WatchSpec {
            unreadable: Unreadable::Unknown,
            ..one(Kind::ApiServer, None, names::CLUSTER, &[Registry])
        },
        one(Kind::ClusterVersion, None, names::CLUSTER_VERSION, &[ImageConfig]),
        one(Kind::FeatureGate, None, names::CLUSTER, &[ImageConfig]),
        one(Kind::ClusterOperator, None, names::CLUSTER_OPERATOR, &[ClusterOperator]),
        one(Kind::Namespace, None, names::NAMESPACE, &[Registry]),
        all(Kind::Node, None, &[Registry]),
        all(Kind::StorageClass, None, &[Registry]),
    ]
}

/// All PersistentVolumes, for [`Caches::watch_volumes`](super::Caches::watch_volumes).
pub(super) fn volumes() -> WatchSpec {
    all(Kind::PersistentVolume, None, &[Registry])
}

/// What exposes the registry beside Routes, for [`Caches::watch_exposure`](super::Caches::watch_exposure).
pub(super) fn exposure() -> Vec<WatchSpec> {
    let own = Some(names::NAMESPACE);
    let helpers = [
        (Kind::BackendTlsPolicy, names::BACKEND_TLS),
        (Kind::BackendTlsPolicyAlpha, names::BACKEND_TLS),
        (Kind::ServersTransport, names::BACKEND_TLS),
        (Kind::Secret, names::BACKEND_CA),
        (Kind::ConfigMap, names::BACKEND_CA),
    ];
    let helpers = helpers.map(|(kind, name)| one(kind, own, name, &[Registry]));
    [
        all(Kind::Ingress, own, &[Registry]),
        all(Kind::HttpRoute, own, &[Registry]),
        all(Kind::IngressClass, None, &[Registry]),
    ]
    .into_iter()
    .chain(helpers)
    .map(|spec| WatchSpec {
        unreadable: Unreadable::NotServed,
        ..spec
    })
    .collect()
}

fn workloads() -> Vec<WatchSpec> {
    let own = Some(names::NAMESPACE);
    vec![
        all(Kind::Deployment, own, &[Registry, ClusterOperator]),
        one(Kind::DaemonSet, own, names::NODE_CA, &[NodeCa]),
        all(Kind::Service, own, &[Registry, Certificates, ImageConfig, NodeCa]),
        all(Kind::ServiceAccount, own, &[Registry, Pruner]),
        all(Kind::PodDisruptionBudget, own, &[Registry]),
        all(Kind::NetworkPolicy, own, &[Registry, Pruner]),
        all(Kind::Route, own, &[Registry, ImageConfig]),
        all(Kind::PersistentVolumeClaim, own, &[Registry]),
        WatchSpec {
            labels: Some("docker-registry=default"),
            ..all(Kind::Pod, own, &[Registry])
        },
        one(Kind::CronJob, own, names::PRUNER_CRON_JOB, &[Pruner]),
        all(Kind::Job, own, &[Pruner, AzurePathFix]),
    ]
}

fn access_rules() -> Vec<WatchSpec> {
    vec![
        one(Kind::ClusterRole, None, names::REGISTRY_CLUSTER_ROLE, &[Registry]),
        one(
            Kind::ClusterRoleBinding,
            None,
            names::REGISTRY_CLUSTER_ROLE_BINDING,
            &[Registry],
        ),
        one(Kind::ClusterRole, None, names::PRUNER_CLUSTER_ROLE, &[Pruner]),
        one(
            Kind::ClusterRoleBinding,
            None,
            names::PRUNER_CLUSTER_ROLE_BINDING,
            &[Pruner],
        ),
    ]
}

fn secrets() -> Vec<WatchSpec> {
    let own = Some(names::NAMESPACE);
    vec![
        one(
            Kind::Secret,
            Some(names::CONFIG_NAMESPACE),
            names::PULL_SECRET,
            &[Registry],
        ),
        one(
            Kind::Secret,
            own,
            names::SERVING_CERT_SECRET,
            &[Registry, Certificates, ClusterOperator, NodeCa],
        ),
        one(Kind::Secret, own, names::OPERATOR_CA_SECRET, &[Registry, Certificates]),
        one(Kind::Secret, own, names::PULL_SECRET_COPY, &[Registry]),
        one(Kind::Secret, own, names::PRIVATE_SECRET, &[Registry]),
        one(Kind::Secret, own, names::USER_SECRET, &[Registry]),
        one(Kind::Secret, own, names::MINTED_SECRET, &[Registry]),
    ]
}

fn config_maps() -> Vec<WatchSpec> {
    let own = Some(names::NAMESPACE);
    vec![
        one(Kind::ConfigMap, own, names::CERTIFICATES_MAP, &[Registry, Certificates]),
        one(
            Kind::ConfigMap,
            own,
            names::SERVICE_CA_MAP,
            &[Registry, Certificates, Pruner],
        ),
        one(Kind::ConfigMap, own, names::TRUSTED_CA_MAP, &[Registry]),
        one(
            Kind::ConfigMap,
            Some(names::CONFIG_MANAGED_NAMESPACE),
            names::CA_MAP,
            &[Certificates],
        ),
        one(
            Kind::ConfigMap,
            Some(names::CONFIG_NAMESPACE),
            names::CLOUD_PROVIDER_CONFIG,
            &[AzureStack, Registry],
        ),
    ]
}

fn all(kind: Kind, namespace: Option<&'static str>, triggers: &'static [Controller]) -> WatchSpec {
    WatchSpec {
        kind,
        namespace,
        name: None,
        labels: None,
        triggers,
        unreadable: Unreadable::Wait,
    }
}

fn one(kind: Kind, namespace: Option<&'static str>, name: &str, triggers: &'static [Controller]) -> WatchSpec {
    WatchSpec {
        name: Some(name.to_owned()),
        ..all(kind, namespace, triggers)
    }
}
