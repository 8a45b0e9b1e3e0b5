//! Every name, namespace, label, annotation, port and finalizer that must match something outside this program: typed
//! constants, each once, with the reason why it is what it is.

/// Namespace of the operator and of everything it runs (fixed: users, monitoring and the release payload name it).
pub const NAMESPACE: &str = "openshift-image-registry";
/// Where administrators keep global configuration; read only.
pub const CONFIG_NAMESPACE: &str = "openshift-config";
/// Where the platform keeps generated configuration; `image-registry-ca` is written there for the machine-config operator.
pub const CONFIG_MANAGED_NAMESPACE: &str = "openshift-config-managed";

/// The one instance of each cluster-scoped configuration kind that counts.
pub const CLUSTER: &str = "cluster";
/// The one ClusterVersion.
pub const CLUSTER_VERSION: &str = "version";
/// Guards storage and operand until they are removed; the Go operator's, so that either can finish what the other began.
pub const FINALIZER: &str = "imageregistry.operator.openshift.io/finalizer";

/// Name of the registry's Deployment, Service and PodDisruptionBudget, and of the ClusterOperator.
pub const REGISTRY: &str = "image-registry";
/// ClusterOperator that the platform's version operator waits for.
pub const CLUSTER_OPERATOR: &str = "image-registry";
/// ServiceAccount of the registry's pods.
pub const REGISTRY_SERVICE_ACCOUNT: &str = "registry";
/// ClusterRole of the registry.
pub const REGISTRY_CLUSTER_ROLE: &str = "system:registry";
/// Binds [`REGISTRY_CLUSTER_ROLE`] to [`REGISTRY_SERVICE_ACCOUNT`].
pub const REGISTRY_CLUSTER_ROLE_BINDING: &str = "registry-registry-role";
/// NetworkPolicy that opens the registry in a namespace that denies all.
pub const REGISTRY_NETWORK_POLICY: &str = "image-registry-networkpolicy";
/// Route made for `spec.defaultRoute`; reserved in `spec.routes`.
pub const DEFAULT_ROUTE: &str = "default-route";
/// Claim made when `spec.storage.pvc.claim` is empty, and at bootstrap.
pub const DEFAULT_CLAIM: &str = "image-registry-storage";
/// DaemonSet that hands the registry's CA to every node.
pub const NODE_CA: &str = "node-ca";

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

/// Label on Deployment, pods, Service, and all their selectors: key.
pub const OPERAND_LABEL: &str = "docker-registry";
/// Label on Deployment, pods, Service, and all their selectors: value.
pub const OPERAND_LABEL_VALUE: &str = "default";
/// The registry's port, in the container and of the Service.
pub const REGISTRY_PORT: u16 = 5000;
/// Port name that the platform's ServiceMonitor scrapes.
pub const REGISTRY_PORT_NAME: &str = "5000-tcp";

/// Written by the platform's service CA for the registry's Service.
pub const SERVING_CERT_SECRET: &str = "image-registry-tls";
/// Copy of `openshift-config/pull-secret` for the registry's pull-through.
pub const PULL_SECRET_COPY: &str = "installation-pull-secrets";
/// The cluster's global pull secret, in [`CONFIG_NAMESPACE`].
pub const PULL_SECRET: &str = "pull-secret";
/// What the registry's pods need of the storage credentials.
pub const PRIVATE_SECRET: &str = "image-registry-private-configuration";
/// Storage credentials set by the administrator; its existence alone makes it the only source.
pub const USER_SECRET: &str = "image-registry-private-configuration-user";
/// Storage credentials minted by the platform's credential operator.
pub const MINTED_SECRET: &str = "installer-cloud-credentials";
/// CA ConfigMap of the registry and of node-ca.
pub const CERTIFICATES_MAP: &str = "image-registry-certificates";
/// CA ConfigMap for other operators, in [`CONFIG_MANAGED_NAMESPACE`].
pub const CA_MAP: &str = "image-registry-ca";
/// ConfigMap that the platform's service CA fills with its certificate.
pub const SERVICE_CA_MAP: &str = "serviceca";
/// ConfigMap of the platform's cloud provider, in [`CONFIG_NAMESPACE`]; Azure Stack Hub's endpoints are in it.
pub const CLOUD_PROVIDER_CONFIG: &str = "cloud-provider-config";
/// ConfigMap of the platform's cloud provider as the platform hands it on, in [`CONFIG_MANAGED_NAMESPACE`].
pub const CLOUD_CONFIG_MAP: &str = "kube-cloud-config";
/// Key of the cloud's own CA bundle in [`CLOUD_CONFIG_MAP`].
pub const CLOUD_CA_KEY: &str = "ca-bundle.pem";
/// Job that releases up to 4.16 ran on Azure.
pub const AZURE_PATH_FIX_JOB: &str = "azure-path-fix";
/// Key under which the platform's service CA puts its certificate.
pub const SERVICE_CA_KEY: &str = "service-ca.crt";
/// ConfigMap that the platform's network operator fills with the cluster's trusted CAs.
pub const TRUSTED_CA_MAP: &str = "trusted-ca";
/// Key of trusted CA bundles.
pub const CA_BUNDLE_KEY: &str = "ca-bundle.crt";
/// Key of the storage CA in [`CERTIFICATES_MAP`].
pub const STORAGE_CA_KEY: &str = "storage-ca-bundle.pem";

/// Marks Routes and claims as made by the operator; only its presence counts, on both sides.
pub const OWNED_ANNOTATION: &str = "imageregistry.openshift.io";
/// Digest of what was last written; lets a rolled-back Go operator see a mismatch and re-assert its own form.
pub const CHECKSUM_ANNOTATION: &str = "imageregistry.operator.openshift.io/checksum";
/// On the pod template: digest of the content of everything the pods mount or read; a change rolls them.
pub const DEPENDENCIES_ANNOTATION: &str = "imageregistry.operator.openshift.io/dependencies-checksum";
/// On Deployment and DaemonSet: digest of the desired spec.
pub const SPEC_HASH_ANNOTATION: &str = "operator.openshift.io/spec-hash";
/// On the Deployment: the release that rendered it; the ClusterOperator reports it once rolled out.
pub const VERSION_ANNOTATION: &str = "release.openshift.io/version";
/// On the Deployment: which annotations came from `unsupportedConfigOverrides`, so that they go when no longer asked for.
pub const OVERRIDES_ANNOTATION: &str = "imageregistry.operator.openshift.io/override-annotations";
/// On the Config: where storage is about to be, or was, created by this operator.
pub const STORAGE_INTENT_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-intent";
/// On the Config: where a probe object may be that tried storage out, with what finds it again (JSON).
pub const STORAGE_PROBE_ANNOTATION: &str = "imageregistry.operator.openshift.io/storage-probe";
/// On the Config, set by an administrator: consent to own (and later delete) existing storage of that location ID.
pub const ADOPT_STORAGE_ANNOTATION: &str = "imageregistry.operator.openshift.io/adopt-storage";
/// Workload partitioning, on pod templates.
pub const PARTITIONING_ANNOTATION: &str = "target.workload.openshift.io/management";
/// Pins the security context constraint of a pod.
pub const SCC_ANNOTATION: &str = "openshift.io/required-scc";
/// On generated CA maps.
pub const OWNING_COMPONENT_ANNOTATION: &str = "openshift.io/owning-component";
/// On the namespace: the platform's group range, whose start is the registry's fsGroup.
pub const SUPPLEMENTAL_GROUPS_ANNOTATION: &str = "openshift.io/sa.scc.supplemental-groups";
/// On a Service: the platform's service CA writes a serving certificate into the Secret it names.
pub const SERVING_CERT_ANNOTATION: &str = "service.alpha.openshift.io/serving-cert-secret-name";
/// On a ConfigMap: the platform's service CA injects its certificate.
pub const INJECT_SERVICE_CA_ANNOTATION: &str = "service.beta.openshift.io/inject-cabundle";
/// On a ConfigMap: the platform's network operator injects the trusted CAs.
pub const INJECT_TRUSTED_CA_LABEL: &str = "config.openshift.io/inject-trusted-cabundle";
/// API group whose presence tells that the platform enforces security context constraints.
pub const SECURITY_GROUP: &str = "security.openshift.io";

/// The lock that keeps two operators (this one, or the Go one) from acting at once; the odd name is what the Go operator uses.
pub const LEASE: &str = "openshift-master-controllers";
/// Field manager of the Go operator: tells what it set on objects that it left.
pub const FORMER_MANAGER: &str = "cluster-image-registry-operator";
/// Component in events, as the Go operator's.
pub const EVENT_COMPONENT: &str = "image-registry-operator";

/// The same, in events about what is observed of the cluster's configuration.
pub const CONFIG_OBSERVER_COMPONENT: &str = "image-registry-operator-config-observer";
/// The operator's own Deployment, to which events are attached.
pub const OPERATOR_DEPLOYMENT: &str = "cluster-image-registry-operator";
/// Marks which status entry of a ClusterOperator carries the operator's version.
pub const OPERATOR_VERSION_NAME: &str = "operator";
/// User agent prefix; with the version at most 24 characters (Azure's limit for application ids).
pub const USER_AGENT: &str = "ocp-ciro";
/// The release tool replaces this text by the release's version; while it stands, the cluster's version counts.
pub const SNAPSHOT_VERSION: &str = "0.0.1-snapshot";
