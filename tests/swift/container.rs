//! A container is created, used and lost.

use devcluster::stores::{Fault, Reply};
use image_registry_operator::api::Kind;
use image_registry_operator::config::resolve::Reason;
use image_registry_operator::names;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::{SwiftCluster, is_of_keystone};
use super::conformance::{BackendUnderTest as _, Sent, assert_one_owned, brought, owned};

// storage-swift 1, storage-core 25
#[tokio::test]
async fn a_new_container_is_looked_for_created_and_then_marked() {
    let mut site = SwiftCluster::new("first-a1", json!({"swift": {}})).await;
    let outcome = site.pass().await;
    assert!(
        outcome.facts.is_some() && !outcome.reconfigured,
        "{outcome:#?} {:#?}",
        site.gate.asked()
    );
    assert_eq!(site.condition("StorageExists"), "True/Swift Container Created");
    let operations = site.operations();
    let place = |name: &str| operations.iter().position(|operation| operation == name).unwrap();
    let order = [
        "HeadContainer",
        "PutContainer",
        "GetContainer",
        "PostContainer",
        "PutObject",
    ]
    .map(place);
    assert!(order.is_sorted(), "{operations:?}");
    let asked = site.gate.asked();
    let head = asked.iter().find(|asked| asked.operation() == "HeadContainer").unwrap();
    assert_eq!(head.status, 404);
    let mark = asked.iter().find(|asked| asked.operation() == "PostContainer").unwrap();
    assert_eq!(mark.header("x-container-meta-openshiftclusterid"), Some("first-a1"));
    assert_eq!(mark.header("x-container-meta-name"), Some("first-a1-image-registry"));
    assert_one_owned(&site, "new").await;
    assert_eq!(
        site.storage_spec(),
        &json!({"swift": {"container": "first-a1-image-registry"}, "managementState": "Managed"}),
        "what the cloud fills in is not written"
    );
    // storage-decisions 30, T18a
    site.edit(json!({"replicas": 3}));
    site.settle().await;
    assert_eq!(site.condition("StorageExists"), "True/Swift container Exists");
}

// storage-decisions T6, T1: the PUT would replace the mark of somebody who is faster
#[tokio::test]
async fn a_container_that_appears_between_check_and_creation_keeps_its_mark_and_its_objects() {
    for (infrastructure, state) in [("raced-a2", Value::Null), ("raced-a2m", json!("Managed"))] {
        let mut site = SwiftCluster::new(infrastructure, json!({"swift": {}, "managementState": state})).await;
        let name = site.generated();
        site.steps(1).await;
        site.create(&name).await;
        site.put(&name, "image").await;
        let mut first = true;
        site.disturb(move |asked| {
            let hidden = asked.operation() == "HeadContainer" && std::mem::take(&mut first);
            hidden.then(|| Fault::Answer(Reply::new(404, "").header("x-trans-id", "tx1")))
        });
        site.settle().await;
        assert_eq!(site.count("PutContainer"), 1, "{:#?}", site.gate.asked());
        assert_eq!((site.mark(&name).await, site.intent()), (None, None));
        site.edit(json!({"managementState": "Removed"}));
        site.settle().await;
        assert_eq!(cloud().await.objects(&name).await, ["image"]);
    }
}

// storage-swift 2, storage-core 15
#[tokio::test]
async fn a_container_that_a_user_brings_is_used_as_it_is() {
    let (mut site, name) = brought::<SwiftCluster>("users-a3", Value::Null, 1).await;
    let outcome = site.pass().await;
    assert!(outcome.facts.is_some());
    assert_eq!(site.condition("StorageExists"), "True/Container exists");
    assert_eq!(site.state(), Some("Unmanaged"));
    assert_eq!(site.count("PutContainer"), 0);
    assert!(!site.sent().contains(&Sent::Change), "{:?}", site.operations());
    assert_eq!(site.mark(&name).await, None);
}

// storage-swift 3, 4
#[tokio::test]
async fn a_state_that_is_set_stays_and_a_blank_one_follows_from_who_created() {
    for (infrastructure, exists, given, expected) in [
        ("state-a4-1", false, Value::Null, "Managed"),
        ("state-a4-2", true, Value::Null, "Unmanaged"),
        ("state-a4-3", true, json!("Managed"), "Managed"),
        ("state-a4-4", true, json!("Unmanaged"), "Unmanaged"),
        ("state-a4-5", false, json!("Managed"), "Managed"),
    ] {
        let name = format!("{infrastructure}-named");
        let storage = SwiftCluster::storage_with(Some(&name), given);
        let mut site = SwiftCluster::new(infrastructure, storage).await;
        if exists {
            site.create(&name).await;
        }
        site.converge().await;
        assert_eq!(site.state(), Some(expected), "{infrastructure}");
        assert_eq!(site.is_ours(&name).await, !exists, "{infrastructure}");
    }
}

// storage-swift 5
#[tokio::test]
async fn a_check_that_is_refused_creates_nothing() {
    let mut site = SwiftCluster::new("refused-a5", json!({"swift": {"container": "refused-a5-named"}})).await;
    site.refuse("HeadContainer", 403);
    let outcome = site.pass().await;
    assert!(outcome.error.is_some() && outcome.facts.is_none());
    assert_eq!(
        site.condition("StorageExists"),
        "False/Unable to check if container exists"
    );
    assert!(site.message("StorageExists").contains("operator_roles"));
    assert_eq!(site.count("PutContainer"), 0);
}

// storage-swift 6
#[tokio::test]
async fn a_creation_that_fails_is_repeated_under_the_same_name() {
    for (infrastructure, status) in [
        ("broken-a6", 500),
        ("denied-a6", 403),
        ("full-a6", 413),
        ("full-a6s", 507),
    ] {
        let mut site = SwiftCluster::new(infrastructure, json!({"swift": {}})).await;
        site.refuse("PutContainer", status);
        let outcome = site.pass().await;
        assert!(outcome.error.is_some() && outcome.facts.is_none());
        assert_eq!(site.condition("StorageExists"), "False/Creation Failed");
        let name = site.generated();
        assert_eq!(site.intent(), Some(site.location(&name).as_str()));
        let message = site.message("StorageExists");
        assert!(message.contains(&status.to_string()), "{message}");
        assert_eq!(message.contains("quota"), status == 413);
        site.pass_all();
        site.later(std::time::Duration::from_mins(11));
        site.converge().await;
        assert_one_owned(&site, infrastructure).await;
    }
}

// storage-swift 7
#[tokio::test]
async fn a_managed_container_that_vanished_is_created_again_and_the_loss_is_told() {
    let (mut site, name) = owned::<SwiftCluster>("lost-a7").await;
    site.delete(&name).await;
    site.edit(json!({"replicas": 3}));
    site.converge().await;
    assert_one_owned(&site, "created again").await;
    let lost: Vec<_> = site
        .events
        .iter()
        .filter(|event| event.reason == "StorageLost")
        .collect();
    assert!(matches!(lost.as_slice(), [event] if event.warning), "{lost:?}");
}

// storage-swift 8, storage-core 18
#[tokio::test]
async fn an_unmanaged_container_that_vanished_is_not_created_again() {
    let (mut site, name) = brought::<SwiftCluster>("lost-a8", Value::Null, 0).await;
    site.converge().await;
    site.delete(&name).await;
    site.edit(json!({"replicas": 3}));
    site.settle().await;
    assert_eq!(site.condition("StorageExists"), "False/Storage does not exist");
    assert_eq!(site.count("PutContainer"), 0);
    assert!(!site.exists(&name).await);
}

// storage-swift 9, storage-decisions T4
#[tokio::test]
async fn another_spelling_of_the_url_is_recorded_and_another_keystone_is_a_switch() {
    let (mut site, name) = owned::<SwiftCluster>("moved-a9").await;
    let spelled = format!("{}/./v3/", site.keystone());
    site.edit(json!({"storage": {"swift": {"authURL": spelled}}}));
    let outcome = site.converge().await;
    assert!(!outcome.reconfigured && site.state() == Some("Managed"));
    assert_eq!(site.status()["swift"], json!({"authURL": spelled, "container": name}));
    assert_eq!(site.count("PutContainer"), 0);
    assert_eq!(site.count_events("StorageReconfigured"), 0);
    // The same servers under another name: not known to be the same.
    let port = site.gate.target().address.port();
    let other = format!("http://127.0.0.1:{port}");
    site.edit(json!({"storage": {"swift": {"authURL": format!("{other}/v3")}}}));
    let outcome = site.pass().await;
    assert!(outcome.error.is_some(), "the gate does not know this host");
    assert_eq!(site.status()["swift"]["authURL"], json!(spelled));
    assert!(site.is_ours(&name).await);
}

// storage-swift 19
#[tokio::test]
async fn a_wrong_field_ends_the_step_before_any_request() {
    let (mut site, _) = owned::<SwiftCluster>("wrong-a10").await;
    let running = site.running.clone();
    for (field, value) in [("authVersion", "abc"), ("authURL", "INVALID_URL"), ("container", "a/b")] {
        let before = site.storage_spec()["swift"].get(field).cloned().unwrap_or(Value::Null);
        site.edit(json!({"storage": {"swift": {field: value}}}));
        let outcome = site.pass().await;
        let error = outcome.error.unwrap();
        assert_eq!(error.class, ErrorClass::Invalid(Reason::InvalidConfig));
        assert!(
            error.message.contains(&format!("spec.storage.swift.{field}")),
            "{error}"
        );
        assert!(outcome.facts.is_none() && site.running == running);
        assert_eq!(site.gate.asked().len(), 0);
        site.edit(json!({"storage": {"swift": {field: before}}}));
        site.settle().await;
        site.forget();
    }
}

// storage-core 26, 33; issue 11: {pvc: {claim: ""}, swift: null} switches
#[tokio::test]
async fn one_edit_switches_to_a_claim_and_leaves_the_container() {
    let (mut site, name) = owned::<SwiftCluster>("claim-a14").await;
    site.put(&name, "image").await;
    site.edit(json!({"storage": {"pvc": {"claim": ""}, "swift": null}}));
    let outcome = site.converge().await;
    assert!(outcome.facts.is_some());
    let claim = json!({"claim": names::DEFAULT_CLAIM});
    assert_eq!(site.status(), &json!({"pvc": claim, "managementState": "Managed"}));
    assert_eq!(site.storage_spec()["pvc"], claim);
    let running = site.running.clone().unwrap();
    assert!(running.env.iter().all(|variable| !variable.name.contains("SWIFT")));
    assert_eq!(site.count_events("StorageReconfigured"), 1);
    assert!(site.changes().is_empty(), "{:?}", site.operations());
    // A removal is about the claim alone.
    site.edit(json!({"managementState": "Removed"}));
    site.pass().await;
    site.remove_object(Kind::PersistentVolumeClaim, names::DEFAULT_CLAIM);
    assert!(site.settle().await.done);
    assert_eq!(cloud().await.objects(&name).await, ["image"]);
    assert!(site.is_ours(&name).await);
}

// storage-swift 10; issue 11: a user's Secret beside a URL with another port, and the switch from a claim
#[tokio::test]
async fn with_the_users_secret_everything_else_comes_from_the_spec() {
    let cloud = cloud().await;
    let mut site = SwiftCluster::new("own-a11", json!({"pvc": {"claim": ""}})).await;
    // As a file has it: the registry reads the password without the newline, so the operator has to log in without it, too.
    let (user, password) = (cloud.project.user.clone(), format!("{}\n", cloud.project.password));
    site.set_secret(
        names::USER_SECRET,
        &[
            ("REGISTRY_STORAGE_SWIFT_USERNAME", &user),
            ("REGISTRY_STORAGE_SWIFT_PASSWORD", &password),
        ],
    );
    // The cloud of the platform's Secret is another one.
    site.set_cloud(
        json!({"auth_url": "http://nowhere.test.example:1/v3", "token": "x"}),
        json!({}),
    );
    let url = format!("{}/v3", site.keystone());
    let swift = json!({"authURL": url, "authVersion": "3", "container": "own-a11-named", "domain": "Default",
        "tenant": cloud.project.name});
    site.edit(json!({"storage": {"pvc": null, "swift": swift}}));
    site.converge().await;
    assert_eq!(site.state(), Some("Managed"));
    assert_eq!(site.status()["swift"], swift);
    for (name, expected) in [
        ("AUTHURL", format!("Text({url:?})")),
        ("AUTHVERSION", "Number(3)".to_owned()),
        ("DOMAIN", "Text(\"Default\")".to_owned()),
        ("TENANT", format!("Text({:?})", cloud.project.name)),
    ] {
        assert_eq!(site.variable(name), Some(expected), "{name}");
    }
    // Without the URL the field is named, and the registry runs on.
    site.edit(json!({"storage": {"swift": {"authURL": null}}}));
    let outcome = site.pass().await;
    assert!(outcome.error.unwrap().message.contains("spec.storage.swift.authURL"));
    assert!(outcome.facts.is_none());
}

// storage-core 24, storage-decisions 6: a named container of the same cloud is a switch
#[tokio::test]
async fn another_container_is_a_switch() {
    let (mut site, name) = owned::<SwiftCluster>("switch-a13").await;
    site.edit(json!({"storage": {"swift": {"container": "switch-a13-next"}}}));
    site.converge().await;
    assert_eq!(site.count_events("StorageReconfigured"), 1);
    assert!(site.exists(&name).await && site.is_ours("switch-a13-next").await);
    assert!(site.gate.asked().iter().filter(|asked| is_of_keystone(asked)).count() <= 2);
}

// Something in between answers without a body: that is no empty container.
#[tokio::test]
async fn an_answer_without_a_listing_makes_no_container_empty() {
    for status in [200, 204] {
        let mut site = SwiftCluster::new(&format!("blank-a19-{status}"), json!({"swift": {}})).await;
        let name = site.generated();
        site.create(&name).await;
        site.put(&name, "image").await;
        site.disturb(move |asked| {
            let contents = asked.operation() == "GetContainer" && !super::under_test::reads_mark(asked);
            contents.then(|| Fault::Answer(Reply::new(status, "")))
        });
        let outcome = site.settle().await;
        assert!(outcome.error.is_some(), "{status}");
        assert_eq!((site.mark(&name).await, site.intent()), (None, None), "{status}");
    }
}
