use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;
use crate::names;
use crate::storage::model::error::ErrorClass;

fn secret(name: &str, key: &str, text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE},
        "data": {key: STANDARD.encode(text)},
    })
}

fn cluster(secrets: &[Value]) -> Snapshot {
    Snapshot {
        objects: Objects::from_values(secrets.iter().cloned()).unwrap(),
        ..Snapshot::empty()
    }
}

fn account(email: &str) -> String {
    json!({"type": "service_account", "client_email": email, "private_key": "PEM", "private_key_id": "k1"}).to_string()
}

fn email(credentials: &Credentials) -> &str {
    match &credentials.grant {
        Grant::ServiceAccount(account) => &account.email,
        Grant::External(external) => &external.audience,
    }
}

fn parse(document: &Value) -> Result<Credentials, StorageError> {
    Credentials::parse(document.to_string(), "key k of Secret s".to_owned())
}

fn federation() -> Value {
    json!({
        "type": "external_account", "audience": "//iam/providers/okd", "subject_token_type": "urn:t:jwt",
        "token_url": "https://sts.example/v1/token", "credential_source": {"file": "/run/token"},
    })
}

// storage-gcs 1, 2
#[test]
fn the_administrators_secret_replaces_the_platforms() {
    let minted = secret(names::MINTED_SECRET, MINTED_KEY, &account("minted@p"));
    let user = secret(names::USER_SECRET, USER_KEY, &account("user@p"));
    let both = Credentials::of(&cluster(&[minted.clone(), user])).unwrap();
    assert_eq!(email(&both), "user@p");
    let alone = Credentials::of(&cluster(&[minted])).unwrap();
    assert_eq!(
        (email(&alone), alone.text.expose()),
        ("minted@p", account("minted@p").as_str())
    );
}

// storage-gcs 3, 4, 5, section 2.1
#[test]
fn missing_credentials_are_told_by_secret_and_key() {
    let minted = secret(names::MINTED_SECRET, MINTED_KEY, &account("minted@p"));
    let of = |name, key, text| secret(name, key, text);
    for (secrets, parts) in [
        (
            vec![
                minted.clone(),
                of(names::USER_SECRET, "REGISTRY_STORAGE_S3_ACCESSKEY", "x"),
            ],
            [names::USER_SECRET, USER_KEY],
        ),
        (
            vec![minted.clone(), of(names::USER_SECRET, USER_KEY, "")],
            [names::USER_SECRET, USER_KEY],
        ),
        (
            vec![],
            ["openshift-image-registry/installer-cloud-credentials", USER_KEY],
        ),
        (
            vec![of(names::MINTED_SECRET, "credentials", "x")],
            [names::MINTED_SECRET, MINTED_KEY],
        ),
        (
            vec![of(names::MINTED_SECRET, MINTED_KEY, "")],
            [names::MINTED_SECRET, MINTED_KEY],
        ),
    ] {
        let error = Credentials::of(&cluster(&secrets)).unwrap_err();
        assert_eq!(error.class, ErrorClass::NoAccess);
        for part in parts {
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }
}

// storage-gcs 49
#[test]
fn a_text_without_a_supported_type_or_source_is_refused() {
    let source = |source: Value| {
        let mut document = federation();
        document["credential_source"] = source;
        document
    };
    let file = |format: Value| source(json!({"file": "/run/token", "format": format}));
    for (document, part) in [
        (json!({"client_email": "a@p"}), "no member type"),
        (json!({"type": "authorized_user"}), "authorized_user"),
        (
            json!({"type": "impersonated_service_account"}),
            "impersonated_service_account",
        ),
        (
            source(json!({"executable": {"command": "/bin/sh"}})),
            "credential_source.file",
        ),
        (
            source(json!({"url": "http://169.254.169.254/"})),
            "credential_source.file",
        ),
        (source(json!({"environment_id": "aws1"})), "credential_source.file"),
        // Nor beside the file: Google's library in the registry prefers some of them.
        (
            source(json!({"file": "/run/token", "executable": {"command": "/bin/sh"}})),
            "executable",
        ),
        (
            source(json!({"file": "/run/token", "url": "http://169.254.169.254/"})),
            "url",
        ),
        (
            source(json!({"file": "/run/token", "environment_id": ""})),
            "environment_id",
        ),
        (file(json!({"type": "json"})), "format"),
        (file(json!({"type": "xml"})), "format"),
        (json!({"type": "service_account", "private_key": 5}), "another type"),
    ] {
        let error = parse(&document).unwrap_err();
        assert!(
            error.message.contains(part) && error.message.contains("Secret s"),
            "{part}: {error}"
        );
    }
    let error = Credentials::parse("{\"private_key\": hunter2".to_owned(), "key k".to_owned()).unwrap_err();
    assert!(
        error.message.contains("not JSON") && !error.message.contains("hunter2"),
        "{error}"
    );
}

// A file that works with Google's tools only together with these members; the value of none of them is told.
#[test]
fn a_federation_with_a_client_or_of_a_workforce_pool_is_refused() {
    for member in ["client_id", "client_secret", "workforce_pool_user_project"] {
        let mut document = federation();
        document[member] = json!("hunter2");
        let error = parse(&document).unwrap_err();
        assert_eq!(error.class, ErrorClass::NoAccess);
        assert!(
            error.message.contains(member) && error.message.contains("Secret s"),
            "{error}"
        );
        assert!(!error.message.contains("hunter2"), "{error}");
        for nothing in [json!(""), Value::Null] {
            document[member] = nothing;
            assert!(parse(&document).is_ok(), "{member}");
        }
    }
    // Each key of a service account has this one.
    let mut key: Value = serde_json::from_str(&account("a@p")).unwrap();
    key["client_id"] = json!("123456");
    assert!(parse(&key).is_ok());
}

// storage-gcs section 3
#[test]
fn the_members_of_a_federation_and_their_defaults() {
    let external = |document: &Value| match parse(document).unwrap().grant {
        Grant::External(external) => external,
        Grant::ServiceAccount(_) => panic!("{document}"),
    };
    let plain = external(&federation());
    assert_eq!((plain.field, plain.impersonation), (None, None));
    assert_eq!(plain.token_url.as_deref(), Some("https://sts.example/v1/token"));
    let mut document = federation();
    document["credential_source"]["format"] = json!({"type": "json", "subject_token_field_name": "id"});
    document["service_account_impersonation_url"] = json!("https://iam.example/a@p:generateAccessToken");
    document["token_url"] = json!("");
    let full = external(&document);
    assert_eq!((full.field.as_deref(), full.token_url), (Some("id"), None));
    assert_eq!(full.impersonation.unwrap().1, 3600);
    document["service_account_impersonation"] = json!({"token_lifetime_seconds": 600});
    assert_eq!(external(&document).impersonation.unwrap().1, 600);
}

// storage-gcs 40
#[test]
fn members_that_nobody_knows_are_kept_and_debug_output_shows_no_key() {
    let text = r#"{ "type":"service_account",  "private_key":"hunter2-pem", "universe_domain":"u.example",
        "project_id":"p-1","quota_project_id":"q","new_member":[1, {"a":null}] }"#;
    let credentials = Credentials::parse(text.to_owned(), "s".to_owned()).unwrap();
    assert_eq!(credentials.text.expose(), text);
    assert_eq!(credentials.universe.as_deref(), Some("u.example"));
    assert_eq!(credentials.project.as_deref(), Some("p-1"));
    assert_eq!(credentials.quota_project.as_deref(), Some("q"));
    let Grant::ServiceAccount(account) = &credentials.grant else {
        panic!("{credentials:?}");
    };
    assert_eq!(account.token_uri, TOKEN_URI);
    assert!(!format!("{credentials:?}").contains("hunter2"));
}
