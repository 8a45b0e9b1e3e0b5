//! The resource key: found, created, checked, rotated.

use devcluster::stores::{Fault, Reply, When};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::IbmCluster;
use super::conformance::RESYNC;

const ROLE: &str = "crn:v1:bluemix:public:iam::::serviceRole:";

fn credentials(role: &str) -> Value {
    let keys = json!({"access_key_id": "an-id", "secret_access_key": "a-secret"});
    json!({"cos_hmac_keys": keys, "iam_role_crn": format!("{ROLE}{role}")})
}

// storage-ibmcos 19, 20
#[tokio::test]
async fn a_key_that_the_registry_cannot_use_is_refused_by_its_fault() {
    let mut told = Vec::new();
    for (name, given, expected) in [
        ("missing", Value::Null, "has no credentials"),
        ("no-hmac", json!({"apikey": "x"}), "no HMAC keys"),
        ("reader", credentials("Reader"), "serviceRole:Reader"),
        (
            "redacted",
            json!({"REDACTED": "REDACTED"}),
            "may not read its credentials",
        ),
    ] {
        let mut cluster = IbmCluster::with_instance(&format!("key-{name}"), json!({"ibmcos": {}})).await;
        let key = cluster.field("resourceKeyCRN").unwrap().to_owned();
        cluster.ibm.set_credentials(&key, given);
        let error = cluster.settle().await.error.unwrap().message;
        assert!(error.contains(expected) && error.contains(&key), "{error}");
        assert_eq!(cluster.created(), [] as [&str; 0], "{name}");
        told.push(error);
    }
    // Of another instance.
    let mut cluster = IbmCluster::with_instance("key-foreign", json!({"ibmcos": {}})).await;
    let other = IbmCluster::with_instance("key-foreign-owner", json!({"ibmcos": {}})).await;
    let foreign = other.field("resourceKeyCRN").unwrap();
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": foreign}}}));
    let error = cluster.settle().await.error.unwrap().message;
    assert!(
        error.contains("another service instance") && error.contains(&other.instance()),
        "{error}"
    );
    told.push(error);
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 5, "five distinct errors");
    // The role Manager suffices: `with_instance` makes such keys.
    let mut cluster = IbmCluster::with_instance("key-manager", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    assert_eq!(cluster.created(), ["CreateBucket"]);
}

// storage-ibmcos 20
#[tokio::test]
async fn an_api_key_that_may_not_read_credentials_is_told() {
    let mut cluster = IbmCluster::with_instance("key-hidden", json!({"ibmcos": {}})).await;
    cluster.ibm.redact(&cluster.api_key, true);
    let error = cluster.settle().await.error.unwrap().message;
    assert!(error.contains("API key may not read"), "{error}");
    cluster.ibm.redact(&cluster.api_key, false);
}

// storage-ibmcos 21
#[tokio::test]
async fn a_key_of_the_operators_name_is_used_if_the_registry_can_use_it() {
    for (name, role, usable) in [("key-found", "Writer", true), ("key-found-weak", "Reader", false)] {
        let mut cluster = IbmCluster::new(name, json!({"ibmcos": {}})).await;
        let instance = cluster.make_instance();
        let key = cluster
            .ibm
            .make_key(&instance, &cluster.resource_name(), role)
            .await
            .unwrap();
        // Beside eleven others: the list has pages.
        for number in 0..11 {
            cluster
                .ibm
                .make_key(&instance, &format!("other-{number}"), "Writer")
                .await
                .unwrap();
        }
        cluster.converge().await;
        assert_eq!(cluster.field("resourceKeyCRN") == Some(key.as_str()), usable, "{name}");
        assert_eq!(cluster.count_of("create_resource_key"), usize::from(!usable));
    }
}

// storage-ibmcos 30, 32, storage-core 34
#[tokio::test]
async fn the_registry_gets_the_hmac_keys_of_the_key_that_the_spec_names() {
    let mut cluster = IbmCluster::new("key-rotated", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let text = |cluster: &IbmCluster, crn: &str| {
        let keys = cluster.ibm.hmac(crn).unwrap();
        format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            keys.id, keys.secret
        )
    };
    let first = cluster.field("resourceKeyCRN").unwrap().to_owned();
    assert_eq!(cluster.file(), text(&cluster, &first));
    let facts = format!("{:?}", cluster.running.as_ref().unwrap());
    assert!(!facts.contains(&cluster.api_key) && !cluster.file().contains(&cluster.api_key));
    let second = cluster
        .ibm
        .make_key(&cluster.instance(), "of-an-administrator", "Writer")
        .await
        .unwrap();
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": second}}}));
    cluster.converge().await;
    assert_eq!(cluster.file(), text(&cluster, &second));
    assert_eq!(
        (cluster.state(), cluster.status()["ibmcos"]["resourceKeyCRN"].as_str()),
        (Some("Managed"), Some(second.as_str()))
    );
    assert_eq!(
        cluster.created().iter().filter(|name| *name == "CreateBucket").count(),
        1
    );
}

// storage-ibmcos 30, T16, T18: the keys in use stay while their service does not answer
#[tokio::test]
async fn the_registry_keeps_its_keys_while_resource_controller_is_out_of_order() {
    let mut cluster = IbmCluster::new("key-outage", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let running = cluster.running.clone();
    cluster.restart();
    cluster
        .gate
        .plan(When::operation("get_resource_key"), Fault::Answer(Reply::new(503, "")));
    cluster.edit(json!({"replicas": 3}));
    let outcome = cluster.pass().await;
    assert!(outcome.facts.is_none() && outcome.error.is_some());
    assert_eq!(outcome.freeze, image_registry_operator::storage::Freeze::Storage);
    cluster.gate.pass();
    cluster.later(RESYNC);
    cluster.converge().await;
    assert_eq!(cluster.running, running);
    // One read of the key per process.
    cluster.gate.forget();
    for _ in 0..5 {
        cluster.later(RESYNC);
        cluster.pass().await;
    }
    assert_eq!(cluster.count_of("get_resource_key"), 0);
}

// A key that was deleted is replaced; the bucket and its record stay.
#[tokio::test]
async fn a_key_that_is_gone_is_replaced_without_a_loss() {
    let mut cluster = IbmCluster::new("key-gone", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let (old, file) = (cluster.field("resourceKeyCRN").unwrap().to_owned(), cluster.file());
    let record = cluster
        .annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION)
        .map(str::to_owned);
    cluster.ibm.remove_key(&old);
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}}));
    cluster.converge().await;
    let new = cluster.field("resourceKeyCRN").unwrap();
    assert_ne!((new, cluster.file()), (old.as_str(), file));
    assert_eq!(
        cluster
            .events
            .iter()
            .filter(|event| event.reason == "StorageLost")
            .count(),
        0
    );
    assert_eq!(
        cluster
            .annotation(names::STORAGE_CREATED_UNMARKED_ANNOTATION)
            .map(str::to_owned),
        record
    );
    assert_eq!(cluster.state(), Some("Managed"));
}

// D1: under an explicit Unmanaged nothing is created, a credential neither.
#[tokio::test]
async fn no_key_is_created_under_unmanaged() {
    let storage = json!({"ibmcos": {"bucket": "no-key-users"}, "managementState": "Unmanaged"});
    let mut cluster = IbmCluster::with_instance("no-key", storage).await;
    cluster
        .ibm
        .make_bucket(&cluster.instance(), "no-key-users")
        .await
        .unwrap();
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}}));
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("resource key"), "{error}");
    assert_eq!(cluster.created(), [] as [&str; 0]);
}
