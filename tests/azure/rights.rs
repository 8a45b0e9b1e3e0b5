//! The rights that the operator asks the platform for are enough, and each of them is used.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::cluster::{AzureCluster, alone, keyless_alone};
use super::private::{internal, network, owned_tag};
use super::stores::role;

/// Creates and removes the storage, and returns what was needed.
async fn life(mut world: AzureCluster) -> BTreeSet<(String, bool)> {
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    world
        .azure()
        .fill(&world.account(), &world.container(), "/docker/", 2)
        .await
        .unwrap();
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External", "internal": null}}}}));
    world.converge().await;
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "Internal"}}}}));
    world.converge().await;
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    let needed = world.azure().needed(&world.operator.client_id);
    for right in &needed {
        // Zones of other resource groups are looked for where the role covers them.
        let is_optional =
            right.action == "Microsoft.Network/privateDnsZones/read" && !right.scope.contains("resourceGroups");
        assert!(right.granted || is_optional, "{right:?}");
    }
    needed
        .into_iter()
        .map(|right| (right.action.to_lowercase(), right.data))
        .collect()
}

// storage-azure section 14
#[tokio::test]
async fn the_rights_of_the_credentials_request_are_enough_and_not_too_many() {
    let mut needed = life(alone("rights-secret", internal(Value::Null)).await).await;
    needed.extend(life(keyless_alone("rights-keyless", internal(Value::Null)).await).await);
    // The container of a private account goes with the account. That of a public one is deleted first.
    let mut public = keyless_alone("rights-public", json!({"azure": {}})).await;
    public.converge().await;
    public.request_removal();
    assert!(public.settle().await.done);
    let of_public = public.azure().needed(&public.operator.client_id);
    assert!(of_public.iter().all(|right| right.granted));
    needed.extend(
        of_public
            .into_iter()
            .map(|right| (right.action.to_lowercase(), right.data)),
    );
    let role = role();
    let asked = role.actions.iter().map(|action| (action.to_lowercase(), false));
    let asked = asked.chain(role.data_actions.iter().map(|action| (action.to_lowercase(), true)));
    let unused: BTreeSet<_> = asked
        .filter(|right| !needed.contains(right))
        .map(|(action, _)| action)
        .collect();
    // Rights of the Go operator that no call of this operator or of the registry's preflight needs.
    let known = [
        "microsoft.resources/tags/write",
        "microsoft.storage/storageaccounts/blobservices/containers/blobs/move/action",
        "microsoft.storage/storageaccounts/blobservices/read",
    ];
    let known: BTreeSet<_> = known.map(str::to_owned).into();
    assert_eq!(unused, known);
}
