use serde_json::{Value, json};

use super::*;
use crate::config::snapshot::Objects;

const INSTANCE: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/acc1:inst1::";

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

fn ibm() -> Value {
    json!({"type": "IBMCloud", "ibmcloud": {"location": "us-east", "resourceGroupName": "blue-group"}})
}

fn power(region: &str) -> Value {
    json!({"type": "PowerVS", "powervs": {"region": region, "resourceGroup": "power-group"}})
}

fn of(platform: &Value, spec: Value) -> Result<Effective, String> {
    let spec = serde_json::from_value(spec).unwrap();
    Effective::of(&spec, &cluster(platform)).map_err(|rejection| rejection.message)
}

// storage-ibmcos 1, 3, 27
// In part: location and resource group.
#[test]
fn what_the_spec_leaves_open_comes_from_the_platform() {
    for (platform, spec, location, group) in [
        (ibm(), json!({}), "us-east", "blue-group"),
        (ibm(), json!({"location": ""}), "us-east", "blue-group"),
        (
            ibm(),
            json!({"location": "eu-gb", "resourceGroupName": "mine"}),
            "eu-gb",
            "mine",
        ),
        (power("mad"), json!({}), "eu-de", "power-group"),
        (power("lon"), json!({}), "eu-gb", "power-group"),
        (power("mon"), json!({}), "ca-tor", "power-group"),
        (power("wdc"), json!({}), "us-east", "power-group"),
        (power("xyz"), json!({"location": "jp-tok"}), "jp-tok", "power-group"),
        (
            json!({"type": "None"}),
            json!({"location": "jp-tok", "resourceGroupName": "mine"}),
            "jp-tok",
            "mine",
        ),
    ] {
        let effective = of(&platform, spec).unwrap();
        assert_eq!(effective.location, location);
        assert_eq!(effective.resource_group.as_deref(), Some(group));
        assert_eq!(effective.constraint(), format!("{location}-smart"));
    }
}

// storage-ibmcos 4, 5
#[test]
fn what_is_not_known_is_told_with_the_field_that_tells_it() {
    for (platform, spec, expected) in [
        (power("xyz"), json!({}), &["xyz", "spec.storage.ibmcos.location"][..]),
        (json!({"type": "None"}), json!({}), &["spec.storage.ibmcos.location"]),
        (
            json!({"type": "AWS", "ibmcloud": {"location": "us-east"}}),
            json!({}),
            &["spec.storage.ibmcos.location"],
        ),
        (
            json!({"type": "IBMCloud"}),
            json!({}),
            &["spec.storage.ibmcos.location"],
        ),
        (
            json!({"type": "IBMCloud", "ibmcloud": {}}),
            json!({}),
            &["spec.storage.ibmcos.location"],
        ),
        (
            json!({"type": "PowerVS", "powervs": {"region": "tok"}}),
            json!({}),
            &["resourceGroupName", "serviceInstanceCRN"],
        ),
        (ibm(), json!({"location": "evil.example/"}), &["evil.example/"]),
        (ibm(), json!({"bucket": "a/b"}), &["a/b", "spec.storage.ibmcos.bucket"]),
        (ibm(), json!({"bucket": ".."}), &["spec.storage.ibmcos.bucket"]),
    ] {
        let message = of(&platform, spec).unwrap_err();
        assert!(expected.iter().all(|word| message.contains(word)), "{message}");
    }
    // An instance has a resource group.
    let named = json!({"serviceInstanceCRN": INSTANCE});
    assert!(of(&json!({"type": "PowerVS", "powervs": {"region": "tok"}}), named).is_ok());
}

#[test]
fn a_bucket_without_a_name_gets_one_of_cluster_and_location() {
    let effective = of(&ibm(), json!({})).unwrap();
    let container = effective.container(&cluster(&ibm())).unwrap();
    assert_eq!(container.name, "blue-x7k2p-image-registry-us-east");
    assert!(container.deterministic && container.location.is_empty());
    let effective = of(&ibm(), json!({"bucket": "images", "serviceInstanceCRN": INSTANCE})).unwrap();
    let container = effective.container(&cluster(&ibm())).unwrap();
    assert_eq!(container.location, format!("{INSTANCE}/images"));
    assert!(!container.deterministic);
}

#[test]
fn members_that_the_cluster_fills_in_make_no_difference() {
    let snapshot = cluster(&ibm());
    let read = |spec: Value| -> IbmCosStorage { serde_json::from_value(spec).unwrap() };
    let full = json!({
        "bucket": "blue-x7k2p-image-registry-us-east", "location": "us-east", "resourceGroupName": "blue-group",
        "serviceInstanceCRN": INSTANCE, "resourceKeyCRN": "key",
    });
    for (other, same) in [
        (json!({"serviceInstanceCRN": INSTANCE, "resourceKeyCRN": "key"}), true),
        (
            json!({"serviceInstanceCRN": INSTANCE, "resourceKeyCRN": "another"}),
            false,
        ),
        (
            json!({"serviceInstanceCRN": INSTANCE, "resourceKeyCRN": "key", "location": "eu-gb"}),
            false,
        ),
        (json!({"resourceKeyCRN": "key"}), false),
    ] {
        assert_eq!(
            Effective::same(&read(full.clone()), &read(other.clone()), &snapshot),
            same,
            "{other}"
        );
    }
}
