//! The container: existence, creation, ownership, and the account key of a user.

use std::sync::atomic::Ordering;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, USER_KEY, blob_error, cluster};
use super::conformance::{Death, dies};

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

// storage-decisions T15: an account that keeps versions keeps none of the probe objects
#[tokio::test]
async fn versions_of_the_probe_objects_are_deleted_after_the_objects() {
    for (name, refused) in [
        ("cont-kept-1", None),
        ("cont-kept-2", Some((403, "AuthorizationPermissionMismatch"))),
        ("cont-kept-3", Some((409, "BlobImmutableDueToPolicy"))),
    ] {
        let own = name.replace('-', "");
        let mut world = cluster(name, json!({"azure": {"accountName": own}})).await;
        world.users_account(&own);
        let (told, mut versions) = tokio::sync::mpsc::unbounded_channel();
        let mut number = 0;
        // Azurite keeps no versions.
        world.gate.rule(move |asked| match asked.operation().as_str() {
            "Blob_Delete" if asked.parameter("versionid").is_some() => Fault::Answer(match refused {
                Some((status, code)) => blob_error(status, code),
                None => Reply::new(202, ""),
            }),
            "BlockBlob_Upload" | "AppendBlob_Create" | "Blob_StartCopyFromURL" if asked.path.contains("_preflight") => {
                number += 1;
                let version = format!("2026-01-02T03:04:05.{number:07}Z");
                told.send((asked.path.clone(), version.clone())).unwrap();
                Fault::change(move |_, answer| {
                    answer.headers_mut().insert("x-ms-version-id", version.parse().unwrap());
                })
            }
            _ => Fault::Pass,
        });
        world.converge().await;
        assert!(world.running.is_some(), "{name}");
        let mut written = Vec::new();
        while let Ok(one) = versions.try_recv() {
            written.push(one);
        }
        assert_eq!(written.len(), 4, "an object, two uploads, and a copy: {written:?}");
        let asked = world.gate.asked();
        let deletions = asked.iter().filter(|one| one.operation() == "Blob_Delete");
        let (plain, of_versions): (Vec<_>, Vec<_>) = deletions.partition(|one| one.parameter("versionid").is_none());
        for (path, version) in &written {
            let deleted = of_versions
                .iter()
                .find(|one| one.path == *path && one.parameter("versionid").as_deref() == Some(version));
            let deleted = deleted.unwrap_or_else(|| panic!("{name}: version {version} of {path} stays"));
            let before = plain.iter().filter(|one| one.path == *path).map(|one| one.number).max();
            assert!(
                before.is_some_and(|number| number < deleted.number),
                "the current version cannot be deleted by its number"
            );
        }
        let kept = world
            .events
            .iter()
            .any(|event| event.message.contains("deleteBlobVersion"));
        assert_eq!(kept, refused.is_some(), "{name}: {:?}", world.events);
        assert!(world.annotation(names::STORAGE_PROBE_ANNOTATION).is_none());
    }
}

// storage-decisions T15: what an earlier process left, with its versions
#[tokio::test]
async fn a_probe_of_a_dead_process_is_deleted_with_its_versions() {
    let mut world = cluster("cont-left", json!({"azure": {"accountName": "contleft"}})).await;
    world.users_account("contleft");
    assert!(dies(&mut world, Death::AfterProbe).await);
    assert!(world.annotation(names::STORAGE_PROBE_ANNOTATION).is_some());
    world.gate.forget();
    let uid = super::conformance::preflight::PROBE;
    let entry = |name: &str, version: &str| format!("<Blob><Name>{name}</Name><VersionId>{version}</VersionId></Blob>");
    let page = |entries: String, next: &str| {
        Reply::new(
            200,
            &format!(
                "<EnumerationResults><Blobs>{entries}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
            ),
        )
    };
    let foreign = entry(&format!("/{uid}0-of-somebody"), "2026-01-02T03:04:05.0000002Z");
    let pages = [
        page(
            entry(&format!("/{uid}"), "2026-01-02T03:04:05.0000001Z") + &foreign,
            "more",
        ),
        page(entry(&format!("/{uid}-copy"), "2026-01-02T03:04:05.0000003Z"), ""),
    ];
    world.gate.rule(move |asked| match asked.operation().as_str() {
        "Container_ListBlobFlatSegment" if asked.parameter("include").as_deref() == Some("versions") => {
            Fault::Answer(pages[usize::from(asked.parameter("marker").is_some())].clone())
        }
        "Blob_Delete" if asked.parameter("versionid").is_some() => Fault::Answer(Reply::new(202, "")),
        _ => Fault::Pass,
    });
    world.converge().await;
    let asked = world.gate.asked();
    let deleted: Vec<_> = asked
        .iter()
        .filter(|one| one.operation() == "Blob_Delete")
        .filter_map(|one| one.parameter("versionid"))
        .collect();
    assert_eq!(
        deleted,
        ["2026-01-02T03:04:05.0000001Z", "2026-01-02T03:04:05.0000003Z"],
        "only of its own objects"
    );
    assert!(world.annotation(names::STORAGE_PROBE_ANNOTATION).is_none());
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
