use super::*;
use crate::api::Config;
use crate::config::tls::ServingInfo;

fn infrastructure(status: Value) -> InfrastructureStatus {
    serde_json::from_value(status).unwrap()
}

fn infrastructure_of(platform: &str) -> InfrastructureStatus {
    infrastructure(json!({"platformStatus": {"type": platform}}))
}

/// The Config that bootstrap creates on a platform whose default storage needs no request to the cloud.
fn bootstrapped(infrastructure: &InfrastructureStatus) -> Value {
    let storage = match storage(platform(infrastructure).as_deref()) {
        PlatformStorage::Backend(storage) => Some(*storage),
        PlatformStorage::Nothing => None,
        PlatformStorage::SwiftOrClaim => panic!("needs a request to the cloud"),
    };
    bootstrap_config(
        infrastructure,
        storage.as_ref(),
        &ServingInfo::observed(None).to_observed_config(),
    )
}

/// `storage`, `replicas`, `managementState` and `rolloutStrategy`.
fn summary(config: &Value) -> (Value, Value, Value, Value) {
    let spec = &config["spec"];
    (
        spec["storage"].clone(),
        spec["replicas"].clone(),
        spec["managementState"].clone(),
        spec["rolloutStrategy"].clone(),
    )
}

// lifecycle 21
#[test]
fn a_cloud_platform_gets_its_object_store_and_two_replicas() {
    let config = bootstrapped(&infrastructure_of("AWS"));
    assert_eq!(
        summary(&config),
        (json!({"s3": {}}), json!(2), json!("Managed"), json!("RollingUpdate"))
    );
    assert_eq!(config["spec"]["logLevel"], "Normal");
    assert_eq!(config["spec"]["operatorLogLevel"], "Normal");
    assert_eq!(
        config["metadata"],
        json!({"name": "cluster", "finalizers": ["imageregistry.operator.openshift.io/finalizer"]})
    );
    assert_eq!(
        config["spec"]["observedConfig"]["servingInfo"]["minTLSVersion"],
        "VersionTLS12"
    );
    assert_eq!(config["spec"].get("httpSecret"), None);
    assert!(serde_json::from_value::<Config>(config).is_ok());
}

// lifecycle 22
// lifecycle 23
// storage-core 4
#[test]
fn a_cluster_with_one_worker_node_gets_one_replica() {
    for (worker, control_plane, replicas) in [
        ("SingleReplica", "SingleReplica", 1),
        ("SingleReplica", "HighlyAvailable", 1),
        ("HighlyAvailable", "SingleReplica", 2),
        ("HighlyAvailable", "HighlyAvailable", 2),
    ] {
        let topology = json!({
            "platformStatus": {"type": "AWS"}, "infrastructureTopology": worker, "controlPlaneTopology": control_plane,
        });
        assert_eq!(
            bootstrapped(&infrastructure(topology))["spec"]["replicas"],
            json!(replicas),
            "{worker} {control_plane}"
        );
    }
}

// lifecycle 24
// lifecycle 25
// lifecycle 26
// lifecycle 27: the Config
// storage-core 2
// storage-core 3
// api 31: no member of the platform is needed
// api 32
#[test]
fn every_platform_gets_its_default_storage() {
    let cloud = |backend: &str| (json!({backend: {}}), 2, "Managed", "RollingUpdate");
    let nothing = || (json!({}), 1, "Removed", "RollingUpdate");
    let disk = || (json!({"emptyDir": {}}), 1, "Managed", "RollingUpdate");
    for (platform, expected) in [
        ("Azure", cloud("azure")),
        ("GCP", cloud("gcs")),
        ("IBMCloud", cloud("ibmcos")),
        ("PowerVS", cloud("ibmcos")),
        (
            "oVirt",
            (
                json!({"pvc": {"claim": "image-registry-storage"}}),
                1,
                "Managed",
                "Recreate",
            ),
        ),
        ("BareMetal", nothing()),
        ("VSphere", nothing()),
        ("None", nothing()),
        ("Nutanix", nothing()),
        ("KubeVirt", nothing()),
        ("EquinixMetal", nothing()),
        ("AlibabaCloud", nothing()),
        ("External", nothing()),
        ("Libvirt", disk()),
        ("NewCloud", disk()),
        ("", disk()),
        ("aws", disk()),
    ] {
        let (storage, replicas, state, rollout) = expected;
        let expected = (storage, json!(replicas), json!(state), json!(rollout));
        assert_eq!(
            summary(&bootstrapped(&infrastructure_of(platform))),
            expected,
            "{platform}"
        );
    }
    let untyped = infrastructure(json!({"platformStatus": {}}));
    assert_eq!(
        summary(&bootstrapped(&untyped)).0,
        json!({"emptyDir": {}}),
        "platformStatus without type is an unknown platform"
    );
}

#[test]
fn openstack_gets_swift_or_a_claim() {
    let openstack = infrastructure_of("OpenStack");
    assert_eq!(storage(platform(&openstack).as_deref()), PlatformStorage::SwiftOrClaim);
    let claim = bootstrap_config(&openstack, Some(&claim_storage()), &Value::Null);
    let expected = (
        json!({"pvc": {"claim": "image-registry-storage"}}),
        json!(1),
        json!("Managed"),
        json!("Recreate"),
    );
    assert_eq!(summary(&claim), expected);
    let swift = Storage {
        swift: Some(crate::api::registry_config::SwiftStorage::default()),
        ..Storage::default()
    };
    let swift = bootstrap_config(&openstack, Some(&swift), &Value::Null);
    assert_eq!(
        summary(&swift),
        (json!({"swift": {}}), json!(2), json!("Managed"), json!("RollingUpdate"))
    );
}

#[test]
fn the_installation_sets_fields_of_a_new_config() {
    let none = infrastructure(json!({}));
    let given = |text: &str| serde_saphyr::from_str::<Map<String, Value>>(text).unwrap();
    let of = |text: &str| {
        let storage = given_storage(&given(text)).unwrap();
        with_spec(
            bootstrap_config(&none, storage.as_ref(), &json!({"a": 1})),
            &given(text),
        )
    };
    assert_eq!(of(""), bootstrap_config(&none, None, &json!({"a": 1})));
    let empty_dir = of("storage: {emptyDir: {}}");
    let expected = (
        json!({"emptyDir": {}}),
        json!(1),
        json!("Managed"),
        json!("RollingUpdate"),
    );
    assert_eq!(summary(&empty_dir), expected);
    let s3 = of("{storage: {s3: {bucket: images}}, replicas: 3, defaultRoute: true}");
    let expected = (
        json!({"s3": {"bucket": "images"}}),
        json!(3),
        json!("Managed"),
        json!("RollingUpdate"),
    );
    assert_eq!(summary(&s3), expected);
    assert_eq!(s3["spec"]["defaultRoute"], true);
    assert_eq!(s3["spec"]["observedConfig"], json!({"a": 1}));
    assert_eq!(summary(&of("storage: {pvc: {claim: mine}}")).3, "Recreate");
    assert_eq!(
        summary(&of("{storage: {emptyDir: {}}, managementState: Removed}")).2,
        "Removed"
    );
    for wrong in ["{s3: {bucket: [1]}}", "{}", "{S3: {bucket: images}}"] {
        assert!(given_storage(&given(&format!("storage: {wrong}"))).is_err(), "{wrong}");
    }
}

// lifecycle 27: the claim
#[test]
fn the_bootstrap_claim_has_the_owner_annotation_and_the_storage_class_of_the_platform() {
    for (platform, given, class) in [
        (Some("oVirt"), None, "ovirt-csi-sc"),
        (Some("OpenStack"), None, "standard-csi"),
        (None, Some("own"), "own"),
    ] {
        let claim = claim("ReadWriteOnce", Some(given.unwrap_or(bootstrap_class(platform))));
        assert_eq!(claim["metadata"]["name"], "image-registry-storage");
        assert_eq!(claim["metadata"]["namespace"], "openshift-image-registry");
        assert_eq!(
            claim["metadata"]["annotations"],
            json!({"imageregistry.openshift.io": "true"})
        );
        let spec = json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}}, "storageClassName": class,
        });
        assert_eq!(claim["spec"], spec);
    }
}

// lifecycle 33
// api 30
// storage-core 7: no platform, so nothing
#[test]
fn the_deprecated_platform_field_counts_only_without_platform_status() {
    for (status, expected) in [
        (json!({"platformStatus": null, "platform": "AWS"}), json!({"s3": {}})),
        (json!({"platform": "AWS"}), json!({"s3": {}})),
        (json!({"platform": ""}), json!({})),
        (json!({"platformStatus": null}), json!({})),
        (json!({}), json!({})),
        (
            json!({"platform": "AWS", "platformStatus": {"type": "GCP"}}),
            json!({"gcs": {}}),
        ),
    ] {
        let config = bootstrapped(&infrastructure(status.clone()));
        assert_eq!(config["spec"]["storage"], expected, "{status}");
        let state = if expected == json!({}) { "Removed" } else { "Managed" };
        assert_eq!(config["spec"]["managementState"], state, "{status}");
    }
}
