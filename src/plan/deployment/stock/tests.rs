use serde_json::{Value, json};

use super::tls;
use crate::config::facts::{EnvValue, EnvVar};
use crate::config::resolve::resolve;
use crate::config::tls::ServingInfo;
use crate::names::Program;
use crate::plan::fixture::Cluster;
use crate::plan::stock::users_secret;

fn stock(spec: &Value) -> Cluster {
    let mut cluster = Cluster::new(spec, [users_secret("")]);
    cluster.snapshot.environment.program = Program::Distribution;
    // The API server keeps no empty value.
    cluster.put(&users_secret("# none yet\n"));
    cluster.resolved = resolve(&cluster.snapshot.config().unwrap().unwrap(), &cluster.snapshot).unwrap();
    cluster
}

// kubernetes 4: rows of the program itself
#[test]
fn the_container_needs_no_shell_and_has_the_programs_own_probes_and_ports() {
    let pod = stock(&json!({})).pod();
    let container = &pod["containers"][0];
    assert_eq!(
        container["command"],
        json!(["registry", "serve", "/etc/image-registry/config.yml"])
    );
    for (probe, delay) in [("livenessProbe", 5), ("readinessProbe", 15)] {
        assert_eq!(
            container[probe],
            json!({"initialDelaySeconds": delay, "timeoutSeconds": 5, "httpGet": {"scheme": "HTTPS", "path": "/", "port": 5000}})
        );
    }
    assert_eq!(container["lifecycle"], json!({"preStop": {"sleep": {"seconds": 25}}}));
    let ports: Vec<_> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| &port["containerPort"])
        .collect();
    assert_eq!(ports, [5000, 5001]);
    let mounted: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| &mount["name"])
        .collect();
    let volumes = pod["volumes"].as_array().unwrap();
    assert_eq!(
        mounted,
        volumes.iter().map(|volume| &volume["name"]).collect::<Vec<_>>()
    );
}

// kubernetes 4
#[test]
fn the_variables_are_those_that_the_program_reads() {
    let plain = stock(&json!({}));
    for (name, value) in [
        ("REGISTRY_HTTP_ADDR", ":5000"),
        ("REGISTRY_HTTP_SECRET", "s3cr3t"),
        ("REGISTRY_HTTP_DEBUG_ADDR", ":5001"),
        ("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true"),
        ("REGISTRY_LOG_LEVEL", "info"),
        ("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true"),
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/etc/image-registry-users/htpasswd"),
        ("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt"),
        ("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key"),
        ("SSL_CERT_DIR", super::CA_DIRECTORIES),
    ] {
        assert_eq!(plain.env(name).as_deref(), Some(value), "{name}");
    }
    assert!(
        super::CA_DIRECTORIES.starts_with("/etc/ssl/certs:"),
        "the image's own first"
    );
    for absent in [
        "REGISTRY_STORAGE_MAINTENANCE_READONLY",
        "REGISTRY_STORAGE_REDIRECT_DISABLE",
        "REGISTRY_OPENSHIFT_SERVER_ADDR",
        "REGISTRY_HTTP_TLS_MINIMUMTLS",
        "HTTP_PROXY",
        // It would replace the bundle of the image.
        "SSL_CERT_FILE",
    ] {
        assert_eq!(plain.env(absent), None, "{absent}");
    }
    let full = stock(&json!({
        "readOnly": true, "disableRedirect": true, "logLevel": "Trace",
        "proxy": {"http": "http://p:1", "https": "http://p:2", "noProxy": ".svc"},
        "requests": {"read": {"maxRunning": 3}},
    }));
    for (name, value) in [
        ("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}"),
        ("REGISTRY_STORAGE_REDIRECT_DISABLE", "true"),
        ("REGISTRY_LOG_LEVEL", "debug"),
        ("HTTP_PROXY", "http://p:1"),
        ("HTTPS_PROXY", "http://p:2"),
        ("NO_PROXY", ".svc"),
    ] {
        assert_eq!(full.env(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(full.env("REGISTRY_OPENSHIFT_REQUESTS_READ_MAXRUNNING"), None);
}

#[test]
fn storage_that_signs_no_urls_switches_redirects_off_once() {
    let mut cluster = stock(&json!({"disableRedirect": true}));
    cluster.facts.env.push(EnvVar {
        name: super::NO_REDIRECT,
        value: EnvValue::Flag(true),
    });
    let pod = cluster.pod();
    let env = pod["containers"][0]["env"].as_array().unwrap();
    assert_eq!(env.iter().filter(|v| v["name"] == super::NO_REDIRECT).count(), 1);
}

// kubernetes 4: TLS minimum, ciphers
#[test]
fn tls_is_what_the_program_can_serve() {
    let of = |version: Option<&str>, suites: &[&str]| {
        let settings = ServingInfo {
            min_version: version.map(str::to_owned),
            cipher_suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
        };
        tls(&settings)
    };
    assert!(of(None, &[]).is_empty());
    for (version, minimum) in [
        ("VersionTLS10", "tls1.2"),
        ("VersionTLS11", "tls1.2"),
        ("VersionTLS12", "tls1.2"),
        ("VersionTLS13", "tls1.3"),
    ] {
        let expected = [("REGISTRY_HTTP_TLS_MINIMUMTLS", minimum.to_owned())];
        assert_eq!(of(Some(version), &[]), expected);
    }
    // With an unknown name the registry does not start.
    let suites = [
        "TLS_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    ];
    let expected = "[TLS_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256]";
    assert_eq!(
        of(None, &suites),
        [("REGISTRY_HTTP_TLS_CIPHERSUITES", expected.to_owned())]
    );
    assert!(of(None, &suites[1..3]).is_empty());
}

// The image may have root as its user; where the platform assigns users, it does so here too.
#[test]
fn the_pods_run_as_a_user_of_their_own_where_the_platform_assigns_none() {
    let mut cluster = stock(&json!({}));
    assert_eq!(
        cluster.pod()["securityContext"],
        json!({"fsGroupChangePolicy": "OnRootMismatch", "fsGroup": 1_000_430_000})
    );
    cluster.snapshot.security_api = false;
    cluster.put(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-image-registry"}}));
    let security = &cluster.pod()["securityContext"];
    assert_eq!(
        [&security["runAsNonRoot"], &security["runAsUser"], &security["fsGroup"]],
        [&json!(true), &json!(1000), &json!(1000)]
    );
}
