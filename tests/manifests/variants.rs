//! The variants of the operator's Deployment, and what the release tool makes of the files.

use super::*;

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

// ---- a cluster without the platform's APIs ----

// deploy 51: the Deployment differs from variant A in what is listed here, and in nothing else.
#[test]
fn the_deployment_of_plain_kubernetes_differs_from_variant_a_only_where_it_must() {
    let set = install_set();
    let mut derived = in_file(&set, VARIANT_A).clone();
    let own = parse(VARIANT_A, &read("deploy/kubernetes", VARIANT_A));
    derived["metadata"].as_object_mut().unwrap().remove("annotations");
    let template = &mut derived["spec"]["template"];
    template["metadata"].as_object_mut().unwrap().remove("annotations");
    let pod = template["spec"].as_object_mut().unwrap();
    pod.insert("nodeSelector".to_owned(), json!({"kubernetes.io/os": "linux"}));
    let any = json!({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"});
    pod["tolerations"].as_array_mut().unwrap().insert(0, any);
    let volumes = pod["volumes"].as_array_mut().unwrap();
    let of_certificate = volumes
        .iter_mut()
        .find(|v| v["name"] == "image-registry-operator-tls")
        .unwrap();
    of_certificate["secret"]["optional"] = json!(true);
    let container = &mut pod["containers"][0];
    container["args"]
        .as_array_mut()
        .unwrap()
        .push(json!("--self-signed-serving-cert"));
    let env = container["env"].as_array_mut().unwrap();
    let at = env.iter().position(|variable| variable["name"] == "IMAGE").unwrap();
    assert_eq!(env[at + 1]["name"], "IMAGE_PRUNER");
    env.splice(
        at..=at + 1,
        [
            json!({"name": "IMAGE", "value": format!("docker.io/library/registry:{}", stock_version())}),
            json!({"name": "REGISTRY_PROGRAM", "value": "distribution"}),
            json!({"name": "NODE_CA", "value": "containerd"}),
        ],
    );
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].object, derived);
}

/// The version of the stock registry with which the tests run.
fn stock_version() -> String {
    let modules = read("tests/devcluster/tools", "go.mod");
    let lines = modules.lines().map(str::trim);
    let mut versions = lines.filter_map(|line| line.strip_prefix("github.com/distribution/distribution/v3 v"));
    versions.next().unwrap().to_owned()
}

// A tag that moves gives an old registry to nodes that have pulled it before.
#[test]
fn overlay_and_documentation_name_the_version_of_the_registry_that_is_tested() {
    let version = stock_version();
    let overlay = read("deploy/overlays/kubernetes", "kustomization.yaml");
    assert!(overlay.contains(&format!("docker.io/library/registry\n  newTag: {version}\n")));
    for (folder, file) in [
        ("docs", "kubernetes.md"),
        ("charts/image-registry-operator", "values.schema.json"),
    ] {
        let image = format!("`docker.io/library/registry:{version}`");
        assert!(read(folder, file).contains(&image), "{file}");
    }
}
