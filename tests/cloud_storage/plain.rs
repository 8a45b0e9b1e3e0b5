//! S3 on a cluster without the platform's APIs: nothing there names the cluster, and the stock registry uses the storage.

use http::Method;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::{REGION, call, exists, make, moto};
use crate::support::operator::STOCK;
use crate::support::{TestCluster, condition, deployment, env, is, plain};
use crate::{is_settled, observed};

const USERS_BUCKET: &str = "images-of-a-plain-cluster";

/// Deletes the Config's storage and sets this one.
async fn uses(cluster: &TestCluster, s3: Value) {
    cluster
        .edit(json!({"managementState": "Managed", "replicas": 1, "storage": {"managementState": null, "s3": null}}))
        .await;
    cluster.edit(json!({"storage": {"s3": s3}})).await;
}

/// Removes the registry.
async fn removed(cluster: &TestCluster) {
    cluster.edit(json!({"managementState": "Removed"})).await;
    let is_removed =
        |c: &Value| observed(c) && is(c, "Available", "True", "Removed") && is(c, "Progressing", "False", "Removed");
    cluster.until_config("removed", is_removed).await;
}

async fn bucket_of_the_pods(cluster: &TestCluster) -> String {
    let live = cluster.get(&deployment()).await.unwrap();
    env(&live, "REGISTRY_STORAGE_S3_BUCKET").unwrap().to_owned()
}

// In part: kubernetes 2 (S3; the pods are simulated)
#[tokio::test]
async fn a_cluster_without_the_platforms_apis_uses_a_bucket_and_makes_and_removes_its_own() {
    let cluster = TestCluster::exclusive(plain("plain-s3")).await;
    let everything = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    let keys = moto().await.user("plain", &everything).await.unwrap();
    let data = json!({"REGISTRY_STORAGE_S3_ACCESSKEY": keys.id, "REGISTRY_STORAGE_S3_SECRETKEY": keys.secret});
    cluster
        .create(json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
                       "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE}}))
        .await;
    make(USERS_BUCKET).await;
    let operator = cluster.operator_with(&STOCK).await;
    cluster
        .until_config("removed", |c| is(c, "Available", "True", "Removed"))
        .await;

    let endpoint = moto().await.url();
    let s3 = |bucket: Value| json!({"bucket": bucket, "region": REGION, "regionEndpoint": endpoint});
    uses(&cluster, s3(json!(USERS_BUCKET))).await;
    cluster.until_config("up on the bucket of the user", is_settled).await;
    assert_eq!(bucket_of_the_pods(&cluster).await, USERS_BUCKET);
    removed(&cluster).await;
    assert!(exists(USERS_BUCKET).await, "a bucket of the user stays");

    // Without a bucket the operator makes one. The namespace names the cluster.
    uses(&cluster, s3(Value::Null)).await;
    cluster.until_config("up on a bucket of its own", is_settled).await;
    let namespace = cluster
        .get(&ObjectRef::new(Kind::Namespace, "", names::NAMESPACE))
        .await;
    let uid = namespace.unwrap()["metadata"]["uid"].as_str().unwrap().replace('-', "");
    let own = bucket_of_the_pods(&cluster).await;
    let begin = format!("ns-{}-image-registry", &uid[..10]);
    assert!(own.starts_with(&begin), "{own}: {begin}");
    let (_, tags) = call(Method::GET, &format!("/{own}?tagging"), "").await;
    assert!(
        tags.contains(&format!("kubernetes.io/cluster/ns-{}", &uid[..10])),
        "{tags}"
    );
    // A restart knows its own storage.
    operator.stop().await;
    let operator = cluster.operator_with(&STOCK).await;
    cluster.until_rolled_out().await;
    removed(&cluster).await;
    let message = condition(&cluster.config().await, "StorageExists").2;
    assert!(!exists(&own).await, "the bucket of the operator goes: {message}");
    assert!(exists(USERS_BUCKET).await);
    let denied = cluster.devcluster.audit().unwrap();
    let denied = denied.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
    assert!(denied.denied().is_empty(), "{}", denied.denied());
    assert!(operator.stop().await.success());
}
