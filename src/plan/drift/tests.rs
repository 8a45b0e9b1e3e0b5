use serde_json::{Value, json};

use super::{differs, immutable_differs, merged};
use crate::api::Kind;
use crate::plan::certificates::certificates;
use crate::plan::fixture::{Cluster, live_service, merge, operand};
use crate::plan::{Desired, Drift, Plan, network, rbac};

fn cluster() -> Cluster {
    Cluster::new(&json!({"defaultRoute": true}), [])
}

fn desired(plan: &Plan, kind: Kind, name: &str) -> Desired {
    plan.desired(kind, name).cloned().unwrap()
}

fn changed(live: &Value, patch: &Value) -> Value {
    let mut live = live.clone();
    merge(&mut live, patch);
    live
}

/// Asserts that the edit is detected and that the object to write equals the desired object again.
fn assert_restored(desired: &Desired, live: &Value, edit: &Value) {
    let edited = changed(live, edit);
    assert!(
        !differs(desired, live, Some(4)),
        "{} differs before the edit",
        desired.reference
    );
    assert!(
        differs(desired, &edited, Some(4)),
        "{}: {edit} is not detected",
        desired.reference
    );
    let written = merged(desired, &edited, Some("sha256:x"));
    assert!(
        !differs(desired, &written, Some(4)),
        "{}: {edit} is not restored",
        desired.reference
    );
}

/// An object as the API server stores it after the operator's write.
fn stored(desired: &Desired) -> Value {
    let mut live = merged(desired, &Value::Null, Some("sha256:x"));
    merge(
        &mut live,
        &json!({"metadata": {"uid": "u", "resourceVersion": "9", "creationTimestamp": "2031-01-01T00:00:00Z"}}),
    );
    live
}

// workload 3
#[test]
fn a_removed_rule_is_restored() {
    let role = rbac::cluster_role();
    let live = stored(&role);
    let mut fewer = live["rules"].clone();
    fewer.as_array_mut().unwrap().remove(3);
    assert_restored(&role, &live, &json!({"rules": fewer}));
    assert_restored(
        &role,
        &live,
        &json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}),
    );
}

// workload 4
#[test]
fn a_binding_to_another_role_is_created_again() {
    let binding = rbac::cluster_role_binding();
    let live = stored(&binding);
    assert!(!immutable_differs(&binding, &live));
    assert!(immutable_differs(
        &binding,
        &changed(&live, &json!({"roleRef": {"name": "cluster-admin"}}))
    ));
    let other = json!({"subjects": [{"kind": "ServiceAccount", "name": "registry", "namespace": "elsewhere"}]});
    assert_restored(&binding, &live, &other);
    assert!(!immutable_differs(&binding, &changed(&live, &other)));
}

// workload 5
#[test]
fn secret_lists_of_a_service_account_are_never_written() {
    let account = rbac::service_account();
    let adopted = operand(
        "v1",
        "ServiceAccount",
        "registry",
        &json!({
            "metadata": {"annotations": {"eks.example.com/role": "r"}},
            "secrets": [{"name": "a"}], "imagePullSecrets": [{"name": "b"}],
        }),
    );
    assert!(!differs(&account, &adopted, None));
    let written = merged(&account, &adopted, Some("sha256:x"));
    assert_eq!(written["secrets"], json!([{"name": "a"}]));
    assert_eq!(written["imagePullSecrets"], json!([{"name": "b"}]));
    assert_eq!(written["metadata"]["annotations"]["eks.example.com/role"], "r");
}

// workload 6
#[test]
fn an_edited_port_is_restored_and_assigned_addresses_stay() {
    let mut cluster = cluster();
    let live = live_service();
    cluster.put(&live);
    let service = desired(&cluster.plan(), Kind::Service, "image-registry");
    let edit = json!({"spec": {"ports": [{"name": "5000-tcp", "port": 5001, "protocol": "TCP", "targetPort": 5000}]}});
    assert_restored(&service, &live, &edit);
    let written = merged(&service, &changed(&live, &edit), Some("sha256:x"));
    assert_eq!(written["spec"]["ports"], live["spec"]["ports"]);
    for member in ["clusterIP", "clusterIPs", "ipFamilies", "sessionAffinity"] {
        assert_eq!(written["spec"][member], live["spec"][member], "{member}");
    }
    assert_eq!(
        written["metadata"]["annotations"]["service.beta.openshift.io/serving-cert-signed-by"],
        "signer"
    );
    assert_eq!(
        written["metadata"]["annotations"]["imageregistry.operator.openshift.io/checksum"],
        "sha256:x"
    );
    assert_eq!(written["metadata"]["resourceVersion"], "5");
    assert_restored(&service, &live, &json!({"spec": {"type": "NodePort"}}));
    assert_restored(
        &service,
        &live,
        &json!({"metadata": {"labels": {"docker-registry": "x"}}}),
    );
}

#[test]
fn an_extended_selector_is_restored() {
    let mut cluster = cluster();
    let live = changed(&live_service(), &json!({"spec": {"selector": {"narrow": "yes"}}}));
    cluster.put(&live);
    let service = desired(&cluster.plan(), Kind::Service, "image-registry");
    assert!(differs(&service, &live, None));
    assert_eq!(
        merged(&service, &live, None)["spec"]["selector"],
        json!({"docker-registry": "default"})
    );
}

// workload 8
#[test]
fn an_edited_network_policy_is_restored_and_foreign_labels_stay() {
    let policy = network::registry(crate::names::Program::Platform);
    let live = changed(
        &stored(&policy),
        &json!({"metadata": {"labels": {"foreign": "yes"}, "generation": 1}}),
    );
    for edit in [
        json!({"spec": {"ingress": []}}),
        json!({"spec": {"policyTypes": ["Ingress"]}}),
        json!({"spec": {"podSelector": {"matchLabels": {"more": "x"}}}}),
        json!({"spec": {"egress": [{}]}}),
    ] {
        assert_restored(&policy, &live, &edit);
    }
    let mut without = live.clone();
    without["spec"]["ingress"][1]["from"][0]["namespaceSelector"] = json!({});
    assert!(differs(&policy, &without, None));
    let written = merged(&policy, &without, Some("sha256:x"));
    assert_eq!(written["metadata"]["labels"]["foreign"], "yes");
    assert!(
        written["metadata"].get("annotations").is_none(),
        "NetworkPolicies have no checksum annotation"
    );
}

#[test]
fn an_edited_disruption_budget_is_restored() {
    let budget = desired(&cluster().plan(), Kind::PodDisruptionBudget, "image-registry");
    let live = changed(
        &stored(&budget),
        &json!({"status": {"currentHealthy": 1}, "metadata": {"generation": 1}}),
    );
    assert_restored(&budget, &live, &json!({"spec": {"minAvailable": 1}}));
    assert_restored(&budget, &live, &json!({"spec": {"minAvailable": "0%"}}));
    let mut other = live.clone();
    other["spec"].as_object_mut().unwrap().remove("minAvailable");
    assert!(differs(&budget, &other, None));
    assert_restored(
        &budget,
        &live,
        &json!({"spec": {"unhealthyPodEvictionPolicy": "IfHealthyBudget"}}),
    );
}

#[test]
fn undesired_keys_of_a_secret_are_removed() {
    let secret = desired(&cluster().plan(), Kind::Secret, "installation-pull-secrets");
    let live = stored(&secret);
    assert_restored(&secret, &live, &json!({"data": {"extra": "eA=="}}));
    assert_restored(&secret, &live, &json!({"data": {"other": "eA=="}}));
    let written = merged(&secret, &changed(&live, &json!({"data": {"extra": "eA=="}})), None);
    assert!(written["data"].get("extra").is_none());
    assert!(immutable_differs(&secret, &changed(&live, &json!({"type": "Opaque"}))));
    assert!(immutable_differs(&secret, &changed(&live, &json!({"immutable": true}))));
}

#[test]
fn an_object_that_somebody_marks_as_not_immutable_stays() {
    for (kind, name) in [
        (Kind::Secret, "installation-pull-secrets"),
        (Kind::ConfigMap, "image-registry-certificates"),
    ] {
        let desired = match kind {
            Kind::Secret => desired(&cluster().plan(), kind, name),
            _ => desired(&certificates(&cluster().snapshot, None, false, false).plan, kind, name),
        };
        let live = stored(&desired);
        let marked = changed(&live, &json!({"immutable": false}));
        assert!(!immutable_differs(&desired, &marked) && !differs(&desired, &marked, None));
        assert_eq!(merged(&desired, &marked, Some("sha256:x")), live);
        assert!(immutable_differs(
            &desired,
            &changed(&live, &json!({"immutable": true}))
        ));
    }
}

// workload 19, workload 20
// storage-core 33
#[test]
fn an_absent_data_field_equals_an_empty_one() {
    let empty = desired(&cluster().plan(), Kind::Secret, "image-registry-private-configuration");
    let mut live = stored(&empty);
    live.as_object_mut().unwrap().remove("data");
    assert!(!differs(&empty, &live, None));
    let former = changed(&live, &json!({"data": {"credentials": "eA=="}}));
    assert!(differs(&empty, &former, None));
    assert_eq!(merged(&empty, &former, None)["data"], json!({}));
}

// workload 64
#[test]
fn an_edited_route_is_restored_and_fields_of_the_router_stay() {
    let mut cluster = cluster();
    let live = operand(
        "route.openshift.io/v1",
        "Route",
        "default-route",
        &json!({
            "metadata": {"annotations": {"imageregistry.openshift.io": "true", "openshift.io/host.generated": "true"}},
            "spec": {
                "host": "default-route-x.apps.test", "wildcardPolicy": "None",
                "to": {"kind": "Service", "name": "image-registry", "weight": 100},
                "tls": {"termination": "reencrypt"},
            },
            "status": {"ingress": [{"host": "default-route-x.apps.test"}]},
        }),
    );
    cluster.put(&live);
    let route = desired(&cluster.plan(), Kind::Route, "default-route");
    for edit in [
        json!({"spec": {"tls": {"termination": "passthrough"}}}),
        json!({"spec": {"tls": {"destinationCACertificate": "x"}}}),
        json!({"spec": {"tls": {"certificate": "x"}}}),
        json!({"spec": {"to": {"name": "elsewhere"}}}),
        json!({"spec": {"port": {"targetPort": 80}}}),
        json!({"spec": {"alternateBackends": [{"kind": "Service", "name": "x"}]}}),
        json!({"spec": {"subdomain": "x"}}),
    ] {
        assert_restored(&route, &live, &edit);
    }
    let written = merged(
        &route,
        &changed(&live, &json!({"spec": {"path": "/x"}})),
        Some("sha256:x"),
    );
    assert_eq!(written["spec"], live["spec"]);
    assert_eq!(
        written["metadata"]["annotations"]["openshift.io/host.generated"],
        "true"
    );

    let without_weight = changed(&live, &json!({"spec": {"to": {"weight": 0}}}));
    cluster.put(&without_weight);
    let route = desired(&cluster.plan(), Kind::Route, "default-route");
    assert!(differs(&route, &without_weight, None));
    assert_eq!(merged(&route, &without_weight, None)["spec"]["to"]["weight"], 100);

    // `wildcardPolicy` is immutable: the Route is created again, with the same host.
    assert!(!immutable_differs(
        &desired(&cluster.plan(), Kind::Route, "default-route"),
        &live
    ));
    let wildcard = changed(&live, &json!({"spec": {"wildcardPolicy": "Subdomain"}}));
    cluster.put(&wildcard);
    let route = desired(&cluster.plan(), Kind::Route, "default-route");
    assert!(immutable_differs(&route, &wildcard));
    let recreated = merged(&route, &Value::Null, None);
    assert_eq!(recreated["spec"]["wildcardPolicy"], "None");
    assert_eq!(recreated["spec"]["host"], "default-route-x.apps.test");
}

#[test]
fn a_created_object_contains_no_null() {
    let route = desired(&cluster().plan(), Kind::Route, "default-route");
    let created = merged(&route, &Value::Null, Some("sha256:x"));
    assert_eq!(
        created,
        operand(
            "route.openshift.io/v1",
            "Route",
            "default-route",
            &json!({
                "metadata": {"annotations": {
                    "imageregistry.openshift.io": "true", "imageregistry.operator.openshift.io/checksum": "sha256:x",
                }},
                "spec": {"to": {"kind": "Service", "name": "image-registry"}, "tls": {"termination": "reencrypt"}},
            })
        )
    );
}

// workload 58, workload 60, workload 63
#[test]
fn a_workload_is_written_if_its_generation_differs_from_the_recorded_one() {
    let deployment = cluster().deployment();
    let live = changed(
        &stored(&deployment),
        &json!({"metadata": {"generation": 4, "annotations": {"foreign": "yes"}}}),
    );
    assert!(!differs(&deployment, &live, Some(4)));
    assert!(
        differs(&deployment, &live, None),
        "without a recorded generation the object is written once"
    );
    let scaled = changed(
        &live,
        &json!({"metadata": {"generation": 5}, "spec": {"replicas": 9, "paused": true}}),
    );
    assert!(differs(&deployment, &scaled, Some(4)));
    let written = merged(&deployment, &scaled, Some("sha256:x"));
    assert_eq!(written["spec"], deployment.body["spec"]);
    assert_eq!(written["metadata"]["annotations"]["foreign"], "yes");
    let other_spec = json!({"metadata": {"annotations": {"operator.openshift.io/spec-hash": "other"}}});
    assert!(differs(&deployment, &changed(&live, &other_spec), Some(4)));
}

#[test]
fn annotations_to_drop_are_detected_and_removed() {
    let desired = Desired {
        drop_annotations: vec!["gone".to_owned()],
        ..cluster().deployment()
    };
    let live = changed(
        &stored(&desired),
        &json!({"metadata": {"generation": 4, "annotations": {"gone": "x", "kept": "y"}}}),
    );
    assert!(differs(&desired, &live, Some(4)));
    let written = merged(&desired, &live, None);
    assert!(written["metadata"]["annotations"].get("gone").is_none());
    assert_eq!(written["metadata"]["annotations"]["kept"], "y");
    assert!(!differs(&desired, &written, Some(4)));
}

#[test]
fn drift_template_compares_desired_fields_and_replaces_the_spec() {
    let body = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "x"}, "spec": {"a": {"b": 1}, "c": []}});
    let desired = Desired::new(Kind::CronJob, Drift::Template, body);
    let live = json!({"spec": {"a": {"b": 1, "default": true}, "default": 5}});
    assert!(!differs(&desired, &live, None));
    assert!(differs(&desired, &json!({"spec": {"a": {"b": 2}}}), None));
    assert!(differs(&desired, &json!({"spec": {"a": {"b": 1}, "c": [1]}}), None));
    assert_eq!(merged(&desired, &live, None)["spec"], json!({"a": {"b": 1}, "c": []}));
}

// spec/README 13
#[test]
fn a_wanted_empty_text_equals_an_absent_field_in_every_comparison() {
    let object = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let with = |drift, spec| Desired::new(Kind::Service, drift, object(spec));
    let drifts = [Drift::Named, Drift::Template, Drift::Whole(&["spec"])];
    for (wanted, equal) in [
        (json!({"a": ""}), json!({})),
        (json!({"a": ""}), json!({"a": ""})),
        (json!({"a": ""}), json!({"a": null})),
        (json!({"a": {"b": ""}}), json!({})),
        (json!({"a": {"b": "", "c": ""}}), json!({"a": {}})),
        (json!({"a": {"b": "", "c": "x"}}), json!({"a": {"c": "x"}})),
        (json!({"a": [{"b": "", "c": "x"}]}), json!({"a": [{"c": "x"}]})),
        (json!({"a": [{"b": ""}, {"c": 1}]}), json!({"a": [{}, {"c": 1}]})),
        (json!({"a": ["", "x"]}), json!({"a": ["", "x"]})),
        (
            json!({"tls": {"key": "K", "caCertificate": ""}}),
            json!({"tls": {"key": "K"}}),
        ),
    ] {
        for drift in drifts {
            assert!(
                !differs(&with(drift, wanted.clone()), &object(equal.clone()), None),
                "{drift:?} {wanted} {equal}"
            );
        }
        let immutable = with(Drift::Named, wanted.clone()).with_immutable(&["/spec"]);
        assert!(
            !immutable_differs(&immutable, &object(equal.clone())),
            "{wanted} {equal}"
        );
    }
    for (wanted, other) in [
        (json!({"a": ""}), json!({"a": "x"})),
        (json!({"a": {"b": ""}}), json!({"a": {"b": "x"}})),
        (json!({"a": [{"b": ""}]}), json!({"a": [{"b": "x"}]})),
        (json!({"a": [""]}), json!({"a": ["x"]})),
        (json!({"a": [""]}), json!({"a": []})),
        (json!({"a": "x"}), json!({"a": ""})),
        (json!({"a": "x"}), json!({})),
    ] {
        for drift in drifts {
            assert!(
                differs(&with(drift, wanted.clone()), &object(other.clone()), None),
                "{drift:?} {wanted} {other}"
            );
        }
    }
}

// The API server stores an empty selector, which selects all. An absent one selects none, or the own namespace.
#[test]
fn an_empty_selector_is_not_an_absent_one() {
    let object = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let all = || json!({});
    for selector in ["labelSelector", "namespaceSelector"] {
        for (wanted, live, expected) in [
            (json!({selector: all()}), json!({selector: all()}), false),
            (json!({selector: all()}), json!({}), true),
            (json!({selector: all()}), json!({selector: null}), true),
            (json!({selector: null}), json!({selector: all()}), true),
            (json!({selector: null}), json!({selector: null}), false),
            (json!({selector: null}), json!({}), false),
            (
                json!({selector: all()}),
                json!({selector: {"matchLabels": {"a": "b"}}}),
                true,
            ),
            (json!({selector: {"matchLabels": {}}}), json!({selector: all()}), false),
            (json!({selector: {"matchLabels": {}}}), json!({}), true),
        ] {
            for drift in [Drift::Named, Drift::Template, Drift::Whole(&["spec"])] {
                let deep = |value: &Value| object(json!({"key": "zone", "peers": [value]}));
                for (wanted, live) in [
                    (object(wanted.clone()), object(live.clone())),
                    (deep(&wanted), deep(&live)),
                ] {
                    let desired = Desired::new(Kind::Service, drift, wanted.clone());
                    assert_eq!(differs(&desired, &live, None), expected, "{drift:?} {wanted} {live}");
                    let written = merged(&desired, &live, None);
                    assert!(!differs(&desired, &written, None), "{drift:?} {wanted} {live}");
                }
            }
        }
    }
}

// An entry of a map is no field: the API server stores it, and selectors depend on it.
#[test]
fn an_entry_with_an_empty_text_in_a_map_is_wanted_as_any_other() {
    let object = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let (with, other) = (json!({"infra": ""}), json!({"infra": "", "zone": "a"}));
    for map in [
        "nodeSelector",
        "matchLabels",
        "labels",
        "annotations",
        "data",
        "binaryData",
    ] {
        for (wanted, live, expected) in [
            (&with, json!({map: {"infra": ""}}), false),
            (&with, json!({map: {}}), true),
            (&with, json!({}), true),
            (&with, json!({map: {"infra": "x"}}), true),
            (&with, json!({map: {"zone": "a"}}), true),
            (&other, json!({map: {"zone": "a"}}), true),
            (&other, json!({map: {"zone": "a", "infra": ""}}), false),
        ] {
            for drift in [Drift::Named, Drift::Template, Drift::Whole(&["spec"])] {
                let desired = Desired::new(Kind::Service, drift, object(json!({map: wanted})));
                assert_eq!(
                    differs(&desired, &object(live.clone()), None),
                    expected,
                    "{drift:?} {map} {wanted} {live}"
                );
                let nested = Desired::new(Kind::Service, drift, object(json!({"a": [{map: wanted}]})));
                let live = object(json!({"a": [live]}));
                assert_eq!(
                    differs(&nested, &live, None),
                    expected,
                    "{drift:?} {map} {wanted} {live}"
                );
            }
        }
        // The top level: an entry that somebody added is no part of the object.
        let desired = Desired::new(Kind::Service, Drift::Whole(&["spec"]), object(json!({map: with})));
        assert!(
            differs(&desired, &object(json!({map: {"infra": "", "added": ""}})), None),
            "{map}"
        );
    }
}
