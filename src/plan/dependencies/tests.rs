use serde_json::json;

use super::{digest, map_json, secret_json};
use crate::api::Kind;
use crate::config::facts::{EnvValue, EnvVar, StorageFacts};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::certificates::certificates;
use crate::plan::checksum::sha256;
use crate::plan::fixture::{Cluster, empty_dir, map, secret, snapshot};
use crate::plan::parts::Parts;
use crate::plan::{Plan, registry};

fn of(objects: Vec<serde_json::Value>) -> String {
    of_facts(&empty_dir(), &snapshot(objects))
}

fn of_facts(facts: &StorageFacts, snapshot: &Snapshot) -> String {
    let resolved = Cluster::new(&json!({}), []).resolved;
    let parts = Parts::rendered(facts, &resolved);
    digest(&parts, snapshot, &Plan::default(), None)
}

fn hash(json: &str) -> String {
    format!("sha256:{}", sha256(json.as_bytes()))
}

// workload 55
#[test]
fn digests_equal_the_test_vectors() {
    let map = map(
        "image-registry-certificates",
        &json!({"registry.example.com..5000": "PEM"}),
    );
    let secret = secret(
        "image-registry-tls",
        "kubernetes.io/tls",
        &json!({"tls.crt": "Q1JU", "tls.key": "S0VZ"}),
    );
    assert_eq!(
        hash(&map_json(&map)),
        "sha256:9aa4f357094b5560b21d226584ae41c9ea955df850c1555f40ed772a89b37e73"
    );
    assert_eq!(
        hash(&secret_json(&secret)),
        "sha256:9bb4c3b27be2b52fa6641ecde2fa0d58539ceb183a3964f2ba639f0ecab92254"
    );
    assert_eq!(
        of(vec![secret, map]),
        "sha256:22b59a35853b69150ec30ee69df8c7839894ea941b801af7db3afb2f115df78b"
    );
    assert_eq!(
        of(vec![]),
        "sha256:74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"
    );
}

#[test]
fn json_is_encoded_as_go_encodes_it() {
    let map = json!({
        "metadata": {"name": "x", "labels": {"a": "b"}}, "apiVersion": "v1", "kind": "ConfigMap",
        "binaryData": {"z": "AA=="}, "immutable": true, "data": {"b": "<&>\u{2028}\u{2029}\u{8}\n\"\\é", "a": ""},
    });
    assert_eq!(
        map_json(&map),
        concat!(
            r#"{"metadata":{},"immutable":true,"data":{"a":"","b":""#,
            r"\u003c\u0026\u003e\u2028\u2029\b\n",
            r#"\"\\é"},"binaryData":{"z":"AA=="}}"#
        )
    );
    let secret = json!({"type": "Opaque", "data": {}, "metadata": {}});
    assert_eq!(secret_json(&secret), r#"{"metadata":{},"type":"Opaque"}"#);
}

// workload 56, workload 57
#[test]
fn only_content_changes_the_digest() {
    let tls = |crt: &str| secret("image-registry-tls", "kubernetes.io/tls", &json!({"tls.crt": crt}));
    let before = of(vec![tls("QQ==")]);
    assert_ne!(of(vec![tls("Qg==")]), before);
    let mut labelled = tls("QQ==");
    labelled["metadata"]["labels"] = json!({"a": "b"});
    labelled["metadata"]["resourceVersion"] = json!("77");
    assert_eq!(of(vec![labelled]), before);
    assert_ne!(
        of(vec![tls("QQ=="), map("trusted-ca", &json!({"ca-bundle.crt": "x"}))]),
        before
    );
    assert_eq!(
        of(vec![tls("QQ=="), map("somebody-elses", &json!({"ca-bundle.crt": "x"}))]),
        before
    );
}

// workload 14
// storage-core 34
#[test]
fn secrets_count_with_the_content_that_this_pass_writes() {
    let mut cluster = Cluster::new(&json!({}), []);
    cluster.facts.env.push(EnvVar {
        name: "REGISTRY_X",
        value: EnvValue::Secret(crate::api::Sensitive::new("10")),
    });
    let annotation = |cluster: &Cluster| {
        let body = cluster.deployment().body;
        body["spec"]["template"]["metadata"]["annotations"]["imageregistry.operator.openshift.io/dependencies-checksum"]
            .clone()
    };
    let before = annotation(&cluster);
    let written = registry(&cluster.inputs());
    for name in ["installation-pull-secrets", "image-registry-private-configuration"] {
        cluster.put(&written.desired(Kind::Secret, name).unwrap().body);
    }
    assert_eq!(
        annotation(&cluster),
        before,
        "the next pass computes the same digest from the written objects"
    );
    let map = certificates(&cluster.snapshot, None, false, false).plan;
    cluster.put(&map.desired(Kind::ConfigMap, names::CERTIFICATES_MAP).unwrap().body);
    let before = annotation(&cluster);
    // Somebody marks an object: it is made anew without the mark, which replaces no pod.
    for (kind, name) in [
        (Kind::Secret, "installation-pull-secrets"),
        (Kind::Secret, "image-registry-private-configuration"),
        (Kind::ConfigMap, names::CERTIFICATES_MAP),
    ] {
        let live = cluster.snapshot.objects.operand(kind, name).unwrap().clone();
        for mark in [true, false] {
            let mut marked = live.clone();
            marked["immutable"] = json!(mark);
            cluster.put(&marked);
            assert_eq!(annotation(&cluster), before, "{name} {mark}");
        }
        cluster.put(&live);
    }
    let mut source = crate::plan::fixture::pull_secret();
    source["data"]["other"] = json!("bmV3");
    cluster.put(&source);
    assert_ne!(annotation(&cluster), before);
    // A copy that this pass deletes counts as absent.
    cluster.remove(Kind::Secret, "openshift-config", "pull-secret");
    let without = annotation(&cluster);
    cluster.remove(Kind::Secret, "openshift-image-registry", "installation-pull-secrets");
    assert_eq!(annotation(&cluster), without);
}

#[test]
fn secrets_that_the_storage_references_change_the_digest() {
    let mut cluster = Cluster::new(&json!({}), [secret("signing", "Opaque", &json!({"k": "QQ=="}))]);
    let digest_of = |cluster: &Cluster| of_facts(&cluster.facts, &cluster.snapshot);
    let before = digest_of(&cluster);
    cluster
        .facts
        .volumes
        .push(json!({"name": "v", "secret": {"secretName": "signing"}}));
    assert_ne!(digest_of(&cluster), before);
}
