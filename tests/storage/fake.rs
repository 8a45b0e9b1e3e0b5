//! A cloud that has everything a real one may need: a name that is recorded before it is used, stages around the container
//! with long operations, two levels of ownership, a second identity for the registry with a lifetime, settings that may fail,
//! a credential that is never rendered. The engine knows nothing of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use image_registry_operator::api::registry_storage::S3Storage as S3Spec;
use image_registry_operator::api::{Config, Kind, ObjectRef, Sensitive, Storage};
use image_registry_operator::config::resolve::Rejection;
use image_registry_operator::config::snapshot::Snapshot;
use image_registry_operator::names;
use image_registry_operator::program::{RegistryStorage, S3Storage};
use image_registry_operator::storage::engine::cache::ObservationCache;
use image_registry_operator::storage::engine::context::Engine;
use image_registry_operator::storage::engine::object_storage::ObjectStorage;
use image_registry_operator::storage::engine::select::{self, PlatformDefaults};
use image_registry_operator::storage::engine::{reconcile, removal};
use image_registry_operator::storage::model::backend::Backend;
use image_registry_operator::storage::model::call::{CallClass, CallError, Called, Cause};
use image_registry_operator::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Terms};
use image_registry_operator::storage::model::error::StorageError;
use image_registry_operator::storage::model::fingerprint::Fingerprint;
use image_registry_operator::storage::model::outcome::Outcome;
use image_registry_operator::storage::model::preflight::{Probe, ProbeKeys};
use image_registry_operator::storage::model::progress::{Mark, Wait};
use image_registry_operator::storage::model::proof::{CreationPermit, OwnershipProof};
use image_registry_operator::storage::model::setting::{Applied, Followed, Setting, SettingError, SettingScope};
use image_registry_operator::storage::model::stage::{Stage, StageObject, StageState};
use image_registry_operator::storage::model::state::State;
use image_registry_operator::storage::model::target::{Request, Target};
use image_registry_operator::storage::preflight::record::{self, Clearing};
use image_registry_operator::storage::preflight::{RegistryPods, no_pods};
use image_registry_operator::storage::traits::{Check, Cluster, DataPlane, ObjectBackend, ObjectStore};
use serde_json::Value;

use crate::conformance::{Death, Sent};
use crate::harness::{Killed, StorageUnderTest, TestCluster};

/// The name that this cloud's backend chooses.
pub const CHOSEN: &str = "chosen-by-driver";
/// The cluster's name in marks.
pub const CLUSTER: &str = "blue-x7k2p";

/// ConfigMap with the CA of this cloud; without it the cloud has no CA of its own.
pub const CA_MAP: &str = "blue-ca";
const TAGGED: &str = "StorageTagged";
/// The one stage that carries a mark of its own.
pub const ACCOUNT: Stage = Stage {
    name: "account",
    deadline: Duration::from_mins(15),
};
/// A stage whose object is kept at removal.
pub const KEY: Stage = Stage {
    name: "key",
    deadline: Duration::from_mins(5),
};
/// A stage after the container.
pub const ENDPOINT: Stage = Stage {
    name: "endpoint",
    deadline: Duration::from_mins(15),
};

/// A container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    pub mark: Option<String>,
    pub images: u32,
    /// The setting is applied.
    pub hardened: bool,
    /// So many HEADs do not show it yet.
    pub hidden_for: u32,
    /// Probe objects.
    pub probes: BTreeMap<String, Vec<u8>>,
}

/// The object of a stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloudObject {
    pub id: String,
    pub mark: Option<String>,
    /// So many reads show its creation under way.
    pub pending: u32,
}

/// How the registry's calls are refused.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// This right is missing; whether that is about authorisation.
    Denied(&'static str, bool),
    /// The service gives no verdict.
    Undecided,
}

/// How the cloud misbehaves towards the registry, although it answers each call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Quirk {
    #[default]
    None,
    /// Reads return other bytes.
    OtherBytes,
    /// A copy has no effect.
    IgnoresCopies,
    /// Listings show no object.
    NoObjects,
    /// Listings show no unfinished upload.
    NoUploads,
    /// Listings show no part.
    NoParts,
    /// Deletions have no effect.
    NoDeletion,
    /// The call that deletes several objects does not exist.
    NoJointDeletion,
    /// Objects are versioned, and nobody may delete a version.
    Retention,
}

/// The cloud. Its backend lives in the `s3` member of the API.
#[derive(Default)]
pub struct FakeCloud {
    pub containers: RefCell<BTreeMap<String, Container>>,
    pub stage_objects: RefCell<BTreeMap<&'static str, CloudObject>>,
    /// Whether containers need stages.
    pub staged: Cell<bool>,
    /// How many reads a stage's operation takes.
    pub stage_takes: Cell<u32>,
    /// Calls that change something, in order.
    pub calls: RefCell<Vec<String>>,
    /// All calls, as the conformance suite sees them.
    pub sent: RefCell<Vec<Sent>>,
    /// When the process dies.
    pub death: RefCell<Option<(Death, Killed)>>,
    /// Calls since then that change something, those of a preflight too.
    pub changes: Cell<usize>,
    /// Reads fail.
    pub down: Cell<bool>,
    /// HEAD gets no response.
    pub hangs: Cell<bool>,
    /// HEAD is refused.
    pub access_denied: Cell<bool>,
    /// Marks cannot be read.
    pub marks_denied: Cell<bool>,
    /// The service cannot store a mark.
    pub unmarkable: Cell<bool>,
    /// The service reads marks, and cannot write one.
    pub marks_read_only: Cell<bool>,
    /// The name of a new container belongs to another account.
    pub name_taken: Cell<bool>,
    /// The service answers deletions of objects, and deletes none.
    pub ignores_deletions: Cell<bool>,
    /// The registry's keys cannot be read.
    pub keys_down: Cell<bool>,
    /// The call for the registry's keys gets no response.
    pub keys_hang: Cell<bool>,
    /// The registry's keys do not exist any more.
    pub keys_gone: Cell<bool>,
    /// Settings cannot be changed now.
    pub settings_down: Cell<bool>,
    /// The service does not implement the setting.
    pub settings_unsupported: Cell<bool>,
    /// How often the Config was confirmed before the last change.
    confirmed: Cell<u32>,
    /// Changes without a confirmation just before.
    pub unconfirmed: RefCell<Vec<String>>,
    /// Marks are answered with a 404 that is not about the container.
    pub marks_missing: Cell<bool>,
    /// A proxy answers each call with its own 404.
    pub proxied: Cell<bool>,
    /// Nobody may create a container.
    pub creation_denied: Cell<bool>,
    /// Each tenant has containers of its own.
    pub has_tenants: Cell<bool>,
    /// HEAD calls since the last look.
    pub heads: Cell<u32>,
    /// Reads of the registry's keys.
    pub key_reads: Cell<u32>,
    /// How long the registry's keys are valid.
    pub key_lifetime: Cell<Option<Duration>>,
    /// Credentials that the registry gets.
    pub credentials: RefCell<String>,
    /// A credential of the operator alone.
    pub api_key: RefCell<String>,
    /// What the platform asks for.
    pub tags: RefCell<String>,
    /// How the registry's calls are refused.
    pub denied: RefCell<Option<Refusal>>,
    /// How the cloud misbehaves towards the registry.
    pub quirk: Cell<Quirk>,
    /// managementState with which probe objects were deleted.
    pub clearing_states: RefCell<Vec<Option<State>>>,
    /// Preflights: container, identity, proxy.
    pub preflights: RefCell<Vec<String>>,
    /// Whether the platform's default storage can be used; `None`: undecided.
    pub usable: Cell<Option<bool>>,
    pub cache: RefCell<ObservationCache>,
}

impl FakeCloud {
    /// A call that changes something.
    async fn change<T>(&self, call: &str, effect: impl FnOnce() -> T) -> T {
        let sent = match call {
            "create" => Sent::Create,
            _ if call.starts_with("delete ") => Sent::Delete,
            _ => Sent::Change,
        };
        self.write(sent, || {
            self.calls.borrow_mut().push(call.to_owned());
            effect()
        })
        .await
    }

    async fn write<T>(&self, sent: Sent, effect: impl FnOnce() -> T) -> T {
        let number = self.changes.get() + 1;
        self.changes.set(number);
        self.reach(Death::Before(number)).await;
        self.sent.borrow_mut().push(sent);
        let done = effect();
        self.reach(Death::After(number)).await;
        done
    }

    /// The process dies if this is the moment.
    async fn reach(&self, moment: Death) {
        let planned = self.death.borrow().clone();
        if let Some((death, killed)) = planned
            && death == moment
        {
            killed.kill();
            std::future::pending::<()>().await;
        }
    }

    fn reachable(&self) -> Called<()> {
        self.sent.borrow_mut().push(Sent::Read);
        if self.down.get() {
            return Err(error(CallClass::Undecided, "503"));
        }
        if self.proxied.get() {
            return Err(error(CallClass::NotFound, "NotFound"));
        }
        Ok(())
    }

    pub fn with(&self, name: &str, change: impl FnOnce(&mut Container)) {
        change(self.containers.borrow_mut().get_mut(name).unwrap());
    }

    pub fn container(&self, name: &str) -> Option<Container> {
        self.containers.borrow().get(name).cloned()
    }

    pub fn put(&self, name: &str, images: u32, mark: Option<&str>) {
        let container = Container {
            images,
            mark: mark.map(str::to_owned),
            ..Container::default()
        };
        self.containers.borrow_mut().insert(name.to_owned(), container);
    }

    pub fn with_images(&self, name: &str, images: u32) {
        self.with(name, |container| container.images = images);
    }

    pub fn calls(&self) -> Vec<String> {
        self.calls.borrow().clone()
    }
}

fn error(class: CallClass, code: &str) -> CallError {
    let status = match class {
        CallClass::Undecided => 503,
        CallClass::Forbidden | CallClass::Denied => 403,
        CallClass::Unsupported => 501,
        _ => 404,
    };
    CallError {
        action: "fake:Read",
        resource: "fake".to_owned(),
        cause: Cause::Answer(status),
        class,
        of_identity: false,
        code: code.to_owned(),
        message: String::new(),
        region: None,
    }
}

fn gone() -> CallError {
    error(CallClass::ContainerGone, "NoSuchBucket")
}

fn name(storage: &Storage) -> Option<&str> {
    storage.s3.as_ref()?.bucket.as_deref().filter(|name| !name.is_empty())
}

fn locate(storage: &Storage) -> Option<String> {
    let endpoint = storage.s3.as_ref()?.region_endpoint.clone().unwrap_or_default();
    Some(format!("{endpoint}/{}", name(storage)?))
}

/// The backend of the fake cloud.
pub struct FakeBackend<'a> {
    pub cloud: &'a FakeCloud,
    pub cluster: &'a TestCluster,
}

impl FakeBackend<'_> {
    fn access_of(&self, storage: &Storage) -> RegistryStorage {
        RegistryStorage::S3(Box::new(S3Storage {
            bucket: name(storage).unwrap_or(CHOSEN).to_owned(),
            region: "fake".to_owned(),
            endpoint: None,
            public: None,
            path_style: true,
            dual_stack: None,
            encrypt: false,
            key_id: None,
            chunk_size: None,
            credentials: Sensitive::new(self.cloud.credentials.borrow().as_str()),
            cloud_front: None,
        }))
    }
}

impl ObjectBackend for FakeBackend<'_> {
    const BACKEND: Backend = Backend::S3;
    const CONDITIONS: &'static [&'static str] = &["StorageExists", TAGGED];
    const TERMS: Terms = Terms {
        container: "bucket",
        exists: "Bucket Exists",
        brought: "Bucket Exists",
        created: "Bucket Created",
        gone: &["NoSuchBucket", "NoSuchAccount", "ResourceNotReady"],
        not_visible: "ResourceNotReady",
        name_taken: "Taken",
        not_created: None,
        deleted: "Bucket Deleted",
        no_login: "Unknown Error Occurred",
        unknown: "Unknown Error Occurred",
        name_field: "spec.storage.fake.bucket",
        rights_to_observe: "fake:Read",
        rights_on_versions: "fake:Versions",
        marked: Some(TAGGED),
    };
    type Store<'s>
        = FakeStore<'s>
    where
        Self: 's;

    fn locate(storage: &Storage, _snapshot: &Snapshot) -> Option<String> {
        locate(storage)
    }

    fn resolve(&self, storage: &Storage, _snapshot: &Snapshot) -> Result<Target, Rejection> {
        let mut named = storage.clone();
        let spec = named.s3.get_or_insert_default();
        spec.bucket.get_or_insert_with(|| CHOSEN.to_owned());
        Ok(Target {
            location: locate(&named),
            named: name(storage).is_some(),
            access: Some(self.access_of(storage)),
            ca_bundle: None,
            unfit: None,
            not_usable: None,
        })
    }

    fn ca_bundle(_storage: &Storage, snapshot: &Snapshot) -> Result<Option<String>, StorageError> {
        let Some(map) = snapshot.objects.get(Kind::ConfigMap, names::CONFIG_NAMESPACE, CA_MAP) else {
            return Ok(None);
        };
        let bundle = map.pointer("/data/bundle").and_then(Value::as_str).map(str::to_owned);
        let missing = || StorageError::action_required(format!("ConfigMap {CA_MAP} has no key bundle"));
        bundle.ok_or_else(missing).map(Some)
    }

    fn inputs(_storage: &Storage, _snapshot: &Snapshot) -> Vec<ObjectRef> {
        Vec::new()
    }

    fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        let (api_key, tags) = (self.cloud.api_key.borrow(), self.cloud.tags.borrow());
        Fingerprint::of_target(request.target).and([api_key.as_str(), tags.as_str()])
    }

    fn access(&self, request: &Request<'_>) -> Result<RegistryStorage, StorageError> {
        Ok(self.access_of(request.storage))
    }

    fn has_tenants(&self, _request: &Request<'_>) -> bool {
        self.cloud.has_tenants.get()
    }

    fn set_container(storage: &mut Storage, name: Option<&str>) {
        storage.s3.get_or_insert_with(S3Spec::default).bucket = name.map(str::to_owned);
    }

    fn completed(&self, request: &Request<'_>) -> Result<Storage, StorageError> {
        let mut storage = request.storage.clone();
        Self::set_container(&mut storage, Some(name(request.storage).unwrap_or(CHOSEN)));
        Ok(storage)
    }

    fn settings(&self, _request: &Request<'_>) -> Vec<Setting> {
        let tags = self.cloud.tags.borrow();
        vec![Setting {
            condition: TAGGED,
            reason: "Tagging",
            failure: "Tags were not applied",
            follows: Some(Followed {
                fingerprint: Fingerprint::of([tags.as_str()]),
                empty: tags.is_empty(),
            }),
            probes: false,
            marks: true,
            events: None,
        }]
    }

    fn prerequisites(&self, _request: &Request<'_>) -> Vec<Stage> {
        if self.cloud.staged.get() {
            vec![ACCOUNT, KEY]
        } else {
            Vec::new()
        }
    }

    fn finalizing(&self, _request: &Request<'_>) -> Vec<Stage> {
        if self.cloud.staged.get() {
            vec![ENDPOINT]
        } else {
            Vec::new()
        }
    }

    fn open<'s>(&'s self, request: &'s Request<'s>) -> Result<FakeStore<'s>, StorageError> {
        let chosen = name(request.storage).unwrap_or(CHOSEN);
        Ok(FakeStore {
            cloud: self.cloud,
            cluster: self.cluster,
            request,
            container: ContainerName {
                name: chosen.to_owned(),
                location: request.target.location.clone().unwrap_or_default(),
                place: String::new(),
                deterministic: chosen == CHOSEN,
            },
        })
    }
}

/// The container of a request.
pub struct FakeStore<'a> {
    cloud: &'a FakeCloud,
    cluster: &'a TestCluster,
    request: &'a Request<'a>,
    container: ContainerName,
}

impl FakeStore<'_> {
    fn found(&self) -> Called<Container> {
        self.cloud.reachable()?;
        let found = self.cloud.container(&self.container.name);
        found.filter(|found| found.hidden_for == 0).ok_or_else(gone)
    }

    /// Remembers a change before which nobody confirmed the Config.
    fn check_confirmed(&self, call: &str) {
        let confirmed = self.cluster.confirmed.get();
        if self.cloud.confirmed.replace(confirmed) == confirmed {
            self.cloud.unconfirmed.borrow_mut().push(call.to_owned());
        }
    }

    async fn change(&self, call: &str, change: impl FnOnce(&mut Container)) {
        self.check_confirmed(call);
        let effect = || self.cloud.with(&self.container.name, change);
        self.cloud.change(call, effect).await;
    }

    fn owner(mark: Option<&str>) -> Owner {
        match mark {
            Some(CLUSTER) => Owner::Ours,
            Some(other) => Owner::Other(other.to_owned()),
            None => Owner::Nobody("it carries no mark".to_owned()),
        }
    }
}

impl<'a> ObjectStore for FakeStore<'a> {
    type Entry = ();
    type Plane = FakePlane<'a>;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    async fn head(&self) -> Called<()> {
        self.cloud.heads.set(self.cloud.heads.get() + 1);
        if self.cloud.hangs.get() {
            std::future::pending::<()>().await;
        }
        self.cloud.reachable()?;
        if self.cloud.access_denied.get() {
            return Err(error(CallClass::Forbidden, "AccessDenied"));
        }
        let mut containers = self.cloud.containers.borrow_mut();
        let found = containers.get_mut(&self.container.name).ok_or_else(gone)?;
        if found.hidden_for > 0 {
            found.hidden_for -= 1;
            return Err(gone());
        }
        Ok(())
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        if self.cloud.proxied.get() {
            return Err(error(CallClass::NotFound, "NotFound"));
        }
        if self.cloud.creation_denied.get() {
            return Err(error(CallClass::Forbidden, "AccessDenied"));
        }
        if self.cloud.container(&self.container.name).is_some() {
            return Ok(()); // owned already
        }
        if self.cloud.name_taken.get() {
            return Err(error(CallClass::NameTaken, "BucketAlreadyExists"));
        }
        let created = Container {
            hidden_for: 2,
            ..Container::default()
        };
        self.check_confirmed("create");
        let containers = &self.cloud.containers;
        let insert = || containers.borrow_mut().insert(self.container.name.clone(), created);
        self.cloud.change("create", insert).await;
        Ok(())
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let found = self.found()?;
        self.cloud.sent.borrow_mut().push(Sent::ReadMark);
        if self.cloud.marks_denied.get() {
            return Err(CallError {
                action: "s3:GetBucketTagging",
                ..error(CallClass::Forbidden, "AccessDenied")
            });
        }
        if self.cloud.marks_missing.get() {
            return Err(error(CallClass::NotFound, "NotFound"));
        }
        if self.cloud.unmarkable.get() {
            return Ok(Owner::Unmarkable);
        }
        Ok(Self::owner(found.mark.as_deref()))
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        if self.cloud.unmarkable.get() || self.cloud.marks_read_only.get() {
            return Ok(false);
        }
        self.change("mark", |c| c.mark = Some(CLUSTER.to_owned())).await;
        Ok(true)
    }

    async fn contents(&self, probe: &ProbeKeys, _plain: bool) -> Called<Contents> {
        let found = self.found()?;
        let foreign = found.probes.keys().any(|key| !probe.contains(key));
        Ok(if found.images == 0 && !foreign {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    async fn apply(&self, _setting: &Setting, _scope: SettingScope) -> Result<Applied, SettingError> {
        let found = self.found()?;
        if self.cloud.settings_unsupported.get() {
            return Err(error(CallClass::Unsupported, "NotImplemented").into());
        }
        if self.cloud.settings_down.get() {
            return Err(error(CallClass::Undecided, "SlowDown").into());
        }
        if !found.hardened {
            self.cluster.confirm().await?;
            self.change("harden", |c| c.hardened = true).await;
        }
        Ok(Applied {
            changed: !found.hardened,
            ..Applied::default()
        })
    }

    async fn stage(&self, stage: &Stage) -> Called<StageState> {
        self.cloud.reachable()?;
        let mut objects = self.cloud.stage_objects.borrow_mut();
        let storage = self.request.storage.clone();
        match objects.get_mut(stage.name) {
            None => Ok(StageState::Missing {
                storage,
                id: format!("{}-of-{CLUSTER}", stage.name),
                reason: (stage.name == ACCOUNT.name).then_some("NoSuchAccount"),
            }),
            Some(object) if object.pending > 0 => {
                object.pending -= 1;
                let message = format!("{} is being created", stage.name);
                Ok(StageState::Pending(Wait::new(Duration::from_secs(30), message)))
            }
            Some(object) => Ok(StageState::Ready {
                storage,
                id: object.id.clone(),
            }),
        }
    }

    async fn advance(&self, stage: &Stage, _permit: &CreationPermit) -> Called<StageState> {
        let object = CloudObject {
            id: format!("{}-of-{CLUSTER}", stage.name),
            mark: Some(CLUSTER.to_owned()),
            pending: self.cloud.stage_takes.get(),
        };
        self.check_confirmed(stage.name);
        let insert = || self.cloud.stage_objects.borrow_mut().insert(stage.name, object);
        self.cloud.change(&format!("create {}", stage.name), insert).await;
        let message = format!("{} is being created", stage.name);
        Ok(StageState::Pending(Wait::new(Duration::from_secs(30), message)))
    }

    async fn prove_stage(&self, stage: &Stage, _id: &str) -> Called<Option<StageObject>> {
        self.cloud.reachable()?;
        let object = self.cloud.stage_objects.borrow().get(stage.name).cloned();
        Ok(object.map(|object| StageObject {
            id: object.id,
            mark: match Self::owner(object.mark.as_deref()) {
                _ if stage.name == KEY.name => Mark::NotOurs("keys are kept".to_owned()),
                Owner::Ours => Mark::Ours(stage.name.to_owned()),
                Owner::Other(cluster) => Mark::NotOurs(format!("it carries the mark of {cluster}")),
                Owner::Nobody(missing) => Mark::Missing(missing),
                Owner::Unmarkable => Mark::NotOurs(String::new()),
            },
        }))
    }

    async fn remove_stage(&self, stage: &Stage, _id: &str, proof: &OwnershipProof) -> Called<Wait> {
        assert_eq!(proof.pin(), stage.name);
        self.check_confirmed(stage.name);
        let remove = || self.cloud.stage_objects.borrow_mut().remove(stage.name);
        self.cloud.change(&format!("delete {}", stage.name), remove).await;
        Ok(Wait::new(Duration::ZERO, format!("{} was deleted", stage.name)))
    }

    async fn list_page(&self, _at_most: u16) -> Called<Page<()>> {
        let found = self.found()?;
        let entries = if found.images > 0 { vec![()] } else { Vec::new() };
        Ok(Page {
            entries,
            versions_hidden: false,
        })
    }

    async fn delete_page(&self, _entries: Vec<()>) -> Called<PageDeletion> {
        if self.cloud.ignores_deletions.get() {
            return Ok(PageDeletion::default());
        }
        self.change("delete image", |c| c.images -= 1).await;
        Ok(PageDeletion {
            deleted: 1,
            refused: Vec::new(),
        })
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        self.check_confirmed("delete bucket");
        let remove = || self.cloud.containers.borrow_mut().remove(&self.container.name);
        self.cloud.change("delete bucket", remove).await;
        Ok(())
    }

    async fn runtime_access(&self, known: RegistryStorage) -> Called<(RegistryStorage, Option<Duration>)> {
        self.cloud.key_reads.set(self.cloud.key_reads.get() + 1);
        if self.cloud.keys_hang.get() {
            std::future::pending::<()>().await;
        }
        if self.cloud.keys_gone.get() {
            return Err(CallError {
                of_identity: true,
                ..error(CallClass::NotFound, "404")
            });
        }
        if self.cloud.keys_down.get() {
            return Err(error(CallClass::Undecided, "no key for the registry"));
        }
        let RegistryStorage::S3(mut s3) = known else {
            return Ok((known, None));
        };
        // The registry's identity is another than the operator's.
        s3.key_id = Some("second".to_owned());
        Ok((RegistryStorage::S3(s3), self.cloud.key_lifetime.get()))
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<FakePlane<'a>, StorageError> {
        let identity = match probe.access {
            RegistryStorage::S3(s3) => s3.key_id.clone().unwrap_or_default(),
            _ => String::new(),
        };
        let proxy = probe.proxies.https.as_ref().map_or("", |p| p.expose());
        let container = &self.container.name;
        self.cloud
            .preflights
            .borrow_mut()
            .push(format!("{container} as {identity}{proxy}"));
        Ok(FakePlane {
            cloud: self.cloud,
            container: container.clone(),
            key: probe.key.to_owned(),
        })
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        self.cloud.reachable()?;
        self.check_confirmed("clear probe");
        self.cloud.clearing_states.borrow_mut().push(self.request.state);
        if let Some(container) = self.cloud.containers.borrow_mut().get_mut(&self.container.name) {
            container.probes.retain(|key, _| !probe.contains(key));
        }
        Ok(())
    }
}

/// The container as the registry uses it.
pub struct FakePlane<'a> {
    cloud: &'a FakeCloud,
    container: String,
    /// Key of the probe object.
    key: String,
}

impl FakePlane<'_> {
    fn answer(&self, right: &'static str) -> Called<()> {
        self.cloud.reachable()?;
        let refusal = *self.cloud.denied.borrow();
        match refusal {
            Some(Refusal::Undecided) => Err(error(CallClass::Undecided, "503")),
            Some(Refusal::Denied(action, auth)) if action == right => {
                let class = if auth {
                    CallClass::Forbidden
                } else {
                    CallClass::Rejected
                };
                Err(CallError {
                    action,
                    resource: format!("{}/{}", self.container, self.key),
                    ..error(class, "AccessDenied")
                })
            }
            _ => Ok(()),
        }
    }

    async fn write(&self, change: impl FnOnce(&mut Container)) {
        let effect = || self.cloud.with(&self.container, change);
        self.cloud.write(Sent::Probe, effect).await;
    }
}

impl FakePlane<'_> {
    fn has(&self, quirk: Quirk) -> bool {
        self.cloud.quirk.get() == quirk
    }

    fn version(&self) -> Option<String> {
        self.has(Quirk::Retention).then(|| "v1".to_owned())
    }
}

impl DataPlane for FakePlane<'_> {
    /// Key and content.
    type Upload = (String, Vec<u8>);

    async fn put(&self, key: &str, body: &[u8]) -> Called<Option<String>> {
        self.answer("s3:PutObject")?;
        self.write(|c| drop(c.probes.insert(key.to_owned(), body.to_vec())))
            .await;
        self.cloud.reach(Death::AfterProbe).await;
        Ok(self.version())
    }

    async fn get(&self, key: &str) -> Called<Vec<u8>> {
        self.answer("s3:GetObject")?;
        if self.has(Quirk::OtherBytes) {
            return Ok(b"other".to_vec());
        }
        let found = self
            .cloud
            .container(&self.container)
            .and_then(|c| c.probes.get(key).cloned());
        found.ok_or_else(|| error(CallClass::NotFound, "NoSuchKey"))
    }

    async fn lists_object(&self, _key: &str) -> Called<bool> {
        self.answer("s3:ListBucket").map(|()| !self.has(Quirk::NoObjects))
    }

    async fn begin_upload(&self, key: &str) -> Called<Self::Upload> {
        self.answer("s3:PutObject")?;
        Ok((key.to_owned(), Vec::new()))
    }

    async fn lists_upload(&self, _upload: &Self::Upload) -> Called<bool> {
        Ok(!self.has(Quirk::NoUploads))
    }

    async fn upload_part(&self, upload: &mut Self::Upload, body: &[u8]) -> Called<()> {
        upload.1 = body.to_vec();
        Ok(())
    }

    async fn lists_part(&self, upload: &Self::Upload, size: usize) -> Called<bool> {
        Ok(upload.1.len() == size && !self.has(Quirk::NoParts))
    }

    async fn complete_upload(&self, (key, body): &Self::Upload) -> Called<Option<String>> {
        self.answer("fake:Complete")?;
        self.write(|c| drop(c.probes.insert(key.clone(), body.clone()))).await;
        Ok(self.version())
    }

    async fn copy(&self, from: &str, to: &str) -> Called<Option<String>> {
        self.answer("fake:Copy")?;
        if !self.has(Quirk::IgnoresCopies) {
            self.write(|c| {
                let body = c.probes[from].clone();
                c.probes.insert(to.to_owned(), body);
            })
            .await;
        }
        Ok(self.version())
    }

    async fn copy_part(&self, _from: &str, _upload: &Self::Upload) -> Called<()> {
        self.answer("fake:CopyPart")
    }

    async fn abort_upload(&self, _upload: &Self::Upload) -> Called<Option<String>> {
        self.answer("s3:AbortMultipartUpload")?;
        Ok(None)
    }

    async fn delete_together(&self, keys: &[&str]) -> Called<Vec<(String, String)>> {
        if self.has(Quirk::NoJointDeletion) {
            return Err(error(CallClass::Unsupported, "MethodNotAllowed"));
        }
        self.answer("s3:DeleteObject")?;
        if self.has(Quirk::NoDeletion) {
            return Ok(Vec::new());
        }
        self.write(|c| c.probes.retain(|key, _| !keys.contains(&key.as_str())))
            .await;
        Ok(Vec::new())
    }

    async fn delete(&self, key: &str, version: Option<&str>) -> Called<()> {
        self.answer("s3:DeleteObject")?;
        if version.is_some() && self.has(Quirk::Retention) {
            return Err(error(CallClass::Forbidden, "AccessDenied"));
        }
        self.write(|c| drop(c.probes.remove(key))).await;
        Ok(())
    }

    async fn retains_versions(&self) -> bool {
        self.has(Quirk::Retention)
    }

    fn permission(&self, check: Check) -> &'static str {
        match check {
            Check::Content => "fake:Content",
            Check::Deletion => "fake:Deletion",
            Check::Objects => "fake:Objects",
            Check::Uploads => "fake:Uploads",
            Check::Parts => "fake:Parts",
        }
    }

    fn is_unsure(&self) -> bool {
        false
    }

    fn must_delete_versions(&self) -> bool {
        true
    }
}

impl PlatformDefaults for FakeCloud {
    async fn is_usable(&self, _backend: Backend, _snapshot: &Snapshot) -> Result<bool, StorageError> {
        self.usable
            .get()
            .ok_or_else(|| StorageError::transient("the token service does not answer"))
    }
}

fn driver<'a>(
    backend: &'a FakeBackend<'a>,
    cache: &'a ObservationCache,
) -> ObjectStorage<'a, FakeBackend<'a>, TestCluster> {
    ObjectStorage {
        backend,
        cluster: backend.cluster,
        cache,
    }
}

impl StorageUnderTest for FakeCloud {
    async fn ensure(
        &self,
        config: &Config,
        snapshot: &Snapshot,
        cluster: &TestCluster,
        pods: &RegistryPods<'_>,
    ) -> Outcome {
        let cache = &*self.cache.borrow();
        let engine = &Engine { cluster, cache, pods };
        let selected = select::select(config, snapshot, self).await.unwrap();
        let backend = &FakeBackend { cloud: self, cluster };
        let driver = &driver(backend, cache);
        reconcile::ensure(driver, config, snapshot, &selected, engine).await
    }

    async fn remove(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster, deleting: bool) -> Outcome {
        let cache = &*self.cache.borrow();
        let pods = &no_pods();
        let engine = &Engine { cluster, cache, pods };
        let backend = &FakeBackend { cloud: self, cluster };
        let driver = &driver(backend, cache);
        removal::remove(driver, config, snapshot, engine, deleting).await
    }

    async fn clear_probes(&self, config: &Config, snapshot: &Snapshot, cluster: &TestCluster) -> Clearing {
        let cache = &*self.cache.borrow();
        let backend = &FakeBackend { cloud: self, cluster };
        let driver = &driver(backend, cache);
        record::clear(config, snapshot, cache, async |left| {
            record::clear_one(driver, config, snapshot, cluster, left).await
        })
        .await
    }

    fn config_written(&self, before: Option<i64>, after: Option<i64>) {
        self.cache.borrow().config_written(before, after);
    }
}
