//! The bucket of one request, and helpers that its operations share.

use std::sync::{Mutex, PoisonError};

use super::api::Api;
use super::connect;
use super::context::IbmCos;
use super::effective::{Effective, spec_of};
use super::error::{self, Call, HELD, OTHER_ACCOUNT};
use super::reasons;
use super::resource::{Hold, Instance, InstanceState};
use crate::api::registry_storage::IbmCosStorage;
use crate::storage::inputs::{live, name};
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
    /// Reason of `StorageExists=False` for what exists so far. Set: this step saw that the service instance is active.
    reached: Mutex<Option<&'static str>>,
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
            reached: Mutex::default(),
        })
    }

    /// CRN of the service instance.
    pub(super) fn instance(&self) -> Called<&str> {
        self.effective.instance.as_deref().ok_or_else(|| self.no_instance())
    }

    /// This step saw that the service instance is active.
    pub(super) fn reach(&self, reason: &'static str) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    pub(super) fn reached(&self) -> Option<&'static str> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_instance(&self) -> CallError {
        let why = "the service instance is not known (serviceInstanceCRN), so that nothing was asked";
        CallError::invalid(&self.container.name, why)
    }

    pub(super) fn bucket(&self) -> Called<&Bucket> {
        self.bucket.as_ref().ok_or_else(|| self.no_instance())
    }

    /// What the state of the service instance means.
    ///
    /// # Errors
    /// The response names no state: it decides nothing.
    pub(super) fn state_of(crn: &str, instance: &Instance) -> Called<InstanceState> {
        instance
            .state()
            .ok_or_else(|| missing("state", "GET /v2/resource_instances", crn))
    }

    /// Whether the service instance does not exist any more.
    ///
    /// # Errors
    /// That is not known; or the instance is [`InstanceState::Held`].
    async fn is_instance_gone(&self) -> Called<bool> {
        if self.reached().is_some() {
            return Ok(false);
        }
        let crn = self.instance()?;
        let Some(instance) = self.api.instance(crn).await? else {
            return Ok(true);
        };
        let held = |hold| error::held(crn, &instance, hold);
        match Self::state_of(crn, &instance)? {
            InstanceState::Active => Ok(false),
            // As while it is restored.
            InstanceState::Provisioning => Err(held(Hold::Beginning)),
            InstanceState::Held(hold) => Err(held(hold)),
            InstanceState::Gone => Ok(true),
        }
    }

    /// The result of a call about the bucket, or what a refusal means: without its service instance the bucket is gone, too,
    /// and Cloud Object Storage refuses access or knows no such bucket; an instance that is disabled or can be restored has its
    /// buckets still; and a bucket in use that another place does not show may be where it was.
    pub(super) async fn understood<T>(&self, answered: Called<T>) -> Called<T> {
        let error = match answered {
            Err(error) if error.is_missing() || (error.is_denied() && !error.of_identity) => error,
            answered => return answered,
        };
        match self.is_instance_gone().await {
            Ok(true) => {}
            // Cloud Object Storage may also say of the buckets of a disabled instance that they do not exist.
            Err(other) if error.is_missing() => return Err(other),
            Err(other) if [OTHER_ACCOUNT, HELD].contains(&other.code.as_str()) => return Err(other),
            Ok(false) | Err(_) => return Err(self.unless_moved(error)),
        }
        let instance = self.instance()?;
        Err(CallError {
            class: CallClass::ContainerGone,
            code: reasons::INSTANCE_GONE.to_owned(),
            message: format!("service instance {instance} does not exist any more"),
            ..error
        })
    }

    /// The error; one that a missing bucket in use proves nothing, if its location or the endpoint was changed.
    fn unless_moved(&self, error: CallError) -> CallError {
        let moved = if error.is_missing() { self.moved() } else { None };
        let Some(restore) = moved else {
            return error;
        };
        let message = format!(
            "the bucket is in use, and the location or endpoint of the spec does not show it: {restore}, or name \
             another bucket in spec.storage.ibmcos.bucket"
        );
        CallError {
            class: CallClass::Rejected,
            code: "OtherPlace".to_owned(),
            // Neither True nor False is known.
            of_identity: true,
            message,
            ..error
        }
    }

    /// What to restore, if the registry uses this bucket at another location or endpoint.
    fn moved(&self) -> Option<String> {
        let status = self.request.config.status.as_ref()?;
        let stored = status.storage.ibmcos.as_ref()?;
        let used = Effective::of(stored, self.request.snapshot).ok()?;
        if used.instance != self.effective.instance || used.bucket.as_deref() != Some(&self.container.name) {
            return None;
        }
        if used.location != self.effective.location {
            return Some(format!("restore spec.storage.ibmcos.location to {}", used.location));
        }
        let live = live::s3_endpoint(self.request.snapshot, &self.container.name)?;
        let now = self
            .effective
            .endpoints
            .of_registry(&self.effective.location, Some(live));
        (live != now).then(|| format!("restore the serviceEndpoint COS of infrastructures/cluster to {live}"))
    }
}

/// Error for a response that lacks what the operator needs.
pub(super) fn missing(member: &str, action: &'static str, resource: &str) -> CallError {
    let call = Call {
        action,
        resource,
        of_token: false,
    };
    error::garbled(call, &format!("the response names no {member}"))
}
