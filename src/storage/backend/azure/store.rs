//! Operations of one container for the engine.

use std::sync::PoisonError;
use std::time::Duration;

use futures::StreamExt as _;

use super::container::{DELETE, DELETE_BLOBS, WRITE, blob_name, unless_missing};
use super::context::Azure;
use super::credentials::Credentials;
use super::error::{Failure, is_locked};
use super::private_names::is_private_stage;
use super::reasons;
use super::registry::RegistryContainer;
use super::step::{CONTAINER_MARK, Described, Store};
use crate::api::Storage;
use crate::api::registry_storage::AzureNetworkAccess;
use crate::config::event_request::EventRequest;
use crate::config::notice;
use crate::program::{AzureLogin, RegistryStorage};
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Contents, Owner, Page, PageDeletion, Refusal, RefusalCause};
use crate::storage::model::error::StorageError;
use crate::storage::model::preflight::{Probe, ProbeKeys};
use crate::storage::model::progress::{StageRecord, Wait};
use crate::storage::model::proof::{CreationPermit, OwnershipProof};
use crate::storage::model::setting::{Applied, Setting, SettingError, SettingScope};
use crate::storage::model::stage::{Stage, StageObject, StageState};
use crate::storage::model::state::State;
use crate::storage::traits::{Cluster, ObjectStore};

/// Largest number of blobs that one step deletes, with one call each.
const PAGE: u16 = 250;
/// Number of deletions at the same time.
const AT_ONCE: usize = 16;
/// Number of entries to list in order to decide whether a container is empty.
const A_FEW: u16 = 10;

fn refusal(name: String, failure: Failure) -> Refusal {
    let Failure { error, code, .. } = failure;
    let cause = match error.class {
        _ if is_locked(&code) => RefusalCause::Locked,
        CallClass::Forbidden | CallClass::Denied => RefusalCause::Forbidden(DELETE_BLOBS),
        CallClass::Undecided => RefusalCause::Busy,
        _ => RefusalCause::Other,
    };
    Refusal {
        key: name,
        cause,
        code,
        message: error.message,
    }
}

impl<C: Cluster> Store<'_, C> {
    /// Whether the operator uses the container without a check, as the Go operator does: an administrator gave the account
    /// key, the storage is not applied yet, and `spec.storage.managementState` is not an explicit Managed.
    fn is_trusted(&self) -> bool {
        self.session.has_user_key() && !self.request.applied && self.request.state != Some(State::Managed)
    }

    /// Why the operator does not make the account private although the spec says so; `None`: it does, or the account is private.
    fn not_applied(&self) -> Option<&'static str> {
        if !self.effective.is_internal() {
            return None;
        }
        let described = self.account.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_private = match described {
            Some(Described(account)) => account.is_some_and(|account| account.is_private()),
            // This step did not read the account, so the status counts.
            None => self.was_internal(),
        };
        if is_private {
            None
        } else if self.session.has_user_key() {
            Some("with an account key of the administrator the operator has no access to Azure Resource Manager")
        } else if self.request.effective_state() == Some(State::Managed) {
            None
        } else {
            Some("the storage is Unmanaged, and the operator does not change it")
        }
    }

    fn was_internal(&self) -> bool {
        let stored = self.stored_access();
        stored.is_some_and(|access| access.kind.as_deref() == Some("Internal"))
    }

    /// The error of a call for blobs. An account without public access is out of reach when its endpoint is gone.
    async fn out_of_reach(&self, failure: Failure) -> CallError {
        let error: CallError = failure.into();
        let unreachable = error.cause == Cause::Unreachable && !error.of_identity;
        if unreachable && self.session.arm.is_some() && self.is_private().await {
            return CallError {
                class: CallClass::Forbidden,
                ..error
            };
        }
        error
    }
}

impl<C: Cluster> ObjectStore for Store<'_, C> {
    type Entry = String;
    type Plane = RegistryContainer;

    fn container(&self) -> &ContainerName {
        &self.container
    }

    fn object_name(&self, key: &str) -> String {
        blob_name(key)
    }

    fn predicate(&self) -> String {
        let unreached = self.unreached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let exists = match unreached {
            None => "exists and is reachable.".to_owned(),
            Some(why) => format!(
                "exists, as Azure Resource Manager says, but the blob service does not answer the operator: {why}. If registry pods \
                 do not reach it either, look at the private endpoint and its DNS."
            ),
        };
        let exists = match self.noted() {
            None => exists,
            Some(noted) => format!("{exists} {noted}"),
        };
        match self.not_applied() {
            None => exists,
            Some(why) => format!("{exists} spec.storage.azure.networkAccess.type Internal is not applied: {why}."),
        }
    }

    fn shown(&self, completed: Storage) -> Storage {
        if self.not_applied().is_none() {
            return completed;
        }
        let mut shown = completed;
        if let Some(azure) = &mut shown.azure {
            azure.network_access = Some(AzureNetworkAccess {
                kind: Some("External".to_owned()),
                internal: None,
            });
        }
        shown
    }

    fn notices(&self) -> Vec<EventRequest> {
        if !self.effective.is_internal() {
            return Vec::new();
        }
        if let Some(why) = self.not_applied() {
            return vec![EventRequest {
                warning: true,
                reason: "NetworkAccessNotApplied",
                message: format!(
                    "spec.storage.azure.networkAccess.type is Internal, and is not applied to storage account {}: {why}",
                    self.effective.account()
                ),
            }];
        }
        let redirects = !self.request.config.spec.disable_redirect.unwrap_or(false);
        let host = format!("storage account {}", self.effective.account());
        redirects
            .then(|| notice::redirect_needs_network(&host))
            .into_iter()
            .collect()
    }

    fn reason_of_brought(&self) -> Option<&'static str> {
        self.is_trusted().then_some(reasons::USER_MANAGED)
    }

    async fn head(&self) -> Called<()> {
        if self.is_trusted() {
            return Ok(());
        }
        self.describe().await.map(drop)
    }

    async fn create(&self, _permit: &CreationPermit) -> Called<()> {
        self.forget();
        let metadata = [(CONTAINER_MARK.to_owned(), self.infrastructure.clone())].into();
        match self.blobs.create(&metadata).await {
            // The response of an earlier attempt may have got lost. Its mark and content decide what it is.
            Err(failure) if failure.code == "ContainerAlreadyExists" => Ok(()),
            other => Ok(other?),
        }
    }

    async fn read_ownership(&self) -> Called<Owner> {
        let metadata = self.described().await?;
        self.owner(&metadata).await
    }

    async fn write_ownership(&self, _permit: &CreationPermit) -> Called<bool> {
        let mut metadata = self.describe().await?;
        let mark = metadata.insert(CONTAINER_MARK.to_owned(), self.infrastructure.clone());
        match mark {
            Some(cluster) if cluster == self.infrastructure => return Ok(true),
            Some(cluster) if !cluster.is_empty() => {
                let message = format!("the container carries the mark of cluster {cluster}");
                return Err(CallError {
                    action: WRITE,
                    ..CallError::invalid(&self.container.name, &message)
                });
            }
            _ => {}
        }
        self.forget();
        self.blobs.set_metadata(&metadata).await?;
        Ok(true)
    }

    async fn contents(&self, probe: &ProbeKeys, plain: bool) -> Called<Contents> {
        let listing = match self.blobs.list_all(A_FEW).await {
            Ok(listing) => listing,
            // The right to list a new container may take minutes to become valid: a later step lists it.
            Err(failure) if failure.error.is_forbidden() && !plain => {
                return Ok(Contents::Hidden(failure.error.to_string()));
            }
            Err(failure) => return Err(failure.into()),
        };
        let is_probe = |name: &String| name.strip_prefix('/').is_some_and(|key| probe.contains(key));
        Ok(if listing.next.is_none() && listing.names.iter().all(is_probe) {
            Contents::Nothing
        } else {
            Contents::Something
        })
    }

    async fn stage(&self, stage: &Stage) -> Called<StageState> {
        self.stage_state(stage).await
    }

    async fn advance(&self, stage: &Stage, _permit: &CreationPermit) -> Called<StageState> {
        self.create_stage(stage).await
    }

    fn stage_key(&self) -> &str {
        &self.container.location
    }

    fn stage_id(&self, stage: &Stage) -> Option<String> {
        let names = self.known_names().ok()?;
        is_private_stage(stage).then(|| names.id(stage))
    }

    fn inherited_stages(&self) -> Vec<StageRecord> {
        self.inherited()
    }

    fn is_given_up(&self, stage: &Stage, id: &str) -> bool {
        self.backend
            .clients
            .is_given_up(&self.container.location, stage.name, id)
    }

    async fn prove_stage(&self, stage: &Stage, id: &str) -> Called<Option<StageObject>> {
        self.prove_object(stage, id).await
    }

    async fn must_stay(&self, stage: &Stage) -> Called<Option<String>> {
        self.must_stay_private(stage).await
    }

    async fn remove_stage(&self, stage: &Stage, id: &str, _proof: &OwnershipProof) -> Called<Wait> {
        self.delete_stage(stage, id).await
    }

    async fn goes_whole(&self, error: &CallError) -> bool {
        error.is_forbidden() && self.session.arm.is_some() && self.is_private().await
    }

    fn goes_with_stage(&self, error: &CallError) -> bool {
        error.is_forbidden() && self.session.arm.is_some() || self.is_going()
    }

    async fn apply(&self, setting: &Setting, _scope: SettingScope) -> Result<Applied, SettingError> {
        if setting.condition == Azure::<C>::SHARED_KEYS {
            return self.disable_shared_keys().await;
        }
        Err(CallError::invalid(setting.condition, "Azure has no such setting").into())
    }

    async fn list_page(&self, at_most: u16) -> Called<Page<String>> {
        let listing = match self.blobs.list("", at_most.min(PAGE), None).await {
            Ok(listing) => listing,
            Err(failure) => return Err(self.out_of_reach(failure).await),
        };
        Ok(Page {
            entries: listing.names,
            versions_hidden: false,
        })
    }

    async fn delete_page(&self, entries: Vec<String>) -> Called<PageDeletion> {
        let deletions = entries.into_iter().map(|name| async {
            let ended = unless_missing(self.blobs.delete_blob(&name).await);
            (name, ended)
        });
        let mut deletions = futures::stream::iter(deletions).buffer_unordered(AT_ONCE);
        let mut page = PageDeletion::default();
        let mut forbidden = None;
        while let Some((name, ended)) = deletions.next().await {
            match ended {
                Ok(()) => page.deleted += 1,
                Err(failure) if failure.error.is_not_leading() || failure.error.of_identity => {
                    return Err(failure.into());
                }
                Err(failure) => {
                    if failure.error.is_forbidden() {
                        forbidden = Some(failure.clone());
                    }
                    page.refused.push(refusal(name, failure));
                }
            }
        }
        match forbidden {
            // Nothing may be deleted here: the account may still go as a whole.
            Some(failure) if page.deleted == 0 => Err(failure.into()),
            _ => Ok(page),
        }
    }

    async fn delete_container(&self, _proof: &OwnershipProof) -> Called<()> {
        self.forget();
        match self.blobs.delete().await {
            Ok(()) => {}
            Err(failure) if failure.code == "ContainerBeingDeleted" => {}
            Err(failure) => {
                let error = self.out_of_reach(failure).await;
                if !self.goes_whole(&error).await {
                    return Err(CallError {
                        action: DELETE,
                        ..error
                    });
                }
                self.accounts()?.delete_container(&self.container.name).await?;
            }
        }
        self.backend
            .clients
            .end(&self.container.location, reasons::CONTAINER_DELETED);
        Ok(())
    }

    async fn runtime_access(&self, known: RegistryStorage) -> Called<(RegistryStorage, Option<Duration>)> {
        let RegistryStorage::Azure(mut azure) = known else {
            return Ok((known, None));
        };
        let needs_key = matches!(&azure.login, AzureLogin::Key(key) if key.is_empty());
        let (Some(arm), true) = (&self.session.arm, needs_key) else {
            return Ok((RegistryStorage::Azure(azure), None));
        };
        let clock = &self.backend.network.clock;
        let (key, until) = self
            .backend
            .clients
            .keys
            .get(arm, self.effective.account(), clock)
            .await?;
        azure.login = AzureLogin::Key(key);
        let lifetime = until.duration_since((clock.now)()).unwrap_or_default();
        Ok((RegistryStorage::Azure(azure), Some(lifetime)))
    }

    async fn data_plane(&self, probe: &Probe<'_>) -> Result<RegistryContainer, StorageError> {
        self.as_registry(probe).await
    }

    async fn clear_probe(&self, probe: &ProbeKeys) -> Called<()> {
        let keys = probe.all().map(blob_name);
        for name in &keys {
            unless_missing(self.blobs.delete_blob(name).await)?;
        }
        let versions = match self.blobs.versions(&keys[0]).await {
            Err(failure) if !failure.error.is_undecided() => Vec::new(),
            listed => listed?,
        };
        // A version that may not be deleted is a few bytes, and the registry does not see it.
        for (name, version) in versions.iter().filter(|(name, _)| keys.contains(name)) {
            match unless_missing(self.blobs.delete_version(name, version).await) {
                Err(failure) if failure.error.is_undecided() => return Err(failure.into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn explain(&self, error: &CallError) -> String {
        let hint = match (&self.session.credentials, error.class) {
            (Credentials::UserKey(_), CallClass::Denied) => {
                "; the key is that of the administrator's Secret: it must be a current key of this account"
            }
            _ => "",
        };
        format!("{error}{hint}")
    }
}
