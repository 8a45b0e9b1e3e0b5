use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;

fn pem(name: &str) -> String {
    let certificate = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    certificate.cert.pem()
}

fn cluster(cacert: Option<&str>, of_map: Option<&str>) -> Snapshot {
    let secret = cacert.map(|pem| {
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"cacert": STANDARD.encode(pem)},
            "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE}})
    });
    let map = of_map.map(|pem| -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca-bundle.pem": pem},
            "metadata": {"name": names::CLOUD_PROVIDER_CONFIG, "namespace": names::CONFIG_NAMESPACE}})
    });
    Snapshot {
        objects: Objects::from_values(secret.into_iter().chain(map)).unwrap(),
        ..Snapshot::empty()
    }
}

// storage-swift 31
#[test]
fn the_ca_of_the_secret_comes_before_that_of_the_config_map() {
    let (one, two) = (pem("one"), pem("two"));
    for (cacert, of_map, expected) in [
        (Some(&*one), Some(&*two), Some(&*one)),
        (None, Some(&two), Some(&*two)),
        (Some(""), Some(&two), Some(&*two)),
        (Some(&one), None, Some(&*one)),
        (None, None, None),
        (None, Some(" \n"), None),
    ] {
        let snapshot = cluster(cacert, of_map);
        assert_eq!(published(&snapshot).unwrap().as_deref(), expected);
        let trust = trust(true, &snapshot).unwrap();
        assert!(trust.system && !trust.unverified);
        assert_eq!(trust.bundle.trim(), expected.unwrap_or_default().trim());
    }
    assert!(super::trust(false, &cluster(None, None)).unwrap().unverified);
}

#[test]
fn a_bundle_without_a_certificate_is_an_error_that_names_its_place() {
    for (cacert, of_map, place) in [
        (
            Some("none"),
            None,
            "key cacert of Secret openshift-image-registry/installer-cloud-credentials",
        ),
        (
            None,
            Some("none"),
            "key ca-bundle.pem of ConfigMap openshift-config/cloud-provider-config",
        ),
    ] {
        let error = published(&cluster(cacert, of_map)).unwrap_err();
        assert!(
            error.message.contains(place) && error.message.contains("no certificate"),
            "{error}"
        );
    }
}
