//! What leads clients from outside of the cluster to the registry: Routes, or Ingresses, or HTTPRoutes of a Gateway.

mod annotations;
mod backend;
mod controllers;
mod gateway;
mod ingress;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::owned::{EXPOSING, WAYS, helpers, is_in_use, of_kind, remedy, remembered, unread};
use super::{Desired, Inputs, Plan, annotation, exposure, operand, route};
use crate::api::Kind;
use crate::config::admission;
use crate::config::resolve::Resolved;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names::{self, Way};

/// Plans what the Config requests, in the order of the Config, and deletes all other objects of this operator that expose the
/// registry: of another way, too.
pub(super) fn plan(inputs: &Inputs<'_>, plan: &mut Plan) {
    let objects = &inputs.snapshot.objects;
    let way = way(inputs.snapshot);
    let kind = kind_of(way);
    for other in EXPOSING.into_iter().filter(|other| Some(*other) != kind) {
        plan.absent.extend(of_kind(objects, other).cloned());
    }
    for unread in unread(objects) {
        // The one that is wanted has a message of its own, if something is to be exposed.
        if Some(unread) != kind || inputs.resolved.routes.is_empty() {
            plan.fail(unread, names::REGISTRY, remedy(unread));
        }
    }
    let needed = if let Some(kind) = kind {
        plan_kind(inputs, way, kind, plan)
    } else {
        cannot(inputs.resolved, Kind::Route, NOWHERE, plan);
        &[]
    };
    plan.absent
        .extend(helpers(objects).filter(|helper| !needed.contains(&helper.kind) && !is_in_use(objects, helper.kind)));
}

const NOWHERE: &str = "NotExposed: variable EXPOSE of the operator is none: set it to route, ingress or gateway, or turn \
                       spec.defaultRoute off and empty spec.routes";

/// Plans the objects of one kind. Returns the kinds of the objects that they need beside themselves.
fn plan_kind(inputs: &Inputs<'_>, way: Way, kind: Kind, plan: &mut Plan) -> &'static [Kind] {
    let wanted = &inputs.resolved.routes;
    let objects = &inputs.snapshot.objects;
    if !objects.served(kind) {
        cannot(inputs.resolved, kind, unserved(way), plan);
        let is_wanted = exposure::refused(inputs.resolved).is_none() && !wanted.is_empty();
        return if is_wanted { needed_by(way) } else { &[] };
    }
    if exposure::refused(inputs.resolved).is_some() || wanted.is_empty() {
        plan.absent.extend(of_kind(objects, kind).cloned());
        return &[];
    }
    let speaks_tls = match way {
        Way::Ingress => {
            ingress::plan_backend(inputs, plan);
            true
        }
        Way::Gateway => gateway::plan_backend(inputs, plan),
        Way::Route | Way::Nowhere => true,
    };
    let open = exposure::open_pods_remain(inputs.resolved, inputs.snapshot);
    for entry in wanted {
        let is_new = objects.operand(kind, &entry.name).is_none();
        if is_new && open {
            let message = "it is made once every pod that asks for no login has ended";
            plan.fail(kind, &entry.name, message);
            continue;
        }
        if is_new && !speaks_tls {
            continue; // What is missing is a failure of its own.
        }
        let made = match way {
            Way::Ingress => ingress::ingress(inputs, entry, plan),
            Way::Gateway => gateway::route(inputs, entry),
            Way::Route | Way::Nowhere => route::route(entry, objects),
        };
        match made {
            Ok(desired) => plan.present.push(desired),
            Err(message) => plan.fail(kind, &entry.name, message),
        }
    }
    // What is requested and could not be planned is not deleted either.
    let names: BTreeSet<&str> = wanted.iter().map(|entry| entry.name.as_str()).collect();
    let obsolete = of_kind(objects, kind).filter(|reference| !names.contains(reference.name.as_str()));
    plan.absent.extend(obsolete.cloned());
    needed_by(way)
}

fn way(snapshot: &Snapshot) -> Way {
    snapshot.environment.exposure.way()
}

const fn kind_of(way: Way) -> Option<Kind> {
    match way {
        Way::Route => Some(Kind::Route),
        Way::Ingress => Some(Kind::Ingress),
        Way::Gateway => Some(Kind::HttpRoute),
        Way::Nowhere => None,
    }
}

/// What may be needed: which of it is, depends on the controller. What a controller does not need any more stays, and harms nobody.
const fn needed_by(way: Way) -> &'static [Kind] {
    match way {
        Way::Ingress => &[Kind::Secret, Kind::ServersTransport],
        Way::Gateway => &[Kind::ConfigMap, Kind::BackendTlsPolicy, Kind::BackendTlsPolicyAlpha],
        Way::Route | Way::Nowhere => &[],
    }
}

fn cannot(resolved: &Resolved, kind: Kind, why: &str, plan: &mut Plan) {
    if let Some(first) = resolved.routes.first() {
        plan.fail(kind, &first.name, why);
    }
}

const fn unserved(way: Way) -> &'static str {
    match way {
        Way::Ingress => {
            "IngressesUnsupported: this cluster does not serve networking.k8s.io, or the operator may not read Ingresses: apply \
             deploy/kubernetes/02-rbac-exposure.yaml, or set variable EXPOSE of the operator to another value"
        }
        Way::Gateway => {
            "HTTPRoutesUnsupported: this cluster does not serve gateway.networking.k8s.io, or the operator may not read HTTPRoutes: \
             install the Gateway API, apply deploy/kubernetes/02-rbac-exposure.yaml, or set variable EXPOSE of the operator to another \
             value"
        }
        Way::Route | Way::Nowhere => {
            "RoutesUnsupported: this cluster does not serve route.openshift.io: set variable EXPOSE of the operator to ingress or \
             gateway, or turn spec.defaultRoute off and empty spec.routes"
        }
    }
}

/// The annotations of the Service: that Ingresses or HTTPRoutes expose it, the hosts, and what the controller of the class reads there.
pub(super) fn annotate(inputs: &Inputs<'_>, service: &mut Desired) {
    let objects = &inputs.snapshot.objects;
    let live = objects.operand(Kind::Service, names::REGISTRY);
    let way = way(inputs.snapshot);
    let exposes = matches!(way, Way::Ingress | Way::Gateway)
        && !inputs.resolved.routes.is_empty()
        && exposure::refused(inputs.resolved).is_none();
    let mut own = BTreeMap::new();
    let ways = ways(objects, way, exposes);
    if !ways.is_empty() {
        own.insert(names::EXPOSURE_ANNOTATION, ways.join(","));
        let all = WAYS.into_iter().flat_map(|(_, kind)| of_kind(objects, kind));
        let all = all.filter_map(|reference| objects.find(reference)).map(AsRef::as_ref);
        let hosts = admission::hostnames(all, gateway::live_policy(objects));
        if !hosts.is_empty() {
            own.insert(names::HOSTNAMES_ANNOTATION, hosts.join(","));
        }
    }
    for key in [names::EXPOSURE_ANNOTATION, names::HOSTNAMES_ANNOTATION] {
        match own.remove(key) {
            Some(value) => service.body["metadata"]["annotations"][key] = Value::from(value),
            None if live.is_some_and(|live| annotation(live, key).is_some()) => {
                service.drop_annotations.push(key.to_owned());
            }
            None => {}
        }
    }
    let by_ingress = exposes && way == Way::Ingress;
    let mut for_controller = if by_ingress {
        ingress::on_service(inputs)
    } else {
        BTreeMap::new()
    };
    if ingress::serves_otherwise(inputs.snapshot, by_ingress) {
        // Until it serves no Ingress any more, a controller must know that the registry speaks TLS.
        annotations::keep(&mut for_controller, live);
    }
    annotations::set(service, &for_controller, live);
}

/// Names of the ways by which the registry is or may be exposed. A way is forgotten only when its kind can be read and nothing of it is
/// left.
fn ways(objects: &Objects, way: Way, exposes: bool) -> Vec<&'static str> {
    let known = remembered(objects);
    let is_left = |kind: Kind| of_kind(objects, kind).next().is_some();
    let stays = |(candidate, kind): &(Way, Kind)| {
        exposes && *candidate == way || is_left(*kind) || known.contains(&(*candidate, *kind)) && !objects.served(*kind)
    };
    let mut ways: Vec<_> = WAYS.into_iter().filter(stays).collect();
    // Their helpers go last.
    if ways.is_empty() && helpers(objects).next().is_some() {
        ways = known;
    }
    ways.into_iter().map(|(way, _)| way.name()).collect()
}

/// Whether Ingresses and HTTPRoutes of this operator may be there, or are to be made: then they have to be watched. On OpenShift, where
/// `EXPOSE` is not set, they cost no watch.
pub fn may_expose(snapshot: &Snapshot) -> bool {
    let service = snapshot.objects.operand(Kind::Service, names::REGISTRY);
    snapshot.environment.exposure.given.is_some()
        || service.is_some_and(|service| annotation(service, names::EXPOSURE_ANNOTATION).is_some())
}

/// What exposes the registry under these names, and what a Gateway needs for it; for the conditions.
pub fn exposing<'a>(objects: &'a Objects, names: &[String]) -> Vec<&'a Value> {
    let mut found: Vec<&Value> = names
        .iter()
        .flat_map(|name| EXPOSING.map(|kind| operand(kind, name)))
        .filter_map(|reference| objects.find(&reference).map(AsRef::as_ref))
        .collect();
    if !names.is_empty() {
        found.extend(gateway::live_policy(objects));
    }
    found
}

#[cfg(test)]
mod tests;
