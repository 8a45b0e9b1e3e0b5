//! Routes of the registry, for clients outside of the cluster.

use serde_json::{Value, json};

use super::owned::{guard, is_owned};
use super::{Desired, Drift, Origin, config};
use crate::api::Kind;
use crate::config::content;
use crate::config::resolve::WantedRoute;
use crate::config::snapshot::Objects;
use crate::names;

/// A Route that the Config requests.
pub(super) fn route(entry: &WantedRoute, objects: &Objects) -> Result<Desired, String> {
    let live = objects.operand(Kind::Route, &entry.name);
    let owned = live.filter(|route| is_owned(route));
    let mut spec = json!({
        "to": {"kind": "Service", "name": names::REGISTRY},
        "tls": tls(entry, objects)?,
        // Fields that would redirect requests elsewhere must be absent.
        "alternateBackends": null,
        "port": null,
        "path": null,
        "httpHeaders": null,
        "subdomain": null,
    });
    if let Some(host) = entry.host.as_deref().or_else(|| owned.and_then(assigned_host)) {
        spec["host"] = json!(host);
    }
    // The API server sets the default weight. Any other weight must be reset.
    let weight = owned
        .and_then(|route| route.pointer("/spec/to/weight"))
        .and_then(Value::as_i64);
    if weight.is_some_and(|weight| weight != DEFAULT_WEIGHT) {
        spec["to"]["weight"] = json!(DEFAULT_WEIGHT);
    }
    let body = json!({
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {
            "name": entry.name,
            "namespace": names::NAMESPACE,
            "annotations": {names::OWNED_ANNOTATION: "true"},
        },
        "spec": spec,
    });
    let mut desired = Desired::new(Kind::Route, Drift::Named, body);
    if owned.is_some_and(has_wildcard) {
        desired.body["spec"]["wildcardPolicy"] = json!(NO_WILDCARD);
        desired = desired.with_immutable(&["/spec/wildcardPolicy"]);
    }
    guard(&mut desired, objects);
    Ok(desired.with_origins(origins(entry)))
}

/// Fields of a Route that come from the Config and the Secret that it names.
fn origins(entry: &WantedRoute) -> Vec<Origin> {
    let Some(index) = entry.index else {
        return vec![Origin::made("spec", "spec.defaultRoute", config())];
    };
    let field = |member: &str| format!("spec.routes[{index}].{member}");
    let of_secret = |(at, keys): (&'static str, &str)| {
        let name = entry.secret.as_deref().unwrap_or_default();
        let object = format!("{} (key {keys} of Secret {}/{name})", config(), names::NAMESPACE);
        Origin::made(at, field("secretName"), object)
    };
    let tls = [
        ("spec.tls.certificate", "tls.crt"),
        ("spec.tls.key", "tls.key"),
        ("spec.tls.caCertificate", "tls.cacrt or ca.crt"),
    ];
    // Without a host, the API server makes one of the name and the namespace.
    let host = if entry.host.is_none() { "name" } else { "hostname" };
    let own = [
        Origin::made("metadata.name", field("name"), config()),
        Origin::made("spec.host", field(host), config()),
        Origin::made("spec.tls", field("secretName"), config()),
    ];
    own.into_iter().chain(tls.map(of_secret)).collect()
}

const DEFAULT_WEIGHT: i64 = 100;
const NO_WILDCARD: &str = "None";

/// Whether the Route accepts requests for subdomains. `spec.wildcardPolicy` is immutable, so the Route must be deleted and
/// created again. The API server sets the default policy.
fn has_wildcard(route: &Value) -> bool {
    let policy = route.pointer("/spec/wildcardPolicy").and_then(Value::as_str);
    policy.is_some_and(|policy| !policy.is_empty() && policy != NO_WILDCARD)
}

/// The host that the router assigned. OpenShift's API server keeps the host in updates without one; on clusters where Route
/// is a custom resource, such an update would clear it.
fn assigned_host(live: &Value) -> Option<&str> {
    content::text(live.pointer("/spec/host"))
}

fn tls(entry: &WantedRoute, objects: &Objects) -> Result<Value, String> {
    let mut tls = json!({
        "termination": "reencrypt",
        "certificate": null,
        "key": null,
        "caCertificate": null,
        // The router trusts the platform's service CA.
        "destinationCACertificate": null,
    });
    let live = objects.operand(Kind::Route, &entry.name);
    let policy = live.and_then(|route| route.pointer("/spec/tls/insecureEdgeTerminationPolicy"));
    // Logins must not travel in clear text.
    if policy.and_then(Value::as_str) == Some("Allow") {
        tls["insecureEdgeTerminationPolicy"] = Value::Null;
    }
    // Without a Secret, the other two fields are the administrator's. The Go operator leaves them alone: without the certificate
    // that clients know, logins would fail after a take-over.
    let Some(name) = &entry.secret else { return Ok(tls) };
    for field in ["insecureEdgeTerminationPolicy", "externalCertificate"] {
        tls[field] = Value::Null;
    }
    let described = |problem: &str| {
        format!(
            "Secret {}/{name}, which Route {} uses, {problem}",
            names::NAMESPACE,
            entry.name
        )
    };
    let missing = || {
        described(
            "does not exist: create it with tls.crt, tls.key and, where needed, tls.cacrt, \
             or take secretName out of spec.routes",
        )
    };
    let source = objects.operand(Kind::Secret, name).ok_or_else(missing)?;
    for (member, keys) in TLS_KEYS {
        if let Some((key, text)) = keys
            .iter()
            .find_map(|key| Some((key, content::secret_text(source, key)?)))
        {
            tls[*member] = json!(
                text.map_err(|_| described(&format!("has a value under {key} that is not text: set {key} to PEM")))?
            );
        }
    }
    Ok(tls)
}

/// Fields of `spec.tls`, and the keys of the Secret that provide them, in order of preference.
const TLS_KEYS: &[(&str, &[&str])] = &[
    ("certificate", &["tls.crt"]),
    ("key", &["tls.key"]),
    ("caCertificate", &["tls.cacrt", "ca.crt"]),
];

#[cfg(test)]
mod tests;
