//! The demo on a cluster without OKD's APIs: certificates, login and the nodes' trust are the operator's.

use super::{Conditions, HELLO, LIMIT, Story, detail, hello, print, sample, typed};
use anyhow::{Context as _, Result};
use devcluster::login::{self, Login};
use devcluster::{Cluster, inside, install};
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use serde_json::json;
use std::path::Path;

const NAMESPACE: &str = "openshift-image-registry";

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
        typed("kubectl create secret docker-registry image-registry-login --from-file=.dockerconfigjson=config.json")?;
        Login::copy(cluster, "default").await?;
        self.run_pod(cluster, &pushed, Some(login::SECRET)).await?;
        Ok(conditions)
    }

    /// Pushes an image through the Service's address; answers its digest.
    async fn push_with_login(&self, cluster: &Cluster) -> Result<String> {
        self.tell("An image is pushed through the Service, with the CA and the login that the operator made")?;
        let services: Api<Service> = Api::namespaced(cluster.client().await?, NAMESPACE);
        let spec = services.get("image-registry").await?.spec;
        let address = spec
            .and_then(|spec| spec.cluster_ip)
            .context("the Service has no address")?;
        typed(
            "kubectl -n openshift-image-registry get secret image-registry-login -o jsonpath='{.data.\\.dockerconfigjson}' | base64 -d > config.json",
        )?;
        typed(
            "kubectl -n openshift-image-registry get configmap serviceca -o jsonpath='{.data.service-ca\\.crt}' > ca.crt",
        )?;
        let login = Login::of(cluster, &format!("{address}:5000"), LIMIT).await?;
        let (layout, digest) = sample(cluster).await?;
        let reference = format!("{address}:5000/{HELLO}");
        let layout = layout.display().to_string();
        typed(&format!("crane push {layout} {reference}"))?;
        let words = ["crane", "push", &layout, &reference];
        let mut command = inside::command(cluster.record(), "node1", &words).await?;
        command.envs(login.variables());
        inside::run(command).await?;
        detail(&digest)?;
        Ok(digest)
    }
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
