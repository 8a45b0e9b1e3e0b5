//! Removal of a private account.

use devcluster::stores::LongRunning;
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, arm_error};
use super::conformance::{RESYNC, at_each_death};
use super::private::{ZONE, assert_none_of_each, is_private, private, resources};
use super::stores::REGION;

async fn owned(name: &str) -> AzureCluster {
    let mut world = private(name, Value::Null).await;
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    world
        .azure()
        .fill(&world.account(), &world.container(), "/docker/", 2)
        .await
        .unwrap();
    world
}

// storage-azure 43
#[tokio::test]
async fn a_private_account_goes_with_all_around_it_in_order() {
    let mut world = owned("premoved-all").await;
    let account = world.account();
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    let deletions: Vec<_> = world.changed();
    let expected = [
        "RecordSets_Delete",
        "PrivateDnsZoneGroups_Delete",
        "VirtualNetworkLinks_Delete",
        "PrivateEndpoints_Delete",
        "PrivateZones_Delete",
    ];
    assert_eq!(deletions[..5], expected);
    assert_eq!(deletions.last().unwrap(), "StorageAccounts_Delete");
    let record = world
        .gate
        .asked()
        .into_iter()
        .find(|asked| super::cluster::call(asked) == "RecordSets_Delete");
    assert!(
        record
            .unwrap()
            .path
            .ends_with(&format!("/privateDnsZones/{ZONE}/A/{account}"))
    );
    assert_none_of_each(&world, "removed");
    assert_eq!(world.accounts(), Vec::<String>::new());
    assert_eq!(world.condition("StorageExists"), "False/AccountDeleted");
    assert_eq!(world.status(), &json!({}));
    assert_eq!(world.annotation(names::STORAGE_STAGES_ANNOTATION), None);
}

// storage-azure 43: what is gone already is no error
#[tokio::test]
async fn what_is_gone_already_is_tolerated() {
    for kind in [
        "Microsoft.Network/privateDnsZones/A",
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        "Microsoft.Network/privateEndpoints",
        "Microsoft.Network/privateDnsZones",
    ] {
        let suffix = kind.rsplit('/').next().unwrap().to_lowercase();
        let mut world = owned(&format!("pgone-{suffix}")).await;
        for id in resources(&world, kind) {
            world.azure().delete_resource(&id);
        }
        world.request_removal();
        assert!(world.settle().await.done, "{kind}: {}", world.message("StorageExists"));
        assert_eq!(world.accounts(), Vec::<String>::new(), "{kind}");
        assert_none_of_each(&world, kind);
    }
}

// storage-azure section 10.2: a zone that others use is kept
#[tokio::test]
async fn a_zone_with_a_record_or_link_of_others_is_kept() {
    for kind in ["record", "alias", "link"] {
        let mut world = owned(&format!("pzone-{kind}")).await;
        let zone = format!("{}/providers/Microsoft.Network/privateDnsZones/{ZONE}", world.group);
        let other = match kind {
            "record" => world.azure().record(&zone, "another-account", "10.9.9.9", &json!({})),
            "alias" => world.azure().alias(&zone, "another-account", "elsewhere.example"),
            _ => {
                let vnet = world
                    .azure()
                    .virtual_network(&world.group, "green-vnet", REGION, &json!({}));
                world.azure().link_zone(&zone, "of-a-user", &vnet)
            }
        };
        world.request_removal();
        assert!(world.settle().await.done, "{kind}");
        assert_eq!(
            resources(&world, "Microsoft.Network/privateDnsZones"),
            std::slice::from_ref(&zone)
        );
        assert!(world.azure().resource(&other).is_some(), "{kind}");
        assert_eq!(world.count("PrivateZones_Delete"), 0, "{kind}");
        assert_eq!(world.accounts(), Vec::<String>::new(), "{kind}");
    }
}

// storage-azure section 14: a refused deletion is told and does not keep the account
#[tokio::test]
async fn an_endpoint_that_may_not_be_deleted_does_not_keep_the_account() {
    let mut world = owned("prefused").await;
    world.answer("PrivateEndpoints_Delete", arm_error(403, "AuthorizationFailed"));
    world.request_removal();
    // A role takes minutes until it counts: the operator insists first.
    for _ in 0..2 {
        let error = world.settle().await.error.unwrap();
        assert!(
            error.message.contains("Microsoft.Network/privateEndpoints/delete"),
            "{error}"
        );
        assert_eq!(world.accounts().len(), 1);
        world.later(RESYNC);
    }
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert_eq!(world.accounts(), Vec::<String>::new());
    assert_eq!(resources(&world, "Microsoft.Network/privateEndpoints").len(), 1);
    let told = world.message("StorageExists");
    assert!(
        told.contains("private endpoint imageregistry") && told.contains("by hand"),
        "{told}"
    );
    // A refusal that ends meanwhile leaves nothing.
    let mut world = owned("prefused-once").await;
    world.answer("PrivateEndpoints_Delete", arm_error(403, "AuthorizationFailed"));
    world.request_removal();
    assert!(world.settle().await.error.is_some());
    world.gate.pass();
    world.later(RESYNC);
    assert!(world.settle().await.done);
    assert_none_of_each(&world, "prefused-once");
}

// storage-decisions T2: an endpoint of the same name that is not the operator's is kept
#[tokio::test]
async fn an_endpoint_without_the_clusters_tag_is_kept() {
    let mut world = owned("puntagged").await;
    let [id] = resources(&world, "Microsoft.Network/privateEndpoints")
        .try_into()
        .unwrap();
    world.azure().set_tags(&id, &json!({"team": "x"})).unwrap();
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert_eq!(resources(&world, "Microsoft.Network/privateEndpoints"), [id]);
}

// storage-azure section 10.2, storage-decisions T8
#[tokio::test]
async fn a_process_that_dies_at_any_request_of_the_removal_leaves_nothing() {
    let deaths = at_each_death(async |death, at| {
        let mut world = owned(&format!("premdies-{at}")).await;
        world.azure().long_running_by_default(LongRunning::polls(1));
        world.request_removal();
        let died = super::conformance::dies(&mut world, death).await;
        assert!(world.converge().await.done, "{at}");
        assert_none_of_each(&world, at);
        assert_eq!(world.accounts(), Vec::<String>::new(), "{at}");
        died
    });
    assert!(deaths.await >= 10);
}
