//! A container full of objects and segments, removed by processes that die. `tests/cloud_storage/swift.rs` kills the real program, with
//! as many objects as a registry has.

use devcluster::stores::Fault;
use serde_json::json;

use super::cluster::{PAGE, SwiftCluster};
use super::conformance::{BackendUnderTest as _, owned};
use super::harness::Killed;

const COUNT: usize = 60;
const DEATHS: usize = 10;

// storage-swift 40, storage-core 45
#[tokio::test]
async fn objects_and_segments_go_though_the_process_dies_ten_times() {
    let (mut site, name) = owned::<SwiftCluster>("many-m1").await;
    let account = &site.cloud.account;
    let puts = (0..COUNT).map(|n| {
        let folder = if n % 2 == 0 {
            "files/docker/registry/v2/blobs"
        } else {
            "segments/abc"
        };
        let (object, name) = (format!("{folder}/{n:016}"), name.clone());
        async move { account.put(&name, &object, b"x").await.unwrap() }
    });
    futures::future::join_all(puts).await;
    site.edit(json!({"managementState": "Removed"}));
    for death in 0..DEATHS {
        let killed = Killed::new();
        let kill = killed.clone();
        let operation = if death % 2 == 0 { "BulkDelete" } else { "GetContainer" };
        let mut left = 1 + COUNT / PAGE / DEATHS / 2;
        site.disturb(move |asked| {
            let counts = asked.operation() == operation;
            left = left.saturating_sub(usize::from(counts));
            let kill = kill.clone();
            (counts && left == 0).then(|| Fault::after(move |_| kill.kill()))
        });
        while let Some(outcome) = site.pass_until(&killed).await {
            assert!(!outcome.done, "after {death} deaths");
        }
        site.restart();
    }
    site.pass_all();
    assert!(site.converge().await.done && !site.exists(&name).await);
    assert_eq!(site.status(), &json!({}));
}
