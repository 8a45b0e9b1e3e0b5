use serde_json::{Value, json};

use super::{unsettled, wait_ends};
use crate::api::Kind;
use crate::plan::fixture::{Cluster, live_service, map, merge, operand, pull_secret, secret};
use crate::plan::{certificates, drift};

const NS: &str = "openshift-image-registry";

fn tls() -> Value {
    let mut tls = secret("image-registry-tls", "kubernetes.io/tls", &json!({"tls.crt": "QQ=="}));
    tls["metadata"]["ownerReferences"] = json!([{"kind": "Service", "uid": "service-uid"}]);
    tls
}

/// A cluster in which the Deployment waits for no object.
fn settled() -> Cluster {
    let mut cluster = Cluster::new(
        &json!({"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS12"}}}),
        [
            live_service(),
            map("serviceca", &json!({"service-ca.crt": "CA"})),
            tls(),
        ],
    );
    let found = certificates(&cluster.snapshot, None, false, false);
    for desired in cluster.plan().present.iter().chain(&found.plan.present) {
        if matches!(desired.reference.kind, Kind::Secret) || desired.reference.name == "image-registry-certificates" {
            cluster.put(&drift::merged(desired, &Value::Null, None));
        }
    }
    cluster
}

fn missing(cluster: &Cluster) -> Vec<String> {
    let certificates = certificates(&cluster.snapshot, cluster.facts.ca_bundle.as_deref(), false, false);
    unsettled(&cluster.inputs(), &cluster.plan(), &certificates)
}

/// Asserts that exactly one object is missing and that the message contains its name.
fn assert_waits_for(cluster: &Cluster, name: &str) {
    let missing = missing(cluster);
    assert!(missing.len() == 1 && missing[0].contains(name), "{name}: {missing:?}");
}

#[test]
fn a_complete_cluster_has_no_missing_objects() {
    assert_eq!(missing(&settled()), Vec::<String>::new());
}

#[test]
fn the_serving_certificate_must_belong_to_the_live_service() {
    let mut cluster = settled();
    cluster.remove(Kind::Secret, NS, "image-registry-tls");
    assert_waits_for(&cluster, "image-registry-tls");
    let mut deleting = tls();
    deleting["metadata"]["deletionTimestamp"] = json!("2031-05-06T07:08:00Z");
    cluster.put(&deleting);
    assert_waits_for(&cluster, "image-registry-tls");
    let mut stale = tls();
    stale["metadata"]["ownerReferences"][0]["uid"] = json!("earlier");
    cluster.put(&stale);
    assert_waits_for(&cluster, "image-registry-tls");
    let mut unowned = tls();
    unowned["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    cluster.put(&unowned);
    assert!(missing(&cluster).is_empty());
}

#[test]
fn the_ca_config_map_must_equal_the_desired_one() {
    let mut cluster = settled();
    cluster.facts.ca_bundle = Some("STORAGE".to_owned());
    assert_waits_for(&cluster, "image-registry-certificates");
    let mut cluster = settled();
    cluster.remove(Kind::ConfigMap, NS, "image-registry-certificates");
    assert_waits_for(&cluster, "image-registry-certificates");
    // Before the service CA injects its certificate, the ConfigMap equals the desired one but lacks the registry's own keys.
    cluster.put(&map("serviceca", &Value::Null));
    let empty = json!({"metadata": {"annotations": {"openshift.io/owning-component": "Image Registry"}}});
    cluster.put(&operand("v1", "ConfigMap", "image-registry-certificates", &empty));
    assert_waits_for(&cluster, "serviceca");
}

#[test]
fn trusted_cas_are_awaited_only_with_the_injection_label() {
    let mut cluster = settled();
    let mut trusted = map("trusted-ca", &Value::Null);
    cluster.put(&trusted);
    assert!(missing(&cluster).is_empty(), "without the label nothing is injected");
    merge(
        &mut trusted,
        &json!({"metadata": {"labels": {"config.openshift.io/inject-trusted-cabundle": "true"}}}),
    );
    cluster.put(&trusted);
    assert_waits_for(&cluster, "trusted-ca");
    merge(&mut trusted, &json!({"data": {"ca-bundle.crt": ""}}));
    cluster.put(&trusted);
    assert_waits_for(&cluster, "trusted-ca");
    merge(&mut trusted, &json!({"data": {"ca-bundle.crt": "PEM"}}));
    cluster.put(&trusted);
    assert!(missing(&cluster).is_empty());
}

#[test]
fn the_copy_of_the_pull_secret_must_equal_its_source() {
    let mut cluster = settled();
    let mut source = pull_secret();
    source["data"]["other"] = json!("bmV3");
    cluster.put(&source);
    assert_waits_for(&cluster, "installation-pull-secrets");
    cluster.remove(Kind::Secret, "openshift-config", "pull-secret");
    assert_waits_for(&cluster, "installation-pull-secrets");
    cluster.remove(Kind::Secret, NS, "installation-pull-secrets");
    assert!(missing(&cluster).is_empty(), "no source, no copy");
}

#[test]
fn objects_that_the_storage_references_must_exist() {
    let mut cluster = settled();
    cluster
        .facts
        .files
        .insert("credentials".to_owned(), crate::api::Sensitive::new("x"));
    cluster
        .facts
        .volumes
        .push(json!({"name": "p", "secret": {"secretName": "image-registry-private-configuration"}}));
    assert_waits_for(&cluster, "image-registry-private-configuration");
    cluster.remove(Kind::Secret, NS, "image-registry-private-configuration");
    assert_waits_for(&cluster, "image-registry-private-configuration");
    let mut cluster = settled();
    cluster
        .facts
        .volumes
        .push(json!({"name": "k", "secret": {"secretName": "signing", "optional": false}}));
    assert_waits_for(&cluster, "Secret signing");
    cluster.facts.volumes[1]["secret"]["optional"] = json!(true);
    assert!(missing(&cluster).is_empty());
    cluster.facts.volumes[1] = json!({"name": "k", "configMap": {"name": "bundle"}});
    assert_waits_for(&cluster, "ConfigMap bundle");
}

#[test]
fn the_config_must_be_completed() {
    let complete = settled();
    let mut cluster = Cluster {
        resolved: complete.resolved.clone(),
        ..settled()
    };
    cluster.resolved.http_secret = crate::api::Sensitive::default();
    assert_waits_for(&cluster, "spec.httpSecret");
    let mut config = complete
        .snapshot
        .objects
        .cluster(Kind::Config, "cluster")
        .cloned()
        .unwrap();
    config["spec"].as_object_mut().unwrap().remove("observedConfig");
    let mut cluster = complete;
    cluster.put(&config);
    cluster.resolved.tls = crate::config::tls::ServingInfo::default();
    assert_waits_for(&cluster, "spec.observedConfig");
    cluster.snapshot.objects.set_absent_kind(Kind::ApiServer);
    assert!(missing(&cluster).is_empty());
}

#[test]
fn the_delay_ends_thirty_seconds_after_the_creation_of_the_service() {
    let mut cluster = settled();
    assert_eq!(
        wait_ends(&cluster.snapshot).unwrap().to_string(),
        "2031-05-06T07:08:27Z"
    );
    cluster.remove(Kind::Service, NS, "image-registry");
    assert_eq!(wait_ends(&cluster.snapshot), None);
}
