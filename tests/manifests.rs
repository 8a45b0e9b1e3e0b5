//! The contents of `deploy/`, checked without a cluster: which objects, in which order, for which profiles, with which rights.
//!
//! Variant B of the operator's Deployment is generated from variant A: `UPDATE_GOLDEN=1 cargo test --test manifests` writes it.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use image_registry_operator::names;
use serde_json::{Value, json};

const OPERATOR: &str = names::OPERATOR_DEPLOYMENT;
const HOME: &str = names::NAMESPACE;
const VARIANT_A: &str = "07-operator.yaml";
const VARIANT_B: &str = "07-operator-ibm-cloud-managed.yaml";
const IMAGE_REFERENCES: &str = "image-references";

// ---- reading ----

/// One object of one file.
struct Manifest {
    /// File name, without folder.
    file: String,
    object: Value,
}

impl Manifest {
    fn kind(&self) -> &str {
        text(&self.object, "/kind")
    }
    fn name(&self) -> &str {
        text(&self.object, "/metadata/name")
    }
    fn namespace(&self) -> &str {
        text(&self.object, "/metadata/namespace")
    }
    fn annotation(&self, key: &str) -> Option<&str> {
        self.object["metadata"]["annotations"][key].as_str()
    }
    fn label(&self, key: &str) -> Option<&str> {
        self.object["metadata"]["labels"][key].as_str()
    }
    /// Whether the version operator applies it in clusters of that profile.
    fn in_profile(&self, profile: Profile) -> bool {
        self.annotation(&format!("include.release.openshift.io/{}", profile.name())) == Some("true")
    }
    fn rules(&self) -> &[Value] {
        list(&self.object, "/rules")
    }
    /// The name that decides on the order in the payload: files without a level of their own get level 50.
    fn payload_name(&self) -> String {
        if self.file.starts_with("0000_") {
            self.file.clone()
        } else {
            format!("0000_50_{OPERATOR}_{}", self.file)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Profile {
    Hypershift,
    IbmCloudManaged,
    SelfManaged,
    SingleNode,
}

use Profile::{Hypershift as H, IbmCloudManaged as I, SelfManaged as S, SingleNode as N};
const PROFILES: [Profile; 4] = [H, I, S, N];

impl Profile {
    fn name(self) -> &'static str {
        match self {
            H => "hypershift",
            I => "ibm-cloud-managed",
            S => "self-managed-high-availability",
            N => "single-node-developer",
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Names of the files directly in a folder, in byte order.
fn files(name: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(name)).unwrap_or_else(|error| panic!("folder {name}: {error}"));
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "folder {name} is empty");
    files
}

fn parse(file: &str, content: &str) -> Vec<Manifest> {
    let objects: Vec<Value> =
        serde_saphyr::from_multiple(content).unwrap_or_else(|error| panic!("{file} is not YAML: {error}"));
    objects
        .into_iter()
        .map(|object| Manifest {
            file: file.to_owned(),
            object,
        })
        .collect()
}

fn read(folder_name: &str, file: &str) -> String {
    let path = folder(folder_name).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Everything that is applied to a cluster from `deploy/`, in the payload's order.
fn install_set() -> Vec<Manifest> {
    let mut all: Vec<Manifest> = files("deploy")
        .iter()
        .filter(|file| *file != IMAGE_REFERENCES)
        .flat_map(|file| parse(file, &read("deploy", file)))
        .collect();
    all.sort_by_key(Manifest::payload_name); // stable: objects of one file keep their order
    all
}

fn image_references() -> Manifest {
    parse(IMAGE_REFERENCES, &read("deploy", IMAGE_REFERENCES)).remove(0)
}

fn find<'a>(set: &'a [Manifest], kind: &str, namespace: &str, name: &str) -> &'a Manifest {
    set.iter()
        .find(|m| m.kind() == kind && m.namespace() == namespace && m.name() == name)
        .unwrap_or_else(|| panic!("no {kind} {namespace}/{name}"))
}

fn in_file<'a>(set: &'a [Manifest], file: &str) -> &'a Value {
    &set.iter()
        .find(|m| m.file == file)
        .unwrap_or_else(|| panic!("no {file}"))
        .object
}

/// The string at a JSON pointer; empty if there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at a JSON pointer; empty if there is none.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The strings in the list at a JSON pointer.
fn strings<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    list(value, pointer)
        .iter()
        .map(|item| item.as_str().expect("a string"))
        .collect()
}

/// Calls `visit` with every string in a value, and the key under which it stands.
fn each_string<'a>(value: &'a Value, key: &'a str, visit: &mut impl FnMut(&'a str, &'a str)) {
    match value {
        Value::String(string) => visit(key, string),
        Value::Array(items) => items.iter().for_each(|item| each_string(item, key, visit)),
        Value::Object(fields) => fields.iter().for_each(|(key, item)| each_string(item, key, visit)),
        _ => {}
    }
}

// ---- objects, profiles, order ----

/// Every object of the install set but the two CRDs: kind, namespace, name, profiles.
fn expected_objects() -> Vec<(&'static str, &'static str, &'static str, &'static [Profile])> {
    const EVERYWHERE: &[Profile] = &[H, I, S, N];
    const OWN_CONTROL_PLANE: &[Profile] = &[S, N];
    const HOSTED_CONTROL_PLANE: &[Profile] = &[H, I];
    const CCO: &str = "openshift-cloud-credential-operator";
    vec![
        ("Namespace", "", HOME, EVERYWHERE),
        ("CredentialsRequest", CCO, "openshift-image-registry", EVERYWHERE),
        ("CredentialsRequest", CCO, "openshift-image-registry-azure", EVERYWHERE),
        ("CredentialsRequest", CCO, "openshift-image-registry-gcs", EVERYWHERE),
        ("CredentialsRequest", CCO, "openshift-image-registry-ibmcos", EVERYWHERE),
        (
            "CredentialsRequest",
            CCO,
            "openshift-image-registry-ibmcos-powervs",
            EVERYWHERE,
        ),
        (
            "CredentialsRequest",
            CCO,
            "openshift-image-registry-openstack",
            EVERYWHERE,
        ),
        ("ClusterRole", "", OPERATOR, EVERYWHERE),
        ("Role", HOME, OPERATOR, EVERYWHERE),
        ("Role", names::CONFIG_NAMESPACE, OPERATOR, EVERYWHERE),
        ("Role", names::CONFIG_MANAGED_NAMESPACE, OPERATOR, EVERYWHERE),
        (
            "ClusterRoleBinding",
            "",
            "default-account-cluster-image-registry-operator",
            EVERYWHERE,
        ),
        ("RoleBinding", HOME, OPERATOR, EVERYWHERE),
        ("RoleBinding", names::CONFIG_NAMESPACE, OPERATOR, EVERYWHERE),
        ("RoleBinding", names::CONFIG_MANAGED_NAMESPACE, OPERATOR, EVERYWHERE),
        ("ServiceAccount", HOME, OPERATOR, EVERYWHERE),
        ("ConfigMap", HOME, names::TRUSTED_CA_MAP, EVERYWHERE),
        ("Role", HOME, names::NODE_CA, EVERYWHERE),
        ("RoleBinding", HOME, names::NODE_CA, EVERYWHERE),
        ("ServiceAccount", HOME, names::NODE_CA, EVERYWHERE),
        (
            "NetworkPolicy",
            HOME,
            "image-registry-operator-networkpolicy",
            OWN_CONTROL_PLANE,
        ),
        ("ConfigMap", HOME, "image-registry-operator-config", EVERYWHERE),
        ("Deployment", HOME, OPERATOR, OWN_CONTROL_PLANE), // variant A
        ("Deployment", HOME, OPERATOR, HOSTED_CONTROL_PLANE), // variant B
        ("Service", HOME, "image-registry-operator", EVERYWHERE),
        ("ClusterOperator", "", names::CLUSTER_OPERATOR, EVERYWHERE),
        ("NetworkPolicy", HOME, "default-deny-all", OWN_CONTROL_PLANE),
        ("PrometheusRule", HOME, "image-registry-operator-alerts", EVERYWHERE),
        ("PrometheusRule", HOME, "image-registry-rules", EVERYWHERE),
        ("PrometheusRule", HOME, "imagestreams-rules", EVERYWHERE),
        ("ClusterRole", "", "registry-monitoring", EVERYWHERE),
        ("ClusterRoleBinding", "", "registry-monitoring", EVERYWHERE),
        ("Role", HOME, "prometheus-k8s", EVERYWHERE),
        ("RoleBinding", HOME, "prometheus-k8s", EVERYWHERE),
        ("ServiceMonitor", HOME, "image-registry", EVERYWHERE),
        ("ServiceMonitor", HOME, "image-registry-operator", EVERYWHERE),
    ]
}

/// What is left of a list when each item of the other one is taken out once.
fn without<T: PartialEq + Clone>(from: &[T], taken: &[T]) -> Vec<T> {
    let mut rest = from.to_vec();
    for item in taken {
        if let Some(position) = rest.iter().position(|other| other == item) {
            rest.remove(position);
        }
    }
    rest
}

// deploy 1
#[test]
fn each_object_exists_once_in_each_of_its_profiles_and_in_no_other() {
    let mut wanted = Vec::new();
    for (kind, namespace, name, profiles) in expected_objects() {
        wanted.extend(
            profiles
                .iter()
                .map(|profile| (*profile, kind.to_owned(), namespace.to_owned(), name.to_owned())),
        );
    }
    let mut found = Vec::new();
    for m in install_set() {
        for profile in PROFILES.into_iter().filter(|profile| m.in_profile(*profile)) {
            found.push((
                profile,
                m.kind().to_owned(),
                m.namespace().to_owned(),
                m.name().to_owned(),
            ));
        }
    }
    // Lists, not sets, so that a second copy of an object is found.
    assert_eq!(without(&wanted, &found), [], "missing");
    assert_eq!(without(&found, &wanted), [], "not expected, or there twice");
}

// deploy 1
#[test]
fn both_crds_exist_in_every_profile_and_without_the_capability() {
    let crds: Vec<Manifest> = files("crds")
        .iter()
        .flat_map(|file| parse(file, &read("crds", file)))
        .collect();
    let found: Vec<_> = crds
        .iter()
        .map(|crd| (crd.file.as_str(), crd.kind(), crd.name()))
        .collect();
    let kind = "CustomResourceDefinition";
    assert_eq!(
        found,
        [
            (
                "00_configs.crd.yaml",
                kind,
                "configs.imageregistry.operator.openshift.io"
            ),
            (
                "01_imagepruners.crd.yaml",
                kind,
                "imagepruners.imageregistry.operator.openshift.io"
            ),
        ]
    );
    for crd in &crds {
        // All four profiles install the CRDs from here; otherwise two profiles would depend on another component.
        let missing: Vec<_> = PROFILES
            .into_iter()
            .filter(|profile| !crd.in_profile(*profile))
            .collect();
        assert!(missing.is_empty(), "{} lacks profiles {missing:?}", crd.file);
        // The CRDs are installed even if the capability is disabled.
        assert_eq!(crd.annotation("capability.openshift.io/name"), None, "{}", crd.file);
    }
}

// deploy 2
#[test]
fn each_profile_has_exactly_one_operator() {
    let set = install_set();
    for profile in PROFILES {
        let operators = set
            .iter()
            .filter(|m| m.kind() == "Deployment" && m.name() == OPERATOR && m.in_profile(profile))
            .count();
        assert_eq!(operators, 1, "{profile:?}");
    }
}

// deploy 3
#[test]
fn everything_belongs_to_the_image_registry_capability() {
    let set = install_set();
    let references = image_references();
    for m in set
        .iter()
        .chain([&references])
        .filter(|m| m.kind() != "CredentialsRequest")
    {
        assert_eq!(
            m.annotation("capability.openshift.io/name"),
            Some("ImageRegistry"),
            "{}: {} {}",
            m.file,
            m.kind(),
            m.name()
        );
    }
}

// deploy 6
#[test]
fn the_namespace_comes_before_what_is_in_it_and_the_allow_policy_before_the_deny_policy() {
    let set = install_set();
    let position = |kind: &str, name: &str| set.iter().position(|m| m.kind() == kind && m.name() == name).unwrap();
    let namespace = position("Namespace", HOME);
    let first_inside = set.iter().position(|m| !m.namespace().is_empty()).unwrap();
    assert!(
        namespace < first_inside,
        "{} comes before the namespace",
        set[first_inside].file
    );
    assert!(
        position("NetworkPolicy", "image-registry-operator-networkpolicy")
            < position("NetworkPolicy", "default-deny-all")
    );
}

// deploy 7
#[test]
fn the_cluster_operator_comes_after_both_deployments() {
    let set = install_set();
    let last_deployment = set.iter().rposition(|m| m.kind() == "Deployment").unwrap();
    let cluster_operator = set.iter().position(|m| m.kind() == "ClusterOperator").unwrap();
    assert!(last_deployment < cluster_operator);
}

// deploy 8
#[test]
fn each_file_has_a_name_that_is_copied_into_the_image() {
    let stray: Vec<_> = files("deploy")
        .into_iter()
        .filter(|file| !file.starts_with('0') && file != IMAGE_REFERENCES)
        .collect();
    assert!(
        stray.is_empty(),
        "would be left out of /manifests without a word: {stray:?}"
    );
    for file in files("deploy").iter().filter(|file| *file != IMAGE_REFERENCES) {
        assert!(
            [".yaml", ".yml", ".json"]
                .iter()
                .any(|extension| file.ends_with(extension)),
            "{file}: the version operator would not apply it"
        );
    }
}

// ---- credentials ----

// deploy 4
#[test]
fn credentials_requests_need_both_capabilities_and_name_one_secret() {
    let set = install_set();
    let requests: Vec<_> = set.iter().filter(|m| m.kind() == "CredentialsRequest").collect();
    assert_eq!(requests.len(), 6);
    for m in requests {
        assert_eq!(
            m.annotation("capability.openshift.io/name"),
            Some("ImageRegistry+CloudCredential"),
            "{}",
            m.file
        );
        assert_eq!(
            m.object["spec"]["secretRef"],
            json!({"namespace": HOME, "name": names::MINTED_SECRET}),
            "{}",
            m.file
        );
    }
}

/// Each of the words with `prefix` before it.
fn prefixed(prefix: &str, words: &str) -> Vec<String> {
    words.split_whitespace().map(|word| format!("{prefix}{word}")).collect()
}

fn assert_same_set(what: &str, found: &[&str], wanted: &[String]) {
    let as_set: BTreeSet<&str> = found.iter().copied().collect();
    assert_eq!(as_set.len(), found.len(), "{what}: something is there twice");
    assert_eq!(as_set, wanted.iter().map(String::as_str).collect(), "{what}");
}

// deploy 5
#[test]
fn credentials_requests_ask_for_exactly_these_rights() {
    let set = install_set();
    let spec = |name: &str| {
        let m = set
            .iter()
            .find(|m| m.kind() == "CredentialsRequest" && m.name() == name)
            .unwrap();
        &m.object["spec"]
    };
    let accounts = [OPERATOR, names::REGISTRY_SERVICE_ACCOUNT];

    let aws = spec("openshift-image-registry");
    assert_eq!(aws["providerSpec"]["kind"], "AWSProviderSpec");
    assert_eq!(strings(aws, "/serviceAccountNames"), accounts);
    let [statement] = list(aws, "/providerSpec/statementEntries") else {
        panic!("not one statement")
    };
    assert_eq!(
        (&statement["effect"], &statement["resource"]),
        (&json!("Allow"), &json!("*"))
    );
    // The last two are more than the Go operator asks for: without them a versioned bucket cannot be emptied.
    let actions = prefixed(
        "s3:",
        "CreateBucket DeleteBucket PutBucketTagging GetBucketTagging PutBucketPublicAccessBlock \
         GetBucketPublicAccessBlock PutEncryptionConfiguration GetEncryptionConfiguration PutLifecycleConfiguration \
         GetLifecycleConfiguration GetBucketLocation ListBucket GetObject PutObject DeleteObject \
         ListBucketMultipartUploads AbortMultipartUpload ListMultipartUploadParts \
         ListBucketVersions DeleteObjectVersion",
    );
    assert_same_set("AWS", &strings(statement, "/action"), &actions);

    let azure = spec("openshift-image-registry-azure");
    assert_eq!(azure["providerSpec"]["kind"], "AzureProviderSpec");
    assert_eq!(strings(azure, "/serviceAccountNames"), accounts);
    let mut wanted = prefixed(
        "Microsoft.Storage/storageAccounts/",
        "blobServices/read blobServices/containers/read blobServices/containers/write blobServices/containers/delete \
         blobServices/generateUserDelegationKey/action read write delete listKeys/action \
         PrivateEndpointConnectionsApproval/action",
    );
    wanted.extend(prefixed("Microsoft.Resources/", "tags/write"));
    wanted.extend(prefixed(
        "Microsoft.Network/",
        "privateEndpoints/write privateEndpoints/read privateEndpoints/privateDnsZoneGroups/write \
         privateEndpoints/privateDnsZoneGroups/read privateDnsZones/read privateDnsZones/write \
         privateDnsZones/join/action privateDnsZones/A/write privateDnsZones/virtualNetworkLinks/write \
         privateDnsZones/virtualNetworkLinks/read networkInterfaces/read virtualNetworks/subnets/read \
         virtualNetworks/subnets/join/action virtualNetworks/join/action",
    ));
    // More than the Go operator asks for: finding the network, and removing a private endpoint with its names.
    wanted.extend(prefixed(
        "Microsoft.Network/",
        "virtualNetworks/read privateEndpoints/delete privateEndpoints/privateDnsZoneGroups/delete \
         privateDnsZones/A/read privateDnsZones/A/delete privateDnsZones/virtualNetworkLinks/delete \
         privateDnsZones/delete",
    ));
    // Nor does it look whether the account that it deletes holds data of others.
    wanted.extend(prefixed(
        "Microsoft.Storage/storageAccounts/",
        "fileServices/shares/read queueServices/queues/read tableServices/tables/read",
    ));
    assert_same_set("Azure", &strings(azure, "/providerSpec/permissions"), &wanted);
    let data = prefixed(
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/",
        "delete write read add/action move/action",
    );
    assert_same_set("Azure data", &strings(azure, "/providerSpec/dataPermissions"), &data);

    let gcs = spec("openshift-image-registry-gcs");
    assert_eq!(gcs["providerSpec"]["kind"], "GCPProviderSpec");
    assert_eq!(gcs["providerSpec"]["skipServiceCheck"], true);
    assert_eq!(strings(gcs, "/serviceAccountNames"), accounts);
    let mut wanted = prefixed(
        "storage.buckets.",
        "create delete get list createTagBinding listEffectiveTags",
    );
    wanted.extend(prefixed("storage.objects.", "create delete get list"));
    wanted.extend(prefixed(
        "resourcemanager.",
        "tagValueBindings.create tagValues.get tagValues.list",
    ));
    assert_same_set("GCP", &strings(gcs, "/providerSpec/permissions"), &wanted);

    for (name, kind) in [
        ("openshift-image-registry-ibmcos", "IBMCloudProviderSpec"),
        ("openshift-image-registry-ibmcos-powervs", "IBMCloudPowerVSProviderSpec"),
    ] {
        let ibm = spec(name);
        assert_eq!(ibm["providerSpec"]["kind"], kind);
        assert_eq!(ibm["serviceAccountNames"], Value::Null, "{name}");
        let [storage, group] = list(ibm, "/providerSpec/policies") else {
            panic!("{name}: not two policies")
        };
        assert_eq!(
            storage["attributes"],
            json!([{"name": "serviceName", "value": "cloud-object-storage"}])
        );
        let mut roles = prefixed(
            "crn:v1:bluemix:public:iam::::role:",
            "Viewer Operator Editor Administrator",
        );
        roles.extend(prefixed("crn:v1:bluemix:public:iam::::serviceRole:", "Reader Writer"));
        assert_same_set(name, &strings(storage, "/roles"), &roles);
        assert_eq!(
            group["attributes"],
            json!([{"name": "resourceType", "value": "resource-group"}])
        );
        assert_eq!(strings(group, "/roles"), ["crn:v1:bluemix:public:iam::::role:Viewer"]);
    }

    let openstack = spec("openshift-image-registry-openstack");
    assert_eq!(
        openstack["providerSpec"],
        json!({"apiVersion": "cloudcredential.openshift.io/v1", "kind": "OpenStackProviderSpec"})
    );
    assert_eq!(openstack["serviceAccountNames"], Value::Null);
}

// ---- rights ----

/// Whether a rule grants the verb on the resource; `object` is the object's name, `None` asks for a right on all of them.
fn grants(rule: &Value, group: &str, resource: &str, verb: &str, object: Option<&str>) -> bool {
    let names = strings(rule, "/resourceNames");
    strings(rule, "/apiGroups").contains(&group)
        && strings(rule, "/resources").contains(&resource)
        && strings(rule, "/verbs").contains(&verb)
        && (names.is_empty() || object.is_some_and(|object| names.contains(&object)))
}

/// The rules that a ServiceAccount holds: cluster-wide for an empty `namespace`, else through Roles of that namespace.
fn rules_of<'a>(set: &'a [Manifest], account: (&str, &str), namespace: &str) -> Vec<&'a Value> {
    let (binding_kind, role_kind) = if namespace.is_empty() {
        ("ClusterRoleBinding", "ClusterRole")
    } else {
        ("RoleBinding", "Role")
    };
    let subject = json!({"kind": "ServiceAccount", "namespace": account.0, "name": account.1});
    set.iter()
        .filter(|m| m.kind() == binding_kind && m.namespace() == namespace)
        .filter(|m| list(&m.object, "/subjects").contains(&subject))
        .flat_map(|m| {
            assert_eq!(text(&m.object, "/roleRef/kind"), role_kind, "{}", m.name());
            assert_eq!(
                text(&m.object, "/roleRef/apiGroup"),
                "rbac.authorization.k8s.io",
                "{}",
                m.name()
            );
            find(set, role_kind, namespace, text(&m.object, "/roleRef/name")).rules()
        })
        .collect()
}

fn operators_rules<'a>(set: &'a [Manifest], namespace: &str) -> Vec<&'a Value> {
    let rules = rules_of(set, (HOME, OPERATOR), namespace);
    assert!(
        !rules.is_empty(),
        "nothing is bound to the operator in namespace {namespace:?}"
    );
    rules
}

// deploy 10
#[test]
fn no_rule_has_a_wildcard_or_a_way_around_the_escalation_check() {
    for m in install_set()
        .iter()
        .filter(|m| ["ClusterRole", "Role"].contains(&m.kind()))
    {
        for rule in m.rules() {
            each_string(rule, "", &mut |_, word| {
                assert!(!word.contains('*'), "{} {}: {rule}", m.kind(), m.name());
                assert!(
                    !["escalate", "bind", "impersonate"].contains(&word),
                    "{} {}: {rule}",
                    m.kind(),
                    m.name()
                );
            });
        }
    }
}

// deploy 12
#[test]
fn the_operator_may_patch_its_cluster_operator() {
    let set = install_set();
    let held = operators_rules(&set, "");
    for resource in ["clusteroperators", "clusteroperators/status"] {
        assert!(
            held.iter().any(|rule| grants(
                rule,
                "config.openshift.io",
                resource,
                "patch",
                Some(names::CLUSTER_OPERATOR)
            )),
            "{resource}"
        );
    }
}

// deploy 13
#[test]
fn node_ca_may_use_the_privileged_constraint_and_nothing_else() {
    let set = install_set();
    let account = (HOME, names::NODE_CA);
    assert!(rules_of(&set, account, "").is_empty());
    let namespaces: BTreeSet<&str> = set
        .iter()
        .map(Manifest::namespace)
        .filter(|name| !name.is_empty())
        .collect();
    let rules: Vec<_> = namespaces
        .iter()
        .flat_map(|namespace| rules_of(&set, account, namespace))
        .collect();
    let only = json!({
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": ["privileged"],
        "verbs": ["use"],
    });
    assert_eq!(rules, [&only]);
    let service_account = find(&set, "ServiceAccount", HOME, names::NODE_CA);
    assert_eq!(service_account.object["automountServiceAccountToken"], false);
}

// deploy 14
#[test]
fn prometheus_may_get_the_registrys_metrics() {
    let set = install_set();
    let prometheus = ("openshift-monitoring", "prometheus-k8s");
    let cluster_wide = rules_of(&set, prometheus, "");
    assert!(
        cluster_wide
            .iter()
            .any(|rule| grants(rule, "image.openshift.io", "registry/metrics", "get", None))
    );
    let at_home = rules_of(&set, prometheus, HOME);
    for resource in ["services", "endpoints", "pods"] {
        for verb in ["get", "list", "watch"] {
            assert!(
                at_home.iter().any(|rule| grants(rule, "", resource, verb, None)),
                "{verb} {resource}"
            );
        }
    }
}

#[test]
fn outside_its_namespace_the_operator_reads_one_secret_and_writes_one_config_map() {
    let set = install_set();
    let writes = ["create", "update", "patch", "delete", "deletecollection"];
    let sensitive = [
        "secrets",
        "configmaps",
        "serviceaccounts",
        "serviceaccounts/token",
        "persistentvolumeclaims",
    ];
    for rule in operators_rules(&set, "") {
        for resource in sensitive {
            assert!(!strings(rule, "/resources").contains(&resource), "cluster-wide: {rule}");
        }
    }
    for rule in operators_rules(&set, names::CONFIG_NAMESPACE) {
        assert!(
            !strings(rule, "/verbs").iter().any(|verb| writes.contains(verb)),
            "{rule}"
        );
        if strings(rule, "/resources").contains(&"secrets") {
            assert_eq!(strings(rule, "/resourceNames"), [names::PULL_SECRET]);
        }
    }
    for rule in operators_rules(&set, names::CONFIG_MANAGED_NAMESPACE) {
        assert_eq!(strings(rule, "/resources"), ["configmaps"]);
        if strings(rule, "/verbs")
            .iter()
            .any(|verb| ["update", "patch", "delete"].contains(verb))
        {
            assert_eq!(strings(rule, "/resourceNames"), [names::CA_MAP]);
        }
    }
}

#[test]
fn each_rbac_rule_states_its_reason() {
    for file in files("deploy") {
        let content = read("deploy", &file);
        let lines: Vec<&str> = content.lines().collect();
        for (number, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.starts_with("- apiGroups:"))
        {
            assert!(
                lines[number - 1].starts_with("# "),
                "{file}:{}: no reason above {line}",
                number + 1
            );
        }
    }
}

// ---- fields of the objects ----

/// Fails if an object has a field that its type does not know, or a field of another type: reading and writing must preserve
/// the object.
fn assert_round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(m: &Manifest) {
    let typed: T = serde_json::from_value(m.object.clone()).unwrap_or_else(|error| panic!("{}: {error}", m.file));
    let mut back = serde_json::to_value(typed).unwrap();
    // The types omit apiVersion and kind.
    for key in ["apiVersion", "kind"] {
        back[key] = m.object[key].clone();
    }
    assert_eq!(back, m.object, "{}", m.file);
}

#[test]
fn no_object_has_a_field_that_kubernetes_does_not_know() {
    use k8s_openapi::api::{apps::v1 as apps, core::v1 as core, networking::v1 as networking, rbac::v1 as rbac};
    let mut checked = 0;
    for m in &install_set() {
        let check = match m.kind() {
            "Namespace" => assert_round_trip::<core::Namespace>,
            "ConfigMap" => assert_round_trip::<core::ConfigMap>,
            "Service" => assert_round_trip::<core::Service>,
            "ServiceAccount" => assert_round_trip::<core::ServiceAccount>,
            "Deployment" => assert_round_trip::<apps::Deployment>,
            "ClusterRole" => assert_round_trip::<rbac::ClusterRole>,
            "ClusterRoleBinding" => assert_round_trip::<rbac::ClusterRoleBinding>,
            "Role" => assert_round_trip::<rbac::Role>,
            "RoleBinding" => assert_round_trip::<rbac::RoleBinding>,
            "NetworkPolicy" => assert_round_trip::<networking::NetworkPolicy>,
            "CredentialsRequest" | "ClusterOperator" | "PrometheusRule" | "ServiceMonitor" => continue,
            kind => panic!("{}: {kind} is new here", m.file),
        };
        check(m);
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}

// deploy 15
#[test]
fn the_namespace_lets_node_ca_run_everywhere_and_is_scraped() {
    let set = install_set();
    let namespace = find(&set, "Namespace", "", HOME);
    for mode in ["enforce", "audit", "warn"] {
        assert_eq!(
            namespace.label(&format!("pod-security.kubernetes.io/{mode}")),
            Some("privileged"),
            "{mode}"
        );
    }
    assert_eq!(namespace.label("openshift.io/cluster-monitoring"), Some("true"));
    assert_eq!(namespace.annotation("openshift.io/node-selector"), Some(""));
    assert_eq!(
        namespace.annotation("workload.openshift.io/allowed"),
        Some("management")
    );
}

fn container(deployment: &Value) -> &Value {
    let [container] = list(deployment, "/spec/template/spec/containers") else {
        panic!("not one container")
    };
    container
}

// deploy 17
#[test]
fn the_operator_runs_one_small_pod_with_a_read_only_file_system() {
    let set = install_set();
    let deployment = in_file(&set, VARIANT_A);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_eq!(deployment["spec"]["replicas"], 1);
    let container = container(deployment);
    assert_eq!(
        container["resources"],
        json!({"requests": {"cpu": "10m", "memory": "50Mi"}})
    ); // no limits
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
}

#[test]
fn the_operator_needs_no_privilege() {
    let set = install_set();
    let deployment = in_file(&set, VARIANT_A);
    let pod = &deployment["spec"]["template"];
    assert_eq!(
        text(pod, "/metadata/annotations/openshift.io~1required-scc"),
        "restricted-v2"
    );
    assert_eq!(
        pod["spec"]["securityContext"],
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
    );
    let container = container(deployment);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["command"], Value::Null, "the entrypoint is the program");
    for mount in list(container, "/volumeMounts") {
        let path = text(mount, "/mountPath");
        assert!(
            !path.starts_with("/etc/pki") && !path.starts_with("/etc/ssl"),
            "{path} would hide the roots"
        );
    }
}

#[test]
fn each_file_in_the_operators_arguments_is_mounted() {
    let set = install_set();
    let container = container(in_file(&set, VARIANT_A));
    let mounts: Vec<&str> = list(container, "/volumeMounts")
        .iter()
        .map(|m| text(m, "/mountPath").trim_end_matches('/'))
        .collect();
    for argument in strings(container, "/args") {
        let (_, path) = argument.split_once('=').expect("--flag=path");
        let parent = path.rsplit_once('/').unwrap().0;
        assert!(mounts.contains(&parent), "{argument}: {mounts:?}");
    }
}

#[test]
fn monitors_find_the_port_that_the_service_names() {
    let set = install_set();
    let service = find(&set, "Service", HOME, "image-registry-operator");
    let monitor = &find(&set, "ServiceMonitor", HOME, "image-registry-operator").object["spec"];
    assert_eq!(monitor["selector"]["matchLabels"], service.object["metadata"]["labels"]);
    assert_eq!(
        monitor["endpoints"][0]["port"],
        service.object["spec"]["ports"][0]["name"]
    );
    let pod_labels = &in_file(&set, VARIANT_A)["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service.object["spec"]["selector"], pod_labels);

    let registry = &find(&set, "ServiceMonitor", HOME, "image-registry").object["spec"];
    assert_eq!(
        registry["selector"]["matchLabels"],
        json!({names::OPERAND_LABEL: names::OPERAND_LABEL_VALUE})
    );
    assert_eq!(registry["endpoints"][0]["port"], names::REGISTRY_PORT_NAME);
}

// ---- variant B ----

/// Variant B: for a control plane that runs elsewhere there are no master nodes to select. Works on the text, to keep the
/// comments; the test below checks the resulting objects.
fn generate_variant_b(variant_a: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut out = String::from(
        "# Generated from 07-operator.yaml by `make generate`: do not edit.\n\
         # Variant B, for clusters whose control plane runs elsewhere: they have no master nodes.\n",
    );
    let mut dropping_below = None; // the indent of the key whose block is being left out
    for line in variant_a.lines().skip_while(|line| line.starts_with('#')) {
        if let Some(limit) = dropping_below {
            if indent(line) > limit {
                continue;
            }
            dropping_below = None;
        }
        if line == "  annotations:" {
            dropping_below = Some(2);
            out.push_str(
                "  annotations:\n\
                 \x20   capability.openshift.io/name: ImageRegistry\n\
                 \x20   config.openshift.io/inject-proxy: cluster-image-registry-operator\n\
                 \x20   include.release.openshift.io/hypershift: \"true\"\n\
                 \x20   include.release.openshift.io/ibm-cloud-managed: \"true\"\n",
            );
        } else if line == "      nodeSelector:" {
            dropping_below = Some(6);
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn variant_b_is_the_generated_one() {
    let wanted = generate_variant_b(&read("deploy", VARIANT_A));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(folder("deploy").join(VARIANT_B), &wanted).unwrap();
    }
    assert!(
        read("deploy", VARIANT_B) == wanted,
        "deploy/{VARIANT_B} is out of date: run `make generate`"
    );
}

// deploy 18
#[test]
fn variant_b_differs_from_variant_a_in_annotations_and_node_selector_only() {
    let set = install_set();
    let (a, b) = (in_file(&set, VARIANT_A), in_file(&set, VARIANT_B));
    assert_ne!(a["metadata"]["annotations"], b["metadata"]["annotations"]);
    assert_eq!(
        b["metadata"]["annotations"],
        json!({
            "capability.openshift.io/name": "ImageRegistry",
            "config.openshift.io/inject-proxy": OPERATOR,
            "include.release.openshift.io/hypershift": "true",
            "include.release.openshift.io/ibm-cloud-managed": "true",
        })
    );
    assert_eq!(
        a["spec"]["template"]["spec"]["nodeSelector"],
        json!({"node-role.kubernetes.io/master": ""})
    );
    let mut derived = a.clone();
    derived["metadata"]["annotations"] = b["metadata"]["annotations"].clone();
    derived["spec"]["template"]["spec"]
        .as_object_mut()
        .unwrap()
        .remove("nodeSelector");
    assert_eq!(&derived, b);
}

// ---- the release tool ----

// deploy 47
#[test]
fn after_the_release_tool_the_cluster_operator_and_both_deployments_name_one_version() {
    let release = "4.22.0-okd-scos.7";
    let rewritten: Vec<Manifest> = files("deploy")
        .iter()
        .flat_map(|file| parse(file, &read("deploy", file).replace(names::SNAPSHOT_VERSION, release)))
        .collect();
    let cluster_operator = find(&rewritten, "ClusterOperator", "", names::CLUSTER_OPERATOR);
    assert_eq!(
        cluster_operator.object["status"]["versions"],
        json!([{"name": names::OPERATOR_VERSION_NAME, "version": release}])
    );
    for file in [VARIANT_A, VARIANT_B] {
        let env = list(container(in_file(&rewritten, file)), "/env");
        for name in ["RELEASE_VERSION", "OPERATOR_IMAGE_VERSION"] {
            assert!(env.contains(&json!({"name": name, "value": release})), "{file}: {name}");
        }
    }
}

// deploy 48
#[test]
fn each_image_is_one_that_the_release_tool_replaces() {
    let set = install_set();
    let references = image_references();
    let listed: BTreeMap<&str, &str> = list(&references.object, "/spec/tags")
        .iter()
        .map(|tag| {
            assert_eq!(text(tag, "/from/kind"), "DockerImage");
            (text(tag, "/from/name"), text(tag, "/name"))
        })
        .collect();
    let tags: BTreeSet<&str> = listed.values().copied().collect();
    assert_eq!(
        tags,
        BTreeSet::from(["cli", OPERATOR, "docker-registry"]),
        "a tag that no release knows breaks it"
    );

    let mut used = BTreeSet::new();
    for m in &set {
        for variable in list(&m.object, "/spec/template/spec/containers/0/env") {
            let name = text(variable, "/name");
            if name.contains("IMAGE") && !name.ends_with("VERSION") {
                used.insert(text(variable, "/value"));
            }
        }
        each_string(&m.object, "", &mut |key, value| {
            if key == "image"
                || ["docker.io/", "quay.io/", "registry."]
                    .iter()
                    .any(|host| value.starts_with(host))
            {
                used.insert(value);
            }
        });
    }
    assert_eq!(used, listed.keys().copied().collect());
}

// ---- copies for the chart and for kustomize ----

/// Folders of the chart, which kustomize uses as bases. Neither Helm nor kustomize reads files outside their own folder.
const CHART_BASE: &str = "deploy/chart/base";
/// Uninstalling the operator must keep the first two: the CRDs, and with them the Config; and what a registry needs without
/// its operator, above all the namespace with its claim, and the credentials for its cloud.
const BASES: [&str; 3] = ["crds", "registry", "operator"];
/// Beginnings of the files of base `registry`.
const REGISTRY_FILES: [&str; 4] = ["01-", "04-", "05-", "06-"];

/// Path below [`CHART_BASE`] and content of each copy, and of the list of each base.
fn copies() -> BTreeMap<String, String> {
    let crds = files("crds").into_iter().map(|file| ("crds", file));
    let manifests = files("deploy").into_iter().filter(|file| file != IMAGE_REFERENCES);
    let mut copies = BTreeMap::new();
    let mut lists: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (from, file) in crds.chain(manifests.map(|file| ("deploy", file))) {
        let content = read(from, &file);
        let (inside, outside): (Vec<_>, Vec<_>) = parse(&file, &content).into_iter().partition(|m| m.in_profile(S));
        assert!(
            inside.is_empty() || outside.is_empty(),
            "{file}: put objects of different profiles into different files"
        );
        if inside.is_empty() {
            continue;
        }
        let base = match from {
            "crds" => BASES[0],
            _ if REGISTRY_FILES.iter().any(|begin| file.starts_with(begin)) => BASES[1],
            _ => BASES[2],
        };
        copies.insert(format!("{base}/{file}"), content);
        lists.entry(base).or_default().push(file);
    }
    for (base, files) in lists {
        let list = files.join("\n- ");
        copies.insert(
            format!("{base}/kustomization.yaml"),
            format!(
                "# Generated by `make generate`: do not edit.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n\
                 resources:\n- {list}\n"
            ),
        );
    }
    for file in files("deploy/optional") {
        if Path::new(&file).extension().is_none_or(|extension| extension != "yaml") {
            continue; // the dashboard for Grafana
        }
        copies.insert(format!("optional/{file}"), read("deploy/optional", &file));
    }
    copies
}

#[test]
fn the_bases_are_copies_of_the_install_set() {
    let wanted = copies();
    let bases = BASES.into_iter().chain(["optional"]);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for base in bases.clone() {
            let folder = folder(CHART_BASE).join(base);
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
        }
        for (path, content) in &wanted {
            fs::write(folder(CHART_BASE).join(path), content).unwrap();
        }
    }
    let found: BTreeMap<String, String> = bases
        .flat_map(|base| {
            let names = files(&format!("{CHART_BASE}/{base}"));
            names.into_iter().map(move |file| format!("{base}/{file}"))
        })
        .map(|path| (path.clone(), read(CHART_BASE, &path)))
        .collect();
    let differing: Vec<_> = wanted
        .keys()
        .chain(found.keys())
        .filter(|path| wanted.get(*path) != found.get(*path))
        .collect();
    assert!(
        differing.is_empty(),
        "{CHART_BASE} is out of date: run `make generate`: {differing:?}"
    );
}

/// What a registry keeps when its operator is uninstalled: whoever removes one from the list decides about data.
#[test]
fn an_uninstallation_keeps_what_the_registry_needs() {
    let mut kept: Vec<(String, String)> = copies()
        .iter()
        .filter(|(path, _)| path.starts_with("crds/0") || path.starts_with("registry/0"))
        .flat_map(|(path, content)| parse(path, content))
        .map(|m| (m.kind().to_owned(), m.name().to_owned()))
        .collect();
    kept.sort();
    let kept: Vec<(&str, &str)> = kept.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
    assert_eq!(
        kept,
        [
            ("ConfigMap", "trusted-ca"),
            ("CredentialsRequest", "openshift-image-registry"),
            ("CredentialsRequest", "openshift-image-registry-azure"),
            ("CredentialsRequest", "openshift-image-registry-gcs"),
            ("CredentialsRequest", "openshift-image-registry-ibmcos"),
            ("CredentialsRequest", "openshift-image-registry-ibmcos-powervs"),
            ("CredentialsRequest", "openshift-image-registry-openstack"),
            (
                "CustomResourceDefinition",
                "configs.imageregistry.operator.openshift.io"
            ),
            (
                "CustomResourceDefinition",
                "imagepruners.imageregistry.operator.openshift.io"
            ),
            ("Namespace", HOME),
            ("Role", names::NODE_CA),
            ("RoleBinding", names::NODE_CA),
            ("ServiceAccount", names::NODE_CA),
        ]
    );
}
