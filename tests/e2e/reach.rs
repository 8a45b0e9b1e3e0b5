//! How operator, registry and nodes reach a cloud at its public names, behind a private CA, and whose tokens came there.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use devcluster::install;
use devcluster::stores::{Asked, Authority};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::switch::{map, set};
use crate::{REGISTRY, Scenario, partner};

/// Where pods have the token of their ServiceAccount.
pub const TOKEN_FILE: &str = "/var/run/secrets/openshift/serviceaccount/token";
/// ConfigMap with the CA for the cluster's proxy.
const ROOTS: &str = "e2e-cloud-roots";
/// Key of the ConfigMap with CAs for images: the registry's host, because runtimes look up a CA by it, also after a redirect.
const OF_IMAGES: &str = "image-registry.openshift-image-registry.svc..5000";

fn proxy() -> ObjectRef {
    ObjectRef::new(Kind::Proxy, "", names::CLUSTER)
}

/// Subjects of the tokens of operator and registry.
pub fn subjects() -> [String; 2] {
    [names::OPERATOR_DEPLOYMENT, names::REGISTRY_SERVICE_ACCOUNT]
        .map(|account| format!("system:serviceaccount:{}:{account}", names::NAMESPACE))
}

/// Panics unless a pod of the operator and one of the registry came with the tokens that the kubelet gave them. The tokens are
/// in a field of forms.
pub fn assert_pods_came_with_tokens<'a>(forms: impl Iterator<Item = &'a Asked>, field: &str) {
    let pods: Vec<String> = forms.filter_map(|form| pod_of_token(&form.text(), field)).collect();
    for deployment in [names::OPERATOR_DEPLOYMENT, names::REGISTRY] {
        let came = pods.iter().any(|pod| pod.starts_with(&format!("{deployment}-")));
        assert!(came, "{deployment}: {pods:?}");
    }
}

/// Name of the pod to which a token is bound; none of one that somebody requested for a ServiceAccount.
fn pod_of_token(form: &str, field: &str) -> Option<String> {
    let mut fields = form.split('&').filter_map(|pair| pair.split_once('='));
    let (_, token) = fields.find(|(name, _)| *name == field)?;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    claims["kubernetes.io"]["pod"]["name"].as_str().map(str::to_owned)
}

impl Scenario {
    /// Operator and registry trust the cloud by what the platform has for that: the CA of the proxy and the CA for images.
    /// Nodes trust it after a redirect of the registry.
    pub async fn trust(&self, authority: &Authority) {
        let roots = json!({"ca-bundle.crt": authority.pem()});
        set(&self.cluster, &map(names::CONFIG_NAMESPACE, ROOTS), "data", roots).await;
        let trusted = json!({"spec": {"trustedCA": {"name": ROOTS}}});
        self.cluster.patch(&proxy(), trusted).await;
        self.trust_for_images(Some(authority.pem())).await;
    }

    /// Nobody trusts the cloud any more.
    pub async fn distrust(&self) {
        let without = json!({"spec": {"trustedCA": {"name": ""}}});
        self.cluster.patch(&proxy(), without).await;
        self.trust_for_images(None).await;
    }

    async fn trust_for_images(&self, pem: Option<&str>) {
        let data = json!({"data": {OF_IMAGES: pem}});
        let images = map(names::CONFIG_NAMESPACE, partner::MAP);
        self.cluster.patch(&images, data).await;
    }

    /// Waits until nodes trust the cloud, and lets them resolve these hosts: then they can follow redirects of the registry.
    pub async fn nodes_reach(&self, hosts: &[String], address: Ipv4Addr, authority: &Authority) {
        let entries: Vec<_> = hosts.iter().map(|host| (host.clone(), address.into())).collect();
        self.cluster.devcluster.write_node_hosts(&entries).unwrap();
        install::nodes_trust_authority(self.cluster.devcluster, REGISTRY, authority.pem())
            .await
            .unwrap();
    }
}
