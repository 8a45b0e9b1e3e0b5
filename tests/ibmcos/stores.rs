//! SeaweedFS instead of moto.

use devcluster::stores::{Ibm, IbmOptions, Seaweed, SeaweedOptions};
use serde_json::json;

use super::cluster::{ACCOUNT, GROUP, IbmCluster};

// issue 13: SeaweedFS as data plane, too
#[tokio::test]
async fn a_bucket_is_created_used_and_removed_on_seaweedfs() {
    let seaweed = Seaweed::start(SeaweedOptions::default()).await.unwrap();
    let ibm: &'static Ibm = Box::leak(Box::new(Ibm::start(IbmOptions::seaweed(&seaweed)).unwrap()));
    ibm.group(ACCOUNT, GROUP);
    let mut cluster = IbmCluster::on(ibm, "on-weed", json!({"ibmcos": {}}));
    cluster.converge().await;
    assert_eq!(cluster.state(), Some("Managed"));
    assert!(cluster.running.is_some());
    cluster.edit(json!({"managementState": "Removed"}));
    assert!(cluster.settle().await.done);
    assert_eq!(cluster.condition("StorageExists"), "False/IBM COS Bucket Deleted");
    assert_eq!(ibm.bucket(&cluster.generated()), None);
}
