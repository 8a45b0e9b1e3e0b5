//! A store that fails: what the registry has of it stays, and all else goes on.

use devcluster::stores::Fault;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::cloud::World;
use crate::support::{condition, is, operand};
use crate::{deployment, is_settled, mounted, observed};

// storage-decisions 21, T18, storage-core 13
#[tokio::test]
async fn edits_reach_the_registry_while_the_store_answers_503() {
    let mut world = World::new("kw-outage1").await;
    world.mint().await;
    let operator = world.operator().await;
    world.cluster.until_config("up", is_settled).await;
    world.cluster.settle().await;
    let parts = mounted(&world.cluster).await;
    let storage = world.cluster.config().await["status"]["storage"].clone();

    world.gate.rule(|_| Fault::error(503, "ServiceUnavailable"));
    let pull_secret = ObjectRef::new(Kind::Secret, names::CONFIG_NAMESPACE, names::PULL_SECRET);
    let data = json!({".dockerconfigjson": "eyJhdXRocyI6e30gfQ=="});
    world.cluster.patch(&pull_secret, json!({"data": data})).await;
    world.cluster.edit(json!({"defaultRoute": true, "replicas": 1})).await;

    let undecided = |c: &Value| is(c, "StorageExists", "Unknown", "Unknown Error Occurred") && observed(c);
    let config = world.cluster.until_config("undecided", undecided).await;
    assert_eq!(config["status"]["storage"], storage);
    // A rollout may be under way: some pods serve.
    assert_eq!(condition(&config, "Available").0, "True");
    world
        .cluster
        .until_present(&operand(Kind::Route, names::DEFAULT_ROUTE))
        .await;
    let scaled = |d: Option<&Value>| d.is_some_and(|d| d["spec"]["replicas"] == 1);
    world.cluster.until(&deployment(), "scaled", scaled).await;
    let copied = |s: Option<&Value>| s.is_some_and(|s| s["data"] == data);
    let copy = operand(Kind::Secret, names::PULL_SECRET_COPY);
    world.cluster.until(&copy, "the new pull secret", copied).await;
    world.cluster.settle().await;
    // Another pull secret replaces the pods; what they have of the storage stays.
    let storage_parts = |parts: &[Value]| parts[..4].to_vec();
    assert_eq!(storage_parts(&mounted(&world.cluster).await), storage_parts(&parts));

    world.gate.pass();
    let config = world.cluster.until_config("up again", is_settled).await;
    assert_eq!(condition(&config, "StorageExists").0, "True");
    let log = operator.log();
    assert!(!log.contains(" ERROR "), "{log}");
    world.judge(operator).await;
}
