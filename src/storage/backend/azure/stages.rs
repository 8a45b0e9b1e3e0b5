//! The stage of the account: its creation and deletion. Those of a private account are in `private`.

use std::time::Duration;

use super::account::{Availability, KINDS};
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
            "Secret image-registry-private-configuration-user has an account key, and spec.storage.azure.{field} is \
             empty: set the field."
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
            _ => self.create_private(stage).await,
        }
    }

    /// Identity and mark of the object of a stage.
    pub(super) async fn prove_object(&self, stage: &Stage, id: &str) -> Called<Option<StageObject>> {
        match stage.name {
            name if name == ACCOUNT.name => self.prove_account().await,
            name if name == NAMES.name => Ok(None),
            _ => self.prove_private(stage, id).await,
        }
    }

    /// The account is the operator's only if everything in it is.
    async fn prove_account(&self) -> Called<Option<StageObject>> {
        self.forget_account();
        let id = self.effective.account().to_owned();
        let (accounts, clients) = (self.accounts()?, &self.backend.clients);
        let location = &self.container.location;
        clients.leave(location, ACCOUNT.name, None);
        if self.is_going() {
            // It was proven before the deletion that is under way, and is proven again before another one.
            let mark = Mark::Ours(id.clone());
            return Ok(Some(StageObject { id, mark }));
        }
        // The name of an account that this process deleted may be in use for a while.
        let found = if clients.ended(location) == Some(reasons::ACCOUNT_DELETED) {
            accounts.find().await?
        } else {
            accounts.find_anywhere().await?
        };
        let Some(account) = found else {
            clients.end(location, reasons::ACCOUNT_NOT_FOUND);
            return Ok(None);
        };
        let foreign = if self.is_ours(&account) {
            self.of_others().await?
        } else {
            let tag = format!("{}={}", self.mark, super::effective::OWNED);
            Some(format!("it has no tag {tag}"))
        };
        let mark = match foreign {
            Some(why) => {
                clients.leave(location, ACCOUNT.name, Some(format!("storage account {id} ({why})")));
                Mark::NotOurs(why)
            }
            None => Mark::Ours(id.clone()),
        };
        Ok(Some(StageObject { id, mark }))
    }

    /// What the account holds that is not the operator's, or may not be; `None`: nothing. Users, and other parts of the cluster
    /// such as the driver of file shares, take any account that they find.
    async fn of_others(&self) -> Called<Option<String>> {
        let containers = self.other_containers().await?;
        if !containers.is_empty() {
            return Ok(Some(format!("it holds other containers: {}", some_of(&containers))));
        }
        let accounts = self.accounts()?;
        for kind in KINDS {
            let (what, _, action) = kind;
            if self.session.cloud.stack && what == "file share" {
                continue;
            }
            match accounts.others(kind).await {
                Ok(found) if found.is_empty() => {}
                Ok(found) => return Ok(Some(format!("it holds a {what} of others: {}", some_of(&found)))),
                Err(error) if error.is_undecided() || error.is_not_leading() || error.of_identity => return Err(error),
                Err(error) => {
                    return Ok(Some(format!(
                        "whether it holds a {what} of others cannot be read, which needs {action}: {error}"
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Containers of the account that the operator may not delete.
    async fn other_containers(&self) -> Called<Vec<String>> {
        let mut names = if self.session.cloud.stack {
            self.blobs.neighbours().await?
        } else {
            self.accounts()?.containers().await?
        };
        names.retain(|name| !is_of_azure(name));
        let own = names.iter().position(|name| *name == self.container.name);
        if let Some(place) = own
            && self.may_go().await?
        {
            names.remove(place);
        }
        Ok(names)
    }

    /// Whether the container that still exists in the account carries the operator's mark.
    async fn may_go(&self) -> Called<bool> {
        let metadata = if self.session.cloud.stack {
            self.described().await?
        } else {
            let found = self.accounts()?.metadata(&self.container.name).await?;
            found.unwrap_or_default()
        };
        Ok(metadata.get(CONTAINER_MARK) == Some(&self.infrastructure))
    }

    /// Deletes the object of a stage.
    pub(super) async fn delete_stage(&self, stage: &Stage, id: &str) -> Called<Wait> {
        if stage.name != ACCOUNT.name {
            return self.remove_private(stage, id).await;
        }
        self.delete_account().await
    }

    /// Deletes the account. A deletion that is under way is looked at, and no other one is sent in the same step.
    async fn delete_account(&self) -> Called<Wait> {
        let (accounts, clients) = (self.accounts()?, &self.backend.clients);
        let location = &self.container.location;
        let message = format!("storage account {} is being deleted", accounts.name);
        if !accounts.is_changing() {
            accounts.delete().await?;
            self.forget_account();
            clients.keys.forget(accounts.name).await;
            clients.end(location, reasons::ACCOUNT_DELETED);
        }
        match accounts.deletion().await {
            Ok(Operation::Running(after)) => Ok(Wait::new(after, message)),
            Ok(Operation::None) => Ok(Wait::new(Duration::ZERO, message)),
            // The next look at the operation decides.
            Err(error) if error.is_undecided() && accounts.is_changing() => Ok(Wait::new(LOOK, message)),
            Err(error) => {
                clients.begin(location);
                Err(error)
            }
        }
    }
}

/// Whether Azure itself keeps its logs in a container of this name. `$web` and `$root` hold data of users.
fn is_of_azure(container: &str) -> bool {
    matches!(container, "$logs" | "$blobchangefeed") || container.starts_with("$metrics")
}

/// The first of these names, for messages.
fn some_of(names: &[String]) -> String {
    names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ")
}
