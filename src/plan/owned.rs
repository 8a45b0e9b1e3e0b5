//! The Routes of this operator.

use serde_json::Value;

use super::annotation;
use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;

/// Routes that this operator or the Go operator created: those with the owner annotation, whatever its value.
pub(super) fn owned(objects: &Objects) -> impl Iterator<Item = &crate::api::ObjectRef> {
    objects
        .of(Kind::Route)
        .filter(|(reference, route)| reference.namespace == names::NAMESPACE && is_owned(route))
        .map(|(reference, _)| reference)
}

/// Whether a Route has the owner annotation.
pub(super) fn is_owned(route: &Value) -> bool {
    annotation(route, names::OWNED_ANNOTATION).is_some()
}
