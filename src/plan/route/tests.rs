use serde_json::{Value, json};

use crate::api::Kind;
use crate::plan::fixture::{Cluster, operand, secret};
use crate::plan::{Desired, conflicts, drift};

fn with_entry(entry: &Value, objects: impl IntoIterator<Item = Value>) -> Cluster {
    Cluster::new(&json!({"routes": [entry]}), objects)
}

fn live(name: &str, annotations: &Value, spec: &Value) -> Value {
    operand(
        "route.openshift.io/v1",
        "Route",
        name,
        &json!({"metadata": {"annotations": annotations}, "spec": spec}),
    )
}

fn route(cluster: &Cluster, name: &str) -> Desired {
    cluster.plan().desired(Kind::Route, name).cloned().unwrap()
}

fn names(objects: &[crate::api::ObjectRef]) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}

// workload 64
#[test]
fn the_default_route_follows_spec_default_route() {
    let cluster = Cluster::new(&json!({"defaultRoute": true}), []);
    let desired = route(&cluster, "default-route");
    assert!(desired.body["spec"].get("host").is_none());
    assert_eq!(desired.body["spec"]["tls"]["termination"], "reencrypt");
    assert_eq!(desired.body["spec"]["tls"]["destinationCACertificate"], Value::Null);
    let disabled = Cluster::new(
        &json!({}),
        [live(
            "default-route",
            &json!({"imageregistry.openshift.io": "no"}),
            &json!({}),
        )],
    );
    assert_eq!(
        names(&disabled.plan().absent),
        ["Route openshift-image-registry/default-route"]
    );
}

// workload 65
#[test]
fn certificates_are_read_from_the_secret() {
    let data = json!({"tls.crt": "Q1JU", "tls.key": "S0VZ", "tls.cacrt": "Q0E=", "ca.crt": "T1RIRVI="});
    let entry = json!({"name": "harbour", "hostname": "harbour.test", "secretName": "harbour-tls"});
    let mut cluster = with_entry(&entry, [secret("harbour-tls", "Opaque", &data)]);
    let tls = route(&cluster, "harbour").body["spec"]["tls"].clone();
    assert_eq!(
        (&tls["certificate"], &tls["key"], &tls["caCertificate"]),
        (&json!("CRT"), &json!("KEY"), &json!("CA"))
    );
    assert_eq!(route(&cluster, "harbour").body["spec"]["host"], "harbour.test");
    cluster.put(&secret(
        "harbour-tls",
        "Opaque",
        &json!({"tls.crt": "TkVX", "ca.crt": "T1RIRVI="}),
    ));
    let tls = route(&cluster, "harbour").body["spec"]["tls"].clone();
    assert_eq!(
        (&tls["certificate"], &tls["key"], &tls["caCertificate"]),
        (&json!("NEW"), &Value::Null, &json!("OTHER"))
    );
}

// issue 10, row 9; spec/README 13
#[test]
fn empty_keys_of_the_secret_are_absent_ones_and_the_stored_route_is_written_once() {
    let entry = json!({"name": "harbour", "secretName": "harbour-tls"});
    let (certificate, key) = ("Q1JU", "S0VZ");
    for (data, ca) in [
        (
            json!({"tls.crt": certificate, "tls.key": key, "ca.crt": ""}),
            Value::Null,
        ),
        (
            json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": ""}),
            Value::Null,
        ),
        (
            json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": "", "ca.crt": ""}),
            Value::Null,
        ),
        (
            json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": "", "ca.crt": "Q0E="}),
            json!("CA"),
        ),
        (
            json!({"tls.crt": certificate, "tls.key": key, "tls.cacrt": "Q0E=", "ca.crt": ""}),
            json!("CA"),
        ),
        (
            json!({"tls.crt": certificate, "tls.key": "", "ca.crt": null}),
            Value::Null,
        ),
        (json!({"tls.crt": "", "tls.key": "", "ca.crt": ""}), Value::Null),
        (json!({"tls.crt": certificate, "tls.key": key}), Value::Null),
        (json!({}), Value::Null),
        (Value::Null, Value::Null),
    ] {
        let cluster = with_entry(&entry, [secret("harbour-tls", "kubernetes.io/tls", &data)]);
        let desired = route(&cluster, "harbour");
        assert_eq!(desired.body["spec"]["tls"]["caCertificate"], ca, "{data}");
        let mut stored = drift::merged(&desired, &Value::Null, None);
        assert!(
            !stored["spec"].to_string().contains("\"\""),
            "an empty text is sent: {stored}"
        );
        stored["spec"]["host"] = json!("harbour.test");
        let cluster = with_entry(
            &entry,
            [secret("harbour-tls", "kubernetes.io/tls", &data), stored.clone()],
        );
        assert!(!drift::differs(&route(&cluster, "harbour"), &stored, None), "{data}");
    }
}

// spec/README 12
#[test]
fn a_refused_field_of_a_route_is_named_as_that_of_the_config() {
    let entries = json!({"defaultRoute": true, "routes": [
        {"name": "first"}, {"name": "second", "hostname": "h.test", "secretName": "tls"},
    ]});
    let cluster = Cluster::new(&entries, [secret("tls", "Opaque", &json!({}))]);
    for (name, field, expected) in [
        ("first", "metadata.name", "spec.routes[0].name of Config cluster"),
        // The API server makes the host of the name.
        ("first", "spec.host", "spec.routes[0].name of Config cluster"),
        ("second", "metadata.name", "spec.routes[1].name of Config cluster"),
        ("second", "spec.host", "spec.routes[1].hostname of Config cluster"),
        (
            "second",
            "spec.tls.certificate",
            "spec.routes[1].secretName of Config cluster (key tls.crt of Secret openshift-image-registry/tls)",
        ),
        (
            "second",
            "spec.tls.key",
            "spec.routes[1].secretName of Config cluster (key tls.key of Secret openshift-image-registry/tls)",
        ),
        (
            "second",
            "spec.tls.caCertificate",
            "spec.routes[1].secretName of Config cluster (key tls.cacrt or ca.crt of Secret openshift-image-registry/tls)",
        ),
        ("second", "spec.tls", "spec.routes[1].secretName of Config cluster"),
        (
            "second",
            "spec.tls.termination",
            "spec.routes[1].secretName of Config cluster",
        ),
        ("default-route", "spec.host", "spec.defaultRoute of Config cluster"),
    ] {
        assert_eq!(
            route(&cluster, name).explain(&[field.to_owned()]),
            [expected],
            "{name} {field}"
        );
    }
    for field in ["spec.to.name", "status", "spec.hostname", ""] {
        assert!(
            route(&cluster, "second").explain(&[field.to_owned()]).is_empty(),
            "{field}"
        );
    }
}

// workload 66
#[test]
fn a_missing_secret_fails_only_its_route() {
    let cluster = Cluster::new(
        &json!({"defaultRoute": true, "routes": [{"name": "harbour", "secretName": "harbour-tls"}]}),
        [live(
            "harbour",
            &json!({"imageregistry.openshift.io": "true"}),
            &json!({}),
        )],
    );
    let plan = cluster.plan();
    assert_eq!(plan.failures.len(), 1);
    let failure = &plan.failures[0];
    assert_eq!(failure.reference.to_string(), "Route openshift-image-registry/harbour");
    assert!(
        failure.message.contains("harbour-tls") && failure.message.contains("create it"),
        "{}",
        failure.message
    );
    assert!(plan.desired(Kind::Route, "default-route").is_some());
    assert!(plan.desired(Kind::Deployment, "image-registry").is_some());
    assert!(plan.absent.is_empty(), "the live Route stays");
}

// workload 67
#[test]
fn the_route_of_a_renamed_entry_is_deleted_and_foreign_routes_stay() {
    let cluster = with_entry(
        &json!({"name": "new"}),
        [
            live("old", &json!({"imageregistry.openshift.io": "true"}), &json!({})),
            live("foreign", &json!({"other": "x"}), &json!({})),
            json!({"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {
                "name": "far", "namespace": "elsewhere", "annotations": {"imageregistry.openshift.io": "true"},
            }}),
        ],
    );
    assert_eq!(names(&cluster.plan().absent), ["Route openshift-image-registry/old"]);
    assert!(cluster.plan().desired(Kind::Route, "new").is_some());
}

// workload 69
#[test]
fn a_foreign_route_with_a_requested_name_is_a_conflict() {
    let spec = json!({"host": "elsewhere.test"});
    let mut cluster = with_entry(&json!({"name": "harbour"}), [live("harbour", &json!({}), &spec)]);
    let found = conflicts(&cluster.plan());
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("openshift-image-registry/harbour") && found[0].contains("imageregistry.openshift.io"));
    // With the owner annotation, whatever its value, the operator takes the Route over and keeps its host.
    cluster.put(&live("harbour", &json!({"imageregistry.openshift.io": ""}), &spec));
    assert!(conflicts(&cluster.plan()).is_empty());
    assert_eq!(route(&cluster, "harbour").body["spec"]["host"], "elsewhere.test");
}

#[test]
fn without_the_route_api_no_route_is_planned_and_requested_routes_are_reported() {
    let mut cluster = Cluster::new(&json!({"defaultRoute": true, "routes": [{"name": "harbour"}]}), []);
    cluster.snapshot.objects.set_absent_kind(Kind::Route);
    let plan = cluster.plan();
    assert!(plan.present.iter().all(|desired| desired.reference.kind != Kind::Route));
    assert_eq!(plan.failures.len(), 1);
    assert!(plan.failures[0].message.contains("RoutesUnsupported"));
    let mut none = Cluster::new(&json!({}), []);
    none.snapshot.objects.set_absent_kind(Kind::Route);
    assert!(none.plan().failures.is_empty());
}
