//! Logins: every form of credentials, at the real Keystone.

use std::collections::BTreeSet;
use std::time::Duration;

use devcluster::stores::{Fault, REGION, Reply};
use image_registry_operator::config::facts::EnvValue;
use image_registry_operator::names;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::SwiftCluster;
use super::conformance::{BackendUnderTest as _, owned};

const LOGIN: &str = "POST /v3/auth/tokens";

/// Bodies of the logins.
fn bodies(site: &SwiftCluster) -> Vec<Value> {
    let asked = site.gate.asked();
    let logins = asked.iter().filter(|asked| asked.operation() == LOGIN);
    logins
        .map(|asked| serde_json::from_slice(&asked.body).unwrap())
        .collect()
}

async fn settled(infrastructure: &str, auth: Value) -> SwiftCluster {
    let mut site = SwiftCluster::new(infrastructure, json!({"swift": {}})).await;
    site.set_cloud(auth, json!({"region_name": REGION}));
    site.converge().await;
    assert!(site.running.is_some(), "{infrastructure}");
    site
}

// storage-swift 20, 22
#[tokio::test]
async fn a_password_logs_in_at_the_url_without_a_question() {
    let site = settled("password-l1", cloud().await.password()).await;
    let asked = site.gate.asked();
    assert_eq!(
        (asked[0].operation().as_str(), asked[0].path.as_str()),
        (LOGIN, "/v3/auth/tokens")
    );
    let auth = &bodies(&site)[0]["auth"];
    assert_eq!(
        auth["identity"]["password"]["user"]["domain"],
        json!({"name": "Default"})
    );
    assert_eq!(auth["scope"]["project"]["domain"], json!({"name": "Default"}));
    // Operator and registry log in once each.
    assert_eq!(site.logins().len(), 2);
}

// storage-swift 24, 33
#[tokio::test]
async fn an_application_credential_logs_in_without_a_scope() {
    let cloud = cloud().await;
    let credential = &cloud.credentials[0];
    let auth = json!({"application_credential_id": credential.id, "application_credential_secret": credential.secret,
        "project_name": "another"});
    let mut site = settled("by-id-l2", auth).await;
    site.never_show(&credential.secret);
    for body in bodies(&site) {
        assert_eq!(body["auth"].get("scope"), None);
    }
    assert_eq!(site.variable("USERNAME"), Some("Secret(<empty>)".to_owned()));
    let facts = site.running.clone().unwrap();
    let secrets = facts
        .env
        .iter()
        .filter(|variable| format!("{:?}", variable.value).starts_with("Secret"));
    assert_eq!(secrets.count(), 6);
    assert_eq!(site.state(), Some("Managed"));
}

// storage-swift section 2.3: forms that the registry does not know are completed
#[tokio::test]
async fn a_credential_by_name_and_a_user_by_id_reach_the_registry_in_a_form_that_it_knows() {
    let cloud = cloud().await;
    let credential = &cloud.credentials[1];
    let by_name = json!({"application_credential_name": "by-name", "application_credential_secret": credential.secret,
        "username": cloud.project.user, "user_domain_name": "Default"});
    let site = settled("by-name-l3", by_name).await;
    let facts = site.running.clone().unwrap();
    let rendered = |name: &str| {
        let variable = facts.env.iter().find(|variable| variable.name.ends_with(name)).unwrap();
        match &variable.value {
            EnvValue::Secret(secret) => secret.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(rendered("_APPLICATIONCREDENTIALID"), credential.id);
    let by_id = json!({"user_id": cloud.project.user_id, "password": cloud.project.password,
        "project_id": cloud.project.id});
    let site = settled("by-user-l3", by_id).await;
    let facts = site.running.clone().unwrap();
    let name = facts
        .env
        .iter()
        .find(|variable| variable.name.ends_with("_USERNAME"))
        .unwrap();
    assert!(matches!(&name.value, EnvValue::Secret(name) if name.expose() == cloud.project.user));
    assert_eq!(site.variable("DOMAINID"), Some("Text(\"default\")".to_owned()));
}

// storage-swift 25
#[tokio::test]
async fn a_given_token_is_looked_up_and_used() {
    let cloud = cloud().await;
    let token = cloud.token().await;
    let site = settled("token-l4", json!({"token": token})).await;
    let asked = site.gate.asked();
    assert_eq!(asked[0].operation(), "GET /v3/auth/tokens");
    for header in ["x-auth-token", "x-subject-token"] {
        assert_eq!(asked[0].header(header), Some(token.as_str()));
    }
    assert_eq!(bodies(&site).len(), 0);
    // One that Keystone does not know.
    let mut site = SwiftCluster::new("token-l4b", json!({"swift": {}})).await;
    site.set_cloud(json!({"token": "unknown-token"}), json!({}));
    site.never_show("unknown-token");
    let error = site.pass().await.error.unwrap();
    assert_eq!(error.class, ErrorClass::NoAccess, "{error}");
    assert_eq!(
        site.condition("StorageExists"),
        "Unknown/Could not connect to registry storage"
    );
}

// storage-swift 21
#[tokio::test]
async fn a_url_without_a_version_is_asked_for_its_versions() {
    let mut site = SwiftCluster::new("asked-l5", json!({"swift": {}})).await;
    let mut auth = cloud().await.password();
    auth["auth_url"] = json!(site.keystone());
    site.set_cloud(auth, json!({"region_name": REGION}));
    site.converge().await;
    assert!(site.running.is_some());
    let asked = site.gate.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("GET", "/"));
    assert_eq!(asked[1].path, "/v3/auth/tokens");
    assert_eq!(
        site.variable("AUTHURL"),
        Some(format!("Text(\"{}/v3\")", site.keystone()))
    );
}

// Keystone v2.0 answers as its API reference says: no release that can be had still has it.
#[tokio::test]
async fn v2_logs_in_with_a_password() {
    let cloud = cloud().await;
    let token = cloud.token().await;
    let mut site = SwiftCluster::new("v2-l6", json!({"swift": {"authVersion": "2"}})).await;
    let mut auth = cloud.password();
    auth["auth_url"] = json!(format!("{}/v2.0", site.keystone()));
    site.set_cloud(auth, json!({"region_name": REGION}));
    let url = format!(
        "http://swift.test.example:{}/v1/AUTH_{}",
        site.gate.target().address.port(),
        cloud.project.id
    );
    let answer = json!({"access": {"token": {"id": token, "expires": "2099-01-01T00:00:00Z", "tenant": {"id": "x"}},
        "serviceCatalog": [{"type": "object-store", "name": "swift", "endpoints": [{"region": REGION, "publicURL": url}]}]}});
    site.disturb(move |asked| {
        (asked.path == "/v2.0/tokens").then(|| Fault::Answer(Reply::new(200, &answer.to_string())))
    });
    site.converge().await;
    assert_eq!(site.variable("AUTHVERSION"), Some("Number(2)".to_owned()));
    let asked = site.gate.asked();
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(body["auth"]["tenantName"], json!(cloud.project.name));
    assert_eq!(
        body["auth"]["passwordCredentials"]["username"],
        json!(cloud.project.user)
    );
}

// storage-swift 50
#[tokio::test]
async fn a_token_that_swift_refuses_costs_one_login_and_one_retry() {
    let (mut site, _) = owned::<SwiftCluster>("refused-l7").await;
    let mut first = true;
    site.disturb(move |asked| {
        let once = asked.operation() == "HeadContainer" && std::mem::take(&mut first);
        once.then(|| Fault::Answer(Reply::new(401, "")))
    });
    site.edit(json!({"replicas": 3}));
    let outcome = site.settle().await;
    assert!(outcome.error.is_none());
    assert_eq!(site.operations(), ["HeadContainer", "HeadContainer"]);
    assert_eq!(site.logins(), [LOGIN]);
    // Refused for good: an error, and not one login after another.
    site.forget();
    site.refuse("HeadContainer", 401);
    site.edit(json!({"replicas": 4}));
    let outcome = site.pass().await;
    assert_eq!(outcome.error.unwrap().class, ErrorClass::NoAccess);
    assert_eq!((site.count("HeadContainer"), site.logins().len()), (2, 1));
}

// issue 11: Keystone 401, 403, 503, silence; the registry runs on
#[tokio::test]
async fn whatever_keystone_answers_the_running_registry_stays_and_the_cause_is_told() {
    let (mut site, name) = owned::<SwiftCluster>("keystone-l8").await;
    let running = site.running.clone();
    for status in [401, 403, 503, 0] {
        site.restart();
        if status == 0 {
            site.give_up_after(Duration::from_millis(300));
        }
        site.disturb(move |asked| {
            let answer = Fault::Answer(Reply::keystone_error(status, "Refused", "by the test"));
            (asked.operation() == LOGIN).then(|| if status == 0 { Fault::Hang } else { answer })
        });
        site.edit(json!({"replicas": 10 + i64::from(status)}));
        site.later(Duration::from_mins(11));
        let outcome = site.pass().await;
        let error = outcome.error.unwrap();
        let refused = matches!(status, 401 | 403);
        assert_eq!(error.class == ErrorClass::NoAccess, refused, "{status}: {error}");
        assert_eq!(
            site.condition("StorageExists"),
            "Unknown/Could not connect to registry storage"
        );
        assert!(outcome.facts.is_none() && site.running == running);
        assert!(site.message("StorageExists").contains("keystone.test.example"));
    }
    site.restart();
    site.pass_all();
    site.later(Duration::from_mins(11));
    site.converge().await;
    assert!(site.is_ours(&name).await);
    assert!(site.condition("StorageExists").starts_with("True/"));
}

// storage-core 31: credentials that change reach the registry after a preflight
#[tokio::test]
async fn new_credentials_reach_the_registry_and_wrong_ones_do_not() {
    let (mut site, _) = owned::<SwiftCluster>("rotated-l9").await;
    let cloud = cloud().await;
    let credential = &cloud.credentials[2];
    site.never_show(&credential.secret);
    let running = site.running.clone();
    let auth =
        |secret: &str| json!({"application_credential_id": credential.id, "application_credential_secret": secret});
    site.never_show("not-the-secret");
    site.set_cloud(auth("not-the-secret"), json!({"region_name": REGION}));
    site.later(Duration::from_mins(11));
    assert!(site.pass().await.error.is_some() && site.running == running);
    site.set_cloud(auth(&credential.secret), json!({"region_name": REGION}));
    site.later(Duration::from_mins(11));
    site.converge().await;
    assert!(site.running != running);
    assert_eq!(site.variable("PASSWORD"), Some("Secret(<empty>)".to_owned()));
    assert!(site.storage_spec()["swift"].get("tenant").is_none());
    let named = names::MINTED_SECRET;
    assert!(
        !site.told().iter().any(|told| told.contains("not-the-secret")),
        "{named}"
    );
}

// Keystone's lockout_failure_attempts: the account is locked after a few refused logins, also for the other parts of the cluster
#[tokio::test]
async fn a_refused_login_is_repeated_after_some_minutes_or_with_other_credentials() {
    for (n, storage) in [(1, json!({})), (2, json!({"swift": {}}))] {
        let mut site = SwiftCluster::new(&format!("locked-l20-{n}"), storage).await;
        site.never_show("another-word");
        let mut auth = cloud().await.password();
        auth["password"] = json!("another-word");
        site.set_cloud(auth, json!({}));
        let logins = |site: &SwiftCluster| site.logins().iter().filter(|o| *o == "POST /v3/auth/tokens").count();
        site.tick = Duration::ZERO;
        let mut told = BTreeSet::new();
        for _ in 0..30 {
            let outcome = site.pass().await;
            let error = outcome.error.unwrap();
            assert_eq!(error.class, ErrorClass::NoAccess);
            told.insert(error.message);
            site.later(Duration::from_secs(10));
        }
        // At once, after some seconds, and no third one for five minutes.
        assert_eq!(logins(&site), 2);
        assert_eq!(told.len(), 1, "the condition does not change: {told:?}");
        assert!(told.first().unwrap().contains("within 10 minutes"), "{told:?}");
        site.later(Duration::from_mins(10));
        site.pass().await;
        assert_eq!(logins(&site), 3);
        site.set_cloud(cloud().await.password(), json!({}));
        site.converge().await;
        assert!(site.running.is_some());
    }
}

// Keystone may not know new credentials yet, or fail for a moment
#[tokio::test]
async fn one_refused_login_delays_the_registry_by_seconds() {
    let mut site = SwiftCluster::new("once-l21", json!({"swift": {}})).await;
    site.tick = Duration::ZERO;
    let mut first = true;
    site.disturb(move |asked| {
        let refused = asked.operation() == "POST /v3/auth/tokens" && std::mem::take(&mut first);
        refused.then(|| Fault::Answer(Reply::new(401, "")))
    });
    let mut seconds = 0;
    while site.running.is_none() {
        site.pass().await;
        site.later(Duration::from_secs(2));
        seconds += 2;
        assert!(seconds < 60, "{}", site.message("StorageExists"));
    }
}
