//! How the objects of a private storage account are created, proven and deleted.

use std::time::Duration;

use serde_json::{Value, json};

use super::account::Accounts;
use super::arm::Operation;
use super::effective::OWNED;
use super::error::Failure;
use super::generated;
use super::network::{self, Networks, Resource, Subnet, is_tagged};
use super::private_stages::{ACCESS, ENDPOINT, GROUP, LINK, RECORD, ZONE};
use super::step::Store;
use crate::api::Storage;
use crate::api::registry_storage::{AzureInternal, AzureNetworkAccess};
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::progress::{Mark, Wait};
use crate::storage::model::stage::{Stage, StageObject, StageState};
use crate::storage::traits::Cluster;

/// Wait before the next look at a resource that is being created or deleted.
const LOOK: Duration = Duration::from_secs(10);
/// Member of a record's metadata that names the cluster.
const RECORD_MARK: &str = "openshiftclusterid";

/// The networks, and the names of the objects in them.
struct Names<'a> {
    networks: Networks<'a>,
    zone: String,
    account: String,
    endpoint: String,
}

impl Names<'_> {
    fn endpoint(&self) -> Resource<'_> {
        self.networks.endpoint(&self.endpoint)
    }

    fn resource(&self, stage: &Stage) -> Option<Resource<'_>> {
        Some(match stage.name {
            name if name == ENDPOINT.name => self.endpoint(),
            name if name == ZONE.name => self.networks.zone(None, &self.zone),
            name if name == RECORD.name => self.networks.record(None, &self.zone, &self.account),
            name if name == GROUP.name => self.networks.group(&self.endpoint, &self.zone),
            name if name == LINK.name => self.networks.link(&self.zone, &self.account),
            _ => return None,
        })
    }
}

fn pending(resource: &str, after: Duration) -> StageState {
    StageState::Pending(Wait::new(after, format!("{resource} is being created")))
}

fn address_of(record: &Value) -> Option<&str> {
    record
        .pointer("/properties/aRecords/0/ipv4Address")
        .and_then(Value::as_str)
}

impl<C: Cluster> Store<'_, C> {
    fn names(&self) -> Called<Names<'_>> {
        let arm = self.arm()?;
        let own = self
            .effective
            .internal()
            .private_endpoint_name
            .filter(|name| !name.is_empty());
        let chosen = || generated::private_endpoint(self.request.snapshot).unwrap_or_default();
        let endpoint = own.or_else(|| self.recorded_endpoint()).unwrap_or_else(chosen);
        Ok(Names {
            networks: Networks { arm },
            zone: self.session.cloud.private_zone(),
            account: self.effective.account().to_owned(),
            endpoint,
        })
    }

    /// Resource group of the virtual network; `None`: that of the cluster.
    fn network_group(&self) -> Option<String> {
        let own = self.effective.internal().network_resource_group_name;
        let of_cluster = || super::effective::platform(self.request.snapshot)?.network_resource_group_name;
        own.filter(|name| !name.is_empty())
            .or_else(of_cluster)
            .filter(|name| !name.is_empty())
    }

    /// Whether the account was private already, without an endpoint of the operator.
    async fn is_private_already(&self) -> Called<bool> {
        let named = self
            .effective
            .internal()
            .private_endpoint_name
            .is_some_and(|name| !name.is_empty());
        Ok(!named
            && self
                .described_account()
                .await?
                .is_some_and(|account| account.is_private()))
    }

    /// State of a stage.
    pub(super) async fn private_stage(&self, stage: &Stage) -> Called<StageState> {
        let names = self.names()?;
        let storage = self.request.storage.clone();
        let id = self.private_id(stage, &names);
        if self.is_private_already().await? {
            return Ok(StageState::Ready { storage, id });
        }
        if stage.name == ACCESS.name {
            let private = self
                .described_account()
                .await?
                .is_some_and(|account| account.is_private());
            return Ok(if private {
                StageState::Ready { storage, id }
            } else {
                StageState::Missing { storage, id }
            });
        }
        let storage = if stage.name == ENDPOINT.name {
            self.with_network(storage, &names).await?
        } else {
            storage
        };
        let Some(resource) = names.resource(stage) else {
            return Err(CallError::invalid(stage.name, "the backend has no such stage"));
        };
        if let Operation::Running(after) = resource.operation().await? {
            return Ok(pending(&resource.described(), after));
        }
        let Some(found) = resource.find().await? else {
            let elsewhere = stage.name == LINK.name && self.is_resolved_elsewhere(&names).await?;
            return Ok(if elsewhere {
                StageState::Ready { storage, id }
            } else {
                StageState::Missing { storage, id }
            });
        };
        if let Some(state) = self.unready(stage, &names, &resource, &found).await? {
            return Ok(state);
        }
        Ok(StageState::Ready { storage, id })
    }

    /// State of an object that exists and is not ready; `None` if it is.
    async fn unready(
        &self,
        stage: &Stage,
        names: &Names<'_>,
        resource: &Resource<'_>,
        found: &Value,
    ) -> Called<Option<StageState>> {
        let text = |member: &str| found.pointer(member).and_then(Value::as_str);
        match text("/properties/provisioningState") {
            None | Some("Succeeded") => {}
            Some("Failed") if stage.name != RECORD.name => {
                return Err(resource.rejected(
                    "its creation failed: see the activity log of the resource group, and delete it, so that the operator \
                     creates it again",
                ));
            }
            Some(_) => return Ok(Some(pending(&resource.described(), LOOK))),
        }
        if stage.name == ENDPOINT.name {
            let state =
                "/properties/privateLinkServiceConnections/0/properties/privateLinkServiceConnectionState/status";
            return match text(state) {
                Some("Pending") => Ok(Some(StageState::Pending(Wait::new(
                    LOOK,
                    format!("{} waits for the approval of its connection", resource.described()),
                )))),
                Some(status @ ("Rejected" | "Disconnected")) => Err(resource.rejected(format!(
                    "its connection is {status}: delete the endpoint, so that it is created again"
                ))),
                _ => Ok(None),
            };
        }
        if stage.name == RECORD.name && self.marks_record(found) {
            let address = self.address(names).await?;
            if address_of(found) != Some(address.as_str()) {
                let id = self.private_id(stage, names);
                return Ok(Some(StageState::Missing {
                    storage: self.request.storage.clone(),
                    id,
                }));
            }
        }
        Ok(None)
    }

    fn private_id(&self, stage: &Stage, names: &Names<'_>) -> String {
        match stage.name {
            name if name == ENDPOINT.name || name == GROUP.name => names.endpoint.clone(),
            name if name == ZONE.name => names.zone.clone(),
            _ => self.effective.account().to_owned(),
        }
    }

    /// The storage with the names of virtual network, subnet and private endpoint.
    async fn with_network(&self, mut storage: Storage, names: &Names<'_>) -> Called<Storage> {
        let group = self.network_group();
        let infrastructure = &self.infrastructure;
        let known = self.effective.internal();
        let given = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        let vnet = match given(&known.vnet_name) {
            Some(vnet) => vnet,
            None => names.networks.find_vnet(group.as_deref(), infrastructure).await?,
        };
        let subnet = match given(&known.subnet_name) {
            Some(subnet) => subnet,
            None => {
                names
                    .networks
                    .find_subnet(group.as_deref(), &vnet, infrastructure)
                    .await?
            }
        };
        let azure = storage.azure.get_or_insert_default();
        let access = azure.network_access.get_or_insert_with(AzureNetworkAccess::default);
        access.internal = Some(AzureInternal {
            vnet_name: Some(vnet),
            subnet_name: Some(subnet),
            private_endpoint_name: Some(names.endpoint.clone()),
            ..access.internal.clone().unwrap_or_default()
        });
        Ok(storage)
    }

    fn subnet(&self) -> Subnet {
        let internal = self.effective.internal();
        Subnet {
            vnet: internal.vnet_name.unwrap_or_default(),
            name: internal.subnet_name.unwrap_or_default(),
        }
    }

    async fn address(&self, names: &Names<'_>) -> Called<String> {
        let endpoint = names.endpoint();
        let Some(found) = endpoint.find().await? else {
            return Err(endpoint.rejected("it does not exist"));
        };
        names.networks.address(&endpoint, &found).await
    }

    /// Creates the object of a stage.
    pub(super) async fn create_private(&self, stage: &Stage) -> Called<StageState> {
        let names = self.names()?;
        let Some(resource) = names.resource(stage) else {
            let accounts = self.accounts()?;
            self.forget_account();
            accounts.update(&json!({"publicNetworkAccess": "Disabled"})).await?;
            return Ok(StageState::Pending(Wait::new(
                Duration::ZERO,
                format!("public access to storage account {} is being disabled", accounts.name),
            )));
        };
        let tags = self.tags()?;
        let group = self.network_group();
        let vnet = names.networks.vnet(group.as_deref(), &self.subnet().vnet);
        let content = match stage.name {
            name if name == ENDPOINT.name => {
                let region = self.region_of(&vnet).await?;
                let subnet = names.networks.subnet_path(group.as_deref(), &self.subnet());
                let account = self.accounts()?.path();
                network::endpoint_content(&names.endpoint, &region, &tags, &subnet, &account)
            }
            name if name == ZONE.name => json!({"location": "global", "tags": tags}),
            name if name == RECORD.name => self.record_content(&self.address(&names).await?),
            name if name == GROUP.name => {
                network::group_content(&names.zone, &names.networks.zone(None, &names.zone).path)
            }
            _ => network::link_content(&tags, &vnet.path),
        };
        match resource.put(&content).await {
            Ok(()) => Ok(pending(&resource.described(), Duration::from_secs(1))),
            Err(failure) if stage.name == LINK.name && failure.code == "Conflict" => {
                self.resolve_elsewhere(&names, &vnet, failure).await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// A private endpoint is in the region of its virtual network.
    async fn region_of(&self, vnet: &Resource<'_>) -> Called<String> {
        let own = self.arm()?.region.clone();
        match vnet.find().await {
            Ok(Some(found)) => Ok(found.get("location").and_then(Value::as_str).map_or(own, str::to_owned)),
            Ok(None) => Err(vnet.rejected(
                "it does not exist: correct vnetName or networkResourceGroupName in \
                 spec.storage.azure.networkAccess.internal",
            )),
            Err(error) if error.is_forbidden() && !own.is_empty() => Ok(own),
            Err(error) => Err(error),
        }
    }

    fn record_content(&self, address: &str) -> Value {
        json!({
            "properties": {
                "ttl": 10, "aRecords": [{"ipv4Address": address}],
                "metadata": {RECORD_MARK: self.infrastructure},
            },
        })
    }

    fn marks_record(&self, found: &Value) -> bool {
        let metadata = found.pointer("/properties/metadata").and_then(Value::as_object);
        let ours = |(key, value): (&String, &Value)| {
            key.eq_ignore_ascii_case(RECORD_MARK) && value.as_str() == Some(&self.infrastructure)
        };
        metadata.is_some_and(|metadata| metadata.iter().any(ours))
    }

    /// Whether the virtual network is linked to a zone of the same name elsewhere, which has the account's record.
    async fn is_resolved_elsewhere(&self, names: &Names<'_>) -> Called<bool> {
        let Some(record) = self.record_elsewhere(names).await? else {
            return Ok(false);
        };
        let Some(found) = record.find().await? else {
            return Ok(false);
        };
        Ok(address_of(&found) == Some(self.address(names).await?.as_str()))
    }

    /// The account's record in the zone of the same name to which the virtual network is linked, outside the cluster's
    /// resource group.
    async fn record_elsewhere<'n>(&self, names: &'n Names<'_>) -> Called<Option<Resource<'n>>> {
        let group = self.network_group();
        let vnet = names.networks.vnet(group.as_deref(), &self.subnet().vnet);
        let linked = match names.networks.linked_elsewhere(&names.zone, &vnet.path).await {
            Ok(linked) => linked,
            // Most roles cover the cluster's resource group only.
            Err(error) if error.is_forbidden() => None,
            Err(error) => return Err(error),
        };
        Ok(linked.map(|group| names.networks.record(Some(&group), &names.zone, &names.account)))
    }

    /// The virtual network is linked to another zone of the same name. Its record goes there.
    async fn resolve_elsewhere(&self, names: &Names<'_>, vnet: &Resource<'_>, failure: Failure) -> Called<StageState> {
        let address = self.address(names).await?;
        let refused = |why: &str| {
            let message = format!(
                "{}; {} is linked to another zone {}, {why}: add an A record {} with address {address} to that zone, or link \
                 this network to the zone in resource group {}. Public access stays enabled until then",
                failure.error.message,
                vnet.described(),
                names.zone,
                names.account,
                names.networks.arm.group,
            );
            CallError {
                message,
                ..(*failure.error).clone()
            }
        };
        let Some(record) = self.record_elsewhere(names).await? else {
            return Err(refused("which the operator may not see"));
        };
        match record.put(&self.record_content(&address)).await {
            Ok(()) => Ok(pending(&record.described(), Duration::from_secs(1))),
            Err(error) if error.error.is_forbidden() => Err(refused("which the operator may not change")),
            Err(error) => Err(error.into()),
        }
    }

    /// Identity and mark of the object of a stage.
    pub(super) async fn prove_private(&self, stage: &Stage) -> Called<Option<StageObject>> {
        let names = self.names()?;
        let id = self.private_id(stage, &names);
        let object = |mark| Ok(Some(StageObject { id: id.clone(), mark }));
        if stage.name == ACCESS.name {
            let account = self
                .described_account()
                .await?
                .filter(super::account::Account::is_private);
            return match account {
                Some(account) if self.is_ours(&account) => object(Mark::Ours(id.clone())),
                Some(_) => object(Mark::NotOurs("the account has no tag of this cluster".to_owned())),
                None => Ok(None),
            };
        }
        if self.backend.clients.is_refused(stage.name, &id) {
            return object(Mark::NotOurs("these credentials may not delete it".to_owned()));
        }
        let Some(resource) = names.resource(stage) else {
            return Ok(None);
        };
        let found = match resource.find().await {
            Ok(Some(found)) => found,
            Ok(None) if stage.name == LINK.name => return self.prove_elsewhere(&names, id.clone()).await,
            Ok(None) => return Ok(None),
            Err(error) if error.is_forbidden() => {
                self.backend.clients.refuse(stage.name, &id, &error);
                return object(Mark::NotOurs(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let (key, missing) = (&self.mark, || "it has no mark of this cluster".to_owned());
        let ours = match stage.name {
            name if name == RECORD.name => self.marks_record(&found) || self.is_of_endpoint(&names, &found).await?,
            name if name == GROUP.name => self.is_endpoint_ours(&names).await?,
            name if name == ZONE.name => {
                is_tagged(&found, key, OWNED) && names.networks.is_empty(&names.zone).await.unwrap_or(false)
            }
            _ => is_tagged(&found, key, OWNED),
        };
        object(if ours {
            Mark::Ours(id.clone())
        } else {
            Mark::NotOurs(missing())
        })
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
        Ok(address.is_ok_and(|address| address_of(record) == Some(&address)))
    }

    async fn is_endpoint_ours(&self, names: &Names<'_>) -> Called<bool> {
        let found = names.endpoint().find().await?;
        Ok(found.is_some_and(|found| is_tagged(&found, &self.mark, OWNED)))
    }

    async fn prove_elsewhere(&self, names: &Names<'_>, id: String) -> Called<Option<StageObject>> {
        let Some(record) = self.record_elsewhere(names).await? else {
            return Ok(None);
        };
        let found = record.find().await?.filter(|found| self.marks_record(found));
        Ok(found.map(|_| StageObject {
            mark: Mark::Ours(id.clone()),
            id,
        }))
    }

    /// Deletes the object of a stage. A refused deletion is no reason to keep the account.
    pub(super) async fn remove_private(&self, stage: &Stage) -> Called<Wait> {
        let names = self.names()?;
        let Some(mut resource) = names.resource(stage) else {
            let accounts = Accounts {
                arm: self.arm()?,
                name: self.effective.account(),
            };
            self.forget_account();
            accounts.update(&json!({"publicNetworkAccess": "Enabled"})).await?;
            let message = format!("public access to storage account {} is being enabled", accounts.name);
            return Ok(Wait::new(Duration::ZERO, message));
        };
        if let Operation::Running(after) = resource.operation().await.unwrap_or(Operation::None) {
            return Ok(Wait::new(after, format!("{} is being deleted", resource.described())));
        }
        if stage.name == LINK.name
            && resource.find().await?.is_none()
            && let Some(record) = self.record_elsewhere(&names).await?
        {
            resource = record;
        }
        match resource.delete().await {
            Ok(()) => {}
            Err(error) if error.is_forbidden() => {
                self.backend
                    .clients
                    .refuse(stage.name, &self.private_id(stage, &names), &error);
                let message = format!("{} is left: {error}", resource.described());
                return Ok(Wait::new(Duration::ZERO, message));
            }
            Err(error) => return Err(error),
        }
        let after = match resource.operation().await {
            Ok(Operation::Running(after)) => after,
            _ => Duration::ZERO,
        };
        Ok(Wait::new(after, format!("{} is being deleted", resource.described())))
    }
}
