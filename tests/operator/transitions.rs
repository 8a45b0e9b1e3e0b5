//! `managementState`: what each state leaves, and every way from one to the other.

use std::time::Duration;

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{condition, is, is_up, operand, texts};
use crate::{
    ca_map, certificates_map, cluster_operator, deployment, env, observed, operands, registry, rolled_out, uid, version,
};

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
async fn removed_takes_the_registry_away_and_leaves_what_belongs_to_others() {
    let (lab, mut operator) = registry(json!({"defaultRoute": true, "routes": [{"name": "second"}]})).await;
    let ours = operand(Kind::Route, "second");
    lab.until_present(&ours).await;
    let foreign = json!({"apiVersion": "route.openshift.io/v1", "kind": "Route",
        "metadata": {"name": "foreign", "namespace": names::NAMESPACE},
        "spec": {"to": {"kind": "Service", "name": "image-registry"}}});
    lab.create(foreign).await;
    let user = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE}});
    lab.create(user).await;
    let users_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"reg.example.com": "PEM"},
        "metadata": {"name": "users", "namespace": names::CONFIG_NAMESPACE}});
    lab.create(users_map).await;
    let image = crate::ObjectRef::new(Kind::Image, "", names::CLUSTER);
    lab.patch(&image, json!({"spec": {"additionalTrustedCA": {"name": "users"}}}))
        .await;
    lab.until(&certificates_map(), "with the user's entry", |o| {
        o.is_some_and(|o| texts(o, "/data").len() == 3)
    })
    .await;
    let secret = lab.config().await["spec"]["httpSecret"].clone();

    // The route leaves the spec in the same edit: it has to go nevertheless.
    let mark = lab.mark();
    lab.edit(json!({"managementState": "Removed", "routes": null})).await;
    let config = lab.until_config("removed", |c| is_removed(c) && observed(c)).await;
    assert_eq!(config["status"]["storage"], json!({}));
    assert_eq!(config["spec"]["storage"]["emptyDir"], json!({}));
    assert_eq!(config["spec"]["httpSecret"], secret);
    for reference in operands()
        .into_iter()
        .chain([ours, operand(Kind::Route, names::DEFAULT_ROUTE)])
    {
        assert!(lab.get(&reference).await.is_none(), "{reference} is still there");
    }
    let deleted: Vec<_> = lab
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

    lab.until(&certificates_map(), "without own keys", |o| {
        o.is_some_and(|o| texts(o, "/data").into_keys().collect::<Vec<_>>() == ["reg.example.com"])
    })
    .await;
    lab.until(&ca_map(), "empty", |o| o.is_some_and(|o| texts(o, "/data").is_empty()))
        .await;
    for reference in [
        operand(Kind::Secret, names::USER_SECRET),
        operand(Kind::Route, "foreign"),
        operand(Kind::ConfigMap, names::TRUSTED_CA_MAP),
        operand(Kind::ConfigMap, names::SERVICE_CA_MAP),
        operand(Kind::DaemonSet, names::NODE_CA),
        operand(Kind::CronJob, names::PRUNER_CRON_JOB),
    ] {
        assert!(lab.get(&reference).await.is_some(), "{reference} is gone");
    }
    lab.until(&cluster_operator(), "removed", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Removed"))
    })
    .await;

    lab.settle().await;
    let before = lab.config().await;
    lab.rests(Duration::from_secs(15)).await;
    assert_eq!(version(&before), version(&lab.config().await));

    lab.edit(json!({"managementState": "Managed", "defaultRoute": false}))
        .await;
    let config = lab
        .until_config("up again", |c| is_up(c) && is(c, "Removed", "False", ""))
        .await;
    assert_eq!(config["spec"]["httpSecret"], secret);
    assert_eq!(
        config["status"]["storage"],
        json!({"emptyDir": {}, "managementState": "Managed"})
    );
    lab.delete(&crate::ObjectRef::new(
        Kind::ConfigMap,
        names::CONFIG_NAMESPACE,
        "users",
    ))
    .await;
    assert!(operator.is_running());
}

// lifecycle 43, 44, storage-core 46, workload 107
#[tokio::test]
async fn unmanaged_leaves_every_object_alone_and_goes_on_reporting() {
    let (lab, mut operator) = registry(json!({})).await;
    lab.edit(json!({"managementState": "Unmanaged"})).await;
    let is_unmanaged = |c: &Value| {
        is(c, "Available", "True", "Unmanaged")
            && ["Progressing", "Degraded"]
                .iter()
                .all(|t| is(c, t, "False", "Unmanaged"))
            && is(c, "Removed", "False", "")
            && observed(c)
    };
    lab.until_config("unmanaged", is_unmanaged).await;
    lab.until(&cluster_operator(), "unmanaged", |o| {
        o.is_some_and(|o| is(o, "Available", "True", "Unmanaged"))
    })
    .await;
    lab.settle().await;

    // Edits of the spec are noted and have no effect; edits by hand stay.
    let mark = lab.mark();
    lab.edit(json!({"replicas": 3, "httpSecret": "", "defaultRoute": true, "storage": {"emptyDir": null, "pvc": {}}}))
        .await;
    lab.until_config("observed", is_unmanaged).await;
    let service = operand(Kind::Service, names::REGISTRY);
    lab.patch(
        &service,
        json!({"spec": {"ports": [{"name": "5000-tcp", "port": 5001, "protocol": "TCP", "targetPort": 5000}]}}),
    )
    .await;
    let budget = operand(Kind::PodDisruptionBudget, names::REGISTRY);
    lab.delete(&budget).await;
    lab.delete(&deployment()).await;
    lab.until_absent(&deployment()).await;
    // The maps are kept up all the same, under the Service's port as it is.
    lab.until(&certificates_map(), "for port 5001", |o| {
        o.is_some_and(|o| texts(o, "/data").contains_key("image-registry.openshift-image-registry.svc..5001"))
    })
    .await;
    lab.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    lab.until(&ca_map(), "put right", |o| {
        o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
    })
    .await;
    let node_ca = operand(Kind::DaemonSet, names::NODE_CA);
    let pruner = operand(Kind::CronJob, names::PRUNER_CRON_JOB);
    for (reference, member, edit) in [
        (
            &node_ca,
            "/spec/template/spec/tolerations",
            json!({"spec": {"template": {"spec": {"tolerations": null}}}}),
        ),
        (&pruner, "/spec/schedule", json!({"spec": {"schedule": "1 1 1 1 1"}})),
    ] {
        let good = lab.until_present(reference).await;
        lab.patch(reference, edit).await;
        let right = |o: &Value| o.pointer(member) == good.pointer(member);
        lab.until(reference, "put right", |o| o.is_some_and(right)).await;
    }
    // So is what is observed of the cluster.
    let api_server = crate::ObjectRef::new(Kind::ApiServer, "", names::CLUSTER);
    lab.patch(
        &api_server,
        json!({"spec": {"tlsSecurityProfile": {"type": "Modern", "modern": {}}}}),
    )
    .await;
    let tls13 = |c: &Value| c.pointer("/spec/observedConfig/servingInfo/minTLSVersion") == Some(&json!("VersionTLS13"));
    let config = lab.until_config("observing TLS", |c| tls13(c) && is_unmanaged(c)).await;
    assert_eq!(config["spec"]["httpSecret"], "");
    assert_eq!(config["spec"]["storage"]["pvc"], json!({}));
    assert_eq!(
        config["status"]["storage"],
        json!({"emptyDir": {}, "managementState": "Managed"})
    );
    lab.settle().await;
    let writes = lab.writes(mark);
    assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
    assert!(lab.get(&deployment()).await.is_none());
    assert!(lab.get(&budget).await.is_none());
    assert!(lab.list(Kind::PersistentVolumeClaim, names::NAMESPACE).await.is_empty());
    assert_eq!(lab.get(&service).await.unwrap()["spec"]["ports"][0]["port"], 5001);

    // Back in charge: everything is as the Config says.
    lab.edit(json!({"managementState": "Managed", "replicas": 1, "storage": {"emptyDir": {}, "pvc": null}}))
        .await;
    let config = lab.until_config("up", is_up).await;
    assert_eq!(config["spec"]["httpSecret"].as_str().unwrap().len(), 128);
    let found = lab.until_present(&deployment()).await;
    assert_eq!(env(&found, "REGISTRY_HTTP_TLS_MINVERSION"), Some("VersionTLS13"));
    lab.until_present(&budget).await;
    assert_eq!(lab.get(&service).await.unwrap()["spec"]["ports"][0]["port"], 5000);
    lab.until_present(&operand(Kind::Route, names::DEFAULT_ROUTE)).await;
    assert!(operator.is_running());
}

// lifecycle 38, 43
#[tokio::test]
async fn a_config_that_starts_unmanaged_gets_no_finalizer_no_secret_and_no_object() {
    let lab = crate::cluster().await;
    let mut config = crate::Lab::managed(json!({"emptyDir": {}}));
    config["spec"]["managementState"] = json!("Unmanaged");
    lab.create(config).await;
    let mark = lab.mark();
    let _operator = lab.operator().await;
    let config = lab
        .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    lab.settle().await;
    assert_eq!(config["metadata"].get("finalizers"), None);
    assert_eq!(config["spec"].get("httpSecret"), None);
    let writes = lab.writes(mark);
    assert!(writes.iter().all(|w| w.contains("configmaps")), "{writes:?}");
}

// api 3, lifecycle 54, workload 109
#[tokio::test]
async fn force_and_no_state_at_all_are_managed() {
    let (lab, _operator) = registry(json!({"managementState": "Force"})).await;
    lab.edit(json!({"replicas": 2})).await;
    lab.until(&deployment(), "scaled", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 2)
    })
    .await;
    lab.until_config("up", |c| is_up(c) && observed(c)).await;
    // Kubernetes' own controller never ends a rollout that is scaled down, with a new template, before it has begun well.
    rolled_out(&lab).await;
    lab.edit(json!({"managementState": null, "replicas": 1})).await;
    lab.until(&deployment(), "scaled back", |o| {
        o.is_some_and(|o| o["spec"]["replicas"] == 1)
    })
    .await;
    let config = lab.until_config("up", |c| is_up(c) && observed(c)).await;
    assert_eq!(config["spec"].get("managementState"), None);
}

// lifecycle 52, 57, storage-volumes 36, workload 105
// In part: workload 76 (the maps are kept; of their content see remote.rs).
#[tokio::test]
async fn two_backends_do_not_keep_removed_from_removing() {
    let (lab, _operator) = registry(json!({})).await;
    lab.edit(json!({"managementState": "Removed", "storage": {"pvc": {}}}))
        .await;
    lab.until_config("removed", |c| is_removed(c) && observed(c)).await;
    for reference in operands() {
        assert!(lab.get(&reference).await.is_none(), "{reference} is still there");
    }
    lab.settle().await;
    let mark = lab.mark();
    lab.edit(json!({"managementState": "Managed"})).await;
    let conflict = |c: &Value| is(c, "Degraded", "True", "StorageConflict") && is(c, "Progressing", "False", "Error");
    let config = lab.until_config("in conflict", |c| conflict(c) && observed(c)).await;
    for name in ["EmptyDir", "PVC"] {
        assert!(condition(&config, "Degraded").2.contains(name));
    }
    lab.settle().await;
    assert_eq!(lab.writes(mark), Vec::<String>::new());
    // The maps do not depend on it.
    lab.patch(&ca_map(), json!({"data": {"own": "by hand"}})).await;
    lab.until(&ca_map(), "put right", |o| {
        o.is_some_and(|o| !texts(o, "/data").contains_key("own"))
    })
    .await;
    assert!(lab.list(Kind::PersistentVolumeClaim, names::NAMESPACE).await.is_empty());
    lab.edit(json!({"storage": {"pvc": null}})).await;
    lab.until_config("up", is_up).await;
}

// lifecycle 47, 65, 80
#[tokio::test]
async fn a_deployment_on_its_way_out_is_told_apart_from_one_that_is_gone() {
    let (lab, _operator) = registry(json!({})).await;
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let release = json!({"metadata": {"finalizers": null}});
    let first = lab.patch(&deployment(), hold.clone()).await;
    lab.delete(&deployment()).await;
    lab.until_config("deleted", |c| {
        is(c, "Available", "False", "DeploymentDeleted") && is(c, "Progressing", "True", "FinalizingDeployment")
    })
    .await;
    lab.patch(&deployment(), release.clone()).await;
    lab.until_config("up again", is_up).await;
    let second = lab.patch(&deployment(), hold).await;
    assert_ne!(uid(&first), uid(&second));

    lab.edit(json!({"managementState": "Removed"})).await;
    let removing = |c: &Value| {
        is(c, "Progressing", "True", "DeletingDeployment")
            && is(c, "Degraded", "False", "Removed")
            && is(c, "Removed", "True", "Removed")
    };
    lab.until_config("removing", removing).await;
    lab.patch(&deployment(), release).await;
    lab.until_config("removed", is_removed).await;
}
