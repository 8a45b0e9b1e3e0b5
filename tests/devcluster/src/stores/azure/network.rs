//! Virtual networks, private endpoints and their network interfaces: a part of the resource provider Microsoft.Network.
//!
//! Source: https://learn.microsoft.com/rest/api/virtualnetwork/private-endpoints

use super::accounts::{ACCOUNT, check_tags};
use super::arm::{Call, need_linked, not_played};
use super::long_running::{Effect, Manner, OperationHeaders, begin};
use super::state::{Resource, State, uuid};
use super::{dns, reply};
use crate::stores::Reply;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

pub(super) const NETWORK: &str = "Microsoft.Network/virtualNetworks";
pub(super) const SUBNET: &str = "Microsoft.Network/virtualNetworks/subnets";
pub(super) const INTERFACE: &str = "Microsoft.Network/networkInterfaces";
pub(super) const ENDPOINT: &str = "Microsoft.Network/privateEndpoints";
/// The first addresses of a subnet are Azure's own.
const RESERVED: u32 = 4;

/// A resource as it is answered: with what stands below it, where its service shows that.
pub(super) fn shown(state: &State, resource: &Resource) -> Value {
    let mut value = resource.value();
    if resource.kind == NETWORK {
        let subnets: Vec<Value> = state.below(&resource.id, SUBNET).map(Resource::value).collect();
        value["properties"]["subnets"] = json!(subnets);
    }
    if resource.kind == dns::ZONE {
        let records = state.below(&resource.id, dns::RECORD).count() + state.below(&resource.id, dns::CNAME).count();
        value["properties"]["numberOfRecordSets"] = json!(records + 1);
        value["properties"]["numberOfVirtualNetworkLinks"] = json!(state.below(&resource.id, dns::LINK).count());
    }
    value
}

/// PUT and DELETE of networks, subnets and private endpoints.
pub(super) fn change(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    match (call.asked.method.as_str(), call.kind) {
        ("PUT", NETWORK) => put_network(state, call),
        ("PUT", SUBNET) => Ok(put_subnet(state, call)),
        ("PUT", ENDPOINT) => put_endpoint(state, call),
        ("DELETE", _) => delete(state, call),
        _ => Err(not_played(call)),
    }
}

const ASYNC: Manner = Manner {
    headers: OperationHeaders::AsyncOperation,
    accepted: 201,
    made: 201,
};

/// 409 while something else is done with the resource.
pub(super) fn not_busy(state: &mut State, id: &str) -> Result<(), Reply> {
    if !state.is_busy(id) {
        return Ok(());
    }
    let message =
        "Another operation on this or dependent resource is in progress. To retrieve status of the operation use uri.";
    Err(reply::arm(409, "AnotherOperationInProgress", message))
}

/// DELETE; nothing below the resource keeps it.
pub(super) fn delete(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let id = call.id();
    not_busy(state, &id)?;
    if state.resource(&id).is_none() {
        return Ok(reply::empty(204));
    }
    let manner = Manner {
        headers: OperationHeaders::Both,
        accepted: 202,
        made: 201,
    };
    Ok(begin(state, call, Effect::Delete, true, manner))
}

fn located(call: &Call<'_>) -> Result<String, Reply> {
    let location = call.body["location"].as_str().unwrap_or_default();
    if location.is_empty() {
        return Err(reply::arm(
            400,
            "LocationRequired",
            "The location property is required for this definition.",
        ));
    }
    check_tags(&call.body["tags"])?;
    Ok(location.to_owned())
}

fn put_network(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let location = located(call)?;
    let existed = state.resource(&call.id()).is_some();
    let prefixes = call.body["properties"]["addressSpace"]["addressPrefixes"].clone();
    state.network(&call.id(), &location, &call.body["tags"], &prefixes);
    for subnet in call.body["properties"]["subnets"].as_array().into_iter().flatten() {
        let id = format!("{}/subnets/{}", call.id(), subnet["name"].as_str().unwrap_or_default());
        state.subnet(&id, &subnet["properties"]);
    }
    Ok(begin(state, call, Effect::Create, existed, ASYNC))
}

fn put_subnet(state: &mut State, call: &Call<'_>) -> Reply {
    let existed = state.resource(&call.id()).is_some();
    state.subnet(&call.id(), &call.body["properties"]);
    begin(state, call, Effect::Create, existed, ASYNC)
}

impl State {
    /// Makes a virtual network.
    pub fn network(&mut self, id: &str, location: &str, tags: &Value, prefixes: &Value) {
        let body = json!({
            "name": last(id), "type": NETWORK, "etag": etag(), "location": location,
            "tags": tags.as_object().cloned().unwrap_or_default(),
            "properties": { "provisioningState": "Succeeded", "resourceGuid": uuid(),
                "addressSpace": { "addressPrefixes": prefixes }, "enableDdosProtection": false },
        });
        self.store(id, NETWORK, body);
    }

    /// Makes a subnet.
    pub fn subnet(&mut self, id: &str, properties: &Value) {
        let mut properties = properties.clone();
        if properties.is_null() {
            properties = json!({});
        }
        properties["provisioningState"] = json!("Succeeded");
        if properties.get("delegations").is_none() {
            properties["delegations"] = json!([]);
        }
        let body = json!({ "name": last(id), "type": SUBNET, "etag": etag(), "properties": properties });
        self.store(id, SUBNET, body);
    }

    /// Makes a private endpoint for the blobs of an account, with its network interface.
    pub fn endpoint(&mut self, id: &str, location: &str, given: &Value) {
        let properties = &given["properties"];
        let mut connection = properties["privateLinkServiceConnections"][0].clone();
        let account = connection["properties"]["privateLinkServiceId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let host = self.cloud.blob_host(last(&account));
        let custom = properties["customNetworkInterfaceName"].as_str().unwrap_or_default();
        let subnet = properties["subnet"]["id"].as_str().unwrap_or_default();
        let (interface, address) = self.interface(id, location, custom, subnet, &host);
        connection["properties"]["privateLinkServiceConnectionState"] = approved();
        connection["properties"]["provisioningState"] = json!("Succeeded");
        let body = json!({
            "name": last(id), "type": ENDPOINT, "etag": etag(), "location": location,
            "tags": given["tags"].as_object().cloned().unwrap_or_default(),
            "properties": { "provisioningState": "Succeeded", "resourceGuid": uuid(), "subnet": { "id": subnet },
                "privateLinkServiceConnections": [connection], "manualPrivateLinkServiceConnections": [],
                "customNetworkInterfaceName": custom, "networkInterfaces": [{ "id": interface }],
                "customDnsConfigs": [{ "fqdn": host, "ipAddresses": [address] }] },
        });
        self.store(id, ENDPOINT, body);
        self.disconnect(id);
        self.connect(id, &account);
    }

    /// Makes the network interface of a private endpoint, or makes it anew; its ID and its address.
    fn interface(
        &mut self,
        endpoint: &str,
        location: &str,
        custom: &str,
        subnet: &str,
        host: &str,
    ) -> (String, String) {
        let group = endpoint.split("/providers/").next().unwrap_or_default();
        let known = self
            .resource(endpoint)
            .map(|one| one.text("/properties/networkInterfaces/0/id").to_owned());
        let id = known.filter(|one| !one.is_empty()).unwrap_or_else(|| {
            let generated = format!("{}.nic.{}", last(endpoint), uuid());
            let name = if custom.is_empty() { &generated } else { custom };
            format!("{group}/providers/{INTERFACE}/{name}")
        });
        let address = match self.resource(&id) {
            Some(there) => there
                .text("/properties/ipConfigurations/0/properties/privateIPAddress")
                .to_owned(),
            None => self.free_address(subnet),
        };
        let link = json!({ "groupId": "blob", "requiredMemberName": "blob", "fqdns": [host] });
        let configuration = json!({
            "name": format!("privateEndpointIpConfig.{}", uuid()),
            "properties": { "privateIPAddress": address, "privateIPAllocationMethod": "Dynamic", "primary": true,
                "subnet": { "id": subnet }, "privateLinkConnectionProperties": link, "provisioningState": "Succeeded" },
        });
        let body = json!({
            "name": last(&id), "type": INTERFACE, "location": location, "tags": {},
            "properties": { "provisioningState": "Succeeded", "ipConfigurations": [configuration],
                "privateEndpoint": { "id": endpoint } },
        });
        self.store(&id, INTERFACE, body);
        (id, address)
    }

    /// An account is connected to a private endpoint.
    fn connect(&mut self, endpoint: &str, account: &str) {
        let Some(account) = self.resource_mut(account) else {
            return;
        };
        let mut connections = account
            .at("/properties/privateEndpointConnections")
            .cloned()
            .unwrap_or_default();
        let entry = json!({
            "id": format!("{}/privateEndpointConnections/{}.{}", account.id, last(endpoint), uuid()),
            "properties": { "privateEndpoint": { "id": endpoint }, "privateLinkServiceConnectionState": approved(),
                "provisioningState": "Succeeded" },
        });
        if let Some(list) = connections.as_array_mut() {
            list.push(entry);
        }
        account.set("privateEndpointConnections", connections);
    }

    /// No account is connected to a private endpoint any more.
    fn disconnect(&mut self, endpoint: &str) {
        for account in self.resources.values_mut().filter(|one| one.kind == ACCOUNT) {
            let mut connections = account
                .at("/properties/privateEndpointConnections")
                .cloned()
                .unwrap_or_default();
            if let Some(list) = connections.as_array_mut() {
                let is_it = |one: &Value| {
                    let id = one["properties"]["privateEndpoint"]["id"].as_str().unwrap_or_default();
                    id.eq_ignore_ascii_case(endpoint)
                };
                list.retain(|one| !is_it(one));
                account.set("privateEndpointConnections", connections);
            }
        }
    }

    /// An address of a subnet that no network interface has.
    fn free_address(&self, subnet: &str) -> String {
        let prefix = self
            .resource(subnet)
            .map(|one| one.text("/properties/addressPrefix").to_owned());
        let prefix = prefix.unwrap_or_default();
        let base: Ipv4Addr = prefix
            .split('/')
            .next()
            .unwrap_or_default()
            .parse()
            .unwrap_or(Ipv4Addr::new(10, 0, 0, 0));
        let used: Vec<&str> = self
            .resources
            .values()
            .filter(|one| one.kind == INTERFACE)
            .map(|one| one.text("/properties/ipConfigurations/0/properties/privateIPAddress"))
            .collect();
        let mut candidates = (RESERVED..250).map(|offset| Ipv4Addr::from(u32::from(base) + offset).to_string());
        candidates
            .find(|one| !used.contains(&one.as_str()))
            .unwrap_or_else(|| base.to_string())
    }
}

/// The state of a connection that its account has approved.
fn approved() -> Value {
    json!({ "status": "Approved", "description": "Auto-Approved", "actionsRequired": "None" })
}

/// The last part of an ID.
pub(super) fn last(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or_default()
}

pub(super) fn etag() -> String {
    format!("W/\"{}\"", uuid())
}

fn put_endpoint(state: &mut State, call: &Call<'_>) -> Result<Reply, Reply> {
    let id = call.id();
    let location = located(call)?;
    let properties = &call.body["properties"];
    let connection = &properties["privateLinkServiceConnections"][0]["properties"];
    let subnet = properties["subnet"]["id"].as_str().unwrap_or_default();
    let account = connection["privateLinkServiceId"].as_str().unwrap_or_default();
    let (network, _) = subnet.rsplit_once("/subnets/").unwrap_or_default();
    let invalid = |of: &str| {
        let message = format!(
            "Resource {of} referenced by resource {id} was not found. Please make sure that the referenced resource exists, and that \
             both resources are in the same region."
        );
        reply::arm(400, "InvalidResourceReference", &message)
    };
    let near = state
        .resource(network)
        .is_some_and(|one| one.text("location") == location);
    if !near || state.resource(subnet).is_none() {
        return Err(invalid(subnet));
    }
    let ready = state
        .resource(account)
        .map(|one| one.text("/properties/provisioningState") == "Succeeded");
    match ready {
        None => return Err(invalid(account)),
        Some(false) => {
            let message =
                format!("Call to Microsoft.Storage/storageAccounts failed: {account} is not in a succeeded state.");
            return Err(reply::arm(400, "StorageAccountIsNotInSucceededState", &message));
        }
        Some(true) => {}
    }
    if connection["groupIds"] != json!(["blob"]) {
        let message = format!(
            "The group ids {} of the private link service are not supported.",
            connection["groupIds"]
        );
        return Err(reply::arm(400, "InvalidGroupIds", &message));
    }
    need_linked(state, call, &format!("{SUBNET}/join/action"), subnet)?;
    need_linked(
        state,
        call,
        &format!("{ACCOUNT}/PrivateEndpointConnectionsApproval/action"),
        account,
    )?;
    not_busy(state, &id)?;
    let existed = state.resource(&id).is_some();
    if let Some(there) = state.resource(&id) {
        // An endpoint does not move.
        if !there.text("/properties/subnet/id").eq_ignore_ascii_case(subnet) {
            let message = format!("The subnet of private endpoint {id} cannot be changed.");
            return Err(reply::arm(400, "CannotChangeSubnetOfPrivateEndpoint", &message));
        }
    }
    state.endpoint(&id, &location, &call.body);
    Ok(begin(state, call, Effect::Create, existed, ASYNC))
}

/// What goes with a resource that goes.
pub(super) fn erasing(state: &mut State, id: &str) {
    let Some(endpoint) = state.resource(id).filter(|one| one.kind == ENDPOINT) else {
        return;
    };
    let interface = endpoint.text("/properties/networkInterfaces/0/id").to_lowercase();
    state.resources.remove(&interface);
    state.disconnect(id);
    let groups: Vec<String> = state.below(id, dns::GROUP).map(|group| group.id.clone()).collect();
    for group in groups {
        dns::erasing(state, &group);
    }
}

/// Whether the conditions of a request (`If-Match`, `If-None-Match`) hold.
pub(super) fn matches(call: &Call<'_>, there: Option<&Resource>) -> Result<(), Reply> {
    let etag = there.map(|one| one.text("etag").to_owned());
    let wanted = call.asked.header("if-match");
    let good = wanted.is_none_or(|wanted| match &etag {
        Some(etag) => wanted == "*" || wanted == etag,
        None => false,
    });
    let absent = call.asked.header("if-none-match") != Some("*") || there.is_none();
    if good && absent {
        return Ok(());
    }
    let message = "The condition in the header If-Match or If-None-Match does not hold.";
    Err(if call.kind == super::dns::RECORD {
        reply::dns(412, "PreconditionFailed", message)
    } else {
        reply::arm(412, "PreconditionFailed", message)
    })
}
