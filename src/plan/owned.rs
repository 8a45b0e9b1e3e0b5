//! What leads clients from outside of the cluster to the registry, and belongs to this operator.

use serde_json::{Value, json};

use super::{Desired, Mark, annotation, operand};
use crate::api::{Kind, ObjectRef};
use crate::config::admission;
use crate::config::snapshot::Objects;
use crate::names::{self, Way};

/// Kinds that lead clients from outside of the cluster to the registry. Beside Routes they are cached only where they may be in use.
pub(super) const EXPOSING: [Kind; 3] = [Kind::Route, Kind::Ingress, Kind::HttpRoute];

/// All that exposes the registry, of every kind: Routes, Ingresses and HTTPRoutes with the owner annotation.
pub(super) fn owned(objects: &Objects) -> impl Iterator<Item = &ObjectRef> {
    EXPOSING.into_iter().flat_map(|kind| of_kind(objects, kind))
}

/// The objects of a kind in the registry's namespace that this operator or the Go operator created: those with the owner
/// annotation, whatever its value.
pub(super) fn of_kind(objects: &Objects, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
    objects
        .of(kind)
        .filter(|(reference, object)| reference.namespace == names::NAMESPACE && is_owned(object))
        .map(|(reference, _)| reference)
}

/// What Ingresses and HTTPRoutes need beside themselves: the CA of the registry's certificate, and how a controller uses it.
pub(super) const HELPERS: [(Kind, &str); 5] = [
    (Kind::BackendTlsPolicy, names::BACKEND_TLS),
    (Kind::BackendTlsPolicyAlpha, names::BACKEND_TLS),
    (Kind::ServersTransport, names::BACKEND_TLS),
    (Kind::Secret, names::BACKEND_CA),
    (Kind::ConfigMap, names::BACKEND_CA),
];

/// Whether one of [`HELPERS`] must stay for now: something that needs it leads to the registry, or may. Without it the controller would
/// send the clients' logins to the registry in clear.
pub(super) fn is_in_use(objects: &Objects, helper: Kind) -> bool {
    let kind = match helper {
        Kind::ServersTransport | Kind::Secret => Kind::Ingress,
        _ => Kind::HttpRoute,
    };
    of_kind(objects, kind).next().is_some() || unread(objects).contains(&kind)
}

/// Whether something beside Routes leads to the registry, or may, or has left helpers. The Service alone remembers it.
pub(super) fn is_remembered(objects: &Objects) -> bool {
    let leads = WAYS
        .into_iter()
        .any(|(_, kind)| of_kind(objects, kind).next().is_some());
    leads || helpers(objects).next().is_some() || !unread(objects).is_empty()
}

/// Those of [`HELPERS`] that this operator made.
pub(super) fn helpers(objects: &Objects) -> impl Iterator<Item = ObjectRef> {
    HELPERS
        .into_iter()
        // One and the same object, in two versions.
        .filter(|(kind, _)| *kind != Kind::BackendTlsPolicyAlpha || !objects.served(Kind::BackendTlsPolicy))
        .map(|(kind, name)| operand(kind, name))
        .filter(|reference| objects.find(reference).is_some_and(|object| is_owned(object)))
}

/// What the annotation of the Service names: the ways beside Routes by which the registry may be exposed, with their kinds.
pub(super) fn remembered(objects: &Objects) -> Vec<(Way, Kind)> {
    let service = objects.operand(Kind::Service, names::REGISTRY);
    let names = service.and_then(|service| annotation(service, names::EXPOSURE_ANNOTATION));
    let known: Vec<Way> = names
        .into_iter()
        .flat_map(|names| names.split(','))
        .filter_map(Way::named)
        .collect();
    WAYS.into_iter().filter(|(way, _)| known.contains(way)).collect()
}

/// Ways beside Routes, with their kinds.
pub(super) const WAYS: [(Way, Kind); 2] = [(Way::Ingress, Kind::Ingress), (Way::Gateway, Kind::HttpRoute)];

/// Kinds that exposed the registry and cannot be read any more: it is unknown what still leads to the registry.
pub(super) fn unread(objects: &Objects) -> Vec<Kind> {
    let kinds = remembered(objects).into_iter().map(|(_, kind)| kind);
    kinds.filter(|kind| !objects.served(*kind)).collect()
}

/// What to do about a kind of [`unread`].
pub(super) fn remedy(kind: Kind) -> String {
    format!(
        "the operator cannot read whether an {} of its own still leads to the registry: give it the right \
         (deploy/kubernetes/02-rbac-exposure.yaml); or, if there is none, remove annotation {} of Service {}/{}",
        kind.kind(),
        names::EXPOSURE_ANNOTATION,
        names::NAMESPACE,
        names::REGISTRY
    )
}

const OWNER: Mark = Mark::Annotation(names::OWNED_ANNOTATION);

/// Whether an object has the owner annotation.
pub(super) fn is_owned(object: &Value) -> bool {
    OWNER.is_on(object)
}

/// Marks the object as not to be written if another owner has the live one, now or when it is written.
pub(super) fn guard(desired: &mut Desired, objects: &Objects) {
    desired.mark = Some(OWNER);
    let Some(live) = objects.find(&desired.reference) else {
        return;
    };
    match annotation(live, names::OWNED_ANNOTATION) {
        // Any value marks the object as owned: keep the live value to save a write.
        Some(value) => desired.body["metadata"]["annotations"][names::OWNED_ANNOTATION] = json!(value),
        None => {
            desired.refused = Some(format!(
                "{} exists and was not made by this operator: delete or rename it, or let the operator take it over by setting the \
                 annotation {}",
                desired.reference,
                names::OWNED_ANNOTATION
            ));
        }
    }
}

/// Hosts of all that exposes the registry.
pub(super) fn hosts(objects: &Objects) -> Vec<String> {
    let all = owned(objects).filter_map(|reference| objects.find(reference));
    all.flat_map(|object| admission::hosts(object))
        .map(str::to_owned)
        .collect()
}
