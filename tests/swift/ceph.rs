//! The same with Ceph's gateway in the place of Swift: the conformance suite, and what depends on the server.

use serde_json::json;

use crate::conformance;
use crate::under_test;
use cluster::SwiftCluster;

mod cloud {
    pub use crate::cloud::ceph as cloud;
}

mod cluster {
    pub use crate::cluster::{PAGE, changed_info, is_info, is_of_keystone, is_read};
    use crate::cluster::{Server, Site};

    /// As `GET /swift/info` tells.
    pub const LONGEST_NAME: usize = 255;

    pub struct Ceph;

    impl Server for Ceph {
        async fn cloud() -> &'static crate::cloud::Cloud {
            crate::cloud::ceph().await
        }
    }

    pub type SwiftCluster = Site<Ceph>;
}

mod suite {
    use crate::conformance::conformance;

    conformance!(crate::ceph::cluster::SwiftCluster);
}

#[allow(clippy::duplicate_mod, reason = "each test, with the names of this module")]
#[path = "container.rs"]
mod container;
#[allow(clippy::duplicate_mod, reason = "each test, with the names of this module")]
#[path = "preflight.rs"]
mod preflight;
#[allow(clippy::duplicate_mod, reason = "each test, with the names of this module")]
#[path = "removal.rs"]
mod removal;
#[allow(clippy::duplicate_mod, reason = "each test, with the names of this module")]
#[path = "rendering.rs"]
mod rendering;

/// All projects share the names of containers (`rgw keystone implicit tenants = false`): another project has the name that the
/// operator gives.
#[tokio::test]
async fn a_name_that_another_project_has_is_refused_and_its_container_stays_as_it_is() {
    let mut site = SwiftCluster::new("foreign-c1", json!({"swift": {}})).await;
    let keystone = &site.cloud.stack.keystone;
    let other = keystone.project("foreign-c1").await.unwrap();
    let token = keystone.token(&other, &other.password).await.unwrap();
    let account = crate::cloud::gateway().await.account_with(&other, &token);
    let name = site.generated();
    account.create(&name, &[("team", "x")]).await.unwrap();
    account.put(&name, "image", b"x").await.unwrap();
    let outcome = site.settle().await;
    assert!(outcome.error.is_some() && outcome.facts.is_none());
    assert_eq!(site.condition("StorageExists"), "False/Creation Failed");
    let message = site.message("StorageExists");
    assert!(message.contains("409: BucketAlreadyExists"), "{message}");
    site.edit(json!({"managementState": "Removed"}));
    site.settle().await;
    assert_eq!(account.objects(&name).await.unwrap(), ["image"]);
    let metadata = account.metadata(&name).await.unwrap().unwrap();
    assert_eq!(metadata.get("team").map(String::as_str), Some("x"), "{metadata:?}");
    assert!(!metadata.contains_key("openshiftclusterid"), "{metadata:?}");
}
