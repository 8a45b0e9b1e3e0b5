//! A private account that the Go operator left is used as it is: nothing around it is written, and the message tells what is not as
//! this operator would make it.

use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, keyless_alone};
use super::conformance::RESYNC;
use super::private::{ENDPOINTS, ZONE, internal, is_private, network, owned_tag, private, resources};
use super::private_guards::path;
use super::stack::government;
use super::stores::{REGION, role};

const GROUPS: &str = "Microsoft.Network/privateEndpoints/privateDnsZoneGroups";
const ZONES: &str = "Microsoft.Network/privateDnsZones";
const LINKS: &str = "Microsoft.Network/privateDnsZones/virtualNetworkLinks";
const RECORDS: &str = "Microsoft.Network/privateDnsZones/A";

/// The account is private, with an endpoint of a name that the Go operator drew.
async fn converged(mut world: AzureCluster) -> AzureCluster {
    let endpoint = format!("{}bcdfg", &world.account()[..world.account().len() - 5]);
    world.edit(json!({"storage": {"azure": {"networkAccess": {"internal": {"privateEndpointName": endpoint}}}}}));
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    world
}

/// The operator takes over: there are no records, and its process is new.
fn takes_over(world: &mut AzureCluster) {
    world.config["metadata"]["annotations"] = json!({});
    world.restart();
    world.gate.forget();
}

/// As the Go operator leaves a private account: no records, names that it drew.
pub async fn taken_over(name: &str) -> AzureCluster {
    let mut world = converged(private(name, Value::Null).await).await;
    takes_over(&mut world);
    world.converge().await;
    world
}

/// The operator looks at the storage for new generations, after a restart too: nothing fails, nothing is written or recorded.
async fn assert_used_as_it_is(world: &mut AzureCluster, parts: &[&str], at: &str) {
    world.gate.forget();
    for restarts in [false, true, false] {
        if restarts {
            world.restart();
        }
        let level = if restarts { "Debug" } else { "Normal" };
        world.edit(json!({"logLevel": level}));
        for _ in 0..3 {
            let outcome = world.settle().await;
            assert!(outcome.error.is_none(), "{at}: {:?}", outcome.error);
            world.later(RESYNC);
        }
        assert_eq!(world.condition("StorageExists"), "True/ContainerExists", "{at}");
        let told = world.message("StorageExists");
        for part in parts {
            assert!(told.contains(part), "{at}: no {part:?} in {told}");
        }
        assert_eq!(told.contains("correct that by hand"), !parts.is_empty(), "{at}: {told}");
    }
    assert_eq!(world.changed(), Vec::<String>::new(), "{at}");
    assert_eq!(world.annotation(names::STORAGE_STAGES_ANNOTATION), None, "{at}");
    assert!(world.running.is_some() && is_private(world, &world.account()), "{at}");
}

/// ID and address of the only record.
fn record(world: &AzureCluster) -> (String, String) {
    let [id] = resources(world, RECORDS).try_into().unwrap();
    let found = world.azure().resource(&id).unwrap();
    let address = found["properties"]["aRecords"][0]["ipv4Address"].as_str().unwrap();
    (id, address.to_owned())
}

/// Deletes the only resource of this kind.
fn delete(world: &AzureCluster, kind: &str) {
    let [id] = resources(world, kind).try_into().unwrap();
    world.azure().delete_resource(&id);
}

// storage-azure 38, section 10.1: the Go operator ignored the conflict of the link, and the network found the account by the hub's zone
#[tokio::test]
async fn an_inherited_account_behind_the_zone_of_a_hub_is_used_as_it_is() {
    let mut world = taken_over("phub-go").await;
    assert_used_as_it_is(&mut world, &[], "complete").await;
    let (_, address) = record(&world);
    delete(&world, LINKS);
    let hub = world.azure().subscription(&world.cloud.tenant);
    let hub = world.azure().resource_group(&hub, "rg-hub-dns", REGION);
    let zone = world.azure().private_zone(&hub, ZONE, &json!({}));
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    world.azure().link_zone(&zone, "hub", &vnet);
    world.azure().record(&zone, &world.account(), &address, &json!({}));
    assert_used_as_it_is(&mut world, &["blue-vnet is linked to no zone"], "hub").await;
    assert!(world.message("StorageExists").contains("is reachable"));
    // Nor does the rest have to be there.
    for (kind, part) in [
        (RECORDS, "does not exist"),
        (GROUPS, "zone group of private endpoint"),
        (ZONES, ZONE),
    ] {
        delete(&world, kind);
        assert_used_as_it_is(&mut world, &[part, "does not exist"], kind).await;
    }
    // An edit of the network is carried out: another endpoint, with all that belongs to it.
    let endpoint = json!({"internal": {"privateEndpointName": "second"}});
    world.edit(json!({"storage": {"azure": {"networkAccess": endpoint}}}));
    world.settle().await;
    assert!(resources(&world, ENDPOINTS).iter().any(|id| id.ends_with("/second")));
}

// storage-azure 37, section 10.2: the removal finds the endpoint by its name in the status
#[tokio::test]
async fn a_spec_without_names_keeps_the_endpoint_of_the_go_operator() {
    let mut world = taken_over("pshort-go").await;
    let names = "/status/storage/azure/networkAccess/internal";
    let before = world.config.pointer(names).cloned();
    assert!(before.is_some());
    // `oc apply` of a file without the names that the operator filled in.
    world.edit(json!({"storage": {"azure": {"networkAccess": {"internal": null}}}}));
    assert_used_as_it_is(&mut world, &[], "no names").await;
    assert_eq!(world.config.pointer(names).cloned(), before);
    // An endpoint that a later change left unusable is told, and not replaced.
    let [endpoint] = resources(&world, ENDPOINTS).try_into().unwrap();
    let failed = json!({"properties": {"provisioningState": "Failed"}});
    world.azure().change_resource(&endpoint, &failed).unwrap();
    assert_used_as_it_is(&mut world, &["could not be created or changed"], "failed").await;
    world.request_removal();
    assert!(world.converge().await.done, "{}", world.message("StorageExists"));
    assert_eq!(resources(&world, ENDPOINTS), Vec::<String>::new());
}

// The record of the Go operator has no metadata, and leads to the endpoint before.
#[tokio::test]
async fn another_endpoint_of_an_inherited_account_replaces_the_one_of_the_go_operator() {
    let mut world = taken_over("psecond-go").await;
    let (id, address) = record(&world);
    let zone = id.split("/A/").next().unwrap().to_owned();
    world.azure().record(&zone, &world.account(), &address, &json!({}));
    let endpoint = json!({"internal": {"privateEndpointName": "second"}});
    world.edit(json!({"storage": {"azure": {"networkAccess": endpoint}}}));
    world.converge().await;
    let [endpoint] = resources(&world, ENDPOINTS).try_into().unwrap();
    assert!(endpoint.ends_with("/second"), "{endpoint}");
    let (found, newer) = record(&world);
    assert_eq!(found, id);
    assert_ne!(newer, address);
    assert_eq!(resources(&world, GROUPS).len(), 1);
}

// A Config that was restored without its annotations: the endpoint has the name that this operator gives.
#[tokio::test]
async fn what_surrounds_the_operators_own_account_is_completed_though_the_records_are_lost() {
    let mut world = private("plost-own", Value::Null).await;
    world.converge().await;
    takes_over(&mut world);
    delete(&world, LINKS);
    world.edit(json!({"logLevel": "Debug"}));
    world.converge().await;
    assert_eq!(resources(&world, LINKS).len(), 1);
}

// storage-azure section 14: ccoctl makes roles with the rights of the Go operator
#[tokio::test]
async fn an_inherited_account_needs_no_more_rights_than_the_go_operator_had() {
    let world = keyless_alone("prights-go", internal(Value::Null)).await;
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    let mut world = converged(world).await;
    let mut of_go = role();
    let unknown = [
        "microsoft.network/privatednszones/read",
        "microsoft.network/privateendpoints/privatednszonegroups/read",
        "microsoft.network/privatednszones/a/read",
        "microsoft.network/virtualnetworks/read",
    ];
    let before = of_go.actions.len();
    of_go
        .actions
        .retain(|action| !unknown.contains(&action.to_lowercase().as_str()));
    assert_eq!(of_go.actions.len(), before - unknown.len());
    world.azure().deny(&world.operator);
    world.azure().allow(&world.operator, &world.group, of_go);
    takes_over(&mut world);
    let told = [
        "privateDnsZones/A/read",
        "privateDnsZones/read",
        "privateDnsZoneGroups/read",
    ];
    assert_used_as_it_is(&mut world, &told, "rights").await;
    // A removal keeps what it may not see.
    world.request_removal();
    for _ in 0..5 {
        if world.settle().await.done {
            break;
        }
        world.later(RESYNC);
    }
    assert!(world.converge().await.done, "{}", world.message("StorageExists"));
}

// storage-azure section 3: the Go operator made the zone of the public cloud in all clouds
#[tokio::test]
async fn an_inherited_account_of_the_us_government_gets_no_second_zone() {
    const OF_GO: &str = "privatelink.blob.core.windows.net";
    let world = government("pgov-go", internal(Value::Null)).await;
    let tags = owned_tag(&world);
    let vnet = network(&world, &world.group.clone(), &tags);
    let mut world = converged(world).await;
    let (_, address) = record(&world);
    for kind in [LINKS, RECORDS, GROUPS, ZONES] {
        delete(&world, kind);
    }
    // An administrator resolves the name in a zone that the operator may not see.
    let hub = world.azure().subscription(&world.cloud.tenant);
    let hub = world.azure().resource_group(&hub, "rg-hub-dns", REGION);
    let mut zones = Vec::new();
    for (group, name) in [(&hub, "privatelink.blob.core.usgovcloudapi.net"), (&world.group, OF_GO)] {
        let zone = world.azure().private_zone(group, name, &tags);
        world.azure().record(&zone, &world.account(), &address, &json!({}));
        let link = world.azure().link_zone(&zone, &world.account(), &vnet);
        world.azure().set_tags(&link, &tags).unwrap();
        zones.push(zone);
    }
    takes_over(&mut world);
    assert_used_as_it_is(&mut world, &["zone group of private endpoint"], "government").await;
    let told = world.message("StorageExists");
    assert!(
        !told.contains("usgovcloudapi") && told.matches("does not exist").count() == 1,
        "{told}"
    );
    assert_eq!(resources(&world, ZONES).len(), 1);
    // A removal finds what the Go operator made.
    world.request_removal();
    assert!(world.converge().await.done, "{}", world.message("StorageExists"));
    for kind in [ENDPOINTS, LINKS, RECORDS, ZONES] {
        assert_eq!(resources(&world, kind), Vec::<String>::new());
    }
    assert!(world.azure().resource(&zones[0]).is_some(), "the zone of the hub stays");
}
