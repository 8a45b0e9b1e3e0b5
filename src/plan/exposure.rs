//! Whether the stock registry asks for a login, and whether Routes (or Ingresses, or HTTPRoutes) may lead to it: never both not.

use serde_json::Value;

use super::owned;
use super::parts::live_deployment;
use super::removal::registry_pods;
use crate::config::content::has_label;
use crate::config::resolve::{Login, Reason, Rejection, Resolved};
use crate::config::snapshot::Snapshot;
use crate::names;

/// Whether the pods ask for a login. Pods that do not ask are only rendered once no Route leads to them; pods that do not ask
/// already stay as they are while the Routes go.
pub(super) fn asks_for_login(resolved: &Resolved, snapshot: &Snapshot) -> bool {
    match resolved.login {
        Login::Required => true,
        Login::Nowhere => false,
        Login::NotInside => {
            let open = live_deployment(snapshot).is_some_and(is_open);
            let objects = &snapshot.objects;
            !open && (owned::owned(objects).next().is_some() || !owned::unread(objects).is_empty())
        }
    }
}

fn is_open(deployment: &Value) -> bool {
    let template = deployment.pointer("/spec/template");
    template.is_some_and(|template| has_label(template, names::ANONYMOUS_LABEL))
}

/// Why the Routes of the Config are not made; `None` if they are.
pub fn refused(resolved: &Resolved) -> Option<Rejection> {
    let refused = resolved.login == Login::NotInside && !resolved.routes.is_empty();
    refused.then(|| {
        let message = format!(
            "annotation {} is true, so that the registry asks for no login, and spec.defaultRoute or spec.routes would expose it \
             outside of the cluster: they are not made. Remove the annotation, or the routes; or set the annotation to exposed, and \
             everybody who reaches a route can push and pull",
            names::ANONYMOUS_ANNOTATION
        );
        Rejection::new(Reason::ExposureRefused, message)
    })
}

/// Whether pods run, or may be started, that ask for no login while the Config wants one: no new Route must lead to them.
pub(super) fn open_pods_remain(resolved: &Resolved, snapshot: &Snapshot) -> bool {
    let open = |pod: &Value| has_label(pod, names::ANONYMOUS_LABEL);
    resolved.login == Login::Required
        && (live_deployment(snapshot).is_some_and(is_open)
            || registry_pods(&snapshot.objects).any(|(_, pod)| open(pod)))
}
