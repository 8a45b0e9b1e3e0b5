//! Comparison of the storage settings of the live Deployment with the desired ones.

use serde_json::{Value, json};

use super::{has_other_credentials, is_published, storage_cas, storage_differs};
use crate::api::{Kind, ObjectRef, Sensitive};
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::names;
use crate::plan::certificates::certificates;
use crate::plan::fixture::{Cluster, map, operand, secret};
use crate::plan::source::Source;
use crate::plan::{Plan, drift};

fn s3(bucket: &str) -> StorageFacts {
    let text = |name, value: &str| EnvVar {
        name,
        value: EnvValue::Text(value.to_owned()),
    };
    let secret = json!({"secretName": "image-registry-private-configuration", "optional": false});
    StorageFacts {
        backend: "S3",
        env: vec![
            text("REGISTRY_STORAGE", "s3"),
            text("REGISTRY_STORAGE_S3_BUCKET", bucket),
            EnvVar {
                name: "REGISTRY_STORAGE_S3_ENCRYPT",
                value: EnvValue::Flag(true),
            },
        ],
        volumes: vec![json!({"name": "image-registry-private-configuration", "secret": secret})],
        mounts: vec![json!({
            "name": "image-registry-private-configuration", "mountPath": "/var/run/secrets/cloud", "readOnly": true,
        })],
        files: [("credentials".to_owned(), Sensitive::new("key"))].into(),
        ..StorageFacts::default()
    }
}

/// A cluster whose registry uses this storage, with the objects as the API server stores them.
fn running(spec: &Value, facts: StorageFacts) -> Cluster {
    let mut cluster = Cluster::new(spec, []);
    cluster.facts = facts;
    publish(&mut cluster, None);
    deploy(&mut cluster);
    cluster
}

fn publish(cluster: &mut Cluster, ca: Option<&str>) {
    let wanted = certificates(&cluster.snapshot, ca, cluster.resolved.disable_redirect, false).plan;
    cluster.put(
        &wanted
            .desired(Kind::ConfigMap, "image-registry-certificates")
            .unwrap()
            .body,
    );
}

fn deploy(cluster: &mut Cluster) {
    let plan = cluster.plan();
    for (kind, name) in [
        (Kind::Deployment, "image-registry"),
        (Kind::Secret, "image-registry-private-configuration"),
        (Kind::Secret, "installation-pull-secrets"),
    ] {
        let mut body = drift::merged(plan.desired(kind, name).unwrap(), &Value::Null, None);
        // Default that the API server adds.
        for volume in body
            .pointer_mut("/spec/template/spec/volumes")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for source in ["secret", "configMap", "projected"] {
                if let Some(source) = volume.get_mut(source) {
                    source["defaultMode"] = json!(420);
                }
            }
        }
        cluster.put(&body);
    }
}

fn differs(cluster: &Cluster, facts: &StorageFacts) -> bool {
    storage_differs(&cluster.resolved, facts, &cluster.snapshot)
}

// storage-decisions T4, T18
#[test]
fn only_keys_and_the_tenant_make_other_credentials() {
    let mut facts = s3("one");
    facts.tenant = &["REGISTRY_STORAGE_S3_BUCKET"];
    let mut cluster = running(&json!({}), facts.clone());
    let other = |cluster: &Cluster, change: fn(&mut StorageFacts)| {
        let mut facts = facts.clone();
        change(&mut facts);
        has_other_credentials(&facts, &cluster.snapshot)
    };
    let keys = |facts: &mut StorageFacts| drop(facts.files.insert("credentials".to_owned(), Sensitive::new("other")));
    assert!(!other(&cluster, |_| {}));
    assert!(!other(&cluster, |facts| facts.ca_bundle = Some("NEW CA".to_owned())));
    assert!(!other(&cluster, |facts| facts.env[2].value = EnvValue::Flag(false)));
    assert!(other(&cluster, |facts| facts.env[1].value = EnvValue::Text("two".to_owned())));
    assert!(other(&cluster, |facts| drop(facts.env.remove(1))));
    assert!(other(&cluster, keys));
    // Where nothing runs, nothing tells.
    let of_registry = |kind, name| ObjectRef::new(kind, names::NAMESPACE, name);
    let secret = of_registry(Kind::Secret, "image-registry-private-configuration");
    cluster.snapshot.objects.remove(&secret);
    assert!(!other(&cluster, keys));
    let registry = of_registry(Kind::Deployment, "image-registry");
    cluster.snapshot.objects.remove(&registry);
    assert!(!other(&cluster, |facts| drop(facts.env.remove(1))));
}

fn deployment(plan: &Plan) -> &Value {
    &plan.desired(Kind::Deployment, "image-registry").unwrap().body
}

// storage-decisions T13, 20
#[test]
fn storage_differs_only_if_storage_settings_change() {
    let cluster = running(&json!({}), s3("one"));
    let same = s3("one");
    assert!(!differs(&cluster, &same));
    let mut other_order = same.clone();
    other_order.env.reverse();
    assert!(!differs(&cluster, &other_order));
    let cases: [fn(&mut StorageFacts); 8] = [
        |facts| *facts = s3("two"),
        |facts| facts.env[2].value = EnvValue::Flag(false),
        |facts| drop(facts.env.pop()),
        |facts| facts.volumes[0]["secret"]["optional"] = json!(true),
        |facts| {
            facts
                .volumes
                .push(json!({"name": "cdn", "secret": {"secretName": "cdn-key"}}));
        },
        |facts| facts.mounts[0]["mountPath"] = json!("/elsewhere"),
        |facts| drop(facts.files.insert("credentials".to_owned(), Sensitive::new("other"))),
        |facts| facts.ca_bundle = Some("NEW CA".to_owned()),
    ];
    for (case, change) in cases.into_iter().enumerate() {
        let mut facts = same.clone();
        change(&mut facts);
        assert!(differs(&cluster, &facts), "{case}");
    }
    let edited = running(
        &json!({"replicas": 3, "logLevel": "Debug", "readOnly": true}),
        s3("one"),
    );
    assert!(
        !storage_differs(&cluster.resolved, &same, &edited.snapshot),
        "an edit of other settings"
    );
    let proxied = Cluster::new(&json!({"proxy": {"https": "http://proxy.example"}}), []);
    assert!(
        storage_differs(&proxied.resolved, &same, &cluster.snapshot),
        "another proxy"
    );
}

// storage-decisions T13: where nothing runs it is tried out
#[test]
fn without_a_deployment_the_storage_differs() {
    assert!(differs(&Cluster::new(&json!({}), []), &s3("one")));
}

// storage-decisions T13: hands and other programs do not make another storage
#[test]
fn additions_of_other_writers_to_the_pods_are_not_storage() {
    let mut cluster = running(&json!({}), s3("one"));
    let mut live = cluster
        .snapshot
        .objects
        .operand(Kind::Deployment, "image-registry")
        .unwrap()
        .clone();
    let pod = &mut live["spec"]["template"]["spec"];
    pod["volumes"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "theirs", "emptyDir": {}}));
    let container = &mut pod["containers"][0];
    container["env"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "THEIRS", "value": "1"}));
    container["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "theirs", "mountPath": "/theirs"}));
    cluster.put(&live);
    assert!(!differs(&cluster, &s3("one")));
    assert!(
        !cluster
            .held(Source::Live)
            .desired(Kind::Deployment, "image-registry")
            .unwrap()
            .body
            .to_string()
            .contains("heirs")
    );
}

// storage-decisions T13: a user's own CA under our key is not the storage's
#[test]
fn a_users_key_in_the_ca_config_map_is_not_the_storage_ca() {
    let mut cluster = running(&json!({}), s3("one"));
    cluster.put(&json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "spec": {"additionalTrustedCA": {"name": "of-users"}},
    }));
    cluster.put(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "of-users", "namespace": "openshift-config"},
        "data": {"storage-ca-bundle.pem": "THEIRS"},
    }));
    publish(&mut cluster, None);
    assert!(!differs(&cluster, &s3("one")));
    assert_eq!(storage_cas(&s3("one"), &cluster.snapshot), None);
}

// storage-decisions 18, T16
#[test]
fn while_storage_waits_pods_keep_their_storage_and_other_edits_are_applied() {
    let mut cluster = running(&json!({}), s3("one"));
    let before = cluster
        .snapshot
        .objects
        .operand(Kind::Deployment, "image-registry")
        .unwrap()
        .clone();
    let held = cluster.held(Source::Live);
    assert_eq!(held.desired(Kind::Secret, "image-registry-private-configuration"), None);
    let hash = "/metadata/annotations/operator.openshift.io~1spec-hash";
    assert_eq!(
        deployment(&held).pointer(hash),
        before.pointer(hash),
        "nothing is written while nothing else changes"
    );

    let proxied = Cluster::new(
        &json!({"replicas": 3, "logLevel": "Debug", "proxy": {"http": "http://p.example"}}),
        [],
    );
    cluster.resolved = proxied.resolved;
    cluster.put(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull-secret", "namespace": "openshift-config"},
        "data": {".dockerconfigjson": "e30K"},
    }));
    let held = cluster.held(Source::Live);
    let (old, new) = (&before["spec"], &deployment(&held)["spec"]);
    assert_eq!((&new["replicas"], &old["replicas"]), (&json!(3), &json!(1)));
    assert_eq!(
        new["template"]["metadata"]["annotations"],
        old["template"]["metadata"]["annotations"]
    );
    let container = |spec: &Value| spec["template"]["spec"]["containers"][0].clone();
    assert_eq!(container(new)["volumeMounts"], container(old)["volumeMounts"]);
    let env = |spec: &Value| container(spec)["env"].as_array().unwrap().clone();
    assert_eq!(env(new)[..3], env(old)[..3]);
    assert!(
        !env(new).iter().any(|v| v["name"] == "HTTP_PROXY"),
        "the proxy does not change either"
    );
    assert!(env(new).contains(&json!({"name": "REGISTRY_LOG_LEVEL", "value": "debug"})));
    let copy = held.desired(Kind::Secret, "installation-pull-secrets").unwrap();
    assert_eq!(copy.body["data"][".dockerconfigjson"], "e30K");
    assert!(held.desired(Kind::Service, "image-registry").is_some());
}

// storage-decisions T18: undecided with a changed block
#[test]
fn while_the_deployment_waits_other_objects_are_planned() {
    let mut cluster = running(&json!({"defaultRoute": true}), s3("one"));
    for storage in [Source::Nowhere, Source::Live] {
        let plan = cluster.held(storage);
        let planned = plan.desired(Kind::Deployment, "image-registry").is_some();
        assert_eq!(planned, matches!(storage, Source::Live));
        cluster.remove(Kind::Deployment, "openshift-image-registry", "image-registry");
        let plan = cluster.held(storage);
        assert_eq!(
            plan.desired(Kind::Deployment, "image-registry"),
            None,
            "no Deployment is created"
        );
        assert_eq!(plan.desired(Kind::Secret, "image-registry-private-configuration"), None);
        assert!(plan.desired(Kind::Route, "default-route").is_some() && plan.failures.is_empty());
        cluster = running(&json!({"defaultRoute": true}), s3("one"));
    }
}

// storage-decisions T16: replicas and strategy that were meant for the new storage do not reach a volume
#[test]
fn a_registry_on_a_volume_keeps_replicas_and_strategy_while_the_new_storage_waits() {
    let mut cluster = Cluster::new(&json!({"rolloutStrategy": "Recreate"}), []);
    cluster.facts.env[0].value = EnvValue::Text("filesystem".to_owned());
    publish(&mut cluster, None);
    deploy(&mut cluster);
    cluster.resolved = Cluster::new(&json!({"replicas": 2}), []).resolved;
    for (storage, replicas) in [(Source::Live, 1), (Source::Facts(&s3("next")), 2)] {
        let plan = cluster.held(storage);
        assert_eq!(deployment(&plan)["spec"]["replicas"], replicas);
        assert_eq!(
            deployment(&plan)["spec"]["strategy"]["type"] == "Recreate",
            replicas == 1
        );
    }
}

/// A cluster that runs with a Service, whose certificate this CA signed.
fn running_with_service(ca: &str) -> Cluster {
    let mut cluster = running(&json!({}), s3("one"));
    cluster.put(&operand(
        "v1",
        "Service",
        "image-registry",
        &json!({"spec": {"ports": [{"port": 5000}]}}),
    ));
    cluster.put(&map("serviceca", &json!({"service-ca.crt": ca})));
    cluster
}

// storage-decisions T16: both CAs while pods turn over, then the new one alone, and that is one rollout
#[test]
fn a_new_ca_is_published_before_the_rollout_and_the_old_ca_is_removed_after_it() {
    let with = |ca: &str| StorageFacts {
        ca_bundle: Some(ca.to_owned()),
        ..s3("one")
    };
    let mut cluster = running_with_service("SERVICE");
    publish(&mut cluster, Some("OLD\n"));
    cluster.facts = with("OLD\n");
    deploy(&mut cluster);
    assert!(!differs(&cluster, &with("OLD\n")) && is_published(&with("OLD\n"), &cluster.snapshot));

    let next = with("NEW\n");
    assert!(differs(&cluster, &next) && !is_published(&next, &cluster.snapshot));
    let both = storage_cas(&next, &cluster.snapshot);
    assert_eq!(both.as_deref(), Some("OLD\nNEW\n"));
    publish(&mut cluster, both.as_deref());
    assert!(is_published(&next, &cluster.snapshot) && !differs(&cluster, &next));
    assert_eq!(storage_cas(&next, &cluster.snapshot), both, "stable");
    cluster.facts = next.clone();
    let rolled = cluster.deployment().body;
    publish(&mut cluster, Some("NEW\n"));
    assert_eq!(cluster.deployment().body, rolled, "no second rollout");
    cluster.facts = with("OLD\n");
    assert_ne!(cluster.deployment().body, rolled);
    // Storage without a CA: the old CA stays until the pods are replaced.
    assert_eq!(storage_cas(&s3("one"), &cluster.snapshot).as_deref(), Some("NEW\n"));
    assert!(differs(&cluster, &s3("one")) && is_published(&s3("one"), &cluster.snapshot));
}

// spec/README 9: the setting and what it changes in the CA map are one rollout
#[test]
fn a_switch_of_redirects_replaces_the_pods_once() {
    const CA: &str = "STORAGE\n";
    let mut cluster = running_with_service("SERVICE\n");
    cluster.put(&json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "spec": {"additionalTrustedCA": {"name": "of-users"}},
    }));
    let of_users = |data: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
               "metadata": {"name": "of-users", "namespace": "openshift-config"}})
    };
    cluster.put(&of_users(json!({})));
    publish(&mut cluster, Some(CA));
    cluster.facts.ca_bundle = Some(CA.to_owned());
    deploy(&mut cluster);
    let first = cluster.deployment().body;
    for disabled in [true, false] {
        let before = cluster.deployment().body;
        cluster.resolved = Cluster::new(&json!({"disableRedirect": disabled}), []).resolved;
        let rolled = cluster.deployment().body;
        assert_ne!(rolled, before);
        publish(&mut cluster, Some(CA));
        assert_eq!(cluster.deployment().body, rolled, "no second rollout: {disabled}");
    }
    assert_eq!(cluster.deployment().body, first);
    // Pods that start before another CA is published do not have it: nothing replaces them if their digest says that they have.
    for change in [
        of_users(json!({"hub.example": "THEIRS"})),
        map("serviceca", &json!({"service-ca.crt": "RENEWED\n"})),
    ] {
        // Whatever the mark of the map says.
        let published = cluster
            .snapshot
            .objects
            .operand(Kind::ConfigMap, "image-registry-certificates");
        let mut marked = published.unwrap().clone();
        marked["immutable"] = json!(false);
        cluster.put(&marked);
        let before = cluster.deployment().body;
        cluster.put(&change);
        assert_eq!(cluster.deployment().body, before, "{change}");
        publish(&mut cluster, Some(CA));
        assert_ne!(cluster.deployment().body, before, "{change}");
    }
}

// storage-decisions T13: a Secret that is gone is no other storage where nothing is in it
#[test]
fn a_missing_private_secret_differs_only_if_it_would_contain_data() {
    let mut cluster = running(&json!({}), s3("one"));
    cluster.remove(
        Kind::Secret,
        "openshift-image-registry",
        "image-registry-private-configuration",
    );
    assert!(differs(&cluster, &s3("one")));
    cluster.put(&secret(
        "image-registry-private-configuration",
        "Opaque",
        &json!({"credentials": "a2V5", "former": "eA=="}),
    ));
    assert!(differs(&cluster, &s3("one")), "a key of the previous backend");
    let plain = Cluster::new(&json!({}), []).facts;
    let mut cluster = running(&json!({}), plain.clone());
    cluster.remove(
        Kind::Secret,
        "openshift-image-registry",
        "image-registry-private-configuration",
    );
    assert!(!differs(&cluster, &plain));
}
