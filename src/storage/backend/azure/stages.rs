//! The stages of the account: its creation, and the end of shared keys. Those of a private account are in `private`.

use std::time::Duration;

use serde_json::json;

use super::account::Availability;
use super::arm::Operation;
use super::reasons;
use super::step::{CONTAINER_MARK, Store};
use crate::status::conditions::{ConditionUpdate, Status};
use crate::storage::model::call::{CallClass, CallError, Called};
use crate::storage::model::outcome::STORAGE_EXISTS;
use crate::storage::model::progress::{Mark, Wait};
use crate::storage::model::stage::{Stage, StageObject, StageState};
use crate::storage::traits::Cluster;

/// Longest time of an operation.
const DEADLINE: Duration = Duration::from_mins(10);
/// Wait before the next look at an account that is being created.
const LOOK: Duration = Duration::from_secs(10);
/// Wait for an administrator who gave an account key without the names.
const CONFIGURED: Duration = Duration::from_mins(10);

/// The storage account.
pub const ACCOUNT: Stage = Stage {
    name: "account",
    deadline: DEADLINE,
};
/// The account without shared keys.
pub const SHARED_KEYS: Stage = Stage {
    name: "shared keys",
    deadline: DEADLINE,
};
/// The names of account and container, which an administrator with an account key must give.
pub const NAMES: Stage = Stage {
    name: "names of account and container",
    deadline: DEADLINE,
};

impl<C: Cluster> Store<'_, C> {
    /// State of a stage.
    pub(super) async fn stage_state(&self, stage: &Stage) -> Called<StageState> {
        match stage.name {
            name if name == ACCOUNT.name => self.account_state().await,
            name if name == SHARED_KEYS.name => self.shared_keys_state().await,
            name if name == NAMES.name => Ok(self.not_configured()),
            _ => self.private_stage(stage).await,
        }
    }

    /// The wait until the administrator gives the names. That is no error.
    fn not_configured(&self) -> StageState {
        let spec = self.request.storage.azure.clone().unwrap_or_default();
        let field = if spec.account_name.is_none_or(|name| name.is_empty()) {
            "accountName"
        } else {
            "container"
        };
        let message = format!(
            "The account key of the administrator's Secret is given, and spec.storage.azure.{field} is not: set it."
        );
        let condition = ConditionUpdate::new(STORAGE_EXISTS, Status::False, reasons::NOT_CONFIGURED, message.clone());
        StageState::Pending(Wait::new(CONFIGURED, message).with(vec![condition]))
    }

    async fn account_state(&self) -> Called<StageState> {
        let accounts = self.accounts()?;
        let name = accounts.name.to_owned();
        let pending = |after| {
            let message = format!("storage account {name} is being created");
            Ok(StageState::Pending(Wait::new(after, message)))
        };
        if let Operation::Running(after) = accounts.operation().await? {
            return pending(after);
        }
        let mut storage = self.request.storage.clone();
        let spec = storage.azure.get_or_insert_default();
        let generated = spec.account_name.as_ref().is_none_or(std::string::String::is_empty);
        spec.account_name = Some(name.clone());
        let id = name.clone();
        match self.described_account().await? {
            Some(account) if account.is_ready() => return Ok(StageState::Ready { storage, id }),
            Some(_) => return pending(LOOK),
            None => {}
        }
        let refused = |class, of_identity, message| {
            Err(CallError {
                class,
                of_identity,
                ..super::error::rejected(super::account::READ, &format!("storage account {name}"), message)
            })
        };
        match accounts.availability().await? {
            Availability::Available | Availability::Unknown => Ok(StageState::Missing {
                storage,
                id,
                reason: Some(reasons::ACCOUNT_NOT_FOUND),
            }),
            Availability::Taken => {
                let whose = if generated {
                    "the name that the operator chose"
                } else {
                    "the name"
                };
                let message = format!(
                    "{whose} is taken, and resource group {} has no such account, or these credentials may not see it: name \
                     another account in spec.storage.azure.accountName",
                    accounts.arm.group
                );
                refused(CallClass::NameTaken, false, message)
            }
            // The name is wrong, whatever storage exists: the reason is that of a configuration.
            Availability::Invalid(why) => {
                let message = format!("Azure does not allow the name: {why}: correct spec.storage.azure.accountName");
                refused(CallClass::Rejected, true, message)
            }
        }
    }

    /// Keys of an account of others stay: they may be in use.
    async fn shared_keys_state(&self) -> Called<StageState> {
        let id = self.effective.account().to_owned();
        let storage = self.request.storage.clone();
        let account = self.described_account().await?.unwrap_or_default();
        if account.has_shared_keys() && self.is_ours(&account) {
            return Ok(StageState::Missing {
                storage,
                id,
                reason: None,
            });
        }
        if account.has_shared_keys() {
            tracing::info!(
                account = id,
                "the keys of the storage account stay enabled: the account has no tag of this cluster"
            );
        }
        Ok(StageState::Ready { storage, id })
    }

    /// Creates the object of a stage.
    pub(super) async fn create_stage(&self, stage: &Stage) -> Called<StageState> {
        let accounts = self.accounts()?;
        let name = accounts.name;
        match stage.name {
            stage if stage == ACCOUNT.name => {
                self.forget_account();
                accounts.create(&self.tags()?, self.session.is_keyless()).await?;
                let after = match accounts.operation().await? {
                    Operation::Running(after) => after,
                    Operation::None => Duration::from_secs(1),
                };
                let message = format!("storage account {name} is being created");
                Ok(StageState::Pending(Wait::new(after, message)))
            }
            stage if stage == SHARED_KEYS.name => {
                self.forget_account();
                accounts.update(&json!({"allowSharedKeyAccess": false})).await?;
                let message = format!("the keys of storage account {name} are being disabled");
                Ok(StageState::Pending(Wait::new(Duration::ZERO, message)))
            }
            _ => self.create_private(stage).await,
        }
    }

    /// Identity and mark of the object of a stage.
    pub(super) async fn prove_object(&self, stage: &Stage, id: &str) -> Called<Option<StageObject>> {
        match stage.name {
            name if name == ACCOUNT.name => self.prove_account().await,
            name if name == SHARED_KEYS.name || name == NAMES.name => Ok(None),
            _ => self.prove_private(stage, id).await,
        }
    }

    /// The account is the operator's only if everything in it is.
    async fn prove_account(&self) -> Called<Option<StageObject>> {
        self.forget_account();
        let id = self.effective.account().to_owned();
        let Some(account) = self.described_account().await? else {
            self.backend
                .clients
                .end(&self.container.location, reasons::ACCOUNT_NOT_FOUND);
            return Ok(None);
        };
        let object = |mark| Ok(Some(StageObject { id: id.clone(), mark }));
        if !self.is_ours(&account) {
            return object(Mark::NotOurs(format!(
                "account {id} has no tag {}={}",
                self.mark,
                super::effective::OWNED
            )));
        }
        let others = self.other_containers().await?;
        if !others.is_empty() {
            let some: Vec<_> = others.iter().take(3).map(String::as_str).collect();
            return object(Mark::NotOurs(format!(
                "account {id} holds other containers: {}",
                some.join(", ")
            )));
        }
        object(Mark::Ours(id.clone()))
    }

    /// Containers of the account that the operator may not delete.
    async fn other_containers(&self) -> Called<Vec<String>> {
        let mut names = if self.session.cloud.stack {
            self.blobs.neighbours().await?
        } else {
            self.accounts()?.containers().await?
        };
        // Azure's own containers.
        names.retain(|name| !name.starts_with('$'));
        let own = names.iter().position(|name| *name == self.container.name);
        if let Some(place) = own
            && self.may_go().await?
        {
            names.remove(place);
        }
        Ok(names)
    }

    /// Whether the container that still exists in the account carries no mark of another cluster, and the operator's if the
    /// operator created it.
    async fn may_go(&self) -> Called<bool> {
        let metadata = if self.session.cloud.stack {
            self.described().await?
        } else {
            let found = self.accounts()?.metadata(&self.container.name).await?;
            found.unwrap_or_default()
        };
        let marked = metadata.get(CONTAINER_MARK).map(String::as_str);
        Ok(match marked {
            Some(cluster) => cluster == self.infrastructure,
            None => !self.request.record.is_created(),
        })
    }

    /// Deletes the object of a stage.
    pub(super) async fn delete_stage(&self, stage: &Stage, id: &str) -> Called<Wait> {
        if stage.name != ACCOUNT.name {
            return self.remove_private(stage, id).await;
        }
        let accounts = self.accounts()?;
        accounts.delete().await?;
        self.backend
            .clients
            .end(&self.container.location, reasons::ACCOUNT_DELETED);
        let message = format!("storage account {} is being deleted", accounts.name);
        Ok(Wait::new(Duration::ZERO, message))
    }
}
