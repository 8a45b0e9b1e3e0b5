//! The operator as a pod: its image and the registry's packed and loaded, and `deploy/07-operator.yaml` applied with
//! nothing replaced but the names of the images.

use crate::{Cluster, apply::Applier, files, image, platform, programs, wait};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;

/// What the nodes know the operator's image by.
pub const OPERATOR_IMAGE: &str = "localhost/operator:dev";
/// What the nodes know the registry's image by.
pub const REGISTRY_IMAGE: &str = "localhost/registry:dev";
/// Nothing runs the pruner yet.
const PRUNER_IMAGE: &str = "localhost/cli:dev";

/// The images that the manifest names, which the release tool would replace.
const REPLACED: [(&str, &str); 3] = [
    (
        "docker.io/openshift/origin-cluster-image-registry-operator:latest",
        OPERATOR_IMAGE,
    ),
    ("docker.io/openshift/origin-docker-registry:latest", REGISTRY_IMAGE),
    ("quay.io/openshift/origin-cli:v4.0", PRUNER_IMAGE),
];

/// The shell and tools of the registry's image; static, for the image has no libraries.
const BUSYBOX: &str = "/bin/busybox";

/// Packs the operator's program and the registry with these programs, and loads both images into every real node.
pub async fn load_images(cluster: &Cluster, operator: &Path, registry: &[&str]) -> Result<()> {
    if !Path::new(BUSYBOX).is_file() {
        bail!("there is no {BUSYBOX} for the registry's image: run tests/devcluster/install-prerequisites");
    }
    if !operator.is_file() {
        bail!(
            "there is no operator at {}: build it (`cargo build`), or name it",
            operator.display()
        );
    }
    let programs = programs::ensure(registry).await?;
    let images = [
        image::operator_image(OPERATOR_IMAGE, operator),
        image::registry_image(REGISTRY_IMAGE, &programs.registry()?, Path::new(BUSYBOX)),
    ];
    for (name, image) in ["operator", "registry"].iter().zip(images) {
        let tar = cluster.directory().join(format!("{name}.tar"));
        image.write(&tar)?;
        cluster.load_image(&tar).await?;
        files::remove(&tar)?;
    }
    Ok(())
}

/// Applies the Deployment of the operator; the rest of `deploy/` is there since the cluster came up.
pub async fn deploy_operator(cluster: &Cluster) -> Result<()> {
    let mut manifest = files::read(&platform::repository().join("deploy/07-operator.yaml"))?;
    for (from, to) in REPLACED {
        if !manifest.contains(from) {
            bail!("deploy/07-operator.yaml names no image {from}");
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
