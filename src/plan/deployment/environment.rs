//! Environment of the registry's container. Its order is part of the pod template: another one would replace the pods.

use serde_json::{Value, json};

use crate::api::duration;
use crate::config::resolve::{Limits, Proxy, Resolved};
use crate::names;
use crate::plan::parts::{self, FIRST_OWN_VARIABLE, Parts};
use crate::plan::service;

/// Variables of the storage, then those of the registry.
pub(super) fn variables(resolved: &Resolved, parts: &Parts) -> Vec<Value> {
    let mut variables = parts.env.clone();
    let mut set = |name: &str, value: &str| variables.push(json!({"name": name, "value": value}));
    set(FIRST_OWN_VARIABLE, &format!(":{}", names::REGISTRY_PORT));
    set("REGISTRY_HTTP_NET", "tcp");
    set("REGISTRY_HTTP_SECRET", resolved.http_secret.expose());
    set("REGISTRY_LOG_LEVEL", resolved.log_level);
    set("REGISTRY_OPENSHIFT_QUOTA_ENABLED", "true");
    set("REGISTRY_STORAGE_CACHE_BLOBDESCRIPTOR", "inmemory");
    set("REGISTRY_STORAGE_DELETE_ENABLED", "true");
    set("REGISTRY_HEALTH_STORAGEDRIVER_ENABLED", "true");
    set("REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL", "10s");
    set("REGISTRY_HEALTH_STORAGEDRIVER_THRESHOLD", "1");
    set("REGISTRY_OPENSHIFT_METRICS_ENABLED", "true");
    set("REGISTRY_OPENSHIFT_SERVER_ADDR", &service::address());
    if resolved.read_only {
        // The registry reads a map here; there is no variable for the member alone.
        set("REGISTRY_STORAGE_MAINTENANCE_READONLY", "{enabled: true}");
    }
    if resolved.disable_redirect {
        set(names::NO_REDIRECT, "true");
    }
    for (name, value) in proxy_variables(&parts.proxy) {
        set(name, &parts::literal(value));
    }
    variables.extend(request_limits(resolved));
    let mut set = |name: &str, value: &str| variables.push(json!({"name": name, "value": value}));
    set("REGISTRY_HTTP_TLS_CERTIFICATE", "/etc/secrets/tls.crt");
    set("REGISTRY_HTTP_TLS_KEY", "/etc/secrets/tls.key");
    if let Some(version) = &resolved.tls.min_version {
        set("REGISTRY_HTTP_TLS_MINVERSION", version);
    }
    if !resolved.tls.cipher_suites.is_empty() {
        set(
            "OPENSHIFT_REGISTRY_HTTP_TLS_CIPHERSUITES",
            &resolved.tls.cipher_suites.join(","),
        );
    }
    variables
}

/// The proxy, as far as there is one.
pub(super) fn proxy_variables(proxy: &Proxy) -> impl Iterator<Item = (&'static str, &str)> {
    let variables = [
        ("HTTP_PROXY", &proxy.http),
        ("HTTPS_PROXY", &proxy.https),
        ("NO_PROXY", &proxy.no_proxy),
    ];
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
}

/// Limits of concurrent requests.
fn request_limits(resolved: &Resolved) -> Vec<Value> {
    let mut variables = Vec::new();
    let mut set = |name: String, value: String| variables.push(json!({"name": name, "value": value}));
    for (direction, limits) in [("READ", resolved.read_limits), ("WRITE", resolved.write_limits)] {
        let Some(Limits {
            max_running,
            max_in_queue,
            max_wait,
        }) = limits
        else {
            continue;
        };
        set(
            format!("REGISTRY_OPENSHIFT_REQUESTS_{direction}_MAXRUNNING"),
            max_running.to_string(),
        );
        set(
            format!("REGISTRY_OPENSHIFT_REQUESTS_{direction}_MAXINQUEUE"),
            max_in_queue.to_string(),
        );
        set(
            format!("REGISTRY_OPENSHIFT_REQUESTS_{direction}_MAXWAITINQUEUE"),
            duration::go_text(max_wait),
        );
    }
    variables
}

#[cfg(test)]
mod tests;
