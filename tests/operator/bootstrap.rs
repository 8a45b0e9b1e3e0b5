//! The Config that a cluster starts with, on every platform.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, condition, config_ref, is, operand};
use crate::volumes::failing_webhook;
use crate::{cluster, cluster_operator, uid, version};

fn infrastructure() -> ObjectRef {
    ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER)
}

/// Makes this the platform, and lets the operator make the Config anew.
async fn anew(lab: &Lab, status: Value) -> Value {
    lab.patch_status(&infrastructure(), json!({"status": status})).await;
    let old = lab.config().await;
    lab.delete(&config_ref()).await;
    lab.until_config("made anew", |c| uid(c) != uid(&old)).await
}

// lifecycle 21, 22, 23, 24, 25, 26, 33
#[tokio::test]
async fn every_platform_starts_with_its_own_default() {
    let lab = cluster().await;
    let _operator = lab.operator().await;
    let first = lab.until_config("there", |_| true).await;
    assert_eq!(first["metadata"]["finalizers"], json!([names::FINALIZER]));
    let platform = |name: &str, infrastructure: &str, control: &str| {
        json!({"platform": name, "platformStatus": {"type": name}, "infrastructureTopology": infrastructure,
               "controlPlaneTopology": control, "infrastructureName": "kw-abc12"})
    };
    let (single, many) = ("SingleReplica", "HighlyAvailable");
    for (name, infrastructure, control, replicas, state, backend) in [
        ("AWS", many, many, 2, "Managed", "s3"),
        ("AWS", single, single, 1, "Managed", "s3"),
        ("AWS", many, single, 2, "Managed", "s3"),
        ("Azure", many, many, 2, "Managed", "azure"),
        ("GCP", many, many, 2, "Managed", "gcs"),
        ("IBMCloud", many, many, 2, "Managed", "ibmcos"),
        ("PowerVS", many, many, 2, "Managed", "ibmcos"),
        ("BareMetal", many, many, 1, "Removed", ""),
        ("VSphere", many, many, 1, "Removed", ""),
        ("Nutanix", many, many, 1, "Removed", ""),
        ("KubeVirt", many, many, 1, "Removed", ""),
        ("EquinixMetal", many, many, 1, "Removed", ""),
        ("AlibabaCloud", many, many, 1, "Removed", ""),
        ("External", many, many, 1, "Removed", ""),
        ("Libvirt", many, many, 1, "Managed", "emptyDir"),
    ] {
        let what = format!("{name} {infrastructure} {control}");
        let config = anew(&lab, platform(name, infrastructure, control)).await;
        let spec = &config["spec"];
        assert_eq!(spec["replicas"], replicas, "{what}");
        assert_eq!(spec["managementState"], state, "{what}");
        let backends: Vec<_> = spec["storage"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| *k != "managementState")
            .collect();
        assert_eq!(
            backends,
            [backend].iter().filter(|b| !b.is_empty()).collect::<Vec<_>>(),
            "{what}"
        );
        assert_eq!(spec["rolloutStrategy"], "RollingUpdate", "{what}");
        assert_eq!(
            (&spec["logLevel"], &spec["operatorLogLevel"]),
            (&json!("Normal"), &json!("Normal"))
        );
        assert!(
            spec.pointer("/observedConfig/servingInfo/minTLSVersion").is_some(),
            "{what}"
        );
        assert_eq!(config["metadata"]["finalizers"], json!([names::FINALIZER]));
        // What is missing here: a driver, or for S3 the region.
        let missing = match backend {
            "" | "emptyDir" => continue,
            "s3" => "spec.storage.s3.region",
            _ => "not implemented",
        };
        let told = |c: &Value| condition(c, "Progressing").2.contains(missing);
        lab.until_config(&format!("{what}: telling of {missing}"), told).await;
    }
    // No platform at all.
    let bare = json!({"platform": null, "platformStatus": null});
    let config = anew(&lab, bare).await;
    assert_eq!(config["spec"]["managementState"], "Removed");
}

// lifecycle 34
#[tokio::test]
async fn where_no_config_can_be_made_the_cluster_operator_says_why() {
    let lab = cluster().await;
    lab.platform("OpenStack").await;
    let _operator = lab.operator().await;
    let failed = |o: &Value| is(o, "Degraded", "True", "BootstrapFailed");
    let told = lab
        .until(&cluster_operator(), "degraded", |o| o.is_some_and(failed))
        .await
        .unwrap();
    assert!(condition(&told, "Degraded").2.contains("OpenStack"));
    assert!(lab.get(&config_ref()).await.is_none());
    lab.platform("None").await;
    lab.until_config("there", |c| is(c, "Available", "True", "Removed"))
        .await;
    lab.until(&cluster_operator(), "mended", |o| {
        o.is_some_and(|o| condition(o, "Degraded").0 == "False")
    })
    .await;
}

// lifecycle 27, 30, 31, storage-volumes 26, 27, 28, 29
#[tokio::test]
async fn ovirt_starts_with_a_claim_that_is_never_deleted() {
    let lab = cluster().await;
    let own = operand(Kind::PersistentVolumeClaim, names::DEFAULT_CLAIM);
    lab.platform("oVirt").await;
    lab.forget_events().await;
    let hook = failing_webhook(&lab, "persistentvolumeclaims", "").await;
    let operator = lab.operator().await;
    let failed = |o: &Value, part: &str| {
        is(o, "Degraded", "True", "BootstrapFailed") && condition(o, "Degraded").2.contains(part)
    };
    lab.until(&cluster_operator(), "without a class", |o| {
        o.is_some_and(|o| failed(o, "StorageClass ovirt-csi-sc"))
    })
    .await;
    lab.create(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/none",
                      "metadata": {"name": "ovirt-csi-sc"}}),
    )
    .await;
    lab.until(&cluster_operator(), "failing", |o| {
        o.is_some_and(|o| failed(o, "failing.example.com"))
    })
    .await;
    assert!(lab.get(&config_ref()).await.is_none());
    hook.remove().await;
    let config = lab
        .until_config("on its claim", |c| {
            c["status"]["storage"]["pvc"]["claim"] == names::DEFAULT_CLAIM
        })
        .await;
    for told in [
        "Warning PersistentVolumeClaimCreateFailed",
        "Normal PersistentVolumeClaimCreated",
        "Normal ConfigCreated",
        "Normal ClusterOperatorCreated",
        "Normal ImagePrunerCreated",
    ] {
        lab.until_event(told, "").await;
    }
    let made = lab.get(&own).await.unwrap();
    assert_eq!(made["spec"]["accessModes"], json!(["ReadWriteOnce"]));
    assert_eq!(made["spec"]["storageClassName"], "ovirt-csi-sc");
    assert_eq!(made["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert!(made["metadata"]["annotations"].get(names::OWNED_ANNOTATION).is_some());
    assert_eq!(config["spec"]["rolloutStrategy"], "Recreate");
    assert_eq!(config["spec"]["replicas"], 1);
    assert_eq!(config["status"]["storage"]["managementState"], "Unmanaged");
    lab.settle().await;

    lab.edit(json!({"managementState": "Removed"})).await;
    lab.until_config("removed", |c| {
        is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({})
    })
    .await;
    assert_eq!(uid(&lab.get(&own).await.unwrap()), uid(&made));
    // A new Config finds it, and leaves it as it is.
    let before = lab.get(&own).await.unwrap();
    let old = lab.config().await;
    lab.delete(&config_ref()).await;
    lab.until_config("made anew", |c| {
        uid(c) != uid(&old) && c["status"]["storage"]["pvc"]["claim"] == names::DEFAULT_CLAIM
    })
    .await;
    lab.settle().await;
    assert_eq!(version(&lab.get(&own).await.unwrap()), version(&before));
    // A restart bootstraps nothing.
    let before = lab.config().await;
    assert!(operator.stop().await.success());
    let _operator = lab.operator().await;
    lab.until(&cluster_operator(), "there", |o| o.is_some()).await;
    lab.settle().await;
    assert_eq!(lab.config().await["spec"], before["spec"]);
}
