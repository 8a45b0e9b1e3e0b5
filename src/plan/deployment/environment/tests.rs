use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::facts::{EnvValue, EnvVar};
use crate::plan::fixture::{Cluster, merge};
use crate::plan::parts::Parts;

fn with(spec: &Value) -> Cluster {
    Cluster::new(spec, [])
}

// workload 22
#[test]
fn log_levels_are_set_in_the_environment() {
    for (spec, expected) in [
        (json!({"logLevel": "Normal", "logging": 0}), "info"),
        (json!({"logLevel": "Normal", "logging": 1}), "warn"),
        (json!({"logging": 2}), "info"),
        (json!({"logging": 3}), "info"),
        (json!({"logging": 4}), "debug"),
        (json!({"logging": -1}), "debug"),
        (json!({"logLevel": "Debug", "logging": 1}), "debug"),
        (json!({"logLevel": "Trace"}), "debug"),
        (json!({"logLevel": "TraceAll"}), "debug"),
    ] {
        assert_eq!(
            with(&spec).env("REGISTRY_LOG_LEVEL").as_deref(),
            Some(expected),
            "{spec}"
        );
    }
}

// workload 23, workload 24
#[test]
fn booleans_set_their_variable_only_if_true() {
    for (field, name, value) in [
        ("readOnly", "REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
        ("disableRedirect", "REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
    ] {
        assert_eq!(with(&json!({field: true})).env(name).as_deref(), Some(value));
        assert_eq!(with(&json!({field: false})).env(name), None);
    }
}

fn limits(cluster: &Cluster, direction: &str) -> Option<[String; 3]> {
    let get = |name: &str| cluster.env(&format!("REGISTRY_OPENSHIFT_REQUESTS_{direction}_{name}"));
    Some([get("MAXRUNNING")?, get("MAXINQUEUE")?, get("MAXWAITINQUEUE")?])
}

// workload 25
#[test]
fn limits_of_both_directions_are_set() {
    let cluster = with(&json!({"requests": {
        "read": {"maxRunning": 1, "maxInQueue": 2, "maxWaitInQueue": "3s"},
        "write": {"maxRunning": 4, "maxInQueue": 5, "maxWaitInQueue": "6h"},
    }}));
    assert_eq!(limits(&cluster, "READ"), Some(["1", "2", "3s"].map(str::to_owned)));
    assert_eq!(limits(&cluster, "WRITE"), Some(["4", "5", "6h0m0s"].map(str::to_owned)));
}

// workload 26
#[test]
fn max_wait_in_queue_alone_sets_no_limit() {
    let only_wait = with(&json!({"requests": {"read": {"maxWaitInQueue": "3s"}}}));
    assert!(!only_wait.pod().to_string().contains("REQUESTS_READ"));
    let only_queue = with(&json!({"requests": {"read": {"maxInQueue": 5}}}));
    assert_eq!(limits(&only_queue, "READ"), Some(["0", "5", "0s"].map(str::to_owned)));
    assert_eq!(limits(&only_queue, "WRITE"), None);
}

fn proxy(cluster: &Cluster) -> [Option<String>; 3] {
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"].map(|name| cluster.env(name))
}

// workload 28, workload 29
#[test]
fn each_proxy_variable_falls_back_to_the_cluster_proxy() {
    let cluster_proxy = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Proxy", "metadata": {"name": "cluster"},
        "spec": {"httpProxy": "spec", "httpsProxy": "spec", "noProxy": "spec"},
        "status": {"httpProxy": "c1", "httpsProxy": "c2", "noProxy": "c3"},
    });
    let text = |text: &str| Some(text.to_owned());
    let both = Cluster::new(&json!({"proxy": {"http": "own"}}), [cluster_proxy.clone()]);
    assert_eq!(proxy(&both), [text("own"), text("c2"), text("c3")]);
    assert_eq!(
        proxy(&Cluster::new(&json!({}), [cluster_proxy])),
        [text("c1"), text("c2"), text("c3")]
    );
    assert_eq!(proxy(&with(&json!({}))), [None, None, None]);
}

// The kubelet reads `$$` as `$`, and puts another variable in place of `$(NAME)`.
#[test]
fn a_proxy_with_dollar_signs_reaches_the_container_as_it_was_given() {
    for (given, rendered) in [
        ("http://u:pa$$word@p", "http://u:pa$$$$word@p"),
        ("http://u:$(IMAGE)@p", "http://u:$$(IMAGE)@p"),
        ("http://u:pa$word@p", "http://u:pa$word@p"),
    ] {
        let cluster = with(&json!({"proxy": {"https": given}}));
        assert_eq!(cluster.env("HTTPS_PROXY").as_deref(), Some(rendered));
        let live = Parts::live(&json!({"spec": {"template": {"spec": {"containers": [{
            "env": [{"name": "HTTPS_PROXY", "value": rendered}],
        }]}}}}));
        assert_eq!(live.proxy.https.as_deref(), Some(given), "the proxy that pods have");
    }
}

// workload 30
#[test]
fn the_upload_secret_is_set_unchanged_and_must_not_be_empty() {
    assert_eq!(
        with(&json!({"httpSecret": "10"}))
            .env("REGISTRY_HTTP_SECRET")
            .as_deref(),
        Some("10")
    );
    let plan = with(&json!({"httpSecret": ""})).plan();
    assert!(plan.desired(Kind::Deployment, "image-registry").is_none());
    assert!(plan.failures[0].message.contains("spec.httpSecret"));
}

// workload 31
#[test]
fn tls_settings_are_set_in_the_environment() {
    let info =
        json!({"minTLSVersion": "VersionTLS13", "cipherSuites": ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]});
    let cluster = with(&json!({"observedConfig": {"servingInfo": info}}));
    assert_eq!(
        cluster.env("REGISTRY_HTTP_TLS_MINVERSION").as_deref(),
        Some("VersionTLS13")
    );
    let suites = cluster.env("OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES");
    assert_eq!(suites.as_deref(), Some("TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384"));
    let none = with(&json!({"observedConfig": {}}));
    assert_eq!(none.env("REGISTRY_HTTP_TLS_MINVERSION"), None);
    assert_eq!(none.env("OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES"), None);
}

// workload 33, workload 37
#[test]
fn storage_variables_are_first_and_encoded_as_yaml_if_the_registry_parses_yaml() {
    let mut cluster = with(&json!({"httpSecret": "10"}));
    let text = |text: &str| EnvValue::Text(text.to_owned());
    cluster.facts.env = vec![
        EnvVar {
            name: "REGISTRY_B",
            value: text("123456"),
        },
        EnvVar {
            name: "AZURE_CLIENT_ID",
            value: text("123456"),
        },
        EnvVar {
            name: "REGISTRY_A",
            value: EnvValue::Number(10),
        },
        EnvVar {
            name: "REGISTRY_FLAG",
            value: EnvValue::Flag(true),
        },
        EnvVar {
            name: "REGISTRY_LIST",
            value: EnvValue::Raw("- name: x".to_owned()),
        },
        EnvVar {
            name: "REGISTRY_SECRET",
            value: EnvValue::Secret(crate::api::Sensitive::new("x")),
        },
    ];
    let env = cluster.pod()["containers"][0]["env"].clone();
    let secret = json!({"secretKeyRef": {"name": "image-registry-private-configuration", "key": "REGISTRY_SECRET"}});
    assert_eq!(
        env.as_array().unwrap()[..8],
        [
            json!({"name": "REGISTRY_B", "value": "\"123456\""}),
            json!({"name": "AZURE_CLIENT_ID", "value": "123456"}),
            json!({"name": "REGISTRY_A", "value": "10"}),
            json!({"name": "REGISTRY_FLAG", "value": "true"}),
            json!({"name": "REGISTRY_LIST", "value": "- name: x"}),
            json!({"name": "REGISTRY_SECRET", "valueFrom": secret}),
            json!({"name": "REGISTRY_HTTP_ADDR", "value": ":5000"}),
            json!({"name": "REGISTRY_HTTP_NET", "value": "tcp"}),
        ]
    );
}

// workload 37: the order of section 5.7.2, on every pass
#[test]
fn the_registry_has_the_variables_of_its_configuration_and_no_others() {
    // With which fields of the Config's spec a variable is there; "": always.
    let fields = json!({
        "readOnly": {"readOnly": true},
        "disableRedirect": {"disableRedirect": true},
        "http": {"proxy": {"http": "http://a.test"}},
        "https": {"proxy": {"https": "http://b.test"}},
        "noProxy": {"proxy": {"noProxy": "c.test"}},
        "read": {"requests": {"read": {"maxRunning": 1, "maxInQueue": 2, "maxWaitInQueue": "3s"}}},
        "write": {"requests": {"write": {"maxRunning": 4, "maxInQueue": 5, "maxWaitInQueue": "90s"}}},
        "version": {"observedConfig": {"servingInfo": {"minTLSVersion": "VersionTLS13"}}},
        "suites": {"observedConfig": {"servingInfo": {"cipherSuites": ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"]}}},
    });
    let variables = [
        ("", "REGISTRY_STORAGE", "filesystem"),
        ("", "REGISTRY_HTTP_ADDR", ":5000"),
        ("", "REGISTRY_HTTP_NET", "tcp"),
        ("", "REGISTRY_HTTP_SECRET", "s3cr3t"),
        ("", "REGISTRY_LOG_LEVEL", "info"),
        ("", "REGISTRY_OPENSHIFT_QUOTA_ENABLED", "true"),
        ("", "REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory"),
        ("", "REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("", "REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true"),
        ("", "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "10s"),
        ("", "REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "1"),
        ("", "REGISTRY_OPENSHIFT_METRICS_ENABLED", "true"),
        (
            "",
            "REGISTRY_OPENSHIFT_SERVER_ADDR",
            "image-registry.openshift-image-registry.svc:5000",
        ),
        ("readOnly", "REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
        ("disableRedirect", "REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
        ("http", "HTTP_PROXY", "http://a.test"),
        ("https", "HTTPS_PROXY", "http://b.test"),
        ("noProxy", "NO_PROXY", "c.test"),
        ("read", "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING", "1"),
        ("read", "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXINQUEUE", "2"),
        ("read", "REGISTRY_OPENSHIFT_REQUESTS_READ_MAXWAITINQUEUE", "3s"),
        ("write", "REGISTRY_OPENSHIFT_REQUESTS_WRITE_MAXRUNNING", "4"),
        ("write", "REGISTRY_OPENSHIFT_REQUESTS_WRITE_MAXINQUEUE", "5"),
        ("write", "REGISTRY_OPENSHIFT_REQUESTS_WRITE_MAXWAITINQUEUE", "1m30s"),
        ("", "REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt"),
        ("", "REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key"),
        ("version", "REGISTRY_HTTP_TLS_MINVERSION", "VersionTLS13"),
        (
            "suites",
            "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES",
            "TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384",
        ),
    ];
    let fields = fields.as_object().unwrap();
    let single = fields.keys().map(|field| vec![field.as_str()]);
    let sets = single.chain([vec![], fields.keys().map(String::as_str).collect()]);
    for set in sets {
        let mut spec = json!({});
        for field in &set {
            merge(&mut spec, &fields[*field]);
        }
        let expected = variables
            .iter()
            .filter(|(with, _, _)| with.is_empty() || set.contains(with));
        let expected: Vec<Value> = expected
            .map(|(_, name, value)| json!({"name": name, "value": value}))
            .collect();
        let cluster = with(&spec);
        for _ in 0..2 {
            assert_eq!(cluster.pod()["containers"][0]["env"], json!(expected), "{set:?}");
        }
    }
}

// storage-core 32
#[test]
fn a_string_that_yaml_parses_as_another_type_is_quoted_and_a_boolean_is_not() {
    let rendered = |value| {
        let variable = EnvVar {
            name: "REGISTRY_STORAGE_S3_ENCRYPT",
            value,
        };
        crate::plan::parts::variable(&variable)["value"].clone()
    };
    assert_eq!(rendered(EnvValue::Text("true".to_owned())), "\"true\"");
    assert_eq!(rendered(EnvValue::Text(String::new())), "\"\"");
    assert_eq!(rendered(EnvValue::Flag(true)), "true");
}
