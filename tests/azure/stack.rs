//! Other clouds than the public one: Azure Stack Hub, and the US Government.

use devcluster::stores::{Authority, Azure, AzureCloud, AzureOptions, Fault, Reply, Role};
use image_registry_operator::names;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::cluster::{AzureCluster, call, is_token};
use super::private::{internal, is_private, network, owned_tag, resources};
use super::stores::Cloud;

static STACK: OnceCell<Cloud> = OnceCell::const_new();
static GOVERNMENT: OnceCell<Cloud> = OnceCell::const_new();

async fn cloud(cell: &'static OnceCell<Cloud>, cloud: AzureCloud) -> &'static Cloud {
    let start = || async {
        let authority = Authority::new("azure").unwrap();
        Cloud::start(AzureOptions::new(authority).cloud(cloud)).await
    };
    cell.get_or_init(start).await
}

async fn stack(name: &str, storage: Value) -> AzureCluster {
    let cloud = cloud(&STACK, AzureCloud::StackHub).await;
    let mut world = AzureCluster::bare(cloud, name, &format!("rg-{name}"), storage);
    world.edit_platform(|azure| azure["cloudName"] = json!("AzureStackCloud"));
    world.add(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": names::CLOUD_PROVIDER_CONFIG, "namespace": names::CONFIG_NAMESPACE},
        "data": {"endpoints": Azure::stack_hub_endpoints().to_string()},
    }));
    world
}

pub async fn government(name: &str, storage: Value) -> AzureCluster {
    let cloud = cloud(&GOVERNMENT, AzureCloud::UsGovernment).await;
    let mut world = AzureCluster::bare(cloud, name, &format!("rg-{name}"), storage);
    world.edit_platform(|azure| azure["cloudName"] = json!("AzureUSGovernmentCloud"));
    world.with_secret();
    world
}

// storage-azure 16, 49
#[tokio::test]
async fn a_stack_has_older_apis_and_another_token_endpoint() {
    let mut world = stack("stack-new", json!({"azure": {}})).await;
    world.with_secret();
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    let body = world.bodies("StorageAccounts_Create").remove(0);
    let tags = owned_tag(&world);
    assert_eq!(
        body,
        json!({"kind": "Storage", "location": "westeurope", "sku": {"name": "Standard_LRS"}, "tags": tags})
    );
    let asked = world.gate.asked();
    for one in asked
        .iter()
        .filter(|asked| asked.path.contains("/providers/Microsoft.Storage/"))
    {
        assert_eq!(
            one.parameter("api-version").as_deref(),
            Some("2019-06-01"),
            "{}",
            one.path
        );
    }
    for one in asked.iter().filter(|asked| call(asked).starts_with("Container")) {
        assert_eq!(one.header("x-ms-version"), Some("2018-11-09"));
    }
    let token = asked.iter().find(|asked| is_token(&call(asked))).unwrap();
    assert!(token.path.ends_with("/oauth2/token"), "{}", token.path);
    assert_eq!(token.parameter("api-version").as_deref(), Some("1.0"));
    let audience = AzureCloud::StackHub.audience().replace(':', "%3A").replace('/', "%2F");
    assert!(
        token.text().contains(&format!("resource={audience}&"))
            || token.text().ends_with(&format!("resource={audience}"))
    );
    assert!(!token.text().contains("scope="));
    assert_eq!(
        world.variable("REGISTRY_STORAGE_AZURE_REALM").as_deref(),
        Some("local.stack.example")
    );
    assert_eq!(world.storage_spec()["azure"]["cloudName"], json!("AzureStackCloud"));
    assert_eq!(world.count("StorageAccounts_Update"), 0);
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert_eq!(world.accounts(), Vec::<String>::new());
}

// storage-azure section 7.3: the region is that of the resource group
#[tokio::test]
async fn a_stack_whose_secret_names_no_region_gets_an_account() {
    let mut world = stack("stack-region", json!({"azure": {}})).await;
    let secret = world.azure().add_secret(&world.operator).unwrap();
    world.storage.secrets.push(secret.clone());
    world.mint(&[("azure_client_secret", &secret), ("azure_region", "")]);
    let read = "Microsoft.Resources/subscriptions/resourceGroups/read";
    world
        .azure()
        .allow(&world.operator, &world.group, Role::new(&[read], &[]));
    world.converge().await;
    assert_eq!(world.bodies("StorageAccounts_Create")[0]["location"], "westeurope");
}

// storage-decisions T2: what is no list of containers says nothing about them
#[tokio::test]
async fn a_stacks_account_is_kept_if_the_list_of_its_containers_is_none() {
    let mut world = stack("stack-list", json!({"azure": {}})).await;
    world.with_secret();
    world.converge().await;
    world.request_removal();
    let end = "</EnumerationResults>";
    for pages in [
        ["<html>log in</html>".to_owned(), String::new()],
        [
            "<EnumerationResults><Containers><Container><Name>a</Name>".to_owned(),
            String::new(),
        ],
        [
            format!("<EnumerationResults><Containers/><NextMarker>a</NextMarker>{end}"),
            format!("<EnumerationResults><Containers/><NextMarker>b</NextMarker>{end}"),
        ],
    ] {
        let mut count = 0;
        world.gate.rule(move |asked| {
            if call(asked) != "Service_ListContainersSegment" {
                return Fault::Pass;
            }
            let page = if count % 2 == 1 && !pages[1].is_empty() {
                &pages[1]
            } else {
                &pages[0]
            };
            count += 1;
            Fault::Answer(Reply::new(200, page))
        });
        assert!(world.settle().await.error.is_some());
        assert_eq!(world.accounts(), [world.account()]);
        world.later(super::conformance::RESYNC);
    }
    world.gate.pass();
    world
        .azure()
        .make_container(&world.account(), "of-a-user", &[])
        .await
        .unwrap();
    assert!(world.settle().await.done);
    assert_eq!(world.accounts(), [world.account()]);
}

// storage-azure 49
#[tokio::test]
async fn a_stack_needs_a_client_secret_and_its_endpoints() {
    let mut world = stack("stack-secret", json!({"azure": {}})).await;
    world.with_workload_identity();
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("client secret"), "{error}");
    assert_eq!(world.condition("StorageExists"), "Unknown/ConfigError");
    world.with_secret();
    let endpoints = image_registry_operator::api::ObjectRef::new(
        image_registry_operator::api::Kind::ConfigMap,
        names::CONFIG_NAMESPACE,
        names::CLOUD_PROVIDER_CONFIG,
    );
    world.snapshot.objects.remove(&endpoints);
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("cloud-provider-config"), "{error}");
    assert_eq!(
        (world.condition("StorageExists").as_str(), world.gate.asked().len()),
        ("Unknown/ConfigError", 0)
    );
    // The file that the variable names is enough.
    world.process.environment.stack_endpoints = Some(Azure::stack_hub_endpoints().to_string());
    world.restart();
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

// storage-azure 6, section 3
#[tokio::test]
async fn an_unknown_cloud_is_a_configuration_error() {
    let mut world = super::cluster::cluster("cloud-unknown", json!({"azure": {"cloudName": "invalid"}})).await;
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("\"invalid\""), "{error}");
    assert_eq!(
        (world.condition("StorageExists").as_str(), world.gate.asked().len()),
        ("Unknown/ConfigError", 0)
    );
}

// storage-azure 7, 40
#[tokio::test]
async fn the_us_government_has_hosts_realm_and_private_zone_of_its_own() {
    let mut world = government("gov-private", internal(Value::Null)).await;
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    assert_eq!(
        world.storage_spec()["azure"]["cloudName"],
        json!("AzureUSGovernmentCloud")
    );
    assert_eq!(
        world.variable("REGISTRY_STORAGE_AZURE_REALM").as_deref(),
        Some("core.usgovcloudapi.net")
    );
    let zones = resources(&world, "Microsoft.Network/privateDnsZones");
    assert!(
        zones[0].ends_with("/privatelink.blob.core.usgovcloudapi.net"),
        "{zones:?}"
    );
    assert!(is_private(&world, &world.account()));
    let hosts = ["login.microsoftonline.us", "management.usgovcloudapi.net"];
    for asked in world.gate.asked() {
        let own = hosts.contains(&asked.host.as_str()) || asked.host.ends_with(".blob.core.usgovcloudapi.net");
        assert!(own, "{}", asked.host);
    }
}
