//! The container of one request, and what its operations share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::account::{Account, Accounts, READ_CONTAINERS};
use super::arm::Arm;
use super::connect::Session;
use super::container::{BlobContainer, Metadata};
use super::context::Azure;
use super::effective::{self, Effective, MARK, OWNED};
use super::error::{Failure, account_gone};
use super::generated;
use super::private_stages;
use super::reasons;
use crate::api::registry_storage::AzureNetworkAccess;
use crate::storage::engine::intent::StoredStages;
use crate::storage::model::call::{CallClass, CallError, Called, Cause};
use crate::storage::model::container::{ContainerName, Owner};
use crate::storage::model::progress::StageRecord;
use crate::storage::model::target::{CreationRecord, Request};
use crate::storage::traits::Cluster;

/// Member of a container's metadata that names the cluster: its ownership mark.
pub const CONTAINER_MARK: &str = "openshiftclusterid";

/// What Resource Manager says of the account; `None`: it does not exist.
#[derive(Clone)]
pub(super) struct Described(pub(super) Option<Account>);

/// The container of a request.
pub struct Store<'a, C> {
    pub(super) backend: &'a Azure<'a, C>,
    pub(super) request: &'a Request<'a>,
    pub(super) container: ContainerName,
    /// The completed spec, with account and container in it.
    pub(super) effective: Effective,
    /// Name of the cluster in ownership marks.
    pub(super) infrastructure: String,
    /// Key of the tag that is the ownership mark.
    pub(super) mark: String,
    pub(super) session: Session,
    pub(super) blobs: BlobContainer,
    /// The account as described in this step.
    pub(super) account: Mutex<Option<Described>>,
    /// Metadata of the container as described in this step.
    pub(super) metadata: Mutex<Option<Metadata>>,
    /// Why the blob service did not answer in this step, if Resource Manager described the container.
    pub(super) unreached: Mutex<Option<String>>,
    /// What this step saw around a private account that another operator left.
    pub(super) notes: Mutex<Vec<String>>,
}

impl<C: Cluster> Store<'_, C> {
    /// Resource Manager.
    ///
    /// # Errors
    /// The administrator gave an account key, and nothing else.
    pub(super) fn arm(&self) -> Called<&Arm> {
        self.session.arm.as_deref().ok_or_else(|| {
            CallError::invalid(
                &self.container.name,
                "an account key gives no access to Resource Manager",
            )
        })
    }

    /// The account.
    pub(super) fn accounts(&self) -> Called<Accounts<'_>> {
        Ok(Accounts {
            arm: self.arm()?,
            name: self.effective.account(),
        })
    }

    /// The account as described in this step, or now; `None` if it does not exist.
    pub(super) async fn described_account(&self) -> Called<Option<Account>> {
        let known = self.account.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Described(known)) = known {
            return Ok(known);
        }
        let found = self.accounts()?.find().await?;
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = Some(Described(found.clone()));
        Ok(found)
    }

    /// Forgets the description of the account, because it is about to change.
    pub(super) fn forget_account(&self) {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether Azure accepted the deletion of the account, and this process did not see its end. Makes no call.
    pub(super) fn is_going(&self) -> bool {
        let is_deleted = self.backend.clients.ended(&self.container.location) == Some(reasons::ACCOUNT_DELETED);
        is_deleted && self.accounts().is_ok_and(|accounts| accounts.is_changing())
    }

    /// Whether the account carries the ownership mark of this cluster.
    pub(super) fn is_ours(&self, account: &Account) -> bool {
        account.is_tagged(&self.mark, OWNED)
    }

    /// Whether the account has the name that this operator gives.
    pub(super) fn has_own_name(&self) -> bool {
        generated::account(self.request.snapshot).is_ok_and(|own| own == self.effective.account())
    }

    /// Tags of what the operator creates.
    pub(super) fn tags(&self) -> Called<BTreeMap<String, String>> {
        effective::tags(self.request.snapshot).map_err(|error| CallError::invalid(&self.container.name, &error.message))
    }

    /// Records of stages. An annotation that cannot be read stops the engine before.
    pub(super) fn stage_records(&self) -> Vec<StageRecord> {
        StoredStages::of(self.request.config, &self.container.location).unwrap_or_default()
    }

    /// `networkAccess` that an earlier pass stored in the status.
    pub(super) fn stored_access(&self) -> Option<&AzureNetworkAccess> {
        let status = self.request.config.status.as_ref()?;
        status.storage.azure.as_ref()?.network_access.as_ref()
    }

    /// Name of the private endpoint that an earlier spec had: from the status, or from the record of its creation.
    pub(super) fn recorded_endpoint(&self) -> Option<String> {
        let internal = self.stored_access().and_then(|access| access.internal.as_ref());
        let stored = internal.and_then(|internal| internal.private_endpoint_name.clone());
        let recorded = || {
            let mut records = self.stage_records().into_iter();
            let record = records.rfind(|record| record.stage == private_stages::ENDPOINT.name);
            record.map(|record| record.id)
        };
        stored.filter(|name| !name.is_empty()).or_else(recorded)
    }

    /// Metadata of the container as described now.
    pub(super) async fn describe(&self) -> Called<Metadata> {
        self.forget();
        if self.is_going() {
            let message = "the storage account that holds it is being deleted".to_owned();
            return Err(CallError {
                class: CallClass::Undecided,
                ..super::error::rejected(READ_CONTAINERS, &self.container.name, message)
            });
        }
        // Resource Manager answers at once where the blob service is out of reach, and the engine does not wait for long.
        let found = match self.blobs.metadata(self.session.arm.is_none()).await {
            Ok(metadata) => Ok(metadata),
            Err(failure) => self.second_opinion(failure).await,
        };
        if let Err(error) = &found
            && error.is_container_gone()
        {
            let reason = if error.code == reasons::ACCOUNT_NOT_FOUND {
                self.backend.clients.keys.forget(self.effective.account()).await;
                reasons::ACCOUNT_NOT_FOUND
            } else {
                reasons::CONTAINER_NOT_FOUND
            };
            self.backend.clients.end(&self.container.location, reason);
        }
        let metadata = found?;
        self.backend.clients.begin(&self.container.location);
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = Some(metadata.clone());
        Ok(metadata)
    }

    /// Metadata of the container as described in this step, or now.
    pub(super) async fn described(&self) -> Called<Metadata> {
        let known = self.metadata.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some(metadata) => Ok(metadata),
            None => self.describe().await,
        }
    }

    /// Forgets the description of the container, because it is about to change.
    pub(super) fn forget(&self) {
        *self.metadata.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What Resource Manager says about a container whose blob service cannot be reached: network rules and the DNS of a
    /// private endpoint do not concern Resource Manager. Whoever cannot reach an account that does not exist gets no answer.
    async fn second_opinion(&self, failure: Failure) -> Called<Metadata> {
        let unreachable = failure.error.cause == Cause::Unreachable && !failure.error.of_identity;
        if !(unreachable || failure.code == "AuthorizationFailure") || self.session.arm.is_none() {
            return Err(failure.into());
        }
        let accounts = self.accounts()?;
        match accounts.find_anywhere().await {
            Ok(None) => Err(account_gone(failure.into())),
            Ok(Some(account)) if account.is_private() || self.may_be_hidden() => {
                match accounts.metadata(&self.container.name).await {
                    Ok(Some(metadata)) => {
                        *self.unreached.lock().unwrap_or_else(PoisonError::into_inner) =
                            Some(failure.error.to_string());
                        Ok(metadata)
                    }
                    Ok(None) => Err(CallError {
                        class: CallClass::ContainerGone,
                        code: reasons::CONTAINER_NOT_FOUND.to_owned(),
                        ..failure.into()
                    }),
                    Err(_) => Err(failure.into()),
                }
            }
            // The account exists, and clients should reach it.
            Ok(Some(_)) if unreachable => Ok(self.blobs.metadata(true).await?),
            // Another resource group than that of the account, for example: that is what the administrator can correct.
            Err(error) if error.class == CallClass::Rejected => Err(error),
            _ => Err(failure.into()),
        }
    }

    /// Whether names of the account may resolve to an endpoint that is not complete, or not any more.
    fn may_be_hidden(&self) -> bool {
        let is_private = |record: &StageRecord| private_stages::ALL.iter().any(|stage| stage.name == record.stage);
        self.effective.is_internal() || self.stage_records().iter().any(is_private)
    }

    /// Whether the account is private, so that the blob service may be out of reach.
    pub(super) async fn is_private(&self) -> bool {
        let account = self.described_account().await;
        matches!(account, Ok(Some(account)) if account.is_private())
    }

    /// The owner of a container with this metadata.
    pub(super) async fn owner(&self, metadata: &Metadata) -> Called<Owner> {
        match metadata.get(CONTAINER_MARK).map(String::as_str) {
            Some(cluster) if cluster == self.infrastructure => return Ok(Owner::Ours),
            Some(cluster) if !cluster.is_empty() => return Ok(Owner::Other(cluster.to_owned())),
            _ => {}
        }
        let missing = Owner::Nobody(format!(
            "the container has no metadata {CONTAINER_MARK}={}",
            self.infrastructure
        ));
        // The operator marks what it creates. Only containers of the Go operator have no mark of their own.
        if self.request.record != CreationRecord::None || self.session.arm.is_none() {
            return Ok(missing);
        }
        let account = self.described_account().await?.unwrap_or_default();
        Ok(self.owner_of_account(&account).unwrap_or(missing))
    }

    /// The owner that the tags of the account tell. They prove only what the Go operator creates: an account and a container with
    /// names of its form. The installer marks its account in the same way, and users put containers into any account.
    fn owner_of_account(&self, account: &Account) -> Option<Owner> {
        if self.is_ours(account) {
            let (name, snapshot) = (self.effective.account(), self.request.snapshot);
            // This operator marks the containers of its own accounts.
            let is_of_go = !self.has_own_name()
                && generated::is_generated(name, snapshot)
                && generated::is_generated_container(&self.container.name, snapshot);
            return is_of_go.then_some(Owner::Ours);
        }
        let tags = account.tags.iter().flatten();
        let mut owned = tags
            .filter(|(_, value)| *value == OWNED)
            .filter_map(|(key, _)| key.strip_prefix(MARK));
        owned.next().map(|cluster| Owner::Other(cluster.to_owned()))
    }
}
