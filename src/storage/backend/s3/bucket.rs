//! The bucket of one request, and helpers that its operations share.

use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use super::context::S3;
use super::effective::Effective;
use super::tags;
use crate::storage::model::call::Called;
use crate::storage::model::container::ContainerName;
use crate::storage::model::target::Request;
use crate::storage::s3api::client::{Bucket, ObjectEncryption, Tag};
use crate::storage::traits::Cluster;

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
}
