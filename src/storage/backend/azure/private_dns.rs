//! The record of a private account, and the link through which its virtual network finds the record: in the cluster's zone, or in
//! a zone of the same name in another resource group, to which the network is linked already.

use std::time::Duration;

use serde_json::{Value, json};

use super::arm::Operation;
use super::effective::OWNED;
use super::error::Failure;
use super::network::{self, Condition, Resource, is_tagged, same_id};
use super::private_names::Names;
use super::private_repair::Progress;
use super::private_stages::{ENDPOINT, LINK, RECORD};
use super::step::Store;
use crate::storage::model::call::{CallError, Called, Cause};
use crate::storage::model::progress::Wait;
use crate::storage::model::stage::StageState;
use crate::storage::traits::Cluster;

/// Wait before the next look at a resource that is being created or deleted.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// Member of a record's metadata that names the cluster.
const RECORD_MARK: &str = "openshiftclusterid";
/// Whether a link was refused because the network is linked to another zone whose name overlaps. Azure has no code for that: in
/// operations it was seen as `BadRequest`, for which only the text tells the cause, and as `Conflict`.
fn is_overlap(failure: &Failure) -> bool {
    match failure.code.as_str() {
        "Conflict" => true,
        "BadRequest" => failure.error.message.contains("overlapping namespaces"),
        _ => false,
    }
}

pub(super) fn pending(resource: &str, after: Duration) -> StageState {
    StageState::Pending(Wait::new(after, format!("{resource} is being created")))
}

/// Addresses of a record.
pub(super) fn addresses_of(record: &Value) -> Vec<&str> {
    let all = record.pointer("/properties/aRecords").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter_map(|one| one.get("ipv4Address")?.as_str())
        .collect()
}

/// ID of the virtual network that a link links; empty: none.
pub(super) fn linked_network(link: &Value) -> &str {
    let id = link.pointer("/properties/virtualNetwork/id").and_then(Value::as_str);
    id.unwrap_or_default()
}

/// Whether a record leads to this address and nowhere else.
pub(super) fn leads_to(record: &Value, address: &str) -> bool {
    addresses_of(record) == [address]
}

impl<C: Cluster> Store<'_, C> {
    pub(super) fn ready(&self, id: String) -> StageState {
        StageState::Ready {
            storage: self.request.storage.clone(),
            id,
        }
    }

    pub(super) fn missing(&self, id: String) -> StageState {
        StageState::Missing {
            storage: self.request.storage.clone(),
            id,
            reason: None,
        }
    }

    /// Address of the endpoint.
    pub(super) async fn address(&self, names: &Names<'_>) -> Called<String> {
        let endpoint = names.endpoint();
        let Some(found) = endpoint.find().await? else {
            return Err(endpoint.rejected("it does not exist"));
        };
        names.networks.address(&endpoint, &found).await
    }

    /// Content of the record.
    pub(super) fn record_content(&self, address: &str) -> Value {
        json!({
            "properties": {
                "ttl": 10, "aRecords": [{"ipv4Address": address}],
                "metadata": {RECORD_MARK: self.infrastructure},
            },
        })
    }

    /// Whether a record carries the mark of this cluster.
    pub(super) fn marks_record(&self, found: &Value) -> bool {
        let metadata = found.pointer("/properties/metadata").and_then(Value::as_object);
        let ours = |(key, value): (&String, &Value)| {
            key.eq_ignore_ascii_case(RECORD_MARK) && value.as_str() == Some(&self.infrastructure)
        };
        metadata.is_some_and(|metadata| metadata.iter().any(ours))
    }

    /// Whether the operator may replace a record that leads somewhere else: it carries the mark, or leads to an endpoint that the
    /// operator had before. Azure rewrites the record of an endpoint with a zone group, without the metadata of others.
    async fn is_replaceable(&self, names: &Names<'_>, found: &Value) -> Called<bool> {
        let addresses = addresses_of(found);
        let [address] = addresses.as_slice() else {
            return Ok(addresses.is_empty());
        };
        if self.marks_record(found) {
            return Ok(true);
        }
        for record in self.stage_records().into_iter().chain(self.inherited()) {
            if record.stage != ENDPOINT.name || record.id == names.endpoint {
                continue;
            }
            let before = names.networks.endpoint(&record.id);
            if let Some(found) = before.find().await?
                && is_tagged(&found, &self.mark, OWNED)
                && names.networks.address(&before, &found).await? == *address
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The error of a record of somebody else.
    fn foreign(record: &Resource<'_>, found: &Value, wanted: &str) -> CallError {
        record.rejected(format!(
            "it has {}, and the private endpoint has {wanted}, so that clients would not find the account: correct the record, \
             or delete it. Public access stays as it is until then",
            match addresses_of(found).as_slice() {
                [] => "no address".to_owned(),
                some => format!("address {}", some.join(", ")),
            }
        ))
    }

    /// State of the record in the cluster's zone.
    pub(super) async fn record_state(&self, names: &Names<'_>) -> Called<StageState> {
        let record = names.networks.record(None, &names.zone, &names.account);
        let id = names.id(&RECORD);
        let Some(found) = record.find().await? else {
            return Ok(self.missing(id));
        };
        let wanted = self.address(names).await?;
        if leads_to(&found, &wanted) {
            return Ok(self.ready(id));
        }
        if self.is_replaceable(names, &found).await? {
            return Ok(self.missing(id));
        }
        Err(Self::foreign(&record, &found, &wanted))
    }

    /// Writes a record that does not exist, or that the operator may replace.
    ///
    /// # Errors
    /// The record is somebody else's, or the write failed.
    pub(super) async fn write_record(&self, names: &Names<'_>, record: &Resource<'_>) -> Result<StageState, Failure> {
        let address = self.address(names).await?;
        let condition = match record.find().await? {
            None => Condition::Absent,
            Some(found) if leads_to(&found, &address) => {
                return Ok(pending(&record.described(), Duration::from_secs(1)));
            }
            Some(found) if self.is_replaceable(names, &found).await? => Condition::Unchanged(found),
            Some(found) => return Err(Self::foreign(record, &found, &address).into()),
        };
        match record.put_if(&self.record_content(&address), &condition).await {
            Ok(()) => Ok(pending(&record.described(), Duration::from_secs(1))),
            // Somebody was faster, or the response of an attempt got lost: the next look decides.
            Err(failure) if failure.error.cause == Cause::Answer(412) => Ok(pending(&record.described(), LOOK)),
            Err(failure) => Err(failure),
        }
    }

    /// State of the link.
    pub(super) async fn link_state(&self, names: &Names<'_>) -> Called<StageState> {
        let link = names.networks.link(&names.zone, &names.account);
        let id = names.id(&LINK);
        let (clients, now) = (self.backend.clients, self.request.snapshot.now);
        match link.outcome().await {
            Ok(Operation::Running(after)) => return Ok(pending(&link.described(), after)),
            Ok(Operation::None) => {}
            Err(failure) if is_overlap(&failure) => clients.conflict(&link.path, &failure.error, now),
            Err(failure) => {
                clients.fail(&link.path, &failure.error);
                return Err(failure.into());
            }
        }
        let vnet = self.vnet(names);
        let found = link.find().await?;
        if let Some(found) = &found {
            let linked = linked_network(found);
            if !same_id(linked, &vnet.path) {
                return Err(link.rejected(format!(
                    "it links {linked}, and not {}: delete the link, so that it is created again, or correct vnetName in \
                     spec.storage.azure.networkAccess.internal",
                    vnet.path
                )));
            }
            match self.progress(&link, found) {
                Progress::Complete => return Ok(self.ready(id)),
                Progress::Running => return Ok(pending(&link.described(), LOOK)),
                Progress::Failed if clients.conflicts(&link.path, now).is_some() => {}
                Progress::Failed => self.check_repair(&link, is_tagged(found, &self.mark, OWNED))?,
            }
        } else if names.networks.is_linked(&names.zone, &vnet.path).await? {
            return Ok(self.ready(id));
        }
        Ok(if self.is_resolved_elsewhere(names).await? {
            self.ready(id)
        } else {
            self.missing(id)
        })
    }

    /// Whether the virtual network is linked to a zone of the same name elsewhere, which has the account's record.
    pub(super) async fn is_resolved_elsewhere(&self, names: &Names<'_>) -> Called<bool> {
        let Some(record) = self.record_elsewhere(names).await? else {
            return Ok(false);
        };
        let Some(found) = record.find().await? else {
            return Ok(false);
        };
        Ok(leads_to(&found, &self.address(names).await?))
    }

    /// The account's record in the zone of the same name to which the virtual network is linked, outside the cluster's
    /// resource group.
    pub(super) async fn record_elsewhere<'n>(&self, names: &'n Names<'_>) -> Called<Option<Resource<'n>>> {
        let vnet = self.vnet(names);
        let linked = match names.networks.linked_elsewhere(&names.zone, &vnet.path).await {
            Ok(linked) => linked,
            // Most roles cover the cluster's resource group only.
            Err(error) if error.is_forbidden() => None,
            Err(error) => return Err(error),
        };
        Ok(linked.map(|group| names.networks.record(Some(&group), &names.zone, &names.account)))
    }

    /// Links the virtual network; one that is linked to another zone of the name gets its record there.
    pub(super) async fn create_link(&self, names: &Names<'_>) -> Called<StageState> {
        let vnet = self.vnet(names);
        let link = names.networks.link(&names.zone, &names.account);
        let (clients, now) = (self.backend.clients, self.request.snapshot.now);
        if let Some(refused) = clients.conflicts(&link.path, now) {
            return self.resolve_elsewhere(names, &vnet, refused).await;
        }
        match link.put(&network::link_content(&self.tags()?, &vnet.path)).await {
            Ok(()) => {
                clients.attempt(&link.path, now);
                Ok(pending(&link.described(), Duration::from_secs(1)))
            }
            Err(failure) if is_overlap(&failure) => {
                clients.conflict(&link.path, &failure.error, now);
                self.resolve_elsewhere(names, &vnet, *failure.error).await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// The virtual network is linked to another zone of the same name. Its record goes there.
    async fn resolve_elsewhere(&self, names: &Names<'_>, vnet: &Resource<'_>, error: CallError) -> Called<StageState> {
        let address = self.address(names).await?;
        let refused = |why: &str| {
            let message = format!(
                "{}; {} is linked to another zone {}, {why}: add an A record {} with address {address} to that zone, or link \
                 this network to the zone in resource group {}. Public access stays enabled until then",
                error.message,
                vnet.described(),
                names.zone,
                names.account,
                names.networks.arm.group,
            );
            CallError {
                message,
                ..error.clone()
            }
        };
        let Some(record) = self.record_elsewhere(names).await? else {
            return Err(refused("which the operator may not see"));
        };
        match self.write_record(names, &record).await {
            Ok(state) => Ok(state),
            Err(failure) if failure.error.is_forbidden() => Err(refused("which the operator may not change")),
            Err(failure) => Err(failure.into()),
        }
    }
}
