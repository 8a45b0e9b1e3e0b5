//! The container: existence, creation, ownership, and the account key of a user.

use std::sync::atomic::Ordering;

use devcluster::stores::{Fault, Reply};
use serde_json::{Value, json};

use super::cluster::{AzureCluster, USER_KEY, blob_error, cluster};

// storage-azure 21, section 7.1: 62 characters that the CRD accepts. As docs/decisions/0021 has it, the name is looked for before
// the PUT, because it is not random.
#[tokio::test]
async fn the_name_of_a_container_that_the_operator_chooses_is_legal() {
    for infrastructure in ["cont-name-blue7", "COntNAME--x"] {
        let mut world = cluster(infrastructure, json!({"azure": {}})).await;
        world.converge().await;
        let name = world.storage_spec()["azure"]["container"].as_str().unwrap().to_owned();
        assert_eq!(name.len(), 62);
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(name.chars().all(legal) && !name.contains("--"), "{name}");
        assert!(!name.starts_with('-') && !name.ends_with('-'), "{name}");
        assert_eq!(world.count("Container_Create"), 1);
        let made = world.azure().containers(&world.account()).await.unwrap();
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].0, name);
    }
}

// storage-azure 22
#[tokio::test]
async fn only_the_services_code_says_that_a_container_is_missing() {
    let spec = json!({"azure": {"accountName": "contcode", "container": "missing"}});
    for (name, reply) in [
        ("cont-code-1", Reply::new(404, "<html>not here</html>")),
        ("cont-code-2", blob_error(404, "ResourceNotFound")),
    ] {
        let mut world = cluster(name, spec.clone()).await;
        let own = name.replace('-', "");
        world.edit(json!({"storage": {"azure": {"accountName": own}}}));
        world.users_account(&own);
        world.answer("Container_GetProperties", reply);
        let error = world.pass().await.error.unwrap();
        assert!(error.message.contains("containers/read"), "{name}: {error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/AzureError", "{name}");
        assert_eq!(world.count("Container_Create"), 0, "{name}: {:?}", world.calls());
    }
    let mut world = cluster("cont-code-3", spec).await;
    world.users_account("contcode");
    world.converge().await;
    assert_eq!((world.count("Container_Create"), world.state()), (1, Some("Managed")));
    let made = world.azure().containers("contcode").await.unwrap();
    assert_eq!(made[0].1["openshiftclusterid"], json!("cont-code-3"));
}

// storage-decisions T6: empty means without versions, too
#[tokio::test]
async fn a_container_that_holds_versions_only_is_not_empty() {
    let version = "<Blob><Name>/docker/a</Name><VersionId>2026-01-02T03:04:05.0000000Z</VersionId></Blob>";
    let page = format!("<EnumerationResults><Blobs>{version}</Blobs><NextMarker/></EnumerationResults>");
    for (name, answer, state) in [
        ("cont-versions", Reply::new(200, &page), "Unmanaged"),
        // Not every account has versions.
        ("cont-plain", blob_error(400, "InvalidQueryParameterValue"), "Managed"),
    ] {
        let own = name.replace('-', "");
        let mut world = cluster(name, json!({"azure": {"accountName": own}})).await;
        world.users_account(&own);
        let container = world.container();
        world.azure().make_container(&own, &container, &[]).await.unwrap();
        world.gate.rule(move |asked| {
            let all = asked.parameter("include").is_some_and(|all| all.contains("versions"));
            if all {
                Fault::Answer(answer.clone())
            } else {
                Fault::Pass
            }
        });
        world.converge().await;
        assert_eq!(world.state(), Some(state), "{name}");
    }
}

// storage-azure 23
#[tokio::test]
async fn wrong_keys_and_names_are_told_before_any_request() {
    let named = json!({"azure": {"accountName": "contwrong", "container": "images"}});
    let mut world = cluster("cont-wrong-1", named).await;
    world.set_user_key("not base64!");
    let error = world.pass().await.error.unwrap();
    assert!(
        error.message.contains(USER_KEY) && error.message.contains("base64"),
        "{error}"
    );
    assert_eq!(
        (world.calls(), world.condition("StorageExists")),
        (vec![], "Unknown/ConfigError".to_owned())
    );
    let mut world = cluster("cont-wrong-2", json!({"azure": {"accountName": "my account"}})).await;
    let error = world.pass().await.error.unwrap();
    assert!(
        error.message.contains("accountName") && world.calls().is_empty(),
        "{error}"
    );
}

/// A cluster whose administrator gave a key of this account.
async fn with_key(name: &str, spec: Value) -> AzureCluster {
    let own = name.replace('-', "");
    let mut world = cluster(name, json!({"azure": spec})).await;
    world.users_account(&own);
    let [key, _] = world.azure().account_keys(&own).unwrap();
    world.set_user_key(&key);
    world
}

// storage-azure 26
#[tokio::test]
async fn a_users_key_with_both_names_is_used_without_a_check_of_the_operators() {
    let mut world = with_key(
        "userkey-both",
        json!({"accountName": "userkeyboth", "container": "images"}),
    )
    .await;
    // Where the preflight cannot be run yet, nothing is asked at all.
    let account = "ServiceAccount";
    world.remove_object(image_registry_operator::api::Kind::ServiceAccount, "registry");
    world.pass().await;
    assert_eq!(world.gate.asked().len(), 0, "{account}: {:?}", world.calls());
    assert_eq!(world.condition("StorageExists"), "True/UserManaged");
    assert_eq!(world.state(), Some("Unmanaged"));
}

// storage-azure 26, workload 18
#[tokio::test]
async fn a_users_key_without_a_name_is_no_error() {
    for (name, spec, field) in [
        ("userkey-acct", json!({"container": "images"}), "accountName"),
        ("userkey-cont", json!({"accountName": "userkeycont"}), "container"),
        ("userkey-none", json!({}), "accountName"),
    ] {
        let mut world = with_key(name, spec).await;
        for _ in 0..3 {
            let outcome = world.pass().await;
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
            assert_eq!(world.condition("StorageExists"), "False/StorageNotConfigured");
            assert!(world.message("StorageExists").contains(field));
            world.later(std::time::Duration::from_mins(11));
        }
        assert_eq!((world.gate.asked().len(), world.status()), (0, &json!({})), "{name}");
    }
}

// storage-azure section 8.2, T18: the registry works with the user's key
#[tokio::test]
async fn a_users_key_reaches_the_registry_after_a_preflight() {
    let mut world = with_key(
        "userkey-works",
        json!({"accountName": "userkeyworks", "container": "images"}),
    )
    .await;
    world
        .azure()
        .make_container("userkeyworks", "images", &[])
        .await
        .unwrap();
    world.converge().await;
    let [key, _] = world.azure().account_keys("userkeyworks").unwrap();
    assert_eq!(world.variable(USER_KEY), Some(key));
    assert_eq!(
        world.azure().blobs("userkeyworks", "images").await.unwrap(),
        Vec::<String>::new()
    );
    assert!(
        world
            .calls()
            .iter()
            .all(|call| call.starts_with("Container") || call.contains("Blob")),
        "{:?}",
        world.calls()
    );
    assert_eq!(
        world.process.lookups[1].load(Ordering::Relaxed),
        0,
        "a user's key is not looked up"
    );
}
