//! Each call fails in each way.

use devcluster::stores::{Fault, Reply, When};
use futures::future::join_all;
use serde_json::json;

use super::cluster::IbmCluster;
use super::conformance::{BackendUnderTest as _, RESYNC};

/// Name of a fault, and the fault.
type Way = (&'static str, fn() -> Fault);

/// Every operation of a creation, without the preflight.
const OPERATIONS: [&str; 12] = [
    "create_token",
    "list_resource_groups",
    "list_resource_instances",
    "create_resource_instance",
    "get_resource_instance",
    "list_resource_keys_for_instance",
    "create_resource_key",
    "HeadBucket",
    "CreateBucket",
    "ListObjectVersions",
    "ListObjectsV2",
    "get_resource_key",
];
/// Those whose answer has no body that counts.
const BY_STATUS: [&str; 2] = ["HeadBucket", "CreateBucket"];

/// What must not be created if this operation has no usable answer.
fn spared(operation: &str) -> &'static [&'static str] {
    match operation {
        "create_token" | "list_resource_groups" | "list_resource_instances" => {
            &["create_resource_instance", "create_resource_key", "CreateBucket"]
        }
        "create_resource_instance" | "get_resource_instance" | "list_resource_keys_for_instance" => {
            &["create_resource_key", "CreateBucket"]
        }
        "create_resource_key" | "HeadBucket" => &["CreateBucket"],
        _ => &[],
    }
}

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
    let means = |operation: &str, name: &str| matches!(name, "empty" | "html") && BY_STATUS.contains(&operation);
    let cases = cases.filter(|(operation, name, _)| !means(operation, name));
    // Each operation has the same retries.
    let alike = |operation: &str, name: &str| name == "gateway" && !["create_token", "HeadBucket"].contains(&operation);
    let cases = cases.filter(|(operation, name, _)| !alike(operation, name));
    join_all(cases.map(|(operation, name, way)| async move {
        let cluster = format!("{}-{name}", operation.to_lowercase().replace('_', "-"));
        let mut cluster = IbmCluster::new(&cluster, json!({"ibmcos": {}})).await;
        cluster.gate.plan(When::operation(operation), way());
        let error = cluster.settle().await.error;
        let message = error.map(|error| error.message).unwrap_or_default();
        assert!(!message.is_empty(), "{operation} {name}");
        assert!(cluster.running.is_none(), "{operation} {name}");
        let begun = spared(operation).iter().filter(|other| **other != operation);
        let created = cluster.created();
        for other in begun {
            assert!(
                !created.iter().any(|made| made == other),
                "{operation} {name}: {created:?}"
            );
        }
        assert!(
            cluster.ibm.instances(&cluster.resource_name()).len() < 2,
            "{operation} {name}"
        );
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

// storage-ibmcos 17
// In part: the calls of a removal.
#[tokio::test]
async fn a_removal_whose_calls_fail_keeps_what_is_left_and_goes_on_later() {
    let cases = [
        "HeadBucket",
        "ListObjectVersions",
        "ListObjectsV2",
        "DeleteObjects",
        "DeleteBucket",
    ];
    join_all(cases.map(|operation| async move {
        let cluster = format!("removal-{}", operation.to_lowercase());
        let mut cluster = IbmCluster::new(&cluster, json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let bucket = cluster.generated();
        cluster.fill(&bucket, 2).await;
        cluster.edit(json!({"managementState": "Removed"}));
        if operation == "ListObjectsV2" {
            // Asked for only without a listing of versions.
            let refused = Fault::error(501, "NotImplemented");
            cluster.gate.plan(When::operation("ListObjectVersions"), refused);
        }
        cluster.gate.plan(When::operation(operation), Fault::Reset);
        let outcome = cluster.settle().await;
        assert!(!outcome.done && outcome.error.is_some(), "{operation}");
        assert!(cluster.ibm.bucket(&bucket).is_some(), "{operation}");
        assert_eq!(cluster.status()["ibmcos"]["bucket"], bucket.as_str(), "{operation}");
        cluster.gate.pass();
        cluster.later(RESYNC);
        assert!(cluster.settle().await.done, "{operation}");
        assert_eq!(cluster.ibm.bucket(&bucket), None);
    }))
    .await;
}
