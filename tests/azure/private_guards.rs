//! Public access ends only if the account's name leads to the operator's endpoint, and nobody loses the last way to an account.

use devcluster::stores::{Fault, LongRunning};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, alone, arm_error, blob_error, call, cluster};
use super::conformance::RESYNC;
use super::private::{
    CREATE_ENDPOINT, ENDPOINTS, ZONE, assert_none_of_each, assert_one_of_each, internal, is_private, network,
    owned_tag, private, resources,
};
use super::stores::REGION;

const ACCOUNTS: &str = "Microsoft.Storage/storageAccounts";

pub fn path(world: &AzureCluster, kind: &str, name: &str) -> String {
    format!("{}/providers/{kind}/{name}", world.group)
}

pub fn zone(world: &AzureCluster) -> String {
    path(world, "Microsoft.Network/privateDnsZones", ZONE)
}

/// The network, in which the account is private.
pub async fn in_use(name: &str) -> AzureCluster {
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

/// A user's account, in which the operator made a container, and which it made private.
async fn in_users_account(name: &str) -> AzureCluster {
    let account = name.replace('-', "");
    let mut storage = internal(Value::Null);
    storage["azure"]["accountName"] = json!(account);
    let mut world = alone(name, storage).await;
    world.users_account(&account);
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    assert!(is_private(&world, &account));
    world
        .azure()
        .fill(&account, &world.container(), "/docker/", 2)
        .await
        .unwrap();
    world
}

fn make_external(world: &mut AzureCluster) {
    world.gate.forget();
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External", "internal": null}}}}));
}

/// The blob service answers clients of the network, without help of Resource Manager.
pub async fn assert_answers(world: &mut AzureCluster, at: &str) {
    let told = world.message("StorageExists");
    assert!(
        world.condition("StorageExists").starts_with("True/") && told.contains("is reachable"),
        "{at}: {told}"
    );
    world.restart();
    world.edit(json!({"logLevel": "Debug"}));
    world.converge().await;
    world.edit(json!({"logLevel": "Normal"}));
    world.converge().await;
    let told = world.message("StorageExists");
    assert!(told.contains("is reachable"), "{at}: {told}");
}

// storage-azure section 10.1: an endpoint of another account, or of somebody else, proves nothing
#[tokio::test]
async fn an_endpoint_that_is_not_of_the_account_ends_no_public_access() {
    for kind in ["neighbour", "untagged"] {
        let mut world = private(&format!("pguard-{kind}"), json!({"privateEndpointName": "given"})).await;
        let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
        let subnet = format!("{vnet}/subnets/{}-worker-subnet", world.infrastructure());
        let (target, tags) = if kind == "neighbour" {
            world.users_account("neighbouracct");
            ("neighbouracct".to_owned(), owned_tag(&world))
        } else {
            (world.account(), json!({"team": "x"}))
        };
        let endpoint = path(&world, ENDPOINTS, "given");
        world
            .azure()
            .private_endpoint(&endpoint, REGION, &tags, &subnet, &path(&world, ACCOUNTS, &target));
        let error = world.settle().await.error.unwrap();
        assert!(
            error.message.contains("private endpoint given") && error.message.contains("privateEndpointName"),
            "{error}"
        );
        assert!(!is_private(&world, &world.account()), "{kind}");
        assert_eq!(world.count("PrivateDnsZoneGroups_CreateOrUpdate"), 0);
        assert_eq!(world.count(CREATE_ENDPOINT), 0);
    }
}

// storage-azure section 10.1: an endpoint that the user created is used, and neither replaced nor deleted
#[tokio::test]
async fn a_failed_endpoint_of_the_user_is_told_and_not_replaced() {
    let mut world = private("pguard-users", json!({"privateEndpointName": "given"})).await;
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    let subnet = format!("{vnet}/subnets/{}-worker-subnet", world.infrastructure());
    let endpoint = path(&world, ENDPOINTS, "given");
    let account = path(&world, ACCOUNTS, &world.account());
    let tags = owned_tag(&world);
    world
        .azure()
        .private_endpoint(&endpoint, REGION, &tags, &subnet, &account);
    let failed = json!({"properties": {"provisioningState": "Failed"}});
    world.azure().change_resource(&endpoint, &failed).unwrap();
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("the operator did not create it"), "{error}");
    assert_eq!(world.count(CREATE_ENDPOINT), 0);
    let repaired = json!({"properties": {"provisioningState": "Succeeded"}});
    world.azure().change_resource(&endpoint, &repaired).unwrap();
    world.later(RESYNC);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    world.request_removal();
    assert!(world.converge().await.done);
    assert!(world.azure().resource(&endpoint).is_some(), "it is the user's");
}

// storage-azure section 10.1: nor does a record or a link of somebody else
#[tokio::test]
async fn a_record_or_link_that_leads_elsewhere_ends_no_public_access() {
    for kind in ["record", "records", "link"] {
        let mut world = private(&format!("pleads-{kind}"), Value::Null).await;
        let id = world.azure().private_zone(&world.group, ZONE, &json!({}));
        match kind {
            "link" => {
                let vnet = world
                    .azure()
                    .virtual_network(&world.group, "green-vnet", REGION, &json!({}));
                world.azure().link_zone(&id, &world.account(), &vnet);
            }
            kind => {
                let record = world.azure().record(&id, &world.account(), "10.9.9.9", &json!({}));
                if kind == "records" {
                    let two = json!([{"ipv4Address": "10.9.9.9"}, {"ipv4Address": "10.9.9.8"}]);
                    let mark = json!({"openshiftclusterid": world.infrastructure()});
                    let change = json!({"properties": {"aRecords": two, "metadata": mark}});
                    world.azure().change_resource(&record, &change).unwrap();
                }
            }
        }
        let before = resources(&world, "Microsoft.Network/privateDnsZones/A")
            .first()
            .map(|id| world.azure().resource(id).unwrap());
        let error = world.settle().await.error.unwrap();
        let part = if kind == "link" { "green-vnet" } else { "10.9.9.9" };
        assert!(error.message.contains(part), "{kind}: {error}");
        assert!(!is_private(&world, &world.account()), "{kind}");
        if let Some(before) = before {
            let id = format!("{id}/A/{}", world.account());
            assert_eq!(world.azure().resource(&id).unwrap(), before, "{kind}");
        }
        assert_eq!(world.count("StorageAccounts_Update"), 0, "{kind}");
    }
}

// storage-azure 47: an account of another cluster is not changed
#[tokio::test]
async fn an_account_with_the_tag_of_another_cluster_stays_public() {
    let mut storage = internal(Value::Null);
    storage["azure"]["accountName"] = json!("greensaccount");
    let mut world = alone("pforeign", storage).await;
    let tags = json!({"tags": {"kubernetes.io_cluster.green": "owned"}});
    world
        .azure()
        .make_account(&world.group, "greensaccount", &tags)
        .unwrap();
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("cluster green"), "{error}");
    assert!(!is_private(&world, "greensaccount"));
    assert_none_of_each(&world, "pforeign");
}

// storage-azure 41: also an account of a user, if the operator made it private
#[tokio::test]
async fn a_users_account_that_the_operator_made_private_becomes_public_again() {
    let mut world = in_users_account("pusers-back").await;
    make_external(&mut world);
    world.converge().await;
    assert!(!is_private(&world, "pusersback"));
    assert_eq!(world.changed()[0], "StorageAccounts_Update");
    assert_none_of_each(&world, "back");
    assert_answers(&mut world, "back").await;
    assert_eq!(world.count_lost(), 0);
}

// storage-azure 41: "if not permitted, report", and nobody loses the only way to the images
#[tokio::test]
async fn what_leads_to_an_account_stays_while_the_account_stays_private() {
    for kind in ["refused", "unrecorded", "foreign"] {
        let mut world = in_users_account(&format!("pstays-{kind}")).await;
        let account = world.storage_spec()["azure"]["accountName"]
            .as_str()
            .unwrap()
            .to_owned();
        let id = path(&world, ACCOUNTS, &account);
        match kind {
            "refused" => world.answer("StorageAccounts_Update", arm_error(403, "AuthorizationFailed")),
            "foreign" => {
                let tags = json!({"kubernetes.io_cluster.green": "owned"});
                world.azure().set_tags(&id, &tags).unwrap();
            }
            _ => {
                // Somebody else made it private: the operator has no record of that, and its endpoint another name.
                let stored = world.annotation(names::STORAGE_STAGES_ANNOTATION).unwrap();
                let stored = stored.replace("private access", "another stage");
                world.annotate(names::STORAGE_STAGES_ANNOTATION, &stored);
                let status = &mut world.config["status"]["storage"]["azure"]["networkAccess"]["internal"];
                status["privateEndpointName"] = json!("of-a-user");
            }
        }
        make_external(&mut world);
        for _ in 0..3 {
            world.settle().await;
            world.later(RESYNC);
        }
        assert!(is_private(&world, &account), "{kind}");
        assert_one_of_each(&world, kind);
        let told = world.message("StorageExists");
        assert!(
            told.contains("stays") && world.condition("StorageExists").starts_with("True/"),
            "{kind}: {told}"
        );
        if kind == "refused" {
            assert!(told.contains("Microsoft.Storage/storageAccounts/write"), "{told}");
            world.gate.pass();
            world.later(RESYNC);
            world.converge().await;
            assert_none_of_each(&world, kind);
            assert!(!is_private(&world, &account));
            assert_answers(&mut world, "refused").await;
        }
    }
}

// storage-azure 41: a link that may not be deleted keeps its record
#[tokio::test]
async fn a_refused_deletion_on_the_way_back_keeps_its_record_and_what_depends_on_it() {
    let mut world = in_use("pback-refused").await;
    world.answer("VirtualNetworkLinks_Delete", arm_error(403, "AuthorizationFailed"));
    make_external(&mut world);
    world.converge().await;
    assert!(!is_private(&world, &world.account()));
    assert_eq!(
        world.count("RecordSets_Delete"),
        0,
        "the linked zone would hide the account"
    );
    assert!(
        world
            .message("StorageExists")
            .contains("Microsoft.Network/privateDnsZones/virtualNetworkLinks/delete")
    );
    world.gate.pass();
    world.later(RESYNC);
    world.converge().await;
    assert_none_of_each(&world, "later");
    assert!(!world.message("StorageExists").contains("stays"));
}

// storage-azure 43, 44, 47: of an account that is kept only the container goes, and others still reach it
#[tokio::test]
async fn the_removal_from_an_account_that_is_kept_deletes_the_container_first() {
    for kind in ["users", "others"] {
        let mut world = if kind == "users" {
            in_users_account("pkept-users").await
        } else {
            in_use("pkept-others").await
        };
        let account = world.storage_spec()["azure"]["accountName"]
            .as_str()
            .unwrap()
            .to_owned();
        if kind == "others" {
            world.azure().make_container(&account, "of-a-user", &[]).await.unwrap();
        }
        let container = world.container();
        world.request_removal();
        assert!(world.settle().await.done, "{kind}: {}", world.message("StorageExists"));
        assert_eq!(world.condition("StorageExists"), "False/ContainerDeleted", "{kind}");
        let left = world.azure().containers(&account).await.unwrap();
        assert!(left.iter().all(|(name, _)| *name != container), "{kind}");
        assert_eq!(left.len(), usize::from(kind == "others"));
        assert!(!is_private(&world, &account), "{kind}");
        assert_none_of_each(&world, kind);
        let changed = world.changed();
        let place = |name: &str| changed.iter().position(|call| call == name).unwrap();
        assert!(
            place("Container_Delete") < place("StorageAccounts_Update"),
            "{changed:?}"
        );
        assert!(
            place("StorageAccounts_Update") < place("VirtualNetworkLinks_Delete"),
            "{changed:?}"
        );
    }
}

// storage-azure 44: the endpoint is gone already, and the account stays
#[tokio::test]
async fn a_container_out_of_reach_in_an_account_that_is_kept_goes_by_resource_manager() {
    let mut world = in_users_account("pkept-blind").await;
    for id in resources(&world, ENDPOINTS) {
        world.azure().delete_resource(&id);
    }
    world.request_removal();
    assert!(world.converge().await.done, "{}", world.message("StorageExists"));
    assert_eq!(world.azure().containers("pkeptblind").await.unwrap().len(), 0);
    assert!(!is_private(&world, "pkeptblind"));
    assert_none_of_each(&world, "blind");
}

// storage-azure 41, 43: an account that cannot be opened again keeps what leads to it, and the removal says so
#[tokio::test]
async fn a_removal_that_may_not_open_a_kept_account_ends_and_says_what_is_left() {
    let mut world = in_users_account("pkept-shut").await;
    world.answer("StorageAccounts_Update", arm_error(403, "AuthorizationFailed"));
    world.request_removal();
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("Microsoft.Storage/storageAccounts/write"),
        "{error}"
    );
    world.later(RESYNC);
    assert!(!world.settle().await.done);
    world.later(RESYNC);
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert!(is_private(&world, "pkeptshut"));
    assert_one_of_each(&world, "shut");
    assert!(world.message("StorageExists").contains("stays private"));
}

// storage-azure 46: nothing around the account is forgotten if account or container is gone first
#[tokio::test]
async fn nothing_is_left_around_a_container_or_an_account_that_is_gone() {
    for kind in ["container", "account"] {
        let mut world = in_use(&format!("pgonefirst-{kind}")).await;
        let account = world.account();
        if kind == "container" {
            world
                .azure()
                .delete_container(&account, &world.container())
                .await
                .unwrap();
        } else {
            world.azure().delete_resource(&path(&world, ACCOUNTS, &account));
        }
        world.request_removal();
        assert!(
            world.converge().await.done,
            "{kind}: {}",
            world.message("StorageExists")
        );
        assert_none_of_each(&world, kind);
        assert_eq!(world.accounts(), Vec::<String>::new(), "{kind}");
    }
}

// storage-azure section 10.3: a deletion that fails later on is told, and repeated
#[tokio::test]
async fn a_deletion_that_fails_later_on_is_told() {
    for refused in [false, true] {
        let mut world = in_use(&format!("pfails-{refused}")).await;
        let failing = LongRunning::polls(1).failing("InUse", "an interface is in use");
        world.azure().long_running("PrivateEndpoints_Delete", failing);
        if refused {
            // Even if the first look at the operation fails.
            let mut first = true;
            world.gate.rule(move |asked| {
                let is_look = asked.path.contains("/operations/") || asked.path.contains("/operationResults/");
                if is_look && std::mem::take(&mut first) {
                    return Fault::Answer(arm_error(403, "TestError"));
                }
                Fault::Pass
            });
        }
        world.request_removal();
        let mut told = String::new();
        for _ in 0..40 {
            let outcome = world.pass().await;
            if let Some(error) = outcome.error {
                told = error.message;
                if told.contains("InUse") {
                    break;
                }
                world.later(RESYNC);
                continue;
            }
            let wait = outcome.wait.unwrap();
            assert!(
                wait.after.as_secs() >= 5 || !wait.message.contains("private"),
                "{}",
                wait.message
            );
            world.later(wait.after);
        }
        assert!(told.contains("InUse") && told.contains("interface is in use"), "{told}");
        assert!(world.message("StorageExists").contains("InUse"));
        world
            .azure()
            .long_running("PrivateEndpoints_Delete", LongRunning::default());
        world.gate.pass();
        world.later(RESYNC);
        assert!(world.converge().await.done);
        assert_none_of_each(&world, "later");
    }
}

// storage-azure section 10.2, step 6
#[tokio::test]
async fn an_account_that_cannot_be_deleted_is_said_not_to_exist_any_more() {
    let mut world = in_use("pstatus").await;
    world.answer("StorageAccounts_Delete", arm_error(409, "AccountProtectedFromDeletion"));
    world.request_removal();
    assert!(world.settle().await.error.is_some());
    assert_eq!(world.condition("StorageExists"), "False/AzureError");
    assert!(world.message("StorageExists").contains("AccountProtectedFromDeletion"));
}

// storage-decisions T2: the account goes with no container whose mark was removed
#[tokio::test]
async fn a_container_that_lost_its_mark_keeps_its_account() {
    let mut world = cluster("pmarkless", json!({"azure": {}})).await;
    world.converge().await;
    let (account, container) = (world.account(), world.container());
    world
        .azure()
        .set_container_metadata(&account, &container, &[])
        .await
        .unwrap();
    world.answer("Container_GetProperties", blob_error(403, "AuthorizationFailure"));
    world.request_removal();
    for _ in 0..3 {
        assert!(!world.settle().await.done);
        world.later(RESYNC);
    }
    assert_eq!(world.azure().containers(&account).await.unwrap().len(), 1);
    assert_eq!(world.count("StorageAccounts_Delete"), 0);
}

// storage-azure section 10.2: a record of others, and a record set with more addresses than the operator's, stays
#[tokio::test]
async fn a_record_set_with_other_addresses_is_not_deleted() {
    let mut world = in_use("pmany").await;
    let record = format!("{}/A/{}", zone(&world), world.account());
    let address = world.azure().resource(&record).unwrap()["properties"]["aRecords"][0].clone();
    let mark = json!({"openshiftclusterid": world.infrastructure()});
    let both = json!({"properties": {"aRecords": [address, {"ipv4Address": "10.9.9.9"}], "metadata": mark}});
    // Without the zone group, which would take its record along.
    let [group] = resources(&world, "Microsoft.Network/privateEndpoints/privateDnsZoneGroups")
        .try_into()
        .unwrap();
    world.azure().delete_resource(&group);
    world
        .azure()
        .record(&zone(&world), &world.account(), "10.9.9.9", &json!({}));
    world.azure().change_resource(&record, &both).unwrap();
    world.request_removal();
    assert!(world.converge().await.done);
    assert_eq!(world.count("RecordSets_Delete"), 0);
    assert!(world.azure().resource(&record).is_some());
}

// storage-azure 38, section 10.2: the hub's record of somebody else is neither replaced nor deleted
#[tokio::test]
async fn a_record_of_others_in_the_hubs_zone_is_left_alone() {
    let mut world = private("phub-foreign", Value::Null).await;
    let hub = world
        .azure()
        .resource_group(&world.cloud.subscription, "hub-of-phub", REGION);
    let hub_zone = world.azure().private_zone(&hub, ZONE, &json!({}));
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    world.azure().link_zone(&hub_zone, "hub", &vnet);
    let scope = format!("/subscriptions/{}", world.cloud.subscription);
    world.azure().allow(&world.operator, &scope, super::stores::role());
    let record = world
        .azure()
        .record(&hub_zone, &world.account(), "10.9.9.9", &json!({"team": "x"}));
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("10.9.9.9"), "{error}");
    assert!(!is_private(&world, &world.account()));
    let kept = world.azure().resource(&record).unwrap();
    assert_eq!(kept["properties"]["aRecords"], json!([{"ipv4Address": "10.9.9.9"}]));
    // An administrator who enters the address himself keeps the record.
    let [endpoint] = resources(&world, ENDPOINTS).try_into().unwrap();
    let address =
        world.azure().resource(&endpoint).unwrap()["properties"]["customDnsConfigs"][0]["ipAddresses"][0].clone();
    let right = json!({"properties": {"aRecords": [{"ipv4Address": address}]}});
    world.azure().change_resource(&record, &right).unwrap();
    world.later(RESYNC);
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    world.request_removal();
    assert!(world.converge().await.done);
    assert!(world.azure().resource(&record).is_some());
}

// storage-azure 38: the objection may come when the operation ends
#[tokio::test]
async fn a_link_that_conflicts_later_on_is_resolved_in_the_hub() {
    let mut world = private("phub-late", Value::Null).await;
    let hub = world
        .azure()
        .resource_group(&world.cloud.subscription, "hub-of-late", REGION);
    let hub_zone = world.azure().private_zone(&hub, ZONE, &json!({}));
    let vnet = path(&world, "Microsoft.Network/virtualNetworks", "blue-vnet");
    let scope = format!("/subscriptions/{}", world.cloud.subscription);
    world.azure().allow(&world.operator, &scope, super::stores::role());
    world.azure().long_running(
        "VirtualNetworkLinks_CreateOrUpdate",
        LongRunning::polls(1).failing("Conflict", "is in use"),
    );
    // The hub's link appears when the operator's is accepted.
    let azure = world.azure();
    let (hub_link, network) = (hub_zone.clone(), vnet.clone());
    world.gate.rule(move |asked| {
        if call(asked) == "RecordSets_CreateOrUpdate" && !asked.path.contains("hub-of-late") {
            azure.link_zone(&hub_link, "hub", &network);
        }
        if call(asked) == "VirtualNetworkLinks_CreateOrUpdate" {
            azure.delete_resource(&format!("{hub_link}/virtualNetworkLinks/hub"));
        }
        if asked.path.contains("/operations/") || asked.path.contains("/operationResults/") {
            azure.link_zone(&hub_link, "hub", &network);
        }
        Fault::Pass
    });
    world.converge().await;
    assert!(is_private(&world, &world.account()));
    let record = format!("{hub_zone}/A/{}", world.account());
    assert!(world.azure().resource(&record).is_some());
    world.gate.pass();
    world.request_removal();
    assert!(world.converge().await.done);
    assert!(world.azure().resource(&record).is_none());
    assert_none_of_each(&world, "late");
}
