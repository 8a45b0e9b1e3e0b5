//! The contracts of the storage room. A backend says how to talk to its cloud; the engine decides what is allowed.
//!
//! [`Driver`] is implemented by the volumes (PVC, emptyDir), and once by the engine for every [`ObjectBackend`].

use std::time::Duration;

use serde_json::Value;

use super::model::backend::Backend;
use super::model::call::{CallError, Called};
use super::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Terms};
use super::model::error::{StepError, StorageError};
use super::model::fingerprint::Fingerprint;
use super::model::preflight::{Preflighted, Probe, ProbeKeys, Probed};
use super::model::progress::{Deleted, Ensured, Existence, Mark, Progress, StageRecord, Wait};
use super::model::proof::{CreationPermit, Level, OwnershipProof};
use super::model::setting::{Applied, Setting, SettingError, SettingScope};
use super::model::spec;
use super::model::stage::{Stage, StageObject, StageState};
use super::model::target::{Request, Target};
use crate::api::{Config, ObjectRef, Sensitive, Storage};
use crate::config::event_request::EventRequest;
use crate::config::resolve::Rejection;
use crate::config::snapshot::Snapshot;
use crate::program::RegistryStorage;
use crate::status::conditions::ConditionUpdate;

/// How a create call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// This call created the object.
    Created,
    /// An object of this name exists already; nothing was changed.
    AlreadyExists,
}

/// What a step may do in the cluster. The controller implements this trait for one version of the Config.
///
/// Errors are [`ErrorClass::Transient`] where the API server did not answer or failed (5xx, timeout, 429), and
/// [`ErrorClass::ActionRequired`] where it refused (quota, admission, rights, validation).
///
/// [`ErrorClass::Transient`]: super::model::error::ErrorClass::Transient
/// [`ErrorClass::ActionRequired`]: super::model::error::ErrorClass::ActionRequired
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Cluster {
    /// Called before each change outside the cluster. Checks that this process still leads and that the Config is the
    /// newest version. The Config is read live once per pass; leadership is checked at each call.
    async fn confirm(&self) -> Result<(), StorageError>;
    /// A short-lived token of the registry's ServiceAccount for this audience (TokenRequest API).
    async fn registry_token(&self, audience: &str) -> Result<Sensitive, StorageError>;
    /// Whether [`Self::confirm`] found a newer Config. Errors for the old version are then not cached.
    fn is_stale(&self) -> bool {
        false
    }
    /// Creates a claim in the registry's namespace, after [`Self::confirm`].
    async fn create_claim(&self, claim: &Value) -> Result<Creation, StorageError>;
    /// Deletes the claim if it still has this uid and this resourceVersion, after [`Self::confirm`]. A claim that does not exist is
    /// a success.
    async fn delete_claim(&self, name: &str, uid: &str, version: &str) -> Result<(), StorageError>;
}

/// What the engine needs from a kind of storage. An implementation keeps no state between passes that correctness
/// depends on.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Driver {
    /// The member of `spec.storage`.
    const BACKEND: Backend;
    /// The condition types that this backend owns.
    const CONDITIONS: &'static [&'static str];
    /// Reason of `StorageExists=True` for storage that exists.
    const EXISTS: &'static str;
    /// Reasons of `StorageExists=False` that mean that the storage in use does not exist any more. Other reasons, such
    /// as denied access, do not prove that.
    const GONE: &'static [&'static str];
    /// Whether an observation of the storage needs a call to a service. If so, observations are cached
    /// ([`Self::fingerprint`]), failures are retried with backoff, and changed storage passes a preflight before the
    /// registry uses it. Otherwise all observations come from the snapshot, and nothing is cached.
    const REMOTE: bool;

    /// Location ID of a spec that names its storage; `None` if the spec leaves the name to the operator (in contrast to
    /// [`Target::location`]). For a container it ends with `/` and the container's name. May read the snapshot. Pure.
    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String>;
    /// Location ID of storage that the status names, without a record of its location (annotation `storage-location`).
    /// `None`: the location never needs a record, because [`Self::locate`] finds it. Pure.
    fn usual_location(_stored: &Storage) -> Option<String> {
        None
    }
    /// Whether the inputs are present on which the location depends beside the spec. Without them, storage in use is where it
    /// was. Pure.
    fn is_located(_snapshot: &Snapshot) -> bool {
        true
    }
    /// Whether the spec and `status.storage` mean the same storage with the same settings. Members that the cluster
    /// fills in count as present in both. Pure.
    fn same(stored: &Storage, wanted: &Storage, _snapshot: &Snapshot) -> bool {
        spec::same_spec(stored, wanted, Self::BACKEND)
    }
    /// Whether `status.storage` names storage that a removal can find. If not, the removal forgets it without a call. Pure.
    fn is_found(stored: &Storage) -> bool {
        spec::container_name(stored, Self::BACKEND).is_some()
    }
    /// Reason of `StorageExists=False` at the end of such a removal; `None`: the condition is not written.
    const NOT_FOUND: Option<&'static str> = None;
    /// What the spec means, or why it is invalid. Pure.
    fn resolve(&self, config: &Config, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection>;
    /// CA bundle (PEM) of the storage's endpoint, from the objects that the spec names. An error (a missing object or
    /// key, a bundle without certificate) ends the step before any call; the condition of the CA ConfigMaps reports it
    /// as well. Pure.
    fn ca_bundle(_storage: &Storage, _snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        Ok(None)
    }
    /// Digest of everything that observations depend on: effective configuration, credentials (including those that
    /// only the operator uses), CA, proxy. Pure.
    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint;
    /// Whether existing storage lacks a setting that `ensure` should apply again, according to the stored conditions.
    /// The engine calls `ensure` for that at most once per resync. Pure.
    fn unfinished(&self, _request: &Request<'_>) -> bool {
        false
    }
    /// Whether `ensure` looks at the storage for each new generation of the Config, although nothing of the storage changed. Pure.
    fn maintained(&self, _request: &Request<'_>) -> bool {
        false
    }
    /// Whether the same location may mean other storage, or none, for other credentials, because each tenant of the service has names
    /// of its own. Pure.
    fn has_tenants(&self, _request: &Request<'_>) -> bool {
        false
    }
    /// Cheap check whether the storage exists; must not create or change anything. An error means that the existence is
    /// unknown.
    async fn exists(&self, request: &Request<'_>) -> Result<Existence, StepError>;
    /// One step towards storage that exists, is complete and, if Managed, has its settings. Never deletes or migrates.
    /// Calls
    /// [`Cluster::confirm`] before its first change.
    async fn ensure(&self, request: &Request<'_>) -> Result<Progress<Ensured>, StepError>;
    /// What the registry needs to reach the storage, including values that only a call can provide (keys, endpoints).
    async fn runtime_access(&self, request: &Request<'_>) -> Result<RegistryStorage, StepError>;
    /// Uses the storage as the registry would. The engine records the probe object and confirms leadership before; the
    /// probe object is deleted even after a failure. With `probe.read_only` nothing is written.
    async fn preflight(&self, _request: &Request<'_>, _probe: &Probe<'_>) -> Probed {
        Preflighted::Passed.into()
    }
    /// Deletes the probe object that an earlier process may have left under this key, and its unfinished uploads. A
    /// missing object is a success. A transient error is retried; any other error ends the attempts, and an event
    /// reports it.
    async fn clear_probe(&self, _request: &Request<'_>, _key: &str) -> Result<(), StepError> {
        Ok(())
    }
}

/// Storage whose data outlives the pods.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait Removable: Driver {
    /// Reads the ownership mark of the object that is deleted next. An error means that the mark cannot be read, so
    /// nothing is deleted.
    async fn prove(&self, request: &Request<'_>) -> Result<(Level, Mark), StepError>;
    /// One bounded step of deletion (at most 1000 objects), repeated until [`Self::prove`] finds [`Mark::Gone`]. The
    /// engine checks leadership, the version of the Config and the ownership mark just before.
    async fn remove(&self, request: &Request<'_>, proof: &OwnershipProof) -> Result<Deleted, StepError>;
    /// Conditions after the end of a removal that finds no storage. `deleted`: this process deleted the storage. Otherwise it
    /// may have been deleted before, or be invisible with these credentials.
    fn removed(&self, location: &str, deleted: bool) -> Vec<ConditionUpdate>;
    /// What a removal of this location left, as far as this process saw it: each a noun phrase with the reason.
    fn left_over(&self, _location: &str) -> Vec<String> {
        Vec::new()
    }
    /// Clears the identifiers of the deleted storage at this location in a spec, and keeps all other members.
    fn clear_identifiers(&self, storage: &mut Storage, location: &str);
}

/// A cloud with object storage: what the engine must know without a call, and how to open one container.
pub trait ObjectBackend {
    /// The member of `spec.storage`.
    const BACKEND: Backend;
    /// The condition types that this backend owns.
    const CONDITIONS: &'static [&'static str];
    /// Reasons of conditions, and words for messages.
    const TERMS: Terms;
    /// The service refuses access only to containers that exist, and says of others that they do not. A refused check then
    /// leaves `StorageExists` unknown, and is no reason to create the container.
    const DENIED_MEANS_EXISTS: bool = false;
    /// `StorageExists` stays `True`, without a reason, if a container cannot be deleted, as the Go operator has it for this
    /// backend. Otherwise it is `Unknown`.
    const EXISTS_IF_NOT_DELETED: bool = false;
    /// A container that is open for one step.
    type Store<'a>: ObjectStore
    where
        Self: 'a;

    /// See [`Driver::locate`].
    fn locate(storage: &Storage, snapshot: &Snapshot) -> Option<String>;
    /// See [`Driver::usual_location`].
    fn usual_location(_stored: &Storage) -> Option<String> {
        None
    }
    /// See [`Driver::is_located`].
    fn is_located(_snapshot: &Snapshot) -> bool {
        true
    }
    /// See [`Driver::same`].
    fn same(stored: &Storage, wanted: &Storage, _snapshot: &Snapshot) -> bool {
        spec::same_spec(stored, wanted, Self::BACKEND)
    }
    /// See [`Driver::is_found`].
    fn is_found(stored: &Storage) -> bool {
        spec::container_name(stored, Self::BACKEND).is_some()
    }
    /// See [`Driver::NOT_FOUND`].
    const NOT_FOUND: Option<&'static str> = None;
    /// See [`Driver::resolve`].
    fn resolve(&self, storage: &Storage, snapshot: &Snapshot) -> Result<Target, Rejection>;
    /// Secrets and ConfigMaps that storage of this backend reads, for the watches: those that the spec names, and those with
    /// CAs of the cloud and the proxy. The two Secrets with credentials are watched in any case.
    fn inputs(storage: &Storage, snapshot: &Snapshot) -> Vec<ObjectRef>;
    /// See [`Driver::ca_bundle`].
    fn ca_bundle(_storage: &Storage, _snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        Ok(None)
    }
    /// See [`Driver::fingerprint`]. [`Fingerprint::of_target`] covers location, access and CA of the endpoint; the backend adds
    /// the operator's proxy, its CA, and credentials that are not rendered.
    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint;
    /// What the registry needs to reach the storage, as far as known without a call. An error names the missing input.
    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError>;
    /// `known` with the credentials with which the registry runs, if they are those of this storage. The engine uses them while
    /// [`ObjectStore::runtime_access`] fails. `None`: they cannot be told from others. Pure.
    fn kept_access(_request: &Request<'_>, _known: &RegistryStorage) -> Option<RegistryStorage> {
        None
    }
    /// See [`Driver::has_tenants`].
    fn has_tenants(&self, _request: &Request<'_>) -> bool {
        false
    }
    /// Sets the container's name in the spec, or removes it. `None` does not create the member of `spec.storage`.
    fn set_container(storage: &mut Storage, name: Option<&str>);
    /// The storage with every default filled in, for `status.storage`.
    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError>;
    /// What the administrator should know about the storage in addition to its conditions. Each is one event whenever
    /// `ensure` is complete: after an edit of `spec.storage`, not in each pass. Pure.
    fn notices(&self, _request: &Request<'_>) -> Vec<EventRequest> {
        Vec::new()
    }
    /// Settings of a Managed container, in the order in which they are applied.
    fn settings(&self, _request: &Request<'_>) -> Vec<Setting> {
        Vec::new()
    }
    /// Objects that must exist before the container, in order.
    fn prerequisites(&self, _request: &Request<'_>) -> Vec<Stage> {
        Vec::new()
    }
    /// Objects that are created after the container, in order.
    fn finalizing(&self, _request: &Request<'_>) -> Vec<Stage> {
        Vec::new()
    }
    /// Whether the container is inside the object of this stage. If so, the container is lost with the object, and the storage
    /// is Managed as soon as the operator created the object.
    fn holds_container(_stage: &Stage) -> bool {
        true
    }
    /// The objects after the container in the order in which a removal deletes them. `kept`: what holds the container stays, and
    /// others may use it.
    fn teardown(&self, request: &Request<'_>, _kept: bool) -> Vec<Stage> {
        let mut stages = self.finalizing(request);
        stages.reverse();
        stages
    }
    /// Objects after the container that the spec does not want any more, in the order in which they are deleted. Only those
    /// that the operator created are.
    fn retired(&self, _request: &Request<'_>) -> Vec<Stage> {
        Vec::new()
    }
    /// Whether the objects after the container are looked at for each new generation of the Config. Pure.
    fn maintained(&self, _request: &Request<'_>) -> bool {
        false
    }
    /// What a removal of this location left, as far as this process saw it: each a noun phrase with the reason.
    fn left_over(&self, _location: &str) -> Vec<String> {
        Vec::new()
    }
    /// Reason of `StorageExists=False` at the end of the removal of this location. `deleted`: this process deleted the container.
    fn deleted_reason(&self, _location: &str, _deleted: bool) -> &'static str {
        Self::TERMS.deleted
    }
    /// See [`Removable::clear_identifiers`]. A backend with stages also clears the names of what was deleted with the container.
    fn clear_identifiers(&self, storage: &mut Storage, _location: &str) {
        Self::set_container(storage, None);
    }
    /// Opens the container of the request, without a call.
    fn open<'a>(&'a self, request: &'a Request<'a>) -> Result<Self::Store<'a>, StorageError>;
}

/// One container in one step. Each method is one operation of the cloud, including its retries.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait ObjectStore {
    /// An entry of a listing.
    type Entry;
    /// Access to the container as the registry would have it.
    type Plane: DataPlane;

    /// Name and location of the container.
    fn container(&self) -> &ContainerName;
    /// Name of the object in which the registry keeps this key, for messages.
    fn object_name(&self, key: &str) -> String {
        key.to_owned()
    }
    /// Reason of `StorageExists=True` for a container that a user brought, if it is not that of [`Terms::brought`].
    fn reason_of_brought(&self) -> Option<&'static str> {
        None
    }
    /// Text of an error; may add where the service says that the container is.
    fn explain(&self, error: &CallError) -> String {
        error.to_string()
    }

    /// Region of the container, for messages: as the service said in this step, otherwise as the spec means it.
    fn place(&self) -> String {
        self.container().place.clone()
    }
    /// How the container exists, as the predicate of a sentence: more than the default if the responses of this step tell it, or if
    /// the operator does not do what the spec says.
    fn predicate(&self) -> String {
        "exists and is reachable.".to_owned()
    }
    /// The completed storage as the status shows it, without what the operator does not do.
    fn shown(&self, completed: Storage) -> Storage {
        completed
    }
    /// What the administrator should know about the container, according to the responses of this step; see
    /// [`ObjectBackend::notices`].
    fn notices(&self) -> Vec<EventRequest> {
        Vec::new()
    }
    /// Version of the container with which its ownership mark was read in this step, for
    /// [`Self::delete_container`]; may be empty.
    fn pin(&self) -> String {
        String::new()
    }

    /// Whether the container exists; an error with [`CallError::is_missing`] where it does not.
    async fn head(&self) -> Called<()>;
    /// Creates the container. A container that the account already has is a success; one of another account is
    /// [`CallClass::NameTaken`](super::model::call::CallClass::NameTaken).
    async fn create(&self, permit: &CreationPermit) -> Called<()>;
    /// Reads the ownership mark. A missing or incomplete mark is [`Owner::Nobody`]; a missing container is an error, and
    /// `ContainerGone` only where the service itself says so: a removal ends with it.
    async fn read_ownership(&self) -> Called<Owner>;
    /// Writes the ownership mark and keeps the tags of other writers. `false`: the service cannot store a mark.
    async fn write_ownership(&self, permit: &CreationPermit) -> Called<bool>;
    /// Whether the container holds objects other than the probe object. `plain`: if versions cannot be listed, a
    /// listing without versions is enough.
    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents>;

    /// Whether applying this setting now would write the probe object.
    async fn would_probe(&self, _setting: &Setting) -> bool {
        false
    }
    /// Applies a setting: reads it first, and writes it only if it differs, after [`Cluster::confirm`].
    async fn apply(&self, setting: &Setting, _scope: SettingScope) -> Result<Applied, SettingError> {
        Err(CallError::invalid(setting.condition, "the backend has no such setting").into())
    }
    /// Whether a probe object that a setting wrote may still exist.
    fn probe_left(&self) -> bool {
        false
    }

    /// Reason of `StorageExists=False` while a later stage of new storage fails: what exists so far, according to this step.
    fn reached(&self) -> Option<&'static str> {
        None
    }
    /// Key of the records of stages: it names the storage with all that stages hold.
    fn stage_key(&self) -> &str {
        &self.container().name
    }
    /// Identity of the object of a stage as the spec wants it now. If the identity is another than a recorded one, that object is
    /// deleted when the new one is ready. `None`: a new record replaces the one before.
    fn stage_id(&self, _stage: &Stage) -> Option<String> {
        None
    }
    /// Objects that an earlier operator without records created, as the status tells. Their marks prove the rest.
    fn inherited_stages(&self) -> Vec<StageRecord> {
        Vec::new()
    }
    /// State of a stage.
    async fn stage(&self, stage: &Stage) -> Called<StageState> {
        unknown_stage(stage)
    }
    /// Starts the operation that creates the object of a stage. [`StageState::Ready`], if the service knows the object's
    /// identifiers at once.
    async fn advance(&self, stage: &Stage, _permit: &CreationPermit) -> Called<StageState> {
        unknown_stage(stage)
    }
    /// Reads identity and ownership mark of a stage's object with this recorded identity; `None` if the object does not exist.
    async fn prove_stage(&self, _stage: &Stage, _id: &str) -> Called<Option<StageObject>> {
        Ok(None)
    }
    /// Whether a removal goes on without this object, because its deletion was refused again and again.
    fn is_given_up(&self, _stage: &Stage, _id: &str) -> bool {
        false
    }
    /// Why the object of a stage after the container has to stay although the spec does not want it, or the container is gone:
    /// what holds the container stays, and nobody would reach it without the object.
    async fn must_stay(&self, _stage: &Stage) -> Called<Option<String>> {
        Ok(None)
    }
    /// Whether a removal may leave out the container after this error, because the container is deleted together with the
    /// object of a stage before it, if that object is the operator's.
    fn goes_with_stage(&self, _error: &CallError) -> bool {
        false
    }
    /// Whether the container can be deleted with its content after this error of a call for the content: where nobody reaches the
    /// content any more, there is nothing to list.
    async fn goes_whole(&self, _error: &CallError) -> bool {
        false
    }
    /// Deletes a stage's object; its identity is that of the proof.
    async fn remove_stage(&self, _stage: &Stage, _id: &str, _proof: &OwnershipProof) -> Called<Wait> {
        Ok(Wait::new(Duration::ZERO, ""))
    }

    /// The first entries of the container, at most `at_most`, without the mark. Empty: the container is deleted next.
    async fn list_page(&self, at_most: u16) -> Called<Page<Self::Entry>>;
    /// Deletes these entries. One that stays is a refusal. An entry that does not exist any more is no refusal, and need not
    /// count as deleted. After a refusal that decides nothing, the rest of the page may be left to the next step. An error means
    /// that nothing is known of the page.
    async fn delete_page(&self, entries: Vec<Self::Entry>) -> Called<PageDeletion>;
    /// Aborts unfinished uploads, as far as the service permits. Returns whether more remain.
    async fn abort_uploads(&self) -> bool {
        false
    }
    /// Deletes the empty container; `NotEmpty` where something was written meanwhile. A deletion that the service carries out
    /// later is a success.
    async fn delete_container(&self, proof: &OwnershipProof) -> Called<()>;

    /// `known`, completed with values that only a call can provide, and how long they are valid; `None`: until the
    /// inputs change. [`CallClass::NotFound`](super::model::call::CallClass::NotFound): what provides them does not exist any
    /// more, so that `ensure` must run.
    async fn runtime_access(&self, known: RegistryStorage) -> Called<(RegistryStorage, Option<Duration>)> {
        Ok((known, None))
    }
    /// Access to the container with the registry's identity, proxy and CA.
    async fn data_plane(&self, probe: &Probe<'_>) -> Result<Self::Plane, StorageError>;
    /// Deletes the objects and the unfinished uploads that an earlier preflight may have left under these keys.
    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()>;
}

fn unknown_stage<T>(stage: &Stage) -> Called<T> {
    Err(CallError::invalid(stage.name, "the backend has no such stage"))
}

/// A response of which the preflight compares the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The bytes of an object.
    Content,
    /// An object that was deleted.
    Deletion,
    /// The listing of objects.
    Objects,
    /// The listing of unfinished uploads.
    Uploads,
    /// The listing of the parts of an upload.
    Parts,
}

/// A container as the registry uses it: with its identity, endpoint, proxy, CA and headers. Each method sends what the
/// registry sends for the same purpose.
#[allow(async_fn_in_trait)] // One thread runs all of it: no future has to be `Send`.
pub trait DataPlane {
    /// A multipart upload in progress.
    type Upload;

    /// Writes an object. Returns its version if the container is versioned.
    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>>;
    /// Reads an object.
    async fn get(&self, key: &str) -> Called<Vec<u8>>;
    /// Whether the listing of a prefix shows the object. `true` where listings lag behind by design.
    async fn lists_object(&self, key: &str) -> Called<bool>;
    /// Starts a multipart upload.
    async fn begin_upload(&self, key: &str) -> Called<Self::Upload>;
    /// Whether the listing of unfinished uploads shows the upload. `true` where uploads have no identity.
    async fn lists_upload(&self, _upload: &Self::Upload) -> Called<bool> {
        Ok(true)
    }
    /// Uploads the first and only part.
    async fn upload_part(&self, upload: &mut Self::Upload, body: &[u8]) -> Called<()>;
    /// Whether the listing of parts shows this number of bytes. `true` where parts cannot be listed.
    async fn lists_part(&self, _upload: &Self::Upload, _size: usize) -> Called<bool> {
        Ok(true)
    }
    /// Completes the upload. Returns the version of the object if the container is versioned.
    async fn complete_upload(&self, upload: &Self::Upload) -> Called<Option<String>>;
    /// Copies an object in one call. Returns the version of the copy if the container is versioned.
    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>>;
    /// Copies an object as a part of an upload, as the registry copies large objects.
    async fn copy_part(&self, _from: &str, _upload: &Self::Upload) -> Called<()> {
        Ok(())
    }
    /// Aborts an upload. Returns the version that the container keeps of it, where an upload is an object from its first byte.
    async fn abort_upload(&self, upload: &Self::Upload) -> Called<Option<String>>;
    /// Deletes objects with the call that the registry uses. Returns keys and versions of new delete markers.
    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>>;
    /// Deletes an object, or one version of it.
    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()>;
    /// Whether the container keeps new versions for a time during which nobody may delete them.
    async fn retains_versions(&self) -> bool {
        false
    }
    /// Permission that a check of the content of a response needs, for a response that shows something else.
    fn permission(&self, check: Check) -> &'static str;
    /// Whether a write without a response may have succeeded since the plane was opened, also if a retry succeeded.
    fn is_unsure(&self) -> bool;
    /// Whether a refused deletion of a version is a failure. If not (Unmanaged storage), an event reports it.
    fn must_delete_versions(&self) -> bool {
        true
    }
    /// What works and has a flaw that the administrator can mend.
    async fn warnings(&self) -> Called<Vec<EventRequest>> {
        Ok(Vec::new())
    }
    /// Permission that a failed call needs, such as `s3:PutObject`.
    fn action(&self, error: &CallError) -> String {
        error.action.to_owned()
    }
    /// What the administrator can do about an error, in addition to its text; may be empty.
    fn remedy(&self, _error: &CallError) -> String {
        String::new()
    }
}
