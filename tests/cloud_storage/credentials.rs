//! Other credentials: they reach the pods once they are known to work, and everything else does not wait for them.

use devcluster::stores::Keys;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::World;
use crate::support::{condition, operand};
use crate::{deployment, file, is_settled, mounted};

/// The administrator's Secret, with these keys.
pub async fn set_user_secret(world: &World, data: Value) {
    let secret = operand(Kind::Secret, names::USER_SECRET);
    world.cluster.delete(&secret).await;
    world
        .cluster
        .create(json!({"apiVersion": "v1", "kind": "Secret", "stringData": data,
                       "metadata": {"name": secret.name, "namespace": secret.namespace}}))
        .await;
}

pub fn both(keys: &Keys) -> Value {
    json!({"REGISTRY_STORAGE_S3_ACCESSKEY": keys.id, "REGISTRY_STORAGE_S3_SECRETKEY": keys.secret})
}

/// The three lines that the registry gets of two keys.
fn three_lines(keys: &Keys) -> String {
    format!(
        "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        keys.id, keys.secret
    )
}

// storage-decisions 18, T16, T17, storage-core 28, 29, 31, 34, 48, workload 15, 16, storage-s3 28
#[tokio::test]
async fn keys_that_may_not_upload_reach_no_pod_while_other_edits_do_and_good_keys_roll_out() {
    let mut world = World::new("kw-keys1").await;
    let minted = world.mint().await;
    let everything = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    let no_upload = json!([everything, {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"}]);
    let poor = world.user("poor", &no_upload).await;
    let good = world.user("good", &json!([everything])).await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    world.cluster.edit(json!({"operatorLogLevel": "TraceAll"})).await;
    world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let before = mounted(&world.cluster).await;
    assert_eq!(file(&world.cluster, "credentials").await.unwrap(), minted.profile());

    // Without the right to upload.
    set_user_secret(&world, both(&poor)).await;
    let names_it = |c: &Value| {
        ["Progressing", "Degraded"]
            .iter()
            .any(|t| condition(c, t).2.contains("s3:PutObject denied"))
    };
    let config = world.cluster.until_config("told what is missing", names_it).await;
    assert_eq!(condition(&config, "Available").0, "True");
    world.cluster.edit(json!({"replicas": 1})).await;
    world
        .cluster
        .until(&deployment(), "following", |d| {
            d.is_some_and(|d| d["spec"]["replicas"] == 1)
        })
        .await;
    world
        .cluster
        .until_config("still told", |c| crate::observed(c) && names_it(c))
        .await;
    assert_eq!(mounted(&world.cluster).await, before);

    // One of the two keys is missing: said so, and the platform's do not stand in.
    set_user_secret(&world, json!({"REGISTRY_STORAGE_S3_ACCESSKEY": good.id})).await;
    let config = world
        .cluster
        .until_config("told which key is missing", |c| {
            condition(c, "Progressing").2.contains("REGISTRY_STORAGE_S3_SECRETKEY")
        })
        .await;
    assert!(condition(&config, "Progressing").2.contains(names::USER_SECRET));
    assert_eq!(mounted(&world.cluster).await, before);

    // Unknown to the account.
    let unknown = Keys::new("AKIAUNKNOWNUNKNOWN00", "unknown-secret-key-7d1e");
    world.secret(&unknown.secret);
    set_user_secret(&world, both(&unknown)).await;
    let config = world
        .cluster
        .until_config("told that they are unknown", |c| {
            condition(c, "StorageExists").1 == "InvalidAccessKeyId"
        })
        .await;
    assert_eq!(condition(&config, "StorageExists").0, "False");
    assert_eq!(mounted(&world.cluster).await, before);

    // Good ones.
    set_user_secret(&world, both(&good)).await;
    let checksum = |d: &Value| d["metadata"]["annotations"][names::CHECKSUM_ANNOTATION].clone();
    let old = checksum(&world.cluster.get(&deployment()).await.unwrap());
    world
        .cluster
        .until(&deployment(), "rolled out", |d| d.is_some_and(|d| checksum(d) != old))
        .await;
    assert_eq!(file(&world.cluster, "credentials").await.unwrap(), three_lines(&good));
    let config = world.cluster.until_config("up", is_settled).await;
    assert_eq!(condition(&config, "StorageExists").1, "S3 Bucket Exists");
    assert_ne!(mounted(&world.cluster).await, before);

    // And the platform's again.
    let old = checksum(&world.cluster.get(&deployment()).await.unwrap());
    world.cluster.delete(&operand(Kind::Secret, names::USER_SECRET)).await;
    world
        .cluster
        .until(&deployment(), "rolled out", |d| d.is_some_and(|d| checksum(d) != old))
        .await;
    assert_eq!(file(&world.cluster, "credentials").await.unwrap(), minted.profile());
    world.cluster.until_config("up", is_settled).await;
    world.judge(operator).await;
}
