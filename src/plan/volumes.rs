//! Volumes of the registry's pods that do not depend on the storage.

use serde_json::{Value, json};

use crate::names;

/// Where the stock registry has its configuration file.
pub(super) const CONFIG_MOUNT: &str = "/etc/image-registry";
/// Where the stock registry has its users.
pub(super) const USERS_MOUNT: &str = "/etc/image-registry-users";

/// Whether pods have a volume of this name with every storage.
pub(super) fn is_own(name: &str) -> bool {
    own().iter().chain(&stock(true)).any(|volume| volume["name"] == name)
}

/// Volumes of the platform's registry that it has with every storage; those of the storage come before these.
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

/// The same of the stock registry. The users are not optional: without them a pod does not start.
pub(super) fn stock(asks_for_login: bool) -> Vec<Value> {
    let [tls, _, certificates, trusted_ca, _, token] = own();
    let configuration = json!({"name": "registry-config", "configMap": {"name": names::REGISTRY_CONFIG_MAP}});
    let users = json!({
        "name": "registry-users",
        "secret": {
            "secretName": names::HTPASSWD_COPY,
            "items": [{"key": names::HTPASSWD_KEY, "path": names::HTPASSWD_KEY}],
        },
    });
    let users = asks_for_login.then_some(users);
    let all = [tls, configuration].into_iter().chain(users);
    all.chain([certificates, trusted_ca, token]).collect()
}

/// Mounts of these.
pub(super) fn stock_mounts(asks_for_login: bool) -> Vec<Value> {
    let read = |name: &str, path: &str| json!({"name": name, "mountPath": path, "readOnly": true});
    let users = asks_for_login.then(|| read("registry-users", USERS_MOUNT));
    let first = [
        read("registry-tls", "/etc/secrets"),
        read("registry-config", CONFIG_MOUNT),
    ];
    let last = [
        read("registry-certificates", "/etc/pki/ca-trust/source/anchors"),
        read("trusted-ca", "/usr/share/pki/ca-trust-source"),
        read("bound-sa-token", "/var/run/secrets/openshift/serviceaccount"),
    ];
    first.into_iter().chain(users).chain(last).collect()
}
