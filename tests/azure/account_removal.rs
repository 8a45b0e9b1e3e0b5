//! Removal of the account: deletions that Azure carries out later, what keeps an account, and missing rights.

use devcluster::stores::{LongRunning, OperationHeaders};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, alone, keyless_alone};
use super::conformance::RESYNC;
use super::private::{internal, network, owned_tag};
use super::removal::{assert_gone, owned};

const DELETE: &str = "StorageAccounts_Delete";
const DELETE_CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/delete";

/// A cluster with its storage, and without the right to delete containers from now on.
async fn without_the_right(name: &str, private: bool, keyless: bool) -> AzureCluster {
    let storage = if private {
        internal(Value::Null)
    } else {
        json!({"azure": {}})
    };
    let mut world = if keyless {
        keyless_alone(name, storage).await
    } else {
        alone(name, storage).await
    };
    let tags = owned_tag(&world);
    network(&world, &world.group.clone(), &tags);
    world.converge().await;
    let role = super::stores::role();
    assert!(role.actions.iter().any(|action| action == DELETE_CONTAINERS));
    world.azure().deny(&world.operator);
    world
        .azure()
        .allow(&world.operator, &world.group, role.without(DELETE_CONTAINERS));
    world
}

// storage-azure 44: Azure denies by action
#[tokio::test]
async fn a_role_without_the_right_to_delete_containers_does_not_keep_the_account() {
    for (name, private, keyless) in [
        ("gone-norole-1", false, true),
        ("gone-norole-2", true, true),
        ("gone-norole-3", true, false),
    ] {
        let mut world = without_the_right(name, private, keyless).await;
        let (account, container) = (world.account(), world.container());
        world.azure().fill(&account, &container, "/docker/", 2).await.unwrap();
        world.request_removal();
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        assert_gone(&world, "AccountDeleted");
        let needed = world.azure().needed(&world.operator.client_id);
        let denied = needed.iter().any(|one| one.action == DELETE_CONTAINERS && !one.granted);
        assert_eq!(
            denied, !private,
            "{name}: the container of a private account goes with it"
        );
    }
}

// storage-azure 44, 47: in an account that stays, there is nothing that the container could go with
#[tokio::test]
async fn without_the_right_to_delete_containers_an_account_that_stays_keeps_its_container() {
    for (name, private) in [("kept-norole-1", false), ("kept-norole-2", true)] {
        let mut world = without_the_right(name, private, true).await;
        let account = world.account();
        world.azure().make_container(&account, "of-a-user", &[]).await.unwrap();
        world.request_removal();
        let error = world.settle().await.error.unwrap();
        assert!(error.message.contains(DELETE_CONTAINERS), "{name}: {error}");
        assert_eq!(
            (
                world.azure().containers(&account).await.unwrap().len(),
                world.count(DELETE)
            ),
            (2, 0),
            "{name}"
        );
        // With the right, the removal goes on.
        let role = super::stores::role();
        world.azure().allow(&world.operator, &world.group, role);
        world.later(RESYNC);
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        assert_eq!(world.azure().containers(&account).await.unwrap().len(), 1, "{name}");
    }
}

// storage-azure section 10.3: a deletion that Azure accepts and carries out later is sent once
#[tokio::test]
async fn a_deletion_of_the_account_that_takes_its_time_is_waited_for() {
    for (name, headers) in [
        ("gone-long-1", OperationHeaders::AsyncOperation),
        ("gone-long-2", OperationHeaders::Location),
    ] {
        let mut world = alone(name, json!({"azure": {}})).await;
        world.converge().await;
        let how = LongRunning::polls(3).headers(headers).retry_after(Some(20));
        world.azure().long_running(DELETE, how);
        world.request_removal();
        let mut waited = 0;
        loop {
            let outcome = world.pass().await;
            assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
            if outcome.done {
                break;
            }
            let wait = outcome.wait.unwrap();
            if world.count(DELETE) > 0 && !wait.after.is_zero() {
                // As long as the service says. The record stays until the account is gone.
                assert_eq!(wait.after.as_secs(), 20, "{name}: {}", wait.message);
                assert!(world.annotation(names::STORAGE_STAGES_ANNOTATION).is_some(), "{name}");
                waited += 1;
            }
            world.later(wait.after);
        }
        assert_eq!((waited, world.count(DELETE)), (3, 1), "{name}: {:?}", world.calls());
        assert_gone(&world, "AccountDeleted");
    }
}

// storage-azure section 10.3: a deletion that Azure accepts and that fails later on
#[tokio::test]
async fn a_deletion_of_the_account_that_fails_later_on_is_told_and_repeated() {
    // Something of others may come into the account meanwhile: then it is kept.
    for (name, filled, code) in [
        ("gone-fails", false, "AccountIsLocked"),
        ("kept-fails", true, "AccountIsLocked"),
        // A passing cause is an error of this deletion all the same: nothing is under way any more.
        ("gone-busy", false, "StorageAccountOperationInProgress"),
        ("kept-busy", true, "StorageAccountOperationInProgress"),
    ] {
        let mut world = alone(name, json!({"azure": {}})).await;
        world.converge().await;
        let account = world.account();
        let failing = LongRunning::polls(1).failing(code, "a lock was found");
        world.azure().long_running(DELETE, failing);
        world.request_removal();
        let error = world.settle().await.error.unwrap();
        for told in [error.message.clone(), world.message("StorageExists")] {
            assert!(told.contains(&format!("{code}: a lock was found")), "{name}: {told}");
        }
        assert!(world.condition("StorageExists").starts_with("False/"), "{name}");
        assert!(world.annotation(names::STORAGE_STAGES_ANNOTATION).is_some(), "{name}");
        assert_eq!(world.status()["azure"]["accountName"], json!(account), "{name}");
        assert_eq!(
            (world.accounts(), world.count(DELETE)),
            (vec![account.clone()], 1),
            "{name}"
        );
        if filled {
            world.azure().make_container(&account, "of-a-user", &[]).await.unwrap();
        }
        world.azure().long_running(DELETE, LongRunning::polls(1));
        world.later(RESYNC);
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        if filled {
            assert_eq!((world.accounts(), world.count(DELETE)), (vec![account], 1), "{name}");
            let told = world.message("StorageExists");
            assert!(told.contains("of-a-user"), "{name}: {told}");
        } else {
            assert_eq!(world.count(DELETE), 2, "{name}");
            assert_gone(&world, "AccountDeleted");
        }
    }
}

// storage-azure 47: what kept the account does not count any more
#[tokio::test]
async fn an_account_that_is_emptied_during_the_removal_goes_and_is_not_said_to_be_left() {
    let mut world = owned("gone-emptied").await;
    let (account, container) = (world.account(), world.container());
    world.azure().make_container(&account, "of-a-user", &[]).await.unwrap();
    world.azure().fill(&account, &container, "/docker/", 300).await.unwrap();
    world.request_removal();
    assert!(!world.pass().await.done);
    world.azure().delete_container(&account, "of-a-user").await.unwrap();
    assert!(world.settle().await.done);
    assert_gone(&world, "AccountDeleted");
    let told = world.message("StorageExists");
    assert!(!told.contains("by hand"), "{told}");
    assert!(world.events.iter().all(|event| event.reason != "StorageKept"));
}
