//! Volumes of the registry's pods that do not depend on the storage.

use serde_json::{Value, json};

use crate::names;

/// Volumes that the pods have with every storage; its own come before these.
pub(super) fn own() -> [Value; 6] {
    [
        json!({
            "name": "registry-tls",
            "projected": {"sources": [{"secret": {"name": names::SERVING_CERT_SECRET}}]},
        }),
        json!({"name": "ca-trust-extracted", "emptyDir": {}}),
        json!({"name": "registry-certificates", "configMap": {"name": names::CERTIFICATES_MAP}}),
        json!({
            "name": "trusted-ca",
            "configMap": {
                "name": names::TRUSTED_CA_MAP,
                "optional": true,
                "items": [{"key": names::CA_BUNDLE_KEY, "path": "anchors/ca-bundle.crt"}],
            },
        }),
        json!({
            "name": "installation-pull-secrets",
            "secret": {
                "secretName": names::PULL_SECRET_COPY,
                "optional": true,
                "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
            },
        }),
        json!({
            "name": "bound-sa-token",
            "projected": {"sources": [{"serviceAccountToken": {"audience": "openshift", "path": "token"}}]},
        }),
    ]
}
