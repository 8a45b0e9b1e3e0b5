use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;
use crate::storage::model::error::ErrorClass;

fn secret(name: &str, members: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> = members
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data,
    })
}

fn cluster(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": "blue-x7k2p", "platformStatus": {
            "type": "Azure", "azure": {"resourceGroupName": "rg-of-cluster"},
        }},
    });
    Snapshot {
        objects: Objects::from_values([infrastructure].into_iter().chain(objects)).unwrap(),
        ..Snapshot::empty()
    }
}

fn refused(objects: impl IntoIterator<Item = Value>) -> String {
    let error = Credentials::of(&cluster(objects)).unwrap_err();
    assert_eq!(error.class, ErrorClass::NoAccess);
    error.message
}

fn platform(members: &[(&str, &str)]) -> Platform {
    match Credentials::of(&cluster([secret(names::MINTED_SECRET, members)])).unwrap() {
        Credentials::Platform(platform) => *platform,
        Credentials::UserKey(_) => panic!("there is no user's Secret"),
    }
}

const ALL: [(&str, &str); 5] = [
    ("azure_subscription_id", "sub"),
    ("azure_tenant_id", "tenant"),
    ("azure_client_id", "client"),
    ("azure_client_secret", "hunter2hunter2"),
    ("azure_region", "westeurope"),
];

// storage-azure 1
#[test]
fn without_secrets_the_message_names_the_platforms() {
    assert!(refused([]).contains(names::MINTED_SECRET));
}

// storage-azure 2, 3; workload 18
#[test]
fn a_users_secret_without_a_key_is_named_with_its_key_and_the_platforms_is_not_used() {
    for members in [&[][..], &[(USER_KEY, "")], &[("other", "x")]] {
        let message = refused([secret(names::USER_SECRET, members), secret(names::MINTED_SECRET, &ALL)]);
        for part in [
            names::USER_SECRET,
            names::NAMESPACE,
            USER_KEY,
            "remove the Secret",
            "valid key",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }
}

// storage-azure 23
#[test]
fn a_key_that_is_not_base64_is_refused_before_any_request_and_not_shown() {
    let message = refused([secret(names::USER_SECRET, &[(USER_KEY, "not base64!")])]);
    assert!(
        message.contains("is not base64") && !message.contains("not base64!"),
        "{message}"
    );
}

// storage-azure 4
#[test]
fn of_both_secrets_only_the_users_key_is_taken() {
    let both = [
        secret(names::USER_SECRET, &[(USER_KEY, "QUJD\n"), ("azure_client_id", "x")]),
        secret(names::MINTED_SECRET, &ALL),
    ];
    let credentials = Credentials::of(&cluster(both)).unwrap();
    assert_eq!(credentials, Credentials::UserKey(Sensitive::new("QUJD\n")));
    assert_eq!(decoded(&Sensitive::new("QUJD\n")).unwrap(), b"ABC");
    assert!(!credentials.is_keyless());
}

// storage-azure 5
#[test]
fn the_resource_group_comes_from_the_cluster_if_the_secret_has_none() {
    assert_eq!(platform(&ALL).resource_group, "rg-of-cluster");
    let own = platform(&[("azure_resourcegroup", "rg-of-secret")]);
    assert_eq!(own.resource_group, "rg-of-secret");
}

// storage-azure section 4.1, 30, 49
#[test]
fn the_login_is_chosen_in_the_documented_order() {
    let environment = Environment::default();
    let managed = Environment {
        credentials_file: Some("/mnt/identity.json".to_owned()),
        ..Environment::default()
    };
    let all = platform(&ALL);
    let both = platform(&[&ALL[..], &[("azure_federated_token_file", "/token")]].concat());
    assert_eq!(
        both.login(&managed, false).unwrap(),
        Login::CertificateFile("/mnt/identity.json".to_owned())
    );
    assert_eq!(both.login(&environment, false).unwrap(), Login::Secret);
    assert_eq!(all.login(&managed, true).unwrap(), Login::Secret, "Azure Stack Hub");
    let blank = Platform {
        secret: Sensitive::new(" \n"),
        ..both
    };
    let file = |client: &str, file: &str| Login::WorkloadIdentity {
        client: client.to_owned(),
        tenant: "tenant".to_owned(),
        file: file.to_owned(),
    };
    assert_eq!(blank.login(&environment, false).unwrap(), file("client", "/token"));
    let message = blank.login(&environment, true).unwrap_err().message;
    assert!(message.contains("client secret"), "{message}");
    let variables = Environment {
        client_id: Some("of-env".to_owned()),
        token_file: Some("/of-env".to_owned()),
        ..Environment::default()
    };
    let empty = Platform {
        client: String::new(),
        token_file: String::new(),
        ..blank
    };
    assert_eq!(empty.login(&variables, false).unwrap(), file("of-env", "/of-env"));
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let bare = Platform {
        source: "Secret ns/name".to_owned(),
        ..Platform::default()
    };
    let message = bare.login(&Environment::default(), false).unwrap_err().message;
    for part in [
        "Secret ns/name",
        "azure_subscription_id",
        "azure_resourcegroup",
        "azure_client_id",
        "azure_tenant_id",
        "azure_client_secret or azure_federated_token_file",
    ] {
        assert!(message.contains(part), "{message}");
    }
}
