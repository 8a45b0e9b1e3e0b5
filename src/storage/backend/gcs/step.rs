//! The bucket of one request, and what its operations share.

use std::sync::{Mutex, PoisonError};

use super::bucket::{Bucket, CREATE, Metadata, NewBucket};
use super::context::Gcs;
use super::effective::{Effective, is_key};
use super::labels::{self, Labels};
use crate::config::event_request::EventRequest;
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
        match self.known() {
            Some(metadata) => Ok(metadata),
            None => self.describe().await,
        }
    }

    /// The bucket as described in this step; `None`: it was not described, or changed since.
    pub(super) fn known(&self) -> Option<Metadata> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Warning if the spec names another location than the one of the bucket, which never moves.
    pub(super) fn location_differs(&self) -> Option<EventRequest> {
        let spec = self.request.storage.gcs.as_ref()?;
        let region = spec.region.as_deref().filter(|region| !region.is_empty())?;
        let location = self.known()?.location;
        (!location.is_empty() && !location.eq_ignore_ascii_case(region)).then(|| EventRequest {
            warning: true,
            reason: "LocationDiffers",
            message: format!(
                "bucket {} is in {location}, and spec.storage.gcs.region names {region}: a bucket never moves. Correct the \
                 field, or name another bucket",
                self.container.name
            ),
        })
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

    fn unsendable(&self, field: &str, what: &str) -> CallError {
        CallError {
            action: CREATE,
            ..CallError::invalid(
                &self.container.name,
                &format!("nothing was sent: spec.storage.gcs.{field} {what}"),
            )
        }
    }

    /// Error for a field that neither the spec nor the cluster nor the credentials tell.
    pub(super) fn unknown(&self, field: &str, what: &str) -> CallError {
        let what = format!("is empty, and neither the cluster nor the credentials name {what}: set it");
        self.unsendable(field, &what)
    }

    /// What a new bucket is like; an error that names the missing or wrong field.
    pub(super) fn new_bucket<'l>(&'l self, labels: &'l Labels) -> Called<NewBucket<'l>> {
        let spec = &self.effective.spec;
        let location = spec.region.as_deref();
        let location = location.ok_or_else(|| self.unknown("region", "a region"))?;
        let project = spec.project_id.as_deref();
        let project = project.ok_or_else(|| self.unknown("projectID", "a project"))?;
        let key = self.effective.key_id();
        if let Some(key) = key.filter(|key| !is_key(key)) {
            let what = format!(
                "is {key:?}, which is not the name of a Cloud KMS key: use \
                 projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY"
            );
            return Err(self.unsendable("keyID", &what));
        }
        Ok(NewBucket {
            project,
            location,
            labels,
            key,
        })
    }
}
