//! Each call fails in each way.

use devcluster::stores::{Fault, Reply, When};
use futures::future::join_all;
use serde_json::json;

use super::cluster::IbmCluster;
use super::conformance::RESYNC;

/// Name of a fault, and the fault.
type Way = (&'static str, fn() -> Fault);

/// Every operation of a creation.
const OPERATIONS: [&str; 8] = [
    "create_token",
    "list_resource_groups",
    "list_resource_instances",
    "create_resource_instance",
    "list_resource_keys_for_instance",
    "create_resource_key",
    "CreateBucket",
    "get_resource_key",
];

// storage-ibmcos 17
#[tokio::test]
async fn a_call_that_fails_on_the_network_or_is_answered_by_something_else_is_an_error_and_heals() {
    let ways: [Way; 4] = [
        ("reset", || Fault::Reset),
        ("html", || Fault::Answer(Reply::new(200, "<html>a proxy</html>"))),
        ("empty", || Fault::Answer(Reply::new(200, "{}"))),
        ("gateway", || Fault::Answer(Reply::new(502, "bad gateway"))),
    ];
    let cases = OPERATIONS
        .iter()
        .flat_map(|operation| ways.iter().map(move |(name, way)| (*operation, *name, *way)));
    // An empty answer means something to these: no resource, or a bucket that was created.
    let means = |operation: &str, name: &str| {
        (name == "empty" && (operation.starts_with("list_") || operation == "CreateBucket"))
            || (name == "html" && operation == "CreateBucket")
    };
    let cases = cases.filter(|(operation, name, _)| !means(operation, name));
    join_all(cases.map(|(operation, name, way)| async move {
        let cluster = format!("{}-{name}", operation.to_lowercase().replace('_', "-"));
        let mut cluster = IbmCluster::new(&cluster, json!({"ibmcos": {}})).await;
        cluster.gate.plan(When::operation(operation), way());
        let error = cluster.settle().await.error;
        let message = error.map(|error| error.message).unwrap_or_default();
        assert!(!message.is_empty(), "{operation} {name}");
        assert!(cluster.running.is_none(), "{operation} {name}");
        if name != "reset" {
            return; // One way of healing is enough.
        }
        cluster.gate.pass();
        cluster.later(RESYNC);
        cluster.converge().await;
        assert_eq!(cluster.state(), Some("Managed"), "{operation} {name}");
        assert!(cluster.running.is_some());
    }))
    .await;
}
