//! How clients outside the cluster reach the registry.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Desired, Drift, Inputs, Plan, annotation, secret};
use crate::api::Kind;
use crate::config::resolve::WantedRoute;
use crate::config::snapshot::Objects;
use crate::names;

/// Wanted Routes, in the order of the Config; Routes of ours that are not wanted any more must go.
pub(super) fn plan(inputs: &Inputs<'_>, plan: &mut Plan) {
    let wanted = &inputs.resolved.routes;
    let objects = &inputs.snapshot.objects;
    if !objects.served(Kind::Route) {
        if let Some(first) = wanted.first() {
            let message = "RoutesUnsupported: this cluster does not serve route.openshift.io: \
                           turn spec.defaultRoute off and empty spec.routes";
            plan.fail(Kind::Route, &first.name, message);
        }
        return;
    }
    for entry in wanted {
        match route(entry, objects) {
            Ok(desired) => plan.present.push(desired),
            Err(message) => plan.fail(Kind::Route, &entry.name, message),
        }
    }
    // Also a wanted Route that could not be planned stays.
    let names: BTreeSet<&str> = wanted.iter().map(|entry| entry.name.as_str()).collect();
    let obsolete = owned(objects).filter(|reference| !names.contains(reference.name.as_str()));
    plan.absent.extend(obsolete.cloned());
}

/// Routes that this operator, or the Go one, made: only the annotation's presence counts.
pub(super) fn owned(objects: &Objects) -> impl Iterator<Item = &crate::api::ObjectRef> {
    objects
        .of(Kind::Route)
        .filter(|(reference, route)| reference.namespace == names::NAMESPACE && is_owned(route))
        .map(|(reference, _)| reference)
}

fn is_owned(route: &Value) -> bool {
    annotation(route, names::OWNED_ANNOTATION).is_some()
}

fn route(entry: &WantedRoute, objects: &Objects) -> Result<Desired, String> {
    let live = objects.operand(Kind::Route, &entry.name);
    let ours = live.filter(|route| is_owned(route));
    let mut spec = json!({
        "to": {"kind": "Service", "name": names::REGISTRY},
        "tls": tls(entry, objects)?,
        // Everything else that decides where requests go is not ours to set, so nobody else may set it either.
        "alternateBackends": null,
        "port": null,
        "path": null,
        "httpHeaders": null,
        "subdomain": null,
    });
    if let Some(host) = entry.host.as_deref().or_else(|| ours.and_then(assigned_host)) {
        spec["host"] = json!(host);
    }
    // The server's default is left to it, any other weight is not.
    let weight = ours
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
    if ours.is_some_and(is_wild) {
        desired.body["spec"]["wildcardPolicy"] = json!(NO_WILDCARD);
        desired = desired.with_immutable(&["/spec/wildcardPolicy"]);
    }
    if let Some(live) = live {
        desired.refused = refusal(entry, live);
        if let Some(value) = annotation(live, names::OWNED_ANNOTATION) {
            // Any value says that it is ours: not worth a write.
            desired.body["metadata"]["annotations"][names::OWNED_ANNOTATION] = json!(value);
        }
    }
    Ok(desired)
}

const DEFAULT_WEIGHT: i64 = 100;
const NO_WILDCARD: &str = "None";

/// Whether the Route takes requests for other hosts too. The platform's API lets nobody change that, so such a Route is made
/// anew; the server's default is left to it.
fn is_wild(route: &Value) -> bool {
    let policy = route.pointer("/spec/wildcardPolicy").and_then(Value::as_str);
    policy.is_some_and(|policy| !policy.is_empty() && policy != NO_WILDCARD)
}

/// The router's choice stays where nobody wants another host. The platform's API keeps it on its own; where Routes are a
/// plain custom resource, an update without it would clear it.
fn assigned_host(live: &Value) -> Option<&str> {
    live.pointer("/spec/host")
        .and_then(Value::as_str)
        .filter(|host| !host.is_empty())
}

fn refusal(entry: &WantedRoute, live: &Value) -> Option<String> {
    let message = || {
        format!(
            "Route {}/{} exists and was not made by this operator: delete or rename it, or let the operator take it over \
             by setting the annotation {}",
            names::NAMESPACE,
            entry.name,
            names::OWNED_ANNOTATION
        )
    };
    (!is_owned(live)).then(message)
}

fn tls(entry: &WantedRoute, objects: &Objects) -> Result<Value, String> {
    let mut tls = json!({
        "termination": "reencrypt",
        "certificate": null,
        "key": null,
        "caCertificate": null,
        // The router trusts the platform's service CA.
        "destinationCACertificate": null,
        "insecureEdgeTerminationPolicy": null,
        "externalCertificate": null,
    });
    let Some(name) = &entry.secret else { return Ok(tls) };
    let described = |what: &str| {
        format!(
            "Secret {}/{name}, which Route {} uses, {what}",
            names::NAMESPACE,
            entry.name
        )
    };
    let missing = || {
        let remedy = "does not exist: create it with tls.crt, tls.key and, where needed, tls.cacrt, \
                      or take secretName out of spec.routes";
        described(remedy)
    };
    let source = objects.operand(Kind::Secret, name).ok_or_else(missing)?;
    for (member, keys) in TLS_KEYS {
        if let Some((key, text)) = keys.iter().find_map(|key| Some((key, secret::text_of(source, key)?))) {
            tls[*member] = json!(text.map_err(|_| described(&format!("holds no text under {key}: set it to PEM")))?);
        }
    }
    Ok(tls)
}

/// Members of a Route's TLS settings and the keys of the Secret they come from, by preference.
const TLS_KEYS: &[(&str, &[&str])] = &[
    ("certificate", &["tls.crt"]),
    ("key", &["tls.key"]),
    ("caCertificate", &["tls.cacrt", "ca.crt"]),
];

#[cfg(test)]
mod tests;
