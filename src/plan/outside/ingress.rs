//! Ingresses, one for each route of the Config.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::controllers::{Controller, is_for_service};
use super::{annotations, backend, gateway};
use crate::api::Kind;
use crate::config::content;
use crate::config::event_request::EventRequest;
use crate::config::resolve::WantedRoute;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;
use crate::plan::owned::{guard, of_kind};
use crate::plan::{Desired, Drift, Inputs, Origin, Plan, annotation, config, service};

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// The class of the Ingresses.
struct Class<'a> {
    /// Its name; `None` leaves the choice to the API server.
    name: Option<&'a str>,
    /// `spec.controller`.
    controller: Option<&'a str>,
}

impl<'a> Class<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let objects = &snapshot.objects;
        let given = snapshot.environment.exposure.ingress_class.as_deref();
        let name = given.or_else(|| default_class(objects));
        let class = name.and_then(|name| objects.cluster(Kind::IngressClass, name));
        Self {
            name,
            controller: class.and_then(|class| content::text(class.pointer("/spec/controller"))),
        }
    }

    /// Whether a live Ingress has this class.
    fn is_of(&self, live: &Value) -> bool {
        self.name == content::text(live.pointer("/spec/ingressClassName"))
    }

    fn known(&self) -> Option<Controller> {
        match self.controller {
            Some(controller) => Controller::of_class(controller),
            None => Controller::of_name(self.name?),
        }
    }
}

/// The class that the API server gives to an Ingress without one, if there is exactly one.
fn default_class(objects: &Objects) -> Option<&str> {
    let is_default = |class: &Value| annotation(class, DEFAULT_CLASS) == Some("true");
    let mut all = objects
        .of(Kind::IngressClass)
        .filter(|(_, class)| is_default(class))
        .map(|(reference, _)| reference.name.as_str());
    all.next().filter(|_| all.next().is_none())
}

/// Plans what the controller needs beside the Ingresses.
pub(super) fn plan_backend(inputs: &Inputs<'_>, plan: &mut Plan) {
    let snapshot = inputs.snapshot;
    let class = Class::of(snapshot);
    let Some(controller) = class.known() else {
        plan.events.push(unknown(&class));
        return;
    };
    if controller.reads_ca() {
        backend::plan_ca(Kind::Secret, snapshot, plan);
    }
    if controller == Controller::Traefik {
        if snapshot.objects.served(Kind::ServersTransport) {
            plan.present.push(transport(&snapshot.objects));
        } else {
            plan.events.push(no_transport());
        }
    }
}

/// How Traefik verifies the registry's certificate.
fn transport(objects: &Objects) -> Desired {
    let mut desired = Desired::new(
        Kind::ServersTransport,
        Drift::Named,
        json!({
            "apiVersion": Kind::ServersTransport.api_version(),
            "kind": Kind::ServersTransport.kind(),
            "metadata": backend::metadata(names::BACKEND_TLS),
            "spec": {
                "serverName": service::host(),
                "rootCAsSecrets": [names::BACKEND_CA],
                "insecureSkipVerify": null,
            },
        }),
    );
    guard(&mut desired, objects);
    desired
}

/// Whether a controller may serve an Ingress of this operator that is not wanted as it is: of another class, of a class whose controller
/// cannot be told now, or, without `wanted`, of any.
pub(super) fn serves_otherwise(snapshot: &Snapshot, wanted: bool) -> bool {
    let class = Class::of(snapshot);
    let mut live = of_kind(&snapshot.objects, Kind::Ingress).filter_map(|reference| snapshot.objects.find(reference));
    live.any(|live| !wanted || class.known().is_none() || !class.is_of(live))
}

/// What the controller reads from the Service.
pub(super) fn on_service(inputs: &Inputs<'_>) -> BTreeMap<String, String> {
    let snapshot = inputs.snapshot;
    let known = Class::of(snapshot).known();
    let transport = snapshot.objects.served(Kind::ServersTransport);
    let mut all = known.map_or_else(BTreeMap::new, |controller| controller.on_service(transport));
    let given = &snapshot.environment.exposure.annotations;
    all.extend(given.clone().into_iter().filter(|(key, _)| is_for_service(key)));
    all
}

/// The Ingress of an entry. A Secret that is missing is reported; the Ingress is made nevertheless, because what issues the certificate
/// may be told by the Ingress.
pub(super) fn ingress(inputs: &Inputs<'_>, entry: &WantedRoute, plan: &mut Plan) -> Result<Desired, String> {
    let snapshot = inputs.snapshot;
    let objects = &snapshot.objects;
    let host = backend::host(entry)?;
    let class = Class::of(snapshot);
    let body = json!({
        "apiVersion": Kind::Ingress.api_version(),
        "kind": Kind::Ingress.kind(),
        "metadata": backend::metadata(&entry.name),
        "spec": {
            // It would serve all hosts.
            "defaultBackend": null,
            "tls": [{"hosts": [host], "secretName": entry.secret}],
            "rules": [{
                "host": host,
                "http": {"paths": [{
                    "path": "/",
                    "pathType": "Prefix",
                    "backend": {
                        "resource": null,
                        "service": {"name": names::REGISTRY, "port": {"name": null, "number": names::REGISTRY_PORT}},
                    },
                }]},
            }],
        },
    });
    let mut desired = Desired::new(Kind::Ingress, Drift::Named, body);
    if let Some(name) = class.name {
        desired.body["spec"]["ingressClassName"] = json!(name);
    }
    let mut wanted = class.known().map_or_else(BTreeMap::new, Controller::on_ingress);
    let given = &snapshot.environment.exposure.annotations;
    wanted.extend(given.clone().into_iter().filter(|(key, _)| !is_for_service(key)));
    let live = objects.operand(Kind::Ingress, &entry.name);
    if class.known().is_none() && live.is_some_and(|live| class.is_of(live)) {
        // Where the class cannot be read for a while, its controller goes on to serve the Ingress.
        annotations::keep(&mut wanted, live);
    }
    annotations::set(&mut desired, &wanted, live);
    guard(&mut desired, objects);
    if entry.secret.is_none() && class.known() == Some(Controller::Contour) {
        let message = "Contour serves no host without a certificate: use spec.routes with secretName instead of spec.defaultRoute";
        plan.fail(Kind::Ingress, &entry.name, message);
    }
    if let Some(problem) = entry.secret.as_deref().and_then(|name| unusable(name, entry, objects)) {
        plan.fail(Kind::Ingress, &entry.name, problem);
    }
    Ok(desired.with_origins(origins(entry)))
}

/// Why a controller cannot use the certificate.
fn unusable(name: &str, entry: &WantedRoute, objects: &Objects) -> Option<String> {
    let described = |problem: &str| {
        Some(format!(
            "Secret {}/{name}, which route {} uses, {problem}. Until then the controller serves its own certificate, or nothing",
            names::NAMESPACE,
            entry.name
        ))
    };
    let Some(secret) = objects.operand(Kind::Secret, name) else {
        return described("does not exist: create it with tls.crt and tls.key, or take secretName out of spec.routes");
    };
    let lacks = ["tls.crt", "tls.key"]
        .into_iter()
        .find(|key| content::secret_text(secret, key).is_none())?;
    described(&format!("has no key {lacks}: add it"))
}

/// Fields of an Ingress that come from the Config and from variables of the operator.
fn origins(entry: &WantedRoute) -> Vec<Origin> {
    let mut all = gateway::origins(entry, &["spec.rules", "spec.tls"]);
    all.push(gateway::variable("spec.ingressClassName", "EXPOSE_INGRESS_CLASS"));
    if let Some(index) = entry.index {
        let field = format!("spec.routes[{index}].secretName");
        all.push(Origin::made("spec.tls[0].secretName", field, config()));
    }
    all
}

fn unknown(class: &Class<'_>) -> EventRequest {
    let what = match (class.name, class.controller) {
        (Some(name), Some(controller)) => {
            format!("IngressClass {name} belongs to {controller}, which the operator does not know")
        }
        (Some(name), None) => format!("IngressClass {name} does not exist, and its name tells no controller"),
        (None, _) => "there is no default IngressClass".to_owned(),
    };
    EventRequest {
        warning: true,
        reason: "IngressControllerUnknown",
        message: format!(
            "{what}: Ingresses are made without annotations for their controller. Name those that make it speak HTTPS to the registry \
             in variable EXPOSE_ANNOTATIONS of the operator, or another class in EXPOSE_INGRESS_CLASS"
        ),
    }
}

fn no_transport() -> EventRequest {
    EventRequest {
        warning: true,
        reason: "ServersTransportUnsupported",
        message: format!(
            "this cluster does not serve ServersTransport of traefik.io, or the operator may not read it, so that Traefik does not \
             learn the CA of the registry's certificate: install Traefik's CRDs, or give Traefik the CA (key {} of Secret {}/{}) as \
             serversTransport.rootCAs",
            names::BACKEND_CA_KEY,
            names::NAMESPACE,
            names::BACKEND_CA
        ),
    }
}
