//! What the variables `EXPOSE` and `EXPOSE_...` of the operator say. The command line reads them at start.

use std::collections::BTreeMap;

use super::NAMESPACE;

/// What makes the registry reachable from outside of the cluster (`EXPOSE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Routes of OpenShift.
    Route,
    /// Ingresses.
    Ingress,
    /// HTTPRoutes of the Gateway API.
    Gateway,
    /// Nothing.
    Nowhere,
}

impl Way {
    const ALL: [(Self, &str); 4] = [
        (Self::Route, "route"),
        (Self::Ingress, "ingress"),
        (Self::Gateway, "gateway"),
        (Self::Nowhere, "none"),
    ];

    /// The way with this name in `EXPOSE`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|(_, known)| *known == name)
            .map(|(way, _)| way)
    }

    /// Its name in `EXPOSE`.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(way, _)| *way == self);
        found.map_or("", |(_, name)| name)
    }
}

/// A Gateway, or one of its listeners (`EXPOSE_GATEWAY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRef {
    /// Namespace of the Gateway.
    pub namespace: String,
    /// Name of the Gateway.
    pub name: String,
    /// Name of the listener; `None` for all.
    pub section: Option<String>,
}

/// How clients outside of the cluster reach the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// `EXPOSE`; `None` if it is not set.
    pub given: Option<Way>,
    /// `EXPOSE_DOMAIN`: the domain of hosts that the Config does not name.
    pub domain: Option<String>,
    /// `EXPOSE_INGRESS_CLASS`; `None` selects the default class of the cluster.
    pub ingress_class: Option<String>,
    /// `EXPOSE_GATEWAY`; there if `EXPOSE` is `gateway`.
    pub gateway: Option<GatewayRef>,
    /// `EXPOSE_ANNOTATIONS`: annotations for Ingresses and HTTPRoutes.
    pub annotations: BTreeMap<String, String>,
}

impl Exposure {
    /// What exposes the registry. Without `EXPOSE` it is Routes: a cluster that serves none has no other way.
    pub fn way(&self) -> Way {
        self.given.unwrap_or(Way::Route)
    }

    /// Host of a route for which the Config names none. A router of OpenShift chooses the host itself, after the same pattern.
    pub fn generated_host(&self, route: &str) -> Option<String> {
        let domain = self.domain.as_ref()?;
        matches!(self.way(), Way::Ingress | Way::Gateway).then(|| format!("{route}-{NAMESPACE}.{domain}"))
    }
}
