//! Removal: the account goes if the operator made it and everything in it is the operator's.

use devcluster::stores::Fault;
use image_registry_operator::names;
use serde_json::json;

use super::cluster::{AzureCluster, arm_error, blob_error, call, cluster, is_read, keyless_cluster};
use super::conformance::at_each_death;

pub async fn owned(name: &str) -> AzureCluster {
    let mut world = cluster(name, json!({"azure": {}})).await;
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    world
}

/// Nothing is left in the Config, or in the cloud.
pub fn assert_gone(world: &AzureCluster, reason: &str) {
    assert_eq!(world.condition("StorageExists"), format!("False/{reason}"));
    assert_eq!(world.status(), &json!({}));
    let spec = &world.storage_spec()["azure"];
    assert!(
        spec.get("accountName").is_none() && spec.get("container").is_none(),
        "{spec}"
    );
    for annotation in [names::STORAGE_STAGES_ANNOTATION, names::STORAGE_CREATED_ANNOTATION] {
        assert_eq!(world.annotation(annotation), None);
    }
    assert_eq!(world.accounts(), Vec::<String>::new());
}

// storage-azure section 10.2
#[tokio::test]
async fn a_removal_deletes_blobs_container_and_account() {
    let mut world = owned("gone-all").await;
    let (account, container) = (world.account(), world.container());
    world.azure().fill(&account, &container, "/docker/", 3).await.unwrap();
    world.request_removal();
    assert!(world.settle().await.done);
    let expected = [
        "Blob_Delete",
        "Blob_Delete",
        "Blob_Delete",
        "Container_Delete",
        "StorageAccounts_Delete",
    ];
    assert_eq!(world.changed(), expected);
    assert_gone(&world, "AccountDeleted");
}

// storage-azure 42
#[tokio::test]
async fn unmanaged_storage_and_storage_without_a_name_are_left_alone() {
    let mut world = cluster(
        "gone-users",
        json!({"azure": {"accountName": "goneusers", "container": "images"}}),
    )
    .await;
    world.users_account("goneusers");
    world.azure().make_container("goneusers", "images", &[]).await.unwrap();
    world.converge().await;
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.gate.asked().len(), 0);
    assert_eq!(world.azure().containers("goneusers").await.unwrap().len(), 1);
    // As the Go operator leaves it when it ends after the deletion of the account.
    let mut world = owned("gone-unnamed").await;
    let azure = world.config["status"]["storage"]["azure"].as_object_mut().unwrap();
    azure.remove("accountName");
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.gate.asked().len(), 0);
    assert_eq!(world.condition("StorageExists"), "False/StorageNotConfigured");
}

// storage-azure 44
#[tokio::test]
async fn a_container_that_may_not_be_deleted_goes_with_the_account() {
    for (name, call, code) in [
        ("gone-auth-1", "Container_Delete", "AuthorizationFailure"),
        ("gone-auth-2", "Container_Delete", "AuthorizationPermissionMismatch"),
        ("gone-auth-3", "Container_ListBlobFlatSegment", "AuthorizationFailure"),
        ("gone-auth-4", "Container_GetProperties", "AuthorizationFailure"),
        ("gone-auth-5", "Blob_Delete", "AuthorizationPermissionMismatch"),
    ] {
        let mut world = owned(name).await;
        world
            .azure()
            .fill(&world.account(), &world.container(), "/docker/", 2)
            .await
            .unwrap();
        world.answer(call, blob_error(403, code));
        world.request_removal();
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        assert_gone(&world, "AccountDeleted");
    }
}

// storage-azure 44: in an account of a user there is nothing to go with
#[tokio::test]
async fn in_a_users_account_a_refused_deletion_names_the_missing_right() {
    let mut world = cluster("kept-auth", json!({"azure": {"accountName": "keptauth"}})).await;
    world.users_account("keptauth");
    world.converge().await;
    world
        .azure()
        .fill("keptauth", &world.container(), "/docker/", 2)
        .await
        .unwrap();
    world.answer("Blob_Delete", blob_error(403, "AuthorizationPermissionMismatch"));
    world.request_removal();
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("containers/blobs/delete"), "{error}");
    world.gate.pass();
    world.answer("Container_Delete", blob_error(403, "AuthorizationPermissionMismatch"));
    world.later(super::conformance::RESYNC);
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("blobServices/containers/delete"), "{error}");
    world.gate.pass();
    world.later(super::conformance::RESYNC);
    assert!(world.settle().await.done);
    assert_eq!(world.condition("StorageExists"), "False/ContainerDeleted");
    assert_eq!(world.storage_spec()["azure"], json!({"accountName": "keptauth"}));
    assert!(world.azure().account("keptauth").is_some());
}

// storage-azure 45, 46
#[tokio::test]
async fn an_account_that_is_gone_already_is_a_success() {
    for (name, answer) in [("gone-before-1", None), ("gone-before-2", Some("AccountNotFound"))] {
        for keyless in [false, true] {
            let infrastructure = format!("{name}-{keyless}");
            let mut world = if keyless {
                keyless_cluster(&infrastructure, json!({"azure": {}})).await
            } else {
                cluster(&infrastructure, json!({"azure": {}})).await
            };
            world.converge().await;
            let id = format!(
                "{}/providers/Microsoft.Storage/storageAccounts/{}",
                world.group,
                world.account()
            );
            world.azure().delete_resource(&id);
            world.restart();
            if let Some(code) = answer {
                // Whichever call is asked first.
                world.gate.rule(move |asked| {
                    if call(asked).starts_with("Container") {
                        Fault::Answer(blob_error(404, code))
                    } else {
                        Fault::Pass
                    }
                });
            }
            world.request_removal();
            assert!(
                world.settle().await.done,
                "{infrastructure}: {}",
                world.message("StorageExists")
            );
            assert_gone(&world, "AccountNotFound");
            assert_eq!(world.changed(), Vec::<String>::new());
        }
    }
}

// storage-azure 46
#[tokio::test]
async fn a_container_that_is_gone_already_does_not_stop_the_removal_of_the_account() {
    let mut world = owned("gone-cont").await;
    world
        .azure()
        .delete_container(&world.account(), &world.container())
        .await
        .unwrap();
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.changed(), ["StorageAccounts_Delete"]);
    assert_gone(&world, "AccountDeleted");
    // Other codes are errors.
    let mut world = owned("gone-code").await;
    world.answer("Container_Delete", blob_error(412, "LeaseIdMissing"));
    world.request_removal();
    let error = world.settle().await.error.unwrap();
    assert!(error.message.contains("LeaseIdMissing"), "{error}");
    assert_eq!(world.accounts(), [world.account()]);
}

// storage-azure 47, storage-decisions T2
#[tokio::test]
async fn an_account_that_is_not_all_the_operators_is_kept() {
    for name in [
        "kept-untagged",
        "kept-others",
        "kept-web",
        "kept-root",
        "kept-share",
        "kept-queue",
        "kept-table",
        "kept-unread",
        "kept-unrecorded",
    ] {
        let mut world = owned(name).await;
        let (account, container) = (world.account(), world.container());
        let id = world.id_of(&account);
        let azure = world.azure();
        match name {
            "kept-untagged" => azure.set_tags(&id, &json!({"team": "blue"})).unwrap(),
            "kept-others" => azure.make_container(&account, "of-a-user", &[]).await.unwrap(),
            "kept-web" => list_also(&world, "$web"),
            "kept-root" => list_also(&world, "$root"),
            "kept-share" => azure.make_beside(&id, "fileServices/shares", "pvc-1").unwrap(),
            "kept-queue" => azure.make_beside(&id, "queueServices/queues", "jobs").unwrap(),
            "kept-table" => azure.make_beside(&id, "tableServices/tables", "rows").unwrap(),
            "kept-unread" => {
                azure.deny(&world.operator);
                let role = super::stores::role().without("Microsoft.Storage/storageAccounts/fileServices/shares/read");
                azure.allow(&world.operator, &world.group, role);
            }
            _ => {
                let annotations = world.config["metadata"]["annotations"].as_object_mut().unwrap();
                annotations.remove(names::STORAGE_STAGES_ANNOTATION);
            }
        }
        world.request_removal();
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        assert_eq!(world.accounts(), std::slice::from_ref(&account), "{name}");
        let left = world.azure().containers(&account).await.unwrap();
        assert!(left.iter().all(|(left, _)| *left != container), "{name}");
        assert_eq!(world.condition("StorageExists"), "False/ContainerDeleted");
        assert_eq!(world.storage_spec()["azure"]["accountName"], json!(account), "{name}");
        // The administrator is told what is left and why, once, as for a container that is kept.
        let told = world.message("StorageExists");
        let kept = world.events.iter().filter(|event| event.reason == "StorageKept");
        let kept: Vec<_> = kept.map(|event| event.message.as_str()).collect();
        if name == "kept-unrecorded" {
            assert_eq!((kept.len(), told.contains("by hand")), (0, false), "{told}");
            continue;
        }
        assert_eq!(kept.len(), 1, "{name}: {kept:?}");
        for text in [told.as_str(), kept[0]] {
            let left = format!("storage account {account} (");
            assert!(text.contains(&left) && text.contains("by hand"), "{name}: {text}");
            let why = match name {
                "kept-untagged" => "no tag",
                "kept-others" => "of-a-user",
                "kept-web" => "$web",
                "kept-root" => "$root",
                "kept-share" => "pvc-1",
                "kept-queue" => "jobs",
                "kept-table" => "rows",
                _ => "fileServices/shares/read",
            };
            assert!(text.contains(why), "{name}: {text}");
        }
    }
}

/// Lists of containers have this one too.
fn list_also(world: &AzureCluster, container: &'static str) {
    world.gate.rule(move |asked| {
        if call(asked) != "BlobContainers_List" {
            return Fault::Pass;
        }
        Fault::change(move |_, answer| {
            let mut page: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            page["value"].as_array_mut().unwrap().push(json!({"name": container}));
            *answer.body_mut() = page.to_string().into_bytes().into();
            answer.headers_mut().remove("content-length");
        })
    });
}

// storage-azure 47: Azure's own containers are nobody's data
#[tokio::test]
async fn logs_and_metrics_of_azure_do_not_keep_an_account() {
    for (name, container) in [
        ("gone-logs", "$logs"),
        ("gone-feed", "$blobchangefeed"),
        ("gone-metrics", "$metricsHourPrimaryTransactionsBlob"),
    ] {
        let mut world = owned(name).await;
        list_also(&world, container);
        world.request_removal();
        assert!(world.settle().await.done);
        assert_gone(&world, "AccountDeleted");
    }
}

// storage-azure 47: an account of kind BlobStorage has no file shares, queues and tables
#[tokio::test]
async fn an_account_that_can_hold_nothing_else_is_deleted() {
    let mut world = owned("wait-kind").await;
    world.request_removal();
    world.gate.rule(|asked| match call(asked).as_str() {
        "FileShares_List" | "Queue_List" | "Table_List" => {
            Fault::Answer(arm_error(400, "FeatureNotSupportedForAccount"))
        }
        _ => Fault::Pass,
    });
    assert!(world.settle().await.done);
    assert_gone(&world, "AccountDeleted");
}

// storage-azure 47: a look that does not answer keeps the account for a later pass
#[tokio::test]
async fn an_account_is_not_deleted_before_all_in_it_was_looked_at() {
    for (name, operation) in [
        ("wait-cont", "BlobContainers_List"),
        ("wait-share", "FileShares_List"),
        ("wait-queue", "Queue_List"),
        ("wait-table", "Table_List"),
    ] {
        let mut world = owned(name).await;
        world.request_removal();
        world.answer(operation, arm_error(503, "ServiceUnavailable"));
        assert!(world.settle().await.error.is_some(), "{name}");
        assert_eq!(world.accounts(), [world.account()], "{name}");
        // Nor on a page that names a host of others, or has an entry without a name.
        for page in [
            json!({"value": [], "nextLink": "https://management.usgovcloudapi.net/next"}),
            json!({"value": [{"id": "x"}]}),
            json!({}),
        ] {
            let page = page.to_string();
            world.gate.rule(move |asked| {
                if call(asked) == operation {
                    return Fault::Answer(devcluster::stores::Reply::new(200, &page));
                }
                Fault::Pass
            });
            world.later(super::conformance::RESYNC);
            assert!(world.settle().await.error.is_some(), "{name}");
            assert_eq!(world.accounts(), [world.account()], "{name}");
        }
        let hosts: Vec<String> = world.gate.asked().into_iter().map(|asked| asked.host).collect();
        assert!(hosts.iter().all(|host| !host.contains("usgovcloudapi")), "{hosts:?}");
        world.gate.pass();
        world.later(super::conformance::RESYNC);
        assert!(world.settle().await.done);
        assert_gone(&world, "AccountDeleted");
    }
}

/// A cluster that the Go operator left: its account, and a container in it. The Config says that both are Managed.
async fn of_go(name: &str, container: &str) -> (AzureCluster, String) {
    let mut world = cluster(name, json!({"azure": {}})).await;
    let own = world.account();
    let account = format!("{}zzzzz", &own[..own.len() - 5]);
    let tags = json!({"tags": {format!("kubernetes.io_cluster.{name}"): "owned"}});
    world.azure().make_account(&world.group, &account, &tags).unwrap();
    world.azure().make_container(&account, container, &[]).await.unwrap();
    let azure = json!({"accountName": account, "container": container});
    world.edit(json!({"storage": {"azure": azure, "managementState": "Managed"}}));
    world.config["status"] = json!({
        "storage": {"azure": azure, "managementState": "Managed"}, "storageManaged": true,
        "conditions": [{"type": "StorageExists", "status": "True", "reason": "ContainerExists", "message": ""}],
    });
    world.config["status"]["storage"]["azure"]["networkAccess"] = json!({"type": "External"});
    world.converge().await;
    (world, account)
}

// storage-decisions T2: the tag of an account proves only what the Go operator creates
#[tokio::test]
async fn only_a_container_with_a_name_of_the_go_operator_goes_without_a_mark() {
    let (mut world, account) = of_go("takes-go", &format!("takes-go-image-registry-{}", "x".repeat(38))).await;
    world
        .azure()
        .fill(
            &account,
            world.config["status"]["storage"]["azure"]["container"]
                .as_str()
                .unwrap(),
            "/docker/",
            2,
        )
        .await
        .unwrap();
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert_eq!(world.azure().containers(&account).await.unwrap().len(), 0);
    assert_eq!(
        world.accounts(),
        std::slice::from_ref(&account),
        "its creation is not recorded"
    );
    for (name, container) in [
        ("takes-team", "team".to_owned()),
        ("takes-short", "takes-short-image-registry".to_owned()),
        (
            "takes-digits",
            format!("takes-digits-image-registry-{}", "7".repeat(34)),
        ),
    ] {
        let (mut world, account) = of_go(name, &container).await;
        world.azure().fill(&account, &container, "/", 2).await.unwrap();
        world.request_removal();
        world.settle().await;
        assert_eq!(
            world.azure().blobs(&account, &container).await.unwrap().len(),
            2,
            "{name}"
        );
        assert_eq!(world.changed(), Vec::<String>::new(), "{name}");
    }
}

// storage-decisions T1: the creation record that follows a consent counts only with the container's own mark
#[tokio::test]
async fn consent_for_a_container_of_the_go_operator_marks_the_container() {
    let (mut world, account) = of_go("takes-adopt", &format!("takes-adopt-image-registry-{}", "x".repeat(35))).await;
    let container = world.storage_spec()["azure"]["container"].as_str().unwrap().to_owned();
    let location = format!("AzurePublicCloud/{account}/{container}");
    world.annotate(names::ADOPT_STORAGE_ANNOTATION, &location);
    world.settle().await;
    assert_eq!(world.created(), Some(location.as_str()));
    let marks = &world.azure().containers(&account).await.unwrap()[0].1;
    assert_eq!(marks["openshiftclusterid"], json!("takes-adopt"));
    world.request_removal();
    assert!(world.settle().await.done, "{}", world.message("StorageExists"));
    assert_eq!(world.azure().containers(&account).await.unwrap().len(), 0);
}

// storage-decisions T2: this operator marks its containers, so that one without a mark is another one
#[tokio::test]
async fn a_container_that_was_restored_without_its_mark_is_not_the_operators() {
    for name in ["restored-record", "restored-lost"] {
        let mut world = owned(name).await;
        let (account, container) = (world.account(), world.container());
        let azure = world.azure();
        azure
            .set_container_metadata(&account, &container, &[("team", "x")])
            .await
            .unwrap();
        azure.fill(&account, &container, "/docker/", 2).await.unwrap();
        if name == "restored-lost" {
            let annotations = world.config["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.remove(names::STORAGE_CREATED_ANNOTATION);
        }
        // Not even with the account, when the container cannot be reached.
        for refused in [false, true] {
            if refused {
                world.answer("Container_GetProperties", blob_error(403, "AuthorizationFailure"));
            }
            world.request_removal();
            world.settle().await;
            assert_eq!(world.changed(), Vec::<String>::new(), "{name}");
            assert_eq!(world.azure().blobs(&account, &container).await.unwrap().len(), 2);
            world.later(super::conformance::RESYNC);
        }
    }
    // Nor with names of the Go operator's form, if the record says that this operator created it.
    let (mut world, account) = of_go("restored-go", &format!("restored-go-image-registry-{}", "x".repeat(35))).await;
    let container = world.storage_spec()["azure"]["container"].as_str().unwrap().to_owned();
    let location = format!("AzurePublicCloud/{account}/{container}");
    world.config["metadata"]["annotations"] = json!({names::STORAGE_CREATED_ANNOTATION: location});
    world.request_removal();
    world.settle().await;
    assert_eq!(world.changed(), Vec::<String>::new());
}

// storage-decisions T2, statement 4: without the right to read the mark nothing is deleted, and the right is named
#[tokio::test]
async fn an_account_whose_tags_cannot_be_read_proves_nothing() {
    let (mut world, account) = of_go("takes-403", &format!("takes-403-image-registry-{}", "x".repeat(37))).await;
    world.answer("StorageAccounts_GetProperties", arm_error(403, "AuthorizationFailed"));
    world.restart();
    world.request_removal();
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("Microsoft.Storage/storageAccounts/read"),
        "{error}"
    );
    assert_eq!(world.changed(), Vec::<String>::new());
    assert_eq!(world.azure().containers(&account).await.unwrap().len(), 1);
}

// storage-azure section 10.2: an account that somebody deleted has no host any more
#[tokio::test]
async fn the_loss_of_an_account_without_a_host_is_seen_without_a_pause() {
    for keyless in [true, false] {
        let name = format!("nohost-{keyless}");
        let mut world = if keyless {
            keyless_cluster(&name, json!({"azure": {}})).await
        } else {
            cluster(&name, json!({"azure": {}})).await
        };
        world.converge().await;
        let old = world.account();
        let id = world.id_of(&old);
        world.azure().delete_resource(&id);
        if keyless {
            world.unscaled();
        } // Else the process still has the key.
        let before = world.slept();
        world.request_removal();
        let begun = std::time::Instant::now();
        assert!(world.settle().await.done, "{name}: {}", world.message("StorageExists"));
        assert!(begun.elapsed().as_secs() < 20, "{name}");
        assert_eq!(
            world.slept(),
            before,
            "{name}: no pause before Resource Manager answers"
        );
        assert_gone(&world, "AccountNotFound");
    }
    let mut world = keyless_cluster("nohost-used", json!({"azure": {}})).await;
    world.converge().await;
    let id = world.id_of(&world.account());
    world.azure().delete_resource(&id);
    world.unscaled();
    let before = world.slept();
    world.edit(json!({"replicas": 3}));
    world.pass().await;
    assert_eq!(world.count_lost(), 1);
    assert_eq!(world.slept(), before);
}

// storage-azure section 10.2, 45: names of accounts are global
#[tokio::test]
async fn a_wrong_resource_group_is_no_lost_account() {
    for keyless in [false, true] {
        for group in ["rg-nowhere", "rg-of-others"] {
            let name = format!("rg-{keyless}-{}", &group[3..]);
            let mut world = if keyless {
                keyless_cluster(&name, json!({"azure": {}})).await
            } else {
                cluster(&name, json!({"azure": {}})).await
            };
            world.converge().await;
            let account = world.account();
            let subscription = format!("/subscriptions/{}", world.cloud.subscription);
            world
                .azure()
                .allow(&world.operator, &subscription, super::stores::role());
            if group == "rg-of-others" {
                world
                    .azure()
                    .resource_group(&world.cloud.subscription, group, super::stores::REGION);
            }
            let secret = world.azure().add_secret(&world.operator).unwrap();
            world.storage.secrets.push(secret.clone());
            let login = if keyless {
                ("azure_federated_token_file", super::cluster::TOKEN_FILE)
            } else {
                ("azure_client_secret", secret.as_str())
            };
            world.mint(&[login, ("azure_resourcegroup", group)]);
            world.restart();
            world.edit(json!({"replicas": 3}));
            world.pass().await;
            assert_eq!(world.count_lost(), 0, "{name}");
            world.later(super::conformance::RESYNC);
            world.request_removal();
            let outcome = world.settle().await;
            let error = outcome.error.unwrap();
            assert!(
                !outcome.done && error.message.contains("azure_resourcegroup"),
                "{name}: {error}"
            );
            assert_eq!(world.storage_spec()["azure"]["accountName"], json!(account), "{name}");
            assert!(world.azure().account(&account).is_some());
        }
    }
}

// storage-decisions T2: nor may it go with a container that another cluster owns
#[tokio::test]
async fn an_account_with_another_clusters_container_is_kept() {
    let world = owned("kept-foreign").await;
    let (account, container) = (world.account(), world.container());
    let foreign = [("openshiftclusterid", "green-9")];
    world
        .azure()
        .set_container_metadata(&account, &container, &foreign)
        .await
        .unwrap();
    // Not even if the container itself cannot be read.
    for refused in [false, true] {
        if refused {
            world.answer("Container_GetProperties", blob_error(403, "AuthorizationFailure"));
        }
        let mut copy = cluster("kept-foreign", json!({"azure": {}})).await;
        copy.config = world.config.clone();
        copy.operator = world.operator.clone();
        if refused {
            copy.answer("Container_GetProperties", blob_error(403, "AuthorizationFailure"));
        }
        copy.request_removal();
        copy.settle().await;
        assert_eq!(copy.changed(), Vec::<String>::new());
        assert_eq!(world.azure().containers(&account).await.unwrap().len(), 1);
    }
}

// storage-azure 48
#[tokio::test]
async fn a_removal_goes_by_the_status_if_the_spec_names_nothing_any_more() {
    let mut world = owned("gone-spec").await;
    world.edit(json!({"storage": {"azure": null}}));
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.accounts(), Vec::<String>::new());
    assert_eq!(world.condition("StorageExists"), "False/AccountDeleted");
}

// storage-azure section 10.2: with a key alone only the container can go
#[tokio::test]
async fn with_a_users_key_managed_storage_loses_its_container_alone() {
    let mut world = cluster(
        "gone-key",
        json!({"azure": {"accountName": "gonekey", "container": "images"}, "managementState": "Managed"}),
    )
    .await;
    world.users_account("gonekey");
    let [key, _] = world.azure().account_keys("gonekey").unwrap();
    world.set_user_key(&key);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    world.request_removal();
    assert!(world.settle().await.done);
    assert_eq!(world.changed(), ["Container_Delete"]);
    assert_eq!(world.condition("StorageExists"), "False/ContainerDeleted");
    assert!(world.azure().account("gonekey").is_some());
}

// storage-azure section 10.3, storage-decisions T8
#[tokio::test]
async fn a_process_that_dies_at_any_request_of_a_removal_leaves_nothing() {
    let deaths = at_each_death(async |death, at| {
        let mut world = owned(&format!("dies-{at}-gone")).await;
        world
            .azure()
            .fill(&world.account(), &world.container(), "/docker/", 2)
            .await
            .unwrap();
        world.request_removal();
        let died = super::conformance::dies(&mut world, death).await;
        assert!(world.converge().await.done, "{at}");
        assert_eq!(world.accounts(), Vec::<String>::new(), "{at}");
        assert_eq!(world.status(), &json!({}), "{at}");
        died
    });
    assert!(deaths.await >= 6);
}

// storage-azure section 10.2
#[tokio::test]
async fn an_account_that_cannot_be_deleted_is_told_with_the_right() {
    let mut world = owned("gone-right").await;
    world.answer("StorageAccounts_Delete", arm_error(403, "AuthorizationFailed"));
    world.request_removal();
    let error = world.settle().await.error.unwrap();
    assert!(
        error.message.contains("Microsoft.Storage/storageAccounts/delete"),
        "{error}"
    );
    assert!(!is_read(
        &world
            .gate
            .asked()
            .into_iter()
            .rev()
            .find(|a| call(a) == "StorageAccounts_Delete")
            .unwrap()
    ));
    world.gate.pass();
    world.later(super::conformance::RESYNC);
    assert!(world.settle().await.done);
    assert_gone(&world, "AccountDeleted");
}

// storage-decisions T8: bounded steps
#[tokio::test]
async fn thousands_of_blobs_go_in_bounded_steps() {
    let mut world = owned("gone-many").await;
    world
        .azure()
        .fill(
            &world.account(),
            &world.container(),
            "/docker/registry/v2/blobs/",
            3_000,
        )
        .await
        .unwrap();
    world.request_removal();
    let mut most = 0;
    let mut before = 0;
    let done = loop {
        let outcome = world.pass().await;
        let deleted = world.count("Blob_Delete");
        most = most.max(deleted - before);
        before = deleted;
        if outcome.done || outcome.error.is_some() {
            break outcome.done;
        }
    };
    assert!(done, "{}", world.message("StorageExists"));
    assert_eq!((before, most), (3_000, 250));
}
