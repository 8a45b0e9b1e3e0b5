//! `managementState`: what each state keeps and deletes, and every transition between two states.

use std::time::Duration;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    TestCluster, api_server, ca_map, certificates_map, cluster_operator, condition, cron_job, daemon_set,
    default_route, deployment, disruption_budget, env, image, is, is_up, observed, operand, operands, resource_version,
    service, texts, uid, user_input,
};
use crate::{empty_cluster, registry};

fn is_removed(config: &Value) -> bool {
    ["Available", "Removed"]
        .iter()
        .all(|t| is(config, t, "True", "Removed"))
        && ["Progressing", "Degraded"]
            .iter()
            .all(|t| is(config, t, "False", "Removed"))
}

// lifecycle 45, 46, 48, 50, storage-volumes 34, workload 75, 104, 106
#[tokio::test]
async fn removed_deletes_the_registry_and_keeps_objects_of_others() {
    let (cluster, mut operator) = registry(json!({"defaultRoute": true, "routes": [{"name": "second"}]})).await;
    let ours = operand(Kind::Route, "second");
    cluster.until_present(&ours).await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
        "spec": {"to": {"kind": "Service", "name": "image-registry"}}});
    cluster.create(foreign).await;
    let user = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE}});
    cluster.create(user).await;
    let users_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"reg.example.com": "PEM"},
        "metadata": {"name": "users", "namespace": names::CONFIG_NAMESPACE}});
    cluster.create(users_map).await;
    let image = image();
    cluster
        .patch(&image, json!({"spec": {"additionalTrustedCA": {"name": "users"}}}))
        .await;
    cluster
        .until(&certificates_map(), "with the user's entry", |o| {
            o.is_some_and(|o| texts(o, "/data").len() == 3)
        })
        .await;
    let secret = cluster.config().await["spec"]["httpSecret"].clone();

    // The same edit removes the route from the spec; the operator must delete it nevertheless.
    let mark = cluster.mark();
    cluster
        .edit(json!({"managementState": "Removed", "routes": null}))
        .await;
    let config = cluster.until_config("removed", |c| is_removed(c) && observed(c)).await;
    assert_eq!(config["status"]["storage"], json!({}));
    assert_eq!(config["spec"]["storage"]["emptyDir"], json!({}));
    assert_eq!(config["spec"]["httpSecret"], secret);
    for reference in operands().into_iter().chain([ours, default_route()]) {
        assert!(cluster.get(&reference).await.is_none(), "{reference} is still there");
    }
    let deleted: Vec<_> = cluster
        .writes(mark)
        .into_iter()
        .filter(|w| w.starts_with("delete"))
        .collect();
    let place = |part: &str| {
        deleted
            .iter()
            .position(|w| w.contains(part))
            .unwrap_or_else(|| panic!("{part}: {deleted:?}"))
    };
    for later in [
        "serviceaccounts",
        "clusterroles",
        "clusterrolebindings",
        "secrets",
        "services",
    ] {
        assert!(place("deployments") < place(later), "{deleted:?}");
    }
    assert_eq!(deleted.len(), 11, "each once: {deleted:?}");

    cluster
        .until(&certificates_map(), "without own keys", |o| {
            o.is_some_and(|o| texts(o, "/data").into_keys().collect::<Vec<_>>() == ["reg.example.com"])
        })
        .await;
    cluster
        .until(&ca_map(), "empty", |o| o.is_some_and(|o| texts(o, "/data").is_empty()))
        .await;
    for reference in [
        operand(Kind::Secret, names::USER_SECRET),
        operand(Kind::Route, "foreign"),
        operand(Kind::ConfigMap, names::TRUSTED_CA_MAP),
        operand(Kind::ConfigMap, names::SERVICE_CA_MAP),
        daemon_set(),
        cron_job(),
    ] {
        assert!(cluster.get(&reference).await.is_some(), "{reference} is gone");
    }
    cluster
        .until(&cluster_operator(), "removed", |o| {
            o.is_some_and(|o| is(o, "Available", "True", "Removed"))
        })
        .await;

    cluster.settle().await;
    let before = cluster.config().await;
    cluster.assert_idle(Duration::from_secs(15)).await;
    assert_eq!(resource_version(&before), resource_version(&cluster.config().await));

    cluster
        .edit(json!({"managementState": "Managed", "defaultRoute": false}))
        .await;
    let config = cluster
        .until_config("up again", |c| is_up(c) && is(c, "Removed", "False", ""))
        .await;
    assert_eq!(config["spec"]["httpSecret"], secret);
    assert_eq!(
        config["status"]["storage"],
        json!({"emptyDir": {}, "managementState": "Managed"})
    );
    cluster.delete(&user_input(Kind::ConfigMap, "users")).await;
    assert!(operator.is_running());
}

// lifecycle 43, 44, storage-core 46, workload 107
#[tokio::test]
async fn unmanaged_changes_no_object_and_keeps_reporting() {
    let (cluster, mut operator) = registry(json!({})).await;
    cluster.edit(json!({"managementState": "Unmanaged"})).await;
    let is_unmanaged = |c: &Value| {
        is(c, "Available", "True", "Unmanaged")
            && ["Progressing", "Degraded"]
                .iter()
                .all(|t| is(c, t, "False", "Unmanaged"))
            && is(c, "Removed", "False", "")
            && observed(c)
    };
    cluster.until_config("unmanaged", is_unmanaged).await;
    cluster
        .until(&cluster_operator(), "unmanaged", |o| {
            o.is_some_and(|o| is(o, "Available", "True", "Unmanaged"))
        })
        .await;
    cluster.settle().await;

    // Edits of the spec are observed but have no effect; manual edits of the objects stay.
    let mark = cluster.mark();
    cluster
        .edit(json!({"replicas": 3, "httpSecret": "", "defaultRoute": true, "storage": {"emptyDir": null, "pvc": {}}}))
        .await;
    cluster.until_config("observed", is_unmanaged).await;
    let service = service();
    cluster
        .patch(
            &service,
            json!({"spec": {"ports": [{"name": "5000-tcp", "port": 5001, "protocol": "TCP", "targetPort": 5000}]}}),
        )
        .await;
    let budget = disruption_budget();
    cluster.delete(&budget).await;
    cluster.delete(&deployment()).await;
    cluster.until_absent(&deployment()).await;
    // The operator still maintains the maps, with the Service's current port.
    cluster
        .until(&certificates_map(), "for port 5001", |o| {
            o.is_some_and(|o| texts(o, "/data").contains_key("image-registry.openshift-image-registry.svc..5001"))
        })
        .await;
    cluster.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    cluster
        .until(&ca_map(), "restored", |o| {
            o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
        })
        .await;
    let node_ca = daemon_set();
    let pruner = cron_job();
    for (reference, member, edit) in [
        (
            &node_ca,
            "/spec/template/spec/tolerations",
            json!({"spec": {"template": {"spec": {"tolerations": null}}}}),
        ),
        (&pruner, "/spec/schedule", json!({"spec": {"schedule": "1 1 1 1 1"}})),
    ] {
        let good = cluster.until_present(reference).await;
        cluster.patch(reference, edit).await;
        let right = |o: &Value| o.pointer(member) == good.pointer(member);
        cluster.until(reference, "restored", |o| o.is_some_and(right)).await;
    }
    // The operator still maintains `observedConfig`.
    let api_server = api_server();
    cluster
        .patch(
            &api_server,
            json!({"spec": {"tlsSecurityProfile": {"type": "Modern", "modern": {}}}}),
        )
        .await;
    let tls13 = |c: &Value| c.pointer("/spec/observedConfig/servingInfo/minTLSVersion") == Some(&json!("VersionTLS13"));
    let config = cluster
        .until_config("observing TLS", |c| tls13(c) && is_unmanaged(c))
        .await;
    assert_eq!(config["spec"]["httpSecret"], "");
    assert_eq!(config["spec"]["storage"]["pvc"], json!({}));
    assert_eq!(
        config["status"]["storage"],
        json!({"emptyDir": {}, "managementState": "Managed"})
    );
    cluster.settle().await;
    let writes = cluster.writes(mark);
    assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
    assert!(cluster.get(&deployment()).await.is_none());
    assert!(cluster.get(&budget).await.is_none());
    assert!(
        cluster
            .list(Kind::PersistentVolumeClaim, names::NAMESPACE)
            .await
            .is_empty()
    );
    assert_eq!(cluster.get(&service).await.unwrap()["spec"]["ports"][0]["port"], 5001);

    // With Managed, everything is again as the Config says.
    cluster
        .edit(json!({"managementState": "Managed", "replicas": 1, "storage": {"emptyDir": {}, "pvc": null}}))
        .await;
    let config = cluster.until_config("up", is_up).await;
    assert_eq!(config["spec"]["httpSecret"].as_str().unwrap().len(), 128);
    let found = cluster.until_present(&deployment()).await;
    assert_eq!(env(&found, "REGISTRY_HTTP_TLS_MINVERSION"), Some("VersionTLS13"));
    cluster.until_present(&budget).await;
    assert_eq!(cluster.get(&service).await.unwrap()["spec"]["ports"][0]["port"], 5000);
    cluster.until_present(&default_route()).await;
    assert!(operator.is_running());
}

// lifecycle 38, 43
#[tokio::test]
async fn a_config_created_as_unmanaged_gets_no_finalizer_no_secret_and_no_object() {
    let cluster = empty_cluster().await;
    let mut config = TestCluster::managed(json!({"emptyDir": {}}));
    config["spec"]["managementState"] = json!("Unmanaged");
    cluster.create(config).await;
    let mark = cluster.mark();
    let _operator = cluster.operator().await;
    let config = cluster
        .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    cluster.settle().await;
    assert_eq!(config["metadata"].get("finalizers"), None);
    assert_eq!(config["spec"].get("httpSecret"), None);
    let writes = cluster.writes(mark);
    assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
}

// api 3, lifecycle 54, workload 109
#[tokio::test]
async fn force_and_an_empty_state_mean_managed() {
    let (cluster, _operator) = registry(json!({"managementState": "Force"})).await;
    cluster.edit(json!({"replicas": 2})).await;
    cluster
        .until(&deployment(), "scaled", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 2)
        })
        .await;
    cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    // The deployment controller never completes a rollout if the Deployment is scaled down together with a new template early.
    cluster.until_rolled_out().await;
    cluster.edit(json!({"managementState": null, "replicas": 1})).await;
    cluster
        .until(&deployment(), "scaled back", |o| {
            o.is_some_and(|o| o["spec"]["replicas"] == 1)
        })
        .await;
    let config = cluster.until_config("up", |c| is_up(c) && observed(c)).await;
    assert_eq!(config["spec"].get("managementState"), None);
}

// lifecycle 52, 57, storage-volumes 36, workload 105
// In part: workload 76 (the maps are kept; of their content see remote.rs).
#[tokio::test]
async fn removed_works_with_two_storage_backends_in_the_spec() {
    let (cluster, _operator) = registry(json!({})).await;
    cluster
        .edit(json!({"managementState": "Removed", "storage": {"pvc": {}}}))
        .await;
    cluster.until_config("removed", |c| is_removed(c) && observed(c)).await;
    for reference in operands() {
        assert!(cluster.get(&reference).await.is_none(), "{reference} is still there");
    }
    cluster.settle().await;
    let mark = cluster.mark();
    cluster.edit(json!({"managementState": "Managed"})).await;
    let conflict = |c: &Value| is(c, "Degraded", "True", "StorageConflict") && is(c, "Progressing", "False", "Error");
    let config = cluster
        .until_config("in conflict", |c| conflict(c) && observed(c))
        .await;
    for name in ["EmptyDir", "PVC"] {
        assert!(condition(&config, "Degraded").2.contains(name));
    }
    cluster.settle().await;
    assert_eq!(cluster.writes(mark), Vec::<String>::new());
    // The maps do not depend on the storage.
    cluster.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    cluster
        .until(&ca_map(), "restored", |o| {
            o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
        })
        .await;
    assert!(
        cluster
            .list(Kind::PersistentVolumeClaim, names::NAMESPACE)
            .await
            .is_empty()
    );
    cluster.edit(json!({"storage": {"pvc": null}})).await;
    cluster.until_config("up", is_up).await;
}

// lifecycle 47, 65, 80
#[tokio::test]
async fn a_terminating_deployment_is_reported_differently_from_a_missing_one() {
    let (cluster, _operator) = registry(json!({})).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let release = json!({"metadata": {"finalizers": null}});
    let first = cluster.patch(&deployment(), hold.clone()).await;
    cluster.delete(&deployment()).await;
    cluster
        .until_config("deleted", |c| {
            is(c, "Available", "False", "DeploymentDeleted") && is(c, "Progressing", "True", "FinalizingDeployment")
        })
        .await;
    cluster.patch(&deployment(), release.clone()).await;
    cluster.until_config("up again", is_up).await;
    let second = cluster.patch(&deployment(), hold).await;
    assert_ne!(uid(&first), uid(&second));

    cluster.edit(json!({"managementState": "Removed"})).await;
    let removing = |c: &Value| {
        is(c, "Progressing", "True", "DeletingDeployment")
            && is(c, "Degraded", "False", "Removed")
            && is(c, "Removed", "True", "Removed")
    };
    cluster.until_config("removing", removing).await;
    cluster.patch(&deployment(), release).await;
    cluster.until_config("removed", is_removed).await;
}
