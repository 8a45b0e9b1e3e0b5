//! The bucket of one request, and what its operations share.

use std::sync::{Mutex, PoisonError};

use super::bucket::{Bucket, CREATE, Metadata, NewBucket};
use super::context::Gcs;
use super::effective::{Effective, is_key};
use super::labels::{self, Labels};
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::container::ContainerName;
use crate::storage::model::target::Request;
use crate::storage::traits::Cluster;

/// The bucket of a request.
pub struct Store<'a, C> {
    pub(super) backend: &'a Gcs<'a, C>,
    pub(super) request: &'a Request<'a>,
    pub(super) container: ContainerName,
    /// The completed spec, with the bucket's name in it.
    pub(super) effective: Effective,
    /// Name of the cluster in the ownership mark.
    pub(super) infrastructure: String,
    pub(super) bucket: Bucket,
    /// The bucket as described in this step.
    pub(super) metadata: Mutex<Option<Metadata>>,
}

impl<C: Cluster> Store<'_, C> {
    /// The bucket as described in this step, or now.
    pub(super) async fn described(&self) -> Called<Metadata> {
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(metadata) => Ok(metadata),
            None => self.describe().await,
        }
    }

    /// The bucket as described now.
    pub(super) async fn describe(&self) -> Called<Metadata> {
        self.forget();
        let metadata = self.bucket.metadata().await?;
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = Some(metadata.clone());
        Ok(metadata)
    }

    /// Forgets the description, because the bucket is about to change.
    pub(super) fn forget(&self) {
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Labels of a bucket that the operator creates.
    pub(super) fn wanted_labels(&self) -> Labels {
        labels::wanted(&self.infrastructure, &labels::of_platform(self.request.snapshot))
    }

    /// What a new bucket is like; an error that names the missing or wrong field.
    pub(super) fn new_bucket<'l>(&'l self, labels: &'l Labels) -> Called<NewBucket<'l>> {
        let unsendable = |field: &str, what: &str| CallError {
            action: CREATE,
            ..CallError::invalid(
                &self.container.name,
                &format!("nothing was sent: spec.storage.gcs.{field} {what}"),
            )
        };
        let unknown = |field, what| {
            unsendable(
                field,
                &format!("is empty, and neither the cluster nor the credentials name {what}: set it"),
            )
        };
        let spec = &self.effective.spec;
        let location = spec.region.as_deref().ok_or_else(|| unknown("region", "a region"))?;
        let project = spec
            .project_id
            .as_deref()
            .ok_or_else(|| unknown("projectID", "a project"))?;
        let key = self.effective.key_id();
        if let Some(key) = key.filter(|key| !is_key(key)) {
            let what = format!(
                "is {key:?}, which is not the name of a Cloud KMS key: use \
                 projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY"
            );
            return Err(unsendable("keyID", &what));
        }
        Ok(NewBucket {
            project,
            location,
            labels,
            key,
        })
    }
}
