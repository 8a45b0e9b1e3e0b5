//! What a settled cluster costs.

use serde_json::json;

use super::cluster::SwiftCluster;
use super::conformance::{BackendUnderTest as _, RESYNC, owned};

// storage-core 12, storage-decisions T18
#[tokio::test]
async fn a_settled_cluster_sends_nothing_and_an_edit_one_head() {
    let (mut site, _) = owned::<SwiftCluster>("settled-s1").await;
    for _ in 0..3 {
        site.pass().await;
        site.later(RESYNC);
    }
    assert_eq!(site.gate.asked().len(), 0, "{:?}", site.operations());
    site.edit(json!({"logLevel": "Debug"}));
    for _ in 0..3 {
        site.pass().await;
    }
    assert_eq!(
        (site.operations(), site.logins().len()),
        (vec!["HeadContainer".to_owned()], 0)
    );
}

// storage-decisions 20
#[tokio::test]
async fn a_restart_costs_one_login_and_one_head() {
    let (mut site, _) = owned::<SwiftCluster>("restarted-s2").await;
    site.restart();
    for _ in 0..3 {
        site.pass().await;
        site.later(RESYNC);
    }
    assert!(
        site.operations().len() <= 1 && site.logins().len() <= 1,
        "{:?}",
        site.operations()
    );
    assert!(site.changes().is_empty());
}

// storage-swift section 3: a token is used until shortly before it expires
#[tokio::test]
async fn one_login_serves_many_steps() {
    let (mut site, name) = owned::<SwiftCluster>("shared-s3").await;
    site.fill(&name, 12).await;
    site.edit(json!({"managementState": "Removed"}));
    assert!(site.settle().await.done);
    assert_eq!(site.logins(), Vec::<String>::new());
}
