//! PURE: what the registry needs to reach an S3 bucket.

use super::cloud_front;
use super::credentials::Credentials;
use super::effective::Effective;
use super::endpoint;
use super::profile::Profile;
use crate::config::snapshot::Snapshot;
use crate::program::{PublicEndpoint, RegistryStorage, S3Storage};
use crate::storage::model::error::StorageError;

const MIB: i64 = 1024 * 1024;

/// What the registry needs with this configuration.
///
/// # Errors
/// A Secret that the pods would mount is missing or unusable: the credentials, or the signing key of CloudFront.
pub fn access(effective: &Effective, snapshot: &Snapshot) -> Result<RegistryStorage, StorageError> {
    let credentials = Credentials::of(snapshot)?;
    let spec = &effective.spec;
    let non_empty = |member: &Option<String>| member.clone().filter(|text| !text.is_empty());
    let chunk = spec.chunk_size_mib.filter(|mib| (5..=5120).contains(mib));
    let cloud_front = spec.cloud_front.as_ref();
    let rendered_endpoint = non_empty(&effective.rendered_endpoint);
    let public = || {
        Ok::<_, StorageError>(PublicEndpoint {
            url: endpoint::s3_url(&effective.region, false)?,
            needs_sts: !matches!(credentials.profile, Profile::Static { .. }),
        })
    };
    let public = rendered_endpoint.is_none().then(public).transpose()?;
    Ok(RegistryStorage::S3(Box::new(S3Storage {
        bucket: spec.bucket.clone().unwrap_or_default(),
        region: effective.region.clone(),
        endpoint: rendered_endpoint,
        public,
        path_style: spec.virtual_hosted_style != Some(true),
        dual_stack: effective.dual_stack().then_some(true),
        encrypt: spec.encrypt == Some(true),
        key_id: non_empty(&spec.key_id),
        chunk_size: chunk.map(|mib| i64::from(mib) * MIB),
        credentials: credentials.text,
        cloud_front: cloud_front.map(|c| cloud_front::access(c, snapshot)).transpose()?,
    })))
}

#[cfg(test)]
mod tests;
