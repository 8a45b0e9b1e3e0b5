//! References to the objects that the tests read and write. Every suite takes them from here.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;

/// The cluster-scoped object `cluster` of a kind, such as the Infrastructure or the Proxy of the platform.
pub fn singleton(kind: Kind) -> ObjectRef {
    ObjectRef::new(kind, "", names::CLUSTER)
}

/// An object in the registry's namespace.
pub fn operand(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, names::NAMESPACE, name)
}

/// An object in the namespace `openshift-config`, where administrators put their input.
pub fn user_input(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef::new(kind, names::CONFIG_NAMESPACE, name)
}

pub fn config_ref() -> ObjectRef {
    singleton(Kind::Config)
}

pub fn image_pruner() -> ObjectRef {
    singleton(Kind::ImagePruner)
}

pub fn cluster_operator() -> ObjectRef {
    ObjectRef::new(Kind::ClusterOperator, "", names::CLUSTER_OPERATOR)
}

/// The cluster's image configuration.
pub fn image() -> ObjectRef {
    singleton(Kind::Image)
}

pub fn infrastructure() -> ObjectRef {
    singleton(Kind::Infrastructure)
}

pub fn api_server() -> ObjectRef {
    singleton(Kind::ApiServer)
}

pub fn proxy() -> ObjectRef {
    singleton(Kind::Proxy)
}

pub fn feature_gate() -> ObjectRef {
    singleton(Kind::FeatureGate)
}

pub fn cluster_version() -> ObjectRef {
    ObjectRef::new(Kind::ClusterVersion, "", names::CLUSTER_VERSION)
}

/// The registry's namespace.
pub fn namespace() -> ObjectRef {
    ObjectRef::new(Kind::Namespace, "", names::NAMESPACE)
}

/// The cluster's pull secret, which the operator copies.
pub fn pull_secret() -> ObjectRef {
    user_input(Kind::Secret, names::PULL_SECRET)
}

pub fn deployment() -> ObjectRef {
    operand(Kind::Deployment, names::REGISTRY)
}

pub fn service() -> ObjectRef {
    operand(Kind::Service, names::REGISTRY)
}

pub fn disruption_budget() -> ObjectRef {
    operand(Kind::PodDisruptionBudget, names::REGISTRY)
}

pub fn network_policy() -> ObjectRef {
    operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY)
}

pub fn service_account() -> ObjectRef {
    operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT)
}

pub fn default_route() -> ObjectRef {
    operand(Kind::Route, names::DEFAULT_ROUTE)
}

/// The PersistentVolumeClaim that the operator creates.
pub fn default_claim() -> ObjectRef {
    operand(Kind::PersistentVolumeClaim, names::DEFAULT_CLAIM)
}

pub fn cluster_role() -> ObjectRef {
    ObjectRef::new(Kind::ClusterRole, "", names::REGISTRY_CLUSTER_ROLE)
}

pub fn cluster_role_binding() -> ObjectRef {
    ObjectRef::new(Kind::ClusterRoleBinding, "", names::REGISTRY_CLUSTER_ROLE_BINDING)
}

/// The DaemonSet node-ca.
pub fn daemon_set() -> ObjectRef {
    operand(Kind::DaemonSet, names::NODE_CA)
}

/// The CronJob of the image pruner.
pub fn cron_job() -> ObjectRef {
    operand(Kind::CronJob, names::PRUNER_CRON_JOB)
}

/// The map with every CA that the registry and its clients trust.
pub fn certificates_map() -> ObjectRef {
    operand(Kind::ConfigMap, names::CERTIFICATES_MAP)
}

/// The map with the CA of the registry, in `openshift-config-managed`.
pub fn ca_map() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_MANAGED_NAMESPACE, names::CA_MAP)
}

/// Every object of a registry without routes.
pub fn operands() -> Vec<ObjectRef> {
    vec![
        cluster_role(),
        cluster_role_binding(),
        service_account(),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        service(),
        deployment(),
        disruption_budget(),
        network_policy(),
    ]
}
