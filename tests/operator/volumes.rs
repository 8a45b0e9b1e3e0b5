//! Claims: whose they are, when they fit, and when their data goes.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::support::{Lab, condition, is, is_up, operand};
use crate::{come_up, deployment, env, observed, registry, uid};

const OWN: &str = names::DEFAULT_CLAIM;

fn claim_ref(name: &str) -> ObjectRef {
    operand(Kind::PersistentVolumeClaim, name)
}

fn own() -> ObjectRef {
    claim_ref(OWN)
}

fn claim(name: &str, modes: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": names::NAMESPACE},
           "spec": {"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}}})
}

/// `spec.storage` with this claim instead of what was there.
fn on(name: &str) -> Value {
    json!({"emptyDir": null, "managementState": null, "pvc": {"claim": name}})
}

fn on_own() -> Value {
    json!({"emptyDir": null, "managementState": null, "pvc": {"claim": null}})
}

/// The Deployment's claim.
fn mounted(deployment: &Value) -> Option<&str> {
    deployment
        .pointer("/spec/template/spec/volumes/0/persistentVolumeClaim/claimName")?
        .as_str()
}

async fn until_mounted(lab: &Lab, name: &str) -> Value {
    lab.until(&deployment(), &format!("on claim {name}"), |o| {
        o.is_some_and(|o| mounted(o) == Some(name))
    })
    .await
    .unwrap()
}

/// Volumes for claims to bind, removed before and after.
async fn volumes(lab: &Lab, names: &[&str], modes: &[&str]) {
    let api: Api<PersistentVolume> = Api::all(lab.client.clone());
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    while !api.list(&ListParams::default()).await.unwrap().items.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for name in names {
        lab.cluster.host_volume(name, modes).await.unwrap();
    }
}

// storage-core 12, storage-volumes 1, 17, 19, 22
#[tokio::test]
async fn an_own_claim_comes_with_the_registry_and_goes_with_it() {
    let lab = crate::cluster().await;
    volumes(&lab, &["first", "second"], &["ReadWriteMany"]).await;
    let mut config = Lab::managed(json!({"pvc": {}}));
    config["spec"]["rolloutStrategy"] = json!("RollingUpdate");
    lab.create(config).await;
    let _operator = lab.operator().await;
    let config = lab.until_config("up", is_up).await;
    let first = lab.get(&own()).await.unwrap();
    assert_eq!(first["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(first["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert_eq!(first["metadata"]["annotations"][names::OWNED_ANNOTATION], "true");
    assert_eq!(first["spec"].get("storageClassName"), None);
    let storage = json!({"pvc": {"claim": OWN}, "managementState": "Managed"});
    assert_eq!(config["spec"]["storage"], storage);
    assert_eq!(config["status"]["storage"], storage);
    assert_eq!(config["status"]["storageManaged"], true);
    let found = until_mounted(&lab, OWN).await;
    assert_eq!(env(&found, "REGISTRY_STORAGE"), Some("filesystem"));
    assert_eq!(
        env(&found, "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
        Some("/registry")
    );

    // Another pass finds nothing to do.
    lab.settle().await;
    let before = lab
        .patch(
            &crate::support::config_ref(),
            json!({"metadata": {"annotations": {"look": "again"}}}),
        )
        .await;
    lab.rests(std::time::Duration::from_secs(1)).await;
    assert_eq!(crate::version(&before), crate::version(&lab.config().await));

    lab.edit(json!({"managementState": "Removed"})).await;
    let gone = |c: &Value| is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({});
    let config = lab.until_config("removed", gone).await;
    assert!(lab.get(&own()).await.is_none());
    assert!(is(&config, "StorageExists", "False", "PVC Deleted"));
    // Nothing is named any more, so that nobody takes it for the user's choice.
    assert_eq!(config["spec"]["storage"]["pvc"], json!({}));

    lab.edit(json!({"managementState": "Managed"})).await;
    lab.until_config("up again", is_up).await;
    let second = lab.get(&own()).await.unwrap();
    assert_ne!(uid(&first), uid(&second));
}

// lifecycle 48, 51, 116, storage-core 44, storage-volumes 21
#[tokio::test]
async fn storage_that_cannot_be_deleted_is_told_and_keeps_the_finalizer() {
    let (lab, _operator) = registry(json!({})).await;
    lab.edit(json!({"storage": on_own()})).await;
    until_mounted(&lab, OWN).await;
    lab.settle().await;
    let hook = failing_webhook(&lab, "persistentvolumeclaims", "").await;
    lab.edit(json!({"managementState": "Removed"})).await;
    let failed = |c: &Value| {
        let (_, _, message) = condition(c, "Degraded");
        is(c, "Degraded", "True", "RemoveFailed")
            && is(c, "Progressing", "True", "Removing")
            && message.contains("failing.example.com")
    };
    let config = lab.until_config("failing to remove", failed).await;
    assert_eq!(config["status"]["storage"]["pvc"]["claim"], OWN);
    lab.delete(&crate::support::config_ref()).await;
    lab.until_config("failing to be deleted", |c| {
        failed(c) && c["metadata"].get("deletionTimestamp").is_some()
    })
    .await;
    assert_eq!(lab.config().await["metadata"]["finalizers"], json!([names::FINALIZER]));
    hook.remove().await;
    // Gone by another hand meanwhile: as good as deleted.
    lab.delete(&own()).await;
    lab.until_config("made anew", |c| uid(c) != uid(&config)).await;
}

// lifecycle 60, storage-volumes 19, 20
#[tokio::test]
async fn data_stays_unless_it_was_managed_and_carries_the_mark() {
    let (lab, _operator) = registry(json!({})).await;
    let users = lab.create(claim("users", &["ReadWriteMany"])).await;
    lab.edit(json!({"storage": on("users")})).await;
    let applied =
        |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": "users"}, "managementState": "Unmanaged"});
    lab.until_config("on the user's claim", applied).await;
    until_mounted(&lab, "users").await;
    let removed = |c: &Value| is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({});

    // Unmanaged: not so much as asked about.
    let mark = lab.mark();
    lab.edit(json!({"managementState": "Removed"})).await;
    lab.until_config("removed", removed).await;
    lab.settle().await;
    let claims = lab
        .requests(mark)
        .filter(|e| e.resource == "persistentvolumeclaims" && e.verb != "watch");
    assert!(claims.is_empty(), "{claims}");

    // Managed for long, but without the mark of this operator.
    lab.edit(json!({"managementState": "Managed", "storage": {"managementState": "Managed"}}))
        .await;
    lab.until_config("owned", |c| {
        c["status"]["storageManaged"] == true && c["status"]["storage"]["managementState"] == "Managed"
    })
    .await;
    lab.settle().await;
    let mark = lab.mark();
    lab.edit(json!({"managementState": "Removed"})).await;
    let config = lab.until_config("removed", removed).await;
    assert!(
        condition(&config, "StorageExists").2.contains("kept"),
        "{:?}",
        condition(&config, "StorageExists")
    );
    lab.until_event("Warning StorageKept", "users").await;
    lab.settle().await;
    assert!(!lab.writes(mark).iter().any(|w| w.contains("persistentvolumeclaims")));

    // An own claim that becomes Managed in the very edit that removes it.
    lab.edit(json!({"managementState": "Managed", "storage": on_own()}))
        .await;
    lab.until_config("on its own claim", |c| {
        c["status"]["storageManaged"] == true && c["status"]["storage"]["pvc"]["claim"] == OWN
    })
    .await;
    lab.edit(json!({"storage": {"managementState": "Unmanaged"}})).await;
    lab.until_config("let go", |c| {
        c["status"]["storageManaged"] == false && c["status"]["storage"]["managementState"] == "Unmanaged"
    })
    .await;
    lab.settle().await;
    lab.edit(json!({"managementState": "Removed", "storage": {"managementState": "Managed"}}))
        .await;
    lab.until_config("removed", removed).await;
    lab.settle().await;
    let kept = lab.get(&own()).await.unwrap();
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
    assert_eq!(uid(&lab.get(&claim_ref("users")).await.unwrap()), uid(&users));
}

// storage-volumes 3, 4, 5, 6, 40
#[tokio::test]
async fn a_foreign_claim_of_the_default_name_is_not_taken_and_an_own_one_is() {
    let (lab, _operator) = registry(json!({})).await;
    lab.create(claim(OWN, &["ReadWriteMany"])).await;
    lab.settle().await;
    let mark = lab.mark();
    lab.edit(json!({"storage": on_own()})).await;
    let refused =
        |c: &Value| is(c, "StorageExists", "False", "PVC Already Exists") && is(c, "Progressing", "True", "Error");
    let config = lab.until_config("refused", refused).await;
    assert!(is(&config, "Available", "True", "Ready"));
    // Second pass and third: the name does not get into the spec.
    for round in ["1", "2"] {
        lab.patch(
            &crate::support::config_ref(),
            json!({"metadata": {"annotations": {"round": round}}}),
        )
        .await;
        lab.settle().await;
    }
    let config = lab.until_config("still refused", refused).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    assert_eq!(config["status"]["storage"]["emptyDir"], json!({}));
    assert_eq!(lab.writes(mark), Vec::<String>::new());

    // Any value of the annotation makes it ours.
    lab.patch(
        &own(),
        json!({"metadata": {"annotations": {names::OWNED_ANNOTATION: "false"}}}),
    )
    .await;
    let taken = |c: &Value| {
        is(c, "StorageExists", "True", "PVC Exists")
            && c["status"]["storage"] == json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    };
    lab.until_config("taken", taken).await;
    until_mounted(&lab, OWN).await;
    assert!(!lab.writes(mark).iter().any(|w| w.contains("persistentvolumeclaims")));
}

// storage-volumes 7, 39
#[tokio::test]
async fn a_claim_that_cannot_be_created_is_not_in_the_spec_and_comes_when_it_can() {
    let (lab, _operator) = registry(json!({})).await;
    let (quotas, quota) = quota(&lab).await;
    lab.edit(json!({"storage": on_own()})).await;
    let refused = |c: &Value| is(c, "StorageExists", "False", "Creation Failed");
    let config = lab.until_config("refused", refused).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    assert!(is(&config, "Available", "True", "Ready") && is(&config, "Progressing", "True", "Error"));

    // The same with a server that fails.
    let hooks = failing_webhook(&lab, "persistentvolumeclaims", "").await;
    quotas.delete(&quota, &DeleteParams::default()).await.unwrap();
    let reason = format!("Unknown error occurred checking for volume claim {OWN}");
    let unknown = |c: &Value| is(c, "StorageExists", "Unknown", &reason);
    let config = lab.until_config("undecided", unknown).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    hooks.remove().await;
    lab.until_config("created", |c| {
        is(c, "StorageExists", "True", "PVC Exists") || is(c, "StorageExists", "True", "PVC Created")
    })
    .await;
    until_mounted(&lab, OWN).await;
}

/// Refuses claims, as quota does.
async fn quota(lab: &Lab) -> (Api<k8s_openapi::api::core::v1::ResourceQuota>, String) {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let api: Api<ResourceQuota> = Api::namespaced(lab.client.clone(), names::NAMESPACE);
    let body = json!({"metadata": {"name": "no-claims"}, "spec": {"hard": {"persistentvolumeclaims": "0"}}});
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap())
        .await
        .unwrap();
    loop {
        let quota = api.get("no-claims").await.unwrap();
        if quota.status.is_some_and(|s| s.hard.is_some()) {
            return (api, "no-claims".to_owned());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Makes the API server answer 500 to the operator when it writes this resource.
pub struct Webhook(Api<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration>);

pub async fn failing_webhook(lab: &Lab, resource: &str, group: &str) -> Webhook {
    let api = Api::all(lab.client.clone());
    let body = json!({"metadata": {"name": "failing"}, "webhooks": [{
        "name": "failing.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [resource]}],
        "matchConditions": [{"name": "operator", "expression": "request.userInfo.username.endsWith('cluster-image-registry-operator')"}]}]});
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap())
        .await
        .unwrap();
    // The API server takes it up in its own time: until then an update by that account would pass.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    Webhook(api)
}

impl Webhook {
    pub async fn remove(self) {
        self.0.delete("failing", &DeleteParams::default()).await.unwrap();
    }
}

// storage-core 18, storage-volumes 8, 9, 10, 11, 12, 13, 14, 15
#[tokio::test]
async fn a_claim_that_does_not_fit_is_refused_and_the_registry_stays_where_it_is() {
    let (lab, _operator) = registry(json!({"rolloutStrategy": "RollingUpdate"})).await;
    let before = lab.get(&deployment()).await.unwrap();
    for (name, modes) in [
        ("rwo", &["ReadWriteOnce"][..]),
        ("rox", &["ReadOnlyMany"]),
        ("rwop", &["ReadWriteOncePod"]),
        ("rwx", &["ReadWriteOnce", "ReadWriteMany"]),
    ] {
        lab.create(claim(name, modes)).await;
    }
    lab.settle().await;
    let mark = lab.mark();
    for (name, replicas, strategy, part) in [
        ("rwo", 1, json!("RollingUpdate"), "rolloutStrategy"),
        ("rwo", 1, json!(null), "rolloutStrategy"),
        ("rwo", 2, json!("Recreate"), "replicas"),
        ("rwop", 2, json!("Recreate"), "replicas"),
        ("rox", 1, json!("Recreate"), "ReadOnlyMany"),
        ("absent", 1, json!("Recreate"), "absent"),
    ] {
        lab.edit(json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": on(name)}))
            .await;
        let issue = |c: &Value| {
            let (status, reason, message) = condition(c, "StorageExists");
            observed(c)
                && status == "False"
                && reason == "PVC Issues Found"
                && message.contains(name)
                && message.contains(part)
        };
        let config = lab
            .until_config(&format!("refusing {name} {replicas} {strategy}"), issue)
            .await;
        assert_eq!(config["status"]["storage"]["emptyDir"], json!({}));
        assert!(is(&config, "Available", "True", "Ready"));
        let found = lab.get(&deployment()).await.unwrap();
        assert_eq!(
            found["metadata"]["generation"], before["metadata"]["generation"],
            "{name}"
        );
    }
    // Not even with a preset state is a named claim created.
    for state in ["Managed", "Unmanaged"] {
        lab.edit(json!({"storage": {"managementState": state}})).await;
        lab.until_config("refusing absent", |c| {
            observed(c) && is(c, "StorageExists", "False", "PVC Issues Found")
        })
        .await;
    }
    lab.settle().await;
    assert_eq!(lab.writes(mark), Vec::<String>::new());

    for (name, replicas, strategy) in [
        ("rwo", 1, "Recreate"),
        ("rwop", 1, "Recreate"),
        ("rwx", 5, "RollingUpdate"),
    ] {
        lab.edit(json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": on(name)}))
            .await;
        let applied =
            |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": name}, "managementState": "Unmanaged"});
        lab.until_config(&format!("on {name}"), |c| {
            applied(c) && is(c, "StorageExists", "True", "PVC Exists")
        })
        .await;
        let found = until_mounted(&lab, name).await;
        assert_eq!(found["spec"]["replicas"], replicas);
        assert_eq!(
            found["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"],
            "OnRootMismatch"
        );
    }
}

// storage-volumes 16
#[tokio::test]
async fn a_claim_in_use_keeps_the_last_replicas_that_fit_and_the_rest_goes_on() {
    let lab = crate::cluster().await;
    volumes(&lab, &["single"], &["ReadWriteOnce"]).await;
    lab.create(claim("rwo", &["ReadWriteOnce"])).await;
    let mut config = Lab::managed(json!({"pvc": {"claim": "rwo"}}));
    config["spec"]["rolloutStrategy"] = json!("Recreate");
    lab.create(config).await;
    let _operator = lab.operator().await;
    lab.until_config("up", is_up).await;
    for spec in [
        json!({"replicas": 2, "logLevel": "Debug"}),
        json!({"replicas": 1, "rolloutStrategy": "RollingUpdate"}),
    ] {
        lab.edit(spec).await;
        let unfit = |c: &Value| {
            observed(c)
                && is(c, "Degraded", "True", "PVCIncompatible")
                && is(c, "StorageExists", "True", "PVC Exists")
                && is_up(c)
        };
        lab.until_config("unfit", unfit).await;
        let found = lab.get(&deployment()).await.unwrap();
        assert_eq!(found["spec"]["replicas"], 1);
        assert_eq!(found["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    }
    lab.edit(json!({"rolloutStrategy": "Recreate"})).await;
    lab.until_config("well", |c| observed(c) && is(c, "Degraded", "False", "") && is_up(c))
        .await;
}

// storage-volumes 23, 24
#[tokio::test]
async fn no_pod_starts_on_a_claim_that_is_going_and_the_next_claim_is_made_with_a_warning() {
    let lab = crate::cluster().await;
    volumes(&lab, &["first", "second"], &["ReadWriteMany"]).await;
    lab.create(Lab::managed(json!({"pvc": {}}))).await;
    let _operator = lab.operator().await;
    lab.until_config("up", is_up).await;
    lab.settle().await;
    let first = lab.get(&own()).await.unwrap();
    let before = lab.get(&deployment()).await.unwrap();
    lab.delete(&own()).await;
    let going = |c: &Value| is(c, "StorageExists", "False", "PVC does not exist");
    let config = lab.until_config("going", going).await;
    assert!(condition(&config, "StorageExists").2.contains("is being deleted"));
    // A change that would replace the pod waits.
    lab.edit(json!({"logLevel": "Debug"})).await;
    lab.until_config("observed", |c| observed(c) && going(c)).await;
    lab.settle().await;
    let found = lab.get(&deployment()).await.unwrap();
    assert_eq!(found["metadata"]["generation"], before["metadata"]["generation"]);
    // So does a Deployment that is gone. Its pods go, and the claim with them.
    let claims = lab.record(&own()).await;
    let deployments = lab.record(&deployment()).await;
    lab.delete(&deployment()).await;
    lab.until_config("up again", |c| is_up(c) && observed(c)).await;
    let second = lab.get(&own()).await.unwrap();
    assert_ne!(uid(&first), uid(&second));
    let (made, _) = claims.first("anew", |c| uid(c) == uid(&second)).await;
    let (deployed, _) = deployments.first("anew", |d| uid(d) != uid(&before)).await;
    assert!(
        made < deployed,
        "the Deployment came {:?} before its claim",
        made - deployed
    );
    lab.until_event("Warning StorageLost", OWN).await;
    let found = until_mounted(&lab, OWN).await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
}

// storage-volumes 37
#[tokio::test]
async fn a_switch_between_claims_leaves_the_old_one_with_its_data() {
    let (lab, _operator) = registry(json!({})).await;
    lab.edit(json!({"storage": on_own()})).await;
    until_mounted(&lab, OWN).await;
    lab.create(claim("other", &["ReadWriteMany"])).await;
    lab.settle().await;
    lab.edit(json!({"storage": {"pvc": {"claim": "other"}}})).await;
    let switched =
        |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": "other"}, "managementState": "Unmanaged"});
    lab.until_config("switched", switched).await;
    until_mounted(&lab, "other").await;
    lab.until_event("Normal StorageReconfigured", OWN).await;
    lab.edit(json!({"managementState": "Removed"})).await;
    lab.until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    for name in [OWN, "other"] {
        assert_eq!(
            lab.get(&claim_ref(name)).await.unwrap()["metadata"].get("deletionTimestamp"),
            None,
            "{name}"
        );
    }
}

// storage-volumes 32, 33
#[tokio::test]
async fn ephemeral_storage_with_several_replicas_warns_once_per_edit() {
    let lab = crate::cluster().await;
    let _operator = come_up(&lab, json!({"replicas": 3})).await;
    lab.until_event("Warning EphemeralStorageNotShared", "3 replicas").await;
    let config = lab.config().await;
    assert!(condition(&config, "StorageExists").2.contains("3 replicas"));
    assert!(is(&config, "Degraded", "False", ""));
    lab.patch(
        &crate::support::config_ref(),
        json!({"metadata": {"annotations": {"look": "again"}}}),
    )
    .await;
    lab.settle().await;
    let warnings = lab
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("EphemeralStorageNotShared"))
        .count();
    assert_eq!(warnings, 1);
    let config = lab.config().await;
    lab.rests(std::time::Duration::from_secs(1)).await;
    assert_eq!(crate::version(&config), crate::version(&lab.config().await));
}
