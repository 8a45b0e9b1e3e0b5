//! PURE: status of `images.config.openshift.io/cluster`: the host names of the registry and the import mode of image streams.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::deployment::text;
use crate::config::content;
use crate::names;

/// Condition that reports failed passes of the controller; see [`super::conditions::LastingFailure`].
pub const CONTROLLER_DEGRADED: &str = "ImageConfigControllerDegraded";

/// Prefix of the hosts that a router generates for [`names::DEFAULT_ROUTE`].
const DEFAULT_HOST_PREFIX: &str = "default-route-openshift-image-registry";

/// Inputs of the Image's status.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The live Image; `None` if it does not exist: the caller must create it before it writes the status.
    pub image: Option<&'a Value>,
    /// The registry's Service.
    pub service: Option<&'a Value>,
    /// All Routes of the registry's namespace.
    pub routes: Vec<&'a Value>,
    /// Whether the feature gate `ImageStreamImportMode` is enabled. If not, the stored import mode stays.
    pub import_mode: bool,
    /// The ClusterVersion.
    pub cluster_version: Option<&'a Value>,
    /// Whether the Service and the Routes are about to be made: then host names that the status has are kept, because
    /// clearing and setting them again would make every user of the registry's host name roll out twice.
    pub keep: bool,
}

impl Sources<'_> {
    fn stored(&self, member: &str) -> Option<&Value> {
        self.image?.pointer(&format!("/status/{member}"))
    }

    /// Whether the status has host names that Service and Routes do not have.
    pub fn lack_known_hosts(&self) -> bool {
        self.lack_internal() || self.lack_external(&external_hostnames(&self.routes))
    }

    fn lack_internal(&self) -> bool {
        self.service.is_none() && content::text(self.stored("internalRegistryHostname")).is_some()
    }

    fn lack_external(&self, hosts: &[String]) -> bool {
        let known = self.stored("externalRegistryHostnames").and_then(Value::as_array);
        let missing = |known: &Value| !hosts.iter().any(|host| known == host);
        known.into_iter().flatten().any(missing)
    }
}

/// The import mode depends on the ClusterVersion, which does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ClusterVersion version does not exist, so the import mode of image streams is unknown")]
pub struct NoClusterVersion;

/// The Image to create.
pub fn skeleton() -> Value {
    json!({"apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": names::CLUSTER}, "spec": {}})
}

/// JSON merge patch for the `/status` subresource of the Image; `None` if nothing differs. If the import mode is unknown, the
/// patch still contains the host names, and the second value is the error.
pub fn status_patch(sources: &Sources<'_>) -> (Option<Value>, Result<(), NoClusterVersion>) {
    let stored = |member: &str| sources.stored(member);
    let mut patch = serde_json::Map::new();
    let internal = internal_hostname(sources.service);
    let before = content::text(stored("internalRegistryHostname")).unwrap_or_default();
    if before != internal && !(sources.keep && sources.lack_internal()) {
        patch.insert("internalRegistryHostname".to_owned(), json!(internal));
    }
    let external = external_hostnames(&sources.routes);
    let before = stored("externalRegistryHostnames")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if before != external && !(sources.keep && sources.lack_external(&external)) {
        patch.insert("externalRegistryHostnames".to_owned(), json!(external));
    }
    let mode = import_mode(sources);
    if let Ok(Some(mode)) = mode
        && stored("imageStreamImportMode").and_then(Value::as_str) != Some(mode)
    {
        patch.insert("imageStreamImportMode".to_owned(), json!(mode));
    }
    ((!patch.is_empty()).then(|| json!({"status": patch})), mode.map(|_| ()))
}

/// `host:port` of the registry inside the cluster, without the port if it is 443; empty without a Service.
pub fn internal_hostname(service: Option<&Value>) -> String {
    let Some(service) = service else { return String::new() };
    let member = |pointer: &str, default| service.pointer(pointer).and_then(Value::as_str).unwrap_or(default);
    let (name, namespace) = (
        member("/metadata/name", names::REGISTRY),
        member("/metadata/namespace", names::NAMESPACE),
    );
    match service.pointer("/spec/ports/0/port").and_then(Value::as_i64) {
        None | Some(443) => format!("{name}.{namespace}.svc"),
        Some(port) => format!("{name}.{namespace}.svc:{port}"),
    }
}

/// Admitted hosts of the operator's Routes, without duplicates. Clients use the first host. The order is: hosts of the default
/// Route (generated hosts first), hosts of other Routes with the prefix of generated hosts, other hosts; each group is sorted.
pub fn external_hostnames(routes: &[&Value]) -> Vec<String> {
    let mut ranks: BTreeMap<&str, u8> = BTreeMap::new();
    for route in routes {
        let owned = route
            .pointer("/metadata/annotations")
            .is_some_and(|a| a.get(names::OWNED_ANNOTATION).is_some());
        if !owned {
            continue;
        }
        let default = route.pointer("/metadata/name").and_then(Value::as_str) == Some(names::DEFAULT_ROUTE);
        let ingress = route.pointer("/status/ingress").and_then(Value::as_array);
        for ingress in ingress.into_iter().flatten().filter(|ingress| admitted(ingress)) {
            let host = text(ingress, "host");
            let rank = match (default, host.starts_with(DEFAULT_HOST_PREFIX)) {
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) => 3,
            };
            if !host.is_empty() {
                ranks
                    .entry(host)
                    .and_modify(|known| *known = rank.min(*known))
                    .or_insert(rank);
            }
        }
    }
    let mut hosts: Vec<_> = ranks.into_iter().map(|(host, rank)| (rank, host)).collect();
    hosts.sort_unstable();
    hosts.into_iter().map(|(_, host)| host.to_owned()).collect()
}

/// Whether a router has admitted the host. An ingress without conditions is not admitted yet.
fn admitted(ingress: &Value) -> bool {
    let conditions = ingress.get("conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|c| text(c, "type") == "Admitted" && text(c, "status") == "True")
}

fn import_mode<'a>(sources: &Sources<'a>) -> Result<Option<&'a str>, NoClusterVersion> {
    if !sources.import_mode {
        return Ok(None);
    }
    let requested = sources.image.and_then(|i| i.pointer("/spec/imageStreamImportMode"));
    if let Some(requested) = content::text(requested) {
        return Ok(Some(requested));
    }
    let version = sources.cluster_version.ok_or(NoClusterVersion)?;
    let architecture = version.pointer("/status/desired/architecture").and_then(Value::as_str);
    Ok(Some(if architecture == Some("Multi") {
        "PreserveOriginal"
    } else {
        "Legacy"
    }))
}

#[cfg(test)]
mod tests;
