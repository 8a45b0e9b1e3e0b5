//! Private accounts: endpoint, DNS, and no public access.

use std::time::Duration;

use devcluster::stores::LongRunning;
use image_registry_operator::names;
use image_registry_operator::storage::backend::azure::generated;
use image_registry_operator::storage::model::error::{ErrorClass, StorageError};
use serde_json::{Value, json};

use super::cluster::{AzureCluster, alone, alone_in, arm_error, cluster};
use super::conformance::{RESYNC, at_each_death};
use super::stores::REGION;

pub const ZONE: &str = "privatelink.blob.core.windows.net";
pub const ENDPOINTS: &str = "Microsoft.Network/privateEndpoints";
pub const CREATE_ENDPOINT: &str = "PrivateEndpoints_CreateOrUpdate";

pub fn internal(details: Value) -> Value {
    let mut access = json!({"type": "Internal"});
    if !details.is_null() {
        access["internal"] = details;
    }
    json!({"azure": {"networkAccess": access}})
}

/// A virtual network of the cluster in its resource group, with these tags; the operator is in it.
pub fn network(world: &AzureCluster, group: &str, tags: &Value) -> String {
    let vnet = world.azure().virtual_network(group, "blue-vnet", REGION, tags);
    world
        .azure()
        .subnet(&vnet, "delegated", "10.0.0.0/24", Some("Microsoft.Web/serverFarms"));
    world.azure().subnet(&vnet, "first", "10.0.1.0/24", None);
    world.azure().subnet(
        &vnet,
        &format!("{}-worker-subnet", world.infrastructure()),
        "10.0.2.0/24",
        None,
    );
    world.azure().clients_are_in(Some(&vnet));
    vnet
}

pub fn owned_tag(world: &AzureCluster) -> Value {
    json!({format!("kubernetes.io_cluster.{}", world.infrastructure()): "owned"})
}

/// A cluster whose account shall be private.
pub async fn private(name: &str, details: Value) -> AzureCluster {
    private_in(name, &format!("rg-{name}"), details).await
}

/// The same in a resource group of this name.
async fn private_in(name: &str, group: &str, details: Value) -> AzureCluster {
    let world = alone_in(name, group, internal(details)).await;
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world
}

pub fn of_network(world: &AzureCluster) -> Vec<String> {
    let network = [
        "Private",
        "VirtualNetwork",
        "RecordSets",
        "Subnets",
        "NetworkInterfaces",
    ];
    let calls = world.calls().into_iter();
    calls
        .filter(|call| network.iter().any(|prefix| call.starts_with(prefix)))
        .collect()
}

pub fn is_private(world: &AzureCluster, account: &str) -> bool {
    let account = world.azure().account(account).unwrap();
    account["properties"]["publicNetworkAccess"] == json!("Disabled")
}

/// Resources of a kind in the resource group of the cluster.
pub fn resources(world: &AzureCluster, kind: &str) -> Vec<String> {
    let all = world.azure().resources(kind).into_iter();
    let group = format!("{}/", world.group.to_lowercase());
    all.filter(|id| id.to_lowercase().starts_with(&group)).collect()
}

const KINDS: [&str; 5] = [
    "Microsoft.Network/privateEndpoints",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.Network/privateDnsZones",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "Microsoft.Network/privateDnsZones/A",
];

pub fn assert_one_of_each(world: &AzureCluster, at: &str) {
    for kind in KINDS {
        assert_eq!(resources(world, kind).len(), 1, "{at}: {kind}");
    }
}

pub fn assert_none_of_each(world: &AzureCluster, at: &str) {
    for kind in KINDS {
        assert_eq!(resources(world, kind), Vec::<String>::new(), "{at}: {kind}");
    }
}

// storage-azure 33
#[tokio::test]
async fn a_public_account_needs_no_call_about_networks() {
    for (name, storage) in [
        ("public-unset", json!({"azure": {}})),
        ("public-set", json!({"azure": {"networkAccess": {"type": "External"}}})),
    ] {
        let mut world = cluster(name, storage).await;
        world.converge().await;
        assert_eq!(of_network(&world), Vec::<String>::new());
    }
}

// storage-azure 34, section 10.1
#[tokio::test]
async fn networks_are_found_and_all_is_created_in_order() {
    let mut world = private("private-found", Value::Null).await;
    let vnet = format!("{}/providers/Microsoft.Network/virtualNetworks/blue-vnet", world.group);
    world.converge().await;
    let account = world.account();
    assert!(is_private(&world, &account));
    let changes: Vec<_> = world.changed();
    let expected = [
        "StorageAccounts_Create",
        "Container_Create",
        "PrivateEndpoints_CreateOrUpdate",
        "PrivateZones_CreateOrUpdate",
        "RecordSets_CreateOrUpdate",
        "PrivateDnsZoneGroups_CreateOrUpdate",
        "VirtualNetworkLinks_CreateOrUpdate",
        "StorageAccounts_Update",
    ];
    assert_eq!(changes, expected);
    let endpoint = generated::private_endpoint(&world.snapshot).unwrap();
    let names = json!({
        "vnetName": "blue-vnet", "subnetName": "private-found-worker-subnet", "privateEndpointName": endpoint,
    });
    assert_eq!(world.storage_spec()["azure"]["networkAccess"]["internal"], names);
    assert_eq!(world.status()["azure"]["networkAccess"]["internal"], names);
    let tags = owned_tag(&world);
    let provider = format!("{}/providers/Microsoft.Network", world.group);
    let zone = format!("{provider}/privateDnsZones/{ZONE}");
    let body = |operation: &str| world.bodies(operation).remove(0);
    assert_eq!(
        body(CREATE_ENDPOINT),
        json!({
            "location": REGION, "tags": tags,
            "properties": {
                "customNetworkInterfaceName": format!("{endpoint}-nic"),
                "subnet": {"id": format!("{vnet}/subnets/private-found-worker-subnet")},
                "privateLinkServiceConnections": [{"name": endpoint, "properties": {
                    "privateLinkServiceId": format!("{}/providers/Microsoft.Storage/storageAccounts/{account}", world.group),
                    "groupIds": ["blob"],
                }}],
            },
        })
    );
    assert_eq!(
        body("PrivateZones_CreateOrUpdate"),
        json!({"location": "global", "tags": tags})
    );
    let record = body("RecordSets_CreateOrUpdate");
    assert_eq!(record["properties"]["ttl"], json!(10));
    assert!(
        record["properties"]["aRecords"][0]["ipv4Address"]
            .as_str()
            .unwrap()
            .starts_with("10.0.2."),
        "{record}"
    );
    let dashed = ZONE.replace('.', "-");
    assert_eq!(
        body("PrivateDnsZoneGroups_CreateOrUpdate"),
        json!({"name": format!("{ZONE}/default"), "properties": {
            "privateDnsZoneConfigs": [{"name": dashed, "properties": {"privateDnsZoneId": zone}}],
        }})
    );
    assert_eq!(
        body("VirtualNetworkLinks_CreateOrUpdate"),
        json!({"location": "global", "tags": tags, "properties": {
            "registrationEnabled": false, "virtualNetwork": {"id": vnet},
        }})
    );
    assert_eq!(
        body("StorageAccounts_Update"),
        json!({"properties": {"publicNetworkAccess": "Disabled"}})
    );
    assert_eq!(world.state(), Some("Managed"));
}

// storage-azure 35
#[tokio::test]
async fn only_a_network_of_the_cluster_is_chosen() {
    let mut world = alone("private-shared", internal(Value::Null)).await;
    let other = world.azure().virtual_network(
        &world.group,
        "another",
        REGION,
        &json!({"kubernetes.io_cluster.green": "owned"}),
    );
    world.azure().subnet(&other, "first", "10.1.0.0/24", None);
    let key = "sigs.k8s.io_cluster-api-provider-azure_cluster_private-shared";
    network(&world, &world.group.clone(), &json!({key: "shared"}));
    world.converge().await;
    assert_eq!(
        world.status()["azure"]["networkAccess"]["internal"]["vnetName"],
        json!("blue-vnet")
    );
    // Without one, the administrator must name it, and public access stays.
    let mut world = alone("private-lost", internal(Value::Null)).await;
    network(&world, &world.group.clone(), &json!({}));
    let error = world.settle().await.error.unwrap();
    for part in ["vnetName", "subnetName", "networkResourceGroupName"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert!(!is_private(&world, &world.account()));
    assert_eq!(world.count(CREATE_ENDPOINT), 0);
}

// storage-azure 36
#[tokio::test]
async fn a_network_of_another_resource_group_is_used_from_there() {
    for (name, of_cluster) in [("private-elsewhere", false), ("private-platform", true)] {
        let details = json!({"networkResourceGroupName": format!("net-{name}")});
        let storage = if of_cluster {
            internal(Value::Null)
        } else {
            internal(details)
        };
        let mut world = alone(name, storage).await;
        if of_cluster {
            world.edit_platform(|azure| azure["networkResourceGroupName"] = json!(format!("net-{name}")));
        }
        let group = world
            .azure()
            .resource_group(&world.cloud.subscription, &format!("net-{name}"), REGION);
        world.azure().allow(&world.operator, &group, super::stores::role());
        let tags = owned_tag(&world);
        let vnet = network(&world, &group, &tags);
        world.converge().await;
        let endpoint = world.bodies(CREATE_ENDPOINT).remove(0);
        let subnet = format!("{vnet}/subnets/{name}-worker-subnet");
        assert_eq!(endpoint["properties"]["subnet"]["id"], json!(subnet));
        assert_one_of_each(&world, name);
    }
}

// storage-azure 37
#[tokio::test]
async fn an_account_that_is_private_already_is_left_as_it_is() {
    let mut world = cluster(
        "private-before",
        json!({"azure": {
        "accountName": "privatebefore", "container": "images", "networkAccess": {"type": "Internal"},
    }, "managementState": "Managed"}),
    )
    .await;
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    let given = json!({"tags": tags, "properties": {"publicNetworkAccess": "Disabled"}});
    world
        .azure()
        .make_account(&world.group, "privatebefore", &given)
        .unwrap();
    let mark = [("openshiftclusterid", "private-before")];
    world
        .azure()
        .make_container("privatebefore", "images", &mark)
        .await
        .unwrap();
    for _ in 0..3 {
        world.pass().await;
    }
    let changed = world.changed();
    assert!(
        changed.iter().all(|call| !call.ends_with("CreateOrUpdate")),
        "{changed:?}"
    );
    assert!(world.calls().iter().any(|call| call == "StorageAccounts_GetProperties"));
}

// storage-azure 25, 39
#[tokio::test]
async fn a_step_that_fails_is_repeated_with_the_same_names_and_the_storage_is_managed() {
    for operation in [
        CREATE_ENDPOINT,
        "PrivateZones_CreateOrUpdate",
        "RecordSets_CreateOrUpdate",
        "PrivateDnsZoneGroups_CreateOrUpdate",
        "VirtualNetworkLinks_CreateOrUpdate",
        "StorageAccounts_Update",
    ] {
        let name = format!(
            "pfail-{}",
            &operation[operation.len() - 20..].to_lowercase().replace('_', "")
        );
        let mut world = private(&name, Value::Null).await;
        world.answer(operation, arm_error(400, "InvalidRequest"));
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains("InvalidRequest"), "{operation}: {error}");
        assert!(!is_private(&world, &world.account()), "{operation}");
        world.restart();
        world.gate.pass();
        world.converge().await;
        assert_eq!(world.state(), Some("Managed"), "{operation}");
        assert!(is_private(&world, &world.account()));
        assert_one_of_each(&world, operation);
    }
}

// storage-azure section 10.1, storage-decisions 8: the same end, whenever the process dies
#[tokio::test]
async fn a_process_that_dies_at_any_request_leaves_one_of_each() {
    let deaths = at_each_death(async |death, at| {
        let mut world = private(&format!("pdies-{at}"), Value::Null).await;
        world.azure().long_running_by_default(LongRunning::polls(1));
        let died = super::conformance::dies(&mut world, death).await;
        world.converge().await;
        assert_one_of_each(&world, at);
        assert!(is_private(&world, &world.account()), "{at}");
        assert_eq!(world.accounts().len(), 1, "{at}");
        assert_eq!(world.state(), Some("Managed"), "{at}");
        died
    });
    assert!(deaths.await >= 16);
}

// storage-azure section 10.3: operations of minutes are no errors, and survive a restart
#[tokio::test]
async fn an_endpoint_that_takes_minutes_is_waited_for() {
    let mut world = private("private-slow", Value::Null).await;
    world
        .azure()
        .long_running(CREATE_ENDPOINT, LongRunning::polls(6).retry_after(Some(30)));
    let mut waited = 0;
    let mut restarted = false;
    for _ in 0..60 {
        let outcome = world.pass().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let Some(wait) = outcome.wait else { break };
        if wait.message.contains("private endpoint") && !wait.after.is_zero() {
            waited += 1;
            assert!(
                world.condition("StorageExists").starts_with("True/"),
                "the container exists"
            );
        }
        if waited == 2 && !restarted {
            restarted = true;
            world.restart();
        }
        world.later(wait.after);
    }
    world.azure().long_running(CREATE_ENDPOINT, LongRunning::default());
    world.converge().await;
    assert!(waited >= 3 && restarted, "{waited}");
    assert_eq!(world.count(CREATE_ENDPOINT), 1);
    assert!(is_private(&world, &world.account()));
}

// storage-azure 38
#[tokio::test]
async fn a_network_that_is_linked_elsewhere_gets_its_record_there() {
    let mut world = private("private-hub", Value::Null).await;
    let hub = world
        .azure()
        .resource_group(&world.cloud.subscription, "hub-of-private", REGION);
    let zone = world.azure().private_zone(&hub, ZONE, &json!({}));
    let vnet = format!("{}/providers/Microsoft.Network/virtualNetworks/blue-vnet", world.group);
    world.azure().link_zone(&zone, "hub", &vnet);
    // The operator may not see the other zone: public access stays, and the message says what to do.
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("overlapping namespaces") && error.message.contains("A record"),
        "{error}"
    );
    assert!(!is_private(&world, &world.account()));
    // The service is not asked again and again.
    for _ in 0..10 {
        world.later(Duration::from_secs(20));
        assert!(
            world
                .pass()
                .await
                .error
                .is_some_and(|error| error.message.contains("A record"))
        );
    }
    assert_eq!(world.count("VirtualNetworkLinks_CreateOrUpdate"), 1);
    let scope = format!("/subscriptions/{}", world.cloud.subscription);
    world.azure().allow(&world.operator, &scope, super::stores::role());
    world.later(RESYNC);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    let record = world
        .azure()
        .resource(&format!("{zone}/A/{}", world.account()))
        .unwrap();
    assert!(record["properties"]["aRecords"][0]["ipv4Address"].is_string());
    // An account that becomes public again leaves nothing there, and the zone and its link are as they were.
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External", "internal": null}}}}));
    world.converge().await;
    assert!(!is_private(&world, &world.account()));
    assert_eq!(world.azure().resource(&format!("{zone}/A/{}", world.account())), None);
    assert!(
        world
            .azure()
            .resource(&format!("{zone}/virtualNetworkLinks/hub"))
            .is_some()
    );
    // Other codes are errors.
    let mut world = private("private-link", Value::Null).await;
    world.answer(
        "VirtualNetworkLinks_CreateOrUpdate",
        arm_error(409, "PreconditionFailed"),
    );
    assert!(world.settle().await.error.is_some());
    assert!(!is_private(&world, &world.account()));
}

// storage-azure 41
#[tokio::test]
async fn an_account_that_becomes_public_again_loses_what_was_around_it() {
    let mut world = private("private-back", Value::Null).await;
    world.converge().await;
    let account = world.account();
    assert!(is_private(&world, &account));
    world.gate.forget();
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External", "internal": null}}}}));
    world.converge().await;
    assert!(!is_private(&world, &account));
    assert_none_of_each(&world, "external");
    assert_eq!(
        world.changed()[0],
        "StorageAccounts_Update",
        "public access comes first"
    );
    assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    assert_eq!(world.count_lost(), 0);
    let stages = world.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap();
    assert!(stages.contains("account") && !stages.contains("endpoint"), "{stages}");
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.accounts(), Vec::<String>::new());
}

// storage-azure section 10.1: storage in use becomes private without a loss
#[tokio::test]
async fn storage_in_use_becomes_private() {
    let mut world = alone("private-later", json!({"azure": {}})).await;
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "Internal"}}}}));
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    assert_eq!(world.count_lost(), 0);
    assert_one_of_each(&world, "later");
}

/// Passes, each when the last one said, until one fails.
async fn until_failed(world: &mut AzureCluster) -> StorageError {
    for _ in 0..20 {
        let outcome = world.pass().await;
        if let Some(error) = outcome.error {
            return error;
        }
        world.later(outcome.wait.map(|wait| wait.after).unwrap_or_default());
    }
    panic!("no pass fails");
}

// storage-azure section 10.1: rejected by the service while it is being created
#[tokio::test]
async fn an_endpoint_whose_creation_fails_is_told() {
    let mut world = private("private-bad", Value::Null).await;
    world.azure().long_running(
        CREATE_ENDPOINT,
        LongRunning::polls(1).failing("SubnetFull", "no address"),
    );
    let told = until_failed(&mut world).await.message;
    world.azure().long_running(CREATE_ENDPOINT, LongRunning::default());
    assert!(told.contains("SubnetFull"), "{told}");
    assert!(!is_private(&world, &world.account()));
    assert_eq!(world.count(CREATE_ENDPOINT), 1);
    // The endpoint is there, in state Failed: another PUT repairs it.
    assert_eq!(resources(&world, ENDPOINTS).len(), 1);
    world.later(RESYNC);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    assert_eq!(
        (world.count(CREATE_ENDPOINT), resources(&world, ENDPOINTS).len()),
        (2, 1)
    );
}

// storage-azure section 10.1: one repair in ten minutes, and the cause is told meanwhile
#[tokio::test]
async fn an_endpoint_whose_creation_always_fails_is_not_tried_all_the_time() {
    let mut world = private("private-worse", Value::Null).await;
    world.azure().long_running(
        CREATE_ENDPOINT,
        LongRunning::polls(1).failing("SubnetFull", "no address"),
    );
    let mut told = 0;
    for _ in 0..120 {
        let outcome = world.pass().await;
        told += usize::from(outcome.error.is_some_and(|error| error.message.contains("SubnetFull")));
        world.later(Duration::from_secs(20));
    }
    let tried = world.count(CREATE_ENDPOINT);
    assert!((2..=6).contains(&tried), "in 40 minutes: {tried}");
    assert!(told > 90, "{told} of 120 passes tell the cause");
    world.azure().long_running(CREATE_ENDPOINT, LongRunning::default());
    world.later(RESYNC);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
}

// storage-azure section 10.1: a repair that is refused is told, and tried again as soon as it can succeed
#[tokio::test]
async fn a_repair_that_is_refused_at_once_waits_for_no_ten_minutes() {
    let mut world = private("private-right", Value::Null).await;
    world.azure().long_running(
        CREATE_ENDPOINT,
        LongRunning::polls(1).failing("SubnetFull", "no address"),
    );
    until_failed(&mut world).await;
    world.azure().long_running(CREATE_ENDPOINT, LongRunning::default());
    world.later(RESYNC);
    world.answer(CREATE_ENDPOINT, arm_error(403, "AuthorizationFailed"));
    for _ in 0..3 {
        let error = world.pass().await.error.unwrap();
        assert!(error.message.contains("AuthorizationFailed"), "{error}");
        world.later(Duration::from_mins(6));
    }
    world.gate.pass();
    world.converge().await;
    assert!(is_private(&world, &world.account()));
}

// storage-azure section 10.1: an operation may fail because another one is in progress
#[tokio::test]
async fn an_endpoint_that_meets_a_change_of_the_account_is_created_again_soon() {
    let mut world = private("private-busy", Value::Null).await;
    world.azure().long_running(
        CREATE_ENDPOINT,
        LongRunning::polls(1).failing("StorageAccountOperationInProgress", "in progress"),
    );
    assert_eq!(until_failed(&mut world).await.class, ErrorClass::Transient);
    world.azure().long_running(CREATE_ENDPOINT, LongRunning::default());
    // Soon: not after ten minutes.
    for _ in 0..12 {
        world.later(Duration::from_secs(10));
        world.pass().await;
    }
    assert_eq!(world.count(CREATE_ENDPOINT), 2);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
}

// storage-azure section 10.1: names of resource groups may have parentheses, which paths have percent-encoded
#[tokio::test]
async fn a_resource_group_with_parentheses_gets_a_private_account() {
    let mut world = private_in("private-group", "rg(private)", Value::Null).await;
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    world.request_removal();
    assert!(world.converge().await.done);
}
