//! PersistentVolumeClaims: who owns them, which ones fit, and when their data is deleted.

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::support::{
    TestCluster, condition, config_ref, deployment, env, eventually, is, is_up, observed, operand, resource_version,
    uid,
};
use crate::{empty_cluster, registry};

const OWN: &str = names::DEFAULT_CLAIM;

fn claim_ref(name: &str) -> ObjectRef {
    operand(Kind::PersistentVolumeClaim, name)
}

fn own() -> ObjectRef {
    claim_ref(OWN)
}

pub fn claim(name: &str, modes: &[&str]) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": names::NAMESPACE},
           "spec": {"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}}})
}

/// `spec.storage` with this claim in place of emptyDir.
fn on(name: &str) -> Value {
    json!({"emptyDir": null, "managementState": null, "pvc": {"claim": name}})
}

fn on_own() -> Value {
    json!({"emptyDir": null, "managementState": null, "pvc": {"claim": null}})
}

/// Name of the claim that the Deployment mounts.
fn mounted(deployment: &Value) -> Option<&str> {
    deployment
        .pointer("/spec/template/spec/volumes/0/persistentVolumeClaim/claimName")?
        .as_str()
}

async fn until_mounted(cluster: &TestCluster, name: &str) -> Value {
    cluster
        .until(&deployment(), &format!("on claim {name}"), |o| {
            o.is_some_and(|o| mounted(o) == Some(name))
        })
        .await
        .unwrap()
}

/// Deletes all volumes and creates these, for claims to bind.
async fn volumes(cluster: &TestCluster, names: &[&str], modes: &[&str]) {
    let api: Api<PersistentVolume> = Api::all(cluster.client.clone());
    api.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .unwrap();
    while !api.list(&ListParams::default()).await.unwrap().items.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for name in names {
        cluster.devcluster.host_volume(name, modes).await.unwrap();
    }
}

// storage-core 12, storage-volumes 1, 17, 19, 22
#[tokio::test]
async fn a_managed_claim_is_created_and_deleted_with_the_registry() {
    let cluster = empty_cluster().await;
    volumes(&cluster, &["first", "second"], &["ReadWriteMany"]).await;
    let mut config = TestCluster::managed(json!({"pvc": {}}));
    config["spec"]["rolloutStrategy"] = json!("RollingUpdate");
    cluster.create(config).await;
    let _operator = cluster.operator().await;
    let config = cluster.until_config("up", is_up).await;
    let first = cluster.get(&own()).await.unwrap();
    assert_eq!(first["spec"]["accessModes"], json!(["ReadWriteMany"]));
    assert_eq!(first["spec"]["resources"]["requests"]["storage"], "100Gi");
    assert_eq!(first["metadata"]["annotations"][names::OWNED_ANNOTATION], "true");
    assert_eq!(first["spec"].get("storageClassName"), None);
    let storage = json!({"pvc": {"claim": OWN}, "managementState": "Managed"});
    assert_eq!(config["spec"]["storage"], storage);
    assert_eq!(config["status"]["storage"], storage);
    assert_eq!(config["status"]["storageManaged"], true);
    let found = until_mounted(&cluster, OWN).await;
    assert_eq!(env(&found, "REGISTRY_STORAGE"), Some("filesystem"));
    assert_eq!(
        env(&found, "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY"),
        Some("/registry")
    );

    // Another reconcile finds nothing to do.
    cluster.settle().await;
    let before = cluster
        .patch(&config_ref(), json!({"metadata": {"annotations": {"look": "again"}}}))
        .await;
    cluster.assert_idle(std::time::Duration::from_secs(1)).await;
    assert_eq!(resource_version(&before), resource_version(&cluster.config().await));

    cluster.edit(json!({"managementState": "Removed"})).await;
    let gone = |c: &Value| is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({});
    let config = cluster.until_config("removed", gone).await;
    assert!(cluster.get(&own()).await.is_none());
    assert!(is(&config, "StorageExists", "False", "PVC Deleted"));
    // The spec no longer names a claim, so nobody mistakes the name for the user's choice.
    assert_eq!(config["spec"]["storage"]["pvc"], json!({}));

    cluster.edit(json!({"managementState": "Managed"})).await;
    cluster.until_config("up again", is_up).await;
    let second = cluster.get(&own()).await.unwrap();
    assert_ne!(uid(&first), uid(&second));
}

// lifecycle 48, 51, 116, storage-core 44, storage-volumes 21
#[tokio::test]
async fn storage_that_cannot_be_deleted_is_reported_and_keeps_the_finalizer() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.edit(json!({"storage": on_own()})).await;
    until_mounted(&cluster, OWN).await;
    cluster.settle().await;
    let hook = failing_webhook(&cluster, "persistentvolumeclaims", "").await;
    cluster.edit(json!({"managementState": "Removed"})).await;
    let failed = |c: &Value| {
        let (_, _, message) = condition(c, "Degraded");
        is(c, "Degraded", "True", "RemoveFailed")
            && is(c, "Progressing", "True", "Removing")
            && message.contains("failing.example.com")
    };
    let config = cluster.until_config("failing to remove", failed).await;
    assert_eq!(config["status"]["storage"]["pvc"]["claim"], OWN);
    cluster.delete(&config_ref()).await;
    cluster
        .until_config("failing to be deleted", |c| {
            failed(c) && c["metadata"].get("deletionTimestamp").is_some()
        })
        .await;
    assert_eq!(
        cluster.config().await["metadata"]["finalizers"],
        json!([names::FINALIZER])
    );
    hook.remove().await;
    // Somebody else deletes the claim meanwhile, which is as good.
    cluster.delete(&own()).await;
    cluster.until_config("created again", |c| uid(c) != uid(&config)).await;
}

// lifecycle 60, storage-volumes 19, 20
#[tokio::test]
async fn data_is_kept_unless_the_storage_was_managed_and_carries_the_annotation() {
    let (cluster, _operator) = registry(json!({})).await;
    let users = cluster.create(claim("users", &["ReadWriteMany"])).await;
    cluster.edit(json!({"storage": on("users")})).await;
    let applied =
        |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": "users"}, "managementState": "Unmanaged"});
    cluster.until_config("on the user's claim", applied).await;
    until_mounted(&cluster, "users").await;
    let removed = |c: &Value| is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({});

    // With unmanaged storage, the operator does not even read the claim.
    let mark = cluster.mark();
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster.until_config("removed", removed).await;
    cluster.settle().await;
    let claims = cluster
        .requests(mark)
        .filter(|e| e.resource == "persistentvolumeclaims" && e.verb != "watch");
    assert!(claims.is_empty(), "{claims}");

    // Managed storage whose claim lacks the operator's annotation.
    cluster
        .edit(json!({"managementState": "Managed", "storage": {"managementState": "Managed"}}))
        .await;
    cluster
        .until_config("managed", |c| {
            c["status"]["storageManaged"] == true && c["status"]["storage"]["managementState"] == "Managed"
        })
        .await;
    cluster.settle().await;
    let mark = cluster.mark();
    cluster.edit(json!({"managementState": "Removed"})).await;
    let config = cluster.until_config("removed", removed).await;
    assert!(
        condition(&config, "StorageExists").2.contains("kept"),
        "{:?}",
        condition(&config, "StorageExists")
    );
    cluster.until_event("Warning StorageKept", "users").await;
    cluster.settle().await;
    assert!(
        !cluster
            .writes(mark)
            .iter()
            .any(|w| w.contains("persistentvolumeclaims"))
    );

    // The operator's own claim becomes Managed only in the edit that removes the registry.
    cluster
        .edit(json!({"managementState": "Managed", "storage": on_own()}))
        .await;
    cluster
        .until_config("on its own claim", |c| {
            c["status"]["storageManaged"] == true && c["status"]["storage"]["pvc"]["claim"] == OWN
        })
        .await;
    cluster.edit(json!({"storage": {"managementState": "Unmanaged"}})).await;
    cluster
        .until_config("no longer managed", |c| {
            c["status"]["storageManaged"] == false && c["status"]["storage"]["managementState"] == "Unmanaged"
        })
        .await;
    cluster.settle().await;
    cluster
        .edit(json!({"managementState": "Removed", "storage": {"managementState": "Managed"}}))
        .await;
    cluster.until_config("removed", removed).await;
    cluster.settle().await;
    let kept = cluster.get(&own()).await.unwrap();
    assert_eq!(kept["metadata"].get("deletionTimestamp"), None);
    assert_eq!(uid(&cluster.get(&claim_ref("users")).await.unwrap()), uid(&users));
}

// storage-volumes 3, 4, 5, 6, 40
#[tokio::test]
async fn a_foreign_claim_with_the_default_name_is_used_only_with_the_annotation() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.create(claim(OWN, &["ReadWriteMany"])).await;
    cluster.settle().await;
    let mark = cluster.mark();
    cluster.edit(json!({"storage": on_own()})).await;
    let refused =
        |c: &Value| is(c, "StorageExists", "False", "PVC Already Exists") && is(c, "Progressing", "True", "Error");
    let config = cluster.until_config("refused", refused).await;
    assert!(is(&config, "Available", "True", "Ready"));
    // Further reconciles do not put the name into the spec either.
    for round in ["1", "2"] {
        cluster
            .patch(&config_ref(), json!({"metadata": {"annotations": {"round": round}}}))
            .await;
        cluster.settle().await;
    }
    let config = cluster.until_config("still refused", refused).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    assert_eq!(config["status"]["storage"]["emptyDir"], json!({}));
    assert_eq!(cluster.writes(mark), Vec::<String>::new());

    // Any value of the annotation makes the claim the operator's.
    cluster
        .patch(
            &own(),
            json!({"metadata": {"annotations": {names::OWNED_ANNOTATION: "false"}}}),
        )
        .await;
    let taken = |c: &Value| {
        is(c, "StorageExists", "True", "PVC Exists")
            && c["status"]["storage"] == json!({"pvc": {"claim": OWN}, "managementState": "Managed"})
    };
    cluster.until_config("used", taken).await;
    until_mounted(&cluster, OWN).await;
    assert!(
        !cluster
            .writes(mark)
            .iter()
            .any(|w| w.contains("persistentvolumeclaims"))
    );
}

// storage-volumes 7, 39
#[tokio::test]
async fn a_claim_that_cannot_be_created_is_not_in_the_spec_and_is_retried() {
    let (cluster, _operator) = registry(json!({})).await;
    let (quotas, quota) = quota(&cluster).await;
    cluster.edit(json!({"storage": on_own()})).await;
    let refused = |c: &Value| is(c, "StorageExists", "False", "Creation Failed");
    let config = cluster.until_config("refused", refused).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    assert!(is(&config, "Available", "True", "Ready") && is(&config, "Progressing", "True", "Error"));

    // The same with an API server that fails.
    let hooks = failing_webhook(&cluster, "persistentvolumeclaims", "").await;
    quotas.delete(&quota, &DeleteParams::default()).await.unwrap();
    let reason = format!("Unknown error occurred checking for volume claim {OWN}");
    let unknown = |c: &Value| is(c, "StorageExists", "Unknown", &reason);
    let config = cluster.until_config("undecided", unknown).await;
    assert_eq!(config["spec"]["storage"], json!({"pvc": {}}));
    hooks.remove().await;
    cluster
        .until_config("created", |c| {
            is(c, "StorageExists", "True", "PVC Exists") || is(c, "StorageExists", "True", "PVC Created")
        })
        .await;
    until_mounted(&cluster, OWN).await;
}

/// Creates a ResourceQuota that refuses claims, and waits until it is in force.
async fn quota(cluster: &TestCluster) -> (Api<k8s_openapi::api::core::v1::ResourceQuota>, String) {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let api: Api<ResourceQuota> = Api::namespaced(cluster.client.clone(), names::NAMESPACE);
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

/// Makes the API server answer the operator's writes to this resource with 500.
pub struct Webhook(Api<k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration>);

pub async fn failing_webhook(cluster: &TestCluster, resource: &str, group: &str) -> Webhook {
    let api = Api::all(cluster.client.clone());
    let body = json!({"metadata": {"name": "failing"}, "webhooks": [{
        "name": "failing.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 1,
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "rules": [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [resource]}],
        "matchConditions": [{"name": "operator", "expression": "request.userInfo.username.endsWith('cluster-image-registry-operator')"}]}]});
    api.create(&PostParams::default(), &serde_json::from_value(body).unwrap())
        .await
        .unwrap();
    until_webhook_refuses(cluster, resource).await;
    Webhook(api)
}

/// The API server loads a webhook after a while; until then it would accept a write of the operator. A dry run as another
/// user, for whom the webhook counts as well, shows when it is loaded.
async fn until_webhook_refuses(cluster: &TestCluster, resource: &str) {
    let object = match resource {
        "services" => {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "probe"}, "spec": {"ports": [{"port": 1}]}})
        }
        _ => claim("probe", &["ReadWriteMany"]),
    };
    let path = format!("/api/v1/namespaces/{}/{resource}?dryRun=All", names::NAMESPACE);
    eventually("the API server has loaded the webhook", async || {
        let request = http::Request::post(&path)
            .header("content-type", "application/json")
            .header("impersonate-user", "test:cluster-image-registry-operator")
            .header("impersonate-group", "system:masters")
            .body(serde_json::to_vec(&object).unwrap())
            .unwrap();
        let answer = cluster.client.request::<Value>(request).await;
        matches!(answer, Err(kube::Error::Api(status)) if status.message.contains("failing.example.com"))
    })
    .await;
}

impl Webhook {
    pub async fn remove(self) {
        self.0.delete("failing", &DeleteParams::default()).await.unwrap();
    }
}

// storage-core 18, storage-volumes 8, 9, 10, 11, 12, 13, 14, 15
#[tokio::test]
async fn a_claim_that_does_not_fit_is_refused_and_the_registry_keeps_its_storage() {
    let (cluster, _operator) = registry(json!({"rolloutStrategy": "RollingUpdate"})).await;
    let before = cluster.get(&deployment()).await.unwrap();
    for (name, modes) in [
        ("rwo", &["ReadWriteOnce"][..]),
        ("rox", &["ReadOnlyMany"]),
        ("rwop", &["ReadWriteOncePod"]),
        ("rwx", &["ReadWriteOnce", "ReadWriteMany"]),
    ] {
        cluster.create(claim(name, modes)).await;
    }
    cluster.settle().await;
    let mark = cluster.mark();
    for (name, replicas, strategy, part) in [
        ("rwo", 1, json!("RollingUpdate"), "rolloutStrategy"),
        ("rwo", 1, json!(null), "rolloutStrategy"),
        ("rwo", 2, json!("Recreate"), "replicas"),
        ("rwop", 2, json!("Recreate"), "replicas"),
        ("rox", 1, json!("Recreate"), "ReadOnlyMany"),
        ("absent", 1, json!("Recreate"), "absent"),
    ] {
        cluster
            .edit(json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": on(name)}))
            .await;
        let issue = |c: &Value| {
            let (status, reason, message) = condition(c, "StorageExists");
            observed(c)
                && status == "False"
                && reason == "PVC Issues Found"
                && message.contains(name)
                && message.contains(part)
        };
        let config = cluster
            .until_config(&format!("refusing {name} {replicas} {strategy}"), issue)
            .await;
        assert_eq!(config["status"]["storage"]["emptyDir"], json!({}));
        assert!(is(&config, "Available", "True", "Ready"));
        let found = cluster.get(&deployment()).await.unwrap();
        assert_eq!(
            found["metadata"]["generation"], before["metadata"]["generation"],
            "{name}"
        );
    }
    // The operator never creates a named claim, whatever the state of the storage.
    for state in ["Managed", "Unmanaged"] {
        cluster.edit(json!({"storage": {"managementState": state}})).await;
        cluster
            .until_config("refusing absent", |c| {
                observed(c) && is(c, "StorageExists", "False", "PVC Issues Found")
            })
            .await;
    }
    cluster.settle().await;
    assert_eq!(cluster.writes(mark), Vec::<String>::new());

    for (name, replicas, strategy) in [
        ("rwo", 1, "Recreate"),
        ("rwop", 1, "Recreate"),
        ("rwx", 5, "RollingUpdate"),
    ] {
        cluster
            .edit(json!({"replicas": replicas, "rolloutStrategy": strategy, "storage": on(name)}))
            .await;
        let applied =
            |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": name}, "managementState": "Unmanaged"});
        cluster
            .until_config(&format!("on {name}"), |c| {
                applied(c) && is(c, "StorageExists", "True", "PVC Exists")
            })
            .await;
        let found = until_mounted(&cluster, name).await;
        assert_eq!(found["spec"]["replicas"], replicas);
        assert_eq!(
            found["spec"]["template"]["spec"]["securityContext"]["fsGroupChangePolicy"],
            "OnRootMismatch"
        );
    }
}

// storage-volumes 16
#[tokio::test]
async fn a_claim_in_use_keeps_the_last_fitting_replicas_and_other_changes_are_applied() {
    let cluster = empty_cluster().await;
    volumes(&cluster, &["single"], &["ReadWriteOnce"]).await;
    cluster.create(claim("rwo", &["ReadWriteOnce"])).await;
    let mut config = TestCluster::managed(json!({"pvc": {"claim": "rwo"}}));
    config["spec"]["rolloutStrategy"] = json!("Recreate");
    cluster.create(config).await;
    let _operator = cluster.operator().await;
    cluster.until_config("up", is_up).await;
    for spec in [
        json!({"replicas": 2, "logLevel": "Debug"}),
        json!({"replicas": 1, "rolloutStrategy": "RollingUpdate"}),
    ] {
        cluster.edit(spec).await;
        let unfit = |c: &Value| {
            observed(c)
                && is(c, "Degraded", "True", "PVCIncompatible")
                && is(c, "StorageExists", "True", "PVC Exists")
                && is_up(c)
        };
        cluster.until_config("unfit", unfit).await;
        let found = cluster.get(&deployment()).await.unwrap();
        assert_eq!(found["spec"]["replicas"], 1);
        assert_eq!(found["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
    }
    cluster.edit(json!({"rolloutStrategy": "Recreate"})).await;
    cluster
        .until_config("not degraded", |c| {
            observed(c) && is(c, "Degraded", "False", "") && is_up(c)
        })
        .await;
}

// storage-volumes 23, 24
#[tokio::test]
async fn no_pod_starts_on_a_terminating_claim_and_its_successor_comes_with_a_warning() {
    let cluster = empty_cluster().await;
    volumes(&cluster, &["first", "second"], &["ReadWriteMany"]).await;
    cluster.create(TestCluster::managed(json!({"pvc": {}}))).await;
    let _operator = cluster.operator().await;
    cluster.until_config("up", is_up).await;
    cluster.settle().await;
    let first = cluster.get(&own()).await.unwrap();
    let before = cluster.get(&deployment()).await.unwrap();
    cluster.delete(&own()).await;
    let going = |c: &Value| is(c, "StorageExists", "False", "PVC does not exist");
    let config = cluster.until_config("terminating", going).await;
    assert!(condition(&config, "StorageExists").2.contains("is being deleted"));
    // A change that would replace the pod is delayed.
    cluster.edit(json!({"logLevel": "Debug"})).await;
    cluster.until_config("observed", |c| observed(c) && going(c)).await;
    cluster.settle().await;
    let found = cluster.get(&deployment()).await.unwrap();
    assert_eq!(found["metadata"]["generation"], before["metadata"]["generation"]);
    // A deleted Deployment is not created either. Its pods end, and then the claim is deleted.
    let claims = cluster.record(&own()).await;
    let deployments = cluster.record(&deployment()).await;
    cluster.delete(&deployment()).await;
    cluster.until_config("up again", |c| is_up(c) && observed(c)).await;
    let second = cluster.get(&own()).await.unwrap();
    assert_ne!(uid(&first), uid(&second));
    let (made, _) = claims.first("after its recreation", |c| uid(c) == uid(&second)).await;
    let (deployed, _) = deployments
        .first("after its recreation", |d| uid(d) != uid(&before))
        .await;
    assert!(
        made < deployed,
        "the Deployment came {:?} before its claim",
        made - deployed
    );
    cluster.until_event("Warning StorageLost", OWN).await;
    let found = until_mounted(&cluster, OWN).await;
    assert_eq!(env(&found, "REGISTRY_LOG_LEVEL"), Some("debug"));
}

// storage-volumes 37
#[tokio::test]
async fn a_switch_between_claims_keeps_the_old_claim_with_its_data() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster.edit(json!({"storage": on_own()})).await;
    until_mounted(&cluster, OWN).await;
    cluster.create(claim("other", &["ReadWriteMany"])).await;
    cluster.settle().await;
    cluster.edit(json!({"storage": {"pvc": {"claim": "other"}}})).await;
    let switched =
        |c: &Value| c["status"]["storage"] == json!({"pvc": {"claim": "other"}, "managementState": "Unmanaged"});
    cluster.until_config("switched", switched).await;
    until_mounted(&cluster, "other").await;
    cluster.until_event("Normal StorageReconfigured", OWN).await;
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("removed", |c| is(c, "Progressing", "False", "Removed"))
        .await;
    for name in [OWN, "other"] {
        assert_eq!(
            cluster.get(&claim_ref(name)).await.unwrap()["metadata"].get("deletionTimestamp"),
            None,
            "{name}"
        );
    }
}

// storage-volumes 32, 33
#[tokio::test]
async fn ephemeral_storage_with_several_replicas_warns_once_per_edit() {
    let cluster = empty_cluster().await;
    let _operator = cluster.start_registry(json!({"replicas": 3})).await;
    cluster
        .until_event("Warning EphemeralStorageNotShared", "3 replicas")
        .await;
    let config = cluster.config().await;
    assert!(condition(&config, "StorageExists").2.contains("3 replicas"));
    assert!(is(&config, "Degraded", "False", ""));
    cluster
        .patch(&config_ref(), json!({"metadata": {"annotations": {"look": "again"}}}))
        .await;
    cluster.settle().await;
    let warnings = cluster
        .events()
        .await
        .into_iter()
        .filter(|e| e.contains("EphemeralStorageNotShared"))
        .count();
    assert_eq!(warnings, 1);
    let config = cluster.config().await;
    cluster.assert_idle(std::time::Duration::from_secs(1)).await;
    assert_eq!(resource_version(&config), resource_version(&cluster.config().await));
}

// storage-volumes 19: what the API server receives
#[tokio::test]
async fn the_claim_is_deleted_only_with_the_uid_and_the_version_that_were_read() {
    let cluster = empty_cluster().await;
    cluster.shared_volume().await;
    cluster.create_config(json!({"storage": on_own()})).await;
    let proxy = cluster.proxy().await;
    let _operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    until_mounted(&cluster, OWN).await;
    cluster.until_config("up", is_up).await;
    let made = cluster.get(&own()).await.unwrap();
    cluster.edit(json!({"managementState": "Removed"})).await;
    let gone = |c: &Value| is(c, "Progressing", "False", "Removed") && c["status"]["storage"] == json!({});
    cluster.until_config("removed", gone).await;
    let deletes: Vec<_> = proxy
        .requests()
        .into_iter()
        .filter(|request| request.is(&http::Method::DELETE, &format!("/persistentvolumeclaims/{OWN}")))
        .collect();
    assert_eq!(deletes.len(), 1, "{}", deletes.len());
    let preconditions = &deletes[0].body["preconditions"];
    assert_eq!(preconditions["uid"], made["metadata"]["uid"]);
    assert!(preconditions["resourceVersion"].is_string(), "{preconditions}");
}
