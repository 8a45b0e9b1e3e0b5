//! ConfigMaps with the CAs that pods and nodes of the cluster trust for registries.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{Desired, Drift, Plan};
use crate::api::Kind;
use crate::config::event_request::EventRequest;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;

/// The CA ConfigMaps, and errors of their sources. The plan must be applied even with an error.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    /// The ConfigMaps.
    pub plan: Plan,
    /// Message of the condition if the CAs of the user are missing.
    pub error: Option<String>,
    /// Events to emit.
    pub events: Vec<EventRequest>,
}

/// Plans the CA ConfigMaps. They exist in every management state.
///
/// `storage_ca` is the CA of the storage's endpoint as PEM; `None` if the endpoint needs no CA or the Config does not set
/// exactly one storage. With `disable_redirect`, clients never connect to the storage, so the entries of the registry's host
/// names do not contain the storage's CA. `removed` is true if the registry is to be removed.
pub fn certificates(
    snapshot: &Snapshot,
    storage_ca: Option<&str>,
    disable_redirect: bool,
    removed: bool,
) -> Certificates {
    let mut events = Vec::new();
    let mut error = None;
    let storage_ca = storage_ca.filter(|ca| !ca.is_empty() && !removed);
    let own = own_entries(&snapshot.objects);

    let mut all = Entries {
        text: own.clone(),
        binary: BTreeMap::new(),
    };
    match user_entries(snapshot) {
        Ok(user) => all.add_user(user, storage_ca.is_some(), &mut events),
        Err(message) => error = Some(message),
    }
    if error.is_some() {
        all.keep_previous(snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP));
    }
    let mut shared = own.clone();
    if let Some(ca) = storage_ca {
        if !disable_redirect {
            // Container runtimes look up CAs by the registry's host, also after a redirect to the storage.
            for entries in [&mut all.text, &mut shared] {
                entries
                    .iter_mut()
                    .filter(|(key, _)| own.contains_key(*key))
                    .for_each(|(_, pem)| {
                        pem.push('\n');
                        pem.push_str(ca);
                    });
            }
        }
        all.text.insert(names::STORAGE_CA_KEY.to_owned(), ca.to_owned());
    }
    let present = vec![
        service_ca(),
        config_map(names::NAMESPACE, names::CERTIFICATES_MAP, &all),
        config_map(
            names::CONFIG_MANAGED_NAMESPACE,
            names::CA_MAP,
            &Entries {
                text: shared,
                binary: BTreeMap::new(),
            },
        ),
    ];
    Certificates {
        plan: Plan {
            present,
            ..Plan::default()
        },
        error,
        events,
    }
}

/// The CA of the storage that is published for the registry's pods, as PEM. `None` if none is published, or if the entry
/// comes from the ConfigMap of the user.
pub fn published_storage_ca(snapshot: &Snapshot) -> Option<String> {
    let live = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP)?;
    let published = live.get("data")?.get(names::STORAGE_CA_KEY)?.as_str()?;
    let of_user = user_entries(snapshot)
        .ok()
        .and_then(|user| user.text.get(names::STORAGE_CA_KEY).cloned());
    (of_user.as_deref() != Some(published)).then(|| published.to_owned())
}

/// Keys of the CA ConfigMaps for the registry's own host names; empty without a Service.
pub(super) fn own_keys(objects: &Objects) -> BTreeSet<String> {
    let Some(service) = objects.operand(Kind::Service, names::REGISTRY) else {
        return BTreeSet::new();
    };
    let port = service
        .pointer("/spec/ports/0/port")
        .and_then(Value::as_u64)
        .unwrap_or(names::REGISTRY_PORT.into());
    // A ConfigMap key cannot contain a colon; `..` takes its place.
    let port = if port == 443 {
        String::new()
    } else {
        format!("..{port}")
    };
    let host = format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE);
    [format!("{host}{port}"), format!("{host}.cluster.local{port}")].into()
}

fn own_entries(objects: &Objects) -> BTreeMap<String, String> {
    let map = objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let Some(pem) = map.and_then(|map| map.get("data")?.get(names::SERVICE_CA_KEY)?.as_str()) else {
        return BTreeMap::new();
    };
    own_keys(objects).into_iter().map(|key| (key, pem.to_owned())).collect()
}

/// Content of a CA ConfigMap.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entries {
    /// `data`.
    text: BTreeMap<String, String>,
    /// `binaryData`, in base64.
    binary: BTreeMap<String, Value>,
}

impl Entries {
    /// Adds the entries of the user's ConfigMap. If the operator uses a key itself, the entry contains both values.
    fn add_user(&mut self, user: Self, has_storage_ca: bool, events: &mut Vec<EventRequest>) {
        let Self { text, binary } = user;
        for (key, value) in text {
            warn_unless_pem(&key, value.as_bytes(), events);
            self.add_text(key, value);
        }
        for (key, value) in binary {
            let bytes = value
                .as_str()
                .and_then(|text| STANDARD.decode(text).ok())
                .unwrap_or_default();
            let taken = self.text.contains_key(&key) || has_storage_ca && key == names::STORAGE_CA_KEY;
            match String::from_utf8(bytes) {
                // The API server rejects a key in both `data` and `binaryData`.
                Ok(text) if taken => {
                    warn_unless_pem(&key, text.as_bytes(), events);
                    self.add_text(key, text);
                }
                Err(_) if taken => events.push(warning(format!(
                    "binaryData key {key} of the ConfigMap that spec.additionalTrustedCA of image.config.openshift.io/cluster \
                     names is ignored: the operator uses that key itself, and the value is no text that could be added to it"
                ))),
                decoded => {
                    let bytes = decoded.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
                    warn_unless_pem(&key, &bytes, events);
                    self.binary.insert(key, value);
                }
            }
        }
    }

    fn add_text(&mut self, key: String, value: String) {
        let merged = match self.text.remove(&key) {
            Some(present) if present.ends_with('\n') => present + &value,
            Some(present) => present + "\n" + &value,
            None => value,
        };
        self.text.insert(key, merged);
    }

    /// Keeps the user's entries of the live ConfigMap while the user's ConfigMap is missing, so that image pulls continue.
    fn keep_previous(&mut self, live: Option<&Value>) {
        let Some(live) = live.map(Self::of_map) else { return };
        let is_user = |key: &String| !is_own(key) && key != names::STORAGE_CA_KEY;
        self.text.extend(live.text.into_iter().filter(|(key, _)| is_user(key)));
        self.binary
            .extend(live.binary.into_iter().filter(|(key, _)| is_user(key)));
    }

    fn of_map(map: &Value) -> Self {
        let members = |name: &str| map.get(name).and_then(Value::as_object).into_iter().flatten();
        let text = members("data").filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        let binary = members("binaryData").map(|(key, value)| (key.clone(), value.clone()));
        Self {
            text: text.collect(),
            binary: binary.collect(),
        }
    }
}

/// Whether a key is a host name of the registry's Service, with any port: the port may have changed.
fn is_own(key: &str) -> bool {
    let host = format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE);
    let rest = key
        .strip_prefix(&host)
        .map(|rest| rest.strip_prefix(".cluster.local").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(".."))
}

/// Entries of the ConfigMap that `spec.additionalTrustedCA` of the cluster's Image references; empty without a reference.
/// Returns a message for the condition if the ConfigMap does not exist.
fn user_entries(snapshot: &Snapshot) -> Result<Entries, String> {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let name = image
        .and_then(|image| image.pointer("/spec/additionalTrustedCA/name"))
        .and_then(Value::as_str);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(Entries::default());
    };
    let map = snapshot.objects.get(Kind::ConfigMap, names::CONFIG_NAMESPACE, name);
    map.map(Entries::of_map).ok_or_else(|| {
        format!(
            "ConfigMap {}/{name}, which spec.additionalTrustedCA of image.config.openshift.io/cluster names, does not \
             exist: create the ConfigMap, or clear the reference. CAs that were published from it stay trusted",
            names::CONFIG_NAMESPACE
        )
    })
}

fn warn_unless_pem(key: &str, value: &[u8], events: &mut Vec<EventRequest>) {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(value).collect();
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        return;
    }
    events.push(warning(format!(
        "Key {key} of the ConfigMap that spec.additionalTrustedCA of image.config.openshift.io/cluster names holds no \
         certificates in PEM: it is published as it is, and clients may ignore it"
    )));
}

fn warning(message: String) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "InvalidCertificate",
        message,
    }
}

/// ConfigMap into which the platform's service CA injects its certificate. The operator never writes the data.
pub(super) fn service_ca() -> Desired {
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::SERVICE_CA_MAP,
            "namespace": names::NAMESPACE,
            "annotations": {names::INJECT_SERVICE_CA_ANNOTATION: "true"},
        },
    });
    Desired::new(Kind::ConfigMap, Drift::Whole(&[]), body).without_checksum()
}

fn config_map(namespace: &str, name: &str, entries: &Entries) -> Desired {
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {names::OWNING_COMPONENT_ANNOTATION: "Image Registry"},
        },
    });
    for (member, content) in [("data", json!(entries.text)), ("binaryData", json!(entries.binary))] {
        if !super::drift::is_empty(&content) {
            body[member] = content;
        }
    }
    // A ConfigMap that a user made immutable cannot be updated, only deleted and created again.
    Desired::new(Kind::ConfigMap, Drift::Whole(&["data", "binaryData"]), body).with_immutable(&["/immutable"])
}

#[cfg(test)]
mod tests;
