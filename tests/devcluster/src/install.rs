//! The operator as a pod: its image as users build it and an image of the registry loaded, and the manifest of its Deployment applied
//! with nothing replaced but the names of the images.

use crate::{Cluster, apply::Applier, files, image, platform, process, programs, wait};
use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What the nodes know the operator's image by.
pub const OPERATOR_IMAGE: &str = "localhost/operator:dev";
/// What the nodes know the registry's image by.
pub const REGISTRY_IMAGE: &str = "localhost/registry:dev";
/// Nothing runs the pruner yet.
const PRUNER_IMAGE: &str = "localhost/cli:dev";

/// The operator's Deployment: its file, and the images that the file names, which users or the release tool replace.
pub struct Manifest {
    file: &'static str,
    replaced: &'static [(&'static str, &'static str)],
}

const PLACEHOLDER: (&str, &str) = (
    "docker.io/openshift/origin-cluster-image-registry-operator:latest",
    OPERATOR_IMAGE,
);

/// On OKD.
pub const OKD: Manifest = Manifest {
    file: "deploy/07-operator.yaml",
    replaced: &[
        PLACEHOLDER,
        ("docker.io/openshift/origin-docker-registry:latest", REGISTRY_IMAGE),
        ("quay.io/openshift/origin-cli:v4.0", PRUNER_IMAGE),
    ],
};

/// On a cluster without the platform's APIs.
pub const KUBERNETES: Manifest = Manifest {
    file: "deploy/kubernetes/07-operator.yaml",
    replaced: &[PLACEHOLDER, ("docker.io/library/registry:3.1.2", REGISTRY_IMAGE)],
};

/// The shell and tools of the registry's image; static, for the image has no libraries.
const BUSYBOX: &str = "/bin/busybox";

/// Builds an image of the operator as users do, by `image/build`, and returns its image layout. `image`: `operator` or `hosted`.
/// A second build of the same files takes seconds.
pub fn build_image(image: &str) -> Result<PathBuf> {
    let mut build = Command::new(platform::repository().join("image/build"));
    process::run(build.arg(image)).with_context(|| format!("cannot build the image {image}"))?;
    Ok(built_image(image))
}

/// Where `image/build` puts the image layout.
pub fn built_image(image: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    platform::repository().join(target).join("image").join(image)
}

/// Loads the operator's image (an image layout) and an image of the platform's registry with these programs into every real node.
pub async fn load_images(cluster: &Cluster, operator: &Path, registry: &[&str]) -> Result<()> {
    image::archive(operator, OPERATOR_IMAGE, &archive(cluster))?;
    load(cluster, &platform_registry(REGISTRY_IMAGE, registry).await?).await
}

/// Loads the operator's image (an image layout) and an image of the stock registry into every real node.
pub async fn load_stock_images(cluster: &Cluster, operator: &Path) -> Result<()> {
    image::archive(operator, OPERATOR_IMAGE, &archive(cluster))?;
    load(cluster, &stock_registry().await?).await
}

/// Loads an image of the platform's registry, under a name of its own, into every real node.
pub async fn load_platform_registry(cluster: &Cluster, reference: &str) -> Result<()> {
    let tar = archive(cluster);
    platform_registry(reference, programs::REGISTRY).await?.write(&tar)?;
    cluster.load_image(&tar).await?;
    files::remove(&tar)
}

async fn stock_registry() -> Result<image::Image> {
    let programs = programs::ensure(programs::STOCK_REGISTRY).await?;
    let program = programs.path("distribution")?;
    Ok(image::stock_registry_image(REGISTRY_IMAGE, program))
}

async fn platform_registry(reference: &str, programs: &[&str]) -> Result<image::Image> {
    if !Path::new(BUSYBOX).is_file() {
        bail!("there is no {BUSYBOX} for the registry's image: run tests/devcluster/install-prerequisites");
    }
    let programs = programs::ensure(programs).await?;
    Ok(image::registry_image(
        reference,
        &programs.registry()?,
        Path::new(BUSYBOX),
    ))
}

/// Where images lie on their way to the nodes.
fn archive(cluster: &Cluster) -> PathBuf {
    cluster.directory().join("image.tar")
}

/// Loads the operator's image, which is in the archive, and that of the registry.
async fn load(cluster: &Cluster, registry: &image::Image) -> Result<()> {
    let tar = archive(cluster);
    cluster.load_image(&tar).await?;
    registry.write(&tar)?;
    cluster.load_image(&tar).await?;
    files::remove(&tar)
}

/// Applies the Deployment of the operator; the rest of the install set is there since the cluster came up.
pub async fn deploy_operator(cluster: &Cluster, Manifest { file, replaced }: &Manifest) -> Result<()> {
    let mut manifest = files::read(&platform::repository().join(file))?;
    for (from, to) in *replaced {
        if !manifest.contains(from) {
            bail!("{file} names no image {from}");
        }
        manifest = manifest.replace(from, to);
    }
    Applier::new(cluster.client().await?, platform::VERSION_OPERATOR)
        .apply_yaml(&manifest)
        .await?;
    Ok(())
}

/// Waits until every real node has an authority for that registry (a host, with its port where it is not 443): the
/// operator's node-ca brings the one of the registry's Service, the stand-ins those of routes.
pub async fn nodes_trust(cluster: &Cluster, registry: &str) -> Result<()> {
    until_trusted(cluster, registry, "").await
}

/// Waits until every real node trusts this authority (PEM) for a registry, possibly beside others.
pub async fn nodes_trust_authority(cluster: &Cluster, registry: &str, authority: &str) -> Result<()> {
    until_trusted(cluster, registry, authority.trim()).await
}

async fn until_trusted(cluster: &Cluster, registry: &str, authority: &str) -> Result<()> {
    let layout = cluster.record().layout();
    let file = |node: &str| layout.certs(node).join(registry).join("ca.crt");
    let trusts = |node: &str| std::fs::read_to_string(file(node)).is_ok_and(|known| known.contains(authority));
    let what = format!("every node trusts {registry}");
    wait::until(&what, Duration::from_mins(2), || async {
        Ok(cluster.real_nodes().iter().all(|node| trusts(&node.name)).then_some(()))
    })
    .await
}
