//! Which certificates are trusted, and which are told to the registry. PURE.

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::api::registry_storage::S3Storage;
use crate::api::{Config, Kind, ObjectRef};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::fault::Fault;
use crate::storage::http::Trust;
use crate::storage::probes;

/// Whom connections to the store and to STS trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Trust {
    /// Roots for S3.
    pub s3: Trust,
    /// Roots for STS.
    pub sts: Trust,
    /// The store's CA for the registry's pods, PEM; `None` where the system's roots are all.
    pub publish: Option<String>,
}

/// Roots of a block: the bundle that it names, and no roots of the system; else the cloud's own bundle, where the cluster
/// has one, beside them. The CA of the cluster's proxy is trusted in any case, and the system's roots always for STS.
///
/// A fault where a bundle is missing or holds no certificate; it names ConfigMap and key.
pub fn trust(block: &S3Storage, snapshot: &Snapshot) -> Result<S3Trust, Fault> {
    let named = trusted_ca(block);
    let publish = match named {
        Some(name) => Some(named_bundle(name, snapshot)?),
        None => cloud_bundle(snapshot)?,
    };
    let proxy = proxy_bundle(snapshot);
    let bundle = join(publish.as_deref(), proxy);
    Ok(S3Trust {
        s3: Trust {
            bundle: bundle.clone(),
            system: named.is_none(),
        },
        sts: Trust { bundle, system: true },
        publish,
    })
}

/// What the registry's pods are told for all of these blocks together.
pub fn bundle<'a>(blocks: impl Iterator<Item = &'a S3Storage>, snapshot: &Snapshot) -> Result<Option<String>, Fault> {
    let mut all: Option<String> = None;
    for block in blocks {
        let Some(more) = trust(block, snapshot)?.publish else {
            continue;
        };
        all = match all {
            Some(all) if all.contains(more.trim()) => Some(all),
            Some(all) => Some(join(Some(&all), Some(&more))),
            None => Some(more),
        };
    }
    Ok(all)
}

/// ConfigMaps that [`trust`] looks at, for the watches: those of the spec, of the storage in use, and of storage in which
/// a probe may have been left.
pub fn config_maps(config: &Config, snapshot: &Snapshot) -> Vec<ObjectRef> {
    let spec = config.spec.storage.as_ref();
    let status = config.status.as_ref().map(|status| &status.storage);
    let probed = probes::stored(config);
    let storages = spec
        .into_iter()
        .chain(status)
        .chain(probed.iter().map(|left| &left.storage));
    let blocks: Vec<&S3Storage> = storages.filter_map(|s| s.s3.as_ref()).collect();
    if blocks.is_empty() {
        return Vec::new();
    }
    let mut maps: Vec<ObjectRef> = blocks
        .into_iter()
        .filter_map(trusted_ca)
        .map(|name| ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, name))
        .collect();
    maps.push(cloud_map());
    maps.extend(proxy_map(snapshot));
    maps.sort();
    maps.dedup();
    maps
}

fn trusted_ca(block: &S3Storage) -> Option<&str> {
    let name = block.trusted_ca.as_ref()?.name.as_deref()?;
    (!name.is_empty()).then_some(name)
}

fn cloud_map() -> ObjectRef {
    ObjectRef::new(
        Kind::ConfigMap,
        names::CONFIG_MANAGED_NAMESPACE,
        names::CLOUD_CONFIG_MAP,
    )
}

fn proxy_map(snapshot: &Snapshot) -> Option<ObjectRef> {
    let name = snapshot.proxy_ca_map()?;
    Some(ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, &name))
}

/// The bundle that the block names.
fn named_bundle(name: &str, snapshot: &Snapshot) -> Result<String, Fault> {
    let map = ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, name);
    let fault = |cause: &str| {
        Fault::config(format!(
            "spec.storage.s3.trustedCA names ConfigMap {}/{name}, key {}, but {cause}: put the CA of the store there as \
             PEM, or take trustedCA out of the Config",
            names::CONFIG_NAMESPACE,
            names::CA_BUNDLE_KEY,
        ))
    };
    let object = snapshot
        .objects
        .find(&map)
        .ok_or_else(|| fault("the ConfigMap is not found"))?;
    let pem = entry(object, names::CA_BUNDLE_KEY).ok_or_else(|| fault("the key is not found"))?;
    if !holds_certificate(pem) {
        return Err(fault("there is no certificate in it"));
    }
    Ok(pem.to_owned())
}

/// The bundle that the platform keeps for its cloud; an empty one is none.
fn cloud_bundle(snapshot: &Snapshot) -> Result<Option<String>, Fault> {
    let object = snapshot.objects.find(&cloud_map());
    let pem = object.and_then(|map| entry(map, names::CLOUD_CA_KEY));
    let Some(pem) = pem.filter(|pem| !pem.trim().is_empty()) else {
        return Ok(None);
    };
    if !holds_certificate(pem) {
        return Err(Fault::config(format!(
            "key {} of ConfigMap {}/{} holds no certificate: it is written by the platform from the cloud's configuration \
             ({}/{}), where the CA is to be mended",
            names::CLOUD_CA_KEY,
            names::CONFIG_MANAGED_NAMESPACE,
            names::CLOUD_CONFIG_MAP,
            names::CONFIG_NAMESPACE,
            names::CLOUD_PROVIDER_CONFIG,
        )));
    }
    Ok(Some(pem.to_owned()))
}

/// The CA of the cluster's proxy. What is wrong with it is the network operator's to say: it is left out.
pub(super) fn proxy_bundle(snapshot: &Snapshot) -> Option<&str> {
    let object = snapshot.objects.find(&proxy_map(snapshot)?)?;
    entry(object, names::CA_BUNDLE_KEY).filter(|pem| holds_certificate(pem))
}

fn entry<'a>(map: &'a Value, key: &str) -> Option<&'a str> {
    map.get("data")?.get(key)?.as_str()
}

/// One bundle of two.
fn join(first: Option<&str>, second: Option<&str>) -> String {
    let mut bundle = String::new();
    for part in first.into_iter().chain(second) {
        bundle.push_str(part);
        if !part.ends_with('\n') {
            bundle.push('\n');
        }
    }
    bundle
}

/// Whether at least one certificate can be read.
fn holds_certificate(pem: &str) -> bool {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    RootCertStore::empty().add_parsable_certificates(certificates).0 > 0
}

#[cfg(test)]
mod tests;
