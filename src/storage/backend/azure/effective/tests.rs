use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;

fn cluster(azure: &Value) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": "blue-x7k2p", "platformStatus": {"type": "Azure", "azure": azure}},
    });
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": names::NAMESPACE, "uid": "1b4e28ba-2fa1"},
    });
    Snapshot {
        objects: Objects::from_values([infrastructure, namespace]).unwrap(),
        ..Snapshot::empty()
    }
}

fn spec(members: Value) -> AzureStorage {
    serde_json::from_value(members).unwrap()
}

fn of(members: Value, snapshot: &Snapshot) -> Effective {
    Effective::of(&spec(members), snapshot).unwrap()
}

// storage-azure 7, 29
#[test]
fn the_cloud_is_that_of_the_cluster_if_the_spec_names_none() {
    let government = cluster(&json!({"cloudName": "AzureUSGovernmentCloud"}));
    let effective = of(json!({}), &government);
    assert_eq!(effective.cloud_name(), "AzureUSGovernmentCloud");
    let cloud = effective.cloud(&government, &Environment::default()).unwrap();
    assert_eq!(
        effective.realm(&cloud, &government).as_deref(),
        Some("core.usgovcloudapi.net")
    );
    // Also next to an account of the user.
    assert_eq!(
        of(json!({"accountName": "mine"}), &government).cloud_name(),
        "AzureUSGovernmentCloud"
    );
    assert_eq!(
        of(json!({"cloudName": "AzureChinaCloud"}), &government).cloud_name(),
        "AzureChinaCloud"
    );
    let realm = |members, azure: Value| {
        let snapshot = cluster(&azure);
        let effective = of(members, &snapshot);
        effective.realm(&effective.cloud(&snapshot, &Environment::default()).unwrap(), &snapshot)
    };
    assert_eq!(realm(json!({}), json!({})), None);
    let public = json!({"cloudName": "AzurePublicCloud"});
    assert_eq!(realm(public.clone(), json!({})).as_deref(), Some("core.windows.net"));
    // What runs without the variable is not replaced for it.
    assert_eq!(realm(json!({}), public), None);
}

// storage-azure 29: the Go operator leaves the variable out where the Config names an account and no cloud, and the operator fills in
// the cloud later on
#[test]
fn running_pods_keep_the_realm_that_they_have_if_it_means_the_same_cloud() {
    let realm = |members: Value, cloud: &str, account: &str, live: Option<&str>| {
        let mut env = vec![json!({"name": "REGISTRY_STORAGE_AZURE_ACCOUNTNAME", "value": account})];
        env.extend(live.map(|realm| json!({"name": "REGISTRY_STORAGE_AZURE_REALM", "value": realm})));
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE},
            "spec": {"template": {"spec": {"containers": [{"name": "registry", "env": env}]}}},
        });
        let mut snapshot = cluster(&json!({"cloudName": cloud}));
        let reference = crate::api::ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY);
        snapshot.objects.insert(reference, deployment);
        let effective = of(members, &snapshot);
        effective.realm(&effective.cloud(&snapshot, &Environment::default()).unwrap(), &snapshot)
    };
    let (public, government) = ("AzurePublicCloud", "AzureUSGovernmentCloud");
    let suffix = Some("core.windows.net".to_owned());
    let of_government = Some("core.usgovcloudapi.net".to_owned());
    let named = |cloud| json!({"accountName": "mine", "cloudName": cloud});
    let unnamed = || json!({"accountName": "mine"});
    for (members, cloud, account, live, expected) in [
        (named(public), public, "mine", None, None),
        (named(public), public, "mine", Some("core.windows.net"), suffix.clone()),
        (unnamed(), public, "mine", Some("core.windows.net"), suffix.clone()),
        (unnamed(), public, "mine", None, None),
        // Pods of another account, or with the addresses of another cloud, are replaced in any case.
        (named(public), public, "other", None, suffix.clone()),
        (named(public), public, "mine", Some("core.chinacloudapi.cn"), suffix),
        (named(government), government, "mine", None, of_government.clone()),
        (unnamed(), government, "mine", Some("core.windows.net"), of_government),
        (unnamed(), "", "mine", Some("core.windows.net"), None),
    ] {
        let shown = format!("{members} {cloud} {account} {live:?}");
        assert_eq!(realm(members, cloud, account, live), expected, "{shown}");
    }
}

// storage-azure 6
#[test]
fn an_unknown_cloud_is_named() {
    let snapshot = cluster(&json!({}));
    let effective = of(json!({"cloudName": "invalid"}), &snapshot);
    let error = effective.cloud(&snapshot, &Environment::default()).unwrap_err();
    assert!(error.message.contains("\"invalid\""), "{error}");
}

// storage-azure 10.1: Azure Stack Hub has no private endpoints
#[test]
fn a_private_account_on_a_stack_is_refused() {
    let snapshot = cluster(&json!({"cloudName": "AzureStackCloud"}));
    let environment = Environment {
        stack_endpoints: Some(
            r#"{"resourceManagerEndpoint":"https://m.example","activeDirectoryEndpoint":"https://l.example",
            "tokenAudience":"https://a.example","storageEndpointSuffix":"s.example"}"#
                .to_owned(),
        ),
        ..Environment::default()
    };
    assert!(of(json!({}), &snapshot).cloud(&snapshot, &environment).unwrap().stack);
    let internal = of(json!({"networkAccess": {"type": "Internal"}}), &snapshot);
    let error = internal.cloud(&snapshot, &environment).unwrap_err();
    assert!(error.message.contains("networkAccess.type"), "{error}");
}

// storage-azure 23
#[test]
fn names_that_would_change_a_url_are_refused() {
    let snapshot = cluster(&json!({}));
    for (field, members) in [
        ("accountName", json!({"accountName": "my account"})),
        ("accountName", json!({"accountName": "evil.example/x?"})),
        ("container", json!({"container": "a/b"})),
        (
            "vnetName",
            json!({"networkAccess": {"type": "Internal", "internal": {"vnetName": "a/../b"}}}),
        ),
        (
            "networkResourceGroupName",
            json!({"networkAccess": {"internal": {"networkResourceGroupName": ".."}}}),
        ),
    ] {
        let refused = Effective::of(&spec(members), &snapshot).unwrap_err();
        assert!(refused.message.contains(field), "{}", refused.message);
    }
    assert!(
        Effective::of(&spec(json!({"accountName": "MyAccount"})), &snapshot).is_ok(),
        "Azure decides"
    );
}

// storage-azure 15
#[test]
fn tags_are_the_mark_and_those_of_the_platform_which_win() {
    let tags_of = |wanted: Value| tags(&cluster(&json!({"resourceTags": wanted}))).unwrap();
    let mark = "kubernetes.io_cluster.blue-x7k2p";
    let wanted = json!([{"key": "tag1", "value": "v1"}, {"key": "tag2", "value": ""}]);
    let expected: BTreeMap<_, _> = [(mark, "owned"), ("tag1", "v1"), ("tag2", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    assert_eq!(tags_of(wanted), expected);
    assert_eq!(tags_of(json!([{"key": mark, "value": "shared"}]))[mark], "shared");
}

// storage-decisions T4, storage-azure section 1
#[test]
fn the_location_is_cloud_account_and_container() {
    let snapshot = cluster(&json!({}));
    let located = |members| of(members, &snapshot).location();
    let public = Some("AzurePublicCloud/acct/images".to_owned());
    assert_eq!(located(json!({"accountName": "acct", "container": "images"})), public);
    let named = json!({"accountName": "acct", "container": "images", "cloudName": "azurecloud"});
    assert_eq!(located(named), public);
    assert_eq!(located(json!({"container": "images"})), None);
    let generated = of(json!({}), &snapshot).named(&snapshot);
    assert_eq!(generated.container().len(), 62);
    assert!(generated.container().starts_with("blue-x7k2p-image-registry-"));
    assert!(generated.account().starts_with("imageregistrybluex7"));
}

// storage-core 11, api 9
#[test]
fn what_the_cluster_fills_in_is_no_difference() {
    let snapshot = cluster(&json!({"cloudName": "AzurePublicCloud"}));
    let base = json!({"accountName": "a", "container": "c"});
    let with = |member: &str, value: Value| {
        let mut changed = base.clone();
        changed[member] = value;
        changed
    };
    let internal = |more: Value| with("networkAccess", json!({"type": "Internal", "internal": more}));
    for (one, other, same) in [
        (base.clone(), with("cloudName", json!("AzurePublicCloud")), true),
        (base.clone(), with("networkAccess", json!({"type": "External"})), true),
        (base.clone(), with("networkAccess", json!({})), true),
        (base.clone(), internal(json!(null)), false),
        (
            internal(json!({"vnetName": "v1"})),
            internal(json!({"vnetName": "v2"})),
            false,
        ),
        (base.clone(), with("cloudName", json!("AzureChinaCloud")), false),
        (base.clone(), with("accountName", json!("b")), false),
    ] {
        assert_eq!(
            Effective::same(&spec(one.clone()), &spec(other.clone()), &snapshot),
            same,
            "{one} {other}"
        );
    }
}
