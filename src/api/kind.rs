//! The kinds that this operator reads or writes. Watch caches, plans and the applier use [`Kind`] as a key.

use kube::api::ApiResource;

pub use crate::names::is_subdomain;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $group:literal, $version:literal, $kind:literal, $plural:literal, $namespaced:literal;)*) => {
        /// A kind of Kubernetes object. The order has no meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// API group; empty for the core group.
            pub const fn group(self) -> &'static str {
                match self { $(Self::$variant => $group,)* }
            }

            /// API version.
            pub const fn version(self) -> &'static str {
                match self { $(Self::$variant => $version,)* }
            }

            /// Name of the kind, as in the field `kind`.
            pub const fn kind(self) -> &'static str {
                match self { $(Self::$variant => $kind,)* }
            }

            /// Plural name of the resource, as in URLs.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$variant => $plural,)* }
            }

            /// Whether the kind is namespaced.
            pub const fn namespaced(self) -> bool {
                match self { $(Self::$variant => $namespaced,)* }
            }
        }
    };
}

kinds! {
    /// The registry's configuration.
    Config = "imageregistry.operator.openshift.io", "v1", "Config", "configs", false;
    /// The pruner's configuration.
    ImagePruner = "imageregistry.operator.openshift.io", "v1", "ImagePruner", "imagepruners", false;
    /// The cluster's image configuration.
    Image = "config.openshift.io", "v1", "Image", "images", false;
    /// Platform, topology and names.
    Infrastructure = "config.openshift.io", "v1", "Infrastructure", "infrastructures", false;
    /// The cluster's proxy.
    Proxy = "config.openshift.io", "v1", "Proxy", "proxies", false;
    /// The cluster's TLS profile.
    ApiServer = "config.openshift.io", "v1", "APIServer", "apiservers", false;
    /// Release and architecture.
    ClusterVersion = "config.openshift.io", "v1", "ClusterVersion", "clusterversions", false;
    /// Feature gates by release.
    FeatureGate = "config.openshift.io", "v1", "FeatureGate", "featuregates", false;
    /// Status of the operator, for the platform's version operator.
    ClusterOperator = "config.openshift.io", "v1", "ClusterOperator", "clusteroperators", false;
    /// Exposes a Service to clients outside of the cluster.
    Route = "route.openshift.io", "v1", "Route", "routes", true;
    /// Images by name and tag.
    ImageStream = "image.openshift.io", "v1", "ImageStream", "imagestreams", true;
    /// Carries the group range of the registry's pods in an annotation.
    Namespace = "", "v1", "Namespace", "namespaces", false;
    /// Zones, labels and taints.
    Node = "", "v1", "Node", "nodes", false;
    /// Pods of the registry.
    Pod = "", "v1", "Pod", "pods", true;
    /// Credentials and certificates.
    Secret = "", "v1", "Secret", "secrets", true;
    /// CA bundles.
    ConfigMap = "", "v1", "ConfigMap", "configmaps", true;
    /// The registry's address.
    Service = "", "v1", "Service", "services", true;
    /// Identity of pods.
    ServiceAccount = "", "v1", "ServiceAccount", "serviceaccounts", true;
    /// Storage of kind `pvc`.
    PersistentVolumeClaim = "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", true;
    /// A volume that claims of its class can bind.
    PersistentVolume = "", "v1", "PersistentVolume", "persistentvolumes", false;
    /// Provisions the volumes of claims.
    StorageClass = "storage.k8s.io", "v1", "StorageClass", "storageclasses", false;
    /// Runs the registry's pods.
    Deployment = "apps", "v1", "Deployment", "deployments", true;
    /// node-ca.
    DaemonSet = "apps", "v1", "DaemonSet", "daemonsets", true;
    /// The pruner.
    CronJob = "batch", "v1", "CronJob", "cronjobs", true;
    /// A run of the pruner.
    Job = "batch", "v1", "Job", "jobs", true;
    /// Keeps one registry pod available during node drains.
    PodDisruptionBudget = "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", true;
    /// Allows traffic of the registry and of the pruner in a namespace that denies all traffic.
    NetworkPolicy = "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", true;
    /// Exposes a Service to clients outside of the cluster, by the controller of its class.
    Ingress = "networking.k8s.io", "v1", "Ingress", "ingresses", true;
    /// Names the controller of Ingresses.
    IngressClass = "networking.k8s.io", "v1", "IngressClass", "ingressclasses", false;
    /// Exposes a Service to clients outside of the cluster, by a Gateway.
    HttpRoute = "gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes", true;
    /// How a Gateway speaks TLS to a Service.
    BackendTlsPolicy = "gateway.networking.k8s.io", "v1", "BackendTLSPolicy", "backendtlspolicies", true;
    /// The same, before version 1.4 of the Gateway API.
    BackendTlsPolicyAlpha = "gateway.networking.k8s.io", "v1alpha3", "BackendTLSPolicy", "backendtlspolicies", true;
    /// How Traefik speaks TLS to a Service.
    ServersTransport = "traefik.io", "v1alpha1", "ServersTransport", "serverstransports", true;
    /// Permissions of the registry and of the pruner.
    ClusterRole = "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", false;
    /// Grants a ClusterRole to a ServiceAccount.
    ClusterRoleBinding = "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", false;
}

impl Kind {
    /// `group/version`, or `version` in the core group.
    pub fn api_version(self) -> String {
        if self.group().is_empty() {
            self.version().to_owned()
        } else {
            format!("{}/{}", self.group(), self.version())
        }
    }

    /// Looks up a kind by `apiVersion` and `kind` of an object; `None` if this operator does not use the kind.
    pub fn find(api_version: &str, kind: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|k| k.kind() == kind && k.api_version() == api_version)
    }

    /// The resource for kube's dynamic API.
    pub fn resource(self) -> ApiResource {
        ApiResource {
            group: self.group().to_owned(),
            version: self.version().to_owned(),
            api_version: self.api_version(),
            kind: self.kind().to_owned(),
            plural: self.plural().to_owned(),
        }
    }
}

/// Reference to an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectRef {
    /// Creates a reference. For a cluster-scoped kind, `namespace` is ignored.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.namespaced() { namespace } else { "" };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Whether the name is a valid object name. Fields that reference another object are not validated, and the API server
    /// rejects every watch with an invalid name.
    pub fn is_possible(&self) -> bool {
        is_subdomain(&self.name)
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind.kind(), self.name)
        } else {
            write!(f, "{} {}/{}", self.kind.kind(), self.namespace, self.name)
        }
    }
}
