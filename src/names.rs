//! Names, namespaces, labels, annotations, ports and finalizers that must match something outside of this program. Each is
//! one constant with its reason.

mod exposure;

pub use exposure::{Exposure, GatewayRef, Way};

/// Namespace of the operator and of its workloads. Users, monitoring and the release payload refer to this name.
pub const NAMESPACE: &str = "openshift-image-registry";
/// Namespace of global configuration by administrators; the operator only reads it.
pub const CONFIG_NAMESPACE: &str = "openshift-config";
/// Namespace of configuration that operators share. This operator writes [`CA_MAP`] there for the machine-config operator.
pub const CONFIG_MANAGED_NAMESPACE: &str = "openshift-config-managed";

/// Name of the singleton of each cluster-scoped configuration kind.
pub const CLUSTER: &str = "cluster";
/// Name of the singleton ClusterVersion.
pub const CLUSTER_VERSION: &str = "version";
/// Finalizer of Config: blocks its deletion until storage and registry are removed. The Go operator uses the same name, so
/// that each operator can finish a removal that the other began.
pub const FINALIZER: &str = "imageregistry.operator.openshift.io/finalizer";

/// Name of the registry's Deployment, Service and PodDisruptionBudget, and of the ClusterOperator.
pub const REGISTRY: &str = "image-registry";
/// ClusterOperator of the registry; the platform's version operator waits for it.
pub const CLUSTER_OPERATOR: &str = "image-registry";
/// ServiceAccount of the registry's pods.
pub const REGISTRY_SERVICE_ACCOUNT: &str = "registry";
/// ClusterRole of the registry.
pub const REGISTRY_CLUSTER_ROLE: &str = "system:registry";
/// Binds [`REGISTRY_CLUSTER_ROLE`] to [`REGISTRY_SERVICE_ACCOUNT`].
pub const REGISTRY_CLUSTER_ROLE_BINDING: &str = "registry-registry-role";
/// NetworkPolicy that allows traffic of the registry in a namespace that denies all traffic.
pub const REGISTRY_NETWORK_POLICY: &str = "image-registry-networkpolicy";
/// Route of `spec.defaultRoute`; the name is reserved in `spec.routes`.
pub const DEFAULT_ROUTE: &str = "default-route";
/// PersistentVolumeClaim that the operator creates if `spec.storage.pvc.claim` is empty, and at bootstrap.
pub const DEFAULT_CLAIM: &str = "image-registry-storage";
/// DaemonSet that writes the registry's CA to every node.
pub const NODE_CA: &str = "node-ca";
/// Where CRI-O, podman and Docker look for the CAs of registries.
pub const DOCKER_CERTS: &str = "/etc/docker/certs.d";
/// Where containerd has its configuration.
pub const CONTAINERD_DIRECTORY: &str = "/etc/containerd";
/// Where containerd looks for registries, if its `config_path` says so. Its documentation and its default name this directory.
pub const CONTAINERD_HOSTS: &str = "/etc/containerd/certs.d";

/// The pruner's CronJob.
pub const PRUNER_CRON_JOB: &str = "image-pruner";
/// ServiceAccount of the pruner's pods.
pub const PRUNER_SERVICE_ACCOUNT: &str = "pruner";
/// ClusterRole of the pruner.
pub const PRUNER_CLUSTER_ROLE: &str = "system:image-pruner";
/// Binds [`PRUNER_CLUSTER_ROLE`] to [`PRUNER_SERVICE_ACCOUNT`].
pub const PRUNER_CLUSTER_ROLE_BINDING: &str = "openshift-image-registry-pruner";
/// NetworkPolicy of the pruner's pods.
pub const PRUNER_NETWORK_POLICY: &str = "image-pruner-networkpolicy";

/// Key of the label on Deployment, pods and Service, and in their selectors.
pub const OPERAND_LABEL: &str = "docker-registry";
/// Value of [`OPERAND_LABEL`].
pub const OPERAND_LABEL_VALUE: &str = "default";
/// Port of the registry, in the container and in the Service.
pub const REGISTRY_PORT: u16 = 5000;
/// Name of the port, which the platform's ServiceMonitor scrapes.
pub const REGISTRY_PORT_NAME: &str = "5000-tcp";

/// Port of the stock registry's metrics and of its profiler, without TLS: only monitoring may reach it.
pub const DEBUG_PORT: u16 = 5001;
/// Name of that port in the container, for a PodMonitor.
pub const DEBUG_PORT_NAME: &str = "metrics";

/// Variable with which the registry sends each layer itself, and no client to the storage.
pub const NO_REDIRECT: &str = "REGISTRY_STORAGE_REDIRECT_DISABLE";

/// ConfigMap with the configuration file of the stock registry.
pub const REGISTRY_CONFIG_MAP: &str = "image-registry-config";
/// Secret with the users of the stock registry, which an administrator may edit. The operator makes it if it does not exist.
pub const HTPASSWD_SECRET: &str = "image-registry-htpasswd";
/// The last valid content of [`HTPASSWD_SECRET`]: what the registry's pods mount.
pub const HTPASSWD_COPY: &str = "image-registry-htpasswd-valid";
/// Key of both.
pub const HTPASSWD_KEY: &str = "htpasswd";
/// Secret with a login for all hosts of the stock registry, for pods to pull with.
pub const LOGIN_SECRET: &str = "image-registry-login";
/// The first user of the stock registry.
pub const LOGIN_USER: &str = "registry";
/// Label on what the operator made for the stock registry. A removal takes only objects with this label.
pub const STOCK_LABEL: &str = "imageregistry.operator.openshift.io/registry-program";
/// Value of [`STOCK_LABEL`].
pub const STOCK_LABEL_VALUE: &str = "distribution";
/// Annotation on the Config, set by an administrator: `true` lets everybody use the stock registry without a login, `exposed`
/// also from outside of the cluster.
pub const ANONYMOUS_ANNOTATION: &str = "imageregistry.operator.openshift.io/allow-anonymous";
/// Label on pods of the stock registry that ask nobody for a login.
pub const ANONYMOUS_LABEL: &str = "imageregistry.operator.openshift.io/anonymous";

/// Secret with the serving certificate, which the platform's service CA writes for the registry's Service.
pub const SERVING_CERT_SECRET: &str = "image-registry-tls";
/// Secret with the operator's own CA, on clusters without a service CA. It outlives the registry, so that nodes keep trusting it.
pub const OPERATOR_CA_SECRET: &str = "image-registry-operator-ca";
/// Label on Secrets with certificates that the operator issued. The operator never writes a certificate without this label.
pub const ISSUED_LABEL: &str = "imageregistry.operator.openshift.io/issued-by";
/// Value of [`ISSUED_LABEL`].
pub const ISSUED_LABEL_VALUE: &str = "image-registry-operator";
/// Copy of `openshift-config/pull-secret` for the registry's pull-through.
pub const PULL_SECRET_COPY: &str = "installation-pull-secrets";
/// The cluster's global pull secret, in [`CONFIG_NAMESPACE`].
pub const PULL_SECRET: &str = "pull-secret";
/// Secret with the storage credentials that the registry's pods use.
pub const PRIVATE_SECRET: &str = "image-registry-private-configuration";
/// Secret with storage credentials of the administrator. If it exists, the operator uses no other credentials.
pub const USER_SECRET: &str = "image-registry-private-configuration-user";
/// Secret with storage credentials that the platform's credential operator creates.
pub const MINTED_SECRET: &str = "installer-cloud-credentials";
/// ConfigMap with the CAs for the registry's pods and for node-ca.
pub const CERTIFICATES_MAP: &str = "image-registry-certificates";
/// ConfigMap with the CAs for other operators, in [`CONFIG_MANAGED_NAMESPACE`].
pub const CA_MAP: &str = "image-registry-ca";
/// ConfigMap into which the platform's service CA injects its certificate.
pub const SERVICE_CA_MAP: &str = "serviceca";
/// ConfigMap of the cloud provider, in [`CONFIG_NAMESPACE`]; contains the endpoints of Azure Stack Hub.
pub const CLOUD_PROVIDER_CONFIG: &str = "cloud-provider-config";
/// Copy of the cloud provider's ConfigMap that the platform publishes in [`CONFIG_MANAGED_NAMESPACE`].
pub const CLOUD_CONFIG_MAP: &str = "kube-cloud-config";
/// Key of the cloud's CA bundle in [`CLOUD_CONFIG_MAP`].
pub const CLOUD_CA_KEY: &str = "ca-bundle.pem";
/// Job that releases up to 4.16 ran on Azure to move blobs.
pub const AZURE_PATH_FIX_JOB: &str = "azure-path-fix";
/// Key of the service CA's certificate in [`SERVICE_CA_MAP`].
pub const SERVICE_CA_KEY: &str = "service-ca.crt";
/// ConfigMap into which the platform's network operator injects the cluster's trusted CAs.
pub const TRUSTED_CA_MAP: &str = "trusted-ca";
/// Key of CA bundles in ConfigMaps.
pub const CA_BUNDLE_KEY: &str = "ca-bundle.crt";
/// Key of the storage endpoint's CA in [`CERTIFICATES_MAP`].
pub const STORAGE_CA_KEY: &str = "storage-ca-bundle.pem";

/// Annotation on Routes and PersistentVolumeClaims that the operator created. Only its presence counts, for the Go operator
/// too.
pub const OWNED_ANNOTATION: &str = "imageregistry.openshift.io";
/// Secret and ConfigMap with the CA of the registry's certificate, for what exposes the registry on other clusters than OpenShift.
pub const BACKEND_CA: &str = "image-registry-backend-ca";
/// Key of the CA in [`BACKEND_CA`].
pub const BACKEND_CA_KEY: &str = "ca.crt";
/// BackendTLSPolicy and ServersTransport for the registry's Service.
pub const BACKEND_TLS: &str = REGISTRY;
/// Annotation on the Service: `ingress` or `gateway` while that exposes the registry. It tells a later process, which has other
/// variables, that there are objects to delete.
pub const EXPOSURE_ANNOTATION: &str = "imageregistry.operator.openshift.io/exposure";
/// Annotation on the Service: the hosts that Ingress controllers and Gateways have admitted, that of the default route first.
pub const HOSTNAMES_ANNOTATION: &str = "imageregistry.operator.openshift.io/hostnames";
/// Annotation on Service, Ingresses and HTTPRoutes: keys of the annotations for the controller, so that the operator removes them
/// when it does not set them any more.
pub const EXPOSURE_KEYS_ANNOTATION: &str = "imageregistry.operator.openshift.io/exposure-annotations";
/// Annotation with the digest of the last write. After a rollback, the Go operator detects a mismatch and writes its own form.
pub const CHECKSUM_ANNOTATION: &str = "imageregistry.operator.openshift.io/checksum";
/// Annotation on the pod template: digest of all Secrets and ConfigMaps that the pods use. A change causes a rollout.
pub const DEPENDENCIES_ANNOTATION: &str = "imageregistry.operator.openshift.io/dependencies-checksum";
/// Annotation on Deployment and DaemonSet: digest of the desired spec.
pub const SPEC_HASH_ANNOTATION: &str = "operator.openshift.io/spec-hash";
/// Annotation on the Deployment: the release that rendered it. The ClusterOperator reports the release after the rollout.
pub const VERSION_ANNOTATION: &str = "release.openshift.io/version";
/// Annotation on the Deployment: keys of the annotations from `unsupportedConfigOverrides`, so that the operator removes them
/// when the Config no longer sets them.
pub const OVERRIDES_ANNOTATION: &str = "imageregistry.operator.openshift.io/override-annotations";
/// Annotation on the Config: location of storage that this operator is about to create. After the creation
/// [`STORAGE_CREATED_ANNOTATION`] replaces it.
pub const STORAGE_INTENT_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-intent";
/// Annotation on the Config: location of storage that this operator created, or adopted by consent, and marked. It is removed when
/// the storage vanishes.
pub const STORAGE_CREATED_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-created";
/// [`STORAGE_CREATED_ANNOTATION`] where the service could not store an ownership mark: only this record proves the ownership.
pub const STORAGE_CREATED_UNMARKED_ANNOTATION: &str =
    "imageregistry.operator.openshift.io/storage-created-without-mark";
/// Annotation on the Config: location of the storage in `status.storage`, if the status does not tell it alone (Google Cloud
/// Storage in another universe than the public one).
pub const STORAGE_LOCATION_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-location";
/// Annotation on the Config: location of an object that a storage preflight check may have left behind, and the data needed
/// to find it again (JSON).
pub const STORAGE_PROBE_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-probe";
/// On the Config: objects around the storage's container (an account, an instance) that the operator created, JSON.
pub const STORAGE_STAGES_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-stages";
/// On the Config: the location whose settings the conditions report, and settings that are not attempted again until `spec.storage`
/// changes, JSON. Absent if that is the storage in use, and no setting is final.
pub const STORAGE_SETTINGS_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-settings";
/// Annotation on the Config, set by an administrator: the location ID of existing storage that the operator may own, and
/// therefore may delete later.
pub const ADOPT_STORAGE_ANNOTATION: &str = "imageregistry.operator.openshift.io/adopt-storage";
/// Annotation on the Config: the location ID of the storage that the operator owns or owned by the consent of
/// [`ADOPT_STORAGE_ANNOTATION`]. That consent counts no longer.
pub const STORAGE_ADOPTED_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-adopted";
/// Annotation on pod templates for workload partitioning.
pub const PARTITIONING_ANNOTATION: &str = "target.workload.openshift.io/management";
/// Annotation that selects the SecurityContextConstraints of a pod.
pub const SCC_ANNOTATION: &str = "openshift.io/required-scc";
/// Annotation on generated CA ConfigMaps.
pub const OWNING_COMPONENT_ANNOTATION: &str = "openshift.io/owning-component";
/// Annotation on the namespace: the platform's range of group IDs. The registry's fsGroup is the start of the range.
pub const SUPPLEMENTAL_GROUPS_ANNOTATION: &str = "openshift.io/sa.scc.supplemental-groups";
/// Annotation on a Service: name of the Secret into which the platform's service CA writes a serving certificate.
pub const SERVING_CERT_ANNOTATION: &str = "service.alpha.openshift.io/serving-cert-secret-name";
/// Annotation on a ConfigMap into which the platform's service CA injects its certificate.
pub const INJECT_SERVICE_CA_ANNOTATION: &str = "service.beta.openshift.io/inject-cabundle";
/// Label on a ConfigMap into which the platform's network operator injects the trusted CAs.
pub const INJECT_TRUSTED_CA_LABEL: &str = "config.openshift.io/inject-trusted-cabundle";
/// API group of images and image streams, through which images are pruned.
pub const IMAGE_GROUP: &str = "image.openshift.io";
/// API group and version, and plural of the kind that configures the platform's service CA. A service CA fills
/// [`SERVING_CERT_SECRET`] and [`SERVICE_CA_MAP`] if the API server serves the kind.
pub const SERVICE_CA_RESOURCE: (&str, &str) = ("operator.openshift.io/v1", "servicecas");
/// API group of SecurityContextConstraints. The platform enforces them if the API server serves the group.
pub const SECURITY_GROUP: &str = "security.openshift.io";

/// Lease of the leader election. The name is that of the Go operator, so that the two operators never run at the same time.
pub const LEASE: &str = "openshift-master-controllers";
/// Field manager of the Go operator: identifies the fields that the Go operator set.
pub const FORMER_MANAGER: &str = "cluster-image-registry-operator";
/// Reporting component of events, as in the Go operator.
pub const EVENT_COMPONENT: &str = "image-registry-operator";

/// Reporting component of events about `spec.observedConfig`, as in the Go operator.
pub const CONFIG_OBSERVER_COMPONENT: &str = "image-registry-operator-config-observer";
/// The operator's own Deployment, which events refer to.
pub const OPERATOR_DEPLOYMENT: &str = "cluster-image-registry-operator";
/// Name of the entry in `status.versions` of the ClusterOperator that contains the operator's version.
pub const OPERATOR_VERSION_NAME: &str = "operator";
/// Prefix of the user agent. With the version it must not exceed 24 characters, Azure's limit for application IDs.
pub const USER_AGENT: &str = "ocp-ciro";
/// Placeholder that the release tool replaces with the version of the release. If the placeholder remains, the cluster's
/// version applies.
pub const SNAPSHOT_VERSION: &str = "0.0.1-snapshot";

/// The program in the registry's image (`REGISTRY_PROGRAM`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program {
    /// The registry of OKD and OpenShift.
    #[default]
    Platform,
    /// The stock `distribution` registry, v3.
    Distribution,
}

impl Program {
    /// The program with this name in `REGISTRY_PROGRAM`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "platform" => Some(Self::Platform),
            "distribution" => Some(Self::Distribution),
            _ => None,
        }
    }
}

/// For which container runtime node-ca writes (`NODE_CA`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeCa {
    /// CRI-O, podman and Docker: [`DOCKER_CERTS`].
    #[default]
    Docker,
    /// containerd: [`CONTAINERD_HOSTS`].
    Containerd,
    /// There is no node-ca.
    Off,
}

impl NodeCa {
    /// What this value of `NODE_CA` selects.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "docker" => Some(Self::Docker),
            "containerd" => Some(Self::Containerd),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// Whether the string is a DNS-1123 subdomain, the format of most object names.
pub fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
