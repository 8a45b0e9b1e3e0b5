//! The stand-ins for the platform's controllers against a real API server: they create what the platform creates, restore what
//! is changed, and then are idle.

use std::time::Duration;

use anyhow::{Result, ensure};
use devcluster::standin::{self, Control, StandIn};
use devcluster::{Cluster, Options};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

const NS: &str = "zone-q";
const TLS: &str = "quux-tls";

/// Waits until `check` returns a value.
async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, check: impl FnMut() -> F) -> Result<T> {
    devcluster::wait::until(what, Duration::from_secs(20), check).await
}

/// The objects of a test, by kind.
struct Objects {
    services: Api<Service>,
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    routes: Api<DynamicObject>,
}

impl Objects {
    fn of(client: &Client) -> Self {
        let gvk = GroupVersionKind::gvk("route.openshift.io", "v1", "Route");
        Self {
            services: Api::namespaced(client.clone(), NS),
            secrets: Api::namespaced(client.clone(), NS),
            maps: Api::namespaced(client.clone(), NS),
            routes: Api::namespaced_with(client.clone(), NS, &ApiResource::from_gvk(&gvk)),
        }
    }

    async fn make_service(&self) -> Result<Service> {
        let annotations = json!({"service.alpha.openshift.io/serving-cert-secret-name": TLS});
        let body =
            json!({"metadata": {"name": "quux", "annotations": annotations}, "spec": {"ports": [{"port": 5000}]}});
        Ok(self
            .services
            .create(&PostParams::default(), &serde_json::from_value(body)?)
            .await?)
    }

    async fn make_map(&self, name: &str, metadata: Value) -> Result<()> {
        let mut body = json!({"metadata": metadata, "data": {"mine": "kept"}});
        body["metadata"]["name"] = json!(name);
        self.maps
            .create(&PostParams::default(), &serde_json::from_value(body)?)
            .await?;
        Ok(())
    }

    async fn make_route(&self) -> Result<()> {
        let body = json!({
            "apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "blue"},
            "spec": {"to": {"kind": "Service", "name": "quux"}, "tls": {"termination": "reencrypt"}},
        });
        self.routes
            .create(&PostParams::default(), &serde_json::from_value(body)?)
            .await?;
        Ok(())
    }

    /// Waits for the serving certificate of this Service.
    async fn certificate(&self, service: &Service) -> Result<Secret> {
        until("a serving certificate", async || {
            let secret = self.secrets.get_opt(TLS).await?;
            Ok(secret.filter(|secret| {
                secret
                    .owner_references()
                    .iter()
                    .any(|owner| owner.uid == service.uid().unwrap_or_default())
            }))
        })
        .await
    }

    /// Waits until a key of a ConfigMap holds this.
    async fn filled(&self, name: &str, key: &str, value: &str) -> Result<()> {
        until(name, async || {
            let data = self.maps.get(name).await?.data.unwrap_or_default();
            Ok((data.get(key).is_some_and(|held| held == value) && data.contains_key("mine")).then_some(()))
        })
        .await
    }

    /// Waits until the Route's Admitted condition has this status.
    async fn admitted(&self, status: &str) -> Result<DynamicObject> {
        until("a route's status", async || {
            let route = self.routes.get("blue").await?;
            Ok((route.data["status"]["ingress"][0]["conditions"][0]["status"] == status).then_some(route))
        })
        .await
    }
}

#[tokio::test]
async fn the_stand_ins_do_what_the_platform_does_and_then_are_idle() -> Result<()> {
    let options = Options {
        name: "standins".into(),
        simulated_nodes: 0,
        deploy: false,
        standins: false,
        ..Options::default()
    };
    let cluster = Cluster::up(options).await?;
    let client = cluster.client().await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({"metadata": {"name": NS}}))?,
        )
        .await?;
    let pki_dir = cluster.directory().join("pki");
    let running = standin::start(&standin::Options {
        kubeconfig: cluster.kubeconfig().to_owned(),
        pki_dir: pki_dir.clone(),
        domain: "apps.quux".to_owned(),
        router: Some(([127, 0, 0, 1], 0).into()),
        node_dirs: Vec::new(),
        service_ca_on_nodes: true,
    })
    .await?;
    let range = namespaces
        .get(NS)
        .await?
        .annotations()
        .get("openshift.io/sa.scc.uid-range")
        .cloned();
    ensure!(range.is_some(), "namespaces are annotated when start returns");

    let objects = Objects::of(&client);
    gives_and_restores(&objects, &standin::service_ca(&pki_dir)?).await?;
    holds_and_releases(&objects, &client).await?;
    assert_idle(&cluster).await?;
    running.stop().await;
    cluster.down().await
}

async fn gives_and_restores(objects: &Objects, service_ca: &str) -> Result<()> {
    let service = objects.make_service().await?;
    let first = objects.certificate(&service).await?;
    objects.secrets.delete(TLS, &DeleteParams::default()).await?;
    let second = objects.certificate(&service).await?;
    ensure!(first.uid() != second.uid(), "a deleted certificate is made again");
    objects.services.delete("quux", &DeleteParams::default()).await?;
    let service = objects.make_service().await?;
    objects.certificate(&service).await?;
    until("the signer's mark", async || {
        let annotations = objects.services.get("quux").await?.annotations().clone();
        Ok(annotations
            .get("service.beta.openshift.io/serving-cert-signed-by")
            .cloned())
    })
    .await?;

    let annotations = json!({"annotations": {"service.beta.openshift.io/inject-cabundle": "true"}});
    objects.make_map("service-ca", annotations).await?;
    objects.filled("service-ca", "service-ca.crt", service_ca).await?;
    let spoil = Patch::Merge(json!({"data": {"service-ca.crt": "spoilt"}}));
    objects
        .maps
        .patch("service-ca", &PatchParams::default(), &spoil)
        .await?;
    objects.filled("service-ca", "service-ca.crt", service_ca).await?;

    objects.make_route().await?;
    let route = objects.admitted("True").await?;
    ensure!(
        route.data["spec"]["host"] == "blue-zone-q.apps.quux",
        "{}",
        route.data["spec"]
    );
    Ok(())
}

async fn holds_and_releases(objects: &Objects, client: &Client) -> Result<()> {
    let mut wish = Control::hold([StandIn::ServingCertificate, StandIn::TrustedCaBundle]);
    wish.refuse_routes.insert(format!("{NS}/blue"));
    wish.set(client).await?;
    objects.admitted("False").await?;
    objects.secrets.delete(TLS, &DeleteParams::default()).await?;
    let labels = json!({"labels": {"config.openshift.io/inject-trusted-cabundle": "true"}});
    objects.make_map("trusted", labels).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(
        objects.secrets.get_opt(TLS).await?.is_none(),
        "a held signer signs nothing"
    );
    let held = objects.maps.get("trusted").await?.data.unwrap_or_default();
    ensure!(!held.contains_key("ca-bundle.crt"), "a held injection injects nothing");

    Control::default().set(client).await?;
    ensure!(objects.secrets.get_opt(TLS).await?.is_some(), "released means done");
    let released = objects.maps.get("trusted").await?.data.unwrap_or_default();
    ensure!(released.contains_key("ca-bundle.crt"), "released means done");
    objects.admitted("True").await?;
    Ok(())
}

/// Asserts that the stand-ins are idle. Only they send requests as administrator meanwhile. They may restart a watch that the
/// API server ended.
async fn assert_idle(cluster: &Cluster) -> Result<()> {
    tokio::time::sleep(Duration::from_secs(1)).await;
    let played = cluster
        .audit()?
        .filter(|event| event.uri.contains("fieldManager=standin-"));
    ensure!(
        !played.is_empty(),
        "the audit log shows the stand-ins by their field managers"
    );
    let mark = cluster.mark()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let log = cluster.audit()?.since(mark);
    let asked = log.filter(|event| event.verb != "watch" && !event.user.starts_with("system:"));
    ensure!(
        asked.is_empty(),
        "settled stand-ins send requests: {:?}",
        asked.events()
    );
    Ok(())
}
