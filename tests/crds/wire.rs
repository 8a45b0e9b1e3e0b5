//! Objects as the API server may store them are read without loss and written back unchanged.

use image_registry_operator::api::openshift::{
    ApiServerSpec, ClusterVersionStatus, FeatureGateStatus, ImageSpec, InfrastructureStatus, ProxyStatus,
};
use image_registry_operator::api::{Condition, Config, ConfigSpec, ConfigStatus, Generation, ImagePruner, duration};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn config(spec: &Value) -> Config {
    serde_json::from_value(json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1",
        "kind": "Config",
        "metadata": { "name": "cluster" },
        "spec": spec,
    }))
    .unwrap()
}

/// Reads an object and writes it back.
fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(value.clone()).unwrap()).unwrap()
}

// api 12 (the reading half)
#[test]
fn free_form_members_may_be_null_and_keep_any_content() {
    let read = config(&json!({ "replicas": 1, "observedConfig": null, "unsupportedConfigOverrides": null }));
    assert_eq!(
        (read.spec.observed_config, read.spec.unsupported_config_overrides),
        (None, None)
    );
    let spec = json!({
        "replicas": 1,
        "observedConfig": { "servingInfo": { "minTLSVersion": "VersionTLS12", "later": [null, 1.5, {}] } },
        "unsupportedConfigOverrides": { "deployment": { "annotations": { "a": "b" } }, "foo": [1] },
    });
    assert_eq!(through::<ConfigSpec>(&spec), spec);
}

// api 14 (the reading half)
#[test]
fn quantities_stay_integers_or_text_as_they_came() {
    let spec = json!({
        "replicas": 1,
        "resources": { "limits": { "cpu": 1, "memory": "1Gi" }, "requests": { "cpu": 0.5 }, "claims": [{ "name": "gpu" }] },
    });
    assert_eq!(through::<ConfigSpec>(&spec), spec);
}

// api 15 (the reading half)
#[test]
fn a_wait_that_nobody_can_read_does_not_keep_the_object_from_being_read() {
    for (text, expected) in [("1 day", Some(86_400_000_000_000)), ("soon 5m", None)] {
        let requests = json!({ "read": { "maxWaitInQueue": text } });
        let read = config(&json!({ "replicas": 1, "requests": requests }))
            .spec
            .requests
            .unwrap();
        let wait = read.read.unwrap().max_wait_in_queue.unwrap();
        assert_eq!((wait.as_str(), duration::parse(&wait)), (text, expected));
    }
}

// api 18 (the reading half)
#[test]
fn integers_have_the_width_of_the_api() {
    let spec = json!({
        "replicas": -1,
        "logging": 5_000_000_000_i64,
        "requests": { "write": { "maxRunning": -5_000_000_000_i64, "maxInQueue": 5_000_000_000_i64 } },
        "tolerations": [{ "operator": "Exists", "tolerationSeconds": 5_000_000_000_i64 }],
    });
    assert_eq!(through::<ConfigSpec>(&spec), spec);
    let pruner = json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1",
        "kind": "ImagePruner",
        "metadata": { "name": "cluster" },
        "spec": { "keepTagRevisions": -5_000_000_000_i64, "keepYoungerThan": 3_600_000_000_000_i64 },
        "status": { "observedGeneration": 5_000_000_000_i64 },
    });
    assert_eq!(through::<ImagePruner>(&pruner), pruner);
}

// api 20 (the writing half)
#[test]
fn the_first_status_has_what_the_api_server_asks_for() {
    let first = serde_json::to_value(ConfigStatus::default()).unwrap();
    assert_eq!(first, json!({ "storage": {}, "storageManaged": false }));
}

// api 22 (the wire's half), storage-volumes 35 (the wire's half)
#[test]
fn empty_objects_and_lists_are_not_absent_ones() {
    let spec = json!({
        "replicas": 1,
        "storage": { "emptyDir": {}, "s3": {}, "pvc": {}, "gcs": {}, "swift": {}, "azure": {}, "ibmcos": {}, "oss": {} },
        "nodeSelector": {},
        "topologySpreadConstraints": [],
        "tolerations": [],
        "affinity": {},
        "proxy": {},
        "requests": { "read": {}, "write": {} },
        "routes": [],
    });
    assert_eq!(through::<ConfigSpec>(&spec), spec);
}

#[test]
fn zero_values_that_the_go_operator_writes_are_read_as_they_are() {
    let storage = json!({
        "managementState": "Managed",
        "s3": { "bucket": "b", "virtualHostedStyle": false, "trustedCA": { "name": "" }, "encrypt": true },
    });
    let status = json!({
        "conditions": [],
        "generations": [{ "group": "apps", "resource": "deployments", "namespace": "n", "name": "r", "lastGeneration": 3, "hash": "" }],
        "observedGeneration": 4,
        "readyReplicas": 0,
        "storage": storage,
        "storageManaged": true,
    });
    assert_eq!(through::<ConfigStatus>(&status), status);
}

// api 16 (the reading half): casing is where camelCase rules go wrong, so every odd key is here.
#[test]
fn every_member_keeps_its_odd_casing() {
    let spec = json!({
        "replicas": 2,
        "httpSecret": "hidden",
        "proxy": { "http": "a", "https": "b", "noProxy": "c" },
        "requests": { "read": { "maxRunning": 1, "maxWaitInQueue": "90s" } },
        "routes": [{ "name": "r", "hostname": "h", "secretName": "s" }],
        "storage": {
            "s3": {
                "region": "r", "regionEndpoint": "e", "keyID": "k", "chunkSizeMiB": 10,
                "trustedCA": { "name": "ca" },
                "cloudFront": {
                    "baseURL": "u", "keypairID": "p", "duration": "20m",
                    "privateKey": { "name": "n", "key": "k", "optional": false },
                },
            },
            "gcs": { "projectID": "p", "keyID": "k" },
            "swift": { "authURL": "u", "authVersion": "3", "domainID": "d", "tenantID": "t", "regionName": "r" },
            "azure": {
                "accountName": "a", "cloudName": "c",
                "networkAccess": {
                    "type": "Internal",
                    "internal": {
                        "networkResourceGroupName": "g", "vnetName": "v", "subnetName": "s", "privateEndpointName": "p",
                    },
                },
            },
            "ibmcos": { "resourceGroupName": "g", "resourceKeyCRN": "k", "serviceInstanceCRN": "i" },
            "oss": { "endpointAccessibility": "", "encryption": { "method": "KMS", "kms": { "keyID": "k" } } },
        },
    });
    assert_eq!(through::<ConfigSpec>(&spec), spec);
}

// api 25 (the wire's half), api 26 (the wire's half)
#[test]
fn conditions_of_others_and_of_older_releases_are_kept() {
    let conditions = json!([
        { "type": "Available", "status": "True" },
        { "type": "any text: 1", "status": "Perhaps", "reason": "Unable to GET" },
        { "type": "SomeoneElses", "status": "False", "lastTransitionTime": "2020-01-01T00:00:00Z", "message": "m" },
    ]);
    assert_eq!(through::<Vec<Condition>>(&conditions), conditions);
}

// api 27 (generations)
#[test]
fn an_empty_group_is_a_group() {
    let written = serde_json::to_value(Generation::default()).unwrap();
    assert_eq!(
        written,
        json!({ "group": "", "resource": "", "namespace": "", "name": "" })
    );
    let older = json!({ "resource": "deployments", "name": "r" });
    assert_eq!(serde_json::from_value::<Generation>(older).unwrap().group, "");
}

// api 30 (the reading half), api 31 (the reading half), api 32
#[test]
fn an_infrastructure_is_read_whatever_it_lacks_or_adds() {
    let read = |status: Value| serde_json::from_value::<InfrastructureStatus>(status).unwrap();
    assert_eq!(read(json!({})), InfrastructureStatus::default());
    let old = read(json!({ "platform": "AWS", "platformStatus": null }));
    assert_eq!((old.platform.as_deref(), old.platform_status), (Some("AWS"), None));
    let bare = read(json!({ "platformStatus": { "type": "AWS" } }))
        .platform_status
        .unwrap();
    assert_eq!((bare.type_.as_deref(), bare.aws), (Some("AWS"), None));
    let new = read(json!({
        "controlPlaneTopology": "Orbital",
        "platformStatus": { "type": "NewCloud", "newCloud": { "region": [1] } },
    }));
    assert_eq!(new.platform_status.unwrap().type_.as_deref(), Some("NewCloud"));
}

#[test]
fn an_infrastructure_tells_what_the_backends_need() {
    let status = json!({ "platformStatus": {
        "type": "GCP",
        "aws": {
            "region": "r", "cloudLoadBalancerConfig": null, "ipFamily": "IPv4",
            "serviceEndpoints": [{ "name": "s3", "url": "https://s3" }], "resourceTags": [{ "key": "k", "value": "v" }],
        },
        "azure": { "resourceGroupName": "g", "networkResourceGroupName": "n", "cloudName": "", "resourceTags": [{ "key": "k", "value": "v" }] },
        "gcp": {
            "projectID": "p", "region": "r", "resourceLabels": [{ "key": "k", "value": "v" }],
            "resourceTags": [{ "parentID": "1", "key": "k", "value": "v" }],
            "universeDomain": "u",
        },
        "ibmcloud": {
            "location": "l", "resourceGroupName": "g", "serviceEndpoints": [{ "name": "COS", "url": "https://cos" }],
        },
        "powervs": { "region": "r", "resourceGroup": "g", "serviceEndpoints": [{ "name": "IAM", "url": "https://iam" }] },
        "openstack": { "cloudName": "c" },
        "alibabaCloud": { "region": "r" },
    } });
    let mut expected = status.clone();
    let aws = expected["platformStatus"]["aws"].as_object_mut().unwrap();
    aws.retain(|name, _| !["cloudLoadBalancerConfig", "ipFamily"].contains(&name.as_str()));
    let written = through::<InfrastructureStatus>(&status);
    assert_eq!(written["platformStatus"], expected["platformStatus"]);
}

// api 33
#[test]
fn an_empty_name_of_additional_cas_is_none() {
    for (spec, expected) in [
        (json!({}), None),
        (json!({ "additionalTrustedCA": { "name": "" } }), None),
        (json!({ "additionalTrustedCA": {} }), None),
        (json!({ "additionalTrustedCA": { "name": "cas" } }), Some("cas")),
    ] {
        assert_eq!(
            serde_json::from_value::<ImageSpec>(spec).unwrap().additional_ca_map(),
            expected
        );
    }
}

// api 36 (the reading half), api 37 (the reading half)
#[test]
fn members_of_a_tls_profile_may_be_null() {
    for (profile, kind, custom) in [
        (
            json!({ "type": "Intermediate", "intermediate": null, "old": null }),
            "Intermediate",
            false,
        ),
        (json!({ "type": "Custom", "custom": null }), "Custom", false),
        (
            json!({ "type": "Modern", "modern": {}, "custom": { "groups": ["X25519"] } }),
            "Modern",
            true,
        ),
        (json!({ "type": "Future", "future": { "a": [] } }), "Future", false),
    ] {
        let spec = json!({ "audit": { "profile": "Default" }, "tlsSecurityProfile": profile });
        let read = serde_json::from_value::<ApiServerSpec>(spec)
            .unwrap()
            .tls_security_profile
            .unwrap();
        assert_eq!((read.type_.as_deref(), read.custom.is_some()), (Some(kind), custom));
    }
    let empty = serde_json::from_value::<ApiServerSpec>(json!({ "tlsSecurityProfile": null })).unwrap();
    assert_eq!(empty.tls_security_profile, None);
}

// api 34 (the reading half)
#[test]
fn a_proxy_without_status_is_no_proxy() {
    assert_eq!(
        serde_json::from_value::<ProxyStatus>(json!({})).unwrap(),
        ProxyStatus::default()
    );
}

#[test]
fn a_cluster_version_and_its_gates_are_read_past_their_nulls() {
    let version: ClusterVersionStatus = serde_json::from_value(json!({
        "availableUpdates": null,
        "desired": { "version": "4.22.0", "image": "i", "architecture": "Multi" },
        "history": [{ "version": "4.21.3", "completionTime": null, "state": "Partial" }],
    }))
    .unwrap();
    let desired = version.desired.unwrap();
    assert_eq!(
        (desired.version.as_deref(), desired.architecture.as_deref()),
        (Some("4.22.0"), Some("Multi"))
    );
    assert_eq!(version.history.unwrap()[0].version.as_deref(), Some("4.21.3"));
    let gates: FeatureGateStatus = serde_json::from_value(json!({
        "featureGates": [{ "version": "4.22.0", "enabled": [{ "name": "A" }], "disabled": null }],
    }))
    .unwrap();
    let release = &gates.feature_gates.unwrap()[0];
    assert_eq!(release.enabled.as_ref().unwrap()[0].name.as_deref(), Some("A"));
    assert_eq!(release.disabled, None);
}
