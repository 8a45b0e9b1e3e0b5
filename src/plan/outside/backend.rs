//! What all ways have in common that are not Routes: the owner, the CA of the registry's certificate, and conflicts with others.

use serde_json::{Value, json};

use crate::api::Kind;
use crate::config::resolve::WantedRoute;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::certificates::own_authorities;
use crate::plan::own_certificates::certificates_of;
use crate::plan::owned::guard;
use crate::plan::secret::{self, encoded};
use crate::plan::{Desired, Drift, Plan};

/// Metadata of an object of this operator in the registry's namespace.
pub(super) fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": names::NAMESPACE, "annotations": {names::OWNED_ANNOTATION: "true"}})
}

/// Plans the CA of the registry's certificate, as a Secret or a ConfigMap.
pub(super) fn plan_ca(kind: Kind, snapshot: &Snapshot, plan: &mut Plan) {
    let ca = own_authorities(snapshot)
        .map(|ca| certificates_of(&ca))
        .unwrap_or_default();
    if ca.is_empty() {
        let message = format!(
            "the CA of the registry's certificate is not known yet: it is in ConfigMap {}/{}, or in key {} of Secret {}",
            names::NAMESPACE,
            names::SERVICE_CA_MAP,
            names::BACKEND_CA_KEY,
            names::SERVING_CERT_SECRET
        );
        plan.fail(kind, names::BACKEND_CA, message);
        return;
    }
    let mut desired = if kind == Kind::Secret {
        // The controller of haproxy.org reads the CA under the other key.
        let data = json!({names::BACKEND_CA_KEY: encoded(&ca), "tls.crt": encoded(&ca)});
        secret::secret(names::BACKEND_CA, "Opaque", &data)
    } else {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {names::BACKEND_CA_KEY: ca}, "metadata": {
            "name": names::BACKEND_CA, "namespace": names::NAMESPACE,
        }});
        Desired::new(Kind::ConfigMap, Drift::Whole(&["data", "binaryData"]), body).with_immutable(&["/immutable"])
    };
    desired.body["metadata"] = metadata(names::BACKEND_CA);
    guard(&mut desired, &snapshot.objects);
    plan.present.push(desired);
}

/// The host of an entry, or what is missing for one.
pub(super) fn host(entry: &WantedRoute) -> Result<&str, String> {
    entry.host.as_deref().ok_or_else(|| match entry.index {
        None => "spec.defaultRoute needs a domain: set variable EXPOSE_DOMAIN of the operator to the domain below which it gets its \
                 host, or turn spec.defaultRoute off"
            .to_owned(),
        Some(index) => format!(
            "spec.routes[{index}].hostname is empty: set it, or set variable EXPOSE_DOMAIN of the operator to the domain below which \
             routes get their hosts"
        ),
    })
}
