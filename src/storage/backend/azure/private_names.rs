//! Names and identities of the objects around a private storage account.

use super::effective::{self, OWNED};
use super::generated;
use super::network::{Networks, Resource, Subnet};
use super::private_stages::{ALL, ENDPOINT, GROUP, LINK, RECORD, ZONE};
use super::step::Store;
use crate::api::registry_storage::AzureInternal;
use crate::storage::model::call::Called;
use crate::storage::model::progress::StageRecord;
use crate::storage::model::stage::Stage;
use crate::storage::traits::Cluster;

/// The networks, and the names of the objects in them.
pub(super) struct Names<'a> {
    pub networks: Networks<'a>,
    pub zone: String,
    pub account: String,
    pub endpoint: String,
}

impl Names<'_> {
    /// The private endpoint.
    pub fn endpoint(&self) -> Resource<'_> {
        self.networks.endpoint(&self.endpoint)
    }

    /// The object of a stage; `None` for that without an object of its own.
    pub fn resource(&self, stage: &Stage) -> Option<Resource<'_>> {
        Some(match stage.name {
            name if name == ENDPOINT.name => self.endpoint(),
            name if name == ZONE.name => self.networks.zone(None, &self.zone),
            name if name == RECORD.name => self.networks.record(None, &self.zone, &self.account),
            name if name == GROUP.name => self.networks.group(&self.endpoint, &self.zone),
            name if name == LINK.name => self.networks.link(&self.zone, &self.account),
            _ => return None,
        })
    }

    /// Identity of the object of a stage.
    pub fn id(&self, stage: &Stage) -> String {
        match stage.name {
            name if name == ENDPOINT.name || name == GROUP.name => self.endpoint.clone(),
            name if name == ZONE.name => self.zone.clone(),
            _ => self.account.clone(),
        }
    }
}

/// Whether the stage is one of a private account.
pub(super) fn is_private_stage(stage: &Stage) -> bool {
    ALL.iter().any(|one| one.name == stage.name)
}

impl<C: Cluster> Store<'_, C> {
    /// Names as the spec wants them.
    pub(super) fn names(&self) -> Called<Names<'_>> {
        let own = self
            .effective
            .internal()
            .private_endpoint_name
            .filter(|name| !name.is_empty());
        let chosen = || generated::private_endpoint(self.request.snapshot).unwrap_or_default();
        self.names_with(own.or_else(|| self.recorded_endpoint()).unwrap_or_else(chosen))
    }

    /// The names with this endpoint.
    pub(super) fn names_with(&self, endpoint: String) -> Called<Names<'_>> {
        Ok(Names {
            networks: Networks { arm: self.arm()? },
            zone: self.session.cloud.private_zone(),
            account: self.effective.account().to_owned(),
            endpoint,
        })
    }

    /// The names of objects with this recorded identity.
    pub(super) fn names_of(&self, stage: &Stage, id: &str) -> Called<Names<'_>> {
        let mut names = if stage.name == ENDPOINT.name || stage.name == GROUP.name {
            self.names_with(id.to_owned())?
        } else {
            self.names()?
        };
        self.name_as_known(&mut names);
        Ok(names)
    }

    /// Resource group of the virtual network; `None`: that of the cluster.
    pub(super) fn network_group(&self) -> Option<String> {
        let own = self.internal().network_resource_group_name;
        let of_cluster = || effective::platform(self.request.snapshot)?.network_resource_group_name;
        own.filter(|name| !name.is_empty())
            .or_else(of_cluster)
            .filter(|name| !name.is_empty())
    }

    /// `networkAccess.internal` of the spec, or of the status where the spec has none any more: what surrounds an account that becomes
    /// public is found by it.
    fn internal(&self) -> AzureInternal {
        let stored = self.stored_access().and_then(|access| access.internal.clone());
        stored
            .filter(|_| !self.effective.is_internal())
            .unwrap_or_else(|| self.effective.internal())
    }

    /// Virtual network and subnet.
    pub(super) fn subnet(&self) -> Subnet {
        let internal = self.internal();
        Subnet {
            vnet: internal.vnet_name.unwrap_or_default(),
            name: internal.subnet_name.unwrap_or_default(),
        }
    }

    /// The virtual network.
    pub(super) fn vnet<'n>(&self, names: &Names<'n>) -> Resource<'n> {
        names
            .networks
            .vnet(self.network_group().as_deref(), &self.subnet().vnet)
    }

    /// Whether the operator recorded the creation of the object of a stage.
    pub(super) fn has_record(&self, stage: &Stage) -> bool {
        self.stage_records().iter().any(|record| record.stage == stage.name)
    }

    /// Whether the operator, or the Go operator, created this object of a stage.
    pub(super) fn created(&self, stage: &Stage, id: &str) -> bool {
        let records = self.stage_records().into_iter().chain(self.inherited());
        let mut records = records.filter(|record| record.stage == stage.name);
        records.any(|record| record.id == id)
    }

    /// What the Go operator created. It has no records: the status names the endpoint, whose name it drew. The tags of the
    /// objects prove the rest.
    pub(super) fn inherited(&self) -> Vec<StageRecord> {
        let endpoint = self.inherited_endpoint();
        let endpoint = endpoint.filter(|name| generated::is_generated(name, self.request.snapshot));
        let Some(Ok(mut names)) = endpoint.map(|endpoint| self.names_with(endpoint)) else {
            return Vec::new();
        };
        self.name_as_known(&mut names);
        let record = |stage: &Stage| StageRecord {
            stage: stage.name.to_owned(),
            id: names.id(stage),
            since: String::new(),
        };
        ALL.iter().map(record).collect()
    }

    /// Another cluster whose tag the account carries.
    pub(super) fn other_cluster(&self, account: &super::account::Account) -> Option<String> {
        let tags = account.tags.iter().flatten();
        let mut clusters = tags
            .filter(|(key, value)| *value == OWNED && !key.eq_ignore_ascii_case(&self.mark))
            .filter_map(|(key, _)| key.strip_prefix(effective::MARK));
        clusters.next().map(str::to_owned)
    }
}
