use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;

fn cluster(platform: &Value) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": "blue-x7k2p", "platformStatus": platform},
    });
    Snapshot {
        objects: Objects::from_values([infrastructure]).unwrap(),
        ..Snapshot::empty()
    }
}

fn alibaba() -> Value {
    json!({"type": "AlibabaCloud", "alibabaCloud": {"region": "eu-central-1"}})
}

fn of(platform: &Value, spec: Value) -> Result<Effective, String> {
    let spec = serde_json::from_value(spec).unwrap();
    Effective::of(&spec, &cluster(platform)).map_err(|rejection| rejection.message)
}

// issue 13: internal and public endpoints by region
#[test]
fn the_endpoint_follows_region_and_accessibility() {
    for (platform, spec, endpoint) in [
        (
            alibaba(),
            json!({}),
            "https://s3.oss-eu-central-1-internal.aliyuncs.com",
        ),
        (
            alibaba(),
            json!({"endpointAccessibility": "Internal"}),
            "https://s3.oss-eu-central-1-internal.aliyuncs.com",
        ),
        (
            alibaba(),
            json!({"endpointAccessibility": ""}),
            "https://s3.oss-eu-central-1-internal.aliyuncs.com",
        ),
        (
            alibaba(),
            json!({"endpointAccessibility": "Public"}),
            "https://s3.oss-eu-central-1.aliyuncs.com",
        ),
        (
            alibaba(),
            json!({"region": "cn-hangzhou"}),
            "https://s3.oss-cn-hangzhou-internal.aliyuncs.com",
        ),
        (
            json!({"type": "None"}),
            json!({"region": "oss-cn-hangzhou"}),
            "https://s3.oss-cn-hangzhou-internal.aliyuncs.com",
        ),
    ] {
        assert_eq!(of(&platform, spec).unwrap().endpoint(), endpoint);
    }
}

// issue 13: what OSS's S3 API cannot do is refused by name
#[test]
fn what_cannot_be_done_is_refused_by_its_field() {
    for (spec, expected) in [
        (
            json!({"encryption": {"method": "KMS", "kms": {"keyID": "key-1"}}}),
            &["encryption.kms.keyID", "key-1"][..],
        ),
        (json!({"encryption": {"method": "KMS"}}), &["encryption.method", "KMS"]),
        (json!({"encryption": {"method": "SM4"}}), &["encryption.method", "SM4"]),
        (json!({"region": "evil.example/"}), &["spec.storage.oss.region"]),
        (json!({"bucket": "a.b"}), &["spec.storage.oss.bucket"]),
        (json!({"bucket": "Images"}), &["spec.storage.oss.bucket"]),
    ] {
        let message = of(&alibaba(), spec).unwrap_err();
        assert!(expected.iter().all(|word| message.contains(word)), "{message}");
    }
    let message = of(&json!({"type": "None"}), json!({})).unwrap_err();
    assert!(message.contains("spec.storage.oss.region"), "{message}");
    for (spec, encrypt) in [
        (json!({}), false),
        (json!({"encryption": {}}), true),
        (json!({"encryption": {"method": "AES256"}}), true),
    ] {
        assert_eq!(of(&alibaba(), spec).unwrap().encrypt, encrypt);
    }
}

#[test]
fn a_bucket_without_a_name_gets_one_that_can_be_part_of_a_host_name() {
    let container = of(&alibaba(), json!({}))
        .unwrap()
        .container(&cluster(&alibaba()))
        .unwrap();
    assert_eq!(container.name, "blue-x7k2p-image-registry-eu-central-1");
    assert!(container.deterministic);
    assert_eq!(
        container.location,
        "aliyuncs.com/blue-x7k2p-image-registry-eu-central-1"
    );
}

#[test]
fn members_that_the_cluster_fills_in_make_no_difference() {
    let snapshot = cluster(&alibaba());
    let read = |spec: Value| -> OssStorage { serde_json::from_value(spec).unwrap() };
    let full = json!({
        "bucket": "blue-x7k2p-image-registry-eu-central-1", "region": "eu-central-1", "endpointAccessibility": "Internal",
    });
    for (other, same) in [
        (json!({}), true),
        (json!({"endpointAccessibility": ""}), true),
        (json!({"endpointAccessibility": "Public"}), false),
        (json!({"encryption": {"method": "AES256"}}), false),
        (json!({"region": "cn-hangzhou"}), false),
    ] {
        assert_eq!(
            Effective::same(&read(full.clone()), &read(other.clone()), &snapshot),
            same,
            "{other}"
        );
    }
}
