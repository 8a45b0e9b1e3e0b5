//! What the chart and the overlay render.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::{Value, json};

use crate::{CHART, OVERLAY, ROOT, Tools, objects, read, run};

const PROFILE: &str = "include.release.openshift.io/self-managed-high-availability";
const POLICY: &str = "helm.sh/resource-policy";
/// The container whose images and version users set.
const OPERATOR: &str = image_registry_operator::names::OPERATOR_DEPLOYMENT;

/// Kind, namespace and name of each object, and the object.
type Set = BTreeMap<(String, String, String), Value>;

fn set(objects: Vec<Value>) -> Set {
    let mut set = Set::new();
    for object in objects {
        let text = |pointer| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let key = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
        assert!(set.insert(key.clone(), object).is_none(), "{key:?} is there twice");
    }
    set
}

fn template(tools: &Tools, values: &[&str]) -> Result<String, String> {
    tools.helm(&[&["template", "image-registry-operator", CHART], values].concat())
}

fn chart(tools: &Tools, values: &[&str]) -> Set {
    set(objects(&template(tools, values).unwrap()))
}

/// Takes the annotation away that keeps an object at an uninstallation; whether it was there.
fn take_policy(object: &mut Value) -> bool {
    let annotations = object.pointer_mut("/metadata/annotations");
    let Some(annotations) = annotations.and_then(Value::as_object_mut) else {
        return false;
    };
    let kept = annotations.remove(POLICY);
    if annotations.is_empty() {
        object["metadata"].as_object_mut().unwrap().remove("annotations");
    }
    kept == Some(json!("keep"))
}

fn assert_same(what: &str, found: &Set, expected: &Set) {
    let keys = |set: &Set| set.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(found), keys(expected), "{what}");
    for (key, object) in found {
        assert_eq!(object, &expected[key], "{what}: {key:?}");
    }
}

/// The install set of the profile, read without kustomize and Helm.
fn install_set() -> Set {
    let mut all = Vec::new();
    for folder in ["deploy", "crds"] {
        for entry in fs::read_dir(format!("{ROOT}/{folder}")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap().starts_with('0') {
                all.extend(objects(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    all.retain(|object| object["metadata"]["annotations"][PROFILE] == "true");
    set(all)
}

// deploy 57: the first half
#[tokio::test]
async fn overlay_and_chart_render_the_install_set_of_the_profile() {
    let tools = Tools::get().await;
    let overlay = set(objects(&tools.kubectl(&["kustomize", OVERLAY]).unwrap()));
    assert_same("overlay", &overlay, &install_set());
    assert!(overlay.len() > 35, "{}", overlay.len());

    assert_same("chart", &kept_as_wanted(&tools, &[], "okd"), &overlay);
}

/// The objects of the chart without the annotation that keeps some of them. Checks that it keeps those that it should.
fn kept_as_wanted(tools: &Tools, values: &[&str], platform: &str) -> Set {
    let mut chart = chart(tools, values);
    let bases = ["crds".to_owned(), format!("{platform}/registry")].map(|base| {
        set(objects(
            &tools.kubectl(&["kustomize", &format!("{CHART}/base/{base}")]).unwrap(),
        ))
    });
    for (key, object) in &mut chart {
        let keeps = bases.iter().any(|base| base.contains_key(key));
        assert_eq!(take_policy(object), keeps, "{key:?}");
    }
    chart
}

// kubernetes 23: the first half
#[tokio::test]
async fn overlay_and_chart_render_the_same_for_plain_kubernetes() {
    let tools = Tools::get().await;
    let overlay = set(objects(
        &tools.kubectl(&["kustomize", "deploy/overlays/kubernetes"]).unwrap(),
    ));
    let kubernetes = ["--set", "platform=kubernetes"];
    assert_same("chart", &kept_as_wanted(&tools, &kubernetes, "kubernetes"), &overlay);
    let groups: BTreeSet<&str> = overlay
        .values()
        .map(|object| {
            object["apiVersion"]
                .as_str()
                .unwrap()
                .split_once('/')
                .map_or("", |(group, _)| group)
        })
        .collect();
    let own = [
        "",
        "apiextensions.k8s.io",
        "apps",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
    ];
    assert_eq!(groups, own.into(), "every cluster serves these");

    for (values, nodes) in [
        (json!(null), json!({"kubernetes.io/os": "linux"})),
        (json!({}), json!({"kubernetes.io/os": "linux"})),
        (
            json!({"pool": "infra"}),
            json!({"kubernetes.io/os": "linux", "pool": "infra"}),
        ),
        (json!({"kubernetes.io/os": "own"}), json!({"kubernetes.io/os": "own"})),
    ] {
        let value = format!("nodeSelector={values}");
        let all = chart(&tools, &[&kubernetes[..], &["--set-json", &value]].concat());
        let pods: Vec<&Value> = all
            .values()
            .filter_map(|object| object.pointer("/spec/template/spec"))
            .collect();
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0]["nodeSelector"], nodes, "{value}");
    }
    for (key, object) in &overlay {
        // A cluster may have nodes with Windows.
        let pod = object.pointer("/spec/template/spec");
        assert!(
            pod.is_none_or(|pod| pod["nodeSelector"]["kubernetes.io/os"] == "linux"),
            "{key:?}"
        );
    }

    let values = [
        "image.operator=quay.example.com/op:v7",
        "image.registry=registry:3.1",
        "image.pruner=quay.example.com/oc:v1",
        "registryProgram=platform",
        "nodeCA=docker",
        "exposure.by=ingress",
        "exposure.domain=apps.example.com",
        "exposure.ingressClass=traefik",
        "exposure.gateway=web/edge/https",
        "exposure.annotations.a/b=c",
        "config.storage.s3.bucket=images",
        "config.replicas=2",
        "priorityClassName=mine",
    ];
    let sets: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let changed = chart(&tools, &[&kubernetes[..], &sets].concat());
    let pod = deployment(&changed);
    assert_eq!(pod["priorityClassName"], "mine");
    let container = &pod["containers"][0];
    assert_eq!(container["image"], "quay.example.com/op:v7");
    let variables: BTreeMap<&str, &Value> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| (variable["name"].as_str().unwrap(), &variable["value"]))
        .collect();
    for (name, value) in [
        ("OPERATOR_IMAGE", "quay.example.com/op:v7"),
        ("IMAGE", "registry:3.1"),
        ("IMAGE_PRUNER", "quay.example.com/oc:v1"),
        ("REGISTRY_PROGRAM", "platform"),
        ("NODE_CA", "docker"),
        ("EXPOSE", "ingress"),
        ("EXPOSE_DOMAIN", "apps.example.com"),
        ("EXPOSE_INGRESS_CLASS", "traefik"),
        ("EXPOSE_GATEWAY", "web/edge/https"),
        ("EXPOSE_ANNOTATIONS", r#"{"a/b":"c"}"#),
        (
            "DEFAULT_CONFIG_SPEC",
            r#"{"replicas":2,"storage":{"s3":{"bucket":"images"}}}"#,
        ),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    let values = tempfile::NamedTempFile::new().unwrap();
    fs::write(values.path(), "nodeCA: off\n").unwrap(); // for YAML a boolean
    let off = chart(
        &tools,
        &[&kubernetes[..], &["--values", values.path().to_str().unwrap()]].concat(),
    );
    let env = deployment(&off)["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "NODE_CA", "value": "off"})));
}

#[tokio::test]
async fn images_and_version_are_set_in_one_place_and_mean_the_same_in_both() {
    let tools = Tools::get().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    let directory = tempfile::tempdir().unwrap();
    run(std::process::Command::new("cp")
        .args(["-r", "deploy", "charts"])
        .arg(directory.path()))
    .unwrap();
    let file = directory.path().join("deploy/overlays/okd/kustomization.yaml");
    let mut text = fs::read_to_string(&file).unwrap();
    for (from, to) in [
        (
            "origin-cluster-image-registry-operator\n  newTag: latest",
            "origin-cluster-image-registry-operator\n  newName: quay.example.com/op\n  newTag: v7",
        ),
        (
            "origin-docker-registry\n  newTag: latest",
            &format!("origin-docker-registry\n  newName: quay.example.com/reg\n  digest: {digest}"),
        ),
        ("newTag: v4.0", "newTag: v4.9"),
        ("version=0.0.1-snapshot", "version=4.22.7"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    fs::write(&file, text).unwrap();
    let overlay = directory.path().join("deploy/overlays/okd");
    let overlay = set(objects(
        &tools.kubectl(&["kustomize", overlay.to_str().unwrap()]).unwrap(),
    ));

    let registry = format!("image.registry=quay.example.com/reg@{digest}");
    let values = [
        "--set",
        "image.operator=quay.example.com/op:v7",
        "--set",
        &registry,
        "--set",
        "image.pruner=quay.io/openshift/origin-cli:v4.9",
        "--set",
        "releaseVersion=4.22.7",
    ];
    let mut chart = chart(&tools, &values);
    for object in chart.values_mut() {
        take_policy(object);
    }
    assert_same("chart", &chart, &overlay);
    let text = serde_json::to_string(&chart.into_values().collect::<Vec<_>>()).unwrap();
    for placeholder in ["0.0.1-snapshot", "docker.io/", "origin-cli:v4.0"] {
        assert!(!text.contains(placeholder), "{placeholder}");
    }
    assert_eq!(text.matches("quay.example.com/op:v7").count(), 2);
    assert_eq!(text.matches("4.22.7").count(), 3);
}

fn deployment(set: &Set) -> &Value {
    let key = (
        "Deployment".to_owned(),
        "openshift-image-registry".to_owned(),
        OPERATOR.to_owned(),
    );
    &set[&key]["spec"]["template"]["spec"]
}

#[tokio::test]
async fn the_other_values_change_the_deployment_or_leave_objects_out() {
    let tools = Tools::get().await;
    let all = chart(&tools, &[]);
    let values = [
        "--set-json",
        "nodeSelector={}",
        "--set-json",
        r#"tolerations=[{"operator":"Exists"}]"#,
        "--set-json",
        r#"resources={"limits":{"memory":"1Gi"}}"#,
        "--set",
        "proxy.httpsProxy=http://proxy.example.com:3128",
        "--set",
        r"proxy.noProxy=.svc\,10.0.0.0/8",
    ];
    let changed = chart(&tools, &values);
    let pod = deployment(&changed);
    assert_eq!(pod["nodeSelector"], json!({}));
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    let container = &pod["containers"][0];
    assert_eq!(container["resources"], json!({"limits": {"memory": "1Gi"}}));
    let before = deployment(&all)["containers"][0]["env"].as_array().unwrap();
    let env = container["env"].as_array().unwrap();
    assert_eq!(env[..before.len()], before[..]);
    let added = [
        json!({"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}),
        json!({"name": "NO_PROXY", "value": ".svc,10.0.0.0/8"}),
    ];
    assert_eq!(env[before.len()..], added);

    let kinds = |values: &[&str]| {
        let less = chart(&tools, values);
        let missing = all.keys().filter(|key| !less.contains_key(*key));
        let mut kinds: Vec<String> = missing.map(|(kind, ..)| kind.clone()).collect();
        assert_eq!(less.len() + kinds.len(), all.len());
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(&["--set", "crds=false"]), ["CustomResourceDefinition"]);
    assert_eq!(kinds(&["--set", "namespace=false"]), ["Namespace"]);
    // The other namespaces of plain Kubernetes hold Roles.
    let kubernetes = chart(&tools, &["--set", "platform=kubernetes"]);
    let less = chart(&tools, &["--set", "platform=kubernetes", "--set", "namespace=false"]);
    let missing = kubernetes.keys().filter(|key| !less.contains_key(*key));
    let missing: Vec<&str> = missing.map(|(_, _, name)| name.as_str()).collect();
    assert_eq!(missing, ["openshift-image-registry"]);
    assert_eq!(kinds(&["--set", "credentialsRequests=false"]), ["CredentialsRequest"]);
    assert_eq!(
        kinds(&["--set", "monitoring=false"]),
        [
            "ClusterRole",
            "ClusterRoleBinding",
            "PrometheusRule",
            "Role",
            "RoleBinding",
            "ServiceMonitor"
        ]
    );
}

#[tokio::test]
async fn the_optional_pieces_are_those_of_deploy_optional() {
    let tools = Tools::get().await;
    for (platform, value, file) in [
        ("okd", "alerts=true", "prometheus-rules.yaml"),
        ("okd", "removedAlert=true", "prometheus-rules-removed.yaml"),
        ("okd", "dashboard=true", "dashboard-configmap.yaml"),
        ("okd", "admissionPolicy=Warn", "admission-policy.yaml"),
        ("kubernetes", "monitors=true", "monitors-kubernetes.yaml"),
    ] {
        let (platform, value) = (format!("platform={platform}"), format!("optional.{value}"));
        let all = chart(&tools, &["--set", &platform]);
        let mut more = chart(&tools, &["--set", &platform, "--set", &value]);
        more.retain(|key, _| !all.contains_key(key));
        assert_same(file, &more, &set(objects(&read(&format!("deploy/optional/{file}")))));
    }
    let denying = chart(&tools, &["--set", "optional.admissionPolicy=Deny"]);
    let bindings: Vec<_> = denying
        .iter()
        .filter(|((kind, ..), _)| kind == "ValidatingAdmissionPolicyBinding")
        .collect();
    assert_eq!(bindings.len(), 2);
    assert!(
        bindings
            .iter()
            .all(|(_, binding)| binding["spec"]["validationActions"] == json!(["Deny"]))
    );
}

#[tokio::test]
async fn helm_finds_nothing_to_complain_about() {
    let tools = Tools::get().await;
    tools.helm(&["lint", "--strict", CHART]).unwrap();
}

// kubernetes 23: the second half
#[tokio::test]
async fn the_schema_refuses_values_that_cannot_be_meant() {
    let tools = Tools::get().await;
    for (value, names) in [
        ("image.operator=", "/image/operator"),
        ("image.registry=has a blank", "/image/registry"),
        ("image.pruner=UPPER case", "/image/pruner"),
        ("platform=k3s", "/platform"),
        ("registryProgram=zot", "/registryProgram"),
        ("nodeCA=crio", "/nodeCA"),
        ("exposure.by=loadbalancer", "/exposure/by"),
        ("exposure.gateway=edge", "/exposure/gateway"),
        ("exposure.domain=-a", "/exposure/domain"),
        ("exposure.annotations.a=1", "/exposure/annotations/a"),
        ("config=managed", "/config"),
        ("releaseVersion=latest", "/releaseVersion"),
        ("proxy.httpProxy=proxy:3128", "/proxy/httpProxy"),
        ("resources.request.cpu=1", "request"),
        ("nodeSelector.a=true", "/nodeSelector/a"),
        ("tolerations[0].effect=Never", "/tolerations/0/effect"),
        ("crds=yes", "/crds"),
        ("optional.admissionPolicy=Audit", "/optional/admissionPolicy"),
        ("optional.alert=true", "alert"),
        ("optional.monitors=true", "/platform"),
        // Both need what only OKD has.
        ("platform=kubernetes,optional.removedAlert=true", "/platform"),
        ("platform=kubernetes,optional.dashboard=true", "/platform"),
        // Helm takes such a value away, which is not its default.
        ("crds=null", "crds"),
        ("namespace=null", "namespace"),
        ("monitoring=null", "monitoring"),
        ("credentialsRequests=null", "credentialsRequests"),
        ("exposure=null", "exposure"),
        ("image=null", "image"),
        ("proxy=null", "proxy"),
        ("optional.admissionPolicy=null", "admissionPolicy"),
        ("optional.monitors=null", "monitors"),
        ("replicas=2", "replicas"),
    ] {
        let error = template(&tools, &["--set", value]).expect_err(value);
        assert!(
            error.contains("values.schema.json") || error.contains("schema"),
            "{value}: {error}"
        );
        assert!(error.contains(names), "{value}: {error}");
    }
}

/// Path, default and description of each value.
fn documented() -> Vec<(String, String, String)> {
    fn walk(path: &str, schema: &Value, values: Option<&Value>, rows: &mut Vec<(String, String, String)>) {
        let nested = schema["properties"]
            .as_object()
            .filter(|_| schema["description"].is_null());
        let Some(properties) = nested else {
            let default = values.unwrap_or_else(|| panic!("values.yaml has no {path}"));
            let description = schema["description"]
                .as_str()
                .unwrap_or_else(|| panic!("{path} has no description"));
            rows.push((path.to_owned(), default.to_string(), description.to_owned()));
            return;
        };
        for (name, schema) in properties.iter().filter(|(name, _)| *name != "global") {
            let inner = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            walk(&inner, schema, values.and_then(|values| values.get(name)), rows);
        }
    }
    let schema: Value = serde_json::from_str(&read("charts/image-registry-operator/values.schema.json")).unwrap();
    let values: Value = serde_saphyr::from_str(&read("charts/image-registry-operator/values.yaml")).unwrap();
    let mut rows = Vec::new();
    walk("", &schema, Some(&values), &mut rows);
    rows
}

#[test]
fn the_charts_readme_documents_each_value() {
    const BEGIN: &str = "| value | default | meaning |\n|---|---|---|\n";
    let rows = documented();
    assert!(rows.len() > 15, "{rows:?}");
    let lines = rows
        .iter()
        .map(|(path, default, text)| format!("| `{path}` | `{default}` | {text} |\n"));
    let table = lines.collect::<Vec<_>>().concat();
    let readme = read("charts/image-registry-operator/README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the table of values");
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let wanted = format!("{before}{BEGIN}{table}\n{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(format!("{ROOT}/charts/image-registry-operator/README.md"), &wanted).unwrap();
    }
    assert!(
        read("charts/image-registry-operator/README.md") == wanted,
        "charts/image-registry-operator/README.md is out of date: run `make generate`"
    );
}
