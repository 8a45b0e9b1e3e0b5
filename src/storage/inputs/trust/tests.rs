use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;

fn certificate() -> String {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["store.example.com".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem()
}

fn binary(bytes: &[u8]) -> Value {
    json!(STANDARD.encode(bytes))
}

/// A cluster with one ConfigMap, with these members.
fn cluster(namespace: &str, name: &str, members: &Value) -> Snapshot {
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": namespace, "name": name}});
    map.as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    let proxy = json!({"apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
                       "spec": {"trustedCA": {"name": "proxy-ca"}}});
    Snapshot {
        objects: Objects::from_values([map, proxy]).unwrap(),
        ..Snapshot::empty()
    }
}

// spec/README 13: what `kubectl create configmap --from-file` stores of a file that is not UTF-8
#[test]
fn a_bundle_is_read_from_data_or_from_binary_data() {
    let pem = certificate();
    let (windows, latin) = (
        pem.replace('\n', "\r\n"),
        [b"# CA of M\xfcnchen\n", pem.as_bytes()].concat(),
    );
    let marked = [b"\xef\xbb\xbf", pem.as_bytes()].concat();
    let two = format!("{pem}{pem}");
    let key = names::CA_BUNDLE_KEY;
    for (what, members, usable) in [
        ("text", json!({"data": {key: pem}}), true),
        ("binary", json!({"binaryData": {key: binary(pem.as_bytes())}}), true),
        (
            "binary with empty text",
            json!({"data": {key: ""}, "binaryData": {key: binary(pem.as_bytes())}}),
            true,
        ),
        (
            "binary beside other text",
            json!({"data": {"note": "x"}, "binaryData": {key: binary(pem.as_bytes())}}),
            true,
        ),
        (
            "a comment in ISO 8859-1",
            json!({"binaryData": {key: binary(&latin)}}),
            true,
        ),
        ("a byte order mark", json!({"binaryData": {key: binary(&marked)}}), true),
        (
            "line ends of Windows",
            json!({"binaryData": {key: binary(windows.as_bytes())}}),
            true,
        ),
        (
            "two certificates",
            json!({"binaryData": {key: binary(two.as_bytes())}}),
            true,
        ),
        (
            "another key",
            json!({"binaryData": {"ca.crt": binary(pem.as_bytes())}}),
            false,
        ),
        (
            "DER",
            json!({"binaryData": {key: binary(b"\x30\x82\x01\x00\xff")}}),
            false,
        ),
        ("nothing", json!({}), false),
        ("empty", json!({"data": {key: ""}, "binaryData": {key: ""}}), false),
        ("not base64", json!({"binaryData": {key: "%%%"}}), false),
    ] {
        let named = named_bundle(
            "spec.storage.s3.trustedCA",
            "store-ca",
            &cluster(names::CONFIG_NAMESPACE, "store-ca", &members),
        );
        assert_eq!(named.is_ok(), usable, "{what}: {named:?}");
        if let Ok(bundle) = named {
            assert!(bundle.contains("-----BEGIN CERTIFICATE-----"), "{what}: {bundle}");
        }
        let proxy = cluster(names::CONFIG_NAMESPACE, "proxy-ca", &members);
        assert_eq!(proxy_bundle(&proxy).is_some(), usable, "{what}, of the proxy");
        let members = members.to_string().replace(key, names::CLOUD_CA_KEY);
        let members = serde_json::from_str(&members).unwrap();
        let cloud = cloud_bundle(&cluster(
            names::CONFIG_MANAGED_NAMESPACE,
            names::CLOUD_CONFIG_MAP,
            &members,
        ));
        // A bundle of the cloud that is missing is no error; one without a certificate is.
        assert_eq!(matches!(cloud, Ok(Some(_))), usable, "{what}, of the cloud: {cloud:?}");
    }
}
