//! What an administrator may set on S3 storage, as the pods get it.

use devcluster::stores::Gate;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::{World, moto};
use crate::support::{TestCluster, config_ref, operand};
use crate::{deployment, environment, is_settled};

const CHUNK: &str = "REGISTRY_STORAGE_S3_CHUNKSIZE";

// workload 36, storage-s3 41, 42
// In part: workload 34 (what is out of bounds is refused before the operator sees it).
#[tokio::test]
async fn options_reach_the_pods_and_another_signing_key_replaces_them() {
    let mut world = World::new("kw-options1").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    let before = environment(&world.cluster).await;
    assert_eq!(before["REGISTRY_STORAGE_S3_FORCEPATHSTYLE"], "true");
    assert_eq!(before["REGISTRY_STORAGE_S3_ENCRYPT"], "true");
    assert!(!before.contains_key(CHUNK));

    for wrong in [4, 5121] {
        let edit = json!({"spec": {"storage": {"s3": {"chunkSizeMiB": wrong}}}});
        assert!(world.cluster.try_patch(&config_ref(), edit).await.is_err(), "{wrong}");
    }
    let metadata = json!({"name": "cloudfront-key", "namespace": names::NAMESPACE});
    let secret = operand(Kind::Secret, "cloudfront-key");
    let key = "signing-key-of-cloudfront-1";
    world.secret(key);
    world
        .cluster
        .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key.pem": key}}))
        .await;
    let cloud_front = json!({
        "baseURL": "https://d1.cloudfront.example", "keypairID": "K9", "privateKey": {"name": "cloudfront-key", "key": "key.pem"},
    });
    world
        .cluster
        .edit(json!({"storage": {"s3": {"chunkSizeMiB": 10, "cloudFront": cloud_front}}}))
        .await;
    let with_chunks = |d: Option<&Value>| d.is_some_and(|d| d.to_string().contains("10485760"));
    world.cluster.until(&deployment(), "following", with_chunks).await;
    world.cluster.until_config("up", is_settled).await;
    let environment = environment(&world.cluster).await;
    assert_eq!(environment[CHUNK], "10485760");
    let middleware = "- name: cloudfront\n  options:\n    baseurl: https://d1.cloudfront.example\n    \
                      privatekey: /etc/docker/cloudfront/private.pem\n    keypairid: K9\n    duration: 1200s\n    \
                      ipfilteredby: none";
    assert_eq!(environment["REGISTRY_MIDDLEWARE_STORAGE"].trim_end(), middleware);
    let live = world.cluster.get(&deployment()).await.unwrap();
    let pod = &live["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|m| m["name"] == "registry-cloudfront").unwrap();
    assert_eq!(mount["mountPath"], "/etc/docker/cloudfront");
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|v| v["name"] == "registry-cloudfront").unwrap();
    assert_eq!(
        volume["secret"]["items"][0],
        json!({"key": "key.pem", "path": "private.pem"})
    );

    // Another key: other pods.
    let template = live["spec"]["template"].clone();
    world.secret("signing-key-of-cloudfront-2");
    world
        .cluster
        .patch(
            &secret,
            json!({"stringData": {"key.pem": "signing-key-of-cloudfront-2"}}),
        )
        .await;
    world
        .cluster
        .until(&deployment(), "rolled out", |d| {
            d.is_some_and(|d| d["spec"]["template"] != template)
        })
        .await;
    world.cluster.until_config("up", is_settled).await;
    world.judge(operator).await;
}

// workload 35, storage-s3 10
#[tokio::test]
async fn the_bucket_is_in_the_host_name_where_an_endpoint_is_to_be_asked_so() {
    let mut world = World::new("kw-hosted1").await;
    world.mint().await;
    world.make("hosted-quarry1").await;
    let store = Gate::start(moto().await.target(), None, &[]).unwrap();
    let port = store.target().address.port();
    let endpoint = format!("http://s3.localhost:{port}");
    let block = json!({
        "bucket": "hosted-quarry1", "regionEndpoint": endpoint, "virtualHostedStyle": true,
    });
    let mut config = TestCluster::managed(json!({"s3": block}));
    // Names below localhost are known to the proxy only.
    config["spec"]["proxy"] = json!({"http": world.proxy.url()});
    world.cluster.create(config).await;
    let operator = world.operator_by("HTTP_PROXY").await;
    world.cluster.until_config("up", is_settled).await;
    let environment = environment(&world.cluster).await;
    assert_eq!(environment["REGISTRY_STORAGE_S3_FORCEPATHSTYLE"], "false");
    assert_eq!(environment["REGISTRY_STORAGE_S3_REGIONENDPOINT"], endpoint);
    assert!(!environment.contains_key(CHUNK));
    let hosts: Vec<_> = store.asked().into_iter().map(|asked| asked.host).collect();
    let expected = format!("hosted-quarry1.s3.localhost:{port}");
    assert!(
        !hosts.is_empty() && hosts.iter().all(|host| *host == expected),
        "{hosts:?}"
    );
    world.judge(operator).await;
}
