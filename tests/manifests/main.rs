//! The contents of `deploy/`, checked without a cluster: which objects, in which order, for which profiles, with which rights.
//!
//! Variant B of the operator's Deployment is generated from variant A: `UPDATE_GOLDEN=1 cargo test --test manifests` writes it.

// A test may panic, print a figure, and hold the lock on the shared cluster while it waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::large_futures, clippy::await_holding_lock)]

mod copies;
mod credentials;
mod fields;
mod rights;
mod variants;

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

fn container(deployment: &Value) -> &Value {
    let [container] = list(deployment, "/spec/template/spec/containers") else {
        panic!("not one container")
    };
    container
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

/// A take-over replaces the Deployment of a release that may lack what the new one mounts: its pod would never start.
#[test]
fn what_the_operator_mounts_exists_in_each_release_or_the_page_creates_it() {
    let page = include_str!("../../docs/installation.md");
    let set = install_set();
    let deployment = in_file(&set, "07-operator.yaml");
    for volume in list(deployment, "/spec/template/spec/volumes") {
        let named = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
        let Some(name) = named("/configMap/name").or_else(|| named("/secret/secretName")) else {
            continue;
        };
        let optional = ["/configMap/optional", "/secret/optional"];
        let is_optional = optional
            .iter()
            .any(|pointer| volume.pointer(pointer) == Some(&json!(true)));
        // The service CA operator makes it for the operator's Service, in each release.
        let exists = name == "image-registry-operator-tls";
        let is_created = page.contains(&format!("get configmap {name} || oc create -f deploy/"));
        assert!(is_optional || exists || is_created, "{name}");
    }
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
