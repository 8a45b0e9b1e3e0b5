//! A cloud behind TLS with a private CA.

use devcluster::stores::{Authority, REGION};
use image_registry_operator::names;
use image_registry_operator::plan;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::SwiftCluster;
use super::conformance::BackendUnderTest as _;

async fn site(infrastructure: &str, authority: &Authority) -> SwiftCluster {
    SwiftCluster::over_tls(infrastructure, json!({"swift": {}}), authority).await
}

/// The platform's Secret, with this CA.
fn set_ca(site: &mut SwiftCluster, auth: Value, beside: Value, pem: &str) {
    let clouds = site.clouds(auth, beside);
    site.set_secret(names::MINTED_SECRET, &[("clouds.yaml", &clouds), ("cacert", pem)]);
}

fn map(pem: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca-bundle.pem": pem},
        "metadata": {"name": names::CLOUD_PROVIDER_CONFIG, "namespace": names::CONFIG_NAMESPACE}})
}

fn redirects(site: &SwiftCluster) -> usize {
    site.count_events("RedirectNeedsTrust")
}

// storage-swift 31, 32; issue 11: operator and registry trust it, and the notice about redirects is given
#[tokio::test]
async fn a_private_ca_counts_for_operator_and_registry() {
    let authority = Authority::new("cloud-t1").unwrap();
    let beside = || json!({"region_name": REGION});
    let mut site = site("private-t1", &authority).await;
    set_ca(&mut site, cloud().await.password(), beside(), authority.pem());
    site.converge().await;
    let facts = site.running.clone().unwrap();
    assert_eq!(facts.ca_bundle.as_deref(), Some(authority.pem()));
    let maps = plan::certificates(&site.snapshot, facts.ca_bundle.as_deref(), false, false);
    let map = maps
        .plan
        .desired(image_registry_operator::api::Kind::ConfigMap, names::CERTIFICATES_MAP);
    assert_eq!(map.unwrap().body["data"][names::STORAGE_CA_KEY], json!(authority.pem()));
    assert_eq!(redirects(&site), 1);
    assert!(site.told().iter().any(|told| told.contains("spec.disableRedirect")));
    // Not in each pass, and not where nobody is redirected.
    site.edit(json!({"replicas": 3}));
    site.settle().await;
    assert_eq!(redirects(&site), 1);
    site.edit(json!({"disableRedirect": true, "storage": {"swift": {"container": "private-t1-next"}}}));
    site.converge().await;
    assert_eq!(redirects(&site), 1);
}

// storage-swift 31
#[tokio::test]
async fn the_config_map_of_the_cloud_provider_counts_only_without_the_key_of_the_secret() {
    let (authority, other) = (Authority::new("cloud-t2").unwrap(), Authority::new("other-t2").unwrap());
    let mut site = site("mapped-t2", &authority).await;
    let beside = || json!({"region_name": REGION});
    site.set_cloud(cloud().await.password(), beside());
    site.add(map(authority.pem()));
    site.converge().await;
    let running = site.running.clone();
    assert!(running.is_some());
    // The wrong CA in the Secret beats the right one in the map; the registry runs on.
    set_ca(&mut site, cloud().await.password(), beside(), other.pem());
    site.later(std::time::Duration::from_mins(11));
    let outcome = site.pass().await;
    let error = outcome.error.unwrap();
    assert_eq!(error.class, ErrorClass::Transient);
    assert!(error.message.contains("not signed by a trusted authority"), "{error}");
    assert!(outcome.facts.is_none() && site.running == running);
    set_ca(&mut site, cloud().await.password(), beside(), "no certificate");
    site.later(std::time::Duration::from_mins(11));
    let error = site.pass().await.error.unwrap();
    assert!(error.message.contains("key cacert of Secret"), "{error}");
    set_ca(&mut site, cloud().await.password(), beside(), authority.pem());
    site.later(std::time::Duration::from_mins(11));
    site.converge().await;
    assert!(site.condition("StorageExists").starts_with("True/"));
}

// storage-swift section 2.3: verify: false is for the operator alone, and is told
#[tokio::test]
async fn without_verification_the_operator_works_and_warns_and_the_registry_is_not_rendered() {
    let authority = Authority::new("cloud-t3").unwrap();
    let mut site = site("unverified-t3", &authority).await;
    site.set_cloud(
        cloud().await.password(),
        json!({"region_name": REGION, "verify": false}),
    );
    let outcome = site.settle().await;
    assert!(site.is_ours(&site.generated()).await);
    assert_eq!(site.count_events("CertificatesNotVerified"), 1);
    assert!(
        site.running.is_none() && outcome.facts.is_none(),
        "the registry verifies"
    );
    set_ca(
        &mut site,
        cloud().await.password(),
        json!({"region_name": REGION}),
        authority.pem(),
    );
    site.later(std::time::Duration::from_mins(11));
    site.converge().await;
    assert!(site.running.is_some());
}
