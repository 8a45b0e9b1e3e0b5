//! The storage account: its name, its creation, whose it is.

use devcluster::stores::{Fault, LongRunning, Reply};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, USER_KEY, alone, arm_error, call, cluster, keyless_cluster};
use super::conformance::{RESYNC, at_each_death};

const CREATE: &str = "StorageAccounts_Create";

/// Tag that marks the cluster's account.
fn mark(world: &AzureCluster) -> String {
    format!("kubernetes.io_cluster.{}", world.infrastructure())
}

fn status(world: &AzureCluster) -> (String, String) {
    let text = |field: &str| world.status()["azure"][field].as_str().unwrap_or_default().to_owned();
    (text("accountName"), text("container"))
}

// storage-azure 9, section 10.3
#[tokio::test]
async fn an_account_that_takes_its_time_is_created_under_the_generated_or_the_given_name() {
    for (name, given) in [("acct-slow", None), ("acct-given", Some("givenbyauser"))] {
        let storage = match given {
            Some(given) => json!({"azure": {"accountName": given}}),
            None => json!({"azure": {}}),
        };
        for how in [LongRunning::polls(2), LongRunning::polls(2).hidden()] {
            let mut world = alone(name, storage.clone()).await;
            world.azure().long_running(CREATE, how);
            let outcome = world.pass().await;
            assert!(outcome.error.is_none() && outcome.wait.is_some());
            world.converge().await;
            world.azure().long_running(CREATE, LongRunning::default());
            let expected = given.map_or_else(|| world.account(), str::to_owned);
            assert_eq!(status(&world), (expected.clone(), world.container()));
            assert_eq!(world.state(), Some("Managed"));
            assert_eq!(world.count(CREATE), 1, "{:?}", world.calls());
            assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
        }
    }
}

// storage-azure 15, 16
#[tokio::test]
async fn a_new_account_is_private_modern_and_tagged() {
    let mut world = cluster("acct-body", json!({"azure": {}})).await;
    world.edit_platform(|azure| {
        azure["resourceTags"] = json!([{"key": "tag1", "value": "v1"}, {"key": "tag2", "value": "v2"}]);
    });
    world.converge().await;
    let [body] = world.bodies(CREATE).try_into().unwrap();
    let expected = json!({
        "kind": "StorageV2", "location": "westeurope", "sku": {"name": "Standard_LRS"},
        "tags": {mark(&world): "owned", "tag1": "v1", "tag2": "v2"},
        "properties": {"supportsHttpsTrafficOnly": true, "allowBlobPublicAccess": false, "minimumTlsVersion": "TLS1_2"},
    });
    assert_eq!(body, expected);
}

// storage-azure section 2: the region is that of the resource group if the Secret has none
#[tokio::test]
async fn without_a_region_the_resource_group_tells_it() {
    let mut world = cluster("acct-region", json!({"azure": {}})).await;
    let secret = world.azure().add_secret(&world.operator).unwrap();
    world.mint(&[("azure_client_secret", &secret), ("azure_region", "")]);
    let read = devcluster::stores::Role::new(&["Microsoft.Resources/subscriptions/resourceGroups/read"], &[]);
    world.azure().allow(&world.operator, &world.group, read);
    world.converge().await;
    assert_eq!(world.bodies(CREATE)[0]["location"], json!("westeurope"));
}

// storage-azure 10
#[tokio::test]
async fn a_generated_name_that_is_taken_is_told_and_nothing_is_created() {
    let mut world = cluster("acct-taken", json!({"azure": {}})).await;
    world.azure().take_name(&world.account());
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("spec.storage.azure.accountName"), "{error}");
    assert!(error.message.contains("taken"), "{error}");
    assert_eq!(world.condition("StorageExists"), "Unknown/AzureError");
    assert_eq!((world.changed(), world.status()), (vec![], &json!({})));
}

// storage-azure 11, 24
#[tokio::test]
async fn who_creates_something_manages_the_storage() {
    for (name, account, container, state) in [
        ("table-none", (false, false), (false, false), "Managed"),
        ("table-cont", (false, false), (true, false), "Managed"),
        ("table-acct", (true, false), (true, false), "Managed"),
        ("table-have", (true, true), (false, false), "Managed"),
        ("table-made", (true, true), (true, false), "Managed"),
        ("table-both", (true, true), (true, true), "Unmanaged"),
    ] {
        let mut spec = json!({});
        let own = format!("users{}", name.replace('-', ""));
        if account.0 {
            spec["accountName"] = json!(own);
        }
        if container.0 {
            spec["container"] = json!("images-of-a-user");
        }
        let mut world = cluster(name, json!({"azure": spec})).await;
        if account.1 {
            world.users_account(&own);
        }
        if container.1 {
            world
                .azure()
                .make_container(&own, "images-of-a-user", &[])
                .await
                .unwrap();
        }
        world.converge().await;
        assert_eq!(world.state(), Some(state), "{name}");
        assert_eq!(world.count(CREATE), usize::from(!account.1), "{name}");
        assert_eq!(world.count("Container_Create"), usize::from(!container.1), "{name}");
        let expected = (
            if account.0 { own } else { world.account() },
            if container.0 {
                "images-of-a-user".to_owned()
            } else {
                world.container()
            },
        );
        assert_eq!(status(&world), expected, "{name}");
    }
    // A state that the user set stays.
    let mut world = cluster(
        "table-preset",
        json!({"azure": {"accountName": "userspreset"}, "managementState": "Managed"}),
    )
    .await;
    world.users_account("userspreset");
    world
        .azure()
        .make_container("userspreset", "users-preset-container", &[])
        .await
        .unwrap();
    world.edit(json!({"storage": {"azure": {"container": "users-preset-container"}}}));
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

// storage-azure 12
#[tokio::test]
async fn a_name_that_azure_does_not_allow_is_a_configuration_error_with_its_words() {
    let mut world = cluster("acct-invalid", json!({"azure": {"accountName": "MyAccount"}})).await;
    let error = world.pass().await.error.unwrap();
    assert_eq!(world.condition("StorageExists"), "Unknown/ConfigError");
    assert!(
        error.message.contains("MyAccount") && error.message.contains("lower"),
        "{error}"
    );
    assert!(error.message.contains("spec.storage.azure.accountName"), "{error}");
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-azure 13
#[tokio::test]
async fn a_check_of_the_name_that_fails_creates_nothing() {
    for (name, reply) in [
        ("acct-check-1", arm_error(404, "ResourceNotFound")),
        ("acct-check-2", Reply::new(404, "<html>")),
        ("acct-check-3", arm_error(500, "InternalError")),
    ] {
        let mut world = cluster(name, json!({"azure": {}})).await;
        world.answer("StorageAccounts_CheckNameAvailability", reply);
        assert!(world.pass().await.error.is_some());
        assert_eq!(world.condition("StorageExists"), "Unknown/AzureError");
        assert_eq!(world.changed(), Vec::<String>::new());
    }
    // Whoever may not ask creates the account all the same.
    let mut world = cluster("acct-check-4", json!({"azure": {}})).await;
    world.answer(
        "StorageAccounts_CheckNameAvailability",
        arm_error(403, "AuthorizationFailed"),
    );
    world.converge().await;
    assert_eq!(world.accounts(), [world.account()]);
}

// storage-azure 14, 53
#[tokio::test]
async fn a_creation_that_fails_or_never_ends_keeps_its_name() {
    let mut world = cluster("acct-fails", json!({"azure": {}})).await;
    world.answer(CREATE, arm_error(403, "AuthorizationFailed"));
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("Microsoft.Storage/storageAccounts/write"),
        "{error}"
    );
    let name = world.account();
    assert_eq!(world.storage_spec()["azure"]["accountName"], json!(name));
    world.restart();
    world.gate.pass();
    world.converge().await;
    assert_eq!((world.accounts(), status(&world).0), (vec![name.clone()], name));
    // An operation without an end is overdue after ten minutes.
    let mut world = alone("acct-never", json!({"azure": {}})).await;
    world.azure().long_running(CREATE, LongRunning::never());
    world.pass().await;
    world.azure().long_running(CREATE, LongRunning::default());
    for _ in 0..4 {
        let outcome = world.pass().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        world.later(std::time::Duration::from_mins(4));
    }
    let wait = world.pass().await.wait.unwrap();
    assert_eq!(wait.deadline, image_registry_operator::status::judge::Deadline::Passed);
    assert!(wait.message.contains("10 minutes"), "{}", wait.message);
    assert_eq!(world.storage_spec()["azure"]["accountName"], json!(world.account()));
    assert_eq!(world.count(CREATE), 1);
}

// storage-azure 53: an operation that fails is told with the service's words, and begun again
#[tokio::test]
async fn a_creation_that_ends_in_failure_is_told_and_tried_again() {
    let mut world = alone("acct-opfails", json!({"azure": {}})).await;
    world.azure().long_running(
        CREATE,
        LongRunning::polls(1)
            .failing("QuotaExceeded", "too many accounts")
            .hidden(),
    );
    let mut told = String::new();
    for _ in 0..6 {
        if let Some(error) = world.pass().await.error {
            told = error.message;
            break;
        }
        world.later(std::time::Duration::from_secs(31));
    }
    assert!(told.contains("QuotaExceeded: too many accounts"), "{told}");
    world.azure().long_running(CREATE, LongRunning::default());
    world.later(std::time::Duration::from_mins(11));
    world.converge().await;
    assert_eq!(world.accounts(), [world.account()]);
}

// storage-azure section 6.2, storage-core 22, storage-decisions 8: once, whenever the process dies
#[tokio::test]
async fn a_process_that_dies_at_any_request_of_a_creation_leaves_one_account_and_one_container() {
    let deaths = at_each_death(async |death, at| {
        let mut world = cluster(&format!("dies-{at}-account"), json!({"azure": {}})).await;
        let died = super::conformance::dies(&mut world, death).await;
        world.converge().await;
        let account = world.account();
        assert_eq!(world.accounts(), std::slice::from_ref(&account), "{at}");
        let containers = world.azure().containers(&account).await.unwrap();
        assert_eq!(containers.len(), 1, "{at}");
        assert_eq!((world.state(), status(&world).0), (Some("Managed"), account), "{at}");
        world.request_removal();
        assert!(world.settle().await.done, "{at}");
        assert_eq!(world.accounts(), Vec::<String>::new(), "{at}");
        died
    });
    assert!(deaths.await >= 4);
}

// storage-azure 17
#[tokio::test]
async fn a_workload_identity_needs_no_keys_and_switches_them_off() {
    let mut world = keyless_cluster("keyless-new", json!({"azure": {}})).await;
    world.converge().await;
    assert_eq!(
        world.bodies(CREATE)[0]["properties"]["allowSharedKeyAccess"],
        json!(false)
    );
    assert_eq!(world.count("StorageAccounts_ListKeys"), 0);
    assert_eq!(world.count("StorageAccounts_Update"), 0, "the account never had keys");
    let account = world.azure().account(&world.account()).unwrap();
    assert_eq!(account["properties"]["allowSharedKeyAccess"], json!(false));
    // An account of the operator that has keys loses them; one of a user keeps them.
    for (name, tagged) in [("keyless-ours", true), ("keyless-users", false)] {
        let own = name.replace('-', "");
        let mut world = keyless_cluster(name, json!({"azure": {"accountName": own}})).await;
        let tags = if tagged {
            json!({mark(&world): "owned"})
        } else {
            Value::Null
        };
        world
            .azure()
            .make_account(&world.group, &own, &json!({"tags": tags}))
            .unwrap();
        world.converge().await;
        let account = world.azure().account(&own).unwrap();
        assert_eq!(
            account["properties"]["allowSharedKeyAccess"] == json!(false),
            tagged,
            "{account}"
        );
        assert_eq!(world.count("StorageAccounts_ListKeys"), 0);
    }
    let mut world = cluster("keyless-not", json!({"azure": {}})).await;
    world.converge().await;
    assert_eq!(world.count("StorageAccounts_Update"), 0);
    assert!(
        world.bodies(CREATE)[0]["properties"]
            .get("allowSharedKeyAccess")
            .is_none()
    );
}

/// The registry's Deployment with these variables.
fn deploy(world: &mut AzureCluster, variables: &[&str], rolled_out: bool) {
    let env: Vec<_> = variables
        .iter()
        .map(|name| json!({"name": name, "value": "x"}))
        .collect();
    let updated = if rolled_out { 2 } else { 1 };
    let reason = if rolled_out {
        "NewReplicaSetAvailable"
    } else {
        "ReplicaSetUpdated"
    };
    world.add(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE, "generation": 2},
        "spec": {"template": {"spec": {"containers": [{"name": "registry", "env": env}]}}},
        "status": {
            "observedGeneration": 2, "replicas": 2, "updatedReplicas": updated, "availableReplicas": 2,
            "conditions": [{"type": "Progressing", "status": "True", "reason": reason}],
        },
    }));
}

fn has_keys(world: &AzureCluster) -> bool {
    let account = world.azure().account(&world.account()).unwrap();
    account["properties"]["allowSharedKeyAccess"] != json!(false)
}

/// A cluster whose credentials changed from a client secret to a workload identity. Its pods still use the key.
async fn becomes_keyless(name: &str) -> AzureCluster {
    let mut world = cluster(name, json!({"azure": {}})).await;
    deploy(&mut world, &[USER_KEY], true);
    world.converge().await;
    world.with_workload_identity();
    world
}

// storage-azure 17, section 4.1: a pod that still uses a key must not lose it
#[tokio::test]
async fn keys_stay_until_the_last_pod_with_a_key_is_gone() {
    let mut world = becomes_keyless("keyless-later").await;
    // The registry's token is refused: the preflight fails.
    let token = world.cluster.token.replace("no-token-of-anybody".to_owned());
    for _ in 0..5 {
        let outcome = world.pass().await;
        assert!(outcome.error.is_some() || outcome.preflight.is_some(), "{outcome:?}");
        world.later(RESYNC);
    }
    assert!(has_keys(&world) && world.variable(USER_KEY).is_some());
    // The new pods log in with it.
    world.cluster.token.replace(token);
    world.restart();
    world.converge().await;
    assert!(world.variable(USER_KEY).is_none());
    let token_login = ["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"];
    for (variables, rolled_out) in [(&[USER_KEY][..], true), (&token_login, false)] {
        deploy(&mut world, variables, rolled_out);
        world.converge().await;
        assert!(has_keys(&world), "{variables:?}");
    }
    assert_eq!(world.count("StorageAccounts_Update"), 0);
    deploy(&mut world, &token_login, true);
    world.later(RESYNC);
    world.converge().await;
    assert!(!has_keys(&world));
    assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    assert!(
        world
            .events
            .iter()
            .any(|event| event.reason == "AzureSharedKeys" && !event.warning)
    );
    world.gate.forget();
    for _ in 0..5 {
        deploy(&mut world, &token_login, true);
        world.later(RESYNC);
        world.pass().await;
    }
    assert_eq!(world.calls(), Vec::<String>::new());
}

// storage-azure section 6.2: the Go operator disabled keys at the creation only, and a tool of a customer may use them since
#[tokio::test]
async fn keys_of_an_account_that_was_in_use_before_are_told_and_not_disabled() {
    let account = "imageregistryofgo2";
    let mut world = keyless_cluster("keyless-go", json!({"azure": {"accountName": account}})).await;
    world.converge().await;
    let keys = json!({"properties": {"allowSharedKeyAccess": true}});
    world.azure().change_resource(&world.id_of(account), &keys).unwrap();
    world.config["metadata"]["annotations"] = json!({});
    world.gate.forget();
    world.events.clear();
    let told = |world: &AzureCluster| {
        let events = world.events.iter().filter(|event| event.reason == "AzureSharedKeys");
        events.map(|event| event.message.clone()).collect::<Vec<_>>()
    };
    for times in [1, 2] {
        world.restart();
        for _ in 0..3 {
            deploy(&mut world, &["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"], true);
            world.converge().await;
            world.later(RESYNC);
        }
        assert_eq!(told(&world).len(), times, "once for each leader");
        let found = world.azure().account(account).unwrap();
        assert_eq!(found["properties"]["allowSharedKeyAccess"], json!(true));
        assert_eq!(world.count("StorageAccounts_Update"), 0);
        assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    }
    let command = format!("az storage account update --name {account} ");
    assert!(told(&world)[0].contains(&command), "{:?}", told(&world));
}

// A Config that was restored without its annotations: the account has the name that the operator gives.
#[tokio::test]
async fn keys_of_the_operators_own_account_are_disabled_though_its_record_is_lost() {
    let mut world = keyless_cluster("keyless-own", json!({"azure": {}})).await;
    world.converge().await;
    let keys = json!({"properties": {"allowSharedKeyAccess": true}});
    world
        .azure()
        .change_resource(&world.id_of(&world.account()), &keys)
        .unwrap();
    world.config["metadata"]["annotations"] = json!({});
    world.restart();
    deploy(&mut world, &["AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"], true);
    world.converge().await;
    assert!(!has_keys(&world));
}

// storage-azure section 6.2: a policy of the subscription may take the change back
#[tokio::test]
async fn keys_that_a_policy_keeps_are_told_and_not_disabled_in_a_loop() {
    let mut world = becomes_keyless("keyless-policy").await;
    world.converge().await;
    let account = world.azure().account(&world.account()).unwrap().to_string();
    world.answer(
        "StorageAccounts_Update",
        Reply::new(200, &account).header("content-type", "application/json"),
    );
    world.later(RESYNC);
    let mut quick = 0;
    for _ in 0..5 {
        deploy(&mut world, &["AZURE_FEDERATED_TOKEN_FILE"], true);
        let outcome = world.pass().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        quick += usize::from(outcome.wait.is_some());
    }
    assert_eq!((world.count("StorageAccounts_Update"), quick), (1, 0));
    assert_eq!(world.condition("StorageExists"), "True/ContainerExists");
    let told = |world: &AzureCluster| {
        let events = world.events.iter();
        events
            .filter(|event| event.reason == "AzureSharedKeys" && event.warning && event.message.contains("policies"))
            .count()
    };
    assert_eq!(told(&world), 1);
    world.gate.pass();
    world.later(RESYNC);
    deploy(&mut world, &["AZURE_FEDERATED_TOKEN_FILE"], true);
    world.pass().await;
    assert!(!has_keys(&world));
}

// storage-azure section 6.3
#[tokio::test]
async fn a_provider_that_is_not_registered_is_told_with_the_remedy() {
    let mut world = cluster("acct-provider", json!({"azure": {}})).await;
    world.answer(CREATE, arm_error(409, "MissingSubscriptionRegistration"));
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("register resource provider Microsoft.Storage"),
        "{error}"
    );
}

// storage-core 14: the loss is reported before the account is created again
#[tokio::test]
async fn an_account_that_vanished_is_reported_before_it_is_created_again() {
    let mut world = cluster("acct-lost", json!({"azure": {}})).await;
    world.converge().await;
    let id = format!(
        "{}/providers/Microsoft.Storage/storageAccounts/{}",
        world.group,
        world.account()
    );
    world.azure().delete_resource(&id);
    world.gate.forget();
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    assert_eq!(world.accounts(), [world.account()]);
    assert!(
        world
            .events
            .iter()
            .any(|event| event.reason == "StorageLost" && event.message.contains("images"))
    );
    assert!(world.annotation(names::STORAGE_STAGES_ANNOTATION).is_some());
}

// storage-azure 52
#[tokio::test]
async fn throttling_is_waited_for_as_told_and_then_left_to_a_later_pass() {
    let world = cluster("acct-throttled", json!({"azure": {}})).await;
    let before = world.process.slept.load(std::sync::atomic::Ordering::Relaxed);
    let mut seen = 0;
    world.gate.rule(move |asked| {
        if call(asked) != "StorageAccounts_GetProperties" {
            return Fault::Pass;
        }
        seen += 1;
        if seen <= 2 {
            Fault::Answer(arm_error(429, "TooManyRequests").header("retry-after", "5"))
        } else {
            Fault::Pass
        }
    });
    assert!(world.step().await.error.is_none());
    assert_eq!(world.count("StorageAccounts_GetProperties"), 3);
    assert_eq!(
        world.process.slept.load(std::sync::atomic::Ordering::Relaxed) - before,
        10
    );
    world.answer(
        "StorageAccounts_GetProperties",
        arm_error(429, "TooManyRequests").header("retry-after", "5"),
    );
    world.gate.forget();
    assert!(world.step().await.error.is_some());
    assert_eq!(
        world.count("StorageAccounts_GetProperties"),
        3,
        "three attempts in total"
    );
}
