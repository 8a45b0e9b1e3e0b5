//! How the objects of a private storage account are created. Public access ends last, and only when everything shows that the name
//! of the account leads to the operator's endpoint of this account.

use std::time::Duration;

use serde_json::{Value, json};

use super::arm::Operation;
use super::effective::OWNED;
use super::network::{self, Resource, is_tagged, same_id};
use super::private_dns::{LOOK, pending};
use super::private_names::Names;
use super::private_repair::Progress;
use super::private_stages::{ACCESS, ENDPOINT, GROUP, LINK, RECORD, ZONE};
use super::step::Store;
use crate::api::Storage;
use crate::api::registry_storage::{AzureInternal, AzureNetworkAccess};
use crate::storage::model::call::{CallError, Called};
use crate::storage::model::progress::Wait;
use crate::storage::model::stage::{Stage, StageState};
use crate::storage::traits::Cluster;

/// Wait until a change of the account shows.
pub(super) const CHANGED: Duration = Duration::from_secs(5);
/// What to do about an endpoint that the operator may not use.
const OTHER_NAME: &str = "name another endpoint in spec.storage.azure.networkAccess.internal.privateEndpointName, or leave the name \
                          empty";

impl<C: Cluster> Store<'_, C> {
    /// Whether the account was private already, without an endpoint that spec, status or records name.
    async fn is_private_already(&self) -> Called<bool> {
        let named = self
            .effective
            .internal()
            .private_endpoint_name
            .is_some_and(|name| !name.is_empty());
        Ok(!named
            && !self.has_record(&ENDPOINT)
            && self.inherited_endpoint().is_none()
            && self
                .described_account()
                .await?
                .is_some_and(|account| account.is_private()))
    }

    /// State of a stage.
    pub(super) async fn private_stage(&self, stage: &Stage) -> Called<StageState> {
        let names = self.names()?;
        let id = names.id(stage);
        if self.is_accepted().await? {
            return self.accepted_stage(stage).await;
        }
        if self.is_private_already().await? {
            return Ok(self.ready(id));
        }
        let account = self.described_account().await?;
        let is_private = account.as_ref().is_some_and(super::account::Account::is_private);
        if let Some(cluster) = account.and_then(|account| self.other_cluster(&account))
            && !is_private
        {
            let accounts = self.accounts()?;
            return Err(super::error::rejected(
                super::account::WRITE,
                &format!("storage account {}", accounts.name),
                format!(
                    "it carries the tag of cluster {cluster}, so that its public access is not disabled: name another account in \
                     spec.storage.azure.accountName, or set spec.storage.azure.networkAccess.type to External"
                ),
            ));
        }
        match stage.name {
            name if name == ACCESS.name && is_private => Ok(self.ready(id)),
            name if name == ACCESS.name => Ok(self.missing(id)),
            name if name == LINK.name => self.link_state(&names).await,
            name if name == RECORD.name => self.record_state(&names).await,
            name if name == ENDPOINT.name => self.endpoint_state(&names).await,
            _ => self.object_state(stage, &names).await,
        }
    }

    async fn object_state(&self, stage: &Stage, names: &Names<'_>) -> Called<StageState> {
        let id = names.id(stage);
        let Some(resource) = names.resource(stage) else {
            return Err(CallError::invalid(stage.name, "the backend has no such stage"));
        };
        if let Operation::Running(after) = self.look(&resource).await? {
            return Ok(pending(&resource.described(), after));
        }
        Ok(match resource.find().await? {
            None => {
                self.backend.clients.succeed(&resource.path);
                self.missing(id)
            }
            Some(found) => match self.progress(&resource, &found) {
                Progress::Complete => self.ready(id),
                Progress::Running => pending(&resource.described(), LOOK),
                Progress::Failed => {
                    // Zones are shared, and their tags tell whose they are. Zone groups have no tags.
                    let ours = if stage.name == ZONE.name {
                        is_tagged(&found, &self.mark, OWNED)
                    } else {
                        self.created(stage, &id)
                    };
                    self.check_repair(&resource, ours)?;
                    self.missing(id)
                }
            },
        })
    }

    async fn endpoint_state(&self, names: &Names<'_>) -> Called<StageState> {
        let storage = self.with_network(self.request.storage.clone(), names).await?;
        let id = names.id(&ENDPOINT);
        let endpoint = names.endpoint();
        if let Operation::Running(after) = self.look(&endpoint).await? {
            return Ok(pending(&endpoint.described(), after));
        }
        let missing = |storage, id| StageState::Missing {
            storage,
            id,
            reason: None,
        };
        let Some(found) = endpoint.find().await? else {
            self.backend.clients.succeed(&endpoint.path);
            return Ok(missing(storage, id));
        };
        self.check_endpoint(&endpoint, &found)?;
        match self.progress(&endpoint, &found) {
            Progress::Complete => {}
            Progress::Running => return Ok(pending(&endpoint.described(), LOOK)),
            Progress::Failed => {
                // The tag is also that of an endpoint which the user created.
                self.check_repair(&endpoint, self.created(&ENDPOINT, &id))?;
                return Ok(missing(storage, id));
            }
        }
        match connection_status(&found) {
            Some("Pending") => Ok(StageState::Pending(Wait::new(
                LOOK,
                format!("{} waits for the approval of its connection", endpoint.described()),
            ))),
            Some(status @ ("Rejected" | "Disconnected")) => Err(endpoint.rejected(format!(
                "its connection is {status}: delete the endpoint, so that it is created again"
            ))),
            _ => Ok(StageState::Ready { storage, id }),
        }
    }

    /// Checks that an endpoint is the operator's, leads to the account, and is where the spec says.
    fn check_endpoint(&self, endpoint: &Resource<'_>, found: &Value) -> Called<()> {
        let account = self.accounts()?.path();
        if !connects(found, &account) {
            return Err(endpoint.rejected(format!(
                "it does not lead to the blobs of storage account {}: {OTHER_NAME}",
                self.effective.account()
            )));
        }
        if !is_tagged(found, &self.mark, OWNED) {
            return Err(endpoint.rejected(format!(
                "it has no tag {}={OWNED}: {OTHER_NAME}, or give the endpoint this tag",
                self.mark
            )));
        }
        let subnet = self.subnet();
        if subnet.vnet.is_empty() || subnet.name.is_empty() {
            return Ok(());
        }
        let wanted = network::Networks { arm: endpoint.arm }.subnet_path(self.network_group().as_deref(), &subnet);
        let actual = found.pointer("/properties/subnet/id").and_then(Value::as_str);
        match actual {
            Some(actual) if !same_id(actual, &wanted) => Err(endpoint.rejected(format!(
                "it is in subnet {actual}, and the spec names {wanted}; Azure does not move an endpoint: name a new one in \
                 spec.storage.azure.networkAccess.internal.privateEndpointName, or correct vnetName, subnetName and \
                 networkResourceGroupName"
            ))),
            _ => Ok(()),
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

    /// Creates the object of a stage.
    pub(super) async fn create_private(&self, stage: &Stage) -> Called<StageState> {
        let names = self.names()?;
        self.backend
            .clients
            .forget_refusal(&self.container.location, stage.name, &names.id(stage));
        let Some(resource) = names.resource(stage) else {
            return self.disable_access().await;
        };
        let content = match stage.name {
            name if name == LINK.name => return self.create_link(&names).await,
            name if name == RECORD.name => return Ok(self.write_record(&names, &resource).await?),
            name if name == ENDPOINT.name => {
                let vnet = self.vnet(&names);
                let region = self.region_of(&vnet).await?;
                let subnet = names
                    .networks
                    .subnet_path(self.network_group().as_deref(), &self.subnet());
                let account = self.accounts()?.path();
                network::endpoint_content(&names.endpoint, &region, &self.tags()?, &subnet, &account)
            }
            name if name == ZONE.name => json!({"location": "global", "tags": self.tags()?}),
            name if name == GROUP.name => {
                network::group_content(&names.zone, &names.networks.zone(None, &names.zone).path)
            }
            _ => return Err(CallError::invalid(stage.name, "the backend has no such stage")),
        };
        resource.put(&content).await?;
        self.backend.clients.attempt(&resource.path, self.request.snapshot.now);
        Ok(pending(&resource.described(), Duration::from_secs(1)))
    }

    /// Ends public access. The stages before this one were looked at in the same step.
    async fn disable_access(&self) -> Called<StageState> {
        let accounts = self.accounts()?;
        self.forget_account();
        accounts.update(&json!({"publicNetworkAccess": "Disabled"})).await?;
        Ok(StageState::Pending(Wait::new(
            CHANGED,
            format!("public access to storage account {} is being disabled", accounts.name),
        )))
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
}

/// Whether the owner of the account approved the connection of an endpoint: `Approved`, `Pending`, `Rejected`.
pub(super) fn connection_status(endpoint: &Value) -> Option<&str> {
    let status = "/properties/privateLinkServiceConnections/0/properties/privateLinkServiceConnectionState/status";
    endpoint.pointer(status).and_then(Value::as_str)
}

/// Whether an endpoint leads to the blobs of the account with this path.
pub(super) fn connects(endpoint: &Value, account: &str) -> bool {
    let of = |member: &str| endpoint.pointer(member).and_then(Value::as_array).into_iter().flatten();
    let connections =
        of("/properties/privateLinkServiceConnections").chain(of("/properties/manualPrivateLinkServiceConnections"));
    let mut connections = connections.peekable();
    let leads = |connection: &Value| {
        let target = connection
            .pointer("/properties/privateLinkServiceId")
            .and_then(Value::as_str);
        let groups = connection.pointer("/properties/groupIds").and_then(Value::as_array);
        let blobs = |groups: &Vec<Value>| groups.iter().any(|group| group.as_str() == Some("blob"));
        target.is_some_and(|target| same_id(target, account)) && groups.is_some_and(blobs)
    };
    connections.peek().is_some() && connections.all(leads)
}
