//! The bucket of one request, and helpers that its operations share.

use std::sync::atomic::{AtomicBool, Ordering};

use super::api::Api;
use super::connect;
use super::context::IbmCos;
use super::effective::{Effective, spec_of};
use super::reasons;
use super::resource::InstanceState;
use crate::api::registry_storage::IbmCosStorage;
use crate::storage::inputs::name;
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::model::container::ContainerName;
use crate::storage::model::error::StorageError;
use crate::storage::model::target::Request;
use crate::storage::s3api::client::Bucket;
use crate::storage::traits::Cluster;

/// The bucket of a request.
pub struct Store<'a, C> {
    pub(super) backend: &'a IbmCos<'a, C>,
    pub(super) request: &'a Request<'a>,
    pub(super) container: ContainerName,
    pub(super) effective: Effective,
    /// The spec of the request.
    pub(super) spec: IbmCosStorage,
    /// Name of the cluster.
    pub(super) infrastructure: String,
    /// Name of service instance and resource key.
    pub(super) resource_name: String,
    pub(super) api: Api,
    /// `None`: the service instance is not known yet.
    bucket: Option<Bucket>,
    /// This step saw that the service instance is active.
    active: AtomicBool,
}

impl<'a, C: Cluster> Store<'a, C> {
    /// Opens the bucket, without a call.
    pub(super) fn open(backend: &'a IbmCos<'a, C>, request: &'a Request<'a>) -> Result<Self, StorageError> {
        let spec = spec_of(request.storage);
        let effective = Effective::of(&spec, request.snapshot)?;
        let api = connect::api(backend.network, backend.sessions, &effective, request.snapshot)?;
        let container = effective.container(request.snapshot)?;
        let instance = effective.instance.as_deref();
        let bucket = instance.map(|instance| {
            connect::bucket(
                backend.network,
                &api,
                &effective,
                instance,
                &container.name,
                request.snapshot,
            )
        });
        let infrastructure = name::infrastructure_name(request.snapshot)?;
        Ok(Self {
            backend,
            request,
            container,
            bucket: bucket.transpose()?,
            spec,
            effective,
            resource_name: format!("{infrastructure}-image-registry"),
            infrastructure,
            api,
            active: AtomicBool::default(),
        })
    }

    /// CRN of the service instance.
    pub(super) fn instance(&self) -> Called<&str> {
        self.effective.instance.as_deref().ok_or_else(|| self.no_instance())
    }

    pub(super) fn instance_is_active(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    fn no_instance(&self) -> CallError {
        let why = "the service instance is not known (serviceInstanceCRN), so that nothing was asked";
        CallError::invalid(&self.container.name, why)
    }

    pub(super) fn bucket(&self) -> Called<&Bucket> {
        self.bucket.as_ref().ok_or_else(|| self.no_instance())
    }

    /// The result, or that the bucket is gone with its service instance: without the instance, Cloud Object Storage refuses
    /// access, or knows no such bucket.
    pub(super) async fn unless_instance_gone<T>(&self, answered: Called<T>) -> Called<T> {
        let error = match answered {
            Err(error) if error.is_missing() || (error.is_denied() && !error.of_identity) => error,
            answered => return answered,
        };
        if self.active.load(Ordering::Relaxed) {
            return Err(error);
        }
        let instance = self.instance()?;
        let gone = match self.api.instance(instance).await {
            Ok(found) => found.state() == InstanceState::Gone,
            Err(other) => other.class == CallClass::NotFound,
        };
        Err(if gone {
            CallError {
                class: CallClass::ContainerGone,
                code: reasons::INSTANCE_GONE.to_owned(),
                message: format!("service instance {instance} does not exist any more"),
                ..error
            }
        } else {
            error
        })
    }
}
