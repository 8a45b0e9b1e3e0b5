//! The resource key: found, created, checked, rotated.

use std::time::Duration;

use devcluster::stores::{Fault, Reply, When};
use serde_json::{Value, json};

use super::cluster::IbmCluster;
use super::conformance::{BackendUnderTest as _, RESYNC};

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
    for part in ["Administrator", "resource-controller.credential.retrieve_all"] {
        assert!(error.contains(part), "{error}");
    }
    cluster.ibm.redact(&cluster.api_key, false);
}

// With the role Editor a key can be created, and never be read: another one would not be read either.
#[tokio::test]
async fn no_key_is_created_beside_one_that_may_not_be_read() {
    let mut cluster = IbmCluster::new("key-hidden-own", json!({"ibmcos": {}})).await;
    cluster.ibm.redact(&cluster.api_key, true);
    for _ in 0..3 {
        let error = cluster.settle().await.error.unwrap().message;
        assert!(error.contains("platform role Administrator"), "{error}");
        // The CRN is forgotten, as with a Config that was deleted.
        cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}}));
        cluster.later(RESYNC);
    }
    assert_eq!(cluster.count_of("create_resource_key"), 1);
    let keys = cluster.ibm.keys(&cluster.instance());
    cluster.ibm.redact(&cluster.api_key, false);
    cluster.later(RESYNC);
    cluster.converge().await;
    assert_eq!(cluster.field("resourceKeyCRN"), keys.first().map(String::as_str));
    // A list that shows less than the key itself hides nothing.
    let mut cluster = IbmCluster::new("key-hidden-list", json!({"ibmcos": {}})).await;
    let instance = cluster.make_instance();
    let name = cluster.resource_name();
    let key = cluster.ibm.make_key(&instance, &name, "Writer").await.unwrap();
    let hidden = json!({"crn": key, "name": name, "state": "active", "source_crn": instance,
        "credentials": {"REDACTED": "REDACTED"}});
    let list = Fault::Answer(Reply::new(200, &json!({"resources": [hidden]}).to_string()));
    cluster
        .gate
        .plan(When::operation("list_resource_keys_for_instance"), list);
    cluster.converge().await;
    assert_eq!(cluster.field("resourceKeyCRN"), Some(key.as_str()));
    assert_eq!(cluster.count_of("create_resource_key"), 0);
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

// A key that was deleted is replaced; the bucket and its record stay. Nobody edits anything.
#[tokio::test]
async fn a_key_that_is_gone_is_noticed_and_replaced_without_a_loss() {
    for how in ["edited", "removed", "404", "unavailable"] {
        let mut cluster = IbmCluster::new(&format!("key-gone-{how}"), json!({"ibmcos": {}})).await;
        cluster.converge().await;
        let (old, file) = (cluster.field("resourceKeyCRN").unwrap().to_owned(), cluster.file());
        let record = cluster.created_record();
        cluster.ibm.remove_key(&old);
        // The live Secret is no reason to go on with it.
        cluster.publish_file();
        match how {
            "edited" => cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": null}}})),
            "removed" => cluster.restart(),
            "404" => {
                let path = old.replace(':', "%3A").replace('/', "%2F");
                let answer = Fault::Answer(Reply::new(404, "{}"));
                cluster
                    .gate
                    .plan(When::operation("get_resource_key").path(&path), answer);
                cluster.restart();
            }
            _ => {
                cluster.pass().await;
                cluster.serve(0);
                cluster.later(Duration::from_mins(3));
            }
        }
        cluster.converge().await;
        let new = cluster.field("resourceKeyCRN").unwrap();
        assert_ne!((new, cluster.file()), (old.as_str(), file), "{how}");
        assert_eq!(cluster.count_events("StorageLost"), 0, "{how}");
        assert_eq!(cluster.created_record(), record, "{how}");
        assert_eq!(cluster.state(), Some("Managed"), "{how}");
        assert_eq!(cluster.ibm.keys(&cluster.instance()), [new], "{how}");
        // Settled again: no request.
        cluster.gate.forget();
        cluster.pass().await;
        assert_eq!(cluster.operations(), [] as [&str; 0], "{how}");
    }
}

// D1: a credential that is gone under an explicit Unmanaged
#[tokio::test]
async fn a_key_that_is_gone_is_told_and_not_replaced_under_unmanaged() {
    let storage = json!({"ibmcos": {"bucket": "key-gone-users"}, "managementState": "Unmanaged"});
    let mut cluster = IbmCluster::with_instance("key-gone-unmanaged", storage).await;
    cluster
        .ibm
        .make_bucket(&cluster.instance(), "key-gone-users")
        .await
        .unwrap();
    cluster.converge().await;
    let key = cluster.field("resourceKeyCRN").unwrap().to_owned();
    cluster.ibm.remove_key(&key);
    cluster.restart();
    for _ in 0..3 {
        cluster.pass().await;
    }
    let error = cluster.settle().await.error.unwrap().message;
    assert!(error.contains("resource key") && error.contains("Unmanaged"), "{error}");
    assert_eq!(cluster.created(), [] as [&str; 0]);
    assert_eq!(cluster.field("resourceKeyCRN"), Some(key.as_str()));
}

// storage-ibmcos section 8 [B], T18, 20: the pair of the live Secret counts while nobody can be asked
#[tokio::test]
async fn a_restarted_operator_goes_on_with_the_live_keys_while_nobody_answers() {
    let busy = Fault::Answer(Reply::new(503, ""));
    for (name, operation, fault) in [
        ("live-keys-token", "create_token", Fault::Hang),
        ("live-keys", "get_resource_key", busy),
    ] {
        let mut cluster = IbmCluster::new(name, json!({"ibmcos": {}})).await;
        cluster.converge().await;
        cluster.publish_file();
        let running = cluster.running.clone();
        if operation == "create_token" {
            cluster.give_up_after(Duration::from_millis(100));
        } else {
            cluster.restart();
        }
        cluster.gate.plan(When::operation(operation), fault);
        let outcome = cluster.pass().await;
        assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
        assert_eq!((outcome.facts, &cluster.running), (running.clone(), &running), "{name}");
        cluster.pass().await;
        let told = cluster.condition("StorageExists");
        assert_eq!(
            told.starts_with("Unknown/"),
            operation == "create_token",
            "{name}: {told}"
        );
        assert_eq!(cluster.running, running, "{name}");
    }
    // The Secret of another key proves nothing.
    let mut cluster = IbmCluster::new("live-keys-of-another", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.publish_file();
    let next = cluster
        .ibm
        .make_key(&cluster.instance(), "another", "Writer")
        .await
        .unwrap();
    let failing = Fault::Answer(Reply::new(503, ""));
    let path = next.replace(':', "%3A").replace('/', "%2F");
    cluster
        .gate
        .plan(When::operation("get_resource_key").path(&path), failing);
    cluster.edit(json!({"storage": {"ibmcos": {"resourceKeyCRN": next}}}));
    let outcome = cluster.pass().await;
    assert!(outcome.facts.is_none() && outcome.error.is_some());
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
