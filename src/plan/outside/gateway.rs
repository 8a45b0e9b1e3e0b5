//! HTTPRoutes, one for each route of the Config, and how the Gateway speaks TLS to the registry.

use serde_json::{Value, json};

use super::{annotations, backend};
use crate::api::Kind;
use crate::config::event_request::EventRequest;
use crate::config::resolve::WantedRoute;
use crate::config::snapshot::Objects;
use crate::names::{self, GatewayRef};
use crate::plan::owned::guard;
use crate::plan::{Desired, Drift, Inputs, Origin, Plan, config, service};

const GROUP: &str = "gateway.networking.k8s.io";

/// The served version of BackendTLSPolicy: the newest.
fn policy_kind(objects: &Objects) -> Option<Kind> {
    [Kind::BackendTlsPolicy, Kind::BackendTlsPolicyAlpha]
        .into_iter()
        .find(|kind| objects.served(*kind))
}

/// The BackendTLSPolicy of the registry, if it is there.
pub(super) fn live_policy(objects: &Objects) -> Option<&Value> {
    policy_kind(objects).and_then(|kind| objects.operand(kind, names::BACKEND_TLS))
}

/// Plans the CA and the BackendTLSPolicy. Returns whether both can be written: without them the Gateway would send logins to the registry
/// in clear.
pub(super) fn plan_backend(inputs: &Inputs<'_>, plan: &mut Plan) -> bool {
    let objects = &inputs.snapshot.objects;
    let begin = plan.present.len();
    backend::plan_ca(Kind::ConfigMap, inputs.snapshot, plan);
    match policy_kind(objects) {
        Some(kind) => plan.present.push(policy(kind, objects)),
        None => plan.fail(
            Kind::BackendTlsPolicy,
            names::BACKEND_TLS,
            "this cluster does not serve BackendTLSPolicy of gateway.networking.k8s.io (v1 or v1alpha3), or the operator may not read \
             it, so that the Gateway does not speak TLS to the registry: install it, or apply deploy/kubernetes/02-rbac-exposure.yaml",
        ),
    }
    let planned = plan.present.iter().skip(begin);
    let both = planned.filter(|desired| desired.refused.is_none()).count() == 2;
    let unused = inputs.resolved.routes.iter().find(|entry| entry.secret.is_some());
    plan.events.extend(unused.map(certificate_not_used));
    both
}

fn policy(kind: Kind, objects: &Objects) -> Desired {
    let mut desired = Desired::new(
        kind,
        Drift::Named,
        json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind(),
            "metadata": backend::metadata(names::BACKEND_TLS),
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": names::REGISTRY, "sectionName": null}],
                "validation": {
                    "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": names::BACKEND_CA}],
                    "hostname": service::host(),
                    "wellKnownCACertificates": null,
                },
            },
        }),
    );
    guard(&mut desired, objects);
    desired
}

/// The HTTPRoute of an entry.
pub(super) fn route(inputs: &Inputs<'_>, entry: &WantedRoute) -> Result<Desired, String> {
    let objects = &inputs.snapshot.objects;
    let exposure = &inputs.snapshot.environment.exposure;
    let host = backend::host(entry)?;
    // The command line refuses EXPOSE=gateway without it.
    let gateway = exposure
        .gateway
        .as_ref()
        .ok_or("variable EXPOSE_GATEWAY of the operator must name a Gateway")?;
    let live = objects.operand(Kind::HttpRoute, &entry.name);
    let mut rule = json!({
        "backendRefs": [{
            "group": "", "kind": "Service", "name": names::REGISTRY, "port": names::REGISTRY_PORT, "weight": 1,
        }],
        "filters": null,
        // All requests. The API server sets the same where there is nothing.
        "matches": [{
            "path": {"type": "PathPrefix", "value": "/"}, "headers": null, "queryParams": null, "method": null,
        }],
    });
    // Versions of the API that do not know timeouts drop them: then they must not be asked for in each pass.
    if live.is_none_or(|live| live.pointer("/spec/rules/0/timeouts").is_some()) {
        // Layers take as long as they take; the default of Envoy is 15 seconds.
        rule["timeouts"] = json!({"request": "0s"});
    }
    let body = json!({
        "apiVersion": Kind::HttpRoute.api_version(),
        "kind": Kind::HttpRoute.kind(),
        "metadata": backend::metadata(&entry.name),
        "spec": {"parentRefs": [parent(gateway)], "hostnames": [host], "rules": [rule]},
    });
    let mut desired = Desired::new(Kind::HttpRoute, Drift::Named, body);
    annotations::set(&mut desired, &exposure.annotations, live);
    guard(&mut desired, objects);
    let mut all = origins(entry, &["spec.hostnames"]);
    all.push(variable("spec.parentRefs", "EXPOSE_GATEWAY"));
    Ok(desired.with_origins(all))
}

fn parent(gateway: &GatewayRef) -> Value {
    let GatewayRef {
        namespace,
        name,
        section,
    } = gateway;
    json!({"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": name, "sectionName": section, "port": null})
}

/// Fields that come from the Config and from variables of the operator. `hosts`: those that have the host.
pub(super) fn origins(entry: &WantedRoute, hosts: &[&'static str]) -> Vec<Origin> {
    let of_host = |field: &'static str| match entry.index {
        None => variable(field, "EXPOSE_DOMAIN"),
        Some(index) => Origin::made(field, format!("spec.routes[{index}].hostname"), config()),
    };
    let name = entry
        .index
        .map(|index| Origin::made("metadata.name", format!("spec.routes[{index}].name"), config()));
    let all = hosts.iter().map(|field| of_host(field));
    all.chain(name)
        .chain([variable("metadata.annotations", "EXPOSE_ANNOTATIONS")])
        .collect()
}

/// A field that comes from a variable of the operator.
pub(super) fn variable(field: &'static str, name: &str) -> Origin {
    let object = format!("Deployment {}/{}", names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
    Origin::made(field, format!("variable {name}"), object)
}

fn certificate_not_used(entry: &WantedRoute) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "RouteCertificateNotUsed",
        message: format!(
            "secretName of route {} in spec.routes has no effect with EXPOSE=gateway: clients get the certificate of the Gateway's listener",
            entry.name
        ),
    }
}
