//! The container of the stock registry. Its image need not have a shell.

use serde_json::{Value, json};

use super::{common, environment};
use crate::config::resolve::Resolved;
use crate::config::tls::ServingInfo;
use crate::names::{self, NO_REDIRECT};
use crate::plan::parts::{self, FIRST_OWN_VARIABLE, Parts, STOCK_COMMAND};
use crate::plan::stock::CONFIG_FILE;
use crate::plan::volumes;

/// Directories with CAs: those of the image first, then those of users and platform. Go reads all of them, and beside them the first
/// of the usual bundle files; `SSL_CERT_FILE` would replace that one.
const CA_DIRECTORIES: &str = "/etc/ssl/certs:/etc/pki/tls/certs:/etc/pki/ca-trust/source/anchors:\
    /usr/share/pki/ca-trust-source/anchors";

/// How long the registry serves what is under way when it is told to end. The pause before takes 25 of the pod's 55 seconds.
const DRAIN: &str = "25s";

/// Cipher suites that the registry knows; it refuses to start with any other name.
const SUITES: [&str; 19] = [
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];
/// Suites with an older name too, by the end of the name that the registry knows.
const RENAMED: &str = "_CHACHA20_POLY1305";

/// The container.
pub(super) fn container(image: &str, resolved: &Resolved, parts: &Parts, asks_for_login: bool) -> Value {
    let mounts = parts.mounts.iter().cloned();
    json!({
        "name": "registry",
        "image": image,
        "command": [STOCK_COMMAND, "serve", format!("{}/{CONFIG_FILE}", volumes::CONFIG_MOUNT)],
        "ports": [
            {"containerPort": names::REGISTRY_PORT, "protocol": "TCP"},
            {"containerPort": names::DEBUG_PORT, "name": names::DEBUG_PORT_NAME, "protocol": "TCP"},
        ],
        "env": variables(resolved, parts, asks_for_login),
        "livenessProbe": common::probe("/", 5),
        // Later than the first check of the storage.
        "readinessProbe": common::probe("/", 15),
        // Clients go elsewhere once the endpoint is gone everywhere: the registry waits for that before it ends.
        "lifecycle": {"preStop": {"sleep": {"seconds": 25}}},
        "resources": common::resources(resolved),
        "securityContext": {
            "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts.chain(volumes::stock_mounts(asks_for_login)).collect::<Vec<_>>(),
    })
}

/// User and group of the pods where the platform assigns none: the image may have root as its user.
pub(super) fn user(security: &mut Value) {
    security["runAsNonRoot"] = json!(true);
    security["runAsUser"] = json!(1000);
    security["fsGroup"] = json!(1000);
    security["seccompProfile"] = json!({"type": "RuntimeDefault"});
}

/// Variables of the storage, then those of the registry.
fn variables(resolved: &Resolved, parts: &Parts, asks_for_login: bool) -> Vec<Value> {
    let mut variables = parts.env.clone();
    let redirects = parts.env.iter().all(|variable| variable["name"] != NO_REDIRECT);
    let mut set = |name: &str, value: &str| variables.push(json!({"name": name, "value": value}));
    set(FIRST_OWN_VARIABLE, &format!(":{}", names::REGISTRY_PORT));
    set("REGISTRY_HTTP_SECRET", resolved.http_secret.expose());
    set("REGISTRY_HTTP_DRAINTIMEOUT", DRAIN);
    set("REGISTRY_HTTP_DEBUG_ADDR", &format!(":{}", names::DEBUG_PORT));
    set("REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED", "true");
    set("REGISTRY_LOG_LEVEL", resolved.log_level);
    // Else it sends traces to a collector at its own address, and logs that there is none.
    set("OTEL_TRACES_EXPORTER", "none");
    set("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory");
    set("REGISTRY_STORAGE_DELETE_ENABLED", "true");
    if resolved.read_only {
        set("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
    }
    if resolved.disable_redirect && redirects {
        set(NO_REDIRECT, "true");
    }
    if asks_for_login {
        set("REGISTRY_AUTH", "htpasswd");
        set("REGISTRY_AUTH_HTPASSWD_REALM", names::REGISTRY);
        let path = format!("{}/{}", volumes::USERS_MOUNT, names::HTPASSWD_KEY);
        set("REGISTRY_AUTH_HTPASSWD_PATH", &path);
    }
    for (name, value) in environment::proxy_variables(&parts.proxy) {
        set(name, &parts::literal(value));
    }
    set("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt");
    set("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key");
    for (name, value) in tls(&resolved.tls) {
        set(name, &value);
    }
    set("SSL_CERT_DIR", CA_DIRECTORIES);
    variables
}

/// The registry serves nothing older than TLS 1.2, and does not choose among the suites of TLS 1.3.
fn tls(settings: &ServingInfo) -> Vec<(&'static str, String)> {
    let minimum = settings.min_version.as_deref().map(|version| match version {
        "VersionTLS13" => "tls1.3",
        _ => "tls1.2",
    });
    let known = |name: &String| {
        let renamed = name.ends_with(RENAMED);
        let name = if renamed {
            format!("{name}_SHA256")
        } else {
            name.clone()
        };
        SUITES.contains(&name.as_str()).then_some(name)
    };
    let suites: Vec<String> = settings.cipher_suites.iter().filter_map(known).collect();
    let suites = (!suites.is_empty()).then(|| format!("[{}]", suites.join(", ")));
    let minimum = minimum.map(|minimum| ("REGISTRY_HTTP_TLS_MINIMUMTLS", minimum.to_owned()));
    let suites = suites.map(|suites| ("REGISTRY_HTTP_TLS_CIPHERSUITES", suites));
    minimum.into_iter().chain(suites).collect()
}

#[cfg(test)]
mod tests;
