//! The bucket of one request, and helpers that its operations share.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use super::context::S3;
use super::effective::Effective;
use super::tags;
use crate::storage::model::call::Called;
use crate::storage::model::container::ContainerName;
use crate::storage::model::preflight::ProbeKeys;
use crate::storage::model::target::Request;
use crate::storage::s3api::client::{Bucket, ObjectEncryption, Tag};
use crate::storage::traits::Cluster;

/// Number of entries to list in order to decide whether a bucket is empty. An empty bucket may hold several versions of
/// the probe object.
pub(super) const A_FEW: u16 = 100;
/// Version ID of an object that was written without versioning.
pub(super) const NULL: &str = "null";

/// The bucket of a request.
pub struct Store<'a, C> {
    pub(super) backend: &'a S3<'a, C>,
    pub(super) request: &'a Request<'a>,
    pub(super) container: ContainerName,
    /// The completed spec, with the bucket's name in it.
    pub(super) effective: Effective,
    /// Name of the cluster in the ownership mark.
    pub(super) infrastructure: String,
    pub(super) probe_key: String,
    pub(super) bucket: Bucket,
    /// The tags as read in this step; `Some(None)`: the service does not support tags.
    #[allow(clippy::option_option)] // not read yet, not supported, or the tags
    pub(super) tags: Mutex<Option<Option<Vec<Tag>>>>,
    /// See [`ObjectStore::probe_left`].
    pub(super) probe_left: AtomicBool,
}

impl<C: Cluster> Store<'_, C> {
    /// The bucket's tags, read once per step; `None`: the service does not support tags.
    pub(super) async fn read_tags(&self) -> Called<Option<Vec<Tag>>> {
        let known = self.tags.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(tags) = known {
            return Ok(tags);
        }
        let tags = match self.bucket.tags().await {
            Ok(tags) => Some(tags),
            Err(error) if error.is_unsupported() => None,
            Err(error) => return Err(error),
        };
        self.set_tags(tags.clone());
        Ok(tags)
    }

    pub(super) fn set_tags(&self, tags: Option<Vec<Tag>>) {
        *self.tags.lock().unwrap_or_else(PoisonError::into_inner) = Some(tags);
    }

    /// Tags that the bucket should have, and reasons for the platform's tags that are skipped.
    pub(super) fn wanted_tags(&self) -> (Vec<Tag>, Vec<String>) {
        tags::wanted(&self.infrastructure, &tags::of_platform(self.request.snapshot))
    }

    pub(super) fn key_id(&self) -> Option<String> {
        self.effective.spec.key_id.clone().filter(|key| !key.is_empty())
    }

    /// Encryption headers of an upload, with this value of `encrypt`.
    pub(super) fn object_encryption(&self, encrypt: bool) -> ObjectEncryption {
        match self.key_id() {
            _ if !encrypt => ObjectEncryption::Default,
            Some(key) => ObjectEncryption::Kms(key),
            None => ObjectEncryption::Aes256,
        }
    }

    /// Deletes every version of the probe objects, and their unfinished uploads.
    pub(super) async fn clear_all(&self, probe: &ProbeKeys) -> Called<()> {
        let prefix = &probe.object;
        let listed = match self.bucket.versions_under(prefix, A_FEW).await {
            Ok(listed) => listed,
            Err(error) if error.is_unsupported() || error.is_forbidden() => self.bucket.objects(prefix, A_FEW).await?,
            Err(error) => return Err(error),
        };
        let entries = listed.entries.iter().filter(|entry| probe.contains(&entry.key));
        let (markers, versions): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.marker);
        let mut kept = false;
        for entry in versions {
            let version = entry.version.as_deref().filter(|version| *version != NULL);
            match self.bucket.delete_object(&entry.key, version).await {
                Err(error) if error.is_forbidden() && version.is_some() => {
                    kept = true;
                    if entry.latest {
                        self.bucket.delete_object(&entry.key, None).await?; // A delete marker hides the version.
                    }
                }
                Err(error) if error.is_missing() => {}
                ended => ended?,
            }
        }
        // A delete marker stays as long as it hides a version.
        for entry in markers.into_iter().filter(|_| !kept) {
            match self.bucket.delete_object(&entry.key, entry.version.as_deref()).await {
                Err(error) if error.is_forbidden() || error.is_missing() => {}
                ended => ended?,
            }
        }
        let Ok((uploads, _)) = self.bucket.uploads(prefix).await else {
            return Ok(()); // The lifecycle rule of the bucket aborts the uploads.
        };
        for upload in uploads.iter().filter(|upload| probe.contains(&upload.key)) {
            self.bucket.abort(upload).await?;
        }
        Ok(())
    }
}
