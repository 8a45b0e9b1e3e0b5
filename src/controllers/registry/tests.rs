use serde_json::json;

use super::controller::Stale;
use super::*;
use crate::config::snapshot::Objects;
use crate::controllers::tests::cluster::Cluster;
use crate::testing::fake_api::Fault;

const SECURITY_API: &str = "/apis/security.openshift.io";

fn plain(objects: &mut Objects) {
    objects.set_absent_kind(Kind::ClusterVersion);
}

// In part: workload 40 (a group that is served later).
#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_served_is_checked_again_once_per_resync_and_one_that_is_served_never() {
    let cluster = Cluster::with([config(&json!({}))], plain);
    let questions = async |minutes| {
        cluster.api.requests();
        tokio::time::sleep(Duration::from_mins(minutes)).await;
        let asked = format!("GET {SECURITY_API}");
        cluster
            .api
            .requests()
            .iter()
            .filter(|request| **request == asked)
            .count()
    };
    let observed = async {
        assert_eq!(questions(5).await, 1);
        assert_eq!(questions(30).await, 3);
        cluster.api.put(SECURITY_API, json!({}));
        assert_eq!(questions(60).await, 1);
    };
    tokio::select! {
        () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
        () = observed => {}
    }
}

// In part: workload 9
#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_stops_nothing_but_the_deployment_and_degraded_names_it() {
    for code in [403, 503] {
        let cluster = Cluster::with([config(&json!({}))], plain);
        cluster.api.fault(Fault::RefuseReads(code, SECURITY_API));
        let after = async |minutes| {
            tokio::time::sleep(Duration::from_mins(minutes)).await;
            let config = cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap();
            let conditions = config["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions
                .iter()
                .find(|c| c["type"] == "Degraded")
                .cloned()
                .unwrap_or_default()
        };
        let named = |degraded: &Value| degraded["message"].as_str().unwrap().contains("security.openshift.io");
        let observed = async {
            assert_eq!(after(4).await["status"], "False", "{code}");
            let object = |kind, name| cluster.get(&ObjectRef::new(kind, names::NAMESPACE, name));
            assert!(object(Kind::Service, names::REGISTRY).is_some());
            assert!(object(Kind::Deployment, names::REGISTRY).is_none());
            let degraded = after(2).await;
            assert!(degraded["status"] == "True" && named(&degraded), "{degraded}");
            cluster.api.fault(Fault::None);
            let degraded = after(10).await;
            assert!(!named(&degraded), "{degraded}");
        };
        tokio::select! {
            () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
            () = observed => {}
        }
    }
}

fn config(members: &Value) -> Value {
    let mut config = json!({"apiVersion": Kind::Config.api_version(), "kind": "Config",
        "metadata": {"name": "cluster", "uid": "u", "generation": 1, "finalizers": [names::FINALIZER]},
        "spec": {"managementState": "Managed", "replicas": 1, "httpSecret": "s3cr3t", "storage": {"emptyDir": {}}}});
    for (member, value) in members.as_object().unwrap() {
        config["spec"][member] = value.clone();
    }
    config
}

/// The Config after a minute of passes.
async fn after_a_minute(cluster: &Cluster) -> Value {
    tokio::select! {
        () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
        () = tokio::time::sleep(Duration::from_mins(1)) => {}
    }
    cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap()
}

// lifecycle, section 7.3: an error that may pass is Degraded after five minutes
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_forward_degrades_nothing() {
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1},
        "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE, "uid": "d", "generation": 3},
        "status": {"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    let cluster = Cluster::new([config(&json!({})), deployment]);
    // The Deployment keeps its available pod.
    cluster.api.fault(Fault::Refuse(503, "/deployments"));
    let degraded = |expected: &str| {
        let config = cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap();
        let conditions = config["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let degraded = conditions.iter().find(|c| c["type"] == "Degraded").cloned().unwrap();
        assert_eq!(degraded["status"], expected, "{degraded}");
    };
    let observed = async {
        tokio::time::sleep(Duration::from_secs(150)).await;
        cluster.set_clock_forward(3_600);
        tokio::time::sleep(Duration::from_secs(145)).await;
        degraded("False");
        tokio::time::sleep(Duration::from_secs(10)).await;
        degraded("True");
    };
    tokio::select! {
        () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
        () = observed => {}
    }
}

// workload 45: the Config that the operator rewrites
#[tokio::test(start_paused = true)]
async fn empty_lists_and_maps_of_the_config_are_still_there_after_the_operator_wrote_it() {
    let empty = json!({"topologySpreadConstraints": [], "nodeSelector": {}, "affinity": {}, "resources": {}, "tolerations": []});
    let mut before = config(&empty);
    before["metadata"]["finalizers"] = json!([]);
    before["spec"]["httpSecret"] = json!("");
    let cluster = Cluster::new([before]);
    let after = after_a_minute(&cluster).await;
    assert_eq!(after["metadata"]["finalizers"], json!([names::FINALIZER]));
    assert_ne!(after["spec"]["httpSecret"], "");
    assert_eq!(after["spec"]["storage"]["managementState"], "Managed");
    for (member, value) in empty.as_object().unwrap() {
        assert_eq!(&after["spec"][member], value, "{member}");
    }
}

// workload 32: the TLS profile cannot be read, so that no observer replaces what is stored
#[tokio::test(start_paused = true)]
async fn an_unknown_tls_setting_leaves_the_deployment_untouched_and_degraded_names_it() {
    let info = |info: Value| json!({"observedConfig": {"servingInfo": info}});
    for (spec, named) in [
        (info(json!({"minTLSVersion": "VersionTLS12"})), None),
        (info(json!({"minTLSVersion": "VersionTLS99"})), Some("VersionTLS99")),
        (info(json!({"cipherSuites": ["TLS_ODD"]})), Some("TLS_ODD")),
        (json!({"observedConfig": []}), Some("spec.observedConfig")),
    ] {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7},
            "metadata": {"name": names::REGISTRY, "namespace": names::NAMESPACE, "uid": "d", "generation": 3}});
        let cluster = Cluster::with([config(&spec), deployment], |objects: &mut Objects| {
            objects.set_unreadable_kinds([(Kind::ApiServer, "denied".to_owned())].into());
        });
        let after = after_a_minute(&cluster).await;
        assert_eq!(after["spec"]["observedConfig"], spec["observedConfig"]);
        let written = cluster.writes("/deployments");
        assert_eq!(written.is_empty(), named.is_some(), "{spec}: {written:?}");
        let conditions = after["status"]["conditions"].as_array().unwrap();
        let degraded = conditions.iter().find(|c| c["type"] == "Degraded").unwrap();
        assert_eq!(degraded["reason"] == "InvalidTLSConfig", named.is_some(), "{degraded}");
        if let Some(named) = named {
            assert_eq!(degraded["status"], "True");
            let message = degraded["message"].as_str().unwrap();
            assert!(
                message.contains("spec.observedConfig") && message.contains(named),
                "{message}"
            );
        }
    }
}

// workload 32, lifecycle 97: a setting that is edited by hand, and that the pass replaces
#[tokio::test(start_paused = true)]
async fn an_observed_setting_that_the_pass_replaces_is_never_reported() {
    for secret in ["s3cr3t", ""] {
        let spec = json!({"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS99"}}, "httpSecret": secret});
        let cluster = Cluster::new([config(&spec), live_deployment(3, &json!({"replicas": 1}))]);
        // Every write can be seen.
        cluster.api.latency(Duration::from_millis(10));
        let is_reported = || {
            let config = cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap();
            let conditions = config["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|c| c["reason"] == "InvalidTLSConfig")
        };
        // `None` before the Deployment is rendered, and while it is replaced.
        let rendered = || {
            let reference = ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY);
            let container = cluster.get(&reference)?["spec"]["template"]["spec"]["containers"][0].clone();
            let variables = container["env"].as_array().cloned().unwrap_or_default();
            let mut variables = variables.into_iter();
            let found = variables.find(|variable| variable["name"] == "REGISTRY_HTTP_SECRET");
            (!container.is_null()).then(|| found.map_or(Value::Null, |variable| variable["value"].clone()))
        };
        let observed = async {
            for _ in 0..10_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(!is_reported());
                assert!(rendered().is_none_or(|secret| secret.as_str().is_some_and(|secret| !secret.is_empty())));
            }
        };
        tokio::select! {
            () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
            () = observed => {}
        }
        let after = cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap();
        let observed = &after["spec"]["observedConfig"]["servingInfo"];
        assert_eq!(observed["minTLSVersion"], "VersionTLS12");
        assert_eq!(rendered().as_ref(), Some(&after["spec"]["httpSecret"]));
        assert_eq!(condition_of(&after, "Degraded")["status"], "False");
    }
}

// spec/README 11: only what uses the stored fields waits for them
#[tokio::test(start_paused = true)]
async fn a_removal_continues_although_the_observed_settings_cannot_be_stored() {
    let removed = config(&json!({"managementState": "Removed"}));
    let cluster = Cluster::new([removed, live_deployment(3, &json!({"replicas": 1}))]);
    cluster.api.fault(Fault::RefuseEnd(403, "/configs/cluster"));
    let after = after_a_minute(&cluster).await;
    let deployment = ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY);
    assert_eq!(cluster.get(&deployment), None);
    assert_eq!(condition_of(&after, "Progressing")["reason"], "Removed");
    let observation = condition_of(&after, "ConfigObservationDegraded");
    assert_eq!(observation["status"], "True");
    let message = observation["message"].as_str().unwrap();
    for part in ["spec.observedConfig of Config cluster", "refused at the wish of a test"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(after["spec"].get("observedConfig"), None);
    cluster.api.fault(Fault::None);
    let after = after_a_minute(&cluster).await;
    assert_eq!(condition_of(&after, "ConfigObservationDegraded")["status"], "False");
    assert!(after["spec"]["observedConfig"].is_object());
}

// The same for a registry that is not managed: the conditions of its storage are those of this state
#[tokio::test(start_paused = true)]
async fn the_storage_of_an_unmanaged_registry_is_reported_although_the_observed_settings_cannot_be_stored() {
    let mut unmanaged = config(&json!({"managementState": "Unmanaged", "storage": {"emptyDir": {}}}));
    let condition = json!({"type": "StorageEncrypted", "status": "False", "reason": "EncryptionFailed", "message": "m",
        "lastTransitionTime": "2031-05-06T07:08:09Z"});
    unmanaged["status"] = json!({"conditions": [condition], "storage": {"emptyDir": {}}});
    let cluster = Cluster::new([unmanaged, live_deployment(3, &json!({"replicas": 1}))]);
    cluster.api.fault(Fault::RefuseEnd(403, "/configs/cluster"));
    let after = after_a_minute(&cluster).await;
    assert_eq!(condition_of(&after, "ConfigObservationDegraded")["status"], "True");
    assert_eq!(condition_of(&after, "Degraded")["reason"], "Unmanaged");
    cluster.api.fault(Fault::None);
    let settled = after_a_minute(&cluster).await;
    assert_eq!(condition_of(&settled, "ConfigObservationDegraded")["status"], "False");
    let without = |config: &Value| {
        let all = config["status"]["conditions"].as_array().unwrap().iter();
        all.filter(|c| c["type"] != "ConfigObservationDegraded")
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(without(&after), without(&settled));
}

// lifecycle 51
#[tokio::test(start_paused = true)]
async fn a_removal_after_unmanaged_waits_for_credentials_from_its_own_start() {
    let storage = json!({"gcs": {"bucket": "b"}, "managementState": "Managed"});
    let mut removed = config(&json!({"managementState": "Removed", "storage": storage}));
    removed["status"] = json!({"storage": storage, "storageManaged": true});
    let cluster = Cluster::new([removed]);
    let stored = || cluster.get(&ObjectRef::new(Kind::Config, "", names::CLUSTER)).unwrap();
    let edit = |state: &str| {
        let mut config = stored();
        config["spec"]["managementState"] = json!(state);
        cluster.put(config);
        cluster.context.caches.trigger(Controller::Registry);
    };
    let after = async |seconds| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        condition_of(&stored(), "Degraded")["reason"].clone()
    };
    let observed = async {
        assert_eq!(after(100).await, "Removed");
        edit("Unmanaged");
        assert_eq!(after(60).await, "Unmanaged");
        edit("Removed");
        assert_eq!(after(110).await, "Removed");
        assert_eq!(after(15).await, "RemoveFailed");
    };
    tokio::select! {
        () = run(cluster.context.clone()) => unreachable!("the controller does not end"),
        () = observed => {}
    }
}

// lifecycle 128: a CustomResourceDefinition without subresource status
#[tokio::test(start_paused = true)]
async fn a_status_that_the_api_server_does_not_find_is_logged() {
    let cluster = Cluster::new([config(&json!({}))]);
    cluster.api.fault(Fault::Refuse(404, "/configs/cluster/status"));
    let mut registry = Registry::new(cluster.context.clone());
    let mut passes = 0;
    while !registry.pass().await.failed {
        passes += 1;
        assert!(passes < 10, "no pass fails");
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let expected = format!(
        "5 attempts of a pass had to start over, the last one because: {}",
        Stale::NoStatus
    );
    assert!(!registry.logged.is_new(&expected));
    cluster.api.fault(Fault::None);
    assert!(!registry.pass().await.failed);
    assert!(!registry.logged.ended(), "the end is logged");
}

fn in_namespace(kind: Kind, name: &str, rest: &Value) -> Value {
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.kind(),
        "metadata": {"name": name, "namespace": names::NAMESPACE, "uid": name}});
    for (member, value) in rest.as_object().unwrap() {
        object[member] = value.clone();
    }
    object
}

fn live_deployment(generation: i64, spec: &Value) -> Value {
    let mut deployment = in_namespace(Kind::Deployment, names::REGISTRY, &json!({"spec": spec}));
    deployment["metadata"]["generation"] = json!(generation);
    deployment
}

fn deployment_of(cluster: &Cluster) -> Value {
    let reference = ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY);
    cluster.get(&reference).unwrap()
}

fn condition_of(config: &Value, type_: &str) -> Value {
    let conditions = config["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|c| c["type"] == type_).unwrap().clone()
}

// storage-core 34, workload 9
#[tokio::test(start_paused = true)]
async fn pods_are_replaced_after_the_secret_that_they_read_was_written() {
    let pull_secret = |namespace: &str, name: &str, data: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": name, "namespace": namespace, "uid": name}, "data": {".dockerconfigjson": data}})
    };
    let cluster = Cluster::new([
        config(&json!({})),
        pull_secret(names::CONFIG_NAMESPACE, names::PULL_SECRET, "bmV3"),
        pull_secret(names::NAMESPACE, names::PULL_SECRET_COPY, "b2xk"),
        live_deployment(3, &json!({"replicas": 1})),
    ]);
    cluster
        .api
        .fault(Fault::Refuse(500, "/secrets/installation-pull-secrets"));
    let before = deployment_of(&cluster);
    let failing = after_a_minute(&cluster).await;
    assert_eq!(deployment_of(&cluster)["spec"], before["spec"]);
    let written = cluster.writes("/");
    let count = |written: &[String], part: &str| written.iter().filter(|request| request.contains(part)).count();
    assert_eq!(count(&written, "/deployments/"), 0, "{written:?}");
    assert_ne!(count(&written, "/services"), 0, "the others are written: {written:?}");
    let message = condition_of(&failing, "Progressing")["message"].clone();
    let message = message.as_str().unwrap();
    for part in [
        "Deployment",
        "Secret openshift-image-registry/installation-pull-secrets",
    ] {
        assert!(message.contains(part), "{message}");
    }
    cluster.api.fault(Fault::None);
    after_a_minute(&cluster).await;
    let written = cluster.writes("/");
    let at = |part: &str| written.iter().position(|request| request.contains(part));
    assert_eq!(count(&written, "/deployments/"), 1, "{written:?}");
    assert!(
        at("/secrets/installation-pull-secrets") < at("/deployments/"),
        "{written:?}"
    );
}

// storage-volumes 16, workload 60
#[tokio::test(start_paused = true)]
async fn a_deployment_scaled_by_hand_returns_to_one_pod_while_the_claim_does_not_fit() {
    let storage = json!({"pvc": {"claim": "iceberg"}, "managementState": "Unmanaged"});
    let mut config = config(&json!({"replicas": 2, "rolloutStrategy": "Recreate", "storage": storage}));
    config["status"] = json!({"storage": storage, "generations": [{"group": "apps", "resource": "deployments",
        "namespace": names::NAMESPACE, "name": names::REGISTRY, "lastGeneration": 4}]});
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound"}});
    let cluster = Cluster::new([
        config,
        in_namespace(Kind::PersistentVolumeClaim, "iceberg", &claim),
        live_deployment(5, &json!({"replicas": 2, "strategy": {"type": "Recreate"}})),
    ]);
    let after = after_a_minute(&cluster).await;
    let spec = deployment_of(&cluster)["spec"].clone();
    assert_eq!(
        (&spec["replicas"], &spec["strategy"]),
        (&json!(1), &json!({"type": "Recreate"}))
    );
    let degraded = condition_of(&after, "Degraded");
    assert_eq!(
        (&degraded["status"], &degraded["reason"]),
        (&json!("True"), &json!("PVCIncompatible"))
    );
}
