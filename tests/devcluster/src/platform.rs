//! The platform's objects that a plain Kubernetes lacks: CRDs, config objects, namespaces, `deploy/`.

use crate::{
    Options,
    apply::{self, Applier},
    files,
    record::Record,
    wait,
};
use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The release that the cluster says it runs.
pub const RELEASE_VERSION: &str = "4.22.0";
/// Field manager of what an installer and the platform's own operators have written.
const PLATFORM: &str = "devcluster";
/// Field manager of `deploy/`, as on OpenShift.
pub(crate) const VERSION_OPERATOR: &str = "cluster-version-operator";

const IMAGE_STREAMS: &str = include_str!("../crds/optional/imagestreams.yaml");
const SECURITY: &str = include_str!("../crds/optional/securitycontextconstraints.yaml");

/// Installs the CRDs, the namespaces and the config objects.
pub(crate) async fn install(client: &Client, options: &Options, record: &Record) -> Result<()> {
    let applier = Applier::new(client.clone(), PLATFORM);
    let (crds, namespaces) = futures::join!(
        install_crds(client, &applier, options),
        apply_all(&applier, namespaces(options.platform_apis))
    );
    crds?;
    namespaces?;
    if !options.platform_apis {
        return Ok(());
    }
    let mut objects = config_objects(options, record);
    // A CRD that the chosen set lacks belongs to a platform that lacks the kind.
    objects.retain(|object| known(&applier, object));
    try_join_all(objects.iter().map(|object| applier.apply_with_status(object))).await?;
    apply_all(&applier, vec![pull_secret()]).await
}

fn known(applier: &Applier, object: &Value) -> bool {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    applier.knows(text("apiVersion"), text("kind"))
}

async fn apply_all(applier: &Applier, objects: Vec<Value>) -> Result<()> {
    try_join_all(objects.iter().map(|object| applier.require(object))).await?;
    Ok(())
}

async fn install_crds(client: &Client, applier: &Applier, options: &Options) -> Result<()> {
    let mut texts = Vec::new();
    let mut directories = crd_directories();
    if !options.platform_apis {
        directories = vec![repository().join("crds")];
    }
    for directory in directories {
        for path in files::list(&directory, "yaml")? {
            texts.push((path.display().to_string(), files::read(&path)?));
        }
    }
    if options.imagestreams {
        texts.push(("imagestreams.yaml".into(), IMAGE_STREAMS.into()));
    }
    if options.security_api {
        texts.push(("securitycontextconstraints.yaml".into(), SECURITY.into()));
    }
    let mut objects = Vec::new();
    for (path, text) in texts {
        objects.extend(apply::parse(&text).with_context(|| path)?);
    }
    let mut names = Vec::new();
    for applied in try_join_all(objects.iter().map(|object| applier.require(object))).await? {
        names.push(applied.name_any());
    }
    established(client, applier, &names).await
}

/// Installs a CRD of the platform on a cluster that lacks it. `plural`: `routes`, `clusteroperators` and so on.
pub(crate) async fn install_crd(client: &Client, plural: &str) -> Result<()> {
    let applier = Applier::new(client.clone(), PLATFORM);
    let optional = ["imagestreams"].contains(&plural);
    let directory = if optional { "crds/optional" } else { "crds/platform" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(directory)
        .join(format!("{plural}.yaml"));
    let mut names = Vec::new();
    for object in applier.apply_yaml(&files::read(&path)?).await? {
        names.push(object.name_any());
    }
    established(client, &applier, &names).await
}

/// `PLATFORM_CRDS` alone, or the ones generated from this project's types.
fn crd_directories() -> Vec<PathBuf> {
    match std::env::var_os("PLATFORM_CRDS").filter(|value| !value.is_empty()) {
        Some(directory) => vec![directory.into()],
        None => vec![
            Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/platform"),
            repository().join("crds"),
        ],
    }
}

/// Root of the checkout that this was built from.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn established(client: &Client, applier: &Applier, names: &[String]) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    wait::until("every CRD Established", Duration::from_mins(1), || async {
        let crds = api.list(&ListParams::default()).await?.items;
        let is_established = |crd: &CustomResourceDefinition| {
            let conditions = crd.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions
                .into_iter()
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
        };
        let ours = crds.iter().filter(|crd| names.contains(&crd.name_any()));
        if ours.filter(|crd| is_established(crd)).count() < names.len() {
            return Ok(None);
        }
        for crd in &crds {
            applier.learn(crd);
        }
        Ok(Some(()))
    })
    .await
}

/// The namespaces; on the platform with the ranges that it assigns.
fn namespaces(platform: bool) -> Vec<Value> {
    // Each with ranges of its own; the registry's is the one that its tests expect.
    let names = [
        "openshift-config",
        "openshift-config-managed",
        "openshift-monitoring",
        "openshift-image-registry",
    ];
    let start = [1_000_310_000, 1_000_320_000, 1_000_330_000, 1_000_290_000];
    names
        .iter()
        .zip(start)
        .map(|(name, start)| {
            let mut namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            if platform {
                namespace["metadata"]["annotations"] = json!({
                    "openshift.io/sa.scc.uid-range": format!("{start}/10000"),
                    "openshift.io/sa.scc.supplemental-groups": format!("{start}/10000"),
                    "openshift.io/sa.scc.mcs": "s0:c17,c9",
                });
            }
            namespace
        })
        .collect()
}

fn pull_secret() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "pull-secret", "namespace": "openshift-config" },
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": { ".dockerconfigjson": r#"{"auths":{}}"# },
    })
}

fn config_objects(options: &Options, record: &Record) -> Vec<Value> {
    let object = |kind: &str, name: &str, spec: Value, status: Option<Value>| {
        let mut object = json!({
            "apiVersion": "config.openshift.io/v1",
            "kind": kind,
            "metadata": { "name": name },
            "spec": spec,
        });
        if let Some(status) = status {
            object["status"] = status;
        }
        object
    };
    let infrastructure = json!({
        "infrastructureName": "kw-abc12",
        "platform": options.platform,
        "platformStatus": { "type": options.platform },
        "controlPlaneTopology": "HighlyAvailable",
        "infrastructureTopology": "HighlyAvailable",
    });
    let gates = json!({
        "featureGates": [{
            "version": RELEASE_VERSION,
            "enabled": [],
            "disabled": [{ "name": "ImageStreamImportMode" }],
        }],
    });
    let network = json!({
        "clusterNetwork": [{ "cidr": record.slot.pods(), "hostPrefix": 24 }],
        "serviceNetwork": [record.slot.services()],
        "networkType": "Other",
    });
    vec![
        object("Infrastructure", "cluster", json!({}), Some(infrastructure)),
        object("Image", "cluster", json!({}), None),
        object("Proxy", "cluster", json!({}), None),
        object("APIServer", "cluster", json!({}), None),
        object("FeatureGate", "cluster", json!({}), Some(gates)),
        object("Network", "cluster", network, None),
        object(
            "ClusterVersion",
            "version",
            json!({ "clusterID": CLUSTER_ID }),
            Some(cluster_version()),
        ),
    ]
}

const CLUSTER_ID: &str = "3f1c9a52-7d0e-4b8a-9c6f-2e5d8b714a03";

fn cluster_version() -> Value {
    let image = "release.invalid/okd/release@sha256:0000000000000000000000000000000000000000000000000000000000000000";
    json!({
        "desired": { "version": RELEASE_VERSION, "image": image },
        "history": [{
            "state": "Completed",
            "version": RELEASE_VERSION,
            "image": image,
            "startedTime": "2025-01-01T00:00:00Z",
            "completionTime": "2025-01-01T00:30:00Z",
            "verified": false,
        }],
        "observedGeneration": 1,
        "versionHash": "devcluster",
        // Null on most real clusters, too; a client must accept that.
        "availableUpdates": null,
    })
}

/// Applies the YAML files of a directory in byte order of their names, as the platform's version operator does; objects
/// of kinds that the cluster does not serve, and Deployments if so wished, are left out. Answers what was left out.
pub(crate) async fn apply_directory(client: &Client, directory: &Path, deployments: bool) -> Result<Vec<String>> {
    let applier = Applier::new(client.clone(), VERSION_OPERATOR);
    let mut left_out = Vec::new();
    let mut paths = files::list(directory, "yaml")?;
    paths.sort_by_key(|path| payload_name(path));
    for path in paths {
        for object in apply::parse(&files::read(&path)?).with_context(|| path.display().to_string())? {
            let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
            let wanted = (deployments || kind != "Deployment") && in_profile(&object);
            let applied = if wanted { applier.apply(&object).await } else { Ok(None) };
            if applied.with_context(|| path.display().to_string())?.is_none() {
                left_out.push(format!("{kind} of {}", path.display()));
            }
        }
    }
    Ok(left_out)
}

/// Name of a manifest within a release, which is what the version operator orders by: level 50 unless the name has one.
fn payload_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("0000_") {
        name
    } else {
        format!("0000_50_cluster-image-registry-operator_{name}")
    }
}

/// Whether the version operator of a self-managed, highly available cluster would apply an object. One that names no
/// profile is nobody's business but ours.
fn in_profile(object: &Value) -> bool {
    const PROFILES: &str = "include.release.openshift.io/";
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut profiles = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with(PROFILES))
        .peekable();
    profiles.peek().is_none()
        || profiles.any(|(key, value)| key.ends_with("self-managed-high-availability") && value == "true")
}

/// Applies the project's install set without the operator's Deployment: `deploy/`, or without the platform's APIs what
/// `deploy/overlays/kubernetes` consists of.
pub(crate) async fn deploy(client: &Client, platform: bool) -> Result<()> {
    let kubernetes = Path::new("charts/image-registry-operator/base/kubernetes");
    let directories = if platform {
        vec![repository().join("deploy")]
    } else {
        ["registry", "operator"]
            .map(|base| repository().join(kubernetes).join(base))
            .to_vec()
    };
    for directory in directories {
        let left_out = apply_directory(client, &directory, false).await?;
        tracing::debug!(?left_out, "{} is applied", directory.display());
    }
    Ok(())
}
