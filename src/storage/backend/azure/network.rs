//! Calls about virtual networks, private endpoints and private DNS. Sources: Azure Network resource provider, REST API
//! 2022-01-01; Azure Private DNS, REST API 2020-06-01.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};

use super::arm::{Arm, Call, Operation};
use super::error::Failure;
use crate::storage::model::call::Called;
use crate::storage::net::percent::{decoded_text, encoded};

const NETWORK: &str = "2022-01-01";
const DNS: &str = "2020-06-01";

/// Kind of a resource, with the permissions that its calls need.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Noun, for messages.
    noun: &'static str,
    version: &'static str,
    read: &'static str,
    write: &'static str,
    delete: &'static str,
}

macro_rules! kind {
    ($noun:literal, $version:expr, $type:literal) => {
        Kind {
            noun: $noun,
            version: $version,
            read: concat!("Microsoft.Network/", $type, "/read"),
            write: concat!("Microsoft.Network/", $type, "/write"),
            delete: concat!("Microsoft.Network/", $type, "/delete"),
        }
    };
}

/// A private endpoint.
pub const ENDPOINT: Kind = kind!("private endpoint", NETWORK, "privateEndpoints");
/// The DNS zone group of a private endpoint.
pub const GROUP: Kind = kind!(
    "DNS zone group of private endpoint",
    NETWORK,
    "privateEndpoints/privateDnsZoneGroups"
);
/// A private DNS zone.
pub const ZONE: Kind = kind!("private DNS zone", DNS, "privateDnsZones");
/// A record set of a private DNS zone.
pub const RECORD: Kind = kind!("DNS record", DNS, "privateDnsZones/A");
/// The link of a virtual network to a private DNS zone.
pub const LINK: Kind = kind!("virtual network link", DNS, "privateDnsZones/virtualNetworkLinks");
/// A virtual network.
const VNET: Kind = kind!("virtual network", NETWORK, "virtualNetworks");
/// A subnet.
const SUBNET: Kind = kind!("subnets of virtual network", NETWORK, "virtualNetworks/subnets");
/// A network interface.
const NIC: Kind = kind!("network interface", NETWORK, "networkInterfaces");

/// One resource.
pub struct Resource<'a> {
    /// Resource Manager.
    pub arm: &'a Arm,
    /// Kind.
    pub kind: Kind,
    /// Name, for messages.
    pub name: String,
    /// Path, which is its ID.
    pub path: String,
}

impl Resource<'_> {
    /// `private endpoint NAME`.
    pub fn described(&self) -> String {
        format!("{} {}", self.kind.noun, self.name)
    }

    /// The resource; `None` if it does not exist.
    pub async fn find(&self) -> Called<Option<Value>> {
        let resource = self.described();
        let call = Call {
            action: self.kind.read,
            resource: &resource,
        };
        self.arm.find(call, &self.path, self.kind.version).await
    }

    /// Creates or replaces the resource.
    pub async fn put(&self, content: &Value) -> Result<(), Failure> {
        self.write(content, None).await
    }

    /// The same under a condition. A condition that does not hold is an error with status 412.
    pub async fn put_if(&self, content: &Value, condition: &Condition) -> Result<(), Failure> {
        self.write(content, condition.header()).await
    }

    async fn write(&self, content: &Value, condition: Option<(&'static str, &str)>) -> Result<(), Failure> {
        let resource = self.described();
        let call = Call {
            action: self.kind.write,
            resource: &resource,
        };
        let content = Some(content);
        self.arm
            .change_if(call, Method::PUT, &self.path, self.kind.version, content, condition)
            .await
    }

    /// Deletes the resource. One that does not exist is a success.
    pub async fn delete(&self) -> Called<()> {
        let resource = self.described();
        let call = Call {
            action: self.kind.delete,
            resource: &resource,
        };
        self.arm.delete(call, &self.path, self.kind.version).await
    }

    /// The same as [`Self::operation`], with the code of an operation that failed.
    pub async fn outcome(&self) -> Result<Operation, Failure> {
        let resource = self.described();
        let call = Call {
            action: self.kind.write,
            resource: &resource,
        };
        self.arm.outcome(call, &self.path).await
    }

    /// The operation on the resource that this process started.
    pub async fn operation(&self) -> Called<Operation> {
        let resource = self.described();
        let call = Call {
            action: self.kind.write,
            resource: &resource,
        };
        self.arm.operation(call, &self.path).await
    }

    async fn list(&self) -> Called<Vec<Value>> {
        let resource = self.described();
        let call = Call {
            action: self.kind.read,
            resource: &resource,
        };
        self.arm.list(call, &self.path, self.kind.version).await
    }

    /// An error that the operator found in this resource.
    pub fn rejected(&self, why: impl Into<String>) -> crate::storage::model::call::CallError {
        let resource = self.described();
        Call {
            action: self.kind.read,
            resource: &resource,
        }
        .rejected(why)
    }
}

/// Condition of a write of a record set.
pub enum Condition {
    /// The record set does not exist.
    Absent,
    /// The record set is still this one.
    Unchanged(Value),
}

impl Condition {
    fn header(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Absent => Some(("if-none-match", "*")),
            Self::Unchanged(found) => Some(("if-match", found.get("etag")?.as_str()?)),
        }
    }
}

/// Networks and names of one subscription.
#[derive(Clone, Copy)]
pub struct Networks<'a> {
    /// Resource Manager.
    pub arm: &'a Arm,
}

/// A subnet in a virtual network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Name of the virtual network.
    pub vnet: String,
    /// Name of the subnet.
    pub name: String,
}

impl<'a> Networks<'a> {
    fn resource(self, kind: Kind, name: &str, path: String) -> Resource<'a> {
        Resource {
            arm: self.arm,
            kind,
            name: name.to_owned(),
            path,
        }
    }

    fn provider(self, group: Option<&str>) -> String {
        format!("{}/providers/Microsoft.Network", self.arm.group_path(group))
    }

    /// A private endpoint of the cluster's resource group.
    pub fn endpoint(self, name: &str) -> Resource<'a> {
        let path = format!("{}/privateEndpoints/{}", self.provider(None), encoded(name));
        self.resource(ENDPOINT, name, path)
    }

    /// The DNS zone group of a private endpoint.
    pub fn group(self, endpoint: &str, zone: &str) -> Resource<'a> {
        let parent = self.endpoint(endpoint).path;
        let path = format!("{parent}/privateDnsZoneGroups/{}", encoded(&dashed(zone)));
        self.resource(GROUP, endpoint, path)
    }

    /// A private DNS zone.
    pub fn zone(self, group: Option<&str>, zone: &str) -> Resource<'a> {
        let path = format!("{}/privateDnsZones/{}", self.provider(group), encoded(zone));
        self.resource(ZONE, zone, path)
    }

    /// The record of an account.
    pub fn record(self, group: Option<&str>, zone: &str, account: &str) -> Resource<'a> {
        let parent = self.zone(group, zone).path;
        let name = format!("{account}.{zone}");
        self.resource(RECORD, &name, format!("{parent}/A/{}", encoded(account)))
    }

    /// The link of an account's virtual network.
    pub fn link(self, zone: &str, account: &str) -> Resource<'a> {
        let parent = self.zone(None, zone).path;
        self.resource(
            LINK,
            account,
            format!("{parent}/virtualNetworkLinks/{}", encoded(account)),
        )
    }

    /// A virtual network.
    pub fn vnet(self, group: Option<&str>, name: &str) -> Resource<'a> {
        let path = format!("{}/virtualNetworks/{}", self.provider(group), encoded(name));
        self.resource(VNET, name, path)
    }

    /// ID of a subnet.
    pub fn subnet_path(self, group: Option<&str>, subnet: &Subnet) -> String {
        format!(
            "{}/subnets/{}",
            self.vnet(group, &subnet.vnet).path,
            encoded(&subnet.name)
        )
    }

    /// The virtual network of the cluster, by its tags: those of the installer or of Cluster API.
    pub async fn find_vnet(self, group: Option<&str>, infrastructure: &str) -> Called<String> {
        let path = format!("{}/virtualNetworks", self.provider(group));
        let place = group.unwrap_or(&self.arm.group);
        let all = self.resource(VNET, &format!("of resource group {place}"), path);
        let keys = [
            format!("sigs.k8s.io_cluster-api-provider-azure_cluster_{infrastructure}"),
            format!("kubernetes.io_cluster.{infrastructure}"),
        ];
        let of_cluster = |vnet: &Value| {
            let tags = vnet.get("tags").and_then(Value::as_object)?;
            let marked = tags.iter().any(|(key, value)| {
                keys.iter().any(|wanted| wanted.eq_ignore_ascii_case(key))
                    && matches!(value.as_str(), Some("owned" | "shared"))
            });
            vnet.get("name")
                .and_then(Value::as_str)
                .filter(|_| marked)
                .map(str::to_owned)
        };
        let found = all.list().await?.iter().find_map(of_cluster);
        found.ok_or_else(|| {
            all.rejected(format!(
                "no virtual network of resource group {place} has a tag of this cluster: set vnetName, subnetName and, if \
                 they are elsewhere, networkResourceGroupName in spec.storage.azure.networkAccess.internal"
            ))
        })
    }

    /// The subnet for the private endpoint: that of the workers, or else the first one that is not delegated to a service.
    pub async fn find_subnet(self, group: Option<&str>, vnet: &str, infrastructure: &str) -> Called<String> {
        let path = format!("{}/subnets", self.vnet(group, vnet).path);
        let all = self.resource(SUBNET, vnet, path);
        let found = all.list().await?;
        let name = |subnet: &Value| Some(subnet.get("name")?.as_str()?.to_owned());
        let delegated = |subnet: &&Value| {
            let delegations = subnet.pointer("/properties/delegations").and_then(Value::as_array);
            delegations.is_none_or(Vec::is_empty)
        };
        let names: Vec<String> = found.iter().filter(delegated).filter_map(name).collect();
        let workers = format!("{infrastructure}-worker-subnet");
        let chosen = names.iter().find(|name| **name == workers).or(names.first());
        chosen.cloned().ok_or_else(|| {
            all.rejected(format!(
                "virtual network {vnet} has no subnet that a private endpoint can use: set subnetName in \
                 spec.storage.azure.networkAccess.internal"
            ))
        })
    }

    /// Address of a private endpoint, from its network interface.
    pub async fn address(self, endpoint: &Resource<'_>, found: &Value) -> Called<String> {
        let id = found
            .pointer("/properties/networkInterfaces/0/id")
            .and_then(Value::as_str);
        let name = id.and_then(|id| id.rsplit('/').next()).unwrap_or_default();
        if name.is_empty() {
            return Err(endpoint.rejected("it has no network interface"));
        }
        let path = format!("{}/networkInterfaces/{}", self.provider(None), encoded(name));
        let nic = self.resource(NIC, name, path);
        let Some(found) = nic.find().await? else {
            return Err(nic.rejected("it does not exist"));
        };
        let address = found
            .pointer("/properties/ipConfigurations/0/properties/privateIPAddress")
            .and_then(Value::as_str);
        address
            .map(str::to_owned)
            .ok_or_else(|| nic.rejected("it has no address"))
    }

    /// Resource group of the zone of this name to which a virtual network is linked, other than the cluster's.
    pub async fn linked_elsewhere(self, zone: &str, vnet: &str) -> Called<Option<String>> {
        let path = format!(
            "{}/providers/Microsoft.Network/privateDnsZones",
            self.arm.subscription_path()
        );
        let all = self.resource(ZONE, zone, path).list().await?;
        let text = |value: &Value, member: &str| {
            value
                .pointer(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        for found in all
            .iter()
            .filter(|found| text(found, "/name").eq_ignore_ascii_case(zone))
        {
            let id = text(found, "/id");
            let Some(group) = group_of(&id) else { continue };
            if group.eq_ignore_ascii_case(&self.arm.group) {
                continue;
            }
            let path = format!("{}/virtualNetworkLinks", self.zone(Some(group), zone).path);
            let links = self
                .resource(LINK, &format!("to zone {zone} in {group}"), path)
                .list()
                .await?;
            let is_ours = |link: &Value| same_id(&text(link, "/properties/virtualNetwork/id"), vnet);
            if links.iter().any(is_ours) {
                return Ok(Some(group.to_owned()));
            }
        }
        Ok(None)
    }

    /// Whether the zone of the cluster's resource group is linked to a virtual network.
    pub async fn is_linked(self, zone: &str, vnet: &str) -> Called<bool> {
        let path = format!("{}/virtualNetworkLinks", self.zone(None, zone).path);
        let links = self.resource(LINK, &format!("to zone {zone}"), path).list().await?;
        let text = |link: &Value, member: &str| {
            link.pointer(member)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Ok(links.iter().any(|link| {
            same_id(&text(link, "/properties/virtualNetwork/id"), vnet)
                && matches!(text(link, "/properties/provisioningState").as_str(), "" | "Succeeded")
        }))
    }

    /// Whether a zone of the cluster's resource group, as it was found, has neither links nor records of any type, except for its
    /// SOA record.
    pub async fn is_empty(self, zone: &str, found: &Value) -> Called<bool> {
        let number = |member: &str| found.pointer(member).and_then(Value::as_u64);
        let unused = number("/properties/numberOfRecordSets").is_some_and(|number| number <= 1)
            && number("/properties/numberOfVirtualNetworkLinks") == Some(0);
        if !unused {
            return Ok(false);
        }
        // The numbers may lag behind.
        let records = format!("{}/A", self.zone(None, zone).path);
        let records = self.resource(RECORD, &format!("of zone {zone}"), records);
        Ok(records.list().await?.is_empty())
    }
}

/// Whether two IDs name the same resource. IDs have no case, and as paths of requests they are percent-encoded.
pub fn same_id(one: &str, other: &str) -> bool {
    decoded_text(one).eq_ignore_ascii_case(&decoded_text(other))
}

/// The ID in a body of the resource with this path. Names of resource groups may have parentheses and letters beyond ASCII, which
/// paths have percent-encoded.
fn id(path: &str) -> String {
    decoded_text(path)
}

/// Name of the zone as part of the name of a zone group.
pub fn dashed(zone: &str) -> String {
    zone.replace('.', "-")
}

/// The resource group in an ID.
fn group_of(id: &str) -> Option<&str> {
    let mut parts = id.split('/');
    parts.find(|part| part.eq_ignore_ascii_case("resourceGroups"))?;
    parts.next()
}

/// Whether a resource has this tag.
pub fn is_tagged(found: &Value, key: &str, value: &str) -> bool {
    let tags = found.get("tags").and_then(Value::as_object);
    tags.is_some_and(|tags| {
        tags.iter()
            .any(|(k, v)| k.eq_ignore_ascii_case(key) && v.as_str() == Some(value))
    })
}

/// Content of a private endpoint for the blobs of an account.
pub fn endpoint_content(
    name: &str,
    region: &str,
    tags: &BTreeMap<String, String>,
    subnet: &str,
    account: &str,
) -> Value {
    json!({
        "location": region, "tags": tags,
        "properties": {
            "customNetworkInterfaceName": format!("{name}-nic"),
            "subnet": {"id": id(subnet)},
            "privateLinkServiceConnections": [{
                "name": name,
                "properties": {"privateLinkServiceId": id(account), "groupIds": ["blob"]},
            }],
        },
    })
}

/// Content of a zone group.
pub fn group_content(zone: &str, path: &str) -> Value {
    json!({
        "name": format!("{zone}/default"),
        "properties": {"privateDnsZoneConfigs": [{"name": dashed(zone), "properties": {"privateDnsZoneId": id(path)}}]},
    })
}

/// Content of a link.
pub fn link_content(tags: &BTreeMap<String, String>, vnet: &str) -> Value {
    json!({
        "location": "global", "tags": tags,
        "properties": {"registrationEnabled": false, "virtualNetwork": {"id": id(vnet)}},
    })
}
