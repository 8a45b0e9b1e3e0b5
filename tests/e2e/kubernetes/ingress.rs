//! The registry behind an ingress controller: two replicas on one volume, from which clients pull while new pods replace the old.

use serde_json::json;

use super::pace::{Done, Pulls, Source};
use crate::support::https;
use crate::support::traefik::{CONTROLLER, Client, free_port};
use crate::{CLAIM, Scenario};

/// The kinds of the Gateway API and of Traefik.
const KINDS: &str = include_str!("../../data/exposure-crds.yaml");
/// Name of the IngressClass.
pub const CLASS: &str = "edge";
const HOST: &str = "harbour.test";
const CERTIFICATE: &str = "harbour-tls";

impl Scenario {
    /// Installs the kinds of the controller, and the class.
    pub async fn prepare_ingress(&self) {
        self.cluster.devcluster.apply(KINDS).await.unwrap();
        self.cluster.install_traefik().await;
        self.cluster
            .create(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": CLASS},
                "spec": {"controller": CONTROLLER},
            }))
            .await;
    }

    // kubernetes 25 (a quiet machine does two thousand pulls a minute, a busy one fewer); kubernetes 13 with pods, for an Ingress; in part: kubernetes 2 (a claim)
    pub async fn behind_an_ingress_controller(&self) {
        let cluster = &self.cluster;
        let certificate = cluster.certificate_for(CERTIFICATE, &[HOST]).await;
        self.make_claim().await;
        let routes = json!([{"name": "harbour", "hostname": HOST, "secretName": CERTIFICATE}]);
        self.change(async || {
            cluster
                .edit(json!({
                    "replicas": 2, "routes": routes,
                    "storage": {"emptyDir": null, "managementState": null, "pvc": {"claim": CLAIM}},
                }))
                .await;
        })
        .await;
        self.say("two replicas are up on a claim");
        let traefik = cluster.traefik(free_port()).await;
        let client = Client::new(cluster, &certificate, &traefik, HOST).await;
        client.push_and_pull(HOST).await;
        let (status, _) = https::get(traefik.address, HOST, &certificate, "/v2/").await;
        assert_eq!(status, 401, "nobody gets in without a login");
        self.say("pushed to and pulled from the Ingress");

        client.push_a_small_image(&format!("{HOST}/dock/small:v1")).await;
        let revision = self.revision().await;
        let before = self.pod_names().await;
        let source = Source::new(traefik.address, HOST, "dock/small", &certificate, &client.login);
        let pulls = Pulls::start(source);
        self.change(async || {
            let requests = json!({"requests": {"cpu": "20m"}});
            cluster.edit(json!({"resources": requests})).await;
        })
        .await;
        self.until_gone(&before).await;
        let Done {
            count,
            seconds,
            slowest,
        } = pulls.end().await;
        self.say(&format!(
            "the old pods are gone, {count} pulls in {seconds:.0} s meanwhile, the slowest took {slowest:.1?}"
        ));
        assert_eq!(self.revision().await, revision + 1, "one rollout");
    }
}
