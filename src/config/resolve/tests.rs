use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::api::{Kind, ObjectRef};
use crate::config::environment::Environment;
use crate::config::snapshot::Objects;

fn snapshot(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    Snapshot {
        objects: Objects::from_values(objects).unwrap(),
        environment: Environment::default(),
        security_api: false,
        service_ca_api: true,
        image_api: true,
        now: Timestamp::UNIX_EPOCH,
    }
}

fn config(spec: &Value) -> Config {
    let mut spec = spec.clone();
    if spec.get("replicas").is_none() {
        spec["replicas"] = json!(1);
    }
    serde_json::from_value(json!({
        "apiVersion": "imageregistry.operator.openshift.io/v1", "kind": "Config",
        "metadata": {"name": "cluster"}, "spec": spec,
    }))
    .unwrap()
}

fn resolved(spec: &Value) -> Resolved {
    resolve(&config(spec), &snapshot([])).unwrap()
}

/// Reason and message of the expected rejection.
fn rejected(spec: &Value) -> (&'static str, String) {
    let rejection = resolve(&config(spec), &snapshot([])).unwrap_err();
    (rejection.reason.text(), rejection.message)
}

fn storage(storage: Value) -> Storage {
    serde_json::from_value(storage).unwrap()
}

// deploy 56: what the admission policy warns of and what the operator rejects come from one table. Claims: backend/pvc.
#[test]
fn the_operator_rejects_what_the_admission_policy_warns_of() {
    let cases: Vec<Value> = serde_saphyr::from_str(include_str!("../../../tests/data/admission.yaml")).unwrap();
    assert!(cases.len() > 15);
    for case in cases {
        let spec = &case["spec"];
        let selected = select(&storage(spec.get("storage").cloned().unwrap_or(json!({}))));
        let rejection = selected.err().or(resolve(&config(spec), &snapshot([])).err());
        let reason = rejection.map(|rejection| rejection.reason.text());
        let expected = case["reason"].as_str().filter(|reason| *reason != "PVCIncompatible");
        assert_eq!(reason, expected, "{}", case["case"]);
    }
}

// lifecycle 40: the class of the error
// api 19
#[test]
fn negative_replicas_are_rejected_with_the_message_that_tests_of_users_match() {
    let (reason, message) = rejected(&json!({"replicas": -1}));
    assert_eq!(reason, "VerificationFailed");
    assert!(
        message.contains("replicas must be greater than or equal to 0") && message.contains("-1"),
        "{message}"
    );
    for replicas in [0, 1, i32::MAX] {
        assert_eq!(resolved(&json!({"replicas": replicas})).replicas, replicas);
    }
}

// lifecycle 41
// workload 68: the rejection
#[test]
fn routes_must_have_unique_names_that_are_not_reserved() {
    let (reason, message) = rejected(&json!({"routes": [{"name": "twice"}, {"name": "once"}, {"name": "twice"}]}));
    assert_eq!(reason, "VerificationFailed");
    assert!(message.contains("twice"), "{message}");
    for default_route in [true, false] {
        let (reason, message) =
            rejected(&json!({"defaultRoute": default_route, "routes": [{"name": "default-route"}]}));
        assert_eq!(reason, "VerificationFailed");
        assert!(message.contains("default-route"), "{message}");
    }
}

#[test]
fn requested_routes_are_the_default_route_and_then_the_listed_routes() {
    let spec = json!({"defaultRoute": true, "routes": [
        {"name": "b", "hostname": "b.example.com", "secretName": "tls"}, {"name": "a", "hostname": "", "secretName": ""},
    ]});
    let named = |index, name: &str| WantedRoute {
        index,
        name: name.to_owned(),
        host: None,
        secret: None,
    };
    let b = WantedRoute {
        host: Some("b.example.com".to_owned()),
        secret: Some("tls".to_owned()),
        ..named(Some(0), "b")
    };
    assert_eq!(
        resolved(&spec).routes,
        [named(None, "default-route"), b, named(Some(1), "a")]
    );
    assert_eq!(resolved(&json!({})).routes, []);
}

// lifecycle 42
#[test]
fn an_absent_rollout_strategy_is_a_rolling_update() {
    for (strategy, expected) in [
        (json!({}), Rollout::RollingUpdate),
        (json!({"rolloutStrategy": ""}), Rollout::RollingUpdate),
        (json!({"rolloutStrategy": "RollingUpdate"}), Rollout::RollingUpdate),
        (json!({"rolloutStrategy": "Recreate"}), Rollout::Recreate),
    ] {
        assert_eq!(resolved(&strategy).rollout, expected, "{strategy}");
    }
    let (reason, message) = rejected(&json!({"rolloutStrategy": "Restart"}));
    assert_eq!(reason, "InvalidConfig");
    assert!(
        message.contains("spec.rolloutStrategy") && message.contains("Restart"),
        "{message}"
    );
}

// workload 22
// lifecycle 126: the level
// api 18
#[test]
fn the_log_level_takes_precedence_over_the_deprecated_number() {
    for (logging, expected) in [
        (json!(0), "info"),
        (json!(1), "warn"),
        (json!(2), "info"),
        (json!(3), "info"),
        (json!(4), "debug"),
        (json!(7), "debug"),
        (json!(-1), "debug"),
        (json!(5_000_000_000_i64), "debug"),
        (Value::Null, "info"),
    ] {
        for level in [json!("Normal"), json!(""), Value::Null] {
            let spec = json!({"logLevel": level, "logging": logging});
            assert_eq!(resolved(&spec).log_level, expected, "{spec}");
        }
        for level in ["Debug", "Trace", "TraceAll"] {
            let spec = json!({"logLevel": level, "logging": logging});
            assert_eq!(resolved(&spec).log_level, "debug", "{spec}");
        }
    }
}

const SECOND: i64 = 1_000_000_000;

// workload 25: values
// workload 26
// api 15
// api 16: values
#[test]
fn limits_are_set_together_or_not_at_all() {
    let limits = |max_running, max_in_queue, max_wait| {
        Some(Limits {
            max_running,
            max_in_queue,
            max_wait,
        })
    };
    for (read, expected) in [
        (
            json!({"maxRunning": 1, "maxInQueue": 2, "maxWaitInQueue": "3s"}),
            limits(1, 2, 3 * SECOND),
        ),
        (
            json!({"maxRunning": 4, "maxInQueue": 5, "maxWaitInQueue": "6h"}),
            limits(4, 5, 6 * 3600 * SECOND),
        ),
        (json!({"maxWaitInQueue": "3s"}), None),
        (json!({"maxInQueue": 5}), limits(0, 5, 0)),
        (
            json!({"maxRunning": 1, "maxWaitInQueue": "90s"}),
            limits(1, 0, 90 * SECOND),
        ),
        (
            json!({"maxRunning": 1, "maxWaitInQueue": "1 day"}),
            limits(1, 0, 86_400 * SECOND),
        ),
        (json!({"maxRunning": 0, "maxInQueue": 0, "maxWaitInQueue": "0s"}), None),
        (json!({"maxRunning": 9_000_000_000_i64}), limits(9_000_000_000, 0, 0)),
        (json!({}), None),
        (Value::Null, None),
    ] {
        let requests = resolved(&json!({"requests": {"read": read}}));
        assert_eq!(
            (requests.read_limits, requests.write_limits),
            (expected, None),
            "{read}"
        );
        let requests = resolved(&json!({"requests": {"write": read}}));
        assert_eq!(
            (requests.read_limits, requests.write_limits),
            (None, expected),
            "{read}"
        );
    }
}

// workload 27: the rejection
// api 15
#[test]
fn invalid_limits_are_rejected_and_the_message_names_the_field() {
    for (limits, reason, field) in [
        (json!({"maxRunning": -1}), "InvalidRequestsLimits", "maxRunning"),
        (
            json!({"maxRunning": 1, "maxInQueue": -1}),
            "InvalidRequestsLimits",
            "maxInQueue",
        ),
        (
            json!({"maxWaitInQueue": "soon 5m"}),
            "InvalidDuration",
            "maxWaitInQueue",
        ),
    ] {
        for direction in ["read", "write"] {
            let (found, message) = rejected(&json!({"requests": {direction: limits}}));
            assert_eq!(found, reason);
            assert!(
                message.contains(&format!("spec.requests.{direction}.{field}")),
                "{message}"
            );
        }
    }
}

// workload 28: values
// api 34
#[test]
fn each_proxy_field_falls_back_to_the_status_of_the_cluster_proxy() {
    let cluster = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
        "spec": {"httpProxy": "http://spec"},
        "status": {"httpProxy": "http://cluster", "httpsProxy": "https://cluster", "noProxy": "cluster.local"},
    });
    let text = |text: &str| Some(text.to_owned());
    let (http, https, no_proxy) = (text("http://cluster"), text("https://cluster"), text("cluster.local"));
    let fallback = Proxy { http, https, no_proxy };
    for (proxy, expected) in [
        (json!(null), fallback.clone()),
        (json!({"http": ""}), fallback.clone()),
        (
            json!({"http": "http://own"}),
            Proxy {
                http: text("http://own"),
                ..fallback.clone()
            },
        ),
        (
            json!({"https": "https://own"}),
            Proxy {
                https: text("https://own"),
                ..fallback.clone()
            },
        ),
        (
            json!({"noProxy": "own"}),
            Proxy {
                no_proxy: text("own"),
                ..fallback
            },
        ),
    ] {
        let found = resolve(&config(&json!({"proxy": proxy})), &snapshot([cluster.clone()])).unwrap();
        assert_eq!(found.proxy, expected, "{proxy}");
    }
    assert_eq!(resolved(&json!({})).proxy, Proxy::default());
}

// lifecycle 69: what is read and what is rejected
// api 13: what is read
#[test]
fn overrides_are_read_without_reserved_annotations() {
    let spec = json!({"unsupportedConfigOverrides": {"foo": [1], "deployment": {"runtimeClassName": "x", "annotations": {
        "a": "b",
        "deployment.kubernetes.io/revision": "5",
        "imageregistry.operator.openshift.io/checksum": "1",
        "openshift.io/required-scc": "2",
        "operator.openshift.io/spec-hash": "3",
        "release.openshift.io/version": "4",
    }}}});
    let overrides = resolved(&spec).overrides;
    assert_eq!(overrides.runtime_class.as_deref(), Some("x"));
    assert_eq!(
        overrides.annotations,
        BTreeMap::from([("a".to_owned(), "b".to_owned())])
    );
    assert_eq!(
        overrides.ignored,
        [
            "deployment.kubernetes.io/revision",
            "imageregistry.operator.openshift.io/checksum",
            "openshift.io/required-scc",
            "operator.openshift.io/spec-hash",
            "release.openshift.io/version",
        ]
    );
    for empty in [
        json!(null),
        json!({}),
        json!({"deployment": null}),
        json!({"deployment": {"runtimeClassName": ""}}),
    ] {
        assert_eq!(
            resolved(&json!({"unsupportedConfigOverrides": empty})).overrides,
            Overrides::default()
        );
    }
    for (invalid, field) in [
        (json!([]), "unsupportedConfigOverrides must"),
        (json!({"deployment": 1}), "unsupportedConfigOverrides.deployment must"),
        (
            json!({"deployment": {"runtimeClassName": 5}}),
            "deployment.runtimeClassName",
        ),
        (json!({"deployment": {"annotations": []}}), "deployment.annotations"),
        (json!({"deployment": {"annotations": {"a": 1}}}), "annotations[\"a\"]"),
    ] {
        let (reason, message) = rejected(&json!({"unsupportedConfigOverrides": invalid}));
        assert_eq!(reason, "InvalidOverrides");
        assert!(message.contains(field), "{message}");
    }
}

// workload 32: the rejection
// workload 31: values
#[test]
fn tls_settings_are_accepted_or_rejected() {
    let suites = ["TLS_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA"];
    let tls = resolved(
        &json!({"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS13", "cipherSuites": suites}}}),
    )
    .tls;
    assert_eq!(
        (tls.min_version.as_deref(), tls.cipher_suites.as_slice()),
        (Some("VersionTLS13"), &suites.map(str::to_owned)[..])
    );
    for empty in [
        json!(null),
        json!({}),
        json!({"servingInfo": null}),
        json!({"servingInfo": {"minTLSVersion": ""}}),
    ] {
        assert_eq!(
            resolved(&json!({"observedConfig": empty})).tls,
            tls::ServingInfo::default()
        );
    }
    for invalid in [
        json!([]),
        json!({"servingInfo": []}),
        json!({"servingInfo": {"minTLSVersion": "VersionTLS99"}}),
        json!({"servingInfo": {"minTLSVersion": 13}}),
        json!({"servingInfo": {"cipherSuites": "TLS_AES_128_GCM_SHA256"}}),
        json!({"servingInfo": {"cipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256"]}}),
        json!({"servingInfo": {"cipherSuites": [5]}}),
    ] {
        let (reason, message) = rejected(&json!({"observedConfig": invalid}));
        assert_eq!(reason, "InvalidTLSConfig");
        assert!(message.contains("spec.observedConfig"), "{message}");
    }
}

// storage-core 8: the rejection
// lifecycle 57: the rejection
#[test]
fn several_backends_are_rejected_and_the_message_names_them() {
    let rejection = select(&storage(json!({"s3": {}, "emptyDir": {}}))).unwrap_err();
    assert_eq!(rejection.reason.text(), "StorageConflict");
    assert!(
        rejection.message.contains("2 backends (EmptyDir, S3)"),
        "{}",
        rejection.message
    );
    assert!(
        rejection.message.contains("exactly one expected"),
        "{}",
        rejection.message
    );
    let all = json!({
        "azure": {}, "oss": {}, "pvc": {}, "ibmcos": {}, "gcs": {}, "swift": {}, "s3": {}, "emptyDir": {},
    });
    let message = select(&storage(all)).unwrap_err().message;
    assert!(
        message.contains("8 backends (EmptyDir, S3, Swift, GCS, IBMCOS, PVC, Azure, OSS)"),
        "{message}"
    );
}

#[test]
fn a_backend_is_selected_by_the_presence_of_its_field() {
    for (member, name) in [
        ("emptyDir", "EmptyDir"),
        ("s3", "S3"),
        ("swift", "Swift"),
        ("gcs", "GCS"),
        ("ibmcos", "IBMCOS"),
        ("pvc", "PVC"),
        ("azure", "Azure"),
        ("oss", "OSS"),
    ] {
        assert_eq!(select(&storage(json!({member: {}}))), Ok(Some(name)));
        assert_eq!(
            select(&storage(json!({member: null, "managementState": "Managed"}))),
            Ok(None)
        );
    }
}

// issue 13: `oss` counts as every backend does; the specification of the API still has it as unsupported
#[test]
fn oss_alone_is_selected_and_oss_beside_another_backend_is_a_conflict() {
    let alone = storage(json!({"oss": {"bucket": "b"}, "managementState": "Managed"}));
    assert_eq!(select(&alone), Ok(Some("OSS")));
    let rejection = select(&storage(json!({"oss": {}, "s3": {}}))).unwrap_err();
    assert_eq!(rejection.reason.text(), "StorageConflict");
    assert!(rejection.message.contains("S3, OSS"), "{}", rejection.message);
}

// api 14: what is read
#[test]
fn pod_settings_pass_through_unchanged() {
    let spec = json!({
        "resources": {"limits": {"cpu": 1, "memory": 1.5}}, "nodeSelector": {}, "topologySpreadConstraints": [],
        "tolerations": [{"operator": "Exists"}], "affinity": {}, "readOnly": true, "disableRedirect": true,
    });
    let resolved = resolved(&spec);
    assert_eq!(resolved.resources, Some(json!({"limits": {"cpu": 1, "memory": 1.5}})));
    assert_eq!(resolved.node_selector, Some(BTreeMap::new()));
    assert_eq!(resolved.spread, Some(Vec::new()));
    assert_eq!(resolved.tolerations, [json!({"operator": "Exists"})]);
    assert_eq!(resolved.affinity, Some(json!({})));
    assert!(resolved.read_only && resolved.disable_redirect);
}

// api 29: the fault names the object
#[test]
fn only_the_config_named_cluster_is_decoded_and_its_error_names_the_object() {
    let mut undecodable = snapshot([]);
    let broken = json!({"metadata": {"name": "cluster"}, "spec": {"replicas": "many"}});
    undecodable
        .objects
        .insert(ObjectRef::new(Kind::Config, "", "cluster"), broken);
    let error = undecodable.config().unwrap_err().to_string();
    assert!(error.contains("Config cluster") && error.contains("many"), "{error}");
    // api 28: only `cluster` is looked at
    let mut other_name = snapshot([]);
    other_name.objects.insert(
        ObjectRef::new(Kind::Config, "", "other"),
        json!({"spec": {"replicas": "many"}}),
    );
    assert_eq!(other_name.config(), Ok(None));
}

mod random;
