//! API clients from the kubeconfigs that this crate writes.

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::path::Path;

/// A client that talks to the cluster and to nothing in between: proxies of this machine's environment do not count.
pub async fn from(kubeconfig: &Path) -> Result<kube::Client> {
    // Fails when one is installed already, which is all that is needed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let read = Kubeconfig::read_from(kubeconfig);
    let read = read.with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(kube::Client::try_from(config)?)
}
