//! A Kubernetes cluster that serves none of the platform's APIs. It is here because the operator asks only every 30 seconds for an API
//! that is missing.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};

use crate::support::operator::ACCOUNT;
use crate::support::{
    TestCluster, cluster_operator, cron_job, default_route, image_pruner, is, is_up, operand, plain, service,
};

/// Whether a client that trusts ConfigMap `serviceca` accepts the registry's certificate for this name.
async fn verifies(cluster: &TestCluster, name: &str) -> bool {
    let secret = cluster
        .until_present(&operand(Kind::Secret, names::SERVING_CERT_SECRET))
        .await;
    let map = cluster
        .until_present(&operand(Kind::ConfigMap, names::SERVICE_CA_MAP))
        .await;
    let mut roots = RootCertStore::empty();
    let authorities = map["data"][names::SERVICE_CA_KEY]
        .as_str()
        .expect("the CA is published");
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let pem = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from(name).unwrap();
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
        .is_ok()
}

// deploy 37, deploy 52; kubernetes 1, kubernetes 6, kubernetes 21
#[tokio::test]
async fn without_the_platforms_apis_the_registry_comes_up_and_apis_that_are_served_later_are_taken_up() {
    let cluster = TestCluster::exclusive(plain("plain")).await;
    let operator = cluster.operator().await;
    let bootstrapped = cluster
        .until_config("removed", |config| is(config, "Available", "True", "Removed"))
        .await;
    assert_eq!(bootstrapped["spec"]["managementState"], "Removed");
    let spec = json!({"managementState": "Managed", "storage": {"emptyDir": {}}, "replicas": 1});
    let edited = std::time::Instant::now();
    cluster.edit(spec).await;
    cluster.until_config("up", is_up).await;
    // Nothing is awaited that only the platform provides.
    assert!(edited.elapsed().as_secs() < 25, "{:?}", edited.elapsed());
    // Routes are asked for before the cluster serves them.
    let routes = json!({"defaultRoute": true, "routes": [{"name": "own", "hostname": "own.example.com"}]});
    cluster.edit(routes).await;
    let unsupported = |config: &Value| is(config, "Progressing", "True", "Error");
    cluster.until_config("Routes cannot be made", unsupported).await;
    let service = cluster.get(&service()).await.unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let host = format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE);
    for name in [&host, &format!("{host}.cluster.local"), &address, "own.example.com"] {
        assert!(verifies(&cluster, name).await, "{name}");
    }
    let unsupported = |o: Option<&Value>| o.is_some_and(|o| is(o, "Scheduled", "False", "Unsupported"));
    cluster.until(&image_pruner(), "unsupported", unsupported).await;
    for absent in [cron_job()] {
        assert!(cluster.get(&absent).await.is_none(), "{absent}");
    }
    for plural in ["routes", "clusteroperators", "imagestreams"] {
        cluster.devcluster.install_platform_crd(plural).await.unwrap();
    }
    for present in [default_route(), cluster_operator(), cron_job()] {
        cluster.until_present(&present).await;
    }
    cluster.until_config("up", is_up).await;
    assert!(operator.log().contains("the API server does not serve this kind"));
    let audit = cluster.devcluster.audit().unwrap();
    let account = format!("system:serviceaccount:{}:{ACCOUNT}", names::NAMESPACE);
    let denied = audit.by_user(&account).denied();
    assert_eq!(denied.len(), 0, "{denied:?}");
    assert!(operator.stop().await.success());
}
