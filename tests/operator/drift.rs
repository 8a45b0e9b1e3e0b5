//! Manual edits of the registry's objects: the operator restores its own fields, keeps fields of others, and writes nothing
//! without need.

use image_registry_operator::api::ObjectRef;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{
    TestCluster, ca_map, certificates_map, cluster_role_binding, condition, config_ref, default_route, deployment,
    is_up, merge, network_policy, operands, rollout_revision, service, service_account, texts, uid,
};
use crate::{empty_cluster, registry};

/// An object without metadata, status and type.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    let members = object.as_object_mut().unwrap();
    for member in ["apiVersion", "kind", "metadata", "status"] {
        members.remove(member);
    }
    object
}

fn all() -> Vec<ObjectRef> {
    let mut all = operands();
    all.extend([default_route(), ca_map(), certificates_map()]);
    all
}

/// Manual edits, one for each object.
async fn edits(cluster: &TestCluster) -> Vec<(ObjectRef, Value)> {
    let mut all = operands();
    let mut container = cluster.get(&deployment()).await.unwrap()["spec"]["template"]["spec"]["containers"][0].clone();
    container["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "FOREIGN", "value": "x"}));
    container["ports"]
        .as_array_mut()
        .unwrap()
        .push(json!({"containerPort": 9999, "protocol": "TCP"}));
    let edits = [
        json!({"rules": [{"apiGroups": [""], "resources": ["limitranges", "resourcequotas"], "verbs": ["list"]}]}),
        json!({"subjects": []}),
        json!(null),
        json!({"data": {".dockerconfigjson": "e30=", "extra": "e30="}}),
        json!({"data": {"credentials": "e30="}}),
        json!({"spec": {"selector": {"a": "b"}, "ports": [{"name": "x", "port": 5001, "protocol": "TCP", "targetPort": 1}]}}),
        json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [container]}}}}),
        json!({"spec": {"minAvailable": 1}}),
        json!({"spec": {"ingress": []}}),
    ];
    let mut edits: Vec<_> = all.drain(..).zip(edits).filter(|(_, edit)| !edit.is_null()).collect();
    edits.extend([
        (
            default_route(),
            json!({"spec": {"to": {"name": "other"}, "path": "/x"}}),
        ),
        (
            ca_map(),
            json!({"data": {"extra": "x", "image-registry.openshift-image-registry.svc..5000": "y"}}),
        ),
        (
            certificates_map(),
            json!({"data": {"extra": "x"}, "binaryData": {"more": "e30="}}),
        ),
    ]);
    edits
}

// lifecycle 66, 67, workload 2, 3, 5, 6, 8, 58, 60, 78, deploy 39 (a mutated policy)
#[tokio::test]
async fn manual_edits_are_reverted_and_foreign_fields_stay() {
    let cluster = empty_cluster().await;
    let account = service_account();
    let secrets =
        json!({"secrets": [{"name": "registry-token-x"}], "imagePullSecrets": [{"name": "registry-dockercfg-x"}]});
    let mut body = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                          "metadata": {"name": account.name, "namespace": account.namespace}});
    merge(&mut body, secrets.clone());
    cluster.create(body).await;
    let _operator = cluster.start_registry(json!({"defaultRoute": true})).await;
    cluster
        .until(&default_route(), "with a host", |o| {
            o.is_some_and(|o| o["spec"]["host"].is_string())
        })
        .await;
    cluster.settle().await;

    // Labels and annotations of others cause no write.
    let mark = cluster.mark();
    let before = cluster.until_rolled_out().await;
    let foreign = json!({"metadata": {"labels": {"foreign": "yes"}, "annotations": {"foreign": "yes"}}});
    for reference in all().into_iter().filter(|r| *r != deployment()) {
        cluster.patch(&reference, foreign.clone()).await;
    }
    cluster
        .patch(&config_ref(), json!({"metadata": {"annotations": {"look": "again"}}}))
        .await;
    cluster.settle().await;
    let requests = cluster.requests(mark).counted();
    assert!(requests.is_empty(), "{requests}");
    // An annotation changes the generation of a Deployment, so one write records the new generation.
    cluster.patch(&deployment(), foreign).await;
    cluster.settle().await;

    // Read all objects before the first edit: the maps follow the Service's port even while it is wrong.
    let mut cases = Vec::new();
    for (reference, edit) in edits(&cluster).await {
        let good = content(&cluster.get(&reference).await.unwrap());
        cases.push((reference, edit, good));
    }
    for (reference, edit, good) in &cases {
        let spoiled = cluster.patch(reference, edit.clone()).await;
        assert_ne!(content(&spoiled), *good, "{reference}: {edit} is an edit");
        let what = format!("put right after {edit}");
        cluster
            .until(reference, &what, |o| o.is_some_and(|o| content(o) == *good))
            .await;
    }
    let after = cluster.until_rolled_out().await;
    assert_eq!(after["spec"], before["spec"]);
    for reference in all() {
        let found = cluster.get(&reference).await.unwrap();
        for pointer in ["/metadata/labels", "/metadata/annotations"] {
            assert_eq!(
                texts(&found, pointer).get("foreign").map(String::as_str),
                Some("yes"),
                "{reference}"
            );
        }
    }
    let service = cluster.get(&service()).await.unwrap();
    assert!(
        texts(&service, "/metadata/annotations")
            .keys()
            .any(|k| k.ends_with("serving-cert-signed-by")),
        "{service}"
    );
    let found = cluster.get(&account).await.unwrap();
    for member in ["secrets", "imagePullSecrets"] {
        assert_eq!(found[member], secrets[member]);
    }
    // The ClusterOperator follows the Config within a second.
    cluster.until_up().await;
    cluster.settle().await;
    cluster.assert_idle(std::time::Duration::from_secs(2)).await;
}

// lifecycle 65, workload 4, 59, deploy 39 (a deleted policy)
#[tokio::test]
async fn manually_deleted_objects_are_created_again() {
    let (cluster, _operator) = registry(json!({"defaultRoute": true})).await;
    let binding = cluster_role_binding();
    for reference in all() {
        let old = cluster.get(&reference).await.unwrap();
        cluster.delete(&reference).await;
        let new = cluster
            .until(&reference, "created again", |o| o.is_some_and(|o| uid(o) != uid(&old)))
            .await;
        if reference == network_policy() {
            assert_eq!(content(&new.unwrap()), content(&old));
        }
    }
    // The roleRef of a binding cannot be changed, so the operator must create the binding again.
    cluster.delete_events().await;
    cluster.delete(&binding).await;
    let old = cluster.until_present(&binding).await;
    let mut foreign = old.clone();
    foreign["roleRef"]["name"] = json!("view");
    foreign["metadata"] = json!({"name": binding.name});
    // The operator creates its own binding at once; try until the test is faster.
    while cluster.try_create(foreign.clone()).await.is_err() {
        cluster.delete(&binding).await;
    }
    cluster
        .until(&binding, "the operator's binding", |o| {
            o.is_some_and(|o| o["roleRef"]["name"] == names::REGISTRY_CLUSTER_ROLE)
        })
        .await;
    cluster
        .until_event(
            "Warning ClusterRoleBindingDeleted",
            names::REGISTRY_CLUSTER_ROLE_BINDING,
        )
        .await;
    cluster.until_config("up", is_up).await;
    cluster.until_rolled_out().await;
    cluster.until_config("up", is_up).await;
}

// storage-core 21, workload 9
#[tokio::test]
async fn one_object_that_fails_blocks_no_other() {
    let (cluster, _operator) = registry(json!({"defaultRoute": true})).await;
    let (service, policy) = (service(), network_policy());
    let hook = crate::volumes::failing_webhook(&cluster, "services", "").await;
    let before = cluster.get(&deployment()).await.unwrap();
    cluster.delete(&policy).await;
    cluster
        .patch(
            &service,
            json!({"spec": {"sessionAffinity": "None", "selector": {"a": "b"}}}),
        )
        .await;
    cluster.edit(json!({"logLevel": "Debug"})).await;
    let failing = |c: &Value| {
        let (status, reason, message) = condition(c, "Progressing");
        status == "True" && reason == "Error" && message.contains("Service openshift-image-registry/image-registry")
    };
    cluster.until_config("failing", failing).await;
    cluster.until_present(&policy).await;
    cluster
        .until(&deployment(), "changed", |o| {
            o.is_some_and(|o| rollout_revision(o) == rollout_revision(&before) + 1)
        })
        .await;
    // The decision about the storage is stored nevertheless.
    cluster
        .edit(json!({"storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let stored = json!({"pvc": {"claim": names::DEFAULT_CLAIM}, "managementState": "Managed"});
    cluster
        .until_config("with its claim", |c| failing(c) && c["spec"]["storage"] == stored)
        .await;
    cluster
        .edit(json!({"storage": {"emptyDir": {}, "managementState": null, "pvc": null}}))
        .await;
    hook.remove().await;
    cluster.until_config("up", is_up).await;
    cluster
        .until(&service, "restored", |o| {
            o.is_some_and(|o| o["spec"]["selector"] == json!({"docker-registry": "default"}))
        })
        .await;
}
