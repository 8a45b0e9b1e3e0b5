//! PURE: CA bundles in ConfigMaps: one that a spec names, the bundle of the cloud, the bundle of the cluster's proxy.

use std::borrow::Cow;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::api::{Kind, ObjectRef};
use crate::config::content;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::model::error::StorageError;

/// The CA bundle (PEM) in a ConfigMap of `openshift-config` that a field of the Config names. `field`: path of that
/// field, for messages.
///
/// # Errors
/// The ConfigMap or its key is missing, or the bundle holds no certificate.
pub fn named_bundle(field: &str, name: &str, snapshot: &Snapshot) -> Result<String, StorageError> {
    let map = named_map(name);
    let error = |cause: &str| {
        let (namespace, key) = (names::CONFIG_NAMESPACE, names::CA_BUNDLE_KEY);
        let member = field.rsplit('.').next().unwrap_or(field);
        StorageError::action_required(format!(
            "{field} names ConfigMap {namespace}/{name}, key {key}, but {cause}: store the CA of the service there as PEM, \
             or remove {member} from the Config"
        ))
    };
    let object = snapshot
        .objects
        .find(&map)
        .ok_or_else(|| error("the ConfigMap is not found"))?;
    let pem = content::map_text(object, names::CA_BUNDLE_KEY).ok_or_else(|| error("the key is not found or empty"))?;
    if !holds_certificate(&pem) {
        return Err(error("the key holds no certificate"));
    }
    Ok(pem.into_owned())
}

/// Reference of the ConfigMap that [`named_bundle`] reads.
pub fn named_map(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, name)
}

/// The CA bundle (PEM) that the platform publishes for its cloud; `None` if it is missing or empty.
///
/// # Errors
/// The bundle holds no certificate.
pub fn cloud_bundle(snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
    let object = snapshot.objects.find(&cloud_map());
    let pem = object.and_then(|map| content::map_text(map, names::CLOUD_CA_KEY));
    let Some(pem) = pem.filter(|pem| !pem.trim().is_empty()) else {
        return Ok(None);
    };
    if !holds_certificate(&pem) {
        return Err(StorageError::action_required(format!(
            "key {} of ConfigMap {}/{} holds no certificate: the platform copies it from the cloud's configuration \
             ({}/{}), correct the CA there",
            names::CLOUD_CA_KEY,
            names::CONFIG_MANAGED_NAMESPACE,
            names::CLOUD_CONFIG_MAP,
            names::CONFIG_NAMESPACE,
            names::CLOUD_PROVIDER_CONFIG,
        )));
    }
    Ok(Some(pem.into_owned()))
}

/// Reference of the ConfigMap that [`cloud_bundle`] reads.
pub fn cloud_map() -> ObjectRef {
    ObjectRef::new(
        Kind::ConfigMap,
        names::CONFIG_MANAGED_NAMESPACE,
        names::CLOUD_CONFIG_MAP,
    )
}

/// The CA bundle (PEM) of the cluster's proxy; `None` if it is missing or invalid. The cluster network operator reports
/// an invalid one.
pub fn proxy_bundle(snapshot: &Snapshot) -> Option<Cow<'_, str>> {
    let object = snapshot.objects.find(&proxy_map(snapshot)?)?;
    content::map_text(object, names::CA_BUNDLE_KEY).filter(|pem| holds_certificate(pem))
}

/// Reference of the ConfigMap that [`proxy_bundle`] reads.
pub fn proxy_map(snapshot: &Snapshot) -> Option<ObjectRef> {
    let name = snapshot.proxy_ca_map()?;
    Some(ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, &name))
}

/// Concatenates two bundles.
pub fn join(first: Option<&str>, second: Option<&str>) -> String {
    let mut bundle = String::new();
    for part in first.into_iter().chain(second) {
        bundle.push_str(part);
        if !part.ends_with('\n') {
            bundle.push('\n');
        }
    }
    bundle
}

/// Concatenates bundles without duplicates; `None` if there are none.
pub fn union(bundles: impl IntoIterator<Item = String>) -> Option<String> {
    bundles.into_iter().reduce(|all, more| {
        if all.contains(more.trim()) {
            all
        } else {
            join(Some(&all), Some(&more))
        }
    })
}

/// Whether the text holds at least one usable certificate.
pub fn holds_certificate(pem: &str) -> bool {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    RootCertStore::empty().add_parsable_certificates(certificates).0 > 0
}

#[cfg(test)]
mod tests;
