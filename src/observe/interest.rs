//! What is watched, and whose pass a change triggers.
//!
//! Secrets and ConfigMaps are watched by name: namespaces may hold thousands that are not ours, and none of them may cost
//! memory or time.

use crate::api::{Kind, ObjectRef};
use crate::names;

/// A loop that passes are run by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// The registry, its storage and the Config.
    Registry,
    /// The CA maps.
    Certificates,
    /// The ClusterOperator.
    ClusterOperator,
}

impl Controller {
    /// Every controller.
    pub const ALL: &[Self] = &[Self::Registry, Self::Certificates, Self::ClusterOperator];
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interest {
    /// Kind of the objects.
    pub kind: Kind,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<&'static str>,
    /// Name of the one object that counts; `None` for all.
    pub name: Option<String>,
    /// Label selector.
    pub labels: Option<&'static str>,
    /// Whose passes a change triggers.
    pub triggers: &'static [Controller],
}

impl Interest {
    /// Whether an object is within this watch, as far as kind, namespace and name tell.
    pub fn covers(&self, object: &ObjectRef) -> bool {
        self.kind == object.kind
            && self.namespace.unwrap_or_default() == object.namespace
            && self.name.as_ref().is_none_or(|name| *name == object.name)
    }
}

const REGISTRY: &[Controller] = &[Controller::Registry];
const BOTH: &[Controller] = &[Controller::Registry, Controller::Certificates];
const STATUS: &[Controller] = &[Controller::Registry, Controller::ClusterOperator];
const CERTIFICATES: &[Controller] = &[Controller::Certificates];
const REPORT: &[Controller] = &[Controller::ClusterOperator];
const ALL: &[Controller] = Controller::ALL;

/// Everything that is watched from the start. Which Secret or map the Config names comes on top ([`World::follow`]).
///
/// [`World::follow`]: super::World::follow
pub fn interests() -> Vec<Interest> {
    let whole = |kind, namespace, triggers| Interest {
        kind,
        namespace,
        name: None,
        labels: None,
        triggers,
    };
    let named = |kind, namespace, name: &str, triggers| Interest {
        kind,
        namespace,
        name: Some(name.to_owned()),
        labels: None,
        triggers,
    };
    let own = Some(names::NAMESPACE);
    let mut all = vec![
        named(Kind::Config, None, names::CLUSTER, ALL),
        named(Kind::ImagePruner, None, names::CLUSTER, REPORT),
        named(Kind::Image, None, names::CLUSTER, CERTIFICATES),
        named(Kind::Infrastructure, None, names::CLUSTER, BOTH),
        named(Kind::Proxy, None, names::CLUSTER, REGISTRY),
        named(Kind::ApiServer, None, names::CLUSTER, REGISTRY),
        named(Kind::ClusterOperator, None, names::CLUSTER_OPERATOR, REPORT),
        named(Kind::Namespace, None, names::NAMESPACE, REGISTRY),
        whole(Kind::Node, None, REGISTRY),
        whole(Kind::StorageClass, None, REGISTRY),
        whole(Kind::Deployment, own, STATUS),
        whole(Kind::Service, own, BOTH),
        whole(Kind::ServiceAccount, own, REGISTRY),
        whole(Kind::PodDisruptionBudget, own, REGISTRY),
        whole(Kind::NetworkPolicy, own, REGISTRY),
        whole(Kind::Route, own, REGISTRY),
        whole(Kind::PersistentVolumeClaim, own, REGISTRY),
        named(Kind::ClusterRole, None, names::REGISTRY_CLUSTER_ROLE, REGISTRY),
        named(
            Kind::ClusterRoleBinding,
            None,
            names::REGISTRY_CLUSTER_ROLE_BINDING,
            REGISTRY,
        ),
        named(
            Kind::Secret,
            Some(names::CONFIG_NAMESPACE),
            names::PULL_SECRET,
            REGISTRY,
        ),
        named(Kind::ConfigMap, own, names::CERTIFICATES_MAP, BOTH),
        named(Kind::ConfigMap, own, names::SERVICE_CA_MAP, BOTH),
        named(Kind::ConfigMap, own, names::TRUSTED_CA_MAP, REGISTRY),
        named(
            Kind::ConfigMap,
            Some(names::CONFIG_MANAGED_NAMESPACE),
            names::CA_MAP,
            CERTIFICATES,
        ),
        Interest {
            labels: Some("docker-registry=default"),
            ..whole(Kind::Pod, own, REGISTRY)
        },
    ];
    let secrets = [
        names::SERVING_CERT_SECRET,
        names::PULL_SECRET_COPY,
        names::PRIVATE_SECRET,
        names::USER_SECRET,
        names::MINTED_SECRET,
    ];
    all.extend(secrets.map(|name| named(Kind::Secret, own, name, REGISTRY)));
    all
}
