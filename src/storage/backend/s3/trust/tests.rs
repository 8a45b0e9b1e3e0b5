use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::api::{Config, Kind};
use crate::config::snapshot::Objects;
use crate::names;

fn certificate(name: &str) -> String {
    let key = KeyPair::generate().unwrap();
    CertificateParams::new([name.to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem()
}

fn map(namespace: &str, name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}, "data": {key: value},
    })
}

fn proxy() -> Value {
    json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
        "spec": {"trustedCA": {"name": "proxy-ca"}},
    })
}

fn proxy_ca(pem: &str) -> Value {
    map("openshift-config", "proxy-ca", "ca-bundle.crt", pem)
}

fn store_ca(pem: &str) -> Value {
    map("openshift-config", "store-ca", "ca-bundle.crt", pem)
}

fn cloud_ca(pem: &str) -> Value {
    map("openshift-config-managed", "kube-cloud-config", "ca-bundle.pem", pem)
}

fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    Snapshot {
        objects: Objects::from_values(objects).unwrap(),
        ..Snapshot::empty()
    }
}

fn s3_spec(trusted_ca: &str) -> S3Storage {
    serde_json::from_value(json!({"trustedCA": {"name": trusted_ca}})).unwrap()
}

/// ConfigMaps among the objects that the storage of this Config reads.
fn watched_maps(config: &Config, snapshot: &Snapshot) -> Vec<ObjectRef> {
    let mut inputs = crate::storage::inputs(config, snapshot);
    inputs.retain(|input| input.kind == Kind::ConfigMap);
    inputs
}

fn roots(bundle: &str, system: bool) -> Trust {
    Trust {
        bundle: bundle.to_owned(),
        system,
        unverified: false,
    }
}

// storage-s3 43
// In part: 43 (whom S3 trusts).
#[test]
fn under_a_trusted_ca_only_this_and_the_proxy_s_count_and_sts_has_the_system_s_too() {
    let (store, proxy_pem, cloud) = (certificate("store"), certificate("proxy"), certificate("cloud"));
    let all = [store_ca(&store), proxy(), proxy_ca(&proxy_pem), cloud_ca(&cloud)];
    let both = format!("{store}{proxy_pem}");
    let expected = S3Trust {
        s3: roots(&both, false),
        sts: roots(&both, true),
        publish: Some(store.clone()),
    };
    assert_eq!(trust(&s3_spec("store-ca"), &snapshot(all)).unwrap(), expected);
    let alone = trust(&s3_spec("store-ca"), &snapshot([store_ca(store.trim_end())])).unwrap();
    assert_eq!(alone.s3, roots(&format!("{}\n", store.trim_end()), false));
}

// storage-s3 44
// In part: 44 (whom S3 trusts).
#[test]
fn without_a_trusted_ca_the_cloud_s_bundle_counts_beside_the_system_s() {
    let (cloud, proxy_pem) = (certificate("cloud"), certificate("proxy"));
    for named in [s3_spec(""), S3Storage::default()] {
        let found = trust(&named, &snapshot([cloud_ca(&cloud)])).unwrap();
        let expected = S3Trust {
            s3: roots(&cloud, true),
            sts: roots(&cloud, true),
            publish: Some(cloud.clone()),
        };
        assert_eq!(found, expected);
        let system_only = S3Trust {
            s3: roots("", true),
            sts: roots("", true),
            publish: None,
        };
        let without_key = map("openshift-config-managed", "kube-cloud-config", "cloud.conf", "x");
        for objects in [vec![], vec![without_key], vec![cloud_ca(" \n")], vec![store_ca(&cloud)]] {
            assert_eq!(trust(&named, &snapshot(objects)).unwrap(), system_only);
        }
        let behind = trust(&named, &snapshot([proxy(), proxy_ca(&proxy_pem)])).unwrap();
        assert_eq!((behind.s3, behind.publish), (roots(&proxy_pem, true), None));
    }
}

// storage-s3 43
// In part: 43 (what is missing).
#[test]
fn a_missing_map_or_key_is_named_and_so_is_a_bundle_without_a_certificate() {
    let other_key = map("openshift-config", "store-ca", "ca.crt", &certificate("store"));
    let broken = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    let key_only = KeyPair::generate().unwrap().serialize_pem();
    for (objects, cause) in [
        (vec![], "ConfigMap is not found"),
        (vec![other_key], "key is not found"),
        (vec![store_ca("")], "key is not found or empty"),
        (vec![store_ca("hello")], "no certificate"),
        (vec![store_ca(broken)], "no certificate"),
        (vec![store_ca(&key_only)], "no certificate"),
    ] {
        let message = trust(&s3_spec("store-ca"), &snapshot(objects)).unwrap_err().message;
        assert!(
            message.contains("openshift-config/store-ca") && message.contains("ca-bundle.crt"),
            "{message}"
        );
        assert!(message.contains(cause), "{message}");
    }
    let message = trust(&s3_spec(""), &snapshot([cloud_ca("hello")])).unwrap_err().message;
    assert!(
        message.contains("openshift-config-managed/kube-cloud-config"),
        "{message}"
    );
}

#[test]
fn a_proxy_s_ca_that_is_missing_or_empty_is_left_out() {
    let store = certificate("store");
    for objects in [vec![], vec![proxy_ca("hello")]] {
        let objects = objects.into_iter().chain([proxy(), store_ca(&store)]);
        assert_eq!(
            trust(&s3_spec("store-ca"), &snapshot(objects)).unwrap().s3,
            roots(&store, false)
        );
    }
}

#[test]
fn the_maps_of_spec_status_cloud_and_proxy_are_followed() {
    let config = |spec: Value, status: Value| -> Config {
        serde_json::from_value(json!({
            "metadata": {"name": "cluster"}, "spec": {"replicas": 1, "storage": spec},
            "status": {"storage": status, "storageManaged": false},
        }))
        .unwrap()
    };
    let named = |name: &str| json!({"s3": {"trustedCA": {"name": name}}});
    let followed = |config: &Config, snapshot: &Snapshot| -> Vec<String> {
        let maps = watched_maps(config, snapshot);
        maps.iter()
            .map(|map| format!("{}/{}", map.namespace, map.name))
            .collect()
    };
    let cloud = "openshift-config-managed/kube-cloud-config";
    assert_eq!(
        followed(&config(named("new"), named("old")), &snapshot([proxy()])),
        [
            "openshift-config/new",
            "openshift-config/old",
            "openshift-config/proxy-ca",
            cloud
        ]
    );
    assert_eq!(
        followed(&config(named("same"), named("same")), &snapshot([])),
        ["openshift-config/same", cloud]
    );
    assert_eq!(followed(&config(json!({"s3": {}}), json!({})), &snapshot([])), [cloud]);
    assert!(followed(&config(json!({"pvc": {}}), json!({})), &snapshot([proxy()])).is_empty());
}

// storage-decisions 19: what deletes a probe needs the map that only the probe's record names
#[test]
fn the_map_of_a_recorded_probe_is_watched_though_the_config_names_another() {
    let left = json!([{
        "location": "https://a.example/a", "key": "docker/registry/v2/_preflight/uid", "at": "2026-05-04T03:02:01Z",
        "storage": {"s3": {"bucket": "a", "regionEndpoint": "https://a.example", "trustedCA": {"name": "a-ca"}}},
    }]);
    let mut config: Config = serde_json::from_value(json!({
        "metadata": {"name": "cluster", "annotations": {names::STORAGE_PROBE_ANNOTATION: left.to_string()}},
        "spec": {"replicas": 1, "storage": {"s3": {"bucket": "b", "trustedCA": {"name": "b-ca"}}}},
    }))
    .unwrap();
    let named = |config: &Config| -> Vec<String> {
        let maps = watched_maps(config, &Snapshot::empty());
        maps.into_iter()
            .map(|map| map.name)
            .filter(|name| name.ends_with("-ca"))
            .collect()
    };
    assert_eq!(named(&config), ["a-ca", "b-ca"]);
    config.spec.storage = None;
    assert_eq!(named(&config), ["a-ca"]);
}
