use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;
use crate::names;
use crate::storage::model::error::ErrorClass;

fn secret(name: &str, data: &[(&str, &str)]) -> Value {
    let data: serde_json::Map<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(STANDARD.encode(value))))
        .collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": names::NAMESPACE}, "data": data})
}

#[allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
fn cluster(openstack: Value, objects: Vec<Value>) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": "blue-x7k2p", "platformStatus": {"type": "OpenStack", "openstack": openstack}},
    });
    Snapshot {
        objects: Objects::from_values(objects.into_iter().chain([infrastructure])).unwrap(),
        ..Snapshot::empty()
    }
}

fn user(data: &[(&str, &str)]) -> Snapshot {
    let data: Vec<_> = data
        .iter()
        .map(|(key, value)| (format!("{PREFIX}{key}"), *value))
        .collect();
    let data: Vec<_> = data.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    cluster(json!({}), vec![secret(names::USER_SECRET, &data)])
}

#[allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
fn minted(cloud_name: Value, clouds: &str) -> Snapshot {
    let openstack = json!({"cloudName": cloud_name});
    cluster(openstack, vec![secret(names::MINTED_SECRET, &[(CLOUDS_KEY, clouds)])])
}

fn auth(members: &str) -> Snapshot {
    minted(Value::Null, &format!("clouds: {{openstack: {{auth: {{{members}}}}}}}"))
}

// storage-swift 11, 12, storage-core 29
#[test]
fn one_set_of_the_users_keys_must_be_complete() {
    for (data, complete) in [
        (&[("USERNAME", "u"), ("PASSWORD", "hunter22")][..], true),
        (
            &[
                ("APPLICATIONCREDENTIALID", "i"),
                ("APPLICATIONCREDENTIALSECRET", "hunter22"),
            ],
            true,
        ),
        (
            &[
                ("APPLICATIONCREDENTIALID", "i"),
                ("APPLICATIONCREDENTIALNAME", "n"),
                ("APPLICATIONCREDENTIALSECRET", "hunter22"),
            ],
            true,
        ),
        (&[("TOKENID", "hunter22")], true),
        (&[("PASSWORD", "hunter22")], false),
        (&[("USERNAME", "hunter22")], false),
        (&[("USERNAME", "hunter22"), ("PASSWORD", "")], false),
        (&[("APPLICATIONCREDENTIALID", "hunter22")], false),
        (
            &[
                ("APPLICATIONCREDENTIALNAME", "n"),
                ("APPLICATIONCREDENTIALSECRET", "hunter22"),
            ],
            false,
        ),
        (
            &[
                ("USERNAME", "u"),
                ("APPLICATIONCREDENTIALNAME", "n"),
                ("APPLICATIONCREDENTIALSECRET", "hunter22"),
            ],
            false,
        ),
        (&[("TOKENID", "")], false),
        (&[], false),
    ] {
        let found = Given::of(&user(data)).unwrap().credentials;
        assert_eq!(found.is_ok(), complete, "{data:?}");
        assert!(!format!("{found:?}").contains("hunter22"));
        if let Err(error) = found {
            assert_eq!(error.class, ErrorClass::NoAccess);
            for part in [
                "openshift-image-registry/image-registry-private-configuration-user",
                "REGISTRY_STORAGE_SWIFT_USERNAME",
                "_APPLICATIONCREDENTIALSECRET",
                "_TOKENID",
            ] {
                assert!(error.message.contains(part), "{error}");
            }
        }
    }
}

// storage-swift section 2.3: the same rule for clouds.yaml
#[test]
fn one_set_of_the_clouds_keys_must_be_complete() {
    for (members, complete) in [
        ("username: u, password: p", true),
        ("user_id: u, password: p", true),
        ("application_credential_id: i, application_credential_secret: s", true),
        (
            "application_credential_name: n, application_credential_secret: s, username: u",
            true,
        ),
        (
            "application_credential_name: n, application_credential_secret: s, user_id: u",
            true,
        ),
        ("token: t", true),
        ("username: u", false),
        ("password: p", false),
        (
            "application_credential_name: n, application_credential_secret: s",
            false,
        ),
        ("application_credential_id: i", false),
        ("", false),
    ] {
        let found = Given::of(&auth(members)).unwrap().credentials;
        assert_eq!(found.is_ok(), complete, "{members}");
        if let Err(error) = found {
            assert!(
                error
                    .message
                    .contains("openshift-image-registry/installer-cloud-credentials"),
                "{error}"
            );
        }
    }
}

// storage-swift 10, storage-core 28, 31
#[test]
fn the_users_secret_replaces_that_of_the_platform_as_a_whole() {
    let clouds = "clouds: {openstack: {auth: {auth_url: 'http://h', username: u, password: p}}}";
    let mut both = minted(Value::Null, clouds);
    assert!(!Given::of(&both).unwrap().is_users);
    let user = secret(names::USER_SECRET, &[("REGISTRY_STORAGE_S3_ACCESSKEY", "a")]);
    let reference = crate::api::ObjectRef::new(crate::api::Kind::Secret, names::NAMESPACE, names::USER_SECRET);
    both.objects.insert(reference.clone(), user);
    let given = Given::of(&both).unwrap();
    assert!(given.is_users && given.credentials.is_err());
    assert_eq!(given.cloud, Cloud::default(), "no URL of the other Secret");
    both.objects.remove(&reference);
    assert!(Given::of(&both).unwrap().credentials.is_ok());
}

// storage-core 30, storage-swift 30
#[test]
fn without_a_secret_both_are_named() {
    let error = Given::of(&cluster(json!({}), vec![])).unwrap_err();
    assert_eq!(error.class, ErrorClass::NoAccess);
    for part in [
        "openshift-image-registry/installer-cloud-credentials",
        names::USER_SECRET,
    ] {
        assert!(error.message.contains(part), "{error}");
    }
}

// storage-swift 14, 15
#[test]
fn the_cloud_is_the_one_that_the_cluster_names() {
    let clouds = "clouds: {openstack: {auth: {token: a}}, myCloud: {auth: {token: b}}}";
    for (name, expected) in [(json!("myCloud"), "b"), (json!(""), "a"), (Value::Null, "a")] {
        let credentials = Given::of(&minted(name, clouds)).unwrap().credentials.unwrap();
        assert_eq!(credentials.token.expose(), expected);
    }
    let without = cluster(Value::Null, vec![secret(names::MINTED_SECRET, &[(CLOUDS_KEY, clouds)])]);
    assert_eq!(Given::of(&without).unwrap().credentials.unwrap().token.expose(), "a");
    let error = Given::of(&minted(json!("myCloud"), "clouds: {openstack: {auth: {token: a}}}")).unwrap_err();
    assert!(error.message.contains("myCloud"), "{error}");
    for (data, part) in [
        (&[][..], "clouds.yaml is missing"),
        (
            &[(CLOUDS_KEY, "clouds: {openstack: {region_name: r}}")],
            "without a map auth",
        ),
        (&[(CLOUDS_KEY, "clouds: {openstack")], "is not valid YAML"),
    ] {
        let error = Given::of(&cluster(json!({}), vec![secret(names::MINTED_SECRET, data)])).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}

// storage-swift 51: services repeat a request as JSON, as HTML, and as Python shows it
#[test]
fn a_secret_is_hidden_however_a_service_writes_it() {
    for (password, repeated) in [
        ("pa\"ss\\word", r#"{"password": "pa\"ss\\word"}"#),
        ("pa'ss\\word", r"{'password': 'pa\'ss\\word'}"),
        ("<hunter&2\">", "<p>&lt;hunter&amp;2&quot;&gt;</p>"),
        ("hunter'2'3", "hunter&#x27;2&#x27;3 hunter&#39;2&#39;3"),
        ("p\u{e4}sswort", r"p\u00e4sswort"),
        ("hunter2", "hunter2"),
    ] {
        let credentials = Credentials {
            password: Sensitive::new(password),
            ..Credentials::default()
        };
        let shown = crate::storage::net::error::shown(repeated, &credentials.secrets());
        for part in ["ss", "word", "hunter", "wort"] {
            assert!(!shown.replace("password", "").contains(part), "{shown}");
        }
    }
}
