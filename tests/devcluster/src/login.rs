//! The login that the operator makes for a stock registry, and the CA of the registry, as clients use them.

use crate::{Cluster, files, wait};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ObjectMeta, PostParams};
use std::path::PathBuf;
use std::time::Duration;

const NAMESPACE: &str = "openshift-image-registry";
/// The Secret with the login, in the form that pods pull with.
pub const SECRET: &str = "image-registry-login";
const DOCUMENT: &str = ".dockerconfigjson";
const AUTHORITIES: &str = "serviceca";

/// Files of a client.
#[derive(Clone, Debug)]
pub struct Login {
    /// A directory with `config.json`.
    pub directory: PathBuf,
    /// The CAs that sign the registry's certificate, in PEM.
    pub authorities: PathBuf,
}

impl Login {
    /// Waits until the login is good for a host (with its port) of the registry, and writes the files.
    pub async fn of(cluster: &Cluster, host: &str, limit: Duration) -> Result<Self> {
        let client = cluster.client().await?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
        let what = format!("Secret {SECRET} has a login for {host}");
        let document = wait::until(&what, limit, || async {
            let data = secrets.get_opt(SECRET).await?.and_then(|secret| secret.data);
            let document = data.and_then(|mut data| data.remove(DOCUMENT));
            Ok(document.filter(|document| String::from_utf8_lossy(&document.0).contains(host)))
        })
        .await?;
        let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let data = maps.get(AUTHORITIES).await?.data.unwrap_or_default();
        let directory = cluster.directory().join("login");
        let login = Self {
            authorities: directory.join("ca.crt"),
            directory,
        };
        files::create_dir(&login.directory)?;
        files::replace(&login.directory.join("config.json"), document.0)?;
        let pem = data.get("service-ca.crt").context("no CA is published")?;
        files::replace(&login.authorities, pem.clone())?;
        Ok(login)
    }

    /// What makes `crane` use it.
    pub fn variables(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("DOCKER_CONFIG", self.directory.clone()),
            ("SSL_CERT_FILE", self.authorities.clone()),
        ]
    }

    /// Copies the Secret to a namespace, unless it has one: pods pull with a Secret of their own namespace.
    pub async fn copy(cluster: &Cluster, namespace: &str) -> Result<()> {
        let client = cluster.client().await?;
        let copies: Api<Secret> = Api::namespaced(client.clone(), namespace);
        if copies.get_opt(SECRET).await?.is_some() {
            return Ok(());
        }
        let own: Api<Secret> = Api::namespaced(client, NAMESPACE);
        let mut secret = own.get(SECRET).await?;
        secret.metadata = ObjectMeta {
            name: Some(SECRET.to_owned()),
            ..ObjectMeta::default()
        };
        copies.create(&PostParams::default(), &secret).await?;
        Ok(())
    }
}
