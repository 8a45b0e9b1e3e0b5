//! What the containers of all registry programs have in common.

use serde_json::{Value, json};

use crate::config::resolve::Resolved;
use crate::names;

/// Resources of the container: those of the Config, or requests that suit most registries.
pub(super) fn resources(resolved: &Resolved) -> Value {
    let given = resolved.resources.clone();
    given.unwrap_or_else(|| json!({"requests": {"cpu": "100m", "memory": "256Mi"}}))
}

/// A probe by HTTPS, which begins after that many seconds.
pub(super) fn probe(path: &str, delay: u32) -> Value {
    json!({
        "initialDelaySeconds": delay,
        "timeoutSeconds": 5,
        "httpGet": {"scheme": "HTTPS", "path": path, "port": names::REGISTRY_PORT},
    })
}
