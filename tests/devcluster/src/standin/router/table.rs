//! Which host leads where. Made anew from the cache whenever something in it changes.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kube::api::DynamicObject;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tracing::warn;

use super::super::cache::{Cache, Key, Kind, items, key, label, text};
use super::super::certificate::{certified_key, client_trusting};
use super::super::route::ConditionUpdate;

/// The certificates that the router starts from.
#[derive(Clone, Debug)]
pub(in crate::standin) struct Trust {
    /// Served for a host that has none of its own.
    pub(in crate::standin) wildcard: Arc<CertifiedKey>,
    /// Trusts the serving certificates of Services.
    pub(in crate::standin) service_ca: Arc<ClientConfig>,
}

/// All admitted Routes by host.
#[derive(Debug)]
pub(in crate::standin) struct Table {
    routes: HashMap<String, Target>,
    wildcard: Arc<CertifiedKey>,
}

/// Where one Route leads.
#[derive(Debug)]
pub(super) struct Target {
    /// Namespace and name of the Route.
    pub(super) route: Key,
    /// The Service's ready endpoints.
    endpoints: Vec<SocketAddr>,
    turn: AtomicUsize,
    /// How to speak TLS to the endpoints; None for plain HTTP.
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    certificate: Option<Arc<CertifiedKey>>,
}

impl Table {
    /// The Route of a host.
    pub(super) fn target(&self, host: &str) -> Option<&Target> {
        self.routes.get(&host.to_ascii_lowercase())
    }

    /// The certificate for a host; an unknown host, too, gets an answer, over the wildcard's.
    pub(super) fn certificate(&self, host: Option<&str>) -> Arc<CertifiedKey> {
        let own = host
            .and_then(|host| self.target(host))
            .and_then(|target| target.certificate.clone());
        own.unwrap_or_else(|| self.wildcard.clone())
    }
}

impl Target {
    /// All endpoints, each call beginning with the next one.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        self.endpoints[first..].iter().chain(&self.endpoints[..first]).copied()
    }
}

/// Makes the table of the admitted Routes.
pub(in crate::standin) fn build(
    cache: &Cache,
    condition_updates: &BTreeMap<Key, ConditionUpdate>,
    trust: &Trust,
) -> Table {
    let mut routes = HashMap::new();
    for route in cache
        .all(Kind::Route)
        .filter(|route| condition_updates.get(&key(route)) == Some(&ConditionUpdate::Admitted))
    {
        let Some(host) = text(route, "/spec/host") else {
            continue;
        };
        match target(cache, route, trust) {
            Ok(target) => drop(routes.insert(host.to_ascii_lowercase(), target)),
            Err(error) => warn!(host, "router: {error:#}"),
        }
    }
    Table {
        routes,
        wildcard: trust.wildcard.clone(),
    }
}

fn target(cache: &Cache, route: &DynamicObject, trust: &Trust) -> anyhow::Result<Target> {
    let (namespace, name) = key(route);
    let service = text(route, "/spec/to/name").unwrap_or_default();
    let tls = match text(route, "/spec/tls/termination") {
        Some("reencrypt") => {
            let client = match text(route, "/spec/tls/destinationCACertificate") {
                Some(authorities) => client_trusting(authorities)?,
                None => trust.service_ca.clone(),
            };
            Some((client, ServerName::try_from(format!("{service}.{namespace}.svc"))?))
        }
        Some("passthrough") => anyhow::bail!("route {namespace}/{name}: passthrough is not played"),
        _ => None,
    };
    Ok(Target {
        endpoints: endpoints(cache, &namespace, service, &route.data["spec"]["port"]["targetPort"]),
        route: (namespace, name),
        turn: AtomicUsize::new(0),
        tls,
        certificate: certified_key(route)?,
    })
}

/// The ready endpoints of the Service's port that the Route means: by name, by number, or else the first.
fn endpoints(cache: &Cache, namespace: &str, service: &str, wanted: &Value) -> Vec<SocketAddr> {
    let Some(object) = cache.get(Kind::Service, namespace, service) else {
        return Vec::new();
    };
    let ports = items(&object.data, "/spec/ports");
    let meant = |port: &&Value| port["name"] == *wanted || port["targetPort"] == *wanted || port["port"] == *wanted;
    let port = if wanted.is_null() {
        ports.first()
    } else {
        ports.iter().find(meant)
    };
    let Some(port) = port else { return Vec::new() };
    // In an EndpointSlice an unnamed port has an empty name.
    let name = port["name"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    let of_service = |slice: &&DynamicObject| {
        slice.metadata.namespace.as_deref() == Some(namespace)
            && label(slice, "kubernetes.io/service-name") == Some(service)
    };
    for slice in cache.all(Kind::EndpointSlice).filter(of_service) {
        let port = items(&slice.data, "/ports")
            .iter()
            .find(|port| port["name"].as_str().unwrap_or_default() == name);
        let Some(port) = port
            .and_then(|port| port["port"].as_u64())
            .and_then(|port| u16::try_from(port).ok())
        else {
            continue;
        };
        for endpoint in items(&slice.data, "/endpoints")
            .iter()
            .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        {
            let addresses = items(endpoint, "/addresses").iter().filter_map(Value::as_str);
            found.extend(
                addresses
                    .filter_map(|text| text.parse::<IpAddr>().ok())
                    .map(|ip| SocketAddr::new(ip, port)),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::cache::fixture::cache;
    use super::*;

    fn objects() -> Cache {
        let service = json!({
            "metadata": {"name": "quux", "namespace": "zone-q"},
            "spec": {"ports": [{"name": "web", "port": 443, "targetPort": 8443}, {"name": "dbg", "port": 81}]},
        });
        let slice = json!({
            "metadata": {"name": "quux-x", "namespace": "zone-q", "labels": {"kubernetes.io/service-name": "quux"}},
            "ports": [{"name": "dbg", "port": 8081}, {"name": "web", "port": 8443}],
            "endpoints": [
                {"addresses": ["198.18.9.2"], "conditions": {"ready": true}},
                {"addresses": ["198.18.9.1"], "conditions": {}},
                {"addresses": ["198.18.9.3"], "conditions": {"ready": false}},
            ],
        });
        cache([(Kind::Service, service), (Kind::EndpointSlice, slice)])
    }

    fn found(wanted: &Value) -> Vec<String> {
        endpoints(&objects(), "zone-q", "quux", wanted)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn ready_endpoints_of_the_meant_port_are_found() {
        let web = ["198.18.9.1:8443", "198.18.9.2:8443"];
        for wanted in [json!(null), json!("web"), json!(8443), json!(443)] {
            assert_eq!(found(&wanted), web, "{wanted}");
        }
        assert_eq!(found(&json!("dbg")), ["198.18.9.1:8081", "198.18.9.2:8081"]);
        assert!(found(&json!("other")).is_empty());
        assert!(endpoints(&objects(), "zone-p", "quux", &json!(null)).is_empty());
    }

    #[test]
    fn endpoints_take_turns() {
        let target = Target {
            route: Key::default(),
            endpoints: endpoints(&objects(), "zone-q", "quux", &json!(null)),
            turn: AtomicUsize::new(0),
            tls: None,
            certificate: None,
        };
        let first = |target: &Target| target.endpoints().next().unwrap();
        assert_ne!(first(&target), first(&target));
        assert_eq!(target.endpoints().count(), 2);
        let none = Target {
            endpoints: Vec::new(),
            ..target
        };
        assert_eq!(none.endpoints().count(), 0);
    }
}
