//! The demo on a cluster without OKD's APIs: certificates, login and the nodes' trust are the operator's.

use super::{Conditions, HELLO, LIMIT, Story, conditions, detail, hello, print, sample, typed};
use anyhow::{Context as _, Result};
use devcluster::{Cluster, inside, install};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::json;
use std::path::{Path, PathBuf};

const NAMESPACE: &str = "openshift-image-registry";
/// The Secret with the registry's login, in the form that pods pull with.
const LOGIN: &str = "image-registry-login";

impl Story {
    pub(super) async fn play_on_kubernetes(&self, cluster: &Cluster, operator: &Path) -> Result<Conditions> {
        self.tell("Images of operator and registry, loaded into the nodes")?;
        install::load_stock_images(cluster, operator).await?;
        let apply = "kubectl apply -k deploy/overlays/kubernetes";
        let conditions = self.deploy(cluster, "the overlay", apply, &install::KUBERNETES).await?;

        self.tell("No registry runs yet. The administrator switches it on")?;
        let spec = json!({ "managementState": "Managed", "storage": { "emptyDir": {} } });
        self.edit(cluster, &spec).await?;
        conditions.until("Available", "True", "Ready", LIMIT).await?;
        conditions.until("Progressing", "False", "Ready", LIMIT).await?;

        let pushed = self.push_with_login(cluster).await?;
        copy_login(cluster).await?;
        self.run_pod(cluster, &pushed, Some(LOGIN)).await?;
        Ok(conditions)
    }

    /// Pushes an image through the Service's address; answers its digest.
    async fn push_with_login(&self, cluster: &Cluster) -> Result<String> {
        self.tell("An image is pushed through the Service, with the CA and the login that the operator made")?;
        let client = cluster.client().await?;
        let (folder, authority) = login(cluster, &client).await?;
        let (layout, digest) = sample(cluster).await?;
        let services: Api<Service> = Api::namespaced(client, NAMESPACE);
        let spec = services.get("image-registry").await?.spec;
        let address = spec
            .and_then(|spec| spec.cluster_ip)
            .context("the Service has no address")?;
        let reference = format!("{address}:5000/{HELLO}");
        let layout = layout.display().to_string();
        typed(&format!("crane push {layout} {reference}"))?;
        let words = ["crane", "push", &layout, &reference];
        let mut command = inside::command(cluster.record(), "node1", &words).await?;
        command.env("DOCKER_CONFIG", folder).env("SSL_CERT_FILE", authority);
        inside::run(command).await?;
        detail(&digest)?;
        Ok(digest)
    }
}

/// A folder with the login as clients read it, and a file with the registry's CA.
async fn login(cluster: &Cluster, client: &kube::Client) -> Result<(PathBuf, PathBuf)> {
    let folder = cluster.directory().join("login");
    std::fs::create_dir_all(&folder)?;
    typed(
        "kubectl -n openshift-image-registry get secret image-registry-login -o jsonpath='{.data.\\.dockerconfigjson}' | base64 -d > config.json",
    )?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let document = conditions::wait("the login", LIMIT, || async {
        let secret = secrets.get_opt(LOGIN).await?;
        Ok(secret.and_then(|secret| secret.data?.remove(".dockerconfigjson")))
    })
    .await?;
    std::fs::write(folder.join("config.json"), document.0)?;
    typed(
        "kubectl -n openshift-image-registry get configmap serviceca -o jsonpath='{.data.service-ca\\.crt}' > ca.crt",
    )?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let data = maps.get("serviceca").await?.data.unwrap_or_default();
    let authority = folder.join("ca.crt");
    std::fs::write(&authority, data.get("service-ca.crt").context("no CA is published")?)?;
    Ok((folder, authority))
}

/// Pods pull with a Secret of their own namespace.
async fn copy_login(cluster: &Cluster) -> Result<()> {
    typed("kubectl create secret docker-registry image-registry-login --from-file=.dockerconfigjson=config.json")?;
    let client = cluster.client().await?;
    let from: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE);
    let mut secret = from.get(LOGIN).await?;
    secret.metadata = ObjectMeta {
        name: Some(LOGIN.to_owned()),
        ..ObjectMeta::default()
    };
    let to: Api<Secret> = Api::default_namespaced(client);
    to.create(&PostParams::default(), &secret).await?;
    Ok(())
}

/// What to type into another terminal.
pub(super) fn try_next(cluster: &Cluster) -> Result<()> {
    print(&format!(
        "
Try next, in another terminal, while the conditions go on here; Ctrl-C removes the cluster.

  export KUBECONFIG={kubeconfig}
  kubectl get configs.imageregistry.operator.openshift.io cluster -o yaml
  kubectl -n openshift-image-registry get pods,services,secrets,configmaps
  kubectl -n openshift-image-registry logs deployment/cluster-image-registry-operator --follow

The image that was pushed is the layout {hello}.
",
        kubeconfig = cluster.kubeconfig().display(),
        hello = hello(cluster).display(),
    ))
}
