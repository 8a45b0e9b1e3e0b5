//! How the operator logs in.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::Duration;

use devcluster::stores::{EntraCertificate, Fault, Reply};
use image_registry_operator::names;
use serde_json::{Value, json};

use super::cluster::{AzureCluster, TOKEN_FILE, call, cluster, is_token, keyless_cluster};
use super::conformance::RESYNC;
use super::stores::cloud;

/// Fields of the requests for tokens.
fn grants(world: &AzureCluster) -> Vec<Vec<(String, String)>> {
    let asked = world.gate.asked().into_iter().filter(|asked| is_token(&call(asked)));
    let pairs = asked.map(|asked| {
        let url = format!("http://x/?{}", asked.text());
        let url: http::Uri = url.parse().unwrap();
        let query = url.query().unwrap().to_owned();
        query
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect()
    });
    pairs.collect()
}

fn has(fields: &[(String, String)], name: &str) -> bool {
    fields.iter().any(|(field, _)| field == name)
}

// storage-azure 1
#[tokio::test]
async fn without_credentials_nothing_is_asked_and_the_secret_is_named() {
    let mut world = AzureCluster::bare(cloud().await, "login-none", "rg-login-none", json!({"azure": {}}));
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains(names::MINTED_SECRET), "{error}");
    assert_eq!(world.condition("StorageExists"), "Unknown/ConfigError");
    assert_eq!(world.gate.asked().len(), 0);
}

// storage-azure 30, section 4.1
#[tokio::test]
async fn with_secret_and_token_the_operator_uses_the_secret_and_the_registry_the_token() {
    let mut world = keyless_cluster("login-both", json!({"azure": {}})).await;
    let secret = world.azure().add_secret(&world.operator).unwrap();
    world.mint(&[
        ("azure_federated_token_file", TOKEN_FILE),
        ("azure_client_secret", &secret),
    ]);
    world.converge().await;
    assert!(world.variable("AZURE_CLIENT_ID").is_some());
    assert_eq!(world.count("StorageAccounts_ListKeys"), 0);
    let grants = grants(&world);
    assert!(has(&grants[0], "client_secret") && !has(&grants[0], "client_assertion"));
    assert!(
        grants.iter().any(|fields| has(fields, "client_assertion")),
        "the registry's"
    );
    assert!(world.events.iter().any(|event| event.reason == "AzureCredentials"));
}

// storage-azure section 4.2
#[tokio::test]
async fn tokens_are_kept_renewed_ahead_and_dropped_when_a_service_refuses_them() {
    let mut world = cluster("login-tokens", json!({"azure": {}})).await;
    world.converge().await;
    assert_eq!(grants(&world).len(), 1, "one token for Resource Manager");
    world.gate.forget();
    world.edit(json!({"replicas": 3}));
    world.converge().await;
    assert_eq!(grants(&world).len(), 0);
    // Five minutes before it ends there is a new one.
    world.clock_forward(Duration::from_mins(56));
    world.gate.forget();
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External"}}}, "replicas": 4}));
    world.pass().await;
    world.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    world.pass().await;
    assert_eq!(grants(&world).len(), 1, "{:?}", world.calls());
    let mut world = cluster("login-revoked", json!({"azure": {}})).await;
    let mut seen = 0;
    world.gate.rule(move |asked| {
        if call(asked) != "StorageAccounts_GetProperties" {
            return Fault::Pass;
        }
        seen += 1;
        if seen == 1 {
            Fault::Answer(Reply::resource_manager_error(401, "ExpiredAuthenticationToken", "old"))
        } else {
            Fault::Pass
        }
    });
    world.converge().await;
    assert_eq!(grants(&world).len(), 2);
}

// storage-azure 57, section 13
#[tokio::test]
async fn a_login_that_is_refused_is_told_without_the_secret() {
    let mut world = cluster("login-wrong", json!({"azure": {}})).await;
    world.mint(&[("azure_client_secret", "wrong-secret-hunter2")]);
    let error = world.pass().await.error.unwrap();
    assert!(
        error.message.contains("AADSTS") && !error.message.contains("hunter2"),
        "{error}"
    );
    assert_eq!(world.condition("StorageExists"), "Unknown/ConfigError");
    // Corrected, it works without a restart.
    world.with_secret();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

// storage-azure 57: whatever a service repeats of what it was sent, or knows
#[tokio::test]
async fn a_response_that_repeats_secrets_is_told_without_them() {
    let cases = [
        (false, "Entra_Token"),
        (true, "Entra_Token"),
        (false, "StorageAccounts_GetProperties"),
        (false, "Container_GetProperties"),
        (true, "Container_GetProperties"),
        (true, "BlockBlob_Upload"),
    ];
    for (place, (keyless, operation)) in cases.into_iter().enumerate() {
        let name = format!("login-echo-{place}");
        let mut world = if keyless {
            keyless_cluster(&name, json!({"azure": {}})).await
        } else {
            cluster(&name, json!({"azure": {}})).await
        };
        let (azure, account) = (world.azure(), world.account());
        let given = world.storage.secrets[0].clone();
        world.gate.rule(move |asked| {
            if call(asked) != operation {
                return Fault::Pass;
            }
            let sent = asked.header("authorization").unwrap_or_default();
            let told = match operation {
                "Entra_Token" => given.clone(),
                _ if sent.starts_with("Bearer ") => sent.to_owned(),
                _ => azure.account_keys(&account).unwrap()[0].clone(),
            };
            let told = format!("not for {told}, whoever you are");
            Fault::Answer(match operation {
                "Entra_Token" => {
                    let body = json!({"error": "invalid_client", "error_description": told}).to_string();
                    Reply::new(401, &body).header("content-type", "application/json")
                }
                "StorageAccounts_GetProperties" => Reply::resource_manager_error(403, "AuthorizationFailed", &told),
                _ => Reply::blob_error(403, "AuthorizationPermissionMismatch", &told),
            })
        });
        // That nothing shows a secret is checked after each step.
        let outcome = world.settle().await;
        let shown = format!("{outcome:?} {}", world.config);
        assert!(shown.contains("<redacted>"), "{operation} {keyless}: {shown}");
        assert!(shown.contains("whoever you are"), "{operation} {keyless}: {shown}");
    }
}

// storage-azure section 4.2: the token's file is read again
#[tokio::test]
async fn a_token_file_that_is_missing_or_rotated_is_told_or_read_again() {
    let mut world = keyless_cluster("login-file", json!({"azure": {}})).await;
    let file = world.process.root.join(TOKEN_FILE.trim_start_matches('/'));
    let token = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let error = world.pass().await.error.unwrap();
    assert!(
        error.message.contains(TOKEN_FILE) && error.message.contains("bound-sa-token"),
        "{error}"
    );
    assert_eq!(world.count("StorageAccounts_GetProperties"), 0);
    fs::write(&file, token).unwrap();
    world.later(RESYNC);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
}

fn write_identity(path: &std::path::Path, file: &Value) {
    fs::write(path, file.to_string()).unwrap();
}

// storage-azure 31, 32
#[tokio::test]
async fn the_certificate_of_a_managed_control_plane_wins_and_is_renewed() {
    let mut world = AzureCluster::bare(cloud().await, "login-cert", "rg-login-cert", json!({"azure": {}}));
    let managed = world.azure().application(&world.cloud.tenant);
    world.azure().allow(&managed, &world.group, super::stores::role());
    let certificates = ["first", "second"].map(|name| EntraCertificate::new(name).unwrap());
    world.azure().require_chain(&managed, true).unwrap();
    world.azure().add_certificate(&managed, &certificates[0]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let authority = "https://westeurope.login.microsoft.com/";
    for (certificate, (name, from)) in certificates
        .iter()
        .zip([("a", "2026-01-01T00:00:00Z"), ("b", "2026-02-01T00:00:00Z")])
    {
        let file = certificate.managed_identity_file(&managed, authority, from, "2099-01-01T00:00:00Z");
        write_identity(&at(name), &file);
    }
    symlink(at("a"), at("link")).unwrap();
    world.process.environment.credentials_file = Some(at("link").to_str().unwrap().to_owned());
    world.restart();
    // The Secret has a client secret too, which is not used.
    world.mint(&[("azure_client_secret", "not-used-secret")]);
    world.converge().await;
    assert_eq!(world.state(), Some("Managed"));
    let grants_of = grants(&world);
    assert!(
        grants_of
            .iter()
            .all(|fields| has(fields, "client_assertion") && !has(fields, "client_secret"))
    );
    assert!(
        world.variable("AZURE_CLIENT_ID").is_none(),
        "the registry gets the account's key"
    );
    // A new certificate through the symbolic link, within two minutes.
    world.azure().add_certificate(&managed, &certificates[1]).unwrap();
    world.azure().remove_certificate(&managed, &certificates[0]).unwrap();
    world.azure().end_tokens(&managed);
    fs::remove_file(at("link")).unwrap();
    symlink(at("b"), at("link")).unwrap();
    world.clock_forward(Duration::from_secs(119));
    world.edit(json!({"storage": {"azure": {"networkAccess": {"type": "External"}}}, "replicas": 3}));
    world.converge().await;
    assert!(world.condition("StorageExists").starts_with("True/"));
}

// storage-azure section 2
#[tokio::test]
async fn a_role_without_a_right_is_told_with_its_name() {
    let mut world = cluster("login-role", json!({"azure": {}})).await;
    world.azure().deny(&world.operator);
    let role = super::stores::role().without("Microsoft.Storage/storageAccounts/listKeys/action");
    world.azure().allow(&world.operator, &world.group, role);
    let error = world.settle().await.error.unwrap();
    assert!(
        error
            .message
            .contains("Microsoft.Storage/storageAccounts/listKeys/action"),
        "{error}"
    );
    // A role without the right to write blobs fails in the preflight, for the registry.
    let mut world = keyless_cluster("login-blobs", json!({"azure": {}})).await;
    world.azure().deny(&world.operator);
    let write = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write";
    let mut role = super::stores::role();
    // Either permits a new blob.
    role.data_actions
        .retain(|action| action != write && !action.ends_with("/add/action"));
    world.azure().allow(&world.operator, &world.group, role);
    let mut told = String::new();
    for _ in 0..6 {
        world.settle().await;
        world.later(Duration::from_mins(3));
        if let Some(image_registry_operator::status::judge::Preflight::Failed(message)) = world.pass().await.preflight {
            told = message;
            break;
        }
    }
    assert!(
        told.contains(write) && told.contains("AuthorizationPermissionMismatch"),
        "{told}"
    );
}

// storage-decisions T8: a token may take long, and another process may lead meanwhile
#[tokio::test]
async fn a_request_is_not_sent_after_leadership_ended_during_the_login() {
    let mut world = cluster("login-late", json!({"azure": {}})).await;
    let leads = world.process.leads.clone();
    let mut refused = false;
    world.gate.rule(move |asked| match call(asked).as_str() {
        "StorageAccounts_Create" => {
            refused = true;
            Fault::Answer(Reply::resource_manager_error(401, "ExpiredAuthenticationToken", "old"))
        }
        "Entra_Token" if refused => {
            let leads = leads.clone();
            Fault::change(move |_, _| leads.store(false, Ordering::Relaxed))
        }
        _ => Fault::Pass,
    });
    for _ in 0..4 {
        world.pass().await;
    }
    assert_eq!(world.count("StorageAccounts_Create"), 1);
}
