use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;
use crate::names;

/// A cluster with this `auth` of its cloud, and these members beside it.
fn cluster(auth: &str, beside: &str) -> Snapshot {
    let clouds = format!("clouds: {{openstack: {{auth: {{{auth}}}, {beside}}}}}");
    with_secret(names::MINTED_SECRET, "clouds.yaml", &clouds)
}

fn with_secret(name: &str, key: &str, text: &str) -> Snapshot {
    let data = json!({key: STANDARD.encode(text), "REGISTRY_STORAGE_SWIFT_PASSWORD": STANDARD.encode("p"),
        "REGISTRY_STORAGE_SWIFT_USERNAME": STANDARD.encode("u")});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": data,
        "metadata": {"name": name, "namespace": names::NAMESPACE}});
    let infrastructure = json!({"apiVersion": "config.openshift.io/v1", "kind": "Infrastructure",
        "metadata": {"name": "cluster"}, "status": {"infrastructureName": "blue-x7k2p"}});
    Snapshot {
        objects: Objects::from_values([secret, infrastructure]).unwrap(),
        ..Snapshot::empty()
    }
}

const AUTH: &str = "auth_url: 'https://h:5000', username: u, password: p";

fn of(spec: Value, auth: &str, beside: &str) -> Result<Effective, StorageError> {
    let spec: SwiftStorage = serde_json::from_value(spec).unwrap();
    Effective::of(&spec, &cluster(&format!("{AUTH}, {auth}"), beside))
}

fn named(name: Option<&str>, id: Option<&str>) -> Named {
    Named {
        name: name.map(str::to_owned),
        id: id.map(str::to_owned),
    }
}

// storage-swift 16, 17
#[test]
fn a_pair_of_the_spec_replaces_that_pair_of_the_cloud() {
    for (spec, auth, domain, project) in [
        (
            json!({}),
            "user_domain_name: U",
            named(Some("U"), None),
            named(None, None),
        ),
        (
            json!({}),
            "user_domain_name: U, domain_name: D",
            named(Some("D"), None),
            named(None, None),
        ),
        (
            json!({}),
            "user_domain_id: u, domain_id: d",
            named(None, Some("d")),
            named(None, None),
        ),
        // Where nothing else names a domain: as gophercloud, and as keystoneauth has it.
        (
            json!({}),
            "default_domain: default",
            named(None, Some("default")),
            named(None, None),
        ),
        // The password needs it, whatever else there is.
        (
            json!({}),
            "default_domain: default, application_credential_id: a, application_credential_secret: s",
            named(None, Some("default")),
            named(None, None),
        ),
        (
            json!({}),
            "default_domain_name: Default, user_domain_name: U",
            named(Some("U"), None),
            named(None, None),
        ),
        (
            json!({"domain": "S"}),
            "domain_id: d, domain_name: D",
            named(Some("S"), None),
            named(None, None),
        ),
        (
            json!({"domainID": "s"}),
            "user_domain_name: D",
            named(None, Some("s")),
            named(None, None),
        ),
        (
            json!({"domain": ""}),
            "domain_id: d",
            named(None, Some("d")),
            named(None, None),
        ),
        (
            json!({}),
            "project_name: P, project_id: p",
            named(None, None),
            named(Some("P"), Some("p")),
        ),
        (
            json!({"tenant": "T"}),
            "project_id: p",
            named(None, None),
            named(Some("T"), None),
        ),
        (
            json!({"tenantID": "t"}),
            "project_name: P",
            named(None, None),
            named(None, Some("t")),
        ),
    ] {
        let effective = of(spec.clone(), auth, "").unwrap();
        assert_eq!(
            (effective.domain, effective.project),
            (domain, project),
            "{spec} {auth}"
        );
    }
}

// issue 11: project_domain_name that differs from user_domain_name
#[test]
fn a_project_has_its_own_domain_unless_the_spec_says_otherwise() {
    let auth = "user_domain_name: U, project_domain_name: Q, project_name: P";
    for (spec, expected) in [
        (json!({}), "Q"),
        (json!({"domain": "S"}), "S"),
        (json!({"tenant": "T"}), "U"),
        (json!({"regionName": "r"}), "Q"),
    ] {
        let effective = of(spec.clone(), auth, "").unwrap();
        assert_eq!(effective.domain_of_project(), &named(Some(expected), None), "{spec}");
    }
}

// storage-swift 18, 19
#[test]
fn the_version_is_that_of_the_spec_or_of_the_cloud_or_3() {
    for (spec, beside, expected) in [
        (json!({}), "", Some(3)),
        (json!({}), "identity_api_version: 3", Some(3)),
        (json!({}), "identity_api_version: '2.0'", Some(2)),
        (json!({}), "identity_api_version: 2.0", Some(2)),
        (json!({"authVersion": "3"}), "identity_api_version: 2", Some(3)),
        (json!({"authVersion": "v3"}), "", Some(3)),
        (json!({"authVersion": "abc"}), "", None),
        (json!({}), "identity_api_version: abc", None),
    ] {
        let found = of(spec.clone(), "", beside).map(|effective| effective.auth_version);
        assert_eq!(found.as_ref().ok().copied(), expected, "{spec} {beside}: {found:?}");
        if let Err(error) = found {
            let of_spec = spec["authVersion"] == "abc";
            assert_eq!(as_rejection(&error).is_some(), of_spec, "{error}");
            assert!(error.message.contains(if of_spec {
                "spec.storage.swift.authVersion"
            } else {
                "identity_api_version"
            }));
        }
    }
}

// storage-swift 13
#[test]
fn beside_the_users_secret_the_spec_must_have_the_url() {
    let snapshot = with_secret(names::USER_SECRET, "x", "");
    let error = Effective::of(&SwiftStorage::default(), &snapshot).unwrap_err();
    assert!(error.message.contains("spec.storage.swift.authURL"), "{error}");
    // issue 11: a user Secret beside a URL with another port
    let spec = json!({"authURL": "http://h.example:8888/v3", "authVersion": "3", "container": "images",
        "domain": "Default", "tenant": "openshift-registry"});
    let spec = serde_json::from_value(spec).unwrap();
    let place = location(&spec, "images", &snapshot);
    assert_eq!(place, "http://h.example:8888/openshift-registry@Default/-/images");
    let effective = Effective::of(&spec, &snapshot).unwrap();
    assert_eq!(effective.registry_url, "http://h.example:8888/v3");
    // storage-swift 37: the slash at the end stays, as in what the Go operator renders
    for (url, operator, registry) in [
        ("http://h:5000/v3/", "http://h:5000/v3", "http://h:5000/v3/"),
        ("h:5000/./././v3//", "http://h:5000/v3", "http://h:5000/v3/"),
        ("http://h:5000/", "http://h:5000", "http://h:5000/v3"),
        ("https://h/identity/", "https://h/identity", "https://h/identity/v3"),
        ("https://h/v3", "https://h/v3", "https://h/v3"),
    ] {
        let spec: SwiftStorage = serde_json::from_value(json!({"authURL": url})).unwrap();
        let effective = Effective::of(&spec, &snapshot).unwrap();
        assert_eq!(
            (effective.auth_url.as_str(), effective.registry_url.as_str()),
            (operator, registry)
        );
    }
    let missing = of(json!({}), "auth_url: ''", "");
    assert!(missing.is_err(), "a key twice is an error of YAML");
    let error = Effective::of(&SwiftStorage::default(), &cluster("username: u, password: p", "")).unwrap_err();
    assert!(error.message.contains("auth_url in clouds.yaml is missing"), "{error}");
}

// storage-swift 38
#[test]
fn a_wrong_field_of_the_spec_is_rejected_without_a_secret() {
    for (spec, field) in [
        (json!({"authURL": "INVALID_URL"}), "authURL"),
        (json!({"authURL": "http://h:5000/./././v/3//"}), "authURL"),
        (json!({"authVersion": "abc"}), "authVersion"),
        (json!({"container": "a/b"}), "container"),
        (json!({"container": ".."}), "container"),
        (json!({"container": "x".repeat(257)}), "container"),
    ] {
        let parsed: SwiftStorage = serde_json::from_value(spec.clone()).unwrap();
        let rejection = check(&parsed).unwrap_err();
        assert_eq!(rejection.reason, Reason::InvalidConfig);
        assert!(
            rejection.message.contains(&format!("spec.storage.swift.{field} ")),
            "{rejection}"
        );
        assert!(Effective::of(&parsed, &Snapshot::empty()).is_err());
    }
    let longest = SwiftStorage {
        container: Some("x".repeat(256)),
        ..SwiftStorage::default()
    };
    assert_eq!(check(&longest), Ok(()));
}

// storage-decisions T4
#[test]
fn the_location_names_what_the_spec_says_other_than_the_platform() {
    let auth = format!("{AUTH}, project_name: P, user_domain_name: D");
    let at = |spec: Value, snapshot: &Snapshot| {
        let spec: SwiftStorage = serde_json::from_value(spec).unwrap();
        location(&spec, "c", snapshot)
    };
    let platform = cluster(&auth, "region_name: R");
    for (spec, expected) in [
        (json!({}), "openstack/-/-/c"),
        // The same in other words.
        (json!({"authURL": "https://h:5000/v3"}), "openstack/-/-/c"),
        (json!({"authURL": "https://H:5000/"}), "openstack/-/-/c"),
        (json!({"authURL": "https://h:5000/v3/./"}), "openstack/-/-/c"),
        (
            json!({"tenant": "P", "domain": "D", "regionName": "R"}),
            "openstack/-/-/c",
        ),
        (json!({"authURL": "https://other:5000/v3"}), "https://other:5000/-/-/c"),
        (json!({"tenantID": "t"}), "openstack/t/-/c"),
        (json!({"tenant": "T"}), "openstack/T@D/-/c"),
        (json!({"domain": "E"}), "openstack/P@E/-/c"),
        (json!({"regionName": "S"}), "openstack/-/S/c"),
    ] {
        assert_eq!(at(spec.clone(), &platform), expected, "{spec}");
    }
    // Another project, region or Keystone in the Secret is a change of credentials.
    let other = cluster("auth_url: 'https://x', token: t, project_id: p", "");
    assert_eq!(at(json!({}), &other), "openstack/-/-/c");
    assert_eq!(at(json!({}), &Snapshot::empty()), "openstack/-/-/c");
    let own = with_secret(names::USER_SECRET, "x", "");
    let spec = json!({"authURL": "https://h:5000/v3", "tenant": "P", "domain": "D"});
    assert_eq!(at(spec, &own), "https://h:5000/P@D/-/c");
}

// storage-swift 1, storage-core section 11
#[test]
fn the_name_is_deterministic() {
    let snapshot = cluster(AUTH, "");
    let effective = Effective::of(&SwiftStorage::default(), &snapshot).unwrap();
    let container = effective.container(&SwiftStorage::default(), &snapshot).unwrap();
    assert_eq!(container.name, "blue-x7k2p-image-registry");
    assert!(container.deterministic);
}

#[test]
fn the_endpoint_and_the_check_of_certificates_are_those_of_the_cloud() {
    for (beside, interface, verify) in [
        ("", Interface::Public, true),
        ("interface: internal", Interface::Internal, true),
        ("endpoint_type: adminURL", Interface::Admin, true),
        ("interface: public, endpoint_type: admin", Interface::Public, true),
        ("verify: false", Interface::Public, false),
        ("verify: no", Interface::Public, false),
        ("verify: true", Interface::Public, true),
    ] {
        let effective = of(json!({}), "", beside).unwrap();
        assert_eq!((effective.interface, effective.verify), (interface, verify), "{beside}");
    }
}

// Go writes the host as it was given. Any other text in the pods is replaced.
#[test]
fn running_pods_keep_the_given_spelling_of_the_host_and_nothing_else() {
    let given = "https://[FD2E:6f44:5dd8:0::5]:13000/v3";
    let normalised = "https://[fd2e:6f44:5dd8::5]:13000/v3";
    for (live, expected) in [
        (
            "https://[fd2e:6f44:5dd8:0::5]:13000/v3",
            "https://[fd2e:6f44:5dd8:0::5]:13000/v3",
        ),
        ("https://[fd2e:6f44:5dd8:0::5]:13000", normalised),
        ("https://[fd2e:6f44:5dd8:0::5]:13000//v3", normalised),
        ("https://[fd2e:6f44:5dd8:0:0::5]:13000/v3", normalised),
        ("http://[fd2e:6f44:5dd8:0::5]:13000/v3", normalised),
        ("https://elsewhere.example:13000/v3", normalised),
    ] {
        let mut snapshot = cluster(AUTH, "");
        let env = json!([{"name": "REGISTRY_STORAGE_SWIFT_AUTHURL", "value": live}]);
        snapshot.objects.insert(
            crate::api::ObjectRef::new(crate::api::Kind::Deployment, names::NAMESPACE, names::REGISTRY),
            json!({"spec": {"template": {"spec": {"containers": [{"env": env}]}}}}),
        );
        let spec: SwiftStorage = serde_json::from_value(json!({"authURL": given})).unwrap();
        assert_eq!(
            Effective::of(&spec, &snapshot).unwrap().registry_url,
            expected,
            "{live}"
        );
    }
}

// An application credential and a token have a domain. The Go operator renders none for them.
#[test]
fn a_login_that_has_a_domain_needs_no_default_one() {
    for auth in [
        "default_domain: default, application_credential_id: a, application_credential_secret: s",
        "default_domain_name: Default, token: t",
    ] {
        let snapshot = cluster(&format!("auth_url: 'https://h:5000', {auth}"), "");
        let effective = Effective::of(&SwiftStorage::default(), &snapshot).unwrap();
        assert_eq!(effective.domain, named(None, None), "{auth}");
    }
}
