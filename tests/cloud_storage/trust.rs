//! A store with a private CA.

use devcluster::stores::{Authority, Gate};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::{World, moto};
use crate::support::{TestCluster, condition, is, operand, texts};
use crate::{certificates_map, deployment, environment, is_settled};

const CERTIFICATES: &str = "ImageRegistryCertificatesControllerDegraded";

// storage-s3 43, storage-core 49, 50, storage-decisions T16, T19, lifecycle 92, workload 77
#[tokio::test]
async fn a_ca_that_is_missing_is_told_of_twice_and_the_registry_comes_up_when_it_is_there() {
    let mut world = World::new("kw-trust1").await;
    world.mint().await;
    world.make("trust-quarry1").await;
    let authority = Authority::new("store-ca").unwrap();
    let store = Gate::start(moto().await.target(), Some(&authority), &[]).unwrap();
    let block = json!({"bucket": "trust-quarry1", "regionEndpoint": store.url(), "trustedCA": {"name": "s3-ca"}});
    let mut config = TestCluster::managed(json!({"s3": block}));
    // The store is on this machine, and not behind the proxy.
    config["spec"]["proxy"] = json!({"noProxy": "127.0.0.1"});
    config["spec"]["disableRedirect"] = json!(true);
    world.cluster.create(config).await;
    let operator = world.operator_beside("127.0.0.1").await;
    let config = world
        .cluster
        .until_config("told of the map", |c| {
            condition(c, "Progressing").2.contains("openshift-config/s3-ca")
                && condition(c, CERTIFICATES).2.contains("openshift-config/s3-ca")
        })
        .await;
    assert_eq!(condition(&config, "Progressing").0, "True");
    assert_eq!(condition(&config, CERTIFICATES).0, "True");
    assert!(world.cluster.get(&deployment()).await.is_none());
    assert!(store.asked().is_empty());

    // Another CA: no connection.
    let map = ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, "s3-ca");
    let other = Authority::new("other-ca").unwrap();
    let metadata = json!({"name": map.name, "namespace": map.namespace});
    world
        .cluster
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
                       "data": {"ca-bundle.crt": other.pem()}}))
        .await;
    world
        .cluster
        .until_config("told of the certificate", |c| {
            condition(c, CERTIFICATES).0 == "False" && condition(c, "StorageExists").2.contains("certificate")
        })
        .await;
    assert!(store.asked().is_empty(), "{:?}", store.asked());

    // The right one.
    world
        .cluster
        .patch(&map, json!({"data": {"ca-bundle.crt": authority.pem()}}))
        .await;
    world.cluster.until_config("up", is_settled).await;
    let published = world.cluster.get(&certificates_map()).await.unwrap();
    let published = texts(&published, "/data");
    assert_eq!(published[names::STORAGE_CA_KEY], authority.pem());
    // With redirects disabled clients do not speak to the store; without, they do.
    let hosts_vouch = |map: &Value| {
        let published = texts(map, "/data");
        let mut hosts = published.iter().filter(|(key, _)| *key != names::STORAGE_CA_KEY);
        hosts.any(|(_, pem)| pem.contains(authority.pem()))
    };
    assert!(!hosts_vouch(&world.cluster.get(&certificates_map()).await.unwrap()));
    for disabled in [false, true] {
        world.cluster.edit(json!({"disableRedirect": disabled})).await;
        world
            .cluster
            .until(
                &certificates_map(),
                "for clients that are sent to the store, or not",
                |m| m.is_some_and(|m| hosts_vouch(m) != disabled),
            )
            .await;
        world.cluster.until_config("settled", is_settled).await;
    }
    assert_eq!(
        environment(&world.cluster).await["REGISTRY_STORAGE_S3_REGIONENDPOINT"],
        store.url()
    );

    world.cluster.edit(json!({"managementState": "Removed"})).await;
    let removed = |c: &Value| is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
    world.cluster.until_config("removed", removed).await;
    let map = operand(Kind::ConfigMap, names::CERTIFICATES_MAP);
    world
        .cluster
        .until(&map, "without the store's CA", |m| {
            !m.is_some_and(|m| texts(m, "/data").contains_key(names::STORAGE_CA_KEY))
        })
        .await;
    world.judge(operator).await;
}
