//! PURE: CA certificates of connections to S3 and STS, and the CA bundle for the registry's pods.

use crate::api::ObjectRef;
use crate::api::registry_storage::S3Storage;
use crate::config::snapshot::Snapshot;
use crate::storage::inputs::trust::{cloud_bundle, cloud_map, join, named_bundle, named_map, proxy_bundle, proxy_map};
use crate::storage::model::error::StorageError;
use crate::storage::net::http::Trust;

/// CA certificates of connections to S3 and STS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Trust {
    /// CA certificates for S3.
    pub s3: Trust,
    /// CA certificates for STS.
    pub sts: Trust,
    /// CA bundle (PEM) of the endpoint for the registry's pods; `None` if the system's CA certificates are sufficient.
    pub publish: Option<String>,
}

/// CA certificates for a spec. For S3: the bundle that the spec names, without the system's certificates; otherwise the
/// system's certificates and the cloud's bundle, if the cluster has one. The CA of the cluster's proxy is always added.
/// For STS the system's certificates are always trusted.
///
/// # Errors
/// A bundle is missing or holds no certificate. The message names ConfigMap and key.
pub fn trust(spec: &S3Storage, snapshot: &Snapshot) -> Result<S3Trust, StorageError> {
    let named = trusted_ca(spec);
    let publish = match named {
        Some(name) => Some(named_bundle("spec.storage.s3.trustedCA", name, snapshot)?),
        None => cloud_bundle(snapshot)?,
    };
    let proxy = proxy_bundle(snapshot);
    let bundle = join(publish.as_deref(), proxy.as_deref());
    Ok(S3Trust {
        s3: Trust {
            bundle: bundle.clone(),
            system: named.is_none(),
            unverified: false,
        },
        sts: Trust::with_system(bundle),
        publish,
    })
}

/// ConfigMaps that [`trust`] reads.
pub fn config_maps(spec: &S3Storage, snapshot: &Snapshot) -> Vec<ObjectRef> {
    let named = trusted_ca(spec).map(named_map);
    named
        .into_iter()
        .chain([cloud_map()])
        .chain(proxy_map(snapshot))
        .collect()
}

fn trusted_ca(spec: &S3Storage) -> Option<&str> {
    let name = spec.trusted_ca.as_ref()?.name.as_deref()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests;
