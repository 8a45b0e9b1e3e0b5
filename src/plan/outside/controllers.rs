//! What Ingress controllers need to reach the registry: over TLS, with its CA, and without a limit on the size of a layer.

use std::collections::BTreeMap;

use crate::names;
use crate::plan::service;

/// An Ingress controller that the operator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controller {
    /// Traefik Proxy.
    Traefik,
    /// ingress-nginx of the Kubernetes project.
    IngressNginx,
    /// NGINX Ingress Controller of F5.
    NginxF5,
    /// HAProxy Kubernetes Ingress Controller of HAProxy Technologies.
    Haproxy,
    /// HAProxy Ingress, a project of its own.
    HaproxyIngress,
    /// Contour.
    Contour,
}

/// How long a controller waits for the registry, which copies a large layer at the end of an upload.
const PATIENCE_SECONDS: &str = "900";

impl Controller {
    const ALL: [Self; 6] = [
        Self::Traefik,
        Self::IngressNginx,
        Self::NginxF5,
        Self::Haproxy,
        Self::HaproxyIngress,
        Self::Contour,
    ];

    /// The controller that `spec.controller` of an IngressClass names.
    pub(super) fn of_class(controller: &str) -> Option<Self> {
        let (domain, path) = controller.split_once('/').unwrap_or((controller, ""));
        match domain {
            "traefik.io" => Some(Self::Traefik),
            "k8s.io" if path.contains("ingress-nginx") => Some(Self::IngressNginx),
            // The application routing add-on of AKS; the name of another controller of it may follow.
            "webapprouting.kubernetes.azure.com" if path == "nginx" || path.starts_with("nginx/") => {
                Some(Self::IngressNginx)
            }
            "nginx.org" => Some(Self::NginxF5),
            "haproxy.org" => Some(Self::Haproxy),
            "haproxy-ingress.github.io" => Some(Self::HaproxyIngress),
            "projectcontour.io" => Some(Self::Contour),
            _ => None,
        }
    }

    /// The controller that is meant by the usual name of its class, where the class cannot be read.
    pub(super) fn of_name(class: &str) -> Option<Self> {
        match class {
            "traefik" => Some(Self::Traefik),
            "nginx" => Some(Self::IngressNginx),
            "haproxy" => Some(Self::Haproxy),
            "contour" => Some(Self::Contour),
            _ => None,
        }
    }

    /// Whether it reads the CA from a Secret. F5's and Contour's do not verify the certificate of a Service behind an Ingress.
    pub(super) fn reads_ca(self) -> bool {
        !matches!(self, Self::NginxF5 | Self::Contour)
    }

    /// Annotations of an Ingress.
    pub(super) fn on_ingress(self) -> BTreeMap<String, String> {
        let host = service::host();
        let ca = format!("{}/{}", names::NAMESPACE, names::BACKEND_CA);
        let seconds = format!("{PATIENCE_SECONDS}s");
        match self {
            Self::Traefik => prefixed("traefik.ingress.kubernetes.io", [("router.tls", "true")]),
            Self::IngressNginx => prefixed(
                "nginx.ingress.kubernetes.io",
                [
                    ("backend-protocol", "HTTPS"),
                    ("proxy-body-size", "0"),
                    ("proxy-request-buffering", "off"),
                    ("proxy-read-timeout", PATIENCE_SECONDS),
                    ("proxy-send-timeout", PATIENCE_SECONDS),
                    ("proxy-ssl-secret", &ca),
                    ("proxy-ssl-verify", "on"),
                    ("proxy-ssl-name", &host),
                    ("proxy-ssl-server-name", "on"),
                ],
            ),
            Self::NginxF5 => prefixed(
                "nginx.org",
                [
                    ("ssl-services", names::REGISTRY),
                    ("client-max-body-size", "0"),
                    ("proxy-read-timeout", &seconds),
                    ("proxy-send-timeout", &seconds),
                ],
            ),
            Self::Haproxy => prefixed(
                "haproxy.org",
                [
                    ("server-ssl", "true"),
                    ("server-ca", &ca),
                    ("ssl-redirect", "true"),
                    // Else it redirects to port 8443.
                    ("ssl-redirect-port", "443"),
                    ("timeout-server", &seconds),
                ],
            ),
            Self::HaproxyIngress => prefixed(
                "haproxy-ingress.github.io",
                [
                    ("backend-protocol", "h1-ssl"),
                    ("secure-verify-ca-secret", names::BACKEND_CA),
                    ("secure-verify-hostname", &host),
                    ("secure-sni", &host),
                    ("proxy-body-size", "unlimited"),
                    ("timeout-server", &seconds),
                ],
            ),
            Self::Contour => {
                let mut all = prefixed("projectcontour.io", [("response-timeout", "infinity")]);
                all.extend(prefixed("ingress.kubernetes.io", [("force-ssl-redirect", "true")]));
                all
            }
        }
    }

    /// Annotations of the Service, which some controllers read instead. `transport`: whether there can be a ServersTransport.
    pub(super) fn on_service(self, transport: bool) -> BTreeMap<String, String> {
        match self {
            Self::Traefik => {
                let reference = format!("{}-{}@kubernetescrd", names::NAMESPACE, names::BACKEND_TLS);
                let mut all = prefixed(TRAEFIK_SERVICE, [("serversscheme", "https")]);
                if transport {
                    all.extend(prefixed(TRAEFIK_SERVICE, [("serverstransport", &reference)]));
                }
                all
            }
            Self::Contour => [(CONTOUR_PROTOCOL.to_owned(), names::REGISTRY_PORT.to_string())].into(),
            Self::IngressNginx | Self::NginxF5 | Self::Haproxy | Self::HaproxyIngress => BTreeMap::new(),
        }
    }
}

const TRAEFIK_SERVICE: &str = "traefik.ingress.kubernetes.io/service";
const CONTOUR_PROTOCOL: &str = "projectcontour.io/upstream-protocol.tls";

/// Whether the operator sets this annotation for one of the controllers.
pub(super) fn is_known(key: &str) -> bool {
    let mut all = Controller::ALL.into_iter();
    all.any(|controller| controller.on_ingress().contains_key(key) || controller.on_service(true).contains_key(key))
}

/// Whether controllers read the annotation from the Service.
pub(super) fn is_for_service(key: &str) -> bool {
    key.starts_with(TRAEFIK_SERVICE) || key == CONTOUR_PROTOCOL
}

fn prefixed<const N: usize>(prefix: &str, all: [(&str, &str); N]) -> BTreeMap<String, String> {
    let separator = if prefix.contains('/') { '.' } else { '/' };
    all.into_iter()
        .map(|(name, value)| (format!("{prefix}{separator}{name}"), value.to_owned()))
        .collect()
}
