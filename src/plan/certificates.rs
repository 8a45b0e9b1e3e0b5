//! ConfigMaps with the CAs that pods and nodes of the cluster trust for registries.

mod entry;
mod key_faults;
mod previous;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use self::key_faults::KeyFaults;
use self::previous::Own;
use super::{Desired, Drift, Origin, Plan, own_certificates, service};
use crate::api::Kind;
use crate::config::content;
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
    let mut faults = KeyFaults::default();
    let mut error = None;
    let storage_ca = storage_ca.filter(|ca| !ca.is_empty() && !removed);
    let own = own_entries(snapshot);

    let mut all = Entries {
        text: own.clone(),
        binary: BTreeMap::new(),
    };
    match user_entries(snapshot) {
        Ok(user) => all.add_user(user, &mut faults),
        Err(message) => error = Some(message),
    }
    if error.is_some() {
        let live = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP);
        let storage = [published_storage_ca(snapshot), storage_ca.map(str::to_owned)];
        all.keep_previous(live, &Own::of(&snapshot.objects, own_authorities(snapshot), storage));
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
    let published = config_map(names::NAMESPACE, names::CERTIFICATES_MAP, &all);
    let mut managed = config_map(
        names::CONFIG_MANAGED_NAMESPACE,
        names::CA_MAP,
        &Entries {
            text: shared,
            binary: BTreeMap::new(),
        },
    );
    if error.is_some() {
        // While the user's ConfigMap is missing, this one tells which of the published CAs were the operator's.
        managed.depends_on = vec![published.reference.clone()];
    }
    let present = vec![service_ca(snapshot), published, managed];
    Certificates {
        plan: Plan {
            present,
            ..Plan::default()
        },
        error,
        events: faults.events(),
    }
}

/// The CA of the storage that is published for the registry's pods, as PEM; `None` if none is published. The key is the
/// operator's alone: an entry of the user's ConfigMap under it is not published.
pub fn published_storage_ca(snapshot: &Snapshot) -> Option<String> {
    let live = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP)?;
    content::map_text(live, names::STORAGE_CA_KEY).map(Cow::into_owned)
}

/// Keys of the CA ConfigMaps for the registry's own host names; empty without a Service.
pub(super) fn own_keys(objects: &Objects) -> BTreeSet<String> {
    let Some(service) = objects.operand(Kind::Service, names::REGISTRY) else {
        return BTreeSet::new();
    };
    let port = service::port(service);
    // A ConfigMap key cannot contain a colon; `..` takes its place.
    let port = if port == 443 {
        String::new()
    } else {
        format!("..{port}")
    };
    let host = service::host();
    [format!("{host}{port}"), format!("{host}.cluster.local{port}")].into()
}

fn own_entries(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let Some(pem) = own_authorities(snapshot) else {
        return BTreeMap::new();
    };
    own_keys(&snapshot.objects)
        .into_iter()
        .map(|key| (key, pem.clone()))
        .collect()
}

/// The CAs of the registry's serving certificate, PEM: what the service CA published, or the operator's own. Both while a
/// service CA takes over from the operator.
pub(super) fn own_authorities(snapshot: &Snapshot) -> Option<String> {
    let issued = own_certificates::published(snapshot);
    if snapshot.issues_certificates() && issued.is_some() {
        return issued;
    }
    let map = snapshot.objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let injected = map.and_then(|map| content::map_text(map, names::SERVICE_CA_KEY));
    match (injected, issued) {
        (Some(injected), Some(issued)) if injected != issued => Some(format!("{}\n{issued}", injected.trim_end())),
        (Some(injected), _) => Some(injected.into_owned()),
        (None, issued) => issued,
    }
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
    /// Adds the entries of the user's ConfigMap, without private keys. If the operator uses the host name of a key itself,
    /// the entry contains both values.
    fn add_user(&mut self, user: Self, faults: &mut KeyFaults) {
        let Self { text, binary } = user;
        for (key, value) in text {
            if let Some(bytes) = checked(&key, value.as_bytes(), faults) {
                warn_unless_pem(&key, &bytes, faults);
                self.add_text(key, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        for (key, value) in binary {
            let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            let Some(bytes) = checked(&key, &decoded.unwrap_or_default(), faults) else {
                continue;
            };
            // The API server rejects a key in both `data` and `binaryData`.
            let taken = self.text.contains_key(&key);
            match String::from_utf8(bytes) {
                Ok(text) if taken => {
                    warn_unless_pem(&key, text.as_bytes(), faults);
                    self.add_text(key, text);
                }
                Err(_) if taken => faults.add(
                    INVALID,
                    &key,
                    "is ignored: the operator uses that key itself, and the value in binaryData is no text that could be added to it",
                ),
                decoded => {
                    let bytes = decoded.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
                    warn_unless_pem(&key, &bytes, faults);
                    self.binary.insert(key, json!(STANDARD.encode(bytes)));
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

    /// Keeps the user's entries of the live ConfigMap while the user's ConfigMap is missing, so that image pulls continue. Under a host name
    /// of the registry that is the part which the operator did not publish itself.
    fn keep_previous(&mut self, live: Option<&Value>, own: &Own) {
        let Some(mut user) = live.map(Self::of_map) else { return };
        for (key, text) in std::mem::take(&mut user.text) {
            let of_user = if is_own(&key) { own.without(&text) } else { Some(text) };
            user.text.extend(of_user.map(|text| (key, text)));
        }
        user.binary.retain(|key, _| !is_own(key));
        // An earlier release published private keys.
        self.add_user(user, &mut KeyFaults::default());
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
    let host = service::host();
    let rest = key
        .strip_prefix(&host)
        .map(|rest| rest.strip_prefix(".cluster.local").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(".."))
}

/// Entries of the ConfigMap that `spec.additionalTrustedCA` of the cluster's Image references; empty without a reference.
/// Returns a message for the condition if the ConfigMap does not exist.
fn user_entries(snapshot: &Snapshot) -> Result<Entries, String> {
    let image = snapshot.objects.cluster(Kind::Image, names::CLUSTER);
    let name = image.and_then(|image| image.pointer("/spec/additionalTrustedCA/name"));
    let Some(name) = content::text(name) else {
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

/// Reason of the event about a key or value that clients may not use.
const INVALID: &str = "InvalidCertificate";
/// Reason of the event about a private key.
const PRIVATE_KEY: &str = "PrivateKeyIgnored";

/// What is published of an entry of the user's ConfigMap, and its faults; `None` if nothing is.
fn checked(key: &str, value: &[u8], faults: &mut KeyFaults) -> Option<Vec<u8>> {
    if key == names::STORAGE_CA_KEY {
        let text = "is ignored: the operator uses that key itself, for the CA of the storage. Name the key after the host of the registry, \
                    such as registry.example.com..5000";
        faults.add(INVALID, key, text);
        return None;
    }
    if let Some(fault) = entry::key_fault(key) {
        let text = format!(
            "{fault}: no client uses the CA. Name the key after the host of the registry, such as registry.example.com or \
             registry.example.com..5000"
        );
        faults.add(INVALID, key, text);
    }
    if entry::is_key_file(value) {
        let text = "is a private key in DER or a key store (PKCS#12, JKS), which is not published: no client reads a CA from it. Put \
                    certificates in PEM there; and if a private key is in it, replace that if it is in use";
        faults.add(PRIVATE_KEY, key, text);
        return None;
    }
    let (value, had_key) = entry::without_private_keys(value);
    if had_key {
        let text = "holds a private key, which is not published. Everybody who may read that ConfigMap can read the private key: remove \
                    it there, and replace it if it is in use";
        faults.add(PRIVATE_KEY, key, text);
        if value.trim_ascii().is_empty() {
            return None;
        }
    }
    Some(value)
}

fn warn_unless_pem(key: &str, value: &[u8], faults: &mut KeyFaults) {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(value).collect();
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        return;
    }
    let text = "holds no certificates in PEM: it is published as it is, and clients may ignore it";
    faults.add(INVALID, key, text);
}

/// ConfigMap into which the platform's service CA injects its certificate. The operator writes the data only if there is no
/// service CA, and only if it has a CA to publish.
pub(super) fn service_ca(snapshot: &Snapshot) -> Desired {
    let mut body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names::SERVICE_CA_MAP,
            "namespace": names::NAMESPACE,
            "annotations": {names::INJECT_SERVICE_CA_ANNOTATION: "true"},
        },
    });
    let issued = own_certificates::published(snapshot).filter(|_| snapshot.issues_certificates());
    let owned: &'static [&'static str] = if issued.is_some() { &["data"] } else { &[] };
    if let Some(pem) = issued {
        body["data"] = json!({names::SERVICE_CA_KEY: pem});
    }
    Desired::new(Kind::ConfigMap, Drift::Whole(owned), body).without_checksum()
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
    let image = "images.config.openshift.io cluster";
    let origins = ["data", "binaryData"].map(|field| Origin::made(field, "spec.additionalTrustedCA", image));
    // A ConfigMap that a user made immutable cannot be updated, only deleted and created again.
    Desired::new(Kind::ConfigMap, Drift::Whole(&["data", "binaryData"]), body)
        .with_immutable(&["/immutable"])
        .with_origins(origins)
}

#[cfg(test)]
mod tests;
