//! A private account that the Go operator left. It kept no records of what it created, ignored a network that was linked to another
//! zone, and used one zone name in all clouds. Such an account works as it is: what surrounds it is looked at and told, and nothing
//! is written.

use std::sync::PoisonError;

use super::effective::OWNED;
use super::generated;
use super::network::{Resource, is_tagged, same_id};
use super::private::{connection_status, connects};
use super::private_dns::{addresses_of, leads_to, linked_network};
use super::private_names::Names;
use super::private_repair::{Progress, provisioning};
use super::private_stages::{ACCESS, ALL, ENDPOINT, GROUP, LINK, RECORD};
use super::step::Store;
use crate::api::registry_storage::AzureInternal;
use crate::storage::model::call::Called;
use crate::storage::model::progress::StageRecord;
use crate::storage::model::stage::{Stage, StageState};
use crate::storage::traits::Cluster;

/// The zone that the Go operator made in all clouds.
const ZONE_OF_GO: &str = "privatelink.blob.core.windows.net";

impl<C: Cluster> Store<'_, C> {
    /// Whether an operator without records made the account private, as far as the Config says: the status names the endpoint of this
    /// account, and no creation around the account is recorded.
    pub(super) fn is_inherited(&self) -> bool {
        let Some(endpoint) = self.inherited_endpoint() else {
            return false;
        };
        // This operator gives its own endpoint this name, also where the records are those of another container, or lost.
        let is_own = generated::private_endpoint(self.request.snapshot).is_ok_and(|own| own == endpoint);
        // An edit of the endpoint's name that was taken back leaves records of another endpoint.
        let is_of_another = |record: &StageRecord| {
            (record.stage == ENDPOINT.name || record.stage == GROUP.name) && record.id != endpoint
        };
        let is_recorded =
            |record: &StageRecord| ALL.iter().any(|stage| stage.name == record.stage) && !is_of_another(record);
        !is_own && !self.stage_records().iter().any(is_recorded)
    }

    /// Name of the private endpoint of this account in the status.
    pub(super) fn inherited_endpoint(&self) -> Option<String> {
        let status = self.request.config.status.as_ref();
        let stored = status.and_then(|status| status.storage.azure.as_ref());
        let stored = stored.filter(|stored| stored.account_name.as_deref() == Some(self.effective.account()))?;
        let internal = stored.network_access.as_ref()?.internal.as_ref()?;
        internal.private_endpoint_name.clone().filter(|name| !name.is_empty())
    }

    /// The names of what exists: what the Go operator left, or what this operator creates.
    pub(super) fn known_names(&self) -> Called<Names<'_>> {
        let mut names = self.names()?;
        self.name_as_known(&mut names);
        Ok(names)
    }

    /// Names the zone that the Go operator made, if it made this account private.
    pub(super) fn name_as_known(&self, names: &mut Names<'_>) {
        if self.is_inherited() {
            ZONE_OF_GO.clone_into(&mut names.zone);
        }
    }

    /// Whether such an account is private already, and the spec names nothing that the status has otherwise. An edit of the network is
    /// carried out.
    pub(super) async fn is_accepted(&self) -> Called<bool> {
        let stored = self.stored_access().and_then(|access| access.internal.as_ref());
        let is_wanted = stored.is_some_and(|stored| agrees(&self.effective.internal(), stored));
        if !self.is_inherited() || !self.effective.is_internal() || !is_wanted {
            return Ok(false);
        }
        let account = self.described_account().await?;
        Ok(account.is_some_and(|account| account.is_private()))
    }

    /// State of a stage of such an account: ready. What is missing, or may not be read, is noted for the message.
    pub(super) async fn accepted_stage(&self, stage: &Stage) -> Called<StageState> {
        let names = &self.known_names()?;
        let noted = match stage.name {
            name if name == ACCESS.name => Ok(None),
            name if name == ENDPOINT.name => self.note_on_endpoint(names).await,
            name if name == RECORD.name => self.note_on_record(names).await,
            name if name == LINK.name => self.note_on_link(names).await,
            _ => match names.resource(stage) {
                Some(resource) => {
                    let found = resource.find().await;
                    found.map(|found| found.is_none().then(|| absent(&resource)))
                }
                None => Ok(None),
            },
        };
        let note = match noted {
            Ok(note) => note,
            Err(error) if error.is_undecided() || error.is_not_leading() || error.of_identity => return Err(error),
            Err(error) if error.is_forbidden() => Some(format!("{} needs {}", error.resource, error.action)),
            Err(error) => Some(error.to_string()),
        };
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = note
            && !notes.contains(&note)
        {
            notes.push(note);
        }
        let mut storage = self.request.storage.clone();
        // A removal finds the endpoint by its name in the status, also where the spec does not name it.
        if let Some(access) = storage.azure.as_mut().and_then(|azure| azure.network_access.as_mut()) {
            access.internal = self.stored_access().and_then(|stored| stored.internal.clone());
        }
        let id = names.id(stage);
        Ok(StageState::Ready { storage, id })
    }

    async fn note_on_endpoint(&self, names: &Names<'_>) -> Called<Option<String>> {
        let endpoint = names.endpoint();
        let Some(found) = endpoint.find().await? else {
            return Ok(Some(absent(&endpoint)));
        };
        let account = self.accounts()?.path();
        let why = match connection_status(&found) {
            Some(status) if status != "Approved" => format!("has a connection that is {status}"),
            _ if matches!(provisioning(&found), Progress::Failed) => "could not be created or changed".to_owned(),
            _ if !connects(&found, &account) => "does not lead to the account".to_owned(),
            _ if !is_tagged(&found, &self.mark, OWNED) => format!("has no tag {}={OWNED}", self.mark),
            _ => return Ok(None),
        };
        Ok(Some(format!("{} {why}", endpoint.described())))
    }

    async fn note_on_record(&self, names: &Names<'_>) -> Called<Option<String>> {
        let record = names.networks.record(None, &names.zone, &names.account);
        let Some(found) = record.find().await? else {
            return Ok(Some(absent(&record)));
        };
        let Some(endpoint) = names.endpoint().find().await? else {
            return Ok(None);
        };
        let address = names.networks.address(&names.endpoint(), &endpoint).await?;
        Ok((!leads_to(&found, &address)).then(|| {
            let has = addresses_of(&found).join(", ");
            format!(
                "{} has address {has}, and the private endpoint {address}",
                record.described()
            )
        }))
    }

    async fn note_on_link(&self, names: &Names<'_>) -> Called<Option<String>> {
        let vnet = self.vnet(names);
        if vnet.name.is_empty() {
            return Ok(None);
        }
        let link = names.networks.link(&names.zone, &names.account);
        let found = link.find().await?;
        if found.is_some_and(|found| same_id(linked_network(&found), &vnet.path))
            || names.networks.is_linked(&names.zone, &vnet.path).await?
            || self.is_resolved_elsewhere(names).await?
        {
            return Ok(None);
        }
        Ok(Some(format!(
            "{} is linked to no zone {} with the account's record that the operator may see",
            vnet.described(),
            names.zone
        )))
    }

    /// What was noted in this step, as a sentence for the message of the storage.
    pub(super) fn noted(&self) -> Option<String> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        (!notes.is_empty()).then(|| {
            format!(
                "Its private endpoint and DNS were there before this operator, and are not changed. What the operator saw after the \
                 last change of the Config: {}. If registry pods do not reach the account, correct that by hand.",
                notes.join("; ")
            )
        })
    }
}

/// Whether each name that the spec gives is the stored one.
fn agrees(wanted: &AzureInternal, stored: &AzureInternal) -> bool {
    let same = |wanted: &Option<String>, stored: &Option<String>| {
        wanted.as_ref().is_none_or(String::is_empty) || wanted == stored
    };
    same(&wanted.network_resource_group_name, &stored.network_resource_group_name)
        && same(&wanted.vnet_name, &stored.vnet_name)
        && same(&wanted.subnet_name, &stored.subnet_name)
        && same(&wanted.private_endpoint_name, &stored.private_endpoint_name)
}

fn absent(resource: &Resource<'_>) -> String {
    format!("{} does not exist", resource.described())
}
