//! CA maps: what pods and nodes of the cluster trust when they speak to registries.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::{Desired, Drift, Plan};
use crate::api::Kind;
use crate::config::notice::Notice;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;

/// The CA maps, and what stood in the way of them. The plan is to be applied in any case.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Certificates {
    /// The maps.
    pub plan: Plan,
    /// Why a part of them is missing, for the condition.
    pub error: Option<String>,
    /// Things to tell.
    pub notices: Vec<Notice>,
}

/// Plans the CA maps. They exist in every management state.
///
/// `storage_ca` is the PEM of the storage's endpoint, `None` where the Config names no single storage. With
/// `disable_redirect` clients never see that endpoint, so the registry's host names need not vouch for it. `removed` says
/// that the registry is not wanted.
pub fn certificates(
    snapshot: &Snapshot,
    storage_ca: Option<&str>,
    disable_redirect: bool,
    removed: bool,
) -> Certificates {
    let mut notices = Vec::new();
    let mut error = None;
    let storage_ca = storage_ca.filter(|ca| !ca.is_empty() && !removed);
    let own = own_entries(&snapshot.objects);

    let mut all = Entries {
        text: own.clone(),
        binary: BTreeMap::new(),
    };
    match user_entries(snapshot) {
        Ok(user) => all.add_user(user, storage_ca.is_some(), &mut notices),
        Err(message) => error = Some(message),
    }
    if error.is_some() {
        all.keep_previous(snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP));
    }
    let mut shared = own.clone();
    if let Some(ca) = storage_ca {
        if !disable_redirect {
            // Container runtimes look CAs up by the registry's host also when it sends them elsewhere.
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
        map(names::NAMESPACE, names::CERTIFICATES_MAP, &all),
        map(
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
        notices,
    }
}

/// The CA of the storage that is published for the registry's pods, PEM: what users ask for under the same key is not it.
pub fn published_storage_ca(snapshot: &Snapshot) -> Option<String> {
    let live = snapshot.objects.operand(Kind::ConfigMap, names::CERTIFICATES_MAP)?;
    let published = live.get("data")?.get(names::STORAGE_CA_KEY)?.as_str()?;
    let of_user = user_entries(snapshot)
        .ok()
        .and_then(|user| user.text.get(names::STORAGE_CA_KEY).cloned());
    (of_user.as_deref() != Some(published)).then(|| published.to_owned())
}

/// Keys of a CA map under which the registry itself is found; empty without a Service.
pub(super) fn own_keys(objects: &Objects) -> BTreeSet<String> {
    let Some(service) = objects.operand(Kind::Service, names::REGISTRY) else {
        return BTreeSet::new();
    };
    let port = service
        .pointer("/spec/ports/0/port")
        .and_then(Value::as_u64)
        .unwrap_or(names::REGISTRY_PORT.into());
    // A key cannot hold a colon.
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

/// Content of a CA map.
#[derive(Clone, Debug, Default, PartialEq)]
struct Entries {
    text: BTreeMap<String, String>,
    /// Values that are no text, base64 as they are stored.
    binary: BTreeMap<String, Value>,
}

impl Entries {
    /// Adds what users trust. Under one of the registry's own keys both are trusted.
    fn add_user(&mut self, user: Self, has_storage_ca: bool, notices: &mut Vec<Notice>) {
        let Self { text, binary } = user;
        for (key, value) in text {
            note_unless_pem(&key, value.as_bytes(), notices);
            self.add_text(key, value);
        }
        for (key, value) in binary {
            let bytes = value
                .as_str()
                .and_then(|text| STANDARD.decode(text).ok())
                .unwrap_or_default();
            let taken = self.text.contains_key(&key) || has_storage_ca && key == names::STORAGE_CA_KEY;
            match String::from_utf8(bytes) {
                // The API server refuses a key that has both a text and a binary value.
                Ok(text) if taken => {
                    note_unless_pem(&key, text.as_bytes(), notices);
                    self.add_text(key, text);
                }
                Err(_) if taken => notices.push(warning(format!(
                    "binaryData key {key} of the ConfigMap that spec.additionalTrustedCA of image.config.openshift.io/cluster \
                     names is ignored: the operator uses that key itself, and the value is no text that could be added to it"
                ))),
                read => {
                    let bytes = read.map_or_else(std::string::FromUtf8Error::into_bytes, String::into_bytes);
                    note_unless_pem(&key, &bytes, notices);
                    self.binary.insert(key, value);
                }
            }
        }
    }

    fn add_text(&mut self, key: String, value: String) {
        let merged = match self.text.remove(&key) {
            Some(own) if own.ends_with('\n') => own + &value,
            Some(own) => own + "\n" + &value,
            None => value,
        };
        self.text.insert(key, merged);
    }

    /// While the users' map is missing, what was published of it stays: pulls go on.
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

/// Whether a key names the registry's Service, under whatever port it had.
fn is_own(key: &str) -> bool {
    let host = format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE);
    let rest = key
        .strip_prefix(&host)
        .map(|rest| rest.strip_prefix(".cluster.local").unwrap_or(rest));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(".."))
}

/// What users trust: the map that the cluster's image configuration names. No name is nothing, a missing map an error.
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
             exist: create it, or clear the name. CAs published from it before stay trusted",
            names::CONFIG_NAMESPACE
        )
    })
}

fn note_unless_pem(key: &str, value: &[u8], notices: &mut Vec<Notice>) {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(value).collect();
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        return;
    }
    notices.push(warning(format!(
        "Key {key} of the ConfigMap that spec.additionalTrustedCA of image.config.openshift.io/cluster names holds no \
         certificates in PEM: it is published as it is, and clients may ignore it"
    )));
}

fn warning(note: String) -> Notice {
    Notice {
        warning: true,
        reason: "InvalidCertificate",
        note,
    }
}

/// Asks the platform's service CA for its certificate. The data are the service CA's and are never touched.
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

fn map(namespace: &str, name: &str, entries: &Entries) -> Desired {
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
    // A map closed by hand cannot be changed, only made anew.
    Desired::new(Kind::ConfigMap, Drift::Whole(&["data", "binaryData"]), body).with_immutable(&["/immutable"])
}

#[cfg(test)]
mod tests;
