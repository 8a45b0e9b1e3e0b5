//! Tokens and API keys.

use std::sync::atomic::Ordering;
use std::time::Duration;

use devcluster::stores::{Fault, Reply, When};
use image_registry_operator::names;
use serde_json::json;

use super::cluster::{ACCOUNT, GROUP, IbmCluster, LOCATION};
use super::conformance::{BackendUnderTest as _, RESYNC};

// storage-ibmcos 38
#[tokio::test]
async fn ten_passes_ask_for_one_token() {
    let mut cluster = IbmCluster::new("tokens", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    for number in 0..10 {
        cluster.edit(json!({"replicas": number + 3}));
        cluster.pass().await;
    }
    assert_eq!(cluster.count_of("create_token"), 1);
    assert!(cluster.count_of("HeadBucket") >= 10, "each edit is one look");
}

// Cloud Object Storage refuses an expired token as it refuses a missing right: 403 AccessDenied
#[tokio::test]
async fn a_token_that_cloud_object_storage_refuses_is_replaced_within_the_call() {
    let mut cluster = IbmCluster::new("token-refused", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.gate.forget();
    cluster.ibm.end_tokens(&cluster.api_key);
    cluster.edit(json!({"replicas": 3}));
    let outcome = cluster.pass().await;
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!(cluster.condition("StorageExists"), "True/IBM COS Bucket Exists");
    assert_eq!(cluster.count_of("create_token"), 1);
}

// storage-ibmcos 38
#[tokio::test]
async fn a_right_that_is_missing_costs_one_token() {
    let mut cluster = IbmCluster::new("token-in-vain", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    cluster.gate.forget();
    for operation in ["HeadBucket", "GetBucketLocation"] {
        let refused = Fault::error(403, "AccessDenied");
        cluster.gate.plan(When::operation(operation), refused);
    }
    for number in 0..8 {
        cluster.edit(json!({"replicas": number + 3}));
        assert!(cluster.pass().await.error.is_some());
    }
    assert!(cluster.count_of("HeadBucket") >= 8);
    assert_eq!(cluster.count_of("create_token"), 1);
}

// A response is not trusted to be sane.
#[tokio::test]
async fn a_lifetime_of_any_size_and_form_is_understood() {
    for (name, lifetime, usable) in [
        ("huge", "18446744073709551615", true),
        ("text", "\"3600\"", true),
        ("float", "3600.5", true),
        ("exponent", "1e300", true),
        ("zero", "0", false),
        ("negative", "-1", false),
        ("words", "\"an hour\"", false),
    ] {
        let mut cluster = IbmCluster::new(&format!("lifetime-{name}"), json!({"ibmcos": {}})).await;
        let change = Fault::change(move |_, answer| {
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            assert!(text.contains("\"expires_in\":3600"), "{text}");
            let text = text.replace("\"expires_in\":3600", &format!("\"expires_in\":{lifetime}"));
            *answer.body_mut() = text.into();
        });
        cluster.gate.plan(When::operation("create_token"), change);
        let outcome = cluster.settle().await;
        let message = outcome.error.map(|error| error.message).unwrap_or_default();
        assert_eq!(message.contains("expires_in"), !usable, "{name}: {message}");
        assert!(!usable || cluster.count_of("create_token") == 1, "{name}");
    }
}

// An API key of another account sees nothing of this one: that is no loss.
#[tokio::test]
async fn an_api_key_of_another_account_proves_no_loss_and_ends_no_removal() {
    let mut cluster = IbmCluster::new("other-account", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let (bucket, before) = (cluster.generated(), cluster.config.clone());
    cluster.fill(&bucket, 2).await;
    let other = cluster.ibm.api_key("another-account");
    cluster.ibm.group("another-account", GROUP);
    cluster.never_show(&other);
    cluster.set_secret(names::MINTED_SECRET, "ibmcloud_api_key", &other);
    cluster.gate.forget();
    for edit in [
        json!({"replicas": 3}),
        json!({"storage": {"ibmcos": {"location": "eu-gb"}}}),
        json!({"storage": {"ibmcos": {"location": LOCATION}}}),
        json!({"managementState": "Removed"}),
    ] {
        cluster.edit(edit.clone());
        for _ in 0..3 {
            let outcome = cluster.pass().await;
            let message = outcome.error.unwrap().message;
            assert!(!outcome.done, "{edit}");
            assert!(
                message.contains(ACCOUNT) && message.contains("another-account"),
                "{edit}: {message}"
            );
            assert!(cluster.condition("StorageExists").starts_with("Unknown/"), "{edit}");
            cluster.later(RESYNC);
        }
        assert_eq!(cluster.status(), &before["status"]["storage"], "{edit}");
        assert_eq!(
            cluster.config["metadata"]["annotations"],
            before["metadata"]["annotations"]
        );
    }
    assert_eq!(cluster.created(), [] as [&str; 0]);
    assert_eq!(cluster.count_events("StorageLost"), 0);
    assert_eq!(cluster.count(&bucket).await, 2);
    // With a key of the account the removal goes on.
    let own = cluster.api_key.clone();
    cluster.set_secret(names::MINTED_SECRET, "ibmcloud_api_key", &own);
    cluster.later(RESYNC);
    assert!(cluster.settle().await.done);
    assert_eq!(cluster.ibm.bucket(&bucket), None);
}

#[tokio::test]
async fn a_token_that_resource_controller_refuses_is_replaced_within_the_call() {
    let mut cluster = IbmCluster::new("token-ended", json!({"ibmcos": {}})).await;
    cluster.gate.plan(
        When::operation("list_resource_instances").nth(1),
        Fault::Answer(Reply::new(401, "{}")),
    );
    cluster.converge().await;
    assert_eq!(cluster.count_of("create_token"), 2);
    assert_eq!(cluster.created().len(), 3);
}

// storage-ibmcos 29, 39, storage-core 28, 29, 31
#[tokio::test]
async fn the_administrators_key_is_used_and_an_incomplete_secret_is_no_reason_for_another() {
    let mut cluster = IbmCluster::new("keys", json!({"ibmcos": {}})).await;
    cluster.set_secret(names::USER_SECRET, "REGISTRY_STORAGE_S3_ACCESSKEY", "x");
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("REGISTRY_STORAGE_IBMCOS_IAMAPIKEY"), "{error}");
    assert_eq!(cluster.operations(), [] as [&str; 0]);
    let own = cluster.ibm.api_key(ACCOUNT);
    cluster.never_show(&own);
    cluster.set_secret(
        names::USER_SECRET,
        "REGISTRY_STORAGE_IBMCOS_IAMAPIKEY",
        &format!(" {own}\n"),
    );
    cluster.later(RESYNC);
    cluster.converge().await;
    let asked = cluster.gate.asked();
    let tokens: Vec<_> = asked
        .iter()
        .filter(|asked| asked.operation() == "create_token")
        .collect();
    let form = tokens[0].text();
    assert!(form.contains(&format!("apikey={own}")), "not the administrator's key");
    for part in [
        "grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey",
        "response_type=cloud_iam",
    ] {
        assert!(form.contains(part), "{part}");
    }
    assert_eq!(tokens[0].header("accept"), Some("application/json"));
    // Without the Secret the platform's counts again.
    let minted = cluster.api_key.clone();
    cluster.remove_object(image_registry_operator::api::Kind::Secret, names::USER_SECRET);
    cluster.gate.forget();
    cluster.later(RESYNC);
    cluster.converge().await;
    let asked = cluster.gate.asked();
    let form = asked
        .iter()
        .find(|asked| asked.operation() == "create_token")
        .unwrap()
        .text();
    assert!(form.contains(&format!("apikey={minted}")));
}

// issue 13: the rotation of the API key is noticed, though it is never rendered
#[tokio::test]
async fn a_rotated_api_key_is_tried_at_once_and_changes_no_pod() {
    let mut cluster = IbmCluster::new("rotated", json!({"ibmcos": {}})).await;
    cluster.converge().await;
    let running = cluster.running.clone();
    cluster.gate.forget();
    let next = cluster.ibm.api_key(ACCOUNT);
    cluster.never_show(&next);
    cluster.set_secret(names::MINTED_SECRET, "ibmcloud_api_key", &next);
    cluster.converge().await;
    assert_eq!(cluster.count_of("create_token"), 1);
    assert_eq!(cluster.count_of("HeadBucket"), 1);
    assert_eq!(cluster.running, running);
    // One that IAM does not know is told, and the registry runs on.
    let unknown = "unknown-api-key-of-nobody";
    cluster.never_show(unknown);
    cluster.set_secret(names::MINTED_SECRET, "ibmcloud_api_key", unknown);
    let error = cluster.settle().await.error.unwrap();
    assert!(error.message.contains("BXNIM0415E"), "{error}");
    assert_eq!(cluster.condition("StorageExists"), "Unknown/Unknown Error Occurred");
    assert_eq!(cluster.running, running);
}

// storage-ibmcos 39
#[tokio::test]
async fn no_error_of_iam_repeats_the_api_key() {
    let mut cluster = IbmCluster::new("repeated", json!({"ibmcos": {}})).await;
    let key = cluster.api_key.clone();
    let body = format!("{{\"errorCode\": \"X\", \"errorMessage\": \"no {key} here\"}}");
    for (status, body) in [(400, body.as_str()), (403, &format!("<p>{key}</p>")), (500, &key)] {
        cluster.gate.pass();
        cluster
            .gate
            .plan(When::operation("create_token"), Fault::Answer(Reply::new(status, body)));
        let error = cluster.settle().await.error.unwrap();
        assert!(!error.message.contains(&key), "{error}");
        cluster.later(RESYNC);
    }
}

// storage-ibmcos 16
#[tokio::test]
async fn a_token_without_an_account_is_an_error() {
    for (name, token) in [
        ("opaque", "opaque"),
        ("no-claims", "e30.e30.c2ln"),
        ("broken", "a.%%%.c"),
    ] {
        let mut cluster = IbmCluster::new(&format!("account-{name}"), json!({"ibmcos": {}})).await;
        let body = json!({"access_token": token, "expires_in": 3600}).to_string();
        cluster
            .gate
            .plan(When::operation("create_token"), Fault::Answer(Reply::new(200, &body)));
        let error = cluster.settle().await.error.unwrap();
        assert!(error.message.contains("account"), "{error}");
        assert_eq!(
            cluster
                .operations()
                .iter()
                .filter(|name| *name != "create_token")
                .count(),
            0
        );
    }
}

// storage-ibmcos 17
// In part: no answer in time.
#[tokio::test]
async fn a_service_that_does_not_answer_is_no_refusal() {
    let mut cluster = IbmCluster::new("silent", json!({"ibmcos": {}})).await;
    cluster.give_up_after(Duration::from_millis(200));
    for operation in ["create_token", "list_resource_groups"] {
        cluster.gate.pass();
        cluster.gate.plan(When::operation(operation), Fault::Hang);
        let error = cluster.settle().await.error.unwrap();
        assert!(
            error.message.contains("timeout") || error.message.contains("no answer"),
            "{error}"
        );
        cluster.later(RESYNC);
    }
}

// storage-decisions T8: a token may take long, and another process may lead meanwhile
#[tokio::test]
async fn a_request_is_not_sent_after_leadership_ended_during_the_login() {
    let mut cluster = IbmCluster::new("late-token", json!({"ibmcos": {}})).await;
    let leads = cluster.leads.clone();
    let mut refused = false;
    cluster.gate.rule(move |asked| match asked.operation().as_str() {
        "create_resource_instance" => {
            refused = true;
            Fault::Answer(Reply::new(401, "{}"))
        }
        "create_token" if refused => {
            let leads = leads.clone();
            Fault::change(move |_, _| leads.store(false, Ordering::Relaxed))
        }
        _ => Fault::Pass,
    });
    for _ in 0..4 {
        cluster.pass().await;
    }
    assert_eq!(cluster.count_of("create_resource_instance"), 1);
}
