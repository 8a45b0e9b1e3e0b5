//! What the spec says about the network of a private account: names, edits, drift, storage of others, what is told.

use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, alone, cluster};
use super::conformance::RESYNC;
use super::inherited::taken_over;
use super::private::{
    CREATE_ENDPOINT, ZONE, assert_none_of_each, assert_one_of_each, internal, is_private, network, of_network,
    owned_tag, private, resources,
};
use super::private_guards::{assert_answers, in_use, path, zone};
use super::stores::REGION;

const ENDPOINTS: &str = "Microsoft.Network/privateEndpoints";

fn count_events(world: &AzureCluster, reason: &str) -> usize {
    world.events.iter().filter(|event| event.reason == reason).count()
}

// storage-azure 36: everything is given
#[tokio::test]
async fn given_names_are_used_without_a_search() {
    let details = json!({
        "networkResourceGroupName": "net-of-given", "vnetName": "blue-vnet", "subnetName": "first",
        "privateEndpointName": "chosen-by-user",
    });
    let mut world = alone("pgiven", internal(details.clone())).await;
    let group = world
        .azure()
        .resource_group(&world.cloud.subscription, "net-of-given", REGION);
    world.azure().allow(&world.operator, &group, super::stores::role());
    let vnet = network(&world, &group, &json!({}));
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    let calls = of_network(&world);
    for search in ["VirtualNetworks_List", "Subnets_List"] {
        assert!(!calls.iter().any(|call| call == search), "{calls:?}");
    }
    let body = world.bodies(CREATE_ENDPOINT).remove(0);
    assert_eq!(
        body["properties"]["subnet"]["id"],
        json!(format!("{vnet}/subnets/first"))
    );
    assert_eq!(
        resources(&world, ENDPOINTS),
        [path(&world, ENDPOINTS, "chosen-by-user")]
    );
    assert_eq!(world.storage_spec()["azure"]["networkAccess"]["internal"], details);
}

// storage-azure section 10.1: drift is repaired when the Config changes
#[tokio::test]
async fn what_was_deleted_around_a_private_account_is_created_again() {
    for kind in [
        ENDPOINTS,
        "Microsoft.Network/privateDnsZones/A",
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    ] {
        let suffix = kind.rsplit('/').next().unwrap().to_lowercase();
        let mut world = in_use(&format!("pdrift-{suffix}")).await;
        for id in resources(&world, kind) {
            world.azure().delete_resource(&id);
        }
        world.gate.forget();
        world.pass().await;
        assert_eq!(world.calls(), Vec::<String>::new(), "settled storage costs no request");
        world.edit(json!({"replicas": 3}));
        world.converge().await;
        assert_one_of_each(&world, kind);
        assert_eq!(world.count_lost(), 0, "{kind}");
        assert_answers(&mut world, kind).await;
    }
}

// storage-azure section 10.1: the word of Resource Manager is not taken for that of the blob service
#[tokio::test]
async fn a_private_account_that_does_not_answer_is_not_said_to_be_reachable() {
    let mut world = in_use("punheard").await;
    world.azure().clients_are_in(None);
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    let told = world.message("StorageExists");
    assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    assert!(
        told.contains("does not answer the operator") && told.contains("AuthorizationFailure"),
        "{told}"
    );
}

// storage-decisions T8: a removal that is taken back between the record and the link finds a name that does not resolve
#[tokio::test]
async fn a_removal_that_is_taken_back_repairs_a_name_that_does_not_resolve() {
    let mut world = in_use("pback-midway").await;
    world.request_removal();
    for _ in 0..40 {
        world.pass().await;
        if world.count("RecordSets_Delete") > 0 {
            break;
        }
    }
    assert_eq!(resources(&world, "Microsoft.Network/privateDnsZones/A").len(), 0);
    assert_eq!(
        resources(&world, "Microsoft.Network/privateDnsZones/virtualNetworkLinks").len(),
        1
    );
    world.restart();
    world.edit(json!({"managementState": "Managed"}));
    world.converge().await;
    assert_one_of_each(&world, "midway");
    assert_answers(&mut world, "midway").await;
    let left = world.azure().blobs(&world.account(), &world.container()).await.unwrap();
    assert_eq!(left.len(), 2);
}

// storage-azure 38: nor does a hub without the record stop the stage that writes it
#[tokio::test]
async fn a_record_that_the_hub_lost_is_written_again() {
    let mut world = private("phub-lost", Value::Null).await;
    let hub = world
        .azure()
        .resource_group(&world.cloud.subscription, "hub-of-lost", REGION);
    let hub_zone = world.azure().private_zone(&hub, ZONE, &json!({}));
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    world.azure().link_zone(&hub_zone, "hub", &vnet);
    let scope = format!("/subscriptions/{}", world.cloud.subscription);
    world.azure().allow(&world.operator, &scope, super::stores::role());
    world.converge().await;
    let record = format!("{hub_zone}/A/{}", world.account());
    world.azure().delete_resource(&record);
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    assert!(world.azure().resource(&record).is_some());
    assert_answers(&mut world, "lost").await;
}

// storage-azure 38: the cluster's own zone may be linked already, under another name
#[tokio::test]
async fn a_zone_that_an_administrator_linked_is_used() {
    let mut world = private("plinked", Value::Null).await;
    let id = world.azure().private_zone(&world.group, ZONE, &json!({}));
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    let link = world.azure().link_zone(&id, "of-an-administrator", &vnet);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    assert_eq!(world.count("VirtualNetworkLinks_CreateOrUpdate"), 0);
    world.request_removal();
    assert!(world.converge().await.done);
    assert!(world.azure().resource(&link).is_some(), "it is not the operator's");
    assert!(world.azure().resource(&id).is_some());
}

// storage-azure section 10.1: an edit of the network has an effect, or says why not
#[tokio::test]
async fn another_subnet_needs_another_endpoint_and_the_old_one_goes() {
    let mut world = in_use("pmoves").await;
    let [before] = resources(&world, ENDPOINTS).try_into().unwrap();
    let with = |details: Value| json!({"storage": {"azure": {"networkAccess": {"internal": details}}}});
    world.edit(with(json!({"subnetName": "first"})));
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("subnets/first") && error.message.contains("privateEndpointName"),
        "{error}"
    );
    assert!(world.running.is_some() && is_private(&world, &world.account()));
    world.later(RESYNC);
    world.edit(with(json!({"privateEndpointName": "second"})));
    world.converge().await;
    let [after] = resources(&world, ENDPOINTS).try_into().unwrap();
    assert!(after != before && after.ends_with("/second"), "{after}");
    assert_one_of_each(&world, "moved");
    assert!(is_private(&world, &world.account()));
    assert_answers(&mut world, "moved").await;
    let stages = world.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap();
    assert_eq!(stages.matches("private endpoint").count(), 1, "{stages}");
    world.request_removal();
    assert!(world.converge().await.done);
    assert_none_of_each(&world, "removed");
    assert_eq!(world.accounts(), Vec::<String>::new());
}

// storage-decisions T2: a removal knows the endpoints of earlier edits too
#[tokio::test]
async fn an_endpoint_of_an_earlier_edit_is_not_forgotten() {
    let mut world = in_use("pearlier").await;
    world.answer(
        "PrivateEndpoints_Delete",
        super::cluster::arm_error(403, "AuthorizationFailed"),
    );
    let details = json!({"privateEndpointName": "second"});
    world.edit(json!({"storage": {"azure": {"networkAccess": {"internal": details}}}}));
    world.converge().await;
    assert_eq!(resources(&world, ENDPOINTS).len(), 2);
    assert!(world.message("StorageExists").contains("stays"));
    world.gate.pass();
    world.request_removal();
    assert!(world.converge().await.done);
    assert_none_of_each(&world, "earlier");
}

// storage-decisions T2: records of one account say nothing about another with a container of the same name
#[tokio::test]
async fn records_belong_to_account_and_container() {
    let mut world = in_use("prenamed").await;
    let first = world.account();
    world.users_account("prenamedsecond");
    let network_access = json!({"type": "External", "internal": null});
    world.edit(json!({"storage": {"azure": {"accountName": "prenamedsecond", "networkAccess": network_access}}}));
    world.converge().await;
    assert_one_of_each(&world, "the first account is kept as it is");
    assert!(is_private(&world, &first) && !is_private(&world, "prenamedsecond"));
    let stages = world.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap_or_default();
    assert!(!stages.contains(&first), "{stages}");
}

// storage-azure section 8.3, step 6
#[tokio::test]
async fn networks_of_unmanaged_storage_are_not_changed_and_the_status_says_so() {
    let mut storage = internal(Value::Null);
    storage["azure"]["accountName"] = json!("punmanaged");
    storage["azure"]["container"] = json!("images");
    let mut world = alone("punmanaged", storage).await;
    world.users_account("punmanaged");
    world.azure().make_container("punmanaged", "images", &[]).await.unwrap();
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    assert_eq!(world.state(), Some("Unmanaged"));
    assert!(!is_private(&world, "punmanaged"));
    assert_none_of_each(&world, "unmanaged");
    assert_eq!(world.status()["azure"]["networkAccess"], json!({"type": "External"}));
    assert_eq!(
        world.storage_spec()["azure"]["networkAccess"]["type"],
        json!("Internal")
    );
    assert_eq!(count_events(&world, "NetworkAccessNotApplied"), 1);
    assert!(world.message("StorageExists").contains("is not applied"));
    // That is settled storage.
    world.gate.forget();
    for _ in 0..3 {
        world.pass().await;
    }
    assert_eq!(world.calls(), Vec::<String>::new());
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    assert!(world.message("StorageExists").contains("is not applied"));
    // With explicit Managed, as in the Go operator.
    world.edit(json!({"storage": {"managementState": "Managed"}}));
    world.converge().await;
    assert!(is_private(&world, "punmanaged"));
    assert_one_of_each(&world, "managed");
    assert_eq!(world.status()["azure"]["networkAccess"]["type"], json!("Internal"));
    assert!(!world.message("StorageExists").contains("is not applied"));
    world.request_removal();
    world.settle().await;
    assert_eq!(world.azure().containers("punmanaged").await.unwrap().len(), 1);
    assert_one_of_each(&world, "kept with its images");
}

// issue 10: storage locked to a network, with pulls from outside
#[tokio::test]
async fn redirects_to_a_private_account_are_told_once_unless_they_are_disabled() {
    let mut world = in_use("predirect").await;
    assert_eq!(count_events(&world, "RedirectNeedsNetwork"), 1);
    let mut world_without = private("predirect-off", Value::Null).await;
    world_without.edit(json!({"disableRedirect": true}));
    world_without.converge().await;
    assert!(is_private(&world_without, &world_without.account()));
    assert_eq!(count_events(&world_without, "RedirectNeedsNetwork"), 0);
    for _ in 0..3 {
        world.pass().await;
    }
    assert_eq!(count_events(&world, "RedirectNeedsNetwork"), 1);
    let mut public = cluster("predirect-public", json!({"azure": {}})).await;
    public.converge().await;
    assert_eq!(count_events(&public, "RedirectNeedsNetwork"), 0);
}

// storage-decisions T2: tag and drawn name prove what the Go operator created
#[tokio::test]
async fn what_the_go_operator_created_around_its_account_goes() {
    for removed in [true, false] {
        let mut world = taken_over(&format!("pgo-{removed}")).await;
        let account = world.account();
        if removed {
            world.request_removal();
            assert!(world.converge().await.done, "{}", world.message("StorageExists"));
            assert_eq!(world.condition("StorageExists"), "False/ContainerDeleted");
        } else {
            world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External", "internal": null}}}}));
            world.converge().await;
            assert_answers(&mut world, "go").await;
        }
        assert_none_of_each(&world, "go");
        assert!(!is_private(&world, &account), "{removed}");
        assert_eq!(world.accounts(), [account]);
    }
    // Without the tag they are somebody else's.
    let mut world = taken_over("pgo-untagged").await;
    for kind in [ENDPOINTS, "Microsoft.Network/privateDnsZones/virtualNetworkLinks"] {
        let [id] = resources(&world, kind).try_into().unwrap();
        world.azure().set_tags(&id, &json!({"team": "x"})).unwrap();
    }
    world.request_removal();
    assert!(world.converge().await.done);
    assert_one_of_each(&world, "untagged");
    assert!(is_private(&world, &world.account()));
    assert!(world.azure().resource(&zone(&world)).is_some());
}
