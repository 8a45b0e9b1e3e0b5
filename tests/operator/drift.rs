//! What hands do to the registry's objects: ours is put right, what others added stays, and nothing is written for nothing.

use image_registry_operator::api::Kind;
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{Lab, config_ref, is_up, operand, texts};
use crate::{ObjectRef, ca_map, certificates_map, cluster, come_up, deployment, operands, revision, rolled_out, uid};

/// An object without what the server counts, and without its type, which items of lists do not carry.
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
    all.extend([operand(Kind::Route, names::DEFAULT_ROUTE), ca_map(), certificates_map()]);
    all
}

/// Edits by hand, each of another object.
async fn edits(lab: &Lab) -> Vec<(ObjectRef, Value)> {
    let mut all = operands();
    let mut container = lab.get(&deployment()).await.unwrap()["spec"]["template"]["spec"]["containers"][0].clone();
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
            operand(Kind::Route, names::DEFAULT_ROUTE),
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

// lifecycle 66, 67, workload 2, 3, 5, 6, 8, 58, 60, 78
#[tokio::test]
async fn what_is_edited_by_hand_is_put_right_and_what_is_foreign_stays() {
    let lab = cluster().await;
    let account = operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT);
    let secrets =
        json!({"secrets": [{"name": "registry-token-x"}], "imagePullSecrets": [{"name": "registry-dockercfg-x"}]});
    let mut body = json!({"apiVersion": "v1", "kind": "ServiceAccount",
                          "metadata": {"name": account.name, "namespace": account.namespace}});
    crate::merge(&mut body, secrets.clone());
    lab.create(body).await;
    let _operator = come_up(&lab, json!({"defaultRoute": true})).await;
    lab.until(&operand(Kind::Route, names::DEFAULT_ROUTE), "with a host", |o| {
        o.is_some_and(|o| o["spec"]["host"].is_string())
    })
    .await;
    lab.settle().await;

    // What others add is no reason to write.
    let mark = lab.mark();
    let before = rolled_out(&lab).await;
    let foreign = json!({"metadata": {"labels": {"foreign": "yes"}, "annotations": {"foreign": "yes"}}});
    for reference in all().into_iter().filter(|r| *r != deployment()) {
        lab.patch(&reference, foreign.clone()).await;
    }
    lab.patch(&config_ref(), json!({"metadata": {"annotations": {"look": "again"}}}))
        .await;
    lab.settle().await;
    let requests = lab.requests(mark).counted();
    assert!(requests.is_empty(), "{requests}");
    // A Deployment's annotations count into its generation: one write records it.
    lab.patch(&deployment(), foreign).await;
    lab.settle().await;

    // What is good is known before the first edit: the maps follow the Service's port also while it is wrong.
    let mut cases = Vec::new();
    for (reference, edit) in edits(&lab).await {
        let good = content(&lab.get(&reference).await.unwrap());
        cases.push((reference, edit, good));
    }
    for (reference, edit, good) in &cases {
        let spoiled = lab.patch(reference, edit.clone()).await;
        assert_ne!(content(&spoiled), *good, "{reference}: {edit} is an edit");
        let what = format!("put right after {edit}");
        lab.until(reference, &what, |o| o.is_some_and(|o| content(o) == *good))
            .await;
    }
    let after = rolled_out(&lab).await;
    assert_eq!(after["spec"], before["spec"]);
    for reference in all() {
        let found = lab.get(&reference).await.unwrap();
        for pointer in ["/metadata/labels", "/metadata/annotations"] {
            assert_eq!(
                texts(&found, pointer).get("foreign").map(String::as_str),
                Some("yes"),
                "{reference}"
            );
        }
    }
    let service = lab.get(&operand(Kind::Service, names::REGISTRY)).await.unwrap();
    assert!(
        texts(&service, "/metadata/annotations")
            .keys()
            .any(|k| k.ends_with("serving-cert-signed-by")),
        "{service}"
    );
    let found = lab.get(&account).await.unwrap();
    for member in ["secrets", "imagePullSecrets"] {
        assert_eq!(found[member], secrets[member]);
    }
    lab.until_config("up", is_up).await;
    lab.rests(std::time::Duration::from_secs(2)).await;
}

// lifecycle 65, workload 4, 59
#[tokio::test]
async fn what_is_deleted_by_hand_comes_back() {
    let (lab, _operator) = crate::registry(json!({"defaultRoute": true})).await;
    let binding = ObjectRef::new(Kind::ClusterRoleBinding, "", names::REGISTRY_CLUSTER_ROLE_BINDING);
    for reference in all() {
        let old = lab.get(&reference).await.unwrap();
        lab.delete(&reference).await;
        lab.until(&reference, "made anew", |o| o.is_some_and(|o| uid(o) != uid(&old)))
            .await;
    }
    // A binding to another role cannot be mended, only made anew.
    lab.forget_events().await;
    lab.delete(&binding).await;
    let old = lab.until_present(&binding).await;
    let mut foreign = old.clone();
    foreign["roleRef"]["name"] = json!("view");
    foreign["metadata"] = json!({"name": binding.name});
    // The operator makes its own at once: be quicker than it.
    while lab.try_create(foreign.clone()).await.is_err() {
        lab.delete(&binding).await;
    }
    lab.until(&binding, "ours", |o| {
        o.is_some_and(|o| o["roleRef"]["name"] == names::REGISTRY_CLUSTER_ROLE)
    })
    .await;
    lab.until_event(
        "Warning ClusterRoleBindingDeleted",
        names::REGISTRY_CLUSTER_ROLE_BINDING,
    )
    .await;
    lab.until_config("up", is_up).await;
    rolled_out(&lab).await;
    lab.until_config("up", is_up).await;
}

// storage-core 21, workload 9
#[tokio::test]
async fn one_object_that_fails_stops_no_other() {
    let (lab, _operator) = crate::registry(json!({"defaultRoute": true})).await;
    let (service, policy) = (
        operand(Kind::Service, names::REGISTRY),
        operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
    );
    let hook = crate::volumes::failing_webhook(&lab, "services", "").await;
    let before = lab.get(&deployment()).await.unwrap();
    lab.delete(&policy).await;
    lab.patch(
        &service,
        json!({"spec": {"sessionAffinity": "None", "selector": {"a": "b"}}}),
    )
    .await;
    lab.edit(json!({"logLevel": "Debug"})).await;
    let failing = |c: &Value| {
        let (status, reason, message) = crate::support::condition(c, "Progressing");
        status == "True" && reason == "Error" && message.contains("Service openshift-image-registry/image-registry")
    };
    lab.until_config("failing", failing).await;
    lab.until_present(&policy).await;
    lab.until(&deployment(), "changed", |o| {
        o.is_some_and(|o| revision(o) == revision(&before) + 1)
    })
    .await;
    // What storage decided is stored all the same.
    lab.edit(json!({"storage": {"emptyDir": null, "managementState": null, "pvc": {}}}))
        .await;
    let stored = json!({"pvc": {"claim": names::DEFAULT_CLAIM}, "managementState": "Managed"});
    lab.until_config("with its claim", |c| failing(c) && c["spec"]["storage"] == stored)
        .await;
    lab.edit(json!({"storage": {"emptyDir": {}, "managementState": null, "pvc": null}}))
        .await;
    hook.remove().await;
    lab.until_config("up", is_up).await;
    lab.until(&service, "put right", |o| {
        o.is_some_and(|o| o["spec"]["selector"] == json!({"docker-registry": "default"}))
    })
    .await;
}
