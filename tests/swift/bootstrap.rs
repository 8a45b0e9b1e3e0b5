//! Whether Swift is the default storage of a new cluster: only an answer decides.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use image_registry_operator::storage;
use image_registry_operator::storage::model::error::ErrorClass;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::SwiftCluster;

/// The default of the platform: a storage, or the class of the error and its message. Each question is later than those before by
/// more than the operator waits between two.
async fn default_of(site: &SwiftCluster) -> Result<Value, (ErrorClass, String)> {
    static ASKED: AtomicI64 = AtomicI64::new(0);
    let clients = &site.storage.clients;
    let mut snapshot = site.snapshot.clone();
    snapshot.now += SignedDuration::from_mins(6 * ASKED.fetch_add(1, Ordering::SeqCst));
    site.storage.pass_time(&snapshot);
    match storage::platform_default(&snapshot, Some("OpenStack"), clients).await {
        Ok(storage) => Ok(serde_json::to_value(storage).unwrap()),
        Err(error) => {
            site.storage.assert_no_secret(&error.message);
            Err((error.class, error.message))
        }
    }
}

fn claim() -> Value {
    json!({"pvc": {"claim": "image-registry-storage"}})
}

async fn new(infrastructure: &str) -> SwiftCluster {
    SwiftCluster::new(infrastructure, json!({})).await
}

// storage-swift 28, 29, lifecycle 28, storage-core 5
#[tokio::test]
async fn swift_is_the_default_if_its_containers_can_be_listed() {
    let site = new("usable-b1").await;
    assert_eq!(default_of(&site).await, Ok(json!({"swift": {}})));
    assert_eq!(site.operations(), ["GetAccount"]);
    for status in [401, 403, 404, 405, 501] {
        site.refuse_as_swift("GetAccount", status);
        assert_eq!(default_of(&site).await, Ok(claim()), "{status}");
        // A proxy, or a page for the time of a maintenance, in place of Swift.
        site.refuse("GetAccount", status);
        assert_eq!(
            default_of(&site).await.unwrap_err().0,
            ErrorClass::Transient,
            "{status}"
        );
    }
    // No object store in the catalogue.
    let project = cloud().await.stack.keystone.project("bare-b1").await.unwrap();
    cloud().await.stack.keystone.hide_object_store(&project).await.unwrap();
    let mut bare = new("bare-b1").await;
    bare.never_show(&project.password);
    let auth = json!({"username": project.user, "password": project.password, "project_name": project.name,
        "user_domain_name": "Default"});
    bare.set_cloud(auth, json!({}));
    assert_eq!(default_of(&bare).await, Ok(claim()));
    assert_eq!(bare.operations(), Vec::<String>::new());
    // Another region.
    let mut elsewhere = new("elsewhere-b1").await;
    elsewhere.set_cloud(cloud().await.password(), json!({"region_name": "Nowhere"}));
    assert_eq!(default_of(&elsewhere).await, Ok(claim()));
}

// storage-swift 29, lifecycle 29, issue 11: never the claim by mistake
#[tokio::test]
async fn an_outage_never_chooses_the_claim() {
    let site = new("outage-b2").await;
    for status in [429, 498, 500, 502, 503, 504, 507] {
        site.refuse("GetAccount", status);
        let (class, message) = default_of(&site).await.unwrap_err();
        assert_eq!(class, ErrorClass::Transient, "{status}: {message}");
    }
    for body in ["<html>login</html>", "{}", ""] {
        site.disturb(move |asked| (asked.operation() == "GetAccount").then(|| Fault::Answer(Reply::new(200, body))));
        assert_eq!(default_of(&site).await.unwrap_err().0, ErrorClass::Transient, "{body}");
    }
    site.pass_all();
    assert_eq!(default_of(&site).await, Ok(json!({"swift": {}})));
}

// storage-core 6, lifecycle 29
#[tokio::test]
async fn a_keystone_that_refuses_or_fails_is_an_error() {
    for (n, status, class) in [
        (1, 401, ErrorClass::NoAccess),
        (2, 403, ErrorClass::NoAccess),
        (3, 500, ErrorClass::Transient),
        (4, 503, ErrorClass::Transient),
        (5, 429, ErrorClass::Transient),
    ] {
        let site = new(&format!("keystone-b3-{n}")).await;
        site.refuse("POST /v3/auth/tokens", status);
        assert_eq!(default_of(&site).await.unwrap_err().0, class, "{status}");
        site.pass_all();
        assert_eq!(default_of(&site).await, Ok(json!({"swift": {}})));
    }
    // Without a project the catalogue is empty, whatever the cloud has; and a URL of something else.
    let mut site = new("unscoped-b3").await;
    let mut auth = cloud().await.password();
    auth.as_object_mut().unwrap().remove("project_name");
    site.set_cloud(auth, json!({}));
    assert_eq!(default_of(&site).await.unwrap_err().0, ErrorClass::ActionRequired);
    let mut auth = cloud().await.password();
    auth["auth_url"] = json!(format!("{}/horizon/v3", site.keystone()));
    site.set_cloud(auth, json!({}));
    assert_eq!(default_of(&site).await.unwrap_err().0, ErrorClass::ActionRequired);
    // A wrong password.
    let mut site = new("wrong-b3").await;
    let mut auth = cloud().await.password();
    auth["password"] = json!("another-word");
    site.never_show("another-word");
    site.set_cloud(auth, json!({}));
    let (class, message) = default_of(&site).await.unwrap_err();
    assert_eq!(class, ErrorClass::NoAccess);
    assert!(message.contains("401"), "{message}");
}

// storage-swift 49, issue 11: an answer after a minute
#[tokio::test]
async fn a_keystone_or_a_swift_that_does_not_answer_is_an_error_in_bounded_time() {
    for operation in ["POST /v3/auth/tokens", "GetAccount"] {
        let mut site = new("silent-b4").await;
        site.give_up_after(Duration::from_secs(2));
        if operation == "GetAccount" {
            // The login comes first, so that nothing else is late. A busy machine needs several attempts.
            for _ in 0..20 {
                if default_of(&site).await.is_ok() {
                    break;
                }
            }
            site.gate.forget();
        }
        site.disturb(move |asked| (asked.operation() == operation).then_some(Fault::Hang));
        let ended = tokio::time::timeout(Duration::from_secs(20), default_of(&site)).await;
        assert_eq!(ended.unwrap().unwrap_err().0, ErrorClass::Transient, "{operation}");
        // The caller tries again, so that the cause is reported after one timeout.
        let asked = site.gate.asked();
        let silent = asked.iter().filter(|asked| asked.operation() == operation);
        assert_eq!(silent.count(), 1, "{operation}");
    }
}

// storage-swift 30, storage-core 6
#[tokio::test]
async fn without_credentials_nothing_is_chosen() {
    let mut site = new("without-b5").await;
    site.remove_object(
        image_registry_operator::api::Kind::Secret,
        "installer-cloud-credentials",
    );
    let (class, message) = default_of(&site).await.unwrap_err();
    assert_eq!(class, ErrorClass::NoAccess);
    assert!(
        message.contains("openshift-image-registry/installer-cloud-credentials"),
        "{message}"
    );
    site.set_cloud(json!({"username": "u"}), json!({}));
    assert_eq!(default_of(&site).await.unwrap_err().0, ErrorClass::NoAccess);
    assert_eq!(site.gate.asked().len(), 0);
}

// storage-swift section 9, storage-core 1: the same question for a Config without a backend
#[tokio::test]
async fn a_config_without_a_backend_gets_swift_and_the_registry_comes_up() {
    let mut site = new("blank-b6").await;
    site.converge().await;
    assert_eq!(
        site.storage_spec(),
        &json!({"swift": {"container": site.generated()}, "managementState": "Managed"})
    );
    assert!(site.running.is_some());
    // An outage leaves everything as it is.
    let mut site = new("blank-b6b").await;
    site.refuse("GetAccount", 503);
    let outcome = site.pass().await;
    assert_eq!(outcome.error.unwrap().class, ErrorClass::Transient);
    assert_eq!(site.storage_spec(), &json!({}));
}

// storage-swift section 9: any change in the cluster starts a pass
#[tokio::test]
async fn a_config_without_a_backend_does_not_ask_at_each_pass() {
    let mut site = new("blank-b7").await;
    site.tick = Duration::ZERO;
    site.refuse("GetAccount", 500);
    let mut before = 0;
    for (milliseconds, asks) in [(0, true), (500, false), (500, true), (1500, false), (500, true)] {
        site.later(Duration::from_millis(milliseconds));
        let outcome = site.pass().await;
        assert_eq!(outcome.error.unwrap().class, ErrorClass::Transient);
        let asked = site.count("GetAccount");
        assert_eq!(asked > before, asks, "{before} {asked}");
        before = asked;
    }
}
