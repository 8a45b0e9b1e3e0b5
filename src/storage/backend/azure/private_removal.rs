//! Which objects of a private storage account are the operator's, and how they are deleted.

use serde_json::{Value, json};

use super::account::Account;
use super::arm::Operation;
use super::effective::OWNED;
use super::network::is_tagged;
use super::private::{CHANGED, connects};
use super::private_dns::{LOOK, addresses_of, leads_to};
use super::private_names::Names;
use super::private_stages::{ACCESS, GROUP, LINK, RECORD, ZONE};
use super::step::Store;
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::progress::{Mark, Wait};
use crate::storage::model::stage::{Stage, StageObject};
use crate::storage::traits::Cluster;

impl<C: Cluster> Store<'_, C> {
    /// Remembers that a call about an object of a stage was refused.
    fn refused(&self, stage: &Stage, id: &str, error: CallError) -> CallError {
        if error.is_forbidden() {
            let now = self.request.snapshot.now;
            self.backend
                .clients
                .refuse(&self.container.location, stage.name, id, &error, now);
        }
        error
    }

    /// Identity and mark of the object of a stage with this recorded identity.
    pub(super) async fn prove_private(&self, stage: &Stage, id: &str) -> Called<Option<StageObject>> {
        let names = self.names_of(stage, id)?;
        let proved = self.prove_named(stage, &names).await;
        let mark = proved.map_err(|error| self.refused(stage, id, error))?;
        Ok(mark.map(|mark| StageObject {
            id: names.id(stage),
            mark,
        }))
    }

    async fn prove_named(&self, stage: &Stage, names: &Names<'_>) -> Called<Option<Mark>> {
        let Some(resource) = names.resource(stage) else {
            return self.prove_access(names).await;
        };
        let Some(found) = resource.find().await? else {
            return if stage.name == LINK.name {
                self.prove_elsewhere(names).await
            } else {
                Ok(None)
            };
        };
        let ours = match stage.name {
            name if name == RECORD.name => {
                addresses_of(&found).len() <= 1
                    && (self.marks_record(&found) || self.is_of_endpoint(names, &found).await?)
            }
            name if name == GROUP.name => self.is_endpoint_ours(names).await?,
            name if name == ZONE.name => {
                is_tagged(&found, &self.mark, OWNED) && names.networks.is_empty(&names.zone, &found).await?
            }
            _ => is_tagged(&found, &self.mark, OWNED),
        };
        Ok(Some(if ours {
            Mark::Ours(names.id(stage))
        } else {
            Mark::NotOurs("it has no mark of this cluster, or others use it".to_owned())
        }))
    }

    /// The missing public access is the operator's work if it recorded that, or if an endpoint of the Go operator leads to the
    /// account: public access ended after that.
    async fn prove_access(&self, names: &Names<'_>) -> Called<Option<Mark>> {
        let account = self.described_account().await?;
        let Some(account) = account.filter(Account::is_private) else {
            return Ok(None);
        };
        if let Some(cluster) = self.other_cluster(&account) {
            return Ok(Some(Mark::NotOurs(format!(
                "the account carries the tag of cluster {cluster}"
            ))));
        }
        Ok(Some(
            if self.has_record(&ACCESS) || self.is_endpoint_ours(names).await? {
                Mark::Ours(names.id(&ACCESS))
            } else {
                Mark::NotOurs("the operator did not disable public access".to_owned())
            },
        ))
    }

    /// Whether a record has the address of the operator's endpoint. Azure rewrites the record of an endpoint with a zone
    /// group, without the metadata of others.
    async fn is_of_endpoint(&self, names: &Names<'_>, record: &Value) -> Called<bool> {
        let endpoint = names.endpoint();
        let Some(found) = endpoint.find().await? else {
            return Ok(false);
        };
        if !is_tagged(&found, &self.mark, OWNED) {
            return Ok(false);
        }
        let address = names.networks.address(&endpoint, &found).await;
        Ok(address.is_ok_and(|address| leads_to(record, &address)))
    }

    /// Whether the endpoint is the operator's, and that of the account.
    async fn is_endpoint_ours(&self, names: &Names<'_>) -> Called<bool> {
        let account = self.accounts()?.path();
        let found = names.endpoint().find().await?;
        Ok(found.is_some_and(|found| is_tagged(&found, &self.mark, OWNED) && connects(&found, &account)))
    }

    async fn prove_elsewhere(&self, names: &Names<'_>) -> Called<Option<Mark>> {
        let Some(record) = self.record_elsewhere(names).await? else {
            return Ok(None);
        };
        let found = record.find().await?;
        Ok(found
            .filter(|found| self.may_delete_elsewhere(found))
            .map(|_| Mark::Ours(names.id(&LINK))))
    }

    /// Whether a record of a zone of others is the operator's alone.
    fn may_delete_elsewhere(&self, record: &Value) -> bool {
        self.marks_record(record) && addresses_of(record).len() <= 1
    }

    /// Why an object has to stay: the account is private, and stays so.
    pub(super) async fn must_stay_private(&self, stage: &Stage) -> Called<Option<String>> {
        let (clients, location) = (self.backend.clients, &self.container.location);
        clients.leave(location, ACCESS.name, None);
        if stage.name == ACCESS.name {
            return Ok(None);
        }
        let account = self.described_account().await?;
        let Some(account) = account.filter(Account::is_private) else {
            return Ok(None);
        };
        let id = self.effective.account();
        let why = match (clients.refusal(location, ACCESS.name, id), self.other_cluster(&account)) {
            (_, Some(cluster)) => format!("it carries the tag of cluster {cluster}"),
            (Some(refused), None) => refused,
            (None, None) => "there is no record that the operator disabled its public access".to_owned(),
        };
        let stays = format!(
            "storage account {id} stays private, with its private endpoint and DNS, because the operator may not enable its \
             public access ({why}): enable public access, or delete account, private endpoint and DNS objects by hand"
        );
        clients.leave(location, ACCESS.name, Some(stays.clone()));
        Ok(Some(stays))
    }

    /// Deletes the object of a stage with this recorded identity.
    ///
    /// # Errors
    /// The deletion was refused, or failed later on.
    pub(super) async fn remove_private(&self, stage: &Stage, id: &str) -> Called<Wait> {
        let removed = self.remove_named(stage, &self.names_of(stage, id)?).await;
        removed.map_err(|error| self.refused(stage, id, error))
    }

    async fn remove_named(&self, stage: &Stage, names: &Names<'_>) -> Called<Wait> {
        let Some(mut resource) = names.resource(stage) else {
            let accounts = self.accounts()?;
            self.forget_account();
            accounts.update(&json!({"publicNetworkAccess": "Enabled"})).await?;
            let message = format!("public access to storage account {} is being enabled", accounts.name);
            return Ok(Wait::new(CHANGED, message));
        };
        let deleting = |after, resource: &super::network::Resource<'_>| {
            Ok(Wait::new(after, format!("{} is being deleted", resource.described())))
        };
        if let Operation::Running(after) = resource.operation().await? {
            return deleting(after, &resource);
        }
        if stage.name == LINK.name && resource.find().await?.is_none() {
            let Some(record) = self.record_elsewhere(names).await? else {
                return deleting(CHANGED, &resource);
            };
            match record.find().await? {
                Some(found) if self.may_delete_elsewhere(&found) => resource = record,
                _ => return deleting(CHANGED, &record),
            }
        }
        resource.delete().await?;
        let after = match resource.operation().await {
            Ok(Operation::Running(after)) => after,
            Ok(Operation::None) => CHANGED,
            // The next look at the operation decides.
            Err(error) if error.is_undecided() && resource.arm.has_operation(&resource.path) => LOOK,
            Err(error) => return Err(error),
        };
        deleting(after.max(CHANGED), &resource)
    }
}
