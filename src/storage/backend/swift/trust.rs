//! PURE: CA certificates of Keystone and Swift, and the CA bundle for the registry's pods.

use crate::api::{Kind, ObjectRef};
use crate::config::content;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::storage::inputs::secret::text_of;
use crate::storage::inputs::trust::{holds_certificate, join, proxy_bundle, proxy_map};
use crate::storage::model::error::StorageError;
use crate::storage::net::http::Trust;

/// Key of the CA in the platform's Secret.
const CA_KEY: &str = "cacert";

/// The CA bundle of the cloud: key `cacert` of the platform's Secret, also if the administrator's Secret holds the
/// credentials; else `ca-bundle.pem` of the cloud provider's ConfigMap, as in clusters from before 4.19. `None`: the
/// system's CA certificates are sufficient.
///
/// # Errors
/// The bundle holds no certificate. The message names object and key.
pub fn published(snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
    let secret = snapshot.objects.operand(Kind::Secret, names::MINTED_SECRET);
    let of_secret = secret.and_then(|secret| text_of(secret, CA_KEY));
    // Bytes that are no text hold no certificate.
    let of_secret = of_secret.map(Result::unwrap_or_default);
    let of_map = || {
        let map = snapshot.objects.find(&config_map())?;
        content::map_text(map, names::CLOUD_CA_KEY).map(std::borrow::Cow::into_owned)
    };
    let (pem, source) = match of_secret {
        Some(pem) => (
            pem,
            format!("key {CA_KEY} of Secret {}/{}", names::NAMESPACE, names::MINTED_SECRET),
        ),
        None => match of_map().filter(|pem| !pem.trim().is_empty()) {
            Some(pem) => (
                pem,
                format!(
                    "key {} of ConfigMap {}/{}",
                    names::CLOUD_CA_KEY,
                    names::CONFIG_NAMESPACE,
                    names::CLOUD_PROVIDER_CONFIG
                ),
            ),
            None => return Ok(None),
        },
    };
    if holds_certificate(&pem) {
        return Ok(Some(pem));
    }
    Err(StorageError::action_required(format!(
        "CA bundle in {source} contains no certificate: store the CA of Keystone and Swift there as PEM, or remove the key"
    )))
}

/// CA certificates for the operator's calls: the bundle of the cloud and that of the cluster's proxy, beside the system's.
pub fn trust(verify: bool, snapshot: &Snapshot) -> Result<Trust, StorageError> {
    Ok(Trust {
        bundle: join(published(snapshot)?.as_deref(), proxy_bundle(snapshot).as_deref()),
        system: true,
        unverified: !verify,
    })
}

/// ConfigMap of the cloud provider.
fn config_map() -> ObjectRef {
    ObjectRef::new(Kind::ConfigMap, names::CONFIG_NAMESPACE, names::CLOUD_PROVIDER_CONFIG)
}

/// ConfigMaps that [`trust`] reads.
pub fn config_maps(snapshot: &Snapshot) -> Vec<ObjectRef> {
    [config_map()].into_iter().chain(proxy_map(snapshot)).collect()
}

#[cfg(test)]
mod tests;
